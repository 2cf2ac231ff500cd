//! Several hubs on one bus in virtual time. The bus is a broker: what reaches it first is told first, to all alike; each way to it
//! and from it keeps its order and takes its time. Messages can be lost, nodes can be cut off from each other, killed, and started
//! again, and the broker can restart.
//!
//! Every client keeps what it has been told, and fails the test on what cannot be: a peer that joins twice or leaves without
//! having been there, a word of somebody who is not in the room, a word heard twice or out of order.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque},
    time::{Duration, Instant},
};

use bytes::Bytes;
use meetpoint::signaling::{
    BusConfig, CloseCode, Config, Connected, ConnectionId, Dialect, Frame, Grants, Hub, Identity, Needs, NodeId, Now,
    Opening, Output, SERVER, Topic,
};
use serde_json::{Value, json};

use crate::signaling_schema;

pub(crate) const START_MS: u64 = 1_700_000_000_000;

/// A client: the number of its node, and its own.
pub(crate) type ClientId = usize;

/// What a client knows.
#[derive(Debug, Default)]
pub(crate) struct Client {
    pub(crate) node: usize,
    pub(crate) connection: Option<ConnectionId>,
    pub(crate) dialect: Dialect,
    pub(crate) peer: String,
    pub(crate) inbox: VecDeque<Value>,
    pub(crate) closed: Option<CloseCode>,
    /// Who else is in each room, as it was told.
    pub(crate) rooms: BTreeMap<String, BTreeSet<String>>,
    /// The last number heard of each sender by way of one kind of word.
    heard: HashMap<(String, String), u64>,
    pub(crate) welcome: Value,
}

#[derive(Debug)]
enum Travel {
    ToBroker { from: usize, what: Request },
    ToNode { to: usize, what: Report },
}

#[derive(Debug)]
enum Request {
    Publish(Topic, Bytes),
    Subscribe(Topic),
    Unsubscribe(Topic),
}

#[derive(Debug)]
enum Report {
    Message(Topic, Bytes),
    Subscribed(Topic),
    Connected,
    Lost,
}

struct Node {
    hub: Option<Hub>,
    id: NodeId,
    /// As the broker has them.
    topics: HashSet<Topic>,
    /// As the driver is to have them.
    wanted: BTreeSet<Topic>,
    /// Raised when the connection to the broker is lost: what is under way on it is lost too.
    epoch: u64,
    linked: bool,
    up: Instant,
    down: Instant,
    owners: HashMap<ConnectionId, ClientId>,
    /// By how much its clock is wrong.
    skew_ms: i64,
}

pub(crate) struct Cluster {
    pub(crate) now: Instant,
    start: Instant,
    nodes: Vec<Node>,
    pub(crate) clients: Vec<Client>,
    config: Config,
    bus: BusConfig,
    travels: BTreeMap<(Instant, u64), (u64, Travel)>,
    order: u64,
    pub(crate) random: Random,
    /// Nobody hears whom.
    pub(crate) cuts: BTreeSet<(usize, usize)>,
    /// Of a thousand messages to others.
    pub(crate) lost_permille: u64,
    pub(crate) delay_us: (u64, u64),
    started: u64,
    pub(crate) published: Vec<(usize, Topic)>,
    /// What relays were told, by node.
    pub(crate) cut_off: Vec<(usize, String)>,
    /// Rules that do not hold while messages are lost are not asked for.
    pub(crate) strict: bool,
}

pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound.max(1)
    }
}

impl Cluster {
    pub(crate) fn new(nodes: usize) -> Self {
        Self::with(nodes, Config::default(), 1, |_| {})
    }

    pub(crate) fn with(nodes: usize, config: Config, seed: u64, change: impl FnOnce(&mut BusConfig)) -> Self {
        let now = Instant::now();
        let mut bus = BusConfig::new(NodeId::new([0; 8]));
        change(&mut bus);
        let mut cluster = Self {
            now,
            start: now,
            nodes: Vec::new(),
            clients: Vec::new(),
            config,
            bus,
            travels: BTreeMap::new(),
            order: 0,
            random: Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
            cuts: BTreeSet::new(),
            lost_permille: 0,
            delay_us: (200, 900),
            started: 0,
            published: Vec::new(),
            cut_off: Vec::new(),
            strict: true,
        };
        for at in 0..nodes {
            cluster.nodes.push(Node {
                hub: None,
                id: NodeId::new([0; 8]),
                topics: HashSet::new(),
                wanted: BTreeSet::new(),
                epoch: 0,
                linked: false,
                up: now,
                down: now,
                owners: HashMap::new(),
                skew_ms: 0,
            });
            cluster.start_node(at);
        }
        cluster.run(Duration::from_secs(1));
        cluster
    }

