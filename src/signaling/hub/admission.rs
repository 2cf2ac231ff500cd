//! The way in: what a frame costs, and what has to be known before it can be carried out.

use super::{Hub, Older, cluster::Raw};
use crate::signaling::{
    Now,
    connection::{Connection, ConnectionId, Rated},
    dialect::{
        About, Dialect, Message, Opening,
        native::{
            self,
            request::{Malformed, Needs},
        },
    },
    error::Reject,
    identity::{AuthError, Identity},
    labels::{CloseCode, ErrorCode, MessageKind},
};

/// One received frame: read, and how long it was.
#[derive(Debug)]
pub struct Frame<'a> {
    parsed: Result<Message<'a>, Malformed>,
    raw: Raw<'a>,
    bytes: usize,
    binary: bool,
    /// What it was read as; for a first frame on a connection of [`Dialect::Auto`] what it turned out to be.
    dialect: Dialect,
}

impl<'a> Frame<'a> {
    /// Reads a text frame in the words of its connection's dialect. Touches no hub, so it happens outside every lock.
    pub fn text(dialect: Dialect, text: &'a str) -> Self {
        let dialect = match dialect {
            Dialect::Auto => Dialect::of_first_frame(text),
            known => known,
        };
        Self {
            parsed: Message::parse(dialect, text),
            raw: Raw::Text(text),
            bytes: text.len(),
            binary: false,
            dialect,
        }
    }

    /// The same for a connection that has been told something already, before it has said anything.
    pub fn text_after_silence(dialect: Dialect, text: &'a str) -> Self {
        match dialect {
            Dialect::Auto => Self::text(Dialect::of_first_frame(text).after_silence(), text),
            known => Self::text(known, text),
        }
    }

    /// The dialect of the connection from this frame on.
    pub const fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// What the request that opened a connection says in the words of its dialect, as its first frame; `None` where that comes by
    /// the socket.
    pub fn opening(dialect: Dialect, opening: &'a Opening) -> Option<Self> {
        Message::of_opening(dialect, opening).map(|parsed| Self {
            parsed,
            raw: Raw::Opening(opening),
            bytes: 0,
            binary: false,
            dialect,
        })
    }

    /// Reads a binary frame. The native protocol alone has them, and only after a hello that says so: none shows a dialect.
    pub fn binary(dialect: Dialect, frame: &'a [u8]) -> Self {
        Self {
            parsed: match dialect {
                Dialect::Native => native::binary::parse(frame).map(Message::Native),
                _ => Err(Malformed::BINARY),
            },
            raw: Raw::Binary(frame),
            bytes: frame.len(),
            binary: true,
            dialect: Dialect::Auto,
        }
    }

    /// A frame that was longer than [`Config::frame_bytes`](crate::signaling::Config::frame_bytes); the connection ends with it.
    pub const fn oversize() -> Self {
        Self {
            parsed: Err(Malformed::OVERSIZE),
            raw: Raw::Binary(&[]),
            bytes: 0,
            binary: false,
            dialect: Dialect::Auto,
        }
    }

    /// A frame that [`Hub::try_admit`] let through before, read again after the driver has waited for something.
    pub fn readmitted(self) -> Option<Admitted<'a>> {
        let raw = self.raw;
        self.parsed.ok().map(|message| Admitted { message, raw })
    }

    /// What the driver has to find out before the hub can carry this out.
    pub fn needs(&self) -> Needs<'_> {
        self.parsed.as_ref().map_or(Needs::Nothing, Message::needs)
    }
}

/// A well-formed request that the rate limit let through: [`Hub::try_admit`] makes them, and [`Frame::readmitted`] the same one
/// once more.
#[derive(Debug)]
pub struct Admitted<'a> {
    message: Message<'a>,
    /// As it came, in case that it has to wait.
    raw: Raw<'a>,
}

impl Admitted<'_> {
    /// What the driver has to find out before the hub can carry this out.
    pub fn needs(&self) -> Needs<'_> {
        self.message.needs()
    }

    /// The session that a `hello` comes back from.
    pub(super) fn older(&self) -> Option<Older<'_>> {
        self.message.older()
    }
}

/// An ICE server list in the words of the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ice<'a> {
    /// JSON array of `RTCIceServer` dictionaries.
    pub servers: &'a str,
    /// When the credentials in it end, milliseconds since the Unix epoch.
    pub expires_at_ms: u64,
    /// `iceTransportPolicy`, `None` for the browser's default.
    pub policy: Option<&'a str>,
    /// What tells the relay that comes first in it from those of other replicas; `None` where there is nothing to choose from.
    pub relay: Option<u64>,
}

/// What the driver found out for a request that [needs](Admitted::needs) something.
#[derive(Debug, Default)]
pub struct Grants<'a> {
    /// The verdict on the token of a `hello` or `auth`.
    pub identity: Option<Result<Identity, AuthError>>,
    /// The ICE servers for a `hello` or `ice`; `None` offers none.
    pub ice: Option<Ice<'a>>,
}

