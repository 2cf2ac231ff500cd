//! Whether this process lives, works, and how much it has to do.

use std::time::{SystemTime, UNIX_EPOCH};

use axum::Json;
use axum::extract::{Extension, State};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::code::Code;
use super::error::Problem;
use super::places::SpokenHere;
use super::state::AppState;
use crate::signaling::{Dialect, Stats};
use crate::telemetry::build_info;
use crate::telemetry::labels::BackplaneState;

/// `/healthz`: the process lives and answers. For liveness probes: stays 200 while draining.
pub(super) async fn healthz() -> Response {
    Json(json!({ "status": "ok" })).into_response()
}

/// `/readyz`: everything listens and nothing drains. For readiness probes and load balancers.
pub(super) async fn readyz(State(state): State<AppState>) -> Response {
    if state.metrics().readiness().is_ready() {
        let mut body = json!({ "status": "ready" });
        let backplane = state.metrics().backplane().state();
        if backplane != BackplaneState::Off {
            // Ready in any case: without the others a replica still serves all whom it has.
            body["backplane"] = backplane.as_label().into();
        }
        Json(body).into_response()
    } else {
        Problem::new(Code::NotReady, "this server is starting or draining").into_response()
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
        "peers": totals(&stats).1,
        "rooms": totals(&stats).2,
        "providers": [],
        "primaryProvider": null,
        "ollama": { "status": "offline", "endpoint": null },
        "ollamaStatus": "offline",
        "timestamp": now,
    }))
    .into_response()
}

/// `/health`, in the shape that the clients of Retcon and of edge-net read: `peers` counts connections, greeted or not.
pub(super) async fn health(State(state): State<AppState>, spoken: Option<Extension<SpokenHere>>) -> Response {
    let (connections, nodes, rooms) = totals(&state.hub().stats());
    // Where a relay of edge-net was, this is another word.
    let status = match spoken {
        Some(Extension(SpokenHere(Dialect::EdgeRelay))) => "healthy",
        _ => "ok",
    };
    Json(json!({
        "ok": true,
        "status": status,
        "peers": connections,
        "nodes": nodes,
        "rooms": rooms,
        "uptime": state.metrics().uptime().as_secs(),
    }))
    .into_response()
}

/// Connections, welcomed sessions and rooms: of all replicas while they can be reached, otherwise of this one.
fn totals(stats: &Stats) -> (u64, u64, u64) {
    let bus = &stats.bus;
    if bus.connected {
        (bus.total_connections, bus.total_peers, bus.total_rooms)
    } else {
        (stats.connections, stats.peers, stats.rooms)
    }
}
