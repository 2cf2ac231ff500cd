//! Many clients and peers in virtual time, over a network that loses, delays, repeats and re-addresses packets. One seed is one
//! run; a failure names its seed.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends at its first surprise"
)]

#[path = "../support/relay.rs"]
mod relay;

mod fleet;
mod history;
mod long;
mod mobility_world;
mod network;
mod parties;
mod relay_world;
