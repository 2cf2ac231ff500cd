//! Coming into rooms and going out of them.

use std::sync::Arc;

use subtle::ConstantTimeEq as _;

use super::{Hub, SERVER, departure};
use crate::signaling::{
    Now,
    cluster::{claim::Rule, message::Founding},
    connection::{ConnectionId, Membership, Peer},
    dialect::Dialect,
    error::Reject,
    event::Event,
    identity::{Identity, Takeover},
    labels::{CloseCode, ErrorCode},
    meta::Meta,
    room::{Newcomer, Place, Room, RoomRef},
    slab::Key,
};

/// What a peer asks for when it joins.
#[derive(Debug)]
pub(crate) struct Entry<'a> {
    pub(crate) room: &'a str,
    pub(crate) key: Option<&'a str>,
    /// Presence data for this room; `None` is what the peer gave in its hello.
    pub(crate) meta: Option<Option<Arc<Meta>>>,
    pub(crate) max: Option<u64>,
    pub(crate) create: bool,
    /// Who may take an id that is in use, where the dialect has a rule of its own.
    pub(crate) takeover: Option<Takeover>,
    /// The secret by which its owner, and nobody else who is unknown, takes the id over.
    pub(crate) proof: Option<&'a str>,
    /// A room whose members are told of nobody's coming and going, and that may therefore be as large as `max` says.
    pub(crate) is_quiet: bool,
    /// A room that is not shared with other nodes.
    pub(crate) is_local: bool,
    /// The name by which a token allows the room, where that is another.
    pub(crate) allowed_as: Option<&'a str>,
}

impl<'a> Entry<'a> {
    /// Into a room of that name, made if it is not there, with nothing else to say.
    pub(crate) const fn plain(room: &'a str) -> Self {
        Self {
            room,
            key: None,
            meta: None,
            max: None,
            create: true,
            takeover: None,
            proof: None,
            is_quiet: false,
            is_local: false,
            allowed_as: None,
        }
    }

    /// The same for a dialect whose peers come back under the name that they had, whether the hub has seen them go or not.
    pub(crate) fn replacing(room: &'a str) -> Self {
        Self {
            takeover: Some(Takeover::Replace),
            ..Self::plain(room)
        }
    }
}

/// A peer whose place in a room another takes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Holder {
    Here(ConnectionId),
    /// The member of that ordinal, which lives on another node.
    There(u64),
}

/// What it comes to when somebody joins.
#[derive(Debug, Clone, Copy)]
pub(super) struct Judged {
    /// The room, if it is there.
    pub(super) known: Option<Key>,
    /// Who gives way.
    pub(super) holder: Option<Holder>,
    /// When the newcomer joined.
    pub(super) since_ms: u64,
}

/// What a peer without the right to publish is told when it says something.
pub(super) const WATCHES: &str = "your token only lets you watch";

const NOT_WELCOMED: Reject = Reject::bad_request("say hello first").fatal(CloseCode::BadRequest);

impl Hub {
    /// The membership of `connection` in the room of that name.
    pub(crate) fn membership(&self, connection: ConnectionId, room: &str) -> Result<Membership, Reject> {
        let entry = self.connections.get(connection).ok_or(NOT_WELCOMED)?;
        let found = self.by_name.get(&RoomRef {
            realm: entry.realm,
            name: room,
        });
        found
            .and_then(|room| entry.rooms.iter().find(|membership| membership.room == *room))
            .copied()
            .ok_or(Reject::new(ErrorCode::NoRoom, "you are not in that room"))
    }

    /// The membership of `connection` in a room that `peer` is in as well: for dialects whose signals name no room.
    pub(crate) fn membership_with(&self, connection: ConnectionId, peer: &str) -> Result<Membership, Reject> {
        let entry = self.connections.get(connection).ok_or(NOT_WELCOMED)?;
        let shared = |membership: &&Membership| {
            let room = self.rooms.get(membership.room);
            room.is_some_and(|room| room.find(peer).is_some())
        };
        let found = entry.rooms.iter().find(shared).copied();
        found.ok_or(Reject::new(ErrorCode::NoPeer, "Peer not found"))
    }

    /// The membership of a connection that is in one room: for dialects that have no more.
    pub(crate) fn only_membership(&self, connection: ConnectionId) -> Result<Membership, Reject> {
        let entry = self.connections.get(connection).ok_or(NOT_WELCOMED)?;
        let only = entry.rooms.first().copied();
        only.ok_or(Reject::new(ErrorCode::NoRoom, "you are in no room"))
    }

