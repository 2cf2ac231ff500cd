//! RFC 6062 §5.1: receiving an Allocate request for TCP.

use std::time::Duration;

use meetpoint::turn::{RelaySocket, Transport};
use meetpoint::wire::attribute::{
    AdditionalAddressFamily, AddressFamily, EvenPort, RequestedAddressFamily, RequestedTransport, XorRelayedAddress,
};
use meetpoint::wire::{AttributeType, Method};

use crate::relay::{Client, Lab, RELAY_V4, RELAY_V6, config, ip};
use crate::rfc6062_client::{A, allocate_tcp, allocated, open_config};

#[test]
fn a_client_of_tcp_or_tls_gets_a_relayed_address_that_listens() {
    for transport in [Transport::Tcp, Transport::Tls] {
        let mut lab = Lab::new(open_config());
        lab.hold_binds = true;
        let mut client = Client::new(A);
        client.five_tuple.transport = transport;
        client.challenge(&mut lab);
        let request = client.request(Method::ALLOCATE, |builder| {
            builder.attribute(&RequestedTransport::TCP);
        });
        lab.client(&client.five_tuple, &request);
        assert_eq!(lab.held[0].2, RelaySocket::Listen);
        lab.report(Ok(()));
        let reply = lab.reply();
        assert_eq!((reply.code(), reply.relayed().ip()), (0, ip(RELAY_V4)));
        assert_eq!(reply.lifetime(), 600);
        assert_eq!(reply.token(), None);
        assert_eq!(lab.server.stats().tcp_relays_active, [1, 0]);
        lab.gone(&client.five_tuple);
        lab.assert_empty();
    }
}

#[test]
fn tcp_is_an_unsupported_protocol_until_the_operator_opens_it() {
    for transport in [Transport::Udp, Transport::Tcp, Transport::Tls] {
        let mut lab = Lab::new(config());
        let mut client = Client::new(A);
        client.five_tuple.transport = transport;
        assert_eq!(allocate_tcp(&mut client, &mut lab).code(), 442);
        lab.assert_empty();
    }
}

#[test]
fn a_client_whose_own_transport_is_no_stream_is_refused() {
    for transport in [Transport::Udp, Transport::Dtls, Transport::WebSocket] {
        let mut lab = Lab::new(open_config());
        let mut client = Client::new(A);
        client.five_tuple.transport = transport;
        assert_eq!(allocate_tcp(&mut client, &mut lab).code(), 400);
        lab.assert_empty();
    }
}

#[test]
fn other_protocols_stay_unsupported() {
    let mut lab = Lab::new(open_config());
    let mut client = Client::new(A).over_tcp();
    client.challenge(&mut lab);
    for protocol in [0, 1, 132, 255] {
        let reply = client.call(&mut lab, Method::ALLOCATE, |builder| {
            builder.attribute(&RequestedTransport(protocol));
        });
        assert_eq!(reply.code(), 442);
    }
}

#[test]
fn what_is_about_datagrams_or_pairs_of_ports_is_refused_with_tcp() {
    let attributes: [(AttributeType, &[u8]); 4] = [
        (AttributeType::DONT_FRAGMENT, &[]),
        (AttributeType::EVEN_PORT, &[0]),
        (AttributeType::EVEN_PORT, &[0x80]),
        (AttributeType::RESERVATION_TOKEN, &[1; 8]),
    ];
    for (kind, value) in attributes {
        let mut lab = Lab::new(open_config());
        let mut client = Client::new(A).over_tcp();
        client.challenge(&mut lab);
        let reply = client.call(&mut lab, Method::ALLOCATE, |builder| {
            builder.attribute(&RequestedTransport::TCP).raw_attribute(kind, value);
        });
        assert_eq!(reply.code(), 400, "{kind:?}");
        lab.assert_empty();
    }
}

#[test]
fn udp_is_granted_as_ever_where_tcp_is_open() {
    let mut lab = Lab::new(open_config());
    let mut client = Client::new(A).over_tcp();
    let reply = client.allocate_with(&mut lab, |builder| {
        builder.attribute(&EvenPort { reserve_next: false });
    });
    assert_eq!(reply.code(), 0);
    assert_eq!(lab.server.stats().tcp_relays_active, [0, 0]);
}

#[test]
fn either_family_or_both_can_be_had() {
    let mut lab = Lab::new(open_config());
    let mut client = Client::new(A).over_tcp();
    client.challenge(&mut lab);
    let reply = client.call(&mut lab, Method::ALLOCATE, |builder| {
        builder
            .attribute(&RequestedTransport::TCP)
            .attribute(&RequestedAddressFamily(AddressFamily::Ipv6.value()));
    });
    assert_eq!(reply.relayed().ip(), ip(RELAY_V6));

    let mut both = Client::new("192.0.2.1:4009").over_tcp();
    both.challenge(&mut lab);
    let reply = both.call(&mut lab, Method::ALLOCATE, |builder| {
        builder
            .attribute(&RequestedTransport::TCP)
            .attribute(&AdditionalAddressFamily(AddressFamily::Ipv6.value()));
    });
    assert_eq!(reply.message().find_all::<XorRelayedAddress>().count(), 2);
    assert_eq!(lab.server.stats().tcp_relays_active, [1, 2]);
}

#[test]
fn a_tcp_allocation_lives_and_is_refreshed_as_any_other() {
    let mut lab = Lab::new(open_config());
    let (mut client, _) = allocated(&mut lab);
    lab.advance(Duration::from_secs(599));
    assert_eq!(client.refresh(&mut lab, 1200).code(), 0);
    lab.advance(Duration::from_secs(1199));
    assert_eq!(lab.server.allocations(), 1);
    lab.advance(Duration::from_secs(1));
    lab.assert_empty();
}

#[test]
fn what_is_for_datagrams_does_not_work_on_it() {
    use meetpoint::turn::{DropReason, Handled, Verdict};
    let mut lab = Lab::new(open_config());
    let (mut client, relayed) = allocated(&mut lab);
    assert_eq!(client.bind(&mut lab, 0x4000, crate::relay::PEER), 400);
    assert_eq!(client.permit(&mut lab, &[crate::relay::PEER, RELAY_V4_ANY]), 0);
    let dropped = Handled::Done(Verdict::Dropped(DropReason::TcpAllocation));
    assert_eq!(client.send_to(&mut lab, crate::relay::PEER, b"datagram"), dropped);
    // Nor does a datagram of another allocation reach it.
    let mut other = Client::new("192.0.2.7:1");
    other.allocate(&mut lab);
    assert_eq!(other.permit(&mut lab, &[RELAY_V4_ANY]), 0);
    assert_eq!(other.send_to(&mut lab, &relayed.to_string(), b"datagram"), dropped);
    let relay = lab.relay_at(relayed);
    assert_eq!(
        lab.peer(relay, crate::relay::addr(crate::relay::PEER), b"datagram"),
        dropped
    );
}

const RELAY_V4_ANY: &str = "20.9.9.9:1";

#[test]
fn an_allocation_of_tcp_is_not_mobile() {
    let mut lab = Lab::new(meetpoint::turn::Config {
        mobility: true,
        ..open_config()
    });
    let mut client = Client::new(A).over_tcp();
    client.challenge(&mut lab);
    let reply = client.call(&mut lab, Method::ALLOCATE, |builder| {
        builder
            .attribute(&RequestedTransport::TCP)
            .raw_attribute(AttributeType::MOBILITY_TICKET, &[]);
    });
    assert_eq!(reply.code(), 405);
    lab.assert_empty();
}
