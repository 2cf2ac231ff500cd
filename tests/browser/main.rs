//! A real Chromium against the real program: the console page as a stranger would use it.
//!
//! Needs `chromium` (or what `MEETPOINT_CHROMIUM` names); without it these tests fail and say so. Screenshots are left in
//! `$CARGO_TARGET_TMPDIR/console/`.
#![cfg(feature = "server")]

#[path = "../support/udp/mod.rs"]
mod support;

mod cdp;
mod chromium;
mod namespace;
mod server;
mod stage;
mod topology;

mod candidates;
mod dialects;
mod drain;
mod errors;
mod lists;
mod nat;
mod readme;
mod rooms;
mod sdk;
mod sdk_figures;
mod sdk_outage;
mod streams;
