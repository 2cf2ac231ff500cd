//! The numbers of probes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus::{HistogramVec, IntCounterVec, IntGaugeVec, Registry};

use super::api::{counters, histograms, registered};
use super::table as t;
use crate::telemetry::labels::{ProbeFault, ProbeTransport};

/// What probes found, by server and transport. The servers are those of the configuration, so nobody else can make a series.
#[derive(Clone)]
pub struct ProbeMetrics {
    up: IntGaugeVec,
    durations: HistogramVec,
    failures: IntCounterVec,
    known: Arc<Mutex<Known>>,
}

type Known = BTreeMap<Box<str>, BTreeSet<usize>>;

impl ProbeMetrics {
    pub(super) fn register(registry: &Registry) -> prometheus::Result<Self> {
        let up = IntGaugeVec::new(t::PROBE_UP.opts(), &t::PROBE_UP.label_names())?;
        Ok(Self {
            up: registered(registry, up)?,
            durations: histograms(registry, &t::PROBE_DURATION)?,
            failures: counters(registry, &t::PROBE_FAILURES)?,
            known: Arc::default(),
        })
    }

    /// These are all that are probed, and whether each works. Of others nothing is shown any more.
    pub fn replace<'a>(&self, all: impl Iterator<Item = (&'a str, ProbeTransport, bool)>) {
        let (mut now, mut works) = (Known::new(), BTreeMap::new());
        for (server, transport, is_up) in all {
            now.entry(server.into()).or_default().insert(transport.index());
            *works.entry((server, transport.index())).or_insert(true) &= is_up;
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        for (server, transports) in known.iter() {
            let kept = now.get(server);
            for index in transports
                .iter()
                .filter(|index| kept.is_none_or(|kept| !kept.contains(index)))
            {
                let labels = [server, ProbeTransport::ALL[*index].as_label()];
                // An error means that there was none.
                let _ = self.up.remove_label_values(&labels);
                let _ = self.durations.remove_label_values(&labels);
            }
            if kept.is_none() {
                for fault in ProbeFault::ALL {
                    let _ = self.failures.remove_label_values(&[server, fault.as_label()]);
                }
            }
        }
        for ((server, index), is_up) in works {
            let labels = [server, ProbeTransport::ALL[index].as_label()];
            self.up.with_label_values(&labels).set(i64::from(is_up));
            self.durations.with_label_values(&labels);
        }
        // Series exist from the start: a rate over a counter that appears with its first event misses it.
        for server in now.keys().filter(|server| !known.contains_key(*server)) {
            for fault in ProbeFault::ALL {
                self.failures.with_label_values(&[server, fault.as_label()]);
            }
        }
        *known = now;
    }

    /// Counts a probe of a server that is known.
    pub fn probed(&self, server: &str, transport: ProbeTransport, took: Duration, fault: Option<ProbeFault>) {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if !known
            .get(server)
            .is_some_and(|known| known.contains(&transport.index()))
        {
            return;
        }
        let labels = [server, transport.as_label()];
        self.durations.with_label_values(&labels).observe(took.as_secs_f64());
        if let Some(fault) = fault {
            self.failures.with_label_values(&[server, fault.as_label()]).inc();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Metrics;

    #[test]
    fn a_server_is_up_while_all_its_urls_are_and_leaves_nothing_behind() {
        let metrics = Metrics::new().unwrap();
        let (probe, udp) = (metrics.probe(), ProbeTransport::Udp);
        let has = |line: &str| metrics.render().lines().any(|each| each == line);
        probe.replace([("own", udp, true), ("frankfurt", udp, true), ("frankfurt", udp, false)].into_iter());
        assert!(has("meetpoint_probe_up{server=\"own\",transport=\"udp\"} 1"));
        assert!(has("meetpoint_probe_up{server=\"frankfurt\",transport=\"udp\"} 0"));
        assert!(has(
            "meetpoint_probe_failures_total{reason=\"silent\",server=\"frankfurt\"} 0"
        ));
        let second = Duration::from_secs(1);
        probe.probed("frankfurt", udp, second, Some(ProbeFault::Silent));
        probe.probed("nobody", udp, second, Some(ProbeFault::Silent));
        assert!(has(
            "meetpoint_probe_failures_total{reason=\"silent\",server=\"frankfurt\"} 1"
        ));
        assert!(has(
            "meetpoint_probe_duration_seconds_count{server=\"frankfurt\",transport=\"udp\"} 1"
        ));
        probe.replace([("own", udp, true)].into_iter());
        let text = metrics.render();
        assert!(!text.contains("frankfurt") && !text.contains("\"nobody\""), "{text}");
    }
}
