//! The accept loop on real sockets: slow clients, many clients, broken clients, and the end.

use std::time::{Duration, Instant};

use meetpoint::http::{Config, Limits};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::http_support::{Api, Listening, Reply, read_to_end, soon};

async fn with(limits: Limits) -> Listening {
    Api::new(Config {
        limits,
        ..Config::default()
    })
    .listen()
    .await
}

#[tokio::test]
async fn a_request_over_tcp_is_answered_and_the_connection_kept() {
    let server = with(Limits::default()).await;
    let reply = server.get("/api/ice-servers").await;
    assert_eq!(reply.json()["iceServers"][0]["urls"][0], "stun:127.0.0.1:3478");
    let mut stream = server.connect().await;
    for _ in 0..3 {
        stream
            .write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
            .await
            .unwrap();
        let mut answer = [0; 1024];
        let length = soon(stream.read(&mut answer)).await.unwrap();
        let text = String::from_utf8_lossy(&answer[..length]);
        assert!(
            text.starts_with("HTTP/1.1 200 OK\r\n") && text.ends_with("{\"status\":\"ok\"}"),
            "{text}"
        );
    }
}

#[tokio::test]
async fn a_client_that_never_finishes_its_header_is_cut_off() {
    let server = with(Limits {
        header_timeout: Duration::from_millis(200),
        ..Limits::default()
    })
    .await;
    for beginning in ["", "G", "GET /healthz HTTP/1.1\r\nHost: a\r\nX-Slow: "] {
        let mut stream = server.connect().await;
        stream.write_all(beginning.as_bytes()).await.unwrap();
        let began = Instant::now();
        let answer = read_to_end(&mut stream).await;
        assert!(began.elapsed() < Duration::from_secs(5));
        let text = String::from_utf8_lossy(&answer);
        assert!(text.is_empty() || text.starts_with("HTTP/1.1 408"), "{text}");
    }
}

#[tokio::test]
async fn an_idle_connection_is_closed_after_the_header_timeout() {
    let server = with(Limits {
        header_timeout: Duration::from_millis(200),
        ..Limits::default()
    })
    .await;
    let mut stream = server.connect().await;
    stream
        .write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    let answer = read_to_end(&mut stream).await;
    assert!(answer.starts_with(b"HTTP/1.1 200 OK"));
}

#[tokio::test]
async fn a_client_that_asks_for_a_lot_and_reads_nothing_is_cut_off() {
    let server = with(Limits {
        write_timeout: Duration::from_millis(200),
        ..Limits::default()
    })
    .await;
    let mut stream = server.connect().await;
    let asking = async { while stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.is_ok() {} };
    // Both ends' buffers fill, the server's write waits, and at last the connection is reset under the client.
    soon(asking).await;
}

#[tokio::test]
async fn a_body_that_never_ends_is_answered_408() {
    let server = with(Limits {
        request_timeout: Duration::from_millis(200),
        ..Limits::default()
    })
    .await;
    let mut stream = server.connect().await;
    let request =
        "POST /api/ice-servers HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = [0; 2048];
    let length = soon(stream.read(&mut answer)).await.unwrap();
    let text = String::from_utf8_lossy(&answer[..length]);
    assert!(
        text.starts_with("HTTP/1.1 408") && text.contains("request_timeout"),
        "{text}"
    );
    assert!(
        server
            .api
            .metrics
            .render()
            .contains("\nmeetpoint_http_timeouts_total 1\n")
    );
}

#[tokio::test]
async fn past_the_limit_of_connections_a_new_one_waits_for_an_old_one_to_end() {
    let server = with(Limits {
        connections: 2,
        ..Limits::default()
    })
    .await;
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut stream = server.connect().await;
        stream
            .write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
            .await
            .unwrap();
        soon(stream.read(&mut [0; 1024])).await.unwrap();
        held.push(stream);
    }
    let mut waiting = server.connect().await;
    waiting
        .write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    let early = tokio::time::timeout(Duration::from_millis(200), waiting.read(&mut [0; 16])).await;
    assert!(early.is_err(), "answered past the limit");
    assert!(
        server
            .api
            .metrics
            .render()
            .contains("\nmeetpoint_http_connection_limit_total 1\n")
    );
    held.pop();
    assert!(read_to_end(&mut waiting).await.starts_with(b"HTTP/1.1 200 OK"));
}

