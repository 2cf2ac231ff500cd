//! Two peers find each other.

use std::time::Duration;

use meetpoint::{
    signaling::{self, CloseCode},
    ws,
};
use serde_json::json;

use futures_util::SinkExt;
use tokio_tungstenite::tungstenite::Message;

use crate::{signaling_schema, support::Server};

#[tokio::test]
async fn two_peers_exchange_an_offer_an_answer_and_candidates_byte_for_byte() {
    let server = Server::default().await;
    let mut a = server.member("a", "r").await;
    let mut b = server.member("b", "r").await;
    assert_eq!(a.recv().await["ev"], "join");
    let exchange = [
        (
            "offer",
            r#"{"type":"offer", "sdp":"v=0\r\no=- 4611731400430051336 2 IN IP4 127.0.0.1\r\n"}"#,
        ),
        (
            "cand",
            r#"{ "candidate":"candidate:1 1 udp 1.5e3 \u00e4","sdpMid":"0","sdpMLineIndex":0 }"#,
        ),
        ("end", "null"),
    ];
    for (kind, data) in exchange {
        b.say_text(&format!(
            r#"{{"t":"sig","room":"r","to":"a","kind":"{kind}","data":{data}}}"#
        ))
        .await;
        let text = a.recv_text().await;
        assert!(text.contains(&format!("\"data\":{data},")), "{text}");
        a.say_text(&format!(
            r#"{{"t":"sig","id":1,"room":"r","to":"b","kind":"x-echo","data":{data}}}"#
        ))
        .await;
        assert_eq!(a.recv().await["t"], "ok");
        assert!(b.recv_text().await.contains(&format!("\"data\":{data},")));
    }
    assert_eq!(server.hub.stats().messages[signaling::MessageKind::Sig], 6);
}

#[tokio::test]
async fn the_host_and_the_user_reach_the_ice_source_and_a_query_token_counts() {
    let server = Server::default().await;
    let host = server.address.to_string();
    let mut client = server
        .connect_to(&format!("{}?access_token=good:alice", server.url()))
        .await;
    let welcome = client.ask(json!({"t": "hello", "v": [1]})).await;
    assert_eq!(welcome["ice"]["servers"][0]["username"], "alice");
    assert_eq!(welcome["ice"]["servers"][0]["urls"][0], format!("turn:{host}"));
    assert_eq!(
        client.ask(json!({"t": "ice", "id": 2})).await["servers"][0]["username"],
        "alice"
    );
    assert_eq!(
        client.ask(json!({"t": "auth", "id": 3, "token": "good:alice"})).await["t"],
        "ok"
    );
    assert_eq!(
        client.ask(json!({"t": "auth", "id": 4, "token": "good:bob"})).await["code"],
        "forbidden"
    );

    let mut anonymous = server.connect().await;
    let welcome = anonymous.ask(json!({"t": "hello", "v": [1]})).await;
    assert_eq!(welcome["ice"]["servers"][0]["username"], welcome["sid"]);
}

#[tokio::test]
async fn bytes_go_through_sockets_as_binary_frames_of_every_length() {
    let server = Server::default().await;
    let hello = |peer: &str| json!({"t": "hello", "v": [1], "peer": peer, "caps": ["bin"]});
    let (mut a, mut b) = (server.connect().await, server.connect().await);
    for (client, peer) in [(&mut a, "a"), (&mut b, "b")] {
        assert_eq!(client.ask(hello(peer)).await["t"], "welcome");
        assert_eq!(client.ask(json!({"t": "join", "room": "r"})).await["t"], "joined");
    }
    assert_eq!(a.recv().await["ev"], "join");
    let mut plain = server.member("plain", "r").await;
    for client in [&mut a, &mut b] {
        assert_eq!(client.recv().await["ev"], "join");
    }
    let header = json!({"id": 1, "room": "r"});
    let longest = 65_536 - signaling_schema::client_binary(&header, b"").len();
    for length in [0, 1, 100, 1_000, longest] {
        let payload: Vec<u8> = (0..length).map(|at| (at * 7) as u8).collect();
        let frame = signaling_schema::client_binary(&header, &payload);
        a.socket.send(Message::binary(frame)).await.unwrap();
        assert_eq!(a.recv().await, json!({"t": "ok", "id": 1, "sent": 2}));
        let (header, got) = b.recv_binary().await;
        assert_eq!((&header["from"], got == payload), (&json!("a"), true));
        assert_eq!(
            plain.recv().await["bin"].as_str().unwrap().len(),
            length.div_ceil(3) * 4
        );
    }
    let frame = signaling_schema::client_binary(&header, &vec![0; longest + 1]);
    a.socket.send(Message::binary(frame)).await.unwrap();
    let (code, before) = a.closed().await;
    assert_eq!((code, &before[0]["code"]), (1009, &json!("too_large")));
}

#[tokio::test]
async fn refused_tokens_close_with_their_codes() {
    let server = Server::default().await;
    for (token, code, close) in [("bad", "unauthorized", 4101), ("old", "expired", 4102)] {
        let mut client = server.connect().await;
        let error = client.ask(json!({"t": "hello", "v": [1], "token": token})).await;
        assert_eq!(error["code"], code);
        assert_eq!(client.closed().await.0, close);
    }
}

