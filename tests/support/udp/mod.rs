//! What the tests of the running relay share: a relay on loopback, and a TURN client that does one thing at a time.

#![allow(dead_code, reason = "each test binary uses its own part")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test: what cannot be done is a failure"
)]

pub(crate) mod client;
pub(crate) mod train;

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use meetpoint::credentials::KeyRing;
use meetpoint::telemetry::Metrics;
use meetpoint::transport::{self, Relay};
use meetpoint::turn::{self, PeerFilter, RelayAddr};

pub(crate) const SECRET: &str = "a secret of more than enough bytes";

/// A relay on loopback that relays to loopback.
pub(crate) struct Running {
    pub(crate) relay: Relay,
    pub(crate) metrics: Metrics,
    pub(crate) core: turn::Config,
}

/// What the core is configured with: loopback both ways.
pub(crate) fn core_config() -> turn::Config {
    turn::Config {
        keys: Some(KeyRing::from_bytes([SECRET]).unwrap()),
        relay_addrs: vec![
            RelayAddr::same("127.0.0.1".parse().unwrap()),
            RelayAddr::same("::1".parse().unwrap()),
        ],
        peers: PeerFilter::new(["127.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()], []),
        ..turn::Config::default()
    }
}

/// What the driver is configured with: free ports of loopback, and counters that are up to date soon.
pub(crate) fn config(workers: usize, listen: &[&str]) -> transport::Config {
    transport::Config {
        listen: listen.iter().map(|addr| addr.parse().unwrap()).collect(),
        workers: NonZeroUsize::new(workers),
        stats_interval: Duration::from_millis(10),
        ..transport::Config::default()
    }
}

impl Running {
    pub(crate) fn start(workers: usize, listen: &[&str]) -> Self {
        Self::with(&config(workers, listen), core_config())
    }

    pub(crate) fn with(config: &transport::Config, core: turn::Config) -> Self {
        let metrics = Metrics::new().unwrap();
        let relay = Relay::start(config, &Arc::new(core.clone()), &metrics).unwrap();
        Self { relay, metrics, core }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.relay.local_addrs()[0]
    }

    /// The sum over all samples of a metric whose line starts with `name`.
    pub(crate) fn metric(&self, name: &str) -> u64 {
        let text = self.metrics.render();
        let lines = text.lines().filter(|line| line.starts_with(name));
        lines
            .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap() as u64)
            .sum()
    }

    /// Waits until `metric(name)` is what `is_right` says; the last value otherwise.
    pub(crate) fn wait_for(&self, name: &str, is_right: impl Fn(u64) -> bool) -> u64 {
        let deadline = Instant::now() + Duration::from_secs(3);
        loop {
            let value = self.metric(name);
            if is_right(value) || Instant::now() > deadline {
                return value;
            }
            std::thread::yield_now();
        }
    }
}
