//! The API's numbers, counted where they happen.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use prometheus::core::Collector;
use prometheus::{Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Registry};

use super::family::{Family, Kind};
use super::table as t;
use crate::credentials::DEFAULT_REALM;
use crate::telemetry::labels::{IssueResult, Method, ReloadResult, Route, StatusClass, Surface, TokenFailure};
use crate::turn::{MAX_REALMS, RevocationsFull};

/// By realm.
pub(super) type Issues = BTreeMap<String, [u64; IssueResult::COUNT]>;

/// By [`IssueResult`].
type Counts = [AtomicU64; IssueResult::COUNT];

/// What is counted of one realm.
#[derive(Clone)]
struct OfRealm {
    issued: IntCounter,
    /// By [`IssueResult::REFUSALS`].
    refused: [IntCounter; IssueResult::REFUSALS.len()],
    since_start: Arc<Counts>,
}

impl OfRealm {
    fn count(&self, result: IssueResult) {
        self.since_start[result.index()].fetch_add(1, Ordering::Relaxed);
        if result == IssueResult::Issued {
            self.issued.inc();
        } else if let Some(at) = IssueResult::REFUSALS.iter().position(|refusal| *refusal == result) {
            self.refused[at].inc();
        }
    }
}

/// Realms whose credentials are counted, those of former configurations included.
const MAX_COUNTED: usize = 4 * MAX_REALMS;

/// Counters of the API. The label sets are closed, so no request can make a new series.
#[derive(Clone)]
pub struct ApiMetrics {
    requests: IntCounterVec,
    /// Those of `requests` that were ever counted, by their three labels: finding one by its labels takes a lock and a hash.
    counted: Arc<[OnceLock<IntCounter>]>,
    durations: [Histogram; Route::COUNT],
    issues: [[IntCounter; IssueResult::COUNT]; Surface::COUNT],
    token_failures: [[IntCounter; TokenFailure::COUNT]; Surface::COUNT],
    realm_credentials: IntCounterVec,
    realm_refusals: IntCounterVec,
    default_realm: OfRealm,
    /// The realms that are counted, the default one left out. Finding a counter by its labels takes a lock and a hash.
    realms: Arc<ArcSwap<HashMap<Box<str>, OfRealm>>>,
    /// What has been issued and refused since the process began, by realm. Bounded by [`MAX_COUNTED`]. Locked to change `realms`.
    issues_in: Arc<Mutex<BTreeMap<String, Arc<Counts>>>>,
    lists: Named,
    servers: Named,
    reloads: [IntCounter; ReloadResult::COUNT],
    revocations_refused: [IntCounter; RevocationsFull::COUNT],
    last_reload_good: IntGauge,
    /// Keys whose new value waits for a restart.
    pub pending_keys: IntGauge,
    /// Attempts to open a socket of the hub past the rate of their address.
    pub connects_limited: IntCounter,
    /// Requests answered 429.
    pub rate_limited: IntCounter,
    /// Clients forgotten by the rate limit because its table was full.
    pub rate_evictions: IntCounter,
    /// Open TCP connections.
    pub connections: IntGauge,
    /// TCP connections accepted.
    pub accepted: IntCounter,
    /// Times the limit of connections was reached.
    pub at_limit: IntCounter,
    /// TCP connections past the limit of their address.
    pub refused: IntCounter,
    /// Requests that took too long.
    pub timeouts: IntCounter,
    /// Requests whose path, query or header was too long.
    pub heads_refused: IntCounter,
    /// Handlers that panicked.
    pub panics: IntCounter,
}

/// A counter for each of the names that are configured.
#[derive(Clone)]
struct Named {
    counters: IntCounterVec,
    names: Arc<Mutex<BTreeSet<String>>>,
}

impl Named {
    fn new(counters: IntCounterVec) -> Self {
        Self {
            counters,
            names: Arc::default(),
        }
    }

    /// These are there whatever is configured.
    fn with<const N: usize>(self, names: [&str; N]) -> Self {
        for name in names {
            self.counters.with_label_values(&[name]);
        }
        self
    }

    fn replace<'a>(&self, names: impl Iterator<Item = &'a str>) -> Vec<IntCounter> {
        let names: Vec<&str> = names.collect();
        let wanted: BTreeSet<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut known = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        for gone in known.difference(&wanted) {
            // An error means that it was never counted.
            let _ = self.counters.remove_label_values(&[gone.as_str()]);
        }
        *known = wanted;
        let counter = |name: &&str| self.counters.with_label_values(&[name]);
        names.iter().map(counter).collect()
    }
}

