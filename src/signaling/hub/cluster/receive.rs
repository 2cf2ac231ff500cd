//! What messages of other nodes lead to: changes of the mirror, and deliveries to members of this process. Never to a publication
//! of the same thing.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::value::RawValue;

use super::{Hub, lists::Part};
use crate::signaling::{
    CloseCode, Now,
    cluster::{
        NodeId, RoomTopic, Topic, claim,
        link::Stage,
        message::{Message, Said, Turn},
    },
    connection::ConnectionId,
    event::{Data, Event},
    hub::SERVER,
    secrets::Sid,
    slab::Key,
};

impl Hub {
    /// A message of this node has come back: whatever others published before it has come in.
    pub(super) fn handle_echo(&mut self, message: &Message<'_>) {
        match message {
            Message::Joined { room, seq, .. } => {
                let Some(key) = self.hosted(*room) else { return };
                let link = self.rooms.get_mut(key).and_then(|room| room.link.as_deref_mut());
                let pending = link.and_then(|link| {
                    let mut pending = link.pending.iter_mut();
                    pending.find(|pending| matches!(&pending.stage, Stage::Claimed { seq: own, .. } if own == seq))
                });
                let Some(pending) = pending else { return };
                if let Stage::Claimed { claim, .. } = std::mem::replace(&mut pending.stage, Stage::Late) {
                    pending.stage = Stage::Placed { claim };
                }
                let connection = pending.connection;
                self.one_came(connection);
            }
            Message::Change {
                room,
                seq,
                by,
                if_version,
                set,
                del,
            } => {
                let Some(key) = self.hosted(*room) else { return };
                let done = self.make_change(key, by, *if_version, set, del);
                let link = self.rooms.get_mut(key).and_then(|room| room.link.as_deref_mut());
                let change = link.and_then(|link| link.changes.iter_mut().find(|change| change.seq == *seq));
                if let Some(change) = change
                    && change.done.is_none()
                {
                    change.done = Some(done);
                    let connection = change.connection;
                    self.one_came(connection);
                }
            }
            _ => {}
        }
    }

    fn hosted(&self, room: RoomTopic) -> Option<Key> {
        self.bus.as_deref()?.rooms.get(&room).copied()
    }

    /// The room that a message is about; of others nothing is known here.
    pub(super) fn hosted_or_stale(&mut self, room: RoomTopic) -> Option<Key> {
        let found = self.hosted(room);
        self.stats.bus.stale += u64::from(found.is_none());
        found
    }

    pub(super) fn handle_message(&mut self, now: Now, topic: Topic, node: NodeId, message: Message<'_>) {
        match message {
            Message::Alive { hello, load } => {
                self.note_load(node, load);
                if hello {
                    let load = self.load();
                    self.publish(Topic::Node(node), &Message::Alive { hello: false, load });
                }
            }
            Message::Ask { room, seq } => self.answer_question(topic, node, room, seq),
            Message::NotHere { room } => {
                if let Some(key) = self.hosted(room) {
                    self.take_nobody(node, key);
                }
            }
            Message::State {
                room,
                seq,
                part,
                last,
                founding,
                about,
                members,
            } => {
                if let Some(key) = self.hosted_or_stale(room) {
                    let part = Part {
                        seq,
                        part,
                        last,
                        founding,
                        about,
                        members,
                    };
                    self.take_part(node, key, part);
                }
            }
            Message::Sync { rooms } => self.plan_lists(now, node, &rooms),
            Message::Holds { room, claim } => {
                if let Some(key) = self.hosted_or_stale(room) {
                    self.mirror(node, key, &claim, false);
                }
            }
            Message::Returned { sid, session } => self.end_returned(&sid, &session),
            Message::Joined {
                room,
                seq,
                founding,
                claim,
            } => {
                if let Some(key) = self.in_order(node, room, seq)
                    && self.try_agree(key, founding)
                {
                    self.mirror(node, key, &claim, true);
                }
            }
            Message::Left {
                room,
                seq,
                peer,
                since_ms,
                why,
            } => {
                let key = self.in_order(node, room, seq);
                let found = key.and_then(|key| Some((key, self.mirrored(key, node, peer)?)));
                if let Some((key, (ordinal, since))) = found
                    && since == since_ms
                {
                    self.remove_mirrored(key, ordinal, why);
                }
            }
            Message::Turned { room, seq, peer, turn } => {
                let key = self.in_order(node, room, seq);
                let found = key.and_then(|key| Some((key, self.mirrored(key, node, peer)?)));
                if let Some((key, (ordinal, _))) = found {
                    match turn {
                        Turn::Away => self.turn_mirrored(key, ordinal, Some(true), None),
                        Turn::Back => self.turn_mirrored(key, ordinal, Some(false), None),
                        Turn::Meta(meta) => match super::mirror::read_meta(meta, &self.config) {
                            Some(meta) => self.turn_mirrored(key, ordinal, None, Some(meta)),
                            None => self.stats.bus.malformed += 1,
                        },
                    }
                }
            }
            Message::Change {
                room,
                seq,
                by,
                if_version,
                set,
                del,
            } => {
                if let Some(key) = self.in_order(node, room, seq) {
                    // Whether it could be made is for the node that asked for it to say.
                    let _ = self.make_change(key, by, if_version, &set, &del);
                }
            }
            Message::Audit { room, seq } => {
                if let Some(key) = self.hosted_or_stale(room)
                    && (self.seen(key, node) != Some(seq) || self.is_partial(key, node))
                {
                    self.resync(node, key);
                }
            }
            Message::Cast { room, seq, from, said } => {
                if let Some(key) = self.said_in(node, room, seq, from) {
                    self.hear(key, from, None, said);
                }
            }
            Message::Direct {
                room,
                seq,
                from,
                to,
                said,
            } => {
                if let Some(key) = self.said_in(node, room, seq, from) {
                    self.hear(key, from, Some(&to), said);
                }
            }
            order => self.carry_out_order(now, order),
        }
    }

