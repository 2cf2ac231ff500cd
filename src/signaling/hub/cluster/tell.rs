//! What other nodes are told of the members of this one.

use std::borrow::Cow;

use super::Hub;
use crate::signaling::{
    cluster::{
        NodeId, RoomTopic, Topic,
        claim::{self, Contender, Rule, Standing},
        message::{Claim, Founding, Message, Said, Turn},
    },
    connection::ConnectionId,
    hub::Entry,
    meta::{Entries, Meta},
    room::Member,
    slab::Key,
};

fn written(meta: Option<&std::sync::Arc<Meta>>) -> String {
    let mut text = String::new();
    Meta::write(meta, &mut text);
    text
}

impl Hub {
    /// What a member of this process may claim.
    pub(super) fn standing(&self, connection: ConnectionId, rule: Rule, proof: Option<&[u8; 32]>) -> Option<Standing> {
        let entry = self.connections.get(connection)?;
        let peer = entry.peer.as_ref()?;
        let proof = proof.or(peer.proof.as_deref());
        Some(Standing {
            rule,
            owner: claim::owner(peer.identity()),
            session: claim::session(&entry.sid, &self.secrets.key(entry.sid)),
            ousts: peer.ousts.as_deref().copied(),
            proof: proof.map(|proof| std::array::from_fn(|at| proof[at])),
        })
    }

    /// A member as it is compared with others, wherever it is.
    pub(super) fn contender(&self, member: &Member) -> Option<Contender> {
        let (node, standing) = match (member.connection(), member.remote()) {
            (Some(connection), _) => (self.node()?, self.standing(connection, member.rule, None)?),
            (None, remote) => remote.map(|remote| (remote.node, remote.standing))?,
        };
        Some(Contender {
            since_ms: member.since_ms,
            node,
            standing,
        })
    }

    /// This node.
    pub(in crate::signaling::hub) fn node(&self) -> Option<NodeId> {
        self.bus.as_deref().map(|bus| bus.config.node)
    }