    /// How many members a room has, its own connection included.
    pub(crate) fn members(&self, membership: Membership) -> usize {
        self.rooms.get(membership.room).map_or(0, Room::len)
    }

    /// Puts a connection into a room and tells the others. Being there already is fine and changes nothing.
    pub(crate) fn join(&mut self, now: Now, connection: ConnectionId, entry: &Entry<'_>) -> Result<Membership, Reject> {
        let joining = self.connections.get(connection).ok_or(NOT_WELCOMED)?;
        let peer = joining.peer.as_ref().ok_or(NOT_WELCOMED)?;
        self.check_room_name(entry.room)?;
        if !peer.identity().allows_room(entry.allowed_as.unwrap_or(entry.room)) {
            return Err(Reject::new(ErrorCode::Forbidden, "your token does not allow that room"));
        }
        if !peer.identity().rights.publish && matches!(entry.meta, Some(Some(_))) {
            return Err(Reject::new(ErrorCode::Forbidden, WATCHES));
        }
        let name = RoomRef {
            realm: joining.realm,
            name: entry.room,
        };
        let known = self.by_name.get(&name).copied();
        if let Some(room) = known
            && let Some(membership) = joining.rooms.iter().find(|membership| membership.room == room)
        {
            return Ok(*membership);
        }
        // A group of a room that fills has a name of its own beside the one it was asked for.
        let names = [Some(entry.room), entry.allowed_as];
        let mut barred = names
            .into_iter()
            .flatten()
            .filter_map(|room| self.barred(now, connection, Some(room), Some(&peer.id), peer.identity()));
        if let Some(barred) = barred.next() {
            self.stats.banned += 1;
            return Err(barred);
        }
        let awaited = self.rooms_awaited(connection, known);
        if joining.rooms.len() + awaited >= self.config.rooms_per_connection {
            return Err(Reject::new(ErrorCode::RoomFull, "you are in as many rooms as you may"));
        }
        self.await_others(now, connection, entry, known)?;
        // Whoever had to wait is coming into a room that is listened to by now.
        let Judged {
            known,
            holder,
            since_ms,
        } = self.judge(now, connection, entry)?;
        let joining = self.connections.get(connection).ok_or(NOT_WELCOMED)?;
        let peer = joining.peer.as_ref().ok_or(NOT_WELCOMED)?;

        // Nothing can refuse any more; from here on things change.
        let (realm, id) = (joining.realm, Arc::clone(&peer.id));
        let meta = entry.meta.clone().unwrap_or_else(|| peer.meta.clone());
        let founding = self.founding(entry);
        let name = RoomRef {
            realm,
            name: entry.room,
        };
        let room = known.unwrap_or_else(|| self.make_room(name, entry, Some(founding)));
        let claimed = self.take_claim(connection, room);
        match holder {
            None => {}
            // The room stays, even if its only member is the one replaced: its key and metadata belong to the owner who is
            // coming back.
            Some(Holder::Here(holder)) => self.evict(room, holder),
            Some(Holder::There(ordinal)) => self.displace_mirrored(room, ordinal),
        }
        let rule = Rule::of(self.config.takeover, entry.takeover);
        let proof = entry.proof.map(Self::hash_key);
        let Some(table) = self.rooms.get_mut(room) else {
            return Err(NOT_WELCOMED);
        };
        if !table.is_founded() {
            table.found(founding);
        }
        let ordinal = table.push(Newcomer {
            place: Place::Here(connection),
            peer: Arc::clone(&id),
            meta: meta.clone(),
            since_ms,
            rule,
        });
        let membership = Membership { room, ordinal };
        if let Some(joining) = self.connections.get_mut(connection) {
            joining.rooms.push(membership);
            if let Some(peer) = &mut joining.peer
                && proof.is_some()
            {
                peer.proof = proof.map(Box::new);
            }
        }
        self.stats.joins += 1;
        self.stats.memberships += 1;
        self.want_room_ice(connection);
        let event = Event::Joined {
            room: entry.room,
            peer: &id,
            meta: meta.as_ref(),
        };
        if !entry.is_quiet {
            self.broadcast(room, Some(connection), &event);
        }
        if !claimed {
            self.tell_joined(room, ordinal);
        }
        match holder {
            None => {}
            Some(Holder::Here(holder)) => {
                // Its other rooms follow: a client that came back has left that whole connection behind.
                self.stats.takeovers += 1;
                self.close(holder, CloseCode::Replaced);
            }
            // Its own node closes it, which is told of the same claim.
            Some(Holder::There(_)) => self.stats.takeovers += 1,
        }
        Ok(membership)
    }

