//! Server to client: events and answers into text frames.

use std::time::Duration;

use bytes::Bytes;

use super::binary;
use crate::signaling::{
    config::Config,
    error::Reject,
    event::{Data, Event},
    hub::{Ice, Page, Snapshot},
    json::Object,
    labels::ErrorCode,
    meta::Meta,
};

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// What happened in a room. The same bytes go to every receiver, so nothing in them depends on who that is.
pub(crate) fn event(event: &Event<'_>, seq: u64) -> Bytes {
    match *event {
        Event::Joined { room, peer, meta } => peer_frame(room, "join", peer)
            .raw_with("meta", |text| Meta::write(meta, text))
            .number("seq", seq)
            .finish(),
        Event::Left { room, peer, why } => peer_frame(room, "leave", peer)
            .text("why", why)
            .number("seq", seq)
            .finish(),
        Event::Away { room, peer } => peer_frame(room, "away", peer).number("seq", seq).finish(),
        Event::Back { room, peer } => peer_frame(room, "back", peer).number("seq", seq).finish(),
        Event::Presence { room, peer, meta } => peer_frame(room, "meta", peer)
            .raw_with("meta", |text| Meta::write(meta, text))
            .number("seq", seq)
            .finish(),
        Event::Room {
            room,
            by,
            meta,
            version,
        } => Object::frame("room", 64 + room.len() + by.len())
            .text("room", room)
            .raw_with("meta", |text| Meta::write(meta, text))
            .number("ver", version)
            .text("by", by)
            .number("seq", seq)
            .finish(),
        Event::Signal {
            room,
            from,
            kind,
            data,
            correlation,
        } => {
            let length = room.len() + from.len() + data.map_or(0, str::len) + correlation.map_or(0, str::len);
            Object::frame("sig", 64 + length)
                .text("room", room)
                .text("from", from)
                .text("kind", kind)
                .maybe_raw("data", data)
                .maybe_text("cid", correlation)
                .number("seq", seq)
                .finish()
        }
        Event::Closed { room, reason } => Object::frame("closed", 64 + room.len() + reason.map_or(0, str::len))
            .text("room", room)
            .maybe_text("msg", reason)
            .number("seq", seq)
            .finish(),
        Event::Verbatim { frame } => frame.clone(),
        Event::Message {
            room,
            from,
            data: Data::Json(data),
            ..
        } => Object::frame("msg", 48 + room.len() + from.len() + data.len())
            .text("room", room)
            .text("from", from)
            .raw("data", data)
            .number("seq", seq)
            .finish(),
        Event::Message {
            room,
            from,
            data: Data::Bytes(payload),
            ..
        } => binary::message_text(room, from, payload, seq),
    }
}

fn peer_frame(room: &str, ev: &'static str, peer: &str) -> Object {
    Object::frame("peer", 64 + room.len() + peer.len())
        .text("room", room)
        .text("ev", ev)
        .text("peer", peer)
}

/// What a welcomed peer is told.
pub(crate) struct Welcome<'a> {
    pub(crate) id: Option<u64>,
    pub(crate) sid: &'a str,
    pub(crate) key: &'a str,
    pub(crate) peer: &'a str,
    pub(crate) now_ms: u64,
    pub(crate) resumed: bool,
    pub(crate) ice: Option<Ice<'a>>,
}

