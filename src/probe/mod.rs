//! Probes: what a client of a STUN or TURN server does, done again and again, to know which servers work.
//!
//! What it is: a client ([`Client`]) that opens a leg over UDP, TCP, TLS or DTLS, asks for a binding or an allocation and ends it;
//! [`Health`], a core that makes one judgement of many results and changes it slowly; a task ([`Prober`]) that does the one and tells
//! the other.
//! What it is not: the list that clients get, which leaves out what is dead; nor the place that knows credentials.
//!
//! Invariants:
//! - Only what the operator configured is ever asked: nothing here takes a host from a request.
//! - Every step has an end in time, every answer one in size; no task outlives who waits for it but a name look-up, and few of those.
//! - What says more of this machine than of the server (no route of that family, no socket) changes no judgement.
//! - A server is dead when several results in a row say so, and back when several say that.
//! - No secret and nothing that a server chose is in a log or a metric.
//!
//! RFCs: 8489, 8656 (client side), 7064, 7065 (URLs), 7350 (DTLS).

mod attempt;
mod board;
mod client;
pub mod config;
mod driver;
mod fault;
mod health;
mod leg;
mod place;
mod resolve;
mod roster;
mod secured;

pub use attempt::{Finding, Target};
pub use board::{Board, Seen};
pub use client::{Allocation, Client, Login};
pub use config::Config;
pub use driver::{Changed, Prober, Servers};
pub use fault::Fault;
pub use health::{Change, Health, Rules, State, Verdict};
pub use place::{Place, Service, Way};
pub use resolve::{MAX_ADDRESSES, Resolver};
