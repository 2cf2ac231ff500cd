//! What operators do to rooms and to those who are in them.

use std::{borrow::Cow, net::IpAddr, time::Duration};

use meetpoint::signaling::{
    Ban, BansFull, Barred, CloseCode, Config, ConnectionId, Data, Dialect, Identity, NotDone, Realm, SERVER,
};
use serde_json::{Value, json};

use crate::hub_world::{World, user};

const NATIVE: Realm = Dialect::Native.realm();

fn kick(world: &mut World, room: &str, peer: &str, reason: Option<&str>) -> Result<String, NotDone> {
    let ended = world.hub.kick(world.now, NATIVE, room, peer, reason);
    world.collect();
    ended.map(|ended| ended.sid.as_str().to_owned())
}

/// Bans for ten seconds; its number, and the peer ids of those whose sessions ended.
fn ban(world: &mut World, room: Option<&str>, who: Barred) -> Result<(u64, Vec<String>), BansFull> {
    let ban = Ban {
        id: 0,
        room: room.map(|room| (NATIVE, room.into())),
        who,
        until_ms: world.now.unix_ms + 10_000,
        reason: None,
    };
    let done = world.hub.ban(world.now, ban, Some("go away"));
    world.collect();
    done.map(|(id, ended)| (id, ended.iter().map(|ended| ended.peer.to_string()).collect()))
}

/// A welcomed connection from that address.
fn from(world: &mut World, peer: &str, address: &str, identity: Identity) -> (ConnectionId, Value) {
    let connection = world.connect();
    world.hub.set_address(connection, address.parse::<IpAddr>().unwrap());
    let answer = world.hello(connection, json!({"t": "hello", "v": [1], "peer": peer}), Ok(identity));
    (connection, answer)
}

#[test]
fn a_kicked_session_is_told_why_and_closed_and_its_rooms_see_it_leave() {
    let mut world = World::new(Config::default());
    let (a, b) = (world.member("a", "r"), world.member("b", "r"));
    world.ask(b, json!({"t": "join", "room": "s"}));
    let other = world.member("other", "s");
    for connection in [a, b, other] {
        world.all(connection);
    }
    assert_eq!(kick(&mut world, "nowhere", "b", None), Err(NotDone::NoRoom));
    assert_eq!(kick(&mut world, "r", "nobody", None), Err(NotDone::NoPeer));
    assert_eq!(kick(&mut world, "r", "b", Some("be nice")).unwrap().len(), 16);
    assert_eq!(
        world.recv(b),
        json!({"t": "err", "code": "forbidden", "msg": "be nice", "fatal": true})
    );
    assert_eq!(world.closed(b), Some(CloseCode::Forbidden));
    for member in [a, other] {
        assert_eq!(world.recv(member)["why"], "forbidden");
        assert_eq!(world.closed(member), None);
    }
    // Nothing keeps it from coming back.
    world.member("b", "r");
    assert_eq!(world.hub.stats().expelled, 1);
    world.check();
}

#[test]
fn a_session_that_waits_for_its_owner_is_kicked_as_well_and_cannot_come_back() {
    let mut world = World::new(Config::default());
    let _a = world.member("a", "r");
    let old = world.connect();
    let hello = json!({"t": "hello", "v": [1], "peer": "b", "caps": ["resume"]});
    let welcome = world.hello(old, hello, Ok(Identity::ANONYMOUS));
    world.ask(old, json!({"t": "join", "room": "r"}));
    world.gone(old, CloseCode::Abnormal);
    kick(&mut world, "r", "b", None).unwrap();
    let new = world.connect();
    let resume = json!({"sid": welcome["sid"], "key": welcome["key"], "seq": 99});
    let hello = json!({"t": "hello", "v": [1], "caps": ["resume"], "resume": resume});
    let again = world.hello(new, hello, Ok(Identity::ANONYMOUS));
    assert_eq!(again["resumed"], false);
    assert_ne!(again["sid"], welcome["sid"]);
    world.check();
}

