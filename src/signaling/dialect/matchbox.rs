//! matchbox: the path names the room, `?next=N` groups arrivals in Ns, and newcomers are offered to.
//!
//! Its client ends at the first frame that it does not know, so it is told nothing but the four words of its protocol; what is wrong
//! shows in metrics alone.

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
    event::Event,
    hub::{Entry, Grants, Hub, Reach},
    json::Object,
    labels::{CloseCode, ErrorCode, MessageKind},
};

/// What stands between a room's name and the size of its groups, in the names of those.
const GROUPS: &str = "?next=";
/// The room of a path that names none.
const WORLD: &str = "world";

/// A frame from a client, or its request.
#[derive(Debug)]
pub(crate) enum Message<'a> {
    Enter {
        room: Option<&'a str>,
        next: Option<&'a str>,
    },
    Signal {
        to: Cow<'a, str>,
        data: &'a str,
    },
    KeepAlive,
}

impl<'a> Message<'a> {
    pub(super) fn of_opening(opening: &'a Opening) -> Self {
        Self::Enter {
            room: opening.room(),
            next: opening.parameter("next"),
        }
    }

    pub(crate) fn parse(text: &'a str) -> Result<Self, Malformed> {
        if text.trim() == "\"KeepAlive\"" {
            return Ok(Self::KeepAlive);
        }
        let frame = Fields::parse(text)?;
        let signal = frame.raw("Signal").ok_or(Fields::unknown())?;
        let signal = Fields::parse(signal.get())?;
        Ok(Self::Signal {
            to: signal.required("receiver", "receiver must be a string")?,
            data: signal.raw("data").ok_or(Fields::wrong("data is missing"))?.get(),
        })
    }

    pub(crate) const fn kind(&self) -> MessageKind {
        match self {
            Self::Enter { .. } => MessageKind::Hello,
            Self::Signal { .. } => MessageKind::Sig,
            Self::KeepAlive => MessageKind::Ping,
        }
    }

    pub(crate) const fn needs(&self) -> Needs<'_> {
        match self {
            Self::Enter { .. } => Needs::Name,
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
            Self::Enter { room, next } => enter(hub, now, connection, grants, room.unwrap_or(WORLD), next)
                .map_err(|reject| reject.fatal(reject.close.unwrap_or(CloseCode::Forbidden))),
            Self::Signal { to, data } => {
                let membership = hub.only_membership(connection)?;
                let own = hub.own_id(connection);
                let frame = Object::with_capacity(96 + data.len())
                    .raw_with("Signal", |text| {
                        Object::nested(text, |signal| signal.text("sender", own).raw("data", data));
                    })
                    .finish();
                match hub.forward(now, connection, membership, Reach::Peer(&to), &frame, false) {
                    // Upstream, what is for somebody who has left is dropped: its sender will be told that it left.
                    Err(reject) if reject.code == ErrorCode::NoPeer => Ok(()),
                    done => done,
                }
            }
            Self::KeepAlive => Ok(()),
        }
    }
}

fn enter(
    hub: &mut Hub,
    now: Now,
    connection: ConnectionId,
    grants: Grants<'_>,
    room: &str,
    next: Option<&str>,
) -> Result<(), Reject> {
    let size = match next.map(str::parse::<u32>) {
        None => None,
        Some(Ok(size)) if (1..=hub.config().peers_per_room).contains(&(size as usize)) => Some(size),
        Some(_) => {
            return Err(Reject::bad_request(
                "next must be a number of peers that a room may have",
            ));
        }
    };
    // With its question mark escaped, a path would lead into a group that is closed, or into one that fills without counting.
    if room.contains(GROUPS) {
        return Err(Reject::bad_request("that is the name of a group"));
    }
    super::greet(hub, now, connection, None, grants)?;
    match size {
        None => hub.join(now, connection, &Entry::plain(room))?,
        Some(size) => hub.join_group(now, connection, &format!("{room}{GROUPS}{size}"), u64::from(size))?,
    };
    if let Some(own) = hub.peer_id(connection) {
        let assigned = word("IdAssigned", own);
        hub.answer(connection, assigned);
    }
    Ok(())
}

fn word(word: &str, peer: &str) -> Bytes {
    Object::with_capacity(64).text(word, peer).finish()
}

pub(super) fn encode(event: &Event<'_>) -> Option<Bytes> {
    match *event {
        Event::Joined { peer, .. } => Some(word("NewPeer", peer)),
        Event::Left { peer, .. } => Some(word("PeerLeft", peer)),
        _ => None,
    }
}
