//! Members that live on other nodes, in the lists of this one.

use std::sync::Arc;

use super::Hub;
use crate::signaling::{
    CloseCode,
    cluster::{
        NodeId, Topic,
        claim::{Contender, Rule},
        message::{Claim, Message, Said},
    },
    config::Config,
    connection::ConnectionId,
    event::Event,
    meta::{Entries, Meta},
    room::{Newcomer, Place, Remote},
    slab::Key,
};

/// What a peer or a room tells about itself, as another node wrote it; `None` when it is nothing that may stand here.
pub(super) fn read_meta(text: &str, config: &Config) -> Option<Option<Arc<Meta>>> {
    let entries: Entries<'_> = serde_json::from_str(text).ok()?;
    Meta::changed(None, Some(&entries), &[], config).ok()
}

/// What is to be done about a claim.
enum Verdict {
    /// Nobody has that id.
    New,
    /// The same member: what it tells about itself may have changed.
    Same(u64),
    /// It takes the place of a member that lives elsewhere.
    Instead(u64),
    /// It takes the place of a member of this process.
    Oust(ConnectionId),
    /// The id is another's, who lives elsewhere.
    Lost,
    /// The id is a member's of this process.
    Held(u64),
}

impl Hub {
    fn judge_claim(&self, node: NodeId, key: Key, claim: &Claim<'_>) -> Option<Verdict> {
        let room = self.rooms.get(key)?;
        let Some(member) = room.find(&claim.peer) else {
            return Some(Verdict::New);
        };
        let ordinal = member.ordinal;
        if let Some(remote) = member.remote().filter(|remote| remote.node == node) {
            let is_same = member.since_ms == claim.since_ms && remote.standing.session == claim.standing.session;
            return Some(if is_same {
                Verdict::Same(ordinal)
            } else {
                Verdict::Instead(ordinal)
            });
        }
        let newcomer = Contender {
            since_ms: claim.since_ms,
            node,
            standing: claim.standing,
        };
        let wins = newcomer.beats(&self.contender(member)?);
        Some(match (member.connection(), wins) {
            (Some(connection), true) => Verdict::Oust(connection),
            (Some(_), false) => Verdict::Held(ordinal),
            (None, true) => Verdict::Instead(ordinal),
            (None, false) => Verdict::Lost,
        })
    }

    /// Puts what a node claims of one of its members into a room's list. Where a member of this process has the better claim, its
    /// node is `told`.
    pub(super) fn mirror(&mut self, node: NodeId, key: Key, claim: &Claim<'_>, told: bool) {
        let meta = read_meta(&claim.meta, &self.config);
        let (Some(meta), true) = (meta, self.is_peer_id(&claim.peer)) else {
            self.stats.bus.malformed += 1;
            return;
        };
        match self.judge_claim(node, key, claim) {
            None => {}
            Some(Verdict::New) => self.insert_mirrored(node, key, claim, meta),
            Some(Verdict::Same(ordinal)) => {
                self.turn_mirrored(key, ordinal, Some(claim.away), Some(meta));
            }
            Some(Verdict::Instead(ordinal)) => {
                self.displace_mirrored(key, ordinal);
                self.insert_mirrored(node, key, claim, meta);
            }
            Some(Verdict::Oust(connection)) => {
                // The room may have nobody else here; it is left first, so that it ends if it must.
                self.stats.takeovers += 1;
                self.close(connection, CloseCode::Replaced);
                self.insert_mirrored(node, key, claim, meta);
            }
            Some(Verdict::Lost) => {
                self.stats.bus.stale += 1;
                self.note_partial(node, key);
            }
            Some(Verdict::Held(ordinal)) => {
                self.note_partial(node, key);
                if told {
                    self.tell_holder(node, key, ordinal);
                }
            }
        }
    }

    /// Not all that a node says of its members stands here.
    fn note_partial(&mut self, node: NodeId, key: Key) {
        if let Some(link) = self.rooms.get_mut(key).and_then(|room| room.link.as_deref_mut()) {
            link.view(node).partial = true;
        }
    }

    /// Tells a node who has the id that one of its members claims.
    fn tell_holder(&mut self, node: NodeId, key: Key, ordinal: u64) {
        let Some(room) = self.rooms.get(key) else { return };
        let topic = room.link.as_deref().map(|link| link.topic);
        let claim = room.member(ordinal).and_then(|member| self.claim_of(member));
        if let (Some(topic), Some(claim)) = (topic, claim) {
            self.publish(Topic::Node(node), &Message::Holds { room: topic, claim });
        }
    }

