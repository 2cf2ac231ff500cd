//! What relays of several real processes tell each other: who is turned away.

use std::time::{Duration, SystemTime};

use meetpoint::credentials::{KeyRing, UnixTime, mint};
use serde_json::{Value, json};

use crate::redis::{PATIENCE, Redis, pause};
use crate::replica::{Replica, TOKEN};
use crate::support::client::{Arrival, Client, Wish};

const SECRET: &str = "the secret of all replicas of this test";
const OF_ACME: &str = "a token of the realm acme, long enough";

const CONFIG: &str = r#"
[credentials]
secrets_file = "secrets"
[admin]
tokens_file = "tokens"
[http]
compat = ["cloudflare", "twilio", "metered", "xirsys", "matrix", "stunner"]
[realms.acme]
secrets = ["the secret of the realm acme"]
tokens = ["a token of the realm acme, long enough"]
"#;

fn start(redis: &Redis) -> Replica {
    let files = [("meetpoint.toml", CONFIG), ("secrets", SECRET), ("tokens", TOKEN)];
    let arguments = ["--backplane-redis-timeout", "2s", "--backplane-node-timeout", "4s"];
    Replica::start_with(&redis.url(), &files, &arguments)
}

fn now() -> UnixTime {
    UnixTime::from_system_time(SystemTime::now())
}

fn client_with(replica: &Replica, secret: &str, user: &str) -> Client {
    let mut client = Client::new(replica.relay);
    let ring = KeyRing::from_bytes([secret]).unwrap();
    let credential = mint(&ring, now(), user, Duration::from_secs(600)).unwrap();
    client.log_in_with(&credential.username, credential.password.as_str());
    client
}

pub(crate) fn client(replica: &Replica, user: &str) -> Client {
    client_with(replica, SECRET, user)
}

fn refusal(replica: &Replica, user: &str) -> Option<u16> {
    client(replica, user).try_allocate(Wish::default()).err()
}

fn revoke(replica: &Replica, who: &str, name: &str) -> Value {
    let body = json!({ who: name, "until": now().0 + 3600 });
    replica.operate("POST /api/admin/revocations", &body)
}

fn lift(replica: &Replica, user: &str) {
    let request = format!("DELETE /api/admin/revocations?user={user}");
    assert_eq!(replica.status(&request, TOKEN), 204);
}

fn is_listed(replica: &Replica, name: &str) -> bool {
    let listed = replica.operate("GET /api/admin/revocations?limit=500", &json!({}));
    let listed = listed["revocations"].as_array().unwrap();
    listed
        .iter()
        .any(|each| [&each["user"], &each["username"]].contains(&&json!(name)))
}

pub(crate) fn wait(what: &str, wanted: impl Fn() -> bool) {
    let start = std::time::Instant::now();
    while !wanted() {
        assert!(start.elapsed() < PATIENCE, "{what}");
        pause();
    }
}

fn wait_listed(replica: &Replica, name: &str, listed: bool) {
    wait(&format!("{name} listed: {listed}"), || {
        is_listed(replica, name) == listed
    });
}

fn wait_ended(client: &mut Client) {
    let start = std::time::Instant::now();
    while client.refresh(600) != Err(437) {
        assert!(start.elapsed() < PATIENCE);
        pause();
    }
}

#[test]
fn who_is_revoked_on_one_replica_loses_what_it_holds_on_all_and_stays_out_until_it_is_lifted_anywhere() {
    let redis = Redis::start(&[]);
    let (a, b) = (start(&redis), start(&redis));
    a.wait_metric("meetpoint_fleet_nodes", |nodes| nodes == 1.0);
    b.wait_metric("meetpoint_fleet_nodes", |nodes| nodes == 1.0);
    let mut alice = client(&b, "alice");
    alice.allocate();
    let mut mallory = client(&b, "mallory");
    mallory.allocate();
    let mut second = client(&b, "mallory");
    second.allocate();

    // Asked at the replica that has nothing of it.
    assert_eq!(revoke(&a, "user", "mallory")["ended"], 0);
    wait_ended(&mut mallory);
    wait_ended(&mut second);
    assert_eq!((refusal(&a, "mallory"), refusal(&b, "mallory")), (Some(403), Some(403)));
    assert_eq!(alice.refresh(600), Ok(()), "nobody else's");

    // Lifted at the other one.
    lift(&b, "mallory");
    wait_listed(&a, "mallory", false);
    assert_eq!((refusal(&a, "mallory"), refusal(&b, "mallory")), (None, None));
    let counted = |replica: &Replica, origin: &str| {
        replica.metric(&format!("meetpoint_fleet_revocations_total{{origin=\"{origin}\"}}"))
    };
    for replica in [&a, &b] {
        assert_eq!(
            ["here", "elsewhere", "missed"].map(|origin| counted(replica, origin)),
            [1.0, 1.0, 0.0]
        );
    }
}

