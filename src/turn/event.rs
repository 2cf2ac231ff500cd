//! What a server tells about its allocations, for those who keep records: values, drained with [`super::Server::poll_event`].
//!
//! Nothing is noted unless [`super::Config::events`] is on. What a client can cause at the rate of packets is folded: one event
//! for each allocation (or client address), kind and second, with a count.

use std::net::IpAddr;
use std::time::Duration;

use super::five_tuple::{ClientAddr, ListenAddr, RelayedAddr, Transport};
use super::inspect::AllocationId;
use super::peer_filter::PeerClass;
use super::stats::Traffic;
use super::verdict::{AuthFailure, CloseReason, Direction, QuotaKind, RateKind, labels};
use crate::credentials::UnixTime;

labels! {
    /// What kind of thing happened.
    EventKind {
        /// An allocation was made.
        Created = "created",
        /// An allocation was refreshed.
        Refreshed = "refreshed",
        /// An allocation follows its client (RFC 8016).
        Moved = "moved",
        /// An allocation ended.
        Closed = "closed",
        /// A peer was refused.
        Denied = "denied",
        /// A bound or a rate was reached.
        Limited = "limited",
        /// Credentials were turned away.
        AuthFailed = "auth_failed",
    }
}

labels! {
    /// By what a client asked for a peer.
    Asked {
        /// CreatePermission, answered with 403.
        CreatePermission = "create_permission",
        /// ChannelBind, answered with 403.
        ChannelBind = "channel_bind",
        /// Connect.
        Connect = "connect",
        /// A Send indication, dropped.
        Send = "send",
        /// ChannelData, dropped: new rules have closed the channel's peer.
        ChannelData = "channel_data",
    }
}

/// Something that happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event {
    /// When; of what was folded, the first time.
    pub at: UnixTime,
    /// Whom and what it is about.
    pub about: Subject,
    /// What it was.
    pub what: What,
}

/// Whom and what an event is about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Subject {
    /// The allocation; `None` where none came to be.
    pub allocation: Option<AllocationId>,
    /// USERNAME, as far as it was proven by its password.
    pub username: Option<Box<str>>,
    /// The part of it that quotas count: behind the expiry.
    pub user: Option<Box<str>>,
    /// The realm that it belongs to, or that the credentials name which were turned away; which is not REALM:
    /// [`crate::credentials::DEFAULT_REALM`] where the username names none.
    pub realm: Box<str>,
    /// How the client comes.
    pub transport: Transport,
    /// Where it comes from, as this server sees it.
    pub client: ClientAddr,
    /// Where it arrives.
    pub listen: ListenAddr,
    /// The relayed addresses, by [`super::Family::index`].
    pub relayed: [Option<RelayedAddr>; 2],
}

/// What happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum What {
    /// An Allocate request was answered with success.
    Created {
        /// What was granted.
        lifetime: Duration,
    },
    /// A Refresh request with a lifetime was answered with success.
    Refreshed {
        /// What was granted.
        lifetime: Duration,
    },
    /// An allocation has followed its client to where the event says that it comes from (RFC 8016 §3.2).
    Moved {
        /// Where it came from before.
        from: ClientAddr,
    },
    /// An allocation ended. There is one for each `Created`, and nothing about the allocation comes after it.
    Closed {
        /// Why.
        reason: CloseReason,
        /// How long it lived.
        lived: Duration,
        /// Payload from the client to peers.
        to_peer: Traffic,
        /// Payload from peers to the client.
        to_client: Traffic,
    },
    /// A client asked for peers that are closed to relaying.
    Denied {
        /// Why they are closed.
        class: PeerClass,
        /// How the first of them was asked for.
        asked: Asked,
        /// The first of them.
        peer: IpAddr,
        /// How often, in this second.
        count: u64,
    },
    /// A client reached a bound or a rate.
    Limited {
        /// Which.
        limit: Limit,
        /// How often, in this second; packets, for a rate.
        count: u64,
    },
    /// Credentials were turned away that came from where they say: their sender had been given the nonce.
    AuthFailed {
        /// Why.
        reason: AuthFailure,
        /// How often, in this second, from this client address.
        count: u64,
    },
}

impl What {
    /// Its kind.
    pub const fn kind(&self) -> EventKind {
        match self {
            Self::Created { .. } => EventKind::Created,
            Self::Refreshed { .. } => EventKind::Refreshed,
            Self::Moved { .. } => EventKind::Moved,
            Self::Closed { .. } => EventKind::Closed,
            Self::Denied { .. } => EventKind::Denied,
            Self::Limited { .. } => EventKind::Limited,
            Self::AuthFailed { .. } => EventKind::AuthFailed,
        }
    }

    /// How often it happened: one for what is not folded.
    pub const fn count(&self) -> u64 {
        match self {
            Self::Created { .. } | Self::Refreshed { .. } | Self::Moved { .. } | Self::Closed { .. } => 1,
            Self::Denied { count, .. } | Self::Limited { count, .. } | Self::AuthFailed { count, .. } => *count,
        }
    }
}

/// What was reached.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Limit {
    /// A number of things held, by which a request was refused.
    Quota(QuotaKind),
    /// Bytes or packets in a second, by which payload was dropped.
    Rate(RateKind, Direction),
}

impl Limit {
    /// As in the labels of the metrics.
    pub const fn as_label(self) -> &'static str {
        match self {
            Self::Quota(kind) => kind.as_label(),
            Self::Rate(kind, _) => kind.as_label(),
        }
    }
}
