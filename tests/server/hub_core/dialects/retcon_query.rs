//! Retcon's clients that give their token in the query and wait to be welcomed.

use meetpoint::signaling::{AuthError, CloseCode, Config, ConnectionId, Dialect, Identity};
use serde_json::{Value, json};

use crate::hub_world::World;

fn open(world: &mut World, identity: Result<Identity, AuthError>) -> (ConnectionId, Vec<Value>) {
    world.open_with(Dialect::Auto, None, &[("token", "t")], identity)
}

fn welcomed(world: &mut World) -> (ConnectionId, String) {
    let (connection, told) = open(world, Ok(Identity::ANONYMOUS));
    assert_eq!((told.len(), &told[0]["type"]), (1, &json!("welcome")));
    (connection, told[0]["peerId"].as_str().unwrap().to_owned())
}

#[test]
fn a_token_in_the_query_shows_the_client_and_welcome_is_the_first_that_it_hears() {
    let mut world = World::new(Config::default());
    let (_, id) = welcomed(&mut world);
    assert!(!id.is_empty());
    let (_, told) = world.open_as(Dialect::RetconQuery, None, &[]);
    assert_eq!(told.len(), 1, "on a path of its own it needs no token");
    world.check();
}

/// Upstream, a client whose token is refused waits for ever.
#[test]
fn a_token_in_the_query_that_is_turned_away_ends_the_connection_with_an_error_and_a_reason() {
    let mut world = World::new(Config::default());
    for (error, code) in [
        (AuthError::Invalid, CloseCode::BadToken),
        (AuthError::Missing, CloseCode::BadToken),
        (AuthError::Expired, CloseCode::Expired),
    ] {
        let (connection, told) = open(&mut world, Err(error));
        assert_eq!((told.len(), &told[0]["type"]), (1, &json!("error")));
        assert_eq!(world.closed(connection), Some(code));
    }
}

#[test]
fn rooms_signals_and_broadcasts_field_by_field() {
    let mut world = World::new(Config::default());
    let [(a, a_id), (b, b_id), (c, _)] = [(); 3].map(|()| welcomed(&mut world));
    let told = world.speak(a, json!({"type": "join", "room": "r"}));
    assert_eq!(told, [json!({"type": "peers", "room": "r", "peers": []})]);
    let told = world.speak(b, json!({"type": "join", "room": "r"}));
    assert_eq!(told, [json!({"type": "peers", "room": "r", "peers": [a_id]})]);
    assert_eq!(
        world.all(a),
        [json!({"type": "peer-joined", "room": "r", "peerId": b_id})]
    );
    let told = world.speak(a, json!({"type": "peers", "room": "r"}));
    assert_eq!(told, [json!({"type": "peers", "room": "r", "peers": [b_id]})]);
    let signal = json!({"type": "offer", "sdp": "v=0\r\n"});
    world.speak(b, json!({"type": "signal", "to": a_id, "signal": signal}));
    assert_eq!(
        world.all(a),
        [json!({"type": "signal", "from": b_id, "signal": signal})]
    );
    world.speak(
        b,
        json!({"type": "signal", "to": a_id, "signal": signal, "roomId": "r"}),
    );
    let with_room = json!({"type": "signal", "from": b_id, "signal": signal, "roomId": "r"});
    assert_eq!(world.all(a), [with_room]);
    world.speak(b, json!({"type": "broadcast", "roomId": "r", "data": [1]}));
    let broadcast = json!({"type": "broadcast", "from": b_id, "roomId": "r", "data": [1]});
    assert_eq!(world.all(a), [broadcast]);
    assert!(world.all(b).is_empty());
    // Who is not in the room reaches nobody in it.
    for frame in [
        json!({"type": "signal", "to": a_id, "signal": signal}),
        json!({"type": "signal", "to": a_id, "signal": signal, "roomId": "r"}),
        json!({"type": "broadcast", "roomId": "r", "data": 1}),
        json!({"type": "peers", "room": "r"}),
    ] {
        assert_eq!(world.speak(c, frame)[0]["type"], "error");
    }
    assert!(world.speak(b, json!({"type": "leave", "room": "r"})).is_empty());
    assert_eq!(
        world.all(a),
        [json!({"type": "peer-left", "room": "r", "peerId": b_id})]
    );
    world.check();
}

/// Upstream, everybody is a new peer after each reconnect, beside the old one.
#[test]
fn a_token_that_names_a_peer_keeps_it_over_a_reconnect() {
    let mut world = World::new(Config::default());
    let named = || {
        Ok(Identity {
            user: Some("alice".into()),
            peer: Some("alice-1".into()),
            ..Identity::ANONYMOUS
        })
    };
    let (old, told) = open(&mut world, named());
    assert_eq!(told[0]["peerId"], "alice-1");
    world.speak(old, json!({"type": "join", "room": "r"}));
    let (new, told) = open(&mut world, named());
    assert_eq!(told[0]["peerId"], "alice-1");
    let told = world.speak(new, json!({"type": "join", "room": "r"}));
    assert_eq!(told, [json!({"type": "peers", "room": "r", "peers": []})]);
    assert_eq!(world.closed(old), Some(CloseCode::Replaced));
}
