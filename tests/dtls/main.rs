//! Clients of the relay that come by DTLS, on real sockets of loopback, on ports the kernel picks.

#![cfg(feature = "server")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test: what cannot be done is a failure"
)]

#[path = "../support/udp/mod.rs"]
mod support;

#[path = "../streams/client.rs"]
#[expect(dead_code, reason = "what streams need besides")]
mod client;
mod flood;
mod relay;
mod stage;
#[path = "../support/dtls.rs"]
mod stranger;
