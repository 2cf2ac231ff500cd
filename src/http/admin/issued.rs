//! `POST /v1/tokens`: a token for the hub and for ICE lists, signed with the first of `auth.jwt_secrets`.

use std::time::{Duration, SystemTime};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::Admin;
use super::door::Target;
use crate::credentials::UnixTime;
use crate::http::auth::{Can, Grant, NotIssued};
use crate::http::body::read_json;
use crate::http::code::Code;
use crate::http::error::Problem;
use crate::http::operation::{Access, Operation, Tag};

/// How long a token lasts where nothing is said.
const TTL: Duration = Duration::from_secs(3600);
/// Longest life of a token: it cannot be taken back. Whoever needs longer ones has the secret to sign them.
const MAX_TTL: Duration = Duration::from_secs(24 * 3600);

#[derive(Deserialize, ToSchema)]
#[schema(as = TokenWish)]
#[serde(deny_unknown_fields)]
struct Wanted {
    #[schema(min_length = 1, max_length = 256, pattern = r"^[^\x00-\x1F\x7F-\x9F]+$")]
    user: Box<str>,
    peer: Option<Box<str>>,
    /// `*` at the end of a name stands for any ending.
    #[schema(max_items = 64)]
    rooms: Option<Vec<Box<str>>>,
    can: Option<Can>,
    /// One that is configured, or `default`.
    realm: Option<Box<str>>,
    /// Seconds; 3600 without it.
    #[schema(minimum = 1, maximum = 86_400)]
    ttl: Option<u64>,
    #[serde(rename = "publicKey")]
    public_key: Option<Box<str>>,
}

/// A signed token.
#[derive(Serialize, ToSchema)]
#[schema(as = IssuedToken)]
#[serde(rename_all = "camelCase")]
pub(super) struct Token {
    token: String,
    /// Seconds.
    ttl: u64,
    /// Unix seconds.
    expires_at: u64,
}

pub(super) fn operations() -> Vec<Operation> {
    let wish = json!({ "user": "alice", "rooms": ["lobby"], "can": { "relay": false }, "ttl": 600 });
    let token = json!({ "token": "eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9.e30.c2lnbmF0dXJl", "ttl": 600, "expiresAt": 1_795_248_271 });
    vec![
        Operation::post("/v1/tokens", Tag::Hub, "Signs a token for the hub and for ICE lists")
            .by(Access::Operator)
            .takes::<Wanted>(true, wish)
            .answers::<Token>(200, "The token", token)
            .fails(&[
                Code::BadBody,
                Code::BadTtl,
                Code::BadClaim,
                Code::TokenTooLong,
                Code::UnknownRealm,
                Code::NoTokenSecret,
            ]),
    ]
}

/// Answers with the token, and leaves the user's name in the audit trail, never the token.
pub(super) async fn issue(
    State(admin): State<Admin>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Result<(Extension<Target>, Json<Token>), Problem> {
    let wanted: Wanted = read_json(&headers, &bytes, Code::BadBody)?;
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
        Json(Token {
            token: issued.token,
            ttl: ttl.as_secs(),
            expires_at: issued.expires_at.0,
        }),
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
