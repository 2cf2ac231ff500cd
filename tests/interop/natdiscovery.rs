//! coturn's `turnutils_natdiscovery` and `turnutils_stunclient`: what they find out about a NAT by asking us (RFC 5780).
//!
//! The NATs are those of the kernel, in network namespaces. Asserted is what the tool can tell: it holds a NAT whose mapping
//! depends on the address alone for one that depends on the port as well, because its third question goes to the first
//! address again.

use std::{
    fs,
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use crate::support::{Meetpoint, Program, free_udp_port, output_of};

const LIMIT: Duration = Duration::from_secs(60);

const EIM: &str = "NAT with Endpoint Independent Mapping!";
const APDM: &str = "NAT with Address and Port Dependent Mapping!";
const EIF: &str = "NAT with Endpoint Independent Filtering!";
const ADF: &str = "NAT with Address Dependent Filtering!";
const APDF: &str = "NAT with Address and Port Dependent Filtering!";

/// Everything open, and a budget that no test comes to the end of.
fn discovery(alternate: &str) -> [(&'static str, &str); 4] {
    [
        ("NAT_DISCOVERY__ADDRESSES", "127.0.0.1,127.0.0.2"),
        ("NAT_DISCOVERY__ALTERNATE_PORT", alternate),
        ("NAT_DISCOVERY__RESPONSE_PORT", "true"),
        ("NAT_DISCOVERY__ANSWERS_PER_SECOND", "0"),
    ]
}

fn ask(program: &str, arguments: &[&str], server: &Meetpoint) -> String {
    let port = server.udp.to_string();
    let mut command = Command::new(program);
    command.args(arguments).args(["-p", &port, "127.0.0.1"]);
    output_of(&mut command, LIMIT).1
}

#[test]
fn without_a_nat_every_test_of_the_tool_gets_its_answers() {
    let alternate = free_udp_port().to_string();
    let server = Meetpoint::start(&discovery(&alternate));
    for padding in [&[][..], &["-P"]] {
        let output = ask(
            "turnutils_natdiscovery",
            &[&["-m", "-f"][..], padding].concat(),
            &server,
        );
        assert!(output.contains(EIM) && output.contains(EIF), "{output}");
        assert!(!output.contains("timeout"), "{output}");
        // Both forms of the mapped address came, and agree.
        assert!(output.contains("No ALG: Mapped == XOR-Mapped"), "{output}");
    }
    let output = ask("turnutils_natdiscovery", &["-H"], &server);
    assert!(output.contains("successful hairpinning"), "{output}");
    // Sends RESPONSE-PORT from a second socket, for the first one to hear.
    let output = ask("turnutils_natdiscovery", &["-t", "-T", "1"], &server);
    assert!(
        output.contains("RFC 5780 response 2") && !output.contains("timeout"),
        "{output}"
    );
    server.assert_counted("meetpoint_relay_nat_discovery_answers_total", &["kind=\"moved\""], 3.0);
}

#[test]
fn a_stun_client_that_insists_on_rfc_5780_hears_from_the_other_address() {
    let alternate = free_udp_port().to_string();
    let server = Meetpoint::start(&discovery(&alternate));
    let output = ask("turnutils_stunclient", &["-f"], &server);
    let moved = format!("Response origin: : 127.0.0.2:{alternate}");
    assert!(
        output.contains("RFC 5780 response 3") && output.matches(&moved).count() >= 2,
        "{output}"
    );
}

#[test]
fn a_server_with_one_address_tells_the_tool_that_it_cannot_help() {
    let server = Meetpoint::start(&[]);
    let output = ask("turnutils_natdiscovery", &["-m", "-f"], &server);
    assert!(
        !output.contains("RFC 5780 response") && !output.contains("Other addr"),
        "{output}"
    );
}

/// Network namespaces that end with their test.
struct Namespaces {
    client: String,
    nat: String,
    server: String,
}

fn succeeds(command: &str) -> bool {
    let mut words = command.split(' ');
    let mut command = Command::new(words.next().unwrap());
    command.args(words).output().is_ok_and(|output| output.status.success())
}

impl Namespaces {
    /// A client in a private network, a NAT, and a server with two public addresses. `None` where no namespace can be made:
    /// that takes root, and a kernel that has them.
    fn new() -> Option<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let own = format!("mp{}x{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let [client, nat, server] = ["c", "n", "s"].map(|role| format!("{own}{role}"));
        if !succeeds(&format!("ip netns add {client}")) {
            eprintln!("no network namespaces here: NATs are not tested");
            return None;
        }
        let all = Self { client, nat, server };
        let Self { client, nat, server } = &all;
        for command in [
            format!("ip netns add {nat}"),
            format!("ip netns add {server}"),
            format!("ip link add c0 netns {client} type veth peer name c1 netns {nat}"),
            format!("ip link add s0 netns {server} type veth peer name s1 netns {nat}"),
            format!("ip -n {client} addr add 10.91.1.2/24 dev c0"),
            format!("ip -n {nat} addr add 10.91.1.1/24 dev c1"),
            format!("ip -n {nat} addr add 203.0.113.1/24 dev s1"),
            format!("ip -n {server} addr add 203.0.113.5/24 dev s0"),
            format!("ip -n {server} addr add 203.0.113.6/24 dev s0"),
            format!("ip -n {server} link set lo up"),
            format!("ip -n {client} link set c0 up"),
            format!("ip -n {nat} link set c1 up"),
            format!("ip -n {nat} link set s1 up"),
            format!("ip -n {server} link set s0 up"),
            format!("ip -n {client} route add default via 10.91.1.1"),
            format!("ip netns exec {nat} sysctl -qw net.ipv4.ip_forward=1"),
        ] {
            assert!(succeeds(&command), "{command}");
        }
        Some(all)
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        for name in [&self.client, &self.nat, &self.server] {
            succeeds(&format!("ip netns del {name}"));
        }
    }
}

/// Our server behind a NAT whose rules the test chooses. The program ends before its namespace does.
struct Network {
    _server: Program,
    spaces: Namespaces,
    rules: tempfile::TempDir,
}

impl Network {
    fn new() -> Option<Self> {
        let spaces = Namespaces::new()?;
        let mut command = Command::new("ip");
        command
            .args([
                "netns",
                "exec",
                &spaces.server,
                env!("CARGO_BIN_EXE_meetpoint"),
                "serve",
            ])
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("MEETPOINT__HTTP__LISTEN", "127.0.0.1:8000")
            // The answers of a wildcard socket must leave from the other address, too.
            .env("MEETPOINT__RELAY__LISTEN", "0.0.0.0:3478")
            .env("MEETPOINT__NAT_DISCOVERY__ADDRESSES", "203.0.113.5,203.0.113.6")
            .env("MEETPOINT__NAT_DISCOVERY__ANSWERS_PER_SECOND", "0");
        let mut server = Program::start(&mut command);
        let until = Instant::now() + LIMIT;
        while !server.log().contains("meetpoint is running") {
            assert!(server.ended().is_none() && Instant::now() < until, "{}", server.log());
        }
        Some(Self {
            _server: server,
            spaces,
            rules: tempfile::tempdir().unwrap(),
        })
    }

    /// Replaces what the NAT does with packets from the server's side, and to it, and forgets whom the client has talked to.
    fn translate(&self, inward: &str, outward: &str) {
        let path = self.rules.path().join("nat.nft");
        let rules = format!(
            "flush ruleset\ntable ip nat {{\nset contacted {{ type ipv4_addr; flags dynamic; timeout 5m; }}\n\
             chain inward {{ type nat hook prerouting priority -100; {inward} }}\n\
             chain outward {{ type nat hook postrouting priority 100; oifname \"s1\" {outward}\n}}\n}}\n"
        );
        fs::write(&path, rules).unwrap();
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.spaces.nat, "nft", "-f"]).arg(path);
        let (success, output) = output_of(&mut command, LIMIT);
        assert!(success, "{output}");
    }

    fn discover(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", &self.spaces.client, "turnutils_natdiscovery"])
            .args(arguments)
            .arg("203.0.113.5");
        output_of(&mut command, LIMIT).1
    }
}

