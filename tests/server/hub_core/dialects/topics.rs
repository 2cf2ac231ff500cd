//! y-webrtc and Trystero: topics, and what is published to them.

use std::time::Duration;

use meetpoint::signaling::{Config, ConnectionId, Dialect};
use serde_json::{Value, json};

use crate::hub_world::World;

fn subscriber(world: &mut World, subscribe: Value) -> ConnectionId {
    let connection = world.connect_as(Dialect::Topics);
    assert!(world.speak(connection, subscribe).is_empty());
    connection
}

#[test]
fn what_y_webrtc_publishes_comes_back_to_everybody_with_the_number_of_subscribers() {
    let mut world = World::new(Config::default());
    let [a, b] = [(); 2].map(|()| subscriber(&mut world, json!({"type": "subscribe", "topics": ["doc", "other"]})));
    let elsewhere = subscriber(&mut world, json!({"type": "subscribe", "topics": ["other"]}));
    let data = json!({"type": "announce", "from": "1"});
    let publish = json!({"type": "publish", "topic": "doc", "data": data});
    let expected = json!({"type": "publish", "topic": "doc", "data": data, "clients": 2});
    assert_eq!(world.speak(a, publish), std::slice::from_ref(&expected));
    assert_eq!(world.all(b), [expected]);
    assert!(world.all(elsewhere).is_empty());
    // With a password the data is text, and a number that a client claims does not count.
    let publish = json!({"type": "publish", "topic": "doc", "data": "b64==", "clients": 99});
    assert_eq!(world.speak(b, publish)[0]["clients"], 2);
    world.all(a);
    assert_eq!(world.speak(a, json!({"type": "ping"})), [json!({"type": "pong"})]);
    assert!(
        world
            .speak(b, json!({"type": "unsubscribe", "topics": ["doc", "never"]}))
            .is_empty()
    );
    let publish = json!({"type": "publish", "topic": "doc", "data": 1});
    assert_eq!(world.speak(a, publish)[0]["clients"], 1);
    assert!(world.all(b).is_empty());
    world.check();
}

#[test]
fn what_trystero_publishes_comes_back_as_topic_and_payload_alone() {
    let mut world = World::new(Config::default());
    let topic = "da39a3ee5e6b4b0d3255bfef95601890afd80709";
    let [a, b] = [(); 2].map(|()| subscriber(&mut world, json!({"type": "subscribe", "topic": topic})));
    let publish = json!({"type": "publish", "topic": topic, "payload": "{\"peerId\":\"x\"}"});
    let expected = json!({"topic": topic, "payload": "{\"peerId\":\"x\"}"});
    assert_eq!(world.speak(a, publish), std::slice::from_ref(&expected));
    assert_eq!(world.all(b), [expected]);
}

#[test]
fn only_subscribers_publish_and_no_frame_names_topics_without_end() {
    let mut world = World::new(Config::default());
    let a = subscriber(&mut world, json!({"type": "subscribe", "topic": "t"}));
    assert_eq!(
        world.speak(a, json!({"type": "publish", "topic": "u", "data": 1}))[0]["code"],
        "no_room"
    );
    let topics = |count: usize| (0..count).map(|number| number.to_string()).collect::<Vec<_>>();
    let frame = json!({"type": "subscribe", "topics": topics(257)});
    assert_eq!(world.speak(a, frame)[0]["code"], "bad_request");
    let rooms = world.hub.config().rooms_per_connection;
    assert!(
        world
            .speak(a, json!({"type": "subscribe", "topics": topics(rooms - 1)}))
            .is_empty()
    );
    assert_eq!(
        world.speak(a, json!({"type": "subscribe", "topic": "more"}))[0]["code"],
        "room_full"
    );
    world.check();
}

#[test]
fn publishing_has_the_budget_of_data() {
    let mut world = World::new(Config {
        relay_byte_burst: 200,
        relay_bytes_per_second: 1,
        ..Config::default()
    });
    let a = subscriber(&mut world, json!({"type": "subscribe", "topic": "t"}));
    let publish = json!({"type": "publish", "topic": "t", "payload": "x".repeat(100)});
    assert_eq!(world.speak(a, publish.clone())[0]["topic"], "t");
    assert_eq!(world.speak(a, publish)[0]["code"], "relay_busy");
}

/// Trickle ICE of every page with every other, at the sizes that browsers with several networks send.
#[test]
fn twenty_pages_of_y_webrtc_that_meet_within_a_second_are_refused_nothing() {
    let mut world = World::new(Config::default());
    let mut pages: Vec<ConnectionId> = Vec::new();
    let signal = |bytes: usize| json!({"type": "publish", "topic": "doc", "data": {"type": "signal", "signal": "x".repeat(bytes)}});
    for _ in 0..20 {
        let newcomer = subscriber(&mut world, json!({"type": "subscribe", "topics": ["doc"]}));
        let announce = json!({"type": "publish", "topic": "doc", "data": {"type": "announce", "from": "x"}});
        world.speak(newcomer, announce);
        for elder in &pages {
            for from in [newcomer, *elder] {
                world.speak(from, signal(900));
                for _candidate in 0..8 {
                    world.speak(from, signal(250));
                }
            }
        }
        pages.push(newcomer);
        world.advance(Duration::from_millis(50));
    }
    assert_eq!(world.hub.stats().refused.total(), 0);
    world.check();
}
