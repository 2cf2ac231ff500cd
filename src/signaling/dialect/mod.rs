//! The languages clients speak to the hub. A dialect turns frames into calls of the hub's primitives and the hub's events
//! into frames; it holds no rooms, no peers and no limits of its own. Peers of two dialects never meet: each has its own
//! [`Realm`].
//!
//! A new dialect is a file with five functions: what a fresh connection is told (`opened`), reading a frame (`Message::parse`),
//! carrying it out (`Message::carry_out`), an event in its words (`encode`), a refusal in its words (`refusal`).
//!
//! A dialect whose clients wait for the server may read a message from the request itself (`Message::of_opening`): it is admitted,
//! charged and judged as the first frame of the connection. One that has something to do in its own time sets a timer
//! (`Hub::set_timer`) and is called when it is over (`Dialect::due`).

pub(crate) mod chiral;
pub(crate) mod edge_announce;
pub(crate) mod edge_net;
pub(crate) mod edge_relay;
mod fields;
pub(crate) mod matchbox;
pub(crate) mod native;
mod opening;
pub(crate) mod peerjs;
pub(crate) mod reploid;
pub(crate) mod retcon;
pub(crate) mod retcon_query;
mod silent;
pub(crate) mod socket_io;
pub(crate) mod topics;
pub(crate) mod verbatim;

use bytes::Bytes;

use super::{
    Now,
    connection::ConnectionId,
    error::Reject,
    event::Event,
    hub::{Grants, Greeting, Hub, Older},
    json::Object,
    labels::{CloseCode, ErrorCode, MessageKind},
    room::{Realm, Room},
};
use native::request::{Malformed, Needs, Request};
pub use opening::Opening;

/// The language of one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Dialect {
    /// `meetpoint.v1.json`, see `docs/signaling-protocol.md`.
    #[default]
    Native,
    /// Whatever the first frame turns out to be.
    Auto,
    /// Reploid's swarm.
    Reploid,
    /// Chiral's file transfer.
    Chiral,
    /// Topics to subscribe and publish to: y-webrtc, Trystero.
    Topics,
    /// Retcon Black Mountain, whose clients authenticate with their first message.
    Retcon,
    /// edge-net, whose peers announce themselves by their key.
    EdgeAnnounce,
    /// edge-net, whose nodes register with a relay.
    EdgeRelay,
    /// PeerJS.
    PeerJs,
    /// matchbox, of Rust games.
    Matchbox,
    /// Every frame to all others of the path's room.
    Verbatim,
    /// Every frame to all others of the room that a first one names.
    Rooms,
    /// edge-net, whose peers are welcomed with an id.
    EdgeNet,
    /// Retcon Black Mountain, whose clients give their token in the query.
    RetconQuery,
    /// Retcon Black Mountain by socket.io.
    SocketIo,
}

