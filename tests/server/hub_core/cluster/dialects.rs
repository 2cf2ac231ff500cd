//! Clients of other projects that are connected to different nodes: each is told of the others as if there were one.

use meetpoint::signaling::{CloseCode, Config, Dialect};
use serde_json::{Value, json};

use super::world::{ClientId, Cluster};

fn first_id(cluster: &mut Cluster, client: ClientId) -> String {
    cluster.all(client)[0]["peerId"].as_str().expect("an id").to_owned()
}

#[test]
fn peers_of_retcon_meet_across_nodes() {
    let mut cluster = Cluster::new(2);
    let metadata = json!({"userAgent": "test"});
    let [a, b] = [(0, "a"), (1, "b")].map(|(node, peer)| {
        let client = cluster.open(node, Dialect::Retcon, &[]);
        let auth = json!({"type": "auth", "token": null, "peerId": peer, "metadata": metadata});
        cluster.say(client, auth);
        cluster.say(client, json!({"type": "join", "room": "r"}));
        cluster.settle();
        client
    });
    let told = cluster.all(b);
    let peers = json!([{"peerId": "a", "metadata": metadata}]);
    assert_eq!(
        told.last(),
        Some(&json!({"type": "peers_list", "room": "r", "peers": peers}))
    );
    let joined = json!({"type": "peer_joined", "peerId": "b", "room": "r", "metadata": metadata});
    assert_eq!(cluster.all(a).last(), Some(&joined));
    for kind in ["offer", "answer", "ice_candidate"] {
        let signal = json!({"type": kind, "targetPeerId": "a", "data": {"n": 1.50}, "fromPeerId": "forged"});
        cluster.say(b, signal);
        cluster.settle();
        assert_eq!(
            cluster.all(a),
            [json!({"type": kind, "fromPeerId": "b", "data": {"n": 1.50}})]
        );
    }
    cluster.say(b, json!({"type": "leave", "room": "r"}));
    cluster.settle();
    assert_eq!(
        cluster.all(a),
        [json!({"type": "peer_left", "peerId": "b", "room": "r"})]
    );
    assert!(cluster.all(b).is_empty());
}

/// Its `auth` is a verdict on a token, which nobody would have any more by the time of its turn.
#[test]
fn a_newer_token_of_retcon_does_not_wait_behind_a_join() {
    let mut cluster = Cluster::new(2);
    let a = cluster.open(0, Dialect::Retcon, &[]);
    let auth = json!({"type": "auth", "token": null, "peerId": "a"});
    cluster.say(a, auth.clone());
    cluster.settle();
    cluster.all(a);
    cluster.say(a, json!({"type": "join", "room": "r"}));
    cluster.say(a, auth);
    assert_eq!(cluster.all(a), [json!({"type": "authenticated", "peerId": "a"})]);
    cluster.settle();
    assert_eq!(
        cluster.all(a),
        [json!({"type": "peers_list", "room": "r", "peers": []})]
    );
}

#[test]
fn peers_of_retcon_with_a_token_in_the_query_meet_across_nodes() {
    let mut cluster = Cluster::new(2);
    let [a, b] = [0, 1].map(|node| cluster.open(node, Dialect::RetconQuery, &[("token", "t")]));
    let [a_id, b_id] = [a, b].map(|client| first_id(&mut cluster, client));
    for client in [a, b] {
        cluster.say(client, json!({"type": "join", "room": "r"}));
        cluster.settle();
    }
    assert_eq!(cluster.all(b), [json!({"type": "peers", "room": "r", "peers": [a_id]})]);
    let joined = json!({"type": "peer-joined", "room": "r", "peerId": b_id});
    assert_eq!(cluster.all(a)[1..], [joined]);
    let signal = json!({"type": "offer", "sdp": "v=0"});
    cluster.say(b, json!({"type": "signal", "to": a_id, "signal": signal}));
    cluster.say(b, json!({"type": "broadcast", "roomId": "r", "data": [1]}));
    cluster.settle();
    let broadcast = json!({"type": "broadcast", "from": b_id, "roomId": "r", "data": [1]});
    assert_eq!(
        cluster.all(a),
        [json!({"type": "signal", "from": b_id, "signal": signal}), broadcast]
    );
    cluster.drop_socket(b, CloseCode::Abnormal);
    cluster.settle();
    assert_eq!(
        cluster.all(a),
        [json!({"type": "peer-left", "room": "r", "peerId": b_id})]
    );
}

