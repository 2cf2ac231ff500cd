//! Several real processes as one hub.

use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::client::{Client, assert_together};
use crate::redis::{PATIENCE, Redis, pause};
use crate::replica::{Replica, TOKEN, replicas};

#[test]
fn members_of_three_replicas_are_one_room() {
    let redis = Redis::start(&[]);
    let [a, b, c] = replicas(&redis.url(), &[]);
    let (mut ann, mut bob, mut cid) = (a.client("ann"), b.client("bob"), c.client("cid"));
    assert_eq!(ann.join("r")["total"], 0);
    assert_eq!(bob.join("r")["peers"][0]["meta"]["of"], "ann");
    assert_eq!(cid.join("r")["total"], 2);
    assert_together("r", &mut [&mut ann, &mut bob, &mut cid]);

    // Signals in order, to one; and an answer for one who is not there.
    for number in 0..200 {
        ann.tell(&json!({ "t": "sig", "room": "r", "to": "cid", "kind": "cand", "data": number }));
    }
    for number in 0..200 {
        let signal = cid.wait("the next signal", |frame| frame["t"] == "sig");
        assert_eq!((&signal["data"], &signal["from"]), (&json!(number), &json!("ann")));
    }
    let sent = bob.ask(json!({ "t": "sig", "room": "r", "to": "ann", "kind": "offer", "data": "x" }));
    assert_eq!(sent["t"], "ok", "{sent}");
    let refused = bob.ask(json!({ "t": "sig", "room": "r", "to": "nobody", "kind": "offer", "data": "x" }));
    assert_eq!(refused["code"], "no_peer", "{refused}");

    // Messages to all and to some.
    bob.say("r", "to all");
    assert_eq!((ann.hear("to all"), cid.hear("to all")), ("bob".into(), "bob".into()));
    bob.tell(&json!({ "t": "send", "room": "r", "to": "cid", "data": "to one" }));
    assert_eq!(cid.hear("to one"), "bob");
    ann.catch_up();
    assert!(!format!("{ann:?}").contains("to one"));

    // Presence and the room's own metadata.
    cid.ask(json!({ "t": "meta", "room": "r", "set": { "mood": "fine" } }));
    ann.wait("presence", |frame| {
        frame["ev"] == "meta" && frame["peer"] == "cid" && frame["meta"]["mood"] == "fine"
    });
    let set = ann.ask(json!({ "t": "room", "room": "r", "set": { "topic": "t" }, "if": 0 }));
    assert_eq!(set["t"], "ok", "{set}");
    bob.wait("metadata", |frame| {
        frame["t"] == "room" && frame["meta"]["topic"] == "t" && frame["by"] == "ann"
    });
    let late = cid.ask(json!({ "t": "room", "room": "r", "set": { "topic": "u" }, "if": 0 }));
    assert_eq!(late["t"], "err", "{late}");
    let mut dan = b.client("dan");
    assert_eq!(dan.join("r")["meta"]["topic"], "t");

    bob.leave("r");
    ann.wait_roster("r", &["cid", "dan"]);
    cid.wait_roster("r", &["ann", "dan"]);
}

#[test]
fn an_id_is_one_peers_on_all_replicas_and_a_limit_holds_for_all() {
    let redis = Redis::start(&[]);
    let [a, b] = replicas(&redis.url(), &[]);
    let (mut ann, mut bob) = (a.client("ann"), b.client("bob"));
    ann.ask(json!({ "t": "join", "room": "r", "key": "k", "max": 2 }));
    let without = bob.ask(json!({ "t": "join", "room": "r" }));
    assert_eq!(without["code"], "forbidden", "{without}");
    let with = bob.ask(json!({ "t": "join", "room": "r", "key": "k" }));
    assert_eq!(with["t"], "joined", "{with}");
    let third = a.client("cid").ask(json!({ "t": "join", "room": "r", "key": "k" }));
    assert_eq!(third["code"], "room_full", "{third}");
    // A stranger cannot be somebody who is there.
    let mut other = b.client("ann");
    ann.join("s");
    let taken = other.ask(json!({ "t": "join", "room": "s" }));
    assert_eq!(taken["code"], "id_taken", "{taken}");
}

#[test]
fn who_takes_an_id_over_on_another_replica_replaces_the_older_one() {
    let redis = Redis::start(&[]);
    let [a, b] = replicas(&redis.url(), &["--signaling-takeover", "replace"]);
    let (mut old, mut bob) = (a.client("ann"), b.client("bob"));
    old.join("r");
    bob.join("r");
    let mut new = b.client("ann");
    assert_eq!(new.join("r")["total"], 1);
    assert_eq!(old.wait_closed(), 4103);
    bob.wait_roster("r", &["ann"]);
    bob.say("r", "to whom?");
    assert_eq!(new.hear("to whom?"), "bob");
    assert_eq!(bob.who("r").len(), 1);
}

