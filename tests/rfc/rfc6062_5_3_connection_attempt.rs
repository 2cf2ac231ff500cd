//! RFC 6062 §5.3: receiving a TCP connection on a relayed transport address.

use std::time::Duration;

use meetpoint::turn::connection::BIND_TIMEOUT;
use meetpoint::turn::{Config, ConnectionEnd, Initiator, Limits, QuotaKind};
use meetpoint::wire::attribute::{ConnectionId, XorPeerAddress};
use meetpoint::wire::{Class, Message, Method};

use crate::relay::{Client, Lab, PEER, addr};
use crate::rfc6062_client::{PEER_2, allocated, connect, open_config, refused};

const NANO: Duration = Duration::from_nanos(1);

/// The ConnectionAttempt indication that was sent: CONNECTION-ID and XOR-PEER-ADDRESS.
fn attempt(lab: &mut Lab, client: &Client) -> (ConnectionId, XorPeerAddress) {
    let reply = lab.reply();
    assert_eq!(reply.to, client.five_tuple);
    let message = reply.message();
    assert_eq!(
        (message.class(), message.method()),
        (Class::Indication, Method::CONNECTION_ATTEMPT)
    );
    (reply.find().unwrap(), reply.find().unwrap())
}

#[test]
fn a_permitted_peer_is_announced_to_the_client() {
    let mut lab = Lab::new(open_config());
    let (mut client, relayed) = allocated(&mut lab);
    client.permit(&mut lab, &[PEER]);
    // Whatever its port.
    lab.accept(relayed, "20.0.0.1:55555").unwrap();
    let (_, peer) = attempt(&mut lab, &client);
    assert_eq!(peer.0, addr("20.0.0.1:55555"));
    let stats = lab.server.stats();
    assert_eq!(
        (
            stats.connections_pending,
            stats.connections_opened[Initiator::Peer.index()]
        ),
        (1, 1)
    );
}

#[test]
fn each_connection_of_a_peer_has_an_id_of_its_own() {
    let mut lab = Lab::new(open_config());
    let (mut client, relayed) = allocated(&mut lab);
    client.permit(&mut lab, &[PEER]);
    lab.accept(relayed, "20.0.0.1:1").unwrap();
    let first = attempt(&mut lab, &client).0;
    lab.accept(relayed, "20.0.0.1:2").unwrap();
    assert_ne!(first, attempt(&mut lab, &client).0);
}

#[test]
fn a_peer_without_permission_is_closed_and_nobody_is_told() {
    let mut lab = Lab::new(open_config());
    let (mut client, relayed) = allocated(&mut lab);
    client.permit(&mut lab, &[PEER_2]);
    assert_eq!(lab.accept(relayed, PEER), Err(ConnectionEnd::NoPermission));
    assert!(lab.sent.is_empty());
    assert_eq!(
        lab.server.stats().connections_ended[ConnectionEnd::NoPermission.index()],
        1
    );
}

#[test]
fn a_permission_that_ran_out_admits_nobody_and_ends_nothing() {
    let mut lab = Lab::new(open_config());
    let (mut client, relayed) = allocated(&mut lab);
    client.permit(&mut lab, &[PEER]);
    lab.accept(relayed, PEER).unwrap();
    let id = attempt(&mut lab, &client).0;
    let mut data = client.again_from(crate::rfc6062_client::DATA);
    assert_eq!(crate::rfc6062_client::bind(&mut data, &mut lab, id).code(), 0);
    lab.advance(Duration::from_secs(300));
    assert_eq!(lab.accept(relayed, "20.0.0.1:8"), Err(ConnectionEnd::NoPermission));
    assert_eq!(lab.server.stats().connections_active, 1, "what is bound goes on");
}

#[test]
fn nobody_is_admitted_to_a_relay_that_is_gone() {
    let mut lab = Lab::new(open_config());
    let (mut client, relayed) = allocated(&mut lab);
    client.permit(&mut lab, &[PEER]);
    let relay = lab.relay_at(relayed);
    lab.gone(&client.five_tuple);
    assert_eq!(lab.accept_at(relay, addr(PEER)), Err(ConnectionEnd::AllocationEnded));
    lab.assert_empty();
}

#[test]
fn an_unbound_connection_ends_after_thirty_seconds_exactly() {
    let mut lab = Lab::new(open_config());
    let (mut client, relayed) = allocated(&mut lab);
    client.permit(&mut lab, &[PEER]);
    lab.accept(relayed, PEER).unwrap();
    attempt(&mut lab, &client);
    lab.advance(Duration::from_secs(1));
    connect(&mut client, &mut lab, PEER_2);
    assert_eq!(BIND_TIMEOUT, Duration::from_secs(30));
    lab.advance(BIND_TIMEOUT - Duration::from_secs(1) - NANO);
    assert_eq!(lab.connections.len(), 2);
    lab.advance(NANO);
    assert_eq!(lab.connections.len(), 1);
    lab.advance(Duration::from_secs(1));
    assert!(lab.connections.is_empty());
    assert_eq!(lab.server.stats().connections_ended[ConnectionEnd::Unbound.index()], 2);
    assert!(lab.sent.is_empty());
}

#[test]
fn beyond_a_limit_peers_are_closed_and_nobody_is_told() {
    for (limits, kind) in [
        (
            Limits {
                connections_per_allocation: 1,
                ..Limits::default()
            },
            QuotaKind::Connections,
        ),
        (
            Limits {
                connections: 1,
                ..Limits::default()
            },
            QuotaKind::ProcessConnections,
        ),
        (
            Limits {
                pending_connections: 1,
                ..Limits::default()
            },
            QuotaKind::PendingConnections,
        ),
    ] {
        let mut lab = Lab::new(Config {
            limits,
            ..open_config()
        });
        let (mut client, relayed) = allocated(&mut lab);
        client.permit(&mut lab, &[PEER]);
        lab.accept(relayed, "20.0.0.1:1").unwrap();
        attempt(&mut lab, &client);
        assert_eq!(lab.accept(relayed, "20.0.0.1:2"), Err(ConnectionEnd::NoRoom));
        assert!(lab.sent.is_empty());
        assert_eq!(lab.server.stats().quota_hits[kind.index()], 1);
        lab.advance(BIND_TIMEOUT);
        lab.accept(relayed, "20.0.0.1:3").unwrap();
    }
}

#[test]
fn a_peer_that_has_connected_is_not_connected_to() {
    let mut lab = Lab::new(open_config());
    let (mut client, relayed) = allocated(&mut lab);
    client.permit(&mut lab, &[PEER]);
    lab.accept(relayed, PEER).unwrap();
    attempt(&mut lab, &client);
    assert_eq!(refused(&mut client, &mut lab, PEER), 446);
}

#[test]
fn the_indication_is_small_enough_for_either_family() {
    let mut lab = Lab::new(open_config());
    let mut client = Client::new(crate::rfc6062_client::A).over_tcp();
    client.challenge(&mut lab);
    let reply = client.call(&mut lab, Method::ALLOCATE, |builder| {
        builder
            .attribute(&meetpoint::wire::attribute::RequestedTransport::TCP)
            .raw_attribute(meetpoint::wire::AttributeType::REQUESTED_ADDRESS_FAMILY, &[2, 0, 0, 0]);
    });
    client.permit(&mut lab, &[crate::relay::PEER_V6]);
    lab.accept(reply.relayed(), crate::relay::PEER_V6).unwrap();
    let (to, bytes) = lab.sent.remove(0);
    assert_eq!((to, bytes.len()), (client.five_tuple, 20 + 8 + 24));
    assert!(Message::parse(&bytes).is_ok());
}
