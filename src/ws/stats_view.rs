//! The hub's numbers as `/api/signaling/stats` shows them.

use serde::Serialize;
use utoipa::ToSchema;

use crate::signaling::RoomView;

/// Totals, and a bounded list of rooms.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StatsView {
    /// Rooms that exist: on all replicas while they can be reached, otherwise on this one.
    pub total_rooms: u64,
    /// Connections that have been welcomed, of all replicas likewise.
    pub total_peers: u64,
    /// Replicas that are counted there, this one included.
    pub replicas: u64,
    /// Some of the rooms of this replica; `total_rooms` says how many there are.
    pub rooms: Vec<RoomStats>,
    /// Open sockets, welcomed or not.
    pub connections: u64,
    /// Messages received since the start.
    pub messages: u64,
    /// Frames handed to connections since the start.
    pub deliveries: u64,
    /// Messages refused since the start.
    pub rejected: u64,
    /// Seconds since the start.
    pub uptime: u64,
    /// Version of this software.
    pub version: &'static str,
}

/// One room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RoomStats {
    /// Its name.
    pub room_id: String,
    /// How many members it has.
    pub peer_count: usize,
    /// Ids of the first of them.
    pub peers: Vec<String>,
}

impl From<RoomView> for RoomStats {
    fn from(room: RoomView) -> Self {
        Self {
            room_id: room.name.to_string(),
            peer_count: room.members,
            peers: room.peers.iter().map(ToString::to_string).collect(),
        }
    }
}
