//! Several hubs on one bus whose messages are delivered, lost, kept back, broken and made up, with clients of all dialects.
//!
//! One input is either honest (messages get lost and come late, nothing else) or not. Who cannot be trusted can put anything into
//! a room; it cannot make a hub panic, grow, wait for ever, or keep the nodes apart once it is gone and lists are asked for again.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use meetpoint::signaling::{
    BusConfig, CloseCode, Config, ConnectionId, Dialect, Frame, Grants, Hub, Ice, Identity, Needs, NodeId, Now, Opening, Output,
    RoomTopic, Topic,
};

use super::dialect_ops::{Input, SAID, mark};

const NODES: usize = 3;
const NAMES: [&str; 4] = ["a", "b", "c", "B"];
const ROOMS: [&str; 2] = ["r", "edge-net"];
const CONNECTIONS: usize = 6;
const HELD: usize = 4;
const OTHERS: usize = 5;
const MIRRORED: usize = 200;
const MOST_ROOMS: usize = 12;
/// What one call may put out.
const MOST_OUTPUTS: usize = 2_000;
/// What there may be to deliver until all is said.
const MOST_MESSAGES: usize = 50_000;

enum Report {
    Message(Topic, Vec<u8>),
    Subscribed(RoomTopic),
}

struct Node {
    hub: Hub,
    id: NodeId,
    linked: bool,
    topics: BTreeSet<Topic>,
    /// What the bus has for it, in order.
    queue: VecDeque<Report>,
}

struct Client {
    node: usize,
    connection: ConnectionId,
    dialect: Dialect,
    open: bool,
    heard: bool,
    spoken: usize,
    /// The newest that it has of each sender.
    newest: BTreeMap<usize, u64>,
}

struct World {
    nodes: Vec<Node>,
    clients: Vec<Client>,
    by_id: BTreeMap<(usize, ConnectionId), usize>,
    now: Now,
    favourite: Dialect,
    honest: bool,
    /// Of 256 messages.
    lost: u64,
    random: u64,
    said: u64,
    /// The last things that were published.
    published: VecDeque<(Topic, Vec<u8>)>,
    rooms: Vec<RoomTopic>,
}

pub(crate) fn run(data: &[u8]) {
    let mut input = Input(data);
    let now = Now { instant: Instant::now(), unix_ms: 1_700_000_000_000 };
    let first = input.byte();
    let mut world = World {
        nodes: (0..NODES).map(|at| node(at as u8)).collect(),
        clients: Vec::new(),
        by_id: BTreeMap::new(),
        now,
        favourite: Dialect::ALL[first / 2 % Dialect::ALL.len()],
        honest: first & 1 == 0,
        lost: 0,
        random: 0x9E37_79B9_7F4A_7C15 ^ data.len() as u64,
        said: 0,
        published: VecDeque::new(),
        rooms: Vec::new(),
    };
    for at in 0..NODES {
        world.link(at);
    }
    world.advance(400);
    world.pump();
    while !input.0.is_empty() {
        world.operate(&mut input);
        world.check_bounds();
    }
    world.come_to_rest();
}

fn node(at: u8) -> Node {
    let id = NodeId::new([b'n', b'o', b'd', b'e', at, 0, 0, 1]);
    let bus = BusConfig { nodes: OTHERS, mirrored: MIRRORED, held: HELD, held_frames: 4, held_bytes: 2_000, ..BusConfig::new(id) };
    let config = Config {
        bus: Some(bus),
        connections: CONNECTIONS,
        rooms: MOST_ROOMS,
        rooms_per_connection: 3,
        message_burst: 200,
        resume_frames: 8,
        away_sessions: 2,
        resume_grace: Duration::from_secs(5),
        ..Config::default()
    };
    let topics = BTreeSet::from([Topic::Everybody, Topic::Node(id)]);
    Node { hub: Hub::new(config, [at + 1; 32]), id, linked: false, topics, queue: VecDeque::new() }
}

