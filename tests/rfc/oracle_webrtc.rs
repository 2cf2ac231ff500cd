//! Oracle: the crates `stun` and `turn` of webrtc-rs, for the attributes of the older RFCs they know.

use std::time::Duration;

use meetpoint::wire::{self, Class, IntegrityKey, IntegrityKind, Method, TransactionId};
use proptest::prelude::*;
use stun::attributes as types;
use stun::message::{Getter, Message, Setter};
use turn::proto;

use crate::any_attribute::{AnyAttribute, any_attributes, family};

/// Their setter for an attribute, if they have one.
fn setter(attribute: &AnyAttribute) -> Option<Box<dyn Setter>> {
    use AnyAttribute as A;
    let text = |kind, text: &String| Box::new(stun::textattrs::TextAttribute::new(kind, text.clone()));
    Some(match attribute {
        A::MappedAddress(at) => Box::new(stun::addr::MappedAddress {
            ip: at.ip(),
            port: at.port(),
        }),
        A::XorMappedAddress(at) => Box::new(stun::xoraddr::XorMappedAddress {
            ip: at.ip(),
            port: at.port(),
        }),
        A::XorPeerAddress(at) => Box::new(proto::peeraddr::PeerAddress {
            ip: at.ip(),
            port: at.port(),
        }),
        A::XorRelayedAddress(at) => Box::new(proto::relayaddr::RelayedAddress {
            ip: at.ip(),
            port: at.port(),
        }),
        A::Username(name) => text(types::ATTR_USERNAME, name),
        A::Realm(realm) => text(types::ATTR_REALM, realm),
        A::Nonce(nonce) => text(types::ATTR_NONCE, nonce),
        A::Software(software) => text(types::ATTR_SOFTWARE, software),
        A::ErrorCode(code, reason) => Box::new(stun::error_code::ErrorCodeAttribute {
            code: stun::error_code::ErrorCode(*code),
            reason: reason.clone().into_bytes(),
        }),
        A::UnknownAttributes(kinds) => Box::new(stun::uattrs::UnknownAttributes(
            kinds.iter().copied().map(types::AttrType).collect(),
        )),
        A::ChannelNumber(number) => Box::new(proto::channum::ChannelNumber(*number)),
        A::Lifetime(seconds) => Box::new(proto::lifetime::Lifetime(Duration::from_secs(u64::from(*seconds)))),
        A::Data(data) => Box::new(proto::data::Data(data.clone())),
        A::RequestedAddressFamily(v6) => Box::new(proto::reqfamily::RequestedAddressFamily(family(*v6))),
        A::RequestedTransport(protocol) => Box::new(proto::reqtrans::RequestedTransport {
            protocol: proto::Protocol(*protocol),
        }),
        A::DontFragment => Box::new(proto::dontfrag::DontFragmentAttr),
        A::ReservationToken(token) => Box::new(proto::rsrvtoken::ReservationToken(token.to_vec())),
        _ => return None,
    })
}

