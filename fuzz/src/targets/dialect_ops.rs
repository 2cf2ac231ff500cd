//! Sequences of operations on `meetpoint::signaling::Hub` by clients of every dialect at once: openings, frames of their own dialect
//! and of others, binary frames, silence, broken sockets, sessions that go on. What is said carries who said it and when, so that
//! whatever arrives shows whether it may.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use meetpoint::signaling::{
    AuthError, CloseCode, Config, ConnectionId, Dialect, Frame, Grants, Hub, Ice, Identity, Needs, Now, Opening, Output,
};
use serde_json::Value;

const NAMES: [&str; 4] = ["a", "b", "c", "B"];
const ROOMS: [&str; 3] = ["r", "edge-net", "*"];
const CONNECTIONS: usize = 10;
/// What one operation may put out: a few frames for each connection there is.
const MOST_OUTPUTS: usize = 12 * CONNECTIONS;

/// What clients say, by dialect. `$me`, `$to` and `$room` are names, `$mark` is who says it and when.
pub(super) const SAID: &[(Dialect, &[&str])] = &[
    (
        Dialect::Native,
        &[
            r#"{"t":"hello","v":[1],"peer":"$me","caps":["resume"]}"#,
            r#"{"t":"join","id":1,"room":"$room"}"#,
            r#"{"t":"sig","room":"$room","to":"$to","kind":"offer","data":"$mark"}"#,
            r#"{"t":"send","room":"$room","data":"$mark"}"#,
            r#"{"t":"leave","room":"$room"}"#,
            r#"{"t":"bye"}"#,
        ],
    ),
    (
        Dialect::Reploid,
        &[
            r#"{"type":"join","peerId":"$me","roomId":"$room","metadata":{"x":1}}"#,
            r#"{"type":"offer","peerId":"$me","targetPeer":"$to","offer":"$mark"}"#,
            r#"{"type":"broadcast","peerId":"$me","roomId":"$room","data":"$mark"}"#,
            r#"{"type":"announce","peerId":"$me","roomId":"$room","metadata":{"y":2}}"#,
            r#"{"type":"leave","peerId":"$me","roomId":"$room"}"#,
        ],
    ),
    (
        Dialect::Chiral,
        &[
            r#"{"type":"register","clientId":"$me"}"#,
            r#"{"type":"offer","to":"$to","from":"$me","sdp":"$mark"}"#,
            r#"{"type":"dht","from":"$me","x":"$mark"}"#,
            r#"{"type":"ping","ts":1,"from":"$me"}"#,
        ],
    ),
    (
        Dialect::Topics,
        &[
            r#"{"type":"subscribe","topics":["$room","x"]}"#,
            r#"{"type":"publish","topic":"$room","data":"$mark"}"#,
            r#"{"type":"publish","topic":"$room","payload":"$mark"}"#,
            r#"{"type":"unsubscribe","topics":["$room"]}"#,
        ],
    ),
    (
        Dialect::Retcon,
        &[
            r#"{"type":"auth","token":null,"peerId":"$me","metadata":{"x":1}}"#,
            r#"{"type":"join","room":"$room"}"#,
            r#"{"type":"auth","token":null,"publicKey":"k"}"#,
            r#"{"type":"join-room","roomId":"$room"}"#,
            r#"{"type":"offer","targetPeerId":"$to","data":"$mark"}"#,
            r#"{"type":"leave","room":"$room"}"#,
        ],
    ),
    (
        Dialect::RetconQuery,
        &[
            r#"{"type":"join","room":"$room"}"#,
            r#"{"type":"signal","to":"$to","signal":"$mark"}"#,
            r#"{"type":"signal","to":"$to","signal":"$mark","roomId":"$room"}"#,
            r#"{"type":"broadcast","roomId":"$room","data":"$mark"}"#,
            r#"{"type":"leave","room":"$room"}"#,
        ],
    ),
    (
        Dialect::SocketIo,
        &[
            "40",
            r#"42["register","$me"]"#,
            r#"421["signal",{"to":"$to","from":"$me","signal":"$mark"}]"#,
            "3",
            "41",
            "40/x,",
        ],
    ),
    (
        Dialect::EdgeNet,
        &[
            r#"{"type":"register","nodeId":"$me","capabilities":["c"]}"#,
            r#"{"type":"join-room","roomId":"$room"}"#,
            r#"{"type":"offer","to":"$to","offer":"$mark"}"#,
            r#"{"type":"answer","to":"$to","answer":"$mark"}"#,
            r#"{"type":"broadcast","roomId":"$room","data":"$mark"}"#,
            r#"{"type":"discover","capabilities":["c"]}"#,
            r#"{"type":"leave-room","roomId":"$room"}"#,
        ],
    ),
    (
        Dialect::EdgeAnnounce,
        &[
            r#"{"type":"announce","piKey":"$me","siteId":"s","capabilities":[]}"#,
            r#"{"type":"offer","to":"$to","from":"$me","offer":"$mark"}"#,
            r#"{"type":"ice-candidate","to":"$to","from":"$me","candidate":"$mark"}"#,
        ],
    ),
    (
        Dialect::EdgeRelay,
        &[
            r#"{"type":"register","nodeId":"$me"}"#,
            r#"{"type":"webrtc_offer","targetId":"$to","offer":"$mark"}"#,
            r#"{"type":"broadcast","payload":"$mark"}"#,
            r#"{"type":"task_submit","task":{}}"#,
            r#"{"type":"heartbeat"}"#,
        ],
    ),
    (
        Dialect::PeerJs,
        &[
            r#"{"type":"OFFER","dst":"$to","payload":"$mark"}"#,
            r#"{"type":"LEAVE","dst":"$to"}"#,
            r#"{"type":"HEARTBEAT"}"#,
        ],
    ),
    (Dialect::Matchbox, &[r#"{"Signal":{"receiver":"$to","data":"$mark"}}"#, r#""KeepAlive""#]),
    (Dialect::Verbatim, &["$mark"]),
    (Dialect::Rooms, &[r#"{"type":"join","room":"$room"}"#, "$mark"]),
];

/// What is said that belongs nowhere.
const NOISE: [&str; 7] = ["", "{}", "[1]", r#"{"type":"error"}"#, r#"{"type":"dance","from":["a"]}"#, "42[", "\u{e4}"];

struct Client {
    dialect: Dialect,
    open: bool,
    /// It has been told something.
    heard: bool,
    /// How often it has said something of its own.
    spoken: usize,
    /// Ids that it was told of.
    known: Vec<String>,
    /// The newest that it has of each sender.
    newest: BTreeMap<usize, u64>,
    /// `sid` and `key` of a native session, and the newest event seen.
    session: Option<(String, String, u64)>,
    told: Vec<String>,
}

struct World {
    hub: Hub,
    now: Now,
    clients: Vec<(ConnectionId, Client)>,
    by_id: BTreeMap<ConnectionId, usize>,
    favourite: Dialect,
    said: u64,
}

/// The input, eaten from the front; zeros when it is used up.
pub(super) struct Input<'a>(pub(super) &'a [u8]);

impl Input<'_> {
    pub(super) fn byte(&mut self) -> usize {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        usize::from(*first)
    }

    pub(super) fn pick<'b, T: ?Sized>(&mut self, from: &[&'b T]) -> &'b T {
        from[self.byte() % from.len()]
    }
}

