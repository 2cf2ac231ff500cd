//! A network that is cut without a word, between two replicas in namespaces of their own.

use std::time::{Duration, Instant};

use crate::client::assert_together;
use crate::namespace::Namespace;
use crate::redis::{Redis, pause};
use crate::replica::Replica;

/// Longer than any time-out here.
const CUT: Duration = Duration::from_secs(30);

const SILENCE: &str = "table inet cut {
    chain in { type filter hook input priority 0; iifname \"far\" drop; }
    chain out { type filter hook output priority 0; oifname \"far\" drop; }
}";

#[test]
fn a_network_cut_for_half_a_minute_is_noticed_within_seconds_and_heals() {
    let (near, far) = (Namespace::make("near").unwrap(), Namespace::make("far").unwrap());
    far.cable("far", "10.77.0.2/24", &near, "near").unwrap();
    near.ip("address add 10.77.0.1/24 dev near").unwrap();
    let redis = Redis::start_in(near.name(), "10.77.0.1");
    let url = format!("redis://10.77.0.1:{}", redis.port);
    let arguments = ["--backplane-redis-timeout", "2s", "--backplane-node-timeout", "4s"];
    let a = Replica::start_in(Some(near.name()), &url, &arguments);
    let b = Replica::start_in(Some(far.name()), &url, &arguments);
    a.wait_for_others(1);
    let (mut ann, mut amy, mut bob, mut ben) = (a.client("ann"), a.client("amy"), b.client("bob"), b.client("ben"));
    for client in [&mut ann, &mut amy, &mut bob, &mut ben] {
        client.join("r");
    }
    assert_together("r", &mut [&mut ann, &mut amy, &mut bob, &mut ben]);

    let cut = Instant::now();
    far.rules(SILENCE).unwrap();
    b.wait_away();
    amy.wait_roster("r", &["ann"]);
    bob.wait_roster("r", &["ben"]);
    bob.say("r", "cut off");
    assert_eq!(ben.hear("cut off"), "bob");
    ben.leave("r");
    while cut.elapsed() < CUT {
        ann.catch_up();
        bob.catch_up();
        pause();
    }
    far.rules("flush ruleset").unwrap();
    assert_together("r", &mut [&mut ann, &mut amy, &mut bob]);
    bob.say("r", "healed");
    assert_eq!((ann.hear("healed"), amy.hear("healed")), ("bob".into(), "bob".into()));
}
