//! Whether this process lives, works, and how much it has to do.

use std::time::{SystemTime, UNIX_EPOCH};

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::error::Problem;
use super::state::AppState;
use crate::telemetry::build_info;

/// `/healthz`: the process lives and answers. For liveness probes: stays 200 while draining.
pub(super) async fn healthz() -> Response {
    Json(json!({ "status": "ok" })).into_response()
}

/// `/readyz`: everything listens and nothing drains. For readiness probes and load balancers.
pub(super) async fn readyz(State(state): State<AppState>) -> Response {
    if state.metrics().readiness().is_ready() {
        Json(json!({ "status": "ready" })).into_response()
    } else {
        Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "not_ready",
            "this server is starting or draining",
        )
        .into_response()
    }
}

/// `/api/health`, in the shape that Reploid's clients read. They ask the same host for language models; there are none here,
/// and the fields say so.
pub(super) async fn api_health(State(state): State<AppState>) -> Response {
    let stats = state.hub().stats();
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as u64);
    Json(json!({
        "status": "ok",
        "service": "meetpoint",
        "version": build_info::VERSION,
        "ready": state.metrics().readiness().is_ready(),
        "uptime": state.metrics().uptime().as_secs(),
        "peers": stats.peers,
        "rooms": stats.rooms,
        "providers": [],
        "primaryProvider": null,
        "ollama": { "status": "offline", "endpoint": null },
        "ollamaStatus": "offline",
        "timestamp": now,
    }))
    .into_response()
}

/// `/health`, in the shape that Retcon's clients read: `peers` counts connections, greeted or not.
pub(super) async fn health(State(state): State<AppState>) -> Response {
    let stats = state.hub().stats();
    Json(json!({ "ok": true, "status": "ok", "peers": stats.connections, "rooms": stats.rooms })).into_response()
}
