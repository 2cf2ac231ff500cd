//! edge-net, of the kind that is welcomed with an id: a register of all peers with what they can do, to discover them by, and rooms.
//!
//! Everybody who registers is in one room that is told nothing: who is discovered there can be signalled.

use std::borrow::Cow;

use bytes::Bytes;
use serde_json::Value;

use super::{
    About,
    fields::{Detail, Fields, write_list},
    native::request::{Malformed, Needs},
};
use crate::signaling::{
    Now,
    connection::{ConnectionId, Membership},
    error::Reject,
    event::Event,
    hub::{Entry, Grants, Hub, Reach},
    json::Object,
    labels::{CloseCode, ErrorCode, MessageKind},
    meta::{Entries, Meta},
};

/// The room of all who have registered. Nobody joins it by name.
const REGISTER: &str = "*";
/// What others may know of a peer.
const INFO: [&str; 4] = ["nodeId", "capabilities", "publicKey", "region"];
/// Peers that a question finds when it says nothing of that.
const FOUND: usize = 10;
/// Members looked at for one question. Bounds what it costs.
const SCAN: usize = 1_000;
/// Capabilities that one question may name. Each is looked for with every member, while everybody waits.
const ASKED: usize = 64;
/// The longest list of capabilities that is read for a question: a peer that says more of itself is found by questions for anybody.
const CAPABILITIES_BYTES: usize = 1_024;

const NOT_REGISTERED: Reject = Reject::bad_request("register first").fatal(CloseCode::BadRequest);

/// A frame from a client, or the request that opened its connection.
#[derive(Debug)]
pub(crate) enum Message<'a> {
    Open,
    Register {
        info: Entries<'a>,
    },
    JoinRoom {
        room: Cow<'a, str>,
    },
    LeaveRoom {
        room: Cow<'a, str>,
    },
    /// `offer`, `answer`, `ice-candidate`: to one peer.
    Signal {
        to: Cow<'a, str>,
        is_offer: bool,
        fields: Fields<'a>,
        length: usize,
    },
    Discover {
        /// Any of them will do; none is anybody.
        capabilities: Vec<Value>,
        limit: usize,
    },
    Broadcast {
        room: Cow<'a, str>,
        fields: Fields<'a>,
        length: usize,
    },
    Ping,
}

impl<'a> Message<'a> {
    pub(crate) fn parse(text: &'a str) -> Result<Self, Malformed> {
        let fields = Fields::parse(text)?;
        let kind = fields.required("type", "type must be a string")?;
        let room = || fields.required("roomId", "roomId must be a string");
        Ok(match &*kind {
            "register" => Self::Register {
                info: fields.only(&INFO),
            },
            "join-room" => Self::JoinRoom { room: room()? },
            "leave-room" => Self::LeaveRoom { room: room()? },
            "offer" | "answer" | "ice-candidate" => Self::Signal {
                to: fields.required("to", "to must be a string")?,
                is_offer: kind == "offer",
                fields,
                length: text.len(),
            },
            "discover" => Self::Discover {
                capabilities: fields.raw("capabilities").map_or(Ok(Vec::new()), |raw| {
                    let asked: Vec<Value> =
                        serde_json::from_str(raw.get()).map_err(|_| Fields::wrong("capabilities must be an array"))?;
                    let few = asked.len() <= ASKED;
                    few.then_some(asked)
                        .ok_or(Fields::wrong("at most 64 capabilities can be asked for"))
                })?,
                limit: fields
                    .raw("limit")
                    .and_then(|raw| raw.get().parse().ok())
                    .unwrap_or(FOUND),
            },
            "broadcast" => Self::Broadcast {
                room: room()?,
                fields,
                length: text.len(),
            },
            "ping" => Self::Ping,
            _ => return Err(Fields::unknown()),
        })
    }

