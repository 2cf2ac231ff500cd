//! What surrounds every request: its id, its client, its time limit, its place in metrics and log, and a net under panics.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::panic::AssertUnwindSafe;
use std::time::Instant;

use axum::body::Body;
use axum::extract::{ConnectInfo, MatchedPath, State};
use axum::http::{HeaderValue, Method, Request, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use futures_util::FutureExt as _;
use tracing::{Instrument as _, Span};

use super::client::Client;
use super::code::Code;
use super::compat::service::is_route;
use super::error::Problem;
use super::head;
use super::request_id::{REQUEST_ID, RequestId};
use super::state::AppState;
use crate::telemetry::labels::{self, Route, StatusClass};
use crate::telemetry::redact::Target;
use crate::ws::{ClientIp, UpgradeError, is_upgrade};

/// The outermost layer, where [`Observed`] is all of it.
pub(super) async fn observe(State(state): State<AppState>, mut request: Request<Body>, next: Next) -> Response {
    let observed = Observed::of(&state, &mut request);
    let span = observed.span();
    let mut response = next.run(request).instrument(span).await;
    observed.tell(&state, &mut response);
    response
}

/// [`guarded`] as a layer.
pub(super) async fn guard(State(state): State<AppState>, request: Request<Body>, next: Next) -> Response {
    let id = request.extensions().get::<RequestId>().cloned();
    let refused = too_large(&state, &request);
    let inside = async {
        match refused {
            Some(problem) => problem.into_response(),
            None => next.run(request).await,
        }
    };
    guarded(&state, id, inside).await
}

/// Refuses a head that is too long, and counts that.
pub(super) fn too_large(state: &AppState, request: &Request<Body>) -> Option<Problem> {
    let code = head::too_large(request)?;
    state.metrics().api().heads_refused.inc();
    Some(Problem::of_status(code.status()))
}

/// A request on its way: who asks, and for what, to be counted and logged by how it was answered.
pub(super) struct Observed {
    began: Instant,
    ip: IpAddr,
    id: RequestId,
    route: Route,
    method: Method,
    uri: Uri,
}

impl Observed {
    /// Finds out who asks, and says so to whoever is further in.
    pub(super) fn of(state: &AppState, request: &mut Request<Body>) -> Self {
        let began = Instant::now();
        let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0);
        // Without a socket (a router called directly) the client is unknown; it must not pass for loopback.
        let peer = peer.unwrap_or_else(|| SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)));
        let client = Client::of(peer, request.uri(), request.headers(), &state.config().trusted_proxies);
        let this = Self {
            began,
            ip: client.ip,
            id: RequestId::of(request.headers(), client.proxied),
            route: route(request.extensions().get::<MatchedPath>()),
            method: request.method().clone(),
            uri: request.uri().clone(),
        };
        if client.through_unknown_proxy && client.ip.is_loopback() {
            state.warn_of_unknown_proxy();
        }
        if let Some(host) = client
            .forwarded_authority
            .as_deref()
            .and_then(|host| HeaderValue::from_str(host).ok())
        {
            // From here on the request's host is the one that the client used, whoever asks.
            request.headers_mut().insert(header::HOST, host);
        }
        let told = is_upgrade(request.headers()).then(|| state.issuer().told(request.headers(), client.proxied));
        let extensions = request.extensions_mut();
        // What the hub alone looks at.
        if let Some(told) = told {
            extensions.insert(told);
            extensions.insert(ClientIp(client.ip));
        }
        extensions.insert(client);
        extensions.insert(this.id.clone());
        this
    }

    pub(super) fn id(&self) -> RequestId {
        self.id.clone()
    }

    /// What is said on the way says whose request it was.
    pub(super) fn span(&self) -> Span {
        tracing::debug_span!(target: "meetpoint::access", "request", request_id = self.id.as_str())
    }

    /// Counts and logs what was answered.
    pub(super) fn tell(&self, state: &AppState, response: &mut Response) {
        let Self { id, method, uri, .. } = self;
        let headers = response.headers_mut();
        headers.insert(&REQUEST_ID, id.value());
        headers
            .entry(header::X_CONTENT_TYPE_OPTIONS)
            .or_insert(HeaderValue::from_static("nosniff"));
        headers
            .entry(header::CACHE_CONTROL)
            .or_insert(HeaderValue::from_static("no-store"));
        let status = response.status();
        let elapsed = self.began.elapsed();
        state
            .metrics()
            .api()
            .answered(self.route, method_label(method), status_class(status), elapsed);
        tracing::debug!(
            target: "meetpoint::access",
            request_id = id.as_str(),
            client = state.config().logged_addresses.shown(self.ip, None),
            %method,
            uri = %Target::new(uri.path(), uri.query()),
            status = status.as_u16(),
            elapsed_us = elapsed.as_micros() as u64,
            "request"
        );
    }
}

