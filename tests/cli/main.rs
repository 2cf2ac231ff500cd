//! The real program: what it prints, what it exits with, and that it works without configuration.

#![cfg(feature = "server")]
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test: what cannot be done is a failure"
)]

mod check;
mod configuration;
mod program;
mod start_and_stop;
