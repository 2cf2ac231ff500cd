//! One room: its members in the order they came, and what was agreed when it was made.

use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::{Equivalent, HashMap};
use subtle::ConstantTimeEq;

use super::{
    cluster::{
        NodeId,
        claim::{Rule, Standing},
        link::Link,
        message::Founding,
    },
    connection::ConnectionId,
    json::push_string,
    limits::Bucket,
    meta::Meta,
};

/// A name space of rooms. Rooms of two realms never meet, whatever their names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Realm(pub u16);

/// A room's name inside its realm, as the owner of a table entry.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct RoomName {
    pub(crate) realm: Realm,
    pub(crate) name: Arc<str>,
}

/// The same, borrowed for a look-up.
#[derive(Debug, Clone, Copy, Hash)]
pub(crate) struct RoomRef<'a> {
    pub(crate) realm: Realm,
    pub(crate) name: &'a str,
}

impl Equivalent<RoomName> for RoomRef<'_> {
    fn equivalent(&self, key: &RoomName) -> bool {
        self.realm == key.realm && *self.name == *key.name
    }
}

/// Where a member's connection is.
#[derive(Debug)]
pub(crate) enum Place {
    Here(ConnectionId),
    /// On another node of the bus.
    There(Box<Remote>),
}

/// What is known of a member that lives on another node.
#[derive(Debug)]
pub(crate) struct Remote {
    pub(crate) node: NodeId,
    pub(crate) away: bool,
    pub(crate) standing: Standing,
}

/// A peer's presence in a room.
#[derive(Debug)]
pub(crate) struct Member {
    /// Grows with every join of this room: the order of the snapshot and the place a page ended.
    pub(crate) ordinal: u64,
    pub(crate) place: Place,
    pub(crate) peer: Arc<str>,
    pub(crate) meta: Option<Arc<Meta>>,
    /// Of all members of that id, on whatever node, a later one has a larger number here.
    pub(crate) since_ms: u64,
    /// How it may have taken its id; of members that live elsewhere their standing tells.
    pub(crate) rule: Rule,
}

impl Member {
    /// Its connection, if that is of this process.
    pub(crate) const fn connection(&self) -> Option<ConnectionId> {
        match &self.place {
            Place::Here(connection) => Some(*connection),
            Place::There(_) => None,
        }
    }

    pub(crate) const fn remote(&self) -> Option<&Remote> {
        match &self.place {
            Place::Here(_) => None,
            Place::There(remote) => Some(remote),
        }
    }
}

/// A member that has no ordinal yet.
#[derive(Debug)]
pub(crate) struct Newcomer {
    pub(crate) place: Place,
    pub(crate) peer: Arc<str>,
    pub(crate) meta: Option<Arc<Meta>>,
    pub(crate) since_ms: u64,
    pub(crate) rule: Rule,
}

#[derive(Debug)]
pub(crate) struct Room {
    pub(crate) name: RoomName,
    /// Ascending by `ordinal`.
    members: Vec<Member>,
    by_peer: HashMap<Arc<str>, u64, FixedState>,
    next_ordinal: u64,
    pub(crate) max: u32,
    /// Its members are told of nobody's coming and going.
    pub(crate) is_quiet: bool,
    /// SHA-256 of the key that the first member bound.
    key_hash: Option<Box<[u8; 32]>>,
    pub(crate) meta: Option<Arc<Meta>>,
    /// Grows with every change of `meta`.
    pub(crate) version: u64,
    /// What may be relayed among its members; full until something is.
    pub(crate) relay: Option<Bucket>,
    /// What it has to do with other nodes; `None` without a bus.
    pub(crate) link: Option<Box<Link>>,
    /// Members whose connection is of this process.
    here: usize,
}

impl Room {
    pub(crate) fn new(name: RoomName, founding: Founding, hasher: FixedState) -> Self {
        Self {
            name,
            members: Vec::new(),
            by_peer: HashMap::with_hasher(hasher),
            next_ordinal: 1,
            max: founding.max,
            is_quiet: false,
            key_hash: founding.key_hash.map(Box::new),
            meta: None,
            version: 0,
            relay: None,
            link: None,
            here: 0,
        }
    }

