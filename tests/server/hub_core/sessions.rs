//! hello, auth, takeover, the end.

use std::time::Duration;

use meetpoint::signaling::{AuthError, CloseCode, Config, Dialect, ErrorCode, Identity, Rights, Takeover};
use serde_json::json;

use crate::hub_world::{START_MS, World, user};

fn hello() -> serde_json::Value {
    json!({"t": "hello", "v": [1], "id": 1})
}

#[test]
fn welcome_carries_session_limits_heartbeat_and_ice() {
    let mut world = World::new(Config::default());
    let connection = world.connect();
    let welcome = world.hello(connection, hello(), Ok(Identity::ANONYMOUS));
    assert_eq!(welcome["t"], "welcome");
    assert_eq!(welcome["id"], 1);
    assert_eq!(welcome["v"], 1);
    assert_eq!(welcome["now"], START_MS);
    assert_eq!(welcome["resumed"], false);
    assert_eq!(welcome["hb"], json!({"ping": 25_000, "dead": 60_000}));
    assert_eq!(welcome["limits"]["frame"], 65_536);
    assert_eq!(welcome["limits"]["relay_bps"], 65_536);
    assert_eq!(welcome["ice"]["servers"][0]["urls"][0], "stun:stun.example.org");
    assert_eq!(welcome["ice"]["exp"], START_MS + 3_600_000);
    assert_eq!(welcome["node"], "meetpoint");
    assert_eq!(world.hub.stats().peers, 1);
    world.check();
}

#[test]
fn two_peers_without_a_wish_get_different_ids_and_sessions() {
    let mut world = World::new(Config::default());
    let (one, two) = (world.connect(), world.connect());
    let one = world.hello(one, hello(), Ok(Identity::ANONYMOUS));
    let two = world.hello(two, hello(), Ok(Identity::ANONYMOUS));
    for field in ["peer", "sid", "key"] {
        assert_ne!(one[field], two[field], "{field}");
    }
}

#[test]
fn silence_is_ended_at_the_hello_timeout_and_not_before() {
    let mut world = World::new(Config::default());
    let connection = world.connect();
    world.advance(Duration::from_millis(9_999));
    assert_eq!(world.closed(connection), None);
    world.advance(Duration::from_millis(1));
    assert_eq!(world.closed(connection), Some(CloseCode::BadRequest));
    let error = world.recv(connection);
    assert_eq!((&error["code"], &error["fatal"]), (&json!("bad_request"), &json!(true)));
    assert_eq!(world.hub.poll_timeout(), None);
    world.check();
}

#[test]
fn a_welcomed_peer_has_no_hello_timeout() {
    let mut world = World::new(Config::default());
    let connection = world.peer("a");
    world.advance(Duration::from_secs(3_600));
    assert_eq!(world.closed(connection), None);
}

#[test]
fn anything_before_hello_is_fatal_but_a_bad_frame_is_not() {
    let mut world = World::new(Config::default());
    let connection = world.connect();
    world.say_text(connection, "junk");
    assert_eq!(world.recv(connection)["code"], "bad_frame");
    assert_eq!(world.closed(connection), None);
    let error = world.ask(connection, json!({"t": "join", "room": "r", "id": 4}));
    assert_eq!((&error["code"], &error["id"]), (&json!("bad_request"), &json!(4)));
    assert_eq!(world.closed(connection), Some(CloseCode::BadRequest));
    world.check();
}

#[test]
fn a_second_hello_is_refused_and_changes_nothing() {
    let mut world = World::new(Config::default());
    let connection = world.peer("a");
    let error = world.hello(connection, hello(), Ok(user("mallory")));
    assert_eq!(error["code"], "bad_request");
    assert_eq!(world.closed(connection), None);
    assert_eq!(world.hub.stats().peers, 1);
}

#[test]
fn a_version_we_do_not_speak_is_refused() {
    let mut world = World::new(Config::default());
    let connection = world.connect();
    let error = world.hello(connection, json!({"t": "hello", "v": [2, 3]}), Ok(Identity::ANONYMOUS));
    assert_eq!(error["code"], "bad_request");
    assert_eq!(world.closed(connection), Some(CloseCode::BadRequest));
    let newer = world.connect();
    assert_eq!(
        world.hello(newer, json!({"t": "hello", "v": [2, 1]}), Ok(Identity::ANONYMOUS))["t"],
        "welcome"
    );
}

