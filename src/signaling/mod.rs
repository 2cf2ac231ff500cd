//! The signaling hub as a state machine: rooms, presence, directed messages.

#![forbid(unsafe_code)]

mod config;
mod identity;
mod labels;
mod stats;

pub use config::Config;
pub use identity::{AuthError, Identity, Rights, Takeover};
pub use labels::{CloseCode, ErrorCode, MessageKind};
pub use stats::{CloseCounts, Counters, ErrorCounts, MessageCounts, Stats};

use std::time::Instant;

/// The time as the driver read it, once per batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// For deadlines and rates.
    pub instant: Instant,
    /// For what clients are told and for token expiry, milliseconds since the Unix epoch.
    pub unix_ms: u64,
}
