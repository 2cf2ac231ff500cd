//! Matrix: `GET /_matrix/client/v3/voip/turnServer`, for homeservers and clients that take their TURN servers from there.

use axum::extract::{Extension, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use super::{Compat, bearer, with_credential};
use crate::http::client::Client;
use crate::http::code::Code;
use crate::http::error::Problem;
use crate::http::ice_servers::Wish;

const TURN_SERVER: &str = "/_matrix/client/v3/voip/turnServer";

pub(super) fn routes() -> Router<Compat> {
    Router::new().route(TURN_SERVER, get(turn_server))
}

async fn turn_server(
    State(compat): State<Compat>,
    Extension(client): Extension<Client>,
    headers: HeaderMap,
) -> Response {
    let asked = (&headers, bearer(&headers));
    let list = compat.list(&client, TURN_SERVER, asked, Wish::new(None, None)).await;
    let answer = list.and_then(|list| {
        let turn = with_credential(&list)?;
        Ok(Json(json!({
            "username": turn.username,
            "password": turn.credential,
            "uris": turn.urls,
            "ttl": list.ttl,
        })))
    });
    answer.map_or_else(|problem| problem.into_response_with(error), Json::into_response)
}

/// An error as the Matrix client-server API writes it.
fn error(problem: &Problem) -> Value {
    let code = match (problem.status(), problem.code()) {
        (StatusCode::UNAUTHORIZED, Code::TokenRequired) => "M_MISSING_TOKEN",
        (StatusCode::UNAUTHORIZED, _) => "M_UNKNOWN_TOKEN",
        (StatusCode::FORBIDDEN, _) => "M_FORBIDDEN",
        (StatusCode::TOO_MANY_REQUESTS, _) => "M_LIMIT_EXCEEDED",
        _ => "M_UNKNOWN",
    };
    let mut error = json!({ "errcode": code, "error": problem.detail() });
    if let Some(seconds) = problem.retry_seconds() {
        error["retry_after_ms"] = json!(seconds.saturating_mul(1000));
    }
    error
}
