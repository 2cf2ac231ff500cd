//! Twilio Network Traversal: `POST /2010-04-01/Accounts/{SID}/Tokens.json`, Basic authentication, a form.

use std::time::SystemTime;

use axum::body::Bytes;
use axum::extract::{Extension, Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};

use super::basic::password;
use super::{Compat, with_credential};
use crate::credentials::IceServer;
use crate::http::client::Client;
use crate::http::code::Code;
use crate::http::error::Problem;
use crate::http::ice_servers::{Wish, parse_ttl};

const TOKENS: &str = "/2010-04-01/Accounts/{sid}/Tokens.json";

/// Longest lifetime that may be asked for, seconds; ours may be shorter.
const MAX_TTL: u64 = 86_400;

pub(super) fn routes() -> Router<Compat> {
    Router::new().route(TOKENS, post(tokens))
}

/// `Ttl` of the form, whatever the request says that its body is: it is the one form there is.
fn wish(body: &[u8]) -> Result<Wish, Problem> {
    let body = std::str::from_utf8(body).unwrap_or_default();
    let mut pairs = body.split('&').filter_map(|pair| pair.split_once('='));
    let ttl = pairs.rfind(|(name, _)| *name == "Ttl");
    let ttl = ttl.map(|(_, value)| parse_ttl(value)).transpose()?;
    if ttl.is_some_and(|ttl| ttl > MAX_TTL) {
        return Err(Problem::new(Code::BadTtl, "Ttl is at most 86400 seconds here"));
    }
    Wish::new(ttl, None)
}

async fn tokens(
    State(compat): State<Compat>,
    Extension(client): Extension<Client>,
    Path(sid): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let token = password(&headers);
    let list = compat
        .list(&client, TOKENS, (&headers, token.as_deref()), wish(&body))
        .await?;
    let turn = with_credential(&list)?;
    let now = rfc2822(SystemTime::now());
    let answer = json!({
        "account_sid": sid,
        "date_created": now,
        "date_updated": now,
        "ice_servers": list.ice_servers.iter().flat_map(entries).collect::<Vec<_>>(),
        "username": turn.username,
        "password": turn.credential,
        "ttl": list.ttl.to_string(),
    });
    Ok((StatusCode::CREATED, Json(answer)).into_response())
}

/// One for each URL, under its old name and its new one.
fn entries(server: &IceServer) -> impl Iterator<Item = Value> {
    server
        .urls
        .iter()
        .map(|url| match (&server.username, &server.credential) {
            (Some(username), Some(credential)) => {
                json!({ "url": url, "urls": url, "username": username, "credential": credential })
            }
            _ => json!({ "url": url, "urls": url }),
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
        assert_eq!(wish(b"X=1&Ttl=3600"), Wish::new(Some(3600), None));
        assert_eq!(wish(b""), Wish::new(None, None));
        for bad in ["Ttl=", "Ttl=0", "Ttl=1h", "Ttl=86401"] {
            assert!(wish(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