    /// Starts a process in the place of one that is gone.
    pub(crate) fn start_node(&mut self, at: usize) {
        self.started += 1;
        let mut id = [0; 8];
        id[..2].copy_from_slice(&[(self.random.below(250) + 1) as u8, at as u8]);
        id[7] = self.started as u8;
        let mut config = self.config.clone();
        config.bus = Some(BusConfig {
            node: NodeId::new(id),
            ..self.bus.clone()
        });
        let mut seed = [at as u8; 32];
        seed[0] = self.started as u8;
        let node = &mut self.nodes[at];
        node.hub = Some(Hub::new(config, seed));
        node.id = NodeId::new(id);
        node.wanted = BTreeSet::from([Topic::Everybody, Topic::Node(node.id)]);
        node.owners.clear();
        self.link(at);
    }

    /// A process ends without a word.
    pub(crate) fn kill(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        node.hub = None;
        node.topics.clear();
        node.epoch += 1;
        node.linked = false;
        for client in self.clients.iter_mut().filter(|client| client.node == at) {
            client.connection = None;
            client.closed.get_or_insert(CloseCode::Abnormal);
            client.rooms.clear();
        }
    }

    /// The broker has gone; what was under way is lost.
    pub(crate) fn unlink(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        if node.hub.is_none() || !node.linked {
            return;
        }
        node.linked = false;
        node.topics.clear();
        node.epoch += 1;
        self.send_down(at, Report::Lost);
    }

    pub(crate) fn link(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        if node.hub.is_none() || node.linked {
            return;
        }
        node.linked = true;
        for topic in node.wanted.clone() {
            self.send_up(at, Request::Subscribe(topic));
        }
        // The last one: by then all the others are in force. The driver asks in one go, and reports once.
        self.nodes[at].epoch += 1;
        let wanted = self.nodes[at].wanted.clone();
        self.nodes[at].topics = wanted.into_iter().collect();
        self.send_down(at, Report::Connected);
    }

    pub(crate) fn cut(&mut self, one: usize, other: usize) {
        self.cuts.extend([(one, other), (other, one)]);
    }

    pub(crate) fn heal(&mut self) {
        self.cuts.clear();
    }

    pub(crate) fn skew(&mut self, at: usize, ms: i64) {
        self.nodes[at].skew_ms = ms;
    }

    pub(crate) fn is_running(&self, at: usize) -> bool {
        self.nodes[at].hub.is_some()
    }

    pub(crate) fn hub(&self, at: usize) -> &Hub {
        self.nodes[at].hub.as_ref().expect("a running node")
    }

    pub(crate) fn id(&self, at: usize) -> NodeId {
        self.nodes[at].id
    }

    fn delay(&mut self) -> Duration {
        let (least, most) = self.delay_us;
        Duration::from_micros(least + self.random.below(most - least + 1))
    }

    fn travel(&mut self, at: Instant, epoch: u64, what: Travel) {
        self.order += 1;
        self.travels.insert((at, self.order), (epoch, what));
    }

    fn send_up(&mut self, from: usize, what: Request) {
        let at = (self.now + self.delay()).max(self.nodes[from].up);
        self.nodes[from].up = at;
        let epoch = self.nodes[from].epoch;
        self.travel(at, epoch, Travel::ToBroker { from, what });
    }

    fn send_down(&mut self, to: usize, what: Report) {
        let at = (self.now + self.delay()).max(self.nodes[to].down);
        self.nodes[to].down = at;
        let epoch = self.nodes[to].epoch;
        self.travel(at, epoch, Travel::ToNode { to, what });
    }

    /// Hands in bytes as if the bus had brought them.
    pub(crate) fn inject(&mut self, at: usize, topic: Topic, payload: &[u8]) {
        self.with_hub(at, |hub, now| hub.handle_remote(now, topic, payload));
    }

    fn clock(&self, at: usize) -> Now {
        let unix_ms = START_MS + u64::try_from((self.now - self.start).as_millis()).unwrap();
        Now {
            instant: self.now,
            unix_ms: unix_ms.saturating_add_signed(self.nodes[at].skew_ms),
        }
    }

