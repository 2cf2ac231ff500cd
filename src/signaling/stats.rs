//! What the hub counts: plain integers by closed sets, so that anything can publish them.

use super::labels::{CloseCode, ErrorCode, MessageKind, RelayBudget};

/// One counter per member of a closed set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counters<const N: usize>([u64; N]);

impl<const N: usize> Default for Counters<N> {
    fn default() -> Self {
        Self([0; N])
    }
}

impl<const N: usize> Counters<N> {
    /// The sum over all members.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }
}

macro_rules! counters {
    ($alias:ident, $key:ident, $doc:literal) => {
        #[doc = $doc]
        pub type $alias = Counters<{ $key::ALL.len() }>;

        impl std::ops::Index<$key> for $alias {
            type Output = u64;
            fn index(&self, key: $key) -> &u64 {
                &self.0[key.index()]
            }
        }

        impl std::ops::IndexMut<$key> for $alias {
            fn index_mut(&mut self, key: $key) -> &mut u64 {
                &mut self.0[key.index()]
            }
        }
    };
}

counters!(MessageCounts, MessageKind, "Received messages by kind.");
counters!(ErrorCounts, ErrorCode, "Refused messages by code.");
counters!(CloseCounts, CloseCode, "Ended connections by close code.");
counters!(
    RelayCounts,
    RelayBudget,
    "Refusals of relayed data by the budget that was used up."
);

/// Counters and gauges of one hub. Counters only grow; gauges are the present size of a table.
///
/// Every received message is counted once in `messages` and once in `accepted` or `refused`:
/// `messages.total() == accepted + refused.total()`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Counter: messages received, by kind.
    pub messages: MessageCounts,
    /// Counter: messages carried out.
    pub accepted: u64,
    /// Counter: messages answered with `err`, by code.
    pub refused: ErrorCounts,
    /// Counter: frames handed to the queue of a connection.
    pub deliveries: u64,
    /// Counter: bytes of those frames.
    pub delivered_bytes: u64,
    /// Counter: payload bytes relayed by `send`, counted per receiver.
    pub relayed_bytes: u64,
    /// Counter: relayed data (and lists that cost as much) refused with `relay_busy`, by the budget that was used up.
    pub relay_refused: RelayCounts,
    /// Counter: connections closed because their queue was full.
    pub queue_overflows: u64,
    /// Counter: room joins.
    pub joins: u64,
    /// Counter: room leaves, for whatever reason.
    pub leaves: u64,
    /// Counter: connections replaced by a newer one of the same owner.
    pub takeovers: u64,
    /// Counter: ICE credentials sent unasked, because the older ones were about to end.
    pub ice_pushes: u64,
    /// Counter: sessions that went on with another socket.
    pub resumes: u64,
    /// Counter: sessions whose owner proved them but that could not go on: too much was missed, or the token is another's.
    pub resumes_refused: u64,
    /// Counter: broken sockets whose session was not kept, because as many as may are waiting.
    pub away_refused: u64,
    /// Counter: sessions that waited for their owner and missed more than is kept.
    pub away_overflows: u64,
    /// Counter: frames that waited for somebody to take a name.
    pub postponed: u64,
    /// Counter: senders who were told that nobody took the name.
    pub postponed_expired: u64,
    /// Counter: frames that could not wait, because as many as may do.
    pub postponed_refused: u64,
    /// Counter: connections accepted.
    pub connects: u64,
    /// Counter: connections refused because the table was full.
    pub connects_refused: u64,
    /// Counter: ended connections by close code.
    pub closes: CloseCounts,
    /// Counter: sessions that an operator ended.
    pub expelled: u64,
    /// Counter: rooms that an operator ended.
    pub rooms_closed: u64,
    /// Counter: greetings and joins refused by a ban.
    pub banned: u64,
    /// Gauge: bans, those included that are over and not yet forgotten.
    pub bans: u64,
    /// Gauge: open connections, greeted or not.
    pub connections: u64,
    /// Gauge: sessions that have been welcomed, those that wait for their owner too.
    pub peers: u64,
    /// Gauge: sessions that wait for their owner to come back.
    pub away: u64,
    /// Gauge: frames that wait for somebody to take a name.
    pub postponed_waiting: u64,
    /// Gauge: rooms.
    pub rooms: u64,
    /// Gauge: memberships, that is peers summed over rooms.
    pub memberships: u64,
    /// What goes on between replicas; all zero without a bus.
    pub bus: BusStats,
}

/// Counters and gauges of what goes on between replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BusStats {
    /// Counter: messages published to other replicas.
    pub published: u64,
    /// Counter: messages of other replicas that were taken in.
    pub received: u64,
    /// Counter: messages from the bus that were not understood: broken, too long, or of a version that is not known here.
    pub malformed: u64,
    /// Counter: messages of other replicas that came to nothing, because what they are about is not here (any more).
    pub stale: u64,
    /// Counter: messages turned away because a table was full: of nodes, of members that live elsewhere.
    pub turned_away: u64,
    /// Counter: lists of members that were asked for again because a message of them was lost.
    pub resyncs: u64,
    /// Counter: requests that waited for other replicas.
    pub held: u64,
    /// Counter: requests that waited in vain.
    pub held_timeouts: u64,
    /// Counter: requests refused because as many as may were waiting.
    pub held_refused: u64,
    /// Counter: other replicas that fell silent.
    pub nodes_lost: u64,
    /// Gauge: whether the bus can be used.
    pub connected: bool,
    /// Gauge: other replicas that are alive.
    pub nodes: u64,
    /// Gauge: requests that wait for other replicas.
    pub waiting: u64,
    /// Gauge: members of rooms here that live on other replicas.
    pub mirrored: u64,
    /// Gauge: open connections of all replicas together, this one included, as they told last.
    pub total_connections: u64,
    /// Gauge: welcomed sessions of all replicas together.
    pub total_peers: u64,
    /// Gauge: rooms of all replicas together, each counted once.
    pub total_rooms: u64,
    /// Gauge: memberships of all replicas together.
    pub total_memberships: u64,
}
