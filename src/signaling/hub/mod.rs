//! The state machine itself: connections, rooms, outputs, deadlines.
//!
//! Everything here happens inside one call that takes `now`; whatever should go out waits in [`Hub::poll_output`]. A frame
//! for a room is written once and its bytes are shared by all receivers.

mod admission;
mod beat;
mod cluster;
mod deliver;
mod groups;
mod ice;
mod moderation;
mod owners;
mod postpone;
mod presence;
mod relay;
mod resume;
mod rooms;
mod sessions;
mod views;

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
    time::Instant,
};

use bytes::Bytes;
use foldhash::fast::FixedState;
use hashbrown::HashMap;

pub use admission::{Admitted, Frame, Grants, Ice};
pub use ice::IceHolder;
pub use moderation::{Banned, Ended, MemberPage, NotDone, PutOut, RoomSummary, SERVER};
pub(crate) use presence::{Page, Snapshot};
pub(crate) use relay::Reach;
pub(crate) use resume::Older;
pub(crate) use rooms::Entry;
pub(crate) use sessions::Greeting;
pub use views::RoomView;

use super::{
    Now,
    bans::Bans,
    cluster::{RoomTopic, Topic},
    config::Config,
    connection::{Budget, Connection, ConnectionId, Due},
    dialect::{About, Dialect},
    error::Reject,
    labels::{CloseCode, ErrorCode},
    limits::Bucket,
    payload::Payload,
    postbox::Postbox,
    room::{Realm, Room, RoomName},
    secrets::{Secrets, Sid},
    slab::{Key, Slab},
    stats::Stats,
};

/// What the driver has to do. Outputs for one connection keep their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Queue this message for that connection. If its queue is full, call [`Hub::disconnect`] with [`CloseCode::Slow`].
    Deliver {
        /// Whose queue.
        connection: ConnectionId,
        /// What it carries, shared with the other receivers of the same event.
        payload: Payload,
    },
    /// As [`Self::Deliver`], and it can wait for up to a second for others of its kind: somebody came to a crowd, or went. It
    /// keeps its place among all that is delivered to that connection.
    DeliverSoon {
        /// Whose queue.
        connection: ConnectionId,
        /// What it carries.
        payload: Payload,
    },
    /// Mint ICE credentials for this connection and hand them in with [`Hub::push_ice`]; those it has end before long.
    RenewIce {
        /// For whom.
        connection: ConnectionId,
    },
    /// This connection is in a room whose relay may be another one than that which its list has first. If it is, mint a list for
    /// [`Hub::ice_room`], have [`Hub::room_ice`] make a frame of it, and put that in front of what is queued: who has come into a
    /// room connects at once. Never without [`Ice::relay`], at most once for each time that it comes into a room or back.
    RoomIce {
        /// For whom.
        connection: ConnectionId,
    },
    /// Send what is queued, then close. The hub has already forgotten this connection.
    Close {
        /// Which one.
        connection: ConnectionId,
        /// Why.
        code: CloseCode,
    },
    /// Publish this to other replicas, in the order of these outputs. One that cannot go out is dropped: nobody waits for it.
    Publish {
        /// Where to.
        topic: Topic,
        /// The bytes, for [`Hub::handle_remote`] of those who listen.
        payload: Bytes,
    },
    /// Listen to a room's topic, now and on every connection to the bus until [`Output::Unsubscribe`]; say so by
    /// [`Hub::subscribed`] when that is in force.
    Subscribe {
        /// Whose.
        topic: RoomTopic,
    },
    /// Listen no more.
    Unsubscribe {
        /// To whose topic.
        topic: RoomTopic,
    },
    /// An operator ended this session by way of another replica: take from it what it holds of this process's relay.
    CutOff {
        /// Its id.
        sid: Sid,
    },
}

/// A fresh connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connected {
    /// Its handle in every later call.
    pub connection: ConnectionId,
    /// Its session id.
    pub sid: Sid,
}

/// The table of connections is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the hub holds as many connections as it may")]
pub struct Full;

/// The hub.
#[derive(Debug)]
pub struct Hub {
    config: Config,
    secrets: Secrets,
    hasher: FixedState,
    connections: Slab<Connection>,
    by_sid: HashMap<Sid, ConnectionId, FixedState>,
    /// Connections with a socket, by whose they are; empty where that is not bounded.
    by_owner: HashMap<owners::Owner, usize, FixedState>,
    rooms: Slab<Room>,
    by_name: HashMap<RoomName, Key, FixedState>,
    /// Rooms that still fill, by the name that they were asked for by; some may be gone ([`Hub::join_group`]).
    forming: HashMap<RoomName, Key, FixedState>,
    postbox: Postbox,
    /// At most one entry of each kind per connection.
    deadlines: BTreeSet<(Instant, ConnectionId, Due)>,
    /// When those are told who are told every second; `None` while there are none.
    beat: Option<Instant>,
    outputs: VecDeque<Output>,
    /// The wall clock as of the last call, for dialects that put it into refusals.
    unix_ms: u64,
    /// The wall clock of the first connection, 0 before it.
    since_ms: u64,
    /// Numbers every event of this hub. Each receiver sees it grow; gaps are other people's events.
    seq: u64,
    relay_total: Option<Bucket>,
    bans: Bans,
    /// How many connections have lost their socket and wait for their owner.
    away: usize,
    /// Connections that missed more than is kept for them, to be ended once nobody is in the middle of telling them something.
    overflowed: Vec<ConnectionId>,
    /// Other replicas; `None` where there are none.
    bus: Option<Box<cluster::Bus>>,
    stats: Stats,
}

