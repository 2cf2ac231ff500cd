//! Any bytes at every door of `meetpoint::wire`. No panic, and what was read can be written and read again.

use meetpoint::wire::attribute::{self, Attribute};
use meetpoint::wire::stream::{FrameReader, frame_len};
use meetpoint::wire::{
    ChannelData, ChannelNumber, Class, DecodeError, HEADER_LEN, Header, IntegrityKey, IntegrityKind,
    MAX_ATTRIBUTES, MAX_UNKNOWN, Message, MessageBuilder, Method, PacketKind, TransactionId, demux, padding,
};

const ID: TransactionId = TransactionId([0xA5; 12]);

pub(crate) fn run(data: &[u8]) {
    channel_data(data);
    stream(data);
    message(data);
    wrapped(data);
    values(data);
}

fn channel_data(data: &[u8]) {
    let Ok(parsed) = ChannelData::parse(data) else { return };
    assert_eq!(demux(data), PacketKind::ChannelData);
    let len = u16::try_from(parsed.data.len()).expect("the length field has 16 bits");
    assert_eq!(&data[..4], ChannelData::header(parsed.number, len));
    assert_eq!(&data[parsed.data_range()], parsed.data);
    assert!(data.len() - 4 - parsed.data.len() <= 3);
}

/// The frames of a stream do not depend on how it was cut.
fn stream(data: &[u8]) {
    let step = data.first().map_or(1, |first| usize::from(*first) % 31 + 1);
    let whole = frames(data, data.len().max(1));
    assert_eq!(frames(data, step), whole);
    let mut rest = data;
    for frame in &whole.0 {
        assert_eq!(frame_len(rest), Ok(Some(frame.len())));
        assert_eq!(&rest[..frame.len()], &frame[..]);
        rest = &rest[frame.len()..];
    }
}

fn frames(data: &[u8], step: usize) -> (Vec<Vec<u8>>, Option<DecodeError>) {
    const CAPACITY: usize = 512;
    let mut reader = FrameReader::new(vec![0; CAPACITY].into());
    let mut found = Vec::new();
    for piece in data.chunks(step.min(CAPACITY)) {
        let mut piece = piece;
        while !piece.is_empty() {
            let space = reader.space();
            let len = piece.len().min(space.len());
            assert!(len > 0, "a reader that was drained has space");
            space[..len].copy_from_slice(&piece[..len]);
            reader.filled(len);
            piece = &piece[len..];
            loop {
                match reader.next_frame() {
                    Ok(Some(frame)) => found.push(frame.to_vec()),
                    Ok(None) => break,
                    Err(error) => return (found, Some(error)),
                }
            }
        }
    }
    (found, None)
}

fn message(data: &[u8]) {
    let Ok(parsed) = Message::parse(data) else { return };
    let attributes: Vec<_> = parsed.attributes().collect();
    assert!(attributes.len() <= MAX_ATTRIBUTES);
    assert_eq!(parsed.as_bytes(), data);
    for one in &attributes {
        let first = attributes.iter().find(|other| other.kind == one.kind).expect("at least this one");
        assert_eq!(parsed.value(one.kind), Some(first.value));
        let range = parsed.value_range(one.kind).expect("it was found");
        assert_eq!(&data[range], first.value);
    }
    let unknown = parsed.unknown_required(|kind| kind.0 % 2 == 0);
    assert!(unknown.as_slice().len() <= MAX_UNKNOWN);
    for kind in unknown.as_slice() {
        assert!(kind.0 % 2 == 1 && kind.is_comprehension_required());
        assert!(attributes.iter().any(|one| one.kind == *kind));
    }
    found(&parsed);

    // The visible part, written again and sealed, is the same message.
    let key = IntegrityKey::short_term("fuzz");
    assert!(parsed.verify_integrity(&key).is_err() || parsed.integrity_kind().is_some());
    let _ = parsed.verify_fingerprint();
    let mut buffer = vec![0xFF; data.len() + 24 + 36 + 8];
    let mut builder = MessageBuilder::new(&mut buffer, parsed.method(), parsed.class(), parsed.transaction_id());
    for one in &attributes {
        builder.raw_attribute(one.kind, one.value);
    }
    let visible = builder.finish();
    let sealed = builder.integrity(&key).integrity_sha256(&key).fingerprint().finish();
    // Only a message that already fills its length field has no room for the seals.
    let Ok(len) = sealed else {
        assert!(visible.is_ok_and(|len| len > 65_000));
        return;
    };
    if attributes.len() + 3 > MAX_ATTRIBUTES {
        return;
    }
    let again = Message::parse(&buffer[..len]).expect("what we write we can read");
    assert_eq!(again.attributes().collect::<Vec<_>>(), attributes);
    assert_eq!(again.verify_integrity(&key), Ok(IntegrityKind::Sha256));
    assert_eq!(again.verify_integrity_of(IntegrityKind::Sha1, &key), Ok(()));
    assert_eq!(again.verify_fingerprint(), Ok(()));
}

