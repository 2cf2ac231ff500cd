//! The attributes of STUN itself (RFC 8489 §14), but for the three that are computed over the message.

use super::{Attribute, AttributeType, TransactionId, address_attribute, fixed_attribute, is_short_text, short_text};
use super::{opaque_attribute, text_attribute};
use crate::wire::reader::Reader;
use crate::wire::{DecodeError, ErrorCode, UnknownTypes, padding};

address_attribute!(
    /// MAPPED-ADDRESS: the client's reflexive address in the clear (RFC 8489 §14.1). Only old clients need it.
    MappedAddress, MAPPED_ADDRESS, read_address, write_address
);

address_attribute!(
    /// XOR-MAPPED-ADDRESS: the client's reflexive address (RFC 8489 §14.2).
    XorMappedAddress, XOR_MAPPED_ADDRESS, read_xor_address, write_xor_address
);

address_attribute!(
    /// ALTERNATE-SERVER: where to try instead (RFC 8489 §14.15).
    AlternateServer, ALTERNATE_SERVER, read_address, write_address
);

text_attribute!(
    /// REALM: fewer than 128 characters (RFC 8489 §14.9).
    Realm, REALM
);

text_attribute!(
    /// SOFTWARE: fewer than 128 characters, for people only (RFC 8489 §14.14).
    Software, SOFTWARE
);

text_attribute!(
    /// NONCE: fewer than 128 characters (RFC 8489 §14.10).
    Nonce, NONCE
);

opaque_attribute!(
    /// ALTERNATE-DOMAIN: the name the certificate of the alternate server carries (RFC 8489 §14.16).
    AlternateDomain, ALTERNATE_DOMAIN
);

/// USERNAME: UTF-8 of fewer than 509 bytes (RFC 8489 §14.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Username<'a>(&'a str);

impl<'a> Username<'a> {
    /// The longest username in bytes.
    pub const MAX_BYTES: usize = 508;

    /// `None` above 508 bytes.
    #[must_use]
    pub const fn new(username: &'a str) -> Option<Self> {
        if username.len() <= Self::MAX_BYTES {
            Some(Self(username))
        } else {
            None
        }
    }

    /// The username.
    #[must_use]
    pub const fn as_str(&self) -> &'a str {
        self.0
    }
}

impl<'a> Attribute<'a> for Username<'a> {
    const TYPE: AttributeType = AttributeType::USERNAME;

    fn decode(value: &'a [u8], _: &TransactionId) -> Result<Self, DecodeError> {
        if value.len() > Self::MAX_BYTES {
            return Err(DecodeError::AttributeLength(Self::TYPE));
        }
        core::str::from_utf8(value)
            .map(Self)
            .map_err(|_| DecodeError::AttributeValue(Self::TYPE))
    }

    fn encoded_len(&self) -> usize {
        self.0.len()
    }

    fn encode(&self, _: &TransactionId, out: &mut [u8]) {
        out.copy_from_slice(self.0.as_bytes());
    }
}

/// USERHASH: SHA-256 of `username:realm`, in place of USERNAME (RFC 8489 §14.4). Made by
/// [`userhash`](crate::wire::userhash).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Userhash(pub [u8; 32]);

fixed_attribute!(Userhash, USERHASH, 32, |bytes| Some(Self(bytes)), |hash| hash.0);

/// ERROR-CODE: the code and a phrase for people (RFC 8489 §14.8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErrorCodeAttribute<'a> {
    code: ErrorCode,
    reason: &'a str,
}

impl<'a> ErrorCodeAttribute<'a> {
    /// `None` if `reason` has 128 characters or more.
    #[must_use]
    pub fn new(code: ErrorCode, reason: &'a str) -> Option<Self> {
        is_short_text(reason).then_some(Self { code, reason })
    }

    /// The code.
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

/// With the phrase the RFC recommends.
impl From<ErrorCode> for ErrorCodeAttribute<'static> {
    fn from(code: ErrorCode) -> Self {
        Self {
            code,
            reason: code.reason(),
        }
    }
}

