//! Every limit at its bound and past it.

use std::time::Duration;

use meetpoint::signaling::{CloseCode, Config, ErrorCode, Frame, Identity, RelayBudget};
use serde_json::json;

use crate::hub_world::World;

#[test]
fn a_room_at_its_max_refuses_one_more_and_takes_it_when_one_has_left() {
    let mut world = World::new(Config::default());
    let a = world.peer("a");
    assert_eq!(world.ask(a, json!({"t": "join", "room": "r", "max": 2}))["max"], 2);
    let b = world.member("b", "r");
    let c = world.peer("c");
    assert_eq!(
        world.ask(c, json!({"t": "join", "room": "r", "max": 9}))["code"],
        "room_full"
    );
    world.say(b, json!({"t": "leave", "room": "r"}));
    assert_eq!(world.ask(c, json!({"t": "join", "room": "r"}))["t"], "joined");
    world.check();
}

#[test]
fn no_room_is_larger_than_the_server_allows() {
    let mut world = World::new(Config {
        peers_per_room: 2,
        ..Config::default()
    });
    let a = world.peer("a");
    assert_eq!(
        world.ask(a, json!({"t": "join", "room": "r", "max": 1_000_000_000_000_u64}))["max"],
        2
    );
    let _b = world.member("b", "r");
    let c = world.peer("c");
    assert_eq!(world.ask(c, json!({"t": "join", "room": "r"}))["code"], "room_full");
}

#[test]
fn a_full_room_still_takes_its_owner_back() {
    let mut world = World::new(Config {
        peers_per_room: 1,
        ..Config::default()
    });
    let hello = json!({"t": "hello", "v": [1], "peer": "p"});
    for _ in 0..2 {
        let connection = world.connect();
        world.hello(connection, hello.clone(), Ok(crate::hub_world::user("u")));
        assert_eq!(world.ask(connection, json!({"t": "join", "room": "r"}))["t"], "joined");
    }
    assert_eq!(world.hub.stats().memberships, 1);
    world.check();
}

#[test]
fn rooms_of_one_connection_and_of_the_process_are_bounded() {
    let mut world = World::new(Config {
        rooms_per_connection: 2,
        rooms: 3,
        ..Config::default()
    });
    let a = world.peer("a");
    let join = |room: &str| json!({"t": "join", "room": room});
    assert_eq!(world.ask(a, join("1"))["t"], "joined");
    assert_eq!(world.ask(a, join("2"))["t"], "joined");
    assert_eq!(world.ask(a, join("3"))["code"], "room_full");
    let b = world.peer("b");
    assert_eq!(world.ask(b, join("3"))["t"], "joined");
    assert_eq!(world.ask(b, join("4"))["code"], "room_full");
    assert_eq!(world.ask(b, join("1"))["t"], "joined");
    world.check();
}

#[test]
fn room_names_at_the_bound_pass_and_past_it_do_not() {
    let mut world = World::new(Config {
        room_name_bytes: 6,
        ..Config::default()
    });
    let a = world.peer("a");
    assert_eq!(world.ask(a, json!({"t": "join", "room": "räume"}))["t"], "joined");
    assert_eq!(
        world.ask(a, json!({"t": "join", "room": "räumen"}))["code"],
        "too_large"
    );
}

#[test]
fn presence_past_its_limit_is_refused_everywhere_and_changes_nothing() {
    let mut world = World::new(Config {
        meta_bytes: 8,
        ..Config::default()
    });
    let a = world.member("a", "r");
    let fits = json!({"k": "12345"});
    let past = json!({"k": "123456"});
    assert_eq!(
        world.ask(a, json!({"t": "meta", "id": 1, "room": "r", "set": fits}))["t"],
        "ok"
    );
    assert_eq!(
        world.ask(a, json!({"t": "meta", "room": "r", "set": past}))["code"],
        "too_large"
    );
    assert_eq!(
        world.ask(a, json!({"t": "meta", "room": "r", "set": {"l": 1}}))["code"],
        "too_large"
    );
    assert_eq!(
        world.ask(a, json!({"t": "room", "room": "r", "set": past}))["code"],
        "too_large"
    );
    assert_eq!(
        world.ask(a, json!({"t": "join", "room": "s", "meta": past}))["code"],
        "too_large"
    );
    let b = world.peer("b");
    assert_eq!(
        world.ask(b, json!({"t": "join", "room": "r"}))["peers"][0]["meta"],
        fits
    );
    let c = world.connect();
    let error = world.hello(
        c,
        json!({"t": "hello", "v": [1], "meta": past}),
        Ok(Identity::ANONYMOUS),
    );
    assert_eq!(error["code"], "too_large");
    assert_eq!(world.closed(c), Some(CloseCode::BadRequest));
    world.check();
}

