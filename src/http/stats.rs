//! `/api/signaling/stats`: how many rooms and peers there are, and, for those who may know, which.

use axum::Json;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use super::client::Client;
use super::config::RoomListing;
use super::operation::{Operation, Tag};
use super::state::AppState;
use crate::credentials::Host;
use crate::ws::StatsView;

/// Most rooms in one answer; the totals count all.
const MAX_LISTED_ROOMS: usize = 1_000;
/// Most peers of one room in an answer; `peerCount` counts all.
const MAX_LISTED_PEERS: usize = 1_000;

/// The shape that Reploid's documents give, and what its later servers add.
#[derive(Serialize, ToSchema)]
#[schema(as = HubStats)]
#[serde(rename_all = "camelCase")]
struct Answer {
    #[serde(flatten)]
    view: StatsView,
    /// Whether `rooms` says which rooms there are. False: this client is told totals only.
    rooms_listed: bool,
}

pub(super) fn operations() -> Vec<Operation> {
    let example = json!({
        "totalRooms": 1, "totalPeers": 2, "replicas": 1,
        "rooms": [{ "roomId": "standup", "peerCount": 2, "peers": ["alice", "bob"] }],
        "connections": 2, "messages": 9, "deliveries": 11, "rejected": 0, "uptime": 2, "version": "0.1.0",
        "roomsListed": true,
    });
    vec![
        Operation::get("/api/signaling/stats", Tag::Health, "Rooms and peers")
            .says("Who may know which rooms there are goes by `auth.room_listing`; a token may be shown. Others are told totals.")
            .answers::<Answer>(200, "Totals, and rooms for who may know them", example),
    ]
}

/// GET.
pub(super) async fn get(
    State(state): State<AppState>,
    Extension(client): Extension<Client>,
    headers: HeaderMap,
) -> Response {
    let rooms_listed = may_list(&state, &client, &headers).await;
    let rooms = if rooms_listed { MAX_LISTED_ROOMS } else { 0 };
    Json(Answer {
        view: state.hub().stats_view(rooms, MAX_LISTED_PEERS),
        rooms_listed,
    })
    .into_response()
}

async fn may_list(state: &AppState, client: &Client, headers: &HeaderMap) -> bool {
    match state.config().room_listing {
        RoomListing::Everyone => true,
        RoomListing::Nobody => false,
        RoomListing::Trusted => {
            let authenticator = state.authenticator();
            if client.is_local() && !is_of_a_foreign_page(client, headers) {
                return true;
            }
            // Without tokens everybody would pass as authenticated.
            if authenticator.is_open() {
                return false;
            }
            let path = "/api/signaling/stats";
            authenticator.authenticate_request(client, path, headers).await.is_ok()
        }
    }
}

/// Whether a browser on this machine may be asking for a page of somebody else, which could read the answer: by CORS (a
/// browser then says `Origin`), or because the page's own name was made to resolve to loopback (DNS rebinding; `Host` is then
/// that name).
fn is_of_a_foreign_page(client: &Client, headers: &HeaderMap) -> bool {
    let by_a_name_of_this_machine = match &client.host {
        None | Some(Host::V4(_) | Host::V6(_)) => true,
        Some(Host::Name(name)) => &**name == "localhost" || name.ends_with(".localhost"),
    };
    headers.contains_key(header::ORIGIN) || !by_a_name_of_this_machine
}
