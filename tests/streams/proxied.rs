//! Connections that a proxy passes on, with a PROXY header in front: who the client is, and who may say so.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use meetpoint::transport::Streams;
use proxy_header::{ProxiedAddress, ProxyHeader};

use crate::client::{Client, binding, connect, connect_from};
use crate::secure::{client, handshake_over};
use crate::stage::{Stage, impatient};

/// Where the proxy is, whom the stage believes.
const PROXY: &str = "127.0.0.9";
const CLIENT: &str = "192.0.2.7:5000";

fn stage() -> Stage {
    within(Streams::default())
}

fn within(bounds: Streams) -> Stage {
    Stage::bounded(Streams {
        proxies: vec!["127.0.0.9/32".parse().unwrap(), "::1/128".parse().unwrap()],
        ..bounds
    })
}

fn text(client: &str) -> Vec<u8> {
    let client: SocketAddr = client.parse().unwrap();
    let (family, ip, port) = if client.is_ipv4() {
        (4, "198.51.100.1", 443)
    } else {
        (6, "2001:db8::1", 443)
    };
    format!("PROXY TCP{family} {} {ip} {} {port}\r\n", client.ip(), client.port()).into_bytes()
}

fn binary(client: &str) -> Vec<u8> {
    let client: SocketAddr = client.parse().unwrap();
    let here = if client.is_ipv4() {
        "198.51.100.1:443"
    } else {
        "[2001:db8::1]:443"
    };
    let header = ProxyHeader::with_address(ProxiedAddress::stream(client, here.parse().unwrap()));
    let mut bytes = [0; 256];
    let length = header.encode_to_slice_v2(&mut bytes).unwrap();
    bytes[..length].to_vec()
}

/// A connection of the proxy that began with these bytes.
fn passed_on(server: SocketAddr, header: &[u8]) -> TcpStream {
    let mut stream = connect_from(PROXY, server);
    stream.write_all(header).unwrap();
    stream
}

fn turn(server: SocketAddr, stream: TcpStream) -> Client {
    let local = stream.local_addr().unwrap();
    Client::over(Box::new(stream), local, server)
}

/// What the web server takes for the client.
fn seen(mut stream: impl std::io::Read + std::io::Write) -> String {
    let request = b"GET /client HTTP/1.1\r\nHost: turn.example.org\r\nConnection: close\r\n\r\n";
    stream.write_all(request).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.rsplit("\r\n").next().unwrap().to_owned()
}

/// Whether the server closes a connection without a word.
fn is_closed(mut stream: TcpStream) -> bool {
    match stream.read(&mut [0; 64]) {
        Ok(count) => count == 0,
        Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
    }
}

#[test]
fn the_client_in_the_header_is_the_client_of_turn_of_tls_and_of_the_web() {
    let stage = stage();
    for client_addr in [CLIENT, "[2001:db8::7]:5000"] {
        for header in [text(client_addr), binary(client_addr)] {
            let wanted: SocketAddr = client_addr.parse().unwrap();
            for at in [stage.tcp, stage.one_port] {
                let mut plain = turn(at, passed_on(at, &header));
                assert_eq!(plain.mapped(), wanted);
                assert_ne!(plain.allocate().port(), 0);
                plain.refresh(0);
            }
            for at in [stage.tls, stage.one_port] {
                let mut secure = client(at, handshake_over(passed_on(at, &header), &[]).stream);
                assert_eq!(secure.mapped(), wanted);
            }
            for at in [stage.http, stage.one_port] {
                assert_eq!(seen(passed_on(at, &header)), client_addr);
            }
            for at in [stage.https, stage.one_port] {
                assert_eq!(
                    seen(handshake_over(passed_on(at, &header), &["http/1.1"]).stream),
                    client_addr
                );
            }
        }
    }
}

#[test]
fn a_header_may_come_byte_by_byte_and_what_follows_it_may_come_with_it() {
    let stage = stage();
    for header in [text(CLIENT), binary(CLIENT)] {
        let mut slow = connect_from(PROXY, stage.tcp);
        for byte in &header {
            slow.write_all(&[*byte]).unwrap();
        }
        assert_eq!(turn(stage.tcp, slow).mapped(), CLIENT.parse().unwrap());

        for at in [stage.tcp, stage.one_port] {
            // Header and many requests in one segment: none is lost. All together stay below what one address is answered in a
            // second without credentials, 200 on each worker.
            let mut all = header.clone();
            all.extend((0..40).flat_map(|_| binding()));
            let mut eager = turn(at, passed_on(at, &all));
            assert!((0..40).all(|_| eager.frame().is_some()));
        }
    }
}

#[test]
fn a_header_of_a_stranger_is_not_believed() {
    let stage = stage();
    for header in [text(CLIENT), binary(CLIENT)] {
        for at in [stage.tcp, stage.tls, stage.one_port, stage.https] {
            let mut stream = connect_from("127.0.0.8", at);
            stream.write_all(&[&header[..], &binding()].concat()).unwrap();
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer);
            // At most the web server's complaint, or an alert of TLS.
            assert!(!answer.starts_with(&[0x01, 0x01]), "a Binding response");
            assert!(!String::from_utf8_lossy(&answer).contains(" 200 "), "{answer:?}");
        }
    }
    // Without one strangers are served as ever.
    let mut stranger = turn(stage.tcp, connect_from("127.0.0.8", stage.tcp));
    assert_eq!(stranger.mapped(), stranger.local);
    assert_eq!(seen(connect(stage.http)).split(':').next(), Some("127.0.0.1"));
}

