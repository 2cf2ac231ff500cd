//! Twilio Network Traversal: `POST /2010-04-01/Accounts/{SID}/Tokens.json`, Basic authentication, a form.

use std::time::SystemTime;

use axum::body::Bytes;
use axum::extract::{Extension, Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use axum::{Json, Router};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use super::basic::password;
use super::{Compat, OfRoom, in_room, with_credential};
use crate::credentials::IceServer;
use crate::http::client::Client;
use crate::http::code::Code;
use crate::http::error::Problem;
use crate::http::ice_servers::{REFUSALS, Wish, bad_room, parse_ttl};
use crate::http::operation::{Access, Operation, Tag};
use crate::http::percent;

const TOKENS: &str = "/2010-04-01/Accounts/{sid}/Tokens.json";

/// Longest lifetime that may be asked for, seconds; ours may be shorter.
const MAX_TTL: u64 = 86_400;

/// What may be asked for. Other fields are ignored; [`wish`] reads it.
#[derive(ToSchema)]
#[expect(dead_code, reason = "for the document")]
struct TwilioWish {
    /// Seconds.
    #[schema(rename = "Ttl", minimum = 1, maximum = 86_400, nullable = false)]
    ttl: Option<u64>,
    /// The room that the list is for; ours alone.
    #[schema(rename = "Room", min_length = 1, max_length = 128, nullable = false)]
    room: Option<String>,
}

/// A token, as that service has it.
#[derive(Serialize, ToSchema)]
struct TwilioToken<'a> {
    /// That of the path.
    account_sid: &'a str,
    /// RFC 2822.
    date_created: &'a str,
    date_updated: &'a str,
    ice_servers: Vec<TwilioServer<'a>>,
    username: Option<&'a str>,
    password: Option<&'a str>,
    /// Seconds, as a text.
    ttl: String,
}

/// One URL, under its old name and its new one.
#[derive(Serialize, ToSchema)]
struct TwilioServer<'a> {
    url: &'a str,
    urls: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    username: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    credential: Option<&'a str>,
}

pub(super) fn operations() -> Vec<Operation> {
    let example = json!({
        "account_sid": "AC0123",
        "date_created": "Wed, 19 Aug 2026 20:00:00 +0000",
        "date_updated": "Wed, 19 Aug 2026 20:00:00 +0000",
        "ice_servers": [
            { "url": "stun:turn.example.org:3478", "urls": "stun:turn.example.org:3478" },
            {
                "url": "turn:turn.example.org:3478?transport=udp",
                "urls": "turn:turn.example.org:3478?transport=udp",
                "username": "1795251271:5f0c@acme",
                "credential": "jZnWQxOpsu0k4r4q2taJs9Sy15w=",
            },
        ],
        "username": "1795251271:5f0c@acme",
        "password": "jZnWQxOpsu0k4r4q2taJs9Sy15w=",
        "ttl": "3600",
    });
    vec![
        Operation::post(TOKENS, Tag::Compat, "Twilio: a token")
            .by(Access::Client(&["basic"]))
            .part("sid", "Given back, and else not looked at")
            .query::<OfRoom>()
            .takes_as::<TwilioWish>("application/x-www-form-urlencoded", false, json!({ "Ttl": 3600 }))
            .answers::<TwilioToken<'_>>(201, "The token", example)
            .fails(&REFUSALS)
            .fails(&[Code::BadRequest]),
    ]
}

pub(super) fn routes() -> Router<Compat> {
    Router::new().route(TOKENS, post(tokens))
}

/// `Ttl` and `Room` of the form, whatever the request says that its body is: it is the one form there is.
fn wish(query: Option<&str>, body: &[u8]) -> Result<Wish, Problem> {
    let body = std::str::from_utf8(body).unwrap_or_default();
    let field = |wanted: &str| {
        let mut pairs = body.split('&').filter_map(|pair| pair.split_once('='));
        pairs.rfind(|(name, _)| *name == wanted).map(|(_, value)| value)
    };
    let ttl = field("Ttl").map(parse_ttl).transpose()?;
    if ttl.is_some_and(|ttl| ttl > MAX_TTL) {
        return Err(Problem::new(Code::BadTtl, "Ttl is at most 86400 seconds here"));
    }
    // In a form, unlike in a query of ours, `+` is a blank.
    let decoded = |room: &str| percent::decode(&room.replace('+', " ")).ok_or_else(bad_room);
    let room = field("Room").map(decoded).transpose()?;
    in_room(Wish::new(ttl, None)?, room, query)
}

async fn tokens(
    State(compat): State<Compat>,
    Extension(client): Extension<Client>,
    Path(sid): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let token = password(&headers);
    let wish = wish(query.as_deref(), &body);
    let list = compat.list(&client, TOKENS, (&headers, token.as_deref()), wish).await?;
    let turn = with_credential(&list)?;
    let now = rfc2822(SystemTime::now());
    let answer = TwilioToken {
        account_sid: &sid,
        date_created: &now,
        date_updated: &now,
        ice_servers: list.ice_servers.iter().flat_map(entries).collect(),
        username: turn.username.as_deref(),
        password: turn.credential.as_deref(),
        ttl: list.ttl.to_string(),
    };
    Ok((StatusCode::CREATED, Json(answer)).into_response())
}

/// One for each URL, under its old name and its new one.
fn entries(server: &IceServer) -> impl Iterator<Item = TwilioServer<'_>> {
    server.urls.iter().map(|url| TwilioServer {
        url,
        urls: url,
        username: server.username.as_deref(),
        credential: server.credential.as_deref(),
    })
}

/// A date as RFC 2822 §3.3 writes it: that of HTTP, with a number for the zone.
fn rfc2822(time: SystemTime) -> String {
    httpdate::fmt_http_date(time).replace("GMT", "+0000")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn dates_have_a_number_for_their_zone() {
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_440_014_400);
        assert_eq!(rfc2822(time), "Wed, 19 Aug 2015 20:00:00 +0000");
    }

    #[test]
    fn the_lifetime_is_a_field_of_the_form() {
        let wish = |body: &[u8]| super::wish(None, body);
        assert_eq!(wish(b"X=1&Ttl=3600"), Wish::new(Some(3600), None));
        assert_eq!(wish(b""), Wish::new(None, None));
        for bad in ["Ttl=", "Ttl=0", "Ttl=1h", "Ttl=86401"] {
            assert!(wish(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_room_is_a_field_of_the_form_or_else_of_the_query() {
        let of = |room: &str| Wish::default().in_room(Some(room.to_owned()));
        assert_eq!(wish(None, b"Room=my+room%2B1"), of("my room+1"));
        assert_eq!(wish(Some("room=a+b"), b""), of("a+b"));
        assert_eq!(wish(Some("room=a"), b"Room=b"), of("b"));
        for (query, bad) in [
            (None, "Room="),
            (None, "Room=%ff"),
            (Some("room="), ""),
            (Some("room=%2"), ""),
            (Some("room="), "Room=b"),
        ] {
            assert_eq!(wish(query, bad.as_bytes()), Err(bad_room()), "{query:?} {bad}");
        }
    }
}
