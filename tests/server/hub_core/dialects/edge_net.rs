//! edge-net's peers that are welcomed with an id: the register, discovery, rooms.

use meetpoint::signaling::{CloseCode, Config, ConnectionId, Dialect, Frame, Grants, Identity};
use serde_json::{Value, json};

use crate::hub_world::{START_MS, World};

fn open(world: &mut World) -> (ConnectionId, String) {
    let (connection, told) = world.open_as(Dialect::EdgeNet, None, &[]);
    let welcome = &told[0];
    assert_eq!(
        (told.len(), &welcome["type"], &welcome["serverTime"]),
        (1, &json!("welcome"), &json!(START_MS))
    );
    (connection, welcome["peerId"].as_str().unwrap().to_owned())
}

fn register(world: &mut World, node: &str, capabilities: &[&str]) -> (ConnectionId, String) {
    let (connection, id) = open(world);
    let frame = json!({"type": "register", "nodeId": node, "capabilities": capabilities, "region": "eu"});
    let info = json!({"nodeId": node, "capabilities": capabilities, "region": "eu"});
    assert_eq!(
        world.speak(connection, frame),
        [json!({"type": "registered", "peerId": id, "info": info})]
    );
    (connection, id)
}

#[test]
fn the_first_thing_that_a_client_hears_is_its_id() {
    let mut world = World::new(Config::default());
    let [(_, one), (_, two)] = [(); 2].map(|()| open(&mut world));
    for id in [&one, &two] {
        let digits = id.strip_prefix("peer-").unwrap();
        assert!(
            digits.len() == 16 && digits.bytes().all(|digit| digit.is_ascii_hexdigit()),
            "{id}"
        );
    }
    assert_ne!(one, two);
}

#[test]
fn rooms_tell_their_members_of_each_other() {
    let mut world = World::new(Config::default());
    let (a, a_id) = register(&mut world, "n1", &["compute"]);
    let (b, b_id) = register(&mut world, "n2", &[]);
    assert!(world.all(a).is_empty(), "who registers is told to nobody");
    let told = world.speak(a, json!({"type": "join-room", "roomId": "r"}));
    assert_eq!(told, [json!({"type": "room-joined", "roomId": "r", "peers": []})]);
    let told = world.speak(b, json!({"type": "join-room", "roomId": "r"}));
    let info = |node, capabilities| json!({"nodeId": node, "capabilities": capabilities, "region": "eu"});
    let peers = json!([{"peerId": a_id, "info": info("n1", json!(["compute"]))}]);
    assert_eq!(told, [json!({"type": "room-joined", "roomId": "r", "peers": peers})]);
    let joined = json!({"type": "peer-joined", "roomId": "r", "peerId": b_id, "info": info("n2", json!([]))});
    assert_eq!(world.all(a), [joined]);
    world.speak(b, json!({"type": "broadcast", "roomId": "r", "data": {"x": 1}}));
    let broadcast = json!({"type": "broadcast", "roomId": "r", "data": {"x": 1}, "from": b_id});
    assert_eq!(world.all(a), [broadcast]);
    assert!(world.speak(b, json!({"type": "leave-room", "roomId": "r"})).is_empty());
    assert_eq!(
        world.all(a),
        [json!({"type": "peer-left", "roomId": "r", "peerId": b_id})]
    );
    assert_eq!(
        world.speak(b, json!({"type": "broadcast", "roomId": "r", "data": 1}))[0]["type"],
        "error"
    );
    world.check();
}

#[test]
fn signals_go_to_whoever_has_registered_with_their_connection_id() {
    let mut world = World::new(Config::default());
    let (a, a_id) = register(&mut world, "n1", &[]);
    let (b, b_id) = register(&mut world, "n2", &[]);
    for (kind, field) in [("offer", "offer"), ("answer", "answer"), ("ice-candidate", "candidate")] {
        let mut frame = json!({"type": kind, "to": a_id, "connectionId": "c1", "from": "forged"});
        frame[field] = json!({"sdp": "v=0\r\n"});
        assert!(world.speak(b, frame.clone()).is_empty());
        frame["from"] = json!(b_id);
        assert_eq!(world.all(a), [frame]);
    }
}

#[test]
fn only_an_offer_to_nobody_is_an_error() {
    let mut world = World::new(Config::default());
    let (a, _) = register(&mut world, "n1", &[]);
    let told = world.speak(a, json!({"type": "offer", "to": "x", "offer": {}}));
    assert_eq!(
        told,
        [json!({"type": "error", "error": "Peer not found", "targetPeerId": "x", "code": "no_peer"})]
    );
    for kind in ["answer", "ice-candidate"] {
        assert!(world.speak(a, json!({"type": kind, "to": "x"})).is_empty(), "{kind}");
    }
}