    /// Whether that can be the id of a peer, of whatever dialect.
    fn is_peer_id(&self, id: &str) -> bool {
        let may_stand = |byte: u8| (byte.is_ascii_graphic() || byte == b' ') && byte != b'"' && byte != b'\\';
        (1..=self.config.peer_id_bytes).contains(&id.len()) && id.bytes().all(may_stand)
    }

    /// How many members of a room may live elsewhere.
    pub(super) fn most_mirrored(&self, key: Key) -> usize {
        let quiet = self.rooms.get(key).filter(|room| room.is_quiet);
        quiet.map_or(self.config.peers_per_room, |room| room.max as usize)
    }

    fn insert_mirrored(&mut self, node: NodeId, key: Key, claim: &Claim<'_>, meta: Option<Arc<Meta>>) {
        let most = self.most_mirrored(key);
        let Some(room) = self.rooms.get_mut(key) else { return };
        let Some(bus) = self.bus.as_deref_mut() else { return };
        if bus.mirrored >= bus.config.mirrored || room.len() - room.here() >= most {
            self.stats.bus.turned_away += 1;
            return self.note_partial(node, key);
        }
        bus.mirrored += 1;
        let (peer, is_quiet) = (Arc::<str>::from(&*claim.peer), room.is_quiet);
        room.push(Newcomer {
            place: Place::There(Box::new(Remote {
                node,
                away: claim.away,
                standing: claim.standing,
            })),
            peer: Arc::clone(&peer),
            meta: meta.clone(),
            since_ms: claim.since_ms,
            rule: Rule::SameOwner,
        });
        let name = Arc::clone(&room.name.name);
        // Whoever waited for that name may have it now.
        for (from, frame) in self.postbox.take(key, &peer) {
            if let (Some(from), Ok(frame)) = (self.peer_id(from).cloned(), std::str::from_utf8(&frame)) {
                self.direct(key, node, &from, vec![&peer], Said::Verbatim { frame });
            }
        }
        if is_quiet {
            return;
        }
        let joined = Event::Joined {
            room: &name,
            peer: &peer,
            meta: meta.as_ref(),
        };
        self.broadcast(key, None, &joined);
        if claim.away {
            let away = Event::Away {
                room: &name,
                peer: &peer,
            };
            self.broadcast(key, None, &away);
        }
    }

    /// Another has the id of a member that lives elsewhere. Should that one go again before the member's node has heard of it, the
    /// member is still there: its node is asked.
    pub(in crate::signaling::hub) fn displace_mirrored(&mut self, key: Key, ordinal: u64) {
        let member = self.rooms.get(key).and_then(|room| room.member(ordinal));
        if let Some(node) = member.and_then(|member| member.remote()).map(|remote| remote.node) {
            self.note_partial(node, key);
        }
        self.remove_mirrored(key, ordinal, "replaced");
    }

    pub(in crate::signaling::hub) fn remove_mirrored(&mut self, key: Key, ordinal: u64, why: &str) {
        let Some(room) = self.rooms.get_mut(key) else { return };
        let Some(member) = room.remove(ordinal) else { return };
        let name = Arc::clone(&room.name.name);
        let is_quiet = room.is_quiet;
        if let Some(bus) = self.bus.as_deref_mut() {
            bus.mirrored -= 1;
        }
        if is_quiet {
            return;
        }
        let left = Event::Left {
            room: &name,
            peer: &member.peer,
            why,
        };
        self.broadcast(key, None, &left);
    }

    /// A member that lives elsewhere is away or back, or tells other things about itself.
    pub(super) fn turn_mirrored(
        &mut self,
        key: Key,
        ordinal: u64,
        away: Option<bool>,
        meta: Option<Option<Arc<Meta>>>,
    ) {
        let Some(room) = self.rooms.get_mut(key) else { return };
        let name = Arc::clone(&room.name.name);
        let Some(member) = room.member_mut(ordinal) else { return };
        let peer = Arc::clone(&member.peer);
        let changed = meta.filter(|meta| !Meta::is_same(meta.as_ref(), member.meta.as_ref()));
        if let Some(meta) = &changed {
            member.meta.clone_from(meta);
        }
        let Place::There(remote) = &mut member.place else {
            return;
        };
        let turned = away.filter(|away| std::mem::replace(&mut remote.away, *away) != *away);
        if let Some(meta) = changed {
            let event = Event::Presence {
                room: &name,
                peer: &peer,
                meta: meta.as_ref(),
            };
            self.broadcast(key, None, &event);
        }
        match turned {
            None => {}
            Some(true) => {
                let event = Event::Away {
                    room: &name,
                    peer: &peer,
                };
                self.broadcast(key, None, &event);
            }
            Some(false) => {
                let event = Event::Back {
                    room: &name,
                    peer: &peer,
                };
                self.broadcast(key, None, &event);
            }
        }
    }
}
