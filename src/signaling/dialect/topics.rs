//! Topics that one subscribes and publishes to, as y-webrtc and Trystero's ws-relay have them: a topic is a room, and what is
//! published goes to every subscriber, its sender included.
//!
//! y-webrtc subscribes with `topics`, and is told with each message how many subscribers (`clients`) got it. Trystero names one
//! `topic`, and its `payload` comes back with the topic and nothing else. Nobody has a name: who is there is the applications' to
//! say, in messages that are theirs, encrypted if they like.

use std::borrow::Cow;

use bytes::Bytes;

use super::{
    fields::Fields,
    native::request::{Malformed, Needs},
};
use crate::signaling::{
    Now,
    connection::ConnectionId,
    error::Reject,
    hub::{Entry, Grants, Hub, Reach},
    json::Object,
    labels::MessageKind,
};

/// Topics that one frame may name.
const TOPICS: usize = 256;

/// A frame from a client.
#[derive(Debug)]
pub(crate) enum Message<'a> {
    Subscribe(Vec<Cow<'a, str>>),
    Unsubscribe(Vec<Cow<'a, str>>),
    Publish { topic: Cow<'a, str>, what: Published<'a> },
    Ping,
}

/// What is published, in the words of either client.
#[derive(Debug)]
pub(crate) enum Published<'a> {
    /// y-webrtc's: the whole frame, to which a number is added.
    Frame(&'a str),
    /// Trystero's.
    Payload(&'a str),
}

impl<'a> Message<'a> {
    pub(crate) fn parse(text: &'a str) -> Result<Self, Malformed> {
        let fields = Fields::parse(text)?;
        let kind = fields.required("type", "type must be a string")?;
        Ok(match &*kind {
            "subscribe" => Self::Subscribe(topics(&fields)?),
            "unsubscribe" => Self::Unsubscribe(topics(&fields)?),
            "publish" => Self::Publish {
                topic: fields.required("topic", "topic must be a string")?,
                what: match fields.raw("payload") {
                    Some(payload) => Published::Payload(payload.get()),
                    None => Published::Frame(text),
                },
            },
            "ping" => Self::Ping,
            _ => return Err(Fields::unknown()),
        })
    }

    pub(crate) const fn kind(&self) -> MessageKind {
        match self {
            Self::Subscribe(_) => MessageKind::Join,
            Self::Unsubscribe(_) => MessageKind::Leave,
            Self::Publish { .. } => MessageKind::Send,
            Self::Ping => MessageKind::Ping,
        }
    }

    pub(crate) const fn needs(&self) -> Needs<'_> {
        match self {
            Self::Subscribe(_) => Needs::Name,
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
            Self::Subscribe(topics) => {
                super::greet(hub, now, connection, None, grants)?;
                // Asked for all at once, where others have to be asked first.
                let mut held = Ok(());
                for topic in topics {
                    match hub.join(now, connection, &Entry::plain(&topic)) {
                        Err(reject) if reject.held => held = Err(reject),
                        joined => drop(joined?),
                    }
                }
                held
            }
            Self::Unsubscribe(topics) => {
                for topic in topics {
                    // Who is not subscribed is where it wants to be.
                    if let Ok(membership) = hub.membership(connection, &topic) {
                        hub.leave(connection, membership, "leave");
                    }
                }
                Ok(())
            }
            Self::Publish { topic, what } => {
                // Publishing without subscribing is something upstream allows, and no client does.
                let membership = hub.membership(connection, &topic)?;
                let clients = hub.members(membership);
                let frame = match what {
                    Published::Payload(payload) => Object::with_capacity(32 + topic.len() + payload.len())
                        .text("topic", &topic)
                        .raw("payload", payload)
                        .finish(),
                    Published::Frame(text) => counted(text, clients),
                };
                hub.forward(now, connection, membership, Reach::Everybody, &frame, true)
            }
            Self::Ping => {
                let pong = Object::with_capacity(32).text("type", "pong").finish();
                hub.answer(connection, pong);
                Ok(())
            }
        }
    }
}

/// The topics of a frame: `topics`, or the one `topic`.
fn topics<'a>(fields: &Fields<'a>) -> Result<Vec<Cow<'a, str>>, Malformed> {
    let topics = match fields.raw("topics") {
        Some(raw) => serde_json::from_str::<Vec<Cow<'a, str>>>(raw.get())
            .map_err(|_| Fields::wrong("topics must be an array of strings"))?,
        None => vec![fields.required("topic", "topic must be a string")?],
    };
    if topics.len() > TOPICS {
        return Err(Fields::wrong("more topics than a frame may name"));
    }
    Ok(topics)
}

/// The frame with `clients` behind everything else: of two the last counts.
fn counted(text: &str, clients: usize) -> Bytes {
    let open = text.trim_end().strip_suffix('}').unwrap_or(text);
    Bytes::from(format!("{open},\"clients\":{clients}}}"))
}