#[test]
fn members_of_a_killed_replica_leave_elsewhere_and_can_come_back() {
    let redis = Redis::start(&[]);
    let [a, b, c] = replicas(&redis.url(), &["--backplane-node-timeout", "3s"]);
    let (mut ann, mut bob, mut cid) = (a.client("ann"), b.client("bob"), c.client("cid"));
    for client in [&mut ann, &mut bob, &mut cid] {
        client.join("r");
    }
    let mut more: Vec<Client> = (0..20).map(|number| b.client(&format!("b{number}"))).collect();
    for client in &mut more {
        client.join("r");
    }
    ann.wait("the last of them", |frame| frame["peer"] == "b19");
    b.kill();
    // Whoever asks is not told of ghosts, once the time is over.
    ann.wait_roster("r", &["cid"]);
    cid.wait_roster("r", &["ann"]);
    assert_eq!(ann.who("r"), ["cid".to_owned()].into());
    let lost = ann.wait("why", |frame| frame["ev"] == "leave" && frame["peer"] == "bob");
    assert_eq!(lost["why"], "lost");
    a.wait_for_others(1);
    // The same ids are free for those who come back, wherever.
    let mut bob = a.client("bob");
    bob.join("r");
    assert_together("r", &mut [&mut ann, &mut bob, &mut cid]);
    let again = Replica::start(&redis.url(), &["--backplane-node-timeout", "3s"]);
    let mut dan = again.client("dan");
    dan.join("r");
    assert_together("r", &mut [&mut ann, &mut bob, &mut cid, &mut dan]);
}

#[test]
fn a_replica_that_ends_in_order_takes_its_members_along_at_once() {
    let redis = Redis::start(&[]);
    // Nobody waits for a time-out here.
    let [a, b] = replicas(&redis.url(), &["--backplane-node-timeout", "5m"]);
    let (mut ann, mut bob) = (a.client("ann"), b.client("bob"));
    ann.join("r");
    bob.join("r");
    ann.wait_roster("r", &["bob"]);
    b.signal("TERM");
    assert_eq!(bob.wait_closed(), 4003);
    ann.wait_roster("r", &[]);
}

/// Rooms work within a replica while Redis is away, and are one again when it is back.
fn survives(redis_goes: impl FnOnce(&mut Redis), redis_comes: impl FnOnce(&mut Redis)) {
    let mut redis = Redis::start(&[]);
    let arguments = ["--backplane-redis-timeout", "2s", "--backplane-node-timeout", "4s"];
    let [a, b] = replicas(&redis.url(), &arguments);
    let (mut ann, mut amy, mut bob, mut ben) = (a.client("ann"), a.client("amy"), b.client("bob"), b.client("ben"));
    for client in [&mut ann, &mut amy, &mut bob, &mut ben] {
        client.join("r");
    }
    assert_together("r", &mut [&mut ann, &mut amy, &mut bob, &mut ben]);

    redis_goes(&mut redis);
    // At once, noticed or not: what is local waits for nobody.
    ann.say("r", "still here");
    assert_eq!(amy.hear("still here"), "ann");
    a.wait_away();
    b.wait_away();
    assert_eq!(a.json("/readyz"), json!({ "status": "ready", "backplane": "away" }));
    a.wait_for_log("the backplane is away");
    // Each side forgets the other, and goes on: some leave, some come.
    amy.wait_roster("r", &["ann"]);
    bob.wait_roster("r", &["ben"]);
    ben.leave("r");
    bob.wait_roster("r", &[]);
    let mut cid = b.client("cid");
    cid.join("r");
    amy.ask(json!({ "t": "meta", "room": "r", "set": { "mood": "alone" } }));
    bob.say("r", "on our own");
    assert_eq!(cid.hear("on our own"), "bob");
    assert_eq!(b.json("/health")["peers"], 3);

    redis_comes(&mut redis);
    assert_together("r", &mut [&mut ann, &mut amy, &mut bob, &mut cid]);
    cid.say("r", "all together");
    for client in [&mut ann, &mut amy, &mut bob] {
        assert_eq!(client.hear("all together"), "cid");
    }
    let mut late = b.client("late");
    let peers = late.join("r")["peers"].clone();
    let amy_there = peers
        .as_array()
        .unwrap()
        .iter()
        .find(|peer| peer["peer"] == "amy")
        .unwrap();
    assert_eq!(
        amy_there["meta"]["mood"], "alone",
        "what changed meanwhile is known now"
    );
    assert_eq!(
        a.json("/readyz"),
        json!({ "status": "ready", "backplane": "connected" })
    );
    a.wait_json("/health", |health| health["peers"] == 6);
}