    /// A node begins to host a room, or has the bus again.
    fn answer_question(&mut self, topic: Topic, node: NodeId, room: RoomTopic, seq: u64) {
        let Some(key) = self.hosted(room) else {
            if topic == Topic::Everybody {
                self.publish(Topic::Node(node), &Message::NotHere { room });
            }
            return;
        };
        if topic == Topic::Everybody {
            // It has nobody in there yet.
            if let Some(link) = self.rooms.get_mut(key).and_then(|room| room.link.as_deref_mut()) {
                let view = link.view(node);
                (view.seq, view.asked, view.parts) = (seq, false, None);
            }
        } else if self.seen(key, node) != Some(seq) {
            self.resync(node, key);
        }
        self.tell_list(node, key);
    }

    /// The number of the list that is mirrored of that node's members in a room; `None` while a newer one is on its way.
    fn seen(&mut self, key: Key, node: NodeId) -> Option<u64> {
        let link = self.rooms.get_mut(key)?.link.as_deref_mut()?;
        let view = link.views.iter_mut().find(|view| view.node == node)?;
        view.quiet = 0;
        (!view.asked).then_some(view.seq)
    }

    fn is_partial(&self, key: Key, node: NodeId) -> bool {
        let link = self.rooms.get(key).and_then(|room| room.link.as_deref());
        link.is_some_and(|link| link.views.iter().any(|view| view.node == node && view.partial))
    }

    /// The room of a change, if the change is the next one of that node there. After a gap the whole list is asked for.
    fn in_order(&mut self, node: NodeId, room: RoomTopic, seq: u64) -> Option<Key> {
        let key = self.hosted_or_stale(room)?;
        let link = self.rooms.get_mut(key)?.link.as_deref_mut()?;
        let view = link.view(node);
        if view.asked || seq <= view.seq {
            // It is in the list that comes, or that came.
            return None;
        }
        if seq != view.seq + 1 {
            self.resync(node, key);
            return None;
        }
        (view.seq, view.quiet) = (seq, 0);
        Some(key)
    }

    fn mirrored(&self, key: Key, node: NodeId, peer: &str) -> Option<(u64, u64)> {
        let member = self.rooms.get(key)?.find(peer)?;
        let remote = member.remote().filter(|remote| remote.node == node);
        remote.map(|_| (member.ordinal, member.since_ms))
    }

    /// The room of something said, if the one who says it is in the mirror: whoever hears it has been told of them.
    fn said_in(&mut self, node: NodeId, room: RoomTopic, seq: u64, from: &str) -> Option<Key> {
        let key = self.hosted_or_stale(room)?;
        if self.seen(key, node).is_some_and(|seen| seen < seq) {
            self.resync(node, key);
        }
        if from == SERVER {
            return Some(key);
        }
        let found = self.mirrored(key, node, from);
        self.stats.bus.stale += u64::from(found.is_none());
        found.map(|_| key)
    }

    /// Tells members of this process what one elsewhere says: those named, or all.
    fn hear(&mut self, key: Key, from: &str, to: Option<&[&str]>, said: Said<'_>) {
        let Some(room) = self.rooms.get(key) else { return };
        let name = Arc::clone(&room.name.name);
        let is_json = |text: &str| serde_json::from_str::<&RawValue>(text).is_ok();
        let frame;
        let event = match said {
            Said::Signal { data, .. } if !data.is_none_or(is_json) => return self.stats.bus.malformed += 1,
            Said::Message {
                data: Data::Json(text), ..
            } if !is_json(text) => {
                return self.stats.bus.malformed += 1;
            }
            Said::Signal {
                kind,
                data,
                correlation,
            } => Event::Signal {
                room: &name,
                from,
                kind,
                data,
                correlation,
            },
            Said::Message { data, reliable } => Event::Message {
                room: &name,
                from,
                data,
                reliable,
            },
            Said::Verbatim { frame: text } => {
                frame = Bytes::copy_from_slice(text.as_bytes());
                Event::Verbatim { frame: &frame }
            }
        };
        let Some(to) = to else {
            self.broadcast(key, None, &event);
            return;
        };
        // Each once, however often it is named.
        let found = to.iter().filter_map(|peer| room.find(peer)?.connection());
        let mut receivers: Vec<ConnectionId> = found.collect();
        receivers.sort_unstable();
        receivers.dedup();
        self.stats.bus.stale += (to.len() - receivers.len()) as u64;
        self.multicast(&receivers, &event);
    }

    /// The owner of a session is on another node now.
    fn end_returned(&mut self, sid: &[u8; 16], session: &claim::Digest) {
        let sid = Sid::from_bytes(*sid);
        let Some(&connection) = self.by_sid.get(&sid) else {
            return;
        };
        if claim::session(&sid, &self.secrets.key(sid)) == *session {
            self.stats.takeovers += 1;
            self.close(connection, CloseCode::Replaced);
        }
    }

    /// Tells all nodes that the owner of a session that is none of this one's has come here.
    pub(in crate::signaling::hub) fn tell_returned(&mut self, sid: Sid, session: claim::Digest) {
        let returned = Message::Returned {
            sid: *sid.as_bytes(),
            session,
        };
        self.publish(Topic::Everybody, &returned);
    }
}
