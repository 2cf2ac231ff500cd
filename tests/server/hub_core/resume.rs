//! Sessions that outlive their socket.

use std::time::Duration;

use meetpoint::signaling::{AuthError, CloseCode, Config, ConnectionId, Dialect, Frame, Grants, Identity, Rights};
use serde_json::{Value, json};

use crate::hub_world::World;

const GRACE: Duration = Duration::from_secs(30);

/// Says hello as a client that resumes, and gives the welcome.
fn hello(world: &mut World, connection: ConnectionId, more: Value, identity: Result<Identity, AuthError>) -> Value {
    let mut hello = json!({"t": "hello", "v": [1], "caps": ["resume"]});
    hello.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    world.hello(connection, hello, identity)
}

/// A member that can resume; its connection and what it needs for that.
fn resumable(world: &mut World, peer: &str, room: &str) -> (ConnectionId, Value) {
    let connection = world.connect();
    let welcome = hello(world, connection, json!({"peer": peer}), Ok(Identity::ANONYMOUS));
    assert!(
        welcome["caps"].as_array().unwrap().contains(&json!("resume")),
        "{welcome}"
    );
    let joined = world.ask(connection, json!({"t": "join", "room": room}));
    let resume = json!({"sid": welcome["sid"], "key": welcome["key"], "seq": joined["seq"]});
    (connection, resume)
}

/// Comes back on a new connection.
fn come_back(world: &mut World, resume: &Value) -> (ConnectionId, Value) {
    let connection = world.connect();
    let welcome = hello(world, connection, json!({ "resume": resume }), Ok(Identity::ANONYMOUS));
    (connection, welcome)
}

fn signal(to: &str, number: u64) -> Value {
    json!({"t": "sig", "id": 1, "room": "r", "to": to, "kind": "cand", "data": number})
}

#[test]
fn a_broken_socket_is_away_and_finds_what_it_missed_in_order_when_it_is_back() {
    let mut world = World::new(Config::default());
    let elder = world.member("elder", "r");
    let (old, resume) = resumable(&mut world, "p", "r");
    world.all(elder);

    world.gone(old, CloseCode::Abnormal);
    let away = world.recv(elder);
    assert_eq!((&away["ev"], &away["peer"]), (&json!("away"), &json!("p")));
    for number in 1..=3 {
        assert_eq!(world.ask(elder, signal("p", number))["t"], "ok");
    }
    let newcomer = world.member("newcomer", "r");
    world.advance(GRACE - Duration::from_millis(1));
    world.all(elder);
    world.all(newcomer);

    let (new, welcome) = come_back(&mut world, &resume);
    assert_eq!((&welcome["resumed"], &welcome["peer"]), (&json!(true), &json!("p")));
    assert_eq!((&welcome["sid"], &welcome["key"]), (&resume["sid"], &resume["key"]));
    let missed = world.all(new);
    let told: Vec<_> = missed
        .iter()
        .map(|frame| (frame["t"].as_str().unwrap(), &frame["data"]))
        .collect();
    let (one, two, three, none) = (json!(1), json!(2), json!(3), Value::Null);
    assert_eq!(told, [("sig", &one), ("sig", &two), ("sig", &three), ("peer", &none)]);
    assert_eq!(missed[3]["peer"], "newcomer");
    for other in [elder, newcomer] {
        let back = world.recv(other);
        assert_eq!((&back["ev"], &back["peer"]), (&json!("back"), &json!("p")));
        assert!(world.all(other).is_empty(), "nobody left, nobody joined");
    }
    // It is in its room as if nothing had been.
    assert_eq!(world.ask(new, signal("elder", 4))["t"], "ok");
    assert_eq!(world.ask(elder, signal("p", 5))["t"], "ok");
    assert_eq!(world.recv(new)["data"], json!(5));
    let stats = world.hub.stats();
    assert_eq!((stats.resumes, stats.away, stats.joins), (1, 0, 3));
    world.check();
}