#[test]
fn a_killed_redis_leaves_every_replica_on_its_own_until_it_is_back() {
    survives(Redis::kill, Redis::start_again);
}

#[test]
fn a_redis_that_hangs_leaves_every_replica_on_its_own_until_it_is_back() {
    survives(|redis| redis.signal("STOP"), |redis| redis.signal("CONT"));
}

#[test]
fn two_who_came_under_one_id_while_redis_was_away_are_one_afterwards() {
    let mut redis = Redis::start(&[]);
    let [a, b] = replicas(&redis.url(), &["--backplane-node-timeout", "2s"]);
    let (mut ann, mut bob) = (a.client("ann"), b.client("bob"));
    ann.join("r");
    bob.join("r");
    assert_together("r", &mut [&mut ann, &mut bob]);
    redis.kill();
    bob.wait_roster("r", &[]);
    let mut other = b.client("ann");
    other.join("r");
    redis.start_again();
    a.wait_for_others(1);
    b.wait_for_others(1);
    // One of them keeps it, by the same rule on both sides; nobody is there twice.
    let start = Instant::now();
    while bob.who("r").len() != 1 || is_out(&mut ann) == is_out(&mut other) {
        assert!(start.elapsed() < PATIENCE, "{bob:?} {ann:?} {other:?}");
        pause();
    }
    bob.wait_roster("r", &["ann"]);
}

/// Whether it was closed, or asked to leave.
fn is_out(client: &mut Client) -> bool {
    if client.closed.is_some() {
        return true;
    }
    client.tell(&json!({ "t": "ping", "n": 7 }));
    let start = Instant::now();
    while client.closed.is_none() {
        assert!(start.elapsed() < PATIENCE);
        if client
            .try_take(|frame| frame["t"] == "pong" && frame["n"] == 7)
            .is_some()
        {
            return false;
        }
    }
    true
}

#[test]
fn replicas_start_without_redis_and_say_so_without_the_password() {
    let mut redis = Redis::planned(&["--requirepass", "hunter2"]);
    let url = format!("redis://:hunter2@127.0.0.1:{}", redis.port);
    let a = Replica::start(&url, &[]);
    a.wait_for_log("the backplane is away");
    let mut ann = a.client("ann");
    ann.join("r");
    let wrong = format!("redis://:hunter3@127.0.0.1:{}", redis.port);
    redis.start_again();
    let c = Replica::start(&wrong, &[]);
    c.wait_for_log("refused");
    let b = Replica::start(&url, &[]);
    a.wait_for_others(1);
    let mut bob = b.client("bob");
    bob.join("r");
    assert_together("r", &mut [&mut ann, &mut bob]);
    for replica in [&a, &b, &c] {
        let log = replica.log();
        assert!(!log.contains("hunter"), "{log}");
        let metrics = replica.try_get("/metrics").unwrap();
        assert!(!metrics.contains("hunter"));
    }
    assert_eq!(c.json("/readyz")["backplane"], "away");
}

#[test]
fn numbers_are_of_all_replicas_while_they_hear_each_other() {
    let redis = Redis::start(&[]);
    let [a, b] = replicas(&redis.url(), &[]);
    let mut clients = [a.client("ann"), b.client("bob"), b.client("cid")];
    clients[0].join("r");
    clients[1].join("r");
    clients[2].join("s");
    for replica in [&a, &b] {
        replica.wait_json("/health", |health| health["peers"] == 3 && health["rooms"] == 2);
        replica.wait_json("/api/signaling/stats", |stats| {
            stats["totalPeers"] == 3 && stats["totalRooms"] == 2 && stats["replicas"] == 2
        });
        assert_eq!(replica.metric("meetpoint_backplane_total_rooms"), 2.0);
    }
    assert_eq!(a.metric("meetpoint_backplane_malformed_total"), 0.0);
    // Somebody else writes to a channel.
    redis.ask(&["PUBLISH meetpoint:1:all hello?"]);
    a.wait_metric("meetpoint_backplane_malformed_total", |count| count == 1.0);
}

#[test]
fn a_redis_that_does_not_answer_delays_no_message_of_a_replica() {
    let redis = Redis::start(&[]);
    let [a, _b] = replicas(&redis.url(), &["--backplane-redis-timeout", "1m"]);
    let (mut ann, mut amy) = (a.client("ann"), a.client("amy"));
    ann.join("r");
    amy.join("r");
    redis.signal("STOP");
    let start = Instant::now();
    for number in 0..50 {
        ann.say("r", &number.to_string());
        amy.hear(&number.to_string());
    }
    // A join waits for what the others say, no longer than it may.
    let mut late = a.client("late");
    late.join("r");
    assert_together("r", &mut [&mut ann, &mut amy, &mut late]);
    assert!(
        start.elapsed() < Duration::from_secs(30),
        "long before Redis counts as away"
    );
    assert_eq!(a.metric("meetpoint_backplane_connected"), 1.0);
    redis.signal("CONT");
}

