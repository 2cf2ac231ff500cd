//! TURN over DTLS (RFC 7350, RFC 8656 §3.1): a session for each client address, on the worker its datagrams come to.
//!
//! What it is: DTLS 1.2 and 1.3 by dimpl, with a gate in front that verifies addresses without state. What it is not: a
//! verifier of client certificates (TURN authenticates by credentials), nor a place where TURN is understood.
//!
//! Invariants:
//! - An address gets a session after it has sent back a cookie that only it was sent (RFC 6347 §4.2.1, RFC 9147 §5.1). Before
//!   that the only memory it can touch is the pool of [`fragments`], which has a fixed size.
//! - What is sent to an address that is not verified is never longer than what came from it.
//! - A living session ends by what it itself authenticated, by time, or by a verified ClientHello from its address
//!   (RFC 6347 §4.2.8): what others forge is discarded and counted.
//! - A handshake has a deadline and a place among a bounded number; when the places are taken the oldest one ends.
//!
//! RFC 6347 (DTLS 1.2), RFC 9147 (DTLS 1.3), RFC 5246, RFC 8446.

mod config;
mod cookie;
mod fragments;
mod gate;
mod hello;
mod identity;
mod session;
pub(super) mod table;
#[cfg(test)]
mod tests;
mod vouch;

pub use config::Dtls;
pub(super) use identity::is_usable;
pub(super) use session::Scratch;
