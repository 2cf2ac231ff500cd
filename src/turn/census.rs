//! Everything a shard holds, counted: what must be nothing once everybody has left.

use super::server::Server;

/// How much of each kind a [`Server`] holds. [`Census::default`] is that of an idle one: whatever else is left is a leak.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Census {
    /// Places for allocations that are taken.
    pub allocations: usize,
    /// 5-tuples that lead to one.
    pub paths: usize,
    /// Relays, bound or being bound.
    pub relays: usize,
    /// Relayed addresses that lead to one.
    pub relayed: usize,
    /// Relay ports that are taken, reserved ones among them.
    pub ports: usize,
    /// Deadlines that are waited for.
    pub timers: usize,
    /// Answers kept for retransmissions.
    pub answers: usize,
    /// Clients whose packets are handed over to another shard, as far as this one has looked.
    pub routes: usize,
    /// Permissions, as the allocations hold them and as they are counted.
    pub permissions: [usize; 2],
    /// Channels, as the allocations hold them and as they are counted.
    pub channels: [usize; 2],
    /// Connections to peers, being made or made.
    pub connections: usize,
    /// Requests that wait for a socket or a peer.
    pub pending: usize,
}

impl Server {
    /// Counts everything. It walks all allocations: for tests, and for those who look for a leak.
    pub fn census(&self) -> Census {
        let held = || (0..self.allocations.places()).filter_map(|place| self.allocations.get(place));
        let counted = |gauge: u64| usize::try_from(gauge).unwrap_or(usize::MAX);
        Census {
            allocations: held().count(),
            paths: self.allocations.paths(),
            relays: self.allocations.relays(),
            relayed: self.allocations.relayed(),
            ports: self.ports.len(),
            timers: self.timers.len(),
            answers: self.retransmits.len(),
            routes: self.routes(),
            permissions: [
                held().map(|allocation| allocation.permissions.len()).sum(),
                counted(self.stats.permissions_active),
            ],
            channels: [
                held().map(|allocation| allocation.channels.len()).sum(),
                counted(self.stats.channels_active),
            ],
            connections: self.connections.len(),
            pending: counted(self.stats.pending),
        }
    }
}
