//! Senders whose token takes somebody else to judge.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use meetpoint::{signaling, ws};
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use crate::support::Server;

#[tokio::test]
async fn what_follows_a_hello_that_is_being_judged_keeps_its_order() {
    let server = Server::default().await;
    let mut client = server.connect().await;
    client
        .say(json!({"t": "hello", "v": [1], "token": "later:alice", "peer": "p"}))
        .await;
    client.say(json!({"t": "join", "id": 1, "room": "r"})).await;
    for n in 1..=20 {
        client.say(json!({"t": "ping", "n": n})).await;
    }
    let welcome = client.recv().await;
    assert_eq!((&welcome["t"], &welcome["peer"]), (&json!("welcome"), &json!("p")));
    assert_eq!(welcome["ice"]["servers"][0]["username"], "alice");
    assert_eq!(client.recv().await["t"], "joined");
    for n in 1..=20 {
        assert_eq!(client.recv().await["n"], n);
    }
}

#[tokio::test]
async fn a_token_that_is_renewed_may_take_its_time_and_events_go_on_meanwhile() {
    let server = Server::default().await;
    let mut alice = server.connect().await;
    let hello = json!({"t": "hello", "v": [1], "token": "good:alice", "peer": "alice"});
    assert_eq!(alice.ask(hello).await["t"], "welcome");
    assert_eq!(
        alice.ask(json!({"t": "join", "id": 1, "room": "r"})).await["t"],
        "joined"
    );
    alice.say(json!({"t": "auth", "id": 2, "token": "later:alice"})).await;
    alice.say(json!({"t": "auth", "id": 3, "token": "later:bob"})).await;
    let _other = server.member("other", "r").await;
    let event = alice.recv().await;
    assert_eq!((&event["ev"], &event["peer"]), (&json!("join"), &json!("other")));
    let renewed = alice.recv().await;
    assert_eq!((&renewed["t"], &renewed["id"]), (&json!("ok"), &json!(2)));
    let refused = alice.recv().await;
    assert_eq!((&refused["code"], &refused["id"]), (&json!("forbidden"), &json!(3)));
    assert_eq!(alice.ask(json!({"t": "ping", "n": 7})).await["n"], 7);
}

#[tokio::test]
async fn a_verdict_that_never_comes_holds_a_socket_for_no_longer_than_a_hello_may_take() {
    let hub = signaling::Config {
        hello_timeout: Duration::from_millis(200),
        ..signaling::Config::default()
    };
    let server = Server::start(hub, ws::Config::default()).await;
    let mut client = server.connect().await;
    client
        .say(json!({"t": "hello", "v": [1], "token": "later:never"}))
        .await;
    let error = client.recv().await;
    assert_eq!((&error["code"], &error["fatal"]), (&json!("bad_request"), &json!(true)));
    let Some(Ok(Message::Close(Some(frame)))) = client.socket.next().await else {
        panic!("a close frame")
    };
    assert_eq!(u16::from(frame.code), 4100);
    server.until("the end", |stats| stats.connections == 0).await;
}

#[tokio::test]
async fn a_client_that_leaves_while_it_is_judged_is_welcomed_by_nobody() {
    let server = Server::default().await;
    let mut client = server.connect().await;
    client
        .say(json!({"t": "hello", "v": [1], "token": "later:alice"}))
        .await;
    client.socket.send(Message::Close(None)).await.unwrap();
    drop(client);
    server
        .until("the end", |stats| stats.connections == 0 && stats.peers == 0)
        .await;
    assert_eq!(
        server.member("p", "r").await.ask(json!({"t": "ping", "n": 1})).await["n"],
        1
    );
}
