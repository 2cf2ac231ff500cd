//! The numbers of accepted connections, counted where they happen: a connection costs a thousand times more than an atomic.

use prometheus::{IntCounter, IntGauge, IntGaugeVec, Registry};

use super::api::{counters, registered};
use super::table as t;
use crate::telemetry::StreamRefusal;
use crate::telemetry::labels::{CertificateReload, FrontFailure, FrontListener};

/// Counters of the TCP listeners.
#[derive(Clone)]
pub struct FrontMetrics {
    accepted: [IntCounter; FrontListener::COUNT],
    refused: [IntCounter; StreamRefusal::COUNT],
    failed: [IntCounter; FrontFailure::COUNT],
    reloads: [IntCounter; CertificateReload::COUNT],
    last_reload_good: IntGauge,
    /// Without a label, and without a sample until there is a certificate: 0 would be an expired one.
    expiry: IntGaugeVec,
}

impl FrontMetrics {
    pub(super) fn register(registry: &Registry) -> prometheus::Result<Self> {
        let accepted = counters(registry, &t::FRONT_ACCEPTED)?;
        let refused = counters(registry, &t::FRONT_REFUSED)?;
        let failed = counters(registry, &t::FRONT_FAILED)?;
        let reloads = counters(registry, &t::CERTIFICATE_RELOADS)?;
        let last_reload_good = registered(registry, IntGauge::with_opts(t::CERTIFICATES_GOOD.opts())?)?;
        last_reload_good.set(1);
        let expiry = IntGaugeVec::new(t::CERTIFICATE_EXPIRY.opts(), &[])?;
        Ok(Self {
            accepted: FrontListener::ALL.map(|listener| accepted.with_label_values(&[listener.as_label()])),
            refused: StreamRefusal::ALL.map(|reason| refused.with_label_values(&[reason.as_label()])),
            failed: FrontFailure::ALL.map(|reason| failed.with_label_values(&[reason.as_label()])),
            reloads: CertificateReload::ALL.map(|result| reloads.with_label_values(&[result.as_label()])),
            last_reload_good,
            expiry: registered(registry, expiry)?,
        })
    }

    /// Counts a connection that was accepted.
    pub fn accepted(&self, listener: FrontListener) {
        self.accepted[listener.index()].inc();
    }

    /// Counts a connection that ended before it was known what it speaks.
    pub fn failed(&self, reason: FrontFailure) {
        self.failed[reason.index()].inc();
    }

    /// Counts new certificate files.
    pub fn certificate_reload(&self, result: CertificateReload) {
        self.reloads[result.index()].inc();
        self.last_reload_good
            .set(i64::from(result != CertificateReload::Failed));
    }

    /// The first end of a certificate in use, Unix seconds.
    pub fn certificate_expiry(&self, at: i64) {
        self.expiry.with_label_values::<&str>(&[]).set(at);
    }

    /// Counts a connection that was closed because of a bound.
    pub fn refused(&self, reason: StreamRefusal) {
        self.refused[reason.index()].inc();
    }
}
