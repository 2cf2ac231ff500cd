//! coturn's `turnutils_stunclient`: what a stranger learns from a Binding request.

use std::{net::SocketAddr, process::Command, time::Duration};

use crate::support::{Meetpoint, binding_mapped_address, free_tcp_port, http_get, ipv6_works, output_of};

fn reflexive_address(output: &str) -> Option<SocketAddr> {
    let line = output.lines().find(|line| line.contains("UDP reflexive addr:"))?;
    let text = line.split("UDP reflexive addr:").nth(1)?.trim();
    // IPv6 comes without brackets.
    let (ip, port) = text.rsplit_once(':')?;
    Some(SocketAddr::new(ip.parse().ok()?, port.parse().ok()?))
}

fn ask(server: &Meetpoint, address: &str) -> SocketAddr {
    let mut command = Command::new("turnutils_stunclient");
    command.args(["-p", &server.udp.to_string(), address]);
    let (_, output) = output_of(&mut command, Duration::from_secs(30));
    reflexive_address(&output).unwrap_or_else(|| panic!("{command:?} learnt no address:\n{output}"))
}

#[test]
fn a_stun_client_learns_its_address() {
    let server = Meetpoint::start(&[]);
    let seen = ask(&server, "127.0.0.1");
    assert!(seen.ip().is_loopback() && seen.is_ipv4() && seen.port() != 0, "{seen}");
    if ipv6_works() {
        let seen = ask(&server, "::1");
        assert!(seen.ip().is_loopback() && seen.is_ipv6() && seen.port() != 0, "{seen}");
    }
}

/// Networks that let UDP through for HTTP/3 alone let it through to this port.
#[test]
fn the_one_port_answers_udp_as_well_and_the_list_says_so() {
    let port = free_tcp_port();
    let server = Meetpoint::start(&[("STREAMS__ONE_PORT", &format!("127.0.0.1:{port}"))]);
    let mapped = binding_mapped_address(SocketAddr::from(([127, 0, 0, 1], port)));
    assert!(mapped.is_some(), "no answer by UDP at {port}");
    let (status, list) = http_get(server.http, "/api/ice-servers");
    assert_eq!(status, 200);
    assert!(list.contains(&format!("turn:127.0.0.1:{port}?transport=udp")), "{list}");
    assert!(list.contains(&format!("turn:127.0.0.1:{port}?transport=tcp")), "{list}");
}
