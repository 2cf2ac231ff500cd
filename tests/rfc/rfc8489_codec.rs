//! RFC 8489 §5, §6.3 and §14: what holds for every message.

use meetpoint::wire::stream::FrameReader;
use meetpoint::wire::{
    AttributeType, ChannelData, Class, HEADER_LEN, IntegrityKey, Message, MessageBuilder, Method, TransactionId, demux,
    padding,
};
use proptest::prelude::*;

use crate::any_attribute::{AnyAttribute, any_attributes};

fn build(attributes: &[AnyAttribute], id: TransactionId, finish: impl FnOnce(&mut MessageBuilder<'_>)) -> Vec<u8> {
    let mut buffer = vec![0xFF; 8192];
    let mut builder = MessageBuilder::new(&mut buffer, Method::ALLOCATE, Class::Request, id);
    for attribute in attributes {
        attribute.append_to(&mut builder);
    }
    finish(&mut builder);
    let len = builder.finish().unwrap();
    buffer.truncate(len);
    buffer
}

proptest! {
    #[test]
    fn what_was_built_is_what_is_parsed(attributes in any_attributes(), id in any::<[u8; 12]>()) {
        let key = IntegrityKey::long_term_sha256("user", "realm", "password");
        let bytes = build(&attributes, TransactionId(id), |builder| {
            builder.integrity(&key).integrity_sha256(&key).fingerprint();
        });
        let message = Message::parse(&bytes).unwrap();
        prop_assert_eq!(message.transaction_id(), TransactionId(id));
        prop_assert_eq!(message.attributes().count(), attributes.len());
        prop_assert!(message.verify_integrity(&key).is_ok());
        prop_assert!(message.verify_fingerprint().is_ok());
        for attribute in &attributes {
            prop_assert_eq!(&attribute.found_in(&message), attribute);
        }
    }

    #[test]
    fn an_attribute_is_found_wherever_it_stands(attributes in any_attributes()) {
        let bytes = build(&attributes, TransactionId([0; 12]), |_| {});
        let message = Message::parse(&bytes).unwrap();
        let mut offset = HEADER_LEN;
        for (attribute, raw) in attributes.iter().zip(message.attributes()) {
            prop_assert_eq!(attribute.kind(), raw.kind);
            let range = offset + 4..offset + 4 + raw.value.len();
            prop_assert_eq!(message.value_range(raw.kind), Some(range.clone()));
            prop_assert_eq!(&bytes[range], raw.value);
            offset += 4 + raw.value.len() + padding(raw.value.len());
        }
        prop_assert_eq!(offset, bytes.len());
    }

    #[test]
    fn no_bytes_make_any_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = demux(&bytes);
        let _ = ChannelData::parse(&bytes);
        let _ = Message::parse(&bytes);
        let mut reader = FrameReader::new(vec![0; 64].into());
        let space = reader.space();
        let len = bytes.len().min(space.len());
        space[..len].copy_from_slice(&bytes[..len]);
        reader.filled(len);
        while let Ok(Some(_)) = reader.next_frame() {}
    }

    #[test]
    fn no_damage_to_a_good_message_makes_a_reader_panic(
        attributes in any_attributes(),
        at in any::<prop::sample::Index>(),
        to in any::<u8>(),
    ) {
        let key = IntegrityKey::short_term("p");
        let mut bytes = build(&attributes, TransactionId([1; 12]), |builder| {
            builder.integrity(&key).fingerprint();
        });
        let at = at.index(bytes.len());
        bytes[at] = to;
        if let Ok(message) = Message::parse(&bytes) {
            let _ = message.verify_integrity(&key);
            let _ = message.verify_fingerprint();
            prop_assert!(message.unknown_required(|_| false).as_slice().iter().all(|kind| kind.is_comprehension_required()));
        }
    }
}

#[test]
fn the_classic_form_without_a_cookie_is_refused_by_a_name_of_its_own() {
    // A Binding request of RFC 3489: 128 bits of transaction id where the cookie is today.
    let classic = [0, 1, 0, 0, 9, 9, 9, 9, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
    assert_eq!(
        Message::parse(&classic).unwrap_err(),
        meetpoint::wire::DecodeError::MissingCookie
    );
}

#[test]
fn the_border_between_required_and_optional_attributes_is_0x8000() {
    assert!(AttributeType(0x7FFF).is_comprehension_required());
    assert!(!AttributeType(0x8000).is_comprehension_required());
}
