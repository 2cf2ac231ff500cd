//! The numbers of events, counted where they are told.

use prometheus::{IntCounter, IntGauge, Registry};

use super::api::{counter, counters, registered};
use super::table as t;
use crate::telemetry::labels::{AdminRefusal, HookAttempt, HookEnd, RecordKind};

/// Counters of events and of those who are told.
#[derive(Clone)]
pub struct EventMetrics {
    told: [IntCounter; RecordKind::COUNT],
    /// Events that found no room on their way to be told.
    pub dropped: IntCounter,
    attempts: [IntCounter; HookAttempt::COUNT],
    ends: [IntCounter; HookEnd::COUNT],
    /// Events that wait for a webhook or are under way to it.
    pub queued: IntGauge,
    /// Open admin streams.
    pub subscribers: IntGauge,
    /// Admin streams refused because as many were open as may be.
    pub subscribers_refused: IntCounter,
    /// Events that an admin stream was too slow for.
    pub lagged: IntCounter,
    refusals: [IntCounter; AdminRefusal::COUNT],
}

impl EventMetrics {
    pub(super) fn register(registry: &Registry) -> prometheus::Result<Self> {
        let told = counters(registry, &t::EVENTS)?;
        let attempts = counters(registry, &t::WEBHOOK_ATTEMPTS)?;
        let ends = counters(registry, &t::WEBHOOK_EVENTS)?;
        let refusals = counters(registry, &t::ADMIN_REFUSALS)?;
        Ok(Self {
            told: RecordKind::ALL.map(|kind| told.with_label_values(&[kind.as_label()])),
            dropped: counter(registry, &t::EVENTS_DROPPED)?,
            attempts: HookAttempt::ALL.map(|result| attempts.with_label_values(&[result.as_label()])),
            ends: HookEnd::ALL.map(|end| ends.with_label_values(&[end.as_label()])),
            queued: registered(registry, IntGauge::with_opts(t::WEBHOOK_QUEUED.opts())?)?,
            subscribers: registered(registry, IntGauge::with_opts(t::ADMIN_STREAMS.opts())?)?,
            subscribers_refused: counter(registry, &t::ADMIN_STREAMS_REFUSED)?,
            lagged: counter(registry, &t::ADMIN_STREAM_LAGGED)?,
            refusals: AdminRefusal::ALL.map(|reason| refusals.with_label_values(&[reason.as_label()])),
        })
    }

    /// Counts an event that is told.
    pub fn told(&self, kind: RecordKind) {
        self.told[kind.index()].inc();
    }

    /// Counts an attempt at a delivery.
    pub fn attempt(&self, result: HookAttempt) {
        self.attempts[result.index()].inc();
    }

    /// Counts events by what became of them on the way to a webhook.
    pub fn hook_end(&self, end: HookEnd, events: u64) {
        self.ends[end.index()].inc_by(events);
    }

    /// Events that ended like this so far.
    pub fn hook_ended(&self, end: HookEnd) -> u64 {
        self.ends[end.index()].get()
    }

    /// Counts a request to the admin API that showed no token that opens.
    pub fn admin_refusal(&self, reason: AdminRefusal) {
        self.refusals[reason.index()].inc();
    }
}
