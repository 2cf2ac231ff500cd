//! Whole lists: telling this node's, and taking in another's.

use std::{borrow::Cow, collections::BTreeSet};

use super::{Errand, Hub};
use crate::signaling::{
    Now,
    cluster::{
        NodeId, RoomTopic, Topic,
        link::{List, Parts},
        message::{About, Claim, Founding, Message},
    },
    event::Event,
    hub::SERVER,
    meta::{Entries, Meta},
    slab::Key,
};

/// Bytes after which a part of a list ends.
const PART: usize = 32_768;
/// What a member is in a list beside its name and what it tells about itself.
const MEMBER: usize = 96;
/// Audits of a room after which a node that has said nothing of it is asked.
const QUIET: u8 = 3;
/// Rooms in one question.
const QUESTION: usize = 1_024;

/// One part of a list, as it came.
#[derive(Debug)]
pub(super) struct Part<'a> {
    pub(super) seq: u64,
    pub(super) part: u64,
    pub(super) last: bool,
    pub(super) founding: Option<Founding>,
    pub(super) about: About<'a>,
    pub(super) members: Vec<Claim<'a>>,
}

impl Hub {
    /// Tells a node who of this process is in a room, or about to come in.
    pub(super) fn tell_list(&mut self, node: NodeId, key: Key) {
        let Some(room) = self.rooms.get(key) else { return };
        let Some(link) = room.link.as_deref() else { return };
        let own = room.members().iter().filter_map(|member| self.claim_of(member));
        // A claim that is on its way may take the place of one who is in.
        let coming = link.pending.iter().filter_map(|pending| pending.stage.claim().cloned());
        let mut members: Vec<Claim<'static>> = own.collect();
        for claim in coming {
            members.retain(|member| member.peer != claim.peer);
            members.push(claim);
        }
        let mut meta = String::new();
        Meta::write(room.meta.as_ref(), &mut meta);
        let about = About {
            version: room.version,
            meta: Cow::Owned(meta),
        };
        let founding = if link.founded {
            Some(room.founding())
        } else {
            link.proposed
        };
        let (topic, seq) = (link.topic, link.seq);
        let mut members = members.into_iter().peekable();
        for part in 0.. {
            let (mut taken, mut bytes) = (Vec::new(), 0);
            while bytes < PART
                && let Some(claim) = members.next()
            {
                bytes += MEMBER + claim.peer.len() + claim.meta.len();
                taken.push(claim);
            }
            let last = members.peek().is_none();
            let state = Message::State {
                room: topic,
                seq,
                part,
                last,
                founding,
                about: about.clone(),
                members: taken,
            };
            self.publish(Topic::Node(node), &state);
            if last {
                return;
            }
        }
    }

    /// Asks a node for its list of a room, because the one here is not the one it has.
    pub(super) fn resync(&mut self, node: NodeId, room: Key) {
        let link = self.rooms.get_mut(room).and_then(|room| room.link.as_deref_mut());
        let Some(link) = link else { return };
        let is_on_its_way = link
            .opening
            .as_ref()
            .is_some_and(|opening| opening.missing.as_ref().is_none_or(|missing| missing.contains(&node)));
        let topic = link.topic;
        let view = link.view(node);
        (view.asked, view.parts) = (true, None);
        if !is_on_its_way {
            self.stats.bus.resyncs += 1;
            self.publish(Topic::Node(node), &Message::Sync { rooms: vec![topic] });
        }
    }

    /// Asks a node for its lists of all rooms that are hosted here.
    pub(super) fn resync_all(&mut self, node: NodeId) {
        let Some(bus) = self.bus.as_deref() else { return };
        let topics: Vec<RoomTopic> = bus.rooms.keys().copied().collect();
        for rooms in topics.chunks(QUESTION) {
            self.publish(Topic::Node(node), &Message::Sync { rooms: rooms.to_vec() });
        }
    }

