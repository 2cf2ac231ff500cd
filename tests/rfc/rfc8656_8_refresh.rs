//! RFC 8656 §8.2: receiving a Refresh request.

use std::time::Duration;

use meetpoint::turn::{CloseReason, DropReason, Family, Handled, Limits, QuotaKind, Verdict};
use meetpoint::wire::attribute::{AdditionalAddressFamily, Lifetime, RequestedAddressFamily};
use meetpoint::wire::{AttributeType, Method};

use crate::relay::{Client, Lab, PEER, PEER_V6, config, to_peer};

const A: &str = "192.0.2.1:4001";
const NANO: Duration = Duration::from_nanos(1);

#[test]
fn a_refresh_starts_the_lifetime_anew_exact_to_the_bound() {
    for (asked, granted) in [(1, 600), (600, 600), (1800, 1800), (3600, 3600), (9999, 3600)] {
        let mut lab = Lab::new(config());
        let mut client = Client::new(A);
        client.allocate(&mut lab);
        lab.advance(Duration::from_secs(300));
        let reply = client.refresh(&mut lab, asked);
        assert_eq!((reply.code(), reply.lifetime()), (0, granted));
        assert!(client.signed(&reply));
        lab.advance(Duration::from_secs(u64::from(granted)) - NANO);
        assert_eq!(lab.server.allocations(), 1);
        lab.advance(NANO);
        lab.assert_empty();
    }
}

#[test]
fn a_refresh_without_lifetime_asks_for_the_default() {
    let mut lab = Lab::new(config());
    let mut client = Client::new(A);
    client.allocate_with(&mut lab, |builder| {
        builder.attribute(&Lifetime(3600));
    });
    assert_eq!(client.call(&mut lab, Method::REFRESH, |_| {}).lifetime(), 600);
    lab.advance(Duration::from_secs(600));
    lab.assert_empty();
}

#[test]
fn lifetime_zero_deletes_the_allocation_and_its_channels() {
    let mut lab = Lab::new(config());
    let mut client = Client::new(A);
    client.allocate(&mut lab);
    assert_eq!(client.bind(&mut lab, 0x4000, PEER), 0);
    assert_eq!(client.permit(&mut lab, &["20.0.0.2:0"]), 0);
    let reply = client.refresh(&mut lab, 0);
    assert_eq!((reply.code(), reply.lifetime()), (0, 0));
    assert!(client.signed(&reply));
    lab.assert_empty();
    assert_eq!(lab.server.stats().allocations_closed[CloseReason::Deleted.index()], 1);
    let handled = client.send_on(&mut lab, 0x4000, b"x");
    assert_eq!(handled, Handled::Done(Verdict::Dropped(DropReason::NoAllocation)));
    client.allocate(&mut lab);
    assert_eq!(
        client.send_on(&mut lab, 0x4000, b"x"),
        Handled::Done(Verdict::Dropped(DropReason::NoChannel))
    );
}

#[test]
fn a_refresh_without_an_allocation_is_437() {
    let mut lab = Lab::new(config());
    let mut client = Client::new(A);
    client.challenge(&mut lab);
    let reply = client.refresh(&mut lab, 600);
    assert_eq!(reply.code(), 437);
    assert!(client.signed(&reply));
}

#[test]
fn a_retransmitted_delete_gets_the_same_answer_for_forty_seconds() {
    let mut lab = Lab::new(config());
    let mut client = Client::new(A);
    client.allocate(&mut lab);
    let request = client.request(Method::REFRESH, |builder| {
        builder.attribute(&Lifetime(0));
    });
    let first = client.send(&mut lab, &request);
    lab.advance(Duration::from_secs(40) - NANO);
    assert_eq!(client.send(&mut lab, &request), first);
    lab.advance(NANO);
    assert_eq!(client.send(&mut lab, &request).code(), 437);
}

#[test]
fn a_late_duplicate_of_a_delete_does_not_touch_the_next_allocation() {
    let mut lab = Lab::new(config());
    let mut client = Client::new(A);
    client.allocate(&mut lab);
    let request = client.request(Method::REFRESH, |builder| {
        builder.attribute(&Lifetime(0));
    });
    client.send(&mut lab, &request);
    client.allocate(&mut lab);
    assert_eq!(client.send(&mut lab, &request).code(), 0);
    assert_eq!(lab.server.allocations(), 1);
}

