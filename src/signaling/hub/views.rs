//! What the HTTP side may see of the hub.

use std::sync::Arc;

use super::Hub;
use crate::signaling::{
    IceUser,
    connection::ConnectionId,
    room::{Realm, Room, RoomRef},
};

/// A room as the statistics show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomView {
    /// Which name space.
    pub realm: Realm,
    /// Its name there.
    pub name: Arc<str>,
    /// How many members it has.
    pub members: usize,
    /// The ids of the first of them, in the order they came.
    pub peers: Vec<Arc<str>>,
}

impl Hub {
    /// At most `rooms` rooms with at most `peers` ids each, in no order.
    pub fn rooms(&self, rooms: usize, peers: usize) -> Vec<RoomView> {
        let shown = self.rooms.iter().take(rooms);
        shown
            .map(|(_, room)| RoomView {
                realm: room.name.realm,
                name: Arc::clone(&room.name.name),
                members: room.len(),
                peers: room
                    .members()
                    .iter()
                    .take(peers)
                    .map(|member| Arc::clone(&member.peer))
                    .collect(),
            })
            .collect()
    }

    /// The ids of at most `peers` members of a room, in the order they came.
    pub fn peers_of(&self, realm: Realm, room: &str, peers: usize) -> Vec<Arc<str>> {
        let found = self.by_name.get(&RoomRef { realm, name: room });
        let members = found.and_then(|room| self.rooms.get(*room)).map(Room::members);
        let members = members.unwrap_or_default().iter().take(peers);
        members.map(|member| Arc::clone(&member.peer)).collect()
    }

    /// A random UUID, for clients that ask for an id before they connect.
    pub fn fresh_uuid(&mut self) -> String {
        self.secrets.uuid()
    }

    /// Whom ICE servers for this connection are made out to: the identity's user, else the session id. `None` when
    /// the connection is gone, not welcomed, or has no right to TURN.
    pub fn ice_user(&self, connection: ConnectionId) -> Option<IceUser> {
        let connection = self.connections.get(connection)?;
        let identity = connection.peer.as_ref()?.identity();
        identity
            .rights
            .turn
            .then(|| IceUser::new(identity, connection.sid.as_str()))
    }
}
