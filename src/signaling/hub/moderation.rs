//! What operators do to rooms and to those who are in them.
//!
//! Nobody is asked and nobody pays: what comes in here was allowed by whoever calls. What it did to sessions is told by
//! [`Ended`], so that what else they hold (credentials for a relay) can be taken from them.

use std::{borrow::Cow, net::IpAddr, sync::Arc, time::Duration};

use super::{Hub, presence::write_member, relay::Named};
use crate::signaling::{
    Now,
    bans::{Ban, BanBy, BanRoom, BansFull, Barred, Comer},
    cluster::message::Said,
    connection::{Connection, ConnectionId},
    dialect::{About, Dialect, native},
    error::Reject,
    event::{Data, Event},
    identity::Identity,
    labels::{CloseCode, ErrorCode},
    meta::{Entries, Meta},
    room::{Member, Realm, Room, RoomRef},
    secrets::Sid,
    slab::Key,
};

/// The sender of what the server says in a room. No peer gets this id.
pub const SERVER: &str = "$server";

/// A session that an operator ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Its id.
    pub sid: Sid,
    /// Its peer id.
    pub peer: Arc<str>,
    /// Its user, where it had a token.
    pub user: Option<Box<str>>,
    /// The tenant of that user.
    pub tenant: Option<Box<str>>,
    /// Where it came from, as far as the driver said.
    pub address: Option<IpAddr>,
}

/// Why an operator's wish was not carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotDone {
    /// No room of that name exists there.
    #[error("no room of that name exists")]
    NoRoom,
    /// Nobody of that id is in the room.
    #[error("nobody of that id is in the room")]
    NoPeer,
    /// The room's metadata has another version.
    #[error("the room's metadata has another version")]
    Version,
    /// What is to be kept is past its limit.
    #[error("the metadata is past its limit")]
    TooLarge,
    /// It cannot be said there.
    #[error("that cannot be said in this dialect: it must be a JSON object")]
    Unspeakable,
    /// It is no JSON object.
    #[error("set must be a JSON object")]
    NoObject,
}

/// The ban that came with a kick, and its number, if one was wanted and there was room for it.
pub type Banned = Result<Option<(u64, Ban)>, BansFull>;

/// What became of somebody who was to be put out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PutOut {
    /// Sessions that ended here.
    pub ended: Vec<Ended>,
    /// The ban that was made here, and its number. The session ends without a place for that as well.
    pub ban: Banned,
    /// Other replicas that were told to do it.
    pub replicas: u64,
}

/// A room as operators see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomSummary {
    /// Its realm, which is that of its dialect.
    pub realm: Realm,
    /// Its name there.
    pub name: Arc<str>,
    /// How many members it has.
    pub members: usize,
    /// How many it may have.
    pub max: u32,
    /// Whether a key is needed to enter it.
    pub has_key: bool,
    /// Its metadata, a JSON object.
    pub meta: String,
    /// The version of that.
    pub version: u64,
}

/// A page of the members of a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberPage {
    /// A JSON array of `{peer, meta, since, away?, session, user?}`.
    pub members: String,
    /// Where the next page begins: members that came after that one.
    pub next: Option<u64>,
}

impl Hub {
    /// Notes where a connection comes from; bans of addresses know it by that.
    pub fn set_address(&mut self, connection: ConnectionId, address: IpAddr) {
        if let Some(entry) = self.connections.get_mut(connection) {
            entry.address = Some(address);
        }
    }

    /// At most `most` rooms of a realm, or of all, in the order of their places in a table, and where the next page begins. A room
    /// that is there from the first page to the last is on exactly one of them.
    pub fn room_page(&self, realm: Option<Realm>, from: usize, most: usize) -> (Vec<RoomSummary>, Option<usize>) {
        let rest = self.rooms.iter().filter(|(key, _)| key.index() >= from);
        let mut fitting = rest.filter(|(_, room)| realm.is_none_or(|realm| realm == room.name.realm));
        let page: Vec<(Key, &Room)> = fitting.by_ref().take(most).collect();
        let next = fitting.next().map(|(key, _)| key.index());
        (page.into_iter().map(|(_, room)| summary(room)).collect(), next)
    }

