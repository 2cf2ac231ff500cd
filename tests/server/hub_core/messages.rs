//! sig, send, ice, ping and what is not understood.

use meetpoint::signaling::{Config, Dialect, ErrorCode, Frame, MessageKind};
use serde_json::json;

use crate::hub_world::World;

#[test]
fn a_signal_arrives_byte_for_byte_with_its_sender_stamped() {
    let mut world = World::new(Config::default());
    let (a, b) = (world.member("a", "r"), world.member("b", "r"));
    world.all(a);
    let data = "{\"type\":\"offer\", \"sdp\":\"v=0\\r\\no=- 1 1 IN IP4 0.0.0.0\\r\\n\\u00e9\", \"n\":1.50e+1 }";
    let frame = format!(
        r#"{{"t":"sig","id":3,"room":"r","to":"b","from":"mallory","kind":"offer","cid":"c1","data": {data} }}"#
    );
    world.say_text(a, &frame);
    assert_eq!(world.recv(a), json!({"t": "ok", "id": 3}));
    let text = world.recv_text(b);
    assert!(text.contains(&format!("\"data\":{data},")), "{text}");
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (&value["from"], &value["kind"], &value["cid"]),
        (&json!("a"), &json!("offer"), &json!("c1"))
    );
    assert!(world.all(b).is_empty());
}

#[test]
fn a_signal_without_a_number_is_answered_only_when_refused() {
    let mut world = World::new(Config::default());
    let (a, b) = (world.member("a", "r"), world.member("b", "r"));
    world.all(a);
    world.say(a, json!({"t": "sig", "room": "r", "to": "b", "kind": "bye"}));
    assert!(world.all(a).is_empty());
    assert!(world.recv(b).get("data").is_none());
    assert_eq!(
        world.ask(a, json!({"t": "sig", "room": "r", "to": "nobody", "kind": "bye"}))["code"],
        "no_peer"
    );
    assert_eq!(
        world.ask(a, json!({"t": "sig", "room": "r", "to": "a", "kind": "bye"}))["code"],
        "bad_request"
    );
    assert_eq!(
        world.ask(a, json!({"t": "sig", "room": "s", "to": "b", "kind": "bye"}))["code"],
        "no_room"
    );
}

#[test]
fn signals_and_messages_of_one_sender_keep_their_order() {
    let mut world = World::new(Config::default());
    let (a, b) = (world.member("a", "r"), world.member("b", "r"));
    for n in 0..20 {
        let frame = if n % 2 == 0 {
            json!({"t": "sig", "room": "r", "to": "b", "kind": "cand", "data": n})
        } else {
            json!({"t": "send", "room": "r", "data": n})
        };
        world.say(a, frame);
    }
    let got = world.all(b);
    let data: Vec<u64> = got.iter().map(|frame| frame["data"].as_u64().unwrap()).collect();
    assert_eq!(data, (0..20).collect::<Vec<_>>());
    assert!(got.is_sorted_by_key(|frame| frame["seq"].as_u64().unwrap()));
}

#[test]
fn a_newcomer_is_announced_before_its_first_signal() {
    let mut world = World::new(Config::default());
    let elder = world.member("elder", "r");
    let newcomer = world.member("newcomer", "r");
    world.say(
        newcomer,
        json!({"t": "sig", "room": "r", "to": "elder", "kind": "offer", "data": {}}),
    );
    let kinds: Vec<_> = world.all(elder).iter().map(|frame| frame["t"].clone()).collect();
    assert_eq!(kinds, ["peer", "sig"]);
}

#[test]
fn send_reaches_the_room_one_or_some_and_never_the_sender() {
    let mut world = World::new(Config::default());
    let (a, b, c) = (world.member("a", "r"), world.member("b", "r"), world.member("c", "r"));
    for connection in [a, b] {
        world.all(connection);
    }
    assert_eq!(
        world.ask(a, json!({"t": "send", "id": 1, "room": "r", "data": {"x": 1}}))["sent"],
        2
    );
    assert_eq!(world.recv(b)["data"], json!({"x": 1}));
    assert_eq!(world.recv(c)["from"], "a");
    assert_eq!(
        world.ask(a, json!({"t": "send", "id": 2, "room": "r", "to": "b", "data": null}))["sent"],
        1
    );
    assert_eq!(world.recv(b)["data"], json!(null));
    let some = world.ask(
        a,
        json!({"t": "send", "id": 3, "room": "r", "to": ["c", "c", "nobody"], "data": 2}),
    );
    assert_eq!((&some["sent"], &some["missing"]), (&json!(1), &json!(["nobody"])));
    assert_eq!(world.all(c).len(), 1);
    assert!(world.all(b).is_empty());
    assert_eq!(
        world.ask(a, json!({"t": "send", "room": "r", "to": ["nobody"], "data": 2}))["code"],
        "no_peer"
    );
    assert_eq!(
        world.ask(a, json!({"t": "send", "id": 3, "room": "r", "data": 2, "rel": true}))["sent"],
        2
    );
    world.check();
}

