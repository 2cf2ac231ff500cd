//! From an HTTP request to a WebSocket (RFC 6455 §4.2), by hand: axum's own support pins another version of the WebSocket
//! library and hides its buffers.

use std::net::{IpAddr, SocketAddr};

use axum::{
    body::Body,
    extract::{ConnectInfo, Query, Request},
    response::{IntoResponse, Response},
};
use hyper::{
    HeaderMap, Method, StatusCode, Uri,
    header::{
        AUTHORIZATION, CONNECTION, CONTENT_TYPE, HOST, HeaderName, HeaderValue, ORIGIN, RETRY_AFTER,
        SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
    },
};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::{HubHandle, session};
use crate::signaling::{self, Dialect};

/// The native subprotocol's name in `Sec-WebSocket-Protocol`.
pub const NATIVE: &str = "meetpoint.v1.json";

/// The address of the client as the HTTP side has judged it (after trusted proxies), as a request extension. Without it the
/// address of the connection counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientIp(pub IpAddr);

/// Why a request does not become a WebSocket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UpgradeError {
    /// Not a WebSocket request at all: 426, with what to upgrade to.
    #[error("this is a WebSocket endpoint")]
    NotWebSocket,
    /// A WebSocket of another version: 426, with the version we speak.
    #[error("only WebSocket version 13 is supported")]
    Version,
    /// No valid `Sec-WebSocket-Key`: 400.
    #[error("Sec-WebSocket-Key is missing or wrong")]
    Key,
    /// Subprotocols were offered and none of them is ours: 400.
    #[error("none of the offered subprotocols is supported, offer {0} or none")]
    Subprotocol(&'static str),
    /// A browser from an origin that is not on the list: 403.
    #[error("this origin is not allowed")]
    Origin,
    /// The address has as many sockets as it may: 429.
    #[error("too many connections from this address")]
    PerIp,
    /// The address opens connections faster than it may: 429, and after so many seconds it may again.
    #[error("too many connections from this address in a short time")]
    Rate(u32),
    /// The process has as many connections as it may: 503.
    #[error("this server holds as many connections as it may")]
    Full,
    /// The process is about to end: 503. Another replica, or this one's successor, will take it.
    #[error("this server is draining")]
    Draining,
    /// The server in front of this handler cannot upgrade (HTTP/2): 400.
    #[error("this connection cannot be upgraded, use HTTP/1.1")]
    NotUpgradable,
}

