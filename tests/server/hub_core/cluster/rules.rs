//! What holds between replicas while the bus is there.

use std::time::Duration;

use meetpoint::signaling::{CloseCode, Config, Dialect, Identity, Takeover, Topic};
use serde_json::json;

use super::world::Cluster;
use crate::hub_world::user;

#[test]
fn a_newcomer_is_told_of_the_members_of_other_nodes_and_they_of_it() {
    let mut cluster = Cluster::new(3);
    let a = cluster.peer(0, "a");
    cluster.say(a, json!({"t": "join", "room": "r", "meta": {"name": "Ada"}}));
    cluster.settle();
    cluster.all(a);
    let b = cluster.peer(1, "b");
    cluster.say(b, json!({"t": "join", "id": 7, "room": "r", "meta": {"n": 1.50}}));
    cluster.settle();
    let joined = cluster.told(b, "joined").pop().unwrap();
    assert_eq!((&joined["id"], &joined["total"]), (&json!(7), &json!(1)));
    assert_eq!(joined["peers"][0]["peer"], "a");
    assert_eq!(joined["peers"][0]["meta"], json!({"name": "Ada"}));
    let event = cluster.told(a, "peer").pop().unwrap();
    assert_eq!((&event["ev"], &event["peer"]), (&json!("join"), &json!("b")));
    assert_eq!(event["meta"], json!({"n": 1.50}));
    let c = cluster.member(2, "c", "r");
    assert_eq!(cluster.told(c, "joined").pop().unwrap()["total"], 2);
    cluster.check_agreement();
}

#[test]
fn of_two_who_come_at_the_same_moment_exactly_one_is_told_of_the_other_by_its_joined() {
    for seed in 1..40 {
        let mut cluster = Cluster::with(2, Config::default(), seed, |_| {});
        if seed % 2 == 0 {
            // In a room that both host already, and in one that none does.
            for at in 0..2 {
                cluster.member(at, &format!("elder{at}"), "r");
            }
        }
        let (a, b) = (cluster.peer(0, "a"), cluster.peer(1, "b"));
        cluster.say(a, json!({"t": "join", "room": "r"}));
        cluster.say(b, json!({"t": "join", "room": "r"}));
        cluster.settle();
        let mut lists = |client, other: &str| {
            let joined = cluster.told(client, "joined").pop().expect("joined");
            let peers = joined["peers"].as_array().unwrap();
            peers.iter().any(|peer| peer["peer"] == other)
        };
        assert!(lists(a, "b") != lists(b, "a"), "seed {seed}");
        cluster.check_agreement();
    }
}

#[test]
fn what_is_said_to_one_or_to_all_reaches_them_once_in_order_and_as_it_was() {
    let mut cluster = Cluster::new(3);
    let (a, b, c) = (
        cluster.member(0, "a", "r"),
        cluster.member(1, "b", "r"),
        cluster.member(2, "c", "r"),
    );
    for client in [a, b, c] {
        cluster.all(client);
    }
    let sdp =
        r#"{"t":"sig","id":1,"room":"r","to":"b","kind":"offer","data":{ "sdp" : "v=0\r\n", "n":1.0e1 },"cid":"x"}"#;
    let connection = cluster.clients[a].connection.unwrap();
    cluster.with_hub(0, |hub, now| {
        hub.handle_frame(now, connection, meetpoint::signaling::Frame::text(Dialect::Native, sdp));
    });
    cluster.say(a, json!({"t": "send", "id": 2, "room": "r", "data": 1}));
    cluster.say(
        a,
        json!({"t": "send", "id": 3, "room": "r", "to": ["c", "b", "nobody"], "data": 2}),
    );
    cluster.settle();
    let answers = cluster.told(a, "ok");
    assert_eq!(answers[1]["sent"], 2);
    assert_eq!(
        (&answers[2]["sent"], &answers[2]["missing"]),
        (&json!(2), &json!(["nobody"]))
    );
    let heard = cluster.all(b);
    assert_eq!(heard[0]["data"], json!({"sdp": "v=0\r\n", "n": 1.0e1}));
    assert_eq!((&heard[0]["kind"], &heard[0]["cid"]), (&json!("offer"), &json!("x")));
    let numbers = |frames: &[serde_json::Value]| frames.iter().map(|frame| frame["data"].clone()).collect::<Vec<_>>();
    assert_eq!(numbers(&heard[1..]), [json!(1), json!(2)]);
    assert_eq!(numbers(&cluster.all(c)), [json!(1), json!(2)]);
}

