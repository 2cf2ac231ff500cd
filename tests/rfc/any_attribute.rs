//! Any attribute with any value, for the tests that compare us with others.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use meetpoint::wire::attribute as ours;
use meetpoint::wire::{Attribute, AttributeType, ChannelNumber, ErrorCode, Message, MessageBuilder, UnknownTypes};
use proptest::prelude::*;

/// A value for each attribute that somebody else also knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AnyAttribute {
    MappedAddress(SocketAddr),
    XorMappedAddress(SocketAddr),
    XorPeerAddress(SocketAddr),
    XorRelayedAddress(SocketAddr),
    AlternateServer(SocketAddr),
    AlternateDomain(String),
    Username(String),
    Realm(String),
    Nonce(String),
    Software(String),
    Userhash([u8; 32]),
    ErrorCode(u16, String),
    UnknownAttributes(Vec<u16>),
    PasswordAlgorithm(bool),
    PasswordAlgorithms,
    ChannelNumber(u16),
    Lifetime(u32),
    Data(Vec<u8>),
    RequestedAddressFamily(bool),
    AdditionalAddressFamily(bool),
    EvenPort(bool),
    RequestedTransport(u8),
    DontFragment,
    ReservationToken([u8; 8]),
    AddressErrorCode(bool, u16),
    ConnectionId(u32),
}

/// 1 for IPv4, 2 for IPv6.
pub(crate) fn family(v6: bool) -> u8 {
    1 + u8::from(v6)
}

impl AnyAttribute {
    /// Its type.
    pub(crate) fn kind(&self) -> AttributeType {
        match self {
            Self::MappedAddress(_) => AttributeType::MAPPED_ADDRESS,
            Self::XorMappedAddress(_) => AttributeType::XOR_MAPPED_ADDRESS,
            Self::XorPeerAddress(_) => AttributeType::XOR_PEER_ADDRESS,
            Self::XorRelayedAddress(_) => AttributeType::XOR_RELAYED_ADDRESS,
            Self::AlternateServer(_) => AttributeType::ALTERNATE_SERVER,
            Self::AlternateDomain(_) => AttributeType::ALTERNATE_DOMAIN,
            Self::Username(_) => AttributeType::USERNAME,
            Self::Realm(_) => AttributeType::REALM,
            Self::Nonce(_) => AttributeType::NONCE,
            Self::Software(_) => AttributeType::SOFTWARE,
            Self::Userhash(_) => AttributeType::USERHASH,
            Self::ErrorCode(..) => AttributeType::ERROR_CODE,
            Self::UnknownAttributes(_) => AttributeType::UNKNOWN_ATTRIBUTES,
            Self::PasswordAlgorithm(_) => AttributeType::PASSWORD_ALGORITHM,
            Self::PasswordAlgorithms => AttributeType::PASSWORD_ALGORITHMS,
            Self::ChannelNumber(_) => AttributeType::CHANNEL_NUMBER,
            Self::Lifetime(_) => AttributeType::LIFETIME,
            Self::Data(_) => AttributeType::DATA,
            Self::RequestedAddressFamily(_) => AttributeType::REQUESTED_ADDRESS_FAMILY,
            Self::AdditionalAddressFamily(_) => AttributeType::ADDITIONAL_ADDRESS_FAMILY,
            Self::EvenPort(_) => AttributeType::EVEN_PORT,
            Self::RequestedTransport(_) => AttributeType::REQUESTED_TRANSPORT,
            Self::DontFragment => AttributeType::DONT_FRAGMENT,
            Self::ReservationToken(_) => AttributeType::RESERVATION_TOKEN,
            Self::AddressErrorCode(..) => AttributeType::ADDRESS_ERROR_CODE,
            Self::ConnectionId(_) => AttributeType::CONNECTION_ID,
        }
    }