#[test]
fn what_a_tenant_revokes_by_the_shape_of_cloudflare_ends_on_all_replicas() {
    let redis = Redis::start(&[]);
    let (a, b) = (start(&redis), start(&redis));
    b.wait_metric("meetpoint_fleet_nodes", |nodes| nodes == 1.0);
    let ring = KeyRing::from_bytes(["the secret of the realm acme"]).unwrap();
    let credential = mint(&ring, now(), "carol@acme", Duration::from_secs(600)).unwrap();
    let log_in = |replica: &Replica| {
        let mut client = Client::new(replica.relay);
        client.log_in_with(&credential.username, credential.password.as_str());
        client
    };
    let mut carol = log_in(&b);
    carol.allocate();
    let request = format!("POST /v1/turn/keys/any/credentials/{}/revoke", credential.username);
    assert_eq!(a.status(&request, OF_ACME), 204);
    wait_ended(&mut carol);
    for replica in [&a, &b] {
        wait_listed(replica, &credential.username, true);
        assert_eq!(log_in(replica).try_allocate(Wish::default()).err(), Some(403));
    }
}

#[test]
fn a_replica_that_starts_or_was_cut_off_catches_up_in_both_directions() {
    let mut redis = Redis::start(&[]);
    let a = start(&redis);
    for user in 0..300 {
        revoke(&a, "user", &format!("user{user}"));
    }
    // One that starts.
    let b = start(&redis);
    b.wait_metric("meetpoint_fleet_revocations_total{origin=\"missed\"}", |missed| {
        missed == 300.0
    });
    assert_eq!(refusal(&b, "user299"), Some(403));

    redis.kill();
    a.wait_away();
    b.wait_away();
    let mut eve = client(&a, "eve");
    eve.allocate();
    revoke(&b, "user", "eve");
    lift(&a, "user7");
    revoke(&a, "user", "mallory");
    assert_eq!(eve.refresh(600), Ok(()), "nobody could tell");
    redis.start_again();
    wait_listed(&a, "eve", true);
    wait_listed(&b, "mallory", true);
    wait_listed(&b, "user7", false);
    wait_ended(&mut eve);
    // And it stays so: what was lifted does not come back from the one that missed it.
    assert!(!is_listed(&a, "user7"));
}

/// TURN URLs of a list, in order, with what opens them.
pub(crate) fn list(replica: &Replica, query: &str) -> (Vec<String>, String, String) {
    let list = replica.json(&format!("/api/ice-servers{query}"));
    let servers = list["iceServers"].as_array().unwrap();
    let turn = servers
        .iter()
        .find(|server| server.get("credential").is_some())
        .unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let urls = turn["urls"].as_array().unwrap().iter().map(text).collect();
    (urls, text(&turn["username"]), text(&turn["credential"]))
}

pub(crate) fn is_of(url: &str, replica: &Replica) -> bool {
    url.starts_with(&format!("turn:127.0.0.1:{}?", replica.relay.port()))
}

pub(crate) fn start_in_fleet(redis: &Redis) -> Replica {
    start_with_more(redis, "", &[])
}

pub(crate) fn start_with_more(redis: &Redis, more: &str, arguments: &[&str]) -> Replica {
    let config = format!("{CONFIG}[fleet]\nhost = \"127.0.0.1\"\n[peers]\nallow = [\"127.0.0.0/8\"]\n{more}");
    let files = [
        ("meetpoint.toml", config.as_str()),
        ("secrets", SECRET),
        ("tokens", TOKEN),
    ];
    let usual = [
        "--backplane-redis-timeout",
        "2s",
        "--backplane-node-timeout",
        "4s",
        "--http-rate",
        "0/s",
    ];
    Replica::start_with(&redis.url(), &files, &[&usual, arguments].concat())
}

pub(crate) fn wait_open(replica: &Replica, count: f64) {
    replica.wait_metric("meetpoint_fleet_relays{standing=\"open\"}", |open| open == count);
}

#[test]
fn both_peers_of_a_room_are_given_the_same_relay_wherever_they_ask_and_meet_inside_it() {
    let redis = Redis::start(&[]);
    let all = [(); 3].map(|()| start_in_fleet(&redis));
    for replica in &all {
        wait_open(replica, 3.0);
    }
    let mut given = [0; 3];
    for room in 0..60 {
        let query = format!("?room=room%20{room}");
        let (urls, ..) = list(&all[0], &query);
        for other in &all[1..] {
            assert_eq!(list(other, &query).0, urls);
        }
        given[all.iter().position(|replica| is_of(&urls[0], replica)).unwrap()] += 1;
        let further = urls
            .iter()
            .filter(|url| !is_of(url, all.iter().find(|one| is_of(&urls[0], one)).unwrap()));
        assert_eq!(further.count(), 2, "{urls:?}");
    }
    assert!(given.iter().all(|given| *given >= 5), "{given:?}");
    // Without a room: who is asked names itself.
    assert!(list(&all[1], "").0.iter().all(|url| is_of(url, &all[1])));

    // Two who ask two replicas.
    let relay = all
        .iter()
        .find(|replica| is_of(&list(&all[0], "?room=r").0[0], replica))
        .unwrap();
    let mut peers = [&all[0], &all[1]].map(|asked| {
        let (urls, username, password) = list(asked, "?room=r");
        assert!(is_of(&urls[0], relay));
        let mut client = Client::new(relay.relay);
        client.log_in_with(&username, &password);
        client
    });
    let addresses = [peers[0].allocate(), peers[1].allocate()];
    peers[0].permit(addresses[1]);
    peers[1].permit(addresses[0]);
    peers[0].send_indication(addresses[1], b"inside", false);
    assert_eq!(
        peers[1].receive(),
        Some(Arrival::Data(addresses[0], b"inside".to_vec()))
    );
    relay.wait_metric("meetpoint_relay_hairpin_packets_total", |packets| packets > 0.0);
}

