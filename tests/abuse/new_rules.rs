//! Rules for peers that come while allocations live: what they close is closed at once.

use std::sync::Arc;
use std::time::Duration;

use meetpoint::turn::{
    Config, DropReason, Handled, IcmpError, Limits, PeerAddr, PeerErrorEnd, PeerFilter, RelayId, Verdict,
};

use crate::relay::{Client, Lab, PEER, addr, channel_data, config, forwarded, to_client, to_peer};

const OTHER: &str = "30.0.0.1:7000";

fn deny(net: &str) -> Arc<Config> {
    let peers = PeerFilter::new([], [net.parse().unwrap()]);
    Arc::new(Config { peers, ..config() })
}

fn dropped(handled: Handled) -> DropReason {
    match handled {
        Handled::Done(Verdict::Dropped(reason)) => reason,
        other => panic!("not dropped: {other:?}"),
    }
}

/// A client with a channel to each of two peers, and its relay.
fn bound() -> (Lab, Client, RelayId) {
    let mut lab = Lab::new(config());
    let mut client = Client::new("192.0.2.1:4001");
    let relayed = client.allocate(&mut lab);
    assert_eq!(client.bind(&mut lab, 0x4000, PEER), 0);
    assert_eq!(client.bind(&mut lab, 0x4001, OTHER), 0);
    let relay = lab.relay_at(relayed);
    (lab, client, relay)
}

#[test]
fn a_new_deny_rule_cuts_the_channels_and_permissions_that_it_closes_and_no_others() {
    let (mut lab, mut client, relay) = bound();
    lab.server.reconfigure(deny("20.0.0.0/8"));
    lab.drain();
    assert_eq!(dropped(client.send_on(&mut lab, 0x4000, b"x")), DropReason::NoChannel);
    assert_eq!(dropped(client.send_to(&mut lab, PEER, b"x")), DropReason::NoPermission);
    assert_eq!(dropped(lab.peer(relay, addr(PEER), b"x")), DropReason::NoPermission);
    let icmp = IcmpError {
        kind: 3,
        code: 3,
        next_hop_mtu: 0,
    };
    let told = lab.server.handle_peer_error(lab.now, relay, PeerAddr(addr(PEER)), icmp);
    assert_eq!(told, PeerErrorEnd::NoPermission);
    assert_eq!(client.bind(&mut lab, 0x4000, PEER), 403);
    assert_eq!(client.permit(&mut lab, &[PEER]), 403);

    assert_eq!(to_peer(client.send_on(&mut lab, 0x4001, b"x")), addr(OTHER));
    to_client(lab.peer(relay, addr(OTHER), b"x"), b"x");
    let stats = lab.server.stats();
    assert_eq!((stats.channels_revoked, stats.permissions_revoked), (1, 1));
    assert_eq!((stats.channels_active, stats.permissions_active), (1, 1));
    // What went has a place again, and what stays ends as it would have.
    assert_eq!(client.bind(&mut lab, 0x4000, "30.0.0.2:1"), 0);
    lab.advance(Duration::from_secs(3600));
    lab.assert_empty();
}

#[test]
fn an_allow_rule_that_is_taken_back_closes_what_it_had_opened() {
    let inside = "192.168.7.7:53";
    let opened = Config {
        peers: PeerFilter::new(["192.168.7.0/24".parse().unwrap()], []),
        ..config()
    };
    let mut lab = Lab::new(opened);
    let mut client = Client::new("192.0.2.1:4001");
    let relayed = client.allocate(&mut lab);
    assert_eq!(client.bind(&mut lab, 0x4000, inside), 0);
    assert_eq!(to_peer(client.send_on(&mut lab, 0x4000, b"x")), addr(inside));
    lab.server.reconfigure(Arc::new(config()));
    assert_eq!(dropped(client.send_on(&mut lab, 0x4000, b"x")), DropReason::NoChannel);
    let relay = lab.relay_at(relayed);
    assert_eq!(dropped(lab.peer(relay, addr(inside), b"x")), DropReason::NoPermission);
}