/// What their reader finds of this type in a message.
fn found_in(attribute: &AnyAttribute, m: &Message) -> AnyAttribute {
    use AnyAttribute as A;
    fn found<G: Getter + Default>(m: &Message) -> G {
        let mut value = G::default();
        value.get_from(m).expect("is there");
        value
    }
    let text = |kind| stun::textattrs::TextAttribute::get_from_as(m, kind).unwrap().text;
    match attribute {
        A::MappedAddress(_) => {
            let found: stun::addr::MappedAddress = found(m);
            A::MappedAddress((found.ip, found.port).into())
        }
        A::XorMappedAddress(_) => {
            let found: stun::xoraddr::XorMappedAddress = found(m);
            A::XorMappedAddress((found.ip, found.port).into())
        }
        A::XorPeerAddress(_) => {
            let found: proto::peeraddr::PeerAddress = found(m);
            A::XorPeerAddress((found.ip, found.port).into())
        }
        A::XorRelayedAddress(_) => {
            let found: proto::relayaddr::RelayedAddress = found(m);
            A::XorRelayedAddress((found.ip, found.port).into())
        }
        A::Username(_) => A::Username(text(types::ATTR_USERNAME)),
        A::Realm(_) => A::Realm(text(types::ATTR_REALM)),
        A::Nonce(_) => A::Nonce(text(types::ATTR_NONCE)),
        A::Software(_) => A::Software(text(types::ATTR_SOFTWARE)),
        A::ErrorCode(..) => {
            let found: stun::error_code::ErrorCodeAttribute = found(m);
            A::ErrorCode(found.code.0, String::from_utf8(found.reason).unwrap())
        }
        A::UnknownAttributes(_) => {
            let mut found = stun::uattrs::UnknownAttributes(Vec::new());
            found.get_from(m).unwrap();
            A::UnknownAttributes(found.0.iter().map(|kind| kind.0).collect())
        }
        A::ChannelNumber(_) => A::ChannelNumber(found::<proto::channum::ChannelNumber>(m).0),
        A::Lifetime(_) => {
            let seconds = found::<proto::lifetime::Lifetime>(m).0.as_secs();
            A::Lifetime(u32::try_from(seconds).unwrap())
        }
        A::Data(_) => A::Data(found::<proto::data::Data>(m).0),
        A::RequestedAddressFamily(_) => {
            A::RequestedAddressFamily(found::<proto::reqfamily::RequestedAddressFamily>(m).0 == 2)
        }
        A::RequestedTransport(_) => A::RequestedTransport(found::<proto::reqtrans::RequestedTransport>(m).protocol.0),
        A::DontFragment => {
            assert!(m.contains(types::ATTR_DONT_FRAGMENT));
            A::DontFragment
        }
        A::ReservationToken(_) => {
            A::ReservationToken(found::<proto::rsrvtoken::ReservationToken>(m).0.try_into().unwrap())
        }
        other => unreachable!("no setter for {other:?}"),
    }
}

proptest! {
    #[test]
    fn both_write_the_same_bytes_and_read_the_same_values(
        attributes in any_attributes(),
        id in any::<[u8; 12]>(),
        seal in any::<bool>(),
        fingerprint in any::<bool>(),
    ) {
        let mut buffer = vec![0xFF; 8192];
        let mut builder = wire::MessageBuilder::new(&mut buffer, Method::ALLOCATE, Class::Request, TransactionId(id));
        let mut setters: Vec<Box<dyn Setter>> =
            vec![Box::new(stun::agent::TransactionId(id)), Box::new(proto::allocate_request())];
        let mut shared = Vec::new();
        for attribute in attributes {
            if let Some(setter) = setter(&attribute) {
                attribute.append_to(&mut builder);
                setters.push(setter);
                shared.push(attribute);
            }
        }
        let key = IntegrityKey::long_term_md5("user", "realm", "password");
        let their_key = stun::integrity::MessageIntegrity::new_long_term_integrity(
            "user".to_owned(), "realm".to_owned(), "password".to_owned(),
        );
        if seal {
            builder.integrity(&key);
            setters.push(Box::new(their_key.clone()));
        }
        if fingerprint {
            builder.fingerprint();
            setters.push(Box::new(stun::fingerprint::FINGERPRINT));
        }
        let len = builder.finish().unwrap();
        let mut theirs = Message::new();
        theirs.build(&setters).unwrap();
        prop_assert_eq!(&buffer[..len], &theirs.raw[..]);

        let read_by_us = wire::Message::parse(&theirs.raw).unwrap();
        let mut read_by_them = Message::new();
        read_by_them.unmarshal_binary(&buffer[..len]).unwrap();
        for attribute in &shared {
            prop_assert_eq!(&attribute.found_in(&read_by_us), attribute);
            prop_assert_eq!(&found_in(attribute, &read_by_them), attribute);
        }
        if seal {
            prop_assert_eq!(read_by_us.verify_integrity(&key), Ok(IntegrityKind::Sha1));
            prop_assert!(their_key.check(&mut read_by_them).is_ok());
        }
        if fingerprint {
            prop_assert_eq!(read_by_us.verify_fingerprint(), Ok(()));
            prop_assert!(stun::fingerprint::FINGERPRINT.check(&read_by_them).is_ok());
        }
    }
}
