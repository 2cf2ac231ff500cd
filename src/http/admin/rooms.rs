//! `/v1/rooms…`: what an operator sees of the hub's rooms and does to them.
//!
//! A room is named in the path with percent-encoding, slashes too, and belongs to a dialect, which is `native` unless the query
//! says otherwise.

use std::borrow::Cow;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::asked_rooms::{Asked, Change, Close, Kick, Message, Question, To, reason};
use super::bans::cut_off;
use super::door::Target;
use super::shown_rooms::{MetaVersion, PutOutReport, RoomPage, RoomView, Sent, Shown, part};
use super::{Admin, bans, told};
use crate::http::body::read_json;
use crate::http::code::Code;
use crate::http::error::Problem;
use crate::signaling::{Barred, Data, NotDone, PutOut};

/// Most receivers that one message may name.
const MAX_RECEIVERS: usize = 1024;

fn not_done(error: NotDone) -> Problem {
    let code = match error {
        NotDone::NoRoom => Code::NoRoom,
        NotDone::NoPeer => Code::NoPeer,
        NotDone::Version => Code::Version,
        NotDone::TooLarge => Code::TooLarge,
        NotDone::Unspeakable | NotDone::NoObject => Code::BadData,
    };
    Problem::new(code, error.to_string())
}

/// `GET /v1/rooms`.
pub(super) async fn list(State(admin): State<Admin>, query: Question) -> Result<Response, Problem> {
    let asked = Asked::of(query)?;
    let realm = asked.dialect.is_some().then(|| asked.realm()).transpose()?;
    let (from, most) = asked.page()?;
    let (rooms, next) = admin.hub.moderate(|hub, _| hub.room_page(realm, from, most));
    let page = RoomPage {
        rooms: rooms.iter().map(Shown::from).collect(),
        next_cursor: next.map(|next| next.to_string()),
    };
    Ok(Json(page).into_response())
}

/// `GET /v1/rooms/{room}`.
pub(super) async fn show(
    State(admin): State<Admin>,
    Path(name): Path<String>,
    query: Question,
) -> Result<Response, Problem> {
    let asked = Asked::of(query)?;
    let realm = asked.realm()?;
    let (after, most) = asked.page()?;
    let found = admin.hub.moderate(|hub, _| hub.room_view(realm, &name, after, most));
    let (room, page) = found.ok_or_else(|| not_done(NotDone::NoRoom))?;
    let view = RoomView {
        room: Shown::from(&room),
        members: part(&page.members),
        next_cursor: page.next.map(|next| next.to_string()),
    };
    Ok(Json(view).into_response())
}

fn target(room: &str, peer: Option<&str>) -> Extension<Target> {
    let name = peer.map_or_else(|| room.to_owned(), |peer| format!("{room} {peer}"));
    Extension(Target(name.into()))
}

/// `POST /v1/rooms/{room}/kick`.
pub(super) async fn kick(
    State(admin): State<Admin>,
    Path(name): Path<String>,
    query: Question,
    headers: HeaderMap,
    bytes: Bytes,
) -> Result<(Extension<Target>, Json<PutOutReport>), Problem> {
    let realm = Asked::of(query)?.realm()?;
    let wanted: Kick = read_json(&headers, &bytes, Code::BadBody)?;
    let reason = reason(wanted.reason.as_deref())?;
    let until_ms = wanted.ban_seconds.map(bans::until_ms).transpose()?;
    let ban = until_ms.map(|until_ms| (wanted.ban_by.into(), until_ms));
    let done = admin
        .hub
        .moderate(|hub, now| hub.put_out(now, (realm, &name), &wanted.peer, reason, ban));
    let PutOut {
        ended,
        ban: banned,
        replicas,
    } = done.map_err(not_done)?;
    let sessions = ended.len();
    told::ended(&admin, Some((realm, &name)), &ended, reason);
    if let Ok(Some((id, ban))) = &banned {
        told::banned(&admin, *id, ban, sessions);
    }
    let allocations = cut_off(&admin, ended).await?;
    let ban = banned.map_err(bans::full)?.map(|(id, _)| id);
    let target = target(&name, Some(&wanted.peer));
    Ok((
        target,
        Json(PutOutReport {
            ended: sessions,
            allocations,
            ban,
            replicas,
        }),
    ))
}

