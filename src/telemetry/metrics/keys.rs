//! The numbers of API keys, counted where they are shown.

use prometheus::{IntCounter, IntCounterVec, IntGauge, Registry};

use super::api::{counter, counters, registered};
use super::table as t;
use crate::telemetry::labels::KeyResult;

/// By which all keys are counted together that were made while it runs. No name of the configuration has brackets.
pub const MADE_KEYS: &str = "(made)";

/// Counters of keys. A series is a key of the operator's by its name, never what somebody showed.
#[derive(Clone)]
pub struct KeyMetrics {
    requests: IntCounterVec,
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
            unknown: counter(registry, &t::API_KEY_UNKNOWN)?,
            known: registered(registry, IntGauge::with_opts(t::API_KEYS.opts())?)?,
        })
    }

    /// Those of one key; its series exist from now on.
    pub fn of_key(&self, name: &str) -> KeyCounters {
        KeyCounters(KeyResult::ALL.map(|result| self.requests.with_label_values(&[name, result.as_label()])))
    }

    /// Ends the series of a key that is gone.
    pub fn forget(&self, name: &str) {
        for result in KeyResult::ALL {
            // An error means that it was never counted.
            let _ = self.requests.remove_label_values(&[name, result.as_label()]);
        }
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
