//! The numbers of accounting, counted by its thread.

use prometheus::{IntCounter, IntGauge, Registry};

use super::api::{counter, registered};
use super::table as t;

/// Counters of records and their files.
#[derive(Clone)]
pub struct UsageMetrics {
    /// Records that are in a file.
    pub written: IntCounter,
    /// Attempts to write that failed.
    pub failures: IntCounter,
    /// Records that wait to be written.
    pub waiting: IntGauge,
    /// Records that were lost, because the process ended before they could be written.
    pub lost: IntCounter,
    /// When something was last written, Unix seconds; 0 never.
    pub written_at: IntGauge,
}

impl UsageMetrics {
    pub(super) fn register(registry: &Registry) -> prometheus::Result<Self> {
        Ok(Self {
            written: counter(registry, &t::USAGE_WRITTEN)?,
            failures: counter(registry, &t::USAGE_FAILURES)?,
            waiting: registered(registry, IntGauge::with_opts(t::USAGE_WAITING.opts())?)?,
            lost: counter(registry, &t::USAGE_LOST)?,
            written_at: registered(registry, IntGauge::with_opts(t::USAGE_WRITTEN_AT.opts())?)?,
        })
    }
}
