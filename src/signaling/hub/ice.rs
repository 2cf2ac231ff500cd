//! Credentials end before connections do: each connection is given newer ones in time.

use std::sync::Arc;
use std::time::Duration;

use super::{Due, Hub, Ice, Output};
use crate::signaling::{Now, Payload, connection::ConnectionId, dialect::native};

/// Somebody in a room, whose list of ICE servers has a relay first.
#[derive(Debug, Clone)]
pub struct IceHolder {
    /// Its connection.
    pub connection: ConnectionId,
    /// Its tenant; `None` is the default one.
    pub realm: Option<Box<str>>,
    /// [`Hub::ice_room`].
    pub room: Arc<str>,
    /// [`Hub::ice_relay`].
    pub relay: u64,
}

/// The soonest that credentials are renewed, however short they live.
const SOONEST: Duration = Duration::from_secs(1);

impl Hub {
    /// Credentials are on their way to a connection: plans the next ones, when some three quarters of their life are over.
    /// Connections that were greeted together do not come back together.
    pub(crate) fn plan_ice(&mut self, now: Now, connection: ConnectionId, ice: Option<Ice<'_>>) {
        let left = ice.map(|ice| ice.expires_at_ms.saturating_sub(now.unix_ms));
        // What is over already would be over again.
        let due = left.filter(|left| *left > 0).and_then(|left| {
            let permille = 675 + self.lot(connection) % 151;
            let wait = Duration::from_millis(left.saturating_mul(permille) / 1_000).max(SOONEST);
            now.instant.checked_add(wait)
        });
        self.set_due(connection, Due::Ice, due);
        if let Some(entry) = self.connections.get_mut(connection) {
            entry.relay = ice.and_then(|ice| ice.relay);
        }
    }

    /// A connection has come into a room, or back to its rooms: its relay may be another one.
    pub(crate) fn want_room_ice(&mut self, connection: ConnectionId) {
        let entry = self.connections.get(connection);
        if entry.is_some_and(|entry| entry.relay.is_some() && !entry.rooms.is_empty()) {
            self.outputs.push_back(Output::RoomIce { connection });
        }
    }

    /// The room that the ICE servers of a connection are for: of its rooms the one that it came into last.
    pub fn ice_room(&self, connection: ConnectionId) -> Option<Box<str>> {
        let last = self.connections.get(connection)?.rooms.last()?;
        Some(self.rooms.get(last.room)?.name.name.as_ref().into())
    }

    /// Credentials for the room of a connection that was named by [`Output::RoomIce`], as the frame to put in front of what is
    /// queued for it. `None` if the list that it has is of that relay, or if it is gone.
    pub fn room_ice(&mut self, now: Now, connection: ConnectionId, ice: Ice<'_>) -> Option<Payload> {
        let entry = self.connections.get(connection)?;
        if entry.peer.is_none() || entry.is_away() || ice.relay.is_none() || entry.relay == ice.relay {
            return None;
        }
        self.plan_ice(now, connection, Some(ice));
        self.stats.ice_pushes += 1;
        Some(native::frame::ice(None, Some(ice)).into())
    }

    /// The relay that comes first in the ICE servers of a connection ([`Ice::relay`]).
    pub fn ice_relay(&self, connection: ConnectionId) -> Option<u64> {
        self.connections.get(connection)?.relay
    }

    /// Every connection is due for new credentials within that time, because those it has are about to lose their worth: a
    /// secret goes. What the driver is asked for: [`super::Output::RenewIce`].
    pub fn renew_all_ice(&mut self, now: Now, within: Duration) {
        let holders = self
            .connections
            .iter()
            .filter(|(_, entry)| entry.due[Due::Ice.index()].is_some());
        let holders: Vec<ConnectionId> = holders.map(|(key, _)| key).collect();
        let span = u64::try_from(within.as_millis()).unwrap_or(u64::MAX).max(1);
        for connection in holders {
            let wait = Duration::from_millis(self.lot(connection) % span);
            self.set_due(connection, Due::Ice, now.instant.checked_add(wait));
        }
    }

    /// Everybody in a room whose list has a relay first: whom to ask about when relays come and go.
    pub fn ice_holders(&self) -> Vec<IceHolder> {
        let holder = |(connection, entry): (ConnectionId, &super::Connection)| {
            let relay = entry.relay.filter(|_| entry.due[Due::Ice.index()].is_some())?;
            let room = self.rooms.get(entry.rooms.last()?.room)?;
            Some(IceHolder {
                connection,
                realm: entry.peer.as_ref()?.identity().realm.clone(),
                room: Arc::clone(&room.name.name),
                relay,
            })
        };
        self.connections.iter().filter_map(holder).collect()
    }

    /// These are due for new credentials within that time, if not before: their relay is not their room's any more.
    pub fn renew_ice_of(&mut self, now: Now, connections: impl IntoIterator<Item = ConnectionId>, within: Duration) {
        let span = u64::try_from(within.as_millis()).unwrap_or(u64::MAX).max(1);
        for connection in connections {
            let entry = self.connections.get(connection);
            let Some(planned) = entry.and_then(|entry| entry.due[Due::Ice.index()]) else {
                continue;
            };
            let wait = Duration::from_millis(self.lot(connection) % span);
            let due = now.instant.checked_add(wait).map(|due| due.min(planned));
            self.set_due(connection, Due::Ice, due);
        }
    }

    /// Newer credentials for a connection that was named by [`super::Output::RenewIce`].
    pub fn push_ice(&mut self, now: Now, connection: ConnectionId, ice: Ice<'_>) {
        let welcomed = |entry: &super::Connection| entry.peer.is_some() && !entry.is_away();
        if self.connections.get(connection).is_some_and(welcomed) {
            self.plan_ice(now, connection, Some(ice));
            self.stats.ice_pushes += 1;
            self.answer(connection, native::frame::ice(None, Some(ice)));
        }
    }

    /// A number that differs from session to session and cannot be guessed from outside.
    fn lot(&self, connection: ConnectionId) -> u64 {
        use std::hash::BuildHasher as _;
        let sid = self.connections.get(connection).map(|entry| entry.sid);
        self.hasher.hash_one(sid)
    }
}
