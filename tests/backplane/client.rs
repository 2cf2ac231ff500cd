//! A WebSocket client that keeps the lists of its rooms by the events alone, and fails at what contradicts them.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error, Message, WebSocket, client};

use crate::redis::PATIENCE;
use crate::replica::Replica;

/// How long one look at the socket waits.
const LOOK: Duration = Duration::from_millis(10);

pub(crate) struct Client {
    socket: WebSocket<TcpStream>,
    pub(crate) peer: String,
    /// The id of its session.
    pub(crate) session: String,
    next: u64,
    /// Other members of each room, with their presence.
    rosters: BTreeMap<String, BTreeMap<String, Value>>,
    /// Frames that nobody has asked for yet, in order.
    inbox: Vec<Value>,
    /// The code that it was closed with.
    pub(crate) closed: Option<u16>,
}

impl Client {
    pub(crate) fn hello(replica: &Replica, peer: &str) -> Self {
        let stream = replica.connect().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let request = format!("ws://{}/v1/ws", replica.http).into_client_request().unwrap();
        let (socket, _) = client(request, stream).unwrap();
        let mut client = Self {
            socket,
            peer: peer.to_owned(),
            session: String::new(),
            next: 1,
            rosters: BTreeMap::new(),
            inbox: Vec::new(),
            closed: None,
        };
        client.tell(&json!({ "t": "hello", "v": [1], "peer": peer }));
        let welcome = client.wait("the welcome", |frame| frame["t"] == "welcome");
        assert_eq!(welcome["peer"], peer);
        welcome["sid"].as_str().unwrap().clone_into(&mut client.session);
        client
    }

    pub(crate) fn tell(&mut self, frame: &Value) {
        // A hub that has closed it says so to the next read.
        let _ = self.socket.send(Message::text(frame.to_string()));
    }

    /// A request and its answer.
    pub(crate) fn ask(&mut self, mut frame: Value) -> Value {
        let id = self.next;
        self.next += 1;
        frame["id"] = id.into();
        self.tell(&frame);
        self.wait(&format!("the answer to {frame}"), |answer| answer["id"] == id)
    }

    pub(crate) fn join(&mut self, room: &str) -> Value {
        let answer = self.ask(json!({ "t": "join", "room": room, "meta": { "of": self.peer } }));
        assert_eq!(answer["t"], "joined", "{answer}");
        answer
    }

    pub(crate) fn leave(&mut self, room: &str) {
        let answer = self.ask(json!({ "t": "leave", "room": room }));
        assert_eq!(answer["t"], "ok", "{answer}");
        self.rosters.remove(room);
    }

    /// To everybody else in the room.
    pub(crate) fn say(&mut self, room: &str, data: &str) {
        self.tell(&json!({ "t": "send", "room": room, "data": data }));
    }

    /// Waits for a message with that content, and gives who sent it.
    pub(crate) fn hear(&mut self, data: &str) -> String {
        let frame = self.wait(data, |frame| frame["t"] == "msg" && frame["data"] == data);
        frame["from"].as_str().unwrap().to_owned()
    }

    /// Waits for a frame and takes it out.
    pub(crate) fn wait(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let start = Instant::now();
        loop {
            if let Some(at) = self.inbox.iter().position(&wanted) {
                return self.inbox.remove(at);
            }
            let waiting = start.elapsed() < PATIENCE && self.closed.is_none();
            assert!(waiting, "{} waits for {what}: {self:?}", self.peer);
            self.read();
        }
    }

    /// Takes such a frame out if it is there, after one look.
    pub(crate) fn try_take(&mut self, wanted: impl Fn(&Value) -> bool) -> Option<Value> {
        self.read();
        let at = self.inbox.iter().position(wanted)?;
        Some(self.inbox.remove(at))
    }

    /// Waits until it was closed.
    pub(crate) fn wait_closed(&mut self) -> u16 {
        let start = Instant::now();
        loop {
            if let Some(code) = self.closed {
                return code;
            }
            assert!(start.elapsed() < PATIENCE, "{} is not closed: {self:?}", self.peer);
            self.read();
        }
    }

