//! Oracle: the crates `stun-types` and `turn-types`. Both ends must write the same bytes and read the same values.

use meetpoint::wire::{self, Class, IntegrityKey, IntegrityKind, Method, TransactionId};
use proptest::prelude::*;
use stun_types::attribute as stun;
use stun_types::attribute::{Attribute, AttributeStaticType};
use stun_types::message::{
    IntegrityAlgorithm, LongTermKeyCredentials, Message, MessageClass, MessageIntegrityCredentials, MessageType,
    MessageWrite, MessageWriteExt, MessageWriteVec,
};
use turn_types::attribute as turn;

use crate::any_attribute::{AnyAttribute, any_attributes};

fn their_family(v6: bool) -> turn_types::AddressFamily {
    if v6 {
        turn_types::AddressFamily::IPV6
    } else {
        turn_types::AddressFamily::IPV4
    }
}

fn their_algorithm(sha256: bool) -> stun::PasswordAlgorithmValue {
    if sha256 {
        stun::PasswordAlgorithmValue::SHA256
    } else {
        stun::PasswordAlgorithmValue::MD5
    }
}

/// Appends the attribute as their type writes it.
fn append(attribute: &AnyAttribute, out: &mut MessageWriteVec, id: stun_types::message::TransactionId) {
    use AnyAttribute as A;
    match attribute {
        A::MappedAddress(_) => unreachable!("they have none"),
        A::XorMappedAddress(address) => out.add_attribute(&stun::XorMappedAddress::new(*address, id)),
        A::XorPeerAddress(address) => out.add_attribute(&turn::XorPeerAddress::new(*address, id)),
        A::XorRelayedAddress(address) => out.add_attribute(&turn::XorRelayedAddress::new(*address, id)),
        A::AlternateServer(address) => out.add_attribute(&stun::AlternateServer::new(*address)),
        A::AlternateDomain(name) => out.add_attribute(&stun::AlternateDomain::new(name)),
        A::Username(text) => out.add_attribute(&stun::Username::new(text).unwrap()),
        A::Realm(text) => out.add_attribute(&stun::Realm::new(text).unwrap()),
        A::Nonce(text) => out.add_attribute(&stun::Nonce::new(text).unwrap()),
        A::Software(text) => out.add_attribute(&stun::Software::new(text).unwrap()),
        A::Userhash(hash) => out.add_attribute(&stun::Userhash::new(*hash)),
        A::ErrorCode(code, reason) => out.add_attribute(&stun::ErrorCode::new(*code, reason).unwrap()),
        A::UnknownAttributes(types) => {
            let types: Vec<_> = types.iter().map(|kind| stun::AttributeType::new(*kind)).collect();
            out.add_attribute(&stun::UnknownAttributes::new(&types))
        }
        A::PasswordAlgorithm(sha256) => out.add_attribute(&stun::PasswordAlgorithm::new(their_algorithm(*sha256))),
        A::PasswordAlgorithms => out.add_attribute(&stun::PasswordAlgorithms::new(&[
            their_algorithm(true),
            their_algorithm(false),
        ])),
        A::ChannelNumber(number) => out.add_attribute(&turn::ChannelNumber::new(*number)),
        A::Lifetime(seconds) => out.add_attribute(&turn::Lifetime::new(*seconds)),
        A::Data(data) => out.add_attribute(&turn::Data::new(data)),
        A::RequestedAddressFamily(v6) => out.add_attribute(&turn::RequestedAddressFamily::new(their_family(*v6))),
        A::AdditionalAddressFamily(v6) => out.add_attribute(&turn::AdditionalAddressFamily::new(their_family(*v6))),
        A::EvenPort(reserve) => out.add_attribute(&turn::EvenPort::new(*reserve)),
        A::RequestedTransport(protocol) => out.add_attribute(&turn::RequestedTransport::new(*protocol)),
        A::DontFragment => out.add_attribute(&turn::DontFragment::new()),
        A::ReservationToken(token) => out.add_attribute(&turn::ReservationToken::new(u64::from_be_bytes(*token))),
        A::AddressErrorCode(v6, code) => {
            let reason = wire::ErrorCode::new(*code).unwrap().reason();
            let error = stun::ErrorCode::builder(*code).reason(reason).build().unwrap();
            out.add_attribute(&turn::AddressErrorCode::new(their_family(*v6), error))
        }
        A::ConnectionId(id) => out.add_attribute(&turn::ConnectionId::new(*id)),
    }
    .unwrap();
}

