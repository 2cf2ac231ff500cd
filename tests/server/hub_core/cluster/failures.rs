//! What holds when nodes, messages or the bus are lost.

use std::time::Duration;

use meetpoint::signaling::{CloseCode, Config, Takeover, Topic};
use serde_json::json;

use super::world::Cluster;

#[test]
fn a_killed_node_leaves_no_ghosts() {
    let mut cluster = Cluster::new(3);
    let a = cluster.member(0, "a", "r");
    cluster.member(1, "b", "r");
    cluster.member(2, "c", "r");
    cluster.all(a);
    cluster.kill(1);
    cluster.run(Duration::from_secs(6));
    assert_eq!(cluster.all(a).len(), 0);
    cluster.run(Duration::from_secs(4));
    let left = cluster.told(a, "peer");
    assert_eq!(
        (&left[0]["ev"], &left[0]["peer"], &left[0]["why"]),
        (&json!("leave"), &json!("b"), &json!("lost"))
    );
    assert_eq!(cluster.hub(0).stats().bus.nodes_lost, 1);
    cluster.check_agreement();
}

#[test]
fn the_owner_of_a_session_of_a_killed_node_has_its_id_at_once() {
    let mut cluster = Cluster::new(2);
    let old = cluster.member(0, "a", "r");
    cluster.member(1, "w", "r");
    let key = cluster.clients[old].welcome.clone();
    cluster.kill(0);
    let resume = json!({"sid": key["sid"], "key": key["key"], "seq": 1});
    let hello = json!({"t": "hello", "v": [1], "peer": "a", "resume": resume});
    let new = cluster.greeted(1, &hello, meetpoint::signaling::Identity::ANONYMOUS);
    cluster.say(new, json!({"t": "join", "room": "r"}));
    cluster.settle();
    assert_eq!(cluster.told(new, "joined").len(), 1);
    cluster.check_agreement();
}

#[test]
fn without_the_bus_every_node_goes_on_alone_and_with_it_they_meet_again() {
    let mut cluster = Cluster::new(2);
    let (a, b) = (cluster.member(0, "a", "r"), cluster.member(1, "b", "r"));
    for at in 0..2 {
        cluster.unlink(at);
    }
    cluster.settle();
    cluster.all(a);
    cluster.say(
        a,
        json!({"t": "sig", "id": 1, "room": "r", "to": "b", "kind": "offer", "data": 1}),
    );
    let refused = cluster.told(a, "err").pop().unwrap();
    assert_eq!(
        (&refused["code"], refused["retry"].is_u64()),
        (&json!("unavailable"), true)
    );
    let c = cluster.peer(0, "c");
    cluster.say(c, json!({"t": "join", "room": "r"}));
    cluster.say(
        c,
        json!({"t": "sig", "id": 1, "room": "r", "to": "a", "kind": "offer", "data": 1}),
    );
    assert_eq!(
        cluster.told(c, "joined").len(),
        1,
        "nobody waits for a bus that is not there"
    );
    assert_eq!(cluster.told(a, "sig").len(), 1);

    // A short loss is nobody's business.
    for at in 0..2 {
        cluster.link(at);
    }
    cluster.settle();
    let told = cluster.all(b);
    let events: Vec<_> = told
        .iter()
        .filter(|frame| frame["t"] == "peer")
        .map(|frame| &frame["ev"])
        .collect();
    assert_eq!(events, ["join"], "{told:?}");
    cluster.check_agreement();

    // A long one parts them.
    for at in 0..2 {
        cluster.unlink(at);
    }
    cluster.run(Duration::from_secs(10));
    assert_eq!(cluster.told(b, "peer").len(), 2);
    for at in 0..2 {
        cluster.link(at);
    }
    cluster.run(Duration::from_secs(1));
    assert_eq!(cluster.told(b, "peer").len(), 2);
    cluster.check_agreement();
}

#[test]
fn two_nodes_that_were_cut_apart_agree_again_when_the_cut_heals() {
    for takeover in [Takeover::Reject, Takeover::SameOwner, Takeover::Replace] {
        let config = Config {
            takeover,
            ..Config::default()
        };
        let mut cluster = Cluster::with(3, config, 7, |_| {});
        let (a, b) = (cluster.member(0, "a", "r"), cluster.member(1, "b", "r"));
        let watcher = cluster.member(2, "w", "r");
        cluster.cut(0, 1);
        cluster.cut(0, 2);
        cluster.run(Duration::from_secs(10));
        // The same id on both sides, and metadata.
        let one = cluster.member(0, "x", "r");
        cluster.run(Duration::from_secs(1));
        let two = cluster.member(1, "x", "r");
        cluster.say(a, json!({"t": "room", "room": "r", "set": {"side": "left"}}));
        cluster.run(Duration::from_secs(1));
        cluster.say(b, json!({"t": "room", "room": "r", "set": {"side": "right"}}));
        cluster.run(Duration::from_secs(1));
        cluster.say(b, json!({"t": "room", "room": "r", "set": {"again": 1}}));
        cluster.run(Duration::from_secs(18));
        cluster.heal();
        cluster.run(Duration::from_secs(5));
        let loser = if takeover == Takeover::Replace { one } else { two };
        let winner = if takeover == Takeover::Replace { two } else { one };
        assert_eq!(cluster.clients[loser].closed, Some(CloseCode::Replaced), "{takeover:?}");
        assert_eq!(cluster.clients[winner].closed, None);
        cluster.check_agreement();
        for client in [a, b, watcher] {
            let meta = cluster.told(client, "room").pop().unwrap();
            assert_eq!(meta["meta"], json!({"side": "right", "again": 1}));
        }
    }
}

