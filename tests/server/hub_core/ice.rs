//! ICE credentials that come unasked, before those a client has are over.

use std::time::Duration;

use meetpoint::signaling::{CloseCode, Config, Identity, Rights};
use serde_json::json;

use crate::hub_world::{ICE_LIFE, World};

#[test]
fn newer_credentials_come_when_three_quarters_of_their_life_are_over_and_again() {
    let mut world = World::new(Config::default());
    let peer = world.peer("p");
    world.advance(ICE_LIFE.mul_f64(0.67));
    assert!(world.all(peer).is_empty());
    world.advance(ICE_LIFE.mul_f64(0.16));
    let ice = world.recv(peer);
    assert_eq!((&ice["t"], ice.get("id")), (&json!("ice"), None));
    let told = ice["exp"].as_u64().unwrap();
    world.advance(ICE_LIFE.mul_f64(0.83));
    assert!(world.recv(peer)["exp"].as_u64().unwrap() > told);
    assert_eq!(world.hub.stats().ice_pushes, 2);
}

#[test]
fn clients_that_came_together_do_not_ask_the_issuer_together() {
    let mut world = World::new(Config::default());
    let peers: Vec<_> = (0..50).map(|number| world.peer(&number.to_string())).collect();
    world.advance(ICE_LIFE.mul_f64(0.75));
    let told = peers.iter().filter(|&&peer| !world.all(peer).is_empty()).count();
    assert!((5..45).contains(&told), "{told} of 50");
}

#[test]
fn asking_puts_the_next_push_off() {
    let mut world = World::new(Config::default());
    let peer = world.peer("p");
    world.advance(ICE_LIFE.mul_f64(0.6));
    world.with_identity(peer, &json!({"t": "ice", "id": 1}), Ok(Identity::ANONYMOUS));
    assert_eq!(world.recv(peer)["id"], 1);
    world.advance(ICE_LIFE.mul_f64(0.6));
    assert!(world.all(peer).is_empty());
}

#[test]
fn a_change_of_secrets_reaches_everybody_within_its_time() {
    let mut world = World::new(Config::default());
    let peers: Vec<_> = (0..20).map(|number| world.peer(&number.to_string())).collect();
    let silent = world.connect();
    world.hub.renew_all_ice(world.now, Duration::from_secs(5));
    world.advance(Duration::from_secs(5));
    for peer in peers {
        assert_eq!(world.all(peer).len(), 1);
    }
    assert!(world.all(silent).is_empty(), "it has not said hello");
}

#[test]
fn who_is_away_or_gone_is_given_nothing_and_who_is_back_is() {
    let mut world = World::new(Config {
        resume_grace: ICE_LIFE * 2,
        ..Config::default()
    });
    let gone = world.peer("gone");
    world.gone(gone, CloseCode::Normal);
    let old = world.connect();
    let hello = json!({"t": "hello", "v": [1], "caps": ["resume"]});
    let welcome = world.hello(old, hello, Ok(Identity::ANONYMOUS));
    world.ask(old, json!({"t": "join", "room": "r"}));
    world.gone(old, CloseCode::Abnormal);
    world.advance(ICE_LIFE);
    assert_eq!(world.hub.stats().ice_pushes, 0);
    let new = world.connect();
    let resume = json!({"sid": welcome["sid"], "key": welcome["key"], "seq": 10});
    let hello = json!({"t": "hello", "v": [1], "caps": ["resume"], "resume": resume});
    assert_eq!(world.hello(new, hello, Ok(Identity::ANONYMOUS))["resumed"], true);
    world.advance(ICE_LIFE.mul_f64(0.9));
    assert_eq!(world.all(new).len(), 1);
}

#[test]
fn a_peer_without_the_right_to_turn_has_no_user_to_mint_for() {
    let mut world = World::new(Config::default());
    let watcher = world.connect();
    let rights = Rights {
        turn: false,
        ..Rights::ALL
    };
    let identity = Identity {
        user: Some("w".into()),
        rights,
        ..Identity::ANONYMOUS
    };
    world.hello(watcher, json!({"t": "hello", "v": [1]}), Ok(identity));
    assert_eq!(world.hub.ice_user(watcher), None);
}