impl Hub {
    /// An empty hub. `seed` must be fresh randomness for every process: session keys and assigned ids follow from it.
    pub fn new(config: Config, seed: [u8; 32]) -> Self {
        let secrets = Secrets::new(seed);
        let hasher = FixedState::with_seed(secrets.hash_seed());
        let bus = config.bus.clone();
        let bus = bus.map(|bus| Box::new(cluster::Bus::new(bus, &hasher)));
        Self {
            config,
            secrets,
            connections: Slab::new(),
            by_sid: HashMap::with_hasher(hasher.clone()),
            by_owner: HashMap::with_hasher(hasher.clone()),
            rooms: Slab::new(),
            by_name: HashMap::with_hasher(hasher.clone()),
            forming: HashMap::with_hasher(hasher.clone()),
            postbox: Postbox::new(hasher.clone()),
            hasher,
            deadlines: BTreeSet::new(),
            beat: None,
            outputs: VecDeque::new(),
            unix_ms: 0,
            since_ms: 0,
            seq: 0,
            relay_total: None,
            bans: Bans::default(),
            away: 0,
            overflowed: Vec::new(),
            bus,
            stats: Stats::default(),
        }
    }

    /// The limits this hub runs with.
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// The counters, with the gauges as of now.
    pub fn stats(&self) -> Stats {
        let mut stats = self.stats;
        stats.connections = (self.connections.len() - self.away) as u64;
        stats.away = self.away as u64;
        stats.rooms = self.rooms.len() as u64;
        stats.postponed_waiting = self.postbox.len() as u64;
        stats.bans = self.bans.len() as u64;
        stats.bus = self.bus_stats();
        stats
    }

    /// Whether the next [`Self::connect`] would be refused.
    pub fn is_full(&self) -> bool {
        self.connections.len() >= self.config.connections
    }

    /// A socket has opened. It has [`Config::hello_timeout`] to say hello.
    ///
    /// # Errors
    /// [`Full`] when the process holds [`Config::connections`] already.
    pub fn connect(&mut self, now: Now, dialect: Dialect) -> Result<Connected, Full> {
        if self.is_full() {
            self.stats.connects_refused += 1;
            return Err(Full);
        }
        if self.since_ms == 0 {
            self.since_ms = now.unix_ms;
        }
        let sid = self.secrets.sid();
        let deadline = now.instant + self.config.hello_timeout;
        let connection = self.connections.insert(Connection {
            realm: dialect.realm(),
            dialect,
            sid,
            has_offer: false,
            relay: None,
            budget: Budget::full(&self.config, now.instant),
            due: [None; Due::ALL.len()],
            peer: None,
            rooms: Vec::new(),
            binary: false,
            address: None,
            replay: None,
        });
        self.by_sid.insert(sid, connection);
        self.set_due(connection, Due::End, Some(deadline));
        if dialect == Dialect::Auto && !self.config.welcome_silent_after.is_zero() {
            self.set_timer(connection, now.instant.checked_add(self.config.welcome_silent_after));
        }
        self.stats.connects += 1;
        if let Some(payload) = dialect.opened(now) {
            self.deliver(connection, payload);
        }
        Ok(Connected { connection, sid })
    }

    /// A socket has ended, or the driver is ending it. Says nothing to the connection itself; the rooms it was in are told. If
    /// its client can come back, its session waits for that ([`Config::resume_grace`]). A connection that is not there any
    /// more is left alone.
    pub fn disconnect(&mut self, now: Now, connection: ConnectionId, code: CloseCode) {
        if code == CloseCode::Slow && self.connections.get(connection).is_some_and(|entry| !entry.is_away()) {
            self.stats.queue_overflows += 1;
        }
        if !self.try_keep(now, connection, code) {
            self.end(connection, code);
        }
    }

    /// Ends a connection and its session. The rooms it was in are told.
    fn end(&mut self, connection: ConnectionId, code: CloseCode) {
        let Some(gone) = self.connections.remove(connection) else {
            return;
        };
        self.by_sid.remove(&gone.sid);
        self.forget_deadlines(connection, &gone);
        self.drop_held(connection);
        if gone.is_away() {
            // Its socket was counted when it ended.
            self.away -= 1;
        } else {
            self.stats.closes[code] += 1;
            if let Some(peer) = &gone.peer {
                self.discount_owner(peer.identity());
            }
        }
        if gone.peer.is_some() {
            self.stats.peers -= 1;
        }
        for membership in &gone.rooms {
            self.remove_member(*membership, departure(code));
        }
    }

