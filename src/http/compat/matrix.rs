//! Matrix: `GET /_matrix/client/v3/voip/turnServer`, for homeservers and clients that take their TURN servers from there.

use axum::extract::{Extension, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::{Compat, OfRoom, bearer, in_room, with_credential};
use crate::http::client::Client;
use crate::http::code::Code;
use crate::http::error::Problem;
use crate::http::ice_servers::Wish;
use crate::http::operation::{BEARER, Operation, Tag};
use crate::http::turn_rest::Answer;

const TURN_SERVER: &str = "/_matrix/client/v3/voip/turnServer";

pub(super) fn routes() -> Router<Compat> {
    Router::new().route(TURN_SERVER, get(turn_server))
}

async fn turn_server(
    State(compat): State<Compat>,
    Extension(client): Extension<Client>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let asked = (&headers, bearer(&headers));
    let wish = in_room(Wish::default(), None, query.as_deref());
    let list = compat.list(&client, TURN_SERVER, asked, wish).await;
    let answer = list.and_then(|list| {
        let turn = with_credential(&list)?;
        Ok(Json(Answer {
            username: turn.username.as_deref().unwrap_or_default(),
            password: turn.credential.as_deref().unwrap_or_default(),
            ttl: list.ttl,
            uris: &turn.urls,
        })
        .into_response())
    });
    answer.unwrap_or_else(|problem| problem.into_response_with(error))
}

pub(super) fn operations() -> Vec<Operation> {
    let example = json!({
        "username": "1795251271:alice",
        "password": "jZnWQxOpsu0k4r4q2taJs9Sy15w=",
        "ttl": 3600,
        "uris": ["turn:turn.example.org:3478?transport=udp"],
    });
    vec![
        Operation::get(TURN_SERVER, Tag::Compat, "Matrix: TURN servers for calls")
            .by(BEARER)
            .query::<OfRoom>()
            .answers::<Answer<'_>>(200, "A fresh credential", example)
            .fails(&[Code::BadUser, Code::BadRoom, Code::NoUsableHost])
            .fails_as::<MatrixError<'_>>(),
    ]
}

/// As the Matrix client-server API has it.
#[derive(Serialize, ToSchema)]
struct MatrixError<'a> {
    errcode: &'static str,
    error: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    retry_after_ms: Option<u64>,
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
    json!(MatrixError {
        errcode: code,
        error: problem.detail(),
        retry_after_ms: problem.retry_seconds().map(|seconds| seconds.saturating_mul(1000)),
    })
}