fn kinds(frames: &[serde_json::Value]) -> Vec<&str> {
    frames.iter().filter_map(|frame| frame["t"].as_str()).collect()
}

#[test]
fn who_comes_into_a_room_with_another_relay_is_given_its_servers_before_the_answer_and_once() {
    let mut world = World::new(Config::default());
    world.relay = Some(1);
    world.relay_of_room = |room| Some(if room == "here" { 1 } else { 2 });
    let peer = world.peer("p");
    let mut join = |room: &str| {
        world.say(peer, json!({"t": "join", "room": room}));
        let frames = world.all(peer);
        kinds(&frames).join(" ")
    };
    assert_eq!(join("here"), "joined", "it has those already");
    assert_eq!(join("there"), "ice joined");
    assert_eq!(join("there too"), "joined", "the same relay");
    assert_eq!(join("there"), "joined", "it is in it");
    assert_eq!(join("here"), "joined", "it is in it, too");
    assert_eq!(world.hub.stats().ice_pushes, 1);
    assert_eq!(world.hub.ice_room(peer).as_deref(), Some("there too"));
    // Those end like any others.
    world.advance(ICE_LIFE.mul_f64(0.83));
    assert_eq!(kinds(&world.all(peer)), ["ice"]);
}

#[test]
fn without_several_relays_nobody_is_given_servers_for_coming_into_a_room() {
    let mut world = World::new(Config::default());
    world.relay_of_room = |_| Some(2);
    let peer = world.peer("p");
    world.say(peer, json!({"t": "join", "room": "r"}));
    assert_eq!(kinds(&world.all(peer)), ["joined"]);
    assert_eq!(world.hub.stats().ice_pushes, 0);
}

#[test]
fn whoever_has_another_relay_than_its_room_is_named_with_its_room_and_given_servers_in_time() {
    let mut world = World::new(Config::default());
    world.relay = Some(1);
    world.relay_of_room = |room| Some(if room == "here" { 1 } else { 2 });
    let peers: Vec<_> = (0..20).map(|number| world.peer(&number.to_string())).collect();
    for (number, peer) in peers.iter().enumerate() {
        let room = if number % 2 == 0 { "here" } else { "there" };
        world.say(*peer, json!({"t": "join", "room": room}));
        world.all(*peer);
    }
    world.peer("alone");
    let holders = world.hub.ice_holders();
    assert_eq!(holders.len(), 20, "who is in no room has its list for itself");
    let of_there: Vec<_> = holders.iter().filter(|holder| holder.relay == 2).collect();
    assert!(of_there.len() == 10 && of_there.iter().all(|holder| &*holder.room == "there"));
    let moved = of_there.iter().map(|holder| holder.connection);
    let moved: Vec<_> = moved.collect();
    world.hub.renew_ice_of(world.now, moved, Duration::from_secs(10));
    // Not all at once, and all in time; those who keep their relay hear nothing.
    world.advance(Duration::from_secs(5));
    let told = |world: &mut World, odd: usize| {
        let of = peers.iter().skip(odd).step_by(2);
        of.filter(|peer| kinds(&world.all(**peer)).contains(&"ice")).count()
    };
    let early = told(&mut world, 1);
    assert!((1..10).contains(&early), "{early} of 10");
    world.advance(Duration::from_secs(5));
    assert_eq!((told(&mut world, 1), told(&mut world, 0)), (10 - early, 0));
    // What comes sooner anyway stays sooner, and who is gone is nobody.
    world.advance(ICE_LIFE.mul_f64(0.6));
    let gone = peers[1];
    world.gone(gone, CloseCode::Normal);
    world.hub.renew_ice_of(world.now, peers.iter().copied(), ICE_LIFE * 10);
    world.advance(ICE_LIFE.mul_f64(0.23));
    assert_eq!(told(&mut world, 0), 10);
}
