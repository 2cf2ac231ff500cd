//! Which path is answered by what.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, any, get};
use axum::{Json, Router};

use super::code::Code;
use super::config::MetricsAccess;
use super::operation::{Operation, Tag};
use super::state::AppState;
use super::surround::surrounded;
use super::{console, health, ice_servers, observe, places, sdk, stats, turn_rest, usage, validate};
use crate::signaling::Dialect;
use crate::telemetry::Metrics;
use crate::telemetry::metrics::CONTENT_TYPE;
use crate::ws::{self, TunnelSink};

/// Everything that is served on the public listeners. Needs [`axum::extract::ConnectInfo`] of a `SocketAddr` in every request,
/// as [`super::Server`] puts it there; without it every client counts as the same stranger.
pub fn router(state: AppState) -> Router {
    let mut routes = Router::new()
        .route(ice_servers::PATH, get(ice_servers::get).post(ice_servers::post))
        .route(ice_servers::V1_PATH, get(ice_servers::v1))
        .route(turn_rest::PATH, get(turn_rest::get))
        .route(usage::PATH, get(usage::get))
        .route("/api/health", get(health::api_health))
        .route("/api/signaling/stats", get(stats::get))
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/health", get(health::health))
        // Where a proxy in front passes a path on as it is.
        .route("/signaling/health", get(health::health))
        .route("/stats", get(places::stats))
        // Any method: what is not an upgrade is told 426, which says more than 405.
        .route("/signaling", socket(Dialect::Auto))
        .route("/v1/ws", socket(Dialect::Native))
        .route("/v1/validate", get(validate::get));
    if state.config().metrics == MetricsAccess::Public {
        routes = routes.route("/metrics", get(metrics_of_state));
    }
    let routes = routes
        .merge(console::router().layer(from_fn_with_state(state.clone(), places::at_root)))
        .merge(sdk::router())
        .fallback(places::elsewhere)
        .with_state(state.clone());
    surrounded(routes, &state)
}

/// TURN inside of WebSockets at `/turn`, served by `sink`.
pub fn tunnel_router(state: &AppState, sink: Arc<dyn TunnelSink>) -> Router {
    let handler =
        async move |State(state): State<AppState>, request: Request| ws::upgrade_tunnel(state.hub(), &sink, request);
    Router::new()
        .route("/turn", any(handler))
        .with_state(state.clone())
        .layer(from_fn_with_state(state.clone(), observe::guard))
        .layer(from_fn_with_state(state.clone(), observe::observe))
}

pub(super) fn tunnel_operation() -> Operation {
    Operation::get("/turn", Tag::Signaling, "TURN inside of a WebSocket")
        .says("Subprotocol `turn`; docs/turn-over-websocket.md.")
        .upgrades()
        .never(&[Code::WrongHost])
}

pub(super) fn metrics_operation() -> Operation {
    Operation::get("/metrics", Tag::Health, "Prometheus").answers_text(
        200,
        "Every metric, text format 0.0.4",
        CONTENT_TYPE,
    )
}

/// `/metrics` and the probes alone, for a listener of their own.
pub fn metrics_router(metrics: Metrics) -> Router {
    let ready = async |State(metrics): State<Metrics>| {
        if metrics.readiness().is_ready() {
            Json(health::Status::READY).into_response()
        } else {
            // Nothing around these routes writes errors.
            health::not_ready().into_response_for(None)
        }
    };
    Router::new()
        .route("/metrics", get(async |State(metrics): State<Metrics>| render(&metrics)))
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(ready))
        .with_state(metrics)
}

/// A path of the hub where that is spoken.
fn socket(dialect: Dialect) -> MethodRouter<AppState> {
    any(async move |State(state): State<AppState>, request: Request| places::upgrade(&state, dialect, request))
}

async fn metrics_of_state(State(state): State<AppState>) -> Response {
    render(state.metrics())
}

fn render(metrics: &Metrics) -> Response {
    (
        [
            (header::CONTENT_TYPE, CONTENT_TYPE),
            (header::CACHE_CONTROL, "no-store"),
        ],
        metrics.render(),
    )
        .into_response()
}
