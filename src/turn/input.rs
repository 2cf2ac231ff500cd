//! What a driver hands in besides bytes: the time, the shard, the outcome of a bind.

use std::time::Instant;

use crate::credentials::UnixTime;

/// The two clocks, read once per batch by the driver.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Now {
    /// Monotonic: every lifetime is measured with it.
    pub instant: Instant,
    /// Wall clock: expiry of credentials and age of nonces, which outlive the process.
    pub unix: UnixTime,
}

/// Which part of the process this server is. A shard owns the client flows that its listener receives and the relay
/// ports whose pair number is congruent to its index.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shard {
    /// `0..count`.
    pub index: u16,
    /// At least 1.
    pub count: u16,
}

impl Shard {
    /// The only shard of a process.
    pub const SINGLE: Self = Self { index: 0, count: 1 };
}

/// Why a relay socket could not be had.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BindError {
    /// The port is taken by another socket of this machine: another one is tried.
    InUse,
    /// The reserved socket of a token is not there any more.
    NotReserved,
    /// Anything another port would not cure: no such address, no more descriptors.
    Failed,
}