impl<'a> Attribute<'a> for ErrorCodeAttribute<'a> {
    const TYPE: AttributeType = AttributeType::ERROR_CODE;

    fn decode(value: &'a [u8], _: &TransactionId) -> Result<Self, DecodeError> {
        let (&[_, _, class, number], reason) = value
            .split_first_chunk::<4>()
            .ok_or(DecodeError::AttributeLength(Self::TYPE))?;
        let code = ErrorCode::from_parts(class, number).ok_or(DecodeError::AttributeValue(Self::TYPE))?;
        Ok(Self {
            code,
            reason: short_text(Self::TYPE, reason)?,
        })
    }

    fn encoded_len(&self) -> usize {
        4 + self.reason.len()
    }

    fn encode(&self, _: &TransactionId, out: &mut [u8]) {
        let [class, number] = self.code.parts();
        out[..4].copy_from_slice(&[0, 0, class, number]);
        out[4..].copy_from_slice(self.reason.as_bytes());
    }
}

/// UNKNOWN-ATTRIBUTES: the types a 420 is about (RFC 8489 §14.13). Of more than
/// [`MAX_UNKNOWN`](crate::wire::MAX_UNKNOWN) types the first are kept; repeats are dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownAttributes(pub UnknownTypes);

impl Attribute<'_> for UnknownAttributes {
    const TYPE: AttributeType = AttributeType::UNKNOWN_ATTRIBUTES;

    fn decode(value: &[u8], _: &TransactionId) -> Result<Self, DecodeError> {
        let (types, rest) = value.as_chunks::<2>();
        if !rest.is_empty() {
            return Err(DecodeError::AttributeLength(Self::TYPE));
        }
        Ok(Self(
            types
                .iter()
                .map(|bytes| AttributeType(u16::from_be_bytes(*bytes)))
                .collect(),
        ))
    }

    fn encoded_len(&self) -> usize {
        2 * self.0.as_slice().len()
    }

    fn encode(&self, _: &TransactionId, out: &mut [u8]) {
        for (bytes, kind) in out.as_chunks_mut::<2>().0.iter_mut().zip(self.0.as_slice()) {
            *bytes = kind.0.to_be_bytes();
        }
    }
}

/// How a long-term key is derived from username, realm and password (RFC 8489 §18.5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PasswordAlgorithm {
    /// 0x0001, no parameters.
    Md5,
    /// 0x0002, no parameters.
    Sha256,
}

impl PasswordAlgorithm {
    const fn value(self) -> u16 {
        match self {
            Self::Md5 => 1,
            Self::Sha256 => 2,
        }
    }

    const fn new(value: u16, parameters: &[u8]) -> Option<Self> {
        match (value, parameters) {
            (1, []) => Some(Self::Md5),
            (2, []) => Some(Self::Sha256),
            _ => None,
        }
    }
}

// PASSWORD-ALGORITHM: the one the client chose (RFC 8489 §14.12). An algorithm we do not know, or one of ours with
// parameters it does not have, is a bad value: the server answers 400 to both (§9.2.4).
impl Attribute<'_> for PasswordAlgorithm {
    const TYPE: AttributeType = AttributeType::PASSWORD_ALGORITHM;

    fn decode(value: &[u8], _: &TransactionId) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(value);
        let (number, parameters) = read_algorithm(&mut reader).ok_or(DecodeError::AttributeLength(Self::TYPE))?;
        if !reader.is_empty() {
            return Err(DecodeError::AttributeLength(Self::TYPE));
        }
        Self::new(number, parameters).ok_or(DecodeError::AttributeValue(Self::TYPE))
    }

    fn encoded_len(&self) -> usize {
        4
    }

    fn encode(&self, _: &TransactionId, out: &mut [u8]) {
        let [n0, n1] = self.value().to_be_bytes();
        out.copy_from_slice(&[n0, n1, 0, 0]);
    }
}

