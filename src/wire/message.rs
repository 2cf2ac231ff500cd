//! A STUN message, validated in one pass and read in place.

use super::attribute::{Attribute, AttributeType};
use super::error::{DecodeError, VerifyError};
use super::fingerprint::fingerprint;
use super::header::{Class, HEADER_LEN, Header, Method, TransactionId};
use super::integrity::{IntegrityKey, IntegrityKind};
use super::padding;

/// The most attributes a message may have; one more is [`DecodeError::TooManyAttributes`].
///
/// A full Allocate has about a dozen. The bound leaves room for a CreatePermission with some fifty peers and keeps a
/// datagram of empty attributes (370 in 1500 bytes, each four bytes of an attacker's effort) from costing more.
pub const MAX_ATTRIBUTES: usize = 64;

/// The most types listed in a 420 answer (RFC 8489 §14.13); further ones are found once the first are gone.
pub const MAX_UNKNOWN: usize = 16;

/// Slots for the first occurrence of each known attribute type.
const SLOTS: usize = AttributeType::KNOWN.len();

/// Types are assigned in two dense runs, at 0x0000 and 0x8000: `page` folds both into 0–127.
const PAGE: usize = 128;

/// For each position of the page: slot + 1, or 0 for a type not known here.
static SLOT: [u8; PAGE] = {
    let mut table = [0; PAGE];
    let mut slot = 0;
    while slot < SLOTS {
        if let Some(position) = page(AttributeType::KNOWN[slot]) {
            table[position] = slot as u8 + 1;
        }
        slot += 1;
    }
    table
};

#[inline]
const fn page(kind: AttributeType) -> Option<usize> {
    match kind.0 {
        0x0000..=0x003F => Some(kind.0 as usize),
        0x8000..=0x803F => Some((kind.0 & 0x3F) as usize | 0x40),
        _ => None,
    }
}

#[inline]
const fn slot(kind: AttributeType) -> Option<usize> {
    match page(kind) {
        Some(position) => (SLOT[position] as usize).checked_sub(1),
        None => None,
    }
}

/// A STUN message whose shape has been checked: header, lengths, order of the sealing attributes. Values are judged
/// when they are asked for.
///
/// "Visible" below means: not after MESSAGE-INTEGRITY or MESSAGE-INTEGRITY-SHA256, whichever comes first, and neither
/// of them nor FINGERPRINT (RFC 8489 §14.5–14.7).
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// The whole message and nothing else.
    bytes: &'a [u8],
    header: Header,
    /// Offset of the first visible occurrence of each known type, in words of four bytes; 0 is absent.
    known: [u16; SLOTS],
    /// Where the visible attributes end.
    visible_end: usize,
    /// Offsets of the sealing attributes, in words; 0 is absent.
    integrity: u16,
    integrity_sha256: u16,
    fingerprint: u16,
}

