//! TURN over TLS (RFC 8656 §3.1, RFC 7443).

use std::io::{Read as _, Write as _};
use std::net::UdpSocket;
use std::sync::Arc;
use std::time::{Duration, Instant};

use meetpoint::transport::Streams;

use crate::client::{Arrival, Client, binding, connect};
use crate::secure::{client, handshake, try_handshake};
use crate::stage::{Stage, impatient};
use crate::support::client::Client as UdpClient;

#[test]
fn a_client_by_tls_reaches_a_peer_and_is_reached_in_both_versions() {
    let stage = Stage::start(1);
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let made = try_handshake(stage.tls, &["stun.turn"], &[version]).unwrap();
        assert_eq!(made.alpn.as_deref(), Some(&b"stun.turn"[..]));
        let mut client = client(stage.tls, made.stream);
        assert_eq!(client.mapped(), client.local);
        let relayed = client.allocate();
        let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
        peer.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        client.bind(0x4000, peer.local_addr().unwrap());
        for len in [0, 1, 1200] {
            let payload = vec![5; len];
            client.send_channel(0x4000, &payload);
            let mut buffer = [0; 2048];
            assert_eq!(peer.recv_from(&mut buffer).unwrap(), (len, relayed));
            peer.send_to(&payload, relayed).unwrap();
            assert_eq!(client.receive(), Some(Arrival::Channel(0x4000, payload)));
        }
    }
    stage.assert_metric("meetpoint_relay_streams_opened_total{transport=\"tls\"}", 2);
}

#[test]
fn clients_by_tls_tcp_and_udp_talk_wherever_they_are() {
    for workers in [1, 2] {
        let stage = Stage::start(workers);
        let mut tls = client(stage.tls, handshake(stage.tls, &[]).stream);
        let mut tcp = Client::tcp(stage.tcp);
        let mut udp = UdpClient::new(stage.running.addr());
        let (of_tls, of_tcp, of_udp) = (tls.allocate(), tcp.allocate(), udp.allocate());
        tls.bind(0x4000, of_tcp);
        tls.bind(0x4001, of_udp);
        tcp.bind(0x4000, of_tls);
        udp.bind(0x4000, of_tls);
        tls.send_channel(0x4000, b"to tcp");
        assert_eq!(tcp.receive(), Some(Arrival::Channel(0x4000, b"to tcp".to_vec())));
        tls.send_channel(0x4001, b"to udp");
        assert_eq!(udp.receive(), Some(Arrival::Channel(0x4000, b"to udp".to_vec())));
        tcp.send_channel(0x4000, b"from tcp");
        assert_eq!(tls.receive(), Some(Arrival::Channel(0x4000, b"from tcp".to_vec())));
        udp.send_channel(0x4000, b"from udp");
        assert_eq!(tls.receive(), Some(Arrival::Channel(0x4001, b"from udp".to_vec())));
    }
}

#[test]
fn much_is_carried_by_tls_both_ways_in_order() {
    let stage = Stage::bounded(Streams {
        queue_bytes: 4 << 20,
        ..Streams::default()
    });
    let mut a = client(stage.tls, handshake(stage.tls, &[]).stream);
    let mut b = client(stage.tls, handshake(stage.tls, &[]).stream);
    let (of_a, of_b) = (a.allocate(), b.allocate());
    a.bind(0x4000, of_b);
    b.bind(0x4000, of_a);
    for n in 0..1000_u32 {
        let payload: Vec<u8> = n.to_be_bytes().into_iter().cycle().take(1200).collect();
        a.send_channel(0x4000, &payload);
    }
    for n in 0..1000_u32 {
        let payload: Vec<u8> = n.to_be_bytes().into_iter().cycle().take(1200).collect();
        assert_eq!(b.receive(), Some(Arrival::Channel(0x4000, payload)), "{n}");
    }
    // One record holds many frames, one frame many records.
    b.write(&[binding(), binding(), binding()].concat());
    assert!((0..3).all(|_| b.frame().is_some()));
    for byte in binding() {
        b.write(&[byte]);
    }
    assert!(b.frame().is_some());
    a.send_channel(0x4000, &[3; 65_535]);
    assert_eq!(b.receive(), Some(Arrival::Channel(0x4000, vec![3; 65_535])));
}

#[test]
fn every_message_is_a_record_of_its_own() {
    let stage = Stage::start(1);
    // In TLS 1.2 nothing but data is a record of type 23.
    let mut stream = try_handshake(stage.tls, &[], &[&rustls::version::TLS12])
        .unwrap()
        .stream;
    stream.write_all(&[binding(), binding(), binding()].concat()).unwrap();
    let mut lengths = Vec::new();
    for _ in 0..3 {
        let mut header = [0; 5];
        stream.sock.read_exact(&mut header).unwrap();
        assert_eq!(header[0], 23);
        let len = usize::from(u16::from_be_bytes([header[3], header[4]]));
        stream.sock.read_exact(&mut vec![0; len]).unwrap();
        lengths.push(len);
    }
    // A client may take what one read of its TLS library gives for one message.
    assert!(lengths.iter().all(|&len| len == lengths[0]), "{lengths:?}");
}

#[test]
fn a_client_by_tls_that_goes_away_ends_its_allocation() {
    let stage = Stage::start(1);
    let mut client = client(stage.tls, handshake(stage.tls, &[]).stream);
    client.allocate();
    stage.assert_metric("meetpoint_relay_streams{transport=\"tls\"}", 1);
    drop(client);
    stage.assert_metric("meetpoint_relay_streams{transport=\"tls\"}", 0);
    stage.assert_metric("meetpoint_relay_allocations_closed_total{reason=\"client_gone\"}", 1);
}

