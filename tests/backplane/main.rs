//! Replicas that share rooms over a real Redis server, which is killed, stopped, cut off and slow.

#![cfg(feature = "server")]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test: what cannot be done is a failure"
)]

mod client;
mod cut;
mod driver;
mod faults;
mod fleet;
mod moves;
#[expect(dead_code, reason = "what the tests with browsers need besides")]
#[path = "../browser/namespace.rs"]
mod namespace;
mod node;
mod redis;
mod replica;
mod replicas;
mod rotation;
mod shapes;
#[path = "../support/stopped.rs"]
mod stopped;
#[path = "../support/udp/mod.rs"]
mod support;
