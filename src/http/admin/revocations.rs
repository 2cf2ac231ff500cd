//! Who is turned away before their credentials end: listed, added to, lifted.

use std::time::SystemTime;

use axum::body::Bytes;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::{Extension, Json};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::{Value, json};

use super::door::Target;
use super::{Admin, MAX_PAGE, PAGE, ask};
use crate::credentials::UnixTime;
use crate::http::code::Code;
use crate::http::error::Problem;
use crate::turn::Revoked;

/// Longest user or username that is taken (RFC 8489 §14.3 bounds USERNAME by 508 bytes).
const MAX_NAME_BYTES: usize = 508;

fn now() -> UnixTime {
    UnixTime::from_system_time(SystemTime::now())
}

/// Exactly one of the three, of a length that can be.
fn who(user: Option<Box<str>>, username: Option<Box<str>>, session: Option<Box<str>>) -> Option<Revoked> {
    let fits = |name: &str| (1..=MAX_NAME_BYTES).contains(&name.len());
    match (user, username, session) {
        (Some(user), None, None) if fits(&user) => Some(Revoked::User(user)),
        (None, Some(username), None) if fits(&username) => Some(Revoked::Username(username)),
        (None, None, Some(session)) if fits(&session) => Some(Revoked::Session(session)),
        _ => None,
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Revocation {
    user: Option<Box<str>>,
    username: Option<Box<str>>,
    session: Option<Box<str>>,
    until: u64,
}

/// `POST`: turns somebody away.
pub(super) async fn revoke(
    State(admin): State<Admin>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<(Extension<Target>, Json<Value>), Problem> {
    let is_json = headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
    if !is_json {
        return Err(Problem::of_status(StatusCode::UNSUPPORTED_MEDIA_TYPE));
    }
    let bad = || {
        Problem::new(
            Code::BadRevocation,
            "one of user, username and session, of at most 508 bytes, and until, in Unix seconds and in the future, are needed",
        )
    };
    let wanted: Revocation = serde_json::from_slice(&body).map_err(|_| bad())?;
    let who = who(wanted.user, wanted.username, wanted.session).ok_or_else(bad)?;
    let now = now();
    if wanted.until <= now.0 {
        return Err(bad());
    }
    let until = UnixTime(wanted.until);
    let target = target(&who);
    let ended = ask(admin, move |operator| operator.revoke(now, who, until)).await?;
    Ok((target, Json(json!({ "ended": ended, "until": until.0 }))))
}

/// For the audit trail.
fn target(who: &Revoked) -> Extension<Target> {
    Extension(Target(match who {
        Revoked::User(name) | Revoked::Username(name) | Revoked::Session(name) => name.clone(),
    }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Listing {
    limit: Option<usize>,
    cursor: Option<String>,
}

/// `GET`: those in force, users before usernames, each in the order of its bytes.
pub(super) async fn list(
    State(admin): State<Admin>,
    query: Result<Query<Listing>, QueryRejection>,
) -> Result<Json<Value>, Problem> {
    let Ok(Query(listing)) = query else {
        return Err(Problem::new(Code::BadQuery, "limit and cursor are known here"));
    };
    let after = match listing.cursor.as_deref() {
        None => None,
        Some(cursor) => Some(
            parse_cursor(cursor)
                .ok_or_else(|| Problem::new(Code::BadCursor, "cursor is the nextCursor of an earlier answer"))?,
        ),
    };
    let most = listing.limit.unwrap_or(PAGE).clamp(1, MAX_PAGE);
    let question = move |operator: &dyn super::Operator| Ok(operator.revocations(now(), after.as_ref(), most));
    let (found, more) = ask(admin, question).await?;
    let next = found.last().filter(|_| more).map(|(who, _)| cursor(who));
    let shown = found.iter().map(|(who, until)| match who {
        Revoked::User(user) => json!({ "user": user, "until": until.0 }),
        Revoked::Username(username) => json!({ "username": username, "until": until.0 }),
        Revoked::Session(session) => json!({ "session": session, "until": until.0 }),
    });
    Ok(Json(
        json!({ "revocations": shown.collect::<Vec<_>>(), "nextCursor": next }),
    ))
}

/// The last name that was shown: a listing goes on behind it, whatever came and went meanwhile.
fn cursor(who: &Revoked) -> String {
    let (kind, name) = match who {
        Revoked::User(user) => ("u", user),
        Revoked::Username(username) => ("n", username),
        Revoked::Session(session) => ("s", session),
    };
    format!("{kind}{}", URL_SAFE_NO_PAD.encode(name.as_bytes()))
}

fn parse_cursor(text: &str) -> Option<Revoked> {
    let kind = text.get(..1)?;
    let name = URL_SAFE_NO_PAD.decode(text.get(1..)?).ok()?;
    let name = Some(String::from_utf8(name).ok()?.into_boxed_str());
    match kind {
        "u" => who(name, None, None),
        "n" => who(None, name, None),
        "s" => who(None, None, name),
        _ => None,
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Lifting {
    user: Option<Box<str>>,
    username: Option<Box<str>>,
    session: Option<Box<str>>,
}

/// `DELETE`: lets somebody in again.
pub(super) async fn lift(
    State(admin): State<Admin>,
    query: Result<Query<Lifting>, QueryRejection>,
) -> Result<(Extension<Target>, StatusCode), Problem> {
    let bad = || {
        Problem::new(
            Code::BadQuery,
            "one of user, username and session, of at most 508 bytes, is needed",
        )
    };
    let Ok(Query(lifting)) = query else { return Err(bad()) };
    let who = who(lifting.user, lifting.username, lifting.session).ok_or_else(bad)?;
    let target = target(&who);
    if ask(admin, move |operator| Ok(operator.lift(now(), &who))).await? {
        Ok((target, StatusCode::NO_CONTENT))
    } else {
        Err(Problem::new(Code::NoRevocation, "nobody of this name is turned away"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_what_was_given_out() {
        for who in [Revoked::User("alice".into()), Revoked::Username("2000:böb/?&=".into())] {
            assert_eq!(parse_cursor(&cursor(&who)), Some(who));
        }
        for text in ["", "u", "x", "xYWxpY2U", "u%%", "n_w", "ü"] {
            assert_eq!(parse_cursor(text), None, "{text}");
        }
    }
}