#[test]
fn lists_are_equal_after_every_fault_whoever_came_and_went_meanwhile() {
    let mut redis = Redis::start(&[]);
    let arguments = ["--backplane-redis-timeout", "2s", "--backplane-node-timeout", "4s"];
    let all: [Replica; 3] = replicas(&redis.url(), &arguments);
    let mut clients: Vec<Client> = (0..12)
        .map(|number| all[number % 3].client(&format!("c{number}")))
        .collect();
    let mut inside = [false; 12];
    // Each time another third comes or goes.
    let mut move_some = |clients: &mut [Client], round: usize| {
        for (number, client) in clients.iter_mut().enumerate() {
            if (number / 3 + number + round).is_multiple_of(3) {
                if inside[number] {
                    client.leave("r");
                } else {
                    client.join("r");
                }
                inside[number] = !inside[number];
            }
        }
        inside
    };
    type Fault = fn(&mut Redis);
    let pauses: Fault = |redis| {
        redis.signal("STOP");
        pause();
        redis.signal("CONT");
    };
    let faults: [(Fault, Fault); 6] = [
        (|_| {}, |_| {}),
        (Redis::kill, Redis::start_again),
        (pauses, pauses),
        (|redis| redis.signal("STOP"), |redis| redis.signal("CONT")),
        (
            |redis| drop(redis.ask(&["CLIENT KILL TYPE pubsub SKIPME yes"])),
            |redis| drop(redis.ask(&["CLIENT KILL TYPE normal SKIPME yes"])),
        ),
        (Redis::kill, Redis::start_again),
    ];
    for (round, (goes, comes)) in faults.into_iter().enumerate() {
        move_some(&mut clients, 3 * round);
        goes(&mut redis);
        move_some(&mut clients, 3 * round + 1);
        comes(&mut redis);
        let inside = move_some(&mut clients, 3 * round + 2);
        let mut members: Vec<&mut Client> = clients
            .iter_mut()
            .zip(inside)
            .filter_map(|(client, inside)| inside.then_some(client))
            .collect();
        assert_together("r", &mut members);
    }
}

#[test]
fn an_operator_asks_any_replica_and_reaches_members_and_relays_of_all() {
    let redis = Redis::start(&[]);
    let secrets = tempfile::tempdir().unwrap();
    let tokens = secrets.path().join("tokens");
    std::fs::write(&tokens, TOKEN).unwrap();
    std::fs::set_permissions(&tokens, std::fs::Permissions::from_mode(0o600)).unwrap();
    let [a, b] = replicas(&redis.url(), &["--admin-tokens-file", tokens.to_str().unwrap()]);
    let (mut ann, mut bob) = (a.client("ann"), b.client("bob"));
    ann.join("r");
    bob.join("r");
    ann.wait_roster("r", &["bob"]);

    let said = a.operate("POST /v1/rooms/r/send", &json!({ "data": "careful", "to": "bob" }));
    assert_eq!(said, json!({ "sent": 1, "missing": [] }));
    assert_eq!(bob.hear("careful"), "$server");

    // On the replica that bob is not connected to: it is put out there, and both relays turn its session away.
    let kick = json!({ "peer": "bob", "reason": "be nice", "ban_seconds": 60 });
    let kicked = a.operate("POST /v1/rooms/r/kick", &kick);
    assert_eq!(
        kicked,
        json!({ "ended": 0, "allocations": 0, "ban": null, "replicas": 1 })
    );
    assert_eq!(bob.wait_closed(), 4105);
    ann.wait_roster("r", &[]);
    let session = json!(bob.session);
    for replica in [&a, &b] {
        wait_until(replica, "GET /api/admin/revocations", |answer| {
            let revoked = answer["revocations"].as_array().unwrap();
            revoked.iter().any(|each| each["session"] == session)
        });
        wait_until(replica, "GET /v1/bans", |answer| answer["bans"][0]["peer"] == "bob");
        let again = replica.client("bob").ask(json!({ "t": "join", "room": "r" }));
        assert_eq!(again["code"], "forbidden", "{again}");
    }
    let closed = b.operate("POST /v1/rooms/r/close", &json!({ "reason": "over" }));
    assert_eq!(closed["replicas"], 1);
    ann.wait("the end of the room", |frame| frame["t"] == "closed");
}

fn wait_until(replica: &Replica, request: &str, wanted: impl Fn(&serde_json::Value) -> bool) {
    let start = Instant::now();
    loop {
        let answer = replica.operate(request, &json!({}));
        if wanted(&answer) {
            return;
        }
        assert!(start.elapsed() < PATIENCE, "{request}: {answer}\n{}", replica.log());
        pause();
    }
}
