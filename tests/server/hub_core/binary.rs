//! `send` and `msg` as binary frames.

use meetpoint::signaling::{CloseCode, Config, ConnectionId, Dialect, Frame, Identity, MessageKind, Rights};
use serde_json::{Value, json};

use crate::hub_world::World;

/// A member of `r` that reads binary frames, and its welcome.
fn member(world: &mut World, peer: &str, caps: &[&str]) -> (ConnectionId, Value) {
    let connection = world.connect();
    let hello = json!({"t": "hello", "v": [1], "peer": peer, "caps": caps});
    let welcome = world.hello(connection, hello, Ok(Identity::ANONYMOUS));
    assert!(welcome["caps"].as_array().unwrap().contains(&json!("bin")), "{welcome}");
    let joined = world.ask(connection, json!({"t": "join", "room": "r"}));
    assert_eq!(joined["t"], "joined");
    (connection, welcome)
}

fn reader(world: &mut World, peer: &str) -> ConnectionId {
    member(world, peer, &["bin"]).0
}

#[test]
fn bytes_go_to_readers_as_bytes_and_to_the_others_in_base64() {
    let mut world = World::new(Config::default());
    let (a, b) = (reader(&mut world, "a"), reader(&mut world, "b"));
    let plain = world.member("plain", "r");
    for connection in [a, b] {
        world.all(connection);
    }
    world.say_binary(a, &json!({"id": 4, "room": "r"}), &[0, 1, 2, 0xFF]);
    assert_eq!(world.recv(a), json!({"t": "ok", "id": 4, "sent": 2}));
    let got = world.recv(b);
    let seq = got["seq"].as_u64().unwrap();
    assert_eq!(
        got,
        json!({"room": "r", "from": "a", "seq": seq, "payload": [0, 1, 2, 255]})
    );
    let text = json!({"t": "msg", "room": "r", "from": "a", "seq": seq, "bin": "AAEC/w=="});
    assert_eq!(world.recv(plain), text);
    // What is JSON stays text for everybody.
    world.say(plain, json!({"t": "send", "room": "r", "data": 1}));
    assert_eq!(
        (world.recv(a)["data"].clone(), world.recv(b)["data"].clone()),
        (json!(1), json!(1))
    );
    assert_eq!(world.hub.stats().relayed_bytes, 4 * 2 + 2);
    world.check();
}

#[test]
fn bytes_are_a_send_with_its_answers_and_its_rules() {
    let mut world = World::new(Config::default());
    let (a, b) = (reader(&mut world, "a"), reader(&mut world, "b"));
    world.all(a);
    world.say_binary(a, &json!({"id": 1, "room": "r", "to": ["b", "b", "nobody"]}), b"x");
    assert_eq!(
        world.recv(a),
        json!({"t": "ok", "id": 1, "sent": 1, "missing": ["nobody"]})
    );
    assert_eq!(world.all(b).len(), 1);
    for (header, code) in [
        (json!({"id": 2, "room": "r", "to": "nobody"}), "no_peer"),
        (json!({"id": 3, "room": "elsewhere"}), "no_room"),
    ] {
        world.say_binary(a, &header, b"x");
        let error = world.recv(a);
        assert_eq!((&error["code"], &error["id"]), (&json!(code), &header["id"]));
    }
    // Without a number it is answered only when it is refused.
    world.say_binary(a, &json!({"room": "r"}), b"");
    assert!(world.all(a).is_empty());
    assert_eq!(world.recv(b)["payload"], json!([]));
    assert_eq!(world.hub.stats().messages[MessageKind::Send], 4);

    let mute = world.connect();
    let rights = Rights {
        relay: false,
        ..Rights::ALL
    };
    let hello = json!({"t": "hello", "v": [1], "peer": "mute", "caps": ["bin"]});
    world.hello(
        mute,
        hello,
        Ok(Identity {
            rights,
            ..Identity::ANONYMOUS
        }),
    );
    world.ask(mute, json!({"t": "join", "room": "r"}));
    world.say_binary(mute, &json!({"room": "r"}), b"x");
    assert_eq!(world.recv(mute)["code"], "forbidden");
    world.check();
}

