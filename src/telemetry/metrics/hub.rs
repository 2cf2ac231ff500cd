//! The hub's numbers: a scrape asks its driver.

use std::sync::{Arc, Mutex, PoisonError};

use prometheus::Registry;
use prometheus::proto::MetricFamily;

use super::family::AtScrape;
use super::table as t;
use crate::signaling::{CloseCode, ErrorCode, MessageKind, RelayBudget, Stats};

/// Where the hub's counters come from.
#[derive(Clone, Default)]
pub struct HubSlot(Arc<Mutex<Option<Ask>>>);

type Ask = Box<dyn Fn() -> Stats + Send + Sync>;

impl HubSlot {
    /// Asks `stats` at each scrape from now on. It may lock, but must not wait, and must not come back here.
    pub fn ask(&self, stats: impl Fn() -> Stats + Send + Sync + 'static) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(stats));
    }

    /// Zeros while there is no hub to ask.
    pub(super) fn stats(&self) -> Stats {
        let ask = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ask.as_ref().map(|ask| ask()).unwrap_or_default()
    }

    pub(super) fn register(&self, registry: &Registry) -> prometheus::Result<()> {
        let slot = self.clone();
        let families: &[_] = &[
            &t::HUB_CONNECTIONS,
            &t::HUB_PEERS,
            &t::HUB_AWAY,
            &t::HUB_ROOMS,
            &t::HUB_MEMBERSHIPS,
            &t::HUB_MESSAGES,
            &t::HUB_ACCEPTED,
            &t::HUB_REFUSED,
            &t::HUB_DELIVERIES,
            &t::HUB_DELIVERED_BYTES,
            &t::HUB_RELAYED_BYTES,
            &t::HUB_RELAY_REFUSED,
            &t::HUB_OVERFLOWS,
            &t::HUB_JOINS,
            &t::HUB_LEAVES,
            &t::HUB_TAKEOVERS,
            &t::HUB_ICE_PUSHES,
            &t::HUB_EXPELLED,
            &t::HUB_ROOMS_CLOSED,
            &t::HUB_BANS,
            &t::HUB_BANNED,
            &t::HUB_RESUMES,
            &t::HUB_RESUMES_REFUSED,
            &t::HUB_AWAY_REFUSED,
            &t::HUB_AWAY_OVERFLOWS,
            &t::HUB_POSTPONED,
            &t::HUB_POSTPONED_WAITING,
            &t::HUB_POSTPONED_EXPIRED,
            &t::HUB_POSTPONED_REFUSED,
            &t::HUB_CONNECTS,
            &t::HUB_CONNECTS_REFUSED,
            &t::HUB_CLOSES,
            &t::BUS_NODES,
            &t::BUS_NODES_LOST,
            &t::BUS_MIRRORED,
            &t::BUS_RESYNCS,
            &t::BUS_WAITING,
            &t::BUS_HELD,
            &t::BUS_HELD_TIMEOUTS,
            &t::BUS_HELD_REFUSED,
            &t::BUS_MALFORMED,
            &t::BUS_STALE,
            &t::BUS_TURNED_AWAY,
            &t::BUS_CONNECTIONS,
            &t::BUS_PEERS,
            &t::BUS_ROOMS,
        ];
        registry.register(Box::new(AtScrape::new(families, move || slot.collect())?))
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let stats = self.stats();
        let messages: Vec<_> = MessageKind::ALL.iter().map(|&kind| stats.messages[kind]).collect();
        let refused: Vec<_> = ErrorCode::ALL.iter().map(|&code| stats.refused[code]).collect();
        let relay_refused = RelayBudget::ALL.iter().map(|&budget| stats.relay_refused[budget]);
        let relay_refused: Vec<_> = relay_refused.collect();
        let closes: Vec<_> = CloseCode::ALL.iter().map(|&code| stats.closes[code]).collect();
        vec![
            t::HUB_CONNECTIONS.single(stats.connections as f64),
            t::HUB_PEERS.single(stats.peers as f64),
            t::HUB_AWAY.single(stats.away as f64),
            t::HUB_ROOMS.single(stats.rooms as f64),
            t::HUB_MEMBERSHIPS.single(stats.memberships as f64),
            t::HUB_MESSAGES.by_label(&messages),
            t::HUB_ACCEPTED.single(stats.accepted as f64),
            t::HUB_REFUSED.by_label(&refused),
            t::HUB_DELIVERIES.single(stats.deliveries as f64),
            t::HUB_DELIVERED_BYTES.single(stats.delivered_bytes as f64),
            t::HUB_RELAYED_BYTES.single(stats.relayed_bytes as f64),
            t::HUB_RELAY_REFUSED.by_label(&relay_refused),
            t::HUB_OVERFLOWS.single(stats.queue_overflows as f64),
            t::HUB_JOINS.single(stats.joins as f64),
            t::HUB_LEAVES.single(stats.leaves as f64),
            t::HUB_TAKEOVERS.single(stats.takeovers as f64),
            t::HUB_ICE_PUSHES.single(stats.ice_pushes as f64),
            t::HUB_EXPELLED.single(stats.expelled as f64),
            t::HUB_ROOMS_CLOSED.single(stats.rooms_closed as f64),
            t::HUB_BANS.single(stats.bans as f64),
            t::HUB_BANNED.single(stats.banned as f64),
            t::HUB_RESUMES.single(stats.resumes as f64),
            t::HUB_RESUMES_REFUSED.single(stats.resumes_refused as f64),
            t::HUB_AWAY_REFUSED.single(stats.away_refused as f64),
            t::HUB_AWAY_OVERFLOWS.single(stats.away_overflows as f64),
            t::HUB_POSTPONED.single(stats.postponed as f64),
            t::HUB_POSTPONED_WAITING.single(stats.postponed_waiting as f64),
            t::HUB_POSTPONED_EXPIRED.single(stats.postponed_expired as f64),
            t::HUB_POSTPONED_REFUSED.single(stats.postponed_refused as f64),
            t::HUB_CONNECTS.single(stats.connects as f64),
            t::HUB_CONNECTS_REFUSED.single(stats.connects_refused as f64),
            t::HUB_CLOSES.by_label(&closes),
            t::BUS_NODES.single(stats.bus.nodes as f64),
            t::BUS_NODES_LOST.single(stats.bus.nodes_lost as f64),
            t::BUS_MIRRORED.single(stats.bus.mirrored as f64),
            t::BUS_RESYNCS.single(stats.bus.resyncs as f64),
            t::BUS_WAITING.single(stats.bus.waiting as f64),
            t::BUS_HELD.single(stats.bus.held as f64),
            t::BUS_HELD_TIMEOUTS.single(stats.bus.held_timeouts as f64),
            t::BUS_HELD_REFUSED.single(stats.bus.held_refused as f64),
            t::BUS_MALFORMED.single(stats.bus.malformed as f64),
            t::BUS_STALE.single(stats.bus.stale as f64),
            t::BUS_TURNED_AWAY.single(stats.bus.turned_away as f64),
            t::BUS_CONNECTIONS.single(stats.bus.total_connections as f64),
            t::BUS_PEERS.single(stats.bus.total_peers as f64),
            t::BUS_ROOMS.single(stats.bus.total_rooms as f64),
        ]
    }
}
