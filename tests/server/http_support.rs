//! An API server of its own for each test, and the plainest client there is: bytes out, bytes in.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::ConnectInfo;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode};
use meetpoint::credentials::KeyRing;
use meetpoint::http::{self, AppState, Issuer, Server, TokenAuthenticator};
use meetpoint::telemetry::Metrics;
use meetpoint::{signaling, ws};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tower::ServiceExt as _;

/// The secret that the relay of the tests has as well.
pub(crate) use crate::support::SECRET;

/// The router with everything behind it.
pub(crate) struct Api {
    pub(crate) router: Router,
    pub(crate) metrics: Metrics,
    pub(crate) hub: ws::HubHandle,
    config: http::Config,
    state: AppState,
    issuer: Issuer,
}

impl Api {
    pub(crate) fn issuer(&self) -> &Issuer {
        &self.issuer
    }

    pub(crate) fn new(config: http::Config) -> Self {
        let metrics = Metrics::new().unwrap();
        let authenticator = TokenAuthenticator::new(&config.auth, &metrics).unwrap();
        let issuer = Issuer::new(config.ice.clone(), KeyRing::from_bytes([SECRET]).unwrap(), &metrics);
        let hub = ws::HubHandle::start(
            signaling::Config::default(),
            ws::Config::default(),
            Arc::new(authenticator.clone()),
            Arc::new(issuer.clone()),
            [7; 32],
        );
        let state = AppState::new(
            config.clone(),
            authenticator,
            issuer.clone(),
            hub.clone(),
            metrics.clone(),
        );
        Self {
            router: http::router(state.clone()),
            state,
            issuer,
            metrics,
            hub,
            config,
        }
    }

    /// The same numbers behind the router that serves nothing else.
    pub(crate) fn with_metrics_alone(self) -> Self {
        Self {
            router: http::metrics_router(self.metrics.clone()),
            ..self
        }
    }

    /// What its handlers share, for routers that are not the public one.
    pub(crate) fn state(&self) -> AppState {
        self.state.clone()
    }

    /// The same with more routes.
    pub(crate) fn with_routes(self, more: Router) -> Self {
        Self {
            router: self.router.clone().merge(more),
            ..self
        }
    }

    /// The same on a listener that is a dialect's.
    pub(crate) fn speaking(self, dialect: signaling::Dialect) -> Self {
        Self {
            router: self.router.clone().layer(axum::Extension(http::SpokenHere(dialect))),
            ..self
        }
    }

    /// Answers one request as if it came from `client`, without a socket.
    pub(crate) async fn answer_to(&self, client: IpAddr, mut request: Request<Body>) -> Reply {
        request
            .extensions_mut()
            .insert(ConnectInfo(SocketAddr::from((client, 40_000))));
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, usize::MAX).await.unwrap().to_vec();
        Reply {
            status: parts.status,
            headers: parts.headers,
            body,
        }
    }

    /// A GET from a stranger (not loopback) with these headers.
    pub(crate) async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Reply {
        self.answer_to(STRANGER, request("GET", path, headers, "")).await
    }

    /// The same server on a socket.
    pub(crate) async fn listen(self) -> Listening {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let state = self.state.clone();
        let server = Server::new(self.config.limits, &self.metrics).exempting(move |ip| state.is_trusted_proxy(ip));
        let task = tokio::spawn(server.serve(listener, self.router.clone(), async move {
            let _ = stopped.await;
        }));
        Listening {
            api: self,
            address,
            stop: Some(stop),
            task,
        }
    }
}

/// An address of TEST-NET-3.
pub(crate) const STRANGER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 7));

pub(crate) struct Listening {
    pub(crate) api: Api,
    pub(crate) address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Listening {
    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends `request` and reads until the server closes.
    pub(crate) async fn exchange(&self, request: &str) -> Reply {
        let mut stream = self.connect().await;
        stream.write_all(request.as_bytes()).await.unwrap();
        Reply::parse(&read_to_end(&mut stream).await)
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.exchange(&format!(
            "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
            self.address
        ))
        .await
    }

    /// Begins the shutdown.
    pub(crate) fn stop(&mut self) {
        let _ = self.stop.take().unwrap().send(());
    }

    /// Waits until the server has ended.
    pub(crate) async fn ended(self) {
        soon(self.task).await.unwrap();
    }
}

/// Fails a test that would hang.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(10), future)
        .await
        .expect("this should not take ten seconds")
}

pub(crate) async fn read_to_end(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    // A reset after the answer is an end too.
    let _ = soon(stream.read_to_end(&mut bytes)).await;
    bytes
}

pub(crate) fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path);
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        request = request.header("host", "meet.example:8000");
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Body::from(body.to_owned())).unwrap()
}

#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn parse(bytes: &[u8]) -> Self {
        let end = bytes
            .windows(4)
            .position(|window| window == b"\r\n\r\n")
            .expect("a complete header");
        let head = std::str::from_utf8(&bytes[..end]).unwrap();
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let mut headers = HeaderMap::new();
        for line in lines {
            let (name, value) = line.split_once(": ").unwrap();
            headers.append(
                name.parse::<HeaderName>().unwrap(),
                HeaderValue::from_str(value).unwrap(),
            );
        }
        Self {
            status,
            headers,
            body: bytes[end + 4..].to_vec(),
        }
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// Checks that this is a problem document of this status and code.
    #[track_caller]
    pub(crate) fn assert_problem(&self, status: u16, code: &str) {
        assert_eq!(self.status.as_u16(), status, "{}", self.text());
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        let body = self.json();
        assert_eq!(
            (&body["status"], &body["code"]),
            (&status.into(), &code.into()),
            "{body}"
        );
        assert_eq!(body["requestId"].as_str(), self.header("x-request-id"));
        assert_eq!(self.header("cache-control"), Some("no-store"));
    }
}