#[test]
fn bytes_count_against_the_relay_budget_by_their_payload_and_against_the_rate_as_one_message() {
    let mut world = World::new(Config {
        relay_bytes_per_second: 100,
        relay_byte_burst: 200,
        message_burst: 13,
        ..Config::default()
    });
    let (a, b) = (reader(&mut world, "a"), reader(&mut world, "b"));
    world.all(a);
    // 10 of 13 went into hello and join.
    world.say_binary(a, &json!({"id": 1, "room": "r"}), &[7; 200]);
    assert_eq!(world.recv(a)["sent"], 1);
    world.say_binary(a, &json!({"id": 2, "room": "r"}), &[7; 10]);
    let error = world.recv(a);
    assert_eq!((&error["code"], &error["retry"]), (&json!("relay_busy"), &json!(100)));
    world.say_binary(a, &json!({"room": "r"}), b"");
    world.say_binary(a, &json!({"room": "r"}), b"");
    assert_eq!(world.recv(a)["code"], "rate_limited");
    assert_eq!(world.all(b).len(), 2);
    world.check();
}

#[test]
fn bytes_and_text_of_one_sender_keep_their_order() {
    let mut world = World::new(Config::default());
    let (a, b) = (reader(&mut world, "a"), reader(&mut world, "b"));
    for number in 0..20_u8 {
        if number % 2 == 0 {
            world.say_binary(a, &json!({"room": "r"}), &[number]);
        } else {
            world.say(
                a,
                json!({"t": "sig", "room": "r", "to": "b", "kind": "cand", "data": number}),
            );
        }
    }
    let got = world.all(b);
    let number = |frame: &Value| frame.get("data").or(frame["payload"].get(0)).cloned();
    let numbers: Vec<_> = got.iter().filter_map(number).collect();
    assert_eq!(numbers, (0..20).map(|number| json!(number)).collect::<Vec<_>>());
    assert!(got.is_sorted_by_key(|frame| frame["seq"].as_u64().unwrap()));
}

#[test]
fn a_binary_frame_without_the_capability_is_noise() {
    let mut world = World::new(Config::default());
    let (plain, b) = (world.member("plain", "r"), reader(&mut world, "b"));
    world.all(plain);
    world.say_binary(plain, &json!({"id": 1, "room": "r"}), b"x");
    let error = world.recv(plain);
    assert_eq!((&error["code"], error.get("id")), (&json!("bad_frame"), None));
    // Nor before the hello, nor in the words of others, whom it tells nothing about the client either.
    let silent = world.connect();
    world.say_binary(silent, &json!({"room": "r"}), b"x");
    assert_eq!(world.recv(silent)["code"], "bad_frame");
    let unknown = world.connect_as(Dialect::Auto);
    world
        .hub
        .handle_frame(world.now, unknown, Frame::binary(Dialect::Auto, b"\x01\0\0\x02{}"));
    world.collect();
    assert_eq!(world.recv(unknown)["code"], "bad_frame");
    assert!(world.all(b).is_empty());
    assert_eq!(world.hub.stats().messages[MessageKind::Binary], 3);
    world.check();
}

#[test]
fn reliable_bytes_wait_for_who_is_away_and_the_next_socket_may_read_none() {
    let mut world = World::new(Config::default());
    let a = reader(&mut world, "a");
    for caps in [&["bin", "resume"][..], &["resume"]] {
        let (old, welcome) = member(&mut world, "p", &["bin", "resume"]);
        let seq = world.ask(old, json!({"t": "send", "id": 1, "room": "r", "data": 0}));
        assert_eq!(seq["t"], "ok");
        let seen = world.all(a).last().unwrap()["seq"].clone();
        world.gone(old, CloseCode::Abnormal);
        world.all(a);
        world.say_binary(a, &json!({"id": 2, "room": "r"}), b"lost");
        assert_eq!(world.recv(a)["sent"], 0);
        world.say_binary(a, &json!({"id": 3, "room": "r", "rel": true}), b"kept");
        assert_eq!(world.recv(a)["sent"], 1);
        let new = world.connect();
        let resume = json!({"sid": welcome["sid"], "key": welcome["key"], "seq": seen});
        let hello = json!({"t": "hello", "v": [1], "caps": caps, "resume": resume});
        assert_eq!(world.hello(new, hello, Ok(Identity::ANONYMOUS))["resumed"], true);
        let missed = world.all(new);
        assert_eq!(missed.len(), 1, "{missed:?}");
        if caps.contains(&"bin") {
            assert_eq!(missed[0]["payload"], json!(b"kept"));
        } else {
            assert_eq!(
                (&missed[0]["bin"], &missed[0]["from"]),
                (&json!("a2VwdA=="), &json!("a"))
            );
        }
        world.ask(new, json!({"t": "leave", "id": 9, "room": "r"}));
    }
    world.check();
}
