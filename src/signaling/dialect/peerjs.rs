//! PeerJS: one name space for everybody who gives the same key, and frames that go from id to id.
//!
//! The request says who it is; the answer is `OPEN`. What is for an id that nobody has waits for its owner, and is told as `EXPIRE`
//! to its sender when nobody came. Whoever comes back with the token of an id takes it over and is told `OPEN` as well: upstream, it
//! was told nothing while its old socket was half open. Heartbeats are not needed, so hidden tabs stay.

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
    json::Object,
    labels::{CloseCode, ErrorCode, MessageKind},
};

/// Parameters of the request.
pub(super) const PARAMETERS: &[&str] = &["key", "id", "token"];

const UNNAMED: Reject =
    Reject::bad_request("No id, token, or key supplied to websocket server").fatal(CloseCode::BadRequest);
const INVALID_KEY: Reject = Reject::new(ErrorCode::Forbidden, "Invalid key provided").fatal(CloseCode::BadRequest);
const CROWDED: Reject =
    Reject::new(ErrorCode::RoomFull, "Server has reached its concurrent user limit").fatal(CloseCode::Limit);
const TAKEN: Reject = Reject::new(ErrorCode::IdTaken, "ID is taken").fatal(CloseCode::Forbidden);

/// A frame from a client, or its request.
#[derive(Debug)]
pub(crate) enum Message<'a> {
    Open {
        key: &'a str,
        id: &'a str,
        token: &'a str,
    },
    Heartbeat,
    /// `LEAVE` to nobody: it gives up its id.
    Unregister,
    /// `OFFER`, `ANSWER`, `CANDIDATE`, `LEAVE`.
    Signal {
        kind: &'static str,
        to: Cow<'a, str>,
        payload: Option<&'a str>,
    },
}

/// Whether the request of a connection is that of a PeerJS client.
pub(super) fn is_shown_by(opening: &Opening) -> bool {
    PARAMETERS.iter().all(|name| opening.parameter(name).is_some())
}

impl<'a> Message<'a> {
    pub(super) fn of_opening(opening: &'a Opening) -> Self {
        let given = |name| opening.parameter(name).unwrap_or_default();
        Self::Open {
            key: given("key"),
            id: given("id"),
            token: given("token"),
        }
    }

    pub(crate) fn parse(text: &'a str) -> Result<Self, Malformed> {
        let fields = Fields::parse(text)?;
        let kind = fields.required("type", "type must be a string")?;
        let kind = match &*kind {
            "HEARTBEAT" => return Ok(Self::Heartbeat),
            "OFFER" => "OFFER",
            "ANSWER" => "ANSWER",
            "CANDIDATE" => "CANDIDATE",
            "LEAVE" => "LEAVE",
            // `OPEN`, `EXPIRE` and the like are the server's words.
            _ => return Err(Fields::unknown()),
        };
        match fields.peer("dst")? {
            Some(to) => Ok(Self::Signal {
                kind,
                to,
                payload: fields.raw("payload").map(serde_json::value::RawValue::get),
            }),
            None if kind == "LEAVE" => Ok(Self::Unregister),
            None => Err(Fields::wrong("dst is missing")),
        }
    }

    pub(crate) const fn kind(&self) -> MessageKind {
        match self {
            Self::Open { .. } => MessageKind::Hello,
            Self::Heartbeat => MessageKind::Ping,
            Self::Unregister => MessageKind::Leave,
            Self::Signal { .. } => MessageKind::Sig,
        }
    }

    pub(crate) const fn needs(&self) -> Needs<'_> {
        match self {
            // The token of PeerJS is the client's own secret; that of the user comes with the upgrade.
            Self::Open { .. } => Needs::Name,
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
            Self::Open { key, id, token } => open(hub, now, connection, grants, (key, id, token)),
            Self::Heartbeat => Ok(()),
            Self::Unregister => {
                let membership = hub.only_membership(connection)?;
                hub.leave(connection, membership, "leave");
                Ok(())
            }
            Self::Signal { kind, to, payload } => {
                let membership = hub.only_membership(connection)?;
                let own = hub.own_id(connection);
                let frame = Object::with_capacity(64 + own.len() + to.len() + payload.map_or(0, str::len))
                    .text("type", kind)
                    .text("src", own)
                    .text("dst", &to)
                    .maybe_raw("payload", payload)
                    .finish();
                match hub.forward(now, connection, membership, Reach::Peer(&to), &frame, false) {
                    Err(reject) if reject.code == ErrorCode::NoPeer => {
                        if kind != "LEAVE" {
                            hub.postpone(now, connection, membership, &to, frame);
                        }
                        Ok(())
                    }
                    done => done,
                }
            }
        }
    }
}

fn open(
    hub: &mut Hub,
    now: Now,
    connection: ConnectionId,
    grants: Grants<'_>,
    (key, id, token): (&str, &str, &str),
) -> Result<(), Reject> {
    if key.is_empty() || id.is_empty() || token.is_empty() {
        return Err(UNNAMED);
    }
    if !hub.config().peerjs_keys.iter().any(|known| known == key) {
        return Err(INVALID_KEY);
    }
    super::greet(hub, now, connection, Some(id), grants)?;
    let entry = Entry {
        max: Some(hub.config().peerjs_peers as u64),
        is_quiet: true,
        proof: Some(token),
        ..Entry::plain(key)
    };
    let joined = hub.join(now, connection, &entry);
    let membership = joined.map_err(|reject| match reject.code {
        ErrorCode::IdTaken => TAKEN,
        ErrorCode::RoomFull => CROWDED,
        _ => reject.fatal(CloseCode::Forbidden),
    })?;
    hub.answer(connection, Object::with_capacity(32).text("type", "OPEN").finish());
    hub.hand_postponed(connection, membership);
    Ok(())
}

/// What a sender is told whose frames nobody came for: it reads as if the missing peer said so.
pub(super) fn expired(own: &str, to: &str) -> Bytes {
    Object::with_capacity(64 + own.len() + to.len())
        .text("type", "EXPIRE")
        .text("src", to)
        .text("dst", own)
        .finish()
}

/// `ERROR` ends the client's peer for good, so it is only said when the connection ends as well; what else is wrong has a word that
/// the client writes to its log.
pub(super) fn refusal(reject: &Reject) -> Bytes {
    let kind = match (reject.code, reject.close) {
        (ErrorCode::IdTaken, _) => "ID-TAKEN",
        (_, Some(_)) => "ERROR",
        (_, None) => "WARNING",
    };
    Object::with_capacity(64 + reject.message.len())
        .text("type", kind)
        .raw_with("payload", |text| {
            Object::nested(text, |payload| payload.text("msg", reject.message));
        })
        .finish()
}
