//! Realms: who is let in by whose secret, what each may hold, whom it may reach, and what a reload changes.

#![expect(clippy::unwrap_used, reason = "a test ends at its first surprise")]

#[path = "../support/relay.rs"]
mod relay;

mod bounds;
mod counted;
mod isolation;
mod peers;
mod reload;
mod two;
