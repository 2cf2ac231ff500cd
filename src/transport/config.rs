//! What an operator may choose about the sockets and threads of the relay.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::time::Duration;

use super::{Dtls, Streams};

/// The port of STUN and TURN over UDP (RFC 8489 §8.1, RFC 8656 §4).
pub const DEFAULT_PORT: u16 = 3478;

/// The port of STUN and TURN over TLS (RFC 8489 §8.1, RFC 8656 §4).
pub const DEFAULT_TLS_PORT: u16 = 5349;

/// Sockets, threads and offloads of the UDP driver. What the relay allows is `turn::Config`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// UDP addresses clients reach the server at. Default: port 3478 on every IPv4 and every IPv6 address.
    ///
    /// A wildcard address works with any number of addresses on the machine (replies leave from the address the
    /// request came to) and costs two control messages per packet; naming the address saves them. Port 0 takes a free
    /// port, which `Relay::local_addrs` then reports.
    pub listen: Vec<SocketAddr>,
    /// UDP addresses clients reach the server at by DTLS, usually port 5349. Default: none.
    pub listen_dtls: Vec<SocketAddr>,
    /// Threads that relay, each with its own sockets and buffers. Default: one for each core this process may run on.
    ///
    /// More threads than cores cost context switches; each costs 4 MiB of buffers at most, and every pair of
    /// allocations that talk to each other on different threads costs a hand-over per packet.
    pub workers: Option<NonZeroUsize>,
    /// Bytes the kernel may queue for each listening socket before it drops. Default: 2 MiB.
    ///
    /// Raising it rides out longer stalls of a worker and costs that much kernel memory and latency when it fills.
    /// The kernel caps it at `net.core.rmem_max`; a capped value is reported at start.
    pub listener_recv_buffer: Option<usize>,
    /// Bytes of unsent datagrams each listening socket may hold before a send is dropped. Default: 2 MiB.
    ///
    /// The kernel caps it at `net.core.wmem_max`.
    pub listener_send_buffer: Option<usize>,
    /// As `listener_recv_buffer`, for each relay socket. Default: the kernel's (`net.core.rmem_default`).
    ///
    /// One allocation owns one relay socket, so the worst case is this times the number of allocations.
    pub relay_recv_buffer: Option<usize>,
    /// As `listener_send_buffer`, for each relay socket. Default: the kernel's (`net.core.wmem_default`).
    pub relay_send_buffer: Option<usize>,
    /// Take and send trains of equal datagrams as one unit (UDP_GRO, UDP_SEGMENT). Default: on.
    ///
    /// Off only helps to find out whether a network driver mishandles them. Where the kernel or the route cannot do
    /// it, the driver falls back by itself.
    pub offload: bool,
    /// How often each worker publishes its counters. Default: 250 ms. Shorter wakes an idle worker more often.
    pub stats_interval: Duration,
    /// Bounds and patience for clients that come by TCP or TLS.
    pub streams: Streams,
    /// Bounds and patience for clients that come by DTLS.
    pub dtls: Dtls,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: vec![
                SocketAddr::from((Ipv4Addr::UNSPECIFIED, DEFAULT_PORT)),
                SocketAddr::from((Ipv6Addr::UNSPECIFIED, DEFAULT_PORT)),
            ],
            listen_dtls: Vec::new(),
            workers: None,
            listener_recv_buffer: Some(2 << 20),
            listener_send_buffer: Some(2 << 20),
            relay_recv_buffer: None,
            relay_send_buffer: None,
            offload: true,
            stats_interval: Duration::from_millis(250),
            streams: Streams::default(),
            dtls: Dtls::default(),
        }
    }
}

impl Config {
    /// The number of workers: the configured one, else the number of cores this process may run on, else 1.
    ///
    /// Never more than [`MAX_WORKERS`].
    pub fn worker_count(&self) -> NonZeroUsize {
        let wanted = self
            .workers
            .or_else(|| std::thread::available_parallelism().ok())
            .unwrap_or(NonZeroUsize::MIN);
        wanted.min(MAX_WORKERS)
    }
}

/// The most workers one process runs: what a port's owner is recorded in.
pub const MAX_WORKERS: NonZeroUsize = NonZeroUsize::new(1024).unwrap();

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_workers_is_bounded() {
        let mut config = Config {
            workers: Some(MAX_WORKERS),
            ..Config::default()
        };
        assert_eq!(config.worker_count(), MAX_WORKERS);
        config.workers = NonZeroUsize::new(MAX_WORKERS.get() + 1);
        assert_eq!(config.worker_count(), MAX_WORKERS);
    }

    #[test]
    fn without_a_number_of_workers_there_is_one_for_each_core() {
        let cores = std::thread::available_parallelism().unwrap();
        assert_eq!(Config::default().worker_count(), cores.min(MAX_WORKERS));
    }
}
