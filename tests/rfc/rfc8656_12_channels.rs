//! RFC 8656 §12: channels.

use std::time::Duration;

use meetpoint::turn::{ClientAddr, DropReason, FiveTuple, Handled, Limits, QuotaKind, Transport, Verdict};
use meetpoint::wire::attribute::XorPeerAddress;
use meetpoint::wire::{AttributeType, ChannelData, ChannelNumber, Message, Method, PacketKind, demux};

use crate::relay::{Client, Lab, PEER, PEER_V6, addr, channel_data, config, forwarded, to_client, to_peer};

const A: &str = "192.0.2.1:4001";
const B: &str = "20.0.0.2:7000";
const NANO: Duration = Duration::from_nanos(1);
const NO_CHANNEL: Handled = Handled::Done(Verdict::Dropped(DropReason::NoChannel));
const NO_PERMISSION: Handled = Handled::Done(Verdict::Dropped(DropReason::NoPermission));

fn allocated() -> (Lab, Client) {
    let mut lab = Lab::new(config());
    let mut client = Client::new(A);
    client.allocate(&mut lab);
    (lab, client)
}

#[test]
fn a_channel_carries_data_both_ways() {
    let (mut lab, mut client) = allocated();
    let relay = *lab.sockets.keys().next().unwrap();
    assert_eq!(client.send_on(&mut lab, 0x4000, b"early"), NO_CHANNEL);
    assert_eq!(client.bind(&mut lab, 0x4000, PEER), 0);
    for len in [0, 1, 2, 3, 4, 5, 1200] {
        let data = vec![0xCD; len];
        let handled = client.send_on(&mut lab, 0x4000, &data);
        assert_eq!(forwarded(handled).payload(), 4..4 + len);
        assert_eq!(to_peer(handled), addr(PEER));
        let (to, bytes) = to_client(lab.peer(relay, addr(PEER), &data), &data);
        assert_eq!(to, client.five_tuple);
        assert_eq!(bytes, channel_data(0x4000, &data), "no padding on datagrams");
    }
    // Another port of the same host has the permission, but not the channel.
    let (_, bytes) = to_client(lab.peer(relay, addr("20.0.0.1:7001"), b"x"), b"x");
    assert_eq!(demux(&bytes), PacketKind::Stun);
}

#[test]
fn padding_of_datagrams_is_tolerated_and_not_relayed() {
    let (mut lab, mut client) = allocated();
    client.bind(&mut lab, 0x4000, PEER);
    for padding in 0..=3 {
        let mut bytes = channel_data(0x4000, b"hello");
        bytes.resize(bytes.len() + padding, 0xFF);
        assert_eq!(forwarded(lab.client(&client.five_tuple, &bytes)).payload(), 4..9);
    }
    let mut bytes = channel_data(0x4000, b"hello");
    bytes.resize(bytes.len() + 4, 0);
    let malformed = Handled::Done(Verdict::Dropped(DropReason::Malformed));
    assert_eq!(lab.client(&client.five_tuple, &bytes), malformed);
    assert_eq!(
        lab.client(&client.five_tuple, &channel_data(0x4000, b"hello")[..8]),
        malformed
    );
}

#[test]
fn on_a_stream_channel_data_is_padded_to_four_bytes() {
    let mut lab = Lab::new(config());
    let mut client = Client::new(A);
    client.five_tuple = FiveTuple {
        transport: Transport::Tcp,
        client: ClientAddr(addr(A)),
        ..client.five_tuple
    };
    client.allocate(&mut lab);
    client.bind(&mut lab, 0x4000, PEER);
    let relay = *lab.sockets.keys().next().unwrap();
    for len in 0..9 {
        let data = vec![1; len];
        let (_, bytes) = to_client(lab.peer(relay, addr(PEER), &data), &data);
        assert_eq!(bytes.len() % 4, 0);
        assert_eq!(ChannelData::parse(&bytes).unwrap().data, data);
    }
    lab.gone(&client.five_tuple);
    lab.assert_empty();
}

