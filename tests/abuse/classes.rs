//! The classes of abuse that relays are known for, each tried in the core.

use std::net::SocketAddr;
use std::time::Duration;

use meetpoint::turn::{Config, DropReason, Handled, Limits, Verdict};
use meetpoint::wire::attribute::{EvenPort, RequestedTransport};
use meetpoint::wire::{AttributeType, ChannelData, Class, MessageBuilder, Method, TransactionId};

use crate::relay::{Client, Lab, PEER, addr, channel_data, config, to_peer};

fn dropped(handled: Handled) -> DropReason {
    match handled {
        Handled::Done(Verdict::Dropped(reason)) => reason,
        other => panic!("not dropped: {other:?}"),
    }
}

/// A captured request, played again: from elsewhere, later, and again from the same address.
#[test]
fn abuse_a_captured_request_is_of_no_use_elsewhere_or_later() {
    let mut lab = Lab::new(config());
    let mut client = Client::new("192.0.2.1:4001");
    client.allocate(&mut lab);
    let delete = client.request(Method::REFRESH, |builder| {
        builder.attribute(&meetpoint::wire::attribute::Lifetime(0));
    });
    let allocate = client.request(Method::ALLOCATE, |builder| {
        builder.attribute(&RequestedTransport::UDP);
    });
    for other in ["192.0.2.1:4002", "192.0.2.2:4001", "[2600::9]:4001"] {
        let elsewhere = crate::relay::five_tuple(other);
        for captured in [&delete, &allocate] {
            lab.client(&elsewhere, captured);
            assert_eq!(lab.reply().code(), 438, "{other}");
        }
    }
    assert_eq!(lab.server.allocations(), 1);
    // Deleted, allocated anew from the same address: the old deletion does not end the new allocation.
    assert_eq!(client.send(&mut lab, &delete).code(), 0);
    client.allocate(&mut lab);
    assert_eq!(client.send(&mut lab, &delete).code(), 0, "answered from memory");
    assert_eq!(lab.server.allocations(), 1);
    // Once the nonce is old nothing that was captured works, whoever holds it.
    lab.advance(Duration::from_secs(601));
    client.challenge(&mut lab);
    client.allocate(&mut lab);
    for captured in [&delete, &allocate] {
        assert_eq!(client.send(&mut lab, captured).code(), 438);
    }
    assert_eq!(lab.server.allocations(), 1);
}

/// Answers that are sent again to whoever repeats a transaction id are answers to a source that may be forged.
#[test]
fn abuse_repeating_somebodys_transaction_id_is_no_way_around_the_budget() {
    let limits = Limits {
        unauthenticated_per_second: 5,
        ..Limits::default()
    };
    let mut lab = Lab::new(Config { limits, ..config() });
    let mut client = Client::new("192.0.2.1:4001");
    client.challenge(&mut lab);
    let allocate = client.request(Method::ALLOCATE, |builder| {
        builder.attribute(&RequestedTransport::UDP);
    });
    assert_eq!(client.send(&mut lab, &allocate).code(), 0);
    let delete = client.request(Method::REFRESH, |builder| {
        builder.attribute(&meetpoint::wire::attribute::Lifetime(0));
    });
    for end in [false, true] {
        let request = if end {
            assert_eq!(client.send(&mut lab, &delete).code(), 0);
            &delete
        } else {
            &allocate
        };
        // The header alone, as somebody who saw it on its way would send it.
        let mut forged = request[..20].to_vec();
        forged[2..4].copy_from_slice(&[0, 0]);
        lab.advance(Duration::from_secs(1));
        let answered = (0..100)
            .filter(|_| matches!(lab.client(&client.five_tuple, &forged).verdict(), Verdict::Answered(_)))
            .count();
        assert!(answered <= 5, "{answered} answers");
        lab.sent.clear();
        lab.advance(Duration::from_secs(1));
    }
}