    pub(crate) fn with_hub<T>(&mut self, at: usize, call: impl FnOnce(&mut Hub, Now) -> T) -> T {
        let now = self.clock(at);
        let hub = self.nodes[at].hub.as_mut().expect("a running node");
        let result = call(hub, now);
        let mut outputs = Vec::new();
        while let Some(output) = hub.poll_output() {
            outputs.push(output);
        }
        for output in outputs {
            self.carry_out(at, output);
        }
        result
    }

    fn carry_out(&mut self, at: usize, output: Output) {
        match output {
            Output::Deliver { connection, payload } | Output::DeliverSoon { connection, payload } => {
                let owner = self.nodes[at].owners[&connection];
                let client = &mut self.clients[owner];
                assert_eq!(client.closed, None, "a frame for a closed connection");
                let text = std::str::from_utf8(payload.bytes()).expect("text").to_owned();
                if client.dialect == Dialect::Native {
                    signaling_schema::server_frame(&text);
                }
                // Packets of socket.io are kept as they are.
                let frame: Value = match client.dialect {
                    Dialect::SocketIo => json!(text),
                    _ => serde_json::from_str(&text).unwrap(),
                };
                client.hear(&frame, self.strict);
                client.inbox.push_back(frame);
            }
            Output::RenewIce { .. } | Output::RoomIce { .. } => {}
            Output::CutOff { sid } => self.cut_off.push((at, sid.as_str().to_owned())),
            Output::Close { connection, code } => {
                let owner = self.nodes[at].owners[&connection];
                let client = &mut self.clients[owner];
                assert_eq!(client.closed.replace(code), None, "closed twice");
                client.connection = None;
                client.rooms.clear();
            }
            Output::Publish { topic, payload } => {
                self.published.push((at, topic));
                if self.nodes[at].linked {
                    self.send_up(at, Request::Publish(topic, payload));
                }
            }
            Output::Subscribe { topic } => {
                self.nodes[at].wanted.insert(Topic::Room(topic));
                if self.nodes[at].linked {
                    self.send_up(at, Request::Subscribe(Topic::Room(topic)));
                }
            }
            Output::Unsubscribe { topic } => {
                assert!(
                    self.nodes[at].wanted.remove(&Topic::Room(topic)),
                    "unsubscribed from what it was not subscribed to"
                );
                if self.nodes[at].linked {
                    self.send_up(at, Request::Unsubscribe(Topic::Room(topic)));
                }
            }
        }
    }

    fn arrive(&mut self, travel: Travel) {
        match travel {
            Travel::ToBroker { from, what } => match what {
                Request::Subscribe(topic) => {
                    self.nodes[from].topics.insert(topic);
                    self.send_down(from, Report::Subscribed(topic));
                }
                Request::Unsubscribe(topic) => {
                    self.nodes[from].topics.remove(&topic);
                }
                Request::Publish(topic, payload) => {
                    for to in 0..self.nodes.len() {
                        let hears = self.nodes[to].linked && self.nodes[to].topics.contains(&topic);
                        if !hears || self.cuts.contains(&(from, to)) {
                            continue;
                        }
                        if to != from && self.random.below(1_000) < self.lost_permille {
                            continue;
                        }
                        self.send_down(to, Report::Message(topic, payload.clone()));
                    }
                }
            },
            Travel::ToNode { to, what } => self.with_hub(to, |hub, now| match what {
                Report::Message(topic, payload) => hub.handle_remote(now, topic, &payload),
                Report::Subscribed(Topic::Room(topic)) => hub.subscribed(now, topic),
                Report::Subscribed(_) => {}
                Report::Connected => hub.bus_connected(now),
                Report::Lost => hub.bus_lost(now),
            }),
        }
    }

    fn epoch_of(&self, travel: &Travel) -> Option<u64> {
        let at = match travel {
            Travel::ToBroker { from, .. } => *from,
            Travel::ToNode { to, .. } => *to,
        };
        self.nodes[at].hub.as_ref().map(|_| self.nodes[at].epoch)
    }

