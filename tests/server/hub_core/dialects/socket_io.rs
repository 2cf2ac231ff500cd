//! socket.io, as much of it as Retcon's client uses, packet by packet.

use std::time::Duration;

use meetpoint::signaling::{CloseCode, Config, ConnectionId, Dialect, Identity};
use serde_json::{Value, json};

use crate::hub_world::World;

/// A connection, and what it is told first.
fn opened(world: &mut World, version: &str) -> (ConnectionId, Vec<String>) {
    let anonymous = Ok(Identity::ANONYMOUS);
    let connection = world.open_quietly(Dialect::SocketIo, None, &[("EIO", version)], anonymous);
    let told = world.texts(connection);
    (connection, told)
}

fn open(world: &mut World) -> ConnectionId {
    let (connection, told) = opened(world, "4");
    let open: Value = serde_json::from_str(told[0].strip_prefix('0').unwrap()).unwrap();
    assert_eq!(
        (
            told.len(),
            &open["upgrades"],
            &open["pingInterval"],
            &open["pingTimeout"],
            &open["maxPayload"]
        ),
        (1, &json!([]), &json!(25_000), &json!(20_000), &json!(65_536))
    );
    assert!(open["sid"].as_str().is_some_and(|sid| !sid.is_empty()));
    connection
}

fn register(world: &mut World, peer: &str) -> (ConnectionId, Vec<String>) {
    let connection = open(world);
    let told = world.ask_text(connection, "40");
    let sid: Value = serde_json::from_str(told[0].strip_prefix("40").unwrap()).unwrap();
    assert!(sid["sid"].is_string());
    let told = world.ask_text(connection, &format!(r#"42["register","{peer}"]"#));
    (connection, told)
}

#[test]
fn a_newcomer_is_told_of_all_others_and_they_of_it() {
    let mut world = World::new(Config::default());
    let (a, told) = register(&mut world, "a");
    assert_eq!(told, [r#"42["peers:list",[]]"#]);
    let (b, told) = register(&mut world, "b");
    assert_eq!(told, [r#"42["peers:list",[{"peerId":"a"}]]"#]);
    assert_eq!(world.texts(a), [r#"42["peer:joined",{"peerId":"b"}]"#]);
    world.ask_text(b, "41");
    assert_eq!(world.closed(b), Some(CloseCode::Normal));
    assert_eq!(world.texts(a), [r#"42["peer:left",{"peerId":"b"}]"#]);
    world.check();
}

#[test]
fn a_signal_goes_to_whom_it_names_from_whom_it_comes() {
    let mut world = World::new(Config::default());
    let (a, _) = register(&mut world, "a");
    let (b, _) = register(&mut world, "b");
    world.texts(a);
    let signal = r#"{"type":"offer","offer":{"sdp":"v=0\r\n", "n":1.50}}"#;
    let told = world.ask_text(b, &format!(r#"42["signal",{{"to":"a","from":"b","signal":{signal}}}]"#));
    assert!(told.is_empty());
    assert_eq!(
        world.texts(a),
        [format!(r#"42["signal",{{"from":"b","signal":{signal}}}]"#)]
    );
    for (frame, code) in [
        (r#"42["signal",{"to":"a","from":"c","signal":1}]"#, "forbidden"),
        (r#"42["signal",{"to":"x","from":"b","signal":1}]"#, "no_peer"),
        (r#"42["signal",{"to":"a","from":["b"],"signal":1}]"#, "bad_request"),
        (r#"42["signal",{"to":"a"}]"#, "bad_request"),
        (r#"42["dance"]"#, "unknown_type"),
        (r#"42[]"#, "bad_request"),
        ("42", "bad_request"),
        ("45-binary", "unknown_type"),
        ("4", "bad_request"),
        ("", "bad_request"),
        ("ä", "bad_request"),
    ] {
        let told = world.ask_text(b, frame);
        let error: Value = serde_json::from_str(told[0].strip_prefix("42").unwrap()).unwrap();
        assert_eq!(
            (&error[0], &error[1]["code"]),
            (&json!("error"), &json!(code)),
            "{frame}"
        );
    }
    assert!(world.texts(a).is_empty());
}

#[test]
fn events_are_acknowledged_to_whom_asks_for_it() {
    let mut world = World::new(Config::default());
    let connection = open(&mut world);
    assert_eq!(world.ask_text(connection, r#"40{"token":"whatever"}"#).len(), 1);
    let told = world.ask_text(connection, r#"4212["register","a"]"#);
    assert_eq!(told, [r#"42["peers:list",[]]"#, "4312[]"]);
    let told = world.ask_text(connection, r#"420["signal",{"to":"a","signal":1}]"#);
    assert_eq!(told, [r#"42["signal",{"from":"a","signal":1}]"#, "430[]"]);
}

#[test]
fn another_namespace_is_refused_and_the_main_one_goes_on() {
    let mut world = World::new(Config::default());
    let connection = open(&mut world);
    let told = world.ask_text(connection, r#"40/admin,{"x":1}"#);
    assert_eq!(told, [r#"44/admin,{"message":"Invalid namespace"}"#]);
    assert!(world.ask_text(connection, "40")[0].starts_with("40{"));
    assert_eq!(world.closed(connection), None);
}

/// Its client closes when it hears no ping for an interval and a timeout, whatever the WebSocket says.
#[test]
fn a_client_hears_a_ping_in_every_interval() {
    let mut world = World::new(Config::default());
    let (connection, _) = register(&mut world, "a");
    for _ in 0..5 {
        world.advance(Duration::from_secs(24));
        assert!(world.texts(connection).is_empty());
        world.advance(Duration::from_secs(1));
        assert_eq!(world.texts(connection), ["2"]);
        assert!(world.ask_text(connection, "3").is_empty());
    }
    assert_eq!(world.ask_text(connection, "2probe"), ["3probe"]);
}

#[test]
fn another_version_of_engine_io_is_told_so_and_who_does_not_register_ends() {
    let mut world = World::new(Config::default());
    let (old, told) = opened(&mut world, "3");
    assert!(told[0].contains("version 4"), "{told:?}");
    let idle = open(&mut world);
    world.ask_text(idle, "40");
    world.advance(world.hub.config().hello_timeout);
    assert_eq!(world.closed(old), Some(CloseCode::BadRequest));
    assert_eq!(world.closed(idle), Some(CloseCode::BadRequest));
}

#[test]
fn whoever_registers_again_replaces_its_half_open_socket() {
    let mut world = World::new(Config::default());
    let (old, _) = register(&mut world, "a");
    let (new, told) = register(&mut world, "a");
    assert_eq!(told, [r#"42["peers:list",[]]"#]);
    assert_eq!(world.closed(old), Some(CloseCode::Replaced));
    assert_eq!(world.ask_text(new, r#"42["register","a"]"#).len(), 1);
    assert!(world.ask_text(new, r#"42["register","b"]"#)[0].contains("forbidden"));
}
