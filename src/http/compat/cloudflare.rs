//! Cloudflare Realtime TURN: `/v1/turn/keys/{KEY_ID}/credentials/…` with `Authorization: Bearer {API_TOKEN}`.

use std::time::SystemTime;

use axum::body::Bytes;
use axum::extract::{Extension, Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::{Compat, OfRoom, in_room, stun_urls, with_credential};
use crate::credentials::{DEFAULT_REALM, IceServer, UnixTime};
use crate::events::Audit;
use crate::http::admin::ask_operator;
use crate::http::admission::{self, Asks};
use crate::http::body::read_json;
use crate::http::client::Client;
use crate::http::code::Code;
use crate::http::error::Problem;
use crate::http::ice_servers::{self, REFUSALS, Wish};
use crate::http::keys::Scope;
use crate::http::operation::{Access, BEARER, Operation, Tag};
use crate::turn::Revoked;

const GENERATE: &str = "/v1/turn/keys/{key}/credentials/generate";
const GENERATE_ICE_SERVERS: &str = "/v1/turn/keys/{key}/credentials/generate-ice-servers";
const REVOKE: &str = "/v1/turn/keys/{key}/credentials/{username}/revoke";

/// Longest lifetime that may be asked for, seconds; ours may be shorter.
const MAX_TTL: u64 = 172_800;

/// What may be asked for. Unknown names are ignored.
#[derive(Default, Deserialize, ToSchema)]
#[schema(as = CloudflareWish)]
#[serde(rename_all = "camelCase")]
struct Body {
    /// Seconds.
    #[schema(minimum = 1, maximum = 172_800)]
    ttl: Option<u64>,
    /// The `user` of the username.
    #[schema(min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9._~@+-]+$")]
    custom_identifier: Option<String>,
    /// The room that the list is for; ours alone.
    #[schema(min_length = 1, max_length = 128)]
    room: Option<String>,
}

/// Of the list, or of the one object.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct CloudflareList<'a> {
    ice_servers: &'a [IceServer],
}

/// The older form.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct CloudflareCredential<'a> {
    ice_servers: CloudflareServer<'a>,
}

/// Everything that this server serves.
#[derive(Serialize, ToSchema)]
struct CloudflareServer<'a> {
    urls: Vec<&'a String>,
    username: Option<&'a str>,
    credential: Option<&'a str>,
}

pub(super) fn operations() -> Vec<Operation> {
    let key = "The name of an API key, or the id of one that was made; what names none is not looked at";
    let wish = || json!({ "ttl": 86_400, "customIdentifier": "alice" });
    let turn = || {
        json!({
            "urls": ["turn:turn.example.org:3478?transport=udp", "turn:turn.example.org:3478?transport=tcp"],
            "username": "1795251271:alice@acme",
            "credential": "jZnWQxOpsu0k4r4q2taJs9Sy15w=",
        })
    };
    vec![
        Operation::post(GENERATE_ICE_SERVERS, Tag::Compat, "Cloudflare: a list")
            .by(BEARER)
            .part("key", key)
            .query::<OfRoom>()
            .takes::<Body>(false, wish())
            .answers::<CloudflareList<'_>>(
                201,
                "The list",
                json!({ "iceServers": [{ "urls": ["stun:turn.example.org:3478"] }, turn()] }),
            )
            .fails(&REFUSALS)
            .fails(&[Code::BadJson]),
        Operation::post(GENERATE, Tag::Compat, "Cloudflare: one credential, the older form")
            .by(BEARER)
            .part("key", key)
            .query::<OfRoom>()
            .takes::<Body>(false, wish())
            .answers::<CloudflareCredential<'_>>(201, "The credential", json!({ "iceServers": turn() }))
            .fails(&REFUSALS)
            .fails(&[Code::BadJson]),
        Operation::post(REVOKE, Tag::Compat, "Cloudflare: end a credential before its time")
            .by(Access::Tenant)
            .part("key", key)
            .part("username", "The credential's")
            .answers_nothing(204, "It opens nothing more, and what it opened ends")
            .fails(&[Code::BadRequest, Code::NoCredential, Code::RevocationsFull, Code::Busy]),
    ]
}

