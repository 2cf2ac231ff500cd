//! What happens in the hub, as far as somebody keeps records of it.

use std::net::IpAddr;

use crate::credentials::{DEFAULT_REALM, UnixTime};
use crate::telemetry::labels::RecordKind;

/// One thing that happened in the hub. What does not apply is `None`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubEvent {
    /// When.
    pub at: UnixTime,
    /// One of the kinds that begin with `hub.`.
    pub kind: RecordKind,
    /// The dialect of the room, or of the session.
    pub dialect: Option<&'static str>,
    /// The room.
    pub room: Option<Box<str>>,
    /// The peer id.
    pub peer: Option<Box<str>>,
    /// The session, as TURN usernames of the hub name it.
    pub session: Option<Box<str>>,
    /// The user that a token names.
    pub user: Option<Box<str>>,
    /// The tenant of that user; `None` is the default realm.
    pub tenant: Option<Box<str>>,
    /// The client's address.
    pub client: Option<IpAddr>,
    /// The number of the ban.
    pub ban: Option<u64>,
    /// Until when that holds.
    pub until: Option<UnixTime>,
    /// What the operator wrote.
    pub reason: Option<Box<str>>,
    /// How many sessions ended by it.
    pub ended: Option<usize>,
}

impl HubEvent {
    /// Of that kind, and nothing else known.
    #[must_use]
    pub const fn new(at: UnixTime, kind: RecordKind) -> Self {
        Self {
            at,
            kind,
            dialect: None,
            room: None,
            peer: None,
            session: None,
            user: None,
            tenant: None,
            client: None,
            ban: None,
            until: None,
            reason: None,
            ended: None,
        }
    }

    /// The realm of the user, where there is one.
    pub(super) fn realm(&self) -> Option<&str> {
        let tenant = self.tenant.as_deref().unwrap_or(DEFAULT_REALM);
        self.user.as_ref().map(|_| tenant)
    }
}
