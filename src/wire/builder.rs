//! Writes a STUN message into the caller's buffer.

use super::attribute::{Attribute, AttributeType, ErrorCodeAttribute};
use super::error::EncodeError;
use super::error_code::ErrorCode;
use super::fingerprint::{FINGERPRINT_TLV_LEN, fingerprint};
use super::header::{Class, HEADER_LEN, Header, Method, TransactionId};
use super::integrity::{IntegrityKey, IntegrityKind};
use super::padding;

/// What may still be appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Attributes,
    Integrity,
    IntegritySha256,
    Fingerprint,
}

/// A message under construction in a buffer of the caller's.
///
/// Nothing is allocated and nothing outside what [`finish`](Self::finish) returns is meant to be sent. The first error
/// sticks: later calls do nothing and `finish` returns it, so that a chain needs one check.
///
/// ```
/// use meetpoint::wire::attribute::{Software, XorMappedAddress};
/// use meetpoint::wire::{Class, MessageBuilder, Method, TransactionId};
///
/// let mut buffer = [0; 128];
/// let len = MessageBuilder::new(&mut buffer, Method::BINDING, Class::Success, TransactionId([7; 12]))
///     .attribute(&XorMappedAddress("192.0.2.1:32853".parse()?))
///     .fingerprint()
///     .finish()?;
/// assert_eq!(len, 20 + 12 + 8);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct MessageBuilder<'b> {
    out: &'b mut [u8],
    len: usize,
    transaction_id: TransactionId,
    stage: Stage,
    error: Option<EncodeError>,
}

impl<'b> MessageBuilder<'b> {
    /// Starts a message at the start of `out`, which may hold anything.
    #[must_use]
    pub fn new(out: &'b mut [u8], method: Method, class: Class, transaction_id: TransactionId) -> Self {
        let header = Header {
            method,
            class,
            length: 0,
            transaction_id,
        };
        let error = match out.first_chunk_mut::<HEADER_LEN>() {
            Some(bytes) => {
                *bytes = header.to_bytes();
                None
            }
            None => Some(EncodeError::BufferFull),
        };
        Self {
            out,
            len: HEADER_LEN,
            transaction_id,
            stage: Stage::Attributes,
            error,
        }
    }

    /// Appends an attribute.
    #[inline]
    pub fn attribute<'a, A: Attribute<'a>>(&mut self, attribute: &A) -> &mut Self {
        let id = self.transaction_id;
        let written = self.reserve(Stage::Attributes, A::TYPE, attribute.encoded_len());
        self.write(written, |value| attribute.encode(&id, value))
    }

    /// Appends an attribute by type and value, for those without a struct here.
    pub fn raw_attribute(&mut self, kind: AttributeType, value: &[u8]) -> &mut Self {
        let written = self.reserve(Stage::Attributes, kind, value.len());
        self.write(written, |out| out.copy_from_slice(value))
    }

    /// Appends ERROR-CODE with the phrase the RFC recommends.
    pub fn error_code(&mut self, code: ErrorCode) -> &mut Self {
        self.attribute(&ErrorCodeAttribute::from(code))
    }

    /// Appends MESSAGE-INTEGRITY.
    pub fn integrity(&mut self, key: &IntegrityKey) -> &mut Self {
        self.sign(IntegrityKind::Sha1, key)
    }

    /// Appends MESSAGE-INTEGRITY-SHA256, all 32 bytes; may follow MESSAGE-INTEGRITY (RFC 8489 §14.5).
    pub fn integrity_sha256(&mut self, key: &IntegrityKey) -> &mut Self {
        self.sign(IntegrityKind::Sha256, key)
    }

    /// Appends the integrity attribute of this kind: a server answers with the kind it was asked with.
    pub fn sign(&mut self, kind: IntegrityKind, key: &IntegrityKey) -> &mut Self {
        let stage = match kind {
            IntegrityKind::Sha1 => Stage::Integrity,
            IntegrityKind::Sha256 => Stage::IntegritySha256,
        };
        let mut mac = [0; 32];
        let mac_len = match self.out.get(..self.len) {
            Some(covered) if self.error.is_none() => key.sign(kind, covered, kind.len(), &mut mac),
            _ => return self,
        };
        let written = self.reserve(stage, kind.attribute(), mac_len);
        self.write(written, |value| value.copy_from_slice(&mac[..mac_len]))
    }

    /// Appends FINGERPRINT; nothing can follow.
    pub fn fingerprint(&mut self) -> &mut Self {
        let covered_len = self.len;
        let written = self.reserve(Stage::Fingerprint, AttributeType::FINGERPRINT, FINGERPRINT_TLV_LEN - 4);
        // The length field already counts the attribute, as the checksum demands.
        let checksum = self.out.get(..covered_len).map_or(0, fingerprint);
        self.write(written, |value| value.copy_from_slice(&checksum.to_be_bytes()))
    }

    /// The length of the message in bytes; it starts at the start of the buffer.
    ///
    /// # Errors
    /// The first thing that went wrong.
    pub const fn finish(&mut self) -> Result<usize, EncodeError> {
        match self.error {
            Some(error) => Err(error),
            None => Ok(self.len),
        }
    }

    /// Makes room for an attribute: header and padding written, length field updated. Where its value goes.
    #[inline]
    fn reserve(
        &mut self,
        stage: Stage,
        kind: AttributeType,
        value_len: usize,
    ) -> Result<core::ops::Range<usize>, EncodeError> {
        if let Some(error) = self.error {
            return Err(error);
        }
        // The sealing attributes come once and in this order.
        if stage < self.stage || (stage == self.stage && stage != Stage::Attributes) {
            return Err(EncodeError::Sealed);
        }
        let declared = u16::try_from(value_len).map_err(|_| EncodeError::TooLong)?;
        let value = self.len + 4..self.len + 4 + value_len;
        let end = value.end + padding(value_len);
        let length = u16::try_from(end - HEADER_LEN).map_err(|_| EncodeError::TooLong)?;
        let out = self.out.get_mut(..end).ok_or(EncodeError::BufferFull)?;
        out[self.len..self.len + 2].copy_from_slice(&kind.0.to_be_bytes());
        out[self.len + 2..self.len + 4].copy_from_slice(&declared.to_be_bytes());
        out[value.end..].fill(0);
        out[2..4].copy_from_slice(&length.to_be_bytes());
        self.len = end;
        self.stage = stage;
        Ok(value)
    }

    #[inline]
    fn write(
        &mut self,
        place: Result<core::ops::Range<usize>, EncodeError>,
        encode: impl FnOnce(&mut [u8]),
    ) -> &mut Self {
        match place.and_then(|range| self.out.get_mut(range).ok_or(EncodeError::BufferFull)) {
            Ok(value) => encode(value),
            Err(error) => self.error = Some(error),
        }
        self
    }
}

#[cfg(test)]
mod tests;