/// What their reader finds of this type in a message.
fn found_in(attribute: &AnyAttribute, m: &Message<'_>) -> AnyAttribute {
    use AnyAttribute as A;
    let id = m.transaction_id();
    match attribute {
        A::MappedAddress(_) => unreachable!("they have none"),
        A::XorMappedAddress(_) => A::XorMappedAddress(m.attribute::<stun::XorMappedAddress>().unwrap().addr(id)),
        A::XorPeerAddress(_) => A::XorPeerAddress(m.attribute::<turn::XorPeerAddress>().unwrap().addr(id)),
        A::XorRelayedAddress(_) => A::XorRelayedAddress(m.attribute::<turn::XorRelayedAddress>().unwrap().addr(id)),
        A::AlternateServer(_) => A::AlternateServer(m.attribute::<stun::AlternateServer>().unwrap().server()),
        A::AlternateDomain(_) => {
            A::AlternateDomain(m.attribute::<stun::AlternateDomain>().unwrap().domain().to_owned())
        }
        A::Username(_) => A::Username(m.attribute::<stun::Username>().unwrap().username().to_owned()),
        A::Realm(_) => A::Realm(m.attribute::<stun::Realm>().unwrap().realm().to_owned()),
        A::Nonce(_) => A::Nonce(m.attribute::<stun::Nonce>().unwrap().nonce().to_owned()),
        A::Software(_) => A::Software(m.attribute::<stun::Software>().unwrap().software().to_owned()),
        A::Userhash(_) => A::Userhash(*m.attribute::<stun::Userhash>().unwrap().hash()),
        A::ErrorCode(..) => {
            let error = m.attribute::<stun::ErrorCode>().unwrap();
            A::ErrorCode(error.code(), error.reason().to_owned())
        }
        // They can only be asked for a type they are told: compared by bytes alone.
        A::UnknownAttributes(types) => {
            let theirs = m.attribute::<stun::UnknownAttributes>().unwrap();
            assert!(
                types
                    .iter()
                    .all(|kind| theirs.has_attribute(stun::AttributeType::new(*kind)))
            );
            attribute.clone()
        }
        A::PasswordAlgorithm(_) => {
            let algorithm = m.attribute::<stun::PasswordAlgorithm>().unwrap().algorithm();
            A::PasswordAlgorithm(algorithm == stun::PasswordAlgorithmValue::SHA256)
        }
        A::PasswordAlgorithms => {
            let list = m.attribute::<stun::PasswordAlgorithms>().unwrap();
            assert_eq!(list.algorithms(), [their_algorithm(true), their_algorithm(false)]);
            A::PasswordAlgorithms
        }
        A::ChannelNumber(_) => A::ChannelNumber(m.attribute::<turn::ChannelNumber>().unwrap().channel()),
        A::Lifetime(_) => A::Lifetime(m.attribute::<turn::Lifetime>().unwrap().seconds()),
        A::Data(_) => A::Data(m.raw_attribute(turn::Data::TYPE).unwrap().value.to_vec()),
        A::RequestedAddressFamily(_) => {
            let family = m.attribute::<turn::RequestedAddressFamily>().unwrap().family();
            A::RequestedAddressFamily(family == turn_types::AddressFamily::IPV6)
        }
        A::AdditionalAddressFamily(_) => {
            let family = m.attribute::<turn::AdditionalAddressFamily>().unwrap().family();
            A::AdditionalAddressFamily(family == turn_types::AddressFamily::IPV6)
        }
        A::EvenPort(_) => A::EvenPort(m.attribute::<turn::EvenPort>().unwrap().requested()),
        A::RequestedTransport(_) => {
            A::RequestedTransport(m.attribute::<turn::RequestedTransport>().unwrap().protocol())
        }
        A::DontFragment => {
            m.attribute::<turn::DontFragment>().unwrap();
            A::DontFragment
        }
        A::ReservationToken(_) => {
            A::ReservationToken(m.attribute::<turn::ReservationToken>().unwrap().token().to_be_bytes())
        }
        A::AddressErrorCode(..) => {
            let error = m.attribute::<turn::AddressErrorCode>().unwrap();
            A::AddressErrorCode(error.family() == turn_types::AddressFamily::IPV6, error.error().code())
        }
        A::ConnectionId(_) => A::ConnectionId(m.attribute::<turn::ConnectionId>().unwrap().id()),
    }
}

fn their_id(id: [u8; 12]) -> stun_types::message::TransactionId {
    id.into_iter()
        .fold(0_u128, |bits, byte| bits << 8 | u128::from(byte))
        .into()
}

fn classes() -> impl Strategy<Value = (Class, MessageClass)> {
    prop_oneof![
        Just((Class::Request, MessageClass::Request)),
        Just((Class::Indication, MessageClass::Indication)),
        Just((Class::Success, MessageClass::Success)),
        Just((Class::Error, MessageClass::Error)),
    ]
}