impl World {
    fn operate(&mut self, input: &mut Input<'_>) {
        let open: Vec<usize> = (0..self.clients.len()).filter(|at| self.clients[*at].open).collect();
        let (operation, who) = (input.byte(), input.byte());
        let node = who % NODES;
        match operation {
            0..28 => self.open(node, input),
            28..36 => {
                if let Some(&at) = open.get(who % open.len().max(1)) {
                    let code = CloseCode::ALL[input.byte() % CloseCode::ALL.len()];
                    self.clients[at].open = false;
                    let (node, connection) = (self.clients[at].node, self.clients[at].connection);
                    self.with_hub(node, |hub, now| hub.disconnect(now, connection, code));
                }
            }
            36..52 => self.advance(input.byte() as u64 * 8),
            52..56 => self.lost = [0, 16, 128][input.byte() % 3],
            56..60 => match self.nodes[node].linked {
                true => self.unlink(node),
                false => self.link(node),
            },
            60..100 => self.deliver_some(node, input.byte() % 16),
            100..120 => self.pump(),
            120..180 if !self.honest => self.inject(node, input),
            _ => match open.get(who % open.len().max(1)) {
                Some(&at) => self.speak(at, input),
                None => self.open(node, input),
            },
        }
    }

    fn open(&mut self, node: usize, input: &mut Input<'_>) {
        let asked = match input.byte() {
            choice if choice & 3 != 0 => self.favourite,
            choice => Dialect::ALL[choice / 4 % Dialect::ALL.len()],
        };
        let id = NAMES[input.byte() % NAMES.len()];
        let query = [("key", "peerjs"), ("id", id), ("token", "t"), ("EIO", "4")];
        let opening = Opening::new(asked, Some(ROOMS[0]), query);
        let Ok(connected) = self.nodes[node].hub.connect(self.now, asked) else { return };
        let connection = connected.connection;
        let at = self.clients.len();
        assert!(self.by_id.insert((node, connection), at).is_none(), "a connection id came twice");
        let newest = BTreeMap::new();
        self.clients.push(Client { node, connection, dialect: asked, open: true, heard: false, spoken: 0, newest });
        self.with_hub(node, |_, _| {});
        if let Some(frame) = Frame::opening(asked, &opening) {
            self.hear(at, frame);
        }
    }

    fn speak(&mut self, at: usize, input: &mut Input<'_>) {
        self.said += 1;
        let client = &mut self.clients[at];
        let spoken = client.spoken;
        client.spoken += 1;
        let words = SAID.iter().find(|(known, _)| *known == client.dialect).map_or(SAID[0].1, |(_, words)| words);
        let word = match input.byte() {
            choice if choice % 4 != 0 && spoken < 2 => words[spoken % words.len()],
            choice => words[choice / 4 % words.len()],
        };
        let choice = input.byte();
        let (me, to) = (NAMES[at % NAMES.len()], NAMES[choice % NAMES.len()]);
        let room = ROOMS[usize::from(choice > 224)];
        let mark = format!("@{at}.{}@", self.said);
        let text = word.replace("$me", me).replace("$to", to).replace("$room", room).replace("$mark", &mark);
        let client = &mut self.clients[at];
        let frame = match client.heard {
            true => Frame::text_after_silence(client.dialect, &text),
            false => Frame::text(client.dialect, &text),
        };
        client.dialect = frame.dialect();
        self.hear(at, frame);
    }

    fn hear(&mut self, at: usize, frame: Frame<'_>) {
        let (node, connection) = (self.clients[at].node, self.clients[at].connection);
        let user = at.is_multiple_of(3).then(|| "u".into());
        self.with_hub(node, |hub, now| {
            if let Some(admitted) = hub.try_admit(now, connection, frame) {
                let ice = Ice { servers: "[]", expires_at_ms: now.unix_ms + 1_000_000, policy: None, relay: None };
                let identity = (admitted.needs() != Needs::Nothing).then_some(Ok(Identity { user, ..Identity::ANONYMOUS }));
                hub.handle_request(now, connection, admitted, Grants { identity, ice: Some(ice) });
            }
        });
    }