#[test]
fn the_same_bytes_go_to_the_whole_room() {
    let mut world = World::new(Config::default());
    let (a, b, c) = (world.member("a", "r"), world.member("b", "r"), world.member("c", "r"));
    world.all(b);
    world.say(a, json!({"t": "send", "room": "r", "data": [1, 2, 3]}));
    assert_eq!(world.recv_text(b), world.recv_text(c));
}

#[test]
fn a_ping_is_answered_with_its_number_and_the_time() {
    let mut world = World::new(Config::default());
    let a = world.peer("a");
    let pong = world.ask(a, json!({"t": "ping", "n": 9}));
    assert_eq!((&pong["n"], &pong["now"]), (&json!(9), &json!(world.now.unix_ms)));
}

#[test]
fn ice_is_what_the_driver_found() {
    let mut world = World::new(Config::default());
    let a = world.peer("a");
    world.with_identity(
        a,
        &json!({"t": "ice", "id": 2}),
        Ok(meetpoint::signaling::Identity::ANONYMOUS),
    );
    let ice = world.recv(a);
    assert_eq!((&ice["t"], &ice["id"]), (&json!("ice"), &json!(2)));
    assert_eq!(ice["servers"][0]["urls"][0], "stun:stun.example.org");
    // Without a grant there is nothing to offer, and that is an answer too.
    assert_eq!(
        world.ask(a, json!({"t": "ice", "id": 3})),
        json!({"t": "ice", "id": 3, "servers": []})
    );
}

#[test]
fn what_is_not_offered_is_said_and_disturbs_nobody() {
    let mut world = World::new(Config::default());
    let (a, b) = (world.member("a", "r"), world.member("b", "r"));
    world.all(a);
    // A client that does not resume may say what it has seen; there is nothing to forget.
    world.say(a, json!({"t": "ack", "seq": 1}));
    assert!(world.all(a).is_empty());
    for (text, code) in [
        ("", "bad_frame"),
        ("[]", "bad_frame"),
        (r#"{"t":"dance","id":1}"#, "unknown_type"),
        (r#"{"t":"join","id":1}"#, "bad_request"),
        (r#"{"t":"join","room":"","id":1}"#, "bad_request"),
        (r#"{"t":"join","room":"a\u0007b","id":1}"#, "bad_request"),
    ] {
        world.say_text(a, text);
        assert_eq!(world.recv(a)["code"], code, "{text}");
    }
    world
        .hub
        .handle_frame(world.now, a, Frame::binary(Dialect::Native, b"\x01\0\0"));
    world.collect();
    assert_eq!(world.recv(a)["code"], "bad_frame");
    assert!(world.all(b).is_empty());
    assert_eq!(world.closed(a), None);
    let stats = world.hub.stats();
    assert_eq!(stats.messages[MessageKind::Binary], 1);
    assert_eq!(stats.messages[MessageKind::Unknown], 1);
    assert_eq!(stats.refused[ErrorCode::BadFrame], 3);
    world.check();
}

#[test]
fn frames_for_a_connection_that_is_gone_are_nothing() {
    let mut world = World::new(Config::default());
    let a = world.member("a", "r");
    let before = {
        world.gone(a, meetpoint::signaling::CloseCode::Abnormal);
        world.hub.stats()
    };
    world.say_text(a, r#"{"t":"ping"}"#);
    world
        .hub
        .disconnect(world.now, a, meetpoint::signaling::CloseCode::Dead);
    world.hub.close(a, meetpoint::signaling::CloseCode::Dead);
    world.collect();
    assert_eq!(world.hub.stats(), before);
}