#[test]
fn each_verdict_on_a_token_has_its_code_and_its_close() {
    let cases = [
        (AuthError::Missing, "unauthorized", CloseCode::BadToken),
        (AuthError::Invalid, "unauthorized", CloseCode::BadToken),
        (AuthError::Expired, "expired", CloseCode::Expired),
        (AuthError::Forbidden, "forbidden", CloseCode::Forbidden),
        (
            AuthError::Unavailable(Duration::from_secs(3)),
            "unavailable",
            CloseCode::Unavailable,
        ),
        (
            AuthError::Throttled(Duration::from_secs(3)),
            "rate_limited",
            CloseCode::Rate,
        ),
    ];
    for (verdict, code, close) in cases {
        let mut world = World::new(Config::default());
        let connection = world.connect();
        let error = world.hello(connection, hello(), Err(verdict));
        assert_eq!((&error["code"], &error["fatal"]), (&json!(code), &json!(true)));
        assert_eq!(world.closed(connection), Some(close));
        assert_eq!(world.hub.stats().peers, 0);
        world.check();
    }
}

#[test]
fn a_token_that_names_a_peer_id_allows_no_other() {
    let identity = Identity {
        peer: Some("alice".into()),
        ..user("u")
    };
    let mut world = World::new(Config::default());
    let connection = world.connect();
    let welcome = world.hello(connection, hello(), Ok(identity.clone()));
    assert_eq!(welcome["peer"], "alice");
    let connection = world.connect();
    let error = world.hello(connection, json!({"t": "hello", "v": [1], "peer": "bob"}), Ok(identity));
    assert_eq!(error["code"], "forbidden");
    assert_eq!(world.closed(connection), Some(CloseCode::Forbidden));
}

#[test]
fn an_identity_ends_at_its_expiry_and_not_before() {
    let identity = Identity {
        expires_at_ms: Some(START_MS + 5_000),
        ..user("u")
    };
    let mut world = World::new(Config::default());
    let connection = world.connect();
    world.hello(connection, hello(), Ok(identity));
    world.advance(Duration::from_millis(4_999));
    assert_eq!(world.closed(connection), None);
    world.advance(Duration::from_millis(1));
    assert_eq!(world.closed(connection), Some(CloseCode::Expired));
    assert_eq!(world.recv(connection)["code"], "expired");
}

#[test]
fn auth_moves_the_expiry_in_place_and_is_for_the_same_user_only() {
    let until = |ms| Identity {
        expires_at_ms: Some(START_MS + ms),
        ..user("u")
    };
    let mut world = World::new(Config::default());
    let connection = world.connect();
    world.hello(connection, hello(), Ok(until(5_000)));
    let auth = json!({"t": "auth", "id": 2, "token": "t"});

    world.with_identity(connection, &auth, Ok(user("other")));
    assert_eq!(world.recv(connection)["code"], "forbidden");
    world.with_identity(connection, &auth, Err(AuthError::Invalid));
    let error = world.recv(connection);
    assert_eq!(
        (&error["code"], &error["fatal"]),
        (&json!("unauthorized"), &json!(null))
    );
    assert_eq!(world.closed(connection), None);

    world.with_identity(connection, &auth, Ok(until(10_000)));
    assert_eq!(world.recv(connection), json!({"t": "ok", "id": 2}));
    world.advance(Duration::from_millis(9_999));
    assert_eq!(world.closed(connection), None);
    world.advance(Duration::from_millis(1));
    assert_eq!(world.closed(connection), Some(CloseCode::Expired));
    world.check();
}

#[test]
fn auth_with_fewer_rooms_leaves_those_that_are_not_allowed_any_more() {
    let mut world = World::new(Config::default());
    let watcher = world.member("watcher", "a");
    let connection = world.connect();
    world.hello(connection, json!({"t": "hello", "v": [1], "peer": "p"}), Ok(user("u")));
    world.ask(connection, json!({"t": "join", "room": "a"}));
    world.ask(connection, json!({"t": "join", "room": "b"}));
    world.all(watcher);
    let narrow = Identity {
        rooms: Some(["b".into()].into()),
        ..user("u")
    };
    world.with_identity(connection, &json!({"t": "auth", "token": "t", "id": 1}), Ok(narrow));
    let left = world.recv(watcher);
    assert_eq!(
        (&left["ev"], &left["peer"], &left["why"]),
        (&json!("leave"), &json!("p"), &json!("forbidden"))
    );
    world.all(connection);
    assert_eq!(
        world.ask(connection, json!({"t": "join", "room": "a"}))["code"],
        "forbidden"
    );
    assert_eq!(
        world.ask(connection, json!({"t": "leave", "room": "b", "id": 3}))["t"],
        "ok"
    );
    world.check();
}