#[test]
fn receivers_of_one_send_are_bounded() {
    let mut world = World::new(Config {
        receivers_per_send: 2,
        ..Config::default()
    });
    let a = world.member("a", "r");
    let _b = world.member("b", "r");
    world.all(a);
    assert_eq!(
        world.ask(
            a,
            json!({"t": "send", "id": 1, "room": "r", "to": ["b", "x"], "data": 1})
        )["sent"],
        1
    );
    let past = json!({"t": "send", "room": "r", "to": ["b", "x", "y"], "data": 1});
    assert_eq!(world.ask(a, past)["code"], "bad_request");
}

#[test]
fn the_message_rate_is_kept_and_says_when_to_come_back() {
    // Hello costs 5 points, a ping 1.
    let mut world = World::new(Config {
        messages_per_second: 10,
        message_burst: 8,
        ..Config::default()
    });
    let a = world.peer("a");
    for _ in 0..3 {
        assert_eq!(world.ask(a, json!({"t": "ping"}))["t"], "pong");
    }
    let error = world.ask(a, json!({"t": "ping", "id": 6}));
    assert_eq!(
        (&error["code"], &error["id"], &error["retry"]),
        (&json!("rate_limited"), &json!(6), &json!(100))
    );
    world.advance(Duration::from_millis(99));
    assert_eq!(world.ask(a, json!({"t": "ping"}))["code"], "rate_limited");
    world.advance(Duration::from_millis(1));
    assert_eq!(world.ask(a, json!({"t": "ping"}))["t"], "pong");
    assert_eq!(world.closed(a), None);
    world.check();
}

#[test]
fn who_keeps_sending_past_the_rate_is_closed_when_patience_ends() {
    let mut world = World::new(Config {
        messages_per_second: 1,
        message_burst: 5,
        rate_patience: 3,
        ..Config::default()
    });
    let a = world.peer("a");
    for _ in 0..3 {
        assert_eq!(world.ask(a, json!({"t": "ping"}))["code"], "rate_limited");
        assert_eq!(world.closed(a), None);
    }
    let error = world.ask(a, json!({"t": "ping"}));
    assert_eq!(
        (&error["code"], &error["fatal"]),
        (&json!("rate_limited"), &json!(true))
    );
    assert_eq!(world.closed(a), Some(CloseCode::Rate));
    world.check();
}

#[test]
fn noise_costs_ten_times_as_much_as_a_signal() {
    let mut world = World::new(Config {
        messages_per_second: 1,
        message_burst: 25,
        ..Config::default()
    });
    let a = world.peer("a");
    for code in ["bad_frame", "bad_frame", "rate_limited"] {
        world.say_text(a, "noise");
        assert_eq!(world.recv(a)["code"], code);
    }
}

#[test]
fn the_byte_rate_is_kept() {
    let mut world = World::new(Config {
        bytes_per_second: 1_000,
        byte_burst: 1_000,
        ..Config::default()
    });
    let (a, _b) = (world.member("a", "r"), world.member("b", "r"));
    world.advance(Duration::from_secs(1));
    world.all(a);
    let frame =
        |length: usize| json!({"t": "sig", "id": 1, "room": "r", "to": "b", "kind": "x-a", "data": "d".repeat(length)});
    let overhead = frame(0).to_string().len();
    assert_eq!(world.ask(a, frame(1_000 - overhead))["t"], "ok");
    let error = world.ask(a, json!({"t": "ping"}));
    assert_eq!(error["code"], "rate_limited");
    assert_eq!(error["retry"], 12, "12 bytes at 1 000 per second");
}

#[test]
fn the_relay_budget_of_a_peer_is_kept_and_signals_pass_all_the_same() {
    let mut world = World::new(Config {
        relay_bytes_per_second: 100,
        relay_byte_burst: 200,
        ..Config::default()
    });
    let (a, b) = (world.member("a", "r"), world.member("b", "r"));
    world.all(a);
    let data = |length: usize| "d".repeat(length - 2);
    assert_eq!(
        world.ask(a, json!({"t": "send", "id": 1, "room": "r", "data": data(200)}))["t"],
        "ok"
    );
    let error = world.ask(a, json!({"t": "send", "id": 2, "room": "r", "data": data(10)}));
    assert_eq!((&error["code"], &error["retry"]), (&json!("relay_busy"), &json!(100)));
    assert_eq!(
        world.ask(a, json!({"t": "sig", "id": 3, "room": "r", "to": "b", "kind": "end"}))["t"],
        "ok"
    );
    assert_eq!(world.all(b).len(), 2);
    world.advance(Duration::from_millis(100));
    assert_eq!(
        world.ask(a, json!({"t": "send", "id": 4, "room": "r", "data": data(10)}))["t"],
        "ok"
    );
    assert_eq!(world.hub.stats().refused[ErrorCode::RelayBusy], 1);
    assert_eq!(world.hub.stats().relayed_bytes, 210);
}

