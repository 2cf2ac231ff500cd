//! A hub without sockets, its clock moved by hand. Every frame it puts out is judged by the schema; a frame for a connection
//! that is gone fails the test.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    time::{Duration, Instant},
};

use meetpoint::signaling::{
    AuthError, CloseCode, Config, Connected, ConnectionId, Dialect, Frame, Grants, Hub, Ice, Identity, Needs, Now,
    Opening, Output, Payload,
};
use serde_json::{Value, json};

use super::signaling_schema;

pub(crate) const START_MS: u64 = 1_700_000_000_000;

pub(crate) struct World {
    pub(crate) hub: Hub,
    pub(crate) now: Now,
    inboxes: HashMap<ConnectionId, VecDeque<String>>,
    closed: HashMap<ConnectionId, CloseCode>,
    /// Connections of other dialects than the native one, whose frames no schema judges.
    foreign: HashMap<ConnectionId, Dialect>,
    /// Connections that have said that they read binary frames.
    binary: HashSet<ConnectionId>,
    /// The relay that lists have first, where there are several.
    pub(crate) relay: Option<u64>,
    /// The same of lists for a room, by its name.
    pub(crate) relay_of_room: fn(&str) -> Option<u64>,
}

/// How long ICE credentials live here.
pub(crate) const ICE_LIFE: Duration = Duration::from_secs(3_600);

/// Credentials minted now.
fn ice(now: Now) -> Ice<'static> {
    Ice {
        servers: r#"[{"urls":["stun:stun.example.org"]}]"#,
        expires_at_ms: now.unix_ms + u64::try_from(ICE_LIFE.as_millis()).unwrap(),
        policy: None,
        relay: None,
    }
}

impl World {
    pub(crate) fn new(config: Config) -> Self {
        let now = Now {
            instant: Instant::now(),
            unix_ms: START_MS,
        };
        Self {
            hub: Hub::new(config, [42; 32]),
            now,
            inboxes: HashMap::new(),
            closed: HashMap::new(),
            foreign: HashMap::new(),
            binary: HashSet::new(),
            relay: None,
            relay_of_room: |_| None,
        }
    }

    /// An open connection that has said nothing yet.
    pub(crate) fn connect(&mut self) -> ConnectionId {
        let Connected { connection, .. } = self.hub.connect(self.now, Dialect::Native).unwrap();
        self.inboxes.insert(connection, VecDeque::new());
        connection
    }

    /// An open connection of another dialect, or of one that its first frame shows.
    pub(crate) fn connect_as(&mut self, dialect: Dialect) -> ConnectionId {
        let Connected { connection, .. } = self.hub.connect(self.now, dialect).unwrap();
        self.inboxes.insert(connection, VecDeque::new());
        self.foreign.insert(connection, dialect);
        self.collect();
        connection
    }

    /// An open connection whose request says that, on a path that names that room.
    pub(crate) fn open_as(
        &mut self,
        dialect: Dialect,
        room: Option<&str>,
        query: &[(&str, &str)],
    ) -> (ConnectionId, Vec<Value>) {
        self.open_with(dialect, room, query, Ok(Identity::ANONYMOUS))
    }

    /// The same, with a verdict on who it is.
    pub(crate) fn open_with(
        &mut self,
        dialect: Dialect,
        room: Option<&str>,
        query: &[(&str, &str)],
        identity: Result<Identity, AuthError>,
    ) -> (ConnectionId, Vec<Value>) {
        let connection = self.open_quietly(dialect, room, query, identity);
        let told = self.all(connection);
        (connection, told)
    }

    /// The same, where what it is told is not looked at yet: it may be no JSON.
    pub(crate) fn open_quietly(
        &mut self,
        dialect: Dialect,
        room: Option<&str>,
        query: &[(&str, &str)],
        identity: Result<Identity, AuthError>,
    ) -> ConnectionId {
        let opening = Opening::new(dialect, room, query.iter().copied());
        let shown = dialect.of_opening(&opening);
        let opening = Opening::new(shown, room, query.iter().copied());
        let connection = self.connect_as(shown);
        if let Some(frame) = Frame::opening(shown, &opening)
            && let Some(admitted) = self.hub.try_admit(self.now, connection, frame)
        {
            let identity = (admitted.needs() != Needs::Nothing).then_some(identity);
            self.hub
                .handle_request(self.now, connection, admitted, Grants { identity, ice: None });
        }
        self.collect();
        connection
    }

