//! Requests that wait for other nodes, and what their connections say meanwhile.
//!
//! A primitive that has to wait says [`Reject::HELD`]; the frame is kept as it came, and carried out again from its beginning when
//! what it waits for is there, or has had its time. Frames that come behind it wait too, so that a connection's frames are carried
//! out in the order they came.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use super::Hub;
use crate::signaling::{
    Now,
    cluster::{
        RoomTopic,
        claim::{Contender, Rule},
        link::{Link, Opening, Pending, PendingChange, Stage},
        message::{Claim, Message as BusMessage},
    },
    connection::ConnectionId,
    dialect::{self, Dialect, Message, native},
    error::Reject,
    hub::{Entry, Grants, Output},
    labels::ErrorCode,
    meta::Meta,
    room::{Member, Room, RoomRef},
    slab::Key,
};

/// When to try again what could not wait.
const RETRY: Duration = Duration::from_secs(1);

/// A frame as it came.
#[derive(Debug, Clone, Copy)]
pub(in crate::signaling::hub) enum Raw<'a> {
    Text(&'a str),
    Binary(&'a [u8]),
    /// The request that opened the connection.
    Opening(&'a dialect::Opening),
}

/// The same, kept.
#[derive(Debug)]
enum Kept {
    Text(Box<str>),
    Binary(Box<[u8]>),
    Opening(Box<dialect::Opening>),
}

impl Kept {
    fn new(raw: Raw<'_>) -> Self {
        match raw {
            Raw::Text(text) => Self::Text(text.into()),
            Raw::Binary(bytes) => Self::Binary(bytes.into()),
            Raw::Opening(opening) => Self::Opening(Box::new(opening.clone())),
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Binary(bytes) => bytes.len(),
            // The first thing that a connection says: it is in nobody's way.
            Self::Opening(_) => 0,
        }
    }

    /// It was read once before, so that it can be read again.
    fn parse(&self, dialect: Dialect) -> Option<Message<'_>> {
        match self {
            Self::Text(text) => Message::parse(dialect, text).ok(),
            Self::Binary(bytes) => native::binary::parse(bytes).ok().map(Message::Native),
            Self::Opening(opening) => Message::of_opening(dialect, opening)?.ok(),
        }
    }
}

/// One connection that waits.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// The first is what waits; the others came behind it.
    frames: VecDeque<Kept>,
    bytes: usize,
    /// Rooms in which something of it is pending.
    rooms: Vec<Key>,
    /// How much of that is still to come.
    waiting: usize,
    deadline: Option<Instant>,
}

impl Hub {
    /// Whether frames of this connection wait.
    pub(in crate::signaling::hub) fn is_held(&self, connection: ConnectionId) -> bool {
        self.bus
            .as_deref()
            .is_some_and(|bus| bus.held.contains_key(&connection))
    }

    /// How many requests wait.
    pub(super) fn waiting(&self) -> usize {
        self.bus.as_deref().map_or(0, |bus| bus.held.len())
    }

    /// How many rooms a connection is about to come into.
    pub(in crate::signaling::hub) fn rooms_awaited(&self, connection: ConnectionId, but: Option<Key>) -> usize {
        let held = self.bus.as_deref().and_then(|bus| bus.held.get(&connection));
        held.map_or(0, |held| held.rooms.iter().filter(|room| Some(**room) != but).count())
    }

    /// A frame waits behind others of its connection.
    pub(in crate::signaling::hub) fn try_queue(
        &mut self,
        connection: ConnectionId,
        raw: Raw<'_>,
    ) -> Result<(), Reject> {
        let Some(bus) = self.bus.as_deref_mut() else {
            return Ok(());
        };
        let Some(held) = bus.held.get_mut(&connection) else {
            return Ok(());
        };
        let kept = Kept::new(raw);
        if held.frames.len() > bus.config.held_frames || held.bytes + kept.len() > bus.config.held_bytes {
            let message = "more messages than may wait for other servers";
            return Err(Reject::new(ErrorCode::RateLimited, message).retry(RETRY));
        }
        held.bytes += kept.len();
        held.frames.push_back(kept);
        Ok(())
    }

    /// A frame was carried out as far as it goes, and waits.
    pub(in crate::signaling::hub) fn hold(&mut self, now: Now, connection: ConnectionId, raw: Raw<'_>) {
        self.stats.bus.held += 1;
        self.hold_first(now, connection, Kept::new(raw));
    }

