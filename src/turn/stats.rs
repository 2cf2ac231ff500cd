//! What one shard counts: plain integers, copied out by the driver.
//!
//! Invariant: `client_packets + peer_packets` equals `relayed + answered + dropped + pending` at any time between two
//! calls.

use super::five_tuple::{Family, Transport};
use super::peer_filter::PeerClass;
use super::verdict::{
    Answer, AuthFailure, CloseReason, ConnectionEnd, Direction, DiscoveryAnswer, DropReason, Initiator, MoveEnd,
    PeerErrorEnd, QuotaKind, RateKind, RedirectReason, Resource,
};

/// Packets and their payload bytes (without STUN, ChannelData, UDP and IP headers).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Traffic {
    /// Packets.
    pub packets: u64,
    /// Bytes of payload.
    pub bytes: u64,
}

impl Traffic {
    #[inline]
    pub(super) fn add(&mut self, bytes: usize) {
        self.packets += 1;
        self.bytes += bytes as u64;
    }

    /// Both together.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            packets: self.packets + other.packets,
            bytes: self.bytes + other.bytes,
        }
    }

    /// What has been added since.
    #[must_use]
    pub const fn minus(self, other: Self) -> Self {
        Self {
            packets: self.packets.saturating_sub(other.packets),
            bytes: self.bytes.saturating_sub(other.bytes),
        }
    }
}

/// How much of something is used.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Fill {
    /// Used.
    pub used: u64,
    /// The most there may be.
    pub limit: u64,
}

impl Fill {
    pub(super) fn new(used: usize, limit: usize) -> Self {
        Self {
            used: used as u64,
            limit: limit as u64,
        }
    }

    /// From 0 to 1; 0 without a limit.
    pub fn ratio(self) -> f64 {
        if self.limit == 0 {
            0.0
        } else {
            self.used as f64 / self.limit as f64
        }
    }
}

/// Counters (only ever grow) and gauges (`*_active`, `pending`) of one shard. Arrays are indexed by `index()` of the enum
/// named in the field's doc.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stats {
    /// Datagrams and frames from clients, by [`Transport`].
    pub client_packets: [u64; Transport::ALL.len()],
    /// Datagrams from peers, sibling shards included.
    pub peer_packets: u64,
    /// Packets that were passed on ([`super::Verdict::Relayed`]).
    pub relayed: u64,
    /// Requests answered, by [`Answer`].
    pub answered: [u64; Answer::COUNT],
    /// Packets that ended here, by [`DropReason`].
    pub dropped: [u64; DropReason::COUNT],
    /// Allocate and Connect requests whose socket or peer is waited for now.
    pub pending: u64,

    /// Payload by [`Direction`] and [`Transport`] of the client leg. A hairpinned packet counts once in each direction.
    pub traffic: [[Traffic; Transport::ALL.len()]; Direction::COUNT],
    /// Payload that went from client to client without leaving the process through a relay socket.
    pub hairpin: Traffic,

    /// Payload packets dropped because a limit was reached, by [`Direction`] and [`RateKind`].
    pub over_rate: [[u64; RateKind::COUNT]; Direction::COUNT],

    /// Living relayed addresses of TCP, by [`Family`]; counted in `allocations_active` as well.
    pub tcp_relays_active: [u64; Family::ALL.len()],
    /// Data connections of TCP allocations, by [`Initiator`]. Equals `connections_ended + connections_pending +
    /// connections_active`.
    pub connections_opened: [u64; Initiator::COUNT],
    /// By [`ConnectionEnd`].
    pub connections_ended: [u64; ConnectionEnd::COUNT],
    /// Data connections whose peer or whose client is waited for.
    pub connections_pending: u64,
    /// Data connections that carry bytes.
    pub connections_active: u64,
    /// Times that a data connection had to wait because a limit was reached, by [`Direction`] and [`RateKind`].
    pub connection_pauses: [[u64; RateKind::COUNT]; Direction::COUNT],

    /// By [`AuthFailure`].
    pub auth_failures: [u64; AuthFailure::COUNT],
    /// Peers refused by CreatePermission, ChannelBind or Send, by [`PeerClass`].
    pub denied_peers: [u64; PeerClass::COUNT],
    /// ICMP errors about datagrams to peers, by [`PeerErrorEnd`]. No packets: they have no verdict.
    pub peer_errors: [u64; PeerErrorEnd::COUNT],
    /// Allocate requests answered with 300, by [`RedirectReason`].
    pub redirects: [u64; RedirectReason::COUNT],
    /// Binding requests answered to NAT discovery, by [`DiscoveryAnswer`].
    pub discovery_answers: [u64; DiscoveryAnswer::COUNT],
    /// By [`QuotaKind`].
    pub quota_hits: [u64; QuotaKind::COUNT],

    /// Living relayed addresses, by [`Family`] and [`Transport`] of the client leg. A dual allocation counts in both families.
    pub allocations_active: [[u64; Transport::ALL.len()]; Family::ALL.len()],
    /// Allocations that were answered with success.
    pub allocations_created: u64,
    /// By [`CloseReason`].
    pub allocations_closed: [u64; CloseReason::COUNT],
    /// Successful Refresh requests with a lifetime.
    pub allocations_refreshed: u64,
    /// Refresh requests with a ticket that opened a second path to an allocation (RFC 8016).
    pub moves_begun: u64,
    /// By [`MoveEnd`]. What is not in here yet is under way.
    pub moves_ended: [u64; MoveEnd::COUNT],
    /// Living permissions.
    pub permissions_active: u64,
    /// Permissions that were new, not refreshed.
    pub permissions_created: u64,
    /// Permissions that new rules for peers put an end to.
    pub permissions_revoked: u64,
    /// Living channel bindings.
    pub channels_active: u64,
    /// Channel bindings that were new, not refreshed.
    pub channels_created: u64,
    /// Channel bindings that new rules for peers put an end to.
    pub channels_revoked: u64,
    /// Ports reserved by EVEN-PORT.
    pub reservations_created: u64,
    /// Ports whose reservation nobody claimed in time.
    pub reservations_expired: u64,
    /// Requests answered from memory because they were retransmitted.
    pub retransmits: u64,
    /// Events that found no room to wait or to be folded.
    pub events_dropped: u64,

    /// Datagrams of UDP that were answered without credentials, whole messages of STUN.
    pub unauthenticated_requests: Traffic,
    /// Those answers, whole messages of STUN. Their sender may be forged, so they must not be much more than what came.
    pub unauthenticated_answers: Traffic,
    /// How much is used, by [`Resource`]: of the process, but ports, which are of this shard. As of the last
    /// [`super::Server::all_stats`].
    pub fills: [Fill; Resource::COUNT],
    /// About how many client addresses (or prefixes) had credentials turned away within a minute, in the process. As of the last
    /// [`super::Server::all_stats`].
    pub failing_sources: u64,
}

