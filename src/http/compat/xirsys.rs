//! Xirsys: `PUT /_turn/{channel}`, Basic authentication.

use axum::body::Bytes;
use axum::extract::{Extension, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse as _, Response};
use axum::routing::put;
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::basic::password;
use super::{Compat, stun_urls, with_credential};
use crate::credentials::{IceList, IceServer};
use crate::http::client::Client;
use crate::http::error::Problem;
use crate::http::ice_servers::{Wish, read_json};

/// Channels may have channels below them. None is looked at.
const TURN: &str = "/_turn/{*channel}";

/// What may be asked for. Unknown names are ignored.
#[derive(Default, Deserialize)]
struct Body {
    format: Option<String>,
    /// Lifetime, seconds.
    expire: Option<u64>,
}

pub(super) fn routes() -> Router<Compat> {
    Router::new().route(TURN, put(turn))
}

async fn turn(
    State(compat): State<Compat>,
    Extension(client): Extension<Client>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let token = password(&headers);
    let body = if body.is_empty() {
        Ok(Body::default())
    } else {
        read_json::<Body>(&headers, &body)
    };
    let as_urls = matches!(&body, Ok(body) if body.format.as_deref() == Some("urls"));
    let wish = body.and_then(|body| Wish::new(body.expire, None));
    let list = compat.list(&client, TURN, (&headers, token.as_deref()), wish).await;
    let servers = list.and_then(|list| if as_urls { one(&list) } else { Ok(each(&list)) });
    match servers {
        Ok(servers) => Json(json!({ "v": { "iceServers": servers }, "s": "ok" })).into_response(),
        Err(problem) => problem.into_response_with(|problem| json!({ "v": problem.code().name(), "s": "error" })),
    }
}

/// One object with all URLs.
fn one(list: &IceList) -> Result<Value, Problem> {
    let turn = with_credential(list)?;
    let urls: Vec<_> = stun_urls(list).chain(&turn.urls).collect();
    Ok(json!({ "username": turn.username, "urls": urls, "credential": turn.credential }))
}

/// An object for each URL.
fn each(list: &IceList) -> Value {
    let entries = |server: &IceServer| -> Vec<Value> {
        let entry = |url| match (&server.username, &server.credential) {
            (Some(username), Some(credential)) => {
                json!({ "username": username, "url": url, "credential": credential })
            }
            _ => json!({ "url": url }),
        };
        server.urls.iter().map(entry).collect()
    };
    list.ice_servers.iter().flat_map(entries).collect()
}
