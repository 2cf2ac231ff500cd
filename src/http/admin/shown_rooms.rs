//! What operators are told of rooms, and the documentation of what they do to them.

use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::asked_rooms::{Asked, Change, Close, Kick, Message, label};
use crate::http::code::Code;
use crate::http::operation::{Access, Operation, Tag};
use crate::signaling::RoomSummary;

/// JSON of our own making, as a part of an answer.
pub(super) fn part(json: &str) -> Value {
    serde_json::from_str(json).unwrap_or_default()
}

/// A room.
#[derive(Serialize, ToSchema)]
#[schema(as = Room)]
pub(super) struct Shown<'a> {
    room: &'a str,
    dialect: &'static str,
    /// Members.
    peers: usize,
    /// How many it may have.
    max: u32,
    /// Whether a key is needed to enter it.
    key: bool,
    #[schema(value_type = Object)]
    meta: Value,
    /// The version of that.
    ver: u64,
}

impl<'a> From<&'a RoomSummary> for Shown<'a> {
    fn from(room: &'a RoomSummary) -> Self {
        Self {
            room: &room.name,
            dialect: label(room.realm),
            peers: room.members,
            max: room.max,
            key: room.has_key,
            meta: part(&room.meta),
            ver: room.version,
        }
    }
}

/// Some of the rooms.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct RoomPage<'a> {
    pub(super) rooms: Vec<Shown<'a>>,
    /// `cursor` of the next page; `null` on the last.
    pub(super) next_cursor: Option<String>,
}

/// A room and some of its members.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct RoomView<'a> {
    #[serde(flatten)]
    pub(super) room: Shown<'a>,
    #[schema(value_type = Vec<Member>)]
    pub(super) members: Value,
    /// `cursor` of the next page; `null` on the last.
    pub(super) next_cursor: Option<String>,
}

/// Somebody in a room.
#[derive(ToSchema)]
#[expect(dead_code, reason = "for the document; the hub writes it")]
struct Member {
    peer: String,
    #[schema(value_type = Object)]
    meta: Value,
    /// Unix milliseconds.
    since: u64,
    session: String,
    /// Where a token names one.
    #[schema(nullable = false)]
    user: Option<String>,
    /// It has lost its socket and may come back.
    #[schema(nullable = false)]
    away: Option<bool>,
}

/// What putting somebody out did.
#[derive(Serialize, ToSchema)]
pub(super) struct PutOutReport {
    /// Sessions that ended.
    pub(super) ended: usize,
    /// Allocations that ended.
    pub(super) allocations: u32,
    /// The number of the ban, if there is one.
    pub(super) ban: Option<u64>,
    /// Other replicas that were told.
    pub(super) replicas: u64,
}

/// Whom a message reached.
#[derive(Serialize, ToSchema)]
pub(super) struct Sent {
    pub(super) sent: usize,
    /// Peers that were named and are not there.
    pub(super) missing: Vec<String>,
}

/// The version of the metadata from now on.
#[derive(Serialize, ToSchema)]
pub(super) struct MetaVersion {
    pub(super) ver: u64,
}

pub(super) fn operations() -> Vec<Operation> {
    let room = || json!({ "room": "standup", "dialect": "native", "peers": 2, "max": 256, "key": false, "meta": {}, "ver": 0 });
    let with_members = || {
        let mut room = room();
        room["members"] = json!([{ "peer": "alice", "meta": {}, "since": 1_767_225_590_000_u64, "session": "mJ7rTq0c2nLxWb5A", "user": "alice" }]);
        room["nextCursor"] = Value::Null;
        room
    };
    let done = |ban| json!({ "ended": 1, "allocations": 2, "ban": ban, "replicas": 0 });
    let on_room = |operation: Operation| {
        operation
            .by(Access::Operator)
            .part("room", "Its name; `/` in it is written as `%2F`")
            .query::<Asked>()
            .fails(&[Code::BadRequest, Code::BadQuery, Code::UnknownDialect, Code::NoRoom])
    };
    let cut = [Code::RevocationsFull, Code::Busy];
    vec![
        Operation::get("/v1/rooms", Tag::Hub, "The rooms of one dialect, or of all")
            .by(Access::Operator)
            .query::<Asked>()
            .answers::<RoomPage<'_>>(200, "Some of them", json!({ "rooms": [room()], "nextCursor": null }))
            .fails(&[Code::BadQuery, Code::BadCursor, Code::UnknownDialect]),
        on_room(Operation::get("/v1/rooms/{room}", Tag::Hub, "A room and its members"))
            .answers::<RoomView<'_>>(200, "The room", with_members())
            .fails(&[Code::BadCursor]),
        on_room(Operation::post(
            "/v1/rooms/{room}/kick",
            Tag::Hub,
            "Ends a peer's session, and what it holds of the relay",
        ))
        .takes::<Kick>(
            true,
            json!({ "peer": "mallory", "reason": "be nice", "ban_seconds": 3600 }),
        )
        .answers::<PutOutReport>(200, "What it did", done(Some(7)))
        .fails(&[
            Code::BadBody,
            Code::BadReason,
            Code::BadSeconds,
            Code::NoPeer,
            Code::BansFull,
        ])
        .fails(&cut),
        on_room(Operation::post("/v1/rooms/{room}/close", Tag::Hub, "Ends a room"))
            .takes::<Close>(true, json!({ "lock_seconds": 60 }))
            .answers::<PutOutReport>(200, "What it did", done(Some(8)))
            .fails(&[Code::BadBody, Code::BadReason, Code::BadSeconds, Code::BansFull])
            .fails(&cut),
        on_room(Operation::post(
            "/v1/rooms/{room}/send",
            Tag::Hub,
            "Says something in a room, as `$server`",
        ))
        .takes::<Message>(true, json!({ "data": { "notice": "lunch" } }))
        .answers::<Sent>(200, "Whom it reached", json!({ "sent": 2, "missing": [] }))
        .fails(&[Code::BadBody, Code::TooLarge, Code::BadData]),
        on_room(Operation::post(
            "/v1/rooms/{room}/meta",
            Tag::Hub,
            "Changes a room's metadata",
        ))
        .takes::<Change>(true, json!({ "set": { "topic": "lunch" }, "if": 0 }))
        .answers::<MetaVersion>(200, "Its version from now on", json!({ "ver": 1 }))
        .fails(&[Code::BadBody, Code::Version, Code::TooLarge, Code::BadData]),
    ]
}
