//! join, leave, presence, snapshots and their pages.

use std::collections::BTreeSet;

use meetpoint::signaling::{CloseCode, Config, Identity};
use serde_json::{Value, json};

use crate::hub_world::{START_MS, World};

fn ids(page: &Value) -> Vec<String> {
    page["peers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|peer| peer["peer"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn a_newcomer_sees_the_elders_in_order_and_they_see_it() {
    let mut world = World::new(Config::default());
    let a = world.member("a", "r");
    let b = world.peer("b");
    let joined = world.ask(b, json!({"t": "join", "id": 7, "room": "r", "meta": {"name": "Bea"}}));
    assert_eq!(joined["id"], 7);
    assert_eq!(joined["peers"], json!([{"peer": "a", "meta": {}, "since": START_MS}]));
    assert_eq!(
        (&joined["total"], &joined["ver"], &joined["max"]),
        (&json!(1), &json!(0), &json!(256))
    );
    let event = world.recv(a);
    assert_eq!(
        (&event["ev"], &event["peer"], &event["meta"]),
        (&json!("join"), &json!("b"), &json!({"name": "Bea"}))
    );
    let c = world.peer("c");
    assert_eq!(ids(&world.ask(c, json!({"t": "join", "room": "r"}))), ["a", "b"]);
    world.check();
}

#[test]
fn presence_of_the_hello_serves_every_room_that_is_joined_without_any() {
    let mut world = World::new(Config::default());
    let a = world.member("a", "r");
    let b = world.connect();
    world.hello(
        b,
        json!({"t": "hello", "v": [1], "peer": "b", "meta": {"x": 1}}),
        Ok(Identity::ANONYMOUS),
    );
    world.ask(b, json!({"t": "join", "room": "r"}));
    assert_eq!(world.recv(a)["meta"], json!({"x": 1}));
    let c = world.peer("c");
    world.ask(c, json!({"t": "join", "room": "s"}));
    world.ask(b, json!({"t": "join", "room": "s", "meta": {}}));
    assert_eq!(world.recv(c)["meta"], json!({}));
}

#[test]
fn joining_twice_is_answered_and_announced_once() {
    let mut world = World::new(Config::default());
    let a = world.member("a", "r");
    let b = world.member("b", "r");
    world.all(a);
    let again = world.ask(b, json!({"t": "join", "room": "r"}));
    assert_eq!(ids(&again), ["a"]);
    assert!(world.all(a).is_empty());
    assert_eq!(world.hub.stats().joins, 2);
    world.check();
}

#[test]
fn leaving_is_announced_and_the_last_one_ends_the_room() {
    let mut world = World::new(Config::default());
    let a = world.member("a", "r");
    let b = world.member("b", "r");
    world.all(a);
    assert_eq!(
        world.ask(b, json!({"t": "leave", "id": 1, "room": "r"})),
        json!({"t": "ok", "id": 1})
    );
    let left = world.recv(a);
    assert_eq!(
        (&left["ev"], &left["peer"], &left["why"]),
        (&json!("leave"), &json!("b"), &json!("leave"))
    );
    assert_eq!(world.ask(b, json!({"t": "leave", "room": "r"}))["code"], "no_room");
    world.say(a, json!({"t": "leave", "room": "r"}));
    assert!(world.all(a).is_empty());
    assert_eq!(world.hub.stats().rooms, 0);
    world.check();
}

#[test]
fn a_lost_socket_leaves_every_room_it_was_in() {
    let mut world = World::new(Config::default());
    let a = world.member("a", "r");
    world.ask(a, json!({"t": "join", "room": "s"}));
    let b = world.member("b", "r");
    world.ask(b, json!({"t": "join", "room": "s"}));
    world.all(a);
    world.gone(b, CloseCode::Abnormal);
    let rooms: BTreeSet<String> = world
        .all(a)
        .iter()
        .map(|event| {
            assert_eq!((&event["ev"], &event["why"]), (&json!("leave"), &json!("lost")));
            event["room"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(rooms, BTreeSet::from(["r".to_owned(), "s".to_owned()]));
    world.check();
}

#[test]
fn the_first_joiner_binds_the_key_and_nobody_enters_with_another_or_none() {
    let mut world = World::new(Config::default());
    let a = world.peer("a");
    let b = world.peer("b");
    assert_eq!(
        world.ask(a, json!({"t": "join", "room": "r", "key": "secret"}))["t"],
        "joined"
    );
    assert_eq!(world.ask(b, json!({"t": "join", "room": "r"}))["code"], "forbidden");
    assert_eq!(
        world.ask(b, json!({"t": "join", "room": "r", "key": "Secret"}))["code"],
        "forbidden"
    );
    assert_eq!(
        world.ask(b, json!({"t": "join", "room": "r", "key": "secret"}))["t"],
        "joined"
    );
    // A key for a room without one: the caller believes in a protection that is not there.
    assert_eq!(world.ask(a, json!({"t": "join", "room": "open"}))["t"], "joined");
    assert_eq!(
        world.ask(b, json!({"t": "join", "room": "open", "key": "k"}))["code"],
        "forbidden"
    );
    // The key ends with the room.
    world.say(a, json!({"t": "leave", "room": "r"}));
    world.say(b, json!({"t": "leave", "room": "r"}));
    assert_eq!(
        world.ask(b, json!({"t": "join", "room": "r", "key": "other"}))["t"],
        "joined"
    );
    world.check();
}

#[test]
fn create_false_enters_only_what_is_there() {
    let mut world = World::new(Config::default());
    let a = world.peer("a");
    assert_eq!(
        world.ask(a, json!({"t": "join", "room": "r", "create": false}))["code"],
        "no_room"
    );
    assert_eq!(world.hub.stats().rooms, 0);
    let _b = world.member("b", "r");
    assert_eq!(
        world.ask(a, json!({"t": "join", "room": "r", "create": false}))["t"],
        "joined"
    );
}

#[test]
fn the_same_peer_id_in_two_rooms_is_two_peers() {
    let mut world = World::new(Config::default());
    let one = world.member("1", "session-a");
    let other = world.member("1", "session-b");
    let two = world.member("2", "session-b");
    world.say(two, json!({"t": "sig", "room": "session-b", "to": "1", "kind": "end"}));
    assert!(world.all(one).is_empty());
    assert_eq!(world.all(other).last().unwrap()["t"], "sig");
}

#[test]
fn presence_changes_reach_the_others_whole_and_the_next_newcomer() {
    let mut world = World::new(Config::default());
    let a = world.member("a", "r");
    let b = world.member("b", "r");
    world.all(a);
    let answer = world.ask(
        b,
        json!({"t": "meta", "id": 1, "room": "r", "set": {"x": 1, "y": [1, 2]}}),
    );
    assert_eq!(answer, json!({"t": "ok", "id": 1}));
    world.ask(
        b,
        json!({"t": "meta", "id": 2, "room": "r", "set": {"x": 2}, "del": ["y"]}),
    );
    assert_eq!(world.recv(a)["meta"], json!({"x": 1, "y": [1, 2]}));
    let event = world.recv(a);
    assert_eq!(
        (&event["ev"], &event["peer"], &event["meta"]),
        (&json!("meta"), &json!("b"), &json!({"x": 2}))
    );
    let c = world.peer("c");
    let joined = world.ask(c, json!({"t": "join", "room": "r"}));
    assert_eq!(joined["peers"][1]["meta"], json!({"x": 2}));
    assert_eq!(
        world.ask(c, json!({"t": "meta", "room": "s", "set": {}}))["code"],
        "no_room"
    );
}

#[test]
fn room_metadata_changes_only_from_the_version_that_was_seen() {
    let mut world = World::new(Config::default());
    let a = world.member("a", "r");
    let b = world.member("b", "r");
    world.all(a);
    world.say(
        b,
        json!({"t": "room", "id": 1, "room": "r", "set": {"topic": "x"}, "if": 0}),
    );
    let told: Vec<Value> = world.all(b);
    assert_eq!(told[0]["t"], "room");
    assert_eq!(told[1], json!({"t": "ok", "id": 1, "room": "r", "ver": 1}));
    let event = world.recv(a);
    assert_eq!(
        (&event["by"], &event["meta"], &event["ver"]),
        (&json!("b"), &json!({"topic": "x"}), &json!(1))
    );
    assert_eq!(
        world.ask(a, json!({"t": "room", "room": "r", "set": {"topic": "y"}, "if": 0}))["code"],
        "bad_request"
    );
    let c = world.peer("c");
    let joined = world.ask(c, json!({"t": "join", "room": "r"}));
    assert_eq!((&joined["meta"], &joined["ver"]), (&json!({"topic": "x"}), &json!(1)));
}

#[test]
fn who_lists_and_filters_the_others() {
    let mut world = World::new(Config::default());
    let a = world.member("a", "r");
    for (id, meta) in [
        ("b", json!({"role": "host"})),
        ("c", json!({"caps": ["x", "y"]})),
        ("d", json!({})),
    ] {
        let peer = world.peer(id);
        world.ask(peer, json!({"t": "join", "room": "r", "meta": meta}));
    }
    world.all(a);
    let answer = world.ask(a, json!({"t": "who", "id": 1, "room": "r"}));
    assert_eq!(
        (&answer["t"], &answer["id"], &answer["total"]),
        (&json!("ok"), &json!(1), &json!(3))
    );
    assert_eq!(ids(&answer), ["b", "c", "d"]);
    assert_eq!(
        ids(&world.ask(a, json!({"t": "who", "room": "r", "filter": {"role": "host"}}))),
        ["b"]
    );
    assert_eq!(
        ids(&world.ask(a, json!({"t": "who", "room": "r", "filter": {"caps": "y"}}))),
        ["c"]
    );
    assert_eq!(
        world.ask(a, json!({"t": "who", "room": "elsewhere"}))["code"],
        "no_room"
    );
    assert_eq!(
        world.ask(a, json!({"t": "who", "room": "r", "after": "nonsense"}))["code"],
        "bad_request"
    );
}

#[test]
fn a_large_room_is_paged_without_gap_or_duplicate_while_people_come_and_go() {
    let mut world = World::new(Config {
        page_peers: 3,
        ..Config::default()
    });
    let mut members: Vec<_> = (0..10).map(|at| world.member(&format!("m{at}"), "r")).collect();
    let newcomer = world.peer("newcomer");
    let mut page = world.ask(newcomer, json!({"t": "join", "room": "r"}));
    assert_eq!(page["total"], 10);
    let mut listed = ids(&page);
    assert_eq!(listed.len(), 3);
    // One that is listed leaves, one that is not yet listed leaves, one leaves and comes back, one is new.
    for at in [0, 5, 6] {
        let leaver = members[at];
        world.say(leaver, json!({"t": "leave", "room": "r"}));
    }
    let back = members[6];
    world.ask(back, json!({"t": "join", "room": "r"}));
    members.push(world.member("late", "r"));
    while let Some(more) = page["more"].as_str() {
        let events = world.all(newcomer);
        for event in events {
            let id = event["peer"].as_str().unwrap().to_owned();
            match event["ev"].as_str().unwrap() {
                "join" => listed.push(id),
                "leave" => listed.retain(|known| *known != id),
                other => panic!("{other}"),
            }
        }
        page = world.ask(newcomer, json!({"t": "who", "room": "r", "after": more}));
        listed.extend(ids(&page));
    }
    listed.sort();
    assert_eq!(listed, ["late", "m1", "m2", "m3", "m4", "m6", "m7", "m8", "m9"]);
    world.check();
}

#[test]
fn a_page_ends_at_its_bytes_as_well() {
    let mut world = World::new(Config {
        page_bytes: 300,
        ..Config::default()
    });
    for at in 0..5 {
        let peer = world.peer(&format!("m{at}"));
        world.ask(peer, json!({"t": "join", "room": "r", "meta": {"x": "y".repeat(150)}}));
    }
    let newcomer = world.peer("n");
    let joined = world.ask(newcomer, json!({"t": "join", "room": "r"}));
    assert_eq!(ids(&joined), ["m0", "m1"]);
    let page = world.ask(newcomer, json!({"t": "who", "room": "r", "after": joined["more"]}));
    assert_eq!(ids(&page), ["m2", "m3"]);
}

#[test]
fn the_event_number_of_a_snapshot_divides_what_it_holds_from_what_follows() {
    let mut world = World::new(Config::default());
    let a = world.member("a", "r");
    let b = world.peer("b");
    let joined = world.ask(b, json!({"t": "join", "room": "r"}));
    world.ask(a, json!({"t": "meta", "id": 1, "room": "r", "set": {"x": 1}}));
    let event = world.recv(b);
    assert!(event["seq"].as_u64().unwrap() > joined["seq"].as_u64().unwrap());
}