pub(super) fn routes() -> Router<Compat> {
    Router::new()
        .route(GENERATE, post(generate))
        .route(GENERATE_ICE_SERVERS, post(generate_ice_servers))
        .route(REVOKE, post(revoke))
}

fn wish(headers: &HeaderMap, query: Option<&str>, body: &[u8]) -> Result<Wish, Problem> {
    let body: Body = if body.is_empty() {
        Body::default()
    } else {
        read_json(headers, body, Code::BadJson)?
    };
    if body.ttl.is_some_and(|ttl| ttl > MAX_TTL) {
        return Err(Problem::new(Code::BadTtl, "ttl is at most 172800 seconds here"));
    }
    in_room(Wish::new(body.ttl, body.custom_identifier)?, body.room, query)
}

/// The whole list.
async fn generate_ice_servers(
    State(compat): State<Compat>,
    Extension(client): Extension<Client>,
    Path(key): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let asks = Asks::new(GENERATE_ICE_SERVERS, &headers).of_key(&key);
    let wish = wish(&headers, query.as_deref(), &body);
    let list = ice_servers::issue(&compat.state, &client, &asks, wish).await?;
    let answer = Json(CloudflareList {
        ice_servers: &list.ice_servers,
    });
    Ok((StatusCode::CREATED, answer).into_response())
}

/// The older form: one object with everything that this server serves.
async fn generate(
    State(compat): State<Compat>,
    Extension(client): Extension<Client>,
    Path(key): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let asks = Asks::new(GENERATE, &headers).of_key(&key);
    let wish = wish(&headers, query.as_deref(), &body);
    let list = ice_servers::issue(&compat.state, &client, &asks, wish).await?;
    let turn = with_credential(&list)?;
    let urls: Vec<_> = stun_urls(&list).chain(&turn.urls).collect();
    let ice_servers = CloudflareServer {
        urls,
        username: turn.username.as_deref(),
        credential: turn.credential.as_deref(),
    };
    Ok((StatusCode::CREATED, Json(CloudflareCredential { ice_servers })).into_response())
}

/// Ends one credential before its time, and what it holds. For tenants' own tokens and keys that may: usernames are no secrets, so that
/// whoever may fetch credentials could end those of everybody.
async fn revoke(
    State(compat): State<Compat>,
    Extension(client): Extension<Client>,
    Path((key, username)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let now = UnixTime::from_system_time(SystemTime::now());
    let asks = Asks::new(REVOKE, &headers).of_key(&key);
    let caller = admission::admit(&compat.state, &client, &asks, Scope::Revoke).await?;
    caller.pace(&compat.state, &client)?;
    let realm = caller.identity.realm.as_deref();
    let result = end(&compat, now, realm, &username).await;
    let response = result.map_or_else(Problem::into_response, StatusCode::into_response);
    let token = match (&caller.identity.key, realm) {
        (Some(key), _) => format!("key {key}"),
        (None, realm) => format!("realm {}", realm.unwrap_or(DEFAULT_REALM)),
    };
    compat.intake.audit(Audit {
        at: now,
        action: "revoke",
        target: Some(username.into()),
        token: Some(token.into()),
        client: client.ip,
        status: response.status().as_u16(),
        count: 1,
    });
    Ok(response)
}

/// A credential that the realm was issued, if it is one.
async fn end(compat: &Compat, now: UnixTime, realm: Option<&str>, username: &str) -> Result<StatusCode, Problem> {
    let unknown = || Problem::new(Code::NoCredential, "this realm was issued no such credential");
    let expires_at = compat.expiry_of(now, realm, username).ok_or_else(unknown)?;
    if expires_at <= now {
        return Ok(StatusCode::NO_CONTENT);
    }
    let who = Revoked::Username(username.into());
    let (operator, tenants) = (compat.operator.clone(), compat.tenants(realm));
    ask_operator(operator, move |operator| {
        operator.revoke_for_tenant(now, who, expires_at, &tenants)
    })
    .await?;
    Ok(StatusCode::NO_CONTENT)
}
