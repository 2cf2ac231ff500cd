//! RFC 6062 §5.2: receiving a Connect request.

use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use meetpoint::turn::connection::CONNECT_TIMEOUT;
use meetpoint::turn::{
    Answer, Config, ConnectError, ConnectionEnd, Initiator, Limits, PeerClass, PeerFilter, PeerRoute, QuotaKind,
    Verdict,
};
use meetpoint::wire::attribute::ConnectionId;
use meetpoint::wire::{AttributeType, Method};

use crate::relay::{Client, Lab, PEER, PEER_V6, addr};
use crate::rfc6062_client::{A, PEER_2, allocate_tcp, allocated, ask, connect, open_config, refused};

const NANO: Duration = Duration::from_nanos(1);

#[test]
fn a_peer_that_answers_is_a_success_with_an_id() {
    let mut lab = Lab::new(open_config());
    let (mut client, relayed) = allocated(&mut lab);
    assert!(ask(&mut client, &mut lab, PEER).is_none());
    assert_eq!(lab.server.stats().pending, 1);
    let (_, relay, peer, route) = lab.connects[0];
    assert_eq!(
        (relay, peer, route),
        (lab.relay_at(relayed), addr(PEER), PeerRoute::Network)
    );
    lab.connected(Ok(()));
    let reply = lab.reply();
    assert_eq!(reply.code(), 0);
    assert!(reply.find::<ConnectionId>().is_some() && client.signed(&reply));
    let stats = lab.server.stats();
    assert_eq!((stats.pending, stats.connections_pending), (0, 1));
    assert_eq!(stats.connections_opened[Initiator::Client.index()], 1);
}

#[test]
fn without_an_allocation_there_is_a_mismatch() {
    let mut lab = Lab::new(open_config());
    let mut client = Client::new(A).over_tcp();
    client.challenge(&mut lab);
    assert_eq!(refused(&mut client, &mut lab, PEER), 437);
}

#[test]
fn an_allocation_of_udp_connects_nowhere() {
    let mut lab = Lab::new(open_config());
    let mut client = Client::new(A).over_tcp();
    client.allocate(&mut lab);
    assert_eq!(refused(&mut client, &mut lab, PEER), 437);
}

#[test]
fn a_request_without_credentials_is_challenged_and_another_users_is_refused() {
    let mut lab = Lab::new(open_config());
    let (client, _) = allocated(&mut lab);
    let mut other = Client::with_expiry(A, "eve", Duration::from_secs(60)).over_tcp();
    other.nonce = client.nonce.clone();
    assert_eq!(refused(&mut other, &mut lab, PEER), 441);
    let bare = other.bare(Method::CONNECT, meetpoint::wire::Class::Request, |_| {});
    assert_eq!(other.send(&mut lab, &bare).code(), 401);
}

#[test]
fn a_second_connection_to_a_peer_is_refused_while_the_first_is_made_waits_or_lives() {
    let mut lab = Lab::new(open_config());
    let (mut client, _) = allocated(&mut lab);
    assert!(ask(&mut client, &mut lab, PEER).is_none());
    assert_eq!(refused(&mut client, &mut lab, PEER), 446);
    let key = lab.connected(Ok(()));
    let id = lab.reply().find::<ConnectionId>().unwrap();
    assert_eq!(refused(&mut client, &mut lab, PEER), 446);
    let mut data = client.again_from(crate::rfc6062_client::DATA);
    assert_eq!(crate::rfc6062_client::bind(&mut data, &mut lab, id).code(), 0);
    assert_eq!(refused(&mut client, &mut lab, PEER), 446);
    // Another port is another peer.
    connect(&mut client, &mut lab, "20.0.0.1:7001");
    lab.ended(key, ConnectionEnd::Finished);
    connect(&mut client, &mut lab, PEER);
}

