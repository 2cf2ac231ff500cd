//! The three ways out: to one connection, to one member, to a room.

use std::collections::VecDeque;

use super::{Hub, Output};
use crate::signaling::{
    connection::{Connection, ConnectionId},
    dialect::{Dialect, Told, native},
    event::Event,
    payload::Payload,
    replay::Bound,
    room::{Member, Room},
    slab::{Key, Slab},
    stats::Stats,
};

/// One frame per dialect, written when the first receiver of that dialect comes up; and one more for bytes as such.
type Written = [Option<Payload>; Dialect::ALL.len() + 1];

/// Where the frame of those is kept who read bytes as such.
const BINARY: usize = Dialect::ALL.len();

/// Members of a room above which its comings and goings can wait a moment. With a hundred who each hear of a hundred, an event for
/// each is ten thousand wake-ups, and nobody greets a hundred newcomers one by one.
const CROWD: usize = 100;

impl Hub {
    /// Queues a frame for a connection that is known to be there; one whose socket has ended gets none.
    pub(super) fn deliver(&mut self, connection: ConnectionId, payload: impl Into<Payload>) {
        let payload = payload.into();
        if self.connections.get(connection).is_none_or(|entry| entry.is_away()) {
            return;
        }
        self.stats.deliveries += 1;
        self.stats.delivered_bytes += payload.len() as u64;
        self.outputs.push_back(Output::Deliver { connection, payload });
    }

    /// Queues an answer; a connection that is gone gets none.
    pub(crate) fn answer(&mut self, connection: ConnectionId, payload: impl Into<Payload>) {
        if self.connections.get(connection).is_some() {
            self.deliver(connection, payload);
        }
    }

    /// The number of the next event.
    pub(super) fn next_seq(&mut self) -> u64 {
        self.seq += 1;
        self.seq
    }

    /// The number of the newest event.
    pub(crate) const fn last_seq(&self) -> u64 {
        self.seq
    }

    /// Tells one connection about an event; whether anybody will hear of it.
    pub(super) fn unicast(&mut self, to: ConnectionId, event: &Event<'_>) -> bool {
        let (mut telling, _) = self.telling(event);
        telling.tell(None, to)
    }

    /// Tells these connections about an event; how many will hear of it. The frame is written once per dialect.
    pub(super) fn multicast(&mut self, to: &[ConnectionId], event: &Event<'_>) -> usize {
        let (mut telling, _) = self.telling(event);
        to.iter().filter(|&&connection| telling.tell(None, connection)).count()
    }

    /// Tells every member of a room but `except`; how many will hear of it. The frame is written once per dialect.
    pub(super) fn broadcast(&mut self, room: Key, except: Option<ConnectionId>, event: &Event<'_>) -> usize {
        let (mut telling, rooms) = self.telling(event);
        let Some(room) = rooms.get(room) else { return 0 };
        // Room for all at once: grown step by step, the queue of a large room would be copied over and over.
        telling.outputs.reserve(room.len());
        // Those who live elsewhere are told by their own node.
        let others = room.members().iter().filter_map(Member::connection);
        others
            .filter(|&to| Some(to) != except && telling.tell(Some(room), to))
            .count()
    }

    /// An event with the next number, and beside it the rooms whose members can be told of it.
    fn telling<'a>(&'a mut self, event: &'a Event<'a>) -> (Telling<'a>, &'a Slab<Room>) {
        let seq = self.next_seq();
        let telling = Telling {
            event,
            seq,
            written: Written::default(),
            bound: self.replay_bound(),
            connections: &mut self.connections,
            outputs: &mut self.outputs,
            overflowed: &mut self.overflowed,
            stats: &mut self.stats,
        };
        (telling, &self.rooms)
    }
}

/// One event on its way to its receivers, with the parts of the hub that this takes: not the rooms, which are looked at
/// meanwhile.
struct Telling<'a> {
    event: &'a Event<'a>,
    seq: u64,
    written: Written,
    bound: Bound,
    connections: &'a mut Slab<Connection>,
    outputs: &'a mut VecDeque<Output>,
    overflowed: &'a mut Vec<ConnectionId>,
    stats: &'a mut Stats,
}

impl Telling<'_> {
    /// Queues the event for one connection and keeps it for the next, as far as each is there.
    fn tell(&mut self, room: Option<&Room>, to: ConnectionId) -> bool {
        let (event, seq) = (self.event, self.seq);
        let Some(entry) = self.connections.get_mut(to) else {
            return false;
        };
        let away = entry.is_away();
        if away && !event.is_kept() {
            return false;
        }
        let dialect = entry.dialect;
        let bytes = event.message_in_bytes().filter(|_| entry.binary);
        let slot = &mut self.written[if bytes.is_some() { BINARY } else { dialect.index() }];
        let payload = match (slot, bytes) {
            (Some(payload), _) if dialect.is_shared() => payload,
            (slot, Some((room, from, data))) => {
                slot.insert(Payload::Binary(native::binary::message(room, from, data, seq)))
            }
            (slot, None) => {
                let peer = entry.peer.as_ref().map_or("", |peer| &*peer.id);
                let Some(payload) = dialect.encode(event, seq, &Told { peer, room }) else {
                    return false;
                };
                slot.insert(payload.into())
            }
        };
        if event.is_kept()
            && let Some(replay) = &mut entry.replay
            && !replay.push(seq, payload.clone(), self.bound)
        {
            self.overflowed.push(to);
        }
        if !away {
            self.stats.deliveries += 1;
            self.stats.delivered_bytes += payload.len() as u64;
            let (connection, payload) = (to, payload.clone());
            self.outputs
                .push_back(if event.is_presence() && room.is_some_and(|room| room.len() > CROWD) {
                    Output::DeliverSoon { connection, payload }
                } else {
                    Output::Deliver { connection, payload }
                });
        }
        true
    }
}