    /// Whether a connection may come into a room as it is known here, and in whose place.
    pub(super) fn judge(&self, now: Now, connection: ConnectionId, entry: &Entry<'_>) -> Result<Judged, Reject> {
        let joining = self.connections.get(connection).ok_or(NOT_WELCOMED)?;
        let peer = joining.peer.as_ref().ok_or(NOT_WELCOMED)?;
        let name = RoomRef {
            realm: joining.realm,
            name: entry.room,
        };
        let known = self.by_name.get(&name).copied();
        let room = known.and_then(|room| self.rooms.get(room));
        // What others have been told already stays.
        let claimed = room.and_then(|room| self.claimed_since(connection, room));
        let fresh = Judged {
            known,
            holder: None,
            since_ms: claimed.unwrap_or(now.unix_ms),
        };
        if room.is_none_or(|room| !room.is_founded()) {
            if !entry.create {
                return Err(Reject::new(ErrorCode::NoRoom, "that room does not exist"));
            }
            if known.is_none() && self.rooms.len() >= self.config.rooms {
                let message = "this server holds as many rooms as it may";
                return Err(Reject::new(ErrorCode::RoomFull, message));
            }
        }
        // A room that is only listened to can have members elsewhere: another node may say that it holds an id before it says what
        // the room was made as.
        let Some(room) = room else { return Ok(fresh) };
        if room.is_founded() && !room.admits(entry.key.map(Self::hash_key).as_ref()) {
            return Err(Reject::new(ErrorCode::Forbidden, "the room key is not right"));
        }
        let Some(member) = room.find(&peer.id) else {
            if room.len() >= room.max as usize {
                return Err(Reject::new(ErrorCode::RoomFull, "the room has as many peers as it may"));
            }
            return Ok(fresh);
        };
        let taken = Reject::new(ErrorCode::IdTaken, "another peer of the room has that id");
        // A claim that was made in knowledge of another is later than that, whatever the clocks say.
        let since_ms = claimed.unwrap_or_else(|| match &self.bus {
            Some(_) => now.unix_ms.max(member.since_ms.saturating_add(1)),
            None => now.unix_ms,
        });
        let (may, holder) = match member.connection() {
            Some(holder) => {
                let proof = entry.proof.map(Self::hash_key);
                let may = self.may_take_over(entry.takeover, peer.identity(), proof.as_ref(), holder);
                (may, Holder::Here(holder))
            }
            None => {
                let may = self.may_take_from_afar(connection, entry, since_ms, member);
                (may, Holder::There(member.ordinal))
            }
        };
        if !may {
            return Err(taken);
        }
        Ok(Judged {
            holder: Some(holder),
            since_ms,
            ..fresh
        })
    }

    /// Makes a room that is not there; without a founding it is only listened to.
    pub(super) fn make_room(&mut self, name: RoomRef<'_>, entry: &Entry<'_>, founding: Option<Founding>) -> Key {
        let owned = Self::room_name(name.realm, name.name);
        let unsettled = Founding {
            key_hash: None,
            max: u32::MAX,
        };
        let mut room = Room::new(owned.clone(), founding.unwrap_or(unsettled), self.hasher.clone());
        room.is_quiet = entry.is_quiet;
        let room = self.rooms.insert(room);
        self.by_name.insert(owned, room);
        if !entry.is_local {
            self.link_room(room, name, founding.is_some());
        }
        room
    }

    pub(super) fn may_take_over(
        &self,
        rule: Option<Takeover>,
        newcomer: &Identity,
        proof: Option<&[u8; 32]>,
        holder: ConnectionId,
    ) -> bool {
        let holder = self.connections.get(holder).and_then(|holder| holder.peer.as_ref());
        let is_same = holder.is_none_or(|holder| newcomer.same_owner(holder.identity()));
        // Like the key of a session it is nobody else's, whatever the rule; unless the id is a user's who is not this one.
        let bound = holder.and_then(|holder| holder.proof.as_ref());
        if let (Some(bound), Some(given)) = (bound, proof)
            && bool::from(bound.as_slice().ct_eq(given.as_slice()))
        {
            return is_same || holder.is_none_or(|holder| holder.identity().user.is_none());
        }
        match self.config.takeover {
            Takeover::Reject => false,
            Takeover::Replace => true,
            // A dialect may be lenient where nobody is known; it gives nobody what is a user's.
            Takeover::SameOwner => {
                let owners = [Some(newcomer), holder.map(Peer::identity)];
                let is_known = owners.into_iter().flatten().any(|owner| owner.user.is_some());
                is_same || (rule == Some(Takeover::Replace) && !is_known)
            }
        }
    }