impl Default for Stats {
    fn default() -> Self {
        Self {
            client_packets: [0; Transport::ALL.len()],
            peer_packets: 0,
            relayed: 0,
            answered: [0; Answer::COUNT],
            dropped: [0; DropReason::COUNT],
            pending: 0,
            traffic: [[Traffic::default(); Transport::ALL.len()]; Direction::COUNT],
            hairpin: Traffic::default(),
            over_rate: [[0; RateKind::COUNT]; Direction::COUNT],
            tcp_relays_active: [0; Family::ALL.len()],
            connections_opened: [0; Initiator::COUNT],
            connections_ended: [0; ConnectionEnd::COUNT],
            connections_pending: 0,
            connections_active: 0,
            connection_pauses: [[0; RateKind::COUNT]; Direction::COUNT],
            auth_failures: [0; AuthFailure::COUNT],
            denied_peers: [0; PeerClass::COUNT],
            peer_errors: [0; PeerErrorEnd::COUNT],
            redirects: [0; RedirectReason::COUNT],
            discovery_answers: [0; DiscoveryAnswer::COUNT],
            quota_hits: [0; QuotaKind::COUNT],
            allocations_active: [[0; Transport::ALL.len()]; Family::ALL.len()],
            allocations_created: 0,
            allocations_closed: [0; CloseReason::COUNT],
            allocations_refreshed: 0,
            moves_begun: 0,
            moves_ended: [0; MoveEnd::COUNT],
            permissions_active: 0,
            permissions_created: 0,
            permissions_revoked: 0,
            channels_active: 0,
            channels_created: 0,
            channels_revoked: 0,
            reservations_created: 0,
            reservations_expired: 0,
            retransmits: 0,
            events_dropped: 0,
            unauthenticated_requests: Traffic::default(),
            unauthenticated_answers: Traffic::default(),
            fills: [Fill::default(); Resource::COUNT],
            failing_sources: 0,
        }
    }
}

impl Stats {
    /// Packets handed in.
    pub fn packets_in(&self) -> u64 {
        self.client_packets.iter().sum::<u64>() + self.peer_packets
    }

    /// Verdicts given, those still owed included. Equals [`Stats::packets_in`].
    pub fn verdicts(&self) -> u64 {
        self.relayed + self.answered.iter().sum::<u64>() + self.dropped.iter().sum::<u64>() + self.pending
    }

    #[inline]
    pub(super) fn add_traffic(&mut self, direction: Direction, transport: Transport, bytes: usize) {
        self.traffic[direction.index()][transport.index()].add(bytes);
    }
}
