//! The attributes of TURN (RFC 8656 §18).

use super::{AddressFamily, Attribute, AttributeType, TransactionId, short_text};
use super::{address_attribute, fixed_attribute, opaque_attribute};
use crate::wire::{ChannelNumber, DecodeError, ErrorCode};

// CHANNEL-NUMBER (RFC 8656 §18.1): the number and 16 reserved bits. A number that may not be bound is a bad value,
// which §12.2 answers with 400.
fixed_attribute!(
    ChannelNumber,
    CHANNEL_NUMBER,
    4,
    |[a, b, _, _]| Self::new(u16::from_be_bytes([a, b])),
    |number| {
        let [a, b] = number.value().to_be_bytes();
        [a, b, 0, 0]
    }
);

/// LIFETIME in seconds (RFC 8656 §18.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lifetime(pub u32);

fixed_attribute!(
    Lifetime,
    LIFETIME,
    4,
    |bytes| Some(Self(u32::from_be_bytes(bytes))),
    |seconds| seconds.0.to_be_bytes()
);

address_attribute!(
    /// XOR-PEER-ADDRESS: the peer as the server sees it (RFC 8656 §18.3). CreatePermission may carry several.
    XorPeerAddress, XOR_PEER_ADDRESS, read_xor_address, write_xor_address
);

address_attribute!(
    /// XOR-RELAYED-ADDRESS: the address allocated to the client (RFC 8656 §18.5).
    XorRelayedAddress, XOR_RELAYED_ADDRESS, read_xor_address, write_xor_address
);

opaque_attribute!(
    /// DATA: the application data of a Send or Data indication (RFC 8656 §18.4).
    Data, DATA
);

/// REQUESTED-ADDRESS-FAMILY (RFC 8656 §18.6). The number is kept as it came: a family that does not exist is answered
/// with 440, not with 400.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestedAddressFamily(pub u8);

impl RequestedAddressFamily {
    /// The family, if it is one that exists.
    #[must_use]
    pub const fn family(self) -> Option<AddressFamily> {
        AddressFamily::new(self.0)
    }
}

fixed_attribute!(
    RequestedAddressFamily,
    REQUESTED_ADDRESS_FAMILY,
    4,
    |[family, ..]| Some(Self(family)),
    |family| [family.0, 0, 0, 0]
);

/// ADDITIONAL-ADDRESS-FAMILY (RFC 8656 §18.11): the number as it came; only IPv6 is allowed there (§7.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdditionalAddressFamily(pub u8);

impl AdditionalAddressFamily {
    /// The family, if it is one that exists.
    #[must_use]
    pub const fn family(self) -> Option<AddressFamily> {
        AddressFamily::new(self.0)
    }
}

fixed_attribute!(
    AdditionalAddressFamily,
    ADDITIONAL_ADDRESS_FAMILY,
    4,
    |[family, ..]| Some(Self(family)),
    |family| [family.0, 0, 0, 0]
);

/// EVEN-PORT (RFC 8656 §18.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EvenPort {
    /// The R bit: the next higher port is to be reserved as well.
    pub reserve_next: bool,
}

fixed_attribute!(
    EvenPort,
    EVEN_PORT,
    1,
    |[bits]| Some(Self {
        reserve_next: bits & 0x80 != 0
    }),
    |even| [u8::from(even.reserve_next) << 7]
);

/// REQUESTED-TRANSPORT: the protocol number of the relayed leg (RFC 8656 §18.8). Kept as it came: an unsupported one is
/// answered with 442.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestedTransport(pub u8);

impl RequestedTransport {
    /// UDP, the only one RFC 8656 defines.
    pub const UDP: Self = Self(17);
    /// TCP (RFC 6062).
    pub const TCP: Self = Self(6);
}

fixed_attribute!(
    RequestedTransport,
    REQUESTED_TRANSPORT,
    4,
    |[protocol, ..]| Some(Self(protocol)),
    |protocol| [protocol.0, 0, 0, 0]
);

/// DONT-FRAGMENT: no value (RFC 8656 §18.9).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DontFragment;

fixed_attribute!(DontFragment, DONT_FRAGMENT, 0, |[]| Some(Self), |_| []);

