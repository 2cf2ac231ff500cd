//! Typed attributes: one struct each, one RFC group a file.
//!
//! What it is: the value of an attribute as a Rust value, valid by construction, and the two functions that carry it
//! to and from bytes. What it is not: a place that knows which attribute belongs in which message.
//!
//! Invariants:
//! - Decoding checks the exact length and the range of each field; reserved bits are ignored on receipt and zero when
//!   sent, as the RFCs ask.
//! - A value that decodes can be encoded, and decodes to itself again.
//!
//! RFCs: 8489 ([`stun`]), 8656 ([`turn`]), 5780 ([`nat_discovery`]), 6062 ([`tcp`]), 8016 ([`mobility`]),
//! 7635 ([`third_party`]).

use core::fmt;
use core::net::SocketAddr;

use super::DecodeError;
use super::header::TransactionId;

mod address;
pub mod mobility;
pub mod nat_discovery;
pub mod stun;
pub mod tcp;
pub mod third_party;
pub mod turn;

pub(super) use address::{address_len, write_xor_address};
pub use mobility::*;
pub use nat_discovery::*;
pub use stun::*;
pub use tcp::*;
pub use third_party::*;
pub use turn::*;

/// An attribute this module can read from and write to a message.
///
/// `'a` is the life of the message it is read from.
pub trait Attribute<'a>: Sized {
    /// The type it is found by.
    const TYPE: AttributeType;

    /// Reads the value (without header and padding) of an attribute in the message with this transaction id.
    ///
    /// # Errors
    /// `AttributeLength` or `AttributeValue`, with [`Self::TYPE`].
    fn decode(value: &'a [u8], transaction_id: &TransactionId) -> Result<Self, DecodeError>;

    /// How many bytes [`encode`](Self::encode) writes.
    fn encoded_len(&self) -> usize;

    /// Writes the value. `out` is exactly [`encoded_len`](Self::encoded_len) bytes long and may hold anything.
    fn encode(&self, transaction_id: &TransactionId, out: &mut [u8]);
}

/// An attribute's 16-bit type. Unknown types are kept.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttributeType(pub u16);

impl AttributeType {
    /// Whether a request with this attribute must be refused by who does not know it (RFC 8489 §14): below 0x8000.
    #[inline]
    #[must_use]
    pub const fn is_comprehension_required(self) -> bool {
        self.0 < 0x8000
    }
}

