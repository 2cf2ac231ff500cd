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
//! - A key that another key made never can do more than that one now can: it has its origins, its end, its longest lifetime, those of
//!   its scopes that keys which are made can have, and takes from its quota. With its maker it is switched off.
//! - A key that stands in a page is good from that page's origins alone, and then its visitors' addresses are limited as well.

mod allowance;
mod date;
mod form;
mod scope;
mod store;

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, ArcSwapOption};

pub(super) use allowance::Exhausted;
pub use allowance::Grant;
pub use date::{from_rfc3339, to_rfc3339};
pub(super) use form::X_API_KEY;
pub use form::{Form, KEY_BYTES, KeyHash, MAX_KEY_BYTES, NewKey, PREFIX, form};
pub use scope::Scope;
pub use store::{MadeKey, StoreError};
pub(super) use store::{Maker, Of, is_made_name};

/// Most keys of a configuration. Each has a handful of series among the metrics.
pub const MAX_KEYS: usize = 256;

/// Keys that open one name at once: the one that is in use, and the one that takes its place.
pub const MAX_HASHES: usize = 2;

use self::allowance::Allowance;
use self::store::Store;
use super::rate_limit::RateLimit;
use crate::credentials::{DEFAULT_REALM, UnixTime};
use crate::telemetry::KeyMetrics;
use crate::telemetry::labels::{IssueResult, KeyResult};
use crate::telemetry::metrics::{KeyCounters, KeyIssues, MADE_KEYS};

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
    /// By which its use is accounted for: its own name, that of its maker, or one for all that operators made.
    share: Arc<str>,
    issues: KeyIssues,
    is_made: bool,
}

impl Held {
    /// Its name.
    pub(super) fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Its name, if that is of the configuration and not of whoever had it made.
    pub(super) fn configured_name(&self) -> Option<&str> {
        (!self.is_made).then_some(&*self.name)
    }

    /// By which its use is accounted for.
    pub(super) fn share(&self) -> &str {
        &self.share
    }

    /// Counts how a wish for a credential ended.
    pub(super) fn count_issue(&self, result: IssueResult) {
        self.issues.count(result);
    }

    /// As it was granted.
    pub(super) fn key(&self) -> &ApiKey {
        &self.key
    }

