//! A receiver of webhooks: axum on a thread of its own, which answers as it is told and keeps what it got.

#![allow(dead_code, clippy::allow_attributes, reason = "each test binary uses its part")]

use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::Value;

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct Got {
    pub(crate) at: Instant,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Got {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }

    pub(crate) fn events(&self) -> Vec<Value> {
        let body: Value = serde_json::from_str(&self.body).unwrap();
        body["events"].as_array().unwrap().clone()
    }
}

/// How a request is answered.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Answer {
    Status(u16),
    After(u16, u64),
    Redirect(SocketAddr),
    Never,
}

type Script = dyn Fn(usize) -> Answer + Send + Sync;

#[derive(Clone)]
struct Shared {
    got: Arc<(Mutex<Vec<Got>>, Condvar)>,
    script: Arc<Script>,
}

pub(crate) struct Receiver {
    pub(crate) addr: SocketAddr,
    shared: Shared,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Receiver {
    /// Answers the n-th request, from 0 on, as `script` says.
    pub(crate) fn start(script: impl Fn(usize) -> Answer + Send + Sync + 'static) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let shared = Shared {
            got: Arc::default(),
            script: Arc::new(script),
        };
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let addr = listener.local_addr().unwrap();
        let router = Router::new().fallback(take).with_state(shared.clone());
        runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            axum::serve(listener, router).await.unwrap();
        });
        Self {
            addr,
            shared,
            runtime: Some(runtime),
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/hook?key=value", self.addr)
    }

    pub(crate) fn got(&self) -> Vec<Got> {
        self.shared.got.0.lock().unwrap().clone()
    }

    /// Every event of every request that was answered with success or not, in order.
    pub(crate) fn events(&self) -> Vec<Value> {
        self.got().iter().flat_map(Got::events).collect()
    }

    /// Waits until `is_right` says so of what was got.
    pub(crate) fn wait(&self, is_right: impl Fn(&[Got]) -> bool) -> Vec<Got> {
        let (got, changed) = &*self.shared.got;
        let guard = got.lock().unwrap();
        let (guard, result) = changed
            .wait_timeout_while(guard, PATIENCE, |got| !is_right(got))
            .unwrap();
        assert!(!result.timed_out(), "{:?}", *guard);
        guard.clone()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn take(State(shared): State<Shared>, uri: axum::http::Uri, headers: HeaderMap, body: Bytes) -> Response {
    let number = {
        let (got, changed) = &*shared.got;
        let mut got = got.lock().unwrap();
        got.push(Got {
            at: Instant::now(),
            path: uri.to_string(),
            headers,
            body: String::from_utf8(body.to_vec()).unwrap(),
        });
        changed.notify_all();
        got.len() - 1
    };
    let status = |code| StatusCode::from_u16(code).unwrap();
    match (shared.script)(number) {
        Answer::Status(code) => status(code).into_response(),
        Answer::After(code, seconds) => (status(code), [(header::RETRY_AFTER, seconds.to_string())]).into_response(),
        Answer::Redirect(to) => (
            StatusCode::TEMPORARY_REDIRECT,
            [(header::LOCATION, format!("http://{to}/"))],
        )
            .into_response(),
        Answer::Never => std::future::pending().await,
    }
}
