//! The servers of tutorials: whatever one sends reaches all others as it is.
//!
//! Two kinds of them: [`Dialect::Verbatim`](super::Dialect::Verbatim), where the room is the path and one is in it from the start, and
//! [`Dialect::Rooms`](super::Dialect::Rooms), where `{"type":"join","room":…}` (or `roomId`) says which. Nobody is told who comes and
//! goes; everything is data and paid for as such.

use std::borrow::Cow;

use bytes::Bytes;

use super::{
    fields::Fields,
    native::request::{Malformed, Needs},
    opening::Opening,
};
use crate::signaling::{
    Now,
    connection::ConnectionId,
    error::Reject,
    hub::{Entry, Grants, Hub, Reach},
    labels::{CloseCode, MessageKind},
};

/// The room of a path that names none.
const EVERYBODY: &str = "everybody";

/// A frame from a client, or its request.
#[derive(Debug)]
pub(crate) enum Message<'a> {
    Join {
        room: Cow<'a, str>,
        /// It is that of the path, and there will be no other.
        is_only: bool,
    },
    Frame(&'a str),
}

impl<'a> Message<'a> {
    pub(super) fn of_opening(opening: &'a Opening) -> Self {
        Self::Join {
            room: Cow::Borrowed(opening.room().unwrap_or(EVERYBODY)),
            is_only: true,
        }
    }

    /// Any text is a frame; where `has_rooms`, one object names a room.
    pub(crate) fn parse(text: &'a str, has_rooms: bool) -> Result<Self, Malformed> {
        if has_rooms
            && let Ok(fields) = Fields::parse(text)
            && fields.text("type").as_deref() == Some("join")
        {
            let room = fields.text("room").or_else(|| fields.text("roomId"));
            let room = room.ok_or(Fields::wrong("room must be a string"))?;
            return Ok(Self::Join { room, is_only: false });
        }
        Ok(Self::Frame(text))
    }

    pub(crate) const fn kind(&self) -> MessageKind {
        match self {
            Self::Join { .. } => MessageKind::Join,
            Self::Frame(_) => MessageKind::Send,
        }
    }

    pub(crate) const fn needs(&self) -> Needs<'_> {
        match self {
            Self::Join { .. } => Needs::Name,
            Self::Frame(_) => Needs::Nothing,
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
            Self::Join { room, is_only } => {
                super::greet(hub, now, connection, None, grants)?;
                let older = hub.only_membership(connection).ok();
                let joined = hub.join(now, connection, &Entry::plain(&room));
                // A client that learns its room from the path believes to be in it, and would stay for ever without.
                let membership = joined.map_err(|reject| match reject.close {
                    None if is_only && !reject.held => reject.fatal(CloseCode::Forbidden),
                    _ => reject,
                })?;
                if let Some(older) = older.filter(|older| *older != membership) {
                    hub.leave(connection, older, "leave");
                }
                Ok(())
            }
            Self::Frame(text) => {
                let membership = hub.only_membership(connection)?;
                let frame = Bytes::copy_from_slice(text.as_bytes());
                hub.forward(now, connection, membership, Reach::Others, &frame, true)
            }
        }
    }
}
