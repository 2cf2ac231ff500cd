//! The languages clients speak to the hub. A dialect turns frames into calls of the hub's primitives and the hub's events
//! into frames; it holds no rooms, no peers and no limits of its own.

pub(crate) mod native;

use bytes::Bytes;

use super::{error::Reject, event::Event};

/// The language of one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Dialect {
    /// `meetpoint.v1.json`, see `docs/signaling-protocol.md`.
    #[default]
    Native,
}

impl Dialect {
    /// Every dialect, in the order of [`Self::index`].
    pub const ALL: &'static [Self] = &[Self::Native];

    /// Position in [`Self::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The frame that tells a member of this dialect about `event`.
    pub(crate) fn encode(self, event: &Event<'_>, seq: u64) -> Bytes {
        match self {
            Self::Native => native::frame::event(event, seq),
        }
    }

    /// The frame that tells a connection of this dialect what is wrong.
    pub(crate) fn refusal(self, id: Option<u64>, reject: &Reject) -> Bytes {
        match self {
            Self::Native => native::frame::err(id, reject),
        }
    }
}
