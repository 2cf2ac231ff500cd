//! Chiral: one room for everybody, and frames that go where they say.

use meetpoint::signaling::{CloseCode, Config, ConnectionId, Dialect};
use serde_json::{Value, json};

use crate::hub_world::World;

fn register(world: &mut World, client: &str) -> (ConnectionId, Vec<Value>) {
    let connection = world.connect_as(Dialect::Chiral);
    let told = world.speak(connection, json!({"type": "register", "clientId": client}));
    (connection, told)
}

#[test]
fn everybody_is_told_of_all_others_whenever_one_comes_or_goes() {
    let mut world = World::new(Config::default());
    let (a, told) = register(&mut world, "a");
    assert_eq!(told, [json!({"type": "peers", "peers": []})]);
    let (b, told) = register(&mut world, "b");
    assert_eq!(told, [json!({"type": "peers", "peers": ["a"]})]);
    assert_eq!(world.all(a), [json!({"type": "peers", "peers": ["b"]})]);
    let (c, _) = register(&mut world, "c");
    assert_eq!(world.all(a), [json!({"type": "peers", "peers": ["b", "c"]})]);
    assert_eq!(world.all(b), [json!({"type": "peers", "peers": ["a", "c"]})]);
    world.gone(c, CloseCode::Abnormal);
    assert_eq!(world.all(a), [json!({"type": "peers", "peers": ["b"]})]);
}

#[test]
fn a_frame_goes_to_whom_it_names_as_it_is_and_without_a_name_to_all_others() {
    let mut world = World::new(Config::default());
    let [a, b, c] = ["a", "b", "c"].map(|client| register(&mut world, client).0);
    for connection in [a, b, c] {
        world.all(connection);
    }
    let frames = [
        json!({"type": "offer", "sdp": {"type": "offer", "sdp": "v=0\r\n"}, "to": "a", "from": "b"}),
        json!({"type": "candidate", "candidate": {"candidate": "…"}, "to": "a", "from": "b"}),
        json!({"type": "file-request", "file": {"name": "x"}, "to": "a", "from": "b"}),
    ];
    for frame in &frames {
        assert!(world.speak(b, frame.clone()).is_empty());
    }
    assert_eq!(world.all(a), frames);
    assert!(world.all(c).is_empty());
    let to_all = json!({"type": "dht", "key": 1, "from": "b"});
    world.speak(b, to_all.clone());
    assert_eq!((world.all(a), world.all(c)), (vec![to_all.clone()], vec![to_all]));
}

#[test]
fn a_ping_is_answered_to_its_sender_and_told_to_nobody() {
    let mut world = World::new(Config::default());
    let (a, _) = register(&mut world, "a");
    let (b, _) = register(&mut world, "b");
    world.all(a);
    let told = world.speak(b, json!({"type": "ping", "ts": 1_700, "from": "b"}));
    assert_eq!(told, [json!({"type": "pong", "ts": 1_700, "from": "server"})]);
    assert!(world.speak(b, json!({"type": "pong", "ts": 1, "from": "b"})).is_empty());
    assert!(world.all(a).is_empty());
}

#[test]
fn wrong_frames_are_told_to_their_sender_in_its_words() {
    let mut world = World::new(Config::default());
    let (a, _) = register(&mut world, "a");
    let error = world
        .speak(a, json!({"type": "offer", "sdp": {}, "to": "nobody", "from": "a"}))
        .remove(0);
    assert_eq!(
        (&error["type"], &error["message"]),
        (&json!("error"), &json!("Peer not found"))
    );
    assert_eq!(
        world.speak(a, json!({"type": "offer", "to": "a", "from": "b"}))[0]["code"],
        "forbidden"
    );
    let early = world.connect_as(Dialect::Chiral);
    world.speak(early, json!({"type": "offer", "to": "a", "from": "e"}));
    assert_eq!(world.closed(early), Some(CloseCode::BadRequest));
    assert!(world.all(a).is_empty());
}

#[test]
fn who_registers_again_under_its_id_replaces_its_dead_socket() {
    let mut world = World::new(Config::default());
    let (old, _) = register(&mut world, "a");
    let (new, told) = register(&mut world, "a");
    assert_eq!(world.closed(old), Some(CloseCode::Replaced));
    assert_eq!(told, [json!({"type": "peers", "peers": []})]);
    assert!(world.speak(new, json!({"type": "register", "clientId": "a"})).len() == 1);
    assert_eq!(world.hub.stats().memberships, 1);
}
