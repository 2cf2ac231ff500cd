//! Cross-origin access (Fetch standard §3.3), on every route and every error.

use std::time::Duration;

use axum::http::{HeaderValue, Method, header};
use tower_http::cors::{AllowOrigin, CorsLayer};

use super::config::Cors;
use super::observe::REQUEST_ID;

/// How long a browser may remember a preflight; two hours is the most that Chromium keeps.
const PREFLIGHT_MAX_AGE: Duration = Duration::from_secs(7_200);

/// The layer for this configuration. An origin that cannot be a header value cannot be sent by a browser either, and is left
/// out.
pub(super) fn layer(cors: &Cors) -> CorsLayer {
    let origins = match cors {
        Cors::Any => AllowOrigin::any(),
        Cors::Origins(origins) => {
            AllowOrigin::list(origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok()))
        }
    };
    CorsLayer::new()
        .allow_origin(origins)
        .allow_methods([Method::GET, Method::HEAD, Method::POST])
        // A `*` would not cover Authorization.
        .allow_headers([header::AUTHORIZATION, header::CONTENT_TYPE, REQUEST_ID.clone()])
        .expose_headers([header::RETRY_AFTER, REQUEST_ID.clone()])
        .max_age(PREFLIGHT_MAX_AGE)
}
