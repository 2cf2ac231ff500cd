//! Retcon Black Mountain: rooms by name, and signals that name their target and no room. Its clients authenticate with their first
//! message, in one of two ways of writing that: `auth` with a `peerId`, then `join`; or with a `publicKey`, then `join-room`.
//!
//! A token that is turned away ends the connection, with an error and a reason: upstream, a client whose token was refused waited
//! for ever.

use std::borrow::Cow;

use bytes::Bytes;
use serde_json::value::RawValue;

use super::{
    fields::{Detail, Fields, write_list},
    native::request::{Malformed, Needs},
};
use crate::signaling::{
    Now,
    connection::{ConnectionId, Membership},
    error::Reject,
    event::Event,
    hub::{Entry, Grants, Greeting, Hub, Reach},
    json::Object,
    labels::{CloseCode, ErrorCode, MessageKind},
    meta::{Entries, Meta},
};

/// The room of those who name none.
const GLOBAL: &str = "global";

/// A frame from a client.
#[derive(Debug)]
pub(crate) enum Message<'a> {
    Auth {
        token: Option<Cow<'a, str>>,
        peer: Option<Cow<'a, str>>,
        words: Words,
        metadata: Option<Entries<'a>>,
    },
    Join {
        room: Cow<'a, str>,
        words: Words,
    },
    Leave {
        room: Cow<'a, str>,
    },
    /// `offer`, `answer`, `ice_candidate`: to one peer.
    Signal {
        kind: &'static str,
        to: Cow<'a, str>,
        data: &'a RawValue,
    },
}

/// In which of the two ways a client writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Words {
    /// `auth` with a `peerId`, `join`.
    Peer,
    /// `auth` with a `publicKey`, `join-room`.
    Key,
}

impl<'a> Message<'a> {
    pub(crate) fn parse(text: &'a str) -> Result<Self, Malformed> {
        let fields = Fields::parse(text)?;
        let kind = fields.required("type", "type must be a string")?;
        let room = || fields.text("room").unwrap_or(Cow::Borrowed(GLOBAL));
        let signal = |kind| {
            Ok(Self::Signal {
                kind,
                to: fields.required("targetPeerId", "targetPeerId must be a string")?,
                data: fields.raw("data").ok_or(Fields::wrong("data is missing"))?,
            })
        };
        Ok(match &*kind {
            "auth" => Self::Auth {
                token: fields.text("token"),
                peer: fields.peer("peerId")?,
                words: match fields.raw("publicKey") {
                    Some(_) => Words::Key,
                    None => Words::Peer,
                },
                metadata: fields.object("metadata"),
            },
            "join" => Self::Join {
                room: room(),
                words: Words::Peer,
            },
            "join-room" => Self::Join {
                room: fields.required("roomId", "roomId must be a string")?,
                words: Words::Key,
            },
            "leave" => Self::Leave { room: room() },
            "offer" => signal("offer")?,
            "answer" => signal("answer")?,
            "ice_candidate" => signal("ice_candidate")?,
            _ => return Err(Fields::unknown()),
        })
    }

    pub(crate) const fn kind(&self) -> MessageKind {
        match self {
            Self::Auth { .. } => MessageKind::Hello,
            Self::Join { .. } => MessageKind::Join,
            Self::Leave { .. } => MessageKind::Leave,
            Self::Signal { .. } => MessageKind::Sig,
        }
    }