    /// A node asks for lists.
    pub(super) fn plan_lists(&mut self, now: Now, node: NodeId, rooms: &[RoomTopic]) {
        let Some(bus) = self.bus.as_deref_mut() else { return };
        // Each once, however often it is asked for in one message.
        let hosted = rooms.iter().filter_map(|topic| bus.rooms.get(topic).copied());
        let hosted: BTreeSet<Key> = hosted.collect();
        // One is what a lost message costs; many wait their turn.
        match (hosted.first(), rooms) {
            (Some(room), [_]) => return self.tell_list(node, *room),
            // Whoever asks for one has members of this node on its list.
            (None, [room]) => return self.publish(Topic::Node(node), &Message::NotHere { room: *room }),
            _ => {}
        }
        for room in hosted {
            if !bus.put_off(now, Errand::Tell(node, room)) {
                self.stats.bus.turned_away += 1;
            }
        }
    }

    /// A part of a node's list has come. The list is taken in when it is whole.
    pub(super) fn take_part(&mut self, node: NodeId, key: Key, part: Part<'_>) {
        // Rooms without a ceiling of their own have that of the table.
        let bound = self.bus.as_deref().map_or(0, |bus| bus.config.mirrored);
        let limit = self.most_mirrored(key).min(bound);
        let link = self.rooms.get_mut(key).and_then(|room| room.link.as_deref_mut());
        let Some(link) = link else { return };
        let view = link.view(node);
        if part.seq < view.seq && !view.asked {
            // Asked for twice, and overtaken. What was asked for counts, whatever number came before it: a number that is too
            // high, once believed, would keep the node's true list away for ever.
            self.stats.bus.stale += 1;
            return;
        }
        let before = match (part.part, view.parts.take()) {
            (0, _) => Vec::new(),
            (at, Some(parts)) if parts.next == at && parts.members.len() <= limit => parts.members,
            _ => return self.resync(node, key),
        };
        if !part.last {
            let mut members = before;
            members.extend(part.members.into_iter().map(owned));
            view.parts = Some(Parts {
                next: part.part + 1,
                members,
            });
            return;
        }
        (view.seq, view.asked, view.partial) = (part.seq, false, false);
        view.quiet = 0;
        let mut members: Vec<Claim<'_>> = before;
        members.extend(part.members);
        let list = List {
            founding: part.founding,
            about: part.about,
            members,
        };
        self.take_list(node, key, list);
        self.has_answered(node, key);
    }

    fn take_list(&mut self, node: NodeId, key: Key, mut list: List<'_>) {
        if let Some(founding) = list.founding {
            if !self.try_agree(key, founding) {
                // Two rooms of one name and different keys, made apart: their members do not meet.
                list.members.clear();
            } else {
                self.take_about(key, &list.about);
            }
        }
        let Some(room) = self.rooms.get(key) else { return };
        let of_node = |member: &&crate::signaling::room::Member| {
            member.remote().is_some_and(|remote| remote.node == node)
                && !list.members.iter().any(|claim| *claim.peer == *member.peer)
        };
        let gone: Vec<u64> = room
            .members()
            .iter()
            .filter(of_node)
            .map(|member| member.ordinal)
            .collect();
        for ordinal in gone {
            self.remove_mirrored(key, ordinal, "lost");
        }
        for claim in &list.members {
            self.mirror(node, key, claim, true);
        }
    }

    /// Takes over what a room was made as elsewhere, if it is not made here yet. False: it was made otherwise here.
    pub(super) fn try_agree(&mut self, key: Key, founding: Founding) -> bool {
        let Some(is_quiet) = self.rooms.get(key).map(|room| room.is_quiet) else {
            return false;
        };
        let ceiling = self.ceiling(is_quiet);
        let Some(room) = self.rooms.get_mut(key) else {
            return false;
        };
        if !room.is_founded() {
            room.found(Founding {
                max: founding.max.min(ceiling),
                ..founding
            });
            return true;
        }
        if !room.admits(founding.key_hash.as_ref()) {
            self.stats.bus.stale += 1;
            return false;
        }
        room.max = room.max.min(founding.max);
        true
    }

