//! What operators are told of allocations and of the process, and its documentation.

use std::net::SocketAddr;

use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use super::Listing;
use crate::http::code::Code;
use crate::http::operation::{Access, Operation, Tag};
use crate::turn::AllocationView;

/// Some of the living allocations.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct AllocationPage<'a> {
    pub(super) allocations: Vec<Allocation<'a>>,
    /// `cursor` of the next page; `null` on the last.
    pub(super) next_cursor: Option<String>,
}

/// A living allocation. Times are Unix seconds, bytes are payload.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Allocation<'a> {
    id: String,
    /// The part of the username behind the expiry.
    user: &'a str,
    username: &'a str,
    realm: &'a str,
    /// How the client comes.
    transport: &'static str,
    #[schema(value_type = String)]
    client: SocketAddr,
    #[schema(value_type = Vec<String>)]
    relayed: &'a [SocketAddr],
    relayed_transport: &'static str,
    created_at: u64,
    /// Unless it is refreshed.
    expires_at: u64,
    to_peer: Traffic,
    to_client: Traffic,
    permissions: usize,
    channels: usize,
    connections: usize,
}

/// What went one way.
#[derive(Serialize, ToSchema)]
struct Traffic {
    packets: u64,
    bytes: u64,
}

impl<'a> From<&'a AllocationView> for Allocation<'a> {
    fn from(view: &'a AllocationView) -> Self {
        let traffic = |packets, bytes| Traffic { packets, bytes };
        Self {
            id: view.id.to_string(),
            user: &view.user,
            username: &view.username,
            realm: &view.realm,
            transport: view.transport.as_label(),
            client: view.client,
            relayed: &view.relayed,
            relayed_transport: view.relayed_transport.as_label(),
            created_at: view.created.0,
            expires_at: view.expires.0,
            to_peer: traffic(view.to_peer.packets, view.to_peer.bytes),
            to_client: traffic(view.to_client.packets, view.to_client.bytes),
            permissions: view.permissions,
            channels: view.channels,
            connections: view.connections,
        }
    }
}

/// How many ended.
#[derive(Serialize, ToSchema)]
pub(super) struct HowMany {
    pub(super) ended: u32,
}

/// What a reload did.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ReloadReport {
    /// Keys that have another value from now on.
    pub(super) applied: Vec<String>,
    /// Keys whose other value waits for a restart.
    pub(super) needs_restart: Vec<String>,
}

pub(super) fn operations() -> Vec<Operation> {
    let example = json!({
        "allocations": [{
            "id": "0-3-1", "user": "alice", "username": "1893456000:alice", "realm": "default", "transport": "udp",
            "client": "203.0.113.9:40000", "relayed": ["198.51.100.1:50123"], "relayedTransport": "udp",
            "createdAt": 1_893_452_400, "expiresAt": 1_893_453_000,
            "toPeer": { "packets": 10, "bytes": 40 }, "toClient": { "packets": 10, "bytes": 40 },
            "permissions": 1, "channels": 1, "connections": 0,
        }],
        "nextCursor": null,
    });
    let busy = &[Code::Busy];
    vec![
        Operation::get(
            "/api/admin/allocations",
            Tag::Admin,
            "The living allocations that fit everything given",
        )
        .by(Access::Operator)
        .query::<Listing>()
        .answers::<AllocationPage<'_>>(200, "Some of them", example)
        .fails(&[Code::BadQuery, Code::BadCursor, Code::Busy]),
        Operation::delete("/api/admin/allocations/{id}", Tag::Admin, "Ends an allocation")
            .by(Access::Operator)
            .part("id", "Its `id`")
            .answers_nothing(204, "It has ended")
            .fails(&[Code::BadRequest, Code::NoAllocation, Code::Busy]),
        Operation::delete(
            "/api/admin/users/{user}/allocations",
            Tag::Admin,
            "Ends all allocations of a user",
        )
        .by(Access::Operator)
        .part("user", "The part of the username behind the expiry")
        .answers::<HowMany>(200, "They have ended", json!({ "ended": 2 }))
        .fails(&[Code::BadRequest, Code::Busy]),
        Operation::get("/api/admin/config", Tag::Admin, "What is in effect, secrets redacted")
            .by(Access::Operator)
            .answers_text(200, "TOML", "application/toml")
            .fails(busy),
        Operation::post("/api/admin/reload", Tag::Admin, "Reads the configuration again")
            .by(Access::Operator)
            .answers::<ReloadReport>(
                200,
                "What changed",
                json!({ "applied": ["peers.allow"], "needsRestart": [] }),
            )
            .fails(&[Code::BadConfiguration, Code::Busy]),
        Operation::post(
            "/api/admin/drain",
            Tag::Admin,
            "Ends the process as the first SIGTERM does",
        )
        .by(Access::Operator)
        .answers_nothing(202, "It drains")
        .fails(busy),
    ]
}
