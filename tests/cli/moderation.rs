//! What operators do to rooms of the hub, through the real program: sockets of clients, requests of operators.

use crate::admin::{admin, ask, start};
use crate::program::{PATIENCE, Server};
use crate::support::client::{Client, Wish};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

/// A client of the hub.
pub(crate) struct Peer {
    socket: WebSocketStream<tokio::net::TcpStream>,
    pub(crate) welcome: Value,
}

impl Peer {
    pub(crate) async fn connect(server: &Server, peer: &str) -> Self {
        Self::greeted(server, json!({"t": "hello", "v": [1], "peer": peer})).await
    }

    /// One that says hello like that.
    pub(crate) async fn greeted(server: &Server, hello: Value) -> Self {
        let tcp = tokio::net::TcpStream::connect(server.http).await.unwrap();
        let url = format!("ws://{}/v1/ws", server.http);
        let (socket, _) = tokio_tungstenite::client_async(url, tcp).await.unwrap();
        let welcome = Value::Null;
        let mut this = Self { socket, welcome };
        this.welcome = this.ask(hello).await;
        this
    }

    /// One in a room.
    pub(crate) async fn join(server: &Server, peer: &str, room: &str) -> Self {
        let mut this = Self::connect(server, peer).await;
        assert_eq!(this.ask(json!({"t": "join", "room": room})).await["t"], "joined");
        this
    }

    pub(crate) async fn ask(&mut self, frame: Value) -> Value {
        self.socket.send(Message::text(frame.to_string())).await.unwrap();
        self.recv().await
    }

    async fn next(&mut self) -> Message {
        loop {
            let message = tokio::time::timeout(PATIENCE, self.socket.next()).await.unwrap();
            match message.unwrap().unwrap() {
                Message::Ping(_) | Message::Pong(_) => {}
                other => return other,
            }
        }
    }

    pub(crate) async fn recv(&mut self) -> Value {
        let message = self.next().await;
        let Message::Text(text) = message else {
            panic!("not text: {message:?}")
        };
        serde_json::from_str(&text).unwrap()
    }

    /// The code of the close frame, whatever is said before it.
    async fn closed_after_words(&mut self) -> u16 {
        loop {
            if let Message::Close(Some(frame)) = self.next().await {
                return frame.code.into();
            }
        }
    }

    /// The code of the close frame that comes next.
    pub(crate) async fn closed(&mut self) -> u16 {
        let message = self.next().await;
        let Message::Close(Some(frame)) = message else {
            panic!("no close: {message:?}")
        };
        frame.code.into()
    }
}

