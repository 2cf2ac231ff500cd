//! Metrics: declared in [`table`], counted by whoever knows, written out at `/metrics`.
//!
//! What it is: one table of declarations, and collectors that turn plain integers into samples at a scrape. The relay's
//! workers count in integers of their own and publish copies ([`ShardSlot`]); the hub is asked at the scrape ([`HubSlot`]); the
//! API counts in place ([`ApiMetrics`]), since an HTTP request costs a thousand times more than an atomic.
//! What it is not: a global. A [`Metrics`] is made once by `app` and handed down.
//!
//! Invariants: every sample's name is in the table (the registry refuses others); every label value comes from a closed
//! enum; a scrape never makes a packet wait for longer than a copy of some hundred integers.

mod api;
mod auth;
mod backplane;
mod events;
pub mod family;
mod fleet;
mod front;
mod hub;
mod keys;
mod label_sets;
pub mod markdown;
mod probe;
mod process;
mod quota;
mod relay;
pub mod table;
mod usage;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use prometheus::{Encoder as _, Registry, TextEncoder};

use super::labels::{IssueResult, QuotaGauge};
use crate::credentials::DEFAULT_REALM;
use crate::turn::{PROBES, RealmStats, share_name, split_share};

pub use api::ApiMetrics;
pub use auth::AuthMetrics;
pub use backplane::BackplaneMetrics;
pub use events::EventMetrics;
pub use fleet::FleetSlot;
pub use front::FrontMetrics;
pub use hub::HubSlot;
pub use keys::{KeyCounters, KeyIssues, KeyMetrics, MADE_KEYS};
pub use probe::ProbeMetrics;
pub use process::Readiness;
pub(crate) use process::status_field;
pub use relay::ShardSlot;
pub use usage::UsageMetrics;

/// `Content-Type` of [`Metrics::render`].
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What one realm has done, and which parts of that are told apart.
#[derive(Clone, Debug)]
pub struct AccountTotals {
    /// All but what this server's own probes did.
    pub all: RealmTotals,
    /// What those did.
    pub probes: RealmTotals,
    /// Of `all`, by the API key that fetched the credentials. What is in none was fetched by none, or did not say so.
    pub keys: BTreeMap<String, RealmTotals>,
}

/// What one realm has done.
#[derive(Clone, Debug)]
pub struct RealmTotals {
    /// In the relay.
    pub relay: RealmStats,
    /// Wishes for its credentials, by [`IssueResult`].
    pub issues: [u64; IssueResult::COUNT],
}

/// All metrics of one process. Clones share.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    registry: Registry,
    shards: relay::Shards,
    hub: HubSlot,
    fleet: FleetSlot,
    api: ApiMetrics,
    auth: AuthMetrics,
    keys: KeyMetrics,
    front: FrontMetrics,
    events: EventMetrics,
    backplane: BackplaneMetrics,
    probe: ProbeMetrics,
    quotas: quota::Quotas,
    usage: UsageMetrics,
    process: process::Process,
}

impl Metrics {
    /// Begins to count.
    ///
    /// # Errors
    /// When the table contradicts itself, which a test rules out.
    pub fn new() -> prometheus::Result<Self> {
        let registry = Registry::new();
        let shards = relay::Shards::default();
        shards.register(&registry)?;
        let hub = HubSlot::default();
        hub.register(&registry)?;
        let fleet = FleetSlot::default();
        fleet.register(&registry)?;
        let process = process::Process::begin();
        process.register(&registry)?;
        let api = ApiMetrics::register(&registry)?;
        let auth = AuthMetrics::register(&registry)?;
        let keys = KeyMetrics::register(&registry)?;
        let front = FrontMetrics::register(&registry)?;
        let events = EventMetrics::register(&registry)?;
        let backplane = BackplaneMetrics::register(&registry)?;
        let probe = ProbeMetrics::register(&registry)?;
        let quotas = quota::Quotas::default();
        quotas.register(&registry, &shards, &hub, &api)?;
        Ok(Self(Arc::new(Inner {
            shards,
            hub,
            fleet,
            api,
            auth,
            keys,
            front,
            events,
            backplane,
            probe,
            quotas,
            usage: UsageMetrics::register(&registry)?,
            process,
            registry,
        })))
    }

    /// Where worker `index` of the relay publishes. The same slot at every call with the same index.
    pub fn relay_shard(&self, index: usize) -> ShardSlot {
        self.0.shards.slot(index)
    }

