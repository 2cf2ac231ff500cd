//! RFC 6062 §5.5: data connections end with their allocation; and what may pass by them.

use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use meetpoint::turn::{
    CloseReason, Config, ConnectionEnd, ConnectionKey, Direction, Limits, PeerFilter, RateKind, RateLimit,
};
use meetpoint::wire::attribute::{AddressFamily, RequestedAddressFamily, RequestedTransport};
use meetpoint::wire::{AttributeType, Method};

use crate::relay::{Client, Lab, PEER, PEER_V6, addr};
use crate::rfc6062_client::{A, DATA, PEER_2, allocated, ask, bind, connect, open_config, refused};

/// A bound connection, one that waits, and one that is being made.
fn of_every_kind(lab: &mut Lab) -> (Client, ConnectionKey) {
    let (mut client, _) = allocated(lab);
    let (key, id) = connect(&mut client, lab, PEER);
    assert_eq!(bind(&mut client.again_from(DATA), lab, id).code(), 0);
    connect(&mut client, lab, PEER_2);
    assert!(ask(&mut client, lab, "20.0.0.3:1").is_none());
    (client, key)
}

#[test]
fn they_all_end_with_their_allocation_however_that_ends() {
    for reason in [
        CloseReason::Deleted,
        CloseReason::Expired,
        CloseReason::ClientGone,
        CloseReason::Operator,
    ] {
        let mut lab = Lab::new(open_config());
        let (mut client, _) = of_every_kind(&mut lab);
        match reason {
            CloseReason::Deleted => client.refresh_with_others(&mut lab),
            CloseReason::Expired => {
                // The one that is being made, and the one that waits, end before.
                lab.advance(Duration::from_secs(600));
            }
            CloseReason::ClientGone => lab.gone(&client.five_tuple),
            _ => {
                let page = lab.server.page(lab.now, &meetpoint::turn::Filter::default(), 0, 9);
                assert_eq!(page.allocations[0].connections, 3);
                assert!(lab.server.end(lab.now, page.allocations[0].id));
                lab.drain();
            }
        }
        assert_eq!(lab.server.stats().allocations_closed[reason.index()], 1);
        let ended = lab.server.stats().connections_ended;
        let expected = if reason == CloseReason::Expired { 1 } else { 3 };
        assert_eq!(ended[ConnectionEnd::AllocationEnded.index()], expected);
        lab.sent.clear();
        lab.assert_empty();
    }
}

#[test]
fn the_end_of_a_data_connection_leaves_its_allocation_and_the_others() {
    let mut lab = Lab::new(open_config());
    let (client, key) = of_every_kind(&mut lab);
    lab.ended(key, ConnectionEnd::Finished);
    // The driver tells of the stream's end as well; it was no allocation's.
    lab.gone(&client.again_from(DATA).five_tuple);
    assert_eq!(lab.server.allocations(), 1);
    assert_eq!(lab.server.stats().connections_pending, 2);
    assert_eq!(lab.server.stats().connections_active, 0);
}

#[test]
fn those_of_one_family_end_with_it() {
    let mut lab = Lab::new(open_config());
    let mut client = Client::new(A).over_tcp();
    client.challenge(&mut lab);
    client.call(&mut lab, Method::ALLOCATE, |builder| {
        builder
            .attribute(&RequestedTransport::TCP)
            .raw_attribute(AttributeType::ADDITIONAL_ADDRESS_FAMILY, &[2, 0, 0, 0]);
    });
    connect(&mut client, &mut lab, PEER);
    let (v6, _) = connect(&mut client, &mut lab, PEER_V6);
    let reply = client.call(&mut lab, Method::REFRESH, |builder| {
        builder
            .attribute(&meetpoint::wire::attribute::Lifetime(0))
            .attribute(&RequestedAddressFamily(AddressFamily::Ipv4.value()));
    });
    assert_eq!(reply.code(), 0);
    assert_eq!(lab.connections.keys().copied().collect::<Vec<_>>(), [v6]);
    assert_eq!(lab.server.stats().tcp_relays_active, [0, 1]);
}

#[test]
fn those_to_peers_that_new_rules_close_end_at_once() {
    let mut lab = Lab::new(open_config());
    let (mut client, _) = of_every_kind(&mut lab);
    client.permit(&mut lab, &[PEER, PEER_2]);
    let net = |text: &str| text.parse::<IpNet>().unwrap();
    lab.server.reconfigure(Arc::new(Config {
        peers: PeerFilter::new([], [net("20.0.0.1/32"), net("20.0.0.3/32")]),
        ..open_config()
    }));
    lab.drain();
    lab.check();
    assert_eq!(lab.reply().code(), 403, "the one that was being made is answered");
    assert_eq!(lab.server.stats().connections_ended[ConnectionEnd::Revoked.index()], 2);
    assert_eq!(lab.connections.len(), 1);
}

