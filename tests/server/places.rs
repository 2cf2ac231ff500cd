//! Where the hub is found: paths, listeners with a dialect of their own, and `/`.

use futures_util::{SinkExt as _, StreamExt as _};
use meetpoint::http;
use meetpoint::signaling::Dialect;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::http_support::{Api, Listening};

fn with(paths: &[(&str, Dialect)]) -> http::Config {
    http::Config {
        dialect_paths: paths
            .iter()
            .map(|(path, dialect)| ((*path).to_owned(), *dialect))
            .collect(),
        ..http::Config::default()
    }
}

/// A server whose listener has a dialect of its own.
async fn listener(paths: &[(&str, Dialect)], dialect: Dialect) -> Listening {
    Api::new(with(paths)).speaking(dialect).listen().await
}

async fn open(server: &Listening, path: &str) -> WebSocketStream<TcpStream> {
    let url = format!("ws://{}{path}", server.address);
    client_async(url, server.connect().await).await.unwrap().0
}

/// Says something and returns the next frame.
async fn ask(socket: &mut WebSocketStream<TcpStream>, frame: Value) -> Value {
    socket.send(Message::text(frame.to_string())).await.unwrap();
    let answer = socket.next().await.unwrap().unwrap();
    serde_json::from_str(answer.to_text().unwrap()).unwrap()
}

#[tokio::test]
async fn a_websocket_at_the_root_is_the_hubs_and_a_page_is_the_console() {
    let server = Api::new(http::Config::default()).listen().await;
    let mut socket = open(&server, "/").await;
    let told = ask(&mut socket, json!({"type": "register", "clientId": "a"})).await;
    assert_eq!(told["type"], "peers");
    let mut native = open(&server, "/").await;
    assert_eq!(ask(&mut native, json!({"t": "hello", "v": [1]})).await["t"], "welcome");
    let page = server.api.get("/", &[]).await;
    assert_eq!(page.status, 200);
    assert!(page.header("content-type").unwrap().starts_with("text/html"));
    assert_eq!(server.api.get("/nowhere", &[]).await.status, 404);
}

#[tokio::test]
async fn a_listener_of_a_dialect_speaks_it_on_every_path_that_is_not_anothers() {
    let server = listener(&[("/swarm", Dialect::Reploid)], Dialect::Chiral).await;
    let register = json!({"type": "register", "clientId": "a"});
    for path in ["/", "/any/path", "/signaling"] {
        assert_eq!(
            ask(&mut open(&server, path).await, register.clone()).await["type"],
            "peers",
            "{path}"
        );
    }
    // An explicit path and a subprotocol come before it.
    let mut swarm = open(&server, "/swarm").await;
    let welcome = swarm.next().await.unwrap().unwrap();
    assert!(welcome.to_text().unwrap().contains("welcome"));
    let mut native = open(&server, "/v1/ws").await;
    assert_eq!(ask(&mut native, json!({"t": "hello", "v": [1]})).await["t"], "welcome");
}

#[tokio::test]
async fn a_path_of_topics_answers_a_plain_request_with_okay_as_y_webrtcs_server_does() {
    let api = Api::new(with(&[("/yjs", Dialect::Topics), ("/files", Dialect::Chiral)]));
    let answer = api.get("/yjs", &[]).await;
    assert_eq!(
        (answer.status.as_u16(), answer.body.as_slice()),
        (200, b"okay".as_slice())
    );
    api.get("/files", &[]).await.assert_problem(426, "upgrade_required");
    let server = listener(&[], Dialect::Topics).await;
    assert_eq!(server.api.get("/", &[]).await.body, b"okay");
    assert_eq!(server.api.get("/anything", &[]).await.body, b"okay");
}

#[tokio::test]
async fn what_peerjs_asks_without_a_websocket_is_answered_as_by_its_server() {
    let api = Api::new(with(&[("/mine", Dialect::PeerJs)]));
    for path in ["/peerjs", "/mine", "/mine/"] {
        let about = api.get(path, &[]).await.json();
        assert_eq!(about["name"], "PeerJS Server", "{path}");
        assert!(about["description"].is_string() && about["website"].is_string());
    }
    let mut ids = std::collections::BTreeSet::new();
    for path in ["/peerjs/id", "/peerjs/peerjs/id", "/mine/any/id?ts=1"] {
        let origin = [("origin", "https://page.example")];
        let answer = api.get(path, &origin).await;
        assert_eq!(answer.status, 200, "{path}");
        assert!(answer.header("content-type").unwrap().starts_with("text/html"));
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
        let id = String::from_utf8(answer.body).unwrap();
        assert!(id.len() == 36 && ids.insert(id), "{path}");
    }
    assert_eq!(api.get("/mine/other", &[]).await.status, 404);
    assert_eq!(api.get("/health", &[]).await.status, 200);
}

#[tokio::test]
async fn the_ids_of_peerjs_are_listed_when_the_operator_says_so() {
    let closed = Api::new(http::Config::default());
    assert_eq!(closed.get("/peerjs/peers", &[]).await.status, 401);
    let open = http::Config {
        peerjs_discovery: true,
        ..http::Config::default()
    };
    let server = Api::new(open).listen().await;
    let peers = || async { server.api.get("/peerjs/peers", &[]).await.json() };
    assert_eq!(peers().await, json!([]));
    let mut socket = open_peer(&server, "/peerjs", "some id").await;
    assert_eq!(peers().await, json!(["some id"]));
    // A frame whose target is not there is answered in time, by the clock of the server.
    let offer = json!({"type": "OFFER", "dst": "nobody", "payload": {}});
    let told = ask(&mut socket, offer).await;
    assert_eq!(told, json!({"type": "EXPIRE", "src": "nobody", "dst": "some id"}));
}

async fn open_peer(server: &Listening, path: &str, id: &str) -> WebSocketStream<TcpStream> {
    let id = id.replace(' ', "%20");
    let mut socket = open(server, &format!("{path}?key=peerjs&id={id}&token=t&version=1.5.5")).await;
    let opened = socket.next().await.unwrap().unwrap();
    assert_eq!(opened.to_text().unwrap(), r#"{"type":"OPEN"}"#);
    socket
}

#[tokio::test]
async fn a_client_that_waits_for_the_server_is_greeted_on_every_path_that_is_its() {
    let server = Api::new(with(&[("/mine", Dialect::PeerJs)])).listen().await;
    for (path, id) in [("/peerjs", "a"), ("/mine/peerjs", "b"), ("/", "c"), ("/signaling", "d")] {
        open_peer(&server, path, id).await;
    }
    let listener = listener(&[], Dialect::PeerJs).await;
    open_peer(&listener, "/any/path/peerjs", "e").await;
    let matchbox = self::listener(&[], Dialect::Matchbox).await;
    for (server, path) in [
        (&server, "/match/r%C3%A4ume?next=3"),
        (&matchbox, "/räume"),
        (&matchbox, "/"),
    ] {
        let mut socket = open(server, &path.replace('ä', "%C3%A4")).await;
        let assigned = socket.next().await.unwrap().unwrap();
        assert!(assigned.to_text().unwrap().starts_with(r#"{"IdAssigned":"#), "{path}");
    }
}
