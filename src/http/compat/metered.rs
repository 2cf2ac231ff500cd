//! Metered: `GET /api/v1/turn/credentials?apiKey=` and `POST /api/v1/turn/credential?secretKey=`, the same below
//! `/api/v2/turn/project/{project}`, and what is done with credentials that exist (`switch`).
//!
//! The `apiKey` of a credential is a [`CredentialKey`]: whoever has it gets exactly that credential again, from any replica, until it
//! expires or is switched off. Nothing is kept for it.

mod issued;
mod switch;

use std::time::SystemTime;

use axum::body::Bytes;
use axum::extract::{Extension, Path, RawQuery, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

pub(super) use self::issued::Issued;
use self::issued::One;
use super::{Compat, OfRoom, in_room, parameter, shown, with_credential};
use crate::credentials::{CredentialKey, IceList, IceServer, UnixTime, Username};
use crate::http::admission::{self, Asks, INVALID};
use crate::http::body::read_json;
use crate::http::client::Client;
use crate::http::code::Code;
use crate::http::error::Problem;
use crate::http::ice_servers::{self, REFUSALS, Wish};
use crate::http::lists::{Headers, ListFor};
use crate::http::operation::{Access, Operation, Tag};
use crate::telemetry::labels::IssueResult;

const LIST: &str = "/api/v1/turn/credentials";
const CREATE: &str = "/api/v1/turn/credential";
const CREATE_V2: &str = "/api/v2/turn/project/{project}/credential";

/// What may be asked for. Unknown names are ignored.
#[derive(Default, Deserialize, ToSchema)]
#[schema(as = MeteredWish)]
#[serde(rename_all = "camelCase")]
struct Body {
    #[schema(minimum = 1)]
    expiry_in_seconds: Option<u64>,
    /// The `user` of the username.
    #[schema(max_length = 64, pattern = "^[A-Za-z0-9._~@+-]*$")]
    label: Option<String>,
    /// The room that the credential is for; ours alone.
    #[schema(min_length = 1, max_length = 128)]
    room: Option<String>,
}

/// One credential.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct MeteredCredential<'a> {
    username: Option<&'a str>,
    password: Option<&'a str>,
    expiry_in_seconds: u64,
    label: &'a str,
    /// For `/api/v1/turn/credentials`, which answers this credential by it until it expires.
    api_key: String,
}

/// An error as that service writes it.
#[derive(Serialize, ToSchema)]
struct MeteredError<'a> {
    message: &'a str,
}

