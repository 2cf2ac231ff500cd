//! Thousands in one room: nobody is missing on a list or told twice, no page is longer than a client takes, and what is told of
//! comings and goings can wait a moment where everything else cannot.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use meetpoint::signaling::{Config, ConnectionId, Dialect, Frame, Grants, Hub, Identity, Now, Output};
use serde_json::{Value, json};

/// Fifty million events for ten thousand take minutes without optimisation; `examples/hub_load big-room` has as many over sockets.
const MEMBERS: usize = if cfg!(debug_assertions) { 2_500 } else { 10_000 };
/// One in so many keeps a list of its own; all others count.
const THOROUGH: usize = 500;

/// What one member has been told of the others.
#[derive(Default)]
struct Heard {
    thorough: bool,
    joins: usize,
    /// Of the thorough: whom it knows.
    here: BTreeSet<String>,
    answers: Vec<Value>,
}

struct Crowd {
    hub: Hub,
    now: Now,
    /// By place of the connection.
    heard: Vec<Heard>,
    longest: usize,
}

impl Crowd {
    fn new() -> Self {
        let config = Config {
            peers_per_room: 2 * MEMBERS,
            connections: 2 * MEMBERS,
            ..Config::default()
        };
        let now = Now {
            instant: Instant::now(),
            unix_ms: 1_700_000_000_000,
        };
        Self {
            hub: Hub::new(config, [3; 32]),
            now,
            heard: Vec::new(),
            longest: 0,
        }
    }

    fn member(&mut self, at: usize) -> ConnectionId {
        let connection = self.hub.connect(self.now, Dialect::Native).unwrap().connection;
        assert_eq!(connection.index(), self.heard.len());
        self.heard.push(Heard {
            thorough: at.is_multiple_of(THOROUGH),
            ..Heard::default()
        });
        self.say(connection, &json!({"t": "hello", "v": [1], "peer": format!("p{at}")}));
        self.say(connection, &json!({"t": "join", "id": 1, "room": "r"}));
        connection
    }