#[test]
fn rights_are_asked_for_each_verb() {
    let rights = |rights| Identity { rights, ..user("u") };
    let mut world = World::new(Config::default());
    let _other = world.member("other", "r");
    let watcher = world.connect();
    world.hello(
        watcher,
        hello(),
        Ok(rights(Rights {
            publish: false,
            ..Rights::ALL
        })),
    );
    world.ask(watcher, json!({"t": "join", "room": "r"}));
    for refused in [
        json!({"t": "sig", "room": "r", "to": "other", "kind": "end"}),
        json!({"t": "send", "room": "r", "data": 1}),
        json!({"t": "meta", "room": "r", "set": {"a": 1}}),
        json!({"t": "room", "room": "r", "set": {"a": 1}}),
    ] {
        assert_eq!(world.ask(watcher, refused)["code"], "forbidden");
    }
    let talker = world.connect();
    world.hello(
        talker,
        hello(),
        Ok(rights(Rights {
            relay: false,
            ..Rights::ALL
        })),
    );
    world.ask(talker, json!({"t": "join", "room": "r"}));
    assert_eq!(
        world.ask(talker, json!({"t": "send", "room": "r", "data": 1}))["code"],
        "forbidden"
    );
    assert_eq!(
        world.ask(
            talker,
            json!({"t": "sig", "id": 1, "room": "r", "to": "other", "kind": "end"})
        )["t"],
        "ok"
    );
}

#[test]
fn a_right_to_turn_decides_whom_ice_is_made_out_to() {
    let mut world = World::new(Config::default());
    let anonymous = world.connect();
    assert_eq!(world.hub.ice_user(anonymous), None);
    let welcome = world.hello(anonymous, hello(), Ok(Identity::ANONYMOUS));
    let named = world.hub.ice_user(anonymous).map(|ice| ice.user);
    assert_eq!(named.as_deref(), welcome["sid"].as_str());
    let alice = world.connect();
    world.hello(alice, hello(), Ok(user("alice")));
    let named = world.hub.ice_user(alice).map(|ice| ice.user);
    assert_eq!(named.as_deref(), Some("alice"));
    let bob = world.connect();
    world.hello(
        bob,
        hello(),
        Ok(Identity {
            rights: Rights {
                turn: false,
                ..Rights::ALL
            },
            ..user("bob")
        }),
    );
    assert_eq!(world.hub.ice_user(bob), None);
}

#[test]
fn the_key_of_a_session_takes_its_peer_id_back_from_a_half_open_socket() {
    let mut world = World::new(Config::default());
    let watcher = world.member("watcher", "r");
    let old = world.connect();
    let first = world.hello(
        old,
        json!({"t": "hello", "v": [1], "peer": "p"}),
        Ok(Identity::ANONYMOUS),
    );
    world.ask(old, json!({"t": "join", "room": "r"}));
    world.all(watcher);

    let new = world.connect();
    let resume = json!({"sid": first["sid"], "key": first["key"], "seq": 0});
    let second = world.hello(
        new,
        json!({"t": "hello", "v": [1], "resume": resume}),
        Ok(Identity::ANONYMOUS),
    );
    assert_eq!((&second["peer"], &second["resumed"]), (&json!("p"), &json!(false)));
    assert_eq!(world.closed(old), Some(CloseCode::Replaced));
    assert_eq!(world.recv(watcher)["why"], "replaced");
    assert_eq!(world.ask(new, json!({"t": "join", "room": "r"}))["t"], "joined");
    assert_eq!(world.recv(watcher)["ev"], "join");

    // The old socket's end comes late; the peer that came back stays.
    world.hub.disconnect(world.now, old, CloseCode::Abnormal);
    world.collect();
    assert!(world.all(watcher).is_empty());
    assert_eq!(
        world.ask(
            watcher,
            json!({"t": "sig", "id": 1, "room": "r", "to": "p", "kind": "end"})
        )["t"],
        "ok"
    );
    assert_eq!(world.hub.stats().takeovers, 1);
    world.check();
}

