//! Metered: `GET /api/v1/turn/credentials?apiKey=` and `POST /api/v1/turn/credential?secretKey=`.

use axum::body::Bytes;
use axum::extract::{Extension, RawQuery, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::{Compat, parameter, with_credential};
use crate::credentials::IceServer;
use crate::http::client::Client;
use crate::http::code::Code;
use crate::http::error::Problem;
use crate::http::ice_servers::{REFUSALS, Wish, read_json};
use crate::http::openapi::{Access, Operation, Tag};

const LIST: &str = "/api/v1/turn/credentials";
const CREATE: &str = "/api/v1/turn/credential";

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
}

/// One credential.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct MeteredCredential<'a> {
    username: Option<&'a str>,
    password: Option<&'a str>,
    expiry_in_seconds: u64,
    label: &'a str,
    /// Empty: nothing is kept here that one could ask for by it.
    api_key: &'static str,
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
        "username": "1795251271:alice@acme", "password": "jZnWQxOpsu0k4r4q2taJs9Sy15w=", "expiryInSeconds": 3600, "label": "alice", "apiKey": "",
    });
    vec![
        Operation::get(LIST, Tag::Compat, "Metered: a list")
            .by(Access::Client(&["apiKeyQuery"]))
            .answers::<Vec<IceServer>>(200, "The list", servers)
            .with::<IceServer>()
            .fails(&[Code::BadUser, Code::NoUsableHost])
            .fails_as::<MeteredError<'_>>(),
        Operation::post(CREATE, Tag::Compat, "Metered: a credential")
            .by(Access::Client(&["secretKeyQuery"]))
            .takes::<Body>(false, json!({ "expiryInSeconds": 3600, "label": "alice" }))
            .answers::<MeteredCredential<'_>>(200, "The credential", credential)
            .fails(&REFUSALS)
            .fails(&[Code::BadJson])
            .fails_as::<MeteredError<'_>>(),
    ]
}

pub(super) fn routes() -> Router<Compat> {
    Router::new().route(LIST, get(list)).route(CREATE, post(create))
}

/// The list as a bare array.
async fn list(
    State(compat): State<Compat>,
    Extension(client): Extension<Client>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let token = parameter(query.as_deref(), "apiKey");
    let list = compat
        .list(&client, LIST, (&headers, token.as_deref()), Wish::new(None, None))
        .await;
    list.map_or_else(refuse, |list| Json(list.ice_servers).into_response())
}

/// One credential. The key in the answer is empty: nothing is kept here that one could ask for by it.
async fn create(
    State(compat): State<Compat>,
    Extension(client): Extension<Client>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let token = parameter(query.as_deref(), "secretKey");
    let body = if body.is_empty() {
        Ok(Body::default())
    } else {
        read_json::<Body>(&headers, &body)
    };
    let label = body
        .as_ref()
        .ok()
        .and_then(|body| body.label.clone())
        .unwrap_or_default();
    // A label may be left out, and is often sent empty.
    let wish = body.and_then(|body| Wish::new(body.expiry_in_seconds, body.label.filter(|label| !label.is_empty())));
    let list = compat.list(&client, CREATE, (&headers, token.as_deref()), wish).await;
    let answer = list.and_then(|list| {
        let turn = with_credential(&list)?;
        Ok(Json(MeteredCredential {
            username: turn.username.as_deref(),
            password: turn.credential.as_deref(),
            expiry_in_seconds: list.ttl,
            label: &label,
            api_key: "",
        })
        .into_response())
    });
    answer.unwrap_or_else(refuse)
}

fn refuse(problem: Problem) -> Response {
    problem.into_response_with(|problem| {
        json!(MeteredError {
            message: problem.detail()
        })
    })
}