    fn hold_first(&mut self, now: Now, connection: ConnectionId, kept: Kept) {
        let Some(bus) = self.bus.as_deref_mut() else { return };
        let Some(held) = bus.held.get_mut(&connection) else {
            return;
        };
        held.bytes += kept.len();
        held.frames.push_front(kept);
        let deadline = now.instant + bus.config.sync_timeout;
        if let Some(old) = held.deadline.replace(deadline) {
            bus.deadlines.remove(&(old, connection));
        }
        bus.deadlines.insert((deadline, connection));
        // Whatever it waits for, it waits until its deadline at most, and never spins.
        held.waiting = held.waiting.max(1);
    }

    /// A frame has had its outcome: what it had pending besides is taken back, and those behind it have their turn.
    pub(in crate::signaling::hub) fn settle(&mut self, connection: ConnectionId) {
        let Some(bus) = self.bus.as_deref_mut() else { return };
        let Some(held) = bus.held.get_mut(&connection) else {
            return;
        };
        let rooms = std::mem::take(&mut held.rooms);
        held.waiting = 0;
        let is_done = held.frames.is_empty();
        if let Some(deadline) = held.deadline.take() {
            bus.deadlines.remove(&(deadline, connection));
        }
        if is_done {
            bus.held.remove(&connection);
        }
        for room in rooms {
            self.withdraw(room, connection);
        }
    }

    /// Nobody is there any more to wait: its frames have come to nothing.
    pub(in crate::signaling::hub) fn drop_held(&mut self, connection: ConnectionId) {
        let held = self.bus.as_deref_mut().and_then(|bus| bus.held.get_mut(&connection));
        let Some(held) = held else { return };
        let frames = std::mem::take(&mut held.frames).len() as u64;
        self.stats.refused[ErrorCode::Unavailable] += frames;
        self.settle(connection);
    }

    /// Carries out the frames of those who need not wait any more.
    pub(super) fn run_ready(&mut self, now: Now) {
        while let Some(connection) = self.bus.as_deref_mut().and_then(|bus| bus.ready.pop_front()) {
            while let Some(kept) = self.next_held(connection) {
                let dialect = self.connections.get(connection).map(|entry| entry.dialect);
                let message = dialect.and_then(|dialect| kept.parse(dialect));
                let Some(message) = message else {
                    self.stats.refused[ErrorCode::Unavailable] += 1;
                    self.settle(connection);
                    continue;
                };
                let about = message.about();
                match message.carry_out(self, now, connection, Grants::default()) {
                    Err(reject) if reject.held => {
                        self.hold_first(now, connection, kept);
                        continue;
                    }
                    Ok(()) => self.stats.accepted += 1,
                    Err(reject) => self.refuse_message(connection, &about, reject),
                }
                self.settle(connection);
            }
        }
    }

    fn next_held(&mut self, connection: ConnectionId) -> Option<Kept> {
        let held = self.bus.as_deref_mut()?.held.get_mut(&connection)?;
        if held.waiting > 0 {
            return None;
        }
        let kept = held.frames.pop_front()?;
        held.bytes -= kept.len();
        Some(kept)
    }

    /// One thing that a connection waited for has come.
    pub(super) fn one_came(&mut self, connection: ConnectionId) {
        let Some(bus) = self.bus.as_deref_mut() else { return };
        if let Some(held) = bus.held.get_mut(&connection) {
            held.waiting = held.waiting.saturating_sub(1);
            if held.waiting == 0 {
                bus.ready.push_back(connection);
            }
        }
    }

    /// A connection has waited long enough: it goes on with what is known.
    pub(super) fn stop_waiting(&mut self, connection: ConnectionId) {
        let Some(bus) = self.bus.as_deref_mut() else { return };
        let Some(held) = bus.held.get_mut(&connection) else {
            return;
        };
        held.waiting = 0;
        let rooms = held.rooms.clone();
        if let Some(deadline) = held.deadline.take() {
            bus.deadlines.remove(&(deadline, connection));
        }
        bus.ready.push_back(connection);
        for room in rooms {
            let link = self.rooms.get_mut(room).and_then(|room| room.link.as_deref_mut());
            let Some(link) = link else { continue };
            if let Some(pending) = link.pending_mut(connection) {
                pending.stage = match std::mem::replace(&mut pending.stage, Stage::Late) {
                    Stage::Claimed { claim, .. } | Stage::Placed { claim } => Stage::Placed { claim },
                    Stage::Opening | Stage::Opened | Stage::Late => Stage::Late,
                };
            }
            for change in link.changes.iter_mut().filter(|change| change.connection == connection) {
                let unknown = Reject::new(ErrorCode::Unavailable, "the other servers did not answer").retry(RETRY);
                change.done.get_or_insert(Err(unknown));
            }
            // Nobody else needs to wait for answers that do not come.
            self.finish_opening(room);
        }
    }

