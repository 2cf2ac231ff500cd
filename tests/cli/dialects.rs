//! Ports and paths of the dialects of the hub, as an operator sets them.

use crate::program::{Server, get};
use crate::reload::RELOADED;
use futures_util::StreamExt;
use std::net::SocketAddr;

/// The first frame of a connection.
async fn first_frame(server: SocketAddr, path: &str) -> String {
    let stream = tokio::net::TcpStream::connect(server).await.unwrap();
    let (mut socket, _) = tokio_tungstenite::client_async(format!("ws://{server}{path}"), stream)
        .await
        .unwrap();
    let frame = socket.next().await.unwrap().unwrap();
    frame.to_text().unwrap().to_owned()
}

/// Where the dialect listens, as the log says.
fn listener(server: &Server, dialect: &str) -> SocketAddr {
    let log = server.log();
    let line = log
        .lines()
        .find(|line| line.contains("\"signaling.listeners\"") && line.contains(&format!("\"{dialect}\"")));
    let (_, rest) = line.unwrap().split_once("\"address\":\"").unwrap();
    rest.split_once('"').unwrap().0.parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dialect_with_a_port_of_its_own_has_every_path_there_and_the_others_have_theirs() {
    let list = "127.0.0.1:0=peerjs,127.0.0.1:0=topics";
    let server = Server::start(&["--signaling-listeners", list]);
    let peerjs = listener(&server, "peerjs");
    let query = "key=peerjs&id=a&token=t";
    assert_eq!(
        first_frame(peerjs, &format!("/any/peerjs?{query}")).await,
        r#"{"type":"OPEN"}"#
    );
    assert!(get(peerjs, "/any/peerjs/id").unwrap().starts_with("HTTP/1.1 200"));
    assert!(get(listener(&server, "topics"), "/").unwrap().ends_with("okay"));
    // The other ports are as they were.
    assert!(get(server.http, "/").unwrap().contains("<html"));
    assert!(get(server.http, "/any/peerjs/id").unwrap().starts_with("HTTP/1.1 404"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_of_a_dialect_comes_and_goes_with_a_reload() {
    let file = |dialects: &str| format!("[signaling]\ndialects = {dialects}\n");
    let server = Server::start_with(&[("meetpoint.toml", &file("[]"))], &[]);
    assert!(get(server.http, "/swarm").unwrap().starts_with("HTTP/1.1 404"));
    server.write("meetpoint.toml", &file(r#"["/swarm=reploid"]"#));
    server.signal("HUP");
    server.wait_for_log(RELOADED, 1);
    assert!(first_frame(server.http, "/swarm").await.contains("welcome"));
}