pub(crate) fn run(data: &[u8]) {
    let config = Config {
        connections: CONNECTIONS,
        rooms: 8,
        peers_per_room: 4,
        rooms_per_connection: 3,
        message_burst: 200,
        rate_patience: 5,
        relay_byte_burst: 400,
        relay_bytes_per_second: 200,
        resume_frames: 8,
        away_sessions: 2,
        resume_grace: Duration::from_secs(5),
        ..Config::default()
    };
    let now = Now { instant: Instant::now(), unix_ms: 1_700_000_000_000 };
    let mut input = Input(data);
    let favourite = Dialect::ALL[input.byte() % Dialect::ALL.len()];
    let (clients, by_id) = (Vec::new(), BTreeMap::new());
    let mut world = World { hub: Hub::new(config, [5; 32]), now, clients, by_id, favourite, said: 0 };
    while !input.0.is_empty() {
        world.operate(&mut input);
        world.balance();
    }
    world.end();
}

impl World {
    fn operate(&mut self, input: &mut Input<'_>) {
        let open: Vec<usize> = (0..self.clients.len()).filter(|at| self.clients[*at].1.open).collect();
        let operation = input.byte();
        let Some(&at) = open.get(input.byte() % open.len().max(1)) else { return self.open(input) };
        match operation {
            0..32 => self.open(input),
            32..40 => {
                let code = CloseCode::ALL[input.byte() % CloseCode::ALL.len()];
                self.clients[at].1.open = false;
                self.hub.disconnect(self.now, self.clients[at].0, code);
                self.collect();
            }
            40..60 => self.advance(input.byte() as u64 * 20),
            60..64 => {
                let bytes = [0; 40];
                let frame = Frame::binary(self.clients[at].1.dialect, &bytes[..input.byte() % 40]);
                self.hear(at, frame, input);
            }
            64..66 => {
                self.hub.drain((0, 1_000), None);
                self.collect();
            }
            66..70 => self.say(at, (*input.pick(&NOISE)).to_owned(), input),
            70..80 => self.resume(at, input),
            80..96 => {
                // In the words of another dialect.
                let (_, words) = SAID[input.byte() % SAID.len()];
                let text = self.filled(at, input.pick(words), input);
                self.say(at, text, input);
            }
            _ => {
                let dialect = self.clients[at].1.dialect;
                let other = SAID[input.byte() % SAID.len()].0;
                let spoken = if dialect == Dialect::Auto { other } else { dialect };
                let words = SAID.iter().find(|(known, _)| *known == spoken).map_or(&["{}"][..], |(_, words)| words);
                // Mostly the way that its words are meant: who it is, where it wants to be, what it says.
                let spoken = self.clients[at].1.spoken;
                self.clients[at].1.spoken += 1;
                let word = match input.byte() {
                    choice if choice % 4 != 0 && spoken < 2 => words[spoken % words.len()],
                    choice => words[choice / 4 % words.len()],
                };
                let text = self.filled(at, word, input);
                self.say(at, text, input);
            }
        }
    }

