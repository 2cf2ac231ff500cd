//! Xirsys: `PUT /_turn/{channel}`, Basic authentication.

use axum::body::Bytes;
use axum::extract::{Extension, RawQuery, State};
use axum::http::{HeaderMap, Method};
use axum::response::{IntoResponse as _, Response};
use axum::routing::put;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::basic::password;
use super::{Compat, OfRoom, in_room, stun_urls, with_credential};
use crate::credentials::{IceList, IceServer};
use crate::http::body::read_json;
use crate::http::client::Client;
use crate::http::code::Code;
use crate::http::error::Problem;
use crate::http::ice_servers::Wish;
use crate::http::operation::{Access, Operation, Tag};

/// Channels may have channels below them. None is looked at.
const TURN: &str = "/_turn/{*channel}";

/// What may be asked for. Unknown names are ignored.
#[derive(Default, Deserialize, ToSchema)]
#[schema(as = XirsysWish)]
struct Body {
    /// `urls` for one object with all of them.
    format: Option<String>,
    /// Lifetime, seconds.
    #[schema(minimum = 1)]
    expire: Option<u64>,
    /// The room that the list is for; ours alone.
    #[schema(min_length = 1, max_length = 128)]
    room: Option<String>,
}

/// An answer, which says how it went.
#[derive(Serialize, ToSchema)]
struct XirsysAnswer<'a> {
    v: XirsysServers<'a>,
    /// `ok`.
    s: &'static str,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct XirsysServers<'a> {
    ice_servers: XirsysForm<'a>,
}

/// One object for `format: "urls"`, else an object for each URL.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
enum XirsysForm<'a> {
    One(XirsysServer<'a>),
    Each(Vec<XirsysEntry<'a>>),
}

#[derive(Serialize, ToSchema)]
struct XirsysServer<'a> {
    username: Option<&'a str>,
    urls: Vec<&'a String>,
    credential: Option<&'a str>,
}

#[derive(Serialize, ToSchema)]
struct XirsysEntry<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    username: Option<&'a str>,
    url: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    credential: Option<&'a str>,
}

impl<'a> XirsysEntry<'a> {
    fn of(server: &'a IceServer, url: &'a str) -> Self {
        Self {
            username: server.username.as_deref(),
            url,
            credential: server.credential.as_deref(),
        }
    }
}

/// An error as that service writes it.
#[derive(Serialize, ToSchema)]
struct XirsysError {
    /// The code.
    v: &'static str,
    /// `error`.
    s: &'static str,
}

pub(super) fn operations() -> Vec<Operation> {
    let example = json!({
        "v": { "iceServers": {
            "username": "1795251271:alice@acme",
            "urls": ["stun:turn.example.org:3478", "turn:turn.example.org:3478?transport=udp"],
            "credential": "jZnWQxOpsu0k4r4q2taJs9Sy15w=",
        } },
        "s": "ok",
    });
    vec![
        Operation::new(&Method::PUT, TURN, Tag::Compat, "Xirsys: a list")
            .by(Access::Client(&["basic"]))
            .part("channel", "Not looked at; it may have channels below it")
            .query::<OfRoom>()
            .takes::<Body>(false, json!({ "format": "urls", "expire": 3600 }))
            .answers::<XirsysAnswer<'_>>(200, "The list", example)
            .fails(&[
                Code::BadTtl,
                Code::BadUser,
                Code::BadRoom,
                Code::NoUsableHost,
                Code::BadJson,
            ])
            .fails_as::<XirsysError>(),
    ]
}

pub(super) fn routes() -> Router<Compat> {
    Router::new().route(TURN, put(turn))
}

async fn turn(
    State(compat): State<Compat>,
    Extension(client): Extension<Client>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let token = password(&headers);
    let body = if body.is_empty() {
        Ok(Body::default())
    } else {
        read_json::<Body>(&headers, &body, Code::BadJson)
    };
    let as_urls = matches!(&body, Ok(body) if body.format.as_deref() == Some("urls"));
    let wish = body.and_then(|body| in_room(Wish::new(body.expire, None)?, body.room, query.as_deref()));
    let list = compat.list(&client, TURN, (&headers, token.as_deref()), wish).await;
    let answer = list.and_then(|list| {
        let ice_servers = if as_urls { one(&list)? } else { each(&list) };
        let v = XirsysServers { ice_servers };
        Ok(Json(XirsysAnswer { v, s: "ok" }).into_response())
    });
    let error = |problem: &Problem| {
        json!(XirsysError {
            v: problem.code().name(),
            s: "error",
        })
    };
    answer.unwrap_or_else(|problem| problem.into_response_with(error))
}

/// One object with all URLs.
fn one(list: &IceList) -> Result<XirsysForm<'_>, Problem> {
    let turn = with_credential(list)?;
    let urls: Vec<_> = stun_urls(list).chain(&turn.urls).collect();
    Ok(XirsysForm::One(XirsysServer {
        username: turn.username.as_deref(),
        urls,
        credential: turn.credential.as_deref(),
    }))
}

/// An object for each URL.
fn each(list: &IceList) -> XirsysForm<'_> {
    let urls = list
        .ice_servers
        .iter()
        .flat_map(|server| server.urls.iter().map(move |url| (server, url)));
    XirsysForm::Each(urls.map(|(server, url)| XirsysEntry::of(server, url)).collect())
}
