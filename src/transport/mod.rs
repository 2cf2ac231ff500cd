//! The drivers of the relay: they own its sockets, its threads and its clock, and decide nothing.
//!
//! One OS thread per worker (a *shard*). Each has its own listening sockets (`SO_REUSEPORT`), its own
//! `turn::Server`, its own relay sockets and its own buffers.
//!
//! It is not: protocol (that is `turn` and `wire`), a place where a packet waits (what the kernel does not take at once
//! is dropped and counted, as any router would), nor a user of tokio: that is [`front`] alone, where connections are
//! accepted and handed to the workers.
//!
//! Invariants:
//! - A relayed packet of UDP meets no lock, no heap allocation and no copy of its payload in user space. (On a stream it
//!   is copied once: into the batch, or into the client's queue.)
//! - Bytes of a TCP data connection are read, and written at once; what the reader does not take holds its writer back.
//! - An error on one socket or for one destination never ends a worker and never costs the rest of a batch.
//! - `unsafe` lives in `udp/sys.rs` alone.
//!
//! RFC 8656 §3 (the shape of a relay), §14 and §15 (IP header fields), RFC 8085 §3 (UDP usage).

#[cfg(not(target_os = "linux"))]
compile_error!(
    "the relay's driver needs Linux (epoll, recvmmsg, UDP_SEGMENT); \
     the sans-I/O cores build anywhere with --no-default-features"
);

mod buffer;
mod config;
mod data_connection;
mod dtls;
pub mod front;
mod handover;
mod limits;
mod listener;
mod outbox;
mod poller;
mod relay;
mod relay_table;
mod stream;
mod udp;
mod worker;

pub use config::{Config, DEFAULT_PORT, DEFAULT_TLS_PORT, MAX_WORKERS};
pub use dtls::Dtls;
pub use limits::allocations_within;
pub use relay::{Inquiry, NoAnswer, Relay};
pub use stream::Streams;