    /// Appends the attribute as our type writes it.
    pub(crate) fn append_to(&self, builder: &mut MessageBuilder<'_>) {
        match self {
            Self::MappedAddress(address) => builder.attribute(&ours::MappedAddress(*address)),
            Self::XorMappedAddress(address) => builder.attribute(&ours::XorMappedAddress(*address)),
            Self::XorPeerAddress(address) => builder.attribute(&ours::XorPeerAddress(*address)),
            Self::XorRelayedAddress(address) => builder.attribute(&ours::XorRelayedAddress(*address)),
            Self::AlternateServer(address) => builder.attribute(&ours::AlternateServer(*address)),
            Self::AlternateDomain(name) => builder.attribute(&ours::AlternateDomain(name.as_bytes())),
            Self::Username(text) => builder.attribute(&ours::Username::new(text).unwrap()),
            Self::Realm(text) => builder.attribute(&ours::Realm::new(text).unwrap()),
            Self::Nonce(text) => builder.attribute(&ours::Nonce::new(text).unwrap()),
            Self::Software(text) => builder.attribute(&ours::Software::new(text).unwrap()),
            Self::Userhash(hash) => builder.attribute(&ours::Userhash(*hash)),
            Self::ErrorCode(code, reason) => {
                let code = ErrorCode::new(*code).unwrap();
                builder.attribute(&ours::ErrorCodeAttribute::new(code, reason).unwrap())
            }
            Self::UnknownAttributes(types) => {
                let types: UnknownTypes = types.iter().copied().map(AttributeType).collect();
                builder.attribute(&ours::UnknownAttributes(types))
            }
            Self::PasswordAlgorithm(sha256) => builder.attribute(&if *sha256 {
                ours::PasswordAlgorithm::Sha256
            } else {
                ours::PasswordAlgorithm::Md5
            }),
            Self::PasswordAlgorithms => builder.attribute(&ours::PasswordAlgorithms::SHA256_THEN_MD5),
            Self::ChannelNumber(number) => builder.attribute(&ChannelNumber::new(*number).unwrap()),
            Self::Lifetime(seconds) => builder.attribute(&ours::Lifetime(*seconds)),
            Self::Data(data) => builder.attribute(&ours::Data(data)),
            Self::RequestedAddressFamily(v6) => builder.attribute(&ours::RequestedAddressFamily(family(*v6))),
            Self::AdditionalAddressFamily(v6) => builder.attribute(&ours::AdditionalAddressFamily(family(*v6))),
            Self::EvenPort(reserve_next) => builder.attribute(&ours::EvenPort {
                reserve_next: *reserve_next,
            }),
            Self::RequestedTransport(protocol) => builder.attribute(&ours::RequestedTransport(*protocol)),
            Self::DontFragment => builder.attribute(&ours::DontFragment),
            Self::ReservationToken(token) => builder.attribute(&ours::ReservationToken(*token)),
            Self::AddressErrorCode(v6, code) => {
                let family = ours::AddressFamily::new(family(*v6)).unwrap();
                builder.attribute(&ours::AddressErrorCode::new(family, ErrorCode::new(*code).unwrap()))
            }
            Self::ConnectionId(id) => builder.attribute(&ours::ConnectionId(*id)),
        };
    }