#[test]
fn who_does_not_come_back_in_time_has_left() {
    let mut world = World::new(Config::default());
    let elder = world.member("elder", "r");
    let (old, resume) = resumable(&mut world, "p", "r");
    world.gone(old, CloseCode::Dead);
    world.all(elder);
    world.advance(GRACE - Duration::from_millis(1));
    assert!(world.all(elder).is_empty());
    assert_eq!(world.hub.stats().away, 1);
    world.advance(Duration::from_millis(1));
    let left = world.recv(elder);
    assert_eq!((&left["ev"], &left["why"]), (&json!("leave"), &json!("dead")));
    let (new, welcome) = come_back(&mut world, &resume);
    assert_eq!(welcome["resumed"], false);
    assert_ne!(welcome["sid"], resume["sid"]);
    assert_eq!(world.ask(new, signal("elder", 1))["code"], "no_room");
    assert_eq!((world.hub.stats().away, world.hub.stats().peers), (0, 2));
    world.check();
}

#[test]
fn a_half_open_socket_is_replaced_and_nobody_sees_it() {
    let mut world = World::new(Config::default());
    let elder = world.member("elder", "r");
    let (old, resume) = resumable(&mut world, "p", "r");
    world.all(elder);
    world.ask(elder, signal("p", 1));
    let (new, welcome) = come_back(&mut world, &resume);
    assert_eq!(welcome["resumed"], true);
    assert_eq!(world.closed(old), Some(CloseCode::Replaced));
    // What went into the dead socket is told again.
    assert_eq!(world.recv(new)["data"], json!(1));
    assert!(world.all(elder).is_empty());
    world.gone(old, CloseCode::Abnormal);
    assert!(world.all(elder).is_empty());
    assert_eq!(world.hub.stats().memberships, 2);
    world.check();
}

#[test]
fn what_was_seen_or_acknowledged_is_not_told_again() {
    let mut world = World::new(Config::default());
    let elder = world.member("elder", "r");
    let (old, mut resume) = resumable(&mut world, "p", "r");
    for number in 1..=3 {
        world.ask(elder, signal("p", number));
    }
    let seen: Vec<_> = world.all(old).iter().map(|frame| frame["seq"].clone()).collect();
    resume["seq"] = seen[1].clone();
    assert_eq!(world.ask(old, json!({"t": "ack", "id": 1, "seq": seen[0]}))["t"], "ok");
    world.gone(old, CloseCode::Abnormal);
    let (new, welcome) = come_back(&mut world, &resume);
    assert_eq!(welcome["resumed"], true);
    let told: Vec<_> = world.all(new).iter().map(|frame| frame["data"].clone()).collect();
    assert_eq!(told, [json!(3)]);
}

#[test]
fn a_session_keeps_as_many_events_as_it_may_and_ends_with_one_more() {
    let config = Config {
        resume_frames: 3,
        ..Config::default()
    };
    let mut world = World::new(config);
    let elder = world.member("elder", "r");
    let (old, resume) = resumable(&mut world, "p", "r");
    world.gone(old, CloseCode::Abnormal);
    for number in 1..=3 {
        assert_eq!(world.ask(elder, signal("p", number))["t"], "ok");
    }
    let (new, welcome) = come_back(&mut world, &resume);
    assert_eq!((&welcome["resumed"], world.all(new).len()), (&json!(true), 3));

    let mut world = World::new(world.hub.config().clone());
    let elder = world.member("elder", "r");
    let (old, resume) = resumable(&mut world, "p", "r");
    world.gone(old, CloseCode::Abnormal);
    for number in 1..=4 {
        world.say(elder, signal("p", number));
    }
    // Nobody believes any more that it gets what is sent to it.
    assert_eq!(world.all(elder).pop().unwrap()["ev"], "leave");
    assert_eq!(world.ask(elder, signal("p", 5))["code"], "no_peer");
    assert_eq!(world.hub.stats().away_overflows, 1);
    assert_eq!(come_back(&mut world, &resume).1["resumed"], false);
    world.check();
}

