//! The three ways out: to one connection, to one member, to a room.

use bytes::Bytes;

use super::{Hub, Output};
use crate::signaling::{connection::ConnectionId, dialect::Dialect, event::Event, slab::Key};

/// One frame per dialect, written when the first receiver of that dialect comes up.
type Written = [Option<Bytes>; Dialect::ALL.len()];

impl Hub {
    /// Queues a frame for a connection that is known to be there.
    pub(super) fn deliver(&mut self, connection: ConnectionId, payload: Bytes) {
        self.stats.deliveries += 1;
        self.stats.delivered_bytes += payload.len() as u64;
        self.outputs.push_back(Output::Deliver { connection, payload });
    }

    /// Queues an answer; a connection that is gone gets none.
    pub(crate) fn answer(&mut self, connection: ConnectionId, payload: Bytes) {
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

    /// Tells one connection about an event.
    pub(super) fn unicast(&mut self, to: ConnectionId, event: &Event<'_>) {
        let Some(dialect) = self.connections.get(to).map(|connection| connection.dialect) else {
            return;
        };
        let seq = self.next_seq();
        self.deliver(to, dialect.encode(event, seq));
    }

    /// Tells these connections about an event; the frame is written once per dialect.
    pub(super) fn multicast(&mut self, to: &[ConnectionId], event: &Event<'_>) {
        let seq = self.next_seq();
        let mut written = Written::default();
        for &connection in to {
            let Some(dialect) = self.connections.get(connection).map(|entry| entry.dialect) else {
                continue;
            };
            let payload = written[dialect.index()]
                .get_or_insert_with(|| dialect.encode(event, seq))
                .clone();
            self.deliver(connection, payload);
        }
    }

    /// Tells every member of a room but `except`; returns how many. The frame is written once per dialect.
    pub(super) fn broadcast(&mut self, room: Key, except: Option<ConnectionId>, event: &Event<'_>) -> usize {
        let seq = self.next_seq();
        let Some(room) = self.rooms.get(room) else { return 0 };
        let mut written = Written::default();
        let mut receivers = 0;
        for member in room.members() {
            if Some(member.connection) == except {
                continue;
            }
            let Some(connection) = self.connections.get(member.connection) else {
                continue;
            };
            let dialect = connection.dialect;
            let payload = written[dialect.index()].get_or_insert_with(|| dialect.encode(event, seq));
            self.stats.deliveries += 1;
            self.stats.delivered_bytes += payload.len() as u64;
            self.outputs.push_back(Output::Deliver {
                connection: member.connection,
                payload: payload.clone(),
            });
            receivers += 1;
        }
        receivers
    }
}
