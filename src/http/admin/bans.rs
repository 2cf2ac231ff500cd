//! `/v1/bans`: who is kept out of a room, or of the whole hub: listed, added to, lifted.

use std::net::IpAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::body::Bytes;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::{Extension, Json};
use serde::Deserialize;
use serde_json::{Value, json};

use super::door::Target;
use super::{Admin, MAX_PAGE, PAGE, body, rooms, told};
use crate::http::code::Code;
use crate::http::error::Problem;
use crate::signaling::{Ban, BanRoom, BansFull, Barred, Dialect};

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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    peer: Option<Box<str>>,
    user: Option<Box<str>>,
    realm: Option<Box<str>>,
    address: Option<IpAddr>,
    room: Option<Box<str>>,
    dialect: Option<String>,
    seconds: u64,
    reason: Option<String>,
}

/// `POST`: keeps somebody out, and ends the sessions that this fits.
pub(super) async fn add(
    State(admin): State<Admin>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Result<(Extension<Target>, Json<Value>), Problem> {
    let wanted: Wanted = body::read(&headers, &bytes)?;
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
    let dialect = rooms::dialect(wanted.dialect.as_deref())?;
    let room = wanted.room.map(|room| (dialect.realm(), room));
    let reason = rooms::reason(wanted.reason.as_deref())?;
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
    let allocations = rooms::cut_off(&admin, ended).await?;
    Ok((
        target,
        Json(
            json!({ "ban": id, "until": until / 1000, "ended": sessions, "allocations": allocations, "replicas": replicas }),
        ),
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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Listing {
    limit: Option<usize>,
    cursor: Option<u64>,
}

fn shown(ban: &Ban) -> Value {
    let mut shown = json!({ "ban": ban.id, "until": ban.until_ms / 1000 });
    match &ban.who {
        Barred::Everybody => shown["everybody"] = json!(true),
        Barred::Peer(peer) => shown["peer"] = json!(peer),
        Barred::User(user, realm) => {
            shown["user"] = json!(user);
            if let Some(realm) = realm {
                shown["realm"] = json!(realm);
            }
        }
        Barred::Address(address) => shown["address"] = json!(address),
    }
    if let Some((realm, room)) = &ban.room {
        let dialect = Dialect::ALL.iter().find(|dialect| dialect.realm() == *realm);
        shown["room"] = json!(room);
        shown["dialect"] = json!(dialect.map(|dialect| dialect.as_label()));
    }
    if let Some(reason) = &ban.reason {
        shown["reason"] = json!(reason);
    }
    shown
}

/// `GET`: those in force, oldest first.
pub(super) async fn list(
    State(admin): State<Admin>,
    query: Result<Query<Listing>, QueryRejection>,
) -> Result<Json<Value>, Problem> {
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
    let bans: Vec<Value> = bans.iter().map(shown).collect();
    Ok(Json(json!({ "bans": bans, "nextCursor": next })))
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