    /// All its members, wherever they are.
    pub(crate) fn len(&self) -> usize {
        self.members.len()
    }

    pub(crate) const fn has_key(&self) -> bool {
        self.key_hash.is_some()
    }

    /// Those of this process.
    pub(crate) const fn here(&self) -> usize {
        self.here
    }

    /// Whether nobody of this process is in it or about to be.
    pub(crate) fn is_over(&self) -> bool {
        self.here == 0 && self.link.as_ref().is_none_or(|link| link.pending.is_empty())
    }

    /// Whether its key and its ceiling are settled.
    pub(crate) fn is_founded(&self) -> bool {
        self.link.as_ref().is_none_or(|link| link.founded)
    }

    /// What was agreed when it was made.
    pub(crate) fn founding(&self) -> Founding {
        Founding {
            key_hash: self.key_hash.as_deref().copied(),
            max: self.max,
        }
    }

    /// Settles what a room that was only listened to is.
    pub(crate) fn found(&mut self, founding: Founding) {
        self.key_hash = founding.key_hash.map(Box::new);
        self.max = founding.max;
        if let Some(link) = &mut self.link {
            link.founded = true;
        }
    }

    /// Whether `key_hash` opens this room. A room without a key opens to no key: someone who gives one believes to be in a
    /// room that strangers cannot enter.
    pub(crate) fn admits(&self, key_hash: Option<&[u8; 32]>) -> bool {
        match (&self.key_hash, key_hash) {
            (None, None) => true,
            (Some(bound), Some(given)) => bool::from(bound.as_slice().ct_eq(given.as_slice())),
            _ => false,
        }
    }

    /// Adds a member under the next ordinal, which is returned; the caller has made sure that nobody of that id is here.
    pub(crate) fn push(&mut self, newcomer: Newcomer) -> u64 {
        let ordinal = self.next_ordinal;
        self.next_ordinal += 1;
        self.here += usize::from(matches!(newcomer.place, Place::Here(_)));
        self.by_peer.insert(Arc::clone(&newcomer.peer), ordinal);
        self.members.push(Member {
            ordinal,
            place: newcomer.place,
            peer: newcomer.peer,
            meta: newcomer.meta,
            since_ms: newcomer.since_ms,
            rule: newcomer.rule,
        });
        ordinal
    }

    fn position(&self, ordinal: u64) -> Option<usize> {
        self.members
            .binary_search_by_key(&ordinal, |member| member.ordinal)
            .ok()
    }

    pub(crate) fn remove(&mut self, ordinal: u64) -> Option<Member> {
        let member = self.members.remove(self.position(ordinal)?);
        self.by_peer.remove(&member.peer);
        self.here -= usize::from(matches!(member.place, Place::Here(_)));
        if self.members.len() * 4 < self.members.capacity() {
            self.members.shrink_to(self.members.len() * 2);
        }
        Some(member)
    }

    pub(crate) fn member(&self, ordinal: u64) -> Option<&Member> {
        self.members.get(self.position(ordinal)?)
    }

    pub(crate) fn member_mut(&mut self, ordinal: u64) -> Option<&mut Member> {
        let position = self.position(ordinal)?;
        self.members.get_mut(position)
    }

    pub(crate) fn find(&self, peer: &str) -> Option<&Member> {
        self.member(*self.by_peer.get(peer)?)
    }

    /// Members in the order they came.
    pub(crate) fn members(&self) -> &[Member] {
        &self.members
    }

    /// Members that came after `ordinal`, in the order they came.
    pub(crate) fn members_after(&self, ordinal: u64) -> &[Member] {
        let from = self.members.partition_point(|member| member.ordinal <= ordinal);
        self.members.get(from..).unwrap_or_default()
    }

    /// Writes a JSON array of the ids of all members but one: for dialects that know no pages.
    pub(crate) fn write_others(&self, own: &str, text: &mut String) {
        text.push('[');
        let others = self.members.iter().filter(|member| *member.peer != *own);
        for (at, member) in others.enumerate() {
            if at > 0 {
                text.push(',');
            }
            push_string(text, &member.peer);
        }
        text.push(']');
    }

    /// The ordinal of the newest join, present or not.
    pub(crate) const fn last_ordinal(&self) -> u64 {
        self.next_ordinal - 1
    }
}
