//! The numbers of the backplane, counted where its driver works.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use prometheus::{Gauge, IntCounter, IntGauge, Registry};

use super::api::{counter, counters, registered};
use super::table as t;
use crate::telemetry::labels::{BackplaneFault, BackplaneState};

/// Counters of the backplane, and whether it is there.
#[derive(Clone)]
pub struct BackplaneMetrics {
    state: Arc<AtomicU8>,
    connected: IntGauge,
    /// Times the backplane was there again, the first time included.
    pub connects: IntCounter,
    faults: [IntCounter; BackplaneFault::COUNT],
    /// Messages that Redis took.
    pub published: IntCounter,
    /// Their payloads.
    pub published_bytes: IntCounter,
    /// Messages that came.
    pub received: IntCounter,
    /// Their payloads.
    pub received_bytes: IntCounter,
    /// Messages dropped because too many waited.
    pub dropped: IntCounter,
    queued: IntGauge,
    queued_bytes: IntGauge,
    /// Rooms that Redis has confirmed.
    pub subscriptions: IntGauge,
    /// How long the last message to this replica itself took.
    pub round_trip: Gauge,
}

impl BackplaneMetrics {
    pub(super) fn register(registry: &Registry) -> prometheus::Result<Self> {
        let faults = counters(registry, &t::BACKPLANE_FAULTS)?;
        let gauge = |family: &super::family::Family| registered(registry, IntGauge::with_opts(family.opts())?);
        Ok(Self {
            state: Arc::default(),
            connected: gauge(&t::BACKPLANE_CONNECTED)?,
            connects: counter(registry, &t::BACKPLANE_CONNECTS)?,
            faults: BackplaneFault::ALL.map(|fault| faults.with_label_values(&[fault.as_label()])),
            published: counter(registry, &t::BACKPLANE_PUBLISHED)?,
            published_bytes: counter(registry, &t::BACKPLANE_PUBLISHED_BYTES)?,
            received: counter(registry, &t::BACKPLANE_RECEIVED)?,
            received_bytes: counter(registry, &t::BACKPLANE_RECEIVED_BYTES)?,
            dropped: counter(registry, &t::BACKPLANE_DROPPED)?,
            queued: gauge(&t::BACKPLANE_QUEUED)?,
            queued_bytes: gauge(&t::BACKPLANE_QUEUED_BYTES)?,
            subscriptions: gauge(&t::BACKPLANE_SUBSCRIPTIONS)?,
            round_trip: registered(registry, Gauge::with_opts(t::BACKPLANE_ROUND_TRIP.opts())?)?,
        })
    }

    /// Counts an end of the connection, or an attempt that failed.
    pub fn fault(&self, fault: BackplaneFault) {
        self.faults[fault.index()].inc();
    }

    /// What waits to be published.
    pub fn queue(&self, messages: usize, bytes: usize) {
        self.queued.set(messages as i64);
        self.queued_bytes.set(bytes as i64);
    }

    /// Says whether the other replicas can be reached from now on.
    pub fn set_state(&self, state: BackplaneState) {
        self.state.store(state.index() as u8, Ordering::Release);
        self.connected.set(i64::from(state == BackplaneState::Connected));
    }

    /// What was said last; [`BackplaneState::Off`] when nothing was.
    pub fn state(&self) -> BackplaneState {
        let index = usize::from(self.state.load(Ordering::Acquire));
        BackplaneState::ALL.get(index).copied().unwrap_or(BackplaneState::Off)
    }
}
