//! API keys: which application asks, what it may ask for, and how much of it.
//!
//! What it is: the keys of the configuration by their digests ([`Keys`]), and the one door that every route with credentials
//! behind it goes through (`door`): origin, tenant's token, key, and only then whoever judges tokens.
//! What it is not: a judge of users. A key stands for an application or a customer; who its user is it says itself, in the
//! request. And the hub knows no keys: whoever joins a room is somebody.
//!
//! Invariants:
//! - No key is kept, logged or shown: digests are, and those are compared in constant time. A look-up costs one digest of at most
//!   [`MAX_KEY_BYTES`] bytes and one place in a table, however many keys there are.
//! - A key that opens always opens. Only wrong ones count against their address, and past [`super::Failures`] they are not looked up.
//! - A key that is wrong is never anybody: it is refused where no key would have been let in, too.
//! - A key that stands in a page is good from that page's origins alone, and then its visitors' addresses are limited as well.

mod allowance;
mod date;
mod door;
mod form;
mod scope;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use arc_swap::ArcSwap;

pub use allowance::Grant;
pub use date::{from_rfc3339, to_rfc3339};
pub(super) use door::{Asks, X_API_KEY, admit};
pub use form::{Form, KEY_BYTES, KeyHash, MAX_KEY_BYTES, NewKey, PREFIX, form};
pub use scope::Scope;

/// Most keys of a configuration. Each has a handful of series among the metrics.
pub const MAX_KEYS: usize = 256;

/// Keys that open one name at once: the one that is in use, and the one that takes its place.
pub const MAX_HASHES: usize = 2;

use self::allowance::{Allowance, Exhausted};
use crate::credentials::UnixTime;
use crate::telemetry::KeyMetrics;
use crate::telemetry::labels::KeyResult;
use crate::telemetry::metrics::KeyCounters;

/// A key as an operator grants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKey {
    /// By which it is known in logs and metrics, and to whoever reads them.
    pub name: String,
    /// Each opens, so that they can be rotated.
    pub hashes: Vec<KeyHash>,
    /// What it is good for.
    pub scopes: Vec<Scope>,
    /// The tenant whose credentials it fetches. Default: those of the default realm.
    pub realm: Option<String>,
    /// Origins of the pages in which it stands; none for a key that stands in no page.
    pub origins: Vec<String>,
    /// How many credentials it may fetch.
    pub grant: Grant,
    /// Longest lifetime of those. Default: that of the realm.
    pub max_ttl: Option<std::time::Duration>,
    /// Whether it opens at all.
    pub enabled: bool,
    /// Until when. Default: for ever.
    pub expires_at: Option<UnixTime>,
}

/// Why a key does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Switched off.
    Disabled,
    /// Its time is over.
    Expired,
    /// Not from this page.
    Origin,
    /// Not for this.
    Scope,
    /// As much as it may have for now.
    Exhausted(Exhausted),
}

/// A key that is known, with what is left of its grant.
#[derive(Debug)]
pub(super) struct Held {
    key: ApiKey,
    name: Arc<str>,
    allowance: Arc<Allowance>,
    counters: KeyCounters,
}

impl Held {
    /// Its name.
    pub(super) fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// As it was granted.
    pub(super) fn key(&self) -> &ApiKey {
        &self.key
    }

    /// Whether it stands in a page, where every visitor can read it.
    pub(super) fn is_public(&self) -> bool {
        !self.key.origins.is_empty()
    }

    /// Whether it opens `scope` for a page of `origin`.
    fn judge(&self, scope: Scope, origin: Option<&str>, now: UnixTime) -> Result<(), Refusal> {
        let key = &self.key;
        let from = |allowed: &String| origin.is_some_and(|origin| allowed.eq_ignore_ascii_case(origin));
        if !key.enabled {
            Err(Refusal::Disabled)
        } else if key.expires_at.is_some_and(|end| end <= now) {
            Err(Refusal::Expired)
        } else if self.is_public() && !key.origins.iter().any(from) {
            Err(Refusal::Origin)
        } else if !key.scopes.contains(&scope) {
            Err(Refusal::Scope)
        } else {
            Ok(())
        }
    }

