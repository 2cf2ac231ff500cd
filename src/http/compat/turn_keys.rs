//! Cloudflare's administration of TURN keys: `/client/v4/accounts/{account}/calls/turn_keys`, and the same without `/client/v4`.
//!
//! For operators, by a token of `admin.tokens`, and for holders of a key with the scope `keys`; one that is of a realm sees, makes and
//! ends those of its realm alone. A key is told once, to whoever makes it.

use std::time::SystemTime;

use axum::body::Bytes;
use axum::extract::{Extension, Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::task::spawn_blocking;

use super::Compat;
use crate::credentials::UnixTime;
use crate::events::Audit;
use crate::http::auth::bearer;
use crate::http::client::Client;
use crate::http::code::Code;
use crate::http::error::Problem;
use crate::http::ice_servers::read_json;
use crate::http::keys::{self, Asks, Keys, MadeKey, Scope, StoreError, to_rfc3339};

/// What its routes begin with.
pub(super) const BASES: [&str; 2] = ["/client/v4/accounts/", "/accounts/"];

const ALL: &str = "{account}/calls/turn_keys";
const ONE: &str = "{account}/calls/turn_keys/{key}";

/// What may be said of a key. Unknown names are ignored; `realm` is ours.
#[derive(Default, Deserialize)]
struct Body {
    name: Option<Box<str>>,
    realm: Option<Box<str>>,
}

pub(super) fn routes() -> Router<Compat> {
    BASES.into_iter().fold(Router::new(), |routes, base| {
        routes
            .route(&format!("{base}{ALL}"), post(make).get(list))
            .route(&format!("{base}{ONE}"), get(show).put(rename).delete(end))
    })
}

/// Who administers, and whose keys.
struct Administrator {
    name: Box<str>,
    realm: Option<Box<str>>,
}

async fn administrator(compat: &Compat, client: &Client, headers: &HeaderMap) -> Result<Administrator, Problem> {
    keys::from_allowed_page(&compat.state, headers)?;
    // An operator's token opens as it does in the API for operators.
    if let Some(name) = bearer(headers).and_then(|token| compat.tokens.name_of(token)) {
        return Ok(Administrator { name, realm: None });
    }
    let asks = Asks::new(BASES[0], headers);
    let caller = keys::admit(&compat.state, client, &asks, Scope::Keys).await?;
    caller.pace(&compat.state, client)?;
    let name = caller.identity.key.as_deref().unwrap_or_default();
    Ok(Administrator {
        name: format!("key {name}").into(),
        realm: caller.identity.realm,
    })
}

async fn make(
    State(compat): State<Compat>,
    Extension(client): Extension<Client>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let by = match administrator(&compat, &client, &headers).await {
        Ok(by) => by,
        Err(problem) => return refuse(problem),
    };
    let wanted = read(&headers, &body).and_then(|body| {
        let realm = body.realm.or_else(|| by.realm.clone());
        if by.realm.is_some() && by.realm != realm {
            return Err(Problem::new(Code::Forbidden, "the key is of another realm"));
        }
        match &realm {
            Some(name) if !compat.state.authenticator().knows_realm(name) => {
                Err(Problem::new(Code::UnknownRealm, "no realm of this name is configured"))
            }
            _ => Ok((body.name.unwrap_or_default(), realm)),
        }
    });
    let made = match wanted {
        Ok((name, realm)) => {
            let make = move |keys: &Keys| keys.make(&name, realm.as_deref(), now());
            ask(&compat, make).await
        }
        Err(problem) => Err(problem),
    };
    let target = made.as_ref().ok().map(|(key, _)| key.uid.clone());
    let response = made.map_or_else(refuse, |(made, key)| {
        let mut shown = shown(&made);
        shown["key"] = json!(key.expose());
        (StatusCode::CREATED, Json(both(shown))).into_response()
    });
    audit(&compat, &client, by, "make_key", target, &response);
    response
}

async fn list(State(compat): State<Compat>, Extension(client): Extension<Client>, headers: HeaderMap) -> Response {
    let listed = administrator(&compat, &client, &headers).await.map(|by| {
        let keys = compat.state.keys().made(by.realm.as_deref());
        Value::from(keys.iter().map(shown).collect::<Vec<_>>())
    });
    listed.map_or_else(refuse, |keys| {
        let count = keys.as_array().map_or(0, Vec::len);
        let mut answer = envelope(keys);
        // One page: there are not so many.
        answer["result_info"] = json!({ "page": 1, "per_page": count, "count": count, "total_count": count });
        Json(answer).into_response()
    })
}

async fn show(
    State(compat): State<Compat>,
    Extension(client): Extension<Client>,
    Path((_, uid)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    let found = administrator(&compat, &client, &headers).await.and_then(|by| {
        let key = compat.state.keys().made_key(&uid, by.realm.as_deref());
        key.map_err(problem)
    });
    found.map_or_else(refuse, |key| Json(envelope(shown(&key))).into_response())
}

async fn rename(
    State(compat): State<Compat>,
    Extension(client): Extension<Client>,
    Path((_, uid)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let by = match administrator(&compat, &client, &headers).await {
        Ok(by) => by,
        Err(problem) => return refuse(problem),
    };
    let (of, target) = (by.realm.clone(), Some(uid.as_str().into()));
    let renamed = match read(&headers, &body) {
        Ok(body) => {
            let change = move |keys: &Keys| match body.name {
                Some(name) => keys.rename(&uid, of.as_deref(), &name, now()),
                None => keys.made_key(&uid, of.as_deref()),
            };
            ask(&compat, change).await
        }
        Err(problem) => Err(problem),
    };
    let response = renamed.map_or_else(refuse, |key| Json(envelope(shown(&key))).into_response());
    audit(&compat, &client, by, "rename_key", target, &response);
    response
}

async fn end(
    State(compat): State<Compat>,
    Extension(client): Extension<Client>,
    Path((_, uid)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    let by = match administrator(&compat, &client, &headers).await {
        Ok(by) => by,
        Err(problem) => return refuse(problem),
    };
    let (of, target) = (by.realm.clone(), Some(uid.as_str().into()));
    let ended = ask(&compat, move |keys| keys.end(&uid, of.as_deref())).await;
    let response = ended.map_or_else(refuse, |key| Json(both(shown(&key))).into_response());
    audit(&compat, &client, by, "end_key", target, &response);
    response
}

fn read(headers: &HeaderMap, body: &[u8]) -> Result<Body, Problem> {
    let body: Body = if body.is_empty() {
        Body::default()
    } else {
        read_json(headers, body)?
    };
    if body.name.as_deref().is_some_and(|name| !keys::is_made_name(name)) {
        return Err(Problem::new(Code::BadName, "name has at most 128 bytes, and prints"));
    }
    Ok(body)
}

/// Asks on a thread that may wait for the disk.
async fn ask<T: Send + 'static>(
    compat: &Compat,
    change: impl FnOnce(&Keys) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, Problem> {
    let keys = compat.state.keys().clone();
    let asked = spawn_blocking(move || change(&keys)).await;
    asked.map_or_else(
        |_panicked| Err(Problem::of_status(StatusCode::INTERNAL_SERVER_ERROR)),
        |result| result.map_err(problem),
    )
}

fn problem(error: StoreError) -> Problem {
    match error {
        StoreError::NoFile => Problem::new(Code::NoKeysFile, "no http.keys_file is configured"),
        StoreError::NoKey => Problem::new(Code::NoKey, "no key that was made here has this id"),
        StoreError::Full => Problem::new(Code::KeysFull, "as many keys were made as may"),
        StoreError::NoRandomness => Problem::of_status(StatusCode::INTERNAL_SERVER_ERROR),
        error @ (StoreError::Io { .. } | StoreError::Malformed { .. }) => {
            // Where the file is is nothing to tell.
            tracing::error!("http.keys_file: {error}");
            Problem::new(
                Code::KeysNotKept,
                "the file of keys cannot be written; nothing was changed",
            )
        }
    }
}

fn shown(key: &MadeKey) -> Value {
    json!({
        "uid": key.uid,
        "name": key.name,
        "created": to_rfc3339(key.created),
        "modified": to_rfc3339(key.modified),
    })
}

/// As the service's API wraps most of its answers.
fn envelope(result: Value) -> Value {
    json!({ "success": true, "errors": [], "messages": [], "result": result })
}

/// Its documents have what was made and what was ended bare, and clients read either.
fn both(result: Value) -> Value {
    let mut answer = envelope(result.clone());
    if let (Some(answer), Value::Object(fields)) = (answer.as_object_mut(), result) {
        answer.extend(fields);
    }
    answer
}

/// Its errors have numbers above 1000.
fn refuse(problem: Problem) -> Response {
    problem.into_response_with(|problem| {
        let code = 1000 + problem.status().as_u16();
        let message = format!("{}: {}", problem.code().name(), problem.detail());
        json!({ "success": false, "errors": [{ "code": code, "message": message }], "messages": [], "result": null })
    })
}

fn audit(
    compat: &Compat,
    client: &Client,
    by: Administrator,
    action: &'static str,
    target: Option<Box<str>>,
    response: &Response,
) {
    compat.intake.audit(Audit {
        at: now(),
        action,
        target,
        token: Some(by.name),
        client: client.ip,
        status: response.status().as_u16(),
        count: 1,
    });
}

fn now() -> UnixTime {
    UnixTime::from_system_time(SystemTime::now())
}
