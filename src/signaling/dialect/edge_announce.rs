//! edge-net, of the kind that announces itself: one room for everybody, peers by the key they announce, signals to one of them.
//!
//! Of two peers the one with the larger id offers. Upstream, a newcomer was told of everybody and offered to all, and those with
//! larger ids offered to the newcomer as well: both ignored what they got, and the link never opened. So it is told of the smaller
//! ids alone; the others hear of it, and offer. A client that has lost its socket does not announce itself again: the first signal
//! that it sends tells who it is, and it is treated as if it had.

use std::borrow::Cow;

use bytes::Bytes;

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

/// The one room.
const EVERYBODY: &str = "edge-net";
/// Peers that a newcomer is told of, as upstream.
const LISTED: usize = 50;
/// What others are told of a peer.
const SHOWN: [&str; 2] = ["siteId", "capabilities"];

/// A frame from a client.
#[derive(Debug)]
pub(crate) enum Message<'a> {
    Announce {
        key: Cow<'a, str>,
        shown: Entries<'a>,
    },
    /// `offer`, `answer`, `ice-candidate`: to one peer.
    Signal {
        kind: &'static str,
        from: Option<Cow<'a, str>>,
        to: Cow<'a, str>,
        fields: Fields<'a>,
        length: usize,
    },
}

impl<'a> Message<'a> {
    pub(crate) fn parse(text: &'a str) -> Result<Self, Malformed> {
        let fields = Fields::parse(text)?;
        let kind = match &*fields.required("type", "type must be a string")? {
            "announce" => {
                return Ok(Self::Announce {
                    key: fields.required("piKey", "piKey must be a string")?,
                    shown: fields.only(&SHOWN),
                });
            }
            "offer" => "offer",
            "answer" => "answer",
            "ice-candidate" => "ice-candidate",
            // Its ledger and its hash table among them, which a server for signaling has not.
            _ => return Err(Fields::unknown()),
        };
        Ok(Self::Signal {
            kind,
            from: fields.peer("from")?,
            to: fields.required("to", "to must be a string")?,
            fields,
            length: text.len(),
        })
    }

    pub(crate) const fn kind(&self) -> MessageKind {
        match self {
            Self::Announce { .. } => MessageKind::Hello,
            Self::Signal { .. } => MessageKind::Sig,
        }
    }

    pub(crate) const fn needs(&self) -> Needs<'_> {
        match self {
            Self::Announce { .. } => Needs::Name,
            Self::Signal { .. } => Needs::Name,
        }
    }

    pub(crate) fn about(&self) -> About {
        let kind = match self {
            Self::Announce { .. } => "announce",
            Self::Signal { kind, .. } => kind,
        };
        About {
            kind: Some(kind),
            ..About::default()
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
            Self::Announce { key, shown } => announce(hub, now, connection, grants, &key, &shown, None),
            Self::Signal {
                from,
                to,
                fields,
                length,
                ..
            } => {
                if hub.membership(connection, EVERYBODY).is_err() {
                    let unknown = Reject::bad_request("announce first").fatal(CloseCode::BadRequest);
                    let key = from.ok_or(unknown)?;
                    announce(hub, now, connection, grants, &key, &Entries(Vec::new()), Some(&to))?;
                }
                let membership = hub.membership(connection, EVERYBODY)?;
                let own = hub.own_id(connection);
                // Whatever the frame says of its sender, the receiver reads who it was.
                let frame = fields.stamped(own, length);
                hub.forward(now, connection, membership, Reach::Peer(&to), &frame, false)
            }
        }
    }
}

/// Makes a connection a peer that all others know of. `but` is one that it has offered to already.
fn announce(
    hub: &mut Hub,
    now: Now,
    connection: ConnectionId,
    grants: Grants<'_>,
    key: &str,
    shown: &Entries<'_>,
    but: Option<&str>,
) -> Result<(), Reject> {
    let meta = Meta::changed(None, Some(shown), &[], hub.config())
        .map_err(|_| Reject::new(ErrorCode::TooLarge, "siteId and capabilities are too large"))?;
    super::greet(hub, now, connection, Some(key), grants)?;
    super::check_sender(hub, connection, Some(key), "announce first", "piKey is not yours")?;
    let meta = meta.filter(|_| hub.check_publish(connection).is_ok());
    let entry = Entry {
        meta: Some(meta),
        ..Entry::replacing(EVERYBODY)
    };
    let membership = hub.join(now, connection, &entry)?;
    let list = list(hub, membership, key, but);
    hub.answer(connection, list);
    Ok(())
}

/// The peers that `own` offers to: those with smaller ids. Ids are ASCII, where this is the order of JavaScript's strings too.
fn list(hub: &Hub, membership: Membership, own: &str, but: Option<&str>) -> Bytes {
    let others = hub.others(membership);
    let smaller = others.filter(|member| *member.peer < *own && Some(&*member.peer) != but);
    let bytes = hub.config().page_bytes;
    Object::with_capacity(256)
        .text("type", "peer-list")
        .raw_with("peers", |text| {
            write_list(text, bytes, smaller.take(LISTED), |object, member, detail| {
                let meta = member.meta.as_ref().filter(|_| detail == Detail::Whole);
                SHOWN.iter().fold(object.text("piKey", &member.peer), |object, key| {
                    object.raw(key, Meta::value(meta, key).unwrap_or("null"))
                })
            });
        })
        .finish()
}

pub(crate) fn encode(event: &Event<'_>) -> Option<Bytes> {
    let told = |kind, peer: &str| {
        Object::with_capacity(64 + peer.len())
            .text("type", kind)
            .text("peerId", peer)
    };
    Some(match *event {
        Event::Joined { peer, meta, .. } => SHOWN
            .iter()
            .fold(told("peer-joined", peer), |object, key| {
                object.raw(key, Meta::value(meta, key).unwrap_or("null"))
            })
            .finish(),
        Event::Left { peer, .. } => told("peer-left", peer).finish(),
        _ => return None,
    })
}

pub(crate) fn refusal(about: &About, reject: &Reject) -> Bytes {
    Object::with_capacity(96 + reject.message.len())
        .text("type", "error")
        .text("error", reject.message)
        .text("originalType", about.kind.unwrap_or("unknown"))
        .text("code", reject.code.as_label())
        .finish()
}