#[test]
fn a_request_without_a_peer_or_with_a_broken_one_is_bad() {
    let mut lab = Lab::new(open_config());
    let (mut client, _) = allocated(&mut lab);
    let values: [Option<&[u8]>; 3] = [None, Some(&[0, 1, 0, 0]), Some(&[0, 3, 0, 0, 1, 2, 3, 4])];
    for value in values {
        let reply = client.call(&mut lab, Method::CONNECT, |builder| {
            if let Some(value) = value {
                builder.raw_attribute(AttributeType::XOR_PEER_ADDRESS, value);
            }
        });
        assert_eq!(reply.code(), 400);
    }
}

#[test]
fn a_peer_of_a_family_that_was_not_allocated_is_a_mismatch() {
    let mut lab = Lab::new(open_config());
    let (mut client, _) = allocated(&mut lab);
    assert_eq!(refused(&mut client, &mut lab, PEER_V6), 443);
}

#[test]
fn peers_that_policy_closes_are_forbidden_in_every_spelling() {
    let mut lab = Lab::new(open_config());
    let mut client = Client::new(A).over_tcp();
    client.challenge(&mut lab);
    let reply = client.call(&mut lab, Method::ALLOCATE, |builder| {
        builder
            .attribute(&meetpoint::wire::attribute::RequestedTransport::TCP)
            .raw_attribute(AttributeType::ADDITIONAL_ADDRESS_FAMILY, &[2, 0, 0, 0]);
    });
    assert_eq!(reply.code(), 0);
    let closed = [
        "127.0.0.1:80",
        "0.0.0.0:80",
        "10.1.2.3:80",
        "192.168.0.1:80",
        "100.64.0.1:80",
        "169.254.169.254:80",
        "224.0.0.1:80",
        "255.255.255.255:80",
        "20.0.0.1:0",
        "[::]:80",
        "[::1]:80",
        "[fe80::1]:80",
        "[fd00:ec2::254]:80",
        "[::ffff:10.1.2.3]:80",
        "[::10.1.2.3]:80",
        "[64:ff9b::a01:203]:80",
        "[2002:a01:203::1]:80",
        "[2001:0:20:1::f5fe:fdfc]:80",
        "[2600::5efe:a01:203]:80",
        // The relay's own addresses, where no relay can be: listeners and the web server.
        "20.9.9.9:3478",
        "10.0.0.5:443",
        "[2600:9::9]:8000",
        "[::ffff:20.9.9.9]:50000",
    ];
    for (number, peer) in closed.into_iter().enumerate() {
        assert_eq!(refused(&mut client, &mut lab, peer), 403, "{peer}");
        assert_eq!(lab.server.stats().denied_peers.iter().sum::<u64>(), number as u64 + 1);
    }
    assert!(lab.connects.is_empty());
}

#[test]
fn what_the_operator_opens_is_open_and_what_he_closes_is_closed() {
    let net = |text: &str| text.parse::<IpNet>().unwrap();
    let mut lab = Lab::new(Config {
        peers: PeerFilter::new([net("10.1.0.0/16")], [net("20.0.0.0/8")]),
        ..open_config()
    });
    let (mut client, _) = allocated(&mut lab);
    assert!(ask(&mut client, &mut lab, "10.1.2.3:80").is_none());
    assert_eq!(refused(&mut client, &mut lab, PEER), 403);
    assert_eq!(lab.server.stats().denied_peers[PeerClass::DenyRule.index()], 1);
}

#[test]
fn ports_of_relays_on_this_machine_are_left_to_the_driver_and_its_own_is_forbidden() {
    let mut lab = Lab::new(open_config());
    let (mut client, relayed) = allocated(&mut lab);
    assert_eq!(refused(&mut client, &mut lab, &relayed.to_string()), 403);
    let mut other = Client::new("192.0.2.9:1").over_tcp();
    let theirs = allocate_tcp(&mut other, &mut lab).relayed();
    assert!(ask(&mut client, &mut lab, &theirs.to_string()).is_none());
    assert_eq!(lab.connects[0].3, PeerRoute::OwnRelay);

    let net: IpNet = "20.9.9.9/32".parse().unwrap();
    lab.server.reconfigure(Arc::new(Config {
        peers: PeerFilter::new([net], []),
        ..open_config()
    }));
    lab.drain();
    assert!(ask(&mut client, &mut lab, "20.9.9.9:443").is_none());
    assert_eq!(lab.connects[1].3, PeerRoute::OwnOpened);
}