    pub(crate) const fn kind(&self) -> MessageKind {
        match self {
            Self::Open | Self::Register { .. } => MessageKind::Hello,
            Self::JoinRoom { .. } => MessageKind::Join,
            Self::LeaveRoom { .. } => MessageKind::Leave,
            Self::Signal { .. } => MessageKind::Sig,
            Self::Discover { .. } => MessageKind::Who,
            Self::Broadcast { .. } => MessageKind::Send,
            Self::Ping => MessageKind::Ping,
        }
    }

    pub(crate) const fn needs(&self) -> Needs<'_> {
        match self {
            // Where it has waited for a welcome among all dialects, `register` is the first that it says.
            Self::Open | Self::Register { .. } => Needs::Name,
            _ => Needs::Nothing,
        }
    }

    pub(crate) fn about(&self) -> About {
        match self {
            Self::Signal { to, .. } => About::of_target(Some(to)),
            _ => About::default(),
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
            Self::Open => {
                greet(hub, now, connection, grants)?;
                let welcome = Object::with_capacity(96)
                    .text("type", "welcome")
                    .text("peerId", hub.own_id(connection))
                    .number("serverTime", now.unix_ms);
                hub.answer(connection, welcome.finish());
                Ok(())
            }
            Self::Register { info } => register(hub, now, connection, grants, &info),
            Self::JoinRoom { room } => join(hub, now, connection, &room),
            Self::LeaveRoom { room } => {
                let membership = named(hub, connection, &room)?;
                hub.leave(connection, membership, "leave");
                Ok(())
            }
            Self::Signal {
                to,
                is_offer,
                fields,
                length,
            } => {
                let membership = registered(hub, connection)?;
                let frame = fields.stamped(hub.own_id(connection), length);
                match hub.forward(now, connection, membership, Reach::Peer(&to), &frame, false) {
                    // Its client takes an error for the end of an offer, whatever it was about.
                    Err(reject) if reject.code == ErrorCode::NoPeer && !is_offer => Ok(()),
                    told => told,
                }
            }
            Self::Discover { capabilities, limit } => {
                let membership = registered(hub, connection)?;
                let limit = limit.min(hub.config().page_peers);
                let found = found(hub, now, membership, &capabilities, limit);
                hub.answer(connection, found);
                Ok(())
            }
            Self::Broadcast { room, fields, length } => {
                let membership = named(hub, connection, &room)?;
                let frame = fields.stamped(hub.own_id(connection), length);
                hub.forward(now, connection, membership, Reach::Others, &frame, true)
            }
            Self::Ping => {
                let pong = Object::with_capacity(48)
                    .text("type", "pong")
                    .number("timestamp", now.unix_ms);
                hub.answer(connection, pong.finish());
                Ok(())
            }
        }
    }
}

/// Makes a connection a peer under the id that it has been offered, or is offered now.
fn greet(hub: &mut Hub, now: Now, connection: ConnectionId, grants: Grants<'_>) -> Result<(), Reject> {
    // A token may name another id.
    let bound = grants
        .identity
        .as_ref()
        .and_then(|identity| identity.as_ref().ok()?.peer.clone());
    let offered = bound.is_none().then(|| hub.offer_id(connection)).flatten();
    super::greet(hub, now, connection, offered.as_deref(), grants)
}

fn registered(hub: &Hub, connection: ConnectionId) -> Result<Membership, Reject> {
    hub.membership(connection, REGISTER).map_err(|_| NOT_REGISTERED)
}

/// The membership in a room that clients may name.
fn named(hub: &Hub, connection: ConnectionId, room: &str) -> Result<Membership, Reject> {
    if room == REGISTER {
        return Err(Reject::new(ErrorCode::Forbidden, "that is not a room"));
    }
    hub.membership(connection, room)
}

