//! Clients that come by a stream: TCP, TLS over TCP (RFC 8489 §6.2.2, RFC 8656 §3.1), and WebSockets over either, whose
//! messages carry the same stream.
//!
//! What it is: established streams in a worker's loop, between the kernel and the worker's `turn::Server`. Frames are cut
//! out of what is read and handled like datagrams; what goes to a client is queued and written once per turn.
//! What it is not: the way in. Connections are accepted, judged and handed over by [`super::front`].
//!
//! Invariants:
//! - A stream never makes its worker wait: every socket is nonblocking, and one turn reads a bounded amount of each.
//! - An idle stream holds no buffer. One that is being read holds the start of one frame at most, and before its client
//!   has an allocation that is at most [`connection::SMALL_FRAME`] bytes.
//! - A client that does not read costs [`Streams::queue_bytes`] at most: relayed data beyond it is dropped and counted,
//!   and a client that goes on asking without reading the answers is closed.
//! - A stream without an allocation and without requests ends by itself.

pub(super) mod census;
mod config;
pub(super) mod connection;
pub(super) mod intake;
pub(super) mod queue;
pub(super) mod table;
mod tunnel;

pub use config::Streams;
