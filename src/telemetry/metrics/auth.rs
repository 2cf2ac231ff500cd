//! The numbers of judging tokens with the help of others, counted where it happens.

use prometheus::{IntCounter, IntGauge, Registry};

use super::api::{counters, registered};
use super::table as t;
use crate::telemetry::labels::{HookVerdict, JwksFetch, TokenMemory};

/// Counters of key sets and of the service that judges tokens.
#[derive(Clone)]
pub struct AuthMetrics {
    fetches: [IntCounter; JwksFetch::COUNT],
    verdicts: [IntCounter; HookVerdict::COUNT],
    memory: [IntCounter; TokenMemory::COUNT],
    /// Keys of the last set that was fetched.
    pub jwks_keys: IntGauge,
    /// When that was, Unix seconds; 0 never.
    pub jwks_fetched_at: IntGauge,
}

impl AuthMetrics {
    pub(super) fn register(registry: &Registry) -> prometheus::Result<Self> {
        let fetches = counters(registry, &t::JWKS_FETCHES)?;
        let verdicts = counters(registry, &t::AUTH_HOOK_VERDICTS)?;
        let memory = counters(registry, &t::TOKEN_MEMORIES)?;
        Ok(Self {
            verdicts: HookVerdict::ALL.map(|result| verdicts.with_label_values(&[result.as_label()])),
            memory: TokenMemory::ALL.map(|result| memory.with_label_values(&[result.as_label()])),
            fetches: JwksFetch::ALL.map(|result| fetches.with_label_values(&[result.as_label()])),
            jwks_keys: registered(registry, IntGauge::with_opts(t::JWKS_KEYS.opts())?)?,
            jwks_fetched_at: registered(registry, IntGauge::with_opts(t::JWKS_FETCHED_AT.opts())?)?,
        })
    }

    /// Counts a question to the service that judges tokens.
    pub fn hook_verdict(&self, result: HookVerdict) {
        self.verdicts[result.index()].inc();
    }

    /// Questions that ended like this so far.
    pub fn hook_verdicts(&self, result: HookVerdict) -> u64 {
        self.verdicts[result.index()].get()
    }

    /// Counts what became of the memory of tokens.
    pub fn token_memory(&self, result: TokenMemory) {
        self.memory[result.index()].inc();
    }

    /// How often that was so far.
    pub fn token_memories(&self, result: TokenMemory) -> u64 {
        self.memory[result.index()].get()
    }

    /// Counts a fetch of a key set.
    pub fn jwks_fetch(&self, result: JwksFetch) {
        self.fetches[result.index()].inc();
    }

    /// Fetches that ended like this so far.
    pub fn jwks_fetched(&self, result: JwksFetch) -> u64 {
        self.fetches[result.index()].get()
    }
}