pub(crate) fn welcome(welcome: &Welcome<'_>, config: &Config) -> Bytes {
    let heartbeat = |object: Object| {
        object
            .number("ping", millis(config.ping_interval))
            .number("dead", millis(config.dead_after))
    };
    let limits = |object: Object| {
        object
            .number("frame", config.frame_bytes as u64)
            .number("rate", config.messages_per_second.into())
            .number("burst", config.message_burst.into())
            .number("rooms", config.rooms_per_connection as u64)
            .number("peers", config.peers_per_room as u64)
            .number("meta", config.meta_bytes as u64)
            .number("relay_bps", config.relay_bytes_per_second.into())
            .number("relay_burst", config.relay_byte_burst.into())
    };
    let ice_length = welcome.ice.map_or(0, |ice| ice.servers.len());
    Object::frame("welcome", 512 + ice_length)
        .maybe_number("id", welcome.id)
        .number("v", 1)
        .text("sid", welcome.sid)
        .text("key", welcome.key)
        .text("peer", welcome.peer)
        .number("now", welcome.now_ms)
        .flag("resumed", welcome.resumed)
        .raw(
            "caps",
            if config.offers_resume() {
                r#"["bin","relay","resume"]"#
            } else {
                r#"["bin","relay"]"#
            },
        )
        .raw_with("hb", |text| Object::nested(text, heartbeat))
        .raw_with("limits", |text| Object::nested(text, limits))
        .raw_with("ice", |text| {
            Object::nested(text, |object| ice_object(object, welcome.ice))
        })
        .text("node", &config.node)
        .finish()
}

fn ice_object(object: Object, ice: Option<Ice<'_>>) -> Object {
    match ice {
        Some(ice) => object
            .raw("servers", ice.servers)
            .number("exp", ice.expires_at_ms)
            .maybe_text("policy", ice.policy),
        None => object.raw("servers", "[]"),
    }
}

pub(crate) fn ice(id: Option<u64>, ice: Option<Ice<'_>>) -> Bytes {
    let length = ice.map_or(0, |ice| ice.servers.len());
    ice_object(Object::frame("ice", 96 + length).maybe_number("id", id), ice).finish()
}

pub(crate) fn joined(id: Option<u64>, snapshot: &Snapshot<'_>, seq: u64) -> Bytes {
    let page = &snapshot.page;
    Object::frame("joined", 160 + snapshot.room.len() + page.peers.len())
        .maybe_number("id", id)
        .text("room", snapshot.room)
        .number("seq", seq)
        .raw("peers", &page.peers)
        .number("total", page.total)
        .maybe_text("more", page.more.as_deref())
        .raw_with("meta", |text| Meta::write(snapshot.meta, text))
        .number("ver", snapshot.version)
        .number("max", snapshot.max)
        .finish()
}

/// The bare `ok`; what else an answer has is added by the caller.
pub(crate) fn ok(id: Option<u64>) -> Object {
    Object::frame("ok", 64).maybe_number("id", id)
}

pub(crate) fn who(id: Option<u64>, room: &str, page: &Page) -> Bytes {
    ok(id)
        .text("room", room)
        .raw("peers", &page.peers)
        .number("total", page.total)
        .maybe_text("more", page.more.as_deref())
        .finish()
}

pub(crate) fn pong(id: Option<u64>, n: u64, now_ms: u64) -> Bytes {
    Object::frame("pong", 64)
        .maybe_number("id", id)
        .number("n", n)
        .number("now", now_ms)
        .finish()
}

pub(crate) fn err(id: Option<u64>, reject: &Reject) -> Bytes {
    let frame = Object::frame("err", 96 + reject.message.len())
        .maybe_number("id", id)
        .text("code", reject.code.as_label())
        .text("msg", reject.message)
        // Rounded up: a client that waits exactly this long must not be early.
        .maybe_number(
            "retry",
            reject.retry.map(|retry| millis(retry + Duration::from_micros(999))),
        );
    if reject.close.is_some() {
        frame.flag("fatal", true).finish()
    } else {
        frame.finish()
    }
}

/// The last word to a session that an operator ends, in words of the operator's.
pub(crate) fn expelled(reason: &str) -> Bytes {
    Object::frame("err", 64 + reason.len())
        .text("code", ErrorCode::Forbidden.as_label())
        .text("msg", reason)
        .flag("fatal", true)
        .finish()
}

pub(crate) fn drain(after_ms: (u64, u64), url: Option<&str>) -> Bytes {
    Object::frame("drain", 96)
        .raw("after", &format!("[{},{}]", after_ms.0, after_ms.1))
        .maybe_text("url", url)
        .finish()
}
