//! matchbox, event by event as its client sends and reads them.

use meetpoint::signaling::{CloseCode, Config, ConnectionId, Dialect, Identity};
use serde_json::{Value, json};

use crate::hub_world::World;

/// Enters a room and returns the id that was assigned.
fn enter(world: &mut World, room: Option<&str>, query: &[(&str, &str)]) -> (ConnectionId, String) {
    let (connection, told) = world.open_as(Dialect::Matchbox, room, query);
    assert_eq!(told.len(), 1, "{told:?}");
    let id = told[0]["IdAssigned"].as_str().unwrap().to_owned();
    assert_eq!(told[0], json!({"IdAssigned": id}));
    (connection, id)
}

#[test]
fn the_id_is_assigned_once_and_first_and_elders_alone_are_told_of_the_newcomer() {
    let mut world = World::new(Config::default());
    let (elder, first) = enter(&mut world, Some("r"), &[]);
    let (newcomer, second) = enter(&mut world, Some("r"), &[]);
    assert_ne!(first, second);
    assert!(first.len() == 36 && first.as_bytes()[14] == b'4', "a UUID: {first}");
    assert_eq!(world.all(elder), [json!({"NewPeer": second})]);
    assert!(world.all(newcomer).is_empty());
    world.gone(newcomer, CloseCode::Abnormal);
    assert_eq!(world.all(elder), [json!({"PeerLeft": second})]);
    world.check();
}

#[test]
fn signals_go_to_whom_they_name_and_to_nobody_when_nobody_has_that_name() {
    let mut world = World::new(Config::default());
    let (a, a_id) = enter(&mut world, Some("r"), &[]);
    let (b, b_id) = enter(&mut world, Some("r"), &[]);
    let (stranger, stranger_id) = enter(&mut world, Some("elsewhere"), &[]);
    world.all(a);
    for data in [
        json!({"Offer": "v=0\r\n"}),
        json!({"Answer": "v=0"}),
        json!({"IceCandidate": "{}"}),
    ] {
        assert!(
            world
                .speak(a, json!({"Signal": {"receiver": b_id, "data": data}}))
                .is_empty()
        );
        assert_eq!(world.all(b), [json!({"Signal": {"sender": a_id, "data": data}})]);
    }
    for receiver in [stranger_id.as_str(), "3d0b6e4e-7c4b-4d1a-9a57-1f0d1c2b3a4f"] {
        assert!(
            world
                .speak(a, json!({"Signal": {"receiver": receiver, "data": 1}}))
                .is_empty()
        );
    }
    assert!(world.all(stranger).is_empty());
    assert!(world.speak(a, json!("KeepAlive")).is_empty());
    world.check();
}

#[test]
fn arrivals_are_grouped_in_ns_by_path_and_number() {
    let mut world = World::new(Config::default());
    let two = [("next", "2")];
    let members: Vec<_> = (0..5).map(|_| enter(&mut world, Some("r"), &two)).collect();
    let (alone, _) = enter(&mut world, Some("r"), &[("next", "3")]);
    let (plain, _) = enter(&mut world, Some("r"), &[]);
    let told: Vec<Vec<Value>> = members.iter().map(|(connection, _)| world.all(*connection)).collect();
    assert_eq!(told[0], [json!({"NewPeer": members[1].1})]);
    assert_eq!(told[2], [json!({"NewPeer": members[3].1})]);
    assert!(told[1].is_empty() && told[3].is_empty() && told[4].is_empty());
    assert!(world.all(alone).is_empty() && world.all(plain).is_empty());
    // A group that was full once is closed, whoever leaves it; one that was not is filled up.
    world.gone(members[0].0, CloseCode::Normal);
    assert_eq!(world.all(members[1].0), [json!({"PeerLeft": members[0].1})]);
    let (_, sixth) = enter(&mut world, Some("r"), &two);
    assert_eq!(world.all(members[4].0), [json!({"NewPeer": sixth})]);
    assert!(world.all(members[1].0).is_empty());
    world.check();
}

#[test]
fn a_group_that_its_members_left_before_it_was_full_begins_anew() {
    let mut world = World::new(Config::default());
    for _ in 0..200 {
        let (connection, _) = enter(&mut world, Some("r"), &[("next", "2")]);
        world.gone(connection, CloseCode::Normal);
    }
    assert_eq!(world.hub.stats().rooms, 0);
    let (a, _) = enter(&mut world, Some("r"), &[("next", "2")]);
    enter(&mut world, Some("r"), &[("next", "2")]);
    assert_eq!(world.all(a).len(), 1);
}

/// The path `/match/r%3Fnext=2%231`, say.
#[test]
fn nobody_gets_into_a_group_by_its_name() {
    let mut world = World::new(Config::default());
    let (a, _) = enter(&mut world, Some("r"), &[("next", "2")]);
    let group = world.hub.rooms(10, 0)[0].name.to_string();
    for name in [&*group, "r?next=2"] {
        for query in [&[][..], &[("next", "2")]] {
            let (connection, told) = world.open_as(Dialect::Matchbox, Some(name), query);
            assert!(told.is_empty() && world.closed(connection).is_some(), "{name}");
        }
    }
    assert!(world.all(a).is_empty());
    let (_, second) = enter(&mut world, Some("r"), &[("next", "2")]);
    assert_eq!(world.all(a), [json!({"NewPeer": second})]);
    enter(&mut world, Some("r"), &[("next", "2")]);
    assert!(world.all(a).is_empty());
}

#[test]
fn a_path_without_a_room_is_one_room_for_all() {
    let mut world = World::new(Config::default());
    let (a, _) = enter(&mut world, None, &[]);
    let (_, second) = enter(&mut world, Some(""), &[]);
    assert_eq!(world.all(a), [json!({"NewPeer": second})]);
}

#[test]
fn the_client_is_never_told_a_word_that_it_does_not_know() {
    let mut world = World::new(Config::default());
    let (a, _) = enter(&mut world, Some("r"), &[]);
    for frame in [
        json!({"t": "hello"}),
        json!([]),
        json!({"Signal": {}}),
        json!("KeepAlive?"),
    ] {
        assert!(world.speak(a, frame).is_empty());
    }
    assert!(world.closed(a).is_none());
    world.check();
    for next in ["0", "x", "-1", "257", "99999999999999999999"] {
        let (connection, told) = world.open_as(Dialect::Matchbox, Some("r"), &[("next", next)]);
        assert!(told.is_empty() && world.closed(connection).is_some(), "{next}");
    }
}

#[test]
fn a_token_for_a_room_is_one_for_its_groups() {
    let mut world = World::new(Config::default());
    let limited = || Identity {
        rooms: Some([Box::from("r?next=2")].into()),
        ..Identity::ANONYMOUS
    };
    let (_, told) = world.open_with(Dialect::Matchbox, Some("r"), &[("next", "2")], Ok(limited()));
    assert_eq!(told.len(), 1);
    let (other, told) = world.open_with(Dialect::Matchbox, Some("s"), &[("next", "2")], Ok(limited()));
    assert!(told.is_empty() && world.closed(other).is_some());
}
