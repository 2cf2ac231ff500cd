//! The 20-byte header every STUN message starts with (RFC 8489 §5).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |0 0| M11..M7 |C1| M6..M4 |C0| M3..M0 |   length of attributes  |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                     magic cookie 0x2112A442                   |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                    transaction id (96 bits)                   |
//! ```

use core::fmt;

use super::DecodeError;

/// Length of the STUN header in bytes.
pub const HEADER_LEN: usize = 20;

/// The magic cookie of RFC 8489 §5.
pub const MAGIC_COOKIE: u32 = 0x2112_A442;

/// The 96-bit transaction id, chosen by whoever sends the request or indication.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TransactionId(pub [u8; 12]);

/// A STUN method: 12 bits. Unknown methods are kept, so that a server can answer them as the RFC asks.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Method(u16);

impl Method {
    /// Binding (RFC 8489 §18.2).
    pub const BINDING: Self = Self(0x001);
    /// Allocate (RFC 8656 §17).
    pub const ALLOCATE: Self = Self(0x003);
    /// Refresh (RFC 8656 §17).
    pub const REFRESH: Self = Self(0x004);
    /// Send, an indication from the client (RFC 8656 §17).
    pub const SEND: Self = Self(0x006);
    /// Data, an indication from the server (RFC 8656 §17).
    pub const DATA: Self = Self(0x007);
    /// CreatePermission (RFC 8656 §17).
    pub const CREATE_PERMISSION: Self = Self(0x008);
    /// ChannelBind (RFC 8656 §17).
    pub const CHANNEL_BIND: Self = Self(0x009);
    /// Connect (RFC 6062 §6.1).
    pub const CONNECT: Self = Self(0x00A);
    /// ConnectionBind (RFC 6062 §6.1).
    pub const CONNECTION_BIND: Self = Self(0x00B);
    /// ConnectionAttempt, an indication from the server (RFC 6062 §6.1).
    pub const CONNECTION_ATTEMPT: Self = Self(0x00C);

    /// `None` if `value` needs more than 12 bits.
    #[must_use]
    pub const fn new(value: u16) -> Option<Self> {
        if value <= 0x0FFF { Some(Self(value)) } else { None }
    }

    /// The 12-bit number.
    #[must_use]
    pub const fn value(self) -> u16 {
        self.0
    }

    /// The name the RFC gives it, if it is one we know.
    #[must_use]
    pub const fn name(self) -> Option<&'static str> {
        Some(match self {
            Self::BINDING => "Binding",
            Self::ALLOCATE => "Allocate",
            Self::REFRESH => "Refresh",
            Self::SEND => "Send",
            Self::DATA => "Data",
            Self::CREATE_PERMISSION => "CreatePermission",
            Self::CHANNEL_BIND => "ChannelBind",
            Self::CONNECT => "Connect",
            Self::CONNECTION_BIND => "ConnectionBind",
            Self::CONNECTION_ATTEMPT => "ConnectionAttempt",
            _ => return None,
        })
    }
}

impl fmt::Debug for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "Method({:#05x})", self.0),
        }
    }
}

/// The two class bits (RFC 8489 §5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// Wants an answer.
    Request,
    /// Wants none.
    Indication,
    /// The answer to a request that was carried out.
    Success,
    /// The answer to a request that was refused; carries ERROR-CODE.
    Error,
}

impl Class {
    const fn bits(self) -> u16 {
        match self {
            Self::Request => 0x0000,
            Self::Indication => 0x0010,
            Self::Success => 0x0100,
            Self::Error => 0x0110,
        }
    }

    const fn of(message_type: u16) -> Self {
        match message_type & 0x0110 {
            0x0000 => Self::Request,
            0x0010 => Self::Indication,
            0x0100 => Self::Success,
            _ => Self::Error,
        }
    }
}

/// The header, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// What is asked for.
    pub method: Method,
    /// Request, indication or one of the two answers.
    pub class: Class,
    /// Bytes of attributes that follow; a multiple of four once parsed.
    pub length: u16,
    /// Ties an answer to its request.
    pub transaction_id: TransactionId,
}