    /// Lets a node do something, and carries out what comes of it.
    fn with_hub(&mut self, at: usize, call: impl FnOnce(&mut Hub, Now)) {
        call(&mut self.nodes[at].hub, self.now);
        let mut outputs = 0;
        while let Some(output) = self.nodes[at].hub.poll_output() {
            outputs += 1;
            match output {
                Output::RenewIce { .. } | Output::RoomIce { .. } | Output::CutOff { .. } => {}
                Output::Close { connection, .. } => {
                    let client = &mut self.clients[self.by_id[&(at, connection)]];
                    assert!(std::mem::replace(&mut client.open, false), "closed twice");
                }
                Output::Deliver { connection, payload } | Output::DeliverSoon { connection, payload } => {
                    self.told(self.by_id[&(at, connection)], payload.bytes());
                }
                Output::Publish { topic, payload } => self.publish(at, topic, &payload),
                Output::Subscribe { topic } => {
                    assert!(self.nodes[at].topics.insert(Topic::Room(topic)), "subscribed twice");
                    if !self.rooms.contains(&topic) {
                        self.rooms.push(topic);
                    }
                    if self.nodes[at].linked {
                        self.nodes[at].queue.push_back(Report::Subscribed(topic));
                    }
                }
                Output::Unsubscribe { topic } => {
                    assert!(self.nodes[at].topics.remove(&Topic::Room(topic)), "unsubscribed from nothing");
                }
            }
        }
        assert!(outputs <= MOST_OUTPUTS, "{outputs} outputs of one call");
    }

    fn told(&mut self, to: usize, bytes: &[u8]) {
        let text = std::str::from_utf8(bytes).expect("text is UTF-8");
        assert!(self.clients[to].open, "a frame after the close");
        let dialect = self.clients[to].dialect;
        self.clients[to].heard = true;
        let Some((from, said)) = mark(text) else { return };
        if self.honest {
            assert_eq!(self.clients[from].dialect, dialect, "two dialects met: {text}");
            let newest = self.clients[to].newest.insert(from, said);
            assert!(newest.is_none_or(|newest| newest < said), "out of order, or twice: {text}");
        }
    }

    fn publish(&mut self, from: usize, topic: Topic, payload: &[u8]) {
        assert!(self.nodes[from].linked, "published without a bus");
        self.published.push_back((topic, payload.to_vec()));
        if self.published.len() > 24 {
            self.published.pop_front();
        }
        for to in 0..NODES {
            self.random ^= self.random << 13;
            self.random ^= self.random >> 7;
            self.random ^= self.random << 17;
            let is_lost = to != from && (self.random >> 32) % 256 < self.lost;
            let node = &mut self.nodes[to];
            if node.linked && node.topics.contains(&topic) && !is_lost {
                node.queue.push_back(Report::Message(topic, payload.to_vec()));
            }
        }
    }

    fn deliver_some(&mut self, at: usize, most: usize) {
        for _ in 0..most {
            let Some(report) = self.nodes[at].queue.pop_front() else { return };
            self.with_hub(at, |hub, now| match report {
                Report::Message(topic, payload) => hub.handle_remote(now, topic, &payload),
                Report::Subscribed(topic) => hub.subscribed(now, topic),
            });
        }
    }

    /// Delivers until there is nothing to deliver.
    fn pump(&mut self) {
        let mut delivered = 0;
        while let Some(at) = (0..NODES).find(|at| !self.nodes[*at].queue.is_empty()) {
            self.deliver_some(at, 1);
            delivered += 1;
            assert!(delivered < MOST_MESSAGES, "nodes that never stop talking");
        }
    }

    fn advance(&mut self, millis: u64) {
        self.now.instant += Duration::from_millis(millis);
        self.now.unix_ms += millis;
        for at in 0..NODES {
            self.with_hub(at, |hub, now| hub.handle_timeout(now));
            let due = self.nodes[at].hub.poll_timeout();
            assert!(due.is_none_or(|due| due > self.now.instant), "a deadline is overdue");
        }
    }