/// Lets the kernel's own filter through: what comes to a port of the NAT goes to the client.
const TO_CLIENT: &str = "iifname \"s1\" udp dport 1024-65535 dnat to 10.91.1.2;";
const TO_CLIENT_FROM_CONTACTED: &str = "iifname \"s1\" ip saddr @contacted udp dport 1024-65535 dnat to 10.91.1.2;";

#[test]
fn the_tool_finds_out_what_a_nat_does() {
    let Some(network) = Network::new() else { return };
    for (inward, outward, mapping, filtering) in [
        (TO_CLIENT, "masquerade", EIM, EIF),
        (
            TO_CLIENT_FROM_CONTACTED,
            "add @contacted { ip daddr } masquerade",
            EIM,
            ADF,
        ),
        ("", "masquerade", EIM, APDF),
        ("", "masquerade fully-random", APDM, APDF),
    ] {
        for (test, expected) in [("-m", mapping), ("-f", filtering)] {
            network.translate(inward, outward);
            let output = network.discover(&[test]);
            assert!(output.contains(expected), "{inward} {outward} {test}:\n{output}");
        }
    }
}

#[test]
fn answers_of_an_mtu_and_more_come_through_a_nat_in_fragments() {
    let Some(network) = Network::new() else { return };
    network.translate(TO_CLIENT, "masquerade");
    let output = network.discover(&["-m", "-f", "-P"]);
    assert!(output.contains(EIM) && output.contains(EIF), "{output}");
}
