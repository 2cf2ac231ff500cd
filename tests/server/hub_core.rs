//! The hub as its clients see it, without a socket: every rule of `docs/signaling-protocol.md`, every limit at its bound and
//! past it.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test helper that fails is a failed test"
)]

#[path = "../support/hub_world.rs"]
mod hub_world;
#[path = "../support/signaling_schema.rs"]
mod signaling_schema;

#[path = "hub_core/binary.rs"]
mod binary;
#[path = "hub_core/cluster/mod.rs"]
mod cluster;
#[path = "hub_core/crowd.rs"]
mod crowd;
#[path = "hub_core/dialects/mod.rs"]
mod dialects;
#[path = "hub_core/docs.rs"]
mod docs;
#[path = "hub_core/ice.rs"]
mod ice;
#[path = "hub_core/limits.rs"]
mod limits;
#[path = "hub_core/messages.rs"]
mod messages;
#[path = "hub_core/moderation.rs"]
mod moderation;
#[path = "hub_core/owners.rs"]
mod owners;
#[path = "hub_core/parties.rs"]
mod parties;
#[path = "hub_core/resume.rs"]
mod resume;
#[path = "hub_core/rooms.rs"]
mod rooms;
#[path = "hub_core/sessions.rs"]
mod sessions;
