//! Requests that do not become WebSockets.

use meetpoint::{signaling, ws};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::Server;

const GOOD: [&str; 5] = [
    "Host: x",
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
];

/// The head of the answer to a request with these headers.
async fn answer(server: &Server, headers: &[&str]) -> (String, TcpStream) {
    let mut tcp = TcpStream::connect(server.address).await.unwrap();
    let request = format!("GET /signaling HTTP/1.1\r\n{}\r\n\r\n", headers.join("\r\n"));
    tcp.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(tcp.read_u8().await.unwrap());
    }
    (String::from_utf8(head).unwrap().to_ascii_lowercase(), tcp)
}

#[tokio::test]
async fn a_plain_get_is_told_to_upgrade() {
    let server = Server::default().await;
    let (head, _tcp) = answer(&server, &["Host: x"]).await;
    assert!(head.starts_with("http/1.1 426"), "{head}");
    assert!(
        head.contains("upgrade: websocket") && head.contains("sec-websocket-version: 13"),
        "{head}"
    );
}

#[tokio::test]
async fn a_client_without_a_subprotocol_is_accepted_and_one_with_a_foreign_one_is_not() {
    let server = Server::default().await;
    let (head, _tcp) = answer(&server, &GOOD).await;
    assert!(head.starts_with("http/1.1 101"), "{head}");
    assert!(head.contains("s3pplmbitxaq9kygzzhzrbk+xoo="), "{head}");
    assert!(!head.contains("sec-websocket-protocol"), "{head}");
    let (head, _tcp) = answer(&server, &[&GOOD[..], &["Sec-WebSocket-Protocol: chat"]].concat()).await;
    assert!(head.starts_with("http/1.1 400"), "{head}");
}

#[tokio::test]
async fn an_origin_that_is_not_listed_is_forbidden() {
    let config = ws::Config {
        origins: Some(vec!["https://good.example".into()]),
        ..ws::Config::default()
    };
    let server = Server::start(signaling::Config::default(), config).await;
    let (head, _tcp) = answer(&server, &[&GOOD[..], &["Origin: https://evil.example"]].concat()).await;
    assert!(head.starts_with("http/1.1 403"), "{head}");
    let (head, _tcp) = answer(&server, &[&GOOD[..], &["Origin: https://good.example"]].concat()).await;
    assert!(head.starts_with("http/1.1 101"), "{head}");
}

#[tokio::test]
async fn a_full_server_says_503_before_the_upgrade_and_has_room_again_later() {
    let hub = signaling::Config {
        connections: 1,
        ..signaling::Config::default()
    };
    let server = Server::start(hub, ws::Config::default()).await;
    let (head, first) = answer(&server, &GOOD).await;
    assert!(head.starts_with("http/1.1 101"), "{head}");
    let (head, _tcp) = answer(&server, &GOOD).await;
    assert!(
        head.starts_with("http/1.1 503") && head.contains("retry-after"),
        "{head}"
    );
    drop(first);
    server
        .until("the end of the first", |stats| stats.connections == 0)
        .await;
    let (head, _tcp) = answer(&server, &GOOD).await;
    assert!(head.starts_with("http/1.1 101"), "{head}");
    assert_eq!(server.hub.stats().connects_refused, 1);
}
