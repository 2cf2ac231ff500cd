//! A peer that is a relayed address of this process: handed over inside it, with the permissions of both sides judged.

use std::sync::Arc;

use meetpoint::turn::{
    Config, Destination, Direction, DropReason, Handled, Ledger, PeerAddr, PeerFilter, RelayedAddr, Reservations,
    Shard, Transport, Verdict,
};
use meetpoint::wire::Message;
use meetpoint::wire::attribute::{AdditionalAddressFamily, XorPeerAddress};

use crate::relay::{Client, Lab, RELAY_V4, addr, channel_data, config, forwarded, to_client, to_peer};

fn dropped(handled: Handled) -> DropReason {
    match handled {
        Handled::Done(Verdict::Dropped(reason)) => reason,
        other => panic!("not dropped: {other:?}"),
    }
}

fn two() -> (Lab, Client, String, Client, String) {
    let mut lab = Lab::new(config());
    let mut a = Client::new("192.0.2.1:4001");
    let mut b = Client::new("192.0.2.2:4001");
    let at_a = a.allocate(&mut lab).to_string();
    let at_b = b.allocate(&mut lab).to_string();
    (lab, a, at_a, b, at_b)
}

#[test]
fn two_clients_reach_each_other_by_their_relayed_addresses_without_a_socket() {
    let (mut lab, mut a, at_a, mut b, at_b) = two();
    assert_eq!(a.permit(&mut lab, &[&at_b]), 0);
    assert_eq!(b.permit(&mut lab, &[&at_a]), 0);
    let indication = a.bare(
        meetpoint::wire::Method::SEND,
        meetpoint::wire::Class::Indication,
        |builder| {
            builder
                .attribute(&XorPeerAddress(addr(&at_b)))
                .attribute(&meetpoint::wire::attribute::Data(b"hello"));
        },
    );
    let (to, bytes) = to_client(lab.client(&a.five_tuple, &indication), &indication);
    assert_eq!(to, b.five_tuple);
    let message = Message::parse(&bytes).unwrap();
    assert_eq!(message.find::<XorPeerAddress>().unwrap().unwrap().0, addr(&at_a));

    assert_eq!(a.bind(&mut lab, 0x4001, &at_b), 0);
    assert_eq!(b.bind(&mut lab, 0x4002, &at_a), 0);
    let sent = channel_data(0x4001, b"hello");
    let (to, bytes) = to_client(lab.client(&a.five_tuple, &sent), &sent);
    assert_eq!((to, bytes), (b.five_tuple, channel_data(0x4002, b"hello")));
    let sent = channel_data(0x4002, b"hi");
    let (to, bytes) = to_client(lab.client(&b.five_tuple, &sent), &sent);
    assert_eq!((to, bytes), (a.five_tuple, channel_data(0x4001, b"hi")));

    let stats = lab.server.stats();
    assert_eq!((stats.hairpin.packets, stats.hairpin.bytes), (3, 12));
    let udp = Transport::Udp.index();
    assert_eq!(stats.traffic[Direction::ClientToPeer.index()][udp].bytes, 12);
    assert_eq!(stats.traffic[Direction::PeerToClient.index()][udp].bytes, 12);
    assert_eq!(stats.relayed, 3);
}

#[test]
fn both_sides_must_permit_the_other() {
    let (mut lab, mut a, at_a, mut b, at_b) = two();
    assert_eq!(dropped(a.send_to(&mut lab, &at_b, b"x")), DropReason::NoPermission);
    a.permit(&mut lab, &[&at_b]);
    assert_eq!(dropped(a.send_to(&mut lab, &at_b, b"x")), DropReason::NoPermission);
    b.permit(&mut lab, &[&at_a]);
    forwarded(a.send_to(&mut lab, &at_b, b"x"));
    assert_eq!(lab.server.stats().hairpin.packets, 1);
}

#[test]
fn a_relayed_address_that_nobody_holds_is_not_reached_through_the_kernel() {
    let (mut lab, mut a, _, mut b, at_b) = two();
    a.permit(&mut lab, &[&at_b]);
    b.refresh(&mut lab, 0);
    assert_eq!(dropped(a.send_to(&mut lab, &at_b, b"x")), DropReason::NoSuchPeer);
}

#[test]
fn a_client_may_be_its_own_peer_and_no_packet_goes_round() {
    let (mut lab, mut a, at_a, _, _) = two();
    assert_eq!(a.bind(&mut lab, 0x4000, &at_a), 0);
    let sent = channel_data(0x4000, b"echo");
    let (to, bytes) = to_client(lab.client(&a.five_tuple, &sent), &sent);
    assert_eq!((to, bytes), (a.five_tuple, sent));
    assert_eq!(lab.server.stats().relayed, 1);
}

