//! PeerJS, message by message as its client sends and reads them.

use std::time::Duration;

use meetpoint::signaling::{AuthError, CloseCode, Config, ConnectionId, Dialect, Identity, Takeover};
use serde_json::{Value, json};

use crate::hub_world::{World, user};

const WAIT: Duration = Duration::from_secs(5);

fn open(world: &mut World, id: &str, token: &str) -> (ConnectionId, Vec<Value>) {
    let query = [("key", "peerjs"), ("id", id), ("token", token), ("version", "1.5.5")];
    world.open_as(Dialect::PeerJs, None, &query)
}

/// A peer that is open.
fn peer(world: &mut World, id: &str) -> ConnectionId {
    let (connection, told) = open(world, id, &format!("token of {id}"));
    assert_eq!(told, [json!({"type": "OPEN"})]);
    connection
}

fn offer(to: &str) -> Value {
    json!({"type": "OFFER", "dst": to, "payload": {"sdp": {"type": "offer", "sdp": "v=0\r\n"}, "type": "data", "connectionId": "dc_1"}})
}

fn expire(of: &str, to: &str) -> Value {
    json!({"type": "EXPIRE", "src": of, "dst": to})
}

#[test]
fn messages_go_from_id_to_id_with_the_source_as_the_server_knows_it() {
    let mut world = World::new(Config::default());
    let [a, b] = ["a", "b c_d-1"].map(|id| peer(&mut world, id));
    for kind in ["OFFER", "ANSWER", "CANDIDATE"] {
        let payload = json!({"candidate": {"candidate": "c", "sdpMid": "0"}, "type": "data", "connectionId": "x"});
        let frame = json!({"type": kind, "src": "forged", "dst": "b c_d-1", "payload": payload});
        assert!(world.speak(a, frame).is_empty());
        assert_eq!(
            world.all(b),
            [json!({"type": kind, "src": "a", "dst": "b c_d-1", "payload": payload})]
        );
    }
    world.speak(b, json!({"type": "LEAVE", "dst": "a"}));
    assert_eq!(world.all(a), [json!({"type": "LEAVE", "src": "b c_d-1", "dst": "a"})]);
    assert!(world.speak(a, json!({"type": "HEARTBEAT"})).is_empty());
    world.check();
}

