//! One attempt at one delivery: a connection of its own, one POST, and no more of the answer than its head and a little.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::retry;
use super::signature::{self, sign};
use crate::credentials::UnixTime;
use crate::events::config::Hook;
use crate::telemetry::build_info;

/// Names a delivery, the same one at every attempt.
const DELIVERY: &str = "x-meetpoint-delivery";
/// What is read of an answer's body, so that the receiver sees an orderly end. Nothing in it is looked at.
const MAX_ANSWER: usize = 16 * 1024;

/// One delivery.
pub(super) struct Post<'a> {
    pub(super) hook: &'a Hook,
    pub(super) id: &'a str,
    pub(super) body: &'a Bytes,
}

/// What came of an attempt.
pub(super) enum Outcome {
    /// 2xx.
    Taken,
    /// An answer that another attempt would not change: a redirect, or most of 4xx.
    Refused(StatusCode),
    /// No answer, or one that may be another next time.
    Failed {
        /// For the log.
        why: String,
        /// What the receiver asks for.
        retry_after: Option<Duration>,
    },
}

impl Post<'_> {
    /// Tries it, within the time that the receiver has.
    pub(super) async fn send(&self, trust: &Trust) -> Outcome {
        let failed = |why| Outcome::Failed { why, retry_after: None };
        match timeout(self.hook.timeout, self.exchange(trust)).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(why)) => failed(why),
            Err(_) => failed("it does not answer in time".to_owned()),
        }
    }

    async fn exchange(&self, trust: &Trust) -> Result<Outcome, String> {
        let url = &self.hook.url;
        let stream = TcpStream::connect((&*url.host, url.port)).await;
        let stream = stream.map_err(|error| format!("TCP: {error}"))?;
        let _ = stream.set_nodelay(true);
        if !url.secure {
            return self.speak(stream).await;
        }
        let name = ServerName::try_from(url.host.to_string()).map_err(|_| "its host is no name for TLS".to_owned())?;
        let stream = trust.connector()?.connect(name, stream).await;
        self.speak(stream.map_err(|error| format!("TLS: {error}"))?).await
    }

    async fn speak(&self, stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Result<Outcome, String> {
        let strange = |error: hyper::Error| format!("HTTP: {error}");
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.map_err(strange)?;
        // Ends with this attempt, at whatever point.
        let mut tasks = JoinSet::new();
        tasks.spawn(connection);
        let response = sender.send_request(self.request()?).await.map_err(strange)?;
        let (head, body) = response.into_parts();
        let _ = Limited::new(body, MAX_ANSWER).collect().await;
        let status = head.status;
        if status.is_success() {
            return Ok(Outcome::Taken);
        }
        let may_change =
            status.is_server_error() || matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS);
        if !may_change {
            return Ok(Outcome::Refused(status));
        }
        let asked = head
            .headers
            .get(header::RETRY_AFTER)
            .and_then(|value| value.to_str().ok());
        Ok(Outcome::Failed {
            why: format!("it answers {status}"),
            retry_after: asked.and_then(retry::asked),
        })
    }

    fn request(&self) -> Result<Request<Full<Bytes>>, String> {
        let hook = self.hook;
        // Signed now: a receiver that refuses what is old must be able to take a late attempt.
        let now = UnixTime::from_system_time(SystemTime::now());
        Request::post(&*hook.url.path)
            .header(header::HOST, hook.url.authority())
            .header(header::CONNECTION, "close")
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::USER_AGENT, format!("meetpoint/{}", build_info::VERSION))
            .header(DELIVERY, self.id)
            .header(signature::HEADER, sign(&hook.secret, now, self.body))
            .body(Full::new(self.body.clone()))
            .map_err(|error| format!("HTTP: {error}"))
    }
}

/// Whose certificates are believed: those of this machine, read when the first one is to be judged.
#[derive(Clone, Default)]
pub(super) struct Trust(Arc<OnceLock<Result<TlsConnector, String>>>);

impl Trust {
    fn connector(&self) -> Result<&TlsConnector, String> {
        self.0.get_or_init(connector).as_ref().map_err(Clone::clone)
    }
}

fn connector() -> Result<TlsConnector, String> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("TLS: {error}"))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config).into())
}
