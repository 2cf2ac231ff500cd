//! Clients of the relay that come by streams, on real sockets of loopback, on ports the kernel picks.

#![cfg(feature = "server")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test: what cannot be done is a failure"
)]

#[path = "../support/udp/mod.rs"]
mod support;

mod bounds;
mod client;
mod framing;
mod one_port;
mod proxied;
mod rotated;
mod secure;
mod stage;
mod tcp;
mod tcp_relay;
mod tcp_relay_ends;
mod tls;
mod turn_client_proto;
mod websocket;
