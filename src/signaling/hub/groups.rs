//! Rooms that fill: so many arrivals under one name share a room, and the next ones begin another.

use super::{Entry, Hub};
use crate::signaling::{
    Now,
    connection::{ConnectionId, Membership},
    error::Reject,
    room::{RoomName, RoomRef},
};

/// Groups that are gone before they were full may be remembered, beside those of living rooms.
const FORGOTTEN: usize = 64;

impl Hub {
    /// Joins the group of that name that still forms, or begins one. It is closed with its `size`th member, and nobody fills the place
    /// of one who leaves it after that.
    pub(crate) fn join_group(
        &mut self,
        now: Now,
        connection: ConnectionId,
        name: &str,
        size: u64,
    ) -> Result<Membership, Reject> {
        let gone = Reject::bad_request("the connection is gone");
        let realm = self.connections.get(connection).ok_or(gone)?.realm;
        let forming = self.forming.get(&RoomRef { realm, name });
        let forming = forming.and_then(|room| self.rooms.get(*room));
        let room = match forming {
            Some(room) => room.name.name.to_string(),
            None => format!("{name}#{}", self.next_seq()),
        };
        let entry = Entry {
            allowed_as: Some(name),
            max: Some(size),
            // Whether a group is full is for one node to know: arrivals are counted here.
            is_local: true,
            ..Entry::plain(&room)
        };
        let membership = self.join(now, connection, &entry)?;
        let name = RoomName {
            realm,
            name: name.into(),
        };
        if self.members(membership) as u64 >= size {
            self.forming.remove(&name);
        } else {
            if self.forming.len() > self.rooms.len() + FORGOTTEN {
                let rooms = &self.rooms;
                self.forming.retain(|_, room| rooms.get(*room).is_some());
            }
            self.forming.insert(name, membership.room);
        }
        Ok(membership)
    }
}