#[test]
fn peers_of_socket_io_meet_across_nodes() {
    let mut cluster = Cluster::new(2);
    let [a, b] = [(0, "a"), (1, "b")].map(|(node, peer)| {
        let client = cluster.open(node, Dialect::SocketIo, &[("EIO", "4")]);
        cluster.say(client, json!("40"));
        cluster.say(client, json!(format!(r#"42["register","{peer}"]"#)));
        cluster.settle();
        client
    });
    let list = json!(r#"42["peers:list",[{"peerId":"a"}]]"#);
    assert_eq!(cluster.all(b).last(), Some(&list));
    let joined = json!(r#"42["peer:joined",{"peerId":"b"}]"#);
    assert_eq!(cluster.all(a).last(), Some(&joined));
    let signal = r#"42["signal",{"to":"a","from":"b","signal":{"n":1.50}}]"#;
    cluster.say(b, json!(signal));
    cluster.say(b, json!(r#"42["signal",{"to":"a","from":"c","signal":1}]"#));
    cluster.settle();
    let heard = json!(r#"42["signal",{"from":"b","signal":{"n":1.50}}]"#);
    assert_eq!(cluster.all(a), [heard], "and nothing under another name");
    cluster.say(b, json!("41"));
    cluster.settle();
    assert_eq!(cluster.all(a), [json!(r#"42["peer:left",{"peerId":"b"}]"#)]);
}

#[test]
fn peers_of_edge_net_meet_and_are_discovered_across_nodes() {
    let mut cluster = Cluster::new(2);
    let [a, b] = [0, 1].map(|node| cluster.open(node, Dialect::EdgeNet, &[]));
    let [a_id, b_id] = [a, b].map(|client| first_id(&mut cluster, client));
    for client in [a, b] {
        cluster.say(
            client,
            json!({"type": "register", "nodeId": "n", "capabilities": ["compute"]}),
        );
        cluster.say(client, json!({"type": "join-room", "roomId": "r"}));
        cluster.settle();
    }
    let info = json!({"nodeId": "n", "capabilities": ["compute"]});
    let peers = json!([{"peerId": a_id, "info": info}]);
    assert_eq!(
        cluster.all(b)[1..],
        [json!({"type": "room-joined", "roomId": "r", "peers": peers})]
    );
    let joined = json!({"type": "peer-joined", "roomId": "r", "peerId": b_id, "info": info});
    assert_eq!(cluster.all(a)[2..], [joined]);
    cluster.say(b, json!({"type": "discover", "capabilities": ["compute"]}));
    let found = cluster.all(b).pop().expect("an answer");
    assert_eq!(
        (&found["peers"][0]["peerId"], &found["total"]),
        (&json!(a_id), &json!(1))
    );
    let offer = json!({"type": "offer", "to": a_id, "offer": {"sdp": "v=0"}, "from": "forged"});
    cluster.say(b, offer);
    cluster.say(b, json!({"type": "broadcast", "roomId": "r", "data": 1}));
    cluster.say(b, json!({"type": "leave-room", "roomId": "r"}));
    cluster.settle();
    assert_eq!(
        cluster.all(a),
        [
            json!({"type": "offer", "to": a_id, "offer": {"sdp": "v=0"}, "from": b_id}),
            json!({"type": "broadcast", "roomId": "r", "data": 1, "from": b_id}),
            json!({"type": "peer-left", "roomId": "r", "peerId": b_id}),
        ]
    );
}

/// Who is told of whom in a way that makes it offer: a newcomer offers to all on its list, whoever hears of a newcomer with a
/// smaller id than its own to that one.
fn offers(own: &str, told: &[Value]) -> Vec<String> {
    let mut offers = Vec::new();
    for frame in told {
        match frame["type"].as_str() {
            Some("peer-list") => {
                let keys = frame["peers"].as_array().unwrap().iter();
                offers.extend(keys.map(|peer| peer["piKey"].as_str().unwrap().to_owned()));
            }
            Some("peer-joined") => {
                let other = frame["peerId"].as_str().unwrap();
                offers.extend((own > other).then(|| other.to_owned()));
            }
            kind => panic!("{kind:?}"),
        }
    }
    offers
}

#[test]
fn of_any_two_peers_of_edge_net_on_different_nodes_one_offers_even_if_they_come_at_the_same_moment() {
    for seed in 1..30 {
        let mut cluster = Cluster::with(3, Config::default(), seed, |_| {});
        let ids = ["b", "B", "10", "9", "~", "a"];
        let clients = ids.map(|id| {
            let at = cluster.clients.len() % 3;
            let client = cluster.connect(at, Dialect::EdgeAnnounce);
            let announce = json!({"type": "announce", "piKey": id, "siteId": "s", "capabilities": []});
            cluster.say(client, announce);
            if seed % 3 == 0 {
                cluster.settle();
            }
            (id, client)
        });
        cluster.settle();
        let mut pairs = Vec::new();
        for (id, client) in clients {
            let told = cluster.all(client);
            pairs.extend(offers(id, &told).into_iter().map(|other| {
                let mut pair = [id.to_owned(), other];
                pair.sort();
                pair
            }));
        }
        pairs.sort();
        let many = pairs.len();
        pairs.dedup();
        assert_eq!((pairs.len(), many), (15, 15), "seed {seed}: {pairs:?}");
    }
}

#[test]
fn peers_that_announce_themselves_signal_across_nodes_and_come_back_by_a_signal() {
    let mut cluster = Cluster::new(2);
    let announce = |id| json!({"type": "announce", "piKey": id, "siteId": "s", "capabilities": []});
    let (a, b) = (
        cluster.connect(0, Dialect::EdgeAnnounce),
        cluster.connect(1, Dialect::EdgeAnnounce),
    );
    for (client, id) in [(a, "a"), (b, "b")] {
        cluster.say(client, announce(id));
        cluster.settle();
    }
    cluster.all(a);
    let offer = json!({"type": "offer", "to": "a", "from": "b", "offer": {"sdp": "v=0"}});
    cluster.say(b, offer.clone());
    cluster.settle();
    let heard = cluster.all(a).pop().expect("the offer");
    assert_eq!((&heard["from"], &heard["offer"]), (&json!("b"), &offer["offer"]));
    cluster.drop_socket(b, CloseCode::Abnormal);
    cluster.settle();
    assert_eq!(cluster.all(a), [json!({"type": "peer-left", "peerId": "b"})]);
    // Without announcing itself again.
    let back = cluster.connect(1, Dialect::EdgeAnnounce);
    cluster.say(back, offer);
    cluster.settle();
    let told = cluster.all(a);
    let kinds: Vec<_> = told.iter().map(|frame| frame["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["peer-joined", "offer"]);
    assert_eq!(cluster.all(back), [json!({"type": "peer-list", "peers": []})]);
}

#[test]
fn nodes_of_edge_nets_relay_meet_across_nodes() {
    let mut cluster = Cluster::new(2);
    let [a, b] = [(0, "a"), (1, "b")].map(|(node, id)| {
        let client = cluster.connect(node, Dialect::EdgeRelay);
        cluster.say(client, json!({"type": "register", "nodeId": id}));
        cluster.settle();
        client
    });
    let welcome = cluster.all(b).remove(0);
    assert_eq!(
        (&welcome["peers"], &welcome["networkState"]["totalNodes"]),
        (&json!(["a"]), &json!(2))
    );
    assert_eq!(
        cluster.all(a)[1..],
        [json!({"type": "node_joined", "nodeId": "b", "totalNodes": 2})]
    );
    cluster.say(
        b,
        json!({"type": "webrtc_ice", "targetId": "a", "candidate": {}, "from": "forged"}),
    );
    cluster.say(b, json!({"type": "broadcast", "payload": 1}));
    cluster.settle();
    assert_eq!(
        cluster.all(a),
        [
            json!({"type": "webrtc_ice", "targetId": "a", "candidate": {}, "from": "b"}),
            json!({"type": "broadcast", "payload": 1, "from": "b"}),
        ]
    );
    cluster.drop_socket(b, CloseCode::Normal);
    cluster.settle();
    assert_eq!(
        cluster.all(a),
        [json!({"type": "node_left", "nodeId": "b", "totalNodes": 1})]
    );
}

fn peerjs(cluster: &mut Cluster, node: usize, id: &str, token: &str) -> ClientId {
    let query = [("key", "peerjs"), ("id", id), ("token", token), ("version", "1.5.5")];
    let client = cluster.open(node, Dialect::PeerJs, &query);
    cluster.settle();
    client
}

#[test]
fn clients_of_peerjs_meet_across_nodes_and_letters_find_those_who_come_elsewhere() {
    let mut cluster = Cluster::new(2);
    let a = peerjs(&mut cluster, 0, "a", "ta");
    assert_eq!(cluster.all(a), [json!({"type": "OPEN"})]);
    let offer = json!({"type": "OFFER", "dst": "b", "payload": {"sdp": {"sdp": "v=0"}, "connectionId": "c"}});
    // Nobody of that name yet: it waits, and is handed over when it comes, on whatever node.
    cluster.say(a, offer.clone());
    cluster.run(std::time::Duration::from_secs(2));
    let b = peerjs(&mut cluster, 1, "b", "tb");
    let told = cluster.all(b);
    assert_eq!(told[0], json!({"type": "OPEN"}), "{told:?}");
    assert_eq!(told.len(), 2, "{told:?}");
    assert_eq!((&told[1]["src"], &told[1]["payload"]), (&json!("a"), &offer["payload"]));
    cluster.run(std::time::Duration::from_secs(10));
    assert!(cluster.all(a).is_empty(), "no EXPIRE of what arrived");
    let answer = json!({"type": "ANSWER", "dst": "a", "payload": {"x": 1}});
    cluster.say(b, answer);
    cluster.settle();
    assert_eq!(cluster.all(a)[0]["src"], "b");
    // Taken: another token on another node; replaced: the same.
    let other = peerjs(&mut cluster, 0, "b", "other");
    assert_eq!(cluster.all(other)[0]["type"], "ID-TAKEN");
    let again = peerjs(&mut cluster, 0, "b", "tb");
    assert_eq!(cluster.all(again)[0], json!({"type": "OPEN"}));
    cluster.settle();
    assert!(cluster.clients[b].closed.is_some());
    cluster.say(a, json!({"type": "LEAVE", "dst": "b"}));
    cluster.settle();
    assert_eq!(cluster.all(again)[0]["type"], "LEAVE");
    cluster.say(a, json!({"type": "OFFER", "dst": "zzz", "payload": {}}));
    cluster.run(std::time::Duration::from_secs(10));
    assert_eq!(cluster.all(a).len(), 1, "one EXPIRE");
}

#[test]
fn clients_of_matchbox_meet_across_nodes() {
    let mut cluster = Cluster::new(2);
    let a = cluster.open_in(0, Dialect::Matchbox, Some("r"), &[]);
    cluster.settle();
    let b = cluster.open_in(1, Dialect::Matchbox, Some("r"), &[]);
    cluster.settle();
    let (told_a, told_b) = (cluster.all(a), cluster.all(b));
    assert_eq!(told_b.len(), 1, "{told_b:?}");
    let (id_a, id_b) = (told_a[0]["IdAssigned"].clone(), told_b[0]["IdAssigned"].clone());
    assert_eq!(told_a[1..], [json!({"NewPeer": id_b})]);
    cluster.say(a, json!({"Signal": {"receiver": id_b, "data": {"Offer": "v=0"}}}));
    cluster.settle();
    assert_eq!(
        cluster.all(b),
        [json!({"Signal": {"sender": id_a, "data": {"Offer": "v=0"}}})]
    );
    cluster.drop_socket(b, meetpoint::signaling::CloseCode::Normal);
    cluster.settle();
    assert_eq!(cluster.all(a), [json!({"PeerLeft": id_b})]);
}

#[test]
fn groups_of_matchbox_on_two_nodes_never_meet() {
    let mut cluster = Cluster::new(2);
    let open = |cluster: &mut Cluster, node| {
        let client = cluster.open_in(node, Dialect::Matchbox, Some("r"), &[("next", "2")]);
        cluster.settle();
        client
    };
    let all = [0, 1, 0, 1].map(|node| open(&mut cluster, node));
    let news = all.map(|client| cluster.all(client).len());
    // Each its id, and the first of each group the second.
    assert_eq!(news, [2, 2, 1, 1]);
}