impl ApiMetrics {
    pub(super) fn register(registry: &Registry) -> prometheus::Result<Self> {
        let requests = counters(registry, &t::HTTP_REQUESTS)?;
        let durations = histograms(registry, &t::HTTP_DURATION)?;
        let issues = counters(registry, &t::CREDENTIAL_ISSUES)?;
        let token_failures = counters(registry, &t::TOKEN_FAILURES)?;
        let reloads = counters(registry, &t::CONFIG_RELOADS)?;
        let refused = counters(registry, &t::REVOCATIONS_REFUSED)?;
        let realm_credentials = counters(registry, &t::REALM_CREDENTIALS)?;
        let realm_refusals = counters(registry, &t::REALM_CREDENTIALS_REFUSED)?;
        let default_realm = of_realm(&realm_credentials, &realm_refusals, DEFAULT_REALM, Arc::default());
        let since_start = Arc::clone(&default_realm.since_start);
        let last_reload_good = registered(registry, IntGauge::with_opts(t::CONFIG_GOOD.opts())?)?;
        last_reload_good.set(1);
        // Series of small sets exist from the start: a rate over a counter that appears with its first event misses it.
        Ok(Self {
            requests,
            counted: (0..Route::COUNT * Method::COUNT * StatusClass::COUNT)
                .map(|_| OnceLock::new())
                .collect(),
            durations: Route::ALL.map(|route| durations.with_label_values(&[route.as_label()])),
            issues: Surface::ALL.map(|surface| {
                IssueResult::ALL.map(|result| issues.with_label_values(&[surface.as_label(), result.as_label()]))
            }),
            token_failures: Surface::ALL.map(|surface| {
                TokenFailure::ALL
                    .map(|reason| token_failures.with_label_values(&[surface.as_label(), reason.as_label()]))
            }),
            realm_credentials,
            realm_refusals,
            default_realm,
            realms: Arc::default(),
            issues_in: Arc::new(Mutex::new(BTreeMap::from([(DEFAULT_REALM.to_owned(), since_start)]))),
            lists: Named::new(counters(registry, &t::ICE_LISTS)?).with([DEFAULT_REALM]),
            servers: Named::new(counters(registry, &t::ICE_SERVERS)?).with(["own", "extra"]),
            reloads: ReloadResult::ALL.map(|result| reloads.with_label_values(&[result.as_label()])),
            revocations_refused: RevocationsFull::ALL.map(|full| refused.with_label_values(&[full.as_label()])),
            last_reload_good,
            pending_keys: registered(registry, IntGauge::with_opts(t::CONFIG_PENDING.opts())?)?,
            connects_limited: counter(registry, &t::HUB_CONNECTS_LIMITED)?,
            rate_limited: counter(registry, &t::HTTP_RATE_LIMITED)?,
            rate_evictions: counter(registry, &t::HTTP_RATE_EVICTIONS)?,
            connections: registered(registry, IntGauge::with_opts(t::HTTP_CONNECTIONS.opts())?)?,
            accepted: counter(registry, &t::HTTP_ACCEPTED)?,
            at_limit: counter(registry, &t::HTTP_AT_LIMIT)?,
            refused: counter(registry, &t::HTTP_REFUSED)?,
            timeouts: counter(registry, &t::HTTP_TIMEOUTS)?,
            heads_refused: counter(registry, &t::HTTP_HEADS_REFUSED)?,
            panics: counter(registry, &t::HTTP_PANICS)?,
        })
    }

    /// Counts a request that was answered after `elapsed`.
    pub fn answered(&self, route: Route, method: Method, status: StatusClass, elapsed: Duration) {
        let labels = [route.as_label(), method.as_label(), status.as_label()];
        let place = (route.index() * Method::COUNT + method.index()) * StatusClass::COUNT + status.index();
        // A series exists from its first request on, and not before.
        if let Some(counted) = self.counted.get(place) {
            counted.get_or_init(|| self.requests.with_label_values(&labels)).inc();
        }
        self.durations[route.index()].observe(elapsed.as_secs_f64());
    }

    /// Counts a revocation that found no room.
    pub fn revocation_refused(&self, full: RevocationsFull) {
        self.revocations_refused[full.index()].inc();
    }

    /// Counts how a wish for a credential ended.
    pub fn issue(&self, surface: Surface, result: IssueResult) {
        self.issues[surface.index()][result.index()].inc();
    }

