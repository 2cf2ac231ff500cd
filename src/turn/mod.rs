//! The TURN server as a state machine: bytes and `now` in, outputs as values.
//!
//! What it is: one [`Server`] per shard. It holds the allocations of the client flows that the shard receives, judges every
//! packet, and says what to send, bind and close. What it is not: it owns no socket, reads no clock, draws no randomness but
//! from the seed it was given, and knows nothing of metrics beyond its own [`Stats`].
//!
//! The run loop of a driver:
//! ```text
//! loop {
//!     wait for a socket or for server.poll_timeout()
//!     let now = both clocks, once
//!     server.handle_timeout(now)
//!     for each packet: match server.handle_client(now, …) or handle_peer(now, …) { Forward → send, Done → nothing }
//!     while let Some(output) = server.poll_output() { Transmit | BindRelay (→ handle_relay_bound) | CloseRelay | … }
//!     while let Some(event) = server.poll_event() { tell whoever keeps records }
//! }
//! ```
//!
//! Invariants:
//! - Every packet handed in ends in exactly one [`Verdict`]; every request gets an answer, no indication does.
//! - No memory is held for a source that has not authenticated.
//! - A relayed packet costs no heap allocation and no lock; the limits that shards share are atomic integers.
//! - What is expired at `now` is gone before anything else happens at `now` (`now == expiry` is expired).
//! - Nothing reaches a peer without a permission or a channel that was judged by the [`PeerFilter`].
//! - A secret of one realm opens nothing in another; the username alone says which realm is meant ([`realm`]).
//! - Lease, port and reservation of an allocation are released exactly once, on every path.
//! - Of each allocation that is noted as created, exactly one end is noted, and nothing after it.
//! - The bytes of a TCP data connection are no packets: they have no verdict, and never come here. Every data connection has one
//!   beginning ([`Initiator`]) and one end ([`ConnectionEnd`]).
//! - An ICMP error is no packet: it has no verdict, and makes at most one short indication, within a bound.
//!
//! RFCs: 8489 (STUN), 8656 (TURN), 6062 (TCP allocations), 5780 (NAT discovery), 8016 (mobility), 7983 (demultiplexing), 6890
//! (special addresses).

#![forbid(unsafe_code)]

mod allocation;
mod auth;
mod bucket;
mod census;
pub mod channel;
pub mod config;
pub mod connection;
mod data_connection;
mod distinct;
pub mod event;
pub mod five_tuple;
mod handler;
mod hashing;
pub mod input;
pub mod inspect;
mod journal;
mod lifecycle;
mod load;
mod meter;
mod mobility;
pub mod nat_discovery;
mod nonce;
pub mod output;
pub mod peer_filter;
pub mod permission;
mod ports;
mod queue;
pub mod quota;
pub mod realm;
pub mod redirect;
mod rejudge;
mod request;
pub mod reservation;
mod retransmit;
pub mod revocation;
mod rng;
mod route;
pub mod server;
mod share;
pub mod stats;
mod tally;
mod throttle;
mod ticket;
mod timers;
pub mod verdict;

pub use census::Census;
pub use config::{Config, Limits, NonceKey, RateLimit, RelayAddr, StaticUser};
pub use connection::{ConnectionKey, RelayedTransport};
pub use event::{Asked, Event, EventKind, Limit, Subject, What};
pub use five_tuple::{ClientAddr, Family, FiveTuple, ListenAddr, PeerAddr, RelayId, RelayedAddr, Transport};
pub use input::{BindError, ConnectError, IcmpError, Now, Shard};
pub use inspect::{AllocationId, AllocationView, Filter, Page};
pub use nat_discovery::{DiscoveryPlaces, NatDiscovery, ServerAddr};
pub use output::{Destination, Forward, Handled, Output, PeerRoute, Prefix, RelaySocket, ReservationToken};
pub use peer_filter::{PeerClass, PeerFilter};
pub use quota::Ledger;
pub use realm::{MAX_REALMS, RealmConfig, RealmId, RealmLimits, RealmStats};
pub use redirect::{AlternateServer, Redirect, RedirectWhen};
pub use reservation::Reservations;
pub use revocation::{
    Change, Digests, MAX_REVOCATIONS, MAX_REVOCATIONS_FOR_TENANTS, Merged, PARTS, Revocations, RevocationsFull,
    Revoked, Tenants,
};
pub use server::Server;
pub use share::{MAX_SHARES, PROBES, ShareNames, share_name, split_share};
pub use stats::{Fill, Stats, Traffic};
pub use tally::Period;
pub use verdict::{
    AllocateRefusal, Answer, AuthFailure, CloseReason, ConnectionEnd, Direction, DiscoveryAnswer, DropReason,
    Initiator, MoveEnd, PeerErrorEnd, QuotaKind, RateKind, RedirectReason, Resource, Verdict,
};