#[test]
fn whoever_joins_a_room_by_any_replica_has_the_same_relay_before_it_hears_who_is_there() {
    let redis = Redis::start(&[]);
    let all = [(); 2].map(|()| start_in_fleet(&redis));
    for replica in &all {
        wait_open(replica, 2.0);
    }
    let mut pushed = 0;
    for number in 0..8 {
        let room = format!("room{number}");
        let wanted = list(&all[0], &format!("?room={room}")).0;
        for replica in &all {
            let peer = format!("p{number}");
            let mut client = replica.client(&format!("{peer}-{}", replica.http.port()));
            client.join(&room);
            // It came before the answer, if it had to come.
            match client.try_take(|frame| frame["t"] == "ice") {
                Some(ice) => {
                    pushed += 1;
                    assert!(!is_of(&wanted[0], replica));
                    let turn = &ice["servers"].as_array().unwrap()[1];
                    assert_eq!(turn["urls"], json!(wanted));
                    let relay = all.iter().find(|one| is_of(&wanted[0], one)).unwrap();
                    let mut allocating = Client::new(relay.relay);
                    let text = |value: &Value| value.as_str().unwrap().to_owned();
                    allocating.log_in_with(&text(&turn["username"]), &text(&turn["credential"]));
                    allocating.allocate();
                }
                None => assert!(is_of(&wanted[0], replica), "{wanted:?}"),
            }
        }
    }
    assert_eq!(pushed, 8, "each room has its relay at one of two");
}

#[test]
fn when_a_relay_drains_or_dies_its_rooms_alone_move_and_a_redis_that_is_away_moves_none() {
    let mut redis = Redis::start(&[]);
    let [a, b, c] = [(); 3].map(|()| start_in_fleet(&redis));
    for replica in [&a, &b, &c] {
        wait_open(replica, 3.0);
    }
    let rooms: Vec<String> = (0..60).map(|room| format!("?room={room}")).collect();
    let firsts = || -> Vec<String> { rooms.iter().map(|room| list(&a, room).0[0].clone()).collect() };
    let before = firsts();
    redis.kill();
    a.wait_away();
    // Longer than a silent replica is waited for.
    let start = std::time::Instant::now();
    while start.elapsed() < Duration::from_secs(5) {
        pause();
    }
    assert_eq!(firsts(), before);
    redis.start_again();
    b.wait_metric("meetpoint_backplane_connected", |connected| connected == 1.0);
    wait_open(&a, 3.0);
    assert_eq!(firsts(), before);

    // One that has something to wait for drains.
    let mut holder = client(&c, "holder");
    holder.allocate();
    c.signal("TERM");
    a.wait_metric("meetpoint_fleet_relays{standing=\"draining\"}", |draining| {
        draining == 1.0
    });
    let drained = firsts();
    for (was, is) in before.iter().zip(&drained) {
        assert_eq!(was == is, !is_of(was, &c), "{was}, then {is}");
    }
    assert_eq!(holder.refresh(600), Ok(()), "it lives on");
    let (_, shown) = (0, a.operate("GET /api/admin/fleet", &json!({})));
    let standings: Vec<_> = shown["relays"]
        .as_array()
        .unwrap()
        .iter()
        .map(|relay| relay["standing"].clone())
        .collect();
    assert_eq!(
        standings
            .iter()
            .filter(|standing| **standing == json!("draining"))
            .count(),
        1,
        "{shown}"
    );
    assert_eq!(
        (&shown["relays"][0]["here"], &shown["relays"][0]["hosts"]),
        (&json!(true), &json!(["127.0.0.1"]))
    );

    b.kill();
    wait_open(&a, 1.0);
    assert!(firsts().iter().all(|url| is_of(url, &a)));
}

#[test]
fn what_others_write_to_the_channels_is_counted_and_does_nothing() {
    let redis = Redis::start(&[]);
    let a = start(&redis);
    a.wait_metric("meetpoint_backplane_connected", |connected| connected == 1.0);
    redis.ask(&["PUBLISH meetpoint:1:fleet nonsense", "PUBLISH meetpoint:1:fleet x"]);
    a.wait_metric("meetpoint_fleet_malformed_total", |malformed| malformed == 2.0);
    assert_eq!(refusal(&a, "alice"), None);
}