    /// What our reader finds of this type in a message.
    pub(crate) fn found_in(&self, message: &Message<'_>) -> Self {
        fn found<'m, A: Attribute<'m>>(message: &Message<'m>) -> A {
            message.find().expect("decodes").expect("is there")
        }
        let m = message;
        match self {
            Self::MappedAddress(_) => Self::MappedAddress(found::<ours::MappedAddress>(m).0),
            Self::XorMappedAddress(_) => Self::XorMappedAddress(found::<ours::XorMappedAddress>(m).0),
            Self::XorPeerAddress(_) => Self::XorPeerAddress(found::<ours::XorPeerAddress>(m).0),
            Self::XorRelayedAddress(_) => Self::XorRelayedAddress(found::<ours::XorRelayedAddress>(m).0),
            Self::AlternateServer(_) => Self::AlternateServer(found::<ours::AlternateServer>(m).0),
            Self::AlternateDomain(_) => {
                let name = found::<ours::AlternateDomain<'_>>(m).0;
                Self::AlternateDomain(String::from_utf8(name.to_vec()).unwrap())
            }
            Self::Username(_) => Self::Username(found::<ours::Username<'_>>(m).as_str().to_owned()),
            Self::Realm(_) => Self::Realm(found::<ours::Realm<'_>>(m).as_str().to_owned()),
            Self::Nonce(_) => Self::Nonce(found::<ours::Nonce<'_>>(m).as_str().to_owned()),
            Self::Software(_) => Self::Software(found::<ours::Software<'_>>(m).as_str().to_owned()),
            Self::Userhash(_) => Self::Userhash(found::<ours::Userhash>(m).0),
            Self::ErrorCode(..) => {
                let error = found::<ours::ErrorCodeAttribute<'_>>(m);
                Self::ErrorCode(error.code().value(), error.reason().to_owned())
            }
            Self::UnknownAttributes(_) => {
                let types = found::<ours::UnknownAttributes>(m).0;
                Self::UnknownAttributes(types.as_slice().iter().map(|kind| kind.0).collect())
            }
            Self::PasswordAlgorithm(_) => {
                Self::PasswordAlgorithm(found::<ours::PasswordAlgorithm>(m) == ours::PasswordAlgorithm::Sha256)
            }
            Self::PasswordAlgorithms => {
                assert_eq!(
                    found::<ours::PasswordAlgorithms<'_>>(m),
                    ours::PasswordAlgorithms::SHA256_THEN_MD5
                );
                Self::PasswordAlgorithms
            }
            Self::ChannelNumber(_) => Self::ChannelNumber(found::<ChannelNumber>(m).value()),
            Self::Lifetime(_) => Self::Lifetime(found::<ours::Lifetime>(m).0),
            Self::Data(_) => Self::Data(found::<ours::Data<'_>>(m).0.to_vec()),
            Self::RequestedAddressFamily(_) => {
                Self::RequestedAddressFamily(found::<ours::RequestedAddressFamily>(m).0 == 2)
            }
            Self::AdditionalAddressFamily(_) => {
                Self::AdditionalAddressFamily(found::<ours::AdditionalAddressFamily>(m).0 == 2)
            }
            Self::EvenPort(_) => Self::EvenPort(found::<ours::EvenPort>(m).reserve_next),
            Self::RequestedTransport(_) => Self::RequestedTransport(found::<ours::RequestedTransport>(m).0),
            Self::DontFragment => {
                let ours::DontFragment = found(m);
                Self::DontFragment
            }
            Self::ReservationToken(_) => Self::ReservationToken(found::<ours::ReservationToken>(m).0),
            Self::AddressErrorCode(..) => {
                let error = found::<ours::AddressErrorCode<'_>>(m);
                Self::AddressErrorCode(error.family() == ours::AddressFamily::Ipv6, error.code().value())
            }
            Self::ConnectionId(_) => Self::ConnectionId(found::<ours::ConnectionId>(m).0),
        }
    }
}

fn address() -> impl Strategy<Value = SocketAddr> {
    let ip = prop_oneof![
        any::<u32>().prop_map(|bits| IpAddr::V4(Ipv4Addr::from(bits))),
        any::<u128>().prop_map(|bits| IpAddr::V6(Ipv6Addr::from(bits))),
    ];
    (ip, any::<u16>()).prop_map(|(ip, port)| SocketAddr::new(ip, port))
}

/// Text of 1 to `max` characters, any of Unicode.
fn text(max: usize) -> impl Strategy<Value = String> {
    proptest::collection::vec(any::<char>(), 1..=max).prop_map(|characters| characters.into_iter().collect())
}

/// Any attribute with any value its definition allows.
pub(crate) fn any_attribute() -> impl Strategy<Value = AnyAttribute> {
    use AnyAttribute as A;
    let addresses = prop_oneof![
        address().prop_map(A::MappedAddress),
        address().prop_map(A::XorMappedAddress),
        address().prop_map(A::XorPeerAddress),
        address().prop_map(A::XorRelayedAddress),
        address().prop_map(A::AlternateServer),
    ];
    let texts = prop_oneof![
        text(60).prop_map(A::AlternateDomain),
        text(127).prop_map(A::Username),
        text(127).prop_map(A::Realm),
        text(127).prop_map(A::Nonce),
        text(127).prop_map(A::Software),
        (300..=699_u16, text(127)).prop_map(|(code, reason)| A::ErrorCode(code, reason)),
    ];
    let small = prop_oneof![
        any::<[u8; 32]>().prop_map(A::Userhash),
        proptest::collection::hash_set(any::<u16>(), 1..=16)
            .prop_map(|types| A::UnknownAttributes(types.into_iter().collect())),
        any::<bool>().prop_map(A::PasswordAlgorithm),
        Just(A::PasswordAlgorithms),
        (0x4000..=0x4FFF_u16).prop_map(A::ChannelNumber),
        any::<u32>().prop_map(A::Lifetime),
        proptest::collection::vec(any::<u8>(), 0..300).prop_map(A::Data),
        any::<bool>().prop_map(A::RequestedAddressFamily),
        // RFC 8656 §7.2 allows no other family there.
        Just(A::AdditionalAddressFamily(true)),
    ];
    let flags = prop_oneof![
        any::<bool>().prop_map(A::EvenPort),
        any::<u8>().prop_map(A::RequestedTransport),
        Just(A::DontFragment),
        any::<[u8; 8]>().prop_map(A::ReservationToken),
        (any::<bool>(), prop_oneof![Just(440_u16), Just(508)]).prop_map(|(v6, code)| A::AddressErrorCode(v6, code)),
        any::<u32>().prop_map(A::ConnectionId),
    ];
    prop_oneof![addresses, texts, small, flags]
}

/// Up to ten attributes, each type at most once.
pub(crate) fn any_attributes() -> impl Strategy<Value = Vec<AnyAttribute>> {
    proptest::collection::vec(any_attribute(), 0..10).prop_map(|attributes| {
        let mut seen = std::collections::HashSet::new();
        attributes
            .into_iter()
            .filter(|attribute| seen.insert(attribute.kind()))
            .collect()
    })
}
