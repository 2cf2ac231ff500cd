//! edge-net, of the kind that registers with a relay: one room for everybody, signals and messages to one node or to all.
//!
//! The relay's tasks, credits and ledger are no signaling, and refused. Upstream drops a node that is silent for 30 s, and its own
//! page sends no heartbeat: here pings of the WebSocket keep it.

use std::borrow::Cow;

use bytes::Bytes;

use super::{
    About, Dialect, Told,
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
    room::Room,
};

/// The one room.
const EVERYBODY: &str = "edge-net";

/// A frame from a client.
#[derive(Debug)]
pub(crate) enum Message<'a> {
    Register {
        node: Cow<'a, str>,
    },
    Heartbeat,
    /// To one node, or to all others: `webrtc_*` is negotiation, everything else data.
    Forward {
        to: Option<Cow<'a, str>>,
        signal: bool,
        fields: Fields<'a>,
        length: usize,
    },
}

impl<'a> Message<'a> {
    pub(crate) fn parse(text: &'a str) -> Result<Self, Malformed> {
        let fields = Fields::parse(text)?;
        let kind = fields.required("type", "type must be a string")?;
        let signal = match &*kind {
            "register" => {
                return Ok(Self::Register {
                    node: fields.required("nodeId", "nodeId must be a string")?,
                });
            }
            "heartbeat" => return Ok(Self::Heartbeat),
            "peer_message" | "broadcast" => false,
            "webrtc_offer" | "webrtc_answer" | "webrtc_ice" | "webrtc_disconnect" => true,
            kind if kind.starts_with("task_") || kind.starts_with("ledger_") => {
                return Err(Malformed {
                    code: ErrorCode::Unavailable,
                    message: "this server keeps no tasks and no ledger",
                    ..Fields::unknown()
                });
            }
            _ => return Err(Fields::unknown()),
        };
        let to = match &*kind {
            "broadcast" => None,
            _ => Some(fields.required("targetId", "targetId must be a string")?),
        };
        Ok(Self::Forward {
            to,
            signal,
            fields,
            length: text.len(),
        })
    }

    pub(crate) const fn kind(&self) -> MessageKind {
        match self {
            Self::Register { .. } => MessageKind::Hello,
            Self::Heartbeat => MessageKind::Ping,
            Self::Forward { signal: true, .. } => MessageKind::Sig,
            Self::Forward { .. } => MessageKind::Send,
        }
    }

    pub(crate) const fn needs(&self) -> Needs<'_> {
        match self {
            Self::Register { .. } => Needs::Name,
            _ => Needs::Nothing,
        }
    }

    pub(crate) fn about(&self) -> About {
        match self {
            Self::Forward { to, .. } => About::of_target(to.as_deref()),
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
            Self::Register { node } => register(hub, now, connection, grants, &node),
            Self::Heartbeat => {
                let ack = Object::with_capacity(64)
                    .text("type", "heartbeat_ack")
                    .number("timestamp", now.unix_ms)
                    .raw("phase", &phase(now));
                hub.answer(connection, ack.finish());
                Ok(())
            }
            Self::Forward {
                to,
                signal,
                fields,
                length,
            } => {
                let own = super::speaker(hub, connection, "register first")?;
                let membership = hub.membership(connection, EVERYBODY)?;
                let frame = fields.stamped(own, length);
                hub.forward(
                    now,
                    connection,
                    membership,
                    Reach::named(to.as_deref()),
                    &frame,
                    !signal,
                )
            }
        }
    }
}

fn register(hub: &mut Hub, now: Now, connection: ConnectionId, grants: Grants<'_>, node: &str) -> Result<(), Reject> {
    super::greet(hub, now, connection, Some(node), grants)?;
    super::check_sender(hub, connection, Some(node), "register first", "nodeId is not yours")?;
    let membership = hub.join(now, connection, &Entry::replacing(EVERYBODY))?;
    let welcome = welcome(hub, now, membership, node);
    hub.answer(connection, welcome);
    hub.start_beat(now);
    Ok(())
}

/// The state of a network that has no tasks, and who else is in it.
fn welcome(hub: &Hub, now: Now, membership: Membership, node: &str) -> Bytes {
    let nodes = hub.members(membership) as u64;
    Object::with_capacity(512)
        .text("type", "welcome")
        .text("nodeId", node)
        .raw_with("networkState", |text| {
            Object::nested(text, |state| {
                state
                    .number("genesisTime", hub.since_ms())
                    .number("totalNodes", nodes)
                    .number("activeNodes", nodes)
                    .number("totalTasks", 0)
                    .text("totalRuvDistributed", "0")
                    .raw("timeCrystalPhase", &phase(now))
            });
        })
        .raw_with("peers", |text| hub.write_peers(membership, text))
        .finish()
}

/// The time as all nodes see it, told to each of them every second.
pub(crate) fn beat(hub: &mut Hub, now: Now) -> bool {
    hub.tell_room(Dialect::EdgeRelay, EVERYBODY, |nodes| {
        Object::with_capacity(96)
            .text("type", "time_crystal_sync")
            .raw("phase", &phase(now))
            .number("timestamp", now.unix_ms)
            .number("activeNodes", nodes as u64)
            .finish()
    })
}

/// Where everybody is in a turn of 100 s, from 0 to 1: a clock that all see the same on.
fn phase(now: Now) -> String {
    let hundredths = now.unix_ms / 1_000 % 100;
    format!("0.{hundredths:02}")
}

pub(crate) fn encode(event: &Event<'_>, told: &Told<'_>) -> Option<Bytes> {
    let (kind, node) = match *event {
        Event::Joined { peer, .. } => ("node_joined", peer),
        Event::Left { peer, .. } => ("node_left", peer),
        _ => return None,
    };
    let frame = Object::with_capacity(64 + node.len())
        .text("type", kind)
        .text("nodeId", node)
        .number("totalNodes", told.room.map_or(0, Room::len) as u64);
    Some(frame.finish())
}

pub(crate) fn refusal(about: &About, reject: &Reject) -> Bytes {
    Object::with_capacity(96 + reject.message.len())
        .text("type", "error")
        .text("message", reject.message)
        .maybe_text("targetId", about.target.as_deref())
        .text("code", reject.code.as_label())
        .finish()
}