    /// A room, and at most `most` of its members who came after `after`.
    pub fn room_view(&self, realm: Realm, name: &str, after: u64, most: usize) -> Option<(RoomSummary, MemberPage)> {
        let room = self.rooms.get(self.named(realm, name)?)?;
        let rest = room.members_after(after);
        let page = rest.get(..most).unwrap_or(rest);
        let mut members = String::from("[");
        for (at, member) in page.iter().enumerate() {
            if at > 0 {
                members.push(',');
            }
            let entry = member
                .connection()
                .and_then(|connection| self.connections.get(connection));
            write_member(member, self.member_is_away(member), &mut members, |object| {
                let identity = entry.and_then(|entry| Some(entry.peer.as_ref()?.identity()));
                let sid = entry.map(|entry| entry.sid);
                object
                    .maybe_text("session", sid.as_ref().map(Sid::as_str))
                    .maybe_text("user", identity.and_then(|identity| identity.user.as_deref()))
            });
        }
        members.push(']');
        let next = page.last().filter(|_| page.len() < rest.len());
        let next = next.map(|member| member.ordinal);
        Some((summary(room), MemberPage { members, next }))
    }

    /// Ends the session of a member of a room, with 4105. It is told why; the others see it leave.
    ///
    /// # Errors
    /// [`NotDone::NoRoom`], [`NotDone::NoPeer`].
    pub fn kick(
        &mut self,
        now: Now,
        realm: Realm,
        room: &str,
        peer: &str,
        reason: Option<&str>,
    ) -> Result<Ended, NotDone> {
        self.unix_ms = now.unix_ms;
        let room = self.named(realm, room).ok_or(NotDone::NoRoom)?;
        let found = self.rooms.get(room).ok_or(NotDone::NoRoom)?.find(peer);
        let connection = found.and_then(Member::connection).ok_or(NotDone::NoPeer)?;
        self.expel(connection, reason).ok_or(NotDone::NoPeer)
    }

    /// Ends the session of a member of a room, wherever it is connected, and keeps it out of the room until then. Where another
    /// replica has it, that one is told.
    ///
    /// # Errors
    /// [`NotDone::NoRoom`], [`NotDone::NoPeer`].
    pub fn put_out(
        &mut self,
        now: Now,
        (realm, room): (Realm, &str),
        peer: &str,
        reason: Option<&str>,
        ban: Option<(BanBy, u64)>,
    ) -> Result<PutOut, NotDone> {
        self.unix_ms = now.unix_ms;
        let found = self.named(realm, room).and_then(|room| self.rooms.get(room));
        let is_hosted = found.is_some();
        let Some(connection) = found.and_then(|room| room.find(peer)).and_then(Member::connection) else {
            return match (self.tell_kick((realm, room), peer, reason, ban), is_hosted) {
                (0, true) => Err(NotDone::NoPeer),
                (0, false) => Err(NotDone::NoRoom),
                (replicas, _) => Ok(PutOut {
                    ended: Vec::new(),
                    ban: Ok(None),
                    replicas,
                }),
            };
        };
        let (ended, ban) = self.put_out_here(now, (realm, room), connection, reason, ban);
        let replicas = if let Ok(Some(_)) = ban { self.other_nodes() } else { 0 };
        Ok(PutOut { ended, ban, replicas })
    }

    /// Ends a session, after the ban of whose it is.
    pub(super) fn put_out_here(
        &mut self,
        now: Now,
        (realm, room): (Realm, &str),
        connection: ConnectionId,
        reason: Option<&str>,
        ban: Option<(BanBy, u64)>,
    ) -> (Vec<Ended>, Banned) {
        let (mut ended, mut banned) = (Vec::new(), Ok(None));
        let entry = self.connections.get(connection);
        let found = entry.and_then(|entry| Some((entry.address, entry.peer.as_ref()?)));
        if let (Some((by, until_ms)), Some((address, peer))) = (ban, found) {
            let identity = peer.identity();
            let who = match (by, &identity.user, address) {
                (BanBy::Auto, Some(user), _) => Barred::User(user.clone(), identity.realm.clone()),
                (BanBy::Address, _, Some(address)) => Barred::Address(address),
                _ => Barred::Peer((*peer.id).into()),
            };
            let ban = Ban {
                id: 0,
                room: Some((realm, room.into())),
                who,
                until_ms,
                reason: reason.map(Box::from),
            };
            banned = self.ban(now, ban.clone(), reason).map(|(id, others)| {
                ended = others;
                Some((id, ban))
            });
        }
        ended.extend(self.expel(connection, reason));
        (ended, banned)
    }