#[test]
fn a_wrong_key_replaces_nobody_and_starts_a_fresh_session() {
    let mut world = World::new(Config::default());
    let old = world.connect();
    let first = world.hello(
        old,
        json!({"t": "hello", "v": [1], "peer": "p"}),
        Ok(Identity::ANONYMOUS),
    );
    let new = world.connect();
    let resume = json!({"sid": first["sid"], "key": "x".repeat(32)});
    let second = world.hello(
        new,
        json!({"t": "hello", "v": [1], "resume": resume}),
        Ok(Identity::ANONYMOUS),
    );
    assert_ne!(second["peer"], "p");
    assert_eq!(world.closed(old), None);
    assert_eq!(world.hub.stats().takeovers, 0);
}

#[test]
fn a_stranger_cannot_take_an_id_but_its_authenticated_owner_can() {
    let mut world = World::new(Config::default());
    let watcher = world.member("watcher", "r");
    let hello = json!({"t": "hello", "v": [1], "peer": "p"});
    let join = json!({"t": "join", "room": "r"});
    let old = world.connect();
    world.hello(old, hello.clone(), Ok(user("alice")));
    world.ask(old, join.clone());
    world.all(watcher);

    for stranger in [
        Identity::ANONYMOUS,
        user("mallory"),
        Identity {
            public_key: Some("k".into()),
            ..user("alice")
        },
    ] {
        let connection = world.connect();
        world.hello(connection, hello.clone(), Ok(stranger));
        assert_eq!(world.ask(connection, join.clone())["code"], "id_taken");
        assert_eq!(world.closed(connection), None);
    }
    assert!(world.all(watcher).is_empty());

    let new = world.connect();
    world.hello(new, hello, Ok(user("alice")));
    assert_eq!(world.ask(new, join)["t"], "joined");
    assert_eq!(world.closed(old), Some(CloseCode::Replaced));
    let events: Vec<_> = world.all(watcher).iter().map(|event| event["ev"].clone()).collect();
    assert_eq!(events, ["leave", "join"]);
    world.check();
}

#[test]
fn an_owner_who_was_alone_finds_the_room_and_its_key_as_they_were() {
    let mut world = World::new(Config::default());
    let hello = json!({"t": "hello", "v": [1], "peer": "p"});
    let old = world.connect();
    world.hello(old, hello.clone(), Ok(user("alice")));
    world.ask(old, json!({"t": "join", "room": "r", "key": "k", "max": 7}));
    world.ask(old, json!({"t": "room", "id": 1, "room": "r", "set": {"topic": "x"}}));
    let new = world.connect();
    world.hello(new, hello, Ok(user("alice")));
    assert_eq!(world.ask(new, json!({"t": "join", "room": "r"}))["code"], "forbidden");
    assert_eq!(world.closed(old), None);
    let joined = world.ask(new, json!({"t": "join", "room": "r", "key": "k"}));
    assert_eq!(
        (&joined["max"], &joined["meta"]["topic"], &joined["ver"]),
        (&json!(7), &json!("x"), &json!(1))
    );
    assert_eq!(world.closed(old), Some(CloseCode::Replaced));
    assert_eq!(world.hub.stats().rooms, 1);
    world.check();
}

#[test]
fn the_policy_decides_who_may_take_over() {
    for (policy, anonymous, owner) in [
        (Takeover::Reject, "id_taken", "id_taken"),
        (Takeover::SameOwner, "id_taken", "joined"),
        (Takeover::Replace, "joined", "joined"),
    ] {
        let outcome = |identity: Identity| {
            let mut world = World::new(Config {
                takeover: policy,
                ..Config::default()
            });
            let hello = json!({"t": "hello", "v": [1], "peer": "p"});
            let old = world.connect();
            world.hello(old, hello.clone(), Ok(user("alice")));
            world.ask(old, json!({"t": "join", "room": "r"}));
            let new = world.connect();
            world.hello(new, hello, Ok(identity));
            let answer = world.ask(new, json!({"t": "join", "room": "r"}));
            world.check();
            if answer["t"] == "joined" { "joined" } else { "id_taken" }
        };
        assert_eq!(outcome(Identity::ANONYMOUS), anonymous, "{policy:?}");
        assert_eq!(outcome(user("alice")), owner, "{policy:?}");
    }
}

