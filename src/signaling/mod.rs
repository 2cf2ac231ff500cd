//! The signaling hub as a state machine: rooms, presence, directed messages.
//!
//! What it is: [`Hub`] takes frames and `now`, and gives back frames to queue and connections to close. It is the only place
//! that knows who is in which room. Its wire is specified in `docs/signaling-protocol.md`.
//!
//! What it is not: it opens no socket, reads no clock, checks no token and mints no credential. The driver (`ws`) does that
//! and hands the results in as [`Grants`].
//!
//! The loop of a driver, after every call: drain [`Hub::poll_output`], then arm a timer for [`Hub::poll_timeout`].
//!
//! Invariants:
//! - Outputs to one connection keep their order, and so do all messages from one sender to one receiver.
//! - A member is told of a room (`joined`) before anything that happens in it, and of a newcomer before the newcomer's first
//!   signal. The snapshot and the events after it together show every other member exactly once.
//! - Every received message is counted once by kind and once as accepted or refused; a refused one is answered.
//! - Payloads (`data`, presence values) leave as the bytes they came in.
//! - Every table and every rate has a bound in [`Config`], and meeting it is an error with a code, not silence.
//! - A connection is removed by its [`ConnectionId`], never by its peer id: a late end of an old socket cannot remove the
//!   peer that came back on a new one.

#![forbid(unsafe_code)]

mod bans;
pub(crate) mod cluster;
mod config;
mod connection;
mod dialect;
mod error;
mod event;
mod hub;
mod identity;
mod json;
mod labels;
mod limits;
mod meta;
mod payload;
mod postbox;
mod replay;
mod room;
mod secrets;
mod slab;
mod stats;

pub use bans::{Ban, BanBy, BanRoom, BansFull, Barred};
pub use cluster::{BusConfig, NodeId, RoomTopic, Topic};
pub use config::Config;
pub use connection::ConnectionId;
pub use dialect::{
    Dialect, Opening,
    native::request::{Malformed, Needs, Request},
};
pub use event::Data;
pub use hub::{
    Admitted, Banned, Connected, Ended, Frame, Full, Grants, Hub, Ice, IceHolder, MemberPage, NotDone, Output, PutOut,
    RoomSummary, RoomView, SERVER,
};
pub use identity::{AuthError, IceUser, Identity, KeptClaims, Rights, Takeover};
pub use labels::{CloseCode, ErrorCode, MessageKind, RelayBudget};
pub use payload::Payload;
pub use room::Realm;
pub use secrets::Sid;
pub use stats::{BusStats, CloseCounts, Counters, ErrorCounts, MessageCounts, RelayCounts, Stats};

use std::time::Instant;

/// The time as the driver read it, once per batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// For deadlines and rates.
    pub instant: Instant,
    /// For what clients are told and for token expiry, milliseconds since the Unix epoch.
    pub unix_ms: u64,
}