#[test]
fn what_is_said_to_one_goes_to_its_node_alone_and_what_is_said_to_a_room_of_one_node_to_nobody() {
    let mut cluster = Cluster::new(3);
    let a = cluster.member(0, "a", "r");
    cluster.member(1, "b", "r");
    cluster.member(0, "c", "own");
    let d = cluster.member(0, "d", "own");
    cluster.published.clear();
    cluster.say(
        a,
        json!({"t": "sig", "room": "r", "to": "b", "kind": "offer", "data": 1}),
    );
    cluster.say(d, json!({"t": "send", "room": "own", "data": 1}));
    assert_eq!(cluster.published, [(0, Topic::Node(cluster.id(1)))]);
}

#[test]
fn a_newcomers_join_reaches_elders_on_other_nodes_before_its_first_word() {
    for seed in 1..20 {
        let mut cluster = Cluster::with(2, Config::default(), seed, |_| {});
        let a = cluster.member(0, "a", "r");
        let b = cluster.peer(1, "b");
        // In one breath: they wait behind the join.
        cluster.say(b, json!({"t": "join", "room": "r"}));
        cluster.say(
            b,
            json!({"t": "sig", "id": 2, "room": "r", "to": "a", "kind": "offer", "data": 1}),
        );
        cluster.say(b, json!({"t": "send", "id": 3, "room": "r", "data": 1}));
        cluster.settle();
        let told = cluster.all(a);
        let kinds: Vec<&str> = told.iter().filter_map(|frame| frame["t"].as_str()).collect();
        assert_eq!(kinds, ["joined", "peer", "sig", "msg"]);
        let told = cluster.all(b);
        let kinds: Vec<&str> = told.iter().filter_map(|frame| frame["t"].as_str()).collect();
        assert_eq!(kinds, ["joined", "ok", "ok"]);
    }
}

#[test]
fn presence_and_away_and_back_are_told_to_all_nodes() {
    let mut cluster = Cluster::new(2);
    let (a, b) = (cluster.member(0, "a", "r"), cluster.member(1, "b", "r"));
    cluster.all(a);
    cluster.say(b, json!({"t": "meta", "room": "r", "set": {"hand": true}}));
    cluster.settle();
    assert_eq!(cluster.told(a, "peer").pop().unwrap()["meta"], json!({"hand": true}));
    let key = cluster.clients[b].welcome.clone();
    cluster.drop_socket(b, CloseCode::Abnormal);
    cluster.settle();
    assert_eq!(cluster.told(a, "peer").pop().unwrap()["ev"], "away");
    let c = cluster.member(0, "c", "r");
    let joined = cluster.told(c, "joined").pop().unwrap();
    assert_eq!(
        (&joined["peers"][1]["peer"], &joined["peers"][1]["away"]),
        (&json!("b"), &json!(true))
    );
    let hello = json!({"t": "hello", "v": [1], "caps": ["resume"], "resume": {"sid": key["sid"], "key": key["key"], "seq": 1_000_000}});
    cluster.greeted(1, &hello, Identity::ANONYMOUS);
    cluster.settle();
    assert_eq!(cluster.told(a, "peer").pop().unwrap()["ev"], "back");
}

#[test]
fn the_owner_takes_an_id_from_another_node_and_a_stranger_does_not() {
    let mut cluster = Cluster::new(3);
    let watcher = cluster.member(2, "w", "r");
    let old = cluster.peer_as(0, "a", user("alice"));
    cluster.say(old, json!({"t": "join", "room": "r"}));
    cluster.settle();
    cluster.all(watcher);
    let stranger = cluster.peer_as(1, "a", user("mallory"));
    cluster.say(stranger, json!({"t": "join", "room": "r"}));
    cluster.settle();
    assert_eq!(cluster.told(stranger, "err").pop().unwrap()["code"], "id_taken");
    assert_eq!(cluster.all(watcher).len(), 0);
    let new = cluster.peer_as(1, "a", user("alice"));
    cluster.say(new, json!({"t": "join", "room": "r"}));
    cluster.settle();
    assert_eq!(cluster.clients[old].closed, Some(CloseCode::Replaced));
    let events: Vec<_> = cluster
        .told(watcher, "peer")
        .iter()
        .map(|event| event["ev"].clone())
        .collect();
    assert_eq!(events, ["leave", "join"]);
    cluster.check_agreement();
}