    /// Counts these realms from now on, and none that is not configured any more.
    pub fn replace_realms<'a>(&self, names: impl Iterator<Item = &'a str>) {
        let mut issues = self.issues_in.lock().unwrap_or_else(PoisonError::into_inner);
        let known = self.realms.load();
        let names: BTreeSet<&str> = names.collect();
        for gone in known.keys().filter(|name| !names.contains(&***name)) {
            // An error means that it was never counted.
            let _ = self.realm_credentials.remove_label_values(&[gone]);
            for reason in IssueResult::REFUSALS {
                let _ = self.realm_refusals.remove_label_values(&[gone, reason.as_label()]);
            }
        }
        issues.retain(|name, counts| name == DEFAULT_REALM || names.contains(name.as_str()) || !is_zero(counts));
        let realms = names.into_iter().map(|name| {
            let since_start = issues.get(name).cloned().unwrap_or_default();
            if issues.len() < MAX_COUNTED {
                issues.insert(name.to_owned(), Arc::clone(&since_start));
            }
            let counted = of_realm(&self.realm_credentials, &self.realm_refusals, name, since_start);
            (name.into(), counted)
        });
        self.realms.store(Arc::new(realms.collect()));
    }

    /// Counts how a wish for a credential of `realm` ended. A realm that is not counted is not.
    pub fn issue_in(&self, realm: &str, result: IssueResult) {
        if realm == DEFAULT_REALM {
            self.default_realm.count(result);
        } else if let Some(counted) = self.realms.load().get(realm) {
            counted.count(result);
        }
    }

    /// What has been issued and refused since the process began, by realm and [`IssueResult`], whether the realm is still
    /// configured or not. Without those of which nobody asked anything.
    pub(super) fn issues(&self) -> Issues {
        let issues = self.issues_in.lock().unwrap_or_else(PoisonError::into_inner);
        let counted = issues.iter().filter(|(_, counts)| !is_zero(counts));
        let loaded = |counts: &Counts| std::array::from_fn(|at| counts[at].load(Ordering::Relaxed));
        counted.map(|(name, counts)| (name.clone(), loaded(counts))).collect()
    }

    /// What counts the lists of each of these rules, in their order, from now on. Those of rules that are gone are not shown any more.
    pub fn lists<'a>(&self, names: impl Iterator<Item = &'a str>) -> Vec<IntCounter> {
        self.lists.replace(names)
    }

    /// What counts the lists of those for whom there is no rule.
    pub fn default_list(&self) -> IntCounter {
        self.lists.counters.with_label_values(&[DEFAULT_REALM])
    }

    /// What counts the lists that this server's own relay is in, and those in which plain entries of the operator's are.
    pub fn own_and_extra(&self) -> [IntCounter; 2] {
        ["own", "extra"].map(|name| self.servers.counters.with_label_values(&[name]))
    }

    /// What counts how often each of these servers is given away, in their order. Those that are gone are not shown any more.
    pub fn servers<'a>(&self, names: impl Iterator<Item = &'a str>) -> Vec<IntCounter> {
        self.servers.replace(names)
    }

    /// Counts how a reload of the configuration ended.
    pub fn reload(&self, result: ReloadResult) {
        self.reloads[result.index()].inc();
        self.last_reload_good.set(i64::from(result != ReloadResult::Rejected));
    }

    /// Counts a token that was turned away.
    pub fn token_failure(&self, surface: Surface, reason: TokenFailure) {
        self.token_failures[surface.index()][reason.index()].inc();
    }
}

pub(super) fn registered<C: Collector + Clone + 'static>(registry: &Registry, collector: C) -> prometheus::Result<C> {
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
}

/// The series of a realm, which exist from now on.
fn of_realm(issued: &IntCounterVec, refused: &IntCounterVec, name: &str, since_start: Arc<Counts>) -> OfRealm {
    OfRealm {
        issued: issued.with_label_values(&[name]),
        refused: IssueResult::REFUSALS.map(|reason| refused.with_label_values(&[name, reason.as_label()])),
        since_start,
    }
}

fn is_zero(counts: &Counts) -> bool {
    counts.iter().all(|count| count.load(Ordering::Relaxed) == 0)
}

pub(super) fn counter(registry: &Registry, family: &Family) -> prometheus::Result<IntCounter> {
    registered(registry, IntCounter::with_opts(family.opts())?)
}

pub(super) fn counters(registry: &Registry, family: &Family) -> prometheus::Result<IntCounterVec> {
    registered(registry, IntCounterVec::new(family.opts(), &family.label_names())?)
}

pub(super) fn histograms(registry: &Registry, family: &Family) -> prometheus::Result<HistogramVec> {
    let Kind::Histogram(bounds) = family.kind else {
        return Err(prometheus::Error::Msg(format!("{} is no histogram", family.name)));
    };
    let opts = HistogramOpts::new(family.name, family.help).buckets(bounds.to_vec());
    registered(registry, HistogramVec::new(opts, &family.label_names())?)
}