#[tokio::test]
async fn an_address_at_its_limit_of_connections_is_refused_until_one_of_its_own_ends() {
    let server = with(Limits {
        connections_per_ip: 2,
        limit_loopback: true,
        ..Limits::default()
    })
    .await;
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut stream = server.connect().await;
        stream
            .write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
            .await
            .unwrap();
        assert!(soon(stream.read(&mut [0; 1024])).await.unwrap() > 0);
        held.push(stream);
    }
    for _ in 0..3 {
        let mut refused = server.connect().await;
        // A reset or an end, but no answer.
        assert!(matches!(soon(refused.read(&mut [0; 16])).await, Err(_) | Ok(0)));
    }
    let counted = "\nmeetpoint_http_connections_refused_total 3\n";
    assert!(server.api.metrics.render().contains(counted));

    // Another address is served all the while.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let mut other = socket.connect(server.address).await.unwrap();
    other
        .write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    assert!(read_to_end(&mut other).await.starts_with(b"HTTP/1.1 200 OK"));

    held.pop();
    let deadline = Instant::now() + Duration::from_secs(3);
    loop {
        let mut next = server.connect().await;
        let _ = next
            .write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            .await;
        if matches!(soon(next.read(&mut [0; 16])).await, Ok(1..)) {
            break;
        }
        assert!(Instant::now() < deadline, "its place was not given back");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_trusted_proxy_stands_for_many_clients_and_may_hold_as_many_connections() {
    let config = Config {
        limits: Limits {
            connections_per_ip: 1,
            limit_loopback: true,
            ..Limits::default()
        },
        trusted_proxies: vec!["127.0.0.1/32".parse().unwrap()],
        ..Config::default()
    };
    let server = Api::new(config).listen().await;
    let mut held = Vec::new();
    for _ in 0..5 {
        let mut stream = server.connect().await;
        stream
            .write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
            .await
            .unwrap();
        assert!(soon(stream.read(&mut [0; 1024])).await.unwrap() > 0);
        held.push(stream);
    }
}

#[tokio::test]
async fn broken_requests_disturb_nobody() {
    let server = with(Limits::default()).await;
    let long_header = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "y".repeat(64 * 1024));
    let many_headers = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(200));
    let broken = [
        "\r\n\r\n\0\0\0",
        "GET\r\n\r\n",
        "\x16\x03\x01\x02\x00\x01\x00",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        &long_header,
        &many_headers,
    ];
    for request in broken {
        let mut stream = server.connect().await;
        let _ = stream.write_all(request.as_bytes()).await;
        let _ = stream.shutdown().await;
        let answer = read_to_end(&mut stream).await;
        let text = String::from_utf8_lossy(&answer);
        assert!(
            text.is_empty() || text.starts_with("HTTP/1.1 4"),
            "{request:.20}: {text}"
        );
    }
    assert_eq!(server.get("/healthz").await.status, 200);
}

