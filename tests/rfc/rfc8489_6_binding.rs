//! RFC 8489 §6.3 and §12: which messages are answered at all, and Binding.

use std::time::Duration;

use meetpoint::turn::{DropReason, Handled, Limits, Verdict};
use meetpoint::wire::attribute::{Software, UnknownAttributes, Username, XorMappedAddress};
use meetpoint::wire::{AttributeType, Class, IntegrityKey, Message, MessageBuilder, Method};

use crate::relay::{Client, Lab, addr, config};

const A: &str = "192.0.2.1:4001";

fn dropped(handled: Handled) -> DropReason {
    match handled {
        Handled::Done(Verdict::Dropped(reason)) => reason,
        other => panic!("not dropped: {other:?}"),
    }
}

#[test]
fn a_binding_is_answered_with_the_mapped_address_and_nothing_else() {
    let mut lab = Lab::new(config());
    for (client, len) in [(A, 32), ("[2001:db8::7]:9", 44)] {
        let mut client = Client::new(client);
        let request = client.bare(Method::BINDING, Class::Request, |_| {});
        let reply = client.send(&mut lab, &request);
        assert_eq!(reply.code(), 0);
        assert_eq!(reply.find::<XorMappedAddress>().unwrap().0, client.five_tuple.client.0);
        assert_eq!(reply.bytes.len(), len);
    }
}

#[test]
fn the_answer_has_a_fingerprint_if_the_request_had_one() {
    let mut lab = Lab::new(config());
    let mut client = Client::new(A);
    client.fingerprint = true;
    let request = client.bare(Method::BINDING, Class::Request, |_| {});
    let reply = client.send(&mut lab, &request);
    assert!(reply.message().verify_fingerprint().is_ok());
    assert_eq!(reply.bytes.len(), 40);
    client.allocate(&mut lab);
    assert!(client.refresh(&mut lab, 600).message().verify_fingerprint().is_ok());
}

#[test]
fn a_binding_with_credentials_of_any_kind_is_answered_all_the_same() {
    let mut lab = Lab::new(config());
    let mut client = Client::new(A);
    let request = client.bare(Method::BINDING, Class::Request, |builder| {
        builder
            .attribute(&Username::new("a:b").unwrap())
            .integrity(&IntegrityKey::short_term("nobody knows"));
    });
    let reply = client.send(&mut lab, &request);
    assert_eq!(reply.code(), 0);
    assert_eq!(reply.message().integrity_kind(), None);
}

#[test]
fn unknown_attributes_that_must_be_understood_are_420_and_others_are_ignored() {
    let mut lab = Lab::new(config());
    let mut client = Client::new(A);
    let request = client.bare(Method::BINDING, Class::Request, |builder| {
        builder
            .raw_attribute(AttributeType(0x4001), b"")
            .attribute(&Software::new("test").unwrap());
        builder
            .raw_attribute(AttributeType(0x4001), b"again")
            .raw_attribute(AttributeType(0x0003), &[0; 4]);
    });
    let reply = client.send(&mut lab, &request);
    assert_eq!(reply.code(), 420);
    let UnknownAttributes(types) = reply.find().unwrap();
    assert_eq!(types.as_slice(), [AttributeType(0x4001), AttributeType(0x0003)]);
    let request = client.bare(Method::BINDING, Class::Request, |builder| {
        builder.raw_attribute(AttributeType(0xC001), b"optional");
    });
    assert_eq!(client.send(&mut lab, &request).code(), 0);
}

#[test]
fn every_request_gets_an_answer_even_one_of_an_unknown_method() {
    let mut lab = Lab::new(config());
    let mut client = Client::new(A);
    for method in [
        Method::SEND,
        Method::DATA,
        Method::CONNECTION_ATTEMPT,
        Method::new(0x0FF).unwrap(),
        Method::new(0).unwrap(),
    ] {
        let request = client.bare(method, Class::Request, |_| {});
        let reply = client.send(&mut lab, &request);
        assert_eq!((reply.code(), reply.bytes.len()), (400, 28));
    }
    for method in [
        Method::ALLOCATE,
        Method::REFRESH,
        Method::CREATE_PERMISSION,
        Method::CHANNEL_BIND,
        Method::CONNECT,
        Method::CONNECTION_BIND,
    ] {
        let request = client.bare(method, Class::Request, |_| {});
        assert_eq!(client.send(&mut lab, &request).code(), 401);
    }
}

#[test]
fn indications_and_responses_are_never_answered() {
    let mut lab = Lab::new(config());
    let mut client = Client::new(A);
    for value in 0..0x20 {
        let method = Method::new(value).unwrap();
        for class in [Class::Indication, Class::Success, Class::Error] {
            let message = client.bare(method, class, |builder| {
                builder.raw_attribute(AttributeType(0x4001), b"x");
            });
            let reason = dropped(lab.client(&client.five_tuple, &message));
            let expected = match (class, method) {
                (Class::Indication, Method::BINDING) => DropReason::Keepalive,
                (Class::Indication, Method::SEND) => DropReason::NoAllocation,
                (Class::Indication, _) => DropReason::BadIndication,
                _ => DropReason::UnexpectedResponse,
            };
            assert_eq!(reason, expected);
            assert!(lab.sent.is_empty());
        }
    }
}

