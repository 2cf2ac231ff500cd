//! Reploid: what its four generations of clients send, and what they wait for.

use meetpoint::signaling::{CloseCode, Config, ConnectionId, Dialect};
use serde_json::{Value, json};

use crate::hub_world::{START_MS, World};

fn join(world: &mut World, peer: &str, room: &str) -> (ConnectionId, Value) {
    let connection = world.connect_as(Dialect::Reploid);
    assert_eq!(
        world.all(connection),
        [json!({"type": "welcome", "timestamp": START_MS})]
    );
    let metadata = json!({"capabilities": ["code"], "goals": [], "knowledge": []});
    let frame = json!({"type": "join", "peerId": peer, "roomId": room, "metadata": metadata});
    let mut told = world.speak(connection, frame);
    (connection, told.remove(0))
}

#[test]
fn the_newcomer_is_told_of_everybody_and_everybody_of_the_newcomer() {
    let mut world = World::new(Config::default());
    let (elder, joined) = join(&mut world, "elder", "reploid-swarm-default");
    let expected = json!({"type": "joined", "peerId": "elder", "roomId": "reploid-swarm-default", "peers": [], "timestamp": START_MS});
    assert_eq!(joined, expected);
    let (newcomer, joined) = join(&mut world, "newcomer", "reploid-swarm-default");
    assert_eq!(joined["peers"], json!(["elder"]));
    let metadata = json!({"capabilities": ["code"], "goals": [], "knowledge": []});
    assert_eq!(
        world.all(elder),
        [json!({"type": "peer-joined", "peerId": "newcomer", "metadata": metadata})]
    );
    world.gone(newcomer, CloseCode::Abnormal);
    assert_eq!(world.all(elder), [json!({"type": "peer-left", "peerId": "newcomer"})]);
    world.check();
}

#[test]
fn signals_arrive_byte_for_byte_at_the_peer_they_name() {
    let mut world = World::new(Config::default());
    let (a, _) = join(&mut world, "a", "r");
    let (b, _) = join(&mut world, "b", "r");
    let (c, _) = join(&mut world, "c", "r");
    for connection in [a, b, c] {
        world.all(connection);
    }
    let signals = [
        json!({"type": "offer", "peerId": "b", "targetPeer": "a", "offer": {"type": "offer", "sdp": "v=0\r\n"}}),
        json!({"type": "answer", "peerId": "b", "targetPeer": "a", "answer": {"type": "answer", "sdp": "v=0\r\n"}}),
        json!({"type": "ice-candidate", "peerId": "b", "targetPeer": "a", "candidate": {"candidate": "…", "sdpMid": "0"}}),
        json!({"type": "relay-message", "peerId": "b", "roomId": "r", "targetPeer": "a", "envelope": {"protocolVersion": 1}}),
    ];
    for signal in &signals {
        assert!(world.speak(b, signal.clone()).is_empty());
    }
    assert_eq!(world.all(a), signals);
    assert!(world.all(c).is_empty());
}

#[test]
fn broadcasts_reach_the_others_and_announcements_are_merged() {
    let mut world = World::new(Config::default());
    let (a, _) = join(&mut world, "a", "r");
    let (b, _) = join(&mut world, "b", "r");
    world.all(a);
    let broadcast = json!({"type": "broadcast", "peerId": "b", "roomId": "r", "data": {"hello": 1}});
    assert!(world.speak(b, broadcast.clone()).is_empty());
    assert_eq!(world.all(a), [broadcast]);
    world.speak(
        b,
        json!({"type": "announce", "peerId": "b", "roomId": "r", "metadata": {"goals": ["win"]}}),
    );
    let merged = json!({"capabilities": ["code"], "goals": ["win"], "knowledge": []});
    assert_eq!(
        world.all(a),
        [json!({"type": "peer-announced", "peerId": "b", "metadata": merged})]
    );
    assert!(
        world
            .speak(b, json!({"type": "heartbeat", "peerId": "b", "roomId": "r"}))
            .is_empty()
    );
    world.speak(b, json!({"type": "leave", "peerId": "b", "roomId": "r"}));
    assert_eq!(world.all(a), [json!({"type": "peer-left", "peerId": "b"})]);
}

