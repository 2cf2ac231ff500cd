//! Who is turned away before their credentials end: listed, added to, lifted.

use std::time::SystemTime;

use axum::body::Bytes;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};

use super::door::Target;
use super::{Admin, MAX_PAGE, PAGE, ask};
use crate::credentials::UnixTime;
use crate::http::body::read_json;
use crate::http::code::Code;
use crate::http::error::Problem;
use crate::http::operation::{Access, Operation, Tag};
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

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Revocation {
    /// The part of usernames behind the expiry. One of the three is needed.
    #[schema(min_length = 1, max_length = 508)]
    user: Option<Box<str>>,
    /// A whole username.
    #[schema(min_length = 1, max_length = 508)]
    username: Option<Box<str>>,
    /// A session of the hub.
    #[schema(min_length = 1, max_length = 508)]
    session: Option<Box<str>>,
    /// Unix seconds, in the future.
    until: u64,
}

/// What a revocation did.
#[derive(Serialize, ToSchema)]
pub(super) struct Revoking {
    /// Allocations that ended by it.
    ended: u32,
    until: u64,
}

/// One that is in force, with one of the three names.
#[derive(Serialize, ToSchema)]
struct InForce<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    user: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    username: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    session: Option<&'a str>,
    until: u64,
}

/// Some of those in force.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct RevocationPage<'a> {
    revocations: Vec<InForce<'a>>,
    /// `cursor` of the next page; `null` on the last.
    next_cursor: Option<String>,
}

pub(super) fn operations() -> Vec<Operation> {
    const PATH: &str = "/api/admin/revocations";
    let one = || json!({ "user": "alice", "until": 1_893_456_000 });
    vec![
        Operation::get(PATH, Tag::Admin, "Who is turned away")
            .by(Access::Operator)
            .query::<Listing>()
            .answers::<RevocationPage<'_>>(
                200,
                "Some of them",
                json!({ "revocations": [one()], "nextCursor": null }),
            )
            .fails(&[Code::BadQuery, Code::BadCursor, Code::Busy]),
        Operation::post(PATH, Tag::Admin, "Turns somebody away, whatever the credential")
            .by(Access::Operator)
            .takes::<Revocation>(true, one())
            .answers::<Revoking>(200, "They are", json!({ "ended": 1, "until": 1_893_456_000 }))
            .fails(&[Code::BadRevocation, Code::RevocationsFull, Code::Busy]),
        Operation::delete(PATH, Tag::Admin, "Lets somebody in again")
            .by(Access::Operator)
            .query::<Lifting>()
            .answers_nothing(204, "They are let in")
            .fails(&[Code::BadQuery, Code::NoRevocation, Code::Busy]),
    ]
}

/// `POST`: turns somebody away.
pub(super) async fn revoke(
    State(admin): State<Admin>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<(Extension<Target>, Json<Revoking>), Problem> {
    let bad = || {
        Problem::new(
            Code::BadRevocation,
            "one of user, username and session, of at most 508 bytes, and until, in Unix seconds and in the future, are needed",
        )
    };
    let wanted: Revocation = read_json(&headers, &body, Code::BadRevocation)?;
    let who = who(wanted.user, wanted.username, wanted.session).ok_or_else(bad)?;
    let now = now();
    if wanted.until <= now.0 {
        return Err(bad());
    }
    let until = UnixTime(wanted.until);
    let target = target(&who);
    let ended = ask(admin, move |operator| operator.revoke(now, who, until)).await?;
    Ok((target, Json(Revoking { ended, until: until.0 })))
}

/// For the audit trail.
fn target(who: &Revoked) -> Extension<Target> {
    Extension(Target(match who {
        Revoked::User(name) | Revoked::Username(name) | Revoked::Session(name) => name.clone(),
    }))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct Listing {
    /// How many at most; 100 without it, and never more than 500.
    limit: Option<usize>,
    /// The `nextCursor` of an earlier answer.
    cursor: Option<String>,
}

/// `GET`: those in force, users before usernames, each in the order of its bytes.
pub(super) async fn list(
    State(admin): State<Admin>,
    query: Result<Query<Listing>, QueryRejection>,
) -> Result<Response, Problem> {
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
    let revocations = found.iter().map(|(who, until)| InForce {
        user: if let Revoked::User(user) = who {
            Some(user)
        } else {
            None
        },
        username: if let Revoked::Username(name) = who {
            Some(name)
        } else {
            None
        },
        session: if let Revoked::Session(session) = who {
            Some(session)
        } else {
            None
        },
        until: until.0,
    });
    let page = RevocationPage {
        revocations: revocations.collect(),
        next_cursor: next,
    };
    Ok(Json(page).into_response())
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

#[derive(Deserialize, IntoParams)]
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
