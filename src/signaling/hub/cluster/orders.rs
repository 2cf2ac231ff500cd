//! What operators want done on all replicas: what the one that was asked tells the others, and what those do.
//!
//! A ban holds on every replica that hears of it, and is told to those that come later. A replica that ends a session tells all of
//! them, whoever gave the order: the session may hold something of any relay.

use super::{Errand, Hub};
use crate::signaling::{
    Now,
    bans::{BanBy, BanRoom, Barred},
    cluster::{
        NodeId, RoomTopic, Topic,
        message::{Message, Said},
    },
    hub::{Ended, Output, SERVER},
    room::{Member, Realm},
    secrets::Sid,
};

/// Bans told at once; more take turns with other errands.
const BANS: usize = 64;

impl Hub {
    /// How many other nodes hear what is published now.
    pub fn other_nodes(&self) -> u64 {
        let bus = self.bus.as_deref().filter(|bus| bus.connected);
        bus.map_or(0, |bus| bus.nodes.len() as u64)
    }

    /// The node of a member of a room that is hosted here, if there is a way to it.
    fn node_of(&self, realm: Realm, room: &str, peer: &str) -> Option<NodeId> {
        let member = self.rooms.get(self.named(realm, room)?)?.find(peer)?;
        let remote = member.remote().filter(|_| self.is_linked());
        remote.map(|remote| remote.node)
    }

    /// Hands a kick to the node of that member, or to whoever hosts the room where it is not hosted here; to how many nodes.
    pub(in crate::signaling::hub) fn tell_kick(
        &mut self,
        (realm, room): (Realm, &str),
        peer: &str,
        reason: Option<&str>,
        ban: Option<(BanBy, u64)>,
    ) -> u64 {
        let topic = RoomTopic::of(realm, room);
        let (to, nodes) = match self.node_of(realm, room, peer) {
            Some(node) => (Topic::Node(node), 1),
            None if self.named(realm, room).is_none() => (Topic::Room(topic), self.other_nodes()),
            None => return 0,
        };
        if nodes > 0 {
            let kick = Message::Kick {
                room: topic,
                peer,
                reason,
                ban,
            };
            self.publish(to, &kick);
        }
        nodes
    }

    /// Ends a room elsewhere; on how many nodes it may be.
    pub(in crate::signaling::hub) fn tell_close(&mut self, realm: Realm, room: &str, reason: Option<&str>) -> u64 {
        let room = RoomTopic::of(realm, room);
        self.publish(Topic::Room(room), &Message::Close { room, reason });
        self.other_nodes()
    }

    /// Tells all nodes of a ban.
    pub(in crate::signaling::hub) fn tell_ban(&mut self, id: u64) {
        if let Some(ban) = self.bans.find(id).filter(|_| self.is_linked()).cloned() {
            self.publish(Topic::Everybody, &Message::Ban { ban });
        }
    }

    /// Tells all nodes that a ban is lifted.
    pub(in crate::signaling::hub) fn tell_lift(&mut self, room: Option<BanRoom>, who: Barred) {
        self.publish(Topic::Everybody, &Message::Lift { room, who });
    }

    /// Tells all nodes that an operator ended a session.
    pub(in crate::signaling::hub) fn tell_cut_off(&mut self, sid: Sid) {
        self.publish(Topic::Everybody, &Message::CutOff { sid: *sid.as_bytes() });
    }

    /// Says something as the server in a room that is not hosted here; whether anybody may hear it.
    pub(in crate::signaling::hub) fn say_elsewhere(
        &mut self,
        realm: Realm,
        room: &str,
        to: Option<Vec<&str>>,
        said: Said<'_>,
    ) -> bool {
        let room = RoomTopic::of(realm, room);
        let (seq, from) = (0, SERVER);
        let message = match to {
            None => Message::Cast { room, seq, from, said },
            Some(to) => Message::Direct {
                room,
                seq,
                from,
                to,
                said,
            },
        };
        self.publish(Topic::Room(room), &message);
        self.other_nodes() > 0
    }

    /// A node that was not known is told of the bans, in time.
    pub(super) fn plan_bans(&mut self, now: Now, node: NodeId) {
        if self.bans.len() > 0
            && let Some(bus) = self.bus.as_deref_mut()
            && !bus.put_off(now, Errand::TellBans(node, 0))
        {
            self.stats.bus.turned_away += 1;
        }
    }

    pub(super) fn tell_bans(&mut self, now: Now, node: NodeId, after: u64) {
        let (bans, more) = self.bans.page(now.unix_ms, after, BANS);
        let last = bans.last().filter(|_| more).map(|ban| ban.id);
        for ban in bans {
            self.publish(Topic::Node(node), &Message::Ban { ban });
        }
        if let Some(last) = last
            && let Some(bus) = self.bus.as_deref_mut()
        {
            bus.put_off(now, Errand::TellBans(node, last));
        }
    }

    /// An operator has asked another node for something.
    pub(super) fn carry_out_order(&mut self, now: Now, order: Message<'_>) {
        match order {
            Message::Kick {
                room,
                peer,
                reason,
                ban,
            } => {
                let Some(key) = self.hosted_or_stale(room) else { return };
                let found = self.rooms.get(key);
                let here = found.and_then(|room| Some((room.name.clone(), room.find(peer)?)));
                let Some((name, connection)) =
                    here.and_then(|(name, member)| Some((name, Member::connection(member)?)))
                else {
                    self.stats.bus.stale += 1;
                    return;
                };
                let room = (name.realm, &*name.name);
                // Without a place for the ban the session has ended all the same.
                let (ended, _) = self.put_out_here(now, room, connection, reason, ban);
                self.cut_off_all(ended);
            }
            Message::Close { room, reason } => {
                if let Some(key) = self.hosted_or_stale(room) {
                    let ended = self.close_here(key, reason);
                    self.cut_off_all(ended);
                }
            }
            Message::Ban { ban } => {
                if !ban.has_short_names() {
                    self.stats.bus.malformed += 1;
                    return;
                }
                let (room, who, reason) = (ban.room.clone(), ban.who.clone(), ban.reason.clone());
                if self.bans.take_over(now.unix_ms, ban, self.config.bans).is_none() {
                    self.stats.bus.stale += 1;
                } else if who != Barred::Everybody {
                    let ended = self.expel_barred(now, room.as_ref(), reason.as_deref());
                    self.cut_off_all(ended);
                }
            }
            Message::Lift { room, who } => self.bans.lift_place(room, who),
            Message::CutOff { sid } => {
                let sid = Sid::from_bytes(sid);
                self.outputs.push_back(Output::CutOff { sid });
            }
            _ => {}
        }
    }

    /// What sessions that ended here by an order from elsewhere hold of the relay here.
    fn cut_off_all(&mut self, ended: Vec<Ended>) {
        let cut = ended.into_iter().map(|ended| Output::CutOff { sid: ended.sid });
        self.outputs.extend(cut);
    }
}
