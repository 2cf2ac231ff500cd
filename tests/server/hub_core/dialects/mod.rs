//! The languages of other projects, field by field as their clients send and expect them.

mod chiral;
mod edge_announce;
mod edge_net;
mod edge_relay;
mod matchbox;
mod peerjs;
mod reploid;
mod retcon;
mod retcon_query;
mod silent;
mod socket_io;
mod topics;
mod verbatim;

use meetpoint::signaling::{CloseCode, Config, Dialect, Frame, Identity, Needs, Opening, Takeover};
use serde_json::json;

use crate::hub_world::World;

#[test]
fn the_first_frame_shows_the_dialect_and_the_answer_is_in_it() {
    let mut world = World::new(Config::default());
    let auto = world.connect_as(Dialect::Auto);
    let told = world.speak(auto, json!({"type": "join", "peerId": "a", "roomId": "r"}));
    let kinds: Vec<_> = told.iter().map(|frame| frame["type"].clone()).collect();
    assert_eq!(kinds, [json!("welcome"), json!("joined")]);

    let auto = world.connect_as(Dialect::Auto);
    let told = world.speak(auto, json!({"type": "register", "clientId": "a"}));
    assert_eq!(told, [json!({"type": "peers", "peers": []})]);

    let auto = world.connect_as(Dialect::Auto);
    let told = world.speak(auto, json!({"t": "hello", "v": [1]}));
    assert_eq!(told[0]["t"], "welcome");

    let auto = world.connect_as(Dialect::Auto);
    assert_eq!(world.speak(auto, json!(["?"]))[0]["code"], "bad_frame");
    world.check();
}

#[test]
fn peers_of_two_dialects_never_meet_whatever_their_rooms_are_called() {
    let mut world = World::new(Config::default());
    let native = world.member("a", "chiral");
    let chiral = world.connect_as(Dialect::Chiral);
    world.speak(chiral, json!({"type": "register", "clientId": "a"}));
    let reploid = world.connect_as(Dialect::Reploid);
    world.speak(reploid, json!({"type": "join", "peerId": "a", "roomId": "chiral"}));
    assert!(world.all(native).is_empty() && world.all(chiral).is_empty());
    assert_eq!(world.hub.stats().rooms, 3);
}

#[test]
fn a_connection_that_shows_nothing_ends_like_every_silent_one() {
    let mut world = World::new(Config::default());
    let auto = world.connect_as(Dialect::Auto);
    world.advance(world.hub.config().hello_timeout);
    assert_eq!(world.closed(auto), Some(CloseCode::BadRequest));
}

#[test]
fn where_tokens_are_asked_for_they_are_asked_of_every_dialect() {
    let mut world = World::new(Config::default());
    for (dialect, first) in [
        (Dialect::Reploid, json!({"type": "join", "peerId": "a", "roomId": "r"})),
        (Dialect::Chiral, json!({"type": "register", "clientId": "a"})),
        (Dialect::Topics, json!({"type": "subscribe", "topics": ["a"]})),
        (Dialect::EdgeAnnounce, json!({"type": "announce", "piKey": "a"})),
        (Dialect::EdgeRelay, json!({"type": "register", "nodeId": "a"})),
    ] {
        let connection = world.connect_as(dialect);
        world.speak_as(connection, first.clone(), Err(meetpoint::signaling::AuthError::Missing));
        assert_eq!(world.closed(connection), Some(CloseCode::BadToken), "{dialect:?}");
        let connection = world.connect_as(dialect);
        let elsewhere = Identity {
            rooms: Some([Box::from("elsewhere")].into()),
            ..Identity::ANONYMOUS
        };
        world.speak_as(connection, first, Ok(elsewhere));
        assert_eq!(world.all(connection).pop().unwrap()["code"], "forbidden", "{dialect:?}");
    }
}

#[test]
fn an_id_of_a_known_user_is_taken_over_by_that_user_alone_and_by_nobody_where_the_operator_says_so() {
    let user = |name: &str| Identity {
        user: Some(name.into()),
        ..Identity::ANONYMOUS
    };
    for (dialect, first) in [
        (Dialect::Reploid, json!({"type": "join", "peerId": "a", "roomId": "r"})),
        (Dialect::Chiral, json!({"type": "register", "clientId": "a"})),
        (Dialect::EdgeAnnounce, json!({"type": "announce", "piKey": "a"})),
        (Dialect::EdgeRelay, json!({"type": "register", "nodeId": "a"})),
    ] {
        let mut world = World::new(Config::default());
        let alice = world.connect_as(dialect);
        world.speak_as(alice, first.clone(), Ok(user("alice")));
        for thief in [user("mallory"), Identity::ANONYMOUS] {
            let connection = world.connect_as(dialect);
            world.speak_as(connection, first.clone(), Ok(thief));
            assert_eq!(world.all(connection).pop().unwrap()["code"], "id_taken", "{dialect:?}");
        }
        assert_eq!(world.closed(alice), None);
        let again = world.connect_as(dialect);
        world.speak_as(again, first.clone(), Ok(user("alice")));
        assert_eq!(world.closed(alice), Some(CloseCode::Replaced));

        let mut strict = World::new(Config {
            takeover: Takeover::Reject,
            ..Config::default()
        });
        let holder = strict.connect_as(dialect);
        strict.speak(holder, first.clone());
        let other = strict.connect_as(dialect);
        assert_eq!(strict.speak(other, first).pop().unwrap()["code"], "id_taken");
        assert_eq!(strict.closed(holder), None);
    }
}

/// A service that judges tokens would be asked again with each topic that is subscribed to, and about nobody.
#[test]
fn nobody_is_asked_about_who_is_a_peer_already() {
    for (dialect, again) in [
        (Dialect::Reploid, r#"{"type":"join","peerId":"a","roomId":"r"}"#),
        (Dialect::Chiral, r#"{"type":"register","clientId":"a"}"#),
        (Dialect::Topics, r#"{"type":"subscribe","topics":["a"]}"#),
        (Dialect::EdgeAnnounce, r#"{"type":"announce","piKey":"a"}"#),
        (Dialect::EdgeRelay, r#"{"type":"register","nodeId":"a"}"#),
        (Dialect::EdgeNet, r#"{"type":"register","nodeId":"a"}"#),
        (Dialect::Rooms, r#"{"type":"join","room":"r"}"#),
        (Dialect::SocketIo, r#"42["register","a"]"#),
    ] {
        assert_eq!(Frame::text(dialect, again).needs(), Needs::Name, "{dialect:?}");
    }
    for dialect in [Dialect::PeerJs, Dialect::Matchbox, Dialect::Verbatim, Dialect::EdgeNet] {
        let opening = Opening::new(dialect, None, []);
        let frame = Frame::opening(dialect, &opening).unwrap();
        assert_eq!(
            frame.needs(),
            Needs::Name,
            "{dialect:?}: it has no word for ICE servers"
        );
    }
}