    /// Lets time go by, with everything that happens in it.
    pub(crate) fn run(&mut self, span: Duration) {
        let until = self.now + span;
        loop {
            let travel = self.travels.first_key_value().map(|((at, _), _)| *at);
            let timers = self.nodes.iter().enumerate().filter_map(|(at, node)| {
                let due = node.hub.as_ref()?.poll_timeout()?;
                Some((due, at))
            });
            let timer = timers.min();
            let next = [travel, timer.map(|(due, _)| due)].into_iter().flatten().min();
            let Some(next) = next.filter(|next| *next <= until) else {
                self.now = until;
                return;
            };
            self.now = self.now.max(next);
            if travel == Some(next)
                && let Some((_, (epoch, travel))) = self.travels.pop_first()
            {
                if self.epoch_of(&travel) == Some(epoch) {
                    self.arrive(travel);
                }
            } else if let Some((_, at)) = timer {
                self.with_hub(at, |hub, now| hub.handle_timeout(now));
                let due = self.hub(at).poll_timeout();
                assert!(due.is_none_or(|due| due > self.now), "a deadline is overdue");
            }
        }
    }

    /// Long enough for anything to come back over the bus.
    pub(crate) fn settle(&mut self) {
        self.run(Duration::from_millis(20));
    }

    pub(crate) fn connect(&mut self, node: usize, dialect: Dialect) -> ClientId {
        let client = self.clients.len();
        let now = self.clock(node);
        let hub = self.nodes[node].hub.as_mut().expect("a running node");
        let Connected { connection, .. } = hub.connect(now, dialect).unwrap();
        self.clients.push(Client {
            node,
            connection: Some(connection),
            dialect,
            ..Client::default()
        });
        self.nodes[node].owners.insert(connection, client);
        self.with_hub(node, |_, _| {});
        client
    }

    /// Says something as somebody.
    pub(crate) fn say_as(&mut self, client: ClientId, frame: &Value, identity: Identity) {
        let Some(connection) = self.clients[client].connection else {
            return;
        };
        let (node, dialect) = (self.clients[client].node, self.clients[client].dialect);
        let text = frame.as_str().map_or_else(|| frame.to_string(), str::to_owned);
        self.hand_in(node, connection, Frame::text(dialect, &text), identity);
    }

    fn hand_in(&mut self, node: usize, connection: ConnectionId, frame: Frame<'_>, identity: Identity) {
        self.with_hub(node, |hub, now| {
            if let Some(admitted) = hub.try_admit(now, connection, frame) {
                let identity = (admitted.needs() != Needs::Nothing).then_some(Ok(identity));
                hub.handle_request(now, connection, admitted, Grants { identity, ice: None });
            }
        });
    }

    /// A connection of a dialect in which the request that opens it says something.
    pub(crate) fn open(&mut self, node: usize, dialect: Dialect, query: &[(&str, &str)]) -> ClientId {
        self.open_in(node, dialect, None, query)
    }

    pub(crate) fn open_in(
        &mut self,
        node: usize,
        dialect: Dialect,
        room: Option<&str>,
        query: &[(&str, &str)],
    ) -> ClientId {
        let opening = Opening::new(dialect, room, query.iter().copied());
        let client = self.connect(node, dialect);
        if let (Some(frame), Some(connection)) = (Frame::opening(dialect, &opening), self.clients[client].connection) {
            self.hand_in(node, connection, frame, Identity::ANONYMOUS);
        }
        client
    }

    pub(crate) fn say(&mut self, client: ClientId, frame: Value) {
        self.say_as(client, &frame, Identity::ANONYMOUS);
    }

    /// A welcomed client of the native protocol.
    pub(crate) fn peer(&mut self, node: usize, id: &str) -> ClientId {
        self.peer_as(node, id, Identity::ANONYMOUS)
    }

    pub(crate) fn peer_as(&mut self, node: usize, id: &str, identity: Identity) -> ClientId {
        let hello = json!({"t": "hello", "v": [1], "peer": id, "caps": ["resume"]});
        self.greeted(node, &hello, identity)
    }

    pub(crate) fn greeted(&mut self, node: usize, hello: &Value, identity: Identity) -> ClientId {
        let client = self.connect(node, Dialect::Native);
        self.say_as(client, hello, identity);
        let welcome = self.clients[client].inbox.pop_front().expect("a welcome");
        assert_eq!(welcome["t"], "welcome", "{welcome}");
        self.clients[client].peer = welcome["peer"].as_str().unwrap().to_owned();
        self.clients[client].welcome = welcome;
        client
    }