/// `POST /v1/rooms/{room}/close`.
pub(super) async fn close(
    State(admin): State<Admin>,
    Path(name): Path<String>,
    query: Question,
    headers: HeaderMap,
    bytes: Bytes,
) -> Result<(Extension<Target>, Json<PutOutReport>), Problem> {
    let realm = Asked::of(query)?.realm()?;
    let wanted: Close = read_json(&headers, &bytes, Code::BadBody)?;
    let reason = reason(wanted.reason.as_deref())?;
    let until_ms = wanted.lock_seconds.map(bans::until_ms).transpose()?;
    let done = admin.hub.moderate(|hub, now| {
        // Locked first: nobody makes it anew in between. A room that nobody is in can be locked all the same.
        let lock = until_ms.map(|until_ms| {
            let room = Some((realm, name.as_str().into()));
            let ban = bans::ban(room, Barred::Everybody, until_ms, reason);
            hub.ban(now, ban.clone(), None).map(|(id, _)| (id, ban))
        });
        let lock = lock.transpose().map_err(bans::full)?;
        match hub.close_room(now, realm, &name, reason) {
            Ok(ended) => Ok((Some(ended), lock, hub.other_nodes())),
            Err(_) if lock.is_some() => Ok((None, lock, hub.other_nodes())),
            Err(error) => Err(not_done(error)),
        }
    });
    let (closed, lock, replicas) = done?;
    let place = (realm, name.as_str());
    if let Some((id, ban)) = &lock {
        told::banned(&admin, *id, ban, 0);
    }
    if let Some(ended) = &closed {
        told::closed(&admin, place, ended.len(), reason);
        told::ended(&admin, Some(place), ended, reason);
    }
    let lock = lock.map(|(id, _)| id);
    let ended = closed.unwrap_or_default();
    let sessions = ended.len();
    let allocations = cut_off(&admin, ended).await?;
    Ok((
        target(&name, None),
        Json(PutOutReport {
            ended: sessions,
            allocations,
            ban: lock,
            replicas,
        }),
    ))
}

/// `POST /v1/rooms/{room}/send`.
pub(super) async fn send(
    State(admin): State<Admin>,
    Path(name): Path<String>,
    query: Question,
    headers: HeaderMap,
    bytes: Bytes,
) -> Result<(Extension<Target>, Json<Sent>), Problem> {
    let realm = Asked::of(query)?.realm()?;
    let wanted: Message = read_json(&headers, &bytes, Code::BadBody)?;
    let bad = || Problem::new(Code::BadBody, "either data or bin, which is base64, is needed");
    let decoded;
    let data = match (&wanted.data, &wanted.bin) {
        (Some(data), None) => Data::Json(data.get()),
        (None, Some(bin)) => {
            decoded = STANDARD.decode(bin).map_err(|_| bad())?;
            Data::Bytes(&decoded)
        }
        _ => return Err(bad()),
    };
    let to: Option<Vec<Cow<'_, str>>> = wanted.to.as_ref().map(|to| match to {
        To::One(one) => vec![one.into()],
        To::Some(some) => some.iter().map(Cow::from).collect(),
    });
    if to.as_ref().is_some_and(|to| to.len() > MAX_RECEIVERS) {
        return Err(Problem::new(Code::BadBody, "to names at most 1024 peers"));
    }
    let said = admin
        .hub
        .moderate(|hub, _| hub.say(realm, &name, to.as_deref(), data, wanted.rel));
    let (sent, missing) = said.map_err(not_done)?;
    let missing = missing.iter().map(ToString::to_string).collect();
    Ok((target(&name, None), Json(Sent { sent, missing })))
}

/// `POST /v1/rooms/{room}/meta`.
pub(super) async fn meta(
    State(admin): State<Admin>,
    Path(name): Path<String>,
    query: Question,
    headers: HeaderMap,
    bytes: Bytes,
) -> Result<(Extension<Target>, Json<MetaVersion>), Problem> {
    let realm = Asked::of(query)?.realm()?;
    let wanted: Change = read_json(&headers, &bytes, Code::BadBody)?;
    let del: Vec<Cow<'_, str>> = wanted.del.iter().map(Cow::from).collect();
    let set = wanted.set.as_ref().map(|set| set.get());
    let done = admin
        .hub
        .moderate(|hub, _| hub.set_room_meta(realm, &name, set, &del, wanted.r#if));
    let version = done.map_err(not_done)?;
    Ok((target(&name, None), Json(MetaVersion { ver: version })))
}
