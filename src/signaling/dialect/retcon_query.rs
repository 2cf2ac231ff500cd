//! Retcon Black Mountain, of the kind that gives its token in the query and waits to be welcomed: rooms by name, signals to one
//! peer of a room, data to all of it.
//!
//! Its client takes whatever id it is given, a new one with every socket. A token that names a peer id gives it the same again, and
//! the place of its half-open socket with it.

use std::borrow::Cow;

use bytes::Bytes;
use serde_json::value::RawValue;

use super::{
    Opening,
    fields::Fields,
    native::request::{Malformed, Needs},
};
use crate::signaling::{
    Now,
    connection::{ConnectionId, Membership},
    error::Reject,
    event::Event,
    hub::{Entry, Grants, Hub, Reach},
    json::Object,
    labels::MessageKind,
};

/// What the query may say.
pub(crate) const PARAMETERS: &[&str] = &["token"];

/// A frame from a client, or the request that opened its connection.
#[derive(Debug)]
pub(crate) enum Message<'a> {
    Open {
        token: Option<&'a str>,
    },
    Join {
        room: Cow<'a, str>,
    },
    Leave {
        room: Cow<'a, str>,
    },
    Peers {
        room: Cow<'a, str>,
    },
    Signal {
        to: Cow<'a, str>,
        room: Option<Cow<'a, str>>,
        signal: &'a RawValue,
    },
    Broadcast {
        room: Cow<'a, str>,
        data: &'a RawValue,
    },
}

impl<'a> Message<'a> {
    pub(crate) fn of_opening(opening: &'a Opening) -> Self {
        Self::Open {
            token: opening.parameter("token"),
        }
    }

    pub(crate) fn parse(text: &'a str) -> Result<Self, Malformed> {
        let fields = Fields::parse(text)?;
        let kind = fields.required("type", "type must be a string")?;
        let room = || fields.required("room", "room must be a string");
        Ok(match &*kind {
            "join" => Self::Join { room: room()? },
            "leave" => Self::Leave { room: room()? },
            "peers" => Self::Peers { room: room()? },
            "signal" => Self::Signal {
                to: fields.required("to", "to must be a string")?,
                room: fields.text("roomId"),
                signal: fields.raw("signal").ok_or(Fields::wrong("signal is missing"))?,
            },
            "broadcast" => Self::Broadcast {
                room: fields.required("roomId", "roomId must be a string")?,
                data: fields.raw("data").ok_or(Fields::wrong("data is missing"))?,
            },
            _ => return Err(Fields::unknown()),
        })
    }

    pub(crate) const fn kind(&self) -> MessageKind {
        match self {
            Self::Open { .. } => MessageKind::Hello,
            Self::Join { .. } => MessageKind::Join,
            Self::Leave { .. } => MessageKind::Leave,
            Self::Peers { .. } => MessageKind::Who,
            Self::Signal { .. } => MessageKind::Sig,
            Self::Broadcast { .. } => MessageKind::Send,
        }
    }

    pub(crate) const fn needs(&self) -> Needs<'_> {
        match self {
            Self::Open { token } => Needs::Welcome { token: *token },
            _ => Needs::Nothing,
        }
    }

    pub(crate) fn carry_out(
        self,
        hub: &mut Hub,
        now: Now,
        connection: ConnectionId,
        grants: Grants<'_>,
    ) -> Result<(), Reject> {
        match self {
            Self::Open { .. } => {
                super::greet(hub, now, connection, None, grants)?;
                let id = hub.own_id(connection);
                let welcome = Object::with_capacity(64 + id.len())
                    .text("type", "welcome")
                    .text("peerId", id);
                hub.answer(connection, welcome.finish());
                Ok(())
            }
            Self::Join { room } => {
                let membership = hub.join(now, connection, &Entry::plain(&room))?;
                let peers = peers(hub, membership, &room);
                hub.answer(connection, peers);
                Ok(())
            }
            Self::Leave { room } => {
                let membership = hub.membership(connection, &room)?;
                hub.leave(connection, membership, "leave");
                Ok(())
            }
            Self::Peers { room } => {
                let membership = hub.membership(connection, &room)?;
                let peers = peers(hub, membership, &room);
                hub.answer(connection, peers);
                Ok(())
            }
            Self::Signal { to, room, signal } => {
                let membership = match &room {
                    Some(room) => hub.membership(connection, room)?,
                    None => hub.membership_with(connection, &to)?,
                };
                let frame = Object::with_capacity(128 + signal.get().len())
                    .text("type", "signal")
                    .text("from", hub.own_id(connection))
                    .raw("signal", signal.get())
                    .maybe_text("roomId", room.as_deref())
                    .finish();
                hub.forward(now, connection, membership, Reach::Peer(&to), &frame, false)
            }
            Self::Broadcast { room, data } => {
                let membership = hub.membership(connection, &room)?;
                let frame = Object::with_capacity(128 + data.get().len())
                    .text("type", "broadcast")
                    .text("from", hub.own_id(connection))
                    .text("roomId", &room)
                    .raw("data", data.get())
                    .finish();
                hub.forward(now, connection, membership, Reach::Others, &frame, true)
            }
        }
    }
}

fn peers(hub: &Hub, membership: Membership, room: &str) -> Bytes {
    Object::with_capacity(256)
        .text("type", "peers")
        .text("room", room)
        .raw_with("peers", |text| hub.write_peers(membership, text))
        .finish()
}

pub(crate) fn encode(event: &Event<'_>) -> Option<Bytes> {
    let (kind, room, peer) = match *event {
        Event::Joined { room, peer, .. } => ("peer-joined", room, peer),
        Event::Left { room, peer, .. } => ("peer-left", room, peer),
        _ => return None,
    };
    let frame = Object::with_capacity(64 + room.len() + peer.len())
        .text("type", kind)
        .text("room", room)
        .text("peerId", peer);
    Some(frame.finish())
}
