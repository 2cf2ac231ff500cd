//! Who is in a room and what they say about themselves.

use std::{borrow::Cow, sync::Arc};

use serde_json::Value;

use super::Hub;

use crate::signaling::{
    connection::{ConnectionId, Membership},
    error::Reject,
    event::Event,
    json::Object,
    labels::ErrorCode,
    meta::{Entries, Meta},
    room::{Member, Room},
    slab::Key,
};

/// Members looked at for one page when a filter turns most of them away. Bounds what one `who` costs.
const SCAN: usize = 1_000;

/// Whether a member's socket is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    Away,
    Back,
}

/// A part of a room's member list.
#[derive(Debug)]
pub(crate) struct Page {
    /// A JSON array of `{peer, meta, since, away?}`.
    pub(crate) peers: String,
    /// Members of the room but the one who asks.
    pub(crate) total: u64,
    /// Where the next page begins.
    pub(crate) more: Option<String>,
}

/// What a newcomer is told about its room.
#[derive(Debug)]
pub(crate) struct Snapshot<'a> {
    pub(crate) room: &'a str,
    pub(crate) page: Page,
    pub(crate) meta: Option<&'a Arc<Meta>>,
    pub(crate) version: u64,
    pub(crate) max: u64,
}

/// Where a page starts, and where the list ends that it is a page of.
///
/// Members are listed in the order they joined. A list ends at the member who was newest when it was begun: whoever joins
/// later is announced by an event, and so appears exactly once; whoever leaves before its page is simply not on it.
#[derive(Debug, Clone, Copy)]
struct Cursor {
    after: u64,
    until: u64,
}

impl Cursor {
    fn parse(text: &str) -> Option<Self> {
        let (after, until) = text.split_once('.')?;
        Some(Self {
            after: after.parse().ok()?,
            until: until.parse().ok()?,
        })
    }
}

