//! `POST /v1/tokens`: a token for the hub and for ICE lists, signed with the first of `auth.jwt_secrets`.

use std::time::{Duration, SystemTime};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::{Extension, Json};
use serde::Deserialize;
use serde_json::{Value, json};

use super::door::Target;
use super::{Admin, body};
use crate::credentials::UnixTime;
use crate::http::auth::{Can, Grant, NotIssued};
use crate::http::code::Code;
use crate::http::error::Problem;

/// How long a token lasts where nothing is said.
const TTL: Duration = Duration::from_secs(3600);
/// Longest life of a token: it cannot be taken back. Whoever needs longer ones has the secret to sign them.
const MAX_TTL: Duration = Duration::from_secs(24 * 3600);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    user: Box<str>,
    peer: Option<Box<str>>,
    rooms: Option<Vec<Box<str>>>,
    can: Option<Can>,
    realm: Option<Box<str>>,
    ttl: Option<u64>,
    #[serde(rename = "publicKey")]
    public_key: Option<Box<str>>,
}

/// Answers with the token, and leaves the user's name in the audit trail, never the token.
pub(super) async fn issue(
    State(admin): State<Admin>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Result<(Extension<Target>, Json<Value>), Problem> {
    let wanted: Wanted = body::read(&headers, &bytes)?;
    let ttl = wanted.ttl.map_or(TTL, Duration::from_secs);
    if !(Duration::from_secs(1)..=MAX_TTL).contains(&ttl) {
        return Err(Problem::new(Code::BadTtl, "ttl is 1 to 86400 seconds"));
    }
    let grant = Grant {
        user: wanted.user,
        peer: wanted.peer,
        rooms: wanted.rooms,
        can: wanted.can,
        realm: wanted.realm,
        public_key: wanted.public_key,
    };
    let now = UnixTime::from_system_time(SystemTime::now());
    let issued = admin.authenticator.issue(&grant, now, ttl).map_err(problem)?;
    let name = match &grant.realm {
        Some(realm) => format!("{}@{realm}", grant.user),
        None => grant.user.to_string(),
    };
    Ok((
        Extension(Target(name.into())),
        Json(json!({ "token": issued.token, "ttl": ttl.as_secs(), "expiresAt": issued.expires_at.0 })),
    ))
}

fn problem(error: NotIssued) -> Problem {
    let code = match error {
        NotIssued::NoSecret => Code::NoTokenSecret,
        NotIssued::Claim | NotIssued::OtherRealm => Code::BadClaim,
        NotIssued::TooLong => Code::TokenTooLong,
        NotIssued::Realm => Code::UnknownRealm,
    };
    Problem::new(code, error.to_string())
}