/// A user with a hundred names: the expiry in front, and another password algorithm, are no other user.
#[test]
fn abuse_another_expiry_is_no_other_user_to_the_quota() {
    let limits = Limits {
        allocations_per_user: 3,
        ..Limits::default()
    };
    let mut lab = Lab::new(Config { limits, ..config() });
    let mut codes = Vec::new();
    for n in 0..6_u64 {
        let mut client = Client::with_expiry(&format!("192.0.2.{}:1", n + 1), "eve", Duration::from_secs(600 + n));
        codes.push(client.allocate_with(&mut lab, |_| {}).code());
    }
    assert_eq!(codes, [0, 0, 0, 486, 486, 486]);
    assert_eq!(lab.ledger.total(), 3);
}

/// A user with a hundred sessions of the hub is one user, unless the operator has them counted apart.
#[test]
fn abuse_another_session_is_no_other_user_to_the_quota_unless_it_is_meant_to_be() {
    for (count_sessions, expected) in [(false, [0, 0, 486, 486]), (true, [0, 0, 0, 0])] {
        let limits = Limits {
            allocations_per_user: 2,
            count_sessions,
            ..Limits::default()
        };
        let mut lab = Lab::new(Config { limits, ..config() });
        let mut codes = Vec::new();
        for n in 1..=4 {
            let user = meetpoint::credentials::of_session(&format!("session-id-{n:05}"), "eve");
            let mut client = Client::with_expiry(&format!("192.0.2.{n}:1"), &user, Duration::from_secs(600));
            codes.push(client.allocate_with(&mut lab, |_| {}).code());
        }
        assert_eq!(codes, expected);
    }
}

/// A credential past its time opens nothing; one that was passed on counts for whom it was made.
#[test]
fn abuse_a_shared_or_expired_credential_is_bounded() {
    let limits = Limits {
        allocations_per_user: 2,
        ..Limits::default()
    };
    let mut lab = Lab::new(Config { limits, ..config() });
    let owner = Client::with_expiry("192.0.2.1:1", "ann", Duration::from_secs(60));
    let mut codes = Vec::new();
    for n in 1..=4 {
        let mut friend = owner.clone();
        friend.five_tuple = crate::relay::five_tuple(&format!("198.18.0.{n}:1"));
        codes.push(friend.allocate_with(&mut lab, |_| {}).code());
    }
    assert_eq!(codes, [0, 0, 486, 486]);
    lab.advance(Duration::from_secs(3600));
    let mut late = owner.clone();
    assert_eq!(late.allocate_with(&mut lab, |_| {}).code(), 401);
    lab.assert_empty();
}

/// An allocation that is refused while its socket is being bound, in every way that can fail, holds nothing.
#[test]
fn abuse_allocations_that_come_to_nothing_hold_no_quota() {
    let mut lab = Lab::new(config());
    lab.hold_binds = true;
    for round in 0..30 {
        let mut client = Client::new(&format!("192.0.2.1:{}", 4000 + round));
        client.challenge(&mut lab);
        let request = client.request(Method::ALLOCATE, |builder| {
            builder.attribute(&RequestedTransport::UDP).attribute(&EvenPort {
                reserve_next: round % 2 == 0,
            });
        });
        lab.client(&client.five_tuple, &request);
        match round % 3 {
            0 => lab.report(Err(meetpoint::turn::BindError::Failed)),
            1 => {
                lab.gone(&client.five_tuple);
                assert!(lab.held.is_empty(), "a relay whose client is gone is bound for nobody");
            }
            _ => {
                lab.report(Ok(()));
                lab.gone(&client.five_tuple);
            }
        }
        lab.sent.clear();
    }
    lab.advance(Duration::from_secs(60));
    lab.assert_empty();
}

