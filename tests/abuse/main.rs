//! What an abuser can use is closed: a test for each CVE and each class of abuse that relays are known for.
//!
//! Against the core where that decides, against the real program and real sockets where those do. `docs/threat-model.md` lists
//! what is tried, with the name of its test here.

#![cfg(feature = "server")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test: what cannot be done is a failure"
)]

#[path = "../support/relay.rs"]
mod relay;

#[path = "../support/udp/mod.rs"]
mod support;

#[path = "../streams/client.rs"]
#[allow(dead_code, clippy::allow_attributes, reason = "each test binary uses its part")]
mod stream_client;

#[path = "../cli/program.rs"]
#[allow(dead_code, clippy::allow_attributes, reason = "each test binary uses its part")]
mod program;

mod amplification;
mod classes;
mod counting;
mod disguise;
mod flood;
mod known_holes;
mod new_rules;
mod process;
