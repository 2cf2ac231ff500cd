//! The state of one shard.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use super::config::Config;
use super::five_tuple::{FiveTuple, PeerAddr, RelayId, RelayedAddr};
use super::input::{BindError, Now, Shard};
use super::output::{Handled, Output};
use super::quota::Ledger;
use super::reservation::Reservations;
use super::stats::Stats;
use super::verdict::{DropReason, Verdict};

/// The TURN server of one shard.
#[derive(Debug)]
pub struct Server {
    config: Arc<Config>,
    stats: Stats,
}

impl Server {
    /// A server without allocations. `ledger` and `reservations` are shared by all shards of the process; `seed` is secret
    /// randomness of this shard alone.
    pub fn new(
        config: Arc<Config>,
        _shard: Shard,
        _ledger: Ledger,
        _reservations: Reservations,
        _seed: [u8; 32],
    ) -> Self {
        Self {
            config,
            stats: Stats::default(),
        }
    }

    /// Takes one datagram, or one frame of a stream, from a client.
    pub fn handle_client(&mut self, _now: Now, from: &FiveTuple, _datagram: &[u8]) -> Handled {
        self.stats.client_packets[from.transport.index()] += 1;
        self.stats.dropped[DropReason::NotStun.index()] += 1;
        Handled::Done(Verdict::Dropped(DropReason::NotStun))
    }

    /// Takes one datagram that a peer sent to a relay socket, or that a sibling shard hands over.
    pub fn handle_peer(&mut self, _now: Now, _relay: RelayId, _from: PeerAddr, _datagram: &[u8]) -> Handled {
        self.stats.peer_packets += 1;
        self.stats.dropped[DropReason::NoRelay.index()] += 1;
        Handled::Done(Verdict::Dropped(DropReason::NoRelay))
    }

    /// The relay of a relayed address, if this shard holds it.
    pub fn relay_at(&self, _relayed: RelayedAddr) -> Option<RelayId> {
        None
    }

    /// Takes the outcome of [`Output::BindRelay`]: the address the socket is bound to.
    pub fn handle_relay_bound(&mut self, _now: Now, _relay: RelayId, _result: Result<SocketAddr, BindError>) {}

    /// The client's stream is closed: its allocation ends (RFC 8656 §3.1).
    pub fn handle_client_gone(&mut self, _now: Now, _five_tuple: &FiveTuple) {}

    /// The next piece of work for the driver; `None` when there is no more.
    pub fn poll_output(&mut self) -> Option<Output<'_>> {
        None
    }

    /// When [`Server::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    /// Ends what is out of time.
    pub fn handle_timeout(&mut self, _now: Now) {}

    /// Takes a new configuration. Living allocations keep their relayed address, lifetime and credentials; new rules for peers
    /// hold from the next CreatePermission, ChannelBind or Send.
    pub fn reconfigure(&mut self, config: Arc<Config>) {
        self.config = config;
    }

    /// What was counted so far.
    pub const fn stats(&self) -> &Stats {
        &self.stats
    }
}