/// Further in: an answer in time and in form, whatever the handler does.
pub(super) async fn guarded(
    state: &AppState,
    id: Option<RequestId>,
    inside: impl Future<Output = Response>,
) -> Response {
    let id = id.as_ref().map(RequestId::as_str);
    let limit = state.config().limits.request_timeout;
    let metrics = state.metrics().api();
    let answer = tokio::time::timeout(limit, AssertUnwindSafe(inside).catch_unwind()).await;
    let mut response = match answer {
        Ok(Ok(response)) => response,
        Ok(Err(_panic)) => {
            // The panic hook has logged where; the payload may hold anything and is not shown.
            metrics.panics.inc();
            tracing::error!(request_id = id, "a handler panicked");
            Problem::of_status(StatusCode::INTERNAL_SERVER_ERROR).into_response()
        }
        Err(_elapsed) => {
            metrics.timeouts.inc();
            Problem::of_status(StatusCode::REQUEST_TIMEOUT).into_response()
        }
    };
    let Some(problem) = problem_in(&mut response) else {
        return response;
    };
    let mut with_body = problem.into_response_for(id);
    // What stands beside the status stays: `Allow` of a 405, `Upgrade` of a 426.
    for (name, value) in response.headers() {
        if !with_body.headers().contains_key(name) && *name != header::CONTENT_LENGTH {
            with_body.headers_mut().append(name.clone(), value.clone());
        }
    }
    with_body
}

/// The error that a response stands for: one of ours, or a bare status of the framework (404, 405, 413).
fn problem_in(response: &mut Response) -> Option<Problem> {
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        return Some(problem);
    }
    if let Some(error) = response.extensions_mut().remove::<UpgradeError>() {
        return Some(Problem::new(Code::of_upgrade(error), error.to_string()));
    }
    let status = response.status();
    let failed = status.is_client_error() || status.is_server_error();
    let is_json = response.headers().get(header::CONTENT_TYPE).is_some_and(|value| {
        let essence = value.as_bytes().split(|&byte| byte == b';').next().unwrap_or_default();
        essence.ends_with(b"json")
    });
    (failed && !is_json).then(|| Problem::of_status(status))
}

fn route(matched: Option<&MatchedPath>) -> Route {
    let Some(matched) = matched.map(MatchedPath::as_str) else {
        return Route::Unknown;
    };
    // Most requests are for a list.
    let of_lists = [Route::IceServers, Route::V1Ice];
    if let Some(route) = of_lists.into_iter().find(|route| route.as_label() == matched) {
        return route;
    }
    let of_pages = ["/console", "/docs", "/openapi.json"];
    if matched == "/" || of_pages.iter().any(|path| matched.starts_with(path)) {
        return Route::Console;
    }
    // Cloudflare has its administration below a path that begins like ours of the SDK.
    if is_route(matched) {
        return Route::Compat;
    }
    if matched.starts_with("/client") {
        return Route::Client;
    }
    let of_operators = ["/api/admin/", "/v1/rooms", "/v1/bans", "/v1/tokens"];
    if of_operators.iter().any(|path| matched.starts_with(path)) {
        return Route::Admin;
    }
    if matched == "/signaling/health" {
        return Route::Health;
    }
    Route::ALL
        .into_iter()
        .find(|route| route.as_label() == matched)
        .unwrap_or(Route::Unknown)
}

fn method_label(method: &Method) -> labels::Method {
    match *method {
        Method::GET => labels::Method::Get,
        Method::HEAD => labels::Method::Head,
        Method::POST => labels::Method::Post,
        Method::OPTIONS => labels::Method::Options,
        _ => labels::Method::Other,
    }
}

const fn status_class(status: StatusCode) -> StatusClass {
    match status.as_u16() / 100 {
        1 => StatusClass::Informational,
        2 => StatusClass::Success,
        3 => StatusClass::Redirection,
        4 => StatusClass::ClientError,
        _ => StatusClass::ServerError,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use axum::Router;
    use axum::routing::get;
    use tower::ServiceExt as _;

    use super::*;
    use crate::credentials::KeyRing;
    use crate::http::{Config, Issuer, TokenAuthenticator};
    use crate::telemetry::Metrics;
    use crate::{signaling, ws};

    fn state() -> AppState {
        let config = Config::default();
        let metrics = Metrics::new().unwrap();
        let authenticator = TokenAuthenticator::new(&config.auth, &metrics).unwrap();
        let issuer = Issuer::new(config.ice.clone(), KeyRing::from_bytes(["north"]).unwrap(), &metrics);
        let hub = ws::HubHandle::start(
            signaling::Config::default(),
            ws::Config::default(),
            Arc::new(authenticator.clone()),
            Arc::new(issuer.clone()),
            [0; 32],
        );
        AppState::new(config, authenticator, issuer, hub, metrics)
    }

    #[tokio::test]
    async fn a_panic_ends_one_request_and_its_text_is_not_shown() {
        let state = state();
        let router: Router = Router::new()
            .route("/", get(async || -> &'static str { panic!("a secret") }))
            .layer(axum::middleware::from_fn_with_state(state.clone(), guard));
        for count in 1..=2 {
            let response = router.clone().oneshot(Request::new(Body::empty())).await.unwrap();
            assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
            let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
            let text = String::from_utf8(body.to_vec()).unwrap();
            assert!(
                text.contains("\"code\":\"internal\"") && !text.contains("secret"),
                "{text}"
            );
            assert_eq!(state.metrics().api().panics.get(), count);
        }
    }
}
