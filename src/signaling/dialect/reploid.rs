//! Reploid's swarm, in all its generations: rooms by name, metadata, signals that name their target and no room.
//!
//! A room's `token` is its key: the first to join binds it. Whoever comes back under an id that is in use takes it over, if the
//! room let it in: upstream, a half-open socket locked its owner out. Pings of the WebSocket keep hidden tabs alive, whose
//! `heartbeat` timers browsers slow down to the upstream limit.

use std::borrow::Cow;

use bytes::Bytes;

use super::{
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
    labels::{ErrorCode, MessageKind},
    meta::{Entries, Meta},
};

/// A frame from a client.
#[derive(Debug)]
pub(crate) enum Message<'a> {
    Join {
        peer: Cow<'a, str>,
        room: Cow<'a, str>,
        metadata: Option<Entries<'a>>,
        token: Option<Cow<'a, str>>,
    },
    Leave {
        room: Cow<'a, str>,
    },
    Heartbeat,
    Announce {
        room: Cow<'a, str>,
        metadata: Entries<'a>,
    },
    /// To all others of the room.
    Broadcast {
        from: Option<Cow<'a, str>>,
        room: Cow<'a, str>,
        text: &'a str,
    },
    /// `offer`, `answer`, `ice-candidate`, `relay-message`: to one peer.
    Direct {
        from: Option<Cow<'a, str>>,
        to: Cow<'a, str>,
        /// Application data, which has a budget of its own.
        relayed: bool,
        text: &'a str,
    },
}

impl<'a> Message<'a> {
    pub(crate) fn parse(text: &'a str) -> Result<Self, Malformed> {
        let fields = Fields::parse(text)?;
        let kind = fields.required("type", "type must be a string")?;
        let room = || fields.required("roomId", "roomId must be a string");
        Ok(match &*kind {
            "join" => Self::Join {
                peer: fields.required("peerId", "peerId must be a string")?,
                room: room()?,
                metadata: fields.object("metadata"),
                token: fields.text("token"),
            },
            "leave" => Self::Leave { room: room()? },
            "heartbeat" => Self::Heartbeat,
            "announce" => Self::Announce {
                room: room()?,
                metadata: fields
                    .object("metadata")
                    .ok_or(Fields::wrong("metadata must be an object"))?,
            },
            "broadcast" => Self::Broadcast {
                from: fields.peer("peerId")?,
                room: room()?,
                text,
            },
            "offer" | "answer" | "ice-candidate" | "relay-message" => Self::Direct {
                from: fields.peer("peerId")?,
                to: fields.required("targetPeer", "targetPeer must be a string")?,
                relayed: kind == "relay-message",
                text,
            },
            _ => return Err(Fields::unknown()),
        })
    }

    pub(crate) const fn kind(&self) -> MessageKind {
        match self {
            Self::Join { .. } => MessageKind::Join,
            Self::Leave { .. } => MessageKind::Leave,
            Self::Heartbeat => MessageKind::Ping,
            Self::Announce { .. } => MessageKind::Meta,
            Self::Broadcast { .. } => MessageKind::Send,
            Self::Direct { relayed, .. } if *relayed => MessageKind::Send,
            Self::Direct { .. } => MessageKind::Sig,
        }
    }

    pub(crate) const fn needs(&self) -> Needs<'_> {
        match self {
            // The token of the frame is the room's; that of the user comes with the upgrade.
            Self::Join { .. } => Needs::Name,
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
            Self::Join {
                peer,
                room,
                metadata,
                token,
            } => join(
                hub,
                now,
                connection,
                grants,
                &Joining {
                    peer: &peer,
                    room: &room,
                    token: token.as_deref(),
                },
                metadata.as_ref(),
            ),
            Self::Leave { room } => {
                let membership = hub.membership(connection, &room)?;
                hub.leave(connection, membership, "leave");
                Ok(())
            }
            Self::Heartbeat => Ok(()),
            Self::Announce { room, metadata } => {
                hub.check_publish(connection)?;
                let membership = hub.membership(connection, &room)?;
                hub.set_presence(connection, membership, Some(&metadata), &[])
            }
            Self::Broadcast { from, room, text } => {
                own(hub, connection, from.as_deref())?;
                let membership = hub.membership(connection, &room)?;
                let frame = Bytes::copy_from_slice(text.as_bytes());
                hub.forward(now, connection, membership, Reach::Others, &frame, true)
            }
            Self::Direct {
                from,
                to,
                relayed,
                text,
            } => {
                own(hub, connection, from.as_deref())?;
                let membership: Membership = hub.membership_with(connection, &to)?;
                let frame = Bytes::copy_from_slice(text.as_bytes());
                hub.forward(now, connection, membership, Reach::Peer(&to), &frame, relayed)
            }
        }
    }
}

struct Joining<'a> {
    peer: &'a str,
    room: &'a str,
    token: Option<&'a str>,
}

fn join(
    hub: &mut Hub,
    now: Now,
    connection: ConnectionId,
    grants: Grants<'_>,
    joining: &Joining<'_>,
    metadata: Option<&Entries<'_>>,
) -> Result<(), Reject> {
    super::greet(hub, now, connection, Some(joining.peer), grants)?;
    own(hub, connection, Some(joining.peer))?;
    let meta = Meta::changed(None, metadata, &[], hub.config())
        .map_err(|_| Reject::new(ErrorCode::TooLarge, "metadata is too large"))?;
    let entry = Entry {
        key: joining.token,
        meta: Some(meta),
        ..Entry::replacing(joining.room)
    };
    let membership = hub.join(now, connection, &entry)?;
    let joined = Object::with_capacity(256)
        .text("type", "joined")
        .text("peerId", joining.peer)
        .text("roomId", joining.room)
        .raw_with("peers", |text| hub.write_peers(membership, text))
        .number("timestamp", now.unix_ms)
        .finish();
    hub.answer(connection, joined);
    Ok(())
}

fn own(hub: &Hub, connection: ConnectionId, claimed: Option<&str>) -> Result<(), Reject> {
    super::check_sender(hub, connection, claimed, "join first", "peerId is not yours").map(|_own| ())
}

/// What a fresh connection is told.
pub(crate) fn welcome(now: Now) -> Bytes {
    Object::with_capacity(64)
        .text("type", "welcome")
        .number("timestamp", now.unix_ms)
        .finish()
}

pub(crate) fn encode(event: &Event<'_>) -> Option<Bytes> {
    let peer = |kind, peer: &str| {
        Object::with_capacity(64 + peer.len())
            .text("type", kind)
            .text("peerId", peer)
    };
    Some(match *event {
        Event::Joined { peer: id, meta, .. } => peer("peer-joined", id)
            .raw_with("metadata", |text| Meta::write(meta, text))
            .finish(),
        Event::Left { peer: id, .. } => peer("peer-left", id).finish(),
        Event::Presence { peer: id, meta, .. } => peer("peer-announced", id)
            .raw_with("metadata", |text| Meta::write(meta, text))
            .finish(),
        _ => return None,
    })
}

pub(crate) fn refusal(reject: &Reject, unix_ms: u64) -> Bytes {
    Object::with_capacity(96 + reject.message.len())
        .text("type", "error")
        .text("error", reject.message)
        .text("code", reject.code.as_label())
        .number("timestamp", unix_ms)
        .finish()
}