/// RESERVATION-TOKEN: eight bytes only the server can make (RFC 8656 §18.10).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ReservationToken(pub [u8; 8]);

fixed_attribute!(
    ReservationToken,
    RESERVATION_TOKEN,
    8,
    |bytes| Some(Self(bytes)),
    |token| token.0
);

/// ADDRESS-ERROR-CODE: why one of two requested families was not allocated (RFC 8656 §18.12).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddressErrorCode<'a> {
    family: AddressFamily,
    code: ErrorCode,
    reason: &'a str,
}

impl AddressErrorCode<'static> {
    /// With the phrase the RFC recommends.
    #[must_use]
    pub const fn new(family: AddressFamily, code: ErrorCode) -> Self {
        Self {
            family,
            code,
            reason: code.reason(),
        }
    }
}

impl<'a> AddressErrorCode<'a> {
    /// The family that was refused.
    #[must_use]
    pub const fn family(&self) -> AddressFamily {
        self.family
    }

    /// Why.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        self.code
    }

    /// The reason phrase; may be empty.
    #[must_use]
    pub const fn reason(&self) -> &'a str {
        self.reason
    }
}

impl<'a> Attribute<'a> for AddressErrorCode<'a> {
    const TYPE: AttributeType = AttributeType::ADDRESS_ERROR_CODE;

    fn decode(value: &'a [u8], _: &TransactionId) -> Result<Self, DecodeError> {
        let (&[family, _, class, number], reason) = value
            .split_first_chunk::<4>()
            .ok_or(DecodeError::AttributeLength(Self::TYPE))?;
        let bad = DecodeError::AttributeValue(Self::TYPE);
        Ok(Self {
            family: AddressFamily::new(family).ok_or(bad)?,
            code: ErrorCode::from_parts(class, number).ok_or(bad)?,
            reason: short_text(Self::TYPE, reason)?,
        })
    }

    fn encoded_len(&self) -> usize {
        4 + self.reason.len()
    }

    fn encode(&self, _: &TransactionId, out: &mut [u8]) {
        let [class, number] = self.code.parts();
        out[..4].copy_from_slice(&[self.family.value(), 0, class, number]);
        out[4..].copy_from_slice(self.reason.as_bytes());
    }
}

/// ICMP: an error a packet to a peer met on its way (RFC 8656 §18.13).
///
/// The figure there gives seven bits to the type and nine to the code, which is what is written here; the text names no
/// widths, and some implementations use eight and eight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Icmp {
    kind: u8,
    code: u16,
    error_data: u32,
}

impl Icmp {
    /// `kind` is the ICMP or ICMPv6 type, 0–127 (all ICMPv6 errors are); `code` 0–511; `error_data` the next hop's MTU
    /// for the two "too big" errors and zero for all others. `None` out of these ranges.
    #[must_use]
    pub const fn new(kind: u8, code: u16, error_data: u32) -> Option<Self> {
        if kind <= 0x7F && code <= 0x1FF {
            Some(Self { kind, code, error_data })
        } else {
            None
        }
    }

    /// The ICMP type, to be read by the family of the relayed address.
    #[must_use]
    pub const fn kind(self) -> u8 {
        self.kind
    }

    /// The ICMP code.
    #[must_use]
    pub const fn code(self) -> u16 {
        self.code
    }

    /// The MTU of the next hop in bytes, or zero.
    #[must_use]
    pub const fn error_data(self) -> u32 {
        self.error_data
    }
}

fixed_attribute!(
    Icmp,
    ICMP,
    8,
    |[_, _, a, b, d0, d1, d2, d3]| {
        let bits = u16::from_be_bytes([a, b]);
        Self::new((bits >> 9) as u8, bits & 0x1FF, u32::from_be_bytes([d0, d1, d2, d3]))
    },
    |icmp| {
        let [a, b] = (u16::from(icmp.kind) << 9 | icmp.code).to_be_bytes();
        let [d0, d1, d2, d3] = icmp.error_data.to_be_bytes();
        [0, 0, a, b, d0, d1, d2, d3]
    }
);
