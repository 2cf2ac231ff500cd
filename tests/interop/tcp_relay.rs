//! TCP allocations (RFC 6062) with coturn's `turnutils_uclient`: `-T` connects from one relayed address to another, `-P` waits to be
//! connected to.

use std::{process::Command, time::Duration};

use crate::support::{Meetpoint, SECRET, free_tcp_port, output_of};

const LIMIT: Duration = Duration::from_secs(60);

/// What a run says it sent and received.
fn run(port: u16, arguments: &[&str]) -> (u64, u64) {
    let port = port.to_string();
    let mut command = Command::new("turnutils_uclient");
    command.args(["-p", &port, "-u", "interop", "-W", SECRET, "-n", "10"]);
    let (success, output) = output_of(command.args(arguments).arg("127.0.0.1"), LIMIT);
    assert!(success, "{command:?} failed:\n{output}");
    let last = |mark: &str| {
        let at = output
            .rfind(mark)
            .unwrap_or_else(|| panic!("{command:?} gave no totals:\n{output}"));
        let digits = output[at + mark.len()..].chars().take_while(char::is_ascii_digit);
        digits.collect::<String>().parse().unwrap()
    };
    (last("tot_send_msgs="), last("tot_recv_msgs="))
}

fn start(workers: &str, more: &[(&str, &str)]) -> Meetpoint {
    // No peer range is open: what connects is relays of this process.
    let settings = [&[("RELAY__TCP_RELAY", "true"), ("RELAY__WORKERS", workers)], more].concat();
    Meetpoint::start(&settings)
}

/// Two clients at a time: of three, the second has two Connect requests under way, takes the nonce of its data connection for both,
/// and repeats both with the address of one peer when it is told so (438).
#[test]
fn clients_connect_from_relay_to_relay_on_whichever_worker() {
    for workers in ["1", "3"] {
        let server = start(workers, &[]);
        for _ in 0..2 {
            assert_eq!(run(server.udp, &["-T", "-y", "-m", "2"]), (20, 20));
        }
        server.assert_counted("meetpoint_relay_connections_opened_total", &["client"], 2.0);
        server.assert_counted("meetpoint_relay_connections_opened_total", &["peer"], 2.0);
        assert!(server.answers());
    }
}

#[test]
fn clients_of_tls_do_so_too() {
    let directory = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (chain, key) = (directory.path().join("chain.pem"), directory.path().join("key.pem"));
    std::fs::write(&chain, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let port = free_tcp_port();
    let server = start(
        "2",
        &[
            ("TLS__CERTIFICATES", &format!("{}:{}", chain.display(), key.display())),
            ("RELAY__LISTEN_TLS", &format!("127.0.0.1:{port}")),
        ],
    );
    assert_eq!(run(port, &["-T", "-y", "-t", "-S", "-m", "2"]), (20, 20));
    assert!(server.answers());
}

/// The tool itself answers only one of two clients that wait: against coturn's own server it counts the same.
#[test]
fn clients_that_wait_to_be_connected_to_get_what_they_get_of_coturn() {
    let server = start("2", &[]);
    assert_eq!(run(server.udp, &["-P", "-y", "-m", "2"]), (20, 10));
    server.assert_counted("meetpoint_relay_connections_opened_total", &["peer"], 1.0);
    assert!(server.answers());
}

#[test]
fn where_it_is_closed_the_client_is_told_so() {
    let server = Meetpoint::start(&[]);
    let mut command = Command::new("turnutils_uclient");
    let port = server.udp.to_string();
    command.args(["-T", "-y", "-p", &port, "-u", "interop", "-W", SECRET, "127.0.0.1"]);
    let (success, output) = output_of(&mut command, LIMIT);
    assert!(!success, "{output}");
    server.assert_counted("meetpoint_relay_answers_total", &["442"], 1.0);
}
