//! STUNner's authentication service: `GET /ice?service=turn&ttl=&username=`. Its other form is at `/v1/turn`.

use axum::extract::{Extension, RawQuery, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;

use super::{Compat, bearer, parameter, with_credential};
use crate::credentials::TransportPolicy;
use crate::http::client::Client;
use crate::http::error::Problem;
use crate::http::turn_rest;

const ICE: &str = "/ice";

pub(super) fn routes() -> Router<Compat> {
    Router::new().route(ICE, get(ice))
}

/// `namespace` and `gateway` are not looked at: there is one gateway.
async fn ice(
    State(compat): State<Compat>,
    Extension(client): Extension<Client>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let key = parameter(query.as_deref(), "key");
    let asked = (&headers, bearer(&headers).or(key.as_deref()));
    let wish = turn_rest::read(query.as_deref().unwrap_or_default());
    let list = compat.list(&client, ICE, asked, wish).await?;
    let turn = with_credential(&list)?;
    let answer = json!({
        "iceServers": [turn],
        "iceTransportPolicy": list.policy.unwrap_or(TransportPolicy::All),
    });
    Ok(Json(answer).into_response())
}
