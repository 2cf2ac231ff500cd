//! Cross-origin access (Fetch standard §3.3), on every route and every error.

use std::convert::Infallible;
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use tower::{Layer as _, ServiceExt as _, service_fn};
use tower_http::cors::{AllowOrigin, AllowPrivateNetwork, CorsLayer};

use super::compat::service::Service;
use super::config::{Config, Cors};
use super::keys::X_API_KEY;
use super::request_id::REQUEST_ID;

/// How long a browser may remember a preflight; two hours is the most that Chromium keeps.
const PREFLIGHT_MAX_AGE: Duration = Duration::from_secs(7_200);

/// By which a page of the Internet says that the server is nearer to its visitor (Private Network Access).
static PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-request-private-network");

/// Treats a request by the layer of its moment: a reload must not need a new router.
pub(super) async fn applied<F: Future<Output = Response>>(
    cors: &ArcSwap<CorsLayer>,
    request: Request,
    inside: impl FnOnce(Request) -> F,
) -> Response {
    let is_options = request.method() == Method::OPTIONS;
    if is_options && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD) {
        return with_headers(cors, request, Response::default()).await;
    }
    // The layer would take any OPTIONS for a preflight. It is shown what it asks of a request, beside an answer that is there.
    let mut shown = Request::new(());
    for name in [&header::ORIGIN, &PRIVATE_NETWORK] {
        if let Some(value) = request.headers().get(name) {
            shown.headers_mut().insert(name.clone(), value.clone());
        }
    }
    let mut answer = inside(request).await;
    if is_options && answer.status() == StatusCode::METHOD_NOT_ALLOWED {
        // What the path takes (RFC 9110 §9.3.7). Of routes, the router writes `Allow` outside of this; of other paths it is there.
        let allow = answer.headers_mut().remove(header::ALLOW);
        answer = StatusCode::NO_CONTENT.into_response();
        if let Some(allow) = allow {
            answer.headers_mut().insert(header::ALLOW, allow);
        }
    }
    with_headers(cors, shown, answer).await
}

/// `answer` as pages may read it; a preflight has one of its own.
async fn with_headers<B>(cors: &ArcSwap<CorsLayer>, request: Request<B>, mut answer: Response) -> Response {
    let service = service_fn(move |_: Request<B>| std::future::ready(Ok::<_, Infallible>(std::mem::take(&mut answer))));
    let layered = cors.load().layer(service);
    let Ok(response) = layered.oneshot(request).await;
    response
}

/// The layer for this configuration. An origin that cannot be a header value cannot be sent by a browser either, and is left
/// out.
pub(super) fn layer(config: &Config) -> CorsLayer {
    let origins = match &config.cors {
        Cors::Any => AllowOrigin::any(),
        Cors::Origins(origins) => {
            AllowOrigin::list(origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok()))
        }
    };
    let mut methods = vec![Method::GET, Method::HEAD, Method::POST];
    if config.compat.contains(&Service::Xirsys) {
        methods.push(Method::PUT);
    }
    CorsLayer::new()
        .allow_origin(origins)
        .allow_methods(methods)
        // A `*` would not cover Authorization.
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            X_API_KEY.clone(),
            REQUEST_ID.clone(),
        ])
        .expose_headers([
            header::RETRY_AFTER,
            header::WWW_AUTHENTICATE,
            header::ETAG,
            REQUEST_ID.clone(),
        ])
        // A page of the Internet reaches a server in its visitor's network where the operator named that page.
        .allow_private_network(match &config.cors {
            Cors::Any => AllowPrivateNetwork::default(),
            Cors::Origins(_) => AllowPrivateNetwork::yes(),
        })
        .max_age(PREFLIGHT_MAX_AGE)
}
