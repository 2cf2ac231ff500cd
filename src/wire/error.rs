//! What can be wrong with bytes that came in, and with a message we were asked to write.

use super::AttributeType;

/// Why bytes from the network are not what they claim to be. Always the sender's fault; never holds a byte of theirs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Fewer bytes than the fixed header needs, or than the header declares.
    #[error("truncated")]
    Truncated,
    /// More bytes than the header declares (and, for ChannelData, than padding explains).
    #[error("trailing bytes")]
    TrailingBytes,
    /// The two most significant bits of a STUN message are not zero (RFC 8489 §5).
    #[error("not a STUN message")]
    NotStun,
    /// No magic cookie: classic STUN of RFC 3489, or noise.
    #[error("no magic cookie")]
    MissingCookie,
    /// The STUN length field is not a multiple of four (RFC 8489 §5).
    #[error("message length is not a multiple of four")]
    UnalignedLength,
    /// An attribute declares more bytes than the message has left.
    #[error("attribute {0} overruns the message")]
    AttributeOverrun(AttributeType),
    /// More attributes than [`MAX_ATTRIBUTES`](super::MAX_ATTRIBUTES).
    #[error("too many attributes")]
    TooManyAttributes,
    /// FINGERPRINT is present and not last (RFC 8489 §14.7).
    #[error("FINGERPRINT is not the last attribute")]
    FingerprintNotLast,
    /// The value of this attribute has a length its definition does not allow.
    #[error("attribute {0} has a bad length")]
    AttributeLength(AttributeType),
    /// The value of this attribute has the right length and a content its definition does not allow.
    #[error("attribute {0} has a bad value")]
    AttributeValue(AttributeType),
    /// Not a channel number (0x4000–0x7FFF).
    #[error("not a channel number")]
    ChannelNumber,
    /// The first byte of a stream frame belongs to neither STUN nor ChannelData: framing is lost.
    #[error("neither STUN nor ChannelData on the stream")]
    LostFraming,
    /// A stream frame is longer than the reader's buffer.
    #[error("frame longer than the buffer")]
    FrameTooLong,
}

/// Why a message could not be written. Always our own fault or that of the caller's buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// The buffer is too small.
    #[error("buffer too small")]
    BufferFull,
    /// The message would not fit the 16-bit length field.
    #[error("message longer than its length field can say")]
    TooLong,
    /// A value its attribute's definition does not allow (for example a USERNAME of 509 bytes).
    #[error("attribute {0} cannot carry this value")]
    Value(AttributeType),
    /// An attribute after MESSAGE-INTEGRITY or FINGERPRINT, where every receiver ignores or refuses it.
    #[error("attribute after the message was sealed")]
    Sealed,
}

/// Why MESSAGE-INTEGRITY(-SHA256) or FINGERPRINT did not verify.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// The message does not carry the attribute.
    #[error("absent")]
    Absent,
    /// It carries one that does not match.
    #[error("mismatch")]
    Mismatch,
}