    pub(crate) fn needs(&self) -> Needs<'_> {
        match self {
            Self::Auth { token, .. } => Needs::Welcome {
                token: token.as_deref(),
            },
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
            Self::Auth {
                peer, words, metadata, ..
            } => {
                authenticate(hub, now, connection, grants, peer.as_deref(), metadata.as_ref())?;
                authenticated(hub, connection, words);
                Ok(())
            }
            Self::Join { room, words } => {
                authenticated_as(hub, connection)?;
                let membership = hub.join(now, connection, &Entry::replacing(&room))?;
                let joined = joined(hub, membership, &room, words);
                hub.answer(connection, joined);
                Ok(())
            }
            Self::Leave { room } => {
                authenticated_as(hub, connection)?;
                let membership = hub.membership(connection, &room)?;
                hub.leave(connection, membership, "leave");
                Ok(())
            }
            Self::Signal { kind, to, data } => {
                let from = authenticated_as(hub, connection)?;
                let membership = hub.membership_with(connection, &to)?;
                let frame = Object::with_capacity(64 + from.len() + data.get().len())
                    .text("type", kind)
                    .text("fromPeerId", from)
                    .raw("data", data.get())
                    .finish();
                hub.forward(now, connection, membership, Reach::Peer(&to), &frame, false)
            }
        }
    }
}

fn authenticated_as(hub: &Hub, connection: ConnectionId) -> Result<&str, Reject> {
    super::speaker(hub, connection, "authenticate first")
}

/// Makes a connection a peer, or renews who a peer is. Whatever is wrong with the first `auth` is the end of the connection.
fn authenticate(
    hub: &mut Hub,
    now: Now,
    connection: ConnectionId,
    grants: Grants<'_>,
    peer: Option<&str>,
    metadata: Option<&Entries<'_>>,
) -> Result<(), Reject> {
    let nobody = Reject::new(ErrorCode::Unavailable, "nobody to ask about tokens").fatal(CloseCode::BadRequest);
    let identity = grants.identity.ok_or(nobody)?;
    if hub.is_welcomed(connection) {
        super::check_sender(hub, connection, peer, "", "peerId is not yours")?;
        return hub.refresh(now, connection, identity);
    }
    // Its clients all say something about themselves; who may only watch is not heard, and not turned away for it.
    let heard = identity.as_ref().is_ok_and(|identity| identity.rights.publish);
    let meta = Meta::changed(None, metadata.filter(|_| heard), &[], hub.config())
        .map_err(|_| Reject::new(ErrorCode::TooLarge, "metadata is too large").fatal(CloseCode::BadRequest))?;
    let greeting = Greeting {
        peer,
        older: None,
        resumes: false,
        binary: false,
        meta,
    };
    hub.greet(now, connection, greeting, identity)?;
    Ok(())
}

fn authenticated(hub: &mut Hub, connection: ConnectionId, words: Words) {
    let kind = match words {
        Words::Peer => "authenticated",
        Words::Key => "auth-success",
    };
    let id = hub.own_id(connection);
    let answer = Object::with_capacity(64 + id.len())
        .text("type", kind)
        .text("peerId", id)
        .finish();
    hub.answer(connection, answer);
}

/// Who else is in the room.
fn joined(hub: &Hub, membership: Membership, room: &str, words: Words) -> Bytes {
    let (kind, key) = match words {
        Words::Peer => ("peers_list", "room"),
        Words::Key => ("room-joined", "roomId"),
    };
    let bytes = hub.config().page_bytes;
    Object::with_capacity(256)
        .text("type", kind)
        .text(key, room)
        .raw_with("peers", |text| {
            write_list(text, bytes, hub.others(membership), |object, member, detail| {
                let meta = member.meta.as_ref().filter(|_| detail == Detail::Whole);
                object
                    .text("peerId", &member.peer)
                    .raw_with("metadata", |text| Meta::write(meta, text))
            });
        })
        .finish()
}

/// Asks a fresh connection who it is.
pub(crate) fn auth_required() -> Bytes {
    Object::with_capacity(32).text("type", "auth_required").finish()
}

pub(crate) fn encode(event: &Event<'_>) -> Option<Bytes> {
    let told = |kind, peer: &str, room: &str| {
        Object::with_capacity(64 + peer.len() + room.len())
            .text("type", kind)
            .text("peerId", peer)
            .text("room", room)
    };
    Some(match *event {
        Event::Joined { room, peer, meta } => told("peer_joined", peer, room)
            .raw_with("metadata", |text| Meta::write(meta, text))
            .finish(),
        Event::Left { room, peer, .. } => told("peer_left", peer, room).finish(),
        _ => return None,
    })
}
