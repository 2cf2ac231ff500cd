//! Frames that wait for a name to be taken ([`Postbox`](crate::signaling::postbox::Postbox)), as the hub puts them there, hands them
//! over and gives them up.

use std::sync::Arc;

use bytes::Bytes;

use super::Hub;
use crate::signaling::{
    Now,
    connection::{ConnectionId, Membership},
    event::Event,
    postbox::Bound,
};

impl Hub {
    /// Keeps a frame for whoever will have that name in the room. Who sent it is told if nobody comes, and at once if nothing more
    /// may wait.
    pub(crate) fn postpone(
        &mut self,
        now: Now,
        connection: ConnectionId,
        membership: Membership,
        to: &str,
        frame: Bytes,
    ) {
        let bound = Bound {
            frames: self.config.postponed_frames,
            bytes: self.config.postponed_bytes,
        };
        let address = (connection, membership.room, to);
        match self.postbox.put(now.instant, bound, address, frame) {
            Ok(()) => self.stats.postponed += 1,
            Err(_full) => {
                self.stats.postponed_refused += 1;
                self.tell_expired(connection, to);
            }
        }
    }

    /// Hands a member what waited for its name.
    pub(crate) fn hand_postponed(&mut self, connection: ConnectionId, membership: Membership) {
        let Some(peer) = self.peer_id(connection).map(Arc::clone) else {
            return;
        };
        for (_, frame) in self.postbox.take(membership.room, &peer) {
            self.unicast(connection, &Event::Verbatim { frame: &frame });
        }
    }

    /// Gives up what has waited for long enough.
    pub(super) fn expire_postponed(&mut self, now: Now) {
        while let Some((from, to)) = self.postbox.pop_expired(now.instant) {
            self.stats.postponed_expired += 1;
            self.tell_expired(from, &to);
        }
    }

    fn tell_expired(&mut self, connection: ConnectionId, to: &str) {
        let Some(entry) = self.connections.get(connection) else {
            return;
        };
        let own = entry.peer.as_ref().map_or("", |peer| &*peer.id);
        if let Some(frame) = entry.dialect.expired(own, to) {
            self.deliver(connection, frame);
        }
    }
}
