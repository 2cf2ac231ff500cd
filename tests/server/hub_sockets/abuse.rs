//! Clients that are silent, slow, loud or broken, and rooms that do not notice.

use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use meetpoint::{
    signaling::{self, CloseCode, ErrorCode},
    ws,
};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::tungstenite::Message;

use crate::support::{PATIENCE, Server};

#[tokio::test]
async fn junk_binary_and_unknown_types_are_answered_and_disturb_nobody() {
    let server = Server::default().await;
    let mut a = server.member("a", "r").await;
    let mut b = server.member("b", "r").await;
    a.recv().await;
    for (text, code) in [
        ("junk", "bad_frame"),
        (r#"{"t":"dance"}"#, "unknown_type"),
        (r#"{"t":"join"}"#, "bad_request"),
    ] {
        b.say_text(text).await;
        assert_eq!(b.recv().await["code"], code);
    }
    b.socket.send(Message::binary(vec![0, 1, 2])).await.unwrap();
    assert_eq!(b.recv().await["code"], "bad_frame");
    b.say(json!({"t": "sig", "room": "r", "to": "a", "kind": "end"})).await;
    assert_eq!(a.recv().await["kind"], "end");
}

#[tokio::test]
async fn a_frame_at_the_limit_passes_and_one_byte_more_ends_that_connection_only() {
    let hub = signaling::Config {
        frame_bytes: 2_000,
        ..signaling::Config::default()
    };
    let server = Server::start(hub, ws::Config::default()).await;
    let mut a = server.member("a", "r").await;
    let mut b = server.member("b", "r").await;
    a.recv().await;
    let frame = |length: usize| {
        let head = r#"{"t":"sig","room":"r","to":"a","kind":"x-a","data":""#;
        format!("{head}{}\"}}", "d".repeat(length - head.len() - 2))
    };
    b.say_text(&frame(2_000)).await;
    assert_eq!(a.recv().await["kind"], "x-a");
    b.say_text(&frame(2_001)).await;
    let (code, before) = b.closed().await;
    assert_eq!((code, &before[0]["code"]), (1009, &json!("too_large")));
    assert_eq!(a.recv().await["why"], "too_large");
    assert_eq!(server.hub.stats().refused[ErrorCode::TooLarge], 1);
}

#[tokio::test]
async fn a_frame_in_fragments_above_the_limit_is_as_large_as_its_sum() {
    use tokio_tungstenite::tungstenite::protocol::frame::{
        Frame,
        coding::{Data, OpCode},
    };
    let hub = signaling::Config {
        frame_bytes: 1_000,
        ..signaling::Config::default()
    };
    let server = Server::start(hub, ws::Config::default()).await;
    let mut a = server.member("a", "r").await;
    for (at, opcode) in [(0, Data::Text), (1, Data::Continue), (2, Data::Continue)] {
        let frame = Frame::message(vec![b' '; 600], OpCode::Data(opcode), at == 2);
        a.socket.send(Message::Frame(frame)).await.unwrap();
    }
    assert_eq!(a.closed().await.0, 1009);
}

#[tokio::test]
async fn text_that_is_not_utf_8_closes_with_1007() {
    use tokio_tungstenite::tungstenite::protocol::frame::{
        Frame,
        coding::{Data, OpCode},
    };
    let server = Server::default().await;
    let mut a = server.member("a", "r").await;
    let frame = Frame::message(vec![0xC3, 0x28], OpCode::Data(Data::Text), true);
    a.socket.send(Message::Frame(frame)).await.unwrap();
    assert_eq!(a.closed().await.0, 1007);
    assert_eq!(server.hub.stats().closes[CloseCode::BadUtf8], 1);
}

#[tokio::test]
async fn a_frame_that_is_not_masked_closes_with_1002() {
    let server = Server::default().await;
    let mut a = server.member("a", "r").await;
    a.socket.get_mut().write_all(&[0x81, 0x02, b'{', b'}']).await.unwrap();
    assert_eq!(a.closed().await.0, 1002);
}

#[tokio::test]
async fn a_slow_reader_is_closed_while_the_room_goes_on() {
    let hub = signaling::Config {
        messages_per_second: 100_000,
        message_burst: 100_000,
        byte_burst: u32::MAX,
        relay_byte_burst: u32::MAX,
        relay_total_bytes_per_second: u32::MAX,
        ..signaling::Config::default()
    };
    let server = Server::start(
        hub,
        ws::Config {
            queue_bytes: 100_000,
            // The slow one is to find out by itself, however long this machine takes.
            close_timeout: PATIENCE,
            ..ws::Config::default()
        },
    )
    .await;
    let mut talker = server.member("talker", "r").await;
    let mut listener = server.member("listener", "r").await;
    let mut slow = server.member("slow", "r").await;
    talker.recv().await;
    talker.recv().await;
    listener.recv().await;
    let frame = format!(r#"{{"t":"send","room":"r","data":"{}"}}"#, "d".repeat(30_000));
    let started = Instant::now();
    let mut told = false;
    for sent in 1.. {
        talker.say_text(&frame).await;
        // The listener gets everything, in order, at once, whatever the slow one does.
        loop {
            let got = listener.recv().await;
            if got["t"] == "peer" {
                assert_eq!((&got["peer"], &got["why"]), (&json!("slow"), &json!("slow")));
                told = true;
                continue;
            }
            assert_eq!(got["t"], "msg");
            break;
        }
        if told {
            break;
        }
        assert!(
            sent < 2_000 && started.elapsed() < PATIENCE,
            "the slow reader was never closed"
        );
    }
    let stats = server.hub.stats();
    assert_eq!((stats.queue_overflows, stats.closes[CloseCode::Slow]), (1, 1));
    assert_eq!(stats.memberships, 2);
    assert_eq!(slow.closed().await.0, 4_002);
}

#[tokio::test]
async fn news_of_a_crowd_arrives_by_itself_and_before_what_comes_after_it() {
    const CROWD: usize = 104;
    let server = Server::default().await;
    let mut members = Vec::new();
    for at in 0..CROWD {
        members.push(server.member(&format!("p{at}"), "r").await);
    }
    let mut newcomer = server.member("newcomer", "r").await;
    newcomer
        .say(json!({"t": "sig", "room": "r", "to": "p0", "kind": "offer", "data": {}}))
        .await;
    for (at, member) in members.iter_mut().enumerate() {
        // Everybody hears of all who came after, one by one, and nobody has to say anything for it.
        for later in at + 1..CROWD {
            assert_eq!(member.recv().await["peer"], format!("p{later}"));
        }
        let event = member.recv().await;
        assert_eq!((&event["ev"], &event["peer"]), (&json!("join"), &json!("newcomer")));
    }
    assert_eq!(members[0].recv().await["kind"], "offer");
}

#[tokio::test]
async fn a_reader_that_never_takes_one_frame_is_slow_after_the_write_timeout() {
    let hub = signaling::Config {
        message_burst: 100_000,
        byte_burst: u32::MAX,
        relay_byte_burst: u32::MAX,
        relay_total_bytes_per_second: u32::MAX,
        ..signaling::Config::default()
    };
    let config = ws::Config {
        queue_bytes: 64 << 20,
        queue_messages: 100_000,
        write_timeout: Duration::from_millis(300),
        ..Default::default()
    };
    let server = Server::start(hub, config).await;
    let mut talker = server.member("talker", "r").await;
    let _slow = server.member("slow", "r").await;
    talker.recv().await;
    let frame = format!(r#"{{"t":"send","room":"r","data":"{}"}}"#, "d".repeat(60_000));
    // More than the kernel's buffers of both ends hold.
    for _ in 0..300 {
        talker.say_text(&frame).await;
    }
    assert_eq!(talker.recv().await["why"], "slow");
}

#[tokio::test]
async fn a_half_open_socket_is_found_dead_and_a_quiet_one_is_not() {
    let hub = signaling::Config {
        ping_interval: Duration::from_millis(100),
        dead_after: Duration::from_millis(400),
        ..signaling::Config::default()
    };
    let server = Server::start(hub, ws::Config::default()).await;
    let mut quiet = server.member("quiet", "r").await;
    let started = Instant::now();
    // Its socket is never read again, so nothing answers the pings: as after a lost network.
    let silent = server.member("silent", "r").await;
    assert_eq!(quiet.recv().await["ev"], "join");
    let left = quiet.recv().await;
    assert_eq!((&left["peer"], &left["why"]), (&json!("silent"), &json!("dead")));
    assert!(started.elapsed() >= Duration::from_millis(400));
    drop(silent);
    // The quiet one has said nothing for longer than that; its pongs were enough.
    let quiet_for = tokio::time::timeout(Duration::from_millis(600), quiet.socket.next()).await;
    assert!(
        !matches!(quiet_for, Ok(Some(Ok(Message::Close(_))) | None)),
        "{quiet_for:?}"
    );
    assert_eq!(server.hub.stats().closes[CloseCode::Dead], 1);
}

#[tokio::test]
async fn the_dead_are_told_with_4001() {
    let hub = signaling::Config {
        ping_interval: Duration::from_secs(60),
        dead_after: Duration::from_millis(200),
        ..signaling::Config::default()
    };
    let server = Server::start(hub, ws::Config::default()).await;
    let mut a = server.member("a", "r").await;
    assert_eq!(a.closed().await.0, 4001);
}

#[tokio::test]
async fn a_socket_without_a_hello_is_closed_in_time() {
    let hub = signaling::Config {
        hello_timeout: Duration::from_millis(200),
        ..signaling::Config::default()
    };
    let server = Server::start(hub, ws::Config::default()).await;
    let mut a = server.connect().await;
    let started = Instant::now();
    let (code, before) = a.closed().await;
    assert_eq!((code, &before[0]["code"]), (4100, &json!("bad_request")));
    assert!(started.elapsed() >= Duration::from_millis(150));
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn who_keeps_shouting_is_told_and_then_closed_with_4004() {
    let hub = signaling::Config {
        messages_per_second: 10,
        message_burst: 20,
        rate_patience: 5,
        ..Default::default()
    };
    let server = Server::start(hub, ws::Config::default()).await;
    let mut a = server.member("a", "r").await;
    for n in 0..30 {
        if a.socket
            .send(Message::text(format!(r#"{{"t":"ping","n":{n}}}"#)))
            .await
            .is_err()
        {
            break;
        }
    }
    let (code, before) = a.closed().await;
    assert_eq!(code, 4004);
    assert!(
        before
            .iter()
            .any(|frame| frame["code"] == "rate_limited" && frame["retry"].is_u64())
    );
    assert_eq!(before.last().unwrap()["fatal"], true);
}

#[tokio::test]
async fn a_thousand_pings_are_answered_and_one_more_is_too_many() {
    let server = Server::default().await;
    let mut a = server.member("a", "r").await;
    for _ in 0..1_000 {
        a.socket.feed(Message::Ping("p".into())).await.unwrap();
    }
    a.socket.flush().await.unwrap();
    assert_eq!(a.ask(json!({"t": "ping", "n": 1})).await["t"], "pong");
    a.socket.send(Message::Ping("p".into())).await.unwrap();
    assert_eq!(a.closed().await.0, 4004);
}

#[tokio::test]
async fn the_close_frame_of_a_refused_client_survives_what_it_still_sends() {
    let server = Server::default().await;
    let mut a = server.connect().await;
    // All of this is on its way before the server can close after the first.
    for _ in 0..50 {
        a.socket
            .feed(Message::text(r#"{"t":"join","room":"r"}"#))
            .await
            .unwrap();
    }
    let _ = a.socket.flush().await;
    let (code, before) = a.closed().await;
    assert_eq!((code, before.len()), (4100, 1));
}

#[tokio::test]
async fn a_client_that_never_answers_the_close_is_let_go() {
    let config = ws::Config {
        close_timeout: Duration::from_millis(200),
        ..ws::Config::default()
    };
    let server = Server::start(signaling::Config::default(), config).await;
    let mut a = server.member("a", "r").await;
    server.hub.close_all();
    let tcp = a.socket.get_mut();
    let mut bytes = Vec::new();
    let ended = tokio::time::timeout(PATIENCE, tcp.read_to_end(&mut bytes)).await;
    assert!(ended.is_ok(), "the server kept the socket");
}

#[tokio::test]
async fn one_address_has_an_eighth_of_the_sessions_that_wait_and_no_more() {
    let hub = signaling::Config {
        away_sessions: 16,
        ..signaling::Config::default()
    };
    let client = |uri: &str| uri.split_once("from=")?.1.parse().ok();
    let server = Server::start_behind_proxy(hub, ws::Config::default(), client).await;
    let break_off = async |peer: &str, from: &str| {
        let mut client = server.connect_to(&format!("{}?from={from}", server.url())).await;
        let hello = json!({"t": "hello", "v": [1], "peer": peer, "caps": ["resume"]});
        let welcome = client.ask(hello).await;
        let joined = client.ask(json!({"t": "join", "room": peer})).await;
        assert_eq!(joined["t"], "joined", "{joined}");
        json!({"sid": welcome["sid"], "key": welcome["key"], "seq": joined["seq"]})
    };
    let first = break_off("a", "192.0.2.1").await;
    server.until("the first waits", |stats| stats.away == 1).await;
    break_off("b", "192.0.2.1").await;
    server.until("the second waits", |stats| stats.away == 2).await;
    break_off("c", "192.0.2.1").await;
    server.until("the third is gone", |stats| stats.away_refused == 1).await;
    assert_eq!((server.hub.stats().away, server.hub.stats().rooms), (2, 2));
    break_off("d", "192.0.2.2").await;
    server.until("somebody else waits", |stats| stats.away == 3).await;
    // Who comes back makes room.
    let mut back = server.connect_to(&format!("{}?from=192.0.2.1", server.url())).await;
    let welcome = back
        .ask(json!({"t": "hello", "v": [1], "caps": ["resume"], "resume": first}))
        .await;
    assert_eq!(welcome["resumed"], true);
    assert_eq!(server.hub.stats().away, 2);
    break_off("e", "192.0.2.1").await;
    server
        .until("another waits in its place", |stats| stats.away == 3)
        .await;
    assert_eq!(server.hub.stats().away_refused, 1);
}

#[tokio::test]
async fn what_a_session_missed_never_closes_the_socket_that_it_comes_back_on() {
    let ws = ws::Config {
        queue_bytes: 65_536,
        ..ws::Config::default()
    };
    let server = Server::start(signaling::Config::default(), ws).await;
    let mut elder = server.member("elder", "r").await;
    let mut old = server.connect().await;
    let hello = json!({"t": "hello", "v": [1], "peer": "p", "caps": ["resume"]});
    let welcome = old.ask(hello.clone()).await;
    let joined = old.ask(json!({"t": "join", "room": "r"})).await;
    elder.recv().await;
    drop(old);
    server.until("it waits", |stats| stats.away == 1).await;
    for _ in 0..10 {
        let offer = json!({"t": "sig", "room": "r", "to": "p", "kind": "offer", "data": "x".repeat(12_000)});
        elder.say(offer).await;
    }
    elder.say(json!({"t": "ping", "n": 1})).await;
    while elder.recv().await["t"] != "pong" {}
    let mut new = server.connect().await;
    let mut again = hello;
    again["resume"] = json!({"sid": welcome["sid"], "key": welcome["key"], "seq": joined["seq"]});
    assert_eq!(new.ask(again).await["t"], "welcome");
    new.say(json!({"t": "ping", "n": 2})).await;
    while new.recv().await["t"] != "pong" {}
    assert_eq!(server.hub.stats().queue_overflows, 0);
}
