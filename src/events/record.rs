//! An event as it leaves the process: a number, a kind, and one line of JSON.

use serde::Serialize;

use super::audit::Audit;
use super::hub::HubEvent;
use super::server::ServerEvent;
use crate::credentials::UnixTime;
use crate::telemetry::labels::{ProbeFault, RecordKind};
use crate::turn::{self, Traffic, What};

/// One event, written down.
#[derive(Debug)]
pub struct Record {
    /// Names the process and the event in it, whose number grows from 1 on without gaps.
    pub id: Box<str>,
    /// Its kind.
    pub kind: RecordKind,
    /// The user, as quotas count.
    pub user: Option<Box<str>>,
    /// The whole USERNAME.
    pub username: Option<Box<str>>,
    /// One JSON object, without line breaks.
    pub json: Box<str>,
}

/// What happened, before it is written down.
#[derive(Clone, Debug)]
pub(super) enum Happened {
    /// In the relay.
    Relay(turn::Event),
    /// By an operator.
    Audit(Audit),
    /// In the hub.
    Hub(Box<HubEvent>),
    /// To a server in the lists.
    Server(ServerEvent),
    /// An interval of a tenant has ended.
    Usage(Box<UsageEvent>),
}

/// What a tenant used in an interval, as its record says it.
#[derive(Clone, Debug)]
pub struct UsageEvent {
    /// When the interval ended.
    pub at: UnixTime,
    /// The record's fields.
    pub fields: serde_json::Map<String, serde_json::Value>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown<'a, T: Serialize> {
    id: &'a str,
    kind: &'static str,
    time: u64,
    #[serde(flatten)]
    rest: &'a T,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OfRelay<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    allocation: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<&'a str>,
    realm: &'a str,
    transport: &'static str,
    client: std::net::SocketAddr,
    listen: std::net::SocketAddr,
    relayed: Vec<std::net::SocketAddr>,
    #[serde(flatten)]
    what: Details,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Details {
    Lifetime {
        lifetime: u64,
    },
    Moved {
        from: std::net::SocketAddr,
    },
    #[serde(rename_all = "camelCase")]
    Closed {
        reason: &'static str,
        seconds: f64,
        to_peer: Counted,
        to_client: Counted,
    },
    Denied {
        class: &'static str,
        method: &'static str,
        peer: std::net::IpAddr,
        count: u64,
    },
    Limited {
        limit: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        direction: Option<&'static str>,
        count: u64,
    },
    AuthFailed {
        reason: &'static str,
        count: u64,
    },
}

#[derive(Serialize)]
struct Counted {
    packets: u64,
    bytes: u64,
}

impl From<Traffic> for Counted {
    fn from(traffic: Traffic) -> Self {
        Self {
            packets: traffic.packets,
            bytes: traffic.bytes,
        }
    }
}

#[derive(Serialize)]
struct OfOperator<'a> {
    action: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<&'a str>,
    client: std::net::IpAddr,
    status: u16,
    count: u64,
}

#[derive(Serialize)]
struct OfServer<'a> {
    url: &'a str,
    server: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
}

#[derive(Serialize)]
struct OfHub<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    dialect: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    room: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    peer: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    realm: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<std::net::IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ban: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended: Option<usize>,
}

impl<'a> OfHub<'a> {
    fn new(event: &'a HubEvent) -> Self {
        Self {
            dialect: event.dialect,
            room: event.room.as_deref(),
            peer: event.peer.as_deref(),
            session: event.session.as_deref(),
            user: event.user.as_deref(),
            realm: event.realm(),
            client: event.client,
            ban: event.ban,
            until: event.until.map(|until| until.0),
            reason: event.reason.as_deref(),
            ended: event.ended,
        }
    }
}