    /// Takes one credential of its grant.
    pub(super) fn take(&self, at: Instant, now: UnixTime) -> Result<(), Refusal> {
        let taken = self.allowance.take(at, now).map_err(Refusal::Exhausted);
        taken.inspect_err(|refusal| self.count(refusal.result()))
    }

    /// Takes from its rate alone.
    pub(super) fn pace(&self, at: Instant) -> Result<(), Refusal> {
        let paced = self.allowance.pace(at).map_err(Refusal::Exhausted);
        paced.inspect_err(|refusal| self.count(refusal.result()))
    }

    /// Gives one back that came to nothing.
    pub(super) fn give_back(&self) {
        self.allowance.give_back();
    }

    pub(super) fn count(&self, result: KeyResult) {
        self.counters.count(result);
    }
}

impl Refusal {
    const fn result(self) -> KeyResult {
        match self {
            Self::Disabled => KeyResult::Disabled,
            Self::Expired => KeyResult::Expired,
            Self::Origin => KeyResult::Origin,
            Self::Scope => KeyResult::Scope,
            Self::Exhausted(Exhausted::Rate(_)) => KeyResult::RateLimited,
            Self::Exhausted(Exhausted::Quota(_)) => KeyResult::QuotaExceeded,
        }
    }
}

/// The keys that open. Clones share, and they can be replaced while it runs.
#[derive(Clone)]
pub struct Keys(Arc<Inner>);

struct Inner {
    ring: ArcSwap<Ring>,
    /// Held by whoever replaces keys.
    replacing: Mutex<()>,
    metrics: KeyMetrics,
}

/// By digest. The table hashes those with a key of its own, and compares in constant time.
#[derive(Debug, Default)]
struct Ring {
    by_hash: HashMap<KeyHash, Arc<Held>>,
    by_name: HashMap<Arc<str>, Arc<Held>>,
}

impl Keys {
    /// Knows none yet, and counts in `metrics`.
    pub fn new(metrics: &KeyMetrics) -> Self {
        Self(Arc::new(Inner {
            ring: ArcSwap::default(),
            replacing: Mutex::new(()),
            metrics: metrics.clone(),
        }))
    }

    /// Knows these from now on. One that keeps its name keeps what was used of its grant.
    pub fn replace(&self, keys: &[ApiKey]) {
        let _alone = self.0.replacing.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.0.ring.load_full();
        let now = Instant::now();
        let mut ring = Ring::default();
        for key in keys {
            let known = before.by_name.get(key.name.as_str());
            let held = match known {
                Some(held) if held.key == *key => Arc::clone(held),
                _ => Arc::new(self.hold(key, known.map(|held| &held.allowance), now)),
            };
            for hash in &key.hashes {
                ring.by_hash.insert(*hash, Arc::clone(&held));
            }
            ring.by_name.insert(Arc::clone(&held.name), held);
        }
        for gone in before.by_name.keys().filter(|name| !ring.by_name.contains_key(*name)) {
            self.0.metrics.forget(gone);
        }
        self.0.metrics.known.set(ring.by_name.len() as i64);
        self.0.ring.store(Arc::new(ring));
    }

    fn hold(&self, key: &ApiKey, before: Option<&Arc<Allowance>>, now: Instant) -> Held {
        let allowance = match before {
            Some(same) if same.is_for(&key.grant) => Arc::clone(same),
            before => Arc::new(Allowance::new(key.grant, before.map(AsRef::as_ref), now)),
        };
        Held {
            key: key.clone(),
            name: key.name.as_str().into(),
            allowance,
            counters: self.0.metrics.of_key(&key.name),
        }
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.0.ring.load().by_name.is_empty()
    }

    /// The key that this text is.
    fn find(&self, text: &str) -> Option<Arc<Held>> {
        let ring = self.0.ring.load();
        if ring.by_hash.is_empty() || text.len() > MAX_KEY_BYTES {
            return None;
        }
        ring.by_hash.get(&KeyHash::of(text)).cloned()
    }

    /// Whether a key has this name.
    fn is_named(&self, name: &str) -> bool {
        self.0.ring.load().by_name.contains_key(name)
    }

    fn metrics(&self) -> &KeyMetrics {
        &self.0.metrics
    }
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<_> = self.0.ring.load().by_name.keys().cloned().collect();
        f.debug_tuple("Keys").field(&names).finish()
    }
}

#[cfg(test)]
mod tests;
