//! `/v1/bans`: who is kept out of a room, or of the whole hub: listed, added to, lifted.

use std::net::IpAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::body::Bytes;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};

use super::asked_rooms::{self, dialect};
use super::door::Target;
use super::{Admin, MAX_PAGE, Operator, PAGE, ask, told};
use crate::credentials::UnixTime;
use crate::http::body::read_json;
use crate::http::code::Code;
use crate::http::error::Problem;
use crate::http::operation::{Access, Operation, Tag};
use crate::signaling::{Ban, BanRoom, BansFull, Barred, Dialect, Ended};
use crate::turn::Revoked;

/// Longest ban: ten years. Who is to stay out for ever is no longer known by then.
const MAX_SECONDS: u64 = 10 * 366 * 24 * 3600;
/// Longest peer id, user or room name.
const MAX_NAME_BYTES: usize = 1024;

/// The end of a ban of that many seconds, in the hub's words.
pub(super) fn until_ms(seconds: u64) -> Result<u64, Problem> {
    if !(1..=MAX_SECONDS).contains(&seconds) {
        return Err(Problem::new(Code::BadSeconds, "seconds are 1 to 316224000"));
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(u64::try_from(now.as_millis())
        .unwrap_or(u64::MAX)
        .saturating_add(seconds * 1000))
}

pub(super) fn ban(room: Option<BanRoom>, who: Barred, until_ms: u64, reason: Option<&str>) -> Ban {
    Ban {
        id: 0,
        room,
        who,
        until_ms,
        reason: reason.map(Box::from),
    }
}

pub(super) fn full(error: BansFull) -> Problem {
    Problem::new(Code::BansFull, error.to_string())
}

/// Takes from sessions that ended what they hold of the relay: their credentials open nothing any more, and their allocations end;
/// how many.
pub(super) async fn cut_off(admin: &Admin, ended: Vec<Ended>) -> Result<u32, Problem> {
    if ended.is_empty() {
        return Ok(0);
    }
    let now = UnixTime::from_system_time(SystemTime::now());
    let until = UnixTime(now.0 + admin.issuer.longest().as_secs() + 1);
    let question = move |operator: &dyn Operator| {
        let sessions = ended.iter().map(|ended| Revoked::Session(ended.sid.as_str().into()));
        sessions.map(|session| operator.revoke(now, session, until)).sum()
    };
    ask(admin.clone(), question).await
}

#[derive(Deserialize, ToSchema)]
#[schema(as = BanWish)]
#[serde(deny_unknown_fields)]
struct Wanted {
    /// One of `peer`, `user` and `address` is needed.
    #[schema(min_length = 1, max_length = 1024)]
    peer: Option<Box<str>>,
    #[schema(min_length = 1, max_length = 1024)]
    user: Option<Box<str>>,
    /// Beside `user`: the realm of a tenant.
    #[schema(min_length = 1, max_length = 1024)]
    realm: Option<Box<str>>,
    #[schema(value_type = Option<String>)]
    address: Option<IpAddr>,
    /// Out of this room; without it out of the whole hub.
    #[schema(min_length = 1, max_length = 1024)]
    room: Option<Box<str>>,
    /// The room's; `native` without it.
    dialect: Option<String>,
    #[schema(minimum = 1, maximum = 316_224_000)]
    seconds: u64,
    #[schema(max_length = 256)]
    reason: Option<String>,
}

/// What a ban did.
#[derive(Serialize, ToSchema)]
pub(super) struct Banned {
    /// Its number.
    ban: u64,
    /// Unix seconds.
    until: u64,
    /// Sessions that ended by it.
    ended: usize,
    /// Allocations that ended by it.
    allocations: u32,
    /// Other replicas that were told.
    replicas: u64,
}

pub(super) fn operations() -> Vec<Operation> {
    let ban = json!({ "ban": 9, "until": 1_893_456_000, "user": "mallory", "room": "standup", "dialect": "native" });
    let done = json!({ "ban": 9, "until": 1_893_456_000, "ended": 1, "allocations": 2, "replicas": 0 });
    vec![
        Operation::get("/v1/bans", Tag::Hub, "Who is kept out, oldest first")
            .by(Access::Operator)
            .query::<Listing>()
            .answers::<BanPage<'_>>(200, "Some of them", json!({ "bans": [ban], "nextCursor": null }))
            .fails(&[Code::BadQuery]),
        Operation::post("/v1/bans", Tag::Hub, "Keeps somebody out of a room or of the hub")
            .by(Access::Operator)
            .takes::<Wanted>(true, json!({ "user": "mallory", "room": "standup", "seconds": 3600 }))
            .answers::<Banned>(200, "They are kept out", done)
            .fails(&[
                Code::BadBody,
                Code::BadBan,
                Code::BadSeconds,
                Code::BadReason,
                Code::UnknownDialect,
            ])
            .fails(&[Code::BansFull, Code::RevocationsFull, Code::Busy]),
        Operation::delete("/v1/bans/{ban}", Tag::Hub, "Lets somebody in again")
            .by(Access::Operator)
            .part("ban", "Its number")
            .answers_nothing(204, "They are let in")
            .fails(&[Code::BadRequest, Code::NoBan]),
    ]
}

/// `POST`: keeps somebody out, and ends the sessions that this fits.
pub(super) async fn add(
    State(admin): State<Admin>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Result<(Extension<Target>, Json<Banned>), Problem> {
    let wanted: Wanted = read_json(&headers, &bytes, Code::BadBody)?;
    let names = [&wanted.peer, &wanted.user, &wanted.realm, &wanted.room];
    let long = names
        .into_iter()
        .flatten()
        .any(|name| name.is_empty() || name.len() > MAX_NAME_BYTES);
    let who = match (wanted.peer, wanted.user, wanted.address) {
        (Some(peer), None, None) if wanted.realm.is_none() => Some(Barred::Peer(peer)),
        (None, Some(user), None) => Some(Barred::User(user, wanted.realm)),
        (None, None, Some(address)) if wanted.realm.is_none() => Some(Barred::Address(address)),
        _ => None,
    };
    let who = who.filter(|_| !long).ok_or_else(|| {
        let needed =
            "one of peer, user (with the realm of a tenant) and address is needed, and names of 1 to 1024 bytes";
        Problem::new(Code::BadBan, needed)
    })?;
    let dialect = dialect(wanted.dialect.as_deref())?;
    let room = wanted.room.map(|room| (dialect.realm(), room));
    let reason = asked_rooms::reason(wanted.reason.as_deref())?;
    let ban = ban(room, who, until_ms(wanted.seconds)?, reason);
    let target = Extension(Target(name(&ban.who).into()));
    let until = ban.until_ms;
    let done = admin
        .hub
        .moderate(|hub, now| hub.ban(now, ban.clone(), reason).map(|done| (done, hub.other_nodes())));
    let ((id, ended), replicas) = done.map_err(full)?;
    let sessions = ended.len();
    told::banned(&admin, id, &ban, sessions);
    let place = ban.room.as_ref().map(|(realm, room)| (*realm, &**room));
    told::ended(&admin, place, &ended, reason);
    let allocations = cut_off(&admin, ended).await?;
    Ok((
        target,
        Json(Banned {
            ban: id,
            until: until / 1000,
            ended: sessions,
            allocations,
            replicas,
        }),
    ))
}

/// For the audit trail.
fn name(who: &Barred) -> String {
    match who {
        Barred::Everybody => "everybody".to_owned(),
        Barred::Peer(name) | Barred::User(name, None) => name.to_string(),
        Barred::User(name, Some(realm)) => format!("{name}@{realm}"),
        Barred::Address(address) => address.to_string(),
    }
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct Listing {
    /// How many at most; 100 without it, and never more than 500.
    limit: Option<usize>,
    /// The `nextCursor` of an earlier answer.
    cursor: Option<u64>,
}

/// A ban that is in force.
#[derive(Default, Serialize, ToSchema)]
#[schema(as = BanInForce)]
struct Shown<'a> {
    ban: u64,
    /// Unix seconds.
    until: u64,
    /// The room is locked.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    everybody: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    peer: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    user: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    realm: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<String>)]
    address: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    room: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    dialect: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    reason: Option<&'a str>,
}

/// Some of those in force.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct BanPage<'a> {
    bans: Vec<Shown<'a>>,
    /// `cursor` of the next page; `null` on the last.
    next_cursor: Option<String>,
}

impl<'a> Shown<'a> {
    fn of(ban: &'a Ban) -> Self {
        let room = ban.room.as_ref();
        let dialect = |(of, _): &(_, _)| Dialect::ALL.iter().find(|dialect| dialect.realm() == *of);
        let shown = Self {
            ban: ban.id,
            until: ban.until_ms / 1000,
            room: room.map(|(_, room)| &**room),
            dialect: room.and_then(dialect).map(|dialect| dialect.as_label()),
            reason: ban.reason.as_deref(),
            ..Self::default()
        };
        match &ban.who {
            Barred::Everybody => Self {
                everybody: Some(true),
                ..shown
            },
            Barred::Peer(peer) => Self {
                peer: Some(peer),
                ..shown
            },
            Barred::User(user, realm) => Self {
                user: Some(user),
                realm: realm.as_deref(),
                ..shown
            },
            Barred::Address(address) => Self {
                address: Some(*address),
                ..shown
            },
        }
    }
}

/// `GET`: those in force, oldest first.
pub(super) async fn list(
    State(admin): State<Admin>,
    query: Result<Query<Listing>, QueryRejection>,
) -> Result<Response, Problem> {
    let known = |_| {
        Problem::new(
            Code::BadQuery,
            "limit and cursor, the nextCursor of an earlier answer, are known",
        )
    };
    let Query(listing) = query.map_err(known)?;
    let most = listing.limit.unwrap_or(PAGE).clamp(1, MAX_PAGE);
    let after = listing.cursor.unwrap_or(0);
    let (bans, more) = admin.hub.moderate(|hub, now| hub.bans(now, after, most));
    let next = bans.last().filter(|_| more).map(|ban| ban.id.to_string());
    let page = BanPage {
        bans: bans.iter().map(Shown::of).collect(),
        next_cursor: next,
    };
    Ok(Json(page).into_response())
}

/// `DELETE /v1/bans/{ban}`: lets in again.
pub(super) async fn lift(State(admin): State<Admin>, Path(id): Path<String>) -> Result<StatusCode, Problem> {
    let id = id.parse().ok();
    let lifted = id.filter(|id| admin.hub.moderate(|hub, now| hub.lift_ban(now, *id)));
    let Some(id) = lifted else {
        return Err(Problem::new(Code::NoBan, "no ban of this number is in force"));
    };
    told::lifted(&admin, id);
    Ok(StatusCode::NO_CONTENT)
}