    /// Takes `holder` out of the room without ending an empty room.
    fn evict(&mut self, room: Key, holder: ConnectionId) {
        let Some(entry) = self.connections.get_mut(holder) else {
            return;
        };
        let Some(at) = entry.rooms.iter().position(|membership| membership.room == room) else {
            return;
        };
        let membership = entry.rooms.swap_remove(at);
        self.take_out(membership, departure(CloseCode::Replaced));
    }

    /// Takes a connection out of a room it is in and tells the others.
    pub(crate) fn leave(&mut self, connection: ConnectionId, membership: Membership, why: &'static str) {
        if let Some(entry) = self.connections.get_mut(connection) {
            entry.rooms.retain(|other| *other != membership);
        }
        self.remove_member(membership, why);
    }

    /// Takes a member out of its room, tells the others, and ends the room if that was the last one. The connection's own
    /// list is the caller's to keep.
    pub(super) fn remove_member(&mut self, membership: Membership, why: &'static str) {
        self.take_out(membership, why);
        self.end_if_over(membership.room);
    }

    fn take_out(&mut self, membership: Membership, why: &'static str) {
        let Some(room) = self.rooms.get_mut(membership.room) else {
            return;
        };
        let Some(member) = room.remove(membership.ordinal) else {
            return;
        };
        let name = Arc::clone(&room.name.name);
        let is_quiet = room.is_quiet;
        self.stats.leaves += 1;
        self.stats.memberships -= 1;
        self.tell_left(membership.room, &member.peer, member.since_ms, why);
        if is_quiet {
            return;
        }
        self.broadcast(
            membership.room,
            None,
            &Event::Left {
                room: &name,
                peer: &member.peer,
                why,
            },
        );
    }

    /// 1 to [`Config::room_name_bytes`](crate::signaling::Config::room_name_bytes) bytes, no control characters: a name ends
    /// up in logs and on dashboards.
    fn check_room_name(&self, name: &str) -> Result<(), Reject> {
        if name.len() > self.config.room_name_bytes {
            return Err(Reject::new(ErrorCode::TooLarge, "the room name is too long"));
        }
        if name.is_empty() || name.chars().any(char::is_control) {
            return Err(Reject::bad_request(
                "a room name is not empty and has no control characters",
            ));
        }
        Ok(())
    }

    /// 1 to [`Config::peer_id_bytes`](crate::signaling::Config::peer_id_bytes) visible ASCII characters but `"` and `\`: two
    /// ids that look alike are alike. Where a dialect's ids have words, single spaces between them as well.
    pub(crate) fn check_peer_id(&self, connection: ConnectionId, id: &str) -> Result<(), Reject> {
        let dialect = self.connections.get(connection).map(|entry| entry.dialect);
        let has_words = dialect.is_some_and(Dialect::has_words_in_ids);
        let is_spaced = has_words && !id.starts_with(' ') && !id.ends_with(' ') && !id.contains("  ");

        if id.len() > self.config.peer_id_bytes {
            return Err(Reject::new(ErrorCode::TooLarge, "the peer id is too long").fatal(CloseCode::BadRequest));
        }
        if id.is_empty()
            || !id
                .bytes()
                .all(|byte| (byte.is_ascii_graphic() || (is_spaced && byte == b' ')) && byte != b'"' && byte != b'\\')
        {
            return Err(
                Reject::bad_request("a peer id is visible ASCII without quotes and backslashes")
                    .fatal(CloseCode::BadRequest),
            );
        }
        if id == SERVER {
            return Err(servers_name());
        }
        Ok(())
    }
}

/// Nobody gets the name that the server speaks under.
pub(super) const fn servers_name() -> Reject {
    Reject::new(ErrorCode::IdTaken, "that peer id is the server's").fatal(CloseCode::BadRequest)
}
