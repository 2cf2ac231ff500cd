//! Requests that this process makes of others by HTTP: webhooks, key sets, the hook that judges tokens.
//!
//! What it is: one exchange at a time, on a connection of its own, over TCP or TLS, with a bound on the answer.
//! What it is not: a browser. It follows no redirect, keeps no cookie, knows no proxy, and decides nothing about trying again.
//!
//! Invariants:
//! - Where a request goes is what the operator wrote and nothing else: an answer cannot send it to another host or scheme.
//! - No more of an answer is held than the caller allows. How long it may take is the caller's to bound as well.
//! - Nothing here blocks a thread: names are resolved by tokio, off the threads that serve.
//! - An error names the step that failed and never the path, the query, a header or a body: they hold secrets.
//!
//! RFCs: 9110, 9112 (HTTP), 8446 (TLS).

mod trust;
mod url;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::header::{CONNECTION, HOST, USER_AGENT};
use hyper::{HeaderMap, Request, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::telemetry::build_info;

pub use trust::{Trust, TrustError};
pub use url::Url;

/// What came back.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its header fields.
    pub headers: HeaderMap,
    /// Its body; `None` when it was longer than asked for, or ended early.
    pub body: Option<Bytes>,
}

/// Begins a request to `url`: path, Host and who asks. One exchange, then the connection ends.
pub fn request(method: hyper::Method, url: &Url) -> hyper::http::request::Builder {
    Request::builder()
        .method(method)
        .uri(&*url.path)
        .header(HOST, url.authority())
        .header(CONNECTION, "close")
        .header(USER_AGENT, format!("meetpoint/{}", build_info::VERSION))
}

/// Sends `request` to `url` and reads the answer, at most `most` bytes of its body.
///
/// # Errors
/// The step that failed, in words for a log.
pub async fn exchange(url: &Url, trust: &Trust, request: Request<Full<Bytes>>, most: usize) -> Result<Answer, String> {
    let stream = TcpStream::connect((&*url.host, url.port)).await;
    let stream = stream.map_err(|error| format!("TCP: {error}"))?;
    let _ = stream.set_nodelay(true);
    if !url.secure {
        return speak(stream, request, most).await;
    }
    let name = ServerName::try_from(url.host.to_string()).map_err(|_| "its host is no name for TLS".to_owned())?;
    let stream = trust.connector().await?.connect(name, stream).await;
    speak(stream.map_err(|error| format!("TLS: {error}"))?, request, most).await
}

async fn speak(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    request: Request<Full<Bytes>>,
    most: usize,
) -> Result<Answer, String> {
    let strange = |error: hyper::Error| format!("HTTP: {error}");
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(strange)?;
    // Ends with this exchange, at whatever point.
    let mut tasks = JoinSet::new();
    tasks.spawn(connection);
    let response = sender.send_request(request).await.map_err(strange)?;
    let (head, body) = response.into_parts();
    let body = Limited::new(body, most).collect().await;
    Ok(Answer {
        status: head.status,
        headers: head.headers,
        body: body.ok().map(http_body_util::Collected::to_bytes),
    })
}