#[test]
fn a_clock_that_is_behind_does_not_keep_an_owner_from_its_id() {
    let config = Config {
        takeover: Takeover::Replace,
        ..Config::default()
    };
    let mut cluster = Cluster::with(2, config, 1, |_| {});
    cluster.skew(1, -60_000);
    let old = cluster.member(0, "a", "r");
    let new = cluster.member(1, "a", "r");
    assert_eq!(cluster.clients[old].closed, Some(CloseCode::Replaced));
    assert_eq!(cluster.clients[new].closed, None);
    cluster.check_agreement();
}

#[test]
fn two_claims_to_one_id_at_the_same_moment_leave_one_member_by_any_rule() {
    for seed in 1..60 {
        let takeover = [Takeover::Reject, Takeover::SameOwner, Takeover::Replace][seed as usize % 3];
        let config = Config {
            takeover,
            ..Config::default()
        };
        let mut cluster = Cluster::with(3, config, seed, |_| {});
        cluster.member(2, "w", "r");
        let (one, two) = (cluster.peer(0, "a"), cluster.peer(1, "a"));
        cluster.say(one, json!({"t": "join", "room": "r"}));
        cluster.say(two, json!({"t": "join", "room": "r"}));
        cluster.settle();
        let inside = [one, two].map(|client| cluster.clients[client].rooms.contains_key("r"));
        assert!(inside[0] != inside[1], "seed {seed}: {inside:?}");
        cluster.check_agreement();
    }
}

#[test]
fn whoever_shows_its_session_on_another_node_ends_it_there_and_has_its_id() {
    let mut cluster = Cluster::new(2);
    let old = cluster.member(0, "a", "r");
    let watcher = cluster.member(1, "w", "r");
    let key = cluster.clients[old].welcome.clone();
    cluster.drop_socket(old, CloseCode::Abnormal);
    cluster.settle();
    cluster.all(watcher);
    let resume = json!({"sid": key["sid"], "key": key["key"], "seq": 1});
    let hello = json!({"t": "hello", "v": [1], "peer": "a", "caps": ["resume"], "resume": resume});
    let new = cluster.greeted(1, &hello, Identity::ANONYMOUS);
    assert_eq!(cluster.clients[new].welcome["resumed"], false);
    cluster.say(new, json!({"t": "join", "room": "r"}));
    cluster.settle();
    let events: Vec<_> = cluster
        .told(watcher, "peer")
        .iter()
        .map(|event| event["ev"].clone())
        .collect();
    assert_eq!(events, ["leave", "join"]);
    assert_eq!(cluster.hub(0).stats().away, 0);
    cluster.check_agreement();

    // A wrong key ends nothing.
    let other = cluster.member(0, "b", "r");
    let sid = cluster.clients[other].welcome["sid"].clone();
    let hello = json!({"t": "hello", "v": [1], "resume": {"sid": sid, "key": "wrong", "seq": 1}});
    cluster.greeted(1, &hello, Identity::ANONYMOUS);
    cluster.settle();
    assert_eq!(cluster.clients[other].closed, None);
}

#[test]
fn the_key_and_the_ceiling_of_a_room_hold_on_every_node() {
    let mut cluster = Cluster::new(2);
    let a = cluster.peer(0, "a");
    cluster.say(a, json!({"t": "join", "room": "r", "key": "secret", "max": 2}));
    cluster.settle();
    let b = cluster.peer(1, "b");
    for key in [
        json!({"t": "join", "room": "r"}),
        json!({"t": "join", "room": "r", "key": "guess"}),
    ] {
        cluster.say(b, key);
        cluster.settle();
        assert_eq!(cluster.told(b, "err").pop().unwrap()["code"], "forbidden");
    }
    cluster.say(b, json!({"t": "join", "room": "r", "key": "secret"}));
    cluster.settle();
    assert_eq!(cluster.told(b, "joined").pop().unwrap()["max"], 2);
    let c = cluster.peer(1, "c");
    cluster.say(c, json!({"t": "join", "room": "r", "key": "secret"}));
    cluster.settle();
    assert_eq!(cluster.told(c, "err").pop().unwrap()["code"], "room_full");
    let d = cluster.peer(1, "d");
    cluster.say(d, json!({"t": "join", "room": "none", "create": false}));
    cluster.settle();
    assert_eq!(cluster.told(d, "err").pop().unwrap()["code"], "no_room");
    assert_eq!(cluster.hub(1).stats().rooms, 1);
}

