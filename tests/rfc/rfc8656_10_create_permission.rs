//! RFC 8656 §9 and §10.2: permissions and CreatePermission.

use std::time::Duration;

use ipnet::IpNet;
use meetpoint::turn::{Config, DropReason, Handled, Limits, PeerClass, PeerFilter, QuotaKind, Verdict};
use meetpoint::wire::{AttributeType, Method};

use crate::relay::{Client, Lab, PEER, PEER_V6, RELAY_V4, addr, config, to_client, to_peer};

const A: &str = "192.0.2.1:4001";
const NANO: Duration = Duration::from_nanos(1);

fn allocated() -> (Lab, Client) {
    let mut lab = Lab::new(config());
    let mut client = Client::new(A);
    client.allocate(&mut lab);
    (lab, client)
}

fn denied(lab: &Lab, class: PeerClass) -> u64 {
    lab.server.stats().denied_peers[class.index()]
}

const NO_PERMISSION: Handled = Handled::Done(Verdict::Dropped(DropReason::NoPermission));

#[test]
fn a_permission_is_for_an_address_and_not_for_a_port() {
    let (mut lab, mut client) = allocated();
    let relay = *lab.sockets.keys().next().unwrap();
    assert_eq!(client.send_to(&mut lab, PEER, b"x"), NO_PERMISSION);
    assert_eq!(lab.peer(relay, addr(PEER), b"x"), NO_PERMISSION);
    assert_eq!(client.permit(&mut lab, &["20.0.0.1:0"]), 0);
    for port in [1, 7000, 65535] {
        let peer = format!("20.0.0.1:{port}");
        assert_eq!(to_peer(client.send_to(&mut lab, &peer, b"x")), addr(&peer));
        to_client(lab.peer(relay, addr(&peer), b"x"), b"x");
    }
    assert_eq!(client.send_to(&mut lab, "20.0.0.2:7000", b"x"), NO_PERMISSION);
    assert_eq!(lab.peer(relay, addr("20.0.0.2:7000"), b"x"), NO_PERMISSION);
}

#[test]
fn a_permission_lasts_five_minutes_and_traffic_does_not_refresh_it() {
    let (mut lab, mut client) = allocated();
    let relay = *lab.sockets.keys().next().unwrap();
    client.permit(&mut lab, &[PEER]);
    for _ in 0..29 {
        lab.sleep(Duration::from_secs(10));
        to_peer(client.send_to(&mut lab, PEER, b"x"));
        to_client(lab.peer(relay, addr(PEER), b"x"), b"x");
    }
    lab.sleep(Duration::from_secs(10) - NANO);
    to_peer(client.send_to(&mut lab, PEER, b"x"));
    lab.sleep(NANO);
    assert_eq!(client.send_to(&mut lab, PEER, b"x"), NO_PERMISSION);
    assert_eq!(lab.peer(relay, addr(PEER), b"x"), NO_PERMISSION);
    assert_eq!(lab.server.stats().permissions_active, 0);
}

#[test]
fn creating_it_again_starts_its_five_minutes_anew() {
    let (mut lab, mut client) = allocated();
    client.permit(&mut lab, &[PEER]);
    lab.advance(Duration::from_secs(200));
    client.permit(&mut lab, &[PEER]);
    lab.advance(Duration::from_secs(300) - NANO);
    to_peer(client.send_to(&mut lab, PEER, b"x"));
    lab.advance(NANO);
    assert_eq!(client.send_to(&mut lab, PEER, b"x"), NO_PERMISSION);
    assert_eq!(lab.server.stats().permissions_created, 1);
}

#[test]
fn one_request_may_name_many_peers() {
    let (mut lab, mut client) = allocated();
    assert_eq!(
        client.permit(&mut lab, &[PEER, "20.0.0.2:1", "20.0.0.2:2", "20.0.0.3:1"]),
        0
    );
    assert_eq!(lab.server.stats().permissions_active, 3);
}

#[test]
fn no_peer_or_a_malformed_one_is_400() {
    let (mut lab, mut client) = allocated();
    assert_eq!(client.permit(&mut lab, &[]), 400);
    for bytes in [&[0, 1, 0, 0][..], &[0, 3, 0, 0, 0, 0, 0, 0], &[0, 2, 0, 0, 0, 0, 0, 0]] {
        let reply = client.call(&mut lab, Method::CREATE_PERMISSION, |builder| {
            builder.attribute(&meetpoint::wire::attribute::XorPeerAddress(addr(PEER)));
            builder.raw_attribute(AttributeType::XOR_PEER_ADDRESS, bytes);
        });
        assert_eq!(reply.code(), 400);
    }
    assert_eq!(lab.server.stats().permissions_active, 0);
}

