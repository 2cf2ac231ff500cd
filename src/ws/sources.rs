//! What the sockets ask of others: who is this, which ICE servers does it get, and what do other replicas hear.

use std::{fmt, future::Future, net::IpAddr, pin::Pin};

use bytes::Bytes;
use hyper::header::{HeaderName, HeaderValue};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::signaling::{AuthError, Ice, IceUser, Identity, RoomTopic, Topic};

/// Who asks to be let in, as far as that is known.
#[derive(Clone, Copy, Default)]
pub struct Applicant<'a> {
    /// The token; `None` when none was sent, which a server without authentication answers with [`Identity::ANONYMOUS`].
    pub token: Option<&'a str>,
    /// Where from.
    pub ip: Option<IpAddr>,
    /// The page that asks, as its browser says.
    pub origin: Option<&'a str>,
    /// What was asked for.
    pub path: Option<&'a str>,
}

/// Never the token.
impl fmt::Debug for Applicant<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Applicant")
            .field("token", &self.token.map(|_| "[redacted]"))
            .finish_non_exhaustive()
    }
}

/// A verdict that takes somebody else. Dropping it takes the question back.
pub type Pending = Pin<Box<dyn Future<Output = Result<Identity, AuthError>> + Send>>;

/// What became of an applicant.
pub enum Verdict {
    /// Who it is, or why not.
    Now(Result<Identity, AuthError>),
    /// That is known later.
    Later(Pending),
}

impl fmt::Debug for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Now(Ok(_)) => f.write_str("Now(Ok)"),
            Self::Now(Err(error)) => write!(f, "Now({error})"),
            Self::Later(_) => f.write_str("Later"),
        }
    }
}

/// Judges tokens. Called outside every lock, once per `hello` and `auth`; must not block.
pub trait Authenticator: Send + Sync + 'static {
    /// The identity behind an applicant, or [`AuthError`] when the connection must not be welcomed.
    fn authenticate(&self, applicant: Applicant<'_>) -> Verdict;

    /// Whether [`Applicant::origin`] and [`Applicant::path`] are looked at: they are kept for each connection then.
    fn looks_at_origins(&self) -> bool {
        false
    }
}

/// Whom a list of ICE servers is for.
#[derive(Debug, Clone, Copy)]
pub struct IceAsker<'a> {
    /// Whose credentials they are.
    pub user: &'a IceUser,
    /// The HTTP `Host` value by which it reached this server.
    pub host: Option<&'a str>,
    /// Where from.
    pub ip: Option<IpAddr>,
    /// The room it is for, where there is one.
    pub room: Option<&'a str>,
    /// What the request for its socket told beside.
    pub told: &'a Told,
}

/// What the request for a socket told, as far as lists of ICE servers depend on it. Whoever serves HTTP puts it into the
/// request's extensions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Told {
    /// A browser's page asked.
    pub browser: bool,
    /// It came through a proxy whose headers are believed.
    pub proxied: bool,
    /// Headers that something depended on when the socket was opened.
    pub headers: Box<[(HeaderName, HeaderValue)]>,
}

/// Makes ICE server lists. Called outside every lock, once per `hello` and `ice`; must not block.
pub trait IceSource: Send + Sync + 'static {
    /// The list for `asker`.
    fn ice_servers(&self, asker: &IceAsker<'_>) -> IceList;

    /// What tells the relay that comes first in that list from those of other replicas, without making it; `None` where there is
    /// nothing to choose from.
    fn relay_of(&self, _asker: &IceAsker<'_>) -> Option<u64> {
        None
    }

    /// Whether those in a room of a tenant who have that relay ([`Self::relay_of`]) first may keep their lists. False: it takes no
    /// rooms any more, or this room is another one's by now.
    fn keeps_relay(&self, _realm: Option<&str>, _room: &str, _relay: u64) -> bool {
        true
    }
}

/// Carries what the hub says to other replicas. Called under the hub's lock, in order: must neither wait nor call back.
pub trait Bus: Send + Sync + 'static {
    /// [`Output::Publish`](crate::signaling::Output::Publish).
    fn publish(&self, topic: Topic, payload: Bytes);
    /// [`Output::Subscribe`](crate::signaling::Output::Subscribe).
    fn subscribe(&self, topic: RoomTopic);
    /// [`Output::Unsubscribe`](crate::signaling::Output::Unsubscribe).
    fn unsubscribe(&self, topic: RoomTopic);
}

/// An ICE server list as it goes on the wire.
#[derive(Debug, Clone)]
pub struct IceList {
    /// JSON array of `RTCIceServer` dictionaries.
    pub servers: Box<RawValue>,
    /// When the credentials in it end, milliseconds since the Unix epoch.
    pub expires_at_ms: u64,
    /// `iceTransportPolicy` the operator wants (`"relay"`), `None` for the browser's default.
    pub policy: Option<Box<str>>,
    /// [`IceSource::relay_of`] for whom it is.
    pub relay: Option<u64>,
}

impl IceList {
    /// As the hub takes it.
    pub(crate) fn as_ice(&self) -> Ice<'_> {
        Ice {
            servers: self.servers.get(),
            expires_at_ms: self.expires_at_ms,
            policy: self.policy.as_deref(),
            relay: self.relay,
        }
    }

    /// A list from anything that serialises to an array of `RTCIceServer`.
    ///
    /// # Errors
    /// When `servers` cannot be written as JSON.
    pub fn new(servers: &impl Serialize, expires_at_ms: u64) -> serde_json::Result<Self> {
        Ok(Self {
            servers: serde_json::value::to_raw_value(servers)?,
            expires_at_ms,
            policy: None,
            relay: None,
        })
    }

    /// The list that offers nothing: the client gathers host candidates only.
    pub fn empty(expires_at_ms: u64) -> Self {
        // An empty array is JSON, so the other value is never used.
        let servers = RawValue::from_string("[]".into()).unwrap_or_else(|_| RawValue::NULL.to_owned());
        Self {
            servers,
            expires_at_ms,
            policy: None,
            relay: None,
        }
    }
}

/// Lets everybody in as [`Identity::ANONYMOUS`]: the authenticator of a server without tokens.
#[derive(Debug, Clone, Copy, Default)]
pub struct Anonymous;

impl Authenticator for Anonymous {
    fn authenticate(&self, _applicant: Applicant<'_>) -> Verdict {
        Verdict::Now(Ok(Identity::ANONYMOUS))
    }
}
