//! Retcon: authenticate with the first message, then rooms and signals, in both ways of writing it.

use std::time::Duration;

use meetpoint::signaling::{AuthError, CloseCode, Config, ConnectionId, Dialect, Identity, Rights};
use serde_json::{Value, json};

use crate::hub_world::{World, user};

fn auth(peer: &Value) -> Value {
    json!({"type": "auth", "token": null, "peerId": peer, "metadata": {"userAgent": "test", "timestamp": 1}})
}

fn authenticated(world: &mut World, peer: &str) -> ConnectionId {
    let connection = world.connect_as(Dialect::Auto);
    let told = world.speak(connection, auth(&json!(peer)));
    assert_eq!(told, [json!({"type": "authenticated", "peerId": peer})]);
    connection
}

fn member(world: &mut World, peer: &str, room: &str) -> ConnectionId {
    let connection = authenticated(world, peer);
    let told = world.speak(connection, json!({"type": "join", "room": room}));
    assert_eq!(told[0]["type"], "peers_list", "{told:?}");
    connection
}

#[test]
fn a_newcomer_is_told_who_is_there_and_they_are_told_of_it() {
    let mut world = World::new(Config::default());
    let a = authenticated(&mut world, "a");
    let told = world.speak(a, json!({"type": "join"}));
    assert_eq!(told, [json!({"type": "peers_list", "room": "global", "peers": []})]);
    let b = authenticated(&mut world, "b");
    let metadata = json!({"userAgent": "test", "timestamp": 1});
    let told = world.speak(b, json!({"type": "join", "room": "global"}));
    let peers = json!([{"peerId": "a", "metadata": metadata}]);
    assert_eq!(told, [json!({"type": "peers_list", "room": "global", "peers": peers})]);
    let joined = json!({"type": "peer_joined", "peerId": "b", "room": "global", "metadata": metadata});
    assert_eq!(world.all(a), [joined]);
    assert!(world.speak(b, json!({"type": "leave", "room": "global"})).is_empty());
    assert_eq!(
        world.all(a),
        [json!({"type": "peer_left", "peerId": "b", "room": "global"})]
    );
    world.speak(b, json!({"type": "join", "room": "global"}));
    world.all(a);
    world.gone(b, CloseCode::Abnormal);
    assert_eq!(world.all(a)[0]["type"], "peer_left");
    world.check();
}

#[test]
fn signals_name_their_target_and_arrive_with_their_sender_and_their_bytes() {
    let mut world = World::new(Config::default());
    let [a, b] = ["a", "b"].map(|peer| member(&mut world, peer, "r"));
    world.all(a);
    for kind in ["offer", "answer", "ice_candidate"] {
        let data = json!({"sdp": "v=0\r\n", "type": kind, "n": 1.50});
        let signal = json!({"type": kind, "targetPeerId": "a", "data": data, "fromPeerId": "forged"});
        assert!(world.speak(b, signal).is_empty());
        assert_eq!(
            world.all(a),
            [json!({"type": kind, "fromPeerId": "b", "data": data})],
            "{kind}"
        );
    }
    let told = world.speak(b, json!({"type": "offer", "targetPeerId": "nobody", "data": {}}));
    assert_eq!(
        (&told[0]["type"], &told[0]["message"]),
        (&json!("error"), &json!("Peer not found"))
    );
    let stranger = member(&mut world, "c", "elsewhere");
    let told = world.speak(stranger, json!({"type": "offer", "targetPeerId": "a", "data": {}}));
    assert_eq!(told[0]["code"], "no_peer");
    assert!(world.all(a).is_empty());
}

#[test]
fn a_client_with_a_key_is_answered_in_its_own_words() {
    let mut world = World::new(Config::default());
    let a = member(&mut world, "a", "r");
    let b = world.connect_as(Dialect::Auto);
    let told = world.speak(
        b,
        json!({"type": "auth", "token": null, "publicKey": "MCow", "metadata": {}}),
    );
    assert_eq!(told[0]["type"], "auth-success");
    let id = told[0]["peerId"].as_str().unwrap().to_owned();
    assert!(!id.is_empty());
    let told = world.speak(b, json!({"type": "join-room", "roomId": "r"}));
    assert_eq!(
        (&told[0]["type"], &told[0]["roomId"], &told[0]["peers"][0]["peerId"]),
        (&json!("room-joined"), &json!("r"), &json!("a"))
    );
    assert_eq!(world.all(a)[0]["peerId"], json!(id));
}

#[test]
fn who_waits_to_be_asked_is_asked_and_who_does_not_is_not_asked_again() {
    let mut world = World::new(Config::default());
    let waits = world.connect_as(Dialect::Retcon);
    assert_eq!(world.all(waits), [json!({"type": "auth_required"})]);
    let told = world.speak(waits, auth(&Value::Null));
    assert_eq!(told[0]["type"], "authenticated");
    // Asked again, it would authenticate and join again.
    authenticated(&mut world, "a");
}

/// Upstream, a refused token left `connect()` pending for ever.
#[test]
fn a_token_that_is_turned_away_ends_the_connection_with_an_error_and_a_reason() {
    for (error, code) in [
        (AuthError::Invalid, CloseCode::BadToken),
        (AuthError::Missing, CloseCode::BadToken),
        (AuthError::Expired, CloseCode::Expired),
        (AuthError::Forbidden, CloseCode::Forbidden),
    ] {
        let mut world = World::new(Config::default());
        let connection = world.connect_as(Dialect::Retcon);
        world.all(connection);
        world.speak_as(connection, auth(&json!("a")), Err(error));
        let told = world.all(connection);
        assert_eq!((told.len(), &told[0]["type"]), (1, &json!("error")));
        assert!(told[0]["message"].as_str().is_some_and(|message| !message.is_empty()));
        assert_eq!(world.closed(connection), Some(code));
    }
}