    /// Ends a room. Members with a word for that are told and stay connected; the sessions of the others end with 4105, since they
    /// would believe to be in it still.
    ///
    /// # Errors
    /// [`NotDone::NoRoom`].
    pub fn close_room(
        &mut self,
        now: Now,
        realm: Realm,
        name: &str,
        reason: Option<&str>,
    ) -> Result<Vec<Ended>, NotDone> {
        self.unix_ms = now.unix_ms;
        let found = self.named(realm, name);
        let ended = found.map(|key| self.close_here(key, reason));
        let replicas = self.tell_close(realm, name, reason);
        ended.or((replicas > 0).then(Vec::new)).ok_or(NotDone::NoRoom)
    }

    /// Ends a room as far as it is here.
    pub(super) fn close_here(&mut self, key: Key, reason: Option<&str>) -> Vec<Ended> {
        // Taken out as a whole: told one by one, each would hear of every other.
        self.tell_closed(key);
        let Some(room) = self.rooms.remove(key) else {
            return Vec::new();
        };
        self.by_name.remove(&room.name);
        self.unlink_room(&room);
        self.stats.leaves += room.here() as u64;
        self.stats.memberships -= room.here() as u64;
        self.stats.rooms_closed += 1;
        let members: Vec<ConnectionId> = room.members().iter().filter_map(Member::connection).collect();
        for &connection in &members {
            if let Some(entry) = self.connections.get_mut(connection) {
                entry.rooms.retain(|membership| membership.room != key);
            }
        }
        let speaks = |hub: &Self, connection: &ConnectionId| {
            let entry = hub.connections.get(*connection);
            entry.is_some_and(|entry| entry.dialect == Dialect::Native)
        };
        let (told, others): (Vec<_>, Vec<_>) = members.into_iter().partition(|connection| speaks(self, connection));
        self.multicast(
            &told,
            &Event::Closed {
                room: &room.name.name,
                reason,
            },
        );
        let ended = others
            .into_iter()
            .filter_map(|connection| self.expel(connection, reason));
        ended.collect()
    }

    /// Keeps somebody out from now on and ends the sessions that it fits: in a room those of its members, else all. Other replicas
    /// are told to do the same.
    ///
    /// # Errors
    /// [`BansFull`] with [`Config::bans`](crate::signaling::Config::bans) in force; nothing was done then.
    pub fn ban(&mut self, now: Now, ban: Ban, reason: Option<&str>) -> Result<(u64, Vec<Ended>), BansFull> {
        self.unix_ms = now.unix_ms;
        let room = ban.room.clone();
        let locks = ban.who == Barred::Everybody;
        if let Some(node) = self.node() {
            // Of two replicas that ban at once each has its numbers.
            self.bans.count_from(now.unix_ms << 8 | u64::from(node.as_bytes()[0]));
        }
        let id = self.bans.insert(now.unix_ms, ban, self.config.bans)?;
        self.tell_ban(id);
        if locks {
            return Ok((id, Vec::new()));
        }
        Ok((id, self.expel_barred(now, room.as_ref(), reason)))
    }