    fn filled(&mut self, at: usize, words: &str, input: &mut Input<'_>) -> String {
        self.said += 1;
        let known = &self.clients[at].1.known;
        let choice = input.byte();
        // Ids that the server makes are learnt from what it says.
        let to = match known.get(choice / 2 % known.len().max(1)) {
            Some(known) if choice & 1 == 0 => known.as_str(),
            _ => NAMES[choice / 2 % NAMES.len()],
        };
        let mark = format!("@{at}.{}@", self.said);
        // Mostly its own name, and mostly the room where others are.
        let me = match input.byte() {
            choice if choice % 8 == 0 => NAMES[choice / 8 % NAMES.len()],
            _ => NAMES[at % NAMES.len()],
        };
        let room = ROOMS[(input.byte() % 8).saturating_sub(5)];
        words.replace("$me", me).replace("$to", to).replace("$room", room).replace("$mark", &mark)
    }

    fn open(&mut self, input: &mut Input<'_>) {
        // Half of them have one dialect in common, so that there are conversations.
        let asked = match input.byte() {
            choice if choice & 1 == 0 => self.favourite,
            choice => Dialect::ALL[choice / 2 % Dialect::ALL.len()],
        };
        let query: &[(&str, &str)] = match input.byte() % 5 {
            0 => &[("token", "t")],
            1 => &[("key", "peerjs"), ("id", "a"), ("token", "t")],
            2 => &[("key", "peerjs"), ("id", "b"), ("token", "u")],
            3 => &[("next", "2"), ("EIO", "4")],
            _ => &[],
        };
        let room = Some(ROOMS[(input.byte() % 8).saturating_sub(5)]);
        let opening = Opening::new(asked, room, query.iter().copied());
        let dialect = asked.of_opening(&opening);
        let opening = Opening::new(dialect, room, query.iter().copied());
        let Ok(connected) = self.hub.connect(self.now, dialect) else { return };
        let at = self.clients.len();
        assert!(self.by_id.insert(connected.connection, at).is_none(), "a connection id came twice");
        let client = Client {
            dialect,
            open: true,
            heard: false,
            spoken: 0,
            known: Vec::new(),
            newest: BTreeMap::new(),
            session: None,
            told: Vec::new(),
        };
        self.clients.push((connected.connection, client));
        self.collect();
        if let Some(frame) = Frame::opening(dialect, &opening) {
            self.hear(at, frame, input);
        }
    }

    fn say(&mut self, at: usize, text: String, input: &mut Input<'_>) {
        let client = &mut self.clients[at].1;
        let frame = match client.heard {
            true => Frame::text_after_silence(client.dialect, &text),
            false => Frame::text(client.dialect, &text),
        };
        client.dialect = frame.dialect();
        self.hear(at, frame, input);
    }