proptest! {
    #[test]
    fn both_write_the_same_bytes_and_read_the_same_values(
        attributes in any_attributes(),
        id in any::<[u8; 12]>(),
        method in 0..=0x0FFF_u16,
        (class, their_class) in classes(),
        seal in prop::option::of(any::<bool>()),
        fingerprint in any::<bool>(),
    ) {
        // They have no MAPPED-ADDRESS; the other oracle covers it.
        let attributes: Vec<_> =
            attributes.into_iter().filter(|one| !matches!(one, AnyAttribute::MappedAddress(_))).collect();
        let credentials = MessageIntegrityCredentials::LongTerm(LongTermKeyCredentials::new(
            "user".to_owned(), "password".to_owned(), "realm".to_owned(),
        ));

        let mut buffer = vec![0xFF; 8192];
        let mut builder =
            wire::MessageBuilder::new(&mut buffer, Method::new(method).unwrap(), class, TransactionId(id));
        let message_type =
            MessageType::from_class_method(their_class, stun_types::message::Method::new(method));
        let mut theirs = Message::builder(message_type, their_id(id), MessageWriteVec::new());
        for attribute in &attributes {
            attribute.append_to(&mut builder);
            append(attribute, &mut theirs, their_id(id));
        }
        let key = match seal {
            Some(false) => IntegrityKey::long_term_md5("user", "realm", "password"),
            _ => IntegrityKey::long_term_sha256("user", "realm", "password"),
        };
        match seal {
            Some(true) => {
                builder.integrity_sha256(&key);
                theirs.add_message_integrity(&credentials, IntegrityAlgorithm::Sha256).unwrap();
            }
            Some(false) => {
                builder.integrity(&key);
                theirs.add_message_integrity(&credentials, IntegrityAlgorithm::Sha1).unwrap();
            }
            None => {}
        }
        if fingerprint {
            builder.fingerprint();
            theirs.add_fingerprint().unwrap();
        }
        let len = builder.finish().unwrap();
        let theirs = theirs.finish();
        prop_assert_eq!(&buffer[..len], &theirs[..]);

        let read_by_us = wire::Message::parse(&theirs).unwrap();
        let read_by_them = Message::from_bytes(&buffer[..len]).unwrap();
        for attribute in &attributes {
            prop_assert_eq!(&attribute.found_in(&read_by_us), attribute);
            prop_assert_eq!(&found_in(attribute, &read_by_them), attribute);
        }
        if let Some(sha256) = seal {
            let (kind, their_kind) = if sha256 {
                (IntegrityKind::Sha256, IntegrityAlgorithm::Sha256)
            } else {
                (IntegrityKind::Sha1, IntegrityAlgorithm::Sha1)
            };
            prop_assert_eq!(read_by_us.verify_integrity(&key), Ok(kind));
            prop_assert_eq!(read_by_them.validate_integrity(&credentials).unwrap(), their_kind);
        }
        prop_assert_eq!(read_by_us.verify_fingerprint().is_ok(), fingerprint);
    }

    #[test]
    fn what_both_accept_of_a_damaged_message_both_read_alike(
        attributes in any_attributes(),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
    ) {
        let mut buffer = vec![0; 8192];
        let mut builder =
            wire::MessageBuilder::new(&mut buffer, Method::ALLOCATE, Class::Request, TransactionId([5; 12]));
        for attribute in &attributes {
            attribute.append_to(&mut builder);
        }
        let len = builder.integrity(&IntegrityKey::short_term("p")).finish().unwrap();
        let bytes = &mut buffer[..len];
        for (at, to) in damage {
            bytes[at.index(len)] = to;
        }
        if let (Ok(ours), Ok(theirs)) = (wire::Message::parse(bytes), Message::from_bytes(bytes)) {
            prop_assert_eq!(ours.method().value(), theirs.method().value());
            prop_assert_eq!(their_id(ours.transaction_id().0), theirs.transaction_id());
            // They also list what is after the integrity attributes, and these themselves.
            for (ours, (_, theirs)) in ours.attributes().zip(theirs.iter_attributes()) {
                prop_assert_eq!(ours.kind.0, theirs.get_type().value());
                prop_assert_eq!(ours.value, &*theirs.value);
            }
        }
    }

    #[test]
    fn both_read_channel_data_alike(
        number in 0x4000..=0x4FFF_u16,
        data in proptest::collection::vec(any::<u8>(), 0..100),
        padding in 0..=3_usize,
    ) {
        let mut bytes = wire::ChannelData::header(
            wire::ChannelNumber::new(number).unwrap(), u16::try_from(data.len()).unwrap(),
        ).to_vec();
        bytes.extend_from_slice(&data);
        bytes.resize(bytes.len() + padding, 0);
        let ours = wire::ChannelData::parse(&bytes).unwrap();
        let theirs = turn_types::channel::ChannelData::parse(&bytes).unwrap();
        prop_assert_eq!(ours.number.value(), theirs.id());
        prop_assert_eq!(ours.data, theirs.data());
    }
}
