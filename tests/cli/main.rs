//! The real program: what it prints, what it exits with, and that it works without configuration.

#![cfg(feature = "server")]
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test: what cannot be done is a failure"
)]

#[path = "../support/hook.rs"]
mod hook;
#[path = "../support/mmdb.rs"]
mod mmdb;
#[path = "../support/stopped.rs"]
mod stopped;
#[path = "../support/udp/mod.rs"]
mod support;

mod admin;
mod authentication;
mod check;
mod compat;
mod configuration;
mod dialects;
mod documents;
mod drain;
mod events;
mod external_address;
mod ice_lists;
mod idle;
mod keys;
mod logging;
mod moderation;
mod program;
mod realms;
mod reload;
mod start_and_stop;
mod supervisor;
mod tokens;
mod usage;
