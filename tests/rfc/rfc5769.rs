//! RFC 5769: test vectors for STUN, read and written.

use meetpoint::wire::attribute::{Nonce, Realm, Software, Username, XorMappedAddress};
use meetpoint::wire::{
    AttributeType, Class, IntegrityKey, IntegrityKind, Message, MessageBuilder, Method, VerifyError,
};

use crate::vector::vector;

const PASSWORD: &str = "VOkJxbRl1RmTxUk/WvJxBt";

/// `bytes` again, from its own attributes: equal but for what the sender chose, padding that is not zero, and what
/// covers it.
fn assert_rebuilds_up_to_padding(bytes: &[u8], key: &IntegrityKey) {
    let original = Message::parse(bytes).unwrap();
    let mut buffer = [0xFF; 256];
    let mut builder = MessageBuilder::new(
        &mut buffer,
        original.method(),
        original.class(),
        original.transaction_id(),
    );
    for attribute in original.attributes() {
        builder.raw_attribute(attribute.kind, attribute.value);
    }
    let len = builder.integrity(key).fingerprint().finish().unwrap();
    let rebuilt = Message::parse(&buffer[..len]).unwrap();
    assert_eq!(len, bytes.len());
    assert_eq!(
        rebuilt.attributes().collect::<Vec<_>>(),
        original.attributes().collect::<Vec<_>>()
    );
    assert_eq!(rebuilt.verify_integrity(key), Ok(IntegrityKind::Sha1));
    assert_eq!(rebuilt.verify_fingerprint(), Ok(()));
}

#[test]
fn section_2_1_the_sample_request_verifies_and_rebuilds() {
    let bytes = vector!("rfc5769_2_1_request");
    let message = Message::parse(&bytes).unwrap();
    let key = IntegrityKey::short_term(PASSWORD);
    assert_eq!((message.method(), message.class()), (Method::BINDING, Class::Request));
    assert_eq!(message.find(), Ok(Software::new("STUN test client")));
    assert_eq!(message.find(), Ok(Username::new("evtj:h6vY")));
    assert_eq!(
        message.value(AttributeType::PRIORITY),
        Some(&[0x6e, 0x00, 0x01, 0xff][..])
    );
    assert_eq!(message.value(AttributeType::ICE_CONTROLLED).map(<[u8]>::len), Some(8));
    assert_eq!(message.verify_integrity(&key), Ok(IntegrityKind::Sha1));
    assert_eq!(message.verify_fingerprint(), Ok(()));
    assert_eq!(
        message.verify_integrity(&IntegrityKey::short_term("other")),
        Err(VerifyError::Mismatch)
    );
    assert_rebuilds_up_to_padding(&bytes, &key);
}

#[test]
fn section_2_2_the_sample_ipv4_response_verifies_and_rebuilds() {
    let bytes = vector!("rfc5769_2_2_ipv4_response");
    let message = Message::parse(&bytes).unwrap();
    let key = IntegrityKey::short_term(PASSWORD);
    assert_eq!((message.method(), message.class()), (Method::BINDING, Class::Success));
    assert_eq!(message.find(), Ok(Software::new("test vector")));
    assert_eq!(
        message.find(),
        Ok(Some(XorMappedAddress("192.0.2.1:32853".parse().unwrap())))
    );
    assert_eq!(message.verify_integrity(&key), Ok(IntegrityKind::Sha1));
    assert_eq!(message.verify_fingerprint(), Ok(()));
    assert_rebuilds_up_to_padding(&bytes, &key);
}

#[test]
fn section_2_3_the_sample_ipv6_response_verifies_and_rebuilds() {
    let bytes = vector!("rfc5769_2_3_ipv6_response");
    let message = Message::parse(&bytes).unwrap();
    let key = IntegrityKey::short_term(PASSWORD);
    assert_eq!((message.method(), message.class()), (Method::BINDING, Class::Success));
    let mapped = "[2001:db8:1234:5678:11:2233:4455:6677]:32853".parse().unwrap();
    assert_eq!(message.find(), Ok(Some(XorMappedAddress(mapped))));
    assert_eq!(message.verify_integrity(&key), Ok(IntegrityKind::Sha1));
    assert_eq!(message.verify_fingerprint(), Ok(()));
    assert_rebuilds_up_to_padding(&bytes, &key);
}

#[test]
fn section_2_4_the_long_term_request_verifies_and_is_written_byte_for_byte() {
    let bytes = vector!("rfc5769_2_4_long_term_request");
    let message = Message::parse(&bytes).unwrap();
    let username = Username::new("\u{30DE}\u{30C8}\u{30EA}\u{30C3}\u{30AF}\u{30B9}").unwrap();
    let nonce = Nonce::new("f//499k954d6OL34oL9FSTvy64sA").unwrap();
    let realm = Realm::new("example.org").unwrap();
    // The password of the RFC is "The<U+00AD>M<U+00AA>tr<U+2168>"; this is what SASLprep makes of it.
    let key = IntegrityKey::long_term_md5(username.as_str(), realm.as_str(), "TheMatrIX");
    assert_eq!(message.find(), Ok(Some(username)));
    assert_eq!(message.find(), Ok(Some(nonce)));
    assert_eq!(message.find(), Ok(Some(realm)));
    assert_eq!(message.verify_integrity(&key), Ok(IntegrityKind::Sha1));
    assert_eq!(message.verify_fingerprint(), Err(VerifyError::Absent));

    let mut buffer = [0xFF; 256];
    let len = MessageBuilder::new(&mut buffer, Method::BINDING, Class::Request, message.transaction_id())
        .attribute(&username)
        .attribute(&nonce)
        .attribute(&realm)
        .integrity(&key)
        .finish()
        .unwrap();
    assert_eq!(buffer[..len], bytes);
}
