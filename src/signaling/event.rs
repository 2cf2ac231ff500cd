//! What members of a room are told, before it is put into the words of their dialect.

use std::sync::Arc;

use bytes::Bytes;

use super::meta::Meta;

/// Something that happened in a room.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Event<'a> {
    /// A peer joined.
    Joined {
        room: &'a str,
        peer: &'a str,
        meta: Option<&'a Arc<Meta>>,
    },
    /// A peer is gone from the room, and why.
    Left { room: &'a str, peer: &'a str, why: &'a str },
    /// A peer's socket broke; it may come back.
    Away { room: &'a str, peer: &'a str },
    /// A peer that was away is back; nothing of what it had is lost.
    Back { room: &'a str, peer: &'a str },
    /// A peer's presence data is now this.
    Presence {
        room: &'a str,
        peer: &'a str,
        meta: Option<&'a Arc<Meta>>,
    },
    /// The room's metadata is now this.
    Room {
        room: &'a str,
        by: &'a str,
        meta: Option<&'a Arc<Meta>>,
        version: u64,
    },
    /// Negotiation from one peer to another. `data` is one JSON value, byte for byte as it came.
    Signal {
        room: &'a str,
        from: &'a str,
        kind: &'a str,
        data: Option<&'a str>,
        correlation: Option<&'a str>,
    },
    /// An operator has ended the room; its receivers are not in it any more.
    Closed { room: &'a str, reason: Option<&'a str> },
    /// A frame of the receivers' own dialect, as it came: its sender is checked, and stands in it.
    Verbatim { frame: &'a Bytes },
    /// Application data.
    Message {
        room: &'a str,
        from: &'a str,
        data: Data<'a>,
        /// Kept for receivers who are away, or whose socket breaks before they have it.
        reliable: bool,
    },
}

/// Application data, byte for byte as it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Data<'a> {
    /// One JSON value.
    Json(&'a str),
    /// Anything.
    Bytes(&'a [u8]),
}

impl Data<'_> {
    pub(crate) const fn len(&self) -> usize {
        match self {
            Self::Json(text) => text.len(),
            Self::Bytes(bytes) => bytes.len(),
        }
    }
}

impl Event<'_> {
    /// A message of bytes: its room, its sender, and they.
    pub(crate) const fn message_in_bytes(&self) -> Option<(&str, &str, &[u8])> {
        match *self {
            Self::Message {
                room,
                from,
                data: Data::Bytes(bytes),
                ..
            } => Some((room, from, bytes)),
            _ => None,
        }
    }

    /// Whether it tells of members, who come, go or change: what a crowd need not hear at once.
    pub(crate) const fn is_presence(&self) -> bool {
        matches!(
            self,
            Self::Joined { .. } | Self::Left { .. } | Self::Away { .. } | Self::Back { .. } | Self::Presence { .. }
        )
    }

    /// Whether a receiver who resumes is told of it again. Data relayed at most once is not: it would crowd out the signals.
    pub(crate) const fn is_kept(&self) -> bool {
        !matches!(self, Self::Message { reliable: false, .. })
    }
}