#[test]
fn only_channel_numbers_can_be_bound() {
    // Up to 0x7FFF as in RFC 5766: see docs/deviations.md.
    let (mut lab, mut client) = allocated();
    for number in [0, 0x3FFF, 0x8000, 0xFFFF] {
        assert_eq!(client.bind(&mut lab, number, PEER), 400, "{number:#x}");
    }
    for (port, number) in [(1, 0x4000), (2, 0x4FFF), (3, 0x5000), (4, 0x7FFF)] {
        assert_eq!(
            client.bind(&mut lab, number, &format!("20.0.0.1:{port}")),
            0,
            "{number:#x}"
        );
        to_peer(client.send_on(&mut lab, number, b"x"));
    }
    assert_eq!(lab.server.stats().channels_active, 4);
}

#[test]
fn both_attributes_are_needed() {
    let (mut lab, mut client) = allocated();
    let reply = client.call(&mut lab, Method::CHANNEL_BIND, |builder| {
        builder.attribute(&ChannelNumber::MIN);
    });
    assert_eq!(reply.code(), 400);
    let reply = client.call(&mut lab, Method::CHANNEL_BIND, |builder| {
        builder.attribute(&XorPeerAddress(addr(PEER)));
    });
    assert_eq!(reply.code(), 400);
    let reply = client.call(&mut lab, Method::CHANNEL_BIND, |builder| {
        builder
            .attribute(&ChannelNumber::MIN)
            .raw_attribute(AttributeType::XOR_PEER_ADDRESS, &[0; 8]);
    });
    assert_eq!(reply.code(), 400);
}

#[test]
fn a_number_or_peer_that_is_bound_to_another_is_400() {
    let (mut lab, mut client) = allocated();
    assert_eq!(client.bind(&mut lab, 0x4000, PEER), 0);
    assert_eq!(client.bind(&mut lab, 0x4000, B), 400);
    assert_eq!(client.bind(&mut lab, 0x4001, PEER), 400);
    assert_eq!(client.bind(&mut lab, 0x4001, B), 0);
    assert_eq!(client.bind(&mut lab, 0x4000, B), 400);
    assert_eq!(client.bind(&mut lab, 0x4000, PEER), 0);
    assert_eq!(to_peer(client.send_on(&mut lab, 0x4000, b"x")), addr(PEER));
    // Same address, another port: another peer.
    assert_eq!(client.bind(&mut lab, 0x4002, "20.0.0.1:7001"), 0);
}

#[test]
fn a_channel_lasts_ten_minutes_and_both_ends_are_free_after_it() {
    let (mut lab, mut client) = allocated();
    client.refresh(&mut lab, 3600);
    client.bind(&mut lab, 0x4000, PEER);
    lab.sleep(Duration::from_secs(600) - NANO);
    to_peer(client.send_on(&mut lab, 0x4000, b"x"));
    lab.sleep(NANO);
    assert_eq!(client.send_on(&mut lab, 0x4000, b"x"), NO_CHANNEL);
    assert_eq!(client.bind(&mut lab, 0x4000, B), 0);
    assert_eq!(client.bind(&mut lab, 0x4001, PEER), 0);
}

#[test]
fn binding_again_refreshes_channel_and_permission() {
    let (mut lab, mut client) = allocated();
    client.refresh(&mut lab, 3600);
    let relay = *lab.sockets.keys().next().unwrap();
    client.bind(&mut lab, 0x4000, PEER);
    lab.advance(Duration::from_secs(299));
    assert_eq!(client.bind(&mut lab, 0x4000, PEER), 0);
    lab.advance(Duration::from_secs(300) - NANO);
    to_client(lab.peer(relay, addr(PEER), b"x"), b"x");
    lab.advance(NANO);
    assert_eq!(lab.peer(relay, addr(PEER), b"x"), NO_PERMISSION);
    to_peer(client.send_on(&mut lab, 0x4000, b"x"));
    lab.advance(Duration::from_secs(300) - NANO);
    to_peer(client.send_on(&mut lab, 0x4000, b"x"));
    lab.advance(NANO);
    assert_eq!(client.send_on(&mut lab, 0x4000, b"x"), NO_CHANNEL);
    assert_eq!(lab.server.stats().channels_created, 1);
}

