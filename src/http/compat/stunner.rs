//! STUNner's authentication service: `GET /ice?service=turn&ttl=&username=`. Its other form is at `/v1/turn`.

use axum::extract::{Extension, RawQuery, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use serde_json::json;
use utoipa::{IntoParams, ToSchema};

use super::{Compat, parameter, with_credential};
use crate::credentials::{IceServer, TransportPolicy};
use crate::http::bearer::bearer;
use crate::http::client::Client;
use crate::http::code::Code;
use crate::http::error::Problem;
use crate::http::ice_servers::REFUSALS;
use crate::http::operation::{Access, Operation, Tag};
use crate::http::turn_rest::{self, Question};

const ICE: &str = "/ice";

/// One entry, and how it is to be used.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct StunnerConfig<'a> {
    ice_servers: [&'a IceServer; 1],
    ice_transport_policy: TransportPolicy,
}

/// What else may be asked for, and is not looked at.
#[derive(IntoParams)]
#[expect(dead_code, reason = "for the document")]
struct Gateway {
    /// Not looked at: there is one gateway.
    namespace: Option<String>,
    /// Likewise.
    gateway: Option<String>,
}

pub(super) fn operations() -> Vec<Operation> {
    let example = json!({
        "iceServers": [{
            "urls": ["turn:turn.example.org:3478?transport=udp"],
            "username": "1795251271:alice@acme",
            "credential": "jZnWQxOpsu0k4r4q2taJs9Sy15w=",
        }],
        "iceTransportPolicy": "all",
    });
    vec![
        Operation::get(ICE, Tag::Compat, "STUNner: what to give to RTCPeerConnection")
            .by(Access::Client(&["jwt", "realmToken", "keyQuery"]))
            .query::<Question>()
            .query::<Gateway>()
            .answers::<StunnerConfig<'_>>(200, "A fresh credential", example)
            .fails(&REFUSALS)
            .fails(&[Code::BadService]),
    ]
}

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
    let answer = StunnerConfig {
        ice_servers: [turn],
        ice_transport_policy: list.policy.unwrap_or(TransportPolicy::All),
    };
    Ok(Json(answer).into_response())
}