#[test]
fn close_notify_is_an_end_and_is_answered_with_one() {
    let stage = Stage::start(1);
    let mut stream = handshake(stage.tls, &[]).stream;
    stream.write_all(&binding()).unwrap();
    stream.conn.send_close_notify();
    stream.conn.complete_io(&mut stream.sock).unwrap();
    let mut all = Vec::new();
    // An end without close_notify would be an error here.
    stream.read_to_end(&mut all).unwrap();
    assert!(!all.is_empty());
    stage.assert_metric("meetpoint_relay_streams_closed_total{reason=\"client\"}", 1);
}

#[test]
fn what_is_not_turn_is_not_agreed_to() {
    let stage = Stage::start(1);
    for offer in [&["http/1.1"][..], &["h2", "http/1.1"], &["smtp"]] {
        assert!(
            try_handshake(stage.tls, offer, rustls::ALL_VERSIONS).is_err(),
            "{offer:?}"
        );
    }
    stage.assert_metric("meetpoint_front_failed_connections_total{reason=\"tls\"}", 3);
    assert_eq!(
        handshake(stage.tls, &["stun.nat-discovery", "h2"]).alpn.as_deref(),
        Some(&b"stun.nat-discovery"[..])
    );
    assert!(try_handshake(stage.https, &["stun.turn"], rustls::ALL_VERSIONS).is_err());
}

#[test]
fn a_handshake_that_does_not_end_is_not_waited_for() {
    let stage = Stage::bounded(impatient());
    let start = Instant::now();
    let mut stream = connect(stage.tls);
    // The beginning of a ClientHello.
    stream.write_all(&[0x16, 0x03, 0x01, 0x01, 0x00, 0x01]).unwrap();
    let mut buffer = [0; 64];
    assert!(!matches!(stream.read(&mut buffer), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock));
    assert!(start.elapsed() < Duration::from_millis(1500), "{:?}", start.elapsed());
    stage.assert_metric("meetpoint_front_failed_connections_total{reason=\"timeout\"}", 1);
    // After the handshake the same patience holds for the first message.
    let mut client = client(stage.tls, handshake(stage.tls, &[]).stream);
    assert_eq!(client.frame(), None);
    stage.assert_metric("meetpoint_relay_streams_closed_total{reason=\"silent\"}", 1);
}

#[test]
fn plain_text_on_a_tls_port_is_refused_and_counted() {
    let stage = Stage::start(1);
    let mut client = Client::tcp(stage.tls);
    client.write(&binding());
    let mut first = [0; 1];
    // An alert or an end, never an answer.
    assert!(!matches!(client.link.read(&mut first), Ok(1) if first[0] < 4));
    stage.assert_metric("meetpoint_front_failed_connections_total{reason=\"tls\"}", 1);
}

#[test]
fn broken_records_end_the_stream_and_its_allocation() {
    let stage = Stage::start(1);
    let mut stream = handshake(stage.tls, &[]).stream;
    stream.write_all(&binding()).unwrap();
    let mut answer = [0; 256];
    assert!(stream.read(&mut answer).unwrap() >= 20);
    stream.sock.write_all(&[0x17, 0x03, 0x03, 0x00, 0x20]).unwrap();
    stream.sock.write_all(&[0xee; 32]).unwrap();
    stage.assert_metric("meetpoint_relay_streams_closed_total{reason=\"tls\"}", 1);
}

#[test]
fn a_client_by_tls_that_does_not_read_loses_data_and_nobody_else_does() {
    let stage = Stage::bounded(Streams {
        queue_bytes: 64 << 10,
        ..Streams::default()
    });
    let mut deaf = client(stage.tls, handshake(stage.tls, &[]).stream);
    let mut good = client(stage.tls, handshake(stage.tls, &[]).stream);
    let (of_deaf, of_good) = (deaf.allocate(), good.allocate());
    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    let peer_addr = peer.local_addr().unwrap();
    deaf.bind(0x4000, peer_addr);
    good.bind(0x4000, peer_addr);
    let until = Instant::now() + Duration::from_secs(20);
    while stage.running.metric("meetpoint_relay_stream_dropped_frames_total") == 0 {
        for _ in 0..64 {
            peer.send_to(&[1; 1200], of_deaf).unwrap();
        }
        peer.send_to(b"good", of_good).unwrap();
        assert_eq!(good.receive(), Some(Arrival::Channel(0x4000, b"good".to_vec())));
        assert!(Instant::now() < until, "nothing was ever dropped");
    }
    deaf.refresh(600);
    stage.assert_metric("meetpoint_relay_streams{transport=\"tls\"}", 2);
}

#[test]
fn a_new_certificate_is_shown_to_new_connections_and_living_ones_go_on() {
    let stage = Stage::start(1);
    let every = Duration::from_millis(10);
    let watch = Arc::clone(&stage.certificates).watch(every, stage.running.metrics.front().clone());
    stage.runtime.spawn(watch);
    let before = handshake(stage.tls, &[]);
    let mut living = client(stage.tls, before.stream);
    let relayed = living.allocate();
    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    living.bind(0x4000, peer.local_addr().unwrap());

    let new = stage.replace_certificate();
    stage.assert_metric("meetpoint_tls_certificate_reloads_total{result=\"replaced\"}", 1);
    assert_ne!(before.shown, new);
    assert_eq!(handshake(stage.tls, &[]).shown, new);
    assert_eq!(handshake(stage.https, &[]).shown, new);
    peer.send_to(b"still here", relayed).unwrap();
    assert_eq!(living.receive(), Some(Arrival::Channel(0x4000, b"still here".to_vec())));
    let expiry = stage
        .running
        .metric("meetpoint_tls_certificate_expiry_timestamp_seconds");
    assert!(
        expiry > 4_000_000_000,
        "rcgen's certificates end in the year 4096, not at {expiry}"
    );
}
