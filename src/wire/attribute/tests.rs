use super::super::{Class, ErrorCode, Message, MessageBuilder, Method, UnknownTypes};
use super::*;

const ID: TransactionId = TransactionId([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);

fn value_of<'a, A: Attribute<'a>>(attribute: &A) -> Vec<u8> {
    let mut value = vec![0xFF; attribute.encoded_len()];
    attribute.encode(&ID, &mut value);
    value
}

fn length_error<T>(kind: AttributeType) -> Result<T, DecodeError> {
    Err(DecodeError::AttributeLength(kind))
}

fn value_error<T>(kind: AttributeType) -> Result<T, DecodeError> {
    Err(DecodeError::AttributeValue(kind))
}

#[test]
fn an_address_has_the_length_of_its_family_and_no_other() {
    for address in ["192.0.2.1:3478", "[2001:db8::1]:443"] {
        let address: SocketAddr = address.parse().unwrap();
        let good = value_of(&XorPeerAddress(address));
        assert_eq!(XorPeerAddress::decode(&good, &ID), Ok(XorPeerAddress(address)));
        for len in 0..=24 {
            let mut value = good.clone();
            value.resize(len, 0);
            if len != good.len() {
                assert_eq!(
                    XorPeerAddress::decode(&value, &ID),
                    length_error(AttributeType::XOR_PEER_ADDRESS),
                    "{len}"
                );
            }
        }
    }
    assert_eq!(
        XorPeerAddress::decode(&[0, 1, 2, 3, 4], &ID),
        length_error(AttributeType::XOR_PEER_ADDRESS)
    );
}

#[test]
fn an_address_of_an_unknown_family_is_refused() {
    for family in [0, 3, 255] {
        let value = [0, family, 0, 1, 1, 2, 3, 4];
        assert_eq!(
            XorMappedAddress::decode(&value, &ID),
            value_error(AttributeType::XOR_MAPPED_ADDRESS)
        );
        assert_eq!(
            MappedAddress::decode(&value, &ID),
            value_error(AttributeType::MAPPED_ADDRESS)
        );
    }
}

#[test]
fn a_username_of_508_bytes_is_taken_and_one_of_509_is_not() {
    let name = "u".repeat(509);
    assert!(Username::new(&name[..508]).is_some());
    assert!(Username::new(&name).is_none());
    assert!(Username::decode(&name.as_bytes()[..508], &ID).is_ok());
    assert_eq!(
        Username::decode(name.as_bytes(), &ID),
        length_error(AttributeType::USERNAME)
    );
    assert_eq!(Username::decode(&[0xFF], &ID), value_error(AttributeType::USERNAME));
}

#[test]
fn a_text_of_127_characters_is_taken_and_one_of_128_is_not() {
    for character in ["a", "é", "密", "🔑"] {
        let text = character.repeat(128);
        let most = &text[..127 * character.len()];
        assert!(Realm::new(most).is_some() && Realm::new(&text).is_none());
        assert!(Realm::decode(most.as_bytes(), &ID).is_ok());
        assert_eq!(Realm::decode(text.as_bytes(), &ID), length_error(AttributeType::REALM));
        assert!(Nonce::decode(most.as_bytes(), &ID).is_ok());
        assert!(Software::decode(text.as_bytes(), &ID).is_err());
        assert!(ErrorCodeAttribute::new(ErrorCode::BAD_REQUEST, &text).is_none());
        let mut value = vec![0, 0, 4, 0];
        value.extend_from_slice(text.as_bytes());
        assert_eq!(
            ErrorCodeAttribute::decode(&value, &ID),
            length_error(AttributeType::ERROR_CODE)
        );
    }
    assert_eq!(Realm::decode(&[b'a'; 764], &ID), length_error(AttributeType::REALM));
    assert_eq!(Realm::decode(&[0xC0, 0x80], &ID), value_error(AttributeType::REALM));
}

#[test]
fn attributes_of_fixed_length_take_that_length_only() {
    fn only<'a, A: Attribute<'a>>(len: usize, zeroes: &'a [u8; 40]) {
        for tried in 0..=40 {
            assert_eq!(
                A::decode(&zeroes[..tried], &ID).is_ok(),
                tried == len,
                "{}: {tried}",
                A::TYPE
            );
        }
    }
    let zeroes = [0; 40];
    only::<Lifetime>(4, &zeroes);
    only::<RequestedTransport>(4, &zeroes);
    only::<RequestedAddressFamily>(4, &zeroes);
    only::<AdditionalAddressFamily>(4, &zeroes);
    only::<EvenPort>(1, &zeroes);
    only::<DontFragment>(0, &zeroes);
    only::<ReservationToken>(8, &zeroes);
    only::<Icmp>(8, &zeroes);
    only::<Userhash>(32, &zeroes);
    only::<ChangeRequest>(4, &zeroes);
    only::<ResponsePort>(4, &zeroes);
    only::<ConnectionId>(4, &zeroes);
}

#[test]
fn the_fields_of_small_attributes_are_where_the_rfcs_draw_them() {
    assert_eq!(value_of(&Lifetime(600)), [0, 0, 2, 0x58]);
    assert_eq!(value_of(&RequestedTransport::UDP), [17, 0, 0, 0]);
    assert_eq!(value_of(&EvenPort { reserve_next: true }), [0x80]);
    assert_eq!(EvenPort::decode(&[0x7F], &ID), Ok(EvenPort { reserve_next: false }));
    assert_eq!(
        value_of(&ChangeRequest {
            change_ip: true,
            change_port: false
        }),
        [0, 0, 0, 4]
    );
    assert_eq!(
        value_of(&ChangeRequest {
            change_ip: false,
            change_port: true
        }),
        [0, 0, 0, 2]
    );
    assert_eq!(value_of(&ResponsePort(0x1234)), [0x12, 0x34, 0, 0]);
    assert_eq!(value_of(&super::super::ChannelNumber::MIN), [0x40, 0, 0, 0]);
    assert_eq!(
        value_of(&ErrorCodeAttribute::from(ErrorCode::STALE_NONCE))[..4],
        [0, 0, 4, 38]
    );
    assert_eq!(
        value_of(&AddressErrorCode::new(
            AddressFamily::Ipv6,
            ErrorCode::ADDRESS_FAMILY_NOT_SUPPORTED
        ))[..4],
        [2, 0, 4, 40]
    );
    // Seven bits of type, nine of code (RFC 8656 §18.13).
    assert_eq!(
        value_of(&Icmp::new(3, 4, 1400).unwrap()),
        [0, 0, 0x06, 0x04, 0, 0, 0x05, 0x78]
    );
    assert_eq!(value_of(&Icmp::new(127, 511, 0).unwrap())[..4], [0, 0, 0xFF, 0xFF]);
    assert!(Icmp::new(128, 0, 0).is_none() && Icmp::new(0, 512, 0).is_none());
}

#[test]
fn a_channel_number_attribute_out_of_range_is_a_bad_value() {
    use super::super::ChannelNumber;
    for bad in [0x3FFF_u16, 0x8000, 0xFFFF, 0] {
        let [a, b] = bad.to_be_bytes();
        assert_eq!(
            ChannelNumber::decode(&[a, b, 0, 0], &ID),
            value_error(AttributeType::CHANNEL_NUMBER)
        );
    }
    assert_eq!(ChannelNumber::decode(&[0x7F, 0xFF, 9, 9], &ID), Ok(ChannelNumber::MAX));
}

#[test]
fn reserved_bits_of_an_error_code_are_ignored_and_its_digits_are_not() {
    let decoded = ErrorCodeAttribute::decode(&[0xFF, 0xFF, 0xFC, 1, b'n', b'o'], &ID).unwrap();
    assert_eq!((decoded.code(), decoded.reason()), (ErrorCode::UNAUTHENTICATED, "no"));
    assert_eq!(
        ErrorCodeAttribute::decode(&[0, 0, 4, 100], &ID),
        value_error(AttributeType::ERROR_CODE)
    );
    assert_eq!(
        ErrorCodeAttribute::decode(&[0, 0, 4], &ID),
        length_error(AttributeType::ERROR_CODE)
    );
}

#[test]
fn password_algorithms_keep_their_bytes_and_name_what_is_known() {
    let list = PasswordAlgorithms::SHA256_THEN_MD5;
    assert_eq!(
        list.iter().collect::<Vec<_>>(),
        [Some(PasswordAlgorithm::Sha256), Some(PasswordAlgorithm::Md5)]
    );
    // An unknown one with three bytes of parameters and their padding, then MD5.
    let bytes = [0, 9, 0, 3, 1, 2, 3, 0, 0, 1, 0, 0];
    let list = PasswordAlgorithms::decode(&bytes, &ID).unwrap();
    assert_eq!(list.as_bytes(), bytes);
    assert_eq!(list.iter().collect::<Vec<_>>(), [None, Some(PasswordAlgorithm::Md5)]);
    assert!(list.contains(PasswordAlgorithm::Md5) && !list.contains(PasswordAlgorithm::Sha256));
    for bad in [&[0][..], &[0, 1, 0], &[0, 1, 0, 1], &[0, 1, 0, 1, 5, 0]] {
        assert!(PasswordAlgorithms::decode(bad, &ID).is_err(), "{bad:?}");
    }
}

#[test]
fn a_password_algorithm_with_parameters_it_does_not_have_is_refused() {
    assert_eq!(
        PasswordAlgorithm::decode(&[0, 2, 0, 0], &ID),
        Ok(PasswordAlgorithm::Sha256)
    );
    let kind = AttributeType::PASSWORD_ALGORITHM;
    assert_eq!(PasswordAlgorithm::decode(&[0, 2, 0, 1, 7], &ID), value_error(kind));
    assert_eq!(PasswordAlgorithm::decode(&[0, 3, 0, 0], &ID), value_error(kind));
    assert_eq!(
        PasswordAlgorithm::decode(&[0, 2, 0, 0, 0, 1, 0, 0], &ID),
        length_error(kind)
    );
    assert_eq!(PasswordAlgorithm::decode(&[0, 2, 0, 1], &ID), length_error(kind));
}

#[test]
fn the_nonce_cookie_says_which_features_it_was_made_for() {
    for (password_algorithms, username_anonymity, cookie) in [
        (false, false, "obMatJos2AAAA"),
        (true, false, "obMatJos2gAAA"),
        (false, true, "obMatJos2QAAA"),
        (true, true, "obMatJos2wAAA"),
    ] {
        let features = SecurityFeatures {
            password_algorithms,
            username_anonymity,
        };
        assert_eq!(features.cookie(), cookie.as_bytes());
        assert_eq!(SecurityFeatures::of_nonce(&format!("{cookie}rest")), Some(features));
    }
    for without in ["", "obMatJos2", "obMatJos2AAA", "obMatJos2AA-A", "nonce"] {
        assert_eq!(SecurityFeatures::of_nonce(without), None, "{without}");
    }
}

#[test]
fn unknown_attributes_drop_repeats_and_an_odd_length_is_refused() {
    let kind = AttributeType::UNKNOWN_ATTRIBUTES;
    let decoded = UnknownAttributes::decode(&[0, 7, 0, 8, 0, 7], &ID).unwrap();
    assert_eq!(decoded.0.as_slice(), [AttributeType(7), AttributeType(8)]);
    assert_eq!(UnknownAttributes::decode(&[0, 7, 0], &ID), length_error(kind));
    assert_eq!(
        UnknownAttributes::decode(&[], &ID),
        Ok(UnknownAttributes(UnknownTypes::from_iter([])))
    );
}

#[test]
fn every_attribute_survives_a_message() {
    fn survives<A>(attribute: A)
    where
        A: for<'a> Attribute<'a> + PartialEq + core::fmt::Debug,
    {
        let mut buffer = [0xFF; 256];
        let len = MessageBuilder::new(&mut buffer, Method::BINDING, Class::Success, ID)
            .attribute(&attribute)
            .finish()
            .unwrap();
        let found = Message::parse(&buffer[..len]).unwrap().find::<A>().unwrap();
        assert_eq!(found, Some(attribute));
    }
    for address in [
        "192.0.2.1:3478",
        "0.0.0.0:0",
        "[2001:db8::1]:443",
        "[::ffff:192.0.2.1]:65535",
    ] {
        let address: SocketAddr = address.parse().unwrap();
        survives(MappedAddress(address));
        survives(XorMappedAddress(address));
        survives(XorPeerAddress(address));
        survives(XorRelayedAddress(address));
        survives(AlternateServer(address));
        survives(ResponseOrigin(address));
        survives(OtherAddress(address));
    }
    survives(Userhash([7; 32]));
    survives(PasswordAlgorithm::Md5);
    survives(super::super::ChannelNumber::MIN);
    survives(Lifetime(u32::MAX));
    survives(RequestedAddressFamily(2));
    survives(AdditionalAddressFamily(2));
    survives(EvenPort { reserve_next: true });
    survives(RequestedTransport::TCP);
    survives(DontFragment);
    survives(ReservationToken([9; 8]));
    survives(Icmp::new(3, 4, 1280).unwrap());
    survives(ChangeRequest {
        change_ip: true,
        change_port: true,
    });
    survives(ResponsePort(5));
    survives(ConnectionId(0xDEAD_BEEF));
    survives(UnknownAttributes(UnknownTypes::from_iter([
        AttributeType(1),
        AttributeType(2),
    ])));
}

#[test]
fn every_borrowed_attribute_survives_a_message() {
    let mut buffer = [0xFF; 512];
    let len = MessageBuilder::new(&mut buffer, Method::BINDING, Class::Error, ID)
        .attribute(&Username::new("usér").unwrap())
        .attribute(&Realm::new("realm").unwrap())
        .attribute(&Nonce::new("nonce").unwrap())
        .attribute(&Software::new("").unwrap())
        .attribute(&Data(b"data"))
        .attribute(&Padding(&[0; 33]))
        .attribute(&AlternateDomain(b"example.org"))
        .attribute(&MobilityTicket(b""))
        .attribute(&AccessToken(b"token"))
        .attribute(&ThirdPartyAuthorization::new("auth.example.org").unwrap())
        .attribute(&PasswordAlgorithms::SHA256_THEN_MD5)
        .attribute(&AddressErrorCode::new(
            AddressFamily::Ipv4,
            ErrorCode::INSUFFICIENT_CAPACITY,
        ))
        .error_code(ErrorCode::STALE_NONCE)
        .finish()
        .unwrap();
    let message = Message::parse(&buffer[..len]).unwrap();
    assert_eq!(message.find(), Ok(Username::new("usér")));
    assert_eq!(message.find(), Ok(Realm::new("realm")));
    assert_eq!(message.find(), Ok(Nonce::new("nonce")));
    assert_eq!(message.find(), Ok(Software::new("")));
    assert_eq!(message.find(), Ok(Some(Data(b"data"))));
    assert_eq!(message.find(), Ok(Some(Padding(&[0; 33]))));
    assert_eq!(message.find(), Ok(Some(AlternateDomain(b"example.org"))));
    assert_eq!(message.find(), Ok(Some(MobilityTicket(b""))));
    assert_eq!(message.find(), Ok(Some(AccessToken(b"token"))));
    assert_eq!(message.find(), Ok(ThirdPartyAuthorization::new("auth.example.org")));
    assert_eq!(message.find(), Ok(Some(PasswordAlgorithms::SHA256_THEN_MD5)));
    let refused = AddressErrorCode::new(AddressFamily::Ipv4, ErrorCode::INSUFFICIENT_CAPACITY);
    assert_eq!(message.find(), Ok(Some(refused)));
    assert_eq!(
        message.find(),
        Ok(ErrorCodeAttribute::new(ErrorCode::STALE_NONCE, "Stale Nonce"))
    );
}
