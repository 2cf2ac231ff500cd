//! `GET /v1/turn?service=turn&username=`: one credential and its URIs, in the form of draft-uberti-behave-turn-rest-00 §2.2.
//!
//! For clients and servers that were written for that form. Not at `/turn`, which speaks WebSocket where it is served at all. Who may
//! ask, how often, and what is minted are those of [`super::ice_servers`].

use axum::Json;
use axum::extract::{Extension, RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::json;
use utoipa::openapi::schema::{Object, ObjectBuilder, Type};
use utoipa::{IntoParams, ToSchema};

use super::admission::Asks;
use super::client::Client;
use super::code::Code;
use super::error::Problem;
use super::ice_servers::{REFUSALS, Wish, issue};
use super::operation::{BEARER_OR_QUERY, Operation, Tag};
use super::state::AppState;
use crate::credentials::IceList;

/// Where it is served.
pub(super) const PATH: &str = "/v1/turn";

/// The answer, in the draft's order.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = TurnCredential)]
pub(super) struct Answer<'a> {
    pub(super) username: &'a str,
    pub(super) password: &'a str,
    /// Seconds.
    pub(super) ttl: u64,
    pub(super) uris: &'a [String],
}

/// What may be asked for, as it is documented; [`read`] reads it.
#[derive(IntoParams)]
#[expect(dead_code, reason = "for the document")]
pub(super) struct Question {
    /// There is no other.
    #[param(schema_with = turn)]
    service: Option<String>,
    /// Lifetime, seconds; capped by the configuration.
    #[param(minimum = 1)]
    ttl: Option<u64>,
    /// Label for the username; where tokens are asked for, the token's user counts instead.
    #[param(min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9._~@+-]+$")]
    username: Option<String>,
    /// The room that the credential is for: all in it are told of the same relay first, where several replicas have one each.
    #[param(min_length = 1, max_length = 128)]
    room: Option<String>,
}

fn turn() -> Object {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .enum_values(Some(["turn"]))
        .build()
}

pub(super) fn operations() -> Vec<Operation> {
    let example = json!({
        "username": "1795251271:alice",
        "password": "jZnWQxOpsu0k4r4q2taJs9Sy15w=",
        "ttl": 3600,
        "uris": ["turn:turn.example.org:3478?transport=udp", "turn:turn.example.org:3478?transport=tcp"],
    });
    vec![
        Operation::get(
            PATH,
            Tag::Ice,
            "One TURN credential, as draft-uberti-behave-turn-rest has it",
        )
        .by(BEARER_OR_QUERY)
        .query::<Question>()
        .answers::<Answer<'_>>(200, "A fresh credential", example)
        .fails(&REFUSALS)
        .fails(&[Code::BadService]),
    ]
}

/// GET (and HEAD).
pub(super) async fn get(
    State(state): State<AppState>,
    Extension(client): Extension<Client>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let query = query.as_deref().unwrap_or_default();
    let asks = Asks::new(PATH, &headers).with_query(query);
    let list = match issue(&state, &client, &asks, read(query)).await {
        Ok(list) => list,
        Err(problem) => return problem.into_response(),
    };
    let Some(answer) = of_list(&list) else {
        // The form has no room for a list without a credential.
        return Problem::new(Code::Forbidden, "the token does not allow TURN").into_response();
    };
    let no_store = [(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))];
    (no_store, Json(answer)).into_response()
}

/// What is asked for. `service` may be left out; what else others send is ignored, but for `key`, which is an API key.
pub(super) fn read(query: &str) -> Result<Wish, Problem> {
    let pairs = || query.split('&').filter_map(|pair| pair.split_once('='));
    if pairs().any(|(name, value)| name == "service" && value != "turn") {
        return Err(Problem::new(Code::BadService, "service is turn: there is no other"));
    }
    Wish::from_query_with(query, "username")
}

/// The first entry with a credential, which is this server's own: those of the operator's others come behind it.
fn of_list(list: &IceList) -> Option<Answer<'_>> {
    list.ice_servers.iter().find_map(|server| {
        Some(Answer {
            username: server.username.as_deref()?,
            password: server.credential.as_deref()?,
            ttl: list.ttl,
            uris: &server.urls,
        })
    })
}