#[test]
fn a_client_that_comes_back_before_its_old_socket_is_known_to_be_dead_is_joined() {
    let mut world = World::new(Config::default());
    let (elder, _) = join(&mut world, "elder", "r");
    let (old, _) = join(&mut world, "p", "r");
    world.all(elder);
    let (new, joined) = join(&mut world, "p", "r");
    assert_eq!(joined["peers"], json!(["elder"]));
    assert_eq!(world.closed(old), Some(CloseCode::Replaced));
    // The late end of the old socket takes nothing away.
    world.gone(old, CloseCode::Abnormal);
    let kinds: Vec<_> = world.all(elder).iter().map(|frame| frame["type"].clone()).collect();
    assert_eq!(kinds, [json!("peer-left"), json!("peer-joined")]);
    let offer = json!({"type": "offer", "peerId": "elder", "targetPeer": "p", "offer": {}});
    world.speak(elder, offer.clone());
    assert_eq!(world.all(new), [offer]);
}

#[test]
fn the_first_token_is_the_key_of_the_room() {
    let mut world = World::new(Config::default());
    let room = "reploid-swarm-secret";
    let enter = |world: &mut World, peer: &str, token: Value| {
        let connection = world.connect_as(Dialect::Reploid);
        world.all(connection);
        let frame = json!({"type": "join", "peerId": peer, "roomId": room, "metadata": {}, "token": token});
        world.speak(connection, frame).remove(0)
    };
    let token = "t".repeat(32);
    assert_eq!(enter(&mut world, "a", json!(token))["type"], "joined");
    assert_eq!(enter(&mut world, "b", json!(token))["type"], "joined");
    for wrong in [json!("u".repeat(32)), Value::Null] {
        let error = enter(&mut world, "c", wrong);
        assert_eq!((&error["type"], &error["code"]), (&json!("error"), &json!("forbidden")));
        assert!(error["error"].is_string() && error["timestamp"] == START_MS);
        // Nor does knowing somebody's id without the token put them out.
        assert_eq!(enter(&mut world, "a", json!("u".repeat(32)))["type"], "error");
    }
    assert_eq!(world.hub.stats().memberships, 2);
}

#[test]
fn nobody_speaks_for_another_and_nobody_before_joining() {
    let mut world = World::new(Config::default());
    let (a, _) = join(&mut world, "a", "r");
    let (b, _) = join(&mut world, "b", "r");
    world.all(a);
    let forged = json!({"type": "offer", "peerId": "c", "targetPeer": "a", "offer": {}});
    assert_eq!(world.speak(b, forged)[0]["code"], "forbidden");
    let nobody = json!({"type": "offer", "peerId": "b", "targetPeer": "x", "offer": {}});
    assert_eq!(world.speak(b, nobody)[0]["code"], "no_peer");
    assert_eq!(world.speak(b, json!({"type": "dance"}))[0]["code"], "unknown_type");
    assert_eq!(world.speak(b, json!({"type": "join"}))[0]["code"], "bad_request");
    assert!(world.all(a).is_empty());
    let early = world.connect_as(Dialect::Reploid);
    world.speak(
        early,
        json!({"type": "offer", "peerId": "e", "targetPeer": "a", "offer": {}}),
    );
    assert_eq!(world.closed(early), Some(CloseCode::BadRequest));
}

#[test]
fn no_spelling_of_a_sender_passes_that_its_receiver_would_read_as_somebody_else() {
    let mut world = World::new(Config::default());
    let (victim, _) = join(&mut world, "victim", "r");
    let (mallory, _) = join(&mut world, "mallory", "r");
    world.all(victim);
    for from in [json!(["1"]), json!(1.5), json!(false), json!({})] {
        for frame in [
            json!({"type": "offer", "peerId": from, "targetPeer": "victim", "offer": {}}),
            json!({"type": "broadcast", "peerId": from, "roomId": "r"}),
        ] {
            assert_eq!(world.speak(mallory, frame)[0]["type"], "error", "{from}");
            assert!(world.all(victim).is_empty(), "{from}");
        }
    }
}