impl Header {
    /// Takes the first 20 bytes of `bytes` apart. Says nothing about what follows them.
    ///
    /// # Errors
    /// `Truncated`, `NotStun`, `UnalignedLength` or `MissingCookie`, in that order (RFC 8489 §6.3).
    #[inline]
    pub fn parse(bytes: &[u8]) -> Result<Self, DecodeError> {
        let Some(header) = bytes.first_chunk::<HEADER_LEN>() else {
            return Err(DecodeError::Truncated);
        };
        let [t0, t1, l0, l1, c0, c1, c2, c3, id @ ..] = *header;
        let message_type = u16::from_be_bytes([t0, t1]);
        let length = u16::from_be_bytes([l0, l1]);
        if message_type & 0xC000 != 0 {
            return Err(DecodeError::NotStun);
        }
        if length & 3 != 0 {
            return Err(DecodeError::UnalignedLength);
        }
        if u32::from_be_bytes([c0, c1, c2, c3]) != MAGIC_COOKIE {
            return Err(DecodeError::MissingCookie);
        }
        let method = (message_type & 0x000F) | ((message_type & 0x00E0) >> 1) | ((message_type & 0x3E00) >> 2);
        Ok(Self {
            method: Method(method),
            class: Class::of(message_type),
            length,
            transaction_id: TransactionId(id),
        })
    }

    /// The header as 20 bytes.
    #[inline]
    #[must_use]
    pub fn to_bytes(&self) -> [u8; HEADER_LEN] {
        let method = self.method.0;
        let message_type = (method & 0x000F) | ((method & 0x0070) << 1) | ((method & 0x0F80) << 2) | self.class.bits();
        let mut bytes = [0; HEADER_LEN];
        bytes[..2].copy_from_slice(&message_type.to_be_bytes());
        bytes[2..4].copy_from_slice(&self.length.to_be_bytes());
        bytes[4..8].copy_from_slice(&MAGIC_COOKIE.to_be_bytes());
        bytes[8..].copy_from_slice(&self.transaction_id.0);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: TransactionId = TransactionId([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);

    #[test]
    fn every_method_and_class_survives_a_round_trip() {
        for method in 0..=0x0FFF {
            for class in [Class::Request, Class::Indication, Class::Success, Class::Error] {
                let header = Header {
                    method: Method::new(method).unwrap(),
                    class,
                    length: 8,
                    transaction_id: ID,
                };
                assert_eq!(Header::parse(&header.to_bytes()), Ok(header));
            }
        }
        assert_eq!(Method::new(0x1000), None);
    }

    #[test]
    fn the_message_types_of_the_rfcs_are_spelled_as_on_the_wire() {
        let type_of = |method, class| {
            let [a, b, ..] = Header {
                method,
                class,
                length: 0,
                transaction_id: ID,
            }
            .to_bytes();
            u16::from_be_bytes([a, b])
        };
        assert_eq!(type_of(Method::BINDING, Class::Success), 0x0101);
        assert_eq!(type_of(Method::ALLOCATE, Class::Error), 0x0113);
        assert_eq!(type_of(Method::SEND, Class::Indication), 0x0016);
        assert_eq!(type_of(Method::DATA, Class::Indication), 0x0017);
        assert_eq!(type_of(Method::CONNECTION_ATTEMPT, Class::Indication), 0x001C);
    }

    #[test]
    fn each_rule_of_the_header_is_refused_by_its_own_error() {
        let good = Header {
            method: Method::BINDING,
            class: Class::Request,
            length: 4,
            transaction_id: ID,
        }
        .to_bytes();
        assert_eq!(Header::parse(&good[..19]), Err(DecodeError::Truncated));
        let mut bad = good;
        bad[0] |= 0x80;
        assert_eq!(Header::parse(&bad), Err(DecodeError::NotStun));
        let mut bad = good;
        bad[3] = 3;
        assert_eq!(Header::parse(&bad), Err(DecodeError::UnalignedLength));
        let mut bad = good;
        bad[7] ^= 1;
        assert_eq!(Header::parse(&bad), Err(DecodeError::MissingCookie));
    }
}