#[tokio::test]
async fn a_socket_that_ends_without_a_word_leaves_its_rooms() {
    let server = Server::default().await;
    let mut a = server.member("a", "r").await;
    let b = server.member("b", "r").await;
    a.recv().await;
    drop(b);
    let left = a.recv().await;
    assert_eq!((&left["ev"], &left["why"]), (&json!("leave"), &json!("lost")));
    server.until("the end of b", |stats| stats.connections == 1).await;
}

#[tokio::test]
async fn a_client_that_closes_is_answered_and_its_room_is_told() {
    let server = Server::default().await;
    let mut a = server.member("a", "r").await;
    let mut b = server.member("b", "r").await;
    a.recv().await;
    b.socket.close(None).await.unwrap();
    assert_eq!(a.recv().await["why"], "bye");
    assert_eq!(server.hub.stats().closes[CloseCode::Normal], 1);
}

#[tokio::test]
async fn bye_is_answered_before_the_close_frame() {
    let server = Server::default().await;
    let mut a = server.member("a", "r").await;
    a.say(json!({"t": "bye", "id": 9})).await;
    assert_eq!(a.closed().await, (1000, vec![json!({"t": "ok", "id": 9})]));
}

#[tokio::test]
async fn the_owner_takes_over_a_half_open_socket() {
    let server = Server::default().await;
    let mut old = server.connect().await;
    let first = old.ask(json!({"t": "hello", "v": [1], "peer": "p"})).await;
    old.ask(json!({"t": "join", "room": "r"})).await;
    let mut new = server.connect().await;
    let resume = json!({"sid": first["sid"], "key": first["key"]});
    let second = new.ask(json!({"t": "hello", "v": [1], "resume": resume})).await;
    assert_eq!(second["peer"], "p");
    assert_eq!(old.closed().await.0, 4103);
    assert_eq!(new.ask(json!({"t": "join", "room": "r"})).await["t"], "joined");
    server
        .until("the end of the old socket", |stats| {
            stats.connections == 1 && stats.memberships == 1
        })
        .await;
}

#[tokio::test]
async fn newer_ice_servers_come_unasked_for_the_name_and_host_of_the_first() {
    let server = Server::default().await;
    let mut peer = server.connect().await;
    let welcome = peer.ask(json!({"t": "hello", "v": [1]})).await;
    server.hub.renew_all_ice(Duration::from_millis(50));
    let ice = peer.recv().await;
    assert_eq!((&ice["t"], ice.get("id")), (&json!("ice"), None));
    assert_eq!(ice["servers"], welcome["ice"]["servers"]);
}

#[tokio::test]
async fn a_torn_socket_is_away_and_the_next_one_goes_on_with_what_was_missed() {
    let server = Server::default().await;
    let mut elder = server.member("elder", "r").await;
    let mut torn = server.connect().await;
    let hello = json!({"t": "hello", "v": [1], "peer": "p", "caps": ["resume"]});
    let first = torn.ask(hello).await;
    let joined = torn.ask(json!({"t": "join", "room": "r"})).await;
    assert_eq!(elder.recv().await["ev"], "join");
    drop(torn);
    assert_eq!(elder.recv().await["ev"], "away");
    let signal = json!({"t": "sig", "id": 1, "room": "r", "to": "p", "kind": "offer", "data": {"sdp": "…"}});
    assert_eq!(elder.ask(signal).await["t"], "ok");

    let mut back = server.connect().await;
    let resume = json!({"sid": first["sid"], "key": first["key"], "seq": joined["seq"]});
    let hello = json!({"t": "hello", "v": [1], "caps": ["resume"], "resume": resume});
    let second = back.ask(hello).await;
    assert_eq!((&second["resumed"], &second["peer"]), (&json!(true), &json!("p")));
    let missed = back.recv().await;
    assert_eq!(
        (&missed["from"], &missed["data"]["sdp"]),
        (&json!("elder"), &json!("…"))
    );
    assert_eq!(elder.recv().await["ev"], "back");
    // The TURN name is that of the session, not of the socket.
    let user = |welcome: &serde_json::Value| welcome["ice"].to_string();
    assert!(user(&second).contains(first["sid"].as_str().unwrap()), "{second}");
}

#[tokio::test]
async fn the_view_for_http_has_the_documented_shape() {
    let server = Server::default().await;
    let _a = server.member("a", "r").await;
    let _b = server.member("b", "r").await;
    let view = serde_json::to_value(server.hub.stats_view(10, 10)).unwrap();
    assert_eq!(view["totalRooms"], 1);
    assert_eq!(view["totalPeers"], 2);
    assert_eq!(
        view["rooms"],
        json!([{"roomId": "r", "peerCount": 2, "peers": ["a", "b"]}])
    );
    let bounded = serde_json::to_value(server.hub.stats_view(10, 1)).unwrap();
    assert_eq!(
        bounded["rooms"],
        json!([{"roomId": "r", "peerCount": 2, "peers": ["a"]}])
    );
    assert_eq!(
        serde_json::to_value(server.hub.stats_view(0, 1)).unwrap()["rooms"],
        json!([])
    );
}

#[tokio::test]
async fn a_server_that_goes_away_says_so_and_closes_with_4003() {
    let server = Server::start(signaling::Config::default(), ws::Config::default()).await;
    let mut a = server.member("a", "r").await;
    server.hub.drain((Duration::from_secs(1), Duration::from_secs(5)), None);
    assert_eq!(a.recv().await, json!({"t": "drain", "after": [1_000, 5_000]}));
    server.hub.close_all();
    assert_eq!(a.closed().await.0, 4003);
}