/// What a message costs of the budget of `messages_per_second`: those that every member of a room hears of, or that make the
/// server compute, cost more; so do those that are only noise.
pub(super) const fn cost(kind: MessageKind) -> u64 {
    match kind {
        MessageKind::Sig | MessageKind::Send | MessageKind::Ping | MessageKind::Ack | MessageKind::Bye => 1,
        MessageKind::Hello
        | MessageKind::Join
        | MessageKind::Leave
        | MessageKind::Meta
        | MessageKind::Room
        | MessageKind::Who
        | MessageKind::Ice
        | MessageKind::Auth => 5,
        MessageKind::Unknown | MessageKind::Malformed | MessageKind::Binary | MessageKind::Oversize => 10,
    }
}

impl Hub {
    /// Counts and charges a frame. `None` means that it has been refused and answered; of a connection that is gone nothing
    /// is counted or answered.
    pub fn try_admit<'a>(&mut self, now: Now, connection: ConnectionId, frame: Frame<'a>) -> Option<Admitted<'a>> {
        self.unix_ms = now.unix_ms;
        if frame.dialect != Dialect::Auto {
            self.adopt(now, connection, frame.dialect);
        }
        let entry = self.connections.get_mut(connection).filter(|entry| !entry.is_away())?;
        let parsed = match frame.parsed {
            // Also its number is nothing to this connection.
            _ if frame.binary && !entry.binary => Err(Malformed::BINARY),
            parsed => parsed,
        };
        let (kind, about) = match &parsed {
            Ok(message) => (message.kind(), message.about()),
            Err(malformed) => (malformed.kind, About::of_id(malformed.id)),
        };
        self.stats.messages[kind] += 1;
        let rated = entry.budget.charge(&self.config, now.instant, cost(kind), frame.bytes);
        let reject = match (parsed, rated) {
            (Ok(message), Rated::Passed) => {
                return Some(Admitted {
                    message,
                    raw: frame.raw,
                });
            }
            (Err(malformed), _) if malformed.kind == MessageKind::Oversize => {
                Reject::new(malformed.code, malformed.message).fatal(CloseCode::TooLarge)
            }
            (Err(malformed), Rated::Passed) => Reject::new(malformed.code, malformed.message),
            (_, Rated::Refused(retry)) => Reject::new(ErrorCode::RateLimited, "more than limits.rate").retry(retry),
            (_, Rated::Persistent) => {
                Reject::new(ErrorCode::RateLimited, "kept sending past limits.rate").fatal(CloseCode::Rate)
            }
        };
        self.refuse_message(connection, &about, reject);
        None
    }

    /// Settles the dialect of a connection that was to show it with its first frame.
    fn adopt(&mut self, now: Now, connection: ConnectionId, dialect: Dialect) {
        let Some(entry) = self.connections.get_mut(connection) else {
            return;
        };
        if entry.dialect == Dialect::Auto {
            entry.dialect = dialect;
            entry.realm = dialect.realm();
            let greeted = entry.has_offer;
            self.set_timer(connection, None);
            if !greeted && let Some(payload) = dialect.shown(now) {
                self.deliver(connection, payload);
            }
        }
    }

    /// Carries out a request.
    pub fn handle_request(&mut self, now: Now, connection: ConnectionId, admitted: Admitted<'_>, grants: Grants<'_>) {
        if self.connections.get(connection).is_none_or(Connection::is_away) {
            // It was admitted, then replaced, closed or left without a socket while the driver asked about it: counted, with
            // nobody to answer. A session that waits must not be given another end by it.
            self.stats.refused[ErrorCode::Unavailable] += 1;
            return;
        }
        let about = admitted.message.about();
        // What needs a verdict of the driver's is about no room: it need not wait, and the verdict would be lost.
        let may_wait = !matches!(
            admitted.needs(),
            Needs::Welcome { .. } | Needs::Identity { .. } | Needs::Ice
        );
        if self.is_held(connection) {
            match may_wait.then(|| self.try_queue(connection, admitted.raw)) {
                Some(Ok(())) => return,
                Some(Err(reject)) => return self.refuse_message(connection, &about, reject),
                None => {}
            }
        }
        match admitted.message.carry_out(self, now, connection, grants) {
            Err(reject) if reject.held => return self.hold(now, connection, admitted.raw),
            Ok(()) => self.stats.accepted += 1,
            Err(reject) => self.refuse_message(connection, &about, reject),
        }
        if may_wait {
            self.settle(connection);
        }
    }

    /// [`Self::try_admit`] and [`Self::handle_request`] in one, for frames that need nothing.
    pub fn handle_frame(&mut self, now: Now, connection: ConnectionId, frame: Frame<'_>) {
        if let Some(admitted) = self.try_admit(now, connection, frame) {
            self.handle_request(now, connection, admitted, Grants::default());
        }
    }

    pub(super) fn refuse_message(&mut self, connection: ConnectionId, about: &About, reject: Reject) {
        self.stats.refused[reject.code] += 1;
        self.refuse(connection, about, reject);
    }

    /// Tells a connection what is wrong, and ends it if that is fatal.
    pub(super) fn refuse(&mut self, connection: ConnectionId, about: &About, reject: Reject) {
        let Some(dialect) = self.connections.get(connection).map(|entry| entry.dialect) else {
            return;
        };
        if let Some(payload) = dialect.refusal(about, &reject, self.unix_ms) {
            self.deliver(connection, payload);
        }
        if let Some(code) = reject.close {
            self.close(connection, code);
        }
    }
}
