//! Realms that come, change and go while their allocations live.

use std::sync::Arc;
use std::time::Duration;

use meetpoint::credentials::KeyRing;
use meetpoint::turn::{Config, DropReason, Filter, Handled, PeerFilter, RateLimit, RealmConfig, RealmLimits, Verdict};

use crate::relay::{Client, Lab, PEER, SECRET, config, to_peer};
use crate::two::{ACME, ACME_REALM, GLOBEX, acme, globex, minted, of_acme, of_globex, stats, two, with};

fn code(lab: &mut Lab, mut client: Client) -> u16 {
    client.allocate_with(lab, |_| {}).code()
}

fn ready(lab: &mut Lab, mut client: Client) -> Client {
    client.allocate(lab);
    assert_eq!(client.bind(lab, 0x4000, PEER), 0);
    client
}

#[test]
fn a_realm_that_goes_lets_nobody_in_and_what_lives_goes_on_within_its_limits() {
    let limits = RealmLimits {
        total_rate: RateLimit {
            packets_per_second: 1,
            packet_burst: 3,
            ..RateLimit::NONE
        },
        ..RealmLimits::NONE
    };
    let deny = meetpoint::turn::PeerFilter::new([], ["20.0.0.2/32".parse().unwrap()]);
    let limited = RealmConfig {
        limits,
        peers: deny,
        ..acme()
    };
    let mut lab = Lab::new(with([limited, globex()]));
    let mut living = of_acme("192.0.2.1:1", "u");
    living.challenge(&mut lab);
    living.realm = ACME_REALM.to_owned();
    let mut living = ready(&mut lab, living);
    assert!(matches!(living.send_on(&mut lab, 0x4000, b"x"), Handled::Forward(_)));

    lab.server.reconfigure(Arc::new(with([globex()])));
    assert_eq!(code(&mut lab, of_acme("192.0.2.1:2", "u")), 401);
    // Nor is its name free for whoever has the secret of the default realm while it is configured; now it is, as any other.
    assert_eq!(code(&mut lab, minted("192.0.2.1:3", SECRET, "u@acme")), 0);
    let passed = (0..9)
        .filter(|_| matches!(living.send_on(&mut lab, 0x4000, b"x"), Handled::Forward(_)))
        .count();
    assert_eq!(passed, 2, "the limit is that of before");
    assert_eq!(living.refresh(&mut lab, 600).code(), 0);
    assert_eq!(living.permit(&mut lab, &["20.0.0.2:1"]), 403);
    let counted = stats(&mut lab, ACME);
    assert_eq!((counted.is_configured, counted.allocations), (false, 1));

    // It comes back: the same place, other limits.
    lab.server.reconfigure(Arc::new(two()));
    assert!((0..9).all(|_| matches!(living.send_on(&mut lab, 0x4000, b"x"), Handled::Forward(_))));
    assert!(stats(&mut lab, ACME).is_configured);
    lab.advance(Duration::from_secs(3600));
    lab.assert_empty();
    assert_eq!(stats(&mut lab, ACME).allocations, 0);
}

#[test]
fn what_a_realm_that_went_has_left_obeys_deny_rules_that_come_later() {
    let mut lab = Lab::new(two());
    let mut living = ready(&mut lab, of_acme("192.0.2.1:1", "u"));
    lab.server.reconfigure(Arc::new(with([globex()])));
    assert_eq!(to_peer(living.send_on(&mut lab, 0x4000, b"x")), PEER.parse().unwrap());
    let denied = |net: &str| Config {
        peers: PeerFilter::new(["10.0.0.0/8".parse().unwrap()], [net.parse().unwrap()]),
        ..with([globex()])
    };
    lab.server.reconfigure(Arc::new(denied("20.0.0.1/32")));
    let handled = living.send_on(&mut lab, 0x4000, b"x");
    assert_eq!(handled, Handled::Done(Verdict::Dropped(DropReason::NoChannel)));
    assert_eq!(living.permit(&mut lab, &[PEER]), 403);
    // What is opened for the operator's own use is not opened for it.
    assert_eq!(living.permit(&mut lab, &["10.0.0.1:1"]), 403);
    assert_eq!(living.permit(&mut lab, &["20.0.0.2:1"]), 0);
}

