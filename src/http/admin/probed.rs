//! `GET /api/admin/relays`: what probes found of the servers in the ICE lists.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use super::{Admin, ask};
use crate::http::code::Code;
use crate::http::error::Problem;
use crate::http::operation::{Access, Operation, Tag};

/// What is known of one URL.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProbedServer {
    /// As it stands in lists.
    pub url: Box<str>,
    /// Its name in the configuration; `own` for this server, `extra` for `ice.extra` and those of realms.
    pub server: Box<str>,
    /// Whether it is in the lists.
    pub up: bool,
    /// Unix seconds since when.
    pub since: u64,
    /// Results in a row that speak against that.
    pub against: u32,
    /// How many of them change it.
    pub needed: u32,
    /// Unix seconds of the end of the last probe.
    pub probed_at: Option<u64>,
    /// How long it took.
    pub milliseconds: Option<f64>,
    /// Why it failed.
    pub reason: Option<&'static str>,
    /// The same in words.
    pub error: Option<Box<str>>,
    /// Addresses of its name that work.
    pub addresses_up: Option<usize>,
    /// Addresses that were tried.
    pub addresses: Option<usize>,
    /// It works by the address where this process listens, not by the one that clients are told.
    pub only_nearby: bool,
}

/// What is known of all of them.
#[derive(Serialize, ToSchema)]
pub(super) struct Probed {
    relays: Vec<ProbedServer>,
}

pub(super) fn operations() -> Vec<Operation> {
    let example = json!({ "relays": [{
        "url": "turn:turn.example.org:3478?transport=udp", "server": "own", "up": true, "since": 1_795_247_671, "against": 0, "needed": 3,
        "probedAt": 1_795_247_701, "milliseconds": 1.9, "reason": null, "error": null, "addressesUp": 1, "addresses": 1, "onlyNearby": false,
    }] });
    vec![
        Operation::get(
            "/api/admin/relays",
            Tag::Admin,
            "What probes found of the servers in the ICE lists",
        )
        .by(Access::Operator)
        .answers::<Probed>(200, "By URL", example)
        .fails(&[Code::Busy]),
    ]
}

pub(super) async fn list(State(admin): State<Admin>) -> Result<Json<Probed>, Problem> {
    let relays = ask(admin, |operator| Ok(operator.probed())).await?;
    Ok(Json(Probed { relays }))
}