#[test]
fn an_address_that_this_machine_gets_is_closed_to_those_who_had_a_channel_to_it() {
    let (mut lab, mut client, relay) = bound();
    let own_addrs = vec![addr(PEER).ip()];
    lab.server.reconfigure(Arc::new(Config { own_addrs, ..config() }));
    assert_eq!(dropped(client.send_on(&mut lab, 0x4000, b"x")), DropReason::NoChannel);
    assert_eq!(dropped(lab.peer(relay, addr(PEER), b"x")), DropReason::NoPermission);
}

#[test]
fn a_rule_against_hairpin_cuts_channels_between_two_clients() {
    let mut lab = Lab::new(config());
    let mut clients = ["192.0.2.1:4001", "192.0.2.2:4001"].map(Client::new);
    let at = [0, 1].map(|n| clients[n].allocate(&mut lab).to_string());
    for (n, client) in clients.iter_mut().enumerate() {
        assert_eq!(client.bind(&mut lab, 0x4000, &at[1 - n]), 0);
    }
    forwarded(clients[0].send_on(&mut lab, 0x4000, b"x"));
    lab.server.reconfigure(deny("20.9.9.9/32"));
    for client in &mut clients {
        assert_eq!(dropped(client.send_on(&mut lab, 0x4000, b"x")), DropReason::NoChannel);
    }
}

#[test]
fn a_configuration_with_the_same_rules_judges_nothing_anew() {
    let (mut lab, mut client, _) = bound();
    let before = lab.server.poll_timeout();
    lab.server.reconfigure(Arc::new(Config {
        software: Some("other".to_owned()),
        ..config()
    }));
    assert_eq!(lab.server.poll_timeout(), before);
    assert_eq!(to_peer(client.send_on(&mut lab, 0x4000, b"x")), addr(PEER));
}

/// Judging is done in slices. A packet on an allocation whose turn has not come must not profit from that.
#[test]
fn nothing_passes_on_a_channel_that_is_judged_later() {
    let limits = Limits {
        permissions_per_allocation: 256,
        channels_per_allocation: 256,
        ..Limits::default()
    };
    let mut lab = Lab::new(Config { limits, ..config() });
    let mut clients: Vec<_> = (1..=40)
        .map(|n| Client::with_expiry(&format!("192.0.2.{n}:4000"), &n.to_string(), Duration::from_secs(3600)))
        .collect();
    let mut relays = Vec::new();
    for client in &mut clients {
        let relayed = client.allocate(&mut lab);
        relays.push(lab.relay_at(relayed));
        for n in 0..200_u16 {
            assert_eq!(client.bind(&mut lab, 0x4000 + n, &format!("20.0.0.{}:7000", n + 1)), 0);
        }
    }
    let stats = lab.server.stats();
    assert_eq!((stats.channels_active, stats.permissions_active), (8000, 8000));
    lab.server.reconfigure(deny("20.0.0.0/9"));
    assert!(
        lab.server.stats().channels_active > 0,
        "one slice was enough: make the test larger"
    );
    assert!(lab.server.poll_timeout().is_some_and(|due| due <= lab.now.instant));

    // The last one first, at the same moment: whatever was judged so far.
    let mut reasons = Vec::new();
    for (client, relay) in clients.iter().zip(&relays).rev() {
        let sent = channel_data(0x4000, b"x");
        reasons.push(dropped(lab.server.handle_client(lab.now, &client.five_tuple, &sent)));
        let from = PeerAddr(addr("20.0.0.1:7000"));
        assert_eq!(
            dropped(lab.server.handle_peer(lab.now, *relay, from, b"x")),
            DropReason::NoPermission
        );
    }
    assert_eq!(reasons.first(), Some(&DropReason::PeerDenied));
    assert_eq!(reasons.last(), Some(&DropReason::NoChannel));

    while lab.server.poll_timeout().is_some_and(|due| due <= lab.now.instant) {
        lab.server.handle_timeout(lab.now);
    }
    let stats = lab.server.stats();
    assert_eq!((stats.channels_active, stats.permissions_active), (0, 0));
    assert_eq!((stats.channels_revoked, stats.permissions_revoked), (8000, 8000));
    assert_eq!(lab.server.allocations(), 40, "allocations themselves live on");
    lab.check();
}
