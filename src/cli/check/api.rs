//! The API under test: what it gives is what the later steps use.

use super::report::Failure;
use super::web::{Site, Trust, get};
use crate::credentials::IceServer;
use hyper::StatusCode;
use serde::Deserialize;

/// One entry of the list, as a browser reads it.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Entry {
    pub(super) urls: Urls,
    pub(super) username: Option<String>,
    pub(super) credential: Option<String>,
}

/// A string or a list of strings.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(super) enum Urls {
    One(String),
    Many(Vec<String>),
}

impl Entry {
    pub(super) fn urls(&self) -> &[String] {
        match &self.urls {
            Urls::One(url) => std::slice::from_ref(url),
            Urls::Many(urls) => urls,
        }
    }
}

impl From<IceServer> for Entry {
    fn from(server: IceServer) -> Self {
        Self {
            urls: Urls::Many(server.urls.to_vec()),
            username: server.username,
            credential: server.credential,
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    ice_servers: Vec<Entry>,
    ttl: Option<u64>,
}

pub(super) async fn ready(site: &Site, trust: &Trust) -> Result<((), String), Failure> {
    match get(site, trust, "/readyz", None).await? {
        (StatusCode::OK, _) => Ok(((), "ready".into())),
        (StatusCode::SERVICE_UNAVAILABLE, body) => Err(Failure::new(
            format!("not ready: {}", String::from_utf8_lossy(&body).trim()),
            "the server is starting or draining: try again, or look at its log",
        )),
        (status, _) => Err(Failure::new(
            format!("HTTP status {status}"),
            "what answers there is not meetpoint: check the URL, and the path that a proxy forwards",
        )),
    }
}

pub(super) async fn ice_servers(
    site: &Site,
    trust: &Trust,
    token: Option<&str>,
) -> Result<(Vec<Entry>, String), Failure> {
    let (status, body) = get(site, trust, "/api/ice-servers", token).await?;
    match status {
        StatusCode::OK => {}
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            let (wrong, hint) = match token {
                None => (
                    "asks for a token",
                    "give a JSON Web Token that auth.jwt_secrets accepts with --token",
                ),
                Some(_) => (
                    "refuses the token",
                    "check its signature, expiry, audience and issuer against [auth]",
                ),
            };
            return Err(Failure::new(format!("HTTP status {status}: {wrong}"), hint));
        }
        StatusCode::TOO_MANY_REQUESTS => {
            return Err(Failure::new(
                format!("HTTP status {status}"),
                "http.rate is used up: wait a little",
            ));
        }
        _ => {
            return Err(Failure::new(
                format!("HTTP status {status}"),
                "check the URL, and that a proxy in front forwards /api/ to http.listen",
            ));
        }
    }
    let answer: Answer = serde_json::from_slice(&body).map_err(|error| {
        Failure::new(
            format!("not an ICE server list: {error}"),
            "what answers there is not meetpoint: check the URL",
        )
    })?;
    let urls = answer.ice_servers.iter().map(|entry| entry.urls().len()).sum::<usize>();
    if urls == 0 {
        return Err(Failure::new(
            "the list is empty",
            "set ice.host to the name clients reach the relay at",
        ));
    }
    let ttl = answer
        .ttl
        .map_or(String::new(), |ttl| format!(", credential good for {ttl} s"));
    Ok((answer.ice_servers, format!("{urls} URLs{ttl}")))
}
