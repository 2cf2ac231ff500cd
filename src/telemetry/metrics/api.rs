//! The API's numbers, counted where they happen.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use prometheus::core::Collector;
use prometheus::{Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Registry};

use super::family::{Family, Kind};
use super::table as t;
use crate::credentials::DEFAULT_REALM;
use crate::telemetry::labels::{IssueResult, Method, ReloadResult, Route, StatusClass, Surface, TokenFailure};
use crate::turn::{MAX_REALMS, RevocationsFull};

/// By realm.
pub(super) type Issues = BTreeMap<String, [u64; IssueResult::COUNT]>;

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
    /// The realms that are counted, the default one left out.
    realms: Arc<Mutex<BTreeSet<String>>>,
    /// What has been issued and refused since the process began, by realm and [`IssueResult`]. Bounded by [`MAX_COUNTED`].
    issues_in: Arc<Mutex<Issues>>,
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
        realm_credentials.with_label_values(&[DEFAULT_REALM]);
        let realm_refusals = counters(registry, &t::REALM_CREDENTIALS_REFUSED)?;
        for reason in IssueResult::REFUSALS {
            realm_refusals.with_label_values(&[DEFAULT_REALM, reason.as_label()]);
        }
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
            realms: Arc::default(),
            issues_in: Arc::default(),
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
        let names: BTreeSet<String> = names.map(str::to_owned).collect();
        let mut known = self.realms.lock().unwrap_or_else(PoisonError::into_inner);
        for gone in known.difference(&names) {
            // An error means that it was never counted.
            let _ = self.realm_credentials.remove_label_values(&[gone.as_str()]);
            for reason in IssueResult::REFUSALS {
                let _ = self
                    .realm_refusals
                    .remove_label_values(&[gone.as_str(), reason.as_label()]);
            }
        }
        for name in &names {
            self.realm_credentials.with_label_values(&[name.as_str()]);
            for reason in IssueResult::REFUSALS {
                self.realm_refusals
                    .with_label_values(&[name.as_str(), reason.as_label()]);
            }
        }
        *known = names;
    }

    /// Counts how a wish for a credential of a realm ended, if the realm is configured.
    pub fn issue_in(&self, realm: &str, result: IssueResult) {
        let known = self.realms.lock().unwrap_or_else(PoisonError::into_inner);
        if realm != DEFAULT_REALM && !known.contains(realm) {
            return;
        }
        self.count_in(realm, result);
        if result == IssueResult::Issued {
            self.realm_credentials.with_label_values(&[realm]).inc();
        } else if IssueResult::REFUSALS.contains(&result) {
            self.realm_refusals.with_label_values(&[realm, result.as_label()]).inc();
        }
    }

    fn count_in(&self, realm: &str, result: IssueResult) {
        let mut issues = self.issues_in.lock().unwrap_or_else(PoisonError::into_inner);
        if !issues.contains_key(realm) {
            if issues.len() >= MAX_COUNTED {
                return;
            }
            issues.insert(realm.to_owned(), [0; IssueResult::COUNT]);
        }
        if let Some(counts) = issues.get_mut(realm) {
            counts[result.index()] += 1;
        }
    }

    /// What has been issued and refused since the process began, by realm and [`IssueResult`], whether the realm is still
    /// configured or not.
    pub(super) fn issues(&self) -> Issues {
        self.issues_in.lock().unwrap_or_else(PoisonError::into_inner).clone()
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
