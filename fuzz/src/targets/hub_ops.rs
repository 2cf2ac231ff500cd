//! Sequences of operations on `meetpoint::signaling::Hub` by a handful of clients, each of which believes only what it is
//! told. In the end every client's picture of its rooms must be the truth, and every number must balance.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use meetpoint::signaling::{
    AuthError, CloseCode, Config, ConnectionId, Dialect, Frame, Grants, Hub, Ice, Identity, Now, Output,
    Payload,
};
use serde_json::Value;

const ROOMS: [&str; 3] = ["r", "s", "räume"];
const PEERS: [&str; 5] = ["a", "b", "c", "d", "e"];

/// What a client has been told.
#[derive(Default, Clone)]
struct Client {
    closed: bool,
    /// `peer`, `sid` and `key` of its welcome.
    welcome: Option<[String; 3]>,
    /// By room: who is there, and where the list goes on.
    rooms: BTreeMap<String, Picture>,
    last_seq: u64,
    /// The session that its hello asked to go on with.
    resumes: Option<String>,
    /// Its hello said that it reads binary frames.
    binary: bool,
}

#[derive(Default, Clone)]
struct Picture {
    peers: BTreeMap<String, Value>,
    more: Option<String>,
}

struct World {
    hub: Hub,
    now: Now,
    clients: BTreeMap<ConnectionId, Client>,
    /// Clients whose socket is gone, by their `sid`: what they know if they come back.
    parked: BTreeMap<String, Client>,
}

/// The input, eaten from the front; zeros when it is used up.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn pick<'b, T: ?Sized>(&mut self, from: &[&'b T]) -> &'b T {
        from[usize::from(self.byte()) % from.len()]
    }

    fn text(&mut self) -> String {
        let length = usize::from(self.byte()).min(self.0.len());
        let (text, rest) = self.0.split_at(length);
        self.0 = rest;
        String::from_utf8_lossy(text).into_owned()
    }
}

pub(crate) fn run(data: &[u8]) {
    let config = Config {
        connections: 6,
        rooms: 2,
        peers_per_room: 4,
        rooms_per_connection: 2,
        page_peers: 1,
        meta_keys: 2,
        meta_bytes: 20,
        messages_per_second: 50,
        message_burst: 100,
        rate_patience: 5,
        relay_byte_burst: 60,
        relay_bytes_per_second: 100,
        resume_frames: 6,
        away_sessions: 2,
        resume_grace: Duration::from_secs(10),
        ..Config::default()
    };
    let now = Now { instant: Instant::now(), unix_ms: 1_700_000_000_000 };
    let mut world = World { hub: Hub::new(config, [3; 32]), now, clients: BTreeMap::new(), parked: BTreeMap::new() };
    let mut input = Input(data);
    while !input.0.is_empty() {
        world.operate(&mut input);
        world.balance();
    }
    world.read_to_the_end();
    world.compare();
}

