//! What happened, told to those who keep records: the log, webhooks, and whoever listens to the admin stream.
//!
//! What it is: one bounded channel that the relay's workers and the admin API put things into ([`Intake`]), one task that gives
//! each a number, writes it down once and passes it on ([`Events`]), and the ways out: the log, [`webhook`], [`Feed`], and the counts of
//! who did most ([`talkers`]).
//! What it is not: a store. What is not delivered within its bounds is counted and gone.
//!
//! Invariants:
//! - Nobody who puts something in waits. A slow way out never holds up another, nor the relay.
//! - Every queue has a bound in number, those that live long one in bytes, and what finds no room is counted.
//! - A secret of a webhook is in no log, no metric and no error text; of its address only scheme, host and port are.
//! - On its way out an event is never changed: each subscriber gets the same bytes.

pub mod audit;
pub mod config;
mod fan_out;
mod feed;
mod hub;
mod intake;
mod log;
mod record;
mod server;
pub mod talkers;
pub mod webhook;

pub use audit::Audit;
pub use config::{Config, Hook, Kinds};
pub use fan_out::Events;
pub use feed::{Feed, Item, Subscription, TooMany, Wanted};
pub use hub::HubEvent;
pub use intake::Intake;
pub use record::{Record, UsageEvent};
pub use server::ServerEvent;
pub use talkers::Talkers;