    /// Ends the sessions that are kept out of a room, or of the whole server.
    pub(super) fn expel_barred(&mut self, now: Now, room: Option<&BanRoom>, reason: Option<&str>) -> Vec<Ended> {
        let candidates: Vec<ConnectionId> = match room {
            Some((realm, name)) => {
                let room = self.named(*realm, name).and_then(|room| self.rooms.get(room));
                let members = room.map(Room::members).unwrap_or_default();
                members.iter().filter_map(Member::connection).collect()
            }
            None => self.connections.iter().map(|(connection, _)| connection).collect(),
        };
        let room = room.map(|(realm, name)| (*realm, &**name));
        let fits = |hub: &Self, connection: &ConnectionId| {
            let entry = hub.connections.get(*connection);
            let peer = entry.and_then(|entry| entry.peer.as_ref());
            let comer = entry
                .zip(peer)
                .map(|(entry, peer)| comer(entry, Some(&peer.id), peer.identity()));
            comer.is_some_and(|comer| hub.bans.keeps_out(now.unix_ms, room, &comer).is_some())
        };
        let hit: Vec<ConnectionId> = candidates.into_iter().filter(|one| fits(self, one)).collect();
        let ended = hit.into_iter().filter_map(|connection| self.expel(connection, reason));
        ended.collect()
    }

    /// Lets somebody in again; `false` if no ban of that number is in force.
    pub fn lift_ban(&mut self, now: Now, id: u64) -> bool {
        let place = self.bans.find(id).map(|ban| (ban.room.clone(), ban.who.clone()));
        if let Some((room, who)) = place {
            self.tell_lift(room, who);
        }
        self.bans.lift(now.unix_ms, id)
    }

    /// At most `most` of the bans in force with numbers above `after`, and whether there are more.
    pub fn bans(&self, now: Now, after: u64, most: usize) -> (Vec<Ban>, bool) {
        self.bans.page(now.unix_ms, after, most)
    }

