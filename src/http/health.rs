//! Whether this process lives, works, and how much it has to do.

use std::time::{SystemTime, UNIX_EPOCH};

use axum::Json;
use axum::extract::{Extension, State};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use super::code::Code;
use super::error::Problem;
use super::operation::{Operation, Tag};
use super::places::SpokenHere;
use super::state::AppState;
use crate::signaling::{Dialect, Stats};
use crate::telemetry::build_info;
use crate::telemetry::labels::BackplaneState;

pub(super) fn operations() -> Vec<Operation> {
    let health = json!({ "ok": true, "status": "ok", "peers": 0, "nodes": 0, "rooms": 0, "uptime": 2 });
    let probe = |operation: Operation| operation.never(&[Code::WrongHost]);
    vec![
        probe(Operation::get("/healthz", Tag::Health, "Liveness probe"))
            .says("200 while the process lives, also when it drains.")
            .answers::<Status>(200, "It lives", json!({ "status": "ok" })),
        probe(Operation::get("/readyz", Tag::Health, "Readiness probe"))
            .says("200 while everything listens and nothing drains.")
            .answers::<Status>(200, "It is ready", json!({ "status": "ready" }))
            .fails(&[Code::NotReady]),
        probe(Operation::get("/health", Tag::Health, "Is it well, for clients of Retcon and edge-net"))
            .answers::<Health>(200, "It is", health.clone()),
        probe(Operation::get("/signaling/health", Tag::Health, "The same, behind a proxy that keeps paths"))
            .answers::<Health>(200, "It is", health),
        probe(Operation::get("/api/health", Tag::Health, "Is it well, for clients of Reploid")).answers::<ApiHealth>(
            200,
            "It is",
            json!({
                "status": "ok", "service": "meetpoint", "version": "0.1.0", "ready": true, "uptime": 2, "peers": 0, "rooms": 0,
                "providers": [], "primaryProvider": null, "ollama": { "status": "offline", "endpoint": null },
                "ollamaStatus": "offline", "timestamp": 1_795_247_671_392_u64,
            }),
        ),
    ]
}

/// What probes are told.
#[derive(Serialize, ToSchema)]
pub(super) struct Status {
    status: &'static str,
    /// `connected` or `away`, where there is a backplane.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    backplane: Option<&'static str>,
}

impl Status {
    pub(super) const READY: Self = Self {
        status: "ready",
        backplane: None,
    };
}

/// `/healthz`: the process lives and answers. For liveness probes: stays 200 while draining.
pub(super) async fn healthz() -> Response {
    Json(Status {
        status: "ok",
        backplane: None,
    })
    .into_response()
}

/// What is said while it is not ready.
pub(super) fn not_ready() -> Problem {
    Problem::new(Code::NotReady, "this server is starting or draining")
}

/// `/readyz`: everything listens and nothing drains. For readiness probes and load balancers.
pub(super) async fn readyz(State(state): State<AppState>) -> Result<Json<Status>, Problem> {
    if !state.metrics().readiness().is_ready() {
        return Err(not_ready());
    }
    let backplane = state.metrics().backplane().state();
    Ok(Json(Status {
        // Ready in any case: without the others a replica still serves all whom it has.
        backplane: (backplane != BackplaneState::Off).then(|| backplane.as_label()),
        ..Status::READY
    }))
}

/// Language models, of which there are none.
#[derive(Serialize, ToSchema)]
struct Ollama {
    status: &'static str,
    endpoint: Option<&'static str>,
}

/// The shape that Reploid's clients read.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ApiHealth {
    status: &'static str,
    service: &'static str,
    version: &'static str,
    ready: bool,
    /// Seconds since the start.
    uptime: u64,
    peers: u64,
    rooms: u64,
    providers: Vec<String>,
    primary_provider: Option<&'static str>,
    ollama: Ollama,
    ollama_status: &'static str,
    /// Unix milliseconds.
    timestamp: u64,
}

/// `/api/health`, in the shape that Reploid's clients read. They ask the same host for language models; there are none here,
/// and the fields say so.
pub(super) async fn api_health(State(state): State<AppState>) -> Response {
    let (_, peers, rooms) = totals(&state.hub().stats());
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as u64);
    Json(ApiHealth {
        status: "ok",
        service: "meetpoint",
        version: build_info::VERSION,
        ready: state.metrics().readiness().is_ready(),
        uptime: state.metrics().uptime().as_secs(),
        peers,
        rooms,
        providers: Vec::new(),
        primary_provider: None,
        ollama: Ollama {
            status: "offline",
            endpoint: None,
        },
        ollama_status: "offline",
        timestamp: now,
    })
    .into_response()
}

/// The shape that the clients of Retcon and of edge-net read.
#[derive(Serialize, ToSchema)]
struct Health {
    ok: bool,
    /// `ok`, and `healthy` on listeners for edge-net's relays.
    status: &'static str,
    /// Connections, greeted or not.
    peers: u64,
    nodes: u64,
    rooms: u64,
    /// Seconds since the start.
    uptime: u64,
}

/// `/health`, in the shape that the clients of Retcon and of edge-net read: `peers` counts connections, greeted or not.
pub(super) async fn health(State(state): State<AppState>, spoken: Option<Extension<SpokenHere>>) -> Response {
    let (connections, nodes, rooms) = totals(&state.hub().stats());
    // Where a relay of edge-net was, this is another word.
    let status = match spoken {
        Some(Extension(SpokenHere(Dialect::EdgeRelay))) => "healthy",
        _ => "ok",
    };
    Json(Health {
        ok: true,
        status,
        peers: connections,
        nodes,
        rooms,
        uptime: state.metrics().uptime().as_secs(),
    })
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