    /// Goes on with a native session whose socket may be gone.
    fn resume(&mut self, at: usize, input: &mut Input<'_>) {
        let sessions: Vec<_> = self.clients.iter().filter_map(|(_, client)| client.session.clone()).collect();
        let Some((sid, key, seq)) = sessions.get(input.byte() % sessions.len().max(1)) else { return };
        let hello = format!(
            r#"{{"t":"hello","v":[1],"caps":["resume"],"resume":{{"sid":"{sid}","key":"{key}","seq":{seq}}}}}"#
        );
        self.say(at, hello, input);
    }

    fn hear(&mut self, at: usize, frame: Frame<'_>, input: &mut Input<'_>) {
        let connection = self.clients[at].0;
        self.clients[at].1.told.clear();
        let refused = self.hub.stats().refused.total();
        if let Some(admitted) = self.hub.try_admit(self.now, connection, frame) {
            let identity = match input.byte() {
                0xFF => Err(AuthError::Invalid),
                verdict if verdict & 64 == 0 => Ok(Identity { user: Some("u".into()), ..Identity::ANONYMOUS }),
                _ => Ok(Identity::ANONYMOUS),
            };
            let ice = Ice { servers: "[]", expires_at_ms: self.now.unix_ms + 10_000, policy: None, relay: None };
            let identity = (admitted.needs() != Needs::Nothing).then_some(identity);
            let grants = Grants { identity, ice: Some(ice) };
            self.hub.handle_request(self.now, connection, admitted, grants);
        }
        self.collect();
        let refused = self.hub.stats().refused.total() > refused;
        let client = &self.clients[at].1;
        // Its client ends at a word that it does not know, and so is told of nothing.
        if refused && client.dialect != Dialect::Matchbox {
            assert!(
                client.told.iter().any(|text| is_refusal(client.dialect, text)),
                "refused without a word of {:?}: {:?}",
                client.dialect,
                client.told
            );
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
        let mut outputs = 0;
        while let Some(output) = self.hub.poll_output() {
            outputs += 1;
            match output {
                Output::RenewIce { connection } => {
                    let expires_at_ms = self.now.unix_ms + 10_000;
                    self.hub.push_ice(self.now, connection, Ice { servers: "[]", expires_at_ms, policy: None, relay: None });
                }
                Output::RoomIce { .. } => panic!("no list names a relay"),
                Output::Close { connection, .. } => {
                    let client = &mut self.clients[self.by_id[&connection]].1;
                    assert!(std::mem::replace(&mut client.open, false), "closed twice");
                }
                // Of a hub that has joined others, which this one has not.
                Output::Publish { .. } | Output::Subscribe { .. } | Output::Unsubscribe { .. } | Output::CutOff { .. } => {
                    panic!("a hub alone speaks to others")
                }
                Output::Deliver { connection, payload } | Output::DeliverSoon { connection, payload } => {
                    let text = String::from_utf8(payload.bytes().to_vec()).expect("text is UTF-8");
                    self.deliver(self.by_id[&connection], text);
                }
            }
        }
        assert!(outputs <= MOST_OUTPUTS, "{outputs} outputs of one operation");
    }

    fn deliver(&mut self, to: usize, text: String) {
        let dialect = self.clients[to].1.dialect;
        assert!(self.clients[to].1.open, "a frame after the close");
        assert!(is_well_formed(dialect, &text), "{dialect:?} was told {text}");
        if let Some((from, said)) = mark(&text) {
            let sender = &self.clients[from].1;
            assert_eq!(sender.dialect, dialect, "two dialects met: {text}");
            // Echoed errors aside, whoever hears a peer is in a room with it: whose sender is gone has been heard of before.
            let realm = dialect.realm();
            let rooms = self.hub.rooms(usize::MAX, usize::MAX);
            assert!(rooms.iter().any(|room| room.realm == realm && room.members > 0), "a message without a room");
            let newest = self.clients[to].1.newest.insert(from, said);
            // A session that goes on may be told again what it has heard.
            let resumes = dialect == Dialect::Native;
            assert!(resumes || newest.is_none_or(|newest| newest < said), "out of order, or twice: {text}");
        }
        let client = &mut self.clients[to].1;
        client.heard = true;
        if let Ok(frame) = serde_json::from_str::<Value>(&text) {
            client.learn(&frame);
        }
        client.told.push(text);
    }

    fn balance(&self) {
        let stats = self.hub.stats();
        assert_eq!(stats.messages.total(), stats.accepted + stats.refused.total());
        assert_eq!(stats.connects, stats.connections + stats.closes.total());
        assert_eq!(stats.joins, stats.leaves + stats.memberships);
        let open = self.clients.iter().filter(|(_, client)| client.open).count() as u64;
        assert_eq!(stats.connections, open);
        assert!(stats.away <= 2 && stats.peers <= open + stats.away && stats.rooms <= 8);
        let rooms = self.hub.rooms(usize::MAX, usize::MAX);
        assert_eq!(rooms.iter().map(|room| room.members as u64).sum::<u64>(), stats.memberships);
        for room in rooms {
            assert!(room.members > 0, "an empty room");
            assert!(room.members <= 4, "more than a room takes");
            let ids: BTreeSet<_> = room.peers.iter().collect();
            assert_eq!(ids.len(), room.members, "an id twice in a room");
        }
    }

    /// Everybody goes, and nothing is left of them.
    fn end(&mut self) {
        for at in 0..self.clients.len() {
            if std::mem::replace(&mut self.clients[at].1.open, false) {
                self.hub.disconnect(self.now, self.clients[at].0, CloseCode::Abnormal);
                self.collect();
            }
        }
        for _ in 0..20 {
            self.advance(1_000);
        }
        self.balance();
        let stats = self.hub.stats();
        assert_eq!((stats.connections, stats.away, stats.peers, stats.rooms, stats.memberships), (0, 0, 0, 0, 0));
        assert_eq!(self.hub.poll_timeout(), None, "waits for nobody");
    }
}

impl Client {
    fn learn(&mut self, frame: &Value) {
        if frame["t"] == "welcome" {
            let text = |key: &str| frame[key].as_str().unwrap_or_default().to_owned();
            self.session = Some((text("sid"), text("key"), 0));
        }
        if let (Some(seq), Some(session)) = (frame["seq"].as_u64(), &mut self.session) {
            session.2 = seq;
        }
        for key in ["NewPeer", "peerId"] {
            if let Some(id) = frame[key].as_str()
                && self.known.len() < 16
            {
                self.known.push(id.to_owned());
            }
        }
    }
}

/// Who said it, and when.
pub(super) fn mark(text: &str) -> Option<(usize, u64)> {
    let (_, rest) = text.split_once('@')?;
    let (from, said) = rest.split_once('@')?.0.split_once('.')?;
    Some((from.parse().ok()?, said.parse().ok()?))
}

fn is_well_formed(dialect: Dialect, text: &str) -> bool {
    if dialect == Dialect::SocketIo {
        let json = text.trim_start_matches(|byte: char| byte.is_ascii_digit());
        let json = json.strip_prefix('/').map_or(json, |named| named.split_once(',').map_or("", |(_, json)| json));
        return text.starts_with(['0', '2', '3', '4']) && (json.is_empty() || serde_json::from_str::<Value>(json).is_ok());
    }
    let frame = serde_json::from_str::<Value>(text);
    match dialect {
        // Whatever its members said.
        Dialect::Verbatim | Dialect::Rooms => true,
        Dialect::Native => frame.is_ok_and(|frame| frame["t"].is_string() || frame["type"].is_string()),
        Dialect::Auto => frame.is_ok_and(|frame| frame["type"].is_string() || frame["t"].is_string()),
        Dialect::Matchbox => frame.is_ok_and(|frame| frame.as_object().is_some_and(|frame| frame.len() == 1)),
        Dialect::Topics => frame.is_ok_and(|frame| frame["type"].is_string() || frame["topic"].is_string()),
        _ => frame.is_ok_and(|frame| frame["type"].is_string()),
    }
}

fn is_refusal(dialect: Dialect, text: &str) -> bool {
    if dialect == Dialect::SocketIo {
        let event = text.strip_prefix("42").and_then(|json| serde_json::from_str::<Value>(json).ok());
        return event.is_some_and(|event| event[0] == "error" && event[1]["message"].is_string());
    }
    let Ok(frame) = serde_json::from_str::<Value>(text) else { return false };
    let text = |key: &str| frame[key].is_string();
    match dialect {
        Dialect::Native | Dialect::Auto => frame["t"] == "err" && text("code") && text("msg"),
        Dialect::Reploid => frame["type"] == "error" && text("error") && frame["timestamp"].is_u64(),
        Dialect::EdgeAnnounce => frame["type"] == "error" && text("error") && text("originalType"),
        Dialect::EdgeNet => frame["type"] == "error" && text("error"),
        Dialect::PeerJs => {
            let kinds = ["ERROR", "WARNING", "ID-TAKEN"];
            kinds.iter().any(|kind| frame["type"] == **kind) && frame["payload"]["msg"].is_string()
        }
        _ => frame["type"] == "error" && text("message"),
    }
}
