//! Cloudflare's administration of TURN keys: `/client/v4/accounts/{account}/calls/turn_keys`, and the same without `/client/v4`.
//!
//! For operators, by a token of `admin.tokens`, and for holders of a key with the scope `keys`, who see, make and end those of its realm
//! alone, and make none that could do more than it. A key is told once, to whoever makes it.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use axum::body::Bytes;
use axum::extract::{Extension, Path, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::task::spawn_blocking;
use tokio::time::sleep;
use utoipa::ToSchema;

use super::Compat;
use crate::credentials::UnixTime;
use crate::events::Audit;
use crate::http::admission::{self, Asks, Caller};
use crate::http::bearer::bearer;
use crate::http::body::read_json;
use crate::http::client::Client;
use crate::http::code::Code;
use crate::http::error::Problem;
use crate::http::keys::{Keys, MadeKey, Of, Scope, StoreError, is_made_name, to_rfc3339};
use crate::http::operation::{Access, Operation, Tag};

/// What its routes begin with.
const BASES: [&str; 2] = ["/client/v4/accounts/", "/accounts/"];

/// All keys, and one, below each of these.
const PATHS: [(&str, &str); 2] = [
    (
        "/client/v4/accounts/{account}/calls/turn_keys",
        "/client/v4/accounts/{account}/calls/turn_keys/{key}",
    ),
    (
        "/accounts/{account}/calls/turn_keys",
        "/accounts/{account}/calls/turn_keys/{key}",
    ),
];

/// How long a change waits for another one, here or of a process that shares the file. One takes as long as the disk does.
const PATIENCE: Duration = Duration::from_secs(3);

/// How often it is looked whether the other one is over.
const AGAIN: Duration = Duration::from_millis(10);

/// What may be said of a key. Unknown names are ignored.
#[derive(Default, Deserialize, ToSchema)]
#[schema(as = TurnKeyWish)]
struct Body {
    /// What to call it, at most 128 bytes.
    #[schema(value_type = Option<String>, max_length = 128)]
    name: Option<Box<str>>,
    /// Whose credentials it fetches, as configured in `[realms.NAME]`: for operators. A key makes those of its own realm. Not of the service;
    /// looked at when a key is made.
    #[schema(value_type = Option<String>)]
    realm: Option<Box<str>>,
}

/// A key. With `key` only for whoever makes it.
#[derive(Serialize, ToSchema)]
struct TurnKey<'a> {
    uid: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    name: &'a str,
    /// RFC 3339.
    created: String,
    /// RFC 3339.
    modified: String,
}

/// As the service's API wraps its answers.
#[derive(Serialize, ToSchema)]
struct CloudflareAnswer<T: ToSchema> {
    success: bool,
    #[schema(max_items = 0)]
    errors: [String; 0],
    #[schema(max_items = 0)]
    messages: [String; 0],
    result: T,
}

/// What was made or ended: bare, as its documents have it, and wrapped, since clients read either.
#[derive(Serialize, ToSchema)]
struct CloudflareKey<'a> {
    #[serde(flatten)]
    key: TurnKey<'a>,
    #[serde(flatten)]
    answer: CloudflareAnswer<TurnKey<'a>>,
}

/// All of them, on one page.
#[derive(Serialize, ToSchema)]
struct CloudflareKeys<'a> {
    #[serde(flatten)]
    answer: CloudflareAnswer<Vec<TurnKey<'a>>>,
    result_info: Pages,
}

/// How many there are.
#[derive(Serialize, ToSchema)]
struct Pages {
    page: usize,
    per_page: usize,
    count: usize,
    total_count: usize,
}

/// An error as the service writes it.
#[derive(Serialize, ToSchema)]
struct CloudflareError {
    success: bool,
    errors: Vec<CloudflareReason>,
    #[schema(max_items = 0)]
    messages: [String; 0],
    #[schema(value_type = Option<String>)]
    result: (),
}

/// Why.
#[derive(Serialize, ToSchema)]
struct CloudflareReason {
    /// 1000 and the status.
    code: u16,
    /// The code of this server, a colon, and what it means.
    message: String,
}

