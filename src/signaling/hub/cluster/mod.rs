//! Rooms across replicas: the hub's side of the bus.
//!
//! Every node keeps, for each room that it hosts, a mirror of the members that live elsewhere: they stand in the room's list beside
//! its own, so that presence, snapshots and addresses know no difference. A node tells its own members' comings and goings on the
//! room's topic and nothing else; what it hears from others only ever changes its mirror and is told to its own members.
//!
//! A join is claimed on the room's topic and carried out when the claim comes back: all claims are seen by all in the same order, so
//! that of two newcomers exactly one is told of the other by its `joined`, an id goes to one of them, and `max` holds. A change of a
//! room's metadata is made the same way. Whoever is alone waits for nothing.
//!
//! Nothing is stored in the message system. Lists have numbers; who misses one asks for the list (`Sync`), whoever begins to host a
//! room asks everybody (`Ask`), and a few rooms are compared with every sign of life (`Audit`).
//!
//! Without [`Config::bus`](crate::signaling::Config::bus) nothing in here does anything.

mod held;
mod lists;
mod mirror;
mod nodes;
mod orders;
mod receive;
mod tell;

use std::{
    collections::{BTreeSet, VecDeque},
    time::{Duration, Instant},
};

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use held::Held;
pub(super) use held::Raw;
use nodes::Node;

use super::{Hub, Output};
use crate::signaling::{
    Now,
    cluster::{BusConfig, NodeId, RoomTopic, Topic, message::Message},
    connection::ConnectionId,
    room::Room,
    slab::Key,
};

/// Lists told or asked for at once; more wait for [`PAUSE`], so that no call keeps the hub for long.
const ERRANDS: usize = 256;
/// See [`ERRANDS`].
const PAUSE: Duration = Duration::from_millis(5);
/// Most bytes of a message between nodes beside what a client said: names, and whom it is for.
const ENVELOPE: usize = 65_536;
/// Errands that may wait. What is refused is found out by an audit.
const MOST_ERRANDS: usize = 131_072;

/// Something about one room that is done when there is time.
#[derive(Debug, Clone, Copy)]
enum Errand {
    /// Ask those who host it for their lists.
    Ask(Key),
    /// Tell a node this one's list.
    Tell(NodeId, Key),
    /// Tell a node the bans in force with numbers above that.
    TellBans(NodeId, u64),
}

/// The bus as this node knows it.
#[derive(Debug)]
pub(super) struct Bus {
    config: BusConfig,
    connected: bool,
    /// Until when whoever is alive may not have said so; `None` is past it.
    settled_at: Option<Instant>,
    next_beat: Option<Instant>,
    /// When the node that has been silent for longest may be dead; or earlier.
    expiry: Option<Instant>,
    nodes: HashMap<NodeId, Node, FixedState>,
    rooms: HashMap<RoomTopic, Key, FixedState>,
    held: HashMap<ConnectionId, Held, FixedState>,
    /// When those who are held have waited long enough.
    deadlines: BTreeSet<(Instant, ConnectionId)>,
    /// Those who need not wait any more.
    ready: VecDeque<ConnectionId>,
    errands: VecDeque<Errand>,
    errands_at: Option<Instant>,
    /// Where the next audit begins.
    audited: usize,
    mirrored: usize,
    /// Changes of own members in all rooms: where the numbers of a new room begin, so that no number comes twice.
    seq: u64,
}

impl Bus {
    pub(super) fn new(config: BusConfig, hasher: &FixedState) -> Self {
        Self {
            config,
            connected: false,
            settled_at: None,
            next_beat: None,
            expiry: None,
            nodes: HashMap::with_hasher(hasher.clone()),
            rooms: HashMap::with_hasher(hasher.clone()),
            held: HashMap::with_hasher(hasher.clone()),
            deadlines: BTreeSet::new(),
            ready: VecDeque::new(),
            errands: VecDeque::new(),
            errands_at: None,
            audited: 0,
            mirrored: 0,
            seq: 0,
        }
    }

    /// When [`Hub::handle_bus_timeout`] has something to do next.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let held = self.deadlines.first().map(|(deadline, _)| *deadline);
        [held, self.next_beat, self.expiry, self.errands_at, self.settled_at]
            .into_iter()
            .flatten()
            .min()
    }

    fn put_off(&mut self, now: Now, errand: Errand) -> bool {
        if self.errands.len() >= MOST_ERRANDS {
            return false;
        }
        self.errands.push_back(errand);
        self.errands_at.get_or_insert(now.instant);
        true
    }
}

impl Hub {
    /// The bus can be used (again): the driver is subscribed to [`Topic::Everybody`], to its own [`Topic::Node`] and to every room
    /// that it was told to subscribe to and not to unsubscribe from. Heart-beats start, lists are compared with those of others.
    pub fn bus_connected(&mut self, now: Now) {
        self.unix_ms = now.unix_ms;
        let Some(bus) = self.bus.as_deref_mut() else { return };
        bus.connected = true;
        bus.settled_at = Some(now.instant + bus.config.sync_timeout);
        bus.next_beat = Some(now.instant + bus.config.heartbeat);
        bus.errands.clear();
        for (key, room) in self.rooms.iter_mut() {
            let Some(link) = room.link.as_deref_mut() else { continue };
            for view in &mut link.views {
                (view.asked, view.parts) = (true, None);
            }
            bus.put_off(now, Errand::Ask(key));
        }
        let load = self.load();
        self.publish(Topic::Everybody, &Message::Alive { hello: true, load });
        self.run_errands(now);
    }