    fn link(&mut self, at: usize) {
        self.nodes[at].linked = true;
        self.with_hub(at, |hub, now| hub.bus_connected(now));
    }

    fn unlink(&mut self, at: usize) {
        self.nodes[at].linked = false;
        self.nodes[at].queue.clear();
        self.with_hub(at, |hub, now| hub.bus_lost(now));
    }

    /// Something that no node said, or not so.
    fn inject(&mut self, at: usize, input: &mut Input<'_>) {
        let choice = input.byte();
        let known = choice / 2 % self.published.len().max(1);
        let (topic, mut bytes) = match self.published.get(known) {
            Some((topic, bytes)) if choice & 1 == 0 => (*topic, bytes.clone()),
            _ => (Topic::Node(self.nodes[at].id), self.made_up(input)),
        };
        for _ in 0..input.byte() % 4 {
            self.mutate(&mut bytes, input);
        }
        let topic = match input.byte() % 8 {
            0 => Topic::Everybody,
            1 => Topic::Node(NodeId::new([9; 8])),
            2 => self.room(input).map_or(topic, Topic::Room),
            _ => topic,
        };
        self.with_hub(at, |hub, now| hub.handle_remote(now, topic, &bytes));
    }

    fn room(&self, input: &mut Input<'_>) -> Option<RoomTopic> {
        self.rooms.get(input.byte() % self.rooms.len().max(1)).copied()
    }

    /// A node that is there, or one that never was.
    fn someone(&self, input: &mut Input<'_>) -> [u8; 8] {
        let choice = input.byte();
        match self.nodes.get(choice % 5) {
            Some(node) => *node.id.as_bytes(),
            None => [choice as u8; 8],
        }
    }