pub(super) fn operations() -> Vec<Operation> {
    let bare = || {
        json!({ "uid": "5f0c0d3a7d1f4a53a1f6c1f0f7a3e2b1", "name": "shop",
                "created": "2026-08-19T20:00:00Z", "modified": "2026-08-19T20:00:00Z" })
    };
    let wrapped = move || json!({ "success": true, "errors": [], "messages": [], "result": bare() });
    let mut all = Vec::new();
    for (many, one) in PATHS {
        let account = |operation: Operation| {
            let operation = operation.by(Access::Administrator);
            operation.part("account", "Not looked at").fails_as::<CloudflareError>()
        };
        let of_one = |operation: Operation| {
            let codes = [Code::BadRequest, Code::NoKey, Code::NoKeysFile];
            account(operation).part("key", "Its `uid`").fails(&codes)
        };
        let mut made = wrapped();
        for (name, value) in bare().as_object().into_iter().flatten() {
            made[name] = value.clone();
        }
        let wish = json!({ "name": "shop" });
        all.extend([
            account(Operation::post(
                many,
                Tag::Compat,
                "Cloudflare: make a key, which is shown this once",
            ))
            .takes::<Body>(false, wish.clone())
            .answers::<CloudflareKey<'_>>(201, "The key", made.clone())
            .fails(&[Code::BadRequest, Code::BadJson, Code::BadName, Code::UnknownRealm])
            .fails(&[Code::NoKeysFile, Code::KeysNotKept, Code::KeysFull]),
            account(Operation::get(many, Tag::Compat, "Cloudflare: the keys that were made"))
                .answers::<CloudflareKeys<'_>>(
                    200,
                    "All of them",
                    json!({ "success": true, "errors": [], "messages": [], "result": [bare()],
                            "result_info": { "page": 1, "per_page": 1, "count": 1, "total_count": 1 } }),
                )
                .fails(&[Code::BadRequest, Code::NoKeysFile]),
            of_one(Operation::get(one, Tag::Compat, "Cloudflare: a key that was made"))
                .answers::<CloudflareAnswer<TurnKey<'_>>>(200, "The key, without its text", wrapped()),
            of_one(Operation::new(
                &Method::PUT,
                one,
                Tag::Compat,
                "Cloudflare: give a key another name",
            ))
            .takes::<Body>(false, wish)
            .answers::<CloudflareAnswer<TurnKey<'_>>>(200, "The key, without its text", wrapped())
            .fails(&[Code::BadJson, Code::BadName, Code::KeysNotKept]),
            of_one(Operation::delete(one, Tag::Compat, "Cloudflare: end a key"))
                .answers::<CloudflareKey<'_>>(200, "What it was", made)
                .fails(&[Code::KeysNotKept]),
        ]);
    }
    all
}

pub(super) fn routes() -> Router<Compat> {
    PATHS.into_iter().fold(Router::new(), |routes, (many, one)| {
        routes
            .route(many, post(make).get(list))
            .route(one, get(show).put(rename).delete(end))
    })
}

/// Who administers, and whose keys.
struct Administrator {
    name: Box<str>,
    /// Somebody with a key; `None` for an operator.
    caller: Option<Caller>,
}

impl Administrator {
    /// Those that it sees, changes and ends.
    fn of(&self) -> Of<'_> {
        self.caller
            .as_ref()
            .map_or(Of::All, |caller| Of::Realm(caller.identity.realm.as_deref()))
    }
}

async fn administrator(compat: &Compat, client: &Client, headers: &HeaderMap) -> Result<Arc<Administrator>, Problem> {
    admission::from_allowed_page(&compat.state, headers)?;
    // An operator's token opens as it does in the API for operators.
    if let Some(name) = bearer(headers).and_then(|token| compat.tokens.name_of(token)) {
        return Ok(Arc::new(Administrator { name, caller: None }));
    }
    let asks = Asks::new(BASES[0], headers);
    let caller = admission::admit(&compat.state, client, &asks, Scope::Keys).await?;
    caller.pace(&compat.state, client)?;
    let name = caller.identity.key.as_deref().unwrap_or_default();
    Ok(Arc::new(Administrator {
        name: format!("key {name}").into(),
        caller: Some(caller),
    }))
}

/// What a new key is called, and whose it is.
fn wish(compat: &Compat, by: &Administrator, body: Body) -> Result<(Box<str>, Option<Box<str>>), Problem> {
    if let Some(caller) = &by.caller {
        caller.may_make_keys()?;
        let own = &caller.identity.realm;
        if body.realm.is_some() && body.realm != *own {
            return Err(Problem::new(Code::Forbidden, "a key makes keys of its own realm alone"));
        }
    }
    match &body.realm {
        Some(name) if !compat.state.authenticator().knows_realm(name) => {
            Err(Problem::new(Code::UnknownRealm, "no realm of this name is configured"))
        }
        _ => Ok((body.name.unwrap_or_default(), body.realm)),
    }
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
    let made = match read(&headers, &body).and_then(|body| wish(&compat, &by, body)) {
        Ok((name, realm)) => {
            let make = move |keys: &Keys, by: &Administrator| {
                let maker = by.caller.as_ref().and_then(Caller::maker);
                keys.make(&name, realm.as_deref(), maker, now())
            };
            ask(&compat, &by, make).await
        }
        Err(problem) => Err(problem),
    };
    let target = made.as_ref().ok().map(|(key, _)| key.uid.clone());
    let response = made.map_or_else(refuse, |(made, key)| {
        (StatusCode::CREATED, Json(both(&made, Some(key.expose())))).into_response()
    });
    audit(&compat, &client, &by, "make_key", target, &response);
    response
}

async fn list(State(compat): State<Compat>, Extension(client): Extension<Client>, headers: HeaderMap) -> Response {
    let listed = administrator(&compat, &client, &headers).await;
    let listed = listed.and_then(|by| compat.state.keys().made(by.of()).map_err(problem));
    listed.map_or_else(refuse, |keys| {
        // One page: there are not so many.
        let result_info = Pages {
            page: 1,
            per_page: keys.len(),
            count: keys.len(),
            total_count: keys.len(),
        };
        let answer = envelope(keys.iter().map(|key| shown(key, None)).collect::<Vec<_>>());
        Json(CloudflareKeys { answer, result_info }).into_response()
    })
}