#[test]
fn ipv6_relays_hairpin_too() {
    let mut lab = Lab::new(config());
    let mut a = Client::new("192.0.2.1:4001");
    let mut b = Client::new("192.0.2.2:4001");
    let mut relayed = |client: &mut Client| {
        let reply = client.allocate_with(&mut lab, |builder| {
            builder.attribute(&AdditionalAddressFamily(2));
        });
        let all: Vec<_> = reply
            .message()
            .find_all::<meetpoint::wire::attribute::XorRelayedAddress>()
            .map(|found| found.unwrap().0)
            .collect();
        all[1].to_string()
    };
    let (at_a, at_b) = (relayed(&mut a), relayed(&mut b));
    a.permit(&mut lab, &[&at_b]);
    b.bind(&mut lab, 0x4000, &at_a);
    let forward = forwarded(a.send_to(&mut lab, &at_b, b"x"));
    assert_eq!(forward.to, Destination::Client(b.five_tuple));
    assert_eq!(forward.prefix.as_slice(), [0x40, 0, 0, 1]);
}

#[test]
fn another_shard_gets_the_packet_and_delivers_it_by_its_own_permissions() {
    let (ledger, reservations) = (Ledger::new(), Reservations::new());
    let shard = |index| {
        Lab::shard(
            config(),
            Shard { index, count: 2 },
            ledger.clone(),
            reservations.clone(),
        )
    };
    let (mut one, mut two) = (shard(0), shard(1));
    let mut a = Client::new("192.0.2.1:4001");
    let mut b = Client::new("192.0.2.2:4001");
    let at_a = a.allocate(&mut one);
    let at_b = b.allocate(&mut two);
    assert_eq!(a.bind(&mut one, 0x4000, &at_b.to_string()), 0);
    let forward = forwarded(a.send_on(&mut one, 0x4000, b"hello"));
    let sibling = Destination::Sibling {
        to: RelayedAddr(at_b),
        from: PeerAddr(at_a),
        otherwise: None,
    };
    assert_eq!((forward.to, forward.payload()), (sibling, 4..9));
    let relay = two.relay_at(at_b);
    assert_eq!(dropped(two.peer(relay, at_a, b"hello")), DropReason::NoPermission);
    b.permit(&mut two, &[&at_a.to_string()]);
    let (to, _) = to_client(two.peer(relay, at_a, b"hello"), b"hello");
    assert_eq!(to, b.five_tuple);
    // Outside the relay range there is no shard to ask.
    a.permit(&mut one, &[&format!("{RELAY_V4}:0")]);
    assert_eq!(
        dropped(a.send_to(&mut one, &format!("{RELAY_V4}:3478"), b"x")),
        DropReason::PeerDenied
    );
}

#[test]
fn a_service_of_this_machine_is_reached_if_the_operator_opens_it() {
    let peers = || PeerFilter::new([format!("{RELAY_V4}/32").parse().unwrap()], []);
    let mut lab = Lab::new(Config {
        peers: peers(),
        ..config()
    });
    let mut a = Client::new("192.0.2.1:4001");
    let mut b = Client::new("192.0.2.2:4001");
    a.allocate(&mut lab);
    let at_b = b.allocate(&mut lab).to_string();
    let service = format!("{RELAY_V4}:5000");
    assert_eq!(a.bind(&mut lab, 0x4000, &service), 0);
    assert_eq!(to_peer(a.send_on(&mut lab, 0x4000, b"x")), addr(&service));
    // An allocation at the address still comes first, with its permissions.
    a.bind(&mut lab, 0x4001, &at_b);
    assert_eq!(dropped(a.send_on(&mut lab, 0x4001, b"x")), DropReason::NoPermission);

    let mut lab = Lab::shard(
        Config {
            peers: peers(),
            ..config()
        },
        Shard { index: 0, count: 2 },
        Ledger::new(),
        Reservations::new(),
    );
    let mut a = Client::new("192.0.2.1:4001");
    a.allocate(&mut lab);
    a.permit(&mut lab, &[&service]);
    let to = forwarded(a.send_to(&mut lab, &format!("{RELAY_V4}:55555"), b"x")).to;
    assert!(matches!(to, Destination::Sibling { otherwise: Some(_), .. }));
    assert!(matches!(
        forwarded(a.send_to(&mut lab, &service, b"x")).to,
        Destination::Peer { .. }
    ));
}

#[test]
fn what_is_denied_is_denied_to_hairpin() {
    let (mut lab, mut a, _, _, at_b) = two();
    let peers = PeerFilter::new([], [format!("{RELAY_V4}/32").parse().unwrap()]);
    lab.server.reconfigure(Arc::new(Config { peers, ..config() }));
    assert_eq!(a.permit(&mut lab, &[&at_b]), 403);
    assert_eq!(a.bind(&mut lab, 0x4000, &at_b), 403);
}