    /// All lists of a room that can be had are here.
    pub(super) fn finish_opening(&mut self, room: Key) {
        let link = self.rooms.get_mut(room).and_then(|room| room.link.as_deref_mut());
        let Some(link) = link else { return };
        link.opening = None;
        let mut came = Vec::new();
        for pending in &mut link.pending {
            if matches!(pending.stage, Stage::Opening) {
                pending.stage = Stage::Opened;
                came.push(pending.connection);
            }
        }
        for connection in came {
            self.one_came(connection);
        }
    }

    /// Whether there may be others to wait for.
    fn has_company(&self) -> bool {
        self.bus
            .as_deref()
            .is_some_and(|bus| bus.connected && (!bus.nodes.is_empty() || bus.settled_at.is_some()))
    }

    /// Makes sure that others have been asked about a room and have heard of who comes into it.
    pub(in crate::signaling::hub) fn await_others(
        &mut self,
        now: Now,
        connection: ConnectionId,
        entry: &Entry<'_>,
        known: Option<Key>,
    ) -> Result<(), Reject> {
        if self.bus.is_none() || entry.is_local {
            return Ok(());
        }
        let link = known.and_then(|room| self.rooms.get(room)?.link.as_deref());
        let is_opening = link.is_some_and(|link| link.opening.is_some());
        match (link.and_then(|link| link.pending(connection)), known) {
            (Some(pending), _) if pending.stage.waits() => Err(Reject::HELD),
            (
                Some(Pending {
                    stage: Stage::Late | Stage::Placed { .. },
                    ..
                }),
                _,
            ) => Ok(()),
            (Some(_), Some(room)) => self.claim(now, connection, entry, room),
            _ if !self.has_company() => Ok(()),
            (_, Some(room)) if !is_opening => {
                // Who would be refused anyway need not be announced.
                self.judge(now, connection, entry)?;
                self.pend(connection, room, Stage::Opened)?;
                self.claim(now, connection, entry, room)
            }
            (_, known) => {
                let room = match known {
                    Some(room) => room,
                    None => self.try_open(connection, entry)?,
                };
                self.pend(connection, room, Stage::Opening)?;
                Err(Reject::HELD)
            }
        }
    }

    /// Notes that a connection waits for something of a room.
    fn pend(&mut self, connection: ConnectionId, room: Key, stage: Stage) -> Result<(), Reject> {
        self.try_wait(connection, room)?;
        if stage.waits() {
            self.one_more(connection);
        }
        if let Some(link) = self.rooms.get_mut(room).and_then(|room| room.link.as_deref_mut()) {
            link.pending.push(Pending { connection, stage });
        }
        Ok(())
    }

    fn one_more(&mut self, connection: ConnectionId) {
        let held = self.bus.as_deref_mut().and_then(|bus| bus.held.get_mut(&connection));
        if let Some(held) = held {
            held.waiting += 1;
        }
    }

    fn try_wait(&mut self, connection: ConnectionId, room: Key) -> Result<(), Reject> {
        let gone = Reject::new(ErrorCode::Unavailable, "the room is gone");
        let Some(bus) = self.bus.as_deref_mut() else {
            return Err(gone);
        };
        if bus.held.len() >= bus.config.held && !bus.held.contains_key(&connection) {
            self.stats.bus.held_refused += 1;
            self.end_if_over(room);
            let message = "as many wait for other servers as may";
            return Err(Reject::new(ErrorCode::Unavailable, message).retry(RETRY));
        }
        let held = bus.held.entry(connection).or_default();
        if !held.rooms.contains(&room) {
            held.rooms.push(room);
        }
        Ok(())
    }

