//! coturn's `turnutils_stunclient`: what a stranger learns from a Binding request.

use std::{net::SocketAddr, process::Command, time::Duration};

use crate::support::{Meetpoint, ipv6_works, output_of};

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
