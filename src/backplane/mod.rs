//! Hub to hub across replicas, over one Redis or Valkey server that all of them share.
//!
//! What it is: the driver of the part of [`signaling::Hub`](crate::signaling::Hub) that speaks to other replicas, and the way of
//! [`fleet::Fleet`](crate::fleet::Fleet), which speaks for the relay. It carries what they publish, subscribes to what the hub hosts, hands in what comes, and tells the hub when Redis is there and when it is
//! not. Nothing is stored in Redis: publish and subscribe alone.
//!
//! What it is not: it does not know what is in a message, who is alive, or who is in which room; that is the hub's. It is no
//! client of Redis Cluster or Sentinel: it speaks to one address, behind which a failover may happen.
//!
//! Two connections: one publishes, in order and many messages at a time; the other one receives (RESP3). Each replica also
//! publishes to itself, every second. That message comes back over the other connection, so it notices a network that was cut, a Redis
//! that hangs, and connections that have come to lead to two different servers.
//!
//! Invariants:
//! - The hub never waits: [`Outgoing`] is a bounded queue. At the bound everything in it is dropped and counted, and the hub is
//!   told that the backplane was lost and is there again, so that it synchronises anew: a gap is never passed over.
//! - `bus_connected` comes after Redis has confirmed every room that is hosted; nothing is handed in before it, and nothing
//!   after `bus_lost`.
//! - Everything that waits for Redis has a time limit, and every failure ends in another attempt, later and later, at random.
//! - Redis being away stops nothing else, neither at the start nor later.
//! - What comes in is bounded, too: a message longer than [`MAX_MESSAGE`] ends the connection before it is in memory.
//! - The password is in no log, no error and no metric.

mod bounded;
mod channel;
pub mod config;
mod connection;
mod driver;
mod fault;
mod outgoing;
mod probe;
mod session;

pub use bounded::MAX_MESSAGE;
pub use config::{Config, Password, RedisUrl};
pub use connection::Unusable;
pub use driver::{Backplane, Receiver};
pub use fault::Fault;
pub use outgoing::Outgoing;
pub use probe::round_trip;