    /// Begins to listen to a room that nobody of this process is in.
    fn try_open(&mut self, connection: ConnectionId, entry: &Entry<'_>) -> Result<Key, Reject> {
        if self.rooms.len() >= self.config.rooms {
            let message = "this server holds as many rooms as it may";
            return Err(Reject::new(ErrorCode::RoomFull, message));
        }
        let realm = self
            .connections
            .get(connection)
            .map(|entry| entry.realm)
            .unwrap_or_default();
        let name = RoomRef {
            realm,
            name: entry.room,
        };
        let room = self.make_room(name, entry, None);
        if let Some(link) = self.rooms.get_mut(room).and_then(|room| room.link.as_deref_mut()) {
            link.opening = Some(Opening::default());
        }
        Ok(room)
    }

    /// Tells the room's topic who is coming. Carried out when that comes back.
    fn claim(&mut self, now: Now, connection: ConnectionId, entry: &Entry<'_>, room: Key) -> Result<(), Reject> {
        let judged = self.judge(now, connection, entry)?;
        let gone = Reject::new(ErrorCode::Unavailable, "the room is gone");
        let joining = self.connections.get(connection).and_then(|entry| entry.peer.as_ref());
        let joining = joining.ok_or(gone)?;
        let id = Arc::clone(&joining.id);
        let rule = Rule::of(self.config.takeover, entry.takeover);
        let proof = entry.proof.map(Self::hash_key);
        let standing = self.standing(connection, rule, proof.as_ref()).ok_or(gone)?;
        let mut meta = String::new();
        Meta::write(entry.meta.as_ref().unwrap_or(&joining.meta).as_ref(), &mut meta);
        let claim = Claim {
            peer: id.to_string().into(),
            since_ms: judged.since_ms,
            away: false,
            standing,
            meta: meta.into(),
        };
        self.yield_pending(connection, entry, room, &id)?;
        let founding = match self.rooms.get(room) {
            Some(room) if room.is_founded() => room.founding(),
            _ => self.founding(entry),
        };
        let Some((topic, seq)) = self.next_number(room) else {
            return Err(gone);
        };
        let joined = BusMessage::Joined {
            room: topic,
            seq,
            founding,
            claim,
        };
        self.publish(super::Topic::Room(topic), &joined);
        let BusMessage::Joined { claim, .. } = joined else {
            return Err(gone);
        };
        let link = self.rooms.get_mut(room).and_then(|room| room.link.as_deref_mut());
        let link = link.ok_or(gone)?;
        if !link.founded {
            link.proposed.get_or_insert(founding);
        }
        let pending = link.pending_mut(connection).ok_or(gone)?;
        pending.stage = Stage::Claimed {
            seq,
            claim: Box::new(claim),
        };
        self.one_more(connection);
        Err(Reject::HELD)
    }

    /// Two connections of this process that come into a room under one id at the same time: the later one takes it from the
    /// earlier one, if it may.
    fn yield_pending(
        &mut self,
        connection: ConnectionId,
        entry: &Entry<'_>,
        room: Key,
        id: &str,
    ) -> Result<(), Reject> {
        let link = self.rooms.get(room).and_then(|room| room.link.as_deref());
        let other = link.and_then(|link| {
            let mut others = link.pending.iter().filter(|pending| pending.connection != connection);
            others.find(|pending| pending.stage.claim().is_some_and(|claim| *claim.peer == *id))
        });
        let Some(other) = other.map(|other| other.connection) else {
            return Ok(());
        };
        let proof = entry.proof.map(Self::hash_key);
        let joining = self.connections.get(connection).and_then(|entry| entry.peer.as_ref());
        if joining.is_none_or(|peer| !self.may_take_over(entry.takeover, peer.identity(), proof.as_ref(), other)) {
            return Err(Reject::new(ErrorCode::IdTaken, "another peer of the room has that id"));
        }
        self.stats.takeovers += 1;
        self.close(other, crate::signaling::CloseCode::Replaced);
        Ok(())
    }

    /// Takes back what a connection has pending in a room. Those who have been told of it are told that it is not coming.
    fn withdraw(&mut self, room: Key, connection: ConnectionId) {
        let Some(link) = self.rooms.get_mut(room).and_then(|room| room.link.as_deref_mut()) else {
            return;
        };
        link.changes.retain(|change| change.connection != connection);
        let at = link.pending.iter().position(|pending| pending.connection == connection);
        let pending = at.map(|at| link.pending.swap_remove(at));
        if let Some(claim) = pending.as_ref().and_then(|pending| pending.stage.claim()) {
            self.tell_left(room, &claim.peer, claim.since_ms, "leave");
            let elder = self.rooms.get(room).and_then(|room| room.find(&claim.peer));
            if let Some(elder) = elder.filter(|elder| elder.connection().is_some()) {
                // Others had put the claim in its place.
                let ordinal = elder.ordinal;
                self.tell_joined(room, ordinal);
            }
        }
        self.end_if_over(room);
    }

