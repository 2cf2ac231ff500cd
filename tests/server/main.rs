//! The servers on real sockets: everything here runs on loopback, on ports the kernel picks.

#![cfg(feature = "server")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test: what cannot be done is a failure"
)]

#[path = "../support/hook.rs"]
mod hook;
#[path = "../support/mmdb.rs"]
mod mmdb;
#[path = "../support/nobody.rs"]
mod nobody;
#[path = "../support/udp/mod.rs"]
mod support;

mod http;
mod http_cors;
mod http_keys;
mod http_limits;
mod http_relay;
mod http_server;
mod http_support;
mod http_v1_ice;
mod http_validate;
mod ice_lists;
mod openapi;
mod places;
mod relay;
mod relay_discovery;
mod relay_hairpin;
mod relay_icmp;
mod relay_mobility;
mod relay_trains;
mod relay_webrtc;
mod webhooks;
