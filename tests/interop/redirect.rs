//! Two of our servers, and coturn's client that is sent from one to the other (RFC 8489 §10).

use std::process::Command;
use std::time::Duration;

use crate::support::{Meetpoint, SECRET, free_tcp_port, output_of};

/// Whether everything sent through this server came back.
fn relays(server: &Meetpoint, arguments: &[&str]) -> (bool, String) {
    let port = server.udp.to_string();
    let mut command = Command::new("turnutils_uclient");
    command
        .args(["-p", &port, "-y", "-c", "-u", "interop", "-W", SECRET])
        .args(arguments)
        .arg("127.0.0.1");
    let (success, output) = output_of(&mut command, Duration::from_secs(60));
    (success && output.contains("Total lost packets 0 "), output)
}

#[test]
fn a_client_that_is_sent_to_another_server_relays_there() {
    let there = Meetpoint::start(&[]);
    let address = format!("127.0.0.1:{}", there.udp);
    let here = Meetpoint::start(&[("RELAY__ALTERNATE_SERVERS", &address), ("RELAY__REDIRECT", "always")]);
    for arguments in [&[][..], &["-t"]] {
        let (success, output) = relays(&here, arguments);
        assert!(success, "{output}");
    }
    here.assert_counted("meetpoint_relay_redirects_total", &["reason=\"always\""], 2.0);
    there.assert_counted("meetpoint_relay_allocations_created_total", &[], 2.0);
}

#[test]
fn who_comes_to_the_port_of_arrivals_is_not_sent_on() {
    // A server at its own door, as two that are full would be at each other's.
    let port = free_tcp_port();
    let (port, arrivals) = (port.to_string(), format!("127.0.0.1:{port}"));
    let server = Meetpoint::start(&[
        ("STREAMS__ONE_PORT", &arrivals),
        ("RELAY__ARRIVAL_PORTS", &port),
        ("RELAY__ALTERNATE_SERVERS", &arrivals),
        ("RELAY__REDIRECT", "always"),
    ]);
    let (success, output) = relays(&server, &["-t"]);
    assert!(success, "{output}");
    server.assert_counted("meetpoint_relay_redirects_total", &["reason=\"always\""], 1.0);
    server.assert_counted("meetpoint_relay_allocations_created_total", &[], 1.0);
}