/// Permissions, channels and reservations end at their bounds; what is refused there takes nothing.
#[test]
fn abuse_tables_of_one_client_end_at_their_bounds() {
    let limits = Limits {
        permissions_per_allocation: 10,
        channels_per_allocation: 5,
        reservations: 3,
        ..Limits::default()
    };
    let mut lab = Lab::new(Config { limits, ..config() });
    let mut client = Client::new("192.0.2.1:4001");
    client.allocate(&mut lab);
    let refused = (0..100)
        .filter(|n| client.permit(&mut lab, &[&format!("20.0.1.{n}:1")]) == 508)
        .count();
    assert_eq!(refused, 90);
    let mut client = Client::new("192.0.2.1:4002");
    client.allocate(&mut lab);
    let refused = (0..100_u16)
        .filter(|n| client.bind(&mut lab, 0x4000 + n, &format!("20.0.2.{n}:1")) == 508)
        .count();
    assert_eq!(refused, 95);
    let refused = (0..20)
        .filter(|n| {
            let mut client = Client::new(&format!("192.0.2.2:{}", 5000 + n));
            let reply = client.allocate_with(&mut lab, |builder| {
                builder.attribute(&EvenPort { reserve_next: true });
            });
            reply.code() == 508
        })
        .count();
    assert_eq!(refused, 17);
    let stats = lab.server.stats();
    assert_eq!(
        (stats.permissions_active, stats.channels_active, lab.reservations.len()),
        (15, 5, 3)
    );
    lab.advance(Duration::from_secs(3600));
    lab.assert_empty();
}

/// Relays that name each other in a circle, and themselves: each packet is handed over once.
#[test]
fn abuse_relays_in_a_circle_do_not_multiply_packets() {
    let mut lab = Lab::new(config());
    let mut clients: Vec<_> = (1..=4)
        .map(|n| Client::with_expiry(&format!("192.0.2.{n}:1"), &n.to_string(), Duration::from_secs(3600)))
        .collect();
    let at: Vec<String> = clients
        .iter_mut()
        .map(|client| client.allocate(&mut lab).to_string())
        .collect();
    for (n, client) in clients.iter_mut().enumerate() {
        for (m, peer) in at.iter().enumerate() {
            assert_eq!(client.bind(&mut lab, 0x4000 + m as u16, peer), 0, "{n} to {m}");
        }
    }
    for client in &mut clients {
        for m in 0..4 {
            crate::relay::forwarded(client.send_on(&mut lab, 0x4000 + m, b"round and round"));
        }
    }
    let stats = lab.server.stats();
    assert_eq!(
        (stats.relayed, stats.hairpin.packets),
        (16, 16),
        "one packet out for one in"
    );
    assert!(lab.sent.is_empty());
}

/// ChannelData that claims more than came reads nobody's memory; less than came is cut.
#[test]
fn abuse_a_channel_data_length_that_lies_shows_no_memory() {
    let mut lab = Lab::new(config());
    let mut client = Client::new("192.0.2.1:4001");
    client.allocate(&mut lab);
    client.bind(&mut lab, 0x4000, PEER);
    for declared in [6_u16, 7, 100, 1500, 35_510, 65_535] {
        let lie = [&[0x40, 0x00][..], &declared.to_be_bytes(), b"hello"].concat();
        assert_eq!(dropped(lab.client(&client.five_tuple, &lie)), DropReason::Malformed);
        assert!(ChannelData::parse(&lie).is_err());
    }
    let short = [&[0x40, 0x00, 0, 2][..], b"hello"].concat();
    match lab.client(&client.five_tuple, &short) {
        Handled::Forward(forward) => assert_eq!(&short[forward.payload()], b"he"),
        Handled::Done(verdict) => assert_eq!(verdict, Verdict::Dropped(DropReason::Malformed)),
    }
    // The same with DATA in an indication.
    let mut buffer = [0; 128];
    let mut builder = MessageBuilder::new(&mut buffer, Method::SEND, Class::Indication, TransactionId([1; 12]));
    builder
        .attribute(&meetpoint::wire::attribute::XorPeerAddress(addr(PEER)))
        .raw_attribute(AttributeType::DATA, b"hello");
    let len = builder.finish().unwrap();
    for declared in [9_u16, 100, 65_535] {
        let mut lie = buffer[..len].to_vec();
        let at = len - 12 + 2;
        lie[at..at + 2].copy_from_slice(&declared.to_be_bytes());
        assert_eq!(
            dropped(lab.client(&client.five_tuple, &lie)),
            DropReason::Malformed,
            "{declared}"
        );
    }
}

