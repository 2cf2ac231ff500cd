//! Replicas that share rooms over a real Redis server, which is killed, stopped, cut off and slow.

#![cfg(feature = "server")]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test: what cannot be done is a failure"
)]

mod driver;
mod faults;
mod node;
mod redis;
