//! The hub over real sockets: upgrade, frames, limits, liveness, slow readers, other people's clients.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test helper that fails is a failed test"
)]

#[path = "../support/signaling_schema.rs"]
mod signaling_schema;

#[path = "hub_sockets/abuse.rs"]
mod abuse;
#[path = "hub_sockets/conversation.rs"]
mod conversation;
#[path = "hub_sockets/foreign_clients.rs"]
mod foreign_clients;
#[path = "hub_sockets/http.rs"]
mod http;
#[path = "hub_sockets/judged.rs"]
mod judged;
#[path = "hub_sockets/support.rs"]
mod support;