#[test]
fn bytes_count_as_well() {
    let config = Config {
        resume_bytes: 1_000,
        ..Config::default()
    };
    let mut world = World::new(config);
    let elder = world.member("elder", "r");
    let (old, _) = resumable(&mut world, "p", "r");
    world.gone(old, CloseCode::Abnormal);
    let large = |length| json!({"t": "sig", "room": "r", "to": "p", "kind": "offer", "data": "x".repeat(length)});
    world.say(elder, large(800));
    assert_eq!(world.hub.stats().away, 1);
    world.say(elder, large(800));
    assert_eq!((world.hub.stats().away, world.hub.stats().away_overflows), (0, 1));
}

#[test]
fn as_many_sessions_wait_as_may_and_one_more_ends_at_once() {
    let config = Config {
        away_sessions: 2,
        ..Config::default()
    };
    let mut world = World::new(config);
    let members: Vec<_> = ["a", "b", "c"].map(|peer| resumable(&mut world, peer, "r")).into();
    for (connection, _) in &members {
        world.gone(*connection, CloseCode::Abnormal);
    }
    let stats = world.hub.stats();
    assert_eq!((stats.away, stats.away_refused, stats.memberships), (2, 1, 2));
    // A place is free again when somebody comes back.
    come_back(&mut world, &members[0].1);
    assert_eq!(world.hub.stats().away, 1);
    world.check();
}

#[test]
fn without_grace_or_without_asking_for_it_a_socket_is_its_session() {
    let mut off = World::new(Config {
        resume_grace: Duration::ZERO,
        ..Config::default()
    });
    let elder = off.member("elder", "r");
    let connection = off.connect();
    let welcome = hello(&mut off, connection, json!({"peer": "p"}), Ok(Identity::ANONYMOUS));
    assert_eq!(welcome["caps"], json!(["bin", "relay"]));
    off.ask(connection, json!({"t": "join", "room": "r"}));
    off.all(elder);
    off.gone(connection, CloseCode::Abnormal);
    assert_eq!(off.recv(elder)["ev"], "leave");

    let mut world = World::new(Config::default());
    let elder = world.member("elder", "r");
    let plain = world.member("p", "r");
    world.all(elder);
    world.gone(plain, CloseCode::Abnormal);
    assert_eq!(world.recv(elder)["ev"], "leave");
}

#[test]
fn an_orderly_end_is_an_end() {
    let mut world = World::new(Config::default());
    let elder = world.member("elder", "r");
    for code in [
        CloseCode::Normal,
        CloseCode::Rate,
        CloseCode::Protocol,
        CloseCode::TooLarge,
    ] {
        let (connection, resume) = resumable(&mut world, "p", "r");
        world.all(elder);
        world.gone(connection, code);
        assert_eq!(world.recv(elder)["ev"], "leave", "{code:?}");
        let (_, welcome) = come_back(&mut world, &resume);
        assert_eq!(welcome["resumed"], false);
    }
}

#[test]
fn an_away_peer_is_listed_as_such_and_its_id_is_not_free() {
    let mut world = World::new(Config::default());
    let (old, _) = resumable(&mut world, "p", "r");
    world.gone(old, CloseCode::Abnormal);
    let newcomer = world.peer("n");
    let joined = world.ask(newcomer, json!({"t": "join", "room": "r"}));
    assert_eq!(
        (&joined["peers"][0]["peer"], &joined["peers"][0]["away"]),
        (&json!("p"), &json!(true))
    );
    let thief = world.peer("p");
    assert_eq!(world.ask(thief, json!({"t": "join", "room": "r"}))["code"], "id_taken");
}