impl UpgradeError {
    /// Stable name of this refusal, for clients to branch on.
    pub const fn code(self) -> &'static str {
        match self {
            Self::NotWebSocket => "upgrade_required",
            Self::Version => "unsupported_version",
            Self::Key => "bad_key",
            Self::Subprotocol(_) => "unsupported_subprotocol",
            Self::Origin => "origin_not_allowed",
            Self::PerIp => "too_many_connections",
            Self::Rate(_) => "rate_limited",
            Self::Full => "server_full",
            Self::Draining => "not_ready",
            Self::NotUpgradable => "not_upgradable",
        }
    }

    /// After how many seconds it may be worth another try.
    pub const fn retry_after(self) -> Option<u64> {
        match self {
            Self::PerIp | Self::Full => Some(5),
            Self::Rate(seconds) => Some(seconds as u64),
            _ => None,
        }
    }

    /// The HTTP status of this refusal.
    pub const fn status(self) -> StatusCode {
        match self {
            Self::NotWebSocket | Self::Version => StatusCode::UPGRADE_REQUIRED,
            Self::Key | Self::Subprotocol(_) | Self::NotUpgradable => StatusCode::BAD_REQUEST,
            Self::Origin => StatusCode::FORBIDDEN,
            Self::PerIp | Self::Rate(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Full | Self::Draining => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

impl IntoResponse for UpgradeError {
    fn into_response(self) -> Response {
        let mut response = (self.status(), format!("{self}\n")).into_response();
        // For an outer layer that writes errors in its own form.
        response.extensions_mut().insert(self);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        match self {
            Self::NotWebSocket | Self::Version => {
                headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
                headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
                headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
            }
            _ => {}
        }
        if let Some(seconds) = self.retry_after() {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// What the request asks for, once it is known to be a WebSocket.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Handshake {
    accept: HeaderValue,
    subprotocol: Option<&'static str>,
}

#[derive(Deserialize)]
struct Parameters {
    access_token: Option<String>,
    token: Option<String>,
}

/// The axum handler behind every path of the hub: answers 101 and serves the socket in a task of its own, or refuses. `dialect`
/// is that of the path; who names a subprotocol speaks that.
pub fn upgrade(hub: &HubHandle, dialect: Dialect, request: Request) -> Response {
    upgrade_into(hub, dialect, None, request)
}

/// The same on a path that names a room.
pub fn upgrade_into(hub: &HubHandle, dialect: Dialect, room: Option<&str>, mut request: Request) -> Response {
    match try_upgrade(hub, dialect, room, &mut request) {
        Ok(response) => response,
        Err(error) => {
            tracing::debug!(%error, "upgrade refused");
            error.into_response()
        }
    }
}

impl HubHandle {
    /// Why an upgrade with these header fields, from there, would be refused now. Opens nothing.
    ///
    /// # Errors
    /// As the upgrade: by its origin, because this server drains, because its address or the process has as many as it may.
    pub fn would_refuse(&self, headers: &HeaderMap, ip: Option<IpAddr>) -> Result<(), UpgradeError> {
        self.may_open(headers)?;
        drop(self.per_ip().try_open(ip).ok_or(UpgradeError::PerIp)?);
        if self.is_full() {
            return Err(UpgradeError::Full);
        }
        Ok(())
    }

    fn may_open(&self, headers: &HeaderMap) -> Result<(), UpgradeError> {
        if !origin_allowed(self.origins().as_deref().map(Vec::as_slice), headers) {
            return Err(UpgradeError::Origin);
        }
        if self.is_draining() {
            return Err(UpgradeError::Draining);
        }
        Ok(())
    }
}

/// Whether a request asks for a WebSocket at all.
pub fn is_upgrade(headers: &HeaderMap) -> bool {
    has_token(headers, &UPGRADE, "websocket")
}

fn try_upgrade(
    hub: &HubHandle,
    dialect: Dialect,
    room: Option<&str>,
    request: &mut Request,
) -> Result<Response, UpgradeError> {
    let handshake = judge(request.method(), request.headers(), NATIVE)?;
    hub.may_open(request.headers())?;
    let address = request.extensions().get::<ClientIp>().map(|ClientIp(ip)| *ip);
    let socket = || {
        request
            .extensions()
            .get::<ConnectInfo<SocketAddr>>()
            .map(|ConnectInfo(address)| address.ip())
    };
    let ip = address.or_else(socket);
    let slot = hub.per_ip().try_open(ip).ok_or(UpgradeError::PerIp)?;
    let dialect = handshake.subprotocol.map_or(dialect, |_native| Dialect::Native);
    let (dialect, said) = read_opening(dialect, room, request.uri());
    let place = || session::Place {
        origin: text(request.headers(), &ORIGIN).map(Box::from),
        path: request.uri().path().into(),
    };
    let opening = session::Opening {
        token: token(request.uri(), request.headers(), dialect),
        host: host(request.uri(), request.headers()),
        ip,
        place: hub.looks_at_origins().then(|| Box::new(place())),
        told: request.extensions_mut().remove().unwrap_or_default(),
        slot,
    };
    let upgrading = request
        .extensions_mut()
        .remove::<hyper::upgrade::OnUpgrade>()
        .ok_or(UpgradeError::NotUpgradable)?;
    let admission = hub.connect(dialect, ip).map_err(|_full| UpgradeError::Full)?;
    // In the span of its request, which joins the two.
    tracing::debug!(target: "meetpoint::access", session = admission.sid.as_str(), dialect = dialect.as_label(), "socket opens");
    tokio::spawn(async move {
        match upgrading.await {
            Ok(upgraded) => session::run(TokioIo::new(upgraded), admission, opening, (dialect, said)).await,
            Err(error) => tracing::debug!(%error, "upgrade failed"),
        }
    });

    Ok(switching(handshake))
}

/// What the request says to its dialect, and which one that is.
fn read_opening(dialect: Dialect, room: Option<&str>, uri: &Uri) -> (Dialect, signaling::Opening) {
    let query = Query::<Vec<(String, String)>>::try_from_uri(uri).map_or_else(|_| Vec::new(), |query| query.0);
    let read = |dialect| {
        let pairs = query.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        signaling::Opening::new(dialect, room, pairs)
    };
    let said = read(dialect);
    match dialect.of_opening(&said) {
        same if same == dialect => (dialect, said),
        shown => (shown, read(shown)),
    }
}

/// The answer to a request that becomes a WebSocket (RFC 6455 §4.2.2).
pub(super) fn switching(handshake: Handshake) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, handshake.accept);
    if let Some(subprotocol) = handshake.subprotocol {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(subprotocol));
    }
    response
}

/// RFC 6455 §4.2.1, in its order; `ours` is the subprotocol that is spoken here.
pub(super) fn judge(method: &Method, headers: &HeaderMap, ours: &'static str) -> Result<Handshake, UpgradeError> {
    if method != Method::GET
        || !has_token(headers, &UPGRADE, "websocket")
        || !has_token(headers, &CONNECTION, "upgrade")
    {
        return Err(UpgradeError::NotWebSocket);
    }
    if headers.get(SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        return Err(UpgradeError::Version);
    }
    let key = headers.get(SEC_WEBSOCKET_KEY).ok_or(UpgradeError::Key)?.as_bytes();
    // 16 bytes of base64 (RFC 6455 §4.1); what they are does not matter.
    if key.len() != 24
        || !key.ends_with(b"==")
        || !key
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(byte))
    {
        return Err(UpgradeError::Key);
    }
    let accept = HeaderValue::try_from(derive_accept_key(key)).map_err(|_| UpgradeError::Key)?;
    // Browsers fail a connection whose offers all go unanswered, so refusing says more than staying silent.
    let offered = headers.contains_key(SEC_WEBSOCKET_PROTOCOL);
    let subprotocol = has_token(headers, &SEC_WEBSOCKET_PROTOCOL, ours).then_some(ours);
    if offered && subprotocol.is_none() {
        return Err(UpgradeError::Subprotocol(ours));
    }
    Ok(Handshake { accept, subprotocol })
}

/// Whether a comma-separated header lists `token`, in any case of letters.
fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    let values = headers
        .get_all(name)
        .into_iter()
        .filter_map(|value| value.to_str().ok());
    values
        .flat_map(|value| value.split(','))
        .any(|entry| entry.trim().eq_ignore_ascii_case(token))
}

