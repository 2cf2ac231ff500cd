//! The sockets of the signaling hub: WebSocket upgrade, one session per socket, and the one [`HubHandle`] they share.
//!
//! What it is: the driver of [`signaling::Hub`](crate::signaling::Hub). It owns sockets, clocks, queues and timers.
//!
//! What it is not: TURN over WebSockets, of which `tunnel` answers the upgrade alone. It knows no message but by asking the hub, checks no token (an [`Authenticator`] does) and mints no
//! credential (an [`IceSource`] does).
//!
//! Invariants:
//! - A room never waits for a reader: each socket has a queue bounded in frames and bytes, and overflowing it ends that one
//!   connection with 4002.
//! - Liveness is the server's: a ping every `ping_interval`, and any byte counts. No client timer is needed.
//! - No lock is held across an `await`, and no socket is woken under the hub's lock.
//! - An idle connection costs a few KiB: a small read buffer, one timer, one task (`examples/idle_connections.rs` measures it).
//!
//! RFC 6455. No extensions: permessage-deflate would cost two windows per connection, and compression beside secrets leaks
//! them.

mod config;
mod hub_handle;
mod outbox;
mod per_ip;
mod session;
mod soon;
mod sources;
mod stats_view;
mod tunnel;
mod upgrade;
mod wire;

pub use config::Config;
pub use hub_handle::HubHandle;
pub(crate) use per_ip::{PerIp, Slot};
pub use sources::{Anonymous, Applicant, Authenticator, Bus, IceAsker, IceList, IceSource, Pending, Told, Verdict};
pub use stats_view::{RoomStats, StatsView};
pub use tunnel::{Reclaim, Reclaimed, TURN, TunnelPlace, TunnelSink, upgrade_tunnel};
pub(crate) use upgrade::origin_allowed;
pub use upgrade::{ClientIp, NATIVE, UpgradeError, is_upgrade, upgrade, upgrade_into};

pub use crate::signaling::{AuthError, IceUser, Identity, Rights};