#[test]
fn one_to_a_service_of_this_machine_ends_when_the_rule_that_opened_it_goes() {
    let mut lab = Lab::new(Config {
        peers: PeerFilter::new(["20.9.9.9/32".parse().unwrap()], []),
        ..open_config()
    });
    let (mut client, relayed) = allocated(&mut lab);
    assert_eq!(
        relayed.ip(),
        addr("20.9.9.9:22").ip(),
        "the relayed address is open, its other ports are not"
    );
    connect(&mut client, &mut lab, "20.9.9.9:22");
    lab.server.reconfigure(Arc::new(open_config()));
    lab.drain();
    lab.check();
    assert_eq!(refused(&mut client, &mut lab, "20.9.9.9:22"), 403);
    assert_eq!(lab.server.stats().connections_ended[ConnectionEnd::Revoked.index()], 1);
    assert_eq!(lab.connections.len(), 0);
}

#[test]
fn what_passes_is_counted_for_the_transport_of_the_data_connection_and_for_its_allocation() {
    let mut lab = Lab::new(open_config());
    let (_, key) = of_every_kind(&mut lab);
    for direction in Direction::ALL {
        assert_eq!(lab.server.grant(lab.now, key, direction, 70_000), 70_000);
        lab.server.handle_passed(lab.now, key, direction, 70_000, 1234);
        lab.server.handle_passed(lab.now, key, direction, 70_000, 0);
        let counted = lab.server.stats().traffic[direction.index()][1];
        assert_eq!((counted.packets, counted.bytes), (1, 1234));
    }
    let page = lab.server.page(lab.now, &meetpoint::turn::Filter::default(), 0, 9);
    assert_eq!(
        (page.allocations[0].to_peer.bytes, page.allocations[0].to_client.bytes),
        (1234, 1234)
    );
    lab.check();
}

fn limited(allocation: u64, user: u64, total: u64) -> Config {
    let rate = |bytes_per_second| RateLimit {
        bytes_per_second,
        ..RateLimit::NONE
    };
    Config {
        limits: Limits {
            allocation_rate: rate(allocation),
            user_rate: rate(user),
            total_rate: rate(total),
            ..Limits::default()
        },
        ..open_config()
    }
}

#[test]
fn a_limit_of_bytes_holds_a_data_connection_back_and_loses_nothing() {
    const RATE: u64 = 100_000;
    const BURST: u64 = 65_536;
    for (config, kind) in [
        (limited(RATE, 0, 0), RateKind::AllocationBytes),
        (limited(0, RATE, 0), RateKind::UserBytes),
        (limited(0, 0, RATE), RateKind::TotalBytes),
    ] {
        let mut lab = Lab::new(config);
        let (_, key) = of_every_kind(&mut lab);
        let way = Direction::ClientToPeer;
        let mut passed = 0;
        let mut pauses = 0;
        for _ in 0..1000 {
            loop {
                let granted = lab.server.grant(lab.now, key, way, 65_536);
                if granted == 0 {
                    pauses += 1;
                    break;
                }
                // What is not used is not lost.
                let used = granted.div_ceil(2);
                lab.server.handle_passed(lab.now, key, way, granted, used);
                passed += used as u64;
            }
            lab.sleep(Duration::from_millis(10));
        }
        assert!(passed <= BURST + RATE * 10, "{kind:?}: {passed}");
        assert!(passed >= RATE * 10, "{kind:?}: {passed}");
        let stats = lab.server.stats();
        assert_eq!(stats.connection_pauses[way.index()][kind.index()], pauses);
        assert!(
            stats.over_rate.iter().flatten().all(|count| *count == 0),
            "nothing was dropped"
        );
        // The other direction has its own.
        assert!(lab.server.grant(lab.now, key, Direction::PeerToClient, 65_536) > 0);
    }
}

#[test]
fn what_came_unasked_is_paid_for_before_more_is_granted() {
    let mut lab = Lab::new(limited(100_000, 0, 0));
    let (_, key) = of_every_kind(&mut lab);
    let way = Direction::ClientToPeer;
    assert_eq!(lab.server.grant(lab.now, key, way, 65_536), 65_536);
    lab.server.handle_passed(lab.now, key, way, 65_536, 65_536);
    // A record of TLS whose last byte was granted, and bytes behind a ConnectionBind, of which none was.
    lab.server.handle_passed(lab.now, key, way, 0, 30_000);
    lab.server.handle_passed(lab.now, key, way, 0, 20_000);
    lab.sleep(Duration::from_millis(490));
    assert_eq!(lab.server.grant(lab.now, key, way, 65_536), 0);
    lab.sleep(Duration::from_millis(20));
    assert!((512..=1_100).contains(&lab.server.grant(lab.now, key, way, 65_536)));
}
