//! What an operator may see of the living allocations, and how one is ended from outside.
//!
//! Everything here is bounded in what it looks at: it runs on the thread that relays, between two packets.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use super::allocation::Allocation;
use super::auth::quota_user;
use super::connection::RelayedTransport;
use super::five_tuple::Transport;
use super::input::Now;
use super::server::Server;
use super::stats::Traffic;
use super::verdict::CloseReason;
use crate::credentials::{UnixTime, Username};

/// Most places for allocations that one call looks at: some 100 µs.
pub const MAX_LOOK: u32 = 2048;

/// Most places whose owners one call looks up among the revocations: some 500 µs.
pub const MAX_JUDGED: u32 = 256;

/// Names one allocation of this process. Never used again for a later one in the same place, short of 2³² of them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct AllocationId {
    /// The shard that holds it.
    pub shard: u16,
    pub(super) index: u32,
    pub(super) generation: u32,
}

impl fmt::Display for AllocationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.shard, self.index, self.generation)
    }
}

/// A text that is no [`AllocationId`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not the id of an allocation")]
pub struct NoAllocationId;

impl FromStr for AllocationId {
    type Err = NoAllocationId;

    fn from_str(text: &str) -> Result<Self, NoAllocationId> {
        let mut parts = text.split('-');
        let mut next = || parts.next()?.parse::<u32>().ok();
        let (Some(shard), Some(index), Some(generation), None) = (next(), next(), next(), parts.next()) else {
            return Err(NoAllocationId);
        };
        let shard = u16::try_from(shard).map_err(|_| NoAllocationId)?;
        Ok(Self {
            shard,
            index,
            generation,
        })
    }
}

/// One allocation as it is now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AllocationView {
    /// Its name.
    pub id: AllocationId,
    /// USERNAME of the client.
    pub username: Box<str>,
    /// Whom quotas count: the part of it behind the expiry; for the holder of a token, `token:`, the kid and a digest of its key.
    pub user: Box<str>,
    /// The realm it was made in, which is not REALM: [`crate::credentials::DEFAULT_REALM`] where the username names none.
    pub realm: Box<str>,
    /// How the client comes.
    pub transport: Transport,
    /// The client's address as this server sees it.
    pub client: SocketAddr,
    /// What the relayed addresses speak.
    pub relayed_transport: RelayedTransport,
    /// The relayed addresses, IPv4 first.
    pub relayed: Vec<SocketAddr>,
    /// When it was asked for.
    pub created: UnixTime,
    /// When the last of its relayed addresses ends, unless it is refreshed.
    pub expires: UnixTime,
    /// Payload from the client to peers.
    pub to_peer: Traffic,
    /// Payload from peers to the client.
    pub to_client: Traffic,
    /// Living permissions.
    pub permissions: usize,
    /// Living channel bindings.
    pub channels: usize,
    /// Data connections of TCP, those that wait included.
    pub connections: usize,
}

/// Which allocations are meant: those that fit everything that is given.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Filter {
    /// The user behind the expiry, or as [`AllocationView::user`] has it.
    pub user: Option<Box<str>>,
    /// The whole USERNAME.
    pub username: Option<Box<str>>,
    /// The session of the hub that the credential was given to.
    pub session: Option<Box<str>>,
    /// The realm.
    pub realm: Option<Box<str>>,
    /// The client's address, whatever its port.
    pub client: Option<IpAddr>,
}

/// Some of the allocations of a shard.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Page {
    /// In the order of their places.
    pub allocations: Vec<AllocationView>,
    /// Where to go on; `None` at the end of the shard.
    pub next: Option<u32>,
}

impl Server {
    /// The living allocations that fit, from place `from` on: at most `most`, and those of at most [`MAX_LOOK`] places.
    pub fn page(&self, now: Now, filter: &Filter, from: u32, most: usize) -> Page {
        let places = self.allocations.places();
        let until = from.saturating_add(MAX_LOOK).min(places);
        let mut allocations = Vec::new();
        for index in from..until {
            if allocations.len() >= most {
                return Page {
                    allocations,
                    next: Some(index),
                };
            }
            if let Some(allocation) = self.fitting(filter, index) {
                allocations.extend(self.view(now, index, allocation));
            }
        }
        Page {
            allocations,
            next: (until < places).then_some(until),
        }
    }

