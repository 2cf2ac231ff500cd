//! Cross-origin access (Fetch standard §3.3), on every route and every error.

use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::Response;
use tower::{Layer as _, ServiceExt as _};
use tower_http::cors::{AllowOrigin, CorsLayer};

use super::compat::Service;
use super::config::{Config, Cors};
use super::keys::X_API_KEY;
use super::observe::REQUEST_ID;
use super::state::AppState;

/// How long a browser may remember a preflight; two hours is the most that Chromium keeps.
const PREFLIGHT_MAX_AGE: Duration = Duration::from_secs(7_200);

/// Treats a request by the configuration of its moment: a reload must not need a new router.
pub(super) async fn apply(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let Ok(response) = state.cors().layer(next).oneshot(request).await;
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
        .expose_headers([header::RETRY_AFTER, REQUEST_ID.clone()])
        .max_age(PREFLIGHT_MAX_AGE)
}
