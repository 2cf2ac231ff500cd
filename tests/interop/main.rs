//! Other people's programs against the real binary: coturn's clients and coturn itself, the `turn` crate, aiortc, HAProxy.
//!
//! What is judged is what arrived (messages received, none lost), never an exit code alone. Every server listens on free
//! loopback ports and ends with its test. A program that is missing fails its tests and says how to get it; `ops/test.sh`
//! installs them all.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test helper that fails is a failed test"
)]

mod aiortc;
mod coturn_server;
mod floods;
mod haproxy;
#[path = "../support/hook.rs"]
mod hook;
mod matrix;
mod natdiscovery;
mod proxies;
mod realms;
mod redirect;
mod stunclient;
mod support;
mod talkers;
mod tcp_relay;
mod turn_crate;
mod uclient;
mod usage;
mod websocket;