    /// A subscription that [`Output::Subscribe`] asked for is in force: whatever is published to that topic from here on will
    /// come in. Not needed for those that are in force when [`Self::bus_connected`] is called.
    pub fn subscribed(&mut self, now: Now, topic: RoomTopic) {
        self.unix_ms = now.unix_ms;
        let Some(bus) = self.bus.as_deref_mut().filter(|bus| bus.connected) else {
            return;
        };
        let alive: Vec<NodeId> = bus.nodes.keys().copied().collect();
        let room = bus.rooms.get(&topic).copied();
        let link = room.and_then(|room| self.rooms.get_mut(room)?.link.as_deref_mut());
        let Some(link) = link else { return };
        let ask = Message::Ask {
            room: topic,
            seq: link.seq,
        };
        match &mut link.opening {
            Some(opening) => {
                opening.missing = Some(alive);
                self.publish(Topic::Everybody, &ask);
            }
            // Somebody is in it already: only those who host it matter.
            None => self.publish(Topic::Room(topic), &ask),
        }
    }

    /// The bus cannot be used: only this process is served until [`Self::bus_connected`]. Nothing is published meanwhile;
    /// subscriptions are still asked for and taken back, and the driver remembers them for its next connection.
    ///
    /// Members that live elsewhere stay in the lists for as long as a silent node does ([`BusConfig::node_timeout`]): a bus that
    /// is back soon has changed nothing.
    pub fn bus_lost(&mut self, now: Now) {
        self.unix_ms = now.unix_ms;
        let Some(bus) = self.bus.as_deref_mut() else { return };
        bus.connected = false;
        (bus.next_beat, bus.settled_at) = (None, None);
        bus.errands.clear();
        bus.errands_at = None;
        let waiting: Vec<ConnectionId> = bus.held.keys().copied().collect();
        for connection in waiting {
            self.stop_waiting(connection);
        }
        self.run_ready(now);
    }

    /// A message that was published to a topic this node is subscribed to, its own messages too, in the order they came. Whatever
    /// the bytes are, nothing worse happens than that they are counted as malformed.
    pub fn handle_remote(&mut self, now: Now, topic: Topic, payload: &[u8]) {
        self.unix_ms = now.unix_ms;
        let Some(bus) = self.bus.as_deref().filter(|bus| bus.connected) else {
            return;
        };
        let own = bus.config.node;
        // What a client may send here it may send there: whatever the bound, that passes with what is around it.
        let most = bus
            .config
            .message_bytes
            .max(self.config.frame_bytes.saturating_add(ENVELOPE));
        let read = (payload.len() <= most).then(|| Message::decode(payload));
        match read.flatten() {
            Some((node, message)) if node == own => self.handle_echo(&message),
            Some((node, message)) => {
                if self.note_node(now, node) {
                    self.stats.bus.received += 1;
                    self.handle_message(now, topic, node, message);
                }
            }
            None => self.stats.bus.malformed += 1,
        }
        self.run_ready(now);
    }

    /// Whoever is alive is known by now: rooms that waited for nobody else are open.
    fn settle_down(&mut self) {
        if let Some(bus) = self.bus.as_deref_mut() {
            bus.settled_at = None;
        }
        let is_opening = |room: &Room| room.link.as_deref().is_some_and(|link| link.opening.is_some());
        let opening = self.rooms.iter().filter(|(_, room)| is_opening(room));
        let opening: Vec<Key> = opening.map(|(key, _)| key).collect();
        for room in opening {
            self.open_if_answered(room);
        }
    }

    /// Does what is due on the bus.
    pub(super) fn handle_bus_timeout(&mut self, now: Now) {
        let Some(bus) = self.bus.as_deref_mut() else { return };
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= now.instant);
        if is_due(bus.expiry) {
            self.bury(now);
        }
        if is_due(self.bus.as_deref().and_then(|bus| bus.settled_at)) {
            self.settle_down();
        }
        if is_due(self.bus.as_deref().and_then(|bus| bus.next_beat)) {
            self.tell_alive(now);
        }
        if is_due(self.bus.as_deref().and_then(|bus| bus.errands_at)) {
            self.run_errands(now);
        }
        while let Some(bus) = self.bus.as_deref()
            && let Some((deadline, connection)) = bus.deadlines.first().copied()
            && deadline <= now.instant
        {
            self.stats.bus.held_timeouts += 1;
            self.stop_waiting(connection);
        }
        self.run_ready(now);
    }

    fn run_errands(&mut self, now: Now) {
        for _ in 0..ERRANDS {
            let Some(errand) = self.bus.as_deref_mut().and_then(|bus| bus.errands.pop_front()) else {
                break;
            };
            match errand {
                Errand::Ask(room) => {
                    if let Some(link) = self.rooms.get(room).and_then(|room| room.link.as_deref()) {
                        let (topic, seq) = (link.topic, link.seq);
                        self.publish(Topic::Room(topic), &Message::Ask { room: topic, seq });
                    }
                }
                Errand::Tell(node, room) => self.tell_list(node, room),
                Errand::TellBans(node, after) => self.tell_bans(now, node, after),
            }
        }
        if let Some(bus) = self.bus.as_deref_mut() {
            bus.errands_at = (!bus.errands.is_empty()).then(|| now.instant + PAUSE);
        }
    }

    /// The way out to other nodes: there is none while the bus is lost.
    fn publish(&mut self, topic: Topic, message: &Message<'_>) {
        if let Some(bus) = self.bus.as_deref().filter(|bus| bus.connected) {
            let payload = message.encode(bus.config.node);
            self.stats.bus.published += 1;
            self.outputs.push_back(Output::Publish { topic, payload });
        }
    }

    /// Whether what is said to other nodes now will get there.
    pub(super) fn is_linked(&self) -> bool {
        self.bus.as_deref().is_some_and(|bus| bus.connected)
    }
}
