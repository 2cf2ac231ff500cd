//! Retcon Black Mountain by socket.io: one room for everybody, signals to one peer of it. Of socket.io (protocol 5 over Engine.IO 4)
//! what that needs: WebSocket alone, one namespace, events of text, acknowledgements asked for by clients.
//!
//! Engine.IO pings its clients by packets of its own, and a client that hears none for an interval and a timeout closes: the server
//! sends them on a timer of the connection. That they are answered is nothing to us: pings of the WebSocket find the dead.

use std::{borrow::Cow, time::Duration};

use bytes::Bytes;
use serde_json::value::RawValue;

use super::{
    Opening,
    fields::Fields,
    native::request::{Malformed, Needs},
};
use crate::signaling::{
    Now,
    connection::ConnectionId,
    error::Reject,
    event::Event,
    hub::{Entry, Grants, Hub, Reach},
    json::{Object, push_string},
    labels::{CloseCode, MessageKind},
};

/// The one room.
const EVERYBODY: &str = "retcon";
/// What the query may say: the version of Engine.IO.
pub(crate) const PARAMETERS: &[&str] = &["EIO"];
/// How long a client waits for a ping that is late.
const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// What a client is told that polls.
pub(crate) const POLLED: &str = r#"{"code":0,"message":"this server speaks Engine.IO over WebSocket alone: connect with transports: [\"websocket\"]"}"#;

/// A packet from a client, or the request that opened its connection.
#[derive(Debug)]
pub(crate) enum Message<'a> {
    Open,
    /// Into the namespace of that name; empty is the main one.
    Connect(&'a str),
    /// Of the transport, to be answered.
    Ping(&'a str),
    /// Nothing to do.
    Nothing,
    Disconnect,
    Register {
        peer: Cow<'a, str>,
        acknowledge: &'a str,
    },
    Signal {
        from: Option<Cow<'a, str>>,
        to: Cow<'a, str>,
        signal: &'a RawValue,
        acknowledge: &'a str,
    },
}

impl<'a> Message<'a> {
    pub(crate) fn of_opening(opening: &'a Opening) -> Result<Self, Malformed> {
        match opening.parameter("EIO") {
            None | Some("4") => Ok(Self::Open),
            Some(_) => Err(Fields::wrong("version 4 of Engine.IO is spoken here")),
        }
    }

    pub(crate) fn parse(text: &'a str) -> Result<Self, Malformed> {
        let wrong = Fields::wrong("not a packet of Engine.IO and socket.io");
        let kind = text.get(..1).ok_or(wrong)?;
        let rest = text.get(1..).unwrap_or_default();
        match kind {
            "1" => Ok(Self::Disconnect),
            "2" => Ok(Self::Ping(rest)),
            "3" | "5" | "6" => Ok(Self::Nothing),
            "4" => Self::packet(rest).ok_or(wrong)?,
            _ => Err(wrong),
        }
    }

    /// A packet of socket.io: its type, a namespace with a comma if it is not the main one, a number to acknowledge, a payload.
    fn packet(text: &'a str) -> Option<Result<Self, Malformed>> {
        let rest = text.get(1..)?;
        let (namespace, rest) = match rest.strip_prefix('/') {
            Some(named) => named.split_once(',').unwrap_or((named, "")),
            None => ("", rest),
        };
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (acknowledge, payload) = rest.split_at(digits);
        Some(match (text.get(..1)?, namespace) {
            ("0", _) => Ok(Self::Connect(namespace)),
            ("1", "") => Ok(Self::Disconnect),
            ("2", "") => Self::event(acknowledge, payload),
            ("3", _) => Ok(Self::Nothing),
            _ => Err(Fields::unknown()),
        })
    }

    fn event(acknowledge: &'a str, payload: &'a str) -> Result<Self, Malformed> {
        // Longer than any number that a client counts to.
        if acknowledge.len() > 16 {
            return Err(Fields::wrong("the number to acknowledge is too long"));
        }
        let arguments: Vec<&'a RawValue> =
            serde_json::from_str(payload).map_err(|_| Fields::wrong("an event is an array"))?;
        let argument = |at: usize| arguments.get(at).map_or("", |raw| raw.get());
        let name: Cow<'a, str> =
            serde_json::from_str(argument(0)).map_err(|_| Fields::wrong("an event begins with its name"))?;
        match &*name {
            "register" => Ok(Self::Register {
                peer: serde_json::from_str(argument(1)).map_err(|_| Fields::wrong("a peer is named by a string"))?,
                acknowledge,
            }),
            "signal" => {
                let fields = Fields::parse(argument(1))?;
                Ok(Self::Signal {
                    from: fields.peer("from")?,
                    to: fields.required("to", "to must be a string")?,
                    signal: fields.raw("signal").ok_or(Fields::wrong("signal is missing"))?,
                    acknowledge,
                })
            }
            _ => Err(Fields::unknown()),
        }
    }

    pub(crate) const fn kind(&self) -> MessageKind {
        match self {
            Self::Open | Self::Connect(_) | Self::Ping(_) | Self::Nothing => MessageKind::Ping,
            Self::Disconnect => MessageKind::Bye,
            Self::Register { .. } => MessageKind::Hello,
            Self::Signal { .. } => MessageKind::Sig,
        }
    }

    pub(crate) const fn needs(&self) -> Needs<'_> {
        match self {
            Self::Register { .. } => Needs::Name,
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
            Self::Open => {
                open(hub, connection);
                plan_ping(hub, now, connection);
            }
            Self::Connect("") => {
                let sid = hub.offer_id(connection).unwrap_or_default();
                let connected = Object::with_capacity(48).text("sid", &sid).finish();
                hub.answer(connection, packet("40", &[&connected]));
            }
            Self::Connect(namespace) => {
                // Up to the query that an older client puts there.
                let name = namespace.split('?').next().unwrap_or_default();
                let error = Object::with_capacity(48).text("message", "Invalid namespace").finish();
                hub.answer(connection, packet("44/", &[name.as_bytes(), b",", &error]));
            }
            Self::Ping(probe) => hub.answer(connection, packet("3", &[probe.as_bytes()])),
            Self::Nothing => {}
            Self::Disconnect => hub.close(connection, CloseCode::Normal),
            Self::Register { peer, acknowledge } => {
                register(hub, now, connection, grants, &peer)?;
                acknowledged(hub, connection, acknowledge);
            }
            Self::Signal {
                from,
                to,
                signal,
                acknowledge,
            } => {
                let from =
                    super::check_sender(hub, connection, from.as_deref(), "register first", "from is not yours")?;
                let membership = hub.membership(connection, EVERYBODY)?;
                let said = Object::with_capacity(64 + signal.get().len())
                    .text("from", from)
                    .raw("signal", signal.get());
                let frame = event("signal", &said.finish());
                hub.forward(now, connection, membership, Reach::Peer(&to), &frame, false)?;
                acknowledged(hub, connection, acknowledge);
            }
        }
        Ok(())
    }
}

