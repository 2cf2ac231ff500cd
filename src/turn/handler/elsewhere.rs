//! Frames of a stream that only another shard can answer: the stream is handed over to it.

use crate::turn::server::Server;
use crate::wire::attribute::ConnectionId;
use crate::wire::{AttributeType, Class, Message, Method};

impl Server {
    /// The shard that a frame belongs to, if it is a ConnectionBind request for a connection of another one (RFC 6062 §5.4), or
    /// a Refresh with the ticket of an allocation of another one (RFC 8016 §3.2.2): its stream is to be handed over, the frame
    /// and what is behind it first. Nothing is counted here.
    pub fn belongs_elsewhere(&self, frame: &[u8]) -> Option<u16> {
        // Every frame of every stream comes by here: two bytes tell nearly all of them apart.
        if self.shard.count == 1 {
            return None;
        }
        let method = match frame.first_chunk() {
            Some(kind) if *kind == Method::CONNECTION_BIND.value().to_be_bytes() => Method::CONNECTION_BIND,
            Some(kind) if *kind == Method::REFRESH.value().to_be_bytes() && self.config.mobility => Method::REFRESH,
            _ => return None,
        };
        let message = Message::parse(frame).ok()?;
        if (message.class(), message.method()) != (Class::Request, method) {
            return None;
        }
        let shard = if method == Method::REFRESH {
            // Only what this process has sealed is a ticket: strangers cannot toss streams about.
            self.tickets.open(message.value(AttributeType::MOBILITY_TICKET)?)?.shard
        } else {
            self.connections.shard_of(message.find::<ConnectionId>().ok()??)
        };
        (shard != self.shard.index && shard < self.shard.count).then_some(shard)
    }
}
