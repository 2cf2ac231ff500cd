//! TURN inside of WebSockets, by other people's programs: Python's `websockets` makes the tunnel (the bridge of `examples/`),
//! coturn's client speaks TURN over TCP into it.

use std::{
    net::TcpStream,
    process::Command,
    time::{Duration, Instant},
};

use crate::support::{Meetpoint, Program, free_tcp_port, pause};
use crate::uclient::run_at_port;

const BRIDGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/turn_over_websocket.py");

fn calls_pass(arguments: &[&str]) {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(path("chain.pem"), made.cert.pem()).unwrap();
    std::fs::write(path("key.pem"), made.signing_key.serialize_pem()).unwrap();
    let tls = free_tcp_port();
    let server = Meetpoint::start(&[
        ("PEERS__ALLOW", "127.0.0.0/8"),
        ("STREAMS__WEBSOCKET", "true"),
        ("HTTP__LISTEN_TLS", &format!("127.0.0.1:{tls}")),
        (
            "TLS__CERTIFICATES",
            &format!("{}:{}", path("chain.pem"), path("key.pem")),
        ),
    ]);
    let python = std::env::var("MEETPOINT_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    for url in [
        format!("ws://127.0.0.1:{}/turn", server.http),
        format!("wss://127.0.0.1:{tls}/turn"),
    ] {
        let at = free_tcp_port();
        let listen = format!("127.0.0.1:{at}");
        let mut bridge = Program::start(Command::new(&python).args([BRIDGE, &listen, &url, "--insecure"]));
        let until = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(("127.0.0.1", at)).is_err() {
            assert!(
                bridge.ended().is_none() && Instant::now() < until,
                "the bridge did not start:\n{}",
                bridge.log()
            );
            pause(Duration::from_millis(50));
        }
        run_at_port(at, "127.0.0.1", arguments);
    }
    server.assert_counted(
        "meetpoint_relay_streams_opened_total",
        &["transport=\"websocket\""],
        4.0,
    );
    assert_eq!(
        server.metric("meetpoint_relay_streams_opened_total", &["transport=\"tls\""]),
        0.0
    );
}

#[test]
fn channels_of_coturns_client_pass_through_websockets() {
    calls_pass(&["-t", "-y", "-c", "-n", "50", "-l", "171"]);
}

#[test]
fn indications_of_coturns_client_pass_through_websockets() {
    calls_pass(&["-t", "-y", "-c", "-s", "-n", "50", "-l", "1200"]);
}