impl<'a> Message<'a> {
    /// Parses a datagram, or one frame of a stream, that is exactly one message.
    ///
    /// Integrity and fingerprint are located here and verified by the `verify_*` functions.
    ///
    /// # Errors
    /// A [`DecodeError`]; the caller drops such packets without an answer (RFC 8489 §6.3).
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let header = Header::parse(bytes)?;
        let end = HEADER_LEN + usize::from(header.length);
        if bytes.len() < end {
            return Err(DecodeError::Truncated);
        }
        if bytes.len() > end {
            return Err(DecodeError::TrailingBytes);
        }
        let mut message = Self {
            bytes,
            header,
            known: [0; SLOTS],
            visible_end: end,
            integrity: 0,
            integrity_sha256: 0,
            fingerprint: 0,
        };
        message.index()?;
        Ok(message)
    }

    /// The one pass over the attributes.
    #[inline]
    fn index(&mut self) -> Result<(), DecodeError> {
        let mut offset = HEADER_LEN;
        let mut count = 0;
        // Offset and end are multiples of four, so an attribute's header is either whole or not there.
        while let Some((kind, value)) = tlv(self.bytes, offset)? {
            if self.fingerprint != 0 {
                return Err(DecodeError::FingerprintNotLast);
            }
            count += 1;
            if count > MAX_ATTRIBUTES {
                return Err(DecodeError::TooManyAttributes);
            }
            // In words an offset below 65556 fits 16 bits.
            let words = (offset / 4) as u16;
            match kind {
                AttributeType::MESSAGE_INTEGRITY => {
                    if value.len() != 20 {
                        return Err(DecodeError::AttributeLength(kind));
                    }
                    // After MESSAGE-INTEGRITY-SHA256 it is one more attribute to ignore (RFC 8489 §14.6).
                    if self.integrity == 0 && self.integrity_sha256 == 0 {
                        self.integrity = words;
                        self.visible_end = offset;
                    }
                }
                AttributeType::MESSAGE_INTEGRITY_SHA256 => {
                    // Truncation by the sender is allowed down to 16 bytes (RFC 8489 §14.6).
                    if !matches!(value.len(), 16 | 20 | 24 | 28 | 32) {
                        return Err(DecodeError::AttributeLength(kind));
                    }
                    if self.integrity_sha256 == 0 {
                        self.integrity_sha256 = words;
                        self.visible_end = self.visible_end.min(offset);
                    }
                }
                AttributeType::FINGERPRINT => {
                    if value.len() != 4 {
                        return Err(DecodeError::AttributeLength(kind));
                    }
                    self.fingerprint = words;
                    self.visible_end = self.visible_end.min(offset);
                }
                _ => {
                    if offset < self.visible_end
                        && let Some(first) = slot(kind).and_then(|slot| self.known.get_mut(slot))
                        && *first == 0
                    {
                        *first = words;
                    }
                }
            }
            offset += 4 + value.len() + padding(value.len());
        }
        Ok(())
    }

    /// The method.
    #[inline]
    #[must_use]
    pub const fn method(&self) -> Method {
        self.header.method
    }

    /// The class.
    #[inline]
    #[must_use]
    pub const fn class(&self) -> Class {
        self.header.class
    }

    /// The transaction id.
    #[inline]
    #[must_use]
    pub const fn transaction_id(&self) -> TransactionId {
        self.header.transaction_id
    }

    /// The message as it came.
    #[inline]
    #[must_use]
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The first visible attribute of type `A`, decoded.
    ///
    /// # Errors
    /// The attribute is there and malformed: a request is answered with 400, an indication dropped.
    #[inline]
    pub fn find<A: Attribute<'a>>(&self) -> Result<Option<A>, DecodeError> {
        match self.value(A::TYPE) {
            Some(value) => A::decode(value, &self.header.transaction_id).map(Some),
            None => Ok(None),
        }
    }

    /// Every visible attribute of type `A`, decoded, in order: for those that may repeat, as XOR-PEER-ADDRESS.
    pub fn find_all<A: Attribute<'a>>(&self) -> impl Iterator<Item = Result<A, DecodeError>> + use<'a, A> {
        let id = self.header.transaction_id;
        self.attributes()
            .filter(|attribute| attribute.kind == A::TYPE)
            .map(move |attribute| A::decode(attribute.value, &id))
    }

    /// Whether a visible attribute of this type, or this sealing attribute, is there.
    #[inline]
    #[must_use]
    pub fn has(&self, kind: AttributeType) -> bool {
        self.offset(kind).is_some()
    }

    /// The bytes of the first visible attribute of this type, without padding; also of the three sealing attributes.
    #[inline]
    #[must_use]
    pub fn value(&self, kind: AttributeType) -> Option<&'a [u8]> {
        self.value_at(self.offset(kind)?)
    }

    /// Where [`value`](Self::value) is in the bytes this was parsed from: for DATA, what a relay forwards in place.
    #[inline]
    #[must_use]
    pub fn value_range(&self, kind: AttributeType) -> Option<core::ops::Range<usize>> {
        let offset = self.offset(kind)?;
        let value = self.value_at(offset)?;
        Some(offset + 4..offset + 4 + value.len())
    }

    #[inline]
    fn offset(&self, kind: AttributeType) -> Option<usize> {
        let words = match kind {
            AttributeType::MESSAGE_INTEGRITY => self.integrity,
            AttributeType::MESSAGE_INTEGRITY_SHA256 => self.integrity_sha256,
            AttributeType::FINGERPRINT => self.fingerprint,
            _ => match slot(kind) {
                Some(slot) => self.known.get(slot).copied().unwrap_or(0),
                // Not in the index: walk.
                None => {
                    let mut attributes = self.attributes();
                    loop {
                        let offset = attributes.offset;
                        if attributes.next()?.kind == kind {
                            return Some(offset);
                        }
                    }
                }
            },
        };
        if words == 0 { None } else { Some(usize::from(words) * 4) }
    }

    #[inline]
    fn value_at(&self, offset: usize) -> Option<&'a [u8]> {
        match tlv(self.bytes, offset) {
            Ok(Some((_, value))) => Some(value),
            _ => None,
        }
    }

    /// The visible attributes in order.
    #[inline]
    #[must_use]
    pub fn attributes(&self) -> Attributes<'a> {
        Attributes {
            visible: self.bytes.get(..self.visible_end).unwrap_or_default(),
            offset: HEADER_LEN,
        }
    }

    /// The visible attributes that must be understood and for which `is_known` is false (RFC 8489 §6.3.1): in order,
    /// without repeats, at most [`MAX_UNKNOWN`]. The two MESSAGE-INTEGRITY attributes are never among them.
    #[must_use]
    pub fn unknown_required(&self, is_known: impl Fn(AttributeType) -> bool) -> UnknownTypes {
        self.attributes()
            .map(|attribute| attribute.kind)
            .filter(|kind| kind.is_comprehension_required() && !is_known(*kind))
            .collect()
    }

    /// The strongest integrity attribute the message has: a server that finds both checks SHA-256 (RFC 8489 §9.2.4).
    #[inline]
    #[must_use]
    pub const fn integrity_kind(&self) -> Option<IntegrityKind> {
        if self.integrity_sha256 != 0 {
            Some(IntegrityKind::Sha256)
        } else if self.integrity != 0 {
            Some(IntegrityKind::Sha1)
        } else {
            None
        }
    }

    /// Checks the strongest integrity attribute the message has and says which it was.
    ///
    /// # Errors
    /// `Absent` if there is none, `Mismatch` if the key is another. Constant time in the bytes of the HMAC.
    pub fn verify_integrity(&self, key: &IntegrityKey) -> Result<IntegrityKind, VerifyError> {
        let kind = self.integrity_kind().ok_or(VerifyError::Absent)?;
        self.verify_integrity_of(kind, key)?;
        Ok(kind)
    }

    /// Checks one of the two integrity attributes.
    ///
    /// # Errors
    /// `Absent` if it is not there, `Mismatch` if the key is another.
    pub fn verify_integrity_of(&self, kind: IntegrityKind, key: &IntegrityKey) -> Result<(), VerifyError> {
        let offset = self.offset(kind.attribute()).ok_or(VerifyError::Absent)?;
        let (Some(covered), Some(value)) = (self.bytes.get(..offset), self.value_at(offset)) else {
            return Err(VerifyError::Absent);
        };
        if key.verify(kind, covered, value) {
            Ok(())
        } else {
            Err(VerifyError::Mismatch)
        }
    }

    /// Checks FINGERPRINT.
    ///
    /// # Errors
    /// `Absent` if it is not there, `Mismatch` if the bytes are not those it was made for.
    pub fn verify_fingerprint(&self) -> Result<(), VerifyError> {
        let offset = self.offset(AttributeType::FINGERPRINT).ok_or(VerifyError::Absent)?;
        let (Some(covered), Some(value)) = (self.bytes.get(..offset), self.value_at(offset)) else {
            return Err(VerifyError::Absent);
        };
        if value == fingerprint(covered).to_be_bytes() {
            Ok(())
        } else {
            Err(VerifyError::Mismatch)
        }
    }
}