#[test]
fn data_waits_for_an_away_peer_only_if_it_is_reliable() {
    let mut world = World::new(Config::default());
    let elder = world.member("elder", "r");
    let (old, resume) = resumable(&mut world, "p", "r");
    world.gone(old, CloseCode::Abnormal);
    let named = |rel: bool| json!({"t": "send", "id": 1, "room": "r", "to": "p", "data": "d", "rel": rel});
    let to_all = |rel: bool| json!({"t": "send", "id": 1, "room": "r", "data": "d", "rel": rel});
    assert_eq!(world.ask(elder, named(false))["code"], "no_peer");
    assert_eq!(world.ask(elder, to_all(false))["sent"], 0);
    assert_eq!(world.ask(elder, named(true))["sent"], 1);
    assert_eq!(world.ask(elder, to_all(true))["sent"], 1);
    let (new, _) = come_back(&mut world, &resume);
    let told: Vec<_> = world.all(new).iter().map(|frame| frame["t"].clone()).collect();
    assert_eq!(told, [json!("msg"), json!("msg")]);
}

#[test]
fn another_user_or_another_name_does_not_go_on_with_the_session() {
    let user = |name: &str| Identity {
        user: Some(name.into()),
        ..Identity::ANONYMOUS
    };
    let mut world = World::new(Config::default());
    let elder = world.member("elder", "r");
    let old = world.connect();
    let welcome = hello(&mut world, old, json!({"peer": "p"}), Ok(user("alice")));
    world.ask(old, json!({"t": "join", "room": "r"}));
    world.gone(old, CloseCode::Abnormal);
    world.all(elder);
    world.ask(elder, signal("p", 1));
    let resume = json!({"sid": welcome["sid"], "key": welcome["key"], "seq": 0});
    let new = world.connect();
    let welcome = hello(&mut world, new, json!({ "resume": resume }), Ok(user("mallory")));
    assert_eq!(welcome["resumed"], false);
    assert!(world.all(new).is_empty(), "told what was for somebody else");
    assert_eq!(world.hub.stats().resumes_refused, 1);

    let (old, resume) = resumable(&mut world, "q", "r");
    world.gone(old, CloseCode::Abnormal);
    let new = world.connect();
    let asked = json!({"resume": resume, "peer": "another"});
    let welcome = hello(&mut world, new, asked, Ok(Identity::ANONYMOUS));
    assert_eq!(
        (&welcome["resumed"], &welcome["peer"]),
        (&json!(false), &json!("another"))
    );
    world.check();
}

#[test]
fn rooms_that_the_new_token_does_not_allow_are_left() {
    let allowed = |rooms: &[&str]| Identity {
        user: Some("alice".into()),
        rooms: Some(rooms.iter().map(|&room| room.into()).collect()),
        rights: Rights::ALL,
        ..Identity::ANONYMOUS
    };
    let mut world = World::new(Config::default());
    let elder = world.member("elder", "r");
    let old = world.connect();
    let welcome = hello(&mut world, old, json!({"peer": "p"}), Ok(allowed(&["r", "s"])));
    world.ask(old, json!({"t": "join", "room": "r"}));
    world.ask(old, json!({"t": "join", "room": "s"}));
    world.gone(old, CloseCode::Abnormal);
    world.all(elder);
    let resume = json!({"sid": welcome["sid"], "key": welcome["key"], "seq": 1_000});
    let new = world.connect();
    let welcome = hello(&mut world, new, json!({ "resume": resume }), Ok(allowed(&["s"])));
    assert_eq!(welcome["resumed"], true);
    let told: Vec<_> = world.all(elder).iter().map(|frame| frame["ev"].clone()).collect();
    assert_eq!(told, [json!("back"), json!("leave")]);
    assert_eq!(world.hub.stats().memberships, 2);
    world.check();
}