#[tokio::test]
async fn shutdown_lets_a_request_in_progress_end_and_closes_idle_connections() {
    let mut server = with(Limits::default()).await;
    let mut idle = server.connect().await;
    idle.write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    soon(idle.read(&mut [0; 1024])).await.unwrap();
    let mut busy = server.connect().await;
    let header =
        "POST /api/ice-servers HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n";
    busy.write_all(header.as_bytes()).await.unwrap();
    // The request is in progress once its handler waits for the body.
    tokio::time::sleep(Duration::from_millis(100)).await;
    server.stop();
    assert!(read_to_end(&mut idle).await.is_empty());
    busy.write_all(b"{}").await.unwrap();
    assert!(read_to_end(&mut busy).await.starts_with(b"HTTP/1.1 200 OK"));
    let address = server.address;
    server.ended().await;
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn shutdown_cuts_what_does_not_end_in_time() {
    let mut server = with(Limits {
        drain_timeout: Duration::from_millis(100),
        ..Limits::default()
    })
    .await;
    let mut busy = server.connect().await;
    let header =
        "POST /api/ice-servers HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n";
    busy.write_all(header.as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let began = Instant::now();
    server.stop();
    server.ended().await;
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_websocket_is_opened_through_the_server_and_outlives_the_http_connection() {
    let server = with(Limits {
        header_timeout: Duration::from_millis(300),
        request_timeout: Duration::from_millis(300),
        ..Limits::default()
    })
    .await;
    let mut stream = server.connect().await;
    let request = "GET /v1/ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Protocol: meetpoint.v1.json\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = [0; 1024];
    let length = soon(stream.read(&mut answer)).await.unwrap();
    let text = String::from_utf8_lossy(&answer[..length]).to_ascii_lowercase();
    assert!(
        text.starts_with("http/1.1 101") && text.contains("sec-websocket-protocol: meetpoint.v1.json"),
        "{text}"
    );
    assert_eq!(server.api.hub.stats().connections, 1);
    // Well past both timeouts of HTTP the socket is still open.
    let quiet = tokio::time::timeout(Duration::from_millis(800), stream.read(&mut answer)).await;
    assert!(quiet.is_err(), "the socket was closed");
    assert_eq!(server.api.hub.stats().connections, 1);
    let stats = server.get("/api/signaling/stats").await.json();
    assert_eq!(stats["connections"], 1);
}

/// A request with such a path and such header fields on a connection that is kept: its answer, and that of a plain one behind it.
async fn asked_twice(server: &Listening, target: &str, fields: &str) -> Reply {
    let mut stream = server.connect().await;
    let plain = "GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let request = format!("GET {target} HTTP/1.1\r\nHost: a\r\n{fields}\r\n{plain}");
    stream.write_all(request.as_bytes()).await.unwrap();
    let answers = read_to_end(&mut stream).await;
    let text = String::from_utf8_lossy(&answers);
    let second = text.rfind("HTTP/1.1 ").unwrap();
    assert!(second > 0 && text[second..].starts_with("HTTP/1.1 200"), "{text}");
    Reply::parse(&answers[..second])
}

#[tokio::test]
async fn a_head_at_its_bound_is_served_and_one_past_it_is_refused_in_the_form_of_all_errors() {
    const TARGET: usize = 12 * 1024;
    const HEADER: usize = 16 * 1024;
    let server = with(Limits::default()).await;
    let target = |len: usize| format!("/healthz?{}", "x".repeat(len - "/healthz?".len()));
    // `Host: a`, and so many fields or bytes.
    let fields = |count: usize| -> String { (1..count).map(|at| format!("x-{at}: y\r\n")).collect() };
    let bytes = |len: usize| format!("x-long: {}\r\n", "y".repeat(len - "Host: a\r\nx-long: \r\n".len()));
    for (target, fields) in [
        (target(TARGET), String::new()),
        ("/healthz".to_owned(), fields(64)),
        ("/healthz".to_owned(), bytes(HEADER)),
        (target(TARGET), bytes(HEADER)),
    ] {
        assert_eq!(asked_twice(&server, &target, &fields).await.status, 200);
    }
    for (target, fields, status, code) in [
        (target(TARGET + 1), String::new(), 414, "uri_too_long"),
        ("/healthz".to_owned(), fields(65), 431, "header_too_large"),
        ("/healthz".to_owned(), bytes(HEADER + 1), 431, "header_too_large"),
        ("/no/such/path".to_owned(), bytes(HEADER + 1), 431, "header_too_large"),
    ] {
        let reply = asked_twice(&server, &target, &fields).await;
        reply.assert_problem(status, code);
        assert_eq!(reply.header("access-control-allow-origin"), Some("*"));
    }
    let text = server.api.get("/metrics", &[]).await.text();
    assert!(text.contains("meetpoint_http_heads_refused_total 4"), "{text}");
}

#[tokio::test]
async fn more_fields_than_are_ever_read_and_what_is_no_http_are_refused_in_few_words_and_closed() {
    let server = with(Limits::default()).await;
    let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "x: y\r\n".repeat(100));
    for (request, status) in [(many.as_str(), 431), ("nonsense\r\n\r\n", 400)] {
        let reply = server.exchange(request).await;
        assert_eq!(
            (reply.status.as_u16(), reply.header("connection")),
            (status, Some("close"))
        );
        assert!(reply.body.is_empty(), "{}", reply.text());
    }
}