/// Ports that nobody can have, on either side.
#[test]
fn abuse_port_zero_is_no_client_and_no_peer() {
    let mut lab = Lab::new(config());
    let mut nobody = Client::new("192.0.2.1:0");
    let requests = [
        nobody.bare(Method::BINDING, Class::Request, |_| {}),
        nobody.bare(Method::ALLOCATE, Class::Request, |_| {}),
        channel_data(0x4000, b"x"),
        vec![0xFF; 40],
    ];
    for request in &requests {
        assert_eq!(
            dropped(lab.client(&nobody.five_tuple, request)),
            DropReason::SourcePortZero
        );
    }
    assert!(lab.sent.is_empty(), "nobody is answered at port 0");
    let mut client = Client::new("192.0.2.1:4001");
    client.allocate(&mut lab);
    assert_eq!(client.bind(&mut lab, 0x4000, "20.0.0.1:0"), 403);
    assert_eq!(client.permit(&mut lab, &["20.0.0.1:0"]), 0, "permissions know no ports");
    assert_eq!(
        dropped(client.send_to(&mut lab, "20.0.0.1:0", b"x")),
        DropReason::PeerDenied
    );
    for multicast in ["224.0.0.1:1", "239.255.255.250:1900", "255.255.255.255:1"] {
        assert_eq!(client.bind(&mut lab, 0x4001, multicast), 403);
    }
}

/// Of the addresses in one request, one that is open does not open the others, in whatever order.
#[test]
fn abuse_an_open_address_does_not_vouch_for_a_closed_one() {
    let allowed: meetpoint::turn::PeerFilter = meetpoint::turn::PeerFilter::new(["10.1.0.0/16".parse().unwrap()], []);
    let mut lab = Lab::new(Config {
        peers: allowed,
        ..config()
    });
    let mut client = Client::new("192.0.2.1:4001");
    client.allocate(&mut lab);
    for mixed in [
        ["20.0.0.1:1", "10.1.0.1:1", "10.2.0.1:1"],
        ["10.2.0.1:1", "10.1.0.1:1", "20.0.0.1:1"],
        ["10.1.0.1:1", "127.0.0.1:1", "10.1.0.2:1"],
    ] {
        assert_eq!(client.permit(&mut lab, &mixed), 403, "{mixed:?}");
        assert_eq!(lab.server.stats().permissions_active, 0, "all or nothing");
    }
    assert_eq!(client.permit(&mut lab, &["20.0.0.1:1", "10.1.0.1:1"]), 0);
    assert_eq!(
        to_peer(client.send_to(&mut lab, "10.1.0.1:1", b"x")),
        addr("10.1.0.1:1")
    );
}

/// A configuration that is shared is one that every shard holds to: no operation leaves a second way in.
#[test]
fn abuse_requests_and_indications_of_every_method_and_class_open_nothing_without_credentials() {
    let mut lab = Lab::new(config());
    let from: Vec<SocketAddr> = (1..=50).map(|n| addr(&format!("198.51.100.{n}:9"))).collect();
    for method in 0..0x1000_u16 {
        for class in 0..4_u16 {
            let kind = (method & 0x0F)
                | ((method & 0x70) << 1)
                | ((method & 0xF80) << 2)
                | ((class & 1) << 4)
                | ((class & 2) << 7);
            let mut message = [&kind.to_be_bytes()[..], &[0, 16], &[0x21, 0x12, 0xA4, 0x42], &[3; 12]].concat();
            message.extend_from_slice(&[0, 0x19, 0, 4, 17, 0, 0, 0, 0x00, 0x0D, 0, 4, 0, 0, 2, 0]);
            let client = crate::relay::five_tuple(&from[usize::from(method) % from.len()].to_string());
            let handled = lab.client(&client, &message);
            assert!(matches!(handled, Handled::Done(_)));
            if class >= 1 {
                assert!(lab.sent.is_empty(), "class {class} of method {method} was answered");
            }
            for (to, answer) in std::mem::take(&mut lab.sent) {
                assert_eq!(to, client);
                assert!(answer.len() <= 3 * message.len());
            }
        }
        if method % 64 == 0 {
            lab.advance(Duration::from_secs(1));
        }
    }
    assert_eq!((lab.server.allocations(), lab.binds), (0, 0));
}
