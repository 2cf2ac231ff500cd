//! HAProxy in front of TURN, HTTP and HTTPS, with the PROXY protocol: the client is the one that came to HAProxy.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    process::Command,
    time::{Duration, Instant},
};

use stun::{
    agent::TransactionId,
    message::{BINDING_REQUEST, Getter as _, Message},
    xoraddr::XorMappedAddress,
};

use crate::support::{Meetpoint, Program, connect_from, free_tcp_port, output_of, pause};
use crate::uclient::run_at_port;

/// Where HAProxy comes to us from.
const PROXY: &str = "127.0.0.77";

/// Meetpoint behind HAProxy: TURN over TCP, HTTP and HTTPS.
struct Behind {
    server: Meetpoint,
    haproxy: Program,
    turn: u16,
    http: u16,
    https: u16,
    one_port: u16,
    _directory: tempfile::TempDir,
}

/// `send`: HAProxy's option, `send-proxy` or `send-proxy-v2`.
fn behind(send: &str) -> Behind {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(path("chain.pem"), made.cert.pem()).unwrap();
    std::fs::write(path("key.pem"), made.signing_key.serialize_pem()).unwrap();
    let (listen_tls, listen_one) = (free_tcp_port(), free_tcp_port());
    let server = Meetpoint::start(&[
        ("PEERS__ALLOW", "127.0.0.0/8"),
        ("STREAMS__PROXY_PROTOCOL_FROM", PROXY),
        ("HTTP__LISTEN_TLS", &format!("127.0.0.1:{listen_tls}")),
        ("STREAMS__ONE_PORT", &format!("127.0.0.1:{listen_one}")),
        (
            "TLS__CERTIFICATES",
            &format!("{}:{}", path("chain.pem"), path("key.pem")),
        ),
    ]);
    let ports: [u16; 4] = std::array::from_fn(|_| free_tcp_port());
    let mut config =
        "defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n".to_owned();
    for (at, to) in ports.iter().zip([server.udp, server.http, listen_tls, listen_one]) {
        config.push_str(&format!(
            "listen on{at}\n  bind 127.0.0.1:{at}\n  server one 127.0.0.1:{to} source {PROXY} {send} check inter 1s\n"
        ));
    }
    std::fs::write(path("haproxy.cfg"), config).unwrap();
    let haproxy = Program::start(Command::new("haproxy").args(["-db", "-f", &path("haproxy.cfg")]));
    let until = Instant::now() + Duration::from_secs(20);
    while ports
        .iter()
        .any(|port| TcpStream::connect(("127.0.0.1", *port)).is_err())
    {
        assert!(Instant::now() < until, "HAProxy did not start:\n{}", haproxy.log());
        pause(Duration::from_millis(50));
    }
    let [turn, http, https, one_port] = ports;
    Behind {
        server,
        haproxy,
        turn,
        http,
        https,
        one_port,
        _directory: directory,
    }
}

/// The address that a Binding request over this connection is answered with.
fn mapped(stream: &mut TcpStream) -> SocketAddr {
    let mut request = Message::new();
    request
        .build(&[Box::new(TransactionId::new()), Box::new(BINDING_REQUEST)])
        .unwrap();
    stream.write_all(&request.raw).unwrap();
    let mut bytes = vec![0; 20];
    stream.read_exact(&mut bytes).unwrap();
    bytes.resize(20 + usize::from(u16::from_be_bytes([bytes[2], bytes[3]])), 0);
    stream.read_exact(&mut bytes[20..]).unwrap();
    let mut answer = Message::new();
    answer.unmarshal_binary(&bytes).unwrap();
    let mut mapped = XorMappedAddress::default();
    mapped.get_from(&answer).unwrap();
    SocketAddr::new(mapped.ip, mapped.port)
}

fn everything_works_behind(send: &str) {
    let behind = behind(send);
    for port in [behind.turn, behind.one_port] {
        let mut stream = connect_from("127.0.3.4", port);
        assert_eq!(mapped(&mut stream), stream.local_addr().unwrap());
    }
    // Calls of coturn's client, by TCP.
    for port in [behind.turn, behind.one_port] {
        run_at_port(port, "127.0.0.1", &["-t", "-y", "-c", "-n", "50", "-L", "127.0.3.5"]);
    }
    // The web server, with TLS and without: its log has the network of the client.
    for (scheme, port, client) in [
        ("http", behind.http, "127.1.6.6"),
        ("https", behind.https, "127.1.7.7"),
        ("https", behind.one_port, "127.1.8.8"),
    ] {
        let script = format!(
            "import http.client, ssl\n\
             context = ssl._create_unverified_context()\n\
             kind, more = {{'http': (http.client.HTTPConnection, {{}}), 'https': (http.client.HTTPSConnection, {{'context': context}})}}['{scheme}']\n\
             connection = kind('127.0.0.1', {port}, source_address=('{client}', 0), timeout=20, **more)\n\
             connection.request('GET', '/api/ice-servers')\n\
             answer = connection.getresponse()\n\
             print(answer.status, answer.read().decode())\n"
        );
        let (success, output) = output_of(Command::new("python3").args(["-c", &script]), Duration::from_secs(30));
        assert!(
            success && output.starts_with("200 ") && output.contains("turn:"),
            "{output}"
        );
        let network = format!("\"{}.0/24\"", client.rsplit_once('.').unwrap().0);
        let until = Instant::now() + Duration::from_secs(5);
        while !behind.server.log().contains(&network) {
            assert!(Instant::now() < until, "{network} is not in the log");
            pause(Duration::from_millis(50));
        }
    }
    // HAProxy has looked after us meanwhile, by its own rules, and that was no mistake.
    assert_eq!(
        behind
            .server
            .metric("meetpoint_front_failed_connections_total", &["proxy_"]),
        0.0
    );
    assert!(!behind.haproxy.log().contains("DOWN"), "{}", behind.haproxy.log());
}

#[test]
fn everything_works_behind_haproxy_with_headers_of_version_1() {
    everything_works_behind("send-proxy");
}

#[test]
fn everything_works_behind_haproxy_with_headers_of_version_2() {
    everything_works_behind("send-proxy-v2 proxy-v2-options crc32c,unique-id");
}

#[test]
fn a_header_of_a_stranger_opens_nothing() {
    let behind = behind("send-proxy-v2");
    let mut stranger = connect_from("127.0.0.78", behind.server.udp);
    stranger
        .write_all(b"PROXY TCP4 127.0.9.9 127.0.0.1 4000 3478\r\n")
        .unwrap();
    let mut answer = Vec::new();
    let _ = stranger.read_to_end(&mut answer);
    assert!(answer.is_empty(), "{answer:?}");
    behind
        .server
        .assert_counted("meetpoint_relay_streams_closed_total", &["framing"], 1.0);
}