    /// Whether keys that it makes could do anything.
    pub(super) fn can_hand_on(&self) -> bool {
        !made_scopes(&self.key).is_empty()
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
    /// Those of the configuration. Locked for as long as a table is made of them.
    configured: Mutex<Vec<ApiKey>>,
    /// Those that were made, as the file had them last; `None` without a file.
    made: ArcSwapOption<Vec<MadeKey>>,
    /// Locked by whoever waits for the disk, and waited for by nobody.
    store: Mutex<Option<Store>>,
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
            configured: Mutex::default(),
            made: ArcSwapOption::empty(),
            store: Mutex::default(),
            metrics: metrics.clone(),
        }))
    }

    /// Knows these from now on, and those that were made. One that keeps its name keeps what was used of its grant.
    pub fn replace(&self, keys: &[ApiKey]) {
        self.rebuild(Some(keys));
    }

    /// Knows the keys in the file at `path` from now on, and makes others there.
    ///
    /// # Errors
    /// When it cannot be read, or cannot be made.
    pub fn open(&self, path: &Path) -> Result<(), StoreError> {
        let (store, made) = Store::open(path)?;
        *self.0.store.lock().unwrap_or_else(PoisonError::into_inner) = Some(store);
        self.take_over(made);
        Ok(())
    }

    /// Knows what is in the file by now: another process may share it, or somebody has put back an older one. Whether anything was
    /// different. Blocks for as long as the disk takes.
    ///
    /// # Errors
    /// When it cannot be read, or is being changed; all is as before then.
    pub fn read_again(&self) -> Result<bool, StoreError> {
        self.with_store(|store| Ok(self.take_over(store.read()?)))
    }

    /// Those that were made. Waits for nothing, whoever waits for the disk.
    pub(super) fn made(&self, of: Of<'_>) -> Result<Vec<MadeKey>, StoreError> {
        let made = self.0.made.load();
        let made = made.as_deref().ok_or(StoreError::NoFile)?;
        Ok(made.iter().filter(|key| of.has(key)).cloned().collect())
    }

    /// Makes one for `realm`, or for that of the key that makes it, if one does. Its text is in what is given back and nowhere else.
    /// As the other two it blocks for as long as the disk takes, and is to be tried again after [`StoreError::Locked`].
    pub(super) fn make(
        &self,
        name: &str,
        realm: Option<&str>,
        by: Option<Maker<'_>>,
        now: UnixTime,
    ) -> Result<(MadeKey, NewKey), StoreError> {
        let key = NewKey::make().map_err(|_| StoreError::NoRandomness)?;
        let made = self.change(|store| {
            let all = store.add(&key, name, realm, by, now)?;
            Ok((all.last().cloned(), all))
        })?;
        Ok((made.ok_or(StoreError::NoKey)?, key))
    }

    /// Gives one another name.
    pub(super) fn rename(&self, uid: &str, of: Of<'_>, name: &str, now: UnixTime) -> Result<MadeKey, StoreError> {
        let renamed = self.change(|store| {
            let all = store.rename(uid, of, name, now)?;
            Ok((all.iter().find(|key| *key.uid == *uid).cloned(), all))
        })?;
        renamed.ok_or(StoreError::NoKey)
    }

    /// Ends one. What was issued by it lives on.
    pub(super) fn end(&self, uid: &str, of: Of<'_>) -> Result<MadeKey, StoreError> {
        self.change(|store| store.remove(uid, of))
    }

    /// One that was made.
    pub(super) fn made_key(&self, uid: &str, of: Of<'_>) -> Result<MadeKey, StoreError> {
        let mut keys = self.made(of)?.into_iter();
        keys.find(|key| *key.uid == *uid).ok_or(StoreError::NoKey)
    }

    /// Changes those that were made, in the file and here, or nothing. `how` gives what is wanted of it, and all there are then.
    fn change<T>(&self, how: impl FnOnce(&Store) -> Result<(T, Vec<MadeKey>), StoreError>) -> Result<T, StoreError> {
        self.with_store(|store| {
            let (wanted, made) = how(store)?;
            self.take_over(made);
            Ok(wanted)
        })
    }

    /// One at a time, so that what is known is what was read last.
    fn with_store<T>(&self, act: impl FnOnce(&Store) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let store = match self.0.store.try_lock() {
            Ok(store) => store,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return Err(StoreError::Locked),
        };
        act(store.as_ref().ok_or(StoreError::NoFile)?)
    }

    fn take_over(&self, made: Vec<MadeKey>) -> bool {
        if self.0.made.load().as_deref() == Some(&made) {
            return false;
        }
        self.0.made.store(Some(Arc::new(made)));
        self.rebuild(None);
        true
    }

    /// Makes the table anew, of other keys of the configuration if there are.
    fn rebuild(&self, keys: Option<&[ApiKey]>) {
        let mut own = self.0.configured.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(keys) = keys {
            *own = keys.to_vec();
        }
        let made = self.0.made.load();
        let before = self.0.ring.load_full();
        let now = Instant::now();
        let mut ring = Ring::default();
        let mut configured = HashMap::new();
        for key in &*own {
            let known = before.by_name.get(key.name.as_str()).filter(|held| !held.is_made);
            let held = match known {
                Some(held) if held.key == *key => Arc::clone(held),
                _ => Arc::new(self.hold(key, known.map(|held| &held.allowance), now)),
            };
            configured.insert(key.name.as_str(), held);
        }
        for made in made.as_deref().into_iter().flatten() {
            let maker = made.by.as_deref().map(|name| configured.get(name));
            let Some(key) = of_made(made, maker.map(|maker| maker.map(|held| held.key()))) else {
                continue;
            };
            let known = before.by_name.get(key.name.as_str()).filter(|held| held.is_made);
            let of_maker = maker.flatten().map(|held| &held.allowance);
            let takes_from_it = |held: &Held| of_maker.is_none_or(|of_maker| Arc::ptr_eq(of_maker, &held.allowance));
            let held = match known {
                Some(held) if held.key == key && takes_from_it(held) => Arc::clone(held),
                _ => Arc::new(self.hold_made(key, (made.by.as_deref(), of_maker), now)),
            };
            ring.insert(held);
        }
        // What the operator wrote wins where a digest stands in both.
        for held in configured.into_values() {
            ring.insert(held);
        }
        for (gone, held) in &before.by_name {
            if !held.is_made && !ring.by_name.contains_key(gone) {
                self.0.metrics.forget(gone);
            }
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
            share: key.name.as_str().into(),
            issues: self.issues_of(key, &key.name),
            is_made: false,
        }
    }

    /// One that was made, which takes from what its maker has, if a key made it.
    fn hold_made(&self, key: ApiKey, (by, of_maker): (Option<&str>, Option<&Arc<Allowance>>), now: Instant) -> Held {
        let own = || Arc::new(Allowance::new(key.grant, None, now));
        Held {
            name: key.name.as_str().into(),
            allowance: of_maker.map_or_else(own, Arc::clone),
            counters: self.0.metrics.of_key(MADE_KEYS),
            share: by.unwrap_or(MADE_KEYS).into(),
            issues: self.issues_of(&key, by.unwrap_or(MADE_KEYS)),
            is_made: true,
            key,
        }
    }

    fn issues_of(&self, key: &ApiKey, share: &str) -> KeyIssues {
        let realm = key.realm.as_deref().unwrap_or(DEFAULT_REALM);
        self.0.metrics.issues_of(realm, share)
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

impl Ring {
    fn insert(&mut self, held: Arc<Held>) {
        for hash in &held.key.hashes {
            self.by_hash.insert(*hash, Arc::clone(&held));
        }
        self.by_name.insert(Arc::clone(&held.name), held);
    }
}

/// What a key that was made opens: credentials of its realm, and their end. `maker` is the key that made it, if one did, as far as there is
/// still one of that name: what it may do now is what this one may.
fn of_made(made: &MadeKey, maker: Option<Option<&ApiKey>>) -> Option<ApiKey> {
    let key = ApiKey {
        name: made.uid.to_string(),
        hashes: vec![made.hash()?],
        scopes: MADE_SCOPES.to_vec(),
        realm: made.realm.as_deref().map(str::to_owned),
        origins: Vec::new(),
        grant: MADE_GRANT,
        max_ttl: None,
        enabled: true,
        expires_at: None,
    };
    let Some(maker) = maker else { return Some(key) };
    // Another key of its maker's name is not its maker.
    let Some(maker) = maker.filter(|maker| maker.realm == key.realm) else {
        return Some(ApiKey { enabled: false, ..key });
    };
    Some(ApiKey {
        scopes: made_scopes(maker),
        origins: maker.origins.clone(),
        grant: maker.grant,
        max_ttl: maker.max_ttl,
        enabled: maker.enabled,
        expires_at: maker.expires_at,
        ..key
    })
}

/// Those of its scopes that the keys have which a key makes.
fn made_scopes(maker: &ApiKey) -> Vec<Scope> {
    let scopes = MADE_SCOPES.into_iter();
    scopes.filter(|scope| maker.scopes.contains(scope)).collect()
}

/// What a key that was made can be for. None of them makes another.
const MADE_SCOPES: [Scope; 2] = [Scope::Issue, Scope::Revoke];

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