    /// Ends one allocation; `false` if it has ended before.
    pub fn end(&mut self, now: Now, id: AllocationId) -> bool {
        self.expire(now);
        let living = id.shard == self.shard.index
            && self.allocations.generation(id.index) == Some(id.generation)
            && self.allocations.get(id.index).is_some_and(Allocation::is_live);
        if living {
            self.close(now, id.index, CloseReason::Operator);
        }
        living
    }

    /// Ends every allocation that fits, of at most [`MAX_LOOK`] places from `from` on: how many, and where to go on.
    pub fn end_fitting(&mut self, now: Now, filter: &Filter, from: u32) -> (u32, Option<u32>) {
        self.expire(now);
        let places = self.allocations.places();
        let until = from.saturating_add(MAX_LOOK).min(places);
        let mut ended = 0;
        for index in from..until {
            if self.fitting(filter, index).is_some() {
                self.close(now, index, CloseReason::Operator);
                ended += 1;
            }
        }
        (ended, (until < places).then_some(until))
    }

    /// Ends every allocation whose owner is turned away ([`super::Revocations`]), of at most [`MAX_JUDGED`] places from `from` on: how
    /// many, and where to go on.
    pub fn end_revoked(&mut self, now: Now, from: u32) -> (u32, Option<u32>) {
        self.expire(now);
        let places = self.allocations.places();
        let until = from.saturating_add(MAX_JUDGED).min(places);
        let mut ended = 0;
        for index in from..until {
            let living = self.allocations.get(index).is_some_and(Allocation::is_live);
            if living && self.is_revoked(now, index) {
                self.close(now, index, CloseReason::Operator);
                ended += 1;
            }
        }
        (ended, (until < places).then_some(until))
    }

    /// Ends every allocation, because the process is about to end. The clients are not told: there is nothing in TURN to tell
    /// them with.
    pub fn end_all(&mut self, now: Now) {
        self.expire(now);
        for index in 0..self.allocations.places() {
            self.close(now, index, CloseReason::Shutdown);
        }
        self.journal.settle_all();
    }

    fn fitting(&self, filter: &Filter, index: u32) -> Option<&Allocation> {
        let allocation = self.allocations.get(index).filter(|allocation| allocation.is_live())?;
        let Filter {
            user,
            username,
            session,
            realm,
            client,
        } = filter;
        let named = || Username::parse(&allocation.username).ok();
        let fits = client.is_none_or(|ip| allocation.five_tuple.client.0.ip().to_canonical() == ip.to_canonical())
            && realm
                .as_deref()
                .is_none_or(|realm| realm == self.realms.name(allocation.realm))
            && username
                .as_deref()
                .is_none_or(|username| username == &*allocation.username)
            && session
                .as_deref()
                .is_none_or(|session| named().and_then(|named| named.session()) == Some(session))
            && user.as_deref().is_none_or(|user| {
                [allocation.lease.user(), quota_user(&self.config, &allocation.username)].contains(&user)
                    || named().is_some_and(|named| named.account() == user)
            });
        fits.then_some(allocation)
    }

    fn view(&self, now: Now, index: u32, allocation: &Allocation) -> Option<AllocationView> {
        let generation = self.allocations.generation(index)?;
        let legs = || allocation.relays.iter().flatten();
        let expires = legs().map(|leg| leg.expires).max()?;
        let left = expires.saturating_duration_since(now.instant);
        Some(AllocationView {
            id: AllocationId {
                shard: self.shard.index,
                index,
                generation,
            },
            username: allocation.username.clone(),
            user: allocation.lease.user().into(),
            realm: self.realms.name(allocation.realm).into(),
            transport: allocation.five_tuple.transport,
            client: allocation.five_tuple.client.0,
            relayed_transport: allocation.relayed_transport,
            relayed: legs().map(|leg| leg.relayed.0).collect(),
            created: allocation.created,
            expires: UnixTime(now.unix.0.saturating_add(left.as_secs())),
            to_peer: allocation.to_peer,
            to_client: allocation.to_client,
            permissions: allocation.permissions.len(),
            channels: allocation.channels.len(),
            connections: allocation.connections.len(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_back_and_nothing_else_is_one() {
        let id = AllocationId {
            shard: 3,
            index: 17,
            generation: u32::MAX,
        };
        assert_eq!(id.to_string().parse(), Ok(id));
        for text in ["", "1-2", "1-2-3-4", "65536-0-0", "a-b-c", "1--2"] {
            assert_eq!(text.parse::<AllocationId>(), Err(NoAllocationId), "{text}");
        }
    }
}
