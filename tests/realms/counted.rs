//! What a realm is billed and watched by: time, peaks, users, refusals by reason, each to the letter and across shards.

use std::time::Duration;

use meetpoint::turn::{
    AllocateRefusal, AuthFailure, Ledger, Period, RealmConfig, RealmLimits, RealmStats, Reservations, Resource, Shard,
};

use crate::relay::{Client, Lab, SECRET, five_tuple};
use crate::two::{ACME, GLOBEX_SECRET, acme, globex, minted, of_acme, two, with};

/// What a realm has counted, as of now.
fn counted(lab: &mut Lab, name: &str) -> RealmStats {
    let (_, realms) = lab.server.all_stats(lab.now);
    realms.iter().find(|one| *one.name == *name).unwrap().clone()
}

fn allocate(lab: &mut Lab, mut client: Client) -> u16 {
    client.allocate_with(lab, |_| {}).code()
}

#[test]
fn allocation_time_is_the_time_that_allocations_lived_together() {
    let mut lab = Lab::new(two());
    assert_eq!(allocate(&mut lab, of_acme("192.0.2.1:1", "a")), 0);
    lab.advance(Duration::from_secs(10));
    assert_eq!(counted(&mut lab, ACME).allocation_time, Duration::from_secs(10));
    assert_eq!(allocate(&mut lab, of_acme("192.0.2.1:2", "b")), 0);
    lab.advance(Duration::from_secs(5));
    // While nobody asks it goes on, and asking twice counts nothing twice.
    assert_eq!(counted(&mut lab, ACME).allocation_time, Duration::from_secs(20));
    assert_eq!(counted(&mut lab, ACME).allocation_time, Duration::from_secs(20));
    lab.gone(&five_tuple("192.0.2.1:1"));
    lab.advance(Duration::from_secs(7));
    assert_eq!(counted(&mut lab, ACME).allocation_time, Duration::from_secs(27));
    assert_eq!(counted(&mut lab, "default").allocation_time, Duration::ZERO);
}

#[test]
fn the_peak_is_that_of_all_shards_together_and_ends_with_its_period() {
    let (ledger, reservations) = (Ledger::new(), Reservations::new());
    let mut labs = [0, 1].map(|index| {
        let shard = Shard { index, count: 2 };
        Lab::shard(two(), shard, ledger.clone(), reservations.clone())
    });
    for (index, lab) in labs.iter_mut().enumerate() {
        for port in 1..=2 {
            assert_eq!(allocate(lab, of_acme(&format!("192.0.2.{index}:{port}"), "a")), 0);
        }
    }
    let [first, second] = &mut labs;
    assert_eq!((counted(first, ACME).peak, counted(second, ACME).peak), (4, 4));
    assert_eq!((counted(first, ACME).users, counted(first, "default").users), (1, 0));
    for port in 1..=2 {
        second.gone(&five_tuple(&format!("192.0.2.1:{port}")));
    }
    assert_eq!(counted(second, ACME).peak, 4);
    let period = ledger.end_period(ACME);
    assert_eq!((period.peak, period.credentials_used), (4, 1));
    assert_eq!(ledger.end_period(ACME).peak, 2);
    assert_eq!(ledger.end_period("nobody"), Period::default());
}

#[test]
fn users_and_credentials_are_told_apart_from_allocations() {
    let mut lab = Lab::new(two());
    for (port, user) in [(1, "a"), (2, "a"), (3, "b")] {
        let client = of_acme(&format!("192.0.2.1:{port}"), user);
        assert_eq!(allocate(&mut lab, client), 0);
    }
    assert_eq!(allocate(&mut lab, minted("192.0.2.1:4", SECRET, "a")), 0);
    let of_acme = counted(&mut lab, ACME);
    assert_eq!(
        (of_acme.allocations, of_acme.users, of_acme.credentials_used),
        (3, 2, 2)
    );
    assert_eq!(counted(&mut lab, "default").users, 1);
    for port in 1..=3 {
        lab.gone(&five_tuple(&format!("192.0.2.1:{port}")));
    }
    let of_acme = counted(&mut lab, ACME);
    assert_eq!((of_acme.users, of_acme.credentials_used), (0, 2));
}