pub(super) fn operations() -> Vec<Operation> {
    let servers = json!([
        { "urls": ["stun:turn.example.org:3478"] },
        { "urls": ["turn:turn.example.org:3478?transport=udp"], "username": "1795251271:alice@acme", "credential": "jZnWQxOpsu0k4r4q2taJs9Sy15w=" },
    ]);
    let credential = json!({
        "username": "1795251271:alice@acme", "password": "jZnWQxOpsu0k4r4q2taJs9Sy15w=", "expiryInSeconds": 3600, "label": "alice", "apiKey": "mpc_MTc5…",
    });
    let all = [Operation::get(LIST, Tag::Compat, "Metered: a list")
        .by(Access::Client(&["apiKeyQuery"]))
        .query::<OfRoom>()
        .answers::<Vec<IceServer>>(200, "The list", servers)
        .with::<IceServer>()
        .fails(&[Code::BadUser, Code::BadRoom, Code::NoUsableHost])
        .fails_as::<MeteredError<'_>>()];
    let creations = [CREATE, CREATE_V2].map(|path| {
        let operation = Operation::post(path, Tag::Compat, "Metered: a credential")
            .by(Access::Client(&["secretKeyQuery"]))
            .query::<OfRoom>()
            .takes::<Body>(false, json!({ "expiryInSeconds": 3600, "label": "alice" }))
            .answers::<MeteredCredential<'_>>(200, "The credential", credential.clone())
            .fails(&REFUSALS)
            .fails(&[Code::BadJson])
            .fails_as::<MeteredError<'_>>();
        if path == CREATE {
            return operation;
        }
        operation.part(
            "project",
            "The name of an API key, or the id of one that was made; what names none is not looked at",
        )
    });
    all.into_iter().chain(creations).chain(switch::operations()).collect()
}

pub(super) fn routes() -> Router<Compat> {
    Router::new()
        .route(LIST, get(list))
        .route(CREATE, post(create))
        .route(CREATE_V2, post(create))
        .merge(switch::routes())
}

/// The list as a bare array: a fresh one, or that of the credential whose key is shown.
async fn list(
    State(compat): State<Compat>,
    Extension(client): Extension<Client>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let token = parameter(query.as_deref(), "apiKey");
    let query = query.as_deref();
    let list = match token.as_deref().filter(|token| CredentialKey::is_meant(token)) {
        Some(key) => again(&compat, &client, (&headers, query), key),
        None => {
            let shown = (&headers, token.as_deref());
            compat
                .list(&client, LIST, shown, in_room(Wish::default(), None, query))
                .await
        }
    };
    list.map_or_else(refuse, |list| Json(list.ice_servers).into_response())
}

/// The list with the credential that this key is for. Its address pays, as for any key that stands in a page. It is none of those that
/// are counted as issued: it was counted when it was made.
fn again(
    compat: &Compat,
    client: &Client,
    (headers, query): (&HeaderMap, Option<&str>),
    text: &str,
) -> Result<IceList, Problem> {
    let state = &compat.state;
    let known = admission::from_allowed_page(state, headers)
        .and_then(|()| admission::charge_address(state, client.ip))
        .and_then(|()| {
            let key = CredentialKey::parse(text);
            let credential = key.and_then(|key| {
                let realm = state.authenticator().realm_of(key.username());
                state.issuer().open(realm, &key)
            });
            credential.ok_or_else(|| admission::refuse_key(state, client.ip, "the key is not valid"))
        });
    let list = known.and_then(|credential| {
        let now = now();
        let username = Username::parse(&credential.username);
        let username = username.map_err(|_| Problem::new(Code::InvalidKey, "the key is not valid"))?;
        if username.is_expired(now) {
            let detail = "the credential of this key has expired";
            return Err(Problem::unauthorized(Code::ExpiredKey, detail, INVALID));
        }
        if compat.operator.turns_away(now, &username) {
            return Err(Problem::new(
                Code::KeyDisabled,
                "the credential of this key is switched off",
            ));
        }
        let wish = in_room(Wish::default(), None, query)?;
        let wanted = ListFor {
            realm: state.authenticator().realm_of(username.as_str()),
            user: username.user(),
            host: client.host.as_ref(),
            room: wish.room(),
            client: Some(client.ip),
            headers: Headers::Request {
                map: headers,
                proxied: client.proxied,
            },
            again: Some(&credential),
            ..ListFor::default()
        };
        state.issuer().list(now, &wanted).map_err(ice_servers::refusal)
    });
    list.inspect_err(|_| state.issuer().count(IssueResult::Unauthorized, None))
}

/// One credential, and the key by which it can be had again.
async fn create(
    State(compat): State<Compat>,
    Extension(client): Extension<Client>,
    project: Option<Path<String>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let query = query.as_deref();
    let project = project.map(|Path(project)| project);
    let of_project = || project.as_ref().and_then(|_| parameter(query, "projectApiKey"));
    let token = parameter(query, "secretKey").or_else(of_project);
    let body = if body.is_empty() {
        Ok(Body::default())
    } else {
        read_json::<Body>(&headers, &body, Code::BadJson)
    };
    let label = body
        .as_ref()
        .ok()
        .and_then(|body| body.label.clone())
        .unwrap_or_default();
    // A label may be left out, and is often sent empty.
    let wish = body.and_then(|body| {
        let label = body.label.filter(|label| !label.is_empty());
        in_room(Wish::new(body.expiry_in_seconds, label)?, body.room, query)
    });
    let headers = shown(&headers, token.as_deref());
    let mut asks = Asks::new(if project.is_some() { CREATE_V2 } else { CREATE }, &headers);
    if let Some(project) = &project {
        asks = asks.of_key(project);
    }
    let list = ice_servers::issue(&compat.state, &client, &asks, wish).await;
    let answer = list.and_then(|list| {
        let turn = with_credential(&list)?;
        let username = turn.username.as_deref().unwrap_or_default();
        Ok(Json(MeteredCredential {
            username: turn.username.as_deref(),
            password: turn.credential.as_deref(),
            expiry_in_seconds: list.ttl,
            label: &label,
            api_key: remembered(&compat, username, &label, list.ttl),
        })
        .into_response())
    });
    answer.unwrap_or_else(refuse)
}

/// The key of a credential that was just made. Empty for one of another server, which the configuration may put first.
fn remembered(compat: &Compat, username: &str, label: &str, ttl: u64) -> String {
    let Ok(parsed) = Username::parse(username) else {
        return String::new();
    };
    let realm = compat.state.authenticator().realm_of(username);
    let key = compat.state.issuer().key_of(realm, &parsed);
    let one = One {
        username: username.into(),
        label: label.into(),
        ttl,
    };
    compat.issued.add(now(), realm, one);
    key.map(|key| key.expose()).unwrap_or_default()
}

fn now() -> UnixTime {
    UnixTime::from_system_time(SystemTime::now())
}

fn refuse(problem: Problem) -> Response {
    problem.into_response_with(|problem| {
        json!(MeteredError {
            message: problem.detail()
        })
    })
}