#[test]
fn a_payload_arrives_byte_for_byte() {
    let mut world = World::new(Config::default());
    let [a, b] = ["a", "b"].map(|id| peer(&mut world, id));
    let payload = r#"{ "sdp" :{"x":1.0e0,"y":"\u00e9\/"} }"#;
    let text = format!(r#"{{"dst":"b","payload":{payload},"type":"OFFER"}}"#);
    world.speak_text(a, &text);
    assert_eq!(
        world.recv_text(b),
        format!(r#"{{"type":"OFFER","src":"a","dst":"b","payload":{payload}}}"#)
    );
}

#[test]
fn what_a_request_lacks_is_told_in_the_words_of_upstream() {
    let mut world = World::new(Config::default());
    let error = |message: &str| [json!({"type": "ERROR", "payload": {"msg": message}})];
    let lacking = "No id, token, or key supplied to websocket server";
    for query in [
        vec![],
        vec![("key", "peerjs"), ("id", "a")],
        vec![("key", "peerjs"), ("token", "t")],
        vec![("id", "a"), ("token", "t")],
        vec![("key", "peerjs"), ("id", ""), ("token", "t")],
    ] {
        let (connection, told) = world.open_as(Dialect::PeerJs, None, &query);
        assert_eq!(told, error(lacking), "{query:?}");
        assert!(world.closed(connection).is_some());
    }
    let query = [("key", "other"), ("id", "a"), ("token", "t")];
    let (connection, told) = world.open_as(Dialect::PeerJs, None, &query);
    assert_eq!(told, error("Invalid key provided"));
    assert!(world.closed(connection).is_some());
    world.check();
}

#[test]
fn one_more_than_the_concurrent_user_limit_is_told_so() {
    let mut world = World::new(Config {
        peerjs_peers: 2,
        ..Config::default()
    });
    peer(&mut world, "a");
    peer(&mut world, "b");
    let (connection, told) = open(&mut world, "c", "t");
    let message = "Server has reached its concurrent user limit";
    assert_eq!(told, [json!({"type": "ERROR", "payload": {"msg": message}})]);
    assert!(world.closed(connection).is_some());
}

#[test]
fn a_name_space_is_larger_than_a_room_may_be() {
    let mut world = World::new(Config {
        peers_per_room: 2,
        ..Config::default()
    });
    let peers = ["a", "b", "c"].map(|id| peer(&mut world, id));
    // And nobody is told of anybody.
    assert!(peers.iter().all(|connection| world.all(*connection).is_empty()));
    world.gone(peers[0], CloseCode::Abnormal);
    assert!(world.all(peers[1]).is_empty());
    world.check();
}

#[test]
fn an_id_that_is_in_use_is_taken_unless_the_token_is_the_same() {
    let mut world = World::new(Config::default());
    let holder = peer(&mut world, "a");
    let (thief, told) = open(&mut world, "a", "another");
    assert_eq!(told, [json!({"type": "ID-TAKEN", "payload": {"msg": "ID is taken"}})]);
    assert!(world.closed(thief).is_some() && world.closed(holder).is_none());
    world.check();
}

#[test]
fn who_comes_back_with_id_and_token_is_open_at_once_and_the_old_socket_is_closed() {
    // Also where the operator lets nobody take an id: the token proves that it is the same peer.
    for takeover in [Takeover::SameOwner, Takeover::Reject] {
        let mut world = World::new(Config {
            takeover,
            ..Config::default()
        });
        let [old, other] = ["a", "b"].map(|id| peer(&mut world, id));
        let new = peer(&mut world, "a");
        assert_eq!(world.closed(old), Some(CloseCode::Replaced));
        // The late end of the old socket changes nothing.
        world.gone(old, CloseCode::Abnormal);
        world.speak(other, offer("a"));
        assert_eq!(world.all(new)[0]["src"], "b");
        world.check();
    }
}

#[test]
fn an_id_of_a_known_user_is_not_taken_by_the_token_alone() {
    let mut world = World::new(Config::default());
    let query = [("key", "peerjs"), ("id", "a"), ("token", "t")];
    let mut as_user = |name| world.open_with(Dialect::PeerJs, None, &query, Ok(user(name))).1;
    assert_eq!(as_user("ann")[0]["type"], "OPEN");
    assert_eq!(as_user("ben")[0]["type"], "ID-TAKEN");
    assert_eq!(as_user("ann")[0]["type"], "OPEN");
    let refused = world.open_with(Dialect::PeerJs, None, &query, Err(AuthError::Missing));
    assert_eq!(
        refused.1,
        [json!({"type": "ERROR", "payload": {"msg": "a token is required"}})]
    );
}

#[test]
fn what_is_for_an_id_that_nobody_has_expires_once_per_pair_after_five_seconds() {
    let mut world = World::new(Config::default());
    let [a, b] = ["a", "b"].map(|id| peer(&mut world, id));
    for _ in 0..3 {
        assert!(world.speak(a, offer("nobody")).is_empty());
    }
    world.speak(a, offer("no one"));
    world.advance(Duration::from_secs(2));
    world.speak(b, offer("nobody"));
    world.advance(WAIT - Duration::from_secs(2) - Duration::from_millis(1));
    assert!(world.all(a).is_empty());
    world.advance(Duration::from_millis(1));
    assert_eq!(world.all(a), [expire("nobody", "a"), expire("no one", "a")]);
    assert!(world.all(b).is_empty());
    world.advance(Duration::from_secs(2));
    assert_eq!(world.all(b), [expire("nobody", "b")]);
    world.advance(WAIT);
    assert!(world.all(a).is_empty() && world.all(b).is_empty());
    let stats = world.hub.stats();
    assert_eq!(
        (stats.postponed, stats.postponed_expired, stats.postponed_waiting),
        (5, 3, 0)
    );
}

#[test]
fn a_target_that_comes_in_time_is_given_everything_in_order_right_after_open() {
    let mut world = World::new(Config::default());
    let [a, b] = ["a", "b"].map(|id| peer(&mut world, id));
    world.speak(a, offer("late"));
    world.speak(b, offer("late"));
    world.speak(a, json!({"type": "CANDIDATE", "dst": "late", "payload": {"n": 1}}));
    world.advance(WAIT - Duration::from_millis(1));
    let (_, told) = open(&mut world, "late", "t");
    let told: Vec<_> = told
        .iter()
        .map(|frame| (frame["type"].clone(), frame["src"].clone()))
        .collect();
    let expected = [
        ("OPEN", json!(null)),
        ("OFFER", json!("a")),
        ("OFFER", json!("b")),
        ("CANDIDATE", json!("a")),
    ];
    assert_eq!(told, expected.map(|(kind, from)| (json!(kind), from)));
    world.advance(WAIT);
    assert!(world.all(a).is_empty() && world.all(b).is_empty());
    assert_eq!(world.hub.stats().postponed_waiting, 0);
}

#[test]
fn what_another_key_is_for_never_arrives_here() {
    let mut world = World::new(Config {
        peerjs_keys: vec!["peerjs".into(), "mine".into()],
        ..Config::default()
    });
    let a = peer(&mut world, "a");
    world.speak(a, offer("b"));
    let query = [("key", "mine"), ("id", "b"), ("token", "t")];
    let (_, told) = world.open_as(Dialect::PeerJs, None, &query);
    assert_eq!(told, [json!({"type": "OPEN"})]);
    world.advance(WAIT);
    assert_eq!(world.all(a), [expire("b", "a")]);
}

#[test]
fn a_leave_to_nobody_gives_up_the_id_and_one_to_somebody_who_is_gone_is_dropped() {
    let mut world = World::new(Config::default());
    let [a, b] = ["a", "b"].map(|id| peer(&mut world, id));
    assert!(world.speak(a, json!({"type": "LEAVE", "dst": "nobody"})).is_empty());
    assert_eq!(world.hub.stats().postponed, 0);
    world.speak(a, json!({"type": "LEAVE"}));
    world.speak(b, offer("a"));
    assert_eq!(world.hub.stats().postponed, 1);
    let (_, told) = open(&mut world, "a", "another token");
    assert_eq!(told[0]["type"], "OPEN");
}

#[test]
fn the_queue_is_full_at_its_bound_and_who_is_past_it_is_told_at_once() {
    let mut world = World::new(Config {
        postponed_frames: 16,
        ..Config::default()
    });
    let senders: Vec<_> = (0..9).map(|at| peer(&mut world, &format!("s{at}"))).collect();
    // Two of one sender and for one name, which is an eighth.
    for to in ["x", "y"] {
        assert!(world.speak(senders[0], offer(to)).is_empty());
    }
    assert_eq!(world.speak(senders[0], offer("z")), [expire("z", "s0")]);
    assert!(world.speak(senders[1], offer("x")).is_empty());
    assert_eq!(world.speak(senders[2], offer("x")), [expire("x", "s2")]);
    for (at, sender) in senders.iter().enumerate().skip(1) {
        world.speak(*sender, offer(&format!("{at}")));
        world.speak(*sender, offer(&format!("{at}'")));
        world.all(*sender);
    }
    assert_eq!(world.hub.stats().postponed_waiting, 16);
    let last = peer(&mut world, "last");
    assert_eq!(world.speak(last, offer("q")), [expire("q", "last")]);
    assert!(world.hub.stats().postponed_refused >= 3);
    world.advance(WAIT);
    assert_eq!(world.hub.stats().postponed_waiting, 0);
    world.all(last);
    assert!(world.speak(last, offer("q")).is_empty());
}

#[test]
fn the_queue_holds_no_more_bytes_than_it_may() {
    let mut world = World::new(Config {
        postponed_bytes: 400,
        ..Config::default()
    });
    let mut told = Vec::new();
    for at in 0..4 {
        let sender = peer(&mut world, &format!("s{at}"));
        told.extend(world.speak(sender, offer(&format!("x{at}"))));
    }
    assert!(!told.is_empty() && told.len() < 4, "{told:?}");
}

/// One sender of long frames would leave no room for the offers of everybody else.
#[test]
fn one_sender_and_one_name_have_an_eighth_of_the_bytes_and_each_may_have_one_frame() {
    let length = json!({"type": "OFFER", "src": "s0", "dst": "x", "payload": offer("x")["payload"]})
        .to_string()
        .len();
    let mut world = World::new(Config {
        postponed_bytes: 8 * 2 * length,
        ..Config::default()
    });
    let senders: Vec<_> = (0..4).map(|at| peer(&mut world, &format!("s{at}"))).collect();
    for to in ["x", "y"] {
        assert!(world.speak(senders[0], offer(to)).is_empty());
    }
    assert_eq!(world.speak(senders[0], offer("z")), [expire("z", "s0")]);
    assert!(world.speak(senders[1], offer("x")).is_empty());
    assert_eq!(world.speak(senders[2], offer("x")), [expire("x", "s2")]);
    let mut long = offer("w");
    long["payload"]["sdp"] = json!("v".repeat(3 * length));
    assert!(world.speak(senders[3], long).is_empty());
    assert_eq!(world.speak(senders[3], offer("v")), [expire("v", "s3")]);
    world.advance(WAIT);
    world.all(senders[0]);
    assert!(world.speak(senders[0], offer("z")).is_empty());
}

#[test]
fn a_frame_that_is_wrong_does_not_end_the_clients_peer() {
    let mut world = World::new(Config::default());
    let a = peer(&mut world, "a");
    for frame in [
        json!({"type": "OPEN"}),
        json!({"type": "EXPIRE", "dst": "a"}),
        json!({"type": "OFFER", "payload": {}}),
        json!({"type": "OFFER", "dst": ["a"]}),
        json!([]),
    ] {
        let told = world.speak(a, frame.clone());
        assert_eq!((told.len(), &told[0]["type"]), (1, &json!("WARNING")), "{frame}");
    }
    assert!(world.closed(a).is_none());
    world.check();
}

#[test]
fn an_id_has_single_spaces_between_words_and_nothing_that_looks_like_another() {
    let mut world = World::new(Config::default());
    for good in ["a", "a b", "a-b_c 1", "3d0b6e4e-7c4b-4d1a-9a57-1f0d1c2b3a4f"] {
        assert_eq!(open(&mut world, good, "t").1[0]["type"], "OPEN", "{good}");
    }
    for bad in [" a", "a ", "a  b", "a\tb", "é", "a\"b"] {
        assert_eq!(open(&mut world, bad, "t").1[0]["type"], "ERROR", "{bad}");
    }
}

#[test]
fn a_request_on_a_path_of_any_dialect_shows_that_it_is_peerjs() {
    let mut world = World::new(Config::default());
    let query = [("key", "peerjs"), ("id", "a"), ("token", "t"), ("version", "1.5.5")];
    let (connection, told) = world.open_as(Dialect::Auto, None, &query);
    assert_eq!(told, [json!({"type": "OPEN"})]);
    world.advance(Duration::from_secs(60));
    assert!(world.all(connection).is_empty() && world.closed(connection).is_none());
    let (_, told) = world.open_as(Dialect::Auto, None, &[("key", "peerjs"), ("id", "a")]);
    assert!(told.is_empty());
}

#[test]
fn who_may_only_watch_sends_nothing() {
    let mut world = World::new(Config::default());
    peer(&mut world, "b");
    let mut watcher = Identity::ANONYMOUS;
    watcher.rights.publish = false;
    let query = [("key", "peerjs"), ("id", "w"), ("token", "t")];
    let (connection, _) = world.open_with(Dialect::PeerJs, None, &query, Ok(watcher));
    assert_eq!(world.speak(connection, offer("b"))[0]["type"], "WARNING");
    assert_eq!(world.speak(connection, offer("nobody"))[0]["type"], "WARNING");
    assert_eq!(world.hub.stats().postponed, 0);
}

/// Twenty connections at once with a dozen candidates each: more than a page does.
#[test]
fn the_budget_of_one_connection_takes_the_burst_of_many_calls() {
    let mut world = World::new(Config::default());
    let a = peer(&mut world, "a");
    for at in 0..20 {
        let to = format!("p{at}");
        let there = peer(&mut world, &to);
        world.speak(a, offer(&to));
        for _ in 0..12 {
            assert!(
                world
                    .speak(a, json!({"type": "CANDIDATE", "dst": to, "payload": {}}))
                    .is_empty()
            );
        }
        assert_eq!(world.all(there).len(), 13);
    }
}

/// The timers of a hidden tab fire once a minute, and later not at all; upstream drops who sends no heartbeat for that long.
#[test]
fn a_hidden_tab_that_sends_no_heartbeat_stays() {
    let mut world = World::new(Config::default());
    let [hidden, other] = ["hidden", "other"].map(|id| peer(&mut world, id));
    for _ in 0..10 {
        world.advance(Duration::from_secs(60));
    }
    world.speak(other, offer("hidden"));
    assert_eq!(world.all(hidden)[0]["src"], "other");
    assert!(world.closed(hidden).is_none());
}

#[test]
fn what_somebody_sent_who_is_gone_arrives_and_expires_for_nobody() {
    let mut world = World::new(Config::default());
    let [a, b] = ["a", "b"].map(|id| peer(&mut world, id));
    world.speak(a, offer("late"));
    world.speak(b, offer("never"));
    world.gone(a, CloseCode::Normal);
    let (_, told) = open(&mut world, "late", "t");
    assert_eq!(told[1]["src"], "a");
    world.gone(b, CloseCode::Normal);
    world.advance(WAIT);
    assert_eq!(world.hub.stats().postponed_waiting, 0);
    world.check();
}