#[test]
fn a_closed_room_is_gone_its_members_stay_connected_and_a_lock_keeps_them_out_for_its_time() {
    let mut world = World::new(Config::default());
    let (a, b) = (world.member("a", "r"), world.member("b", "r"));
    world.ask(a, json!({"t": "join", "room": "s"}));
    for connection in [a, b] {
        world.all(connection);
    }
    ban(&mut world, Some("r"), Barred::Everybody).unwrap();
    assert!(world.all(a).is_empty(), "a lock alone ends nothing");
    assert_eq!(world.hub.close_room(world.now, NATIVE, "r", Some("over")), Ok(vec![]));
    world.collect();
    for connection in [a, b] {
        let closed = world.recv(connection);
        assert_eq!(
            (&closed["t"], &closed["room"], &closed["msg"]),
            (&json!("closed"), &json!("r"), &json!("over"))
        );
        assert!(world.all(connection).is_empty(), "of each other they are told nothing");
    }
    assert_eq!(
        world.ask(a, json!({"t": "send", "room": "r", "data": 1}))["code"],
        "no_room"
    );
    let error = world.ask(a, json!({"t": "join", "id": 5, "room": "r"}));
    assert_eq!((&error["code"], &error["retry"]), (&json!("forbidden"), &json!(10_000)));
    assert_eq!(world.ask(a, json!({"t": "who", "id": 6, "room": "s"}))["t"], "ok");
    assert_eq!(world.hub.close_room(world.now, NATIVE, "r", None), Err(NotDone::NoRoom));
    world.advance(Duration::from_secs(10));
    assert_eq!(world.ask(a, json!({"t": "join", "room": "r"}))["total"], 0);
    assert_eq!((world.hub.stats().rooms_closed, world.hub.stats().banned), (1, 1));
    world.check();
}

