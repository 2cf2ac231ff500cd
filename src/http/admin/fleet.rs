//! `GET /api/admin/fleet`: the relays of all replicas, as they tell each other.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use super::{Admin, ask};
use crate::credentials::UriTransport;
use crate::fleet::Announced;
use crate::http::code::Code;
use crate::http::error::Problem;
use crate::http::operation::{Access, Operation, Tag};
use crate::signaling::NodeId;

/// The relay of a replica.
#[derive(Serialize, ToSchema)]
#[schema(as = FleetRelay)]
#[serde(rename_all = "camelCase")]
struct Relay {
    /// Another one after each start.
    node: String,
    /// It is the one that is asked.
    here: bool,
    /// By which clients reach it and no other; without any it is given to no room.
    hosts: Vec<String>,
    listeners: Vec<Listener>,
    region: Box<str>,
    weight: u16,
    version: Box<str>,
    /// `open`, `busy`, `draining`, or `broken`: its own probes find it dead.
    standing: &'static str,
    /// URLs of it that its own probes find dead.
    dead: Vec<String>,
    allocations: u64,
    most_allocations: u64,
    /// Payload in the last second, in the direction in which there was more.
    bytes_per_second: u64,
    /// 0 where nobody has said.
    most_bytes_per_second: u64,
}

/// Where it listens.
#[derive(Serialize, ToSchema)]
#[schema(as = FleetListener)]
struct Listener {
    /// `udp` or `tcp`.
    transport: &'static str,
    /// With TLS or DTLS.
    secure: bool,
    port: u16,
}

/// All of them.
#[derive(Serialize, ToSchema)]
#[schema(as = FleetRelays)]
pub(super) struct Relays {
    relays: Vec<Relay>,
}

pub(super) fn operations() -> Vec<Operation> {
    let example = json!({ "relays": [{
        "node": "6f1c0a9be2d94713", "here": true, "hosts": ["turn-1.example.org"],
        "listeners": [{ "transport": "udp", "secure": false, "port": 3478 }],
        "region": "eu-1", "weight": 100, "version": "0.1.0", "standing": "open", "dead": [],
        "allocations": 12, "mostAllocations": 20_000, "bytesPerSecond": 1_200_000, "mostBytesPerSecond": 0,
    }] });
    let says = "The relays of all replicas";
    vec![
        Operation::get("/api/admin/fleet", Tag::Admin, says)
            .by(Access::Operator)
            .answers::<Relays>(200, "This replica's first; none without a backplane", example)
            .fails(&[Code::Busy]),
    ]
}

pub(super) async fn list(State(admin): State<Admin>) -> Result<Json<Relays>, Problem> {
    let relays = ask(admin, |operator| Ok(operator.relays())).await?;
    let relays = relays
        .into_iter()
        .enumerate()
        .map(|(at, relay)| shown(at == 0, relay))
        .collect();
    Ok(Json(Relays { relays }))
}

fn shown(here: bool, (node, announced): (NodeId, Announced)) -> Relay {
    let dead = announced.dead_urls();
    let Announced {
        relay, standing, load, ..
    } = announced;
    let listeners = relay.listeners.iter().map(|listener| Listener {
        transport: match listener.transport {
            UriTransport::Udp => "udp",
            UriTransport::Tcp => "tcp",
        },
        secure: listener.secure,
        port: listener.port,
    });
    Relay {
        node: node.to_string(),
        here,
        hosts: relay.hosts.iter().map(ToString::to_string).collect(),
        listeners: listeners.collect(),
        region: relay.region,
        weight: relay.weight,
        version: relay.version,
        standing: standing.as_label(),
        dead,
        allocations: load.allocations,
        most_allocations: load.most_allocations,
        bytes_per_second: load.bytes_per_second,
        most_bytes_per_second: load.most_bytes_per_second,
    }
}
