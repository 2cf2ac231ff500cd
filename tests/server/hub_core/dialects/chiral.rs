//! Chiral: one room for everybody, and frames that go where they say.

use meetpoint::signaling::{CloseCode, Config, ConnectionId, Dialect, Identity, Rights};
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

#[test]
fn no_spelling_of_a_sender_passes_that_its_receiver_would_read_as_somebody_else() {
    let mut world = World::new(Config::default());
    let [victim, mallory, _] = ["victim", "mallory", "1"].map(|client| register(&mut world, client).0);
    world.all(victim);
    world.all(mallory);
    // JavaScript makes a name of each of these where it looks one up.
    for from in [
        json!(["1"]),
        json!([["victim"]]),
        json!(1.0),
        json!(true),
        json!({}),
        json!(""),
    ] {
        let frame = json!({"type": "offer", "sdp": {}, "to": "victim", "from": from});
        let told = world.speak(mallory, frame);
        assert!(
            matches!(
                told[0]["code"].as_str(),
                Some("bad_frame" | "bad_request" | "forbidden")
            ),
            "{from}: {told:?}"
        );
        let told = world.speak(mallory, json!({"type": "offer", "to": from, "from": "mallory"}));
        assert_eq!(told[0]["type"], "error", "{from}: {told:?}");
        assert!(world.all(victim).is_empty(), "{from}");
    }
}

#[test]
fn nobody_but_the_server_says_who_is_there_or_what_is_wrong() {
    let mut world = World::new(Config::default());
    let [a, b] = ["a", "b"].map(|client| register(&mut world, client).0);
    world.all(a);
    for frame in [
        json!({"type": "peers", "peers": ["evil"], "from": "b"}),
        json!({"type": "error", "message": "go away", "to": "a", "from": "b"}),
    ] {
        assert_eq!(world.speak(b, frame)[0]["type"], "error");
        assert!(world.all(a).is_empty());
    }
}

#[test]
fn a_signal_to_everybody_is_data_and_paid_for_as_such() {
    let config = Config {
        relay_byte_burst: 2_000,
        relay_bytes_per_second: 0,
        ..Config::default()
    };
    let mut world = World::new(config);
    let [a, b] = ["a", "b"].map(|client| register(&mut world, client).0);
    world.all(a);
    let offer = json!({"type": "offer", "sdp": "x".repeat(1_500), "from": "b"});
    assert!(world.speak(b, offer.clone()).is_empty());
    assert_eq!(world.speak(b, offer.clone())[0]["code"], "relay_busy");
    assert_eq!(world.all(a).len(), 1);
    let silent = world.connect_as(Dialect::Chiral);
    let identity = Identity {
        rights: Rights {
            relay: false,
            ..Rights::ALL
        },
        ..Identity::ANONYMOUS
    };
    world.speak_as(silent, json!({"type": "register", "clientId": "c"}), Ok(identity));
    world.all(silent);
    world.all(a);
    let mut forbidden = offer;
    forbidden["from"] = json!("c");
    assert_eq!(world.speak(silent, forbidden)[0]["code"], "forbidden");
    assert!(world.all(a).is_empty());
}

#[test]
fn telling_everybody_of_everybody_has_a_bound() {
    let config = Config {
        relay_total_bytes_per_second: 20_000,
        ..Config::default()
    };
    let mut world = World::new(config);
    let members = (0..)
        .map(|number| register(&mut world, &format!("{number:0>100}")))
        .take_while(|(_, told)| told.iter().all(|frame| frame["type"] == "peers"))
        .count();
    assert!((5..20).contains(&members), "{members}");
    assert!(world.hub.stats().delivered_bytes < 40_000);
    world.advance(std::time::Duration::from_secs(1));
    assert_eq!(register(&mut world, "patient").1[0]["type"], "peers");
}

#[test]
fn the_room_of_everybody_has_a_bound_of_its_own() {
    let config = Config {
        peers_per_room: 10_000,
        relay_total_bytes_per_second: u32::MAX,
        ..Config::default()
    };
    let mut world = World::new(config);
    for number in 0..256 {
        let (_, told) = register(&mut world, &number.to_string());
        assert_eq!(told[0]["type"], "peers");
    }
    assert_eq!(register(&mut world, "one-more").1[0]["code"], "room_full");
}
