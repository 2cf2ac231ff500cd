//! Coming into rooms and going out of them.

use std::sync::Arc;

use subtle::ConstantTimeEq as _;

use super::{Hub, SERVER, departure};
use crate::signaling::{
    Now,
    connection::{ConnectionId, Membership, Peer},
    dialect::Dialect,
    error::Reject,
    event::Event,
    identity::{Identity, Takeover},
    labels::{CloseCode, ErrorCode},
    meta::Meta,
    room::{Room, RoomRef},
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
            allowed_as: None,
        }
    }
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
        if joining.rooms.len() >= self.config.rooms_per_connection {
            return Err(Reject::new(ErrorCode::RoomFull, "you are in as many rooms as you may"));
        }
        let key_hash = entry.key.map(Self::hash_key);
        let proof = entry.proof.map(Self::hash_key);
        let replaced = match known.and_then(|room| self.rooms.get(room)) {
            None if !entry.create => return Err(Reject::new(ErrorCode::NoRoom, "that room does not exist")),
            None if self.rooms.len() >= self.config.rooms => {
                return Err(Reject::new(
                    ErrorCode::RoomFull,
                    "this server holds as many rooms as it may",
                ));
            }
            None => None,
            Some(room) => {
                if !room.admits(key_hash.as_ref()) {
                    return Err(Reject::new(ErrorCode::Forbidden, "the room key is not right"));
                }
                let holder = room.find(&peer.id).map(|member| member.connection);
                if let Some(holder) = holder
                    && !self.may_take_over(entry.takeover, peer.identity(), proof.as_ref(), holder)
                {
                    return Err(Reject::new(ErrorCode::IdTaken, "another peer of the room has that id"));
                }
                if holder.is_none() && room.len() >= room.max as usize {
                    return Err(Reject::new(ErrorCode::RoomFull, "the room has as many peers as it may"));
                }
                holder
            }
        };

        // Nothing can refuse any more; from here on things change.
        let (realm, id) = (joining.realm, Arc::clone(&peer.id));
        let meta = entry.meta.clone().unwrap_or_else(|| peer.meta.clone());
        let hasher = self.hasher.clone();
        let room = known.unwrap_or_else(|| {
            let ceiling = match entry.is_quiet {
                true => u32::MAX,
                false => u32::try_from(self.config.peers_per_room).unwrap_or(u32::MAX),
            };
            let max = entry
                .max
                .map_or(ceiling, |max| u32::try_from(max).unwrap_or(u32::MAX).min(ceiling));
            let name = Self::room_name(realm, entry.room);
            let mut fresh = Room::new(name.clone(), max, key_hash, hasher);
            fresh.is_quiet = entry.is_quiet;
            let room = self.rooms.insert(fresh);
            self.by_name.insert(name, room);
            room
        });
        if let Some(holder) = replaced {
            // The room stays, even if its only member is the one replaced: its key and metadata belong to the owner who is
            // coming back.
            self.evict(room, holder);
        }
        let Some(table) = self.rooms.get_mut(room) else {
            return Err(NOT_WELCOMED);
        };
        let ordinal = table.push(connection, Arc::clone(&id), meta.clone(), now.unix_ms);
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
        let event = Event::Joined {
            room: entry.room,
            peer: &id,
            meta: meta.as_ref(),
        };
        if !entry.is_quiet {
            self.broadcast(room, Some(connection), &event);
        }
        if let Some(holder) = replaced {
            // Its other rooms follow: a client that came back has left that whole connection behind.
            self.stats.takeovers += 1;
            self.close(holder, CloseCode::Replaced);
        }
        Ok(membership)
    }

    fn may_take_over(
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
        if self.rooms.get(membership.room).is_some_and(|room| room.len() == 0)
            && let Some(room) = self.rooms.remove(membership.room)
        {
            self.by_name.remove(&room.name);
        }
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
