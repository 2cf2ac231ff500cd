//! edge-net's nodes at a relay: signals and messages, and a state of the network that has no tasks.

use std::time::Duration;

use meetpoint::signaling::{CloseCode, Config, ConnectionId, Dialect};
use serde_json::{Value, json};

use crate::hub_world::{START_MS, World};

fn register(world: &mut World, node: &str) -> (ConnectionId, Vec<Value>) {
    let connection = world.connect_as(Dialect::Auto);
    let told = world.speak(
        connection,
        json!({"type": "register", "nodeId": node, "capabilities": ["compute"], "version": "1"}),
    );
    (connection, told)
}

#[test]
fn a_node_is_welcomed_with_the_state_of_the_network_field_by_field() {
    let mut world = World::new(Config::default());
    let (a, told) = register(&mut world, "a");
    let state = json!({
        "genesisTime": START_MS, "totalNodes": 1, "activeNodes": 1, "totalTasks": 0,
        "totalRuvDistributed": "0", "timeCrystalPhase": told[0]["networkState"]["timeCrystalPhase"],
    });
    let phase = state["timeCrystalPhase"].as_f64().unwrap();
    assert!((0.0..1.0).contains(&phase));
    assert_eq!(
        told,
        [json!({"type": "welcome", "nodeId": "a", "networkState": state, "peers": []})]
    );
    let (b, told) = register(&mut world, "b");
    assert_eq!(
        (&told[0]["peers"], &told[0]["networkState"]["totalNodes"]),
        (&json!(["a"]), &json!(2))
    );
    assert_eq!(
        world.all(a),
        [json!({"type": "node_joined", "nodeId": "b", "totalNodes": 2})]
    );
    world.gone(b, CloseCode::Abnormal);
    assert_eq!(
        world.all(a),
        [json!({"type": "node_left", "nodeId": "b", "totalNodes": 1})]
    );
    world.check();
}

#[test]
fn signals_and_messages_say_who_sent_them() {
    let mut world = World::new(Config::default());
    let [a, b, c] = ["a", "b", "c"].map(|node| register(&mut world, node).0);
    for connection in [a, b, c] {
        world.all(connection);
    }
    for mut frame in [
        json!({"type": "webrtc_offer", "targetId": "a", "offer": {"sdp": "v=0"}}),
        json!({"type": "webrtc_answer", "targetId": "a", "answer": {"sdp": "v=0"}}),
        json!({"type": "webrtc_ice", "targetId": "a", "candidate": {}, "from": "forged"}),
        json!({"type": "webrtc_disconnect", "targetId": "a"}),
        json!({"type": "peer_message", "targetId": "a", "payload": [1, 2]}),
    ] {
        assert!(world.speak(b, frame.clone()).is_empty());
        frame["from"] = json!("b");
        assert_eq!(world.all(a), [frame]);
        assert!(world.all(c).is_empty());
    }
    assert!(world.speak(b, json!({"type": "broadcast", "payload": 1})).is_empty());
    let broadcast = json!({"type": "broadcast", "payload": 1, "from": "b"});
    assert_eq!((world.all(a), world.all(c)), (vec![broadcast.clone()], vec![broadcast]));
}

#[test]
fn errors_name_the_target_and_tasks_and_ledgers_are_refused() {
    let mut world = World::new(Config::default());
    let (a, _) = register(&mut world, "a");
    let told = world.speak(a, json!({"type": "webrtc_offer", "targetId": "x", "offer": {}}));
    assert_eq!(
        told,
        [json!({"type": "error", "message": "Peer not found", "targetId": "x", "code": "no_peer"})]
    );
    for kind in ["task_submit", "task_complete", "ledger_sync", "ledger_subscribe"] {
        let told = world.speak(a, json!({"type": kind, "task": {}}));
        assert_eq!(
            (&told[0]["type"], &told[0]["code"]),
            (&json!("error"), &json!("unavailable")),
            "{kind}"
        );
    }
    assert_eq!(world.closed(a), None);
    let early = world.connect_as(Dialect::EdgeRelay);
    world.speak(early, json!({"type": "broadcast", "payload": 1}));
    assert_eq!(world.closed(early), Some(CloseCode::BadRequest));
}

#[test]
fn a_heartbeat_is_answered() {
    let mut world = World::new(Config::default());
    let (a, _) = register(&mut world, "a");
    let told = world.speak(a, json!({"type": "heartbeat"}));
    let phase = told[0]["phase"].as_f64().unwrap();
    assert!((0.0..1.0).contains(&phase));
    assert_eq!(
        (&told[0]["type"], &told[0]["timestamp"]),
        (&json!("heartbeat_ack"), &json!(START_MS))
    );
}

/// Upstream, a node that says nothing for 30 s is dropped, and its own page never says anything.
#[test]
fn a_node_that_never_sends_a_heartbeat_stays() {
    let mut world = World::new(Config::default());
    let (quiet, _) = register(&mut world, "quiet");
    for _ in 0..120 {
        world.advance(Duration::from_secs(1));
    }
    assert_eq!(world.closed(quiet), None);
    world.all(quiet);
    let (other, told) = register(&mut world, "other");
    assert_eq!(told[0]["peers"], json!(["quiet"]));
    world.speak(other, json!({"type": "webrtc_offer", "targetId": "quiet", "offer": {}}));
    assert!(world.all(quiet).iter().any(|frame| frame["type"] == "webrtc_offer"));
}

#[test]
fn every_second_all_nodes_are_told_the_time_as_long_as_there_are_any() {
    let mut world = World::new(Config::default());
    let (a, _) = register(&mut world, "a");
    let (b, _) = register(&mut world, "b");
    world.all(a);
    for second in 1..=3 {
        world.advance(Duration::from_secs(1));
        let told = world.all(b);
        assert_eq!(told, world.all(a));
        let phase = told[0]["phase"].as_f64().unwrap();
        assert!((0.0..1.0).contains(&phase));
        let sync = json!({
            "type": "time_crystal_sync", "phase": told[0]["phase"], "timestamp": START_MS + 1_000 * second, "activeNodes": 2,
        });
        assert_eq!(told, [sync]);
    }
    world.gone(a, CloseCode::Normal);
    world.gone(b, CloseCode::Normal);
    world.advance(Duration::from_secs(1));
    assert_eq!(world.hub.poll_timeout(), None, "nobody is left to wait for");
    let (c, _) = register(&mut world, "c");
    world.advance(Duration::from_secs(1));
    assert_eq!(world.all(c)[0]["activeNodes"], 1);
}

#[test]
fn nodes_are_told_that_the_relay_goes_away_and_others_in_their_words_or_not_at_all() {
    let mut world = World::new(Config::default());
    let (node, _) = register(&mut world, "a");
    let reploid = world.connect_as(Dialect::Reploid);
    world.speak(reploid, json!({"type": "join", "peerId": "a", "roomId": "r"}));
    let chiral = world.connect_as(Dialect::Chiral);
    world.speak(chiral, json!({"type": "register", "clientId": "a"}));
    let native = world.peer("n");
    world.hub.drain((0, 1_000), None);
    world.collect();
    assert_eq!(world.all(node), [json!({"type": "relay_shutdown"})]);
    assert_eq!(world.all(reploid), [json!({"type": "server-shutdown"})]);
    assert!(world.all(chiral).is_empty());
    assert_eq!(world.all(native)[0]["t"], "drain");
}