impl Dialect {
    /// Every dialect, in the order of [`Self::index`].
    pub const ALL: &'static [Self] = &[
        Self::Native,
        Self::Auto,
        Self::Reploid,
        Self::Chiral,
        Self::Topics,
        Self::Retcon,
        Self::EdgeAnnounce,
        Self::EdgeRelay,
        Self::PeerJs,
        Self::Matchbox,
        Self::Verbatim,
        Self::Rooms,
        Self::EdgeNet,
        Self::RetconQuery,
        Self::SocketIo,
    ];

    /// Position in [`Self::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Its name in configuration.
    pub const fn as_label(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Auto => "auto",
            Self::Reploid => "reploid",
            Self::Chiral => "chiral",
            Self::Topics => "topics",
            Self::Retcon => "retcon",
            Self::EdgeAnnounce => "edge-announce",
            Self::EdgeRelay => "edge-relay",
            Self::PeerJs => "peerjs",
            Self::Matchbox => "matchbox",
            Self::Verbatim => "verbatim",
            Self::Rooms => "rooms",
            Self::EdgeNet => "edge-net",
            Self::RetconQuery => "retcon-query",
            Self::SocketIo => "socket.io",
        }
    }

    /// The name space of its rooms.
    pub const fn realm(self) -> Realm {
        Realm(self as u16)
    }

    /// The dialect that a first frame is in. Each has a word of its own there; what is not recognised is answered in the
    /// native one.
    pub fn of_first_frame(text: &str) -> Self {
        let Ok(fields) = fields::Fields::parse(text) else {
            return Self::Native;
        };
        let has = |key: &str| fields.raw(key).is_some();
        match fields.text("type").as_deref() {
            Some("join") if has("peerId") => Self::Reploid,
            Some("register") if has("clientId") => Self::Chiral,
            Some("subscribe") if has("topics") || has("topic") => Self::Topics,
            Some("auth") => Self::Retcon,
            Some("register") if has("nodeId") => Self::EdgeRelay,
            Some("announce") if has("piKey") => Self::EdgeAnnounce,
            _ => Self::Native,
        }
    }

    /// Whether what stands in the path behind the dialect's own is a room.
    pub const fn takes_room(self) -> bool {
        matches!(self, Self::Matchbox | Self::Verbatim)
    }

    /// Whether there may be spaces in its ids.
    pub(crate) const fn has_words_in_ids(self) -> bool {
        matches!(self, Self::PeerJs)
    }

    /// The parameters of the query that an opening keeps for it.
    pub(crate) const fn parameters(self) -> &'static [&'static str] {
        match self {
            // A token shows whose client it is.
            Self::PeerJs | Self::Auto => peerjs::PARAMETERS,
            Self::Matchbox => &["next"],
            Self::RetconQuery => retcon_query::PARAMETERS,
            Self::SocketIo => socket_io::PARAMETERS,
            _ => &[],
        }
    }

    /// The dialect of a request on a path of [`Self::Auto`], where its query shows it: for clients that wait for the server.
    pub fn of_opening(self, opening: &Opening) -> Self {
        match self {
            Self::Auto if peerjs::is_shown_by(opening) => Self::PeerJs,
            Self::Auto if opening.parameter("token").is_some() => Self::RetconQuery,
            known => known,
        }
    }

    /// The dialect of a first frame that came after [`silent::greet`]: of two that begin alike, the one that waits for that.
    pub(crate) const fn after_silence(self) -> Self {
        match self {
            Self::EdgeRelay => Self::EdgeNet,
            other => other,
        }
    }

    /// What a plain GET is told where the dialect's own server answers one.
    pub const fn plain_answer(self) -> Option<&'static str> {
        match self {
            Self::Topics => Some("okay"),
            _ => None,
        }
    }

    /// What a plain GET is told where it is a client's way to ask for another transport: JSON, with status 400.
    pub const fn plain_refusal(self) -> Option<&'static str> {
        match self {
            Self::SocketIo => Some(socket_io::POLLED),
            _ => None,
        }
    }

    /// The time of a connection's timer has come.
    pub(crate) fn due(self, hub: &mut Hub, now: Now, connection: ConnectionId) {
        match self {
            Self::Auto => silent::greet(hub, now, connection),
            Self::SocketIo => socket_io::ping(hub, now, connection),
            _ => {}
        }
    }

    /// A second has passed; whether there is anybody whom that concerns.
    pub(crate) fn beat(hub: &mut Hub, now: Now) -> bool {
        edge_relay::beat(hub, now)
    }

    /// What a fresh connection is told before it has said anything.
    pub(crate) fn opened(self, now: Now) -> Option<Bytes> {
        match self {
            Self::Reploid => Some(reploid::welcome(now)),
            Self::Retcon => Some(retcon::auth_required()),
            _ => None,
        }
    }

    /// What a connection is told whose first frame has shown the dialect, before the answer to that frame.
    pub(crate) fn shown(self, now: Now) -> Option<Bytes> {
        match self {
            // It has not waited to be asked, and would do it all again if it were.
            Self::Retcon => None,
            other => other.opened(now),
        }
    }

    /// What an operator says in a room of that realm, a JSON object, as its clients can read it.
    pub(crate) fn said_in(realm: Realm, object: &str) -> Bytes {
        if realm == Self::SocketIo.realm() {
            return socket_io::message(object);
        }
        Bytes::copy_from_slice(object.as_bytes())
    }

    /// How a peer of this dialect is told that the server goes away, if there is a word for it.
    pub(crate) fn drain(self, after_ms: (u64, u64), url: Option<&str>) -> Option<Bytes> {
        match self {
            Self::Native => Some(native::frame::drain(after_ms, url)),
            Self::Reploid => Some(Object::with_capacity(32).text("type", "server-shutdown").finish()),
            Self::EdgeRelay => Some(Object::with_capacity(32).text("type", "relay_shutdown").finish()),
            _ => None,
        }
    }

    /// Whether all receivers of an event are told the same.
    pub(crate) const fn is_shared(self) -> bool {
        !matches!(self, Self::Chiral)
    }

    /// The frame that tells a member of this dialect about `event`; `None` for events it has no word for.
    pub(crate) fn encode(self, event: &Event<'_>, seq: u64, told: &Told<'_>) -> Option<Bytes> {
        if let Event::Verbatim { frame } = event {
            return Some(Bytes::clone(frame));
        }
        match self {
            Self::Native | Self::Auto => Some(native::frame::event(event, seq)),
            Self::Reploid => reploid::encode(event),
            Self::Chiral => chiral::encode(event, told),
            Self::Retcon => retcon::encode(event),
            Self::EdgeAnnounce => edge_announce::encode(event),
            Self::EdgeRelay => edge_relay::encode(event, told),
            Self::Matchbox => matchbox::encode(event),
            Self::Topics | Self::PeerJs | Self::Verbatim | Self::Rooms => None,
            Self::EdgeNet => edge_net::encode(event),
            Self::RetconQuery => retcon_query::encode(event),
            Self::SocketIo => socket_io::encode(event),
        }
    }

    /// What a peer is told whose frames for `to` waited in vain.
    pub(crate) fn expired(self, own: &str, to: &str) -> Option<Bytes> {
        (self == Self::PeerJs).then(|| peerjs::expired(own, to))
    }

    /// The frame that tells a connection of this dialect what is wrong; `None` where it has no word for it that would not do harm.
    pub(crate) fn refusal(self, about: &About, reject: &Reject, unix_ms: u64) -> Option<Bytes> {
        Some(match self {
            Self::Native | Self::Auto => native::frame::err(about.id, reject),
            Self::Reploid => reploid::refusal(reject, unix_ms),
            Self::Chiral | Self::Topics | Self::Retcon | Self::RetconQuery | Self::Verbatim | Self::Rooms => {
                refusal(reject)
            }
            Self::EdgeAnnounce => edge_announce::refusal(about, reject),
            Self::EdgeRelay => edge_relay::refusal(about, reject),
            Self::PeerJs => peerjs::refusal(reject),
            Self::Matchbox => return None,
            Self::EdgeNet => edge_net::refusal(about, reject),
            Self::SocketIo => socket_io::refusal(reject),
        })
    }
}

