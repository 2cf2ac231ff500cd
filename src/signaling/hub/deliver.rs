//! The three ways out: to one connection, to one member, to a room.

use super::{Hub, Output};
use crate::signaling::{
    connection::ConnectionId,
    dialect::{Dialect, Told, native},
    event::Event,
    payload::Payload,
    slab::Key,
};

/// One frame per dialect, written when the first receiver of that dialect comes up; and one more for bytes as such.
type Written = [Option<Payload>; Dialect::ALL.len() + 1];

/// Where the frame of those is kept who read bytes as such.
const BINARY: usize = Dialect::ALL.len();

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
        let seq = self.next_seq();
        let written = &mut Written::default();
        self.tell(None, to, event, seq, written)
    }

    /// Tells these connections about an event; how many will hear of it. The frame is written once per dialect.
    pub(super) fn multicast(&mut self, to: &[ConnectionId], event: &Event<'_>) -> usize {
        let seq = self.next_seq();
        let mut written = Written::default();
        to.iter()
            .filter(|&&connection| self.tell(None, connection, event, seq, &mut written))
            .count()
    }

    /// Tells every member of a room but `except`; how many will hear of it. The frame is written once per dialect.
    pub(super) fn broadcast(&mut self, room: Key, except: Option<ConnectionId>, event: &Event<'_>) -> usize {
        let seq = self.next_seq();
        let mut written = Written::default();
        let mut receivers = 0;
        // By place in the list, since telling somebody needs the whole hub; nobody joins or leaves meanwhile.
        for at in 0.. {
            let member = self.rooms.get(room).and_then(|room| room.members().get(at));
            let Some(to) = member.map(|member| member.connection) else {
                return receivers;
            };
            if Some(to) != except && self.tell(Some(room), to, event, seq, &mut written) {
                receivers += 1;
            }
        }
        receivers
    }

    /// Queues an event for one connection and keeps it for the next, as far as each is there.
    fn tell(
        &mut self,
        room: Option<Key>,
        to: ConnectionId,
        event: &Event<'_>,
        seq: u64,
        written: &mut Written,
    ) -> bool {
        let bound = self.replay_bound();
        let Some(entry) = self.connections.get_mut(to) else {
            return false;
        };
        let away = entry.is_away();
        if away && !event.is_kept() {
            return false;
        }
        let dialect = entry.dialect;
        let bytes = event.message_in_bytes().filter(|_| entry.binary);
        let slot = &mut written[if bytes.is_some() { BINARY } else { dialect.index() }];
        let payload = match (slot, bytes) {
            (Some(payload), _) if dialect.is_shared() => payload,
            (slot, Some((room, from, data))) => {
                slot.insert(Payload::Binary(native::binary::message(room, from, data, seq)))
            }
            (slot, None) => {
                let told = Told {
                    peer: entry.peer.as_ref().map_or("", |peer| &*peer.id),
                    room: room.and_then(|room| self.rooms.get(room)),
                };
                let Some(payload) = dialect.encode(event, seq, &told) else {
                    return false;
                };
                slot.insert(payload.into())
            }
        };
        if event.is_kept()
            && let Some(replay) = &mut entry.replay
            && !replay.push(seq, payload.clone(), bound)
        {
            self.overflowed.push(to);
        }
        if !away {
            self.stats.deliveries += 1;
            self.stats.delivered_bytes += payload.len() as u64;
            self.outputs.push_back(Output::Deliver {
                connection: to,
                payload: payload.clone(),
            });
        }
        true
    }
}