impl World {
    fn operate(&mut self, input: &mut Input<'_>) {
        let operation = input.byte();
        let open: Vec<ConnectionId> =
            self.clients.iter().filter(|(_, client)| !client.closed).map(|(connection, _)| *connection).collect();
        // Now and then one that is gone already: nothing may come of it.
        let everybody: Vec<ConnectionId> = self.clients.keys().copied().collect();
        let pool = if operation & 0x80 == 0 { &open } else { &everybody };
        let chosen = usize::from(input.byte());
        let Some(&connection) = pool.get(chosen % pool.len().max(1)) else { return self.connect() };
        let room = input.pick(&ROOMS);
        let peer = input.pick(&PEERS);
        match operation & 0x7F {
            0..8 => self.connect(),
            8..28 => self.hello(connection, peer, input),
            28..52 => {
                let extra = input.pick(&["", r#","key":"k""#, r#","max":2"#, r#","create":false"#, r#","meta":{"m":1}"#]);
                self.say(connection, &format!(r#"{{"t":"join","id":1,"room":"{room}"{extra}}}"#));
            }
            52..62 => {
                if self.succeeds(|world| world.say(connection, &format!(r#"{{"t":"leave","room":"{room}"}}"#))) {
                    self.forget(connection, |name| name == room);
                }
            }
            62..70 => {
                let value = input.byte();
                let frame = format!(r#"{{"t":"meta","room":"{room}","set":{{"m":{value}}},"del":["x"]}}"#);
                self.say(connection, &frame);
            }
            70..78 => self.say(connection, &format!(r#"{{"t":"sig","room":"{room}","to":"{peer}","kind":"end"}}"#)),
            78..86 => self.say(connection, &format!(r#"{{"t":"send","room":"{room}","data":"0123456789"}}"#)),
            86..94 => self.next_page(connection, room),
            94..100 => {
                let text = input.text();
                self.say(connection, &text);
            }
            100..104 => self.say(connection, r#"{"t":"bye","id":1}"#),
            104..110 => {
                let code = CloseCode::ALL[usize::from(input.byte()) % CloseCode::ALL.len()];
                self.hub.disconnect(self.now, connection, code);
                let gone = self.clients.remove(&connection);
                // Those that were closed have been parked then.
                self.park(gone.filter(|gone| !gone.closed));
                self.collect();
            }
            110..114 => self.say(connection, &format!(r#"{{"t":"room","room":"{room}","set":{{"x":1}}}}"#)),
            114..118 => {
                let rooms: Option<Box<[Box<str>]>> = (input.byte() & 1 == 0).then(|| [Box::from("r")].into());
                let narrow = rooms.is_some();
                let identity = Identity { user: Some(Box::from("u")), rooms, ..Identity::ANONYMOUS };
                let auth = r#"{"t":"auth","token":"t"}"#;
                if self.succeeds(|world| world.with_identity(connection, auth, Ok(identity))) && narrow {
                    self.forget(connection, |name| name != "r");
                }
            }
            118..124 => {
                // Mostly a frame that is one, now and then with a head that lies.
                let head = input.pick(&["\u{1}\0", "\u{1}\0", "\u{1}\0", "\u{2}\0", "\u{1}\u{1}"]);
                let to = input.pick(&["", r#","to":"a""#, r#","to":["a","b"],"rel":true"#, r#","rel":true"#]);
                let header = match input.byte() % 4 {
                    0 => input.text(),
                    _ => format!(r#"{{"id":7,"room":"{room}"{to}}}"#),
                };
                let lie = usize::from(input.byte()).saturating_sub(250);
                let length = u16::try_from(header.len() + lie).unwrap_or(u16::MAX).to_be_bytes();
                let payload = input.text();
                let frame = [head.as_bytes(), &length, header.as_bytes(), payload.as_bytes()].concat();
                self.hub.handle_frame(self.now, connection, Frame::binary(Dialect::Native, &frame));
                self.collect();
            }
            124 => {
                let _ = self.hub.kick(self.now, Dialect::Native.realm(), room, peer, None);
                self.collect();
            }
            125 => {
                let _ = self.hub.close_room(self.now, Dialect::Native.realm(), room, Some("over"));
                self.collect();
            }
            _ => self.advance(u64::from(input.byte()) * 50),
        }
    }

    fn connect(&mut self) {
        if let Ok(connected) = self.hub.connect(self.now, Dialect::Native) {
            let known = self.clients.insert(connected.connection, Client::default());
            assert!(known.is_none(), "a connection id came twice");
        }
    }

    fn hello(&mut self, connection: ConnectionId, peer: &str, input: &mut Input<'_>) {
        let known: Vec<&Client> =
            self.parked.values().chain(self.clients.values().filter(|client| !client.closed)).collect();
        let known: Vec<&Client> = known.into_iter().filter(|client| client.welcome.is_some()).collect();
        let how = input.byte();
        let older = known.get(usize::from(how) % known.len().max(1)).filter(|_| how & 1 == 0);
        let older = older.and_then(|older| Some((older.welcome.clone()?, older.last_seq)));
        let resume = match &older {
            Some(([_, sid, key], seq)) => format!(r#","resume":{{"sid":"{sid}","key":"{key}","seq":{seq}}}"#),
            _ => String::new(),
        };
        if let Some(client) = self.clients.get_mut(&connection) {
            client.resumes = older.as_ref().map(|([_, sid, _], _)| sid.clone());
            client.binary |= how & 64 == 0;
        }
        // A client that comes back leaves the choice of its name to its session, now and then.
        let peer = match older {
            Some(([own, ..], _)) if how & 32 == 0 => own,
            _ => peer.to_owned(),
        };
        let caps = match (how & 16, how & 64) {
            (0, 0) => r#","caps":["resume","bin"]"#,
            (0, _) => r#","caps":["resume"]"#,
            (_, 0) => r#","caps":["bin"]"#,
            _ => "",
        };
        let user = (how & 2 == 0).then(|| Box::from("u"));
        let expires_at_ms = (how & 12 == 0).then_some(self.now.unix_ms + 3_000);
        let identity = Identity { user, expires_at_ms, ..Identity::ANONYMOUS };
        let verdict = if how == 0xFF { Err(AuthError::Invalid) } else { Ok(identity) };
        let hello = format!(r#"{{"t":"hello","v":[1],"peer":"{peer}"{caps}{resume}}}"#);
        self.with_identity(connection, &hello, verdict);
    }

    fn with_identity(&mut self, connection: ConnectionId, text: &str, identity: Result<Identity, AuthError>) {
        if let Some(admitted) = self.hub.try_admit(self.now, connection, Frame::text(Dialect::Native, text)) {
            let ice = Ice { servers: "[]", expires_at_ms: self.now.unix_ms + 10_000, policy: None, relay: Some(1) };
            let grants = Grants { identity: Some(identity), ice: Some(ice) };
            self.hub.handle_request(self.now, connection, admitted, grants);
        }
        self.collect();
    }

    fn say(&mut self, connection: ConnectionId, text: &str) {
        self.hub.handle_frame(self.now, connection, Frame::text(Dialect::Native, text));
        self.collect();
    }

    /// Whether the hub carried out what `call` says; by its numbers, since the answer may have no number.
    fn succeeds(&mut self, call: impl FnOnce(&mut Self)) -> bool {
        let before = self.hub.stats().accepted;
        call(self);
        self.hub.stats().accepted > before
    }

    /// The client has left these rooms and is told of them no more.
    fn forget(&mut self, connection: ConnectionId, which: impl Fn(&str) -> bool) {
        if let Some(client) = self.clients.get_mut(&connection) {
            client.rooms.retain(|room, _| !which(room));
        }
    }

    fn next_page(&mut self, connection: ConnectionId, room: &str) {
        let picture = self.clients.get(&connection).and_then(|client| client.rooms.get(room));
        if let Some(more) = picture.and_then(|picture| picture.more.clone()) {
            self.say(connection, &format!(r#"{{"t":"who","id":2,"room":"{room}","after":"{more}"}}"#));
        }
    }

    fn advance(&mut self, millis: u64) {
        self.now.instant += Duration::from_millis(millis);
        self.now.unix_ms += millis;
        self.hub.handle_timeout(self.now);
        assert!(self.hub.poll_timeout().is_none_or(|at| at > self.now.instant), "a deadline is overdue");
        self.collect();
    }

    fn collect(&mut self) {
        while let Some(output) = self.hub.poll_output() {
            match output {
                Output::RenewIce { connection } => {
                    let expires_at_ms = self.now.unix_ms + 10_000;
                    self.hub.push_ice(self.now, connection, Ice { servers: "[]", expires_at_ms, policy: None, relay: None });
                }
                Output::RoomIce { connection } => {
                    let ice = Ice { servers: "[]", expires_at_ms: self.now.unix_ms + 10_000, policy: None, relay: Some(2) };
                    let _ = self.hub.room_ice(self.now, connection, ice);
                }
                Output::Close { connection, .. } => {
                    let client = self.clients.get_mut(&connection).expect("a close for nobody");
                    assert!(!std::mem::replace(&mut client.closed, true), "closed twice");
                    let known = client.clone();
                    self.park(Some(known));
                }
                Output::Publish { .. } | Output::Subscribe { .. } | Output::Unsubscribe { .. } | Output::CutOff { .. } => {
                    unreachable!("a hub without a bus speaks to other replicas")
                }
                Output::Deliver { connection, payload } | Output::DeliverSoon { connection, payload } => {
                    let client = self.clients.get_mut(&connection).expect("a frame for nobody");
                    assert!(!client.closed, "a frame after the close");
                    let frame: Value = match &payload {
                        Payload::Text(text) => serde_json::from_slice(text).expect("a frame is JSON"),
                        Payload::Binary(frame) => {
                            assert!(client.binary, "a binary frame for who reads none");
                            let length = usize::from(u16::from_be_bytes([frame[2], frame[3]]));
                            let mut header: Value = serde_json::from_slice(&frame[4..4 + length]).expect("a header");
                            header["t"] = Value::from("msg");
                            header
                        }
                    };
                    if frame["resumed"] == true {
                        let session = client.resumes.take().expect("resumed what it did not ask for");
                        let known = self.parked.remove(&session).expect("resumed a session that was not parted with");
                        (client.rooms, client.last_seq) = (known.rooms, known.last_seq);
                    }
                    client.hear(&frame);
                }
            }
        }
    }

    /// Remembers what a client knew whose socket is gone.
    fn park(&mut self, client: Option<Client>) {
        if let Some(client) = client
            && let Some([_, sid, _]) = &client.welcome
        {
            self.parked.insert(sid.clone(), client);
        }
    }

    fn balance(&self) {
        let stats = self.hub.stats();
        assert_eq!(stats.messages.total(), stats.accepted + stats.refused.total());
        assert_eq!(stats.connects, stats.connections + stats.closes.total());
        assert_eq!(stats.joins, stats.leaves + stats.memberships);
        let open = self.clients.values().filter(|client| !client.closed);
        assert_eq!(stats.connections, open.clone().count() as u64);
        assert_eq!(stats.peers, open.filter(|client| client.welcome.is_some()).count() as u64 + stats.away);
        assert!(stats.away <= 2, "more wait than may");
    }

    /// Lets every client read its lists to the end, with time in between for the rate limit.
    fn read_to_the_end(&mut self) {
        for _ in 0..64 {
            let waiting: Vec<(ConnectionId, String)> = self
                .clients
                .iter()
                .filter(|(_, client)| !client.closed)
                .flat_map(|(connection, client)| {
                    let unread = client.rooms.iter().filter(|(_, picture)| picture.more.is_some());
                    unread.map(|(room, _)| (*connection, room.clone()))
                })
                .collect();
            if waiting.is_empty() {
                return;
            }
            for (connection, room) in waiting {
                self.next_page(connection, &room);
            }
            self.advance(500);
        }
        panic!("a list without end");
    }

    fn compare(&self) {
        let views = self.hub.rooms(usize::MAX, usize::MAX);
        let mut presence: BTreeMap<(&String, &String), &Value> = BTreeMap::new();
        for client in self.clients.values().filter(|client| !client.closed) {
            let Some([own, ..]) = &client.welcome else { continue };
            for (room, picture) in &client.rooms {
                let told: BTreeSet<&str> = picture.peers.keys().map(String::as_str).chain([own.as_str()]).collect();
                let view = views.iter().find(|view| *view.name == **room).expect("a room that is not there");
                let truth: BTreeSet<&str> = view.peers.iter().map(|peer| &**peer).collect();
                assert_eq!(told, truth, "what {own} was told of {room}");
                for (peer, meta) in &picture.peers {
                    let first = *presence.entry((room, peer)).or_insert(meta);
                    assert_eq!(first, meta, "two pictures of {peer} in {room}");
                }
            }
        }
    }
}

impl Client {
    fn hear(&mut self, frame: &Value) {
        let text = |key: &str| frame[key].as_str().unwrap_or_default().to_owned();
        if let Some(seq) = frame["seq"].as_u64() {
            assert!(seq >= self.last_seq, "event numbers go back");
            self.last_seq = seq;
        }
        match frame["t"].as_str().expect("a frame has a type") {
            "welcome" => {
                let welcome = [text("peer"), text("sid"), text("key")];
                assert!(self.welcome.replace(welcome).is_none(), "welcomed twice");
            }
            "joined" => {
                let picture = Picture::default();
                let _ = self.rooms.insert(text("room"), picture);
                self.page(frame);
            }
            "ok" if frame["peers"].is_array() => self.page(frame),
            "peer" => {
                let picture = self.rooms.get_mut(&text("room")).expect("an event before the snapshot");
                match frame["ev"].as_str() {
                    Some("join") => {
                        let known = picture.peers.insert(text("peer"), frame["meta"].clone());
                        assert!(known.is_none(), "a peer joined twice");
                    }
                    Some("leave") => drop(picture.peers.remove(&text("peer"))),
                    Some("away" | "back") => {}
                    Some("meta") => {
                        if let Some(meta) = picture.peers.get_mut(&text("peer")) {
                            *meta = frame["meta"].clone();
                        }
                    }
                    other => panic!("{other:?}"),
                }
            }
            "sig" | "msg" | "room" => {
                let from = if frame["t"] == "room" { text("by") } else { text("from") };
                let picture = self.rooms.get(&text("room")).expect("a message before the snapshot");
                let own = self.welcome.as_ref().is_some_and(|[own, ..]| *own == from);
                assert!(own || picture.more.is_some() || picture.peers.contains_key(&from), "a message from nobody");
            }
            "closed" => drop(self.rooms.remove(&text("room")).expect("a room that it was not in")),
            "ok" | "err" | "ice" | "pong" => {}
            other => panic!("{other}"),
        }
    }

    fn page(&mut self, frame: &Value) {
        let picture = self.rooms.entry(frame["room"].as_str().unwrap_or_default().to_owned()).or_default();
        for member in frame["peers"].as_array().into_iter().flatten() {
            let peer = member["peer"].as_str().unwrap_or_default().to_owned();
            let known = picture.peers.insert(peer, member["meta"].clone());
            assert!(known.is_none(), "a peer is listed twice");
        }
        picture.more = frame["more"].as_str().map(str::to_owned);
    }
}