    /// When a connection joined, if others have been told so already.
    pub(in crate::signaling::hub) fn claimed_since(&self, connection: ConnectionId, room: &Room) -> Option<u64> {
        let claim = room.link.as_deref()?.pending(connection)?.stage.claim()?;
        Some(claim.since_ms)
    }

    /// Whether a connection may have the id of a member that lives elsewhere.
    pub(in crate::signaling::hub) fn may_take_from_afar(
        &self,
        connection: ConnectionId,
        entry: &Entry<'_>,
        since_ms: u64,
        holder: &Member,
    ) -> bool {
        let rule = Rule::of(self.config.takeover, entry.takeover);
        let proof = entry.proof.map(Self::hash_key);
        let contenders = || {
            let newcomer = Contender {
                since_ms,
                node: self.node()?,
                standing: self.standing(connection, rule, proof.as_ref())?,
            };
            Some((newcomer, self.contender(holder)?))
        };
        contenders().is_some_and(|(newcomer, holder)| newcomer.beats(&holder))
    }

    /// Ties a new room to the bus.
    pub(in crate::signaling::hub) fn link_room(&mut self, key: Key, name: RoomRef<'_>, founded: bool) {
        let Some(bus) = self.bus.as_deref_mut() else { return };
        let topic = RoomTopic::of(name.realm, name.name);
        bus.rooms.insert(topic, key);
        if let Some(room) = self.rooms.get_mut(key) {
            let link = Link::new(topic, bus.seq);
            room.link = Some(Box::new(Link { founded, ..link }));
        }
        self.outputs.push_back(Output::Subscribe { topic });
    }

    /// Lets a connection in: it is pending no more. Whether others have been told of it.
    pub(in crate::signaling::hub) fn take_claim(&mut self, connection: ConnectionId, room: Key) -> bool {
        let Some(link) = self.rooms.get_mut(room).and_then(|room| room.link.as_deref_mut()) else {
            return false;
        };
        let at = link.pending.iter().position(|pending| pending.connection == connection);
        at.is_some_and(|at| link.pending.swap_remove(at).stage.claim().is_some())
    }

    /// Whether a change of a room's metadata has to wait for its turn; what came of it, if it has.
    pub(in crate::signaling::hub) fn await_change(
        &mut self,
        connection: ConnectionId,
        room: Key,
        tell: impl FnOnce(&mut Self, Key) -> Option<u64>,
    ) -> Result<Option<u64>, Reject> {
        let link = self.rooms.get_mut(room).and_then(|room| room.link.as_deref_mut());
        let Some(link) = link else { return Ok(None) };
        let at = link.changes.iter().position(|change| change.connection == connection);
        if let Some(at) = at {
            let Some(done) = link.changes[at].done else {
                return Err(Reject::HELD);
            };
            link.changes.swap_remove(at);
            return done.map(Some);
        }
        if !self.has_company() {
            return Ok(None);
        }
        self.try_wait(connection, room)?;
        let Some(seq) = tell(self, room) else { return Ok(None) };
        self.one_more(connection);
        if let Some(link) = self.rooms.get_mut(room).and_then(|room| room.link.as_deref_mut()) {
            link.changes.push(PendingChange {
                connection,
                seq,
                done: None,
            });
        }
        Err(Reject::HELD)
    }

    /// Ends a room that nobody of this process is in or waits for.
    pub(in crate::signaling::hub) fn end_if_over(&mut self, room: Key) {
        if self.rooms.get(room).is_some_and(Room::is_over)
            && let Some(room) = self.rooms.remove(room)
        {
            self.by_name.remove(&room.name);
            self.unlink_room(&room);
        }
    }

    /// Listens no more to what becomes of a room that is gone from here.
    pub(in crate::signaling::hub) fn unlink_room(&mut self, room: &Room) {
        if let Some(bus) = self.bus.as_deref_mut()
            && let Some(link) = &room.link
        {
            bus.rooms.remove(&link.topic);
            bus.mirrored -= room.len() - room.here();
            self.outputs.push_back(Output::Unsubscribe { topic: link.topic });
        }
    }
}