#[test]
fn a_peer_of_another_family_is_443_for_the_whole_request() {
    let (mut lab, mut client) = allocated();
    assert_eq!(client.permit(&mut lab, &[PEER_V6]), 443);
    assert_eq!(client.permit(&mut lab, &[PEER, PEER_V6]), 443);
    assert_eq!(lab.server.stats().permissions_active, 0);
}

#[test]
fn without_an_allocation_it_is_437() {
    let mut lab = Lab::new(config());
    let mut client = Client::new(A);
    client.challenge(&mut lab);
    assert_eq!(client.permit(&mut lab, &[PEER]), 437);
    assert_eq!(client.bind(&mut lab, 0x4000, PEER), 437);
}

#[test]
fn a_list_with_one_closed_address_is_refused_whole() {
    let (mut lab, mut client) = allocated();
    for list in [[PEER, "192.168.1.1:1"], ["192.168.1.1:1", PEER]] {
        assert_eq!(client.permit(&mut lab, &list), 403);
        assert_eq!(lab.server.stats().permissions_active, 0);
        assert_eq!(client.send_to(&mut lab, PEER, b"x"), NO_PERMISSION);
    }
    assert_eq!(denied(&lab, PeerClass::Private), 2);
}

#[test]
fn an_operator_may_open_a_range_and_a_deny_rule_still_beats_it() {
    let nets = |list: &[&str]| list.iter().map(|net| net.parse::<IpNet>().unwrap()).collect::<Vec<_>>();
    let peers = PeerFilter::new(
        nets(&["192.168.0.0/16", "127.0.0.0/8"]),
        nets(&["192.168.7.0/24", "20.6.6.6/32"]),
    );
    let mut lab = Lab::new(Config { peers, ..config() });
    let mut client = Client::new(A);
    client.allocate(&mut lab);
    for (peer, code) in [
        ("192.168.1.1:1", 0),
        ("127.0.0.1:1", 0),
        ("192.168.7.1:1", 403),
        ("10.0.0.1:1", 403),
        ("20.6.6.6:1", 403),
        ("20.6.6.7:1", 0),
    ] {
        assert_eq!(client.permit(&mut lab, &[peer]), code, "{peer}");
    }
    assert_eq!(denied(&lab, PeerClass::DenyRule), 2);
}

#[test]
fn our_own_addresses_are_closed_unless_they_are_relayed_ones() {
    let mut own = config();
    own.own_addrs = vec!["20.9.9.10".parse().unwrap()];
    let mut lab = Lab::new(own);
    let mut client = Client::new(A);
    client.allocate(&mut lab);
    assert_eq!(client.permit(&mut lab, &["20.9.9.10:1"]), 403);
    assert_eq!(client.permit(&mut lab, &["10.0.0.5:1"]), 403);
    assert_eq!(denied(&lab, PeerClass::OwnAddress), 2);
    assert_eq!(client.permit(&mut lab, &[&format!("{RELAY_V4}:0")]), 0);
    // The permission is for hairpin: our listener on the same address is no allocation.
    assert_eq!(client.bind(&mut lab, 0x4000, &format!("{RELAY_V4}:3478")), 403);
    let handled = client.send_to(&mut lab, &format!("{RELAY_V4}:3478"), b"x");
    assert_eq!(handled, Handled::Done(Verdict::Dropped(DropReason::PeerDenied)));
}

#[test]
fn permissions_end_at_their_bound_and_refreshing_needs_no_room() {
    let mut few = config();
    few.limits = Limits {
        permissions_per_allocation: 3,
        ..Limits::default()
    };
    let mut lab = Lab::new(few);
    let mut client = Client::new(A);
    client.allocate(&mut lab);
    assert_eq!(client.permit(&mut lab, &["20.0.0.1:1", "20.0.0.2:1"]), 0);
    assert_eq!(client.permit(&mut lab, &["20.0.0.3:1", "20.0.0.4:1"]), 508);
    assert_eq!(lab.server.stats().permissions_active, 2);
    assert_eq!(client.permit(&mut lab, &["20.0.0.3:1"]), 0);
    assert_eq!(client.permit(&mut lab, &["20.0.0.1:1", "20.0.0.2:1", "20.0.0.3:1"]), 0);
    assert_eq!(client.permit(&mut lab, &["20.0.0.4:1"]), 508);
    assert_eq!(client.bind(&mut lab, 0x4000, "20.0.0.4:1"), 508);
    assert_eq!(client.bind(&mut lab, 0x4000, "20.0.0.3:1"), 0);
    assert_eq!(lab.server.stats().quota_hits[QuotaKind::Permissions.index()], 3);
    lab.advance(Duration::from_secs(300));
    assert_eq!(client.permit(&mut lab, &["20.0.0.4:1"]), 0);
}
