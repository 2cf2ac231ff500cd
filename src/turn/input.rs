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

/// Why a peer could not be connected to. Clients are told no more than 447.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ConnectError;

/// An ICMP error that a datagram of a relay socket met, as its header says. Anyone can forge one that knows both addresses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IcmpError {
    /// ICMP or ICMPv6 type, by the family of the relay.
    pub kind: u8,
    /// Its code.
    pub code: u8,
    /// The MTU of the next hop, bytes, if the type carries one; of no meaning otherwise.
    pub next_hop_mtu: u32,
}