fn register(
    hub: &mut Hub,
    now: Now,
    connection: ConnectionId,
    grants: Grants<'_>,
    info: &Entries<'_>,
) -> Result<(), Reject> {
    greet(hub, now, connection, grants)?;
    let heard = hub.check_publish(connection).is_ok();
    let info = if heard { info } else { &Entries(Vec::new()) };
    let membership = match hub.membership(connection, REGISTER) {
        Ok(membership) => {
            hub.check_publish(connection)?;
            hub.set_presence(connection, membership, Some(info), &[])?;
            membership
        }
        Err(_) => {
            let meta = Meta::changed(None, Some(info), &[], hub.config())
                .map_err(|_| Reject::new(ErrorCode::TooLarge, "what the peer says of itself is too large"))?;
            let entry = Entry {
                meta: Some(meta),
                ..Entry::plain(REGISTER)
            };
            hub.join(now, connection, &entry)?
        }
    };
    let told = Object::with_capacity(256)
        .text("type", "registered")
        .text("peerId", hub.own_id(connection))
        .raw_with("info", |text| Meta::write(hub.presence(membership), text));
    hub.answer(connection, told.finish());
    Ok(())
}

fn join(hub: &mut Hub, now: Now, connection: ConnectionId, room: &str) -> Result<(), Reject> {
    let everybody = registered(hub, connection)?;
    if room == REGISTER {
        return Err(Reject::new(ErrorCode::Forbidden, "that is not a room"));
    }
    let entry = Entry {
        meta: Some(hub.presence(everybody).cloned()),
        ..Entry::plain(room)
    };
    let membership = hub.join(now, connection, &entry)?;
    let bytes = hub.config().page_bytes;
    let joined = Object::with_capacity(256)
        .text("type", "room-joined")
        .text("roomId", room)
        .raw_with("peers", |text| {
            write_list(text, bytes, hub.others(membership), |object, member, detail| {
                let meta = member.meta.as_ref().filter(|_| detail == Detail::Whole);
                object
                    .text("peerId", &member.peer)
                    .raw_with("info", |text| Meta::write(meta, text))
            });
        });
    let joined = joined.finish();
    hub.answer(connection, joined);
    Ok(())
}

/// Who can do any of these things.
fn found(hub: &Hub, now: Now, membership: Membership, capabilities: &[Value], limit: usize) -> Bytes {
    let can = |meta| {
        if capabilities.is_empty() {
            return true;
        }
        let said = Meta::value(meta, "capabilities").filter(|said| said.len() <= CAPABILITIES_BYTES);
        let known = said.and_then(|said| serde_json::from_str::<Vec<Value>>(said).ok());
        known.is_some_and(|known| known.iter().any(|capability| capabilities.contains(capability)))
    };
    let able: Vec<_> = hub
        .others(membership)
        .take(SCAN)
        .filter(|member| can(member.meta.as_ref()))
        .collect();
    let bytes = hub.config().page_bytes;
    Object::with_capacity(256)
        .text("type", "discover-result")
        .raw_with("peers", |text| {
            write_list(text, bytes, able.iter().take(limit), |object, member, detail| {
                let meta = member.meta.as_ref().filter(|_| detail == Detail::Whole);
                object
                    .text("peerId", &member.peer)
                    .raw_with("info", |text| Meta::write(meta, text))
                    // Whoever is listed has a socket that answers.
                    .number("lastSeen", now.unix_ms)
            });
        })
        .number("total", able.len() as u64)
        .finish()
}

pub(crate) fn encode(event: &Event<'_>) -> Option<Bytes> {
    let told = |kind, room: &str, peer: &str| {
        Object::with_capacity(64 + room.len() + peer.len())
            .text("type", kind)
            .text("roomId", room)
            .text("peerId", peer)
    };
    Some(match *event {
        Event::Joined { room: REGISTER, .. } | Event::Left { room: REGISTER, .. } => return None,
        Event::Joined { room, peer, meta } => told("peer-joined", room, peer)
            .raw_with("info", |text| Meta::write(meta, text))
            .finish(),
        Event::Left { room, peer, .. } => told("peer-left", room, peer).finish(),
        _ => return None,
    })
}

pub(crate) fn refusal(about: &About, reject: &Reject) -> Bytes {
    Object::with_capacity(96 + reject.message.len())
        .text("type", "error")
        .text("error", reject.message)
        .maybe_text("targetPeerId", about.target.as_deref())
        .text("code", reject.code.as_label())
        .finish()
}