#[test]
fn remembered_answers_end_at_their_bound() {
    let mut few = config();
    few.limits = Limits {
        retransmit_cache: 2,
        ..Limits::default()
    };
    let mut lab = Lab::new(few);
    let mut deleted = Vec::new();
    for port in 1..=3 {
        let mut client = Client::new(&format!("192.0.2.1:{port}"));
        client.allocate(&mut lab);
        let request = client.request(Method::REFRESH, |builder| {
            builder.attribute(&Lifetime(0));
        });
        assert_eq!(client.send(&mut lab, &request).code(), 0);
        deleted.push((client, request));
    }
    let codes: Vec<_> = deleted
        .iter()
        .map(|(client, request)| client.send(&mut lab, request).code())
        .collect();
    assert_eq!(codes, [437, 0, 0]);
    assert_eq!(lab.server.stats().quota_hits[QuotaKind::RetransmitCache.index()], 1);
}

#[test]
fn a_family_the_allocation_has_not_is_443() {
    let mut lab = Lab::new(config());
    let mut client = Client::new(A);
    client.allocate(&mut lab);
    for (family, code) in [(1, 0), (2, 443), (9, 443)] {
        let reply = client.call(&mut lab, Method::REFRESH, |builder| {
            builder
                .attribute(&RequestedAddressFamily(family))
                .attribute(&Lifetime(600));
        });
        assert_eq!(reply.code(), code, "{family}");
    }
}

#[test]
fn the_halves_of_a_dual_allocation_live_and_die_alone() {
    let mut lab = Lab::new(config());
    let mut client = Client::new(A);
    client.allocate_with(&mut lab, |builder| {
        builder.attribute(&AdditionalAddressFamily(2));
    });
    assert_eq!(client.permit(&mut lab, &[PEER, PEER_V6]), 0);
    assert_eq!(client.bind(&mut lab, 0x4000, PEER), 0);
    assert_eq!(client.bind(&mut lab, 0x4001, PEER_V6), 0);
    let reply = client.call(&mut lab, Method::REFRESH, |builder| {
        builder.attribute(&RequestedAddressFamily(1)).attribute(&Lifetime(0));
    });
    assert_eq!((reply.code(), reply.lifetime()), (0, 0));
    let stats = lab.server.stats();
    assert_eq!((stats.permissions_active, stats.channels_active), (1, 1));
    assert_eq!(stats.allocations_active[Family::V4.index()], [0; 5]);
    assert_eq!(lab.sockets.len(), 1);
    assert_eq!(
        client.send_on(&mut lab, 0x4000, b"x"),
        Handled::Done(Verdict::Dropped(DropReason::NoChannel))
    );
    assert_eq!(
        to_peer(client.send_on(&mut lab, 0x4001, b"x")),
        PEER_V6.parse().unwrap()
    );
    // What is deleted cannot be refreshed.
    let reply = client.call(&mut lab, Method::REFRESH, |builder| {
        builder.attribute(&RequestedAddressFamily(1));
    });
    assert_eq!(reply.code(), 443);
    // The other half was not refreshed, and ends in time.
    lab.advance(Duration::from_secs(600));
    lab.assert_empty();
}

#[test]
fn one_half_may_be_refreshed_while_the_other_runs_out() {
    let mut lab = Lab::new(config());
    let mut client = Client::new(A);
    client.allocate_with(&mut lab, |builder| {
        builder.attribute(&AdditionalAddressFamily(2));
    });
    lab.advance(Duration::from_secs(500));
    let reply = client.call(&mut lab, Method::REFRESH, |builder| {
        builder.attribute(&RequestedAddressFamily(2)).attribute(&Lifetime(1000));
    });
    assert_eq!(reply.lifetime(), 1000);
    lab.advance(Duration::from_secs(100));
    assert_eq!(lab.sockets.len(), 1);
    assert_eq!(lab.ledger.total(), 1);
    lab.advance(Duration::from_secs(900) - NANO);
    assert_eq!(lab.sockets.len(), 1);
    lab.advance(NANO);
    lab.assert_empty();
    assert_eq!(lab.server.stats().allocations_closed.iter().sum::<u64>(), 1);
}

#[test]
fn a_malformed_refresh_is_400() {
    let mut lab = Lab::new(config());
    let mut client = Client::new(A);
    client.allocate(&mut lab);
    for kind in [AttributeType::LIFETIME, AttributeType::REQUESTED_ADDRESS_FAMILY] {
        let reply = client.call(&mut lab, Method::REFRESH, |builder| {
            builder.raw_attribute(kind, &[0; 5]);
        });
        assert_eq!(reply.code(), 400);
        assert!(client.signed(&reply));
    }
}

#[test]
fn lifetimes_up_and_down_do_not_pile_up_timers() {
    let mut lab = Lab::new(config());
    let mut client = Client::new(A);
    client.allocate(&mut lab);
    for round in 0..200 {
        client.refresh(&mut lab, if round % 2 == 0 { 3600 } else { 600 });
    }
    lab.advance(Duration::from_secs(599));
    assert_eq!(lab.server.allocations(), 1);
    lab.advance(Duration::from_secs(1));
    lab.assert_empty();
}
