//! STUN, TURN, TURN over TLS, HTTP and HTTPS at one address.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use crate::client::{Arrival, Client, binding, connect};
use crate::secure::{client, handshake, try_handshake};
use crate::stage::{Stage, impatient};

/// The status line and the body of `GET /metrics`.
fn get(mut stream: impl Read + Write) -> String {
    let request = b"GET /metrics HTTP/1.1\r\nHost: turn.example.org\r\nConnection: close\r\n\r\n";
    stream.write_all(request).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8(answer).unwrap()
}

#[test]
fn everything_is_served_at_one_address() {
    let stage = Stage::start(2);
    let at = stage.one_port;

    let mut plain = Client::tcp(at);
    let of_plain = plain.allocate();
    // Without ALPN, as most TURN clients do, and with it.
    let mut silent = client(at, handshake(at, &[]).stream);
    let of_silent = silent.allocate();
    let made = handshake(at, &["stun.turn"]);
    assert_eq!(made.alpn.as_deref(), Some(&b"stun.turn"[..]));
    let mut spoken = client(at, made.stream);
    let of_spoken = spoken.allocate();

    for (client, peer) in [
        (&mut plain, of_silent),
        (&mut silent, of_spoken),
        (&mut spoken, of_plain),
    ] {
        client.bind(0x4000, peer);
        client.permit(of_plain);
        client.permit(of_silent);
        client.permit(of_spoken);
    }
    plain.send_channel(0x4000, b"one");
    assert_eq!(silent.receive(), Some(Arrival::Data(of_plain, b"one".to_vec())));
    silent.send_channel(0x4000, b"two");
    assert_eq!(spoken.receive(), Some(Arrival::Data(of_silent, b"two".to_vec())));
    spoken.send_channel(0x4000, b"three");
    assert_eq!(plain.receive(), Some(Arrival::Data(of_spoken, b"three".to_vec())));

    let https = handshake(at, &["h2", "http/1.1"]);
    assert_eq!(https.alpn.as_deref(), Some(&b"http/1.1"[..]), "HTTP/2 is not served");
    let answer = get(https.stream);
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("meetpoint_front_connections_total{listener=\"one_port\"} 4"));
    assert!(
        get(handshake(at, &[]).stream).starts_with("HTTP/1.1 200 OK\r\n"),
        "HTTPS without ALPN"
    );
    assert!(
        get(connect(at)).starts_with("HTTP/1.1 200 OK\r\n"),
        "behind a balancer that takes TLS off"
    );
}

#[test]
fn https_has_a_port_of_its_own_as_well() {
    let stage = Stage::start(1);
    assert!(get(handshake(stage.https, &["http/1.1"]).stream).starts_with("HTTP/1.1 200 OK\r\n"));
    assert!(get(handshake(stage.https, &[]).stream).starts_with("HTTP/1.1 200 OK\r\n"));
}

#[test]
fn a_request_whose_first_byte_comes_alone_is_recognised_inside_and_outside_of_tls() {
    let stage = Stage::start(1);
    let mut plain = Client::tcp(stage.one_port);
    let mut secure = client(stage.one_port, handshake(stage.one_port, &[]).stream);
    for client in [&mut plain, &mut secure] {
        for byte in binding() {
            client.write(&[byte]);
        }
        assert!(client.frame().is_some());
    }
    // Many requests in the first record: none is lost on the way to the worker.
    let mut eager = client(stage.one_port, handshake(stage.one_port, &[]).stream);
    let many: Vec<u8> = (0..500).flat_map(|_| binding()).collect();
    eager.write(&many);
    assert!((0..500).all(|_| eager.frame().is_some()));
}

#[test]
fn what_is_neither_is_closed_and_counted() {
    let stage = Stage::start(1);
    let unknown = "meetpoint_front_failed_connections_total{reason=\"unknown_protocol\"}";
    for (count, first) in [0x04, 0x40, 0x80, b'a', 0xff].into_iter().enumerate() {
        let mut stream = connect(stage.one_port);
        stream.write_all(&[first; 4]).unwrap();
        stage.assert_metric(unknown, count as u64 + 1);
    }
    let mut inside = handshake(stage.one_port, &[]).stream;
    inside.write_all(b"\xff\xff").unwrap();
    stage.assert_metric(unknown, 6);
    assert!(try_handshake(stage.one_port, &["smtp"], rustls::ALL_VERSIONS).is_err());
    stage.assert_metric("meetpoint_front_failed_connections_total{reason=\"tls\"}", 1);
}

#[test]
fn whoever_says_nothing_is_not_waited_for_with_tls_or_without() {
    let stage = Stage::bounded(impatient());
    let start = Instant::now();
    let mut plain = connect(stage.one_port);
    let mut secure = handshake(stage.one_port, &[]).stream;
    let mut byte = [0];
    assert!(!matches!(plain.read(&mut byte), Ok(1)));
    assert!(!matches!(secure.read(&mut byte), Ok(1)));
    assert!(start.elapsed() < Duration::from_millis(1500), "{:?}", start.elapsed());
    stage.assert_metric("meetpoint_front_failed_connections_total{reason=\"timeout\"}", 2);
}