/// Number and parameters, which are padded to four bytes (RFC 8489 §14.11). The last padding may be missing: it is not
/// clear from the RFC whether the attribute's own padding is it.
fn read_algorithm<'a>(reader: &mut Reader<'a>) -> Option<(u16, &'a [u8])> {
    let number = reader.u16()?;
    let len = usize::from(reader.u16()?);
    let parameters = reader.take(len)?;
    if !reader.is_empty() {
        reader.take(padding(len))?;
    }
    Some((number, parameters))
}

/// PASSWORD-ALGORITHMS: what the server offers, in its order of preference (RFC 8489 §14.11).
///
/// Holds the exact bytes: the client returns the list and the server compares it with what it sent, so that nobody on
/// the path can take the stronger algorithm away (§9.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PasswordAlgorithms<'a>(&'a [u8]);

impl<'a> PasswordAlgorithms<'a> {
    /// SHA-256 first, MD5 for clients that know no other.
    pub const SHA256_THEN_MD5: PasswordAlgorithms<'static> = PasswordAlgorithms(&[0, 2, 0, 0, 0, 1, 0, 0]);

    /// The value as it is on the wire.
    #[must_use]
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.0
    }

    /// The algorithms in order: `None` for one we do not know.
    pub fn iter(&self) -> impl Iterator<Item = Option<PasswordAlgorithm>> + use<'a> {
        let mut reader = Reader::new(self.0);
        core::iter::from_fn(move || {
            read_algorithm(&mut reader).map(|(number, parameters)| PasswordAlgorithm::new(number, parameters))
        })
    }

    /// Whether `algorithm` is in the list.
    #[must_use]
    pub fn contains(&self, algorithm: PasswordAlgorithm) -> bool {
        self.iter().any(|offered| offered == Some(algorithm))
    }
}

impl<'a> Attribute<'a> for PasswordAlgorithms<'a> {
    const TYPE: AttributeType = AttributeType::PASSWORD_ALGORITHMS;

    fn decode(value: &'a [u8], _: &TransactionId) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(value);
        while !reader.is_empty() {
            read_algorithm(&mut reader).ok_or(DecodeError::AttributeLength(Self::TYPE))?;
        }
        Ok(Self(value))
    }

    fn encoded_len(&self) -> usize {
        self.0.len()
    }

    fn encode(&self, _: &TransactionId, out: &mut [u8]) {
        out.copy_from_slice(self.0);
    }
}

/// The security features a server announces at the start of its nonce (RFC 8489 §9.2, §18.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct SecurityFeatures {
    /// The server sends PASSWORD-ALGORITHMS and wants them back.
    pub password_algorithms: bool,
    /// The client may send USERHASH in place of USERNAME.
    pub username_anonymity: bool,
}

impl SecurityFeatures {
    /// Length of the nonce cookie: nine fixed characters and four for 24 bits in base64.
    pub const COOKIE_LEN: usize = 13;

    const MAGIC: [u8; 9] = *b"obMatJos2";
    const ALPHABET: [u8; 64] = *b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    /// The 13 ASCII characters a nonce with these features starts with. Bit 0, the leftmost, is password algorithms;
    /// bit 1 is username anonymity (RFC 8489 §18.1); the 22 unassigned bits are zero.
    #[must_use]
    pub const fn cookie(self) -> [u8; Self::COOKIE_LEN] {
        let bits = (self.password_algorithms as usize) << 5 | (self.username_anonymity as usize) << 4;
        let [a, b, c, d, e, f, g, h, i] = Self::MAGIC;
        [a, b, c, d, e, f, g, h, i, Self::ALPHABET[bits], b'A', b'A', b'A']
    }

    /// The features a nonce announces; `None` if it has no nonce cookie. Unassigned bits are ignored.
    #[must_use]
    pub fn of_nonce(nonce: &str) -> Option<Self> {
        let features = nonce.as_bytes().strip_prefix(&Self::MAGIC)?.first_chunk::<4>()?;
        let mut bits = 0_u32;
        for character in features {
            let digit = Self::ALPHABET.iter().position(|known| known == character)?;
            bits = bits << 6 | u32::try_from(digit).ok()?;
        }
        Some(Self {
            password_algorithms: bits & 0x80_0000 != 0,
            username_anonymity: bits & 0x40_0000 != 0,
        })
    }
}
