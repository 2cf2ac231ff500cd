//! STUN and TURN on the wire: borrowed on the way in, the caller's buffer on the way out.
//!
//! What it is: one validated pass over a datagram ([`Message::parse`]), typed attributes ([`attribute`]), a
//! bounds-checked writer ([`MessageBuilder`]), message integrity with prepared keys ([`IntegrityKey`]), ChannelData,
//! stream framing and the demultiplexing rule of RFC 7983.
//!
//! What it is not: it decides nothing. Whether an attribute is allowed, a nonce fresh or a channel bound is asked in
//! the module `turn`. It reads no clock and no randomness: transaction ids come in as values.
//!
//! Invariants:
//! - No input makes it panic, and nothing here allocates: not parsing, not building, not verifying. (The one buffer of
//!   [`stream::FrameReader`] is handed in by its owner.)
//! - Every table is on the stack and bounded: [`MAX_ATTRIBUTES`] per message, [`MAX_UNKNOWN`] types in a 420.
//! - What MESSAGE-INTEGRITY does not cover is invisible to [`Message::find`] and [`Message::attributes`].
//! - Padding written is zero (CVE-2020-4067); the length field of a message under construction is right at all times.
//! - Secrets are compared in constant time, wiped on drop as far as the hash crates allow, and never printed.
//!
//! RFCs: 8489 (STUN), 8656 (TURN), 5780 (NAT discovery), 6062 (TURN TCP), 7635 (third-party authorization),
//! 7983 (demultiplexing), 8016 (mobility). The classic STUN of RFC 3489, without a magic cookie, is refused with an
//! error of its own ([`DecodeError::MissingCookie`]).

#![forbid(unsafe_code)]

pub mod attribute;
mod builder;
mod channel_data;
mod demux;
mod error;
mod error_code;
mod fingerprint;
mod header;
mod integrity;
mod message;
mod prefix;
mod reader;
pub mod stream;

pub use attribute::{Attribute, AttributeType};
pub use builder::MessageBuilder;
pub use channel_data::{CHANNEL_DATA_HEADER_LEN, ChannelData, ChannelNumber};
pub use demux::{PacketKind, demux};
pub use error::{DecodeError, EncodeError, VerifyError};
pub use error_code::ErrorCode;
pub use header::{Class, HEADER_LEN, Header, MAGIC_COOKIE, Method, TransactionId};
pub use integrity::{IntegrityKey, IntegrityKind, is_opaque_string, userhash};
pub use message::{Attributes, MAX_ATTRIBUTES, MAX_UNKNOWN, Message, RawAttribute, UnknownTypes};
pub use prefix::Prefix;

/// Bytes of zero padding that bring `len` to a multiple of four (RFC 8489 §14, RFC 8656 §12.5).
#[must_use]
pub const fn padding(len: usize) -> usize {
    len.wrapping_neg() & 3
}