#[test]
fn a_peer_that_refuses_is_a_failure_and_can_be_asked_again() {
    let mut lab = Lab::new(open_config());
    let (mut client, _) = allocated(&mut lab);
    assert!(ask(&mut client, &mut lab, PEER).is_none());
    lab.connected(Err(ConnectError));
    let reply = lab.reply();
    assert_eq!(reply.code(), 447);
    assert!(client.signed(&reply));
    assert_eq!(
        lab.server.stats().connections_ended[ConnectionEnd::ConnectFailed.index()],
        1
    );
    connect(&mut client, &mut lab, PEER);
}

#[test]
fn a_peer_that_does_not_answer_is_a_failure_after_thirty_seconds_exactly() {
    assert!(CONNECT_TIMEOUT >= Duration::from_secs(30));
    let mut lab = Lab::new(open_config());
    let (mut client, _) = allocated(&mut lab);
    assert!(ask(&mut client, &mut lab, PEER).is_none());
    lab.advance(CONNECT_TIMEOUT - NANO);
    assert!(lab.sent.is_empty());
    lab.advance(NANO);
    assert_eq!(lab.reply().code(), 447);
    assert!(lab.connects.is_empty(), "the driver was told to give up");
    assert_eq!(
        lab.server.stats().connections_ended[ConnectionEnd::ConnectTimeout.index()],
        1
    );
    assert_eq!(
        lab.server.stats().answered[Answer::ConnectionTimeoutOrFailure.index()],
        1
    );
}

#[test]
fn an_answer_that_comes_too_late_changes_nothing() {
    let mut lab = Lab::new(open_config());
    let (mut client, _) = allocated(&mut lab);
    assert!(ask(&mut client, &mut lab, PEER).is_none());
    let key = lab.connects[0].0;
    lab.advance(CONNECT_TIMEOUT);
    lab.reply();
    lab.server.handle_peer_connected(lab.now, key, Ok(()));
    lab.drain();
    assert!(lab.sent.is_empty());
    lab.check();
}

#[test]
fn an_allocation_has_so_many_connections_and_no_more() {
    let mut lab = Lab::new(Config {
        limits: Limits {
            connections_per_allocation: 2,
            ..Limits::default()
        },
        ..open_config()
    });
    let (mut client, _) = allocated(&mut lab);
    let (first, _) = connect(&mut client, &mut lab, PEER);
    assert!(ask(&mut client, &mut lab, PEER_2).is_none());
    assert_eq!(refused(&mut client, &mut lab, "20.0.0.3:1"), 508);
    assert_eq!(lab.server.stats().quota_hits[QuotaKind::Connections.index()], 1);
    lab.ended(first, ConnectionEnd::Failed);
    assert!(ask(&mut client, &mut lab, "20.0.0.3:1").is_none());
}

#[test]
fn the_process_has_so_many_connections_and_so_many_that_wait() {
    for (connections, pending_connections, kind) in [
        (2, 9, QuotaKind::ProcessConnections),
        (9, 2, QuotaKind::PendingConnections),
    ] {
        let mut lab = Lab::new(Config {
            limits: Limits {
                connections,
                pending_connections,
                ..Limits::default()
            },
            ..open_config()
        });
        let (mut client, _) = allocated(&mut lab);
        let (_, id) = connect(&mut client, &mut lab, PEER);
        connect(&mut client, &mut lab, PEER_2);
        assert_eq!(lab.ledger.connections(), (2, 2));
        assert_eq!(refused(&mut client, &mut lab, "20.0.0.3:1"), 508);
        assert_eq!(lab.server.stats().quota_hits[kind.index()], 1);
        // One that is bound waits no more, but is there.
        let mut data = client.again_from(crate::rfc6062_client::DATA);
        assert_eq!(crate::rfc6062_client::bind(&mut data, &mut lab, id).code(), 0);
        let reply = ask(&mut client, &mut lab, "20.0.0.3:1").map(|reply| reply.code());
        assert_eq!(reply, (kind == QuotaKind::ProcessConnections).then_some(508));
        lab.gone(&client.five_tuple);
        lab.assert_empty();
    }
}