/// Type and value of the attribute at `offset`; `None` at the end of `bytes`.
#[inline]
fn tlv(bytes: &[u8], offset: usize) -> Result<Option<(AttributeType, &[u8])>, DecodeError> {
    let Some((&[t0, t1, l0, l1], rest)) = bytes.get(offset..).and_then(|rest| rest.split_first_chunk::<4>()) else {
        return Ok(None);
    };
    let kind = AttributeType(u16::from_be_bytes([t0, t1]));
    match rest.get(..usize::from(u16::from_be_bytes([l0, l1]))) {
        Some(value) => Ok(Some((kind, value))),
        None => Err(DecodeError::AttributeOverrun(kind)),
    }
}

/// An attribute as it is on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawAttribute<'a> {
    /// Its type.
    pub kind: AttributeType,
    /// Its value, without padding.
    pub value: &'a [u8],
}

/// Iterator over the visible attributes of a [`Message`].
#[derive(Debug, Clone)]
pub struct Attributes<'a> {
    visible: &'a [u8],
    offset: usize,
}

impl<'a> Iterator for Attributes<'a> {
    type Item = RawAttribute<'a>;

    #[inline]
    fn next(&mut self) -> Option<RawAttribute<'a>> {
        let (kind, value) = tlv(self.visible, self.offset).ok()??;
        self.offset += 4 + value.len() + padding(value.len());
        Some(RawAttribute { kind, value })
    }
}

/// A short list of attribute types without repeats: the first [`MAX_UNKNOWN`] it was given.
#[derive(Clone, Copy)]
pub struct UnknownTypes {
    types: [AttributeType; MAX_UNKNOWN],
    len: usize,
}

impl UnknownTypes {
    /// The types, in order of appearance.
    #[inline]
    #[must_use]
    pub fn as_slice(&self) -> &[AttributeType] {
        self.types.get(..self.len).unwrap_or_default()
    }

    /// True if there is none: nothing to refuse.
    #[inline]
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl FromIterator<AttributeType> for UnknownTypes {
    fn from_iter<I: IntoIterator<Item = AttributeType>>(types: I) -> Self {
        let mut list = Self {
            types: [AttributeType(0); MAX_UNKNOWN],
            len: 0,
        };
        for kind in types {
            if list.as_slice().contains(&kind) {
                continue;
            }
            let Some(free) = list.types.get_mut(list.len) else {
                break;
            };
            *free = kind;
            list.len += 1;
        }
        list
    }
}

impl core::fmt::Debug for UnknownTypes {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_list().entries(self.as_slice()).finish()
    }
}

impl PartialEq for UnknownTypes {
    fn eq(&self, other: &Self) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl Eq for UnknownTypes {}

#[cfg(test)]
mod tests;
