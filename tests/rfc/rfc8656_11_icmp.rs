//! RFC 8656 §11.5, §18.13: ICMP errors reach the client as Data indications.

use std::time::Duration;

use meetpoint::turn::{IcmpError, PeerAddr, PeerErrorEnd, RelayId};
use meetpoint::wire::attribute::{AdditionalAddressFamily, Icmp, XorPeerAddress};
use meetpoint::wire::{AttributeType, Class, Method};

use crate::relay::{Client, Lab, PEER, PEER_V6, addr, config};

const A: &str = "192.0.2.1:4001";

/// A client with a relay of either family that permits [`PEER`] and [`PEER_V6`].
fn allocated() -> (Lab, Client, RelayId, RelayId) {
    let mut lab = Lab::new(config());
    let mut client = Client::new(A);
    client.allocate_with(&mut lab, |builder| {
        builder.attribute(&AdditionalAddressFamily(2));
    });
    client.permit(&mut lab, &[PEER, PEER_V6]);
    let of = |v6: bool| *lab.sockets.iter().find(|(_, at)| at.is_ipv6() == v6).unwrap().0;
    let (v4, v6) = (of(false), of(true));
    (lab, client, v4, v6)
}

fn error(lab: &mut Lab, relay: RelayId, peer: &str, kind: u8, code: u8) -> PeerErrorEnd {
    let icmp = IcmpError {
        kind,
        code,
        next_hop_mtu: 1400,
    };
    let end = lab.server.handle_peer_error(lab.now, relay, PeerAddr(addr(peer)), icmp);
    lab.drain();
    lab.check();
    end
}

#[test]
fn the_client_is_told_by_a_data_indication_with_the_peer_and_the_error_and_no_data() {
    let (mut lab, client, v4, v6) = allocated();
    for (relay, peer, kind, code, mtu) in [
        (v4, PEER, 3, 3, 0),
        (v4, PEER, 3, 4, 1400),
        (v4, PEER, 11, 0, 0),
        (v6, PEER_V6, 1, 4, 0),
        (v6, PEER_V6, 2, 0, 1400),
        (v6, PEER_V6, 3, 1, 0),
    ] {
        assert_eq!(error(&mut lab, relay, peer, kind, code), PeerErrorEnd::Reported);
        let told = lab.reply();
        assert_eq!(told.to, client.five_tuple);
        let message = told.message();
        assert_eq!((message.class(), message.method()), (Class::Indication, Method::DATA));
        assert_eq!(told.kinds(), [AttributeType::XOR_PEER_ADDRESS, AttributeType::ICMP]);
        assert_eq!(told.find::<XorPeerAddress>(), Some(XorPeerAddress(addr(peer))));
        assert_eq!(told.find::<Icmp>(), Icmp::new(kind, code.into(), mtu));
    }
    assert_eq!(lab.server.stats().peer_errors[PeerErrorEnd::Reported.index()], 6);
}

#[test]
fn only_the_types_of_the_family_are_told() {
    let (mut lab, _client, v4, v6) = allocated();
    for kind in 0..=u8::MAX {
        if !matches!(kind, 3 | 11) {
            assert_eq!(error(&mut lab, v4, PEER, kind, 0), PeerErrorEnd::OtherType, "{kind}");
        }
        if !matches!(kind, 1..=3) {
            assert_eq!(error(&mut lab, v6, PEER_V6, kind, 0), PeerErrorEnd::OtherType, "{kind}");
        }
    }
    assert!(lab.sent.is_empty());
}

#[test]
fn of_a_peer_without_a_permission_nothing_is_told() {
    let (mut lab, mut client, v4, _) = allocated();
    assert_eq!(error(&mut lab, v4, "20.0.0.2:7000", 3, 3), PeerErrorEnd::NoPermission);
    // A channel outlives no permission here: what counts is the permission.
    lab.advance(Duration::from_secs(200));
    client.refresh(&mut lab, 3600);
    lab.advance(Duration::from_secs(100));
    lab.sent.clear();
    assert_eq!(error(&mut lab, v4, PEER, 3, 3), PeerErrorEnd::NoPermission);
    assert!(lab.sent.is_empty());
}

#[test]
fn of_a_relay_that_is_gone_nothing_is_told() {
    let (mut lab, mut client, v4, _) = allocated();
    assert_eq!(error(&mut lab, RelayId(99), PEER, 3, 3), PeerErrorEnd::NoRelay);
    client.refresh(&mut lab, 0);
    lab.sent.clear();
    assert_eq!(error(&mut lab, v4, PEER, 3, 3), PeerErrorEnd::NoRelay);
    assert!(lab.sent.is_empty());
}

#[test]
fn a_storm_of_errors_becomes_ten_indications_a_second_and_no_more() {
    let (mut lab, _client, v4, _) = allocated();
    for second in 0..3 {
        let told = (0..1000)
            .filter(|_| error(&mut lab, v4, PEER, 3, 3) == PeerErrorEnd::Reported)
            .count();
        assert_eq!((told, lab.sent.len()), (10, 10), "second {second}");
        lab.sent.clear();
        lab.sleep(Duration::from_secs(1));
    }
    assert_eq!(
        lab.server.stats().peer_errors[PeerErrorEnd::RateLimited.index()],
        3 * 990
    );
}

#[test]
fn a_storm_over_many_allocations_has_a_bound_for_all() {
    let mut lab = Lab::new(config());
    let mut told = 0;
    for index in 0..120 {
        let mut client = Client::with_expiry(
            &format!("192.0.2.{}:4001", index + 1),
            &format!("user{index}"),
            Duration::from_secs(600),
        );
        let relayed = client.allocate(&mut lab);
        client.permit(&mut lab, &[PEER]);
        let relay = lab.relay_at(relayed);
        told += (0..20)
            .filter(|_| error(&mut lab, relay, PEER, 3, 3) == PeerErrorEnd::Reported)
            .count();
        lab.sent.clear();
    }
    assert_eq!(told, 1000);
}