#[test]
fn the_last_place_of_a_room_goes_to_one_of_two_who_ask_at_the_same_moment() {
    for seed in 1..20 {
        let mut cluster = Cluster::with(2, Config::default(), seed, |_| {});
        let a = cluster.peer(0, "a");
        cluster.say(a, json!({"t": "join", "room": "r", "max": 2}));
        cluster.settle();
        let (b, c) = (cluster.peer(0, "b"), cluster.peer(1, "c"));
        cluster.say(b, json!({"t": "join", "room": "r"}));
        cluster.say(c, json!({"t": "join", "room": "r"}));
        cluster.settle();
        let inside = [b, c].map(|client| cluster.clients[client].rooms.contains_key("r"));
        assert!(inside[0] != inside[1], "seed {seed}: {inside:?}");
        cluster.check_agreement();
    }
}

#[test]
fn of_changes_to_a_rooms_metadata_from_the_same_version_exactly_one_is_made() {
    for seed in 1..20 {
        let mut cluster = Cluster::with(3, Config::default(), seed, |_| {});
        let clients: Vec<_> = (0..3).map(|at| cluster.member(at, &format!("p{at}"), "r")).collect();
        for client in &clients {
            cluster.all(*client);
        }
        for client in &clients {
            let by = cluster.clients[*client].peer.clone();
            cluster.say(
                *client,
                json!({"t": "room", "id": 1, "room": "r", "set": {"host": by}, "if": 0}),
            );
        }
        cluster.settle();
        let told: Vec<Vec<_>> = clients.iter().map(|client| cluster.all(*client)).collect();
        let won = told
            .iter()
            .filter(|told| told.iter().any(|frame| frame["t"] == "ok" && frame["ver"] == 1));
        assert_eq!(won.count(), 1);
        let lost = told
            .iter()
            .filter(|told| told.iter().any(|frame| frame["code"] == "bad_request"));
        assert_eq!(lost.count(), 2);
        let hosts: Vec<_> = told
            .iter()
            .flat_map(|told| told.iter().filter(|frame| frame["t"] == "room"))
            .map(|frame| frame["meta"]["host"].clone())
            .collect();
        assert!(
            hosts.len() == 3 && hosts.iter().all(|host| *host == hosts[0]),
            "{hosts:?}"
        );
        let late = cluster.member(0, "late", "r");
        let joined = cluster.told(late, "joined").pop().unwrap();
        assert_eq!((&joined["ver"], &joined["meta"]["host"]), (&json!(1), &hosts[0]));
    }
}

#[test]
fn a_node_listens_to_the_rooms_of_its_own_members_and_to_no_other() {
    let mut cluster = Cluster::new(2);
    let a = cluster.member(0, "a", "r");
    assert_eq!(cluster.hub(1).stats().rooms, 0);
    let b = cluster.member(1, "b", "r");
    assert_eq!((cluster.hub(0).stats().rooms, cluster.hub(1).stats().rooms), (1, 1));
    cluster.say(b, json!({"t": "leave", "room": "r"}));
    cluster.clients[b].leaves("r");
    cluster.settle();
    assert_eq!(cluster.hub(1).stats().rooms, 0);
    assert_eq!(cluster.told(a, "peer").pop().unwrap()["why"], "leave");
    cluster.check_agreement();
}

#[test]
fn totals_count_every_peer_and_every_room_once() {
    let mut cluster = Cluster::new(3);
    for at in 0..3 {
        cluster.member(at, &format!("p{at}"), "shared");
        cluster.member(at, &format!("q{at}"), &format!("own{at}"));
    }
    cluster.run(Duration::from_secs(3));
    for at in 0..3 {
        let bus = cluster.hub(at).stats().bus;
        assert_eq!((bus.total_peers, bus.total_connections), (6, 6));
        assert_eq!((bus.total_rooms, bus.total_memberships, bus.nodes), (4, 6, 2));
    }
}

