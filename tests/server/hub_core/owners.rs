//! How many connections a user may have.

use std::time::Duration;

use meetpoint::signaling::{CloseCode, Config, ConnectionId, Identity};
use serde_json::{Value, json};

use crate::hub_world::{World, user};

fn two_each() -> World {
    World::new(Config {
        connections_per_user: 2,
        ..Config::default()
    })
}

fn greet(world: &mut World, more: Value, identity: Identity) -> (ConnectionId, Value) {
    let mut hello = json!({"t": "hello", "v": [1], "caps": ["resume"]});
    hello.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let connection = world.connect();
    let answer = world.hello(connection, hello, Ok(identity));
    (connection, answer)
}

fn of_tenant(name: &str, realm: &str) -> Identity {
    Identity {
        realm: Some(realm.into()),
        ..user(name)
    }
}

#[test]
fn a_user_has_as_many_connections_as_it_may_and_the_next_is_told_so() {
    let mut world = two_each();
    let (first, _) = greet(&mut world, json!({}), user("alice"));
    greet(&mut world, json!({}), user("alice"));
    let (third, refused) = greet(&mut world, json!({}), user("alice"));
    assert_eq!((&refused["code"], &refused["fatal"]), (&json!("limit"), &json!(true)));
    assert!(refused["retry"].as_u64().unwrap() > 0);
    assert_eq!(world.closed(third), Some(CloseCode::Limit));
    for other in [user("bob"), of_tenant("alice", "acme"), Identity::ANONYMOUS] {
        let (_, welcome) = greet(&mut world, json!({}), other);
        assert_eq!(welcome["t"], "welcome");
    }
    world.gone(first, CloseCode::Normal);
    assert_eq!(greet(&mut world, json!({}), user("alice")).1["t"], "welcome");
    assert_eq!(greet(&mut world, json!({}), user("alice")).1["code"], "limit");
    world.check();
}

#[test]
fn nobody_in_particular_is_not_counted_and_zero_is_no_limit() {
    let mut world = two_each();
    for _ in 0..9 {
        assert_eq!(greet(&mut world, json!({}), Identity::ANONYMOUS).1["t"], "welcome");
    }
    let mut world = World::new(Config {
        connections_per_user: 0,
        ..Config::default()
    });
    for _ in 0..99 {
        assert_eq!(greet(&mut world, json!({}), user("alice")).1["t"], "welcome");
    }
}

#[test]
fn whoever_comes_back_takes_its_own_place_however_it_comes() {
    let mut world = two_each();
    greet(&mut world, json!({}), user("alice"));
    let (mut last, welcome) = greet(&mut world, json!({"peer": "p"}), user("alice"));
    let joined = world.ask(last, json!({"t": "join", "room": "r"}));
    let resume = json!({"resume": {"sid": welcome["sid"], "key": welcome["key"], "seq": joined["seq"]}});
    // With its old socket still there, and with it gone.
    for lost in [false, true, true, false] {
        if lost {
            world.gone(last, CloseCode::Abnormal);
        }
        let (connection, welcome) = greet(&mut world, resume.clone(), user("alice"));
        assert_eq!((&welcome["t"], &welcome["resumed"]), (&json!("welcome"), &json!(true)));
        last = connection;
        assert_eq!(greet(&mut world, json!({}), user("alice")).1["code"], "limit");
    }
    // A fresh start under the old name.
    let afresh = json!({"resume": {"sid": welcome["sid"], "key": welcome["key"]}});
    let (_, welcome) = greet(&mut world, afresh, user("alice"));
    assert_eq!((&welcome["t"], &welcome["resumed"]), (&json!("welcome"), &json!(false)));
    assert_eq!(greet(&mut world, json!({}), user("alice")).1["code"], "limit");
    world.check();
}

#[test]
fn a_session_that_waits_leaves_its_place_to_others_and_may_find_it_taken() {
    let mut world = two_each();
    let (lost, welcome) = greet(&mut world, json!({}), user("alice"));
    let joined = world.ask(lost, json!({"t": "join", "room": "r"}));
    greet(&mut world, json!({}), user("alice"));
    world.gone(lost, CloseCode::Abnormal);
    assert!(world.hub.is_away(lost));
    assert_eq!(greet(&mut world, json!({}), user("alice")).1["t"], "welcome");
    let resume = json!({"resume": {"sid": welcome["sid"], "key": welcome["key"], "seq": joined["seq"]}});
    assert_eq!(greet(&mut world, resume, user("alice")).1["code"], "limit");
    assert!(world.hub.is_away(lost), "and it waits on");
    world.advance(Duration::from_secs(60));
    assert_eq!(greet(&mut world, json!({}), user("alice")).1["code"], "limit");
    world.check();
}

#[test]
fn a_token_of_another_tenant_moves_the_place_with_it() {
    let mut world = two_each();
    let (first, _) = greet(&mut world, json!({}), user("alice"));
    greet(&mut world, json!({}), user("alice"));
    let auth = json!({"t": "auth", "id": 2, "token": "t"});
    world.with_identity(first, &auth, Ok(of_tenant("alice", "acme")));
    assert_eq!(world.recv(first)["t"], "ok");
    assert_eq!(greet(&mut world, json!({}), user("alice")).1["t"], "welcome");
    assert_eq!(
        greet(&mut world, json!({}), of_tenant("alice", "acme")).1["t"],
        "welcome"
    );
    assert_eq!(
        greet(&mut world, json!({}), of_tenant("alice", "acme")).1["code"],
        "limit"
    );
    assert_eq!(greet(&mut world, json!({}), user("alice")).1["code"], "limit");
    world.check();
}

#[test]
fn a_token_of_another_tenant_finds_no_place_where_there_is_none() {
    let mut world = two_each();
    let (first, _) = greet(&mut world, json!({}), user("alice"));
    for _ in 0..2 {
        greet(&mut world, json!({}), of_tenant("alice", "acme"));
    }
    let auth = json!({"t": "auth", "id": 2, "token": "t"});
    world.with_identity(first, &auth, Ok(of_tenant("alice", "acme")));
    let refused = world.recv(first);
    assert_eq!((&refused["t"], &refused["code"]), (&json!("err"), &json!("limit")));
    assert_eq!(world.closed(first), None, "and it stays who it is");
    greet(&mut world, json!({}), user("alice"));
    assert_eq!(greet(&mut world, json!({}), user("alice")).1["code"], "limit");
    world.check();
}