#[test]
fn a_channel_outlives_its_permission_which_stops_the_peer_and_not_the_client() {
    let (mut lab, mut client) = allocated();
    let relay = *lab.sockets.keys().next().unwrap();
    client.bind(&mut lab, 0x4000, PEER);
    lab.advance(Duration::from_secs(300));
    assert_eq!(lab.peer(relay, addr(PEER), b"x"), NO_PERMISSION);
    to_peer(client.send_on(&mut lab, 0x4000, b"x"));
    assert_eq!(client.send_to(&mut lab, PEER, b"x"), NO_PERMISSION);
    assert_eq!(client.permit(&mut lab, &[PEER]), 0);
    let (_, bytes) = to_client(lab.peer(relay, addr(PEER), b"x"), b"x");
    assert_eq!(demux(&bytes), PacketKind::ChannelData);
}

#[test]
fn a_send_indication_may_be_used_beside_a_channel() {
    let (mut lab, mut client) = allocated();
    client.bind(&mut lab, 0x4000, PEER);
    assert_eq!(to_peer(client.send_to(&mut lab, PEER, b"x")), addr(PEER));
}

#[test]
fn peers_that_are_closed_or_of_another_family_are_refused() {
    let (mut lab, mut client) = allocated();
    assert_eq!(client.bind(&mut lab, 0x4000, "192.168.1.1:1"), 403);
    assert_eq!(client.bind(&mut lab, 0x4000, "20.0.0.1:0"), 403);
    assert_eq!(client.bind(&mut lab, 0x4000, PEER_V6), 443);
    assert_eq!(
        (
            lab.server.stats().channels_active,
            lab.server.stats().permissions_active
        ),
        (0, 0)
    );
}

#[test]
fn channels_end_at_their_bound() {
    let mut few = config();
    few.limits = Limits {
        channels_per_allocation: 2,
        ..Limits::default()
    };
    let mut lab = Lab::new(few);
    let mut client = Client::new(A);
    client.allocate(&mut lab);
    let codes: Vec<_> = (0..3)
        .map(|n| client.bind(&mut lab, 0x4000 + n, &format!("20.0.0.1:{}", 1 + n)))
        .collect();
    assert_eq!(codes, [0, 0, 508]);
    assert_eq!(client.bind(&mut lab, 0x4000, "20.0.0.1:1"), 0);
    assert_eq!(lab.server.stats().quota_hits[QuotaKind::Channels.index()], 1);
}

#[test]
fn a_retransmitted_channel_bind_gets_the_same_answer() {
    let (mut lab, mut client) = allocated();
    let request = client.request(Method::CHANNEL_BIND, |builder| {
        builder
            .attribute(&ChannelNumber::MIN)
            .attribute(&XorPeerAddress(addr(PEER)));
    });
    let first = client.send(&mut lab, &request);
    assert_eq!(client.send(&mut lab, &request), first);
    assert_eq!(lab.server.stats().channels_created, 1);
    assert!(Message::parse(&first.bytes).is_ok());
}

#[test]
fn a_flow_label_or_scope_is_no_part_of_a_peers_address() {
    // The kernel of a dual-stack socket attaches a flow label and a scope; they are no part of the address.
    let mut lab = Lab::new(config());
    let mut client = Client::new(A);
    client.allocate_with(&mut lab, |builder| {
        builder.attribute(&meetpoint::wire::attribute::RequestedAddressFamily(2));
    });
    client.bind(&mut lab, 0x4000, PEER_V6);
    let relay = *lab.sockets.keys().next().unwrap();
    let mut labelled: std::net::SocketAddrV6 = PEER_V6.parse().unwrap();
    labelled.set_flowinfo(7);
    labelled.set_scope_id(3);
    let (_, bytes) = to_client(lab.peer(relay, labelled.into(), b"x"), b"x");
    assert_eq!(bytes, channel_data(0x4000, b"x"));
}