macro_rules! attribute_types {
    ($($(#[$doc:meta])* $constant:ident = $value:literal, $name:literal;)*) => {
        impl AttributeType {
            $($(#[$doc])* pub const $constant: Self = Self($value);)*

            /// Every type known here.
            pub(super) const KNOWN: &'static [Self] = &[$(Self::$constant),*];

            /// The name as the RFC spells it, if it is one we know.
            #[must_use]
            pub const fn name(self) -> Option<&'static str> {
                Some(match self { $(Self::$constant => $name,)* _ => return None })
            }
        }
    };
}

attribute_types! {
    /// RFC 8489 §14.1.
    MAPPED_ADDRESS = 0x0001, "MAPPED-ADDRESS";
    /// RFC 5780 §7.2.
    CHANGE_REQUEST = 0x0003, "CHANGE-REQUEST";
    /// RFC 8489 §14.3.
    USERNAME = 0x0006, "USERNAME";
    /// RFC 8489 §14.5.
    MESSAGE_INTEGRITY = 0x0008, "MESSAGE-INTEGRITY";
    /// RFC 8489 §14.8.
    ERROR_CODE = 0x0009, "ERROR-CODE";
    /// RFC 8489 §14.13.
    UNKNOWN_ATTRIBUTES = 0x000A, "UNKNOWN-ATTRIBUTES";
    /// RFC 8656 §18.1.
    CHANNEL_NUMBER = 0x000C, "CHANNEL-NUMBER";
    /// RFC 8656 §18.2.
    LIFETIME = 0x000D, "LIFETIME";
    /// RFC 8656 §18.3.
    XOR_PEER_ADDRESS = 0x0012, "XOR-PEER-ADDRESS";
    /// RFC 8656 §18.4.
    DATA = 0x0013, "DATA";
    /// RFC 8489 §14.9.
    REALM = 0x0014, "REALM";
    /// RFC 8489 §14.10.
    NONCE = 0x0015, "NONCE";
    /// RFC 8656 §18.5.
    XOR_RELAYED_ADDRESS = 0x0016, "XOR-RELAYED-ADDRESS";
    /// RFC 8656 §18.6.
    REQUESTED_ADDRESS_FAMILY = 0x0017, "REQUESTED-ADDRESS-FAMILY";
    /// RFC 8656 §18.7.
    EVEN_PORT = 0x0018, "EVEN-PORT";
    /// RFC 8656 §18.8.
    REQUESTED_TRANSPORT = 0x0019, "REQUESTED-TRANSPORT";
    /// RFC 8656 §18.9.
    DONT_FRAGMENT = 0x001A, "DONT-FRAGMENT";
    /// RFC 7635 §6.2.
    ACCESS_TOKEN = 0x001B, "ACCESS-TOKEN";
    /// RFC 8489 §14.6.
    MESSAGE_INTEGRITY_SHA256 = 0x001C, "MESSAGE-INTEGRITY-SHA256";
    /// RFC 8489 §14.12.
    PASSWORD_ALGORITHM = 0x001D, "PASSWORD-ALGORITHM";
    /// RFC 8489 §14.4.
    USERHASH = 0x001E, "USERHASH";
    /// RFC 8489 §14.2.
    XOR_MAPPED_ADDRESS = 0x0020, "XOR-MAPPED-ADDRESS";
    /// RFC 8656 §18.10.
    RESERVATION_TOKEN = 0x0022, "RESERVATION-TOKEN";
    /// RFC 8445 §16.1.
    PRIORITY = 0x0024, "PRIORITY";
    /// RFC 8445 §16.1.
    USE_CANDIDATE = 0x0025, "USE-CANDIDATE";
    /// RFC 5780 §7.6.
    PADDING = 0x0026, "PADDING";
    /// RFC 5780 §7.5.
    RESPONSE_PORT = 0x0027, "RESPONSE-PORT";
    /// RFC 6062 §6.2.1.
    CONNECTION_ID = 0x002A, "CONNECTION-ID";
    /// RFC 8656 §18.11.
    ADDITIONAL_ADDRESS_FAMILY = 0x8000, "ADDITIONAL-ADDRESS-FAMILY";
    /// RFC 8656 §18.12.
    ADDRESS_ERROR_CODE = 0x8001, "ADDRESS-ERROR-CODE";
    /// RFC 8489 §14.11.
    PASSWORD_ALGORITHMS = 0x8002, "PASSWORD-ALGORITHMS";
    /// RFC 8489 §14.16.
    ALTERNATE_DOMAIN = 0x8003, "ALTERNATE-DOMAIN";
    /// RFC 8656 §18.13.
    ICMP = 0x8004, "ICMP";
    /// RFC 8489 §14.14.
    SOFTWARE = 0x8022, "SOFTWARE";
    /// RFC 8489 §14.15.
    ALTERNATE_SERVER = 0x8023, "ALTERNATE-SERVER";
    /// RFC 8489 §14.7.
    FINGERPRINT = 0x8028, "FINGERPRINT";
    /// RFC 8445 §16.1.
    ICE_CONTROLLED = 0x8029, "ICE-CONTROLLED";
    /// RFC 8445 §16.1.
    ICE_CONTROLLING = 0x802A, "ICE-CONTROLLING";
    /// RFC 5780 §7.3.
    RESPONSE_ORIGIN = 0x802B, "RESPONSE-ORIGIN";
    /// RFC 5780 §7.4.
    OTHER_ADDRESS = 0x802C, "OTHER-ADDRESS";
    /// RFC 7635 §6.1.
    THIRD_PARTY_AUTHORIZATION = 0x802E, "THIRD-PARTY-AUTHORIZATION";
    /// RFC 8016 §3.3.
    MOBILITY_TICKET = 0x8030, "MOBILITY-TICKET";
}

impl fmt::Debug for AttributeType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for AttributeType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "{:#06x}", self.0),
        }
    }
}

/// The address families of RFC 8489 §14.1 and RFC 8656 §18.6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AddressFamily {
    /// 0x01.
    Ipv4,
    /// 0x02.
    Ipv6,
}

impl AddressFamily {
    /// The family with this number.
    #[must_use]
    pub const fn new(value: u8) -> Option<Self> {
        match value {
            1 => Some(Self::Ipv4),
            2 => Some(Self::Ipv6),
            _ => None,
        }
    }

    /// Its number on the wire.
    #[must_use]
    pub const fn value(self) -> u8 {
        match self {
            Self::Ipv4 => 1,
            Self::Ipv6 => 2,
        }
    }

    /// The family of an address.
    #[must_use]
    pub const fn of(address: SocketAddr) -> Self {
        match address {
            SocketAddr::V4(_) => Self::Ipv4,
            SocketAddr::V6(_) => Self::Ipv6,
        }
    }
}

/// The value of a fixed-size attribute, or an error that names it.
#[inline]
fn exact<const N: usize>(kind: AttributeType, value: &[u8]) -> Result<[u8; N], DecodeError> {
    value.try_into().map_err(|_| DecodeError::AttributeLength(kind))
}