impl Hub {
    /// The state of a room as its member is told after joining.
    pub(crate) fn snapshot(&self, connection: ConnectionId, membership: Membership) -> Option<Snapshot<'_>> {
        let room = self.rooms.get(membership.room)?;
        Some(Snapshot {
            room: &room.name.name,
            page: self.page(connection, membership, &[], None).ok()?,
            meta: room.meta.as_ref(),
            version: room.version,
            max: u64::from(room.max),
        })
    }

    /// One page of the members of a room, without the one who asks.
    pub(crate) fn page(
        &self,
        connection: ConnectionId,
        membership: Membership,
        filter: &[(Cow<'_, str>, Value)],
        after: Option<&str>,
    ) -> Result<Page, Reject> {
        let room = self
            .rooms
            .get(membership.room)
            .ok_or(Reject::new(ErrorCode::NoRoom, "you are not in that room"))?;
        let cursor = match after {
            None => Cursor {
                after: 0,
                until: room.last_ordinal(),
            },
            Some(text) => Cursor::parse(text).ok_or(Reject::bad_request("after is not a cursor of this server"))?,
        };
        let mut peers = String::from("[");
        let (mut listed, mut last, mut more) = (0, cursor.after, false);
        for (looked_at, member) in room.members_after(cursor.after).iter().enumerate() {
            if member.ordinal > cursor.until {
                break;
            }
            if listed >= self.config.page_peers || peers.len() >= self.config.page_bytes || looked_at >= SCAN {
                more = true;
                break;
            }
            last = member.ordinal;
            if member.connection() == Some(connection) || !Meta::matches(member.meta.as_ref(), filter) {
                continue;
            }
            if listed > 0 {
                peers.push(',');
            }
            let away = self.member_is_away(member);
            write_member(member, away, &mut peers, |entry| entry);
            listed += 1;
        }
        peers.push(']');
        let more = more.then(|| format!("{last}.{}", cursor.until));
        Ok(Page {
            peers,
            total: room.len().saturating_sub(1) as u64,
            more,
        })
    }

    /// Writes a JSON array of the ids of all other members.
    pub(crate) fn write_peers(&self, membership: Membership, text: &mut String) {
        let room = self.rooms.get(membership.room);
        let found = room.and_then(|room| Some((room, room.member(membership.ordinal)?)));
        match found {
            Some((room, own)) => room.write_others(&own.peer, text),
            None => text.push_str("[]"),
        }
    }

    /// What a member says about itself.
    pub(crate) fn presence(&self, membership: Membership) -> Option<&Arc<Meta>> {
        self.rooms
            .get(membership.room)?
            .member(membership.ordinal)?
            .meta
            .as_ref()
    }

    /// All other members, in the order they came.
    pub(crate) fn others(&self, membership: Membership) -> impl Iterator<Item = &Member> {
        let members = self.rooms.get(membership.room).map(Room::members).unwrap_or_default();
        members
            .iter()
            .filter(move |member| member.ordinal != membership.ordinal)
    }

    /// Changes a member's own presence data and tells the others.
    pub(crate) fn set_presence(
        &mut self,
        connection: ConnectionId,
        membership: Membership,
        set: Option<&Entries<'_>>,
        del: &[Cow<'_, str>],
    ) -> Result<(), Reject> {
        let gone = Reject::new(ErrorCode::NoRoom, "you are not in that room");
        let room = self.rooms.get_mut(membership.room).ok_or(gone)?;
        let name = Arc::clone(&room.name.name);
        let member = room.member_mut(membership.ordinal).ok_or(gone)?;
        let meta = Meta::changed(member.meta.as_ref(), set, del, &self.config)
            .map_err(|_| Reject::new(ErrorCode::TooLarge, "presence data past limits.meta"))?;
        member.meta.clone_from(&meta);
        let peer = Arc::clone(&member.peer);
        let event = Event::Presence {
            room: &name,
            peer: &peer,
            meta: meta.as_ref(),
        };
        self.broadcast(membership.room, Some(connection), &event);
        self.tell_meta(membership.room, &peer, meta.as_ref());
        Ok(())
    }

    /// Changes a room's metadata if it still has the version that the sender saw, and tells every member, the sender too.
    pub(crate) fn set_room(
        &mut self,
        connection: ConnectionId,
        membership: Membership,
        set: Option<&Entries<'_>>,
        del: &[Cow<'_, str>],
        if_version: Option<u64>,
    ) -> Result<u64, Reject> {
        let gone = Reject::new(ErrorCode::NoRoom, "you are not in that room");
        let room = self.rooms.get(membership.room).ok_or(gone)?;
        let by = room.member(membership.ordinal).ok_or(gone)?;
        let by = Arc::clone(&by.peer);
        let done = self.await_change(connection, membership.room, |hub, room| {
            hub.tell_change(room, &by, set, del, if_version)
        })?;
        if let Some(version) = done {
            return Ok(version);
        }
        let version = self.change_room(membership.room, &by, set, del, if_version)?;
        self.tell_changed(membership.room);
        Ok(version)
    }

    /// Makes the change here, in the name of a member or of the [server](super::SERVER).
    pub(super) fn change_room(
        &mut self,
        key: Key,
        by: &str,
        set: Option<&Entries<'_>>,
        del: &[Cow<'_, str>],
        if_version: Option<u64>,
    ) -> Result<u64, Reject> {
        let room = self.rooms.get_mut(key);
        let room = room.ok_or(Reject::new(ErrorCode::NoRoom, "you are not in that room"))?;
        if if_version.is_some_and(|version| version != room.version) {
            return Err(Reject::bad_request("the room's metadata has another version"));
        }
        room.meta = Meta::changed(room.meta.as_ref(), set, del, &self.config)
            .map_err(|_| Reject::new(ErrorCode::TooLarge, "room metadata past limits.meta"))?;
        // Another node may have said any number.
        room.version = room.version.saturating_add(1);
        let (meta, version, name) = (room.meta.clone(), room.version, Arc::clone(&room.name.name));
        let event = Event::Room {
            room: &name,
            by,
            meta: meta.as_ref(),
            version,
        };
        self.broadcast(key, None, &event);
        Ok(version)
    }
}

/// Writes what is known of a member, and what `more` adds.
pub(super) fn write_member(member: &Member, away: bool, text: &mut String, more: impl FnOnce(Object) -> Object) {
    Object::nested(text, |entry| {
        let entry = entry
            .text("peer", &member.peer)
            .raw_with("meta", |text| Meta::write(member.meta.as_ref(), text))
            .number("since", member.since_ms);
        more(if away { entry.flag("away", true) } else { entry })
    });
}