#[test]
fn bye_is_answered_then_closed_and_the_room_is_told() {
    let mut world = World::new(Config::default());
    let watcher = world.member("watcher", "r");
    let leaver = world.member("leaver", "r");
    world.all(watcher);
    assert_eq!(
        world.ask(leaver, json!({"t": "bye", "id": 5})),
        json!({"t": "ok", "id": 5})
    );
    assert_eq!(world.closed(leaver), Some(CloseCode::Normal));
    let left = world.recv(watcher);
    assert_eq!((&left["ev"], &left["why"]), (&json!("leave"), &json!("bye")));
    world.check();
}

#[test]
fn drain_reaches_the_welcomed_and_close_all_ends_everybody() {
    let mut world = World::new(Config::default());
    let (welcomed, silent) = (world.peer("a"), world.connect());
    world.hub.drain((1_000, 5_000), Some("wss://other.example/v1/ws"));
    world.collect();
    assert_eq!(
        world.recv(welcomed),
        json!({"t": "drain", "after": [1_000, 5_000], "url": "wss://other.example/v1/ws"})
    );
    assert!(world.all(silent).is_empty());
    world.hub.close_all();
    world.collect();
    assert_eq!(world.closed(welcomed), Some(CloseCode::Drain));
    assert_eq!(world.closed(silent), Some(CloseCode::Drain));
    assert_eq!(world.hub.stats().closes[CloseCode::Drain], 2);
    world.check();
}

#[test]
fn connections_at_the_bound_are_accepted_and_one_more_is_not() {
    let mut world = World::new(Config {
        connections: 2,
        ..Config::default()
    });
    let (first, _second) = (world.connect(), world.connect());
    assert!(world.hub.connect(world.now, Dialect::Native).is_err());
    assert_eq!(world.hub.stats().connects_refused, 1);
    world.gone(first, CloseCode::Abnormal);
    world.connect();
    world.check();
}

#[test]
fn peer_ids_at_the_bound_pass_and_past_it_or_unprintable_do_not() {
    let mut world = World::new(Config {
        peer_id_bytes: 4,
        ..Config::default()
    });
    let answer = |world: &mut World, id: &str| {
        let connection = world.connect();
        let answer = world.hello(
            connection,
            json!({"t": "hello", "v": [1], "peer": id}),
            Ok(Identity::ANONYMOUS),
        );
        answer["code"].as_str().unwrap_or("welcome").to_owned()
    };
    assert_eq!(answer(&mut world, "abcd"), "welcome");
    assert_eq!(answer(&mut world, "abcde"), "too_large");
    for wrong in ["", "a b", "a\"", "a\\", "é", "a\n"] {
        assert_eq!(answer(&mut world, wrong), "bad_request", "{wrong:?}");
    }
    assert_eq!(world.hub.stats().refused[ErrorCode::TooLarge], 1);
    world.check();
}

#[test]
fn who_may_only_watch_says_nothing_about_itself_either() {
    let watcher = || Identity {
        user: Some("w".into()),
        rights: Rights {
            publish: false,
            ..Rights::ALL
        },
        ..Identity::ANONYMOUS
    };
    let mut world = World::new(Config::default());
    let connection = world.connect();
    let hello = json!({"t": "hello", "v": [1], "meta": {"name": "loud"}});
    assert_eq!(world.hello(connection, hello, Ok(watcher()))["code"], "forbidden");
    assert_eq!(world.closed(connection), Some(CloseCode::Forbidden));

    let connection = world.connect();
    world.hello(connection, json!({"t": "hello", "v": [1]}), Ok(watcher()));
    let loud = json!({"t": "join", "room": "r", "meta": {"name": "loud"}});
    assert_eq!(world.ask(connection, loud)["code"], "forbidden");
    assert_eq!(
        world.ask(connection, json!({"t": "join", "room": "r", "meta": {}}))["t"],
        "joined"
    );
    world.check();
}