#[test]
fn one_user_with_many_allocations_leaves_connections_to_others() {
    let limits = |connections, pending_connections| Limits {
        connections,
        pending_connections,
        connections_per_allocation: 8,
        ..Limits::default()
    };
    // A quarter of those that wait, and of all; but always as many as one allocation may have.
    for (limits, most) in [(limits(400, 40), 10), (limits(40, 400), 10), (limits(20, 20), 8)] {
        let mut lab = Lab::new(Config {
            limits,
            ..open_config()
        });
        let mut greedy = Vec::new();
        for port in 1..=4 {
            // With a fresh credential each: it is the same user.
            let ttl = Duration::from_secs(3600 + port);
            let mut client = Client::with_expiry(&format!("192.0.2.1:{port}"), "eve", ttl).over_tcp();
            assert_eq!(allocate_tcp(&mut client, &mut lab).code(), 0);
            for peer in 1..=8 {
                if let Some(reply) = ask(&mut client, &mut lab, &format!("20.0.0.{peer}:7000")) {
                    assert_eq!(reply.code(), 508);
                }
            }
            greedy.push(client);
        }
        assert_eq!(lab.connects.len(), most);
        let mut other = Client::with_expiry("192.0.2.9:1", "alice", Duration::from_secs(3600)).over_tcp();
        assert_eq!(allocate_tcp(&mut other, &mut lab).code(), 0);
        assert!(ask(&mut other, &mut lab, PEER_2).is_none());
        // What ends gives its place back, to the user as well.
        lab.advance(CONNECT_TIMEOUT);
        lab.sent.clear();
        assert!(ask(&mut greedy[0], &mut lab, PEER_2).is_none());
        for client in greedy.iter().chain([&other]) {
            lab.gone(&client.five_tuple);
        }
        lab.assert_empty();
    }
}

#[test]
fn ids_differ_even_between_allocations() {
    let mut lab = Lab::new(open_config());
    let (mut client, _) = allocated(&mut lab);
    let mut other = Client::new("192.0.2.9:1").over_tcp();
    allocate_tcp(&mut other, &mut lab);
    let ids = [
        connect(&mut client, &mut lab, PEER).1,
        connect(&mut client, &mut lab, PEER_2).1,
        connect(&mut other, &mut lab, PEER).1,
    ];
    assert!(ids[0] != ids[1] && ids[1] != ids[2] && ids[0] != ids[2]);
}

#[test]
fn a_request_whose_client_leaves_is_dropped_and_one_whose_allocation_is_deleted_is_answered() {
    let mut lab = Lab::new(open_config());
    let (mut client, _) = allocated(&mut lab);
    assert!(ask(&mut client, &mut lab, PEER).is_none());
    client.refresh_with_others(&mut lab);
    let codes: Vec<_> = lab
        .sent
        .drain(..)
        .map(|(_, bytes)| crate::relay::code_of(&bytes))
        .collect();
    assert_eq!(codes, [447, 0]);
    lab.assert_empty();

    allocate_tcp(&mut client, &mut lab);
    assert!(ask(&mut client, &mut lab, PEER).is_none());
    lab.gone(&client.five_tuple);
    assert!(lab.sent.is_empty());
    assert_eq!(
        lab.server.stats().dropped[meetpoint::turn::DropReason::ClientGone.index()],
        1
    );
    lab.assert_empty();
}

#[test]
fn a_connect_request_is_deferred_until_the_peer_answers() {
    let mut lab = Lab::new(open_config());
    let (mut client, _) = allocated(&mut lab);
    let request = client.request(Method::CONNECT, |builder| {
        builder.attribute(&meetpoint::wire::attribute::XorPeerAddress(addr(PEER)));
    });
    assert_eq!(lab.client(&client.five_tuple, &request).verdict(), Verdict::Deferred);
}