#[test]
fn whatever_else_is_wrong_with_the_first_auth_ends_the_connection_too() {
    let config = Config {
        meta_bytes: 10,
        ..Config::default()
    };
    let mut world = World::new(config);
    for wrong in [
        auth(&json!("with space")),
        auth(&json!("x".repeat(200))),
        auth(&json!("a")),
    ] {
        let connection = world.connect_as(Dialect::Auto);
        assert_eq!(world.speak(connection, wrong)[0]["type"], "error");
        assert_eq!(world.closed(connection), Some(CloseCode::BadRequest));
    }
    let mut world = World::new(Config::default());
    let bound = world.connect_as(Dialect::Auto);
    let identity = Identity {
        peer: Some("somebody".into()),
        ..Identity::ANONYMOUS
    };
    world.speak_as(bound, auth(&json!("a")), Ok(identity));
    assert_eq!(world.closed(bound), Some(CloseCode::Forbidden));
    let mute = world.connect_as(Dialect::Auto);
    assert_eq!(
        world.speak(mute, json!({"type": "auth", "peerId": ["a"]}))[0]["type"],
        "error"
    );
    world.advance(Duration::from_secs(11));
    assert_eq!(world.closed(mute), Some(CloseCode::BadRequest));
}

#[test]
fn nothing_goes_before_auth_and_a_second_auth_renews_the_same_user_alone() {
    let mut world = World::new(Config::default());
    for early in [
        json!({"type": "join", "room": "r"}),
        json!({"type": "leave", "room": "r"}),
        json!({"type": "offer", "targetPeerId": "a", "data": {}}),
    ] {
        let connection = world.connect_as(Dialect::Retcon);
        world.all(connection);
        assert_eq!(world.speak(connection, early)[0]["type"], "error");
        assert_eq!(world.closed(connection), Some(CloseCode::BadRequest));
    }
    let alice = world.connect_as(Dialect::Auto);
    world.speak_as(alice, auth(&json!("a")), Ok(user("alice")));
    world.all(alice);
    world.speak_as(alice, auth(&json!("a")), Ok(user("alice")));
    assert_eq!(world.all(alice), [json!({"type": "authenticated", "peerId": "a"})]);
    world.speak_as(alice, auth(&json!("a")), Ok(user("mallory")));
    assert_eq!(world.all(alice)[0]["code"], "forbidden");
    world.speak_as(alice, auth(&json!("b")), Ok(user("alice")));
    assert_eq!(world.all(alice)[0]["code"], "forbidden");
    assert_eq!(world.closed(alice), None);
}

#[test]
fn a_client_that_comes_back_takes_the_place_of_its_half_open_socket() {
    let mut world = World::new(Config::default());
    let old = member(&mut world, "a", "r");
    let b = member(&mut world, "b", "r");
    let new = member(&mut world, "a", "r");
    assert_eq!(world.closed(old), Some(CloseCode::Replaced));
    let kinds: Vec<_> = world.all(b).into_iter().map(|frame| frame["type"].clone()).collect();
    assert_eq!(kinds, ["peer_left", "peer_joined"]);
    // The late end of the old socket changes nothing.
    world.hub.disconnect(world.now, old, CloseCode::Abnormal);
    world.collect();
    assert!(world.all(b).is_empty());
    world.speak(b, json!({"type": "offer", "targetPeerId": "a", "data": {}}));
    assert_eq!(world.all(new).last().unwrap()["type"], "offer");
}

#[test]
fn who_may_only_watch_comes_in_without_being_heard() {
    let mut world = World::new(Config::default());
    let a = member(&mut world, "a", "r");
    let watcher = world.connect_as(Dialect::Auto);
    let identity = Identity {
        rights: Rights {
            publish: false,
            ..Rights::ALL
        },
        ..Identity::ANONYMOUS
    };
    world.speak_as(watcher, auth(&json!("w")), Ok(identity));
    assert_eq!(world.all(watcher)[0]["type"], "authenticated");
    world.speak(watcher, json!({"type": "join", "room": "r"}));
    assert_eq!(world.all(a)[0]["metadata"], json!({}));
    let told = world.speak(watcher, json!({"type": "offer", "targetPeerId": "a", "data": {}}));
    assert_eq!(told[0]["code"], "forbidden");
    assert!(world.all(a).is_empty());
}

#[test]
fn a_list_of_many_stays_within_what_a_queue_takes() {
    let config = Config {
        page_bytes: 2_000,
        ..Config::default()
    };
    let mut world = World::new(config);
    for number in 0..40 {
        let connection = world.connect_as(Dialect::Auto);
        let mut auth = auth(&json!(number.to_string()));
        auth["metadata"] = json!({"x": "y".repeat(1_000)});
        world.speak(connection, auth);
        world.speak(connection, json!({"type": "join", "room": "r"}));
    }
    let last = authenticated(&mut world, "last");
    let told = world.speak(last, json!({"type": "join", "room": "r"}));
    let peers = told[0]["peers"].as_array().unwrap();
    assert_eq!(peers.len(), 40);
    assert!(told[0].to_string().len() < 6_000);
    assert_eq!(peers[0]["metadata"]["x"].as_str().unwrap().len(), 1_000);
    assert_eq!(peers[39]["metadata"], json!({}));
}
