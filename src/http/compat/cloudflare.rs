//! Cloudflare Realtime TURN: `/v1/turn/keys/{KEY_ID}/credentials/…` with `Authorization: Bearer {API_TOKEN}`.

use std::time::SystemTime;

use axum::body::Bytes;
use axum::extract::{Extension, Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::json;

use super::{Compat, stun_urls, with_credential};
use crate::credentials::{DEFAULT_REALM, UnixTime, Username};
use crate::events::Audit;
use crate::http::admin::ask_operator;
use crate::http::client::Client;
use crate::http::code::Code;
use crate::http::error::Problem;
use crate::http::ice_servers::{self, Wish, read_json};
use crate::http::keys::{self, Asks, Scope};
use crate::turn::Revoked;

const GENERATE: &str = "/v1/turn/keys/{key}/credentials/generate";
const GENERATE_ICE_SERVERS: &str = "/v1/turn/keys/{key}/credentials/generate-ice-servers";
const REVOKE: &str = "/v1/turn/keys/{key}/credentials/{username}/revoke";

/// Longest lifetime that may be asked for, seconds; ours may be shorter.
const MAX_TTL: u64 = 172_800;

/// What may be asked for. Unknown names are ignored.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    ttl: Option<u64>,
    custom_identifier: Option<String>,
}

pub(super) fn routes() -> Router<Compat> {
    Router::new()
        .route(GENERATE, post(generate))
        .route(GENERATE_ICE_SERVERS, post(generate_ice_servers))
        .route(REVOKE, post(revoke))
}

fn wish(headers: &HeaderMap, body: &[u8]) -> Result<Wish, Problem> {
    let body: Body = if body.is_empty() {
        Body::default()
    } else {
        read_json(headers, body)?
    };
    if body.ttl.is_some_and(|ttl| ttl > MAX_TTL) {
        return Err(Problem::new(Code::BadTtl, "ttl is at most 172800 seconds here"));
    }
    Wish::new(body.ttl, body.custom_identifier)
}

/// The whole list.
async fn generate_ice_servers(
    State(compat): State<Compat>,
    Extension(client): Extension<Client>,
    Path(key): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let asks = Asks::new(GENERATE_ICE_SERVERS, &headers).of_key(&key);
    let wish = wish(&headers, &body);
    let list = ice_servers::issue(&compat.state, &client, &asks, wish).await?;
    let answer = Json(json!({ "iceServers": list.ice_servers }));
    Ok((StatusCode::CREATED, answer).into_response())
}

/// The older form: one object with everything that this server serves.
async fn generate(
    State(compat): State<Compat>,
    Extension(client): Extension<Client>,
    Path(key): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let asks = Asks::new(GENERATE, &headers).of_key(&key);
    let wish = wish(&headers, &body);
    let list = ice_servers::issue(&compat.state, &client, &asks, wish).await?;
    let turn = with_credential(&list)?;
    let urls: Vec<_> = stun_urls(&list).chain(&turn.urls).collect();
    let answer = json!({ "urls": urls, "username": turn.username, "credential": turn.credential });
    Ok((StatusCode::CREATED, Json(json!({ "iceServers": answer }))).into_response())
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
    let caller = keys::admit(&compat.state, &client, &asks, Scope::Revoke).await?;
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
    let parsed = Username::parse(username).ok();
    let expires_at = parsed
        .filter(|_| compat.state.authenticator().realm_of(username) == realm)
        .map(|parsed| parsed.expires_at())
        .ok_or_else(unknown)?;
    if expires_at <= now {
        return Ok(StatusCode::NO_CONTENT);
    }
    // No entry stays for longer than a credential of the API can live: a tenant must not fill the table.
    if expires_at.saturating_since(now) > compat.state.issuer().longest() {
        return Err(unknown());
    }
    let who = Revoked::Username(username.into());
    let operator = compat.operator.clone();
    ask_operator(operator, move |operator| operator.revoke(now, who, expires_at)).await?;
    Ok(StatusCode::NO_CONTENT)
}
