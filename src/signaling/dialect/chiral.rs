//! Chiral's file transfer: one room for everybody, who is told of all others again whenever one comes or goes, and frames that go
//! to whom they name as they are.
//!
//! Frames without `to` go to everybody else, as data. The application's own `ping` is answered here: upstream, each was broadcast, and
//! answered by everybody.

use std::borrow::Cow;

use bytes::Bytes;

use super::{
    Told,
    fields::Fields,
    native::request::{Malformed, Needs},
};
use crate::signaling::{
    Now,
    connection::ConnectionId,
    error::Reject,
    event::Event,
    hub::{Entry, Grants, Hub, Reach},
    json::Object,
    labels::MessageKind,
};

/// The one room.
const EVERYBODY: &str = "chiral";
/// Its members, however large other rooms may be: whenever one comes or goes, each is told of all others.
const MOST: u64 = 256;

/// A frame from a client.
#[derive(Debug)]
pub(crate) enum Message<'a> {
    Register {
        client: Cow<'a, str>,
    },
    /// The time that the answer repeats.
    Ping {
        ts: Option<&'a str>,
    },
    Pong,
    Forward {
        from: Option<Cow<'a, str>>,
        to: Option<Cow<'a, str>>,
        signal: bool,
        text: &'a str,
    },
}

impl<'a> Message<'a> {
    pub(crate) fn parse(text: &'a str) -> Result<Self, Malformed> {
        let fields = Fields::parse(text)?;
        let kind = fields.required("type", "type must be a string")?;
        Ok(match &*kind {
            "register" => Self::Register {
                client: fields.required("clientId", "clientId must be a string")?,
            },
            "ping" => Self::Ping {
                ts: fields.raw("ts").map(serde_json::value::RawValue::get),
            },
            "pong" => Self::Pong,
            // The server's own words: who is there is not for a peer to say.
            "peers" | "error" => return Err(Fields::unknown()),
            kind => Self::Forward {
                from: fields.peer("from")?,
                to: fields.peer("to")?,
                signal: matches!(kind, "offer" | "answer" | "candidate"),
                text,
            },
        })
    }

    pub(crate) const fn kind(&self) -> MessageKind {
        match self {
            Self::Register { .. } => MessageKind::Hello,
            Self::Ping { .. } | Self::Pong => MessageKind::Ping,
            Self::Forward { signal, .. } if *signal => MessageKind::Sig,
            Self::Forward { .. } => MessageKind::Send,
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
            Self::Register { client } => register(hub, now, connection, grants, &client),
            Self::Ping { ts } => {
                let pong = Object::with_capacity(64)
                    .text("type", "pong")
                    .raw("ts", ts.unwrap_or("null"));
                hub.answer(connection, pong.text("from", "server").finish());
                Ok(())
            }
            Self::Pong => Ok(()),
            Self::Forward { from, to, signal, text } => {
                super::check_sender(hub, connection, from.as_deref(), "register first", "from is not yours")?;
                let membership = hub.membership(connection, EVERYBODY)?;
                let frame = Bytes::copy_from_slice(text.as_bytes());
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

fn register(hub: &mut Hub, now: Now, connection: ConnectionId, grants: Grants<'_>, client: &str) -> Result<(), Reject> {
    super::greet(hub, now, connection, Some(client), grants)?;
    let entry = Entry {
        max: Some(MOST),
        ..Entry::replacing(EVERYBODY)
    };
    hub.charge_lists(now, connection, EVERYBODY)?;
    let membership = hub.join(now, connection, &entry)?;
    let peers = list(|text| hub.write_peers(membership, text));
    hub.answer(connection, peers);
    Ok(())
}

/// Everybody's id but the receiver's.
fn list(write_others: impl FnOnce(&mut String)) -> Bytes {
    Object::with_capacity(256)
        .text("type", "peers")
        .raw_with("peers", write_others)
        .finish()
}

pub(crate) fn encode(event: &Event<'_>, told: &Told<'_>) -> Option<Bytes> {
    let room = told.room?;
    matches!(event, Event::Joined { .. } | Event::Left { .. }).then(|| list(|text| room.write_others(told.peer, text)))
}