#[test]
fn a_lost_event_is_noticed_by_the_next_one_or_by_an_audit() {
    let mut cluster = Cluster::new(2);
    let a = cluster.member(0, "a", "r");
    cluster.member(1, "b", "r");
    cluster.lost_permille = 1_000;
    cluster.member(1, "c", "r");
    cluster.lost_permille = 0;
    assert!(!cluster.clients[a].rooms["r"].contains("c"));
    cluster.run(Duration::from_secs(3));
    assert!(cluster.clients[a].rooms["r"].contains("c"));
    assert!(cluster.hub(0).stats().bus.resyncs > 0);
    cluster.check_agreement();
}

#[test]
fn a_join_that_nobody_answers_goes_on_in_time_and_what_waited_behind_it_too() {
    let mut cluster = Cluster::new(2);
    cluster.lost_permille = 1_000;
    let a = cluster.peer(0, "a");
    cluster.say(a, json!({"t": "join", "id": 1, "room": "r"}));
    cluster.say(a, json!({"t": "who", "id": 2, "room": "r"}));
    cluster.run(Duration::from_millis(250));
    assert_eq!(cluster.all(a).len(), 0);
    cluster.run(Duration::from_millis(100));
    let told = cluster.all(a);
    assert_eq!((&told[0]["t"], &told[1]["id"]), (&json!("joined"), &json!(2)));
    assert!(cluster.hub(0).stats().bus.held_timeouts > 0);
}

#[test]
fn a_client_that_goes_while_it_waits_is_never_in_the_room() {
    for micros in (0..8_000).step_by(250) {
        let mut cluster = Cluster::new(2);
        let watcher = cluster.member(1, "w", "r");
        let a = cluster.peer(0, "a");
        cluster.say(a, json!({"t": "join", "room": "r"}));
        cluster.run(Duration::from_micros(micros));
        cluster.drop_socket(a, CloseCode::Normal);
        cluster.settle();
        assert!(cluster.clients[watcher].rooms["r"].is_empty());
        assert_eq!(cluster.hub(0).stats().rooms, 0);
        cluster.check_agreement();
    }
}

#[test]
fn what_may_wait_is_bounded_and_more_is_refused_with_a_retry() {
    let mut cluster = Cluster::with(2, Config::default(), 1, |bus| {
        (bus.held, bus.held_frames) = (1, 2);
    });
    let (a, b) = (cluster.peer(0, "a"), cluster.peer(0, "b"));
    cluster.say(a, json!({"t": "join", "id": 1, "room": "r"}));
    cluster.say(b, json!({"t": "join", "id": 1, "room": "s"}));
    let refused = cluster.told(b, "err").pop().unwrap();
    assert_eq!(
        (&refused["code"], refused["retry"].is_u64()),
        (&json!("unavailable"), true)
    );
    for id in 2..=4 {
        cluster.say(a, json!({"t": "ping", "id": id, "n": id}));
    }
    let refused = cluster.told(a, "err");
    assert_eq!(refused.len(), 1, "{refused:?}");
    assert_eq!(
        (&refused[0]["id"], &refused[0]["code"]),
        (&json!(4), &json!("rate_limited"))
    );
    cluster.settle();
    assert_eq!(cluster.told(a, "pong").len(), 2);
    assert_eq!(cluster.hub(0).stats().rooms, 1);
    assert_eq!(cluster.hub(0).stats().bus.held_refused, 1);
}

#[test]
fn members_that_live_elsewhere_and_nodes_are_bounded() {
    let mut cluster = Cluster::with(3, Config::default(), 1, |bus| bus.mirrored = 1);
    cluster.member(0, "a", "r");
    cluster.member(1, "b", "r");
    cluster.member(2, "c", "r");
    let stats = cluster.hub(0).stats().bus;
    assert_eq!(stats.mirrored, 1);
    assert!(stats.turned_away > 0);
    let cluster = Cluster::with(4, Config::default(), 1, |bus| bus.nodes = 2);
    assert_eq!(cluster.hub(0).stats().bus.nodes, 2);
    assert!(cluster.hub(0).stats().bus.turned_away > 0);
}

#[test]
fn what_is_no_message_is_counted_and_changes_nothing() {
    let mut cluster = Cluster::with(2, Config::default(), 1, |bus| bus.message_bytes = 4_096);
    cluster.member(0, "a", "r");
    for junk in [&b""[..], b"\x01", b"\x02aaaaaaaaaaaaaaaaaaaaaaa", &[1; 64], &[1; 5_000]] {
        cluster.inject(0, Topic::Everybody, junk);
    }
    assert_eq!(cluster.hub(0).stats().bus.malformed, 5);
    cluster.check_agreement();
}

#[test]
fn rooms_of_one_name_that_were_made_apart_with_different_keys_do_not_mix() {
    let mut cluster = Cluster::new(2);
    cluster.cut(0, 1);
    cluster.run(Duration::from_secs(10));
    for (at, key) in [(0, "one"), (1, "two")] {
        let client = cluster.peer(at, &format!("p{at}"));
        cluster.say(client, json!({"t": "join", "room": "r", "key": key}));
        cluster.settle();
        assert_eq!(cluster.told(client, "joined").len(), 1);
    }
    cluster.heal();
    cluster.run(Duration::from_secs(6));
    for client in &cluster.clients {
        assert!(client.rooms["r"].is_empty());
    }
}