    /// Waits until the list of a room is that, as the events tell it.
    pub(crate) fn wait_roster(&mut self, room: &str, others: &[&str]) {
        let wanted: BTreeSet<String> = others.iter().map(|other| (*other).to_owned()).collect();
        let start = Instant::now();
        while self.roster(room) != wanted {
            assert!(
                start.elapsed() < PATIENCE,
                "{} has {:?} in {room}, not {wanted:?}",
                self.peer,
                self.roster(room)
            );
            self.read();
        }
    }

    pub(crate) fn roster(&self, room: &str) -> BTreeSet<String> {
        self.rosters
            .get(room)
            .map(|roster| roster.keys().cloned().collect())
            .unwrap_or_default()
    }

    /// The others as the hub gives them when asked.
    pub(crate) fn who(&mut self, room: &str) -> BTreeSet<String> {
        let answer = self.ask(json!({ "t": "who", "room": room }));
        let peers = answer["peers"].as_array().unwrap_or_else(|| panic!("{answer}"));
        let names: Vec<_> = peers
            .iter()
            .map(|peer| peer["peer"].as_str().unwrap().to_owned())
            .collect();
        let unique: BTreeSet<_> = names.iter().cloned().collect();
        assert_eq!(unique.len(), names.len(), "somebody is there twice: {names:?}");
        unique
    }

    /// What came so far is taken in.
    pub(crate) fn catch_up(&mut self) {
        let answer = self.ask(json!({ "t": "ping", "n": 1 }));
        assert_eq!(answer["t"], "pong", "{answer}");
    }

    fn read(&mut self) {
        self.socket.get_ref().set_read_timeout(Some(LOOK)).unwrap();
        match self.socket.read() {
            Ok(Message::Text(text)) => {
                let frame: Value = serde_json::from_str(&text).unwrap();
                self.note(&frame);
                self.inbox.push(frame);
            }
            Ok(Message::Close(frame)) => self.closed = Some(frame.map_or(1005, |frame| frame.code.into())),
            Ok(_) => {}
            Err(Error::Io(error)) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => self.closed = self.closed.or(Some(1006)),
        }
    }

    /// Keeps the lists.
    fn note(&mut self, frame: &Value) {
        let room = frame["room"].as_str().unwrap_or_default().to_owned();
        match frame["t"].as_str() {
            Some("joined") => {
                let peers = frame["peers"].as_array().unwrap();
                let each = |peer: &Value| (peer["peer"].as_str().unwrap().to_owned(), peer["meta"].clone());
                let roster: BTreeMap<_, _> = peers.iter().map(each).collect();
                assert_eq!(roster.len(), peers.len(), "somebody is there twice: {frame}");
                self.rosters.insert(room, roster);
            }
            Some("peer") => {
                let peer = frame["peer"].as_str().unwrap().to_owned();
                assert_ne!(peer, self.peer, "told of itself: {frame}");
                let roster = self.rosters.entry(room).or_default();
                match frame["ev"].as_str() {
                    Some("join") => {
                        let known = roster.insert(peer, frame["meta"].clone());
                        assert!(known.is_none(), "{}: came twice: {frame}", self.peer);
                    }
                    Some("leave") => {
                        assert!(
                            roster.remove(&peer).is_some(),
                            "{}: left without being there: {frame}",
                            self.peer
                        );
                    }
                    Some("meta") => {
                        let known = roster.insert(peer, frame["meta"].clone());
                        assert!(known.is_some(), "{}: news of nobody: {frame}", self.peer);
                    }
                    _ => {}
                }
            }
            _ => {}
        }
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "closed {:?}, lists {:?}, inbox ", self.closed, self.rosters)?;
        f.debug_list().entries(self.inbox.iter().map(Value::to_string)).finish()
    }
}

/// Waits until everybody sees everybody in a room, by the events and when asked.
pub(crate) fn assert_together(room: &str, clients: &mut [&mut Client]) {
    let all: BTreeSet<String> = clients.iter().map(|client| client.peer.clone()).collect();
    for client in clients.iter_mut() {
        let others: Vec<&str> = all
            .iter()
            .map(String::as_str)
            .filter(|other| *other != client.peer)
            .collect();
        client.wait_roster(room, &others);
        let others = others.into_iter().map(str::to_owned).collect();
        assert_eq!(client.who(room), others, "asked by {}", client.peer);
    }
}
