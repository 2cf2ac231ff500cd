//! A relay that takes streams.

use std::net::SocketAddr;
use std::time::Duration;

use meetpoint::transport::front::Front;
use meetpoint::transport::{self, Streams};
use meetpoint::turn;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use crate::support::{Running, config, core_config};

/// The relay and its front.
pub(crate) struct Stage {
    pub(crate) running: Running,
    /// Where TURN is spoken over TCP, one address of each family.
    pub(crate) tcp: SocketAddr,
    pub(crate) tcp6: Option<SocketAddr>,
    _runtime: Runtime,
}

impl Stage {
    pub(crate) fn start(workers: usize) -> Self {
        Self::with(workers, Streams::default(), core_config())
    }

    pub(crate) fn bounded(streams: Streams) -> Self {
        Self::with(1, streams, core_config())
    }

    pub(crate) fn with(workers: usize, streams: Streams, core: turn::Config) -> Self {
        let config = transport::Config {
            streams,
            ..config(workers, &["127.0.0.1:0"])
        };
        let running = Running::with(&config, core);
        let front = Front::new(&config.streams, &running.relay, &running.metrics);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listen = |addr: &str| {
            let listener = runtime.block_on(TcpListener::bind(addr)).ok()?;
            let addr = listener.local_addr().unwrap();
            runtime.spawn(front.clone().serve(listener, std::future::pending()));
            Some(addr)
        };
        Self {
            tcp: listen("127.0.0.1:0").unwrap(),
            tcp6: listen("[::1]:0"),
            running,
            _runtime: runtime,
        }
    }

    /// Waits until a metric has this value.
    pub(crate) fn assert_metric(&self, name: &str, value: u64) {
        assert_eq!(self.running.wait_for(name, |found| found == value), value, "{name}");
    }
}

/// Streams that are not waited for long.
pub(crate) fn impatient() -> Streams {
    Streams {
        idle_timeout: Duration::from_millis(300),
        first_timeout: Duration::from_millis(200),
        ..Streams::default()
    }
}