/// What a refusal repeats of the frame that it is about, in dialects whose clients look for it.
#[derive(Debug, Clone, Default)]
pub(crate) struct About {
    /// The number of a request.
    pub(crate) id: Option<u64>,
    /// Its type.
    pub(crate) kind: Option<&'static str>,
    /// The peer that it was for, as its sender wrote it.
    pub(crate) target: Option<Box<str>>,
}

impl About {
    pub(crate) const fn of_id(id: Option<u64>) -> Self {
        Self {
            id,
            kind: None,
            target: None,
        }
    }

    fn of_target(target: Option<&str>) -> Self {
        Self {
            target: target.map(Box::from),
            ..Self::default()
        }
    }
}

/// Who is told of an event.
#[derive(Debug)]
pub(crate) struct Told<'a> {
    /// Their peer id.
    pub(crate) peer: &'a str,
    /// The room it happened in, as it is after the event.
    pub(crate) room: Option<&'a Room>,
}

/// A frame that was read.
#[derive(Debug)]
pub(crate) enum Message<'a> {
    Native(Request<'a>),
    Reploid(reploid::Message<'a>),
    Chiral(chiral::Message<'a>),
    Topics(topics::Message<'a>),
    Retcon(retcon::Message<'a>),
    EdgeAnnounce(edge_announce::Message<'a>),
    EdgeRelay(edge_relay::Message<'a>),
    PeerJs(peerjs::Message<'a>),
    Matchbox(matchbox::Message<'a>),
    Verbatim(verbatim::Message<'a>),
    EdgeNet(edge_net::Message<'a>),
    RetconQuery(retcon_query::Message<'a>),
    SocketIo(socket_io::Message<'a>),
}

impl<'a> Message<'a> {
    pub(crate) fn parse(dialect: Dialect, text: &'a str) -> Result<Self, Malformed> {
        match dialect {
            Dialect::Native | Dialect::Auto => Request::parse(text).map(Self::Native),
            Dialect::Reploid => reploid::Message::parse(text).map(Self::Reploid),
            Dialect::Chiral => chiral::Message::parse(text).map(Self::Chiral),
            Dialect::Topics => topics::Message::parse(text).map(Self::Topics),
            Dialect::Retcon => retcon::Message::parse(text).map(Self::Retcon),
            Dialect::EdgeAnnounce => edge_announce::Message::parse(text).map(Self::EdgeAnnounce),
            Dialect::EdgeRelay => edge_relay::Message::parse(text).map(Self::EdgeRelay),
            Dialect::PeerJs => peerjs::Message::parse(text).map(Self::PeerJs),
            Dialect::Matchbox => matchbox::Message::parse(text).map(Self::Matchbox),
            Dialect::Verbatim => verbatim::Message::parse(text, false).map(Self::Verbatim),
            Dialect::Rooms => verbatim::Message::parse(text, true).map(Self::Verbatim),
            Dialect::EdgeNet => edge_net::Message::parse(text).map(Self::EdgeNet),
            Dialect::RetconQuery => retcon_query::Message::parse(text).map(Self::RetconQuery),
            Dialect::SocketIo => socket_io::Message::parse(text).map(Self::SocketIo),
        }
    }

    /// What the request itself says, where that is a message of the dialect.
    pub(crate) fn of_opening(dialect: Dialect, opening: &'a Opening) -> Option<Result<Self, Malformed>> {
        Some(Ok(match dialect {
            Dialect::PeerJs => Self::PeerJs(peerjs::Message::of_opening(opening)),
            Dialect::Matchbox => Self::Matchbox(matchbox::Message::of_opening(opening)),
            Dialect::Verbatim => Self::Verbatim(verbatim::Message::of_opening(opening)),
            Dialect::EdgeNet => Self::EdgeNet(edge_net::Message::Open),
            Dialect::RetconQuery => Self::RetconQuery(retcon_query::Message::of_opening(opening)),
            Dialect::SocketIo => return Some(socket_io::Message::of_opening(opening).map(Self::SocketIo)),
            _ => return None,
        }))
    }

    pub(crate) const fn kind(&self) -> MessageKind {
        match self {
            Self::Native(request) => request.kind(),
            Self::Reploid(message) => message.kind(),
            Self::Chiral(message) => message.kind(),
            Self::Topics(message) => message.kind(),
            Self::Retcon(message) => message.kind(),
            Self::EdgeAnnounce(message) => message.kind(),
            Self::EdgeRelay(message) => message.kind(),
            Self::PeerJs(message) => message.kind(),
            Self::Matchbox(message) => message.kind(),
            Self::Verbatim(message) => message.kind(),
            Self::EdgeNet(message) => message.kind(),
            Self::RetconQuery(message) => message.kind(),
            Self::SocketIo(message) => message.kind(),
        }
    }

    /// What a refusal of it repeats.
    pub(crate) fn about(&self) -> About {
        match self {
            Self::Native(request) => About::of_id(request.id),
            Self::EdgeAnnounce(message) => message.about(),
            Self::EdgeRelay(message) => message.about(),
            Self::EdgeNet(message) => message.about(),
            _ => About::default(),
        }
    }

    /// What the driver has to find out before the hub can carry this out.
    pub(crate) fn needs(&self) -> Needs<'_> {
        match self {
            Self::Native(request) => request.needs(),
            Self::Reploid(message) => message.needs(),
            Self::Chiral(message) => message.needs(),
            Self::Topics(message) => message.needs(),
            Self::Retcon(message) => message.needs(),
            Self::EdgeAnnounce(message) => message.needs(),
            Self::EdgeRelay(message) => message.needs(),
            Self::PeerJs(message) => message.needs(),
            Self::Matchbox(message) => message.needs(),
            Self::Verbatim(message) => message.needs(),
            Self::EdgeNet(message) => message.needs(),
            Self::RetconQuery(message) => message.needs(),
            Self::SocketIo(message) => message.needs(),
        }
    }

    /// The session that a `hello` comes back from.
    pub(crate) fn older(&self) -> Option<Older<'_>> {
        match self {
            Self::Native(request) => request.older(),
            _ => None,
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
            Self::Native(request) => native::dispatch::carry_out(hub, now, connection, request, grants),
            Self::Reploid(message) => message.carry_out(hub, now, connection, grants),
            Self::Chiral(message) => message.carry_out(hub, now, connection, grants),
            Self::Topics(message) => message.carry_out(hub, now, connection, grants),
            Self::Retcon(message) => message.carry_out(hub, now, connection, grants),
            Self::EdgeAnnounce(message) => message.carry_out(hub, now, connection, grants),
            Self::EdgeRelay(message) => message.carry_out(hub, now, connection, grants),
            Self::PeerJs(message) => message.carry_out(hub, now, connection, grants),
            Self::Matchbox(message) => message.carry_out(hub, now, connection, grants),
            Self::Verbatim(message) => message.carry_out(hub, now, connection, grants),
            Self::EdgeNet(message) => message.carry_out(hub, now, connection, grants),
            Self::RetconQuery(message) => message.carry_out(hub, now, connection, grants),
            Self::SocketIo(message) => message.carry_out(hub, now, connection, grants),
        }
    }
}

/// A refusal in the words that most dialects share.
fn refusal(reject: &Reject) -> Bytes {
    Object::with_capacity(64 + reject.message.len())
        .text("type", "error")
        .text("message", reject.message)
        .text("code", reject.code.as_label())
        .finish()
}

/// The name that a peer was greeted by; who was not is told what comes `first`.
fn speaker<'h>(hub: &'h Hub, connection: ConnectionId, first: &'static str) -> Result<&'h str, Reject> {
    let own = hub.peer_id(connection).map(|id| &**id);
    own.ok_or(Reject::bad_request(first).fatal(CloseCode::BadRequest))
}

/// A peer speaks for itself alone: the name it was greeted by, if it claims no other.
fn check_sender<'h>(
    hub: &'h Hub,
    connection: ConnectionId,
    claimed: Option<&str>,
    first: &'static str,
    not_yours: &'static str,
) -> Result<&'h str, Reject> {
    let own = speaker(hub, connection, first)?;
    if claimed.is_some_and(|claimed| claimed != own) {
        return Err(Reject::new(ErrorCode::Forbidden, not_yours));
    }
    Ok(own)
}

/// Makes a connection a peer whose dialect has no `hello` of its own; one that is a peer already stays what it is.
fn greet(
    hub: &mut Hub,
    now: Now,
    connection: ConnectionId,
    peer: Option<&str>,
    grants: Grants<'_>,
) -> Result<(), Reject> {
    if hub.is_welcomed(connection) {
        return Ok(());
    }
    let nobody = Reject::new(ErrorCode::Unavailable, "nobody to ask about tokens");
    let greeting = Greeting {
        peer,
        older: None,
        resumes: false,
        binary: false,
        meta: None,
    };
    hub.greet(now, connection, greeting, grants.identity.ok_or(nobody)?)?;
    Ok(())
}