    fn say(&mut self, connection: ConnectionId, frame: &Value) {
        // So fast does nobody join; slower would only be easier.
        self.now.instant += Duration::from_millis(1);
        let text = frame.to_string();
        let admitted = self
            .hub
            .try_admit(self.now, connection, Frame::text(Dialect::Native, &text))
            .unwrap();
        let grants = Grants {
            identity: Some(Ok(Identity::ANONYMOUS)),
            ice: None,
        };
        self.hub.handle_request(self.now, connection, admitted, grants);
        while let Some(output) = self.hub.poll_output() {
            match output {
                Output::Deliver { connection, payload } => {
                    self.longest = self.longest.max(payload.len());
                    self.heard[connection.index()].hear(payload.bytes());
                }
                Output::DeliverSoon { connection, payload } => {
                    let heard = &mut self.heard[connection.index()];
                    assert!(payload.bytes().starts_with(br#"{"t":"peer","#));
                    heard.hear(payload.bytes());
                }
                other => panic!("{other:?}"),
            }
        }
    }

    /// The list of the room, page after page, by one who has just joined or asks anew.
    fn list(&mut self, connection: ConnectionId, first: Value) -> usize {
        let (mut page, mut pages) = (first, 1);
        while let Some(after) = page["more"].as_str() {
            self.say(
                connection,
                &json!({"t": "who", "id": pages, "room": "r", "after": after}),
            );
            page = self.heard[connection.index()].answers.pop().unwrap();
            assert_eq!((&page["t"], &page["id"]), (&json!("ok"), &json!(pages)), "{page}");
            self.heard[connection.index()].note(&page["peers"]);
            pages += 1;
        }
        pages
    }
}

impl Heard {
    fn hear(&mut self, frame: &[u8]) {
        let is_event = frame.starts_with(br#"{"t":"peer","room":"r","ev":"join""#);
        self.joins += usize::from(is_event);
        if is_event && !self.thorough {
            return;
        }
        let frame: Value = serde_json::from_slice(frame).unwrap();
        match is_event {
            true => self.add(&frame["peer"]),
            false => self.answers.push(frame),
        }
    }

    fn add(&mut self, peer: &Value) {
        let peer = peer.as_str().unwrap().to_owned();
        assert!(self.here.insert(peer.clone()), "{peer} was told twice");
    }

    fn note(&mut self, peers: &Value) {
        peers
            .as_array()
            .unwrap()
            .iter()
            .for_each(|peer| self.add(&peer["peer"]));
    }
}

#[test]
fn thousands_join_one_room_and_nobody_is_missing_or_told_twice_or_sent_a_page_too_long() {
    let mut crowd = Crowd::new();
    for at in 0..MEMBERS {
        let member = crowd.member(at);
        let heard = &mut crowd.heard[member.index()];
        let joined = heard.answers.pop().unwrap();
        assert_eq!(
            (&joined["t"], joined["total"].as_u64()),
            (&json!("joined"), Some(at as u64))
        );
        heard.answers.clear();
        // Whoever joins is counted from here on.
        heard.joins = at;
        if heard.thorough {
            heard.note(&joined["peers"]);
            let pages = crowd.list(member, joined);
            assert_eq!(pages, at / 100 + 1);
        } else {
            assert_eq!(joined["more"].is_string(), at >= 100, "{at}");
        }
    }
    assert!(
        crowd.longest <= Config::default().page_bytes + 4_096,
        "{}",
        crowd.longest
    );
    for (at, heard) in crowd.heard.iter().enumerate() {
        assert_eq!(heard.joins, MEMBERS - 1, "p{at}");
        let known = if heard.thorough { MEMBERS - 1 } else { 0 };
        assert_eq!(heard.here.len(), known, "p{at}");
    }
    let stats = crowd.hub.stats();
    assert_eq!((stats.memberships, stats.rooms), (MEMBERS as u64, 1));
}

#[test]
fn news_of_a_crowd_can_wait_and_that_of_a_small_room_and_all_else_cannot() {
    let mut hub = Hub::new(Config::default(), [4; 32]);
    let now = Now {
        instant: Instant::now(),
        unix_ms: 1_700_000_000_000,
    };
    let say = |hub: &mut Hub, connection, frame: Value| {
        let text = frame.to_string();
        let admitted = hub
            .try_admit(now, connection, Frame::text(Dialect::Native, &text))
            .unwrap();
        let grants = Grants {
            identity: Some(Ok(Identity::ANONYMOUS)),
            ice: None,
        };
        hub.handle_request(now, connection, admitted, grants);
        let (mut at_once, mut soon) = (0, 0);
        while let Some(output) = hub.poll_output() {
            match output {
                Output::Deliver { .. } => at_once += 1,
                Output::DeliverSoon { .. } => soon += 1,
                other => panic!("{other:?}"),
            }
        }
        (at_once, soon)
    };
    let join = |hub: &mut Hub, at: usize| {
        let connection = hub.connect(now, Dialect::Native).unwrap().connection;
        say(
            hub,
            connection,
            json!({"t": "hello", "v": [1], "peer": format!("p{at}")}),
        );
        (connection, say(hub, connection, json!({"t": "join", "room": "r"})))
    };
    for at in 0..100 {
        assert_eq!(
            join(&mut hub, at).1,
            (at + 1, 0),
            "its own answer, and an event for each"
        );
    }
    let (last, told) = join(&mut hub, 100);
    assert_eq!(told, (1, 100));
    let sig = json!({"t": "sig", "room": "r", "to": "p3", "kind": "offer", "data": {}});
    assert_eq!(say(&mut hub, last, sig), (1, 0));
    assert_eq!(
        say(&mut hub, last, json!({"t": "send", "room": "r", "data": 1})),
        (100, 0)
    );
    let room = json!({"t": "room", "room": "r", "set": {"a": 1}});
    assert_eq!(say(&mut hub, last, room), (101, 0));
    assert_eq!(
        say(&mut hub, last, json!({"t": "meta", "room": "r", "set": {"a": 1}})),
        (0, 100)
    );
}