    /// Where the hub is found.
    pub fn hub_slot(&self) -> HubSlot {
        self.0.hub.clone()
    }

    /// Where the relays of all replicas are found.
    pub fn fleet_slot(&self) -> FleetSlot {
        self.0.fleet.clone()
    }

    /// Counters of the API.
    pub fn api(&self) -> &ApiMetrics {
        &self.0.api
    }

    /// Counters of accepted connections.
    pub fn front(&self) -> &FrontMetrics {
        &self.0.front
    }

    /// Where the judges of tokens count.
    pub fn auth(&self) -> &AuthMetrics {
        &self.0.auth
    }

    /// Counters of API keys.
    pub fn keys(&self) -> &KeyMetrics {
        &self.0.keys
    }

    /// Counters of events and of those who are told.
    pub fn events(&self) -> &EventMetrics {
        &self.0.events
    }

    /// Counters of accounting.
    pub fn usage(&self) -> &UsageMetrics {
        &self.0.usage
    }

    /// Counters of the backplane.
    pub fn backplane(&self) -> &BackplaneMetrics {
        &self.0.backplane
    }

    /// What each realm has done since the process began, by name, the default one always: counters never shrink, and include
    /// those of realms that are not configured any more.
    pub fn account_totals(&self) -> BTreeMap<Arc<str>, AccountTotals> {
        let default: Arc<str> = DEFAULT_REALM.into();
        let (mut relay, mut shares) = self.0.shards.realm_totals();
        let (mut issues, of_keys) = (self.0.api.issues(), self.0.keys.issues());
        for name in issues.keys().map(|name| Arc::from(name.as_str())).chain([default]) {
            relay
                .entry(name)
                .or_insert_with_key(|name| RealmStats::new(Arc::clone(name)));
        }
        for name in of_keys.keys() {
            let share = shares.entry(name.as_str().into());
            share.or_insert_with_key(|name| RealmStats::new(Arc::clone(name)));
        }
        let mut all = BTreeMap::new();
        for (name, mut relay) in relay {
            let probes = shares.remove(&*share_name(&name, PROBES));
            let probes = probes.unwrap_or_else(|| RealmStats::new(Arc::clone(&name)));
            relay = relay.without(&probes);
            let issues = issues.remove(&*name).unwrap_or_default();
            let of = AccountTotals {
                all: RealmTotals { relay, issues },
                probes: RealmTotals {
                    relay: probes,
                    issues: Default::default(),
                },
                keys: BTreeMap::new(),
            };
            all.insert(name, of);
        }
        for (name, relay) in shares {
            let (realm, key) = split_share(&name);
            let issues = of_keys.get(&*name).copied().unwrap_or_default();
            if let Some(of) = all.get_mut(realm) {
                of.keys.insert(key.to_owned(), RealmTotals { relay, issues });
            }
        }
        all
    }

    /// How much there is of something, so that it is told how much of it is used.
    pub fn replace_quota(&self, quota: QuotaGauge, limit: usize) {
        self.0.quotas.replace(quota, limit as u64);
    }

    /// What probes of STUN and TURN servers found.
    pub fn probe(&self) -> &ProbeMetrics {
        &self.0.probe
    }

    /// Bytes of payload relayed so far, in each direction, as the workers told last.
    pub fn payload_bytes(&self) -> [u64; 2] {
        let mut bytes = [0_u64; 2];
        self.0.shards.each(|core, _| {
            for (sum, way) in bytes.iter_mut().zip(&core.traffic) {
                *sum += way.iter().map(|over| over.bytes).sum::<u64>();
            }
        });
        bytes
    }

    /// Whether this process takes work; the flag behind `/readyz`.
    pub fn readiness(&self) -> &Readiness {
        self.0.process.readiness()
    }

    /// Since counting began.
    pub fn uptime(&self) -> Duration {
        self.0.process.uptime()
    }

    /// Everything, in the Prometheus text format 0.0.4.
    pub fn render(&self) -> String {
        let mut text = Vec::with_capacity(32 * 1024);
        // Fails for a family without a name or without samples; the first cannot be declared, the second is not gathered.
        if let Err(error) = TextEncoder::new().encode(&self.0.registry.gather(), &mut text) {
            tracing::error!(%error, "metrics cannot be written");
        }
        String::from_utf8(text).unwrap_or_default()
    }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