    /// A member of this process, for others.
    pub(super) fn claim_of(&self, member: &Member) -> Option<Claim<'static>> {
        let connection = member.connection()?;
        Some(Claim {
            peer: Cow::Owned(member.peer.to_string()),
            since_ms: member.since_ms,
            away: self.is_away(connection),
            standing: self.standing(connection, member.rule, None)?,
            meta: Cow::Owned(written(member.meta.as_ref())),
        })
    }

    /// How many members a room may have at most.
    pub(super) fn ceiling(&self, is_quiet: bool) -> u32 {
        match is_quiet {
            true => u32::MAX,
            false => u32::try_from(self.config.peers_per_room).unwrap_or(u32::MAX),
        }
    }

    /// What a room is when that entry makes it.
    pub(in crate::signaling::hub) fn founding(&self, entry: &Entry<'_>) -> Founding {
        let ceiling = self.ceiling(entry.is_quiet);
        Founding {
            key_hash: entry.key.map(Self::hash_key),
            max: entry
                .max
                .map_or(ceiling, |max| u32::try_from(max).unwrap_or(u32::MAX).min(ceiling)),
        }
    }

    /// The number of the next change of this node's members in a room.
    pub(super) fn next_number(&mut self, room: Key) -> Option<(RoomTopic, u64)> {
        let bus = self.bus.as_deref_mut()?;
        let link = self.rooms.get_mut(room)?.link.as_deref_mut()?;
        bus.seq += 1;
        link.seq += 1;
        Some((link.topic, link.seq))
    }

    /// A member has come in.
    pub(in crate::signaling::hub) fn tell_joined(&mut self, room: Key, ordinal: u64) {
        let found = self.rooms.get(room);
        let claimed = found.and_then(|room| Some((self.claim_of(room.member(ordinal)?)?, room.founding())));
        if let Some((claim, founding)) = claimed
            && let Some((room, seq)) = self.next_number(room)
        {
            let joined = Message::Joined {
                room,
                seq,
                founding,
                claim,
            };
            self.publish(Topic::Room(room), &joined);
        }
    }

    /// A member that came in at that time is gone.
    pub(in crate::signaling::hub) fn tell_left(&mut self, room: Key, peer: &str, since_ms: u64, why: &str) {
        if let Some((room, seq)) = self.next_number(room) {
            let left = Message::Left {
                room,
                seq,
                peer,
                since_ms,
                why,
            };
            self.publish(Topic::Room(room), &left);
        }
    }

    /// All members of this process leave a room at once.
    pub(in crate::signaling::hub) fn tell_closed(&mut self, key: Key) {
        let members = self.rooms.get(key).map(|room| room.members()).unwrap_or_default();
        let own = members.iter().filter(|member| member.connection().is_some());
        let own: Vec<_> = own.map(|member| (member.peer.clone(), member.since_ms)).collect();
        for (peer, since_ms) in own {
            self.tell_left(key, &peer, since_ms, "closed");
        }
    }

    /// A member is away, or back.
    pub(in crate::signaling::hub) fn tell_away(&mut self, room: Key, peer: &str, away: bool) {
        self.tell_turn(room, peer, if away { Turn::Away } else { Turn::Back });
    }

    /// A member tells other things about itself.
    pub(in crate::signaling::hub) fn tell_meta(&mut self, room: Key, peer: &str, meta: Option<&std::sync::Arc<Meta>>) {
        if self.bus.is_some() {
            self.tell_turn(room, peer, Turn::Meta(&written(meta)));
        }
    }

    fn tell_turn(&mut self, room: Key, peer: &str, turn: Turn<'_>) {
        if let Some((room, seq)) = self.next_number(room) {
            self.publish(Topic::Room(room), &Message::Turned { room, seq, peer, turn });
        }
    }

    /// A change of a room's metadata is to be made by everybody; its number.
    pub(in crate::signaling::hub) fn tell_change(
        &mut self,
        room: Key,
        by: &str,
        set: Option<&Entries<'_>>,
        del: &[Cow<'_, str>],
        if_version: Option<u64>,
    ) -> Option<u64> {
        let mut text = String::new();
        match set {
            Some(set) => set.write(&mut text),
            None => text.push_str("{}"),
        }
        let (room, seq) = self.next_number(room)?;
        let change = Message::Change {
            room,
            seq,
            by,
            if_version,
            set: Cow::Owned(text),
            del: del.iter().map(|key| Cow::Borrowed(&**key)).collect(),
        };
        self.publish(Topic::Room(room), &change);
        Some(seq)
    }

    /// Something about a room has changed that only its list tells.
    pub(in crate::signaling::hub) fn tell_changed(&mut self, room: Key) {
        if let Some((room, seq)) = self.next_number(room) {
            self.publish(Topic::Room(room), &Message::Audit { room, seq });
        }
    }

    /// Says something to the members of a room that live elsewhere, if there are any.
    pub(in crate::signaling::hub) fn cast(&mut self, room: Key, from: &str, said: Said<'_>) {
        let Some(found) = self.rooms.get(room).filter(|room| room.here() < room.len()) else {
            return;
        };
        if let Some(link) = found.link.as_deref() {
            let (room, seq) = (link.topic, link.seq);
            self.publish(Topic::Room(room), &Message::Cast { room, seq, from, said });
        }
    }

    /// Says something to members that live on one node.
    pub(in crate::signaling::hub) fn direct(
        &mut self,
        room: Key,
        node: NodeId,
        from: &str,
        to: Vec<&str>,
        said: Said<'_>,
    ) {
        let link = self.rooms.get(room).and_then(|room| room.link.as_deref());
        if let Some(link) = link {
            let (room, seq) = (link.topic, link.seq);
            let direct = Message::Direct {
                room,
                seq,
                from,
                to,
                said,
            };
            self.publish(Topic::Node(node), &direct);
        }
    }
}
