//! Probes of STUN and TURN servers: against our own, against coturn, and against what is none.

#![cfg(feature = "server")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test: what cannot be done is a failure"
)]

#[path = "../cli/program.rs"]
#[allow(dead_code, clippy::allow_attributes, reason = "each test binary uses its part")]
mod program;

mod client;
mod coturn;
mod faults;
mod lists;
mod stage;