#[test]
fn an_identity_that_ends_while_its_owner_is_away_ends_the_session() {
    let mut world = World::new(Config::default());
    let elder = world.member("elder", "r");
    let old = world.connect();
    let short = Identity {
        user: Some("alice".into()),
        expires_at_ms: Some(world.now.unix_ms + 5_000),
        ..Identity::ANONYMOUS
    };
    hello(&mut world, old, json!({"peer": "p"}), Ok(short));
    world.ask(old, json!({"t": "join", "room": "r"}));
    world.gone(old, CloseCode::Abnormal);
    world.all(elder);
    world.advance(Duration::from_secs(5));
    assert_eq!(world.recv(elder)["ev"], "leave");
    world.check();
}

#[test]
fn credentials_of_a_resumed_session_bear_the_same_name() {
    let mut world = World::new(Config::default());
    let (old, resume) = resumable(&mut world, "p", "r");
    let before = world.hub.ice_user(old);
    world.gone(old, CloseCode::Abnormal);
    let (new, _) = come_back(&mut world, &resume);
    assert_eq!(world.hub.ice_user(new), before);
}

#[test]
fn a_token_that_was_being_judged_when_the_socket_ended_does_not_keep_the_session_for_ever() {
    let mut world = World::new(Config::default());
    let elder = world.member("elder", "r");
    let (old, _) = resumable(&mut world, "ghost", "r");
    world.all(elder);
    let text = json!({"t": "auth", "token": "x"}).to_string();
    let frame = Frame::text(Dialect::Native, &text);
    let admitted = world.hub.try_admit(world.now, old, frame).unwrap();
    // While the driver judges it, somebody else's frame fills the queue of this slow reader.
    world.gone(old, CloseCode::Slow);
    let grants = Grants {
        identity: Some(Ok(Identity::ANONYMOUS)),
        ice: None,
    };
    world.hub.handle_request(world.now, old, admitted, grants);
    world.collect();
    world.advance(GRACE);
    assert_eq!(world.hub.stats().away, 0, "its time was over");
    let told: Vec<_> = world.all(elder).iter().map(|frame| frame["ev"].clone()).collect();
    assert_eq!(told, ["away", "leave"]);
    world.check();
}

#[test]
fn a_flapping_session_pays_for_what_its_rooms_hear_of_it() {
    let config = Config {
        message_burst: 100,
        messages_per_second: 1,
        ..Config::default()
    };
    let mut world = World::new(config);
    let elder = world.member("elder", "r");
    let (mut old, resume) = resumable(&mut world, "flap", "r");
    for room in 0..4 {
        world.ask(old, json!({"t": "join", "room": room.to_string()}));
    }
    world.all(elder);
    let mut times = 0;
    let refused = loop {
        world.gone(old, CloseCode::Abnormal);
        let (new, welcome) = come_back(&mut world, &resume);
        old = new;
        if welcome["resumed"] == json!(false) {
            break welcome;
        }
        times += 1;
        assert!(times < 100, "it flaps for nothing");
    };
    assert!(times >= 1, "a blink of the network is no crime");
    assert_eq!(refused["peer"], "flap", "it starts afresh under its name");
    assert_eq!(world.hub.stats().memberships, 1, "and out of its rooms");
    world.check();
}

#[test]
fn a_session_that_cannot_go_on_leaves_its_name_to_the_one_in_its_place() {
    let mut world = World::new(Config::default());
    let (old, resume) = resumable(&mut world, "p", "r");
    // With the hello came credentials made out to the older session: whoever ends this one must know them by its name.
    let mut stale = resume.clone();
    stale["seq"] = Value::Null;
    let (new, welcome) = come_back(&mut world, &stale);
    assert_eq!((&welcome["resumed"], &welcome["sid"]), (&json!(false), &resume["sid"]));
    assert_eq!(world.closed(old), Some(CloseCode::Replaced));
    assert_eq!(welcome["key"], resume["key"]);
    world.ask(new, json!({"t": "join", "room": "r"}));
    let kicked = world
        .hub
        .kick(world.now, Dialect::Native.realm(), "r", "p", None)
        .unwrap();
    assert_eq!(resume["sid"], kicked.sid.as_str());
    world.collect();
    world.check();
}