#[test]
fn a_proxy_that_sends_no_header_or_a_broken_one_is_refused() {
    let stage = stage();
    let failed = "meetpoint_front_failed_connections_total{reason=\"proxy_header\"}";
    let mut cut = binary(CLIENT);
    cut.truncate(20);
    for (count, bytes) in [
        &binding()[..],
        b"GET / HTTP/1.1\r\n\r\n",
        b"PROXY TCP4 nonsense\r\n",
        b"\x16\x03\x01",
    ]
    .into_iter()
    .enumerate()
    {
        assert!(is_closed(passed_on(stage.one_port, bytes)), "{bytes:?}");
        stage.assert_metric(failed, count as u64 + 1);
    }
    let half = passed_on(stage.tcp, &cut);
    half.shutdown(std::net::Shutdown::Write).unwrap();
    assert!(is_closed(half));
    stage.assert_metric(failed, 5);
    // One that only looks whether the port is open is no mistake.
    drop(connect_from(PROXY, stage.tcp));
    stage.assert_metric("meetpoint_front_failed_connections_total{reason=\"gone\"}", 1);
}

#[test]
fn a_header_is_not_waited_for_however_it_drips() {
    let stage = within(impatient());
    let silent = connect_from(PROXY, stage.tcp);
    let mut dripping = passed_on(stage.one_port, b"PROXY UNKNOWN ");
    dripping.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
    // It never ends, and never breaks the bound on its length before its time is up.
    let timeouts = "meetpoint_front_failed_connections_total{reason=\"proxy_timeout\"}";
    for _ in 0..60 {
        let _ = dripping.write_all(b"x");
        match dripping.read(&mut [0; 8]) {
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            _ => break,
        }
    }
    stage.assert_metric(timeouts, 2);
    drop(silent);
}

#[test]
fn a_proxy_looks_after_us_and_passes_on_clients_it_cannot_name() {
    let stage = stage();
    let proxys_own: SocketAddr = format!("{PROXY}:0").parse().unwrap();
    let local = |stream: &TcpStream| SocketAddr::new(proxys_own.ip(), stream.local_addr().unwrap().port());
    let looking = passed_on(stage.tcp, b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00");
    let own = local(&looking);
    assert_eq!(turn(stage.tcp, looking).mapped(), own);
    // A stranger behind a proxy on this machine shall not look local.
    for header in [&b"PROXY UNKNOWN\r\n"[..], b"\r\n\r\n\0\r\nQUIT\n\x21\x00\x00\x00"] {
        let stranger = passed_on(stage.http, header);
        let port = stranger.local_addr().unwrap().port();
        assert_eq!(seen(stranger), format!("0.0.0.0:{port}"));
    }
}

#[test]
fn clients_behind_a_proxy_are_counted_one_by_one_and_all_together() {
    let stage = within(Streams {
        connections: 6,
        connections_per_client: 2,
        ..Streams::default()
    });
    let from = |client: &str| {
        let mut passed = turn(stage.tcp, passed_on(stage.tcp, &binary(client)));
        passed.write(&binding());
        passed
    };
    let mut within: Vec<_> = [
        "192.0.2.1:1",
        "192.0.2.1:2",
        "192.0.2.2:1",
        "192.0.2.2:2",
        "192.0.2.3:1",
    ]
    .map(from)
    .into();
    assert!(within.iter_mut().all(|client| client.frame().is_some()));
    let mut third = turn(stage.tcp, passed_on(stage.tcp, &binary("192.0.2.1:3")));
    assert_eq!(third.frame(), None);
    stage.assert_metric("meetpoint_front_refused_connections_total{reason=\"client\"}", 1);
    // A connection whose header has not come yet has its place among all.
    let waiting = connect_from(PROXY, stage.tcp);
    assert!(is_closed(connect_from("127.0.0.8", stage.tcp)));
    stage.assert_metric("meetpoint_front_refused_connections_total{reason=\"total\"}", 1);
    drop((waiting, within));
    stage.assert_metric("meetpoint_relay_streams{transport=\"tcp\"}", 0);
    assert!(from("192.0.2.1:4").frame().is_some());
}

#[test]
fn a_living_stream_is_not_ended_by_another_connection_that_claims_its_address() {
    let stage = stage();
    // A NAT may give one address and port to two hosts, as long as they go to different balancers.
    let mut first = turn(stage.tcp, passed_on(stage.tcp, &binary(CLIENT)));
    first.allocate();
    let mut second = turn(stage.tcp, passed_on(stage.tcp, &binary(CLIENT)));
    second.write(&binding());
    assert_eq!(second.frame(), None, "it is closed");
    first.refresh(600);
    drop(first);
    stage.assert_metric("meetpoint_relay_streams{transport=\"tcp\"}", 0);
    assert_eq!(
        turn(stage.tcp, passed_on(stage.tcp, &binary(CLIENT))).mapped(),
        CLIENT.parse().unwrap()
    );
}