    /// A client in a room, when all have heard of it. What it was told is still to be looked at.
    pub(crate) fn member(&mut self, node: usize, id: &str, room: &str) -> ClientId {
        let client = self.peer(node, id);
        self.say(client, json!({"t": "join", "room": room}));
        self.settle();
        client
    }

    pub(crate) fn drop_socket(&mut self, client: ClientId, code: CloseCode) {
        let Some(connection) = self.clients[client].connection.take() else {
            return;
        };
        let node = self.clients[client].node;
        self.clients[client].closed = Some(code);
        self.clients[client].rooms.clear();
        self.with_hub(node, |hub, now| hub.disconnect(now, connection, code));
    }

    /// Everything that a client has been told and not yet looked at.
    pub(crate) fn all(&mut self, client: ClientId) -> Vec<Value> {
        self.clients[client].inbox.drain(..).collect()
    }

    /// The same, of one type.
    pub(crate) fn told(&mut self, client: ClientId, kind: &str) -> Vec<Value> {
        let all = self.all(client);
        all.into_iter().filter(|frame| frame["t"] == kind).collect()
    }

    /// What clients and nodes must agree on once everything has come to rest: who is in which room.
    pub(crate) fn check_agreement(&self) {
        let mut truth: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for client in self.clients.iter().filter(|client| client.connection.is_some()) {
            for room in client.rooms.keys() {
                let fresh = truth.entry(room).or_default().insert(&client.peer);
                assert!(fresh, "two members of {room} are {}", client.peer);
            }
        }
        for (at, client) in self
            .clients
            .iter()
            .enumerate()
            .filter(|(_, client)| client.connection.is_some())
        {
            for (room, others) in &client.rooms {
                let mut known: BTreeSet<&str> = others.iter().map(String::as_str).collect();
                known.insert(&client.peer);
                assert_eq!(
                    known, truth[&**room],
                    "client {at} ({}) on node {} in {room}",
                    client.peer, client.node
                );
            }
        }
        for node in self.nodes.iter().filter_map(|node| node.hub.as_ref()) {
            for room in node.rooms(usize::MAX, usize::MAX) {
                let listed: BTreeSet<&str> = room.peers.iter().map(|peer| &**peer).collect();
                assert_eq!(Some(&listed), truth.get(&*room.name), "a node's list of {}", room.name);
            }
            let stats = node.stats();
            assert_eq!(stats.messages.total(), stats.accepted + stats.refused.total());
            assert_eq!(stats.bus.waiting, 0, "somebody waits for ever");
        }
    }
}

impl Client {
    /// Takes in a frame of the native protocol.
    fn hear(&mut self, frame: &Value, strict: bool) {
        if self.dialect != Dialect::Native {
            return;
        }
        let text = |key: &str| frame[key].as_str().unwrap_or_default().to_owned();
        let room = text("room");
        match frame["t"].as_str().unwrap() {
            "joined" => {
                let peers = frame["peers"].as_array().unwrap().iter();
                let peers = peers.map(|peer| peer["peer"].as_str().unwrap().to_owned()).collect();
                self.rooms.insert(room, peers);
            }
            "peer" => {
                let peer = text("peer");
                let Some(others) = self.rooms.get_mut(&room) else {
                    panic!("an event of a room before it was joined: {frame}");
                };
                match frame["ev"].as_str().unwrap() {
                    "join" => assert!(others.insert(peer), "joined twice: {frame}"),
                    "leave" => {
                        self.heard.retain(|(from, _), _| *from != peer);
                        assert!(others.remove(&peer), "left without having been there: {frame}");
                    }
                    _ => assert!(others.contains(&peer), "of a stranger: {frame}"),
                }
            }
            kind @ ("msg" | "sig") => {
                let from = text("from");
                let others = self.rooms.get(&room).expect("a room it is in");
                let is_known = others.contains(&from) || from == SERVER;
                assert!(is_known, "a word of a stranger: {frame}");
                if let Some(number) = frame["data"].as_u64() {
                    let last = self.heard.entry((from, format!("{kind} {room}"))).or_default();
                    assert!(*last < number, "twice or out of order: {frame}");
                    assert!(!strict || number == *last + 1 || *last == 0, "a gap: {frame}");
                    *last = number;
                }
            }
            _ => {}
        }
    }

    /// It has left a room of its own will.
    pub(crate) fn leaves(&mut self, room: &str) {
        self.rooms.remove(room);
        self.heard.retain(|(_, place), _| !place.ends_with(room));
    }
}