    /// Says something that may be no JSON, as a client who is nobody in particular, and returns everything that it is told.
    pub(crate) fn ask_text(&mut self, connection: ConnectionId, text: &str) -> Vec<String> {
        let frame = Frame::text(self.foreign[&connection], text);
        if let Some(admitted) = self.hub.try_admit(self.now, connection, frame) {
            let identity = (admitted.needs() != Needs::Nothing).then_some(Ok(Identity::ANONYMOUS));
            self.hub
                .handle_request(self.now, connection, admitted, Grants { identity, ice: None });
        }
        self.collect();
        self.texts(connection)
    }

    /// Everything the connection has been told and not yet looked at, byte for byte.
    pub(crate) fn texts(&mut self, connection: ConnectionId) -> Vec<String> {
        self.inboxes
            .get_mut(&connection)
            .expect("a connection")
            .drain(..)
            .collect()
    }

    /// Says something in another dialect and returns everything that the connection is told.
    pub(crate) fn speak(&mut self, connection: ConnectionId, frame: Value) -> Vec<Value> {
        self.speak_as(connection, frame, Ok(Identity::ANONYMOUS));
        self.all(connection)
    }

    /// The same, byte for byte; what comes of it waits to be looked at.
    pub(crate) fn speak_text(&mut self, connection: ConnectionId, text: &str) {
        let frame = Frame::text(self.foreign[&connection], text);
        self.hub.handle_frame(self.now, connection, frame);
        self.collect();
    }

    /// The same, with a verdict on who it is.
    pub(crate) fn speak_as(&mut self, connection: ConnectionId, frame: Value, identity: Result<Identity, AuthError>) {
        let text = frame.to_string();
        let frame = Frame::text(self.foreign[&connection], &text);
        self.foreign.insert(connection, frame.dialect());
        if let Some(admitted) = self.hub.try_admit(self.now, connection, frame) {
            let identity = (admitted.needs() != Needs::Nothing).then_some(identity);
            self.hub
                .handle_request(self.now, connection, admitted, Grants { identity, ice: None });
        }
        self.collect();
    }

    /// A welcomed connection with that peer id.
    pub(crate) fn peer(&mut self, id: &str) -> ConnectionId {
        let connection = self.connect();
        let welcome = self.hello(
            connection,
            json!({"t": "hello", "v": [1], "peer": id}),
            Ok(Identity::ANONYMOUS),
        );
        assert_eq!(welcome["t"], "welcome", "{welcome}");
        connection
    }

    /// A welcomed connection with that peer id, in that room.
    pub(crate) fn member(&mut self, id: &str, room: &str) -> ConnectionId {
        let connection = self.peer(id);
        let joined = self.ask(connection, json!({"t": "join", "room": room}));
        assert_eq!(joined["t"], "joined", "{joined}");
        connection
    }

    /// Says hello and returns the answer.
    pub(crate) fn hello(
        &mut self,
        connection: ConnectionId,
        hello: Value,
        identity: Result<Identity, AuthError>,
    ) -> Value {
        self.with_identity(connection, &hello, identity);
        self.recv(connection)
    }

    /// Hands in a request that needs an identity.
    pub(crate) fn with_identity(
        &mut self,
        connection: ConnectionId,
        request: &Value,
        identity: Result<Identity, AuthError>,
    ) {
        let text = request.to_string();
        if request["caps"]
            .as_array()
            .is_some_and(|caps| caps.contains(&json!("bin")))
        {
            self.binary.insert(connection);
        }
        if let Some(admitted) = self
            .hub
            .try_admit(self.now, connection, Frame::text(Dialect::Native, &text))
        {
            let grants = Grants {
                identity: Some(identity),
                ice: Some(Ice {
                    relay: self.relay,
                    ..ice(self.now)
                }),
            };
            self.hub.handle_request(self.now, connection, admitted, grants);
        }
        self.collect();
    }

    /// Hands in one text frame.
    pub(crate) fn say_text(&mut self, connection: ConnectionId, text: &str) {
        self.hub
            .handle_frame(self.now, connection, Frame::text(Dialect::Native, text));
        self.collect();
    }

    /// Hands in one binary frame.
    pub(crate) fn say_binary(&mut self, connection: ConnectionId, header: &Value, payload: &[u8]) {
        let frame = signaling_schema::client_binary(header, payload);
        self.hub
            .handle_frame(self.now, connection, Frame::binary(Dialect::Native, &frame));
        self.collect();
    }

    pub(crate) fn say(&mut self, connection: ConnectionId, frame: Value) {
        signaling_schema::client_frame(&frame.to_string());
        self.say_text(connection, &frame.to_string());
    }

    /// Says something and returns the last thing that the connection is told.
    pub(crate) fn ask(&mut self, connection: ConnectionId, frame: Value) -> Value {
        self.say(connection, frame);
        self.all(connection).pop().expect("an answer")
    }

