//! What a dialect tells everybody in one of its rooms again and again: one timer of the whole hub, which stops when nobody is left to
//! hear it.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::Hub;
use crate::signaling::{
    Now,
    dialect::Dialect,
    event::Event,
    room::{Room, RoomRef},
};

/// How often.
const BEAT: Duration = Duration::from_secs(1);

impl Hub {
    /// Somebody has come who is told every second.
    pub(crate) fn start_beat(&mut self, now: Now) {
        if self.beat.is_none() {
            self.beat = now.instant.checked_add(BEAT);
        }
    }

    /// When the next one is due.
    pub(super) const fn next_beat(&self) -> Option<Instant> {
        self.beat
    }

    /// Tells them, if it is time.
    pub(super) fn beat(&mut self, now: Now) {
        if self.beat.is_none_or(|at| at > now.instant) {
            return;
        }
        let is_heard = Dialect::beat(self, now);
        self.beat = now.instant.checked_add(BEAT).filter(|_| is_heard);
    }

    /// Tells all members of a room the same, in the words of the room's dialect, written when it is known how many they are.
    /// False: there is no such room.
    pub(crate) fn tell_room(&mut self, dialect: Dialect, name: &str, write: impl FnOnce(usize) -> Bytes) -> bool {
        let realm = dialect.realm();
        let Some(&room) = self.by_name.get(&RoomRef { realm, name }) else {
            return false;
        };
        let frame = write(self.rooms.get(room).map_or(0, Room::len));
        self.broadcast(room, None, &Event::Verbatim { frame: &frame });
        true
    }
}
