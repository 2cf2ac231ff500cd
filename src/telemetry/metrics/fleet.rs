//! The numbers of the relays of all replicas: a scrape asks the driver.

use std::sync::{Arc, Mutex, PoisonError};

use prometheus::Registry;
use prometheus::proto::MetricFamily;

use super::family::AtScrape;
use super::table as t;
use crate::fleet::Stats;

/// Where the counters come from.
#[derive(Clone, Default)]
pub struct FleetSlot(Arc<Mutex<Option<Ask>>>);

type Ask = Box<dyn Fn() -> Stats + Send + Sync>;

impl FleetSlot {
    /// Asks `stats` at each scrape from now on. It may lock, but must not wait, and must not come back here.
    pub fn ask(&self, stats: impl Fn() -> Stats + Send + Sync + 'static) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(stats));
    }

    /// Zeros in a process that is alone.
    fn stats(&self) -> Stats {
        let ask = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ask.as_ref().map(|ask| ask()).unwrap_or_default()
    }

    pub(super) fn register(&self, registry: &Registry) -> prometheus::Result<()> {
        let slot = self.clone();
        let families: &[_] = &[
            &t::FLEET_NODES,
            &t::FLEET_RELAYS,
            &t::FLEET_ANNOUNCEMENTS,
            &t::FLEET_LOAD,
            &t::FLEET_CHANGES,
            &t::FLEET_FULL,
            &t::FLEET_ASKED,
            &t::FLEET_UNANSWERED,
            &t::FLEET_MALFORMED,
            &t::FLEET_TURNED_AWAY,
            &t::FLEET_FORGED,
            &t::FLEET_STALE,
            &t::FLEET_CHOICES,
            &t::FLEET_POSTPONED,
            &t::FLEET_MOVED,
        ];
        registry.register(Box::new(AtScrape::new(families, move || slot.collect())?))
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let stats = self.stats();
        vec![
            t::FLEET_NODES.single(stats.nodes as f64),
            t::FLEET_RELAYS.by_label(&stats.relays),
            t::FLEET_ANNOUNCEMENTS.single(stats.announcements as f64),
            t::FLEET_LOAD.single(stats.load.percent() as f64),
            t::FLEET_CHANGES.by_label(&stats.changes),
            t::FLEET_FULL.single(stats.full as f64),
            t::FLEET_ASKED.single(stats.asked as f64),
            t::FLEET_UNANSWERED.single(stats.unanswered as f64),
            t::FLEET_MALFORMED.single(stats.malformed as f64),
            t::FLEET_TURNED_AWAY.single(stats.turned_away as f64),
            t::FLEET_FORGED.single(stats.forged as f64),
            t::FLEET_STALE.single(stats.stale as f64),
            t::FLEET_CHOICES.single(stats.choices as f64),
            t::FLEET_POSTPONED.single(stats.postponed as f64),
            t::FLEET_MOVED.single(stats.moved as f64),
        ]
    }
}