#[test]
fn what_is_not_stun_is_dropped_and_counted() {
    let mut lab = Lab::new(config());
    let mut client = Client::new(A);
    let good = client.bare(Method::BINDING, Class::Request, |_| {});
    let mut no_cookie = good.clone();
    no_cookie[4] ^= 1;
    let mut long = good.clone();
    long.push(0);
    for (datagram, reason) in [
        (&b""[..], DropReason::NotStun),
        (b"\x80", DropReason::NotStun),
        (b"\x90 rtp", DropReason::NotStun),
        (&[0x16, 0xFE, 0xFD], DropReason::NotStun),
        (&no_cookie, DropReason::NotStun),
        (&good[..19], DropReason::Malformed),
        (&long, DropReason::Malformed),
        (&[0x40], DropReason::Malformed),
        (&[0x40, 0, 0, 9, 1], DropReason::Malformed),
    ] {
        assert_eq!(
            dropped(lab.client(&client.five_tuple, datagram)),
            reason,
            "{datagram:02x?}"
        );
    }
    assert!(lab.sent.is_empty());
    assert_eq!(lab.server.stats().client_packets[0], 9);
}

#[test]
fn a_wrong_fingerprint_is_dropped() {
    let mut lab = Lab::new(config());
    let mut client = Client::new(A);
    client.fingerprint = true;
    let mut request = client.bare(Method::BINDING, Class::Request, |_| {});
    *request.last_mut().unwrap() ^= 1;
    assert_eq!(
        dropped(lab.client(&client.five_tuple, &request)),
        DropReason::BadFingerprint
    );
}

#[test]
fn attributes_after_message_integrity_are_ignored() {
    let mut lab = Lab::new(config());
    let mut client = Client::new(A);
    client.allocate(&mut lab);
    let mut request = client.request(Method::REFRESH, |_| {});
    // LIFETIME 0 and an unknown attribute, smuggled in behind the seal by somebody without the key.
    request.extend_from_slice(&[0x00, 0x0D, 0, 4, 0, 0, 0, 0, 0x40, 0x01, 0, 0]);
    let len = (request.len() - 20) as u16;
    request[2..4].copy_from_slice(&len.to_be_bytes());
    let reply = client.send(&mut lab, &request);
    assert_eq!((reply.code(), reply.lifetime()), (0, 600));
}

#[test]
fn a_source_without_credentials_is_answered_so_often_in_a_second() {
    let mut strict = config();
    strict.limits = Limits {
        unauthenticated_per_second: 3,
        ..Limits::default()
    };
    let mut lab = Lab::new(strict);
    let mut client = Client::new(A);
    let mut knock = |lab: &mut Lab| {
        let request = client.bare(Method::ALLOCATE, Class::Request, |_| {});
        lab.client(&client.five_tuple, &request).verdict()
    };
    for _ in 0..3 {
        assert!(matches!(knock(&mut lab), Verdict::Answered(_)));
    }
    assert_eq!(knock(&mut lab), Verdict::Dropped(DropReason::RateLimited));
    lab.advance(Duration::from_secs(1));
    assert!(matches!(knock(&mut lab), Verdict::Answered(_)));
}

#[test]
fn a_challenge_is_as_short_as_it_can_be() {
    let mut lab = Lab::new(config());
    let mut client = Client::new(A);
    let challenge = client.challenge(&mut lab);
    // Header, ERROR-CODE without a phrase, REALM, NONCE, PASSWORD-ALGORITHMS.
    assert_eq!(challenge.bytes.len(), 20 + 8 + 16 + 28 + 12);
    // Three times what the shortest real client sends, which has REQUESTED-TRANSPORT alone.
    assert!(challenge.bytes.len() <= 3 * 28);
    let short = Lab::new(meetpoint::turn::Config {
        offer_sha256: false,
        ..config()
    });
    let mut lab = short;
    assert_eq!(client.challenge(&mut lab).bytes.len(), 20 + 8 + 16 + 28);
}

#[test]
fn a_message_built_by_hand_is_the_one_that_is_parsed() {
    let mut buffer = [0; 64];
    let id = meetpoint::wire::TransactionId([1; 12]);
    let len = MessageBuilder::new(&mut buffer, Method::BINDING, Class::Request, id)
        .finish()
        .unwrap();
    let mut lab = Lab::new(config());
    let client = Client::new(A);
    let reply = client.send(&mut lab, &buffer[..len]);
    assert_eq!(reply.mapped(), addr(A));
    assert_eq!(Message::parse(&reply.bytes).unwrap().method(), Method::BINDING);
}