/// The same bytes as the attributes of a message whose header is right.
fn wrapped(data: &[u8]) {
    let len = data.len().min(2048) & !3;
    let length = u16::try_from(len).expect("at most 2048");
    let header = Header { method: Method::ALLOCATE, class: Class::Request, length, transaction_id: ID };
    let mut bytes = header.to_bytes().to_vec();
    bytes.extend_from_slice(&data[..len]);
    assert_eq!(bytes.len(), HEADER_LEN + len);
    message(&bytes);
}

/// Calls `$each::<A>($argument)` for every attribute type.
macro_rules! every_attribute {
    ($each:ident, $argument:expr) => {
        $each::<attribute::MappedAddress>($argument);
        $each::<attribute::XorMappedAddress>($argument);
        $each::<attribute::AlternateServer>($argument);
        $each::<attribute::Realm<'_>>($argument);
        $each::<attribute::Software<'_>>($argument);
        $each::<attribute::Nonce<'_>>($argument);
        $each::<attribute::AlternateDomain<'_>>($argument);
        $each::<attribute::Username<'_>>($argument);
        $each::<attribute::Userhash>($argument);
        $each::<attribute::ErrorCodeAttribute<'_>>($argument);
        $each::<attribute::UnknownAttributes>($argument);
        $each::<attribute::PasswordAlgorithm>($argument);
        $each::<attribute::PasswordAlgorithms<'_>>($argument);
        $each::<ChannelNumber>($argument);
        $each::<attribute::Lifetime>($argument);
        $each::<attribute::XorPeerAddress>($argument);
        $each::<attribute::XorRelayedAddress>($argument);
        $each::<attribute::Data<'_>>($argument);
        $each::<attribute::RequestedAddressFamily>($argument);
        $each::<attribute::AdditionalAddressFamily>($argument);
        $each::<attribute::EvenPort>($argument);
        $each::<attribute::RequestedTransport>($argument);
        $each::<attribute::DontFragment>($argument);
        $each::<attribute::ReservationToken>($argument);
        $each::<attribute::AddressErrorCode<'_>>($argument);
        $each::<attribute::Icmp>($argument);
        $each::<attribute::ChangeRequest>($argument);
        $each::<attribute::ResponseOrigin>($argument);
        $each::<attribute::OtherAddress>($argument);
        $each::<attribute::ResponsePort>($argument);
        $each::<attribute::Padding<'_>>($argument);
        $each::<attribute::ConnectionId>($argument);
        $each::<attribute::MobilityTicket<'_>>($argument);
        $each::<attribute::ThirdPartyAuthorization<'_>>($argument);
        $each::<attribute::AccessToken<'_>>($argument);
    };
}

fn found(parsed: &Message<'_>) {
    fn one<'m, A: Attribute<'m> + PartialEq + std::fmt::Debug>(parsed: &Message<'m>) {
        let first = parsed.find_all::<A>().next().transpose();
        assert_eq!(parsed.find::<A>(), first);
        if let Err(error) = first {
            assert!(error == DecodeError::AttributeLength(A::TYPE) || error == DecodeError::AttributeValue(A::TYPE));
        }
    }
    every_attribute!(one, parsed);
    if let Ok(Some(nonce)) = parsed.find::<attribute::Nonce<'_>>() {
        let _ = attribute::SecurityFeatures::of_nonce(nonce.as_str());
    }
    if let Ok(Some(list)) = parsed.find::<attribute::PasswordAlgorithms<'_>>() {
        assert!(list.iter().count() <= list.as_bytes().len() / 4);
    }
}

/// The same bytes as the value of every attribute there is.
fn values(data: &[u8]) {
    fn one<'v, A: Attribute<'v> + PartialEq + std::fmt::Debug>(value: &'v [u8]) {
        let Ok(decoded) = A::decode(value, &ID) else { return };
        let mut buffer = vec![0xFF; 28 + value.len()];
        let mut builder = MessageBuilder::new(&mut buffer, Method::BINDING, Class::Indication, ID);
        let len = builder.attribute(&decoded).finish().expect("never longer than what it was read from");
        assert_eq!(len, HEADER_LEN + 4 + decoded.encoded_len() + padding(decoded.encoded_len()));
        let message = Message::parse(&buffer[..len]).expect("what we write we can read");
        // What is written reads as the same value: written once more, it is the same bytes.
        let encoded = message.value(A::TYPE).expect("it was written").to_vec();
        assert!(encoded.len() <= value.len());
        let mut again = vec![0xFF; decoded.encoded_len()];
        decoded.encode(&ID, &mut again);
        assert_eq!(again, encoded);
    }
    // Longer values only repeat what shorter ones show.
    if data.len() <= 1024 {
        every_attribute!(one, data);
    }
}