/// Fewer than 128 characters, which RFC 8489 §14.8–14.14 bounds at 763 bytes when decoding.
const TEXT_MAX_CHARS: usize = 127;
const TEXT_MAX_BYTES: usize = 763;

fn is_short_text(text: &str) -> bool {
    // Fewer than 128 bytes are fewer than 128 characters: the usual case is not counted.
    text.len() <= TEXT_MAX_CHARS || (text.len() <= TEXT_MAX_BYTES && text.chars().count() <= TEXT_MAX_CHARS)
}

/// UTF-8 of fewer than 128 characters. The length is judged first, so that a long value costs nothing.
fn short_text(kind: AttributeType, value: &[u8]) -> Result<&str, DecodeError> {
    if value.len() > TEXT_MAX_BYTES {
        return Err(DecodeError::AttributeLength(kind));
    }
    let text = core::str::from_utf8(value).map_err(|_| DecodeError::AttributeValue(kind))?;
    if is_short_text(text) {
        Ok(text)
    } else {
        Err(DecodeError::AttributeLength(kind))
    }
}

/// A text attribute of fewer than 128 characters.
macro_rules! text_attribute {
    ($(#[$doc:meta])* $name:ident, $kind:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub struct $name<'a>(&'a str);

        impl<'a> $name<'a> {
            /// `None` if `text` has 128 characters or more.
            #[must_use]
            pub fn new(text: &'a str) -> Option<Self> {
                super::is_short_text(text).then_some(Self(text))
            }

            /// The text.
            #[must_use]
            pub const fn as_str(&self) -> &'a str {
                self.0
            }
        }

        impl<'a> super::Attribute<'a> for $name<'a> {
            const TYPE: super::AttributeType = super::AttributeType::$kind;

            fn decode(value: &'a [u8], _: &super::TransactionId) -> Result<Self, super::DecodeError> {
                super::short_text(Self::TYPE, value).map(Self)
            }

            fn encoded_len(&self) -> usize {
                self.0.len()
            }

            fn encode(&self, _: &super::TransactionId, out: &mut [u8]) {
                out.copy_from_slice(self.0.as_bytes());
            }
        }
    };
}

/// An attribute whose value is any bytes.
macro_rules! opaque_attribute {
    ($(#[$doc:meta])* $name:ident, $kind:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub struct $name<'a>(pub &'a [u8]);

        impl<'a> super::Attribute<'a> for $name<'a> {
            const TYPE: super::AttributeType = super::AttributeType::$kind;

            #[inline]
            fn decode(value: &'a [u8], _: &super::TransactionId) -> Result<Self, super::DecodeError> {
                Ok(Self(value))
            }

            #[inline]
            fn encoded_len(&self) -> usize {
                self.0.len()
            }

            fn encode(&self, _: &super::TransactionId, out: &mut [u8]) {
                out.copy_from_slice(self.0);
            }
        }
    };
}

/// An attribute that is `N` bytes with a conversion each way: `from` may refuse, `to` may not.
macro_rules! fixed_attribute {
    ($name:ty, $kind:ident, $len:literal, $from:expr, $to:expr) => {
        impl super::Attribute<'_> for $name {
            const TYPE: super::AttributeType = super::AttributeType::$kind;

            #[inline]
            fn decode(value: &[u8], _: &super::TransactionId) -> Result<Self, super::DecodeError> {
                let from: fn([u8; $len]) -> Option<Self> = $from;
                from(super::exact(Self::TYPE, value)?).ok_or(super::DecodeError::AttributeValue(Self::TYPE))
            }

            #[inline]
            fn encoded_len(&self) -> usize {
                $len
            }

            #[inline]
            fn encode(&self, _: &super::TransactionId, out: &mut [u8]) {
                let to: fn(Self) -> [u8; $len] = $to;
                out.copy_from_slice(&to(*self));
            }
        }
    };
}

/// A transport address, in the clear or xored with cookie and transaction id.
macro_rules! address_attribute {
    ($(#[$doc:meta])* $name:ident, $kind:ident, $read:ident, $write:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub struct $name(pub core::net::SocketAddr);

        impl super::Attribute<'_> for $name {
            const TYPE: super::AttributeType = super::AttributeType::$kind;

            #[inline]
            fn decode(value: &[u8], id: &super::TransactionId) -> Result<Self, super::DecodeError> {
                super::address::$read(Self::TYPE, value, id).map(Self)
            }

            #[inline]
            fn encoded_len(&self) -> usize {
                super::address_len(self.0)
            }

            #[inline]
            fn encode(&self, id: &super::TransactionId, out: &mut [u8]) {
                super::address::$write(self.0, id, out);
            }
        }
    };
}

use {address_attribute, fixed_attribute, opaque_attribute, text_attribute};

#[cfg(test)]
mod tests;