    /// Of two versions of a room's metadata the later one counts, and of two that are as late the one that is larger as text.
    fn take_about(&mut self, key: Key, about: &About<'_>) {
        let Some(room) = self.rooms.get_mut(key) else { return };
        let mut own = String::new();
        Meta::write(room.meta.as_ref(), &mut own);
        if (about.version, &*about.meta) <= (room.version, &*own) {
            return;
        }
        let Some(meta) = super::mirror::read_meta(&about.meta, &self.config) else {
            return;
        };
        (room.meta, room.version) = (meta, about.version);
        let (name, meta, version) = (room.name.name.clone(), room.meta.clone(), room.version);
        let event = Event::Room {
            room: &name,
            by: SERVER,
            meta: meta.as_ref(),
            version,
        };
        self.broadcast(key, None, &event);
    }

    /// A node has nobody in a room.
    pub(super) fn take_nobody(&mut self, node: NodeId, key: Key) {
        self.forget_nodes(key, &[node]);
    }

    /// The rooms that are being audited: which lists have not been heard of for long, though there are members on them? Their node
    /// may not host the room any more, and its last word be lost.
    pub(super) fn ask_the_quiet(&mut self, key: Key) {
        let Some(room) = self.rooms.get_mut(key) else { return };
        let nodes: BTreeSet<NodeId> = room
            .members()
            .iter()
            .filter_map(|member| member.remote().map(|remote| remote.node))
            .collect();
        let Some(link) = room.link.as_deref_mut() else { return };
        let mut quiet = Vec::new();
        // A member of whose node no list has come stands there by that node's word that it holds an id.
        for node in nodes {
            let view = link.view(node);
            view.quiet += 1;
            if view.quiet >= QUIET {
                view.quiet = 0;
                quiet.push(view.node);
            }
        }
        for node in quiet {
            self.resync(node, key);
        }
    }

    /// A node has said who of it is in a room.
    pub(super) fn has_answered(&mut self, node: NodeId, key: Key) {
        let link = self.rooms.get_mut(key).and_then(|room| room.link.as_deref_mut());
        let missing = link.and_then(|link| link.opening.as_mut()?.missing.as_mut());
        let Some(missing) = missing else { return };
        missing.retain(|other| *other != node);
        self.open_if_answered(key);
    }

    /// Opens a room when everybody who is known to be alive has answered, and whoever is alive is known.
    pub(super) fn open_if_answered(&mut self, key: Key) {
        let link = self.rooms.get(key).and_then(|room| room.link.as_deref());
        let missing = link.and_then(|link| link.opening.as_ref()?.missing.as_ref());
        let is_settled = self.bus.as_deref().is_some_and(|bus| bus.settled_at.is_none());
        if is_settled && missing.is_some_and(Vec::is_empty) {
            self.finish_opening(key);
        }
    }

    /// Makes a change of a room's metadata in its turn.
    pub(super) fn make_change(
        &mut self,
        key: Key,
        by: &str,
        if_version: Option<u64>,
        set: &str,
        del: &[Cow<'_, str>],
    ) -> Result<u64, crate::signaling::error::Reject> {
        use crate::signaling::{error::Reject, labels::ErrorCode};
        let set: Entries<'_> = serde_json::from_str(set)
            .map_err(|_| Reject::new(ErrorCode::Unavailable, "another server sent what is no metadata"))?;
        self.change_room(key, by, Some(&set), del, if_version)
    }
}

fn owned(claim: Claim<'_>) -> Claim<'static> {
    Claim {
        peer: Cow::Owned(claim.peer.into_owned()),
        meta: Cow::Owned(claim.meta.into_owned()),
        ..claim
    }
}