/// A request of an operator, which blocks.
pub(crate) async fn operate(server: &Server, request: &str, body: Value) -> (u16, Value) {
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    tokio::task::block_in_place(|| admin(server, request, &body))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rooms_are_listed_read_spoken_to_and_closed_by_names_with_slashes() {
    let server = start("");
    let room = "team/räume & more";
    let path = "/v1/rooms/team%2Fr%C3%A4ume%20%26%20more";
    let mut a = Peer::join(&server, "a", room).await;
    let mut b = Peer::join(&server, "b", room).await;
    assert_eq!(a.recv().await["ev"], "join");
    for request in ["GET /v1/rooms", "GET /v1/bans", &format!("POST {path}/kick")] {
        let answer = tokio::task::block_in_place(|| ask(server.http, None, request, "{}"));
        assert_eq!(answer.0, 401, "{request}");
    }
    let (status, list) = operate(&server, "GET /v1/rooms?dialect=native", Value::Null).await;
    assert_eq!(
        (status, &list["rooms"][0]["room"], &list["rooms"][0]["peers"]),
        (200, &json!(room), &json!(2))
    );
    let (_, shown) = operate(&server, &format!("GET {path}?limit=1"), Value::Null).await;
    assert_eq!(
        (&shown["members"][0]["peer"], &shown["members"][0]["session"]),
        (&json!("a"), &a.welcome["sid"])
    );
    let cursor = shown["nextCursor"].as_str().unwrap();
    let (_, shown) = operate(&server, &format!("GET {path}?limit=1&cursor={cursor}"), Value::Null).await;
    assert_eq!(
        (&shown["members"][0]["peer"], &shown["nextCursor"]),
        (&json!("b"), &Value::Null)
    );

    let (status, sent) = operate(&server, &format!("POST {path}/send"), json!({"data": {"hello": 1}})).await;
    assert_eq!((status, &sent["sent"]), (200, &json!(2)), "{sent}");
    for peer in [&mut a, &mut b] {
        let told = peer.recv().await;
        assert_eq!(
            (&told["from"], &told["data"]),
            (&json!("$server"), &json!({"hello": 1}))
        );
    }
    let send = json!({"to": ["b", "x"], "bin": "AAE="});
    let (_, sent) = operate(&server, &format!("POST {path}/send"), send).await;
    assert_eq!(sent, json!({"sent": 1, "missing": ["x"]}));
    assert_eq!(b.recv().await["bin"], "AAE=");
    let change = json!({"set": {"topic": "x"}, "if": 0});
    let (_, changed) = operate(&server, &format!("POST {path}/meta"), change.clone()).await;
    assert_eq!((&changed["ver"], &a.recv().await["by"]), (&json!(1), &json!("$server")));
    assert_eq!(b.recv().await["t"], "room");
    let (status, problem) = operate(&server, &format!("POST {path}/meta"), change).await;
    assert_eq!((status, &problem["code"]), (409, &json!("version")));

    for (request, body, expected) in [
        ("GET /v1/rooms/nowhere", Value::Null, (404, "no_room")),
        ("GET /v1/rooms?surprise=1", Value::Null, (400, "bad_query")),
        ("GET /v1/rooms?cursor=x", Value::Null, (400, "bad_cursor")),
        ("GET /v1/rooms?dialect=klingon", Value::Null, (400, "unknown_dialect")),
        ("POST /v1/rooms/nowhere/kick", json!({"peer": "a"}), (404, "no_room")),
        (
            "POST /v1/rooms/nowhere/kick",
            json!({"peer": "a", "surprise": 1}),
            (400, "bad_body"),
        ),
        (
            "POST /v1/rooms/nowhere/kick",
            json!({"peer": "a", "ban_seconds": 0}),
            (400, "bad_seconds"),
        ),
        (
            "POST /v1/rooms/nowhere/send",
            json!({"data": 1, "bin": ""}),
            (400, "bad_body"),
        ),
        ("POST /v1/rooms/nowhere/close", json!({}), (404, "no_room")),
        ("POST /v1/bans", json!({"seconds": 1}), (400, "bad_ban")),
        (
            "POST /v1/bans",
            json!({"peer": "p", "user": "u", "seconds": 1}),
            (400, "bad_ban"),
        ),
        ("DELETE /v1/bans/77", Value::Null, (404, "no_ban")),
        ("DELETE /v1/bans/x", Value::Null, (404, "no_ban")),
    ] {
        let (status, problem) = operate(&server, request, body).await;
        assert_eq!(
            (status, problem["code"].as_str().unwrap_or_default()),
            expected,
            "{request}: {problem}"
        );
    }

    let close = json!({"reason": "over", "lock_seconds": 60});
    let (status, closed) = operate(&server, &format!("POST {path}/close"), close).await;
    assert_eq!((status, &closed["ended"]), (200, &json!(0)), "{closed}");
    for peer in [&mut a, &mut b] {
        let told = peer.recv().await;
        assert_eq!((&told["t"], &told["msg"]), (&json!("closed"), &json!("over")));
    }
    assert_eq!(a.ask(json!({"t": "join", "room": room})).await["code"], "forbidden");
    let lift = format!("DELETE /v1/bans/{}", closed["ban"]);
    assert_eq!(operate(&server, &lift, Value::Null).await.0, 204);
    assert_eq!(a.ask(json!({"t": "join", "room": room})).await["t"], "joined");
    assert!(server.log().contains("close_room"), "the trail of what was done");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kick_with_a_ban_keeps_out_until_it_is_lifted() {
    let server = start("");
    let mut a = Peer::join(&server, "a", "r").await;
    let mut b = Peer::join(&server, "b", "r").await;
    assert_eq!(a.recv().await["ev"], "join");
    let kick = json!({"peer": "b", "reason": "be nice", "ban_seconds": 60});
    let (status, done) = operate(&server, "POST /v1/rooms/r/kick", kick).await;
    assert_eq!((status, &done["ended"]), (200, &json!(1)), "{done}");
    assert_eq!(b.recv().await["msg"], "be nice");
    assert_eq!(b.closed().await, 4105);
    assert_eq!(a.recv().await["ev"], "leave");
    let mut again = Peer::connect(&server, "b").await;
    assert_eq!(again.ask(json!({"t": "join", "room": "r"})).await["code"], "forbidden");
    assert_eq!(
        again.ask(json!({"t": "join", "room": "elsewhere"})).await["t"],
        "joined"
    );
    let (_, list) = operate(&server, "GET /v1/bans", Value::Null).await;
    let shown = &list["bans"][0];
    assert_eq!(
        (&shown["peer"], &shown["room"], &shown["dialect"], &shown["ban"]),
        (&json!("b"), &json!("r"), &json!("native"), &done["ban"])
    );
    assert_eq!(
        operate(&server, &format!("DELETE /v1/bans/{}", done["ban"]), Value::Null)
            .await
            .0,
        204
    );
    assert_eq!(again.ask(json!({"t": "join", "room": "r"})).await["t"], "joined");

    // From the whole server, by address.
    let ban = json!({"address": "127.0.0.1", "seconds": 60, "reason": "all of you"});
    let (_, done) = operate(&server, "POST /v1/bans", ban).await;
    assert_eq!(done["ended"], 2, "{done}");
    assert_eq!(Peer::connect(&server, "c").await.welcome["code"], "forbidden");
    assert_eq!(
        operate(&server, &format!("DELETE /v1/bans/{}", done["ban"]), Value::Null)
            .await
            .0,
        204
    );
    assert_eq!(Peer::connect(&server, "c").await.welcome["t"], "welcome");
}

/// A client of the relay with what the hub handed out.
fn of_welcome(server: &Server, peer: &Peer) -> Client {
    let servers = peer.welcome["ice"]["servers"].as_array().unwrap();
    let turn = servers.iter().find(|server| server["credential"].is_string()).unwrap();
    let mut client = Client::new(server.relay);
    client.log_in_with(turn["username"].as_str().unwrap(), turn["credential"].as_str().unwrap());
    client
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kick_reaches_the_relay_and_nothing_else_that_ends_a_session_does() {
    let server = start("");
    let mut kept = Peer::join(&server, "kept", "r").await;
    let mut mallory = Peer::join(&server, "mallory", "r").await;
    let gone = Peer::join(&server, "gone", "r").await;
    let username = mallory.welcome["ice"].to_string();
    let sid = mallory.welcome["sid"].as_str().unwrap().to_owned();
    assert!(username.contains(&format!(":{sid}~")), "{username}");
    let mut of_kept = of_welcome(&server, &kept);
    let (mut first, mut second) = (of_welcome(&server, &mallory), of_welcome(&server, &mallory));
    let mut of_gone = of_welcome(&server, &gone);
    for client in [&mut of_kept, &mut first, &mut second, &mut of_gone] {
        client.allocate();
    }
    // A session that ends by itself keeps what it holds of the relay, and even may go on allocating.
    drop(gone);
    let away = |frame: &Value| frame["peer"] == "gone" && frame["ev"] == "leave";
    while !away(&kept.recv().await) {}
    assert_eq!(of_gone.refresh(600), Ok(()));

    let kick = json!({"peer": "mallory", "ban_seconds": 600});
    let (status, done) = operate(&server, "POST /v1/rooms/r/kick", kick).await;
    assert_eq!(
        (status, &done["ended"], &done["allocations"]),
        (200, &json!(1), &json!(2)),
        "{done}"
    );
    assert_eq!((first.refresh(600), second.refresh(600)), (Err(437), Err(437)));
    assert_eq!(
        of_welcome(&server, &mallory).try_allocate(Wish::default()).err(),
        Some(403)
    );
    assert_eq!(mallory.closed_after_words().await, 4105);
    assert_eq!(of_kept.refresh(600), Ok(()));
    assert_eq!(of_gone.refresh(600), Ok(()));
    of_welcome(&server, &kept).allocate();
    let (_, list) = operate(&server, "GET /api/admin/revocations", Value::Null).await;
    assert_eq!(list["revocations"][0]["session"], json!(sid));

    // Let in again, it is a session of its own with credentials of its own; those of before stay worthless.
    assert_eq!(
        operate(&server, &format!("DELETE /v1/bans/{}", done["ban"]), Value::Null)
            .await
            .0,
        204
    );
    let back = Peer::join(&server, "mallory", "r").await;
    of_welcome(&server, &back).allocate();
    assert_eq!(
        of_welcome(&server, &mallory).try_allocate(Wish::default()).err(),
        Some(403)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kick_that_finds_no_room_for_its_ban_reaches_the_relay_all_the_same() {
    let server = start("[signaling]\nbans = 0\n");
    let mut mallory = Peer::join(&server, "mallory", "r").await;
    let mut client = of_welcome(&server, &mallory);
    client.allocate();
    let kick = json!({"peer": "mallory", "ban_seconds": 600});
    let (status, problem) = operate(&server, "POST /v1/rooms/r/kick", kick).await;
    assert_eq!((status, &problem["code"]), (507, &json!("bans_full")));
    assert_eq!(mallory.closed_after_words().await, 4105);
    assert_eq!(client.refresh(600), Err(437));
}
