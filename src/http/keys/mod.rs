//! API keys: which application asks, what it may ask for, and how much of it.
//!
//! What it is: the keys of the configuration by their digests ([`Keys`]), and those that are made while it runs (`store`).
//! What it is not: the door that they open (`admission`), or a judge of users. A key stands for an application or a customer; who its user is it says itself, in the
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
mod form;
mod scope;
mod store;

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;

pub(super) use allowance::Exhausted;
pub use allowance::Grant;
pub use date::{from_rfc3339, to_rfc3339};
pub(super) use form::X_API_KEY;
pub use form::{Form, KEY_BYTES, KeyHash, MAX_KEY_BYTES, NewKey, PREFIX, form};
pub use scope::Scope;
pub(super) use store::is_made_name;
pub use store::{MadeKey, StoreError};

/// Most keys of a configuration. Each has a handful of series among the metrics.
pub const MAX_KEYS: usize = 256;

/// Keys that open one name at once: the one that is in use, and the one that takes its place.
pub const MAX_HASHES: usize = 2;

use self::allowance::Allowance;
use self::store::Store;
use super::rate_limit::RateLimit;
use crate::credentials::UnixTime;
use crate::telemetry::KeyMetrics;
use crate::telemetry::labels::KeyResult;
use crate::telemetry::metrics::{KeyCounters, MADE_KEYS};

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
    pub max_ttl: Option<Duration>,
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
    is_made: bool,
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
    pub(super) fn judge(&self, scope: Scope, origin: Option<&str>, now: UnixTime) -> Result<(), Refusal> {
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
    pub(super) const fn result(self) -> KeyResult {
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
    sources: Mutex<Sources>,
    metrics: KeyMetrics,
}

/// Where keys come from. Locked by whoever changes them.
#[derive(Default)]
struct Sources {
    configured: Vec<ApiKey>,
    store: Option<Store>,
    made: Vec<MadeKey>,
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
            sources: Mutex::default(),
            metrics: metrics.clone(),
        }))
    }

    /// Knows these from now on, and those that were made. One that keeps its name keeps what was used of its grant.
    pub fn replace(&self, keys: &[ApiKey]) {
        let mut sources = self.sources();
        sources.configured = keys.to_vec();
        // Somebody may have put back an older file, or another process shares it. What cannot be read is as it was.
        if let Some(store) = &sources.store {
            match store.read() {
                Ok(made) => sources.made = made,
                Err(error) => tracing::error!("http.keys_file: {error}; the keys of before stay"),
            }
        }
        self.rebuild(&sources);
    }

    /// Knows the keys in the file at `path` from now on, and makes others there.
    ///
    /// # Errors
    /// When it cannot be read, or cannot be made.
    pub fn open(&self, path: &Path) -> Result<(), StoreError> {
        let mut sources = self.sources();
        let (store, made) = Store::open(path)?;
        sources.store = Some(store);
        sources.made = made;
        self.rebuild(&sources);
        Ok(())
    }

    /// Those that were made, of one tenant or of all.
    pub(super) fn made(&self, realm: Option<&str>) -> Result<Vec<MadeKey>, StoreError> {
        let sources = self.sources();
        if sources.store.is_none() {
            return Err(StoreError::NoFile);
        }
        let is_of = |key: &&MadeKey| realm.is_none() || key.realm.as_deref() == realm;
        Ok(sources.made.iter().filter(is_of).cloned().collect())
    }

    /// Makes one for `realm`, whose text is in what is given back and nowhere else; `by` is the tenant that makes it, if one does. As the
    /// other two it blocks for as long as the disk takes.
    pub(super) fn make(
        &self,
        name: &str,
        realm: Option<&str>,
        by: Option<&str>,
        now: UnixTime,
    ) -> Result<(MadeKey, NewKey), StoreError> {
        let key = NewKey::make().map_err(|_| StoreError::NoRandomness)?;
        let made = self.change(|store| {
            store.has_room_for(by)?;
            store.add(&key, name, realm, now)
        })?;
        let last = made.last().cloned().ok_or(StoreError::NoKey)?;
        Ok((last, key))
    }

    /// Gives one of a tenant, or of anybody, another name.
    pub(super) fn rename(&self, uid: &str, of: Option<&str>, name: &str, now: UnixTime) -> Result<MadeKey, StoreError> {
        self.made_key(uid, of)?;
        let after = self.change(|store| store.rename(uid, name, now))?;
        after.into_iter().find(|key| *key.uid == *uid).ok_or(StoreError::NoKey)
    }

    /// Ends one of a tenant, or of anybody. What was issued by it lives on.
    pub(super) fn end(&self, uid: &str, of: Option<&str>) -> Result<MadeKey, StoreError> {
        let key = self.made_key(uid, of)?;
        self.change(|store| store.remove(uid))?;
        Ok(key)
    }

    /// One of a tenant, or of anybody.
    pub(super) fn made_key(&self, uid: &str, of: Option<&str>) -> Result<MadeKey, StoreError> {
        let mut keys = self.made(of)?.into_iter();
        keys.find(|key| *key.uid == *uid).ok_or(StoreError::NoKey)
    }

    /// Changes those that were made, in the file and here, or nothing. All there are then.
    fn change(&self, how: impl FnOnce(&Store) -> Result<Vec<MadeKey>, StoreError>) -> Result<Vec<MadeKey>, StoreError> {
        let mut sources = self.sources();
        sources.made = how(sources.store.as_ref().ok_or(StoreError::NoFile)?)?;
        self.rebuild(&sources);
        Ok(sources.made.clone())
    }

    fn sources(&self) -> MutexGuard<'_, Sources> {
        self.0.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn rebuild(&self, sources: &Sources) {
        let before = self.0.ring.load_full();
        let now = Instant::now();
        let made = sources.made.iter().filter_map(of_made).map(|key| (key, MADE_KEYS));
        let configured = sources.configured.iter().cloned().map(|key| (key, ""));
        let mut ring = Ring::default();
        // What the operator wrote wins where a digest stands in both.
        for (key, label) in made.chain(configured) {
            let known = before.by_name.get(key.name.as_str());
            let held = match known {
                Some(held) if held.key == key => Arc::clone(held),
                _ => Arc::new(self.hold(&key, known.map(|held| &held.allowance), now, label)),
            };
            for hash in &key.hashes {
                ring.by_hash.insert(*hash, Arc::clone(&held));
            }
            ring.by_name.insert(Arc::clone(&held.name), held);
        }
        for (gone, held) in &before.by_name {
            if !held.is_made && !ring.by_name.contains_key(gone) {
                self.0.metrics.forget(gone);
            }
        }
        self.0.metrics.known.set(ring.by_name.len() as i64);
        self.0.ring.store(Arc::new(ring));
    }

    /// `label` is what it is counted by, where that is not its name.
    fn hold(&self, key: &ApiKey, before: Option<&Arc<Allowance>>, now: Instant, label: &str) -> Held {
        let allowance = match before {
            Some(same) if same.is_for(&key.grant) => Arc::clone(same),
            before => Arc::new(Allowance::new(key.grant, before.map(AsRef::as_ref), now)),
        };
        Held {
            key: key.clone(),
            name: key.name.as_str().into(),
            allowance,
            counters: self.0.metrics.of_key(if label.is_empty() { &key.name } else { label }),
            is_made: !label.is_empty(),
        }
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.0.ring.load().by_name.is_empty()
    }

    /// The key that this text is.
    pub(super) fn find(&self, text: &str) -> Option<Arc<Held>> {
        let ring = self.0.ring.load();
        if ring.by_hash.is_empty() || text.len() > MAX_KEY_BYTES {
            return None;
        }
        ring.by_hash.get(&KeyHash::of(text)).cloned()
    }

    /// Whether a key has this name.
    pub(super) fn is_named(&self, name: &str) -> bool {
        self.0.ring.load().by_name.contains_key(name)
    }

    pub(super) fn metrics(&self) -> &KeyMetrics {
        &self.0.metrics
    }
}

/// What a key that was made opens: credentials of its realm, and their end.
fn of_made(made: &MadeKey) -> Option<ApiKey> {
    Some(ApiKey {
        name: made.uid.to_string(),
        hashes: vec![made.hash()?],
        scopes: vec![Scope::Issue, Scope::Revoke],
        realm: made.realm.as_deref().map(str::to_owned),
        origins: Vec::new(),
        grant: MADE_GRANT,
        max_ttl: None,
        enabled: true,
        expires_at: None,
    })
}

/// As `[keys.NAME]` has it by default.
const MADE_GRANT: Grant = Grant {
    rate: RateLimit {
        interval: Duration::from_millis(10),
        burst: 1000,
        limit_loopback: false,
        clients: 1,
    },
    per_hour: 0,
    per_day: 0,
};

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<_> = self.0.ring.load().by_name.keys().cloned().collect();
        f.debug_tuple("Keys").field(&names).finish()
    }
}

#[cfg(test)]
mod tests;
