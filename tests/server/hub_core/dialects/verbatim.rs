//! The servers of tutorials: every frame to all others, in the room of the path or of a first frame.

use meetpoint::signaling::{CloseCode, Config, Dialect};
use serde_json::json;

use crate::hub_world::World;

#[test]
fn every_frame_reaches_all_others_of_the_path_as_it_is() {
    let mut world = World::new(Config::default());
    let mut enter = |room| world.open_as(Dialect::Verbatim, room, &[]).0;
    let [a, b, c] = [(); 3].map(|()| enter(Some("r")));
    let elsewhere = enter(Some("s"));
    let common = [(); 2].map(|()| enter(None));
    for text in ["{\"type\" : \"join\",\"room\":\"x\"}", "not json", "{\"sdp\":1.0e0}"] {
        world.speak_text(a, text);
        assert_eq!((world.recv_text(b), world.recv_text(c)), (text.into(), text.into()));
    }
    assert!(world.all(a).is_empty() && world.all(elsewhere).is_empty());
    world.speak_text(common[0], "1");
    assert_eq!(world.all(common[1]), [json!(1)]);
    assert!(world.all(b).is_empty());
    world.check();
}

#[test]
fn a_join_names_the_room_and_every_frame_after_it_reaches_the_others_there() {
    let mut world = World::new(Config::default());
    let [a, b, c] = [(); 3].map(|()| world.connect_as(Dialect::Rooms));
    for (connection, join) in [
        (a, json!({"type": "join", "room": "r"})),
        (b, json!({"type": "join", "roomId": "r"})),
        (c, json!({"type": "join", "room": 7})),
    ] {
        assert!(world.speak(connection, join).is_empty());
    }
    let text = r#"{"type":"offer", "sdp":{"n":1.0e0}}"#;
    world.speak_text(a, text);
    assert_eq!(world.recv_text(b), text);
    assert!(world.all(c).is_empty() && world.all(a).is_empty());
    // Another join is another room.
    world.speak(c, json!({"type": "join", "room": "r"}));
    world.speak_text(c, "1");
    assert_eq!((world.all(a), world.all(b)), (vec![json!(1)], vec![json!(1)]));
    assert_eq!(world.hub.stats().memberships, 3);
    world.check();
}

#[test]
fn who_has_no_room_is_told_so_and_who_sends_too_much_as_well() {
    let mut world = World::new(Config {
        relay_byte_burst: 100,
        relay_bytes_per_second: 1,
        ..Config::default()
    });
    let outside = world.connect_as(Dialect::Rooms);
    assert_eq!(world.speak(outside, json!({"type": "offer"}))[0]["code"], "no_room");
    assert_eq!(world.speak(outside, json!({"type": "join"}))[0]["code"], "bad_request");
    let [a, b] = [(); 2].map(|()| world.open_as(Dialect::Verbatim, Some("r"), &[]).0);
    assert!(world.speak(a, json!("x".repeat(90))).is_empty());
    assert_eq!(world.speak(a, json!("x".repeat(90)))[0]["code"], "relay_busy");
    assert_eq!(world.all(b).len(), 1);
    world.check();
}

#[test]
fn who_cannot_have_the_room_of_its_path_is_closed_and_who_names_rooms_may_name_another() {
    let mut world = World::new(Config {
        peers_per_room: 1,
        ..Config::default()
    });
    let mut enter = || world.open_as(Dialect::Verbatim, Some("r"), &[]);
    let (inside, _) = enter();
    let (outside, told) = enter();
    assert_eq!((told.len(), &told[0]["code"]), (1, &json!("room_full")));
    assert_eq!(world.closed(outside), Some(CloseCode::Forbidden));
    assert_eq!(world.closed(inside), None);
    let [first, second] = [(); 2].map(|()| world.connect_as(Dialect::Rooms));
    world.speak(first, json!({"type": "join", "room": "r"}));
    let told = world.speak(second, json!({"type": "join", "room": "r"}));
    assert_eq!(told[0]["code"], "room_full");
    assert!(world.speak(second, json!({"type": "join", "room": "s"})).is_empty());
    world.check();
}
