use super::super::attribute::{Lifetime, Software, Username, XorPeerAddress};
use super::super::{EncodeError, MessageBuilder};
use super::*;

const ID: TransactionId = TransactionId([3; 12]);

fn build(write: impl FnOnce(&mut MessageBuilder<'_>)) -> Vec<u8> {
    let mut buffer = vec![0xFF; 70_000];
    let mut builder = MessageBuilder::new(&mut buffer, Method::ALLOCATE, Class::Request, ID);
    write(&mut builder);
    let len = builder.finish().unwrap();
    buffer.truncate(len);
    buffer
}

/// Appends an attribute without the builder's rules.
fn append(message: &mut Vec<u8>, kind: AttributeType, value: &[u8]) {
    message.extend_from_slice(&kind.0.to_be_bytes());
    message.extend_from_slice(&(value.len() as u16).to_be_bytes());
    message.extend_from_slice(value);
    message.resize(message.len() + padding(value.len()), 0);
    let length = (message.len() - HEADER_LEN) as u16;
    message[2..4].copy_from_slice(&length.to_be_bytes());
}

#[test]
fn the_first_of_two_attributes_of_a_type_is_the_one_found() {
    let bytes = build(|builder| {
        builder.attribute(&Lifetime(1)).attribute(&Lifetime(2));
    });
    let message = Message::parse(&bytes).unwrap();
    assert_eq!(message.find(), Ok(Some(Lifetime(1))));
    assert_eq!(
        message.find_all().collect::<Result<Vec<Lifetime>, _>>(),
        Ok(vec![Lifetime(1), Lifetime(2)])
    );
}

#[test]
fn every_known_type_has_a_slot_of_its_own() {
    let mut taken = [false; SLOTS];
    for kind in AttributeType::KNOWN {
        let slot = slot(*kind).unwrap();
        assert!(!taken[slot], "{kind}");
        taken[slot] = true;
    }
    assert_eq!(slot(AttributeType(0x0002)), None);
    assert_eq!(slot(AttributeType(0x0040)), None);
    assert_eq!(slot(AttributeType(0xC000)), None);
}

#[test]
fn a_type_outside_the_index_is_found_by_walking() {
    let bytes = build(|builder| {
        builder
            .attribute(&Lifetime(1))
            .raw_attribute(AttributeType(0xC057), b"cost");
    });
    let message = Message::parse(&bytes).unwrap();
    assert_eq!(message.value(AttributeType(0xC057)), Some(&b"cost"[..]));
    assert_eq!(message.value_range(AttributeType(0xC057)), Some(32..36));
    assert_eq!(message.value(AttributeType(0xC058)), None);
}

#[test]
fn the_length_field_must_say_exactly_what_is_there() {
    let bytes = build(|builder| {
        builder.attribute(&Lifetime(1));
    });
    for short in 0..bytes.len() {
        assert_eq!(Message::parse(&bytes[..short]).unwrap_err(), DecodeError::Truncated);
    }
    let mut long = bytes;
    long.push(0);
    assert_eq!(Message::parse(&long).unwrap_err(), DecodeError::TrailingBytes);
}

#[test]
fn an_attribute_that_overruns_the_message_is_refused() {
    let mut bytes = build(|builder| {
        builder.attribute(&Lifetime(1));
    });
    bytes[23] = 5;
    assert_eq!(
        Message::parse(&bytes).unwrap_err(),
        DecodeError::AttributeOverrun(AttributeType::LIFETIME)
    );
    bytes[22] = 0xFF;
    assert_eq!(
        Message::parse(&bytes).unwrap_err(),
        DecodeError::AttributeOverrun(AttributeType::LIFETIME)
    );
}

#[test]
fn sixty_four_attributes_are_parsed_and_one_more_is_not() {
    let fill = |count| {
        build(|builder| {
            for _ in 0..count {
                builder.raw_attribute(AttributeType(0xFFFF), &[]);
            }
        })
    };
    assert_eq!(
        Message::parse(&fill(MAX_ATTRIBUTES)).unwrap().attributes().count(),
        MAX_ATTRIBUTES
    );
    assert_eq!(
        Message::parse(&fill(MAX_ATTRIBUTES + 1)).unwrap_err(),
        DecodeError::TooManyAttributes
    );
}

#[test]
fn attributes_after_message_integrity_are_invisible() {
    let key = IntegrityKey::short_term("p");
    for sha256 in [false, true] {
        let mut bytes = build(|builder| {
            builder.attribute(&Lifetime(1));
            if sha256 {
                builder.integrity_sha256(&key);
            } else {
                builder.integrity(&key);
            }
        });
        append(&mut bytes, AttributeType::USERNAME, b"mallory");
        append(&mut bytes, AttributeType::LIFETIME, &[0, 0, 0, 9]);
        append(&mut bytes, AttributeType(0x7FFF), b"");
        let message = Message::parse(&bytes).unwrap();
        assert!(message.verify_integrity(&key).is_ok());
        assert_eq!(message.find::<Username<'_>>(), Ok(None));
        assert_eq!(message.find::<Lifetime>(), Ok(Some(Lifetime(1))));
        assert_eq!(message.find_all::<Lifetime>().count(), 1);
        assert!(message.unknown_required(|_| false).as_slice() == [AttributeType::LIFETIME]);
        assert_eq!(message.value(AttributeType(0x7FFF)), None);
    }
}

#[test]
fn message_integrity_sha256_may_follow_message_integrity_and_not_the_other_way_round() {
    let key = IntegrityKey::short_term("p");
    let bytes = build(|builder| {
        builder.integrity(&key).integrity_sha256(&key).fingerprint();
    });
    let message = Message::parse(&bytes).unwrap();
    assert_eq!(message.verify_integrity(&key), Ok(IntegrityKind::Sha256));
    assert_eq!(message.verify_integrity_of(IntegrityKind::Sha1, &key), Ok(()));
    assert_eq!(message.verify_fingerprint(), Ok(()));
    assert_eq!(message.attributes().count(), 0);

    let mut bytes = build(|builder| {
        builder.integrity_sha256(&key);
    });
    append(&mut bytes, AttributeType::MESSAGE_INTEGRITY, &[0; 20]);
    let message = Message::parse(&bytes).unwrap();
    assert!(!message.has(AttributeType::MESSAGE_INTEGRITY));
    assert_eq!(
        message.verify_integrity_of(IntegrityKind::Sha1, &key),
        Err(VerifyError::Absent)
    );
    assert_eq!(message.verify_integrity(&key), Ok(IntegrityKind::Sha256));
}

#[test]
fn a_truncated_sha256_verifies_from_16_bytes_on_and_every_other_length_is_refused() {
    let key = IntegrityKey::short_term("p");
    for len in 0..=40 {
        let mut bytes = build(|builder| {
            builder.attribute(&Lifetime(1));
        });
        let mut mac = [0; 32];
        key.sign(IntegrityKind::Sha256, &bytes, len, &mut mac);
        let mut value = mac.to_vec();
        value.resize(len, 0);
        append(&mut bytes, AttributeType::MESSAGE_INTEGRITY_SHA256, &value);
        match Message::parse(&bytes) {
            Ok(message) => {
                assert!((16..=32).contains(&len) && len % 4 == 0, "{len}");
                assert_eq!(message.verify_integrity(&key), Ok(IntegrityKind::Sha256));
                let mut wrong = bytes.clone();
                *wrong.last_mut().unwrap() ^= 1;
                let message = Message::parse(&wrong).unwrap();
                assert_eq!(message.verify_integrity(&key), Err(VerifyError::Mismatch));
            }
            Err(error) => {
                assert!(!(16..=32).contains(&len) || len % 4 != 0, "{len}");
                assert_eq!(
                    error,
                    DecodeError::AttributeLength(AttributeType::MESSAGE_INTEGRITY_SHA256)
                );
            }
        }
    }
}

#[test]
fn every_changed_bit_of_what_integrity_covers_is_noticed() {
    let key = IntegrityKey::short_term("p");
    let bytes = build(|builder| {
        builder
            .attribute(&Username::new("alice").unwrap())
            .attribute(&Lifetime(600))
            .integrity(&key);
    });
    for bit in 0..bytes.len() * 8 {
        let mut changed = bytes.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        let accepted = Message::parse(&changed).is_ok_and(|message| message.verify_integrity(&key).is_ok());
        assert!(!accepted, "bit {bit}");
    }
    assert!(Message::parse(&bytes).unwrap().verify_integrity(&key).is_ok());
}

#[test]
fn sealing_attributes_of_a_bad_length_are_refused() {
    for (kind, lengths) in [
        (AttributeType::MESSAGE_INTEGRITY, [0, 16, 24, 32]),
        (AttributeType::FINGERPRINT, [0, 3, 5, 8]),
    ] {
        for len in lengths {
            let mut bytes = build(|_| {});
            append(&mut bytes, kind, &vec![0; len]);
            assert_eq!(Message::parse(&bytes).unwrap_err(), DecodeError::AttributeLength(kind));
        }
    }
}

#[test]
fn fingerprint_is_last_or_the_message_is_refused() {
    let mut bytes = build(|builder| {
        builder.fingerprint();
    });
    assert_eq!(Message::parse(&bytes).unwrap().verify_fingerprint(), Ok(()));
    let good = bytes.clone();
    append(&mut bytes, AttributeType::LIFETIME, &[0; 4]);
    assert_eq!(Message::parse(&bytes).unwrap_err(), DecodeError::FingerprintNotLast);
    let mut changed = good;
    changed[10] ^= 1;
    assert_eq!(
        Message::parse(&changed).unwrap().verify_fingerprint(),
        Err(VerifyError::Mismatch)
    );
    let without = build(|_| {});
    assert_eq!(
        Message::parse(&without).unwrap().verify_fingerprint(),
        Err(VerifyError::Absent)
    );
    assert_eq!(
        Message::parse(&without)
            .unwrap()
            .verify_integrity(&IntegrityKey::new(b"")),
        Err(VerifyError::Absent)
    );
}

#[test]
fn unknown_required_lists_each_type_once_in_order_and_no_optional_one() {
    let bytes = build(|builder| {
        builder
            .raw_attribute(AttributeType(0x7001), b"")
            .attribute(&Lifetime(1))
            .raw_attribute(AttributeType(0x0055), b"x")
            .raw_attribute(AttributeType(0x7001), b"")
            .attribute(&Software::new("s").unwrap())
            .raw_attribute(AttributeType(0x8FFF), b"");
    });
    let unknown = Message::parse(&bytes)
        .unwrap()
        .unknown_required(|kind| kind == AttributeType::LIFETIME);
    assert_eq!(unknown.as_slice(), [AttributeType(0x7001), AttributeType(0x0055)]);
    assert!(!unknown.is_empty());
}

#[test]
fn sixteen_unknown_types_are_listed_and_the_seventeenth_is_not() {
    for count in [MAX_UNKNOWN as u16, MAX_UNKNOWN as u16 + 1] {
        let bytes = build(|builder| {
            for kind in 0..count {
                builder.raw_attribute(AttributeType(0x7000 + kind), &[]);
            }
        });
        let unknown = Message::parse(&bytes).unwrap().unknown_required(|_| false);
        assert_eq!(unknown.as_slice().len(), MAX_UNKNOWN);
    }
}

#[test]
fn every_peer_of_a_create_permission_is_seen() {
    let peers: Vec<XorPeerAddress> = (1..=20)
        .map(|i| XorPeerAddress(std::net::SocketAddr::from(([192, 0, 2, i], u16::from(i)))))
        .collect();
    let bytes = build(|builder| {
        for peer in &peers {
            builder.attribute(peer);
        }
    });
    let found = Message::parse(&bytes)
        .unwrap()
        .find_all::<XorPeerAddress>()
        .collect::<Result<Vec<_>, _>>();
    assert_eq!(found, Ok(peers));
}

#[test]
fn offsets_beyond_16_bits_are_found() {
    let filler = vec![0; 65_500];
    let bytes = build(|builder| {
        builder
            .raw_attribute(AttributeType(0x8FFF), &filler)
            .attribute(&Lifetime(7))
            .fingerprint();
    });
    assert!(bytes.len() > 65_535);
    let message = Message::parse(&bytes).unwrap();
    assert_eq!(message.find(), Ok(Some(Lifetime(7))));
    assert_eq!(message.verify_fingerprint(), Ok(()));
    let mut out = [0; 19];
    let too_small = MessageBuilder::new(&mut out, Method::BINDING, Class::Request, ID).finish();
    assert_eq!(too_small, Err(EncodeError::BufferFull));
}
