//! RFC 8656 §11: Send and Data indications.

use meetpoint::turn::{ClientAddr, Config, Direction, DropReason, FiveTuple, Handled, Transport, Verdict};
use meetpoint::wire::attribute::{Data, DontFragment, XorPeerAddress};
use meetpoint::wire::{AttributeType, Class, Message, Method};

use crate::relay::{Client, Lab, PEER, PEER_V6, addr, config, forwarded, to_client, to_peer};

const A: &str = "192.0.2.1:4001";

fn allocated() -> (Lab, Client) {
    let mut lab = Lab::new(config());
    let mut client = Client::new(A);
    client.allocate_with(&mut lab, |builder| {
        builder.attribute(&meetpoint::wire::attribute::AdditionalAddressFamily(2));
    });
    client.permit(&mut lab, &[PEER, PEER_V6]);
    (lab, client)
}

fn dropped(handled: Handled) -> DropReason {
    match handled {
        Handled::Done(Verdict::Dropped(reason)) => reason,
        other => panic!("not dropped: {other:?}"),
    }
}

#[test]
fn a_send_indication_reaches_its_peer_with_its_data_whatever_its_length() {
    let (mut lab, mut client) = allocated();
    for len in [0, 1, 2, 3, 4, 1200] {
        let data = vec![0xDA; len];
        for peer in [PEER, PEER_V6] {
            let forward = forwarded(client.send_to(&mut lab, peer, &data));
            assert_eq!(forward.payload().len(), len);
            assert!(!forward.dont_fragment);
        }
    }
    let traffic = lab.server.stats().traffic[Direction::ClientToPeer.index()][Transport::Udp.index()];
    assert_eq!((traffic.packets, traffic.bytes), (12, 2 * 1210));
}