#[test]
fn clients_of_other_dialects_are_told_in_their_words_and_closed() {
    let mut world = World::new(Config::default());
    let join = |peer: &str| json!({"type": "join", "peerId": peer, "roomId": "r", "metadata": {}});
    let (a, b) = (world.connect_as(Dialect::Reploid), world.connect_as(Dialect::Reploid));
    for (connection, peer) in [(a, "a"), (b, "b")] {
        world.speak(connection, join(peer));
    }
    world.all(a);
    let realm = Dialect::Reploid.realm();
    assert_eq!(world.hub.kick(world.now, NATIVE, "r", "b", None), Err(NotDone::NoRoom));
    world.hub.kick(world.now, realm, "r", "b", Some("x")).unwrap();
    world.collect();
    assert_eq!(world.all(b)[0]["type"], "error");
    assert_eq!(world.closed(b), Some(CloseCode::Forbidden));
    assert_eq!(world.recv(a)["type"], "peer-left");
    // What has no word for a closed room is closed itself.
    let said = world
        .hub
        .say(realm, "r", None, Data::Json(r#"{"type":"notice"}"#), false);
    assert_eq!(said, Ok((1, vec![])));
    assert_eq!(
        world.hub.say(realm, "r", None, Data::Json("1"), false),
        Err(NotDone::Unspeakable)
    );
    assert_eq!(world.hub.close_room(world.now, realm, "r", None).unwrap().len(), 1);
    world.collect();
    assert_eq!(world.recv(a)["type"], "notice");
    assert_eq!(world.recv(a)["type"], "error");
    assert_eq!(world.closed(a), Some(CloseCode::Forbidden));
    // Out for good: a client that does not know would ask again and again.
    let locked = Ban {
        id: 0,
        room: Some((realm, "r".into())),
        who: Barred::Everybody,
        until_ms: u64::MAX,
        reason: None,
    };
    world.hub.ban(world.now, locked, None).unwrap();
    let c = world.connect_as(Dialect::Reploid);
    assert_eq!(world.speak(c, join("c")).pop().unwrap()["type"], "error");
    assert_eq!(world.closed(c), Some(CloseCode::Forbidden));
    world.check();
}

#[test]
fn a_banned_user_peer_or_address_is_ended_kept_out_and_let_in_again() {
    let mut world = World::new(Config::default());
    let (alice, welcome) = from(&mut world, "a", "192.0.2.1", user("alice"));
    assert_eq!(welcome["t"], "welcome");
    let bystander = world.member("bystander", "r");
    let (id, ended) = ban(&mut world, None, Barred::User("alice".into(), None)).unwrap();
    assert_eq!(
        (ended, world.closed(alice)),
        (vec!["a".to_owned()], Some(CloseCode::Forbidden))
    );
    let (refused, error) = from(&mut world, "other", "192.0.2.9", user("alice"));
    assert_eq!((&error["code"], &error["fatal"]), (&json!("forbidden"), &json!(true)));
    assert_eq!(world.closed(refused), Some(CloseCode::Forbidden));
    assert!(world.hub.lift_ban(world.now, id) && !world.hub.lift_ban(world.now, id));
    assert_eq!(from(&mut world, "a", "192.0.2.1", user("alice")).1["t"], "welcome");

    let address = "192.0.2.1".parse().unwrap();
    let (id, ended) = ban(&mut world, None, Barred::Address(address)).unwrap();
    assert_eq!(ended, ["a"]);
    assert_eq!(
        from(&mut world, "x", "::ffff:192.0.2.1", Identity::ANONYMOUS).1["code"],
        "forbidden"
    );
    assert_eq!(
        from(&mut world, "x", "192.0.2.2", Identity::ANONYMOUS).1["t"],
        "welcome"
    );
    assert!(world.hub.lift_ban(world.now, id));

    // In a room alone: it is welcome elsewhere, also without leaving for it.
    let (id, ended) = ban(&mut world, Some("r"), Barred::Peer("p".into())).unwrap();
    assert_eq!(ended, [""; 0]);
    let p = world.peer("p");
    assert_eq!(world.ask(p, json!({"t": "join", "room": "r"}))["code"], "forbidden");
    assert_eq!(world.ask(p, json!({"t": "join", "room": "s"}))["t"], "joined");
    assert_eq!(world.hub.bans(world.now, 0, 9).0[0].id, id);
    world.advance(Duration::from_secs(10));
    assert_eq!(world.ask(p, json!({"t": "join", "room": "r"}))["t"], "joined");
    assert_eq!(world.closed(bystander), None);
    world.check();
}

#[test]
fn bans_at_their_bound_are_refused_and_end_nothing() {
    let mut world = World::new(Config {
        bans: 1,
        ..Config::default()
    });
    let p = world.member("p", "r");
    ban(&mut world, Some("r"), Barred::Peer("somebody".into())).unwrap();
    assert_eq!(ban(&mut world, Some("r"), Barred::Peer("p".into())), Err(BansFull));
    assert_eq!(world.closed(p), None);
    assert_eq!(world.hub.stats().bans, 1);
}

#[test]
fn the_server_speaks_under_a_name_that_nobody_gets() {
    let mut world = World::new(Config::default());
    let (a, b) = (world.member("a", "r"), world.member("b", "r"));
    world.all(a);
    let say = |world: &mut World, to: Option<&[Cow<'_, str>]>, data: Data<'_>| {
        let said = world.hub.say(NATIVE, "r", to, data, false);
        let said = said.map(|(sent, missing)| (sent, missing.join(",")));
        world.collect();
        said
    };
    assert_eq!(
        say(&mut world, None, Data::Json(r#"{"hello": 1 }"#)),
        Ok((2, String::new()))
    );
    for connection in [a, b] {
        let text = world.recv_text(connection);
        assert!(text.contains(r#""from":"$server","data":{"hello": 1 }"#), "{text}");
    }
    let named = [Cow::from("b"), Cow::from("b"), Cow::from("nobody")];
    assert_eq!(
        say(&mut world, Some(&named), Data::Bytes(b"x")),
        Ok((1, "nobody".to_owned()))
    );
    assert_eq!(world.recv(b)["bin"], "eA==");
    assert_eq!(
        say(&mut world, Some(&named[2..]), Data::Json("1")),
        Err(NotDone::NoPeer)
    );

    let version = world
        .hub
        .set_room_meta(NATIVE, "r", Some(r#"{"topic":"x"}"#), &[], Some(0));
    world.collect();
    let told = world.recv(a);
    assert_eq!((version, &told["by"], &told["ver"]), (Ok(1), &json!(SERVER), &json!(1)));
    let change = |world: &mut World, set, version| world.hub.set_room_meta(NATIVE, "r", Some(set), &[], version);
    assert_eq!(change(&mut world, "{}", Some(0)), Err(NotDone::Version));
    assert_eq!(change(&mut world, "[]", None), Err(NotDone::NoObject));
    let large = json!({"k": "v".repeat(4_096)}).to_string();
    assert_eq!(change(&mut world, &large, None), Err(NotDone::TooLarge));

    for identity in [
        Identity::ANONYMOUS,
        Identity {
            peer: Some(SERVER.into()),
            ..Identity::ANONYMOUS
        },
    ] {
        let c = world.connect();
        let peer = if identity.peer.is_some() {
            Value::Null
        } else {
            json!(SERVER)
        };
        let hello = json!({"t": "hello", "v": [1], "peer": peer});
        world.with_identity(c, &hello, Ok(identity));
        assert_eq!(world.recv(c)["code"], "id_taken");
        assert_eq!(world.closed(c), Some(CloseCode::BadRequest));
    }
    world.check();
}

#[test]
fn rooms_and_their_members_are_read_page_by_page() {
    let mut world = World::new(Config::default());
    let names: Vec<String> = (0..5).map(|at| format!("room/{at}")).collect();
    for name in &names {
        for peer in ["a", "b", "c"] {
            world.member(peer, name);
        }
    }
    let foreign = world.connect_as(Dialect::Topics);
    world.speak(foreign, json!({"type": "subscribe", "topics": ["t"]}));
    let (mut seen, mut from) = (Vec::new(), Some(0));
    while let Some(place) = from {
        let (page, next) = world.hub.room_page(Some(NATIVE), place, 2);
        assert!(page.len() <= 2);
        seen.extend(page.iter().map(|room| room.name.to_string()));
        from = next;
    }
    assert_eq!(seen, names);
    assert_eq!(world.hub.room_page(None, 0, 9).0.len(), 6);
    let (room, page) = world.hub.room_view(NATIVE, "room/1", 0, 2).unwrap();
    assert_eq!((room.members, room.max, room.has_key), (3, 256, false));
    let members: Value = serde_json::from_str(&page.members).unwrap();
    assert_eq!(
        (&members[1]["peer"], members[1]["session"].as_str().unwrap().len()),
        (&json!("b"), 16)
    );
    let (_, rest) = world.hub.room_view(NATIVE, "room/1", page.next.unwrap(), 2).unwrap();
    let members: Value = serde_json::from_str(&rest.members).unwrap();
    assert_eq!((&members[0]["peer"], rest.next), (&json!("c"), None));
    assert_eq!(world.hub.room_view(NATIVE, "t", 0, 2), None);
}

/// An object that is no packet would end the transport of every client in the room.
#[test]
fn what_the_server_says_by_socket_io_is_an_event() {
    let mut world = World::new(Config::default());
    let a = world.open_quietly(Dialect::SocketIo, None, &[("EIO", "4")], Ok(Identity::ANONYMOUS));
    world.ask_text(a, r#"42["register","a"]"#);
    let room = world.hub.rooms(1, 0)[0].name.to_string();
    let said = Data::Json(r#"{"note":1.0e0}"#);
    let told = world.hub.say(Dialect::SocketIo.realm(), &room, None, said, false);
    assert_eq!(told, Ok((1, vec![])));
    world.collect();
    assert_eq!(world.texts(a), [r#"42["message",{"note":1.0e0}]"#]);
}

#[test]
fn a_newer_token_lets_nobody_in_whom_a_ban_keeps_out() {
    let mut world = World::new(Config::default());
    let of = |tenant: Option<&str>| Identity {
        realm: tenant.map(Box::from),
        ..user("alice")
    };
    ban(&mut world, None, Barred::User("alice".into(), Some("acme".into()))).unwrap();
    let (alice, _) = from(&mut world, "a", "192.0.2.1", of(None));
    world.with_identity(alice, &json!({"t": "auth", "id": 1, "token": "x"}), Ok(of(None)));
    assert_eq!(world.recv(alice)["t"], "ok");
    world.with_identity(
        alice,
        &json!({"t": "auth", "id": 2, "token": "x"}),
        Ok(of(Some("acme"))),
    );
    assert_eq!(world.recv(alice)["code"], "forbidden");
    assert_eq!(world.closed(alice), Some(CloseCode::Forbidden));
    world.check();
}