    pub(crate) fn advance(&mut self, by: Duration) {
        self.now.instant += by;
        self.now.unix_ms += u64::try_from(by.as_millis()).unwrap();
        if self.hub.poll_timeout().is_some_and(|at| at <= self.now.instant) {
            self.hub.handle_timeout(self.now);
        }
        self.collect();
    }

    pub(crate) fn gone(&mut self, connection: ConnectionId, code: CloseCode) {
        self.hub.disconnect(self.now, connection, code);
        self.inboxes.remove(&connection);
        self.collect();
    }

    pub(crate) fn collect(&mut self) {
        while let Some(output) = self.hub.poll_output() {
            match output {
                Output::Deliver { connection, payload } | Output::DeliverSoon { connection, payload } => {
                    assert!(
                        !self.closed.contains_key(&connection),
                        "a frame for a closed connection"
                    );
                    let text = match &payload {
                        Payload::Text(text) => String::from_utf8(text.to_vec()).unwrap(),
                        Payload::Binary(frame) => {
                            assert!(self.binary.contains(&connection), "a binary frame for who reads none");
                            let (mut header, payload) = signaling_schema::server_binary(frame);
                            header["payload"] = json!(payload);
                            self.inboxes
                                .get_mut(&connection)
                                .expect("a frame for an unknown connection")
                                .push_back(header.to_string());
                            continue;
                        }
                    };
                    if !self.foreign.contains_key(&connection) {
                        signaling_schema::server_frame(&text);
                    }
                    self.inboxes
                        .get_mut(&connection)
                        .expect("a frame for an unknown connection")
                        .push_back(text);
                }
                Output::RenewIce { connection } => {
                    let ice = ice(self.now);
                    self.hub.push_ice(self.now, connection, ice);
                }
                Output::RoomIce { connection } => {
                    let relay = self
                        .hub
                        .ice_room(connection)
                        .and_then(|room| (self.relay_of_room)(&room));
                    let ice = Ice { relay, ..ice(self.now) };
                    if let Some(frame) = self.hub.room_ice(self.now, connection, ice) {
                        let text = String::from_utf8(frame.bytes().to_vec()).unwrap();
                        signaling_schema::server_frame(&text);
                        self.inboxes.get_mut(&connection).unwrap().push_front(text);
                    }
                }
                Output::Close { connection, code } => {
                    assert!(self.closed.insert(connection, code).is_none(), "closed twice");
                }
                Output::Publish { .. }
                | Output::Subscribe { .. }
                | Output::Unsubscribe { .. }
                | Output::CutOff { .. } => {
                    panic!("a hub without a bus speaks to other replicas")
                }
            }
        }
    }

    /// Everything the connection has been told and not yet looked at. A binary frame is its header with a list of bytes, `payload`.
    pub(crate) fn all(&mut self, connection: ConnectionId) -> Vec<Value> {
        let texts = self.inboxes.get_mut(&connection).expect("a connection").drain(..);
        texts.map(|text| serde_json::from_str(&text).unwrap()).collect()
    }

    /// The next frame, byte for byte.
    pub(crate) fn recv_text(&mut self, connection: ConnectionId) -> String {
        self.inboxes
            .get_mut(&connection)
            .expect("a connection")
            .pop_front()
            .expect("a frame")
    }

    pub(crate) fn recv(&mut self, connection: ConnectionId) -> Value {
        serde_json::from_str(&self.recv_text(connection)).unwrap()
    }

    pub(crate) fn closed(&self, connection: ConnectionId) -> Option<CloseCode> {
        self.closed.get(&connection).copied()
    }

    /// What must hold after anything.
    pub(crate) fn check(&self) {
        let stats = self.hub.stats();
        assert_eq!(
            stats.messages.total(),
            stats.accepted + stats.refused.total(),
            "every message has one outcome"
        );
        assert_eq!(
            stats.connects,
            stats.connections + stats.closes.total(),
            "every connection ends once"
        );
        assert_eq!(
            stats.joins,
            stats.leaves + stats.memberships,
            "every membership ends once"
        );
        let rooms = self.hub.rooms(usize::MAX, usize::MAX);
        assert_eq!(rooms.len() as u64, stats.rooms);
        assert_eq!(
            rooms.iter().map(|room| room.members as u64).sum::<u64>(),
            stats.memberships
        );
        assert!(rooms.iter().all(|room| room.members > 0), "an empty room");
    }
}

/// A known user with all rights.
pub(crate) fn user(name: &str) -> Identity {
    Identity {
        user: Some(name.into()),
        ..Identity::ANONYMOUS
    }
}