#[test]
fn all_relaying_together_has_a_bound_that_counts_every_receiver() {
    // Each frame counts 64 bytes beside its payload.
    let mut world = World::new(Config {
        relay_total_bytes_per_second: 2 * (64 + 100),
        ..Config::default()
    });
    let (a, b) = (world.member("a", "r"), world.member("b", "r"));
    let _c = world.member("c", "r");
    world.all(a);
    let data = "d".repeat(98);
    assert_eq!(
        world.ask(a, json!({"t": "send", "id": 1, "room": "r", "data": data}))["sent"],
        2
    );
    world.all(b);
    assert_eq!(
        world.ask(b, json!({"t": "send", "id": 2, "room": "r", "data": data}))["code"],
        "relay_busy"
    );
    world.advance(Duration::from_secs(1));
    assert_eq!(
        world.ask(b, json!({"t": "send", "id": 3, "room": "r", "data": data}))["t"],
        "ok"
    );
}

#[test]
fn relaying_in_one_room_has_a_bound_that_leaves_other_rooms_and_its_own_signals_alone() {
    // Each frame counts 64 bytes beside its payload.
    let wire = 2 * (64 + 100);
    let mut world = World::new(Config {
        relay_room_bytes_per_second: 2 * wire,
        relay_bytes_per_second: 1,
        relay_byte_burst: 200,
        ..Config::default()
    });
    let (a, b) = (world.member("a", "r"), world.member("b", "r"));
    let c = world.member("c", "r");
    let (d, _e) = (world.member("d", "s"), world.member("e", "s"));
    let data = "d".repeat(98);
    let send = |id: u64, room: &str| json!({"t": "send", "id": id, "room": room, "data": data});
    assert_eq!(world.ask(a, send(1, "r"))["sent"], 2);
    assert_eq!(world.ask(a, send(2, "r"))["sent"], 2, "at the bound");
    let error = world.ask(b, send(3, "r"));
    assert_eq!((&error["code"], &error["retry"]), (&json!("relay_busy"), &json!(500)));
    assert_eq!(
        world.ask(b, json!({"t": "sig", "id": 4, "room": "r", "to": "a", "kind": "end"}))["t"],
        "ok"
    );
    assert_eq!(world.ask(d, send(5, "s"))["sent"], 1);
    world.advance(Duration::from_millis(499));
    assert_eq!(world.ask(b, send(6, "r"))["code"], "relay_busy");
    world.advance(Duration::from_millis(1));
    // What the room refused cost the sender nothing: it has its whole burst yet.
    assert_eq!(world.ask(b, send(7, "r"))["sent"], 2);
    assert_eq!(world.ask(c, send(8, "r"))["code"], "relay_busy");
    world.advance(Duration::from_millis(500));
    assert_eq!(world.ask(b, send(9, "r"))["sent"], 2);
    assert_eq!(world.ask(b, send(10, "r"))["code"], "relay_busy");
    let stats = world.hub.stats();
    let refused = [RelayBudget::Peer, RelayBudget::Room, RelayBudget::Total].map(|budget| stats.relay_refused[budget]);
    assert_eq!(refused, [1, 3, 0]);
    assert_eq!(stats.refused[ErrorCode::RelayBusy], 4);
    world.check();
}

#[test]
fn what_all_relaying_refuses_costs_neither_the_peer_nor_its_room() {
    let mut world = World::new(Config {
        relay_total_bytes_per_second: 64 + 100,
        relay_room_bytes_per_second: 64 + 100,
        relay_bytes_per_second: 0,
        relay_byte_burst: 100,
        ..Config::default()
    });
    let (a, _b) = (world.member("a", "r"), world.member("b", "r"));
    let (c, _d) = (world.member("c", "s"), world.member("d", "s"));
    let data = "d".repeat(98);
    assert_eq!(
        world.ask(a, json!({"t": "send", "id": 1, "room": "r", "data": data}))["sent"],
        1
    );
    let send = json!({"t": "send", "id": 2, "room": "s", "data": data});
    assert_eq!(world.ask(c, send.clone())["code"], "relay_busy");
    assert_eq!(world.hub.stats().relay_refused[RelayBudget::Total], 1);
    world.advance(Duration::from_secs(1));
    assert_eq!(world.ask(c, send)["sent"], 1);
}

#[test]
fn an_oversize_frame_is_answered_and_ends_the_connection() {
    let mut world = World::new(Config::default());
    let (a, b) = (world.member("a", "r"), world.member("b", "r"));
    world.all(a);
    world.hub.handle_frame(world.now, a, Frame::oversize());
    world.collect();
    let error = world.recv(a);
    assert_eq!((&error["code"], &error["fatal"]), (&json!("too_large"), &json!(true)));
    assert_eq!(world.closed(a), Some(CloseCode::TooLarge));
    assert_eq!(world.recv(b)["why"], "too_large");
    world.check();
}

#[test]
fn a_slow_reader_is_counted_and_its_room_is_told() {
    let mut world = World::new(Config::default());
    let a = world.member("a", "r");
    let b = world.member("b", "r");
    world.all(a);
    world.gone(b, CloseCode::Slow);
    assert_eq!(world.recv(a)["why"], "slow");
    let stats = world.hub.stats();
    assert_eq!((stats.queue_overflows, stats.closes[CloseCode::Slow]), (1, 1));
    world.check();
}