#[test]
fn alone_on_the_bus_nobody_waits() {
    let mut cluster = Cluster::new(1);
    let a = cluster.peer(0, "a");
    cluster.say(a, json!({"t": "join", "room": "r"}));
    assert_eq!(cluster.told(a, "joined").len(), 1);
    cluster.say(a, json!({"t": "room", "id": 1, "room": "r", "set": {"x": 1}}));
    assert_eq!(cluster.told(a, "ok").pop().unwrap()["ver"], 1);
    assert_eq!(cluster.hub(0).stats().bus.held, 0);
    cluster.settle();
    assert_eq!(
        cluster.told(a, "room").len(),
        0,
        "its own change came back and was made again"
    );
}

#[test]
fn peers_of_reploid_meet_across_nodes() {
    let mut cluster = Cluster::new(2);
    let join = |peer: &str| json!({"type": "join", "peerId": peer, "roomId": "reploid-swarm-x", "metadata": {"goals": []}, "token": "k"});
    let a = cluster.connect(0, Dialect::Reploid);
    cluster.say(a, join("peer-a"));
    cluster.settle();
    let b = cluster.connect(1, Dialect::Reploid);
    cluster.say(b, join("peer-b"));
    cluster.say(
        b,
        json!({"type": "offer", "peerId": "peer-b", "targetPeer": "peer-a", "offer": {"sdp": "v=0"}}),
    );
    cluster.settle();
    let told: Vec<_> = cluster.all(b);
    assert_eq!(
        told.iter().map(|frame| &frame["type"]).collect::<Vec<_>>(),
        ["welcome", "joined"]
    );
    assert_eq!(told[1]["peers"], json!(["peer-a"]));
    let told = cluster.all(a);
    let kinds: Vec<_> = told.iter().map(|frame| frame["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["welcome", "joined", "peer-joined", "offer"]);
    assert_eq!(told[3]["offer"], json!({"sdp": "v=0"}));
    cluster.drop_socket(b, CloseCode::Normal);
    cluster.settle();
    assert_eq!(cluster.all(a)[0], json!({"type": "peer-left", "peerId": "peer-b"}));
}

#[test]
fn clients_of_chiral_meet_across_nodes() {
    let mut cluster = Cluster::new(2);
    let a = cluster.connect(0, Dialect::Chiral);
    cluster.say(a, json!({"type": "register", "clientId": "a"}));
    cluster.settle();
    let b = cluster.connect(1, Dialect::Chiral);
    cluster.say(b, json!({"type": "register", "clientId": "b"}));
    cluster.say(b, json!({"type": "offer", "from": "b", "to": "a", "sdp": {"x": 1}}));
    cluster.settle();
    assert_eq!(cluster.all(b), [json!({"type": "peers", "peers": ["a"]})]);
    let told = cluster.all(a);
    assert_eq!(told[0], json!({"type": "peers", "peers": []}));
    assert_eq!(told[1], json!({"type": "peers", "peers": ["b"]}));
    assert_eq!(told[2]["sdp"], json!({"x": 1}));
}

#[test]
fn topics_are_published_across_nodes() {
    let mut cluster = Cluster::new(3);
    let clients: Vec<_> = (0..3).map(|at| cluster.connect(at, Dialect::Topics)).collect();
    for client in &clients {
        cluster.say(*client, json!({"type": "subscribe", "topics": ["t", "u", "v"]}));
        cluster.settle();
    }
    let publish = json!({"type": "publish", "topic": "u", "data": {"type": "announce"}});
    cluster.say(clients[0], publish);
    cluster.settle();
    for client in clients {
        let told = cluster.all(client);
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!(
            (&told[0]["clients"], &told[0]["data"]["type"]),
            (&json!(3), &json!("announce"))
        );
    }
}

#[test]
fn the_longest_message_that_clients_may_send_passes_between_nodes() {
    let config = Config {
        frame_bytes: 4 << 20,
        byte_burst: u32::MAX,
        bytes_per_second: u32::MAX,
        ..Config::default()
    };
    let mut cluster = Cluster::with(2, config, 1, |_| {});
    let (a, b) = (cluster.member(0, "a", "r"), cluster.member(1, "b", "r"));
    cluster.all(b);
    let data = "x".repeat(2 << 20);
    cluster.say(
        a,
        json!({"t": "sig", "room": "r", "to": "b", "kind": "offer", "data": data}),
    );
    cluster.settle();
    assert_eq!(cluster.told(b, "sig").len(), 1, "{:?}", cluster.hub(1).stats().bus);
}