#[test]
fn peers_are_discovered_by_any_of_their_capabilities() {
    let mut world = World::new(Config::default());
    let (asks, _) = register(&mut world, "n0", &["storage"]);
    let (_, storage) = register(&mut world, "n1", &["storage", "compute"]);
    let (gone, _) = register(&mut world, "n2", &["storage"]);
    let (_, relay) = register(&mut world, "n3", &["relay"]);
    world.gone(gone, CloseCode::Abnormal);
    let mut discover = |capabilities: Value, limit: Value| {
        let told = world.speak(
            asks,
            json!({"type": "discover", "capabilities": capabilities, "limit": limit}),
        );
        assert_eq!((told.len(), &told[0]["type"]), (1, &json!("discover-result")));
        let peers = told[0]["peers"].as_array().unwrap().clone();
        let ids: Vec<_> = peers
            .iter()
            .map(|peer| peer["peerId"].as_str().unwrap().to_owned())
            .collect();
        assert!(
            peers
                .iter()
                .all(|peer| peer["lastSeen"] == START_MS && peer["info"]["region"] == "eu")
        );
        (ids, told[0]["total"].as_u64().unwrap())
    };
    assert_eq!(
        discover(json!(["storage", "gpu"]), json!(5)),
        (vec![storage.clone()], 1)
    );
    assert_eq!(
        discover(json!(["storage", "relay"]), Value::Null),
        (vec![storage.clone(), relay.clone()], 2)
    );
    assert_eq!(discover(json!([]), json!(1)), (vec![storage.clone()], 2));
    assert_eq!(discover(Value::Null, Value::Null), (vec![storage, relay], 2));
    assert_eq!(discover(json!(["gpu"]), Value::Null), (vec![], 0));
}

/// Both lists are a stranger's: were they long, comparing them would keep everybody waiting for seconds.
#[test]
fn a_question_names_few_capabilities_and_looks_for_them_in_short_lists() {
    let mut world = World::new(Config::default());
    let (asks, _) = register(&mut world, "n0", &[]);
    let long = "x".repeat(1_017);
    // A list of 1 024 bytes, and one of a byte more.
    let (_, at_bound) = register(&mut world, "n1", &[&long, ""]);
    register(&mut world, "n2", &[&format!("{long}y"), ""]);
    let mut found = |capabilities: Vec<String>| {
        let told = world.speak(asks, json!({"type": "discover", "capabilities": capabilities}));
        (
            told[0]["type"].clone(),
            told[0]["peers"][0]["peerId"].clone(),
            told[0]["total"].clone(),
        )
    };
    let many = |count: usize| (1..count).map(|at| at.to_string()).chain([String::new()]).collect();
    assert_eq!(found(many(64)), (json!("discover-result"), json!(at_bound), json!(1)));
    assert_eq!(found(many(65)).0, "error");
    assert_eq!(found(Vec::new()).2, 2);
}

#[test]
fn nothing_goes_before_register_and_the_register_is_no_room() {
    let mut world = World::new(Config::default());
    for early in [
        json!({"type": "join-room", "roomId": "r"}),
        json!({"type": "offer", "to": "x"}),
        json!({"type": "discover"}),
    ] {
        let (connection, _) = open(&mut world);
        assert_eq!(world.speak(connection, early)[0]["type"], "error");
        assert_eq!(world.closed(connection), Some(CloseCode::BadRequest));
    }
    let (a, id) = register(&mut world, "n1", &[]);
    for frame in [
        json!({"type": "join-room", "roomId": "*"}),
        json!({"type": "leave-room", "roomId": "*"}),
        json!({"type": "broadcast", "roomId": "*", "data": 1}),
    ] {
        assert_eq!(world.speak(a, frame)[0]["code"], "forbidden");
    }
    let told = world.speak(a, json!({"type": "register", "nodeId": "renamed"}));
    assert_eq!(told[0]["info"]["nodeId"], "renamed");
    assert_eq!(told[0]["peerId"], json!(id));
    assert_eq!(
        world.speak(a, json!({"type": "ping"})),
        [json!({"type": "pong", "timestamp": START_MS})]
    );
}

/// Among all dialects a node at a relay begins with the same word, but it has not waited.
#[test]
fn whoever_waited_for_a_welcome_among_all_dialects_keeps_the_id_of_it() {
    let mut world = World::new(Config::default());
    let patient = world.connect_as(Dialect::Auto);
    world.advance(world.hub.config().welcome_silent_after);
    let welcome = world.all(patient).remove(0);
    let text = json!({"type": "register", "nodeId": "n1", "capabilities": []}).to_string();
    let frame = Frame::text_after_silence(Dialect::Auto, &text);
    assert_eq!(frame.dialect(), Dialect::EdgeNet);
    let admitted = world.hub.try_admit(world.now, patient, frame).unwrap();
    let grants = Grants {
        identity: Some(Ok(Identity::ANONYMOUS)),
        ice: None,
    };
    world.hub.handle_request(world.now, patient, admitted, grants);
    world.collect();
    let told = world.all(patient);
    assert_eq!((told.len(), &told[0]["type"]), (1, &json!("registered")));
    assert_eq!(told[0]["peerId"], welcome["peerId"]);
    let impatient = world.connect_as(Dialect::Auto);
    let told = world.speak(
        impatient,
        json!({"type": "register", "nodeId": "n1", "capabilities": []}),
    );
    assert_eq!(told[0]["type"], "welcome");
}
