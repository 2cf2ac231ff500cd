//! How full things are: what is used is known to those who count, how much there is to those who start it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus::Registry;
use prometheus::proto::MetricFamily;

use super::api::ApiMetrics;
use super::family::AtScrape;
use super::hub::HubSlot;
use super::process::open_files;
use super::relay::Shards;
use super::table as t;
use crate::telemetry::DtlsPhase;
use crate::telemetry::labels::QuotaGauge;
use crate::turn::{Fill, Resource};

/// What there is of each, as far as workers do not tell it themselves; 0 is not known, or no limit. Clones share.
#[derive(Clone, Default)]
pub(super) struct Quotas(Arc<[AtomicU64; QuotaGauge::COUNT]>);

impl Quotas {
    pub(super) fn replace(&self, quota: QuotaGauge, limit: u64) {
        if let Some(place) = self.0.get(quota.index()) {
            place.store(limit, Ordering::Relaxed);
        }
    }

    pub(super) fn register(
        &self,
        registry: &Registry,
        shards: &Shards,
        hub: &HubSlot,
        api: &ApiMetrics,
    ) -> prometheus::Result<()> {
        let (quotas, shards, hub, api) = (self.clone(), shards.clone(), hub.clone(), api.clone());
        let collect = move || vec![quotas.collect(&shards, &hub, &api)];
        registry.register(Box::new(AtScrape::new(&[&t::QUOTA_RATIO], collect)?))
    }

    fn collect(&self, shards: &Shards, hub: &HubSlot, api: &ApiMetrics) -> MetricFamily {
        let (fills, streams, dtls) = shards.fills();
        let ratios = QuotaGauge::ALL.map(|quota| {
            let of_core = |resource: Resource| fills[resource.index()].ratio();
            let limit = self
                .0
                .get(quota.index())
                .map_or(0, |limit| limit.load(Ordering::Relaxed));
            let of = |used: u64| Fill { used, limit }.ratio();
            let ratio = match quota {
                QuotaGauge::Allocations => of_core(Resource::Allocations),
                QuotaGauge::Ports => of_core(Resource::Ports),
                QuotaGauge::Reservations => of_core(Resource::Reservations),
                QuotaGauge::Connections => of_core(Resource::Connections),
                QuotaGauge::PendingConnections => of_core(Resource::PendingConnections),
                QuotaGauge::Streams => of(streams),
                QuotaGauge::DtlsSessions => of(dtls),
                QuotaGauge::HttpConnections => of(u64::try_from(api.connections.get()).unwrap_or(0)),
                QuotaGauge::SignalingConnections => of(hub.stats().connections),
                QuotaGauge::Files => {
                    let (used, limit) = open_files();
                    Fill { used, limit }.ratio()
                }
            };
            ([quota.as_label()], ratio)
        });
        t::QUOTA_RATIO.samples(ratios)
    }
}

impl Shards {
    /// How full the core's tables are, the fullest of all workers, and the streams and DTLS sessions of all of them.
    fn fills(&self) -> ([Fill; Resource::COUNT], u64, u64) {
        let (mut fills, mut streams, mut dtls) = ([Fill::default(); Resource::COUNT], 0, 0);
        self.each(|core, driver| {
            for (fullest, fill) in fills.iter_mut().zip(core.fills) {
                if fill.ratio() >= fullest.ratio() {
                    *fullest = fill;
                }
            }
            streams += driver.streams.iter().sum::<u64>();
            dtls += DtlsPhase::ALL
                .map(|phase| driver.dtls_sessions[phase.index()])
                .iter()
                .sum::<u64>();
        });
        (fills, streams, dtls)
    }
}
