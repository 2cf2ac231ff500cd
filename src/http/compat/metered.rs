//! Metered: `GET /api/v1/turn/credentials?apiKey=` and `POST /api/v1/turn/credential?secretKey=`.

use axum::body::Bytes;
use axum::extract::{Extension, RawQuery, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::json;

use super::{Compat, parameter, with_credential};
use crate::http::client::Client;
use crate::http::error::Problem;
use crate::http::ice_servers::{Wish, read_json};

const LIST: &str = "/api/v1/turn/credentials";
const CREATE: &str = "/api/v1/turn/credential";

/// What may be asked for. Unknown names are ignored.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    expiry_in_seconds: Option<u64>,
    label: Option<String>,
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
        Ok(Json(json!({
            "username": turn.username,
            "password": turn.credential,
            "expiryInSeconds": list.ttl,
            "label": label,
            "apiKey": "",
        })))
    });
    answer.map_or_else(refuse, Json::into_response)
}

fn refuse(problem: Problem) -> Response {
    problem.into_response_with(|problem| json!({ "message": problem.detail() }))
}
