//! What relays of several real processes tell each other: who is turned away.

use std::time::{Duration, SystemTime};

use meetpoint::credentials::{KeyRing, UnixTime, mint};
use serde_json::{Value, json};

use crate::redis::{PATIENCE, Redis, pause};
use crate::replica::{Replica, TOKEN};
use crate::support::client::{Client, Wish};

const SECRET: &str = "the secret of all replicas of this test";
const OF_ACME: &str = "a token of the realm acme, long enough";

const CONFIG: &str = r#"
[credentials]
secrets_file = "secrets"
[admin]
tokens_file = "tokens"
[http]
compat = ["cloudflare"]
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

fn client(replica: &Replica, user: &str) -> Client {
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

fn wait(what: &str, wanted: impl Fn() -> bool) {
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

#[test]
fn what_others_write_to_the_channels_is_counted_and_does_nothing() {
    let redis = Redis::start(&[]);
    let a = start(&redis);
    a.wait_metric("meetpoint_backplane_connected", |connected| connected == 1.0);
    redis.ask(&["PUBLISH meetpoint:1:fleet nonsense", "PUBLISH meetpoint:1:fleet x"]);
    a.wait_metric("meetpoint_fleet_malformed_total", |malformed| malformed == 2.0);
    assert_eq!(refusal(&a, "alice"), None);
}