    /// Says something in a room as [`SERVER`], to the named members or to all; to how many, and who was missing. Clients of other
    /// dialects have no word for that: they are sent the JSON object as it is.
    ///
    /// # Errors
    /// [`NotDone::NoRoom`], [`NotDone::NoPeer`], [`NotDone::Unspeakable`].
    pub fn say<'a>(
        &mut self,
        realm: Realm,
        name: &str,
        to: Option<&'a [Cow<'a, str>]>,
        data: Data<'_>,
        reliable: bool,
    ) -> Result<(usize, Vec<&'a str>), NotDone> {
        let frame = match data {
            _ if realm == Dialect::Native.realm() => None,
            Data::Json(text) if text.trim_start().starts_with('{') => Some(Dialect::said_in(realm, text)),
            _ => return Err(NotDone::Unspeakable),
        };
        let said = match &frame {
            // It was text a moment ago.
            Some(frame) => Said::Verbatim {
                frame: std::str::from_utf8(frame).unwrap_or_default(),
            },
            None => Said::Message { data, reliable },
        };
        let Some(key) = self.named(realm, name) else {
            let to = to.map(|to| to.iter().map(|peer| &**peer).collect());
            let may_be_heard = self.say_elsewhere(realm, name, to, said);
            return may_be_heard.then(|| (0, Vec::new())).ok_or(NotDone::NoRoom);
        };
        let linked = self.is_linked();
        let room = self.rooms.get(key).ok_or(NotDone::NoRoom)?;
        let name = Arc::clone(&room.name.name);
        let event = match &frame {
            Some(frame) => Event::Verbatim { frame },
            None => Event::Message {
                room: &name,
                from: SERVER,
                data,
                reliable,
            },
        };
        let mut missing = Vec::new();
        let receivers = match to {
            None => {
                let elsewhere = if linked { room.len() - room.here() } else { 0 };
                self.cast(key, SERVER, said);
                self.broadcast(key, None, &event) + elsewhere
            }
            Some(to) => {
                let mut named = Named::with_capacity(to.len());
                for peer in to {
                    match room.find(peer) {
                        Some(member) if member.remote().is_some() && !linked => missing.push(&**peer),
                        Some(member) if reliable || !self.member_is_away(member) => named.add(member, peer),
                        _ => missing.push(&**peer),
                    }
                }
                if named.len() == 0 {
                    return Err(NotDone::NoPeer);
                }
                let mut reached = self.multicast(&named.here, &event);
                for (node, peers) in named.there {
                    reached += peers.len();
                    self.direct(key, node, SERVER, peers, said);
                }
                reached
            }
        };
        self.stats.relayed_bytes += (data.len() * receivers) as u64;
        Ok((receivers, missing))
    }

    /// Changes a room's metadata, as [`SERVER`], if it still has that version; the new one.
    ///
    /// # Errors
    /// [`NotDone::NoRoom`], [`NotDone::NoObject`], [`NotDone::Version`], [`NotDone::TooLarge`].
    pub fn set_room_meta(
        &mut self,
        realm: Realm,
        name: &str,
        set: Option<&str>,
        del: &[Cow<'_, str>],
        if_version: Option<u64>,
    ) -> Result<u64, NotDone> {
        let set: Option<Entries<'_>> = set
            .map(serde_json::from_str)
            .transpose()
            .map_err(|_| NotDone::NoObject)?;
        let key = self.named(realm, name).ok_or(NotDone::NoRoom)?;
        let version = self.change_room(key, SERVER, set.as_ref(), del, if_version);
        let version = version.map_err(|reject| match reject.code {
            ErrorCode::TooLarge => NotDone::TooLarge,
            ErrorCode::BadRequest => NotDone::Version,
            _ => NotDone::NoRoom,
        })?;
        self.tell_changed(key);
        Ok(version)
    }

    pub(super) fn named(&self, realm: Realm, name: &str) -> Option<Key> {
        self.by_name.get(&RoomRef { realm, name }).copied()
    }

    /// Ends a session because an operator wants it to.
    fn expel(&mut self, connection: ConnectionId, reason: Option<&str>) -> Option<Ended> {
        let entry = self.connections.get(connection)?;
        let peer = entry.peer.as_ref()?;
        let identity = peer.identity();
        let ended = Ended {
            sid: entry.sid,
            peer: Arc::clone(&peer.id),
            user: identity.user.clone(),
            tenant: identity.realm.clone(),
            address: entry.address,
        };
        let reject = Reject::new(ErrorCode::Forbidden, "an operator ended this session").fatal(CloseCode::Forbidden);
        let last_word = match (entry.dialect, reason) {
            (Dialect::Native, Some(reason)) => Some(native::frame::expelled(reason)),
            (dialect, _) => dialect.refusal(&About::default(), &reject, self.unix_ms),
        };
        if let Some(last_word) = last_word {
            self.deliver(connection, last_word);
        }
        self.close(connection, CloseCode::Forbidden);
        self.stats.expelled += 1;
        self.tell_cut_off(ended.sid);
        Some(ended)
    }

    /// What somebody is told whom a ban keeps out of a room, or out of the server.
    pub(super) fn barred(
        &self,
        now: Now,
        connection: ConnectionId,
        room: Option<&str>,
        peer: Option<&str>,
        identity: &Identity,
    ) -> Option<Reject> {
        if self.bans.len() == 0 {
            return None;
        }
        let entry = self.connections.get(connection)?;
        let comer = comer(entry, peer, identity);
        let place = room.map(|room| (entry.realm, room));
        let until_ms = self.bans.keeps_out(now.unix_ms, place, &comer)?;
        let wait = Duration::from_millis(until_ms.saturating_sub(now.unix_ms));
        let reject = Reject::new(ErrorCode::Forbidden, "an operator keeps you out").retry(wait);
        // Clients of other dialects would believe to be in, or ask again and again.
        let fatal = room.is_none() || entry.dialect != Dialect::Native;
        Some(if fatal {
            reject.fatal(CloseCode::Forbidden)
        } else {
            reject
        })
    }
}

fn comer<'a>(entry: &Connection, peer: Option<&'a str>, identity: &'a Identity) -> Comer<'a> {
    Comer {
        peer,
        user: identity.user.as_deref(),
        tenant: identity.realm.as_deref(),
        address: entry.address,
    }
}

fn summary(room: &Room) -> RoomSummary {
    let mut meta = String::new();
    Meta::write(room.meta.as_ref(), &mut meta);
    RoomSummary {
        realm: room.name.realm,
        name: Arc::clone(&room.name.name),
        members: room.len(),
        max: room.max,
        has_key: room.has_key(),
        meta,
        version: room.version,
    }
}
