//! The numbers of API keys, counted where they are shown.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use prometheus::{IntCounter, IntCounterVec, IntGauge, Registry};

use super::api::{counter, counters, registered};
use super::table as t;
use crate::credentials::MADE_KEY;
use crate::telemetry::labels::{IssueResult, KeyResult};
use crate::turn::{MAX_SHARES, share_name};

/// By which all keys are counted together that were made while it runs. No name of the configuration has brackets.
pub const MADE_KEYS: &str = MADE_KEY;

/// Counters of keys. A series is a key of the operator's by its name, never what somebody showed.
#[derive(Clone)]
pub struct KeyMetrics {
    requests: IntCounterVec,
    /// Those of keys that are gone included, up to [`MAX_SHARES`].
    issues: Arc<Mutex<BTreeMap<String, KeyIssues>>>,
    /// Texts that were shown as keys and are none.
    pub unknown: IntCounter,
    /// Keys that there are.
    pub known: IntGauge,
}

impl KeyMetrics {
    pub(super) fn register(registry: &Registry) -> prometheus::Result<Self> {
        let requests = counters(registry, &t::API_KEY_REQUESTS)?;
        for result in KeyResult::ALL {
            requests.with_label_values(&[MADE_KEYS, result.as_label()]);
        }
        Ok(Self {
            requests,
            issues: Arc::default(),
            unknown: counter(registry, &t::API_KEY_UNKNOWN)?,
            known: registered(registry, IntGauge::with_opts(t::API_KEYS.opts())?)?,
        })
    }

    /// Those of one key; its series exist from now on.
    pub fn of_key(&self, name: &str) -> KeyCounters {
        KeyCounters(KeyResult::ALL.map(|result| self.requests.with_label_values(&[name, result.as_label()])))
    }

    /// What a key of a realm issued, the same counters whenever they are asked for: they outlive a reload.
    pub fn issues_of(&self, realm: &str, key: &str) -> KeyIssues {
        let name = share_name(realm, key);
        let mut issues = self.issues.lock().unwrap_or_else(PoisonError::into_inner);
        match issues.get(&name) {
            Some(known) => known.clone(),
            // Counted for nobody but the realm.
            None if issues.len() >= MAX_SHARES => KeyIssues::default(),
            None => issues.entry(name).or_default().clone(),
        }
    }

    /// What keys issued and were refused since the process began, by [`share_name`].
    pub(super) fn issues(&self) -> BTreeMap<String, [u64; IssueResult::COUNT]> {
        let issues = self.issues.lock().unwrap_or_else(PoisonError::into_inner);
        let counts = |of: &KeyIssues| std::array::from_fn(|at| of.0[at].load(Ordering::Relaxed));
        issues.iter().map(|(name, of)| (name.clone(), counts(of))).collect()
    }

    /// Ends the series of a key that is gone.
    pub fn forget(&self, name: &str) {
        for result in KeyResult::ALL {
            // An error means that it was never counted.
            let _ = self.requests.remove_label_values(&[name, result.as_label()]);
        }
    }
}

/// Wishes for credentials by one key of a realm, by [`IssueResult`]. Clones share.
#[derive(Clone, Debug, Default)]
pub struct KeyIssues(Arc<[AtomicU64; IssueResult::COUNT]>);

impl KeyIssues {
    /// Counts how a wish ended.
    pub fn count(&self, result: IssueResult) {
        self.0[result.index()].fetch_add(1, Ordering::Relaxed);
    }
}

/// Counters of one key.
#[derive(Clone, Debug)]
pub struct KeyCounters([IntCounter; KeyResult::COUNT]);

impl KeyCounters {
    /// Counts what became of a request with it.
    pub fn count(&self, result: KeyResult) {
        self.0[result.index()].inc();
    }
}