impl Happened {
    pub(super) const fn kind(&self) -> RecordKind {
        match self {
            Self::Audit(_) => RecordKind::Admin,
            Self::Hub(event) => event.kind,
            Self::Server(event) => event.kind,
            Self::Usage(_) => RecordKind::Usage,
            Self::Relay(event) => match event.what {
                What::Created { .. } => RecordKind::Created,
                What::Refreshed { .. } => RecordKind::Refreshed,
                What::Moved { .. } => RecordKind::Moved,
                What::Closed { .. } => RecordKind::Closed,
                What::Denied { .. } => RecordKind::Denied,
                What::Limited { .. } => RecordKind::Limited,
                What::AuthFailed { .. } => RecordKind::AuthFailed,
            },
        }
    }

    /// Writes it down as number `number` of the process `instance`.
    pub(super) fn record(&self, instance: &str, number: u64) -> Record {
        let kind = self.kind();
        let (time, user, username) = match self {
            Self::Relay(event) => (event.at, event.about.user.clone(), event.about.username.clone()),
            Self::Audit(audit) => (audit.at, None, None),
            Self::Hub(event) => (event.at, event.user.clone(), None),
            Self::Server(event) => (event.at, None, None),
            Self::Usage(event) => (event.at, None, None),
        };
        let (id, kind_word, time) = (format!("{instance}-{number}"), kind.as_label(), time.0);
        // No map with keys that are no strings is in there, so that it cannot fail.
        let json = match self {
            Self::Relay(event) => serde_json::to_string(&Shown {
                id: &id,
                kind: kind_word,
                time,
                rest: &of_relay(event),
            }),
            Self::Hub(event) => serde_json::to_string(&Shown {
                id: &id,
                kind: kind_word,
                time,
                rest: &OfHub::new(event),
            }),
            Self::Server(event) => serde_json::to_string(&Shown {
                id: &id,
                kind: kind_word,
                time,
                rest: &OfServer {
                    url: &event.url,
                    server: &event.server,
                    reason: event.reason.map(ProbeFault::as_label),
                },
            }),
            Self::Usage(event) => serde_json::to_string(&Shown {
                id: &id,
                kind: kind_word,
                time,
                rest: &event.fields,
            }),
            Self::Audit(audit) => serde_json::to_string(&Shown {
                id: &id,
                kind: kind_word,
                time,
                rest: &OfOperator {
                    action: audit.action,
                    target: audit.target.as_deref(),
                    token: audit.token.as_deref(),
                    client: audit.client,
                    status: audit.status,
                    count: audit.count,
                },
            }),
        };
        Record {
            id: id.into(),
            kind,
            user,
            username,
            json: json.unwrap_or_default().into(),
        }
    }
}

fn of_relay(event: &turn::Event) -> OfRelay<'_> {
    let about = &event.about;
    OfRelay {
        allocation: about.allocation.map(|id| id.to_string()),
        user: about.user.as_deref(),
        username: about.username.as_deref(),
        realm: &about.realm,
        transport: about.transport.as_label(),
        client: about.client.0,
        listen: about.listen.0,
        relayed: about.relayed.iter().flatten().map(|relayed| relayed.0).collect(),
        what: match event.what {
            What::Created { lifetime } | What::Refreshed { lifetime } => Details::Lifetime {
                lifetime: lifetime.as_secs(),
            },
            What::Moved { from } => Details::Moved { from: from.0 },
            What::Closed {
                reason,
                lived,
                to_peer,
                to_client,
            } => Details::Closed {
                reason: reason.as_label(),
                seconds: (lived.as_millis() as f64) / 1000.0,
                to_peer: to_peer.into(),
                to_client: to_client.into(),
            },
            What::Denied {
                class,
                asked,
                peer,
                count,
            } => Details::Denied {
                class: class.as_label(),
                method: asked.as_label(),
                peer,
                count,
            },
            What::Limited { limit, count } => Details::Limited {
                limit: limit.as_label(),
                direction: match limit {
                    turn::Limit::Rate(_, direction) => Some(direction.as_label()),
                    turn::Limit::Quota(_) => None,
                },
                count,
            },
            What::AuthFailed { reason, count } => Details::AuthFailed {
                reason: reason.as_label(),
                count,
            },
        },
    }
}
