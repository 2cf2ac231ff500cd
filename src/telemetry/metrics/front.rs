//! The numbers of accepted connections, counted where they happen: a connection costs a thousand times more than an atomic.

use prometheus::{IntCounter, Registry};

use super::api::counters;
use super::table as t;
use crate::telemetry::StreamRefusal;
use crate::telemetry::labels::FrontListener;

/// Counters of the TCP listeners.
#[derive(Clone)]
pub struct FrontMetrics {
    accepted: [IntCounter; FrontListener::COUNT],
    refused: [IntCounter; StreamRefusal::COUNT],
}

impl FrontMetrics {
    pub(super) fn register(registry: &Registry) -> prometheus::Result<Self> {
        let accepted = counters(registry, &t::FRONT_ACCEPTED)?;
        let refused = counters(registry, &t::FRONT_REFUSED)?;
        Ok(Self {
            accepted: FrontListener::ALL.map(|listener| accepted.with_label_values(&[listener.as_label()])),
            refused: StreamRefusal::ALL.map(|reason| refused.with_label_values(&[reason.as_label()])),
        })
    }

    /// Counts a connection that was accepted.
    pub fn accepted(&self, listener: FrontListener) {
        self.accepted[listener.index()].inc();
    }

    /// Counts a connection that was closed at once.
    pub fn refused(&self, reason: StreamRefusal) {
        self.refused[reason.index()].inc();
    }
}