    /// Ends a connection from this side: what is queued for it still goes out, then the close frame.
    pub fn close(&mut self, connection: ConnectionId, code: CloseCode) {
        let Some(entry) = self.connections.get(connection) else {
            return;
        };
        if !entry.is_away() {
            self.outputs.push_back(Output::Close { connection, code });
        }
        self.end(connection, code);
    }

    /// Announces that the server goes away: clients should reconnect after a random time within `after_ms`, to `url` if given.
    pub fn drain(&mut self, after_ms: (u64, u64), url: Option<&str>) {
        let welcomed = self
            .connections
            .iter()
            .filter(|(_, connection)| connection.peer.is_some());
        let receivers: Vec<(ConnectionId, Dialect)> = welcomed.map(|(key, entry)| (key, entry.dialect)).collect();
        let words = Dialect::ALL.iter().map(|dialect| dialect.drain(after_ms, url));
        let words: Vec<Option<Bytes>> = words.collect();
        for (connection, dialect) in receivers {
            if let Some(Some(payload)) = words.get(dialect.index()) {
                self.deliver(connection, Bytes::clone(payload));
            }
        }
    }

    /// Closes every connection with 4003.
    pub fn close_all(&mut self) {
        let all: Vec<ConnectionId> = self.connections.iter().map(|(key, _)| key).collect();
        for connection in all {
            self.close(connection, CloseCode::Drain);
        }
    }

    /// When the first connection came, milliseconds since the Unix epoch.
    pub(crate) const fn since_ms(&self) -> u64 {
        self.since_ms
    }

    /// The next thing to do; drain it after every call that may produce something.
    pub fn poll_output(&mut self) -> Option<Output> {
        let mut output = self.outputs.pop_front();
        while output.is_none() && self.end_overflowed() {
            output = self.outputs.pop_front();
        }
        if output.is_none() && self.outputs.capacity() > 1_024 {
            // A burst in a large room must not hold its peak of memory for ever.
            self.outputs.shrink_to(64);
        }
        output
    }

    /// When [`Self::handle_timeout`] has something to do next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let deadline = self.deadlines.first().map(|(deadline, ..)| *deadline);
        let bus = self.bus.as_ref().and_then(|bus| bus.poll_timeout());
        [deadline, self.postbox.next(), self.next_beat(), bus]
            .into_iter()
            .flatten()
            .min()
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Now) {
        self.unix_ms = now.unix_ms;
        self.expire_postponed(now);
        self.beat(now);
        while let Some((deadline, connection, due)) = self.deadlines.first().copied() {
            if deadline > now.instant {
                break;
            }
            if due == Due::Ice {
                self.set_due(connection, Due::Ice, None);
                self.outputs.push_back(Output::RenewIce { connection });
                continue;
            }
            if due == Due::Dialect {
                self.set_timer(connection, None);
                if let Some(dialect) = self.connections.get(connection).map(|entry| entry.dialect) {
                    dialect.due(self, now, connection);
                }
                continue;
            }
            let entry = self.connections.get(connection);
            let away = entry.and_then(|entry| entry.replay.as_ref()?.away);
            if let Some(away) = away {
                self.end(connection, away.why);
                continue;
            }
            let welcomed = entry.is_some_and(|entry| entry.peer.is_some());
            let reject = if welcomed {
                Reject::new(ErrorCode::Expired, "the token has expired").fatal(CloseCode::Expired)
            } else {
                Reject::bad_request("no hello in time").fatal(CloseCode::BadRequest)
            };
            self.refuse(connection, &About::default(), reject);
            // Already gone with the connection; were it not, this loop would never end.
            self.deadlines.remove(&(deadline, connection, due));
        }
        self.handle_bus_timeout(now);
    }

    fn forget_deadlines(&mut self, connection: ConnectionId, gone: &Connection) {
        for due in Due::ALL {
            if let Some(at) = gone.due[due.index()] {
                self.deadlines.remove(&(at, connection, due));
            }
        }
    }

    /// Moves what a connection waits for.
    fn set_due(&mut self, connection: ConnectionId, due: Due, at: Option<Instant>) {
        let Some(entry) = self.connections.get_mut(connection) else {
            return;
        };
        if let Some(old) = std::mem::replace(&mut entry.due[due.index()], at) {
            self.deadlines.remove(&(old, connection, due));
        }
        if let Some(new) = at {
            self.deadlines.insert((new, connection, due));
        }
    }

    /// When [`Dialect::due`] is called for a connection, once; `None` forgets it.
    pub(crate) fn set_timer(&mut self, connection: ConnectionId, at: Option<Instant>) {
        self.set_due(connection, Due::Dialect, at);
    }

    /// The hash of a room key, as the room keeps it.
    fn hash_key(key: &str) -> [u8; 32] {
        use sha2::{Digest, Sha256};
        Sha256::digest(key.as_bytes()).into()
    }

    fn room_name(realm: Realm, name: &str) -> RoomName {
        RoomName {
            realm,
            name: Arc::from(name),
        }
    }
}

/// What the members of a room are told about why a peer is gone.
const fn departure(code: CloseCode) -> &'static str {
    match code {
        CloseCode::Normal => "bye",
        CloseCode::Abnormal => "lost",
        other => other.as_label(),
    }
}