async fn show(
    State(compat): State<Compat>,
    Extension(client): Extension<Client>,
    Path((_, uid)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    let found = administrator(&compat, &client, &headers).await.and_then(|by| {
        let key = compat.state.keys().made_key(&uid, by.of());
        key.map_err(problem)
    });
    found.map_or_else(refuse, |key| Json(envelope(shown(&key, None))).into_response())
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
    let target = Some(uid.as_str().into());
    let renamed = match read(&headers, &body) {
        Ok(body) => {
            let change = move |keys: &Keys, by: &Administrator| match &body.name {
                Some(name) => keys.rename(&uid, by.of(), name, now()),
                None => keys.made_key(&uid, by.of()),
            };
            ask(&compat, &by, change).await
        }
        Err(problem) => Err(problem),
    };
    let response = renamed.map_or_else(refuse, |key| Json(envelope(shown(&key, None))).into_response());
    audit(&compat, &client, &by, "rename_key", target, &response);
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
    let target = Some(uid.as_str().into());
    let ended = ask(&compat, &by, move |keys, by| keys.end(&uid, by.of())).await;
    let response = ended.map_or_else(refuse, |key| Json(both(&key, None)).into_response());
    audit(&compat, &client, &by, "end_key", target, &response);
    response
}

fn read(headers: &HeaderMap, body: &[u8]) -> Result<Body, Problem> {
    let body: Body = if body.is_empty() {
        Body::default()
    } else {
        read_json(headers, body, Code::BadJson)?
    };
    if body.name.as_deref().is_some_and(|name| !is_made_name(name)) {
        return Err(Problem::new(Code::BadName, "name has at most 128 bytes, and prints"));
    }
    Ok(body)
}

/// Asks on a thread that may wait for the disk. Nobody waits there for another change: that is waited for here, where it costs nothing.
async fn ask<T: Send + 'static>(
    compat: &Compat,
    by: &Arc<Administrator>,
    change: impl Fn(&Keys, &Administrator) -> Result<T, StoreError> + Send + Sync + 'static,
) -> Result<T, Problem> {
    let (asked, change) = (Instant::now(), Arc::new(change));
    loop {
        let (keys, by, change) = (compat.state.keys().clone(), Arc::clone(by), Arc::clone(&change));
        match spawn_blocking(move || change(&keys, &by)).await {
            Ok(Err(StoreError::Locked)) if asked.elapsed() < PATIENCE => sleep(AGAIN).await,
            Ok(result) => return result.map_err(problem),
            Err(_panicked) => return Err(Problem::of_status(StatusCode::INTERNAL_SERVER_ERROR)),
        }
    }
}

fn problem(error: StoreError) -> Problem {
    match error {
        StoreError::NoFile => Problem::new(Code::NoKeysFile, "no http.keys_file is configured"),
        StoreError::NoKey => Problem::new(Code::NoKey, "no key that was made here has this id"),
        StoreError::Full => Problem::new(Code::KeysFull, "as many keys were made as may"),
        StoreError::NoRandomness => Problem::of_status(StatusCode::INTERNAL_SERVER_ERROR),
        StoreError::Locked => Problem::new(
            Code::KeysNotKept,
            "another process has been changing the file of keys for too long; nothing was changed",
        ),
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

fn shown<'a>(made: &'a MadeKey, key: Option<&'a str>) -> TurnKey<'a> {
    TurnKey {
        uid: &made.uid,
        key,
        name: &made.name,
        created: to_rfc3339(made.created),
        modified: to_rfc3339(made.modified),
    }
}

fn envelope<T: ToSchema>(result: T) -> CloudflareAnswer<T> {
    CloudflareAnswer {
        success: true,
        errors: [],
        messages: [],
        result,
    }
}

fn both<'a>(made: &'a MadeKey, key: Option<&'a str>) -> CloudflareKey<'a> {
    CloudflareKey {
        key: shown(made, key),
        answer: envelope(shown(made, key)),
    }
}

/// Its errors have numbers above 1000.
fn refuse(problem: Problem) -> Response {
    problem.into_response_with(|problem| {
        let reason = CloudflareReason {
            code: 1000 + problem.status().as_u16(),
            message: format!("{}: {}", problem.code().name(), problem.detail()),
        };
        json!(CloudflareError {
            success: false,
            errors: vec![reason],
            messages: [],
            result: (),
        })
    })
}

fn audit(
    compat: &Compat,
    client: &Client,
    by: &Administrator,
    action: &'static str,
    target: Option<Box<str>>,
    response: &Response,
) {
    compat.intake.audit(Audit {
        at: now(),
        action,
        target,
        token: Some(by.name.clone()),
        client: client.ip,
        status: response.status().as_u16(),
        count: 1,
    });
}

fn now() -> UnixTime {
    UnixTime::from_system_time(SystemTime::now())
}