/// The first packet of the transport.
fn open(hub: &mut Hub, connection: ConnectionId) {
    let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let sid = hub.offer_id(connection).unwrap_or_default();
    let handshake = Object::with_capacity(128)
        .text("sid", &sid)
        .raw("upgrades", "[]")
        .number("pingInterval", millis(hub.config().ping_interval))
        .number("pingTimeout", millis(PING_TIMEOUT))
        .number("maxPayload", hub.config().frame_bytes as u64)
        .finish();
    hub.answer(connection, packet("0", &[&handshake]));
}

/// The next packet that tells the client that the server is there.
pub(crate) fn ping(hub: &mut Hub, now: Now, connection: ConnectionId) {
    hub.answer(connection, Bytes::from_static(b"2"));
    plan_ping(hub, now, connection);
}

fn plan_ping(hub: &mut Hub, now: Now, connection: ConnectionId) {
    let at = now.instant.checked_add(hub.config().ping_interval);
    hub.set_timer(connection, at);
}

fn register(hub: &mut Hub, now: Now, connection: ConnectionId, grants: Grants<'_>, peer: &str) -> Result<(), Reject> {
    super::greet(hub, now, connection, Some(peer), grants)?;
    super::check_sender(hub, connection, Some(peer), "register first", "that id is not yours")?;
    let membership = hub.join(now, connection, &Entry::replacing(EVERYBODY))?;
    let mut list = String::from("[");
    for (at, member) in hub.others(membership).enumerate() {
        if at > 0 {
            list.push(',');
        }
        Object::nested(&mut list, |object| object.text("peerId", &member.peer));
    }
    list.push(']');
    hub.answer(connection, event("peers:list", list.as_bytes()));
    Ok(())
}

/// Answers an event whose sender counts on it.
fn acknowledged(hub: &mut Hub, connection: ConnectionId, number: &str) {
    if !number.is_empty() {
        hub.answer(connection, packet("43", &[number.as_bytes(), b"[]"]));
    }
}

fn packet(kind: &'static str, parts: &[&[u8]]) -> Bytes {
    let mut bytes = kind.as_bytes().to_vec();
    for part in parts {
        bytes.extend_from_slice(part);
    }
    Bytes::from(bytes)
}

fn event(name: &str, argument: &[u8]) -> Bytes {
    let mut quoted = String::with_capacity(name.len() + 2);
    push_string(&mut quoted, name);
    packet("42", &[b"[", quoted.as_bytes(), b",", argument, b"]"])
}

/// What is no packet would end the client's transport: an event that all clients can listen to.
pub(crate) fn message(argument: &str) -> Bytes {
    event("message", argument.as_bytes())
}

pub(crate) fn encode(happened: &Event<'_>) -> Option<Bytes> {
    let (name, peer) = match *happened {
        Event::Joined { peer, .. } => ("peer:joined", peer),
        Event::Left { peer, .. } => ("peer:left", peer),
        _ => return None,
    };
    Some(event(
        name,
        &Object::with_capacity(32 + peer.len()).text("peerId", peer).finish(),
    ))
}

pub(crate) fn refusal(reject: &Reject) -> Bytes {
    let error = Object::with_capacity(64 + reject.message.len())
        .text("message", reject.message)
        .text("code", reject.code.as_label());
    event("error", &error.finish())
}