    fn mutate(&self, bytes: &mut Vec<u8>, input: &mut Input<'_>) {
        let (kind, at) = (input.byte() % 8, input.byte() % bytes.len().max(1));
        let put = |bytes: &mut Vec<u8>, at: usize, with: &[u8]| {
            if let Some(place) = bytes.get_mut(at..at + with.len()) {
                place.copy_from_slice(with);
            }
        };
        match kind {
            0 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << (input.byte() % 8);
                }
            }
            1 => bytes.truncate(at),
            2 => {
                if let Some((_, other)) = self.published.get(input.byte() % self.published.len().max(1)) {
                    bytes.truncate(at);
                    bytes.extend(other.iter().skip(at));
                }
            }
            3 => put(bytes, at, &[0xFF; 4]),
            4 => put(bytes, 0, &[input.byte() as u8]),
            5 => put(bytes, 2, &self.someone(input)),
            6 => {
                if let Some(room) = self.room(input) {
                    put(bytes, 10, room.as_bytes());
                }
            }
            _ => put(bytes, 26, &[u64::MAX, 0, 1, u64::MAX / 2][input.byte() % 4].to_be_bytes()),
        }
    }

    /// A message by the book that nobody published.
    fn made_up(&self, input: &mut Input<'_>) -> Vec<u8> {
        const KINDS: [u8; 9] = [0, 3, 4, 5, 7, 8, 9, 10, 13];
        let kind = KINDS[input.byte() % KINDS.len()];
        let mut made = Made(vec![1, kind]);
        made.0.extend(self.someone(input));
        let room = self.room(input).map_or([7; 16], |room| *room.as_bytes());
        let (name, count) = (NAMES[input.byte() % NAMES.len()], input.byte());
        let number = [u64::MAX, 1, 1_700_000_000_001, u64::from(count as u8)][input.byte() % 4];
        match kind {
            0 => {
                made.0.push(count as u8 & 1);
                (0..4).for_each(|_| made.number(number));
            }
            4 => {
                made.count(count * 40);
                (0..count * 40).for_each(|_| made.0.extend(room));
            }
            _ => made.0.extend(room),
        }
        match kind {
            3 => {
                made.number(number);
                made.number(u64::from(count & 1 == 1));
                made.0.extend([u8::from(count & 2 == 0), 0]);
                made.number(number);
                made.text(r#"{"x":1}"#);
                made.count(count);
                for at in 0..count {
                    made.claim(&format!("{name}{}", at / 2), number);
                }
            }
            5 => made.claim(name, number),
            7 => {
                made.number(number);
                made.0.extend([0, 0xFF, 0xFF, 0xFF, 0xFF]);
                made.claim(name, number);
            }
            8 => {
                made.number(number);
                made.text(name);
                made.number(number);
                made.text("a \"reason\"");
            }
            9 => {
                made.number(number);
                made.text(name);
                made.0.push(count as u8 % 3);
            }
            10 => {
                made.number(number);
                made.text("\"by\"");
                made.0.push(0);
                made.text(r#"{"k":1}"#);
                made.count(0);
            }
            13 => {
                made.number(number);
                made.text(name);
                made.count(count * 20);
                (0..count * 20).for_each(|at| made.text(NAMES[at % 2]));
                made.0.push(0);
                made.text("\"kind\"");
                made.0.extend([0, 0]);
            }
            _ => {}
        }
        made.0
    }

    fn check_bounds(&self) {
        for node in &self.nodes {
            let stats = node.hub.stats();
            assert!(stats.bus.nodes <= OTHERS as u64 && stats.bus.mirrored <= MIRRORED as u64, "{:?}", stats.bus);
            assert!(stats.bus.waiting <= HELD as u64 && stats.rooms <= MOST_ROOMS as u64);
            assert_eq!(stats.connects, stats.connections + stats.closes.total());
            assert_eq!(stats.joins, stats.leaves + stats.memberships);
            let rooms = node.hub.rooms(usize::MAX, usize::MAX);
            assert_eq!(
                rooms.iter().map(|room| room.members as u64).sum::<u64>(),
                stats.memberships + stats.bus.mirrored
            );
            for room in rooms {
                let ids: BTreeSet<_> = room.peers.iter().collect();
                assert_eq!(ids.len(), room.peers.len(), "an id twice in a room");
            }
        }
    }

    /// Nobody waits for a bus that is silent; and when it is whole again and lists are asked for, all nodes agree.
    fn come_to_rest(&mut self) {
        for _ in 0..8 {
            self.advance(400);
        }
        for node in &self.nodes {
            let stats = node.hub.stats();
            assert_eq!(stats.bus.waiting, 0, "somebody waits for ever");
            assert_eq!(stats.messages.total(), stats.accepted + stats.refused.total());
        }
        self.lost = 0;
        (0..NODES).for_each(|at| self.unlink(at));
        (0..NODES).for_each(|at| self.link(at));
        for _ in 0..60 {
            self.pump();
            self.advance(500);
        }
        self.pump();
        self.check_bounds();
        let mut lists: BTreeMap<_, BTreeSet<Box<str>>> = BTreeMap::new();
        for node in &self.nodes {
            for room in node.hub.rooms(usize::MAX, usize::MAX) {
                let listed: BTreeSet<Box<str>> = room.peers.iter().map(|peer| (**peer).into()).collect();
                let name = (format!("{:?}", room.realm), room.name.to_string());
                let first = lists.entry(name).or_insert_with(|| listed.clone());
                assert_eq!(*first, listed, "the list of {} on {}, honest {}", room.name, node.id, self.honest);
            }
        }
    }
}

/// Bytes of a message.
struct Made(Vec<u8>);

impl Made {
    fn number(&mut self, number: u64) {
        self.0.extend(number.to_be_bytes());
    }

    fn count(&mut self, count: usize) {
        self.0.extend((count as u32).to_be_bytes());
    }

    fn text(&mut self, text: &str) {
        self.count(text.len());
        self.0.extend(text.as_bytes());
    }

    fn claim(&mut self, peer: &str, since_ms: u64) {
        self.text(peer);
        self.number(since_ms);
        // Here, by the first rule, of nobody, a session, nobody to oust, no proof.
        self.0.extend([0, 0, 0]);
        self.0.extend([3; 16]);
        self.0.extend([0, 0]);
        self.text("{}");
    }
}
