//! The servers on real sockets: everything here runs on loopback, on ports the kernel picks.

#![cfg(feature = "server")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test: what cannot be done is a failure"
)]

mod http;
mod http_cors;
mod http_limits;
mod http_server;
mod http_support;