#[test]
fn refusals_have_the_reason_that_a_billing_or_an_alert_wants() {
    let limits = RealmLimits {
        allocations: 1,
        ..RealmLimits::NONE
    };
    let mut lab = Lab::new(with([RealmConfig { limits, ..acme() }, globex()]));
    assert_eq!(allocate(&mut lab, of_acme("192.0.2.1:1", "a")), 0);
    assert_eq!(allocate(&mut lab, of_acme("192.0.2.1:2", "b")), 486);
    assert_eq!(allocate(&mut lab, minted("192.0.2.1:3", GLOBEX_SECRET, "c@acme")), 401);
    lab.server.reconfigure(std::sync::Arc::new(meetpoint::turn::Config {
        draining: true,
        ..two()
    }));
    assert_eq!(allocate(&mut lab, of_acme("192.0.2.1:4", "d")), 508);
    let of_acme = counted(&mut lab, ACME);
    for reason in AllocateRefusal::ALL {
        let expected = match reason {
            AllocateRefusal::Quota | AllocateRefusal::Draining => 1,
            _ => 0,
        };
        assert_eq!(of_acme.allocations_refused[reason.index()], expected, "{reason:?}");
    }
    assert_eq!(of_acme.auth_failures[AuthFailure::WrongPassword.index()], 1);
}

#[test]
fn sources_of_wrong_passwords_are_counted_and_forged_ones_are_not() {
    let mut lab = Lab::new(two());
    for host in 1..=20 {
        for port in 1..=3 {
            let client = minted(&format!("192.0.2.{host}:{port}"), GLOBEX_SECRET, "a@acme");
            assert_eq!(allocate(&mut lab, client), 401);
        }
    }
    let failing = |lab: &mut Lab| lab.server.all_stats(lab.now).0.failing_sources;
    assert!((18..=22).contains(&failing(&mut lab)), "{}", failing(&mut lab));
    lab.advance(Duration::from_secs(120));
    assert_eq!(failing(&mut lab), 0);
    // Without credentials, as a forged source asks.
    for host in 1..=20 {
        let mut client = Client::new(&format!("192.0.2.{host}:9"));
        assert_eq!(client.challenge(&mut lab).code(), 401);
    }
    assert_eq!(failing(&mut lab), 0);
}

#[test]
fn answers_to_whoever_has_shown_nothing_are_weighed_against_what_was_asked() {
    let mut lab = Lab::new(two());
    let mut client = Client::new("192.0.2.1:1");
    assert_eq!(client.challenge(&mut lab).code(), 401);
    let answer = lab.sent.last().map_or(0, |(_, bytes)| bytes.len() as u64);
    let stats = lab.server.stats();
    assert_eq!(stats.unauthenticated_requests.packets, 1);
    assert!(stats.unauthenticated_requests.bytes >= 20);
    assert!(answer == 0 || stats.unauthenticated_answers.bytes == answer);
    let before = (stats.unauthenticated_requests, stats.unauthenticated_answers);
    assert_eq!(allocate(&mut lab, of_acme("192.0.2.1:2", "a")), 0);
    let after = lab.server.stats();
    // The challenge that comes first counts, the signed answer does not.
    assert_eq!(after.unauthenticated_requests.packets - before.0.packets, 1);
    assert_eq!(after.unauthenticated_answers.packets - before.1.packets, 1);
}

#[test]
fn how_full_things_are_is_told_of_what_there_is() {
    let mut config = two();
    config.relay_ports = 50_000..=50_003;
    config.relay_addrs.truncate(1);
    config.limits.allocations = 10;
    let mut lab = Lab::new(config);
    for port in 1..=3 {
        assert_eq!(allocate(&mut lab, of_acme(&format!("192.0.2.1:{port}"), "a")), 0);
    }
    let fills = lab.server.all_stats(lab.now).0.fills;
    let fill = |resource: Resource| (fills[resource.index()].used, fills[resource.index()].limit);
    assert_eq!(fill(Resource::Ports), (3, 4));
    assert_eq!(fill(Resource::Allocations), (3, 10));
    assert_eq!(fills[Resource::Ports.index()].ratio(), 0.75);
    assert_eq!(fill(Resource::Connections).0, 0);
}