#[test]
fn what_a_peer_sends_comes_as_a_data_indication() {
    let (mut lab, client) = allocated();
    let relays: Vec<_> = lab.sockets.iter().map(|(relay, at)| (*relay, at.is_ipv6())).collect();
    for (relay, v6) in relays {
        let peer = addr(if v6 { PEER_V6 } else { PEER });
        for len in [0, 1, 2, 3, 4, 1200] {
            let data = vec![0xDA; len];
            let (to, bytes) = to_client(lab.peer(relay, peer, &data), &data);
            assert_eq!(to, client.five_tuple);
            let message = Message::parse(&bytes).unwrap();
            assert_eq!((message.method(), message.class()), (Method::DATA, Class::Indication));
            assert_eq!(message.find::<XorPeerAddress>().unwrap().unwrap().0, peer);
            assert_eq!(message.find::<Data<'_>>().unwrap().unwrap().0, data);
        }
    }
}

#[test]
fn data_indications_have_transaction_ids_of_their_own() {
    let (mut lab, _) = allocated();
    let relay = *lab.sockets.iter().find(|(_, at)| at.is_ipv4()).unwrap().0;
    let mut id = || {
        let (_, bytes) = to_client(lab.peer(relay, addr(PEER), b"x"), b"x");
        Message::parse(&bytes).unwrap().transaction_id()
    };
    assert_ne!(id(), id());
}

#[test]
fn df_is_as_the_client_asks_whatever_it_comes_by() {
    let mut lab = Lab::new(config());
    for (transport, port) in [(Transport::Udp, 4001), (Transport::Tcp, 4002), (Transport::Tls, 4003)] {
        let mut client = Client::new(&format!("192.0.2.1:{port}"));
        client.five_tuple.transport = transport;
        client.allocate(&mut lab);
        assert_eq!(client.permit(&mut lab, &[PEER]), 0);
        for is_set in [false, true] {
            let indication = client.bare(Method::SEND, Class::Indication, |builder| {
                builder.attribute(&XorPeerAddress(addr(PEER))).attribute(&Data(b"xyz"));
                if is_set {
                    builder.attribute(&DontFragment);
                }
            });
            let forward = forwarded(lab.client(&client.five_tuple, &indication));
            // Towards the peer it is a datagram: no padding of the stream goes with it.
            assert_eq!((forward.dont_fragment, forward.padding), (is_set, 0), "{transport:?}");
            assert_eq!(&indication[forward.payload()], b"xyz");
        }
    }
}

#[test]
fn the_df_bit_is_passed_on() {
    let (mut lab, mut client) = allocated();
    let indication = client.bare(Method::SEND, Class::Indication, |builder| {
        builder
            .attribute(&XorPeerAddress(addr(PEER)))
            .attribute(&DontFragment)
            .attribute(&Data(b"x"));
    });
    assert!(forwarded(lab.client(&client.five_tuple, &indication)).dont_fragment);

    lab.server.reconfigure(std::sync::Arc::new(Config {
        dont_fragment: false,
        ..config()
    }));
    assert_eq!(
        dropped(lab.client(&client.five_tuple, &indication)),
        DropReason::BadIndication
    );
}

#[test]
fn an_indication_that_is_incomplete_or_not_understood_is_dropped() {
    let (mut lab, mut client) = allocated();
    let mut send = |fill: &dyn Fn(&mut meetpoint::wire::MessageBuilder<'_>)| {
        let indication = client.bare(Method::SEND, Class::Indication, |builder| fill(builder));
        dropped(lab.client(&client.five_tuple, &indication))
    };
    let peer = XorPeerAddress(addr(PEER));
    assert_eq!(send(&|builder| _ = builder.attribute(&peer)), DropReason::BadIndication);
    assert_eq!(
        send(&|builder| _ = builder.attribute(&Data(b"x"))),
        DropReason::BadIndication
    );
    let unknown = AttributeType(0x4001);
    let strange = send(&|builder| {
        _ = builder
            .attribute(&peer)
            .attribute(&Data(b"x"))
            .raw_attribute(unknown, b"")
    });
    assert_eq!(strange, DropReason::BadIndication);
    let malformed = send(&|builder| {
        builder
            .raw_attribute(AttributeType::XOR_PEER_ADDRESS, &[0; 3])
            .attribute(&Data(b"x"));
    });
    assert_eq!(malformed, DropReason::BadIndication);
}

#[test]
fn a_duplicated_peer_address_counts_once_and_it_is_the_first() {
    let (mut lab, mut client) = allocated();
    let indication = client.bare(Method::SEND, Class::Indication, |builder| {
        builder
            .attribute(&XorPeerAddress(addr(PEER)))
            .attribute(&XorPeerAddress(addr("20.0.0.66:1")));
        builder.attribute(&Data(b"x"));
    });
    assert_eq!(to_peer(lab.client(&client.five_tuple, &indication)), addr(PEER));
}

#[test]
fn closed_peers_are_closed_to_send_too() {
    let (mut lab, mut client) = allocated();
    assert_eq!(
        dropped(client.send_to(&mut lab, "20.0.0.1:0", b"x")),
        DropReason::PeerDenied
    );
    assert_eq!(
        dropped(client.send_to(&mut lab, "192.168.0.1:1", b"x")),
        DropReason::NoPermission
    );
    // Rules that came after the permission take it away.
    let deny = ["20.0.0.0/8".parse().unwrap()];
    let peers = meetpoint::turn::PeerFilter::new([], deny);
    lab.server
        .reconfigure(std::sync::Arc::new(Config { peers, ..config() }));
    assert_eq!(dropped(client.send_to(&mut lab, PEER, b"x")), DropReason::NoPermission);
}

#[test]
fn data_without_an_allocation_or_relay_is_dropped() {
    let mut lab = Lab::new(config());
    let mut client = Client::new(A);
    assert_eq!(dropped(client.send_to(&mut lab, PEER, b"x")), DropReason::NoAllocation);
    let relay = meetpoint::turn::RelayId(7);
    assert_eq!(dropped(lab.peer(relay, addr(PEER), b"x")), DropReason::NoRelay);
}

#[test]
fn a_packet_too_long_for_its_header_is_dropped() {
    let (mut lab, mut client) = allocated();
    let relay = *lab.sockets.iter().find(|(_, at)| at.is_ipv4()).unwrap().0;
    let long = vec![0; 65520];
    assert_eq!(dropped(lab.peer(relay, addr(PEER), &long)), DropReason::TooLong);
    client.bind(&mut lab, 0x4000, PEER);
    to_client(lab.peer(relay, addr(PEER), &long), &long);
}

#[test]
fn another_source_port_or_transport_is_another_client() {
    let (mut lab, mut client) = allocated();
    let own = client.five_tuple;
    client.five_tuple = FiveTuple {
        client: ClientAddr(addr("192.0.2.1:4009")),
        ..own
    };
    assert_eq!(dropped(client.send_to(&mut lab, PEER, b"x")), DropReason::NoAllocation);
    client.five_tuple = FiveTuple {
        transport: Transport::Tcp,
        ..own
    };
    assert_eq!(dropped(client.send_to(&mut lab, PEER, b"x")), DropReason::NoAllocation);
}
