//! Rooms have their relay whatever service's form a client reads its list in.

use std::io::{Read as _, Write as _};

use crate::fleet::{list, start_in_fleet, wait_open};
use crate::redis::{PATIENCE, Redis};
use crate::replica::Replica;

/// A request in each form: how it begins, what its body is, and the body; `ROOM` is the name of a room.
const FORMS: [(&str, &str, &str); 15] = [
    ("GET /v1/ice?room=ROOM", "", ""),
    ("GET /v1/turn?service=turn&room=ROOM&more=1", "", ""),
    ("POST /v1/turn/keys/k/credentials/generate?room=ROOM", "", ""),
    (
        "POST /v1/turn/keys/k/credentials/generate-ice-servers?room=ROOM",
        "application/json",
        "{\"ttl\":60}",
    ),
    (
        "POST /v1/turn/keys/k/credentials/generate-ice-servers",
        "application/json",
        "{\"room\":\"ROOM\",\"more\":1}",
    ),
    ("POST /2010-04-01/Accounts/AC0/Tokens.json?room=ROOM", "", ""),
    (
        "POST /2010-04-01/Accounts/AC0/Tokens.json",
        "application/x-www-form-urlencoded",
        "Room=ROOM&More=1",
    ),
    ("GET /api/v1/turn/credentials?room=ROOM", "", ""),
    ("GET /api/v1/turn/credentials?more=1&apiKey=KEY&room=ROOM", "", ""),
    ("PUT /_turn/channel?room=ROOM", "", ""),
    (
        "PUT /_turn/channel?room=ROOM",
        "application/json",
        "{\"format\":\"urls\"}",
    ),
    ("PUT /_turn/channel", "application/json", "{\"room\":\"ROOM\"}"),
    ("GET /_matrix/client/v3/voip/turnServer?room=ROOM", "", ""),
    ("GET /ice?service=turn&namespace=x&room=ROOM", "", ""),
    ("GET /ice?service=turn&room=other&room=ROOM", "", ""),
];

fn ask(replica: &Replica, (request, kind, body): (&str, &str, &str)) -> String {
    let mut stream = replica.connect().unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let length = body.len();
    write!(
        stream,
        "{request} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n{body}",
        replica.http
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// The port of the first TURN URL of an answer, in whatever form.
fn first_port(answer: &str) -> u16 {
    let (_, behind) = answer
        .split_once("turn:127.0.0.1:")
        .unwrap_or_else(|| panic!("{answer}"));
    behind.split_once('?').unwrap().0.parse().unwrap()
}

#[test]
fn a_room_has_its_relay_in_the_form_of_every_service() {
    let redis = Redis::start(&[]);
    let [a, b] = [(); 2].map(|()| start_in_fleet(&redis));
    wait_open(&a, 2.0);
    let room_at = |relay: &Replica| -> String {
        let urls = |room: &usize| list(&a, &format!("?room=r{room}")).0;
        let found = (0..200).find(|room| first_port(&urls(room)[0]) == relay.relay.port());
        format!("r{}", found.unwrap())
    };
    let rooms = [&a, &b].map(|relay| (room_at(relay), relay.relay.port()));
    let made = ask(&a, ("POST /api/v1/turn/credential", "", ""));
    let (_, key) = made.split_once("\"apiKey\":\"").unwrap();
    let key = key.split_once('"').unwrap().0;
    for (request, kind, body) in FORMS {
        let request = request.replace("KEY", key);
        for (room, port) in &rooms {
            let in_room = |text: &str| text.replace("ROOM", room);
            let answer = ask(&a, (&in_room(&request), kind, &in_room(body)));
            assert_eq!(first_port(&answer), *port, "{request} {body} {room}: {answer}");
        }
        // Who names no room is given the relay of whom it asks.
        let elsewhere = |text: &str| {
            text.replace("room=ROOM", "rooms=x")
                .replace("\"room\"", "\"rooms\"")
                .replace("Room=", "Rooms=")
        };
        let answer = ask(&a, (&elsewhere(&request), kind, &elsewhere(body)));
        if !request.contains("room=other") {
            assert_eq!(first_port(&answer), a.relay.port(), "{request} {body}: {answer}");
        }
        let nameless = ask(&a, (&request.replace("ROOM", ""), kind, &body.replace("ROOM", "")));
        assert!(nameless.starts_with("HTTP/1.1 400"), "{request} {body}: {nameless}");
    }
}