#[test]
fn a_realm_that_comes_takes_its_name_and_leaves_what_lives_under_it_alone() {
    let mut lab = Lab::new(config());
    let mut before = minted("192.0.2.1:1", SECRET, "u@acme");
    before.allocate(&mut lab);
    lab.server.reconfigure(Arc::new(two()));
    assert_eq!(code(&mut lab, of_acme("192.0.2.1:2", "u")), 0);
    assert_eq!(code(&mut lab, minted("192.0.2.1:3", SECRET, "u@acme")), 401);
    assert_eq!(before.refresh(&mut lab, 600).code(), 0);
    assert_eq!(
        (
            stats(&mut lab, "default").allocations,
            stats(&mut lab, ACME).allocations
        ),
        (1, 1)
    );
    // Somebody of acme with the same username is not the owner of what the default realm let in.
    let mut other = of_acme("192.0.2.1:1", "u");
    assert_eq!(other.username, before.username);
    (other.nonce, other.mode) = (before.nonce.clone(), crate::relay::Mode::Sha256);
    assert_eq!(other.refresh(&mut lab, 0).code(), 441);
}

#[test]
fn a_secret_is_rotated_and_nobody_elses_allocation_notices() {
    let mut lab = Lab::new(two());
    let mut acme_client = ready(&mut lab, of_acme("192.0.2.1:1", "u"));
    let mut globex_client = ready(&mut lab, of_globex("192.0.2.1:2", "u"));
    let rotated = RealmConfig {
        keys: Some(KeyRing::from_bytes(["another"]).unwrap()),
        ..acme()
    };
    // In another order, too: a place does not depend on it.
    lab.server.reconfigure(Arc::new(with([globex(), rotated])));
    assert_eq!(code(&mut lab, of_acme("192.0.2.1:3", "u")), 401);
    assert_eq!(code(&mut lab, minted("192.0.2.1:4", "another", "u@acme")), 0);
    assert_eq!(code(&mut lab, of_globex("192.0.2.1:5", "u")), 0);
    for client in [&mut acme_client, &mut globex_client] {
        assert_eq!(client.refresh(&mut lab, 600).code(), 0);
        assert_eq!(to_peer(client.send_on(&mut lab, 0x4000, b"x")), PEER.parse().unwrap());
    }
    assert_eq!(
        (stats(&mut lab, ACME).allocations, stats(&mut lab, GLOBEX).allocations),
        (2, 2)
    );
}

#[test]
fn operators_see_and_end_the_allocations_of_one_realm() {
    let mut lab = Lab::new(two());
    for port in 1..=3 {
        of_acme(&format!("192.0.2.1:{port}"), "u").allocate(&mut lab);
    }
    of_globex("192.0.2.1:4", "u").allocate(&mut lab);
    minted("192.0.2.1:5", SECRET, "u").allocate(&mut lab);
    let of = |realm: &str| Filter {
        realm: Some(realm.into()),
        ..Filter::default()
    };
    for (realm, count, user) in [
        (ACME, 3, "u@acme"),
        (GLOBEX, 1, "u@globex"),
        ("default", 1, "u"),
        ("meetpoint", 0, ""),
    ] {
        let page = lab.server.page(lab.now, &of(realm), 0, 99);
        assert_eq!(page.allocations.len(), count, "{realm}");
        assert!(
            page.allocations
                .iter()
                .all(|view| *view.realm == *realm && *view.user == *user)
        );
    }
    assert_eq!(lab.server.end_fitting(lab.now, &of(ACME), 0), (3, None));
    assert_eq!((stats(&mut lab, ACME).allocations, lab.server.allocations()), (0, 2));
}