/// Whether a page of the origin in these headers may use this server: it is on the list, or one of this server itself.
pub(crate) fn origin_allowed(allowed: Option<&[String]>, headers: &HeaderMap) -> bool {
    let (Some(allowed), Some(origin)) = (allowed, headers.get(ORIGIN)) else {
        return true;
    };
    allowed
        .iter()
        .any(|entry| entry == "*" || entry.as_bytes().eq_ignore_ascii_case(origin.as_bytes()))
        || is_own(origin, headers.get(HOST))
}

/// Whether the page came from this server itself (the console): its origin is the host it asks. A browser sets both, so
/// a page from elsewhere cannot pretend.
fn is_own(origin: &HeaderValue, host: Option<&HeaderValue>) -> bool {
    let Some(authority) = origin.to_str().ok().and_then(|origin| origin.split_once("://")) else {
        return false;
    };
    host.is_some_and(|host| host.as_bytes().eq_ignore_ascii_case(authority.1.as_bytes()))
}

/// A token given with the request. The one in `hello` is preferred: queries end up in the logs of proxies.
fn token(uri: &Uri, headers: &HeaderMap, dialect: Dialect) -> Option<Box<str>> {
    let bearer = headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| {
            let (scheme, token) = value.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().into())
        });
    let of_query = || {
        let query = Query::<Parameters>::try_from_uri(uri).ok()?.0;
        // Retcon's pages call it so; in other dialects that name is for something else.
        let named = query.token.filter(|_| dialect == Dialect::Retcon);
        Some(query.access_token.or(named)?.into())
    };
    bearer.or_else(of_query)
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn host(uri: &Uri, headers: &HeaderMap) -> Option<Box<str>> {
    text(headers, &HOST)
        .or_else(|| uri.authority().map(|authority| authority.as_str()))
        .map(Box::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 6455 §1.3.
    fn example() -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(CONNECTION, HeaderValue::from_static("keep-alive, Upgrade"));
        headers.insert(SEC_WEBSOCKET_KEY, HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ=="));
        headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        headers
    }

    #[test]
    fn the_example_of_the_rfc_is_accepted_with_its_accept_key() {
        let handshake = judge(&Method::GET, &example(), NATIVE).unwrap();
        assert_eq!(handshake.accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(handshake.subprotocol, None);
    }

    #[test]
    fn our_subprotocol_is_chosen_among_others_and_none_of_ours_is_refused() {
        let mut headers = example();
        headers.insert(
            SEC_WEBSOCKET_PROTOCOL,
            HeaderValue::from_static("other, meetpoint.v1.json"),
        );
        assert_eq!(judge(&Method::GET, &headers, NATIVE).unwrap().subprotocol, Some(NATIVE));
        headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("other"));
        assert_eq!(
            judge(&Method::GET, &headers, NATIVE),
            Err(UpgradeError::Subprotocol(NATIVE))
        );
    }

    #[test]
    fn each_wrong_header_has_its_own_answer() {
        let without = |name: HeaderName| {
            let mut headers = example();
            headers.remove(name);
            judge(&Method::GET, &headers, NATIVE).unwrap_err()
        };
        assert_eq!(without(UPGRADE), UpgradeError::NotWebSocket);
        assert_eq!(without(CONNECTION), UpgradeError::NotWebSocket);
        assert_eq!(without(SEC_WEBSOCKET_VERSION), UpgradeError::Version);
        assert_eq!(without(SEC_WEBSOCKET_KEY), UpgradeError::Key);
        assert_eq!(
            judge(&Method::POST, &example(), NATIVE),
            Err(UpgradeError::NotWebSocket)
        );
        let mut headers = example();
        headers.insert(SEC_WEBSOCKET_KEY, HeaderValue::from_static("short"));
        assert_eq!(judge(&Method::GET, &headers, NATIVE), Err(UpgradeError::Key));
        headers = example();
        headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("8"));
        assert_eq!(judge(&Method::GET, &headers, NATIVE), Err(UpgradeError::Version));
    }

    #[test]
    fn refusals_say_what_to_do_instead() {
        let response = UpgradeError::Version.into_response();
        assert_eq!(response.status(), 426);
        assert_eq!(response.headers()[SEC_WEBSOCKET_VERSION], "13");
        assert_eq!(response.headers()[UPGRADE], "websocket");
        let response = UpgradeError::Full.into_response();
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()[RETRY_AFTER], "5");
    }

    #[test]
    fn a_browser_from_elsewhere_is_refused_and_a_program_is_not() {
        let allowed = vec!["https://example.org".to_owned()];
        let mut headers = example();
        assert!(origin_allowed(Some(&allowed), &headers));
        headers.insert(ORIGIN, HeaderValue::from_static("https://example.org"));
        assert!(origin_allowed(Some(&allowed), &headers));
        headers.insert(ORIGIN, HeaderValue::from_static("https://example.org.evil.test"));
        assert!(!origin_allowed(Some(&allowed), &headers));
        headers.insert(ORIGIN, HeaderValue::from_static("null"));
        assert!(!origin_allowed(Some(&allowed), &headers));
        assert!(origin_allowed(None, &headers));
    }

    #[test]
    fn a_page_of_this_server_needs_no_entry() {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_static("meet.example.org:8000"));
        let mut from = |origin: &'static str| {
            headers.insert(ORIGIN, HeaderValue::from_static(origin));
            origin_allowed(Some(&[]), &headers)
        };
        assert!(from("http://meet.example.org:8000"));
        assert!(!from("http://meet.example.org"));
        assert!(!from("http://evil.test"));
        assert!(!from("null"));
    }

    #[test]
    fn a_token_comes_from_the_header_or_the_query() {
        let uri: Uri = "/v1/ws?x=1&access_token=abc.def".parse().unwrap();
        let token = |uri: &Uri, headers: &HeaderMap| super::token(uri, headers, Dialect::Native);
        assert_eq!(token(&uri, &HeaderMap::new()).as_deref(), Some("abc.def"));
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, HeaderValue::from_static("bearer xyz"));
        assert_eq!(token(&uri, &headers).as_deref(), Some("xyz"));
        assert_eq!(token(&"/v1/ws".parse().unwrap(), &HeaderMap::new()), None);
        let named: Uri = "/signaling?token=abc.def".parse().unwrap();
        assert_eq!(token(&named, &HeaderMap::new()), None);
        let of_retcon = super::token(&named, &HeaderMap::new(), Dialect::Retcon);
        assert_eq!(of_retcon.as_deref(), Some("abc.def"));
    }
}
