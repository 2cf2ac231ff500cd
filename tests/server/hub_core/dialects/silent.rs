//! Paths where any dialect may be spoken, and clients that wait for the server there.

use std::time::Duration;

use meetpoint::signaling::{Config, Dialect};
use serde_json::json;

use crate::hub_world::{START_MS, World};

const MOMENT: Duration = Duration::from_millis(250);

#[test]
fn a_client_that_is_silent_for_250_ms_is_told_what_others_wait_for() {
    let mut world = World::new(Config::default());
    let silent = world.connect_as(Dialect::Auto);
    world.advance(MOMENT - Duration::from_millis(1));
    assert!(world.all(silent).is_empty());
    world.advance(Duration::from_millis(1));
    let told = world.all(silent);
    let peer = told[0]["peerId"].as_str().unwrap().to_owned();
    assert!(peer.len() == 21 && peer.starts_with("peer-"), "{peer}");
    let now = START_MS + 250;
    assert_eq!(
        told,
        [
            json!({"type": "welcome", "peerId": peer, "timestamp": now, "serverTime": now}),
            json!({"type": "auth_required"}),
        ]
    );
    // Once, and nobody else gets that id.
    world.advance(Duration::from_secs(1));
    assert!(world.all(silent).is_empty());
    let another = world.connect_as(Dialect::Auto);
    world.advance(MOMENT);
    assert_ne!(world.all(another)[0]["peerId"], peer);
}

#[test]
fn a_client_that_spoke_first_is_never_told() {
    let mut world = World::new(Config::default());
    let native = world.connect_as(Dialect::Auto);
    assert_eq!(world.speak(native, json!({"t": "hello", "v": [1]}))[0]["t"], "welcome");
    let dialects = [Dialect::Native, Dialect::Reploid, Dialect::Chiral, Dialect::Topics];
    let others = dialects.map(|dialect| world.connect_as(dialect));
    for connection in others {
        world.all(connection);
    }
    world.advance(MOMENT);
    assert!(world.all(native).is_empty());
    assert!(others.map(|connection| world.all(connection)).iter().all(Vec::is_empty));
}

#[test]
fn a_client_that_was_told_may_still_speak_any_dialect() {
    let mut world = World::new(Config::default());
    let mut slow = |first| {
        let connection = world.connect_as(Dialect::Auto);
        world.advance(MOMENT);
        assert_eq!(world.all(connection).len(), 2);
        world.speak(connection, first)
    };
    assert_eq!(slow(json!({"t": "hello", "v": [1]}))[0]["t"], "welcome");
    assert_eq!(slow(json!({"type": "register", "clientId": "a"}))[0]["type"], "peers");
    // Greeted once: a second welcome is not for it.
    let told = slow(json!({"type": "join", "peerId": "a", "roomId": "r"}));
    assert_eq!((told.len(), &told[0]["type"]), (1, &json!("joined")));
}

#[test]
fn where_the_time_is_zero_nobody_is_told() {
    let config = Config {
        welcome_silent_after: Duration::ZERO,
        ..Config::default()
    };
    let mut world = World::new(config);
    let silent = world.connect_as(Dialect::Auto);
    world.advance(Duration::from_secs(5));
    assert!(world.all(silent).is_empty());
}

#[test]
fn a_drain_is_told_in_the_native_words_to_native_clients_alone() {
    let mut world = World::new(Config::default());
    let native = world.peer("n");
    let chiral = world.connect_as(Dialect::Chiral);
    world.speak(chiral, json!({"type": "register", "clientId": "a"}));
    world.hub.drain((0, 1), None);
    world.collect();
    assert_eq!(world.all(native)[0]["t"], "drain");
    assert!(world.all(chiral).is_empty());
}
