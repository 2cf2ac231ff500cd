//! coturn's `turnutils_uclient` through our relay, one kind of use a test.
//!
//! All of its uses over all transports are in `matrix.rs`, with what the tool itself cannot do; here is what takes a server or
//! an assertion of its own.

use std::{process::Command, time::Duration};

use crate::support::{
    Credential, Meetpoint, Program, SECRET, binding_mapped_address, free_tcp_port, free_udp_port, ipv6_works, output_of,
};

/// A run sends few messages and then waits for stragglers; the slowest takes about ten seconds.
const LIMIT: Duration = Duration::from_secs(60);

/// coturn's echo peer on loopback.
pub(crate) struct EchoPeer {
    program: Program,
    pub(crate) port: u16,
}

impl EchoPeer {
    pub(crate) fn start(address: &str) -> Self {
        Self::start_at(address, free_udp_port())
    }

    pub(crate) fn start_at(address: &str, port: u16) -> Self {
        let program = Program::start(Command::new("turnutils_peer").args(["-L", address, "-p", &port.to_string()]));
        Self { program, port }
    }
}

/// What a run says it sent and received.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) sent: u64,
    pub(crate) received: u64,
    pub(crate) lost: u64,
}

fn number_after(text: &str, mark: &str) -> Option<u64> {
    let rest = &text[text.rfind(mark)? + mark.len()..];
    rest.chars()
        .take_while(char::is_ascii_digit)
        .collect::<String>()
        .parse()
        .ok()
}

pub(crate) fn tally(output: &str) -> Option<Tally> {
    Some(Tally {
        sent: number_after(output, "tot_send_msgs=")?,
        received: number_after(output, "tot_recv_msgs=")?,
        lost: number_after(output, "Total lost packets ")?,
    })
}

/// Runs the client; its last report must show that everything sent came back.
fn run(server: &Meetpoint, at: &str, arguments: &[&str]) -> Tally {
    run_at_port(server.udp, at, arguments)
}

/// As [`run`], at a port that may be another program's.
pub(crate) fn run_at_port(port: u16, at: &str, arguments: &[&str]) -> Tally {
    let secret = ["-u", "interop", "-W", SECRET];
    let login: &[&str] = if arguments.contains(&"-w") { &[] } else { &secret };
    let port = port.to_string();
    let mut command = Command::new("turnutils_uclient");
    command.args(["-p", &port]).args(login).args(arguments).arg(at);
    let (success, output) = output_of(&mut command, LIMIT);
    let Some(found) = tally(&output) else {
        panic!("{command:?} gave no totals:\n{output}")
    };
    assert!(success, "{command:?} failed:\n{output}");
    assert!(found.sent > 0, "{command:?} sent nothing:\n{output}");
    assert_eq!(
        (found.received, found.lost),
        (found.sent, 0),
        "{command:?} lost messages:\n{output}"
    );
    found
}

/// As [`run_at_port`], for credentials that may be refused: then there are no totals.
pub(crate) fn try_run_at_port(port: u16, at: &str, arguments: &[&str]) -> Option<Tally> {
    let port = port.to_string();
    let mut command = Command::new("turnutils_uclient");
    let (_, output) = output_of(command.args(["-p", &port]).args(arguments).arg(at), LIMIT);
    tally(&output)
}

/// Runs through a fresh server with an IPv4 echo peer behind it.
fn run_with_echo(arguments: &[&str]) -> Tally {
    let server = Meetpoint::with_loopback_peers();
    let peer = EchoPeer::start("127.0.0.1");
    let port = peer.port.to_string();
    let found = run(
        &server,
        "127.0.0.1",
        &[&["-e", "127.0.0.1", "-r", &port], arguments].concat(),
    );
    assert!(server.answers());
    drop(peer.program);
    found
}

#[test]
fn totals_are_read_from_the_last_report() {
    let output =
        "1: tot_send_msgs=3, tot_recv_msgs=1\n2: tot_send_msgs=10, tot_recv_msgs=9\nTotal lost packets 1 (10.0%)";
    assert_eq!(
        tally(output),
        Some(Tally {
            sent: 10,
            received: 9,
            lost: 1
        })
    );
    assert_eq!(tally("ERROR: Cannot complete Allocation"), None);
}

#[test]
fn channels_carry_everything_to_the_peer_and_back() {
    run_with_echo(&["-n", "50", "-m", "4"]);
}

#[test]
fn channels_carry_everything_without_a_port_pair() {
    run_with_echo(&["-c", "-n", "50", "-m", "4"]);
}

#[test]
fn send_and_data_indications_carry_everything() {
    run_with_echo(&["-s", "-n", "50", "-m", "4"]);
}

#[test]
fn long_payloads_are_carried_whole() {
    run_with_echo(&["-l", "1200", "-n", "50", "-c"]);
    run_with_echo(&["-l", "1201", "-n", "50", "-c", "-s"]);
}

#[test]
fn padded_channel_data_is_accepted() {
    run_with_echo(&["-D", "-l", "101"]);
}

#[test]
fn dont_fragment_is_granted() {
    run_with_echo(&["-g"]);
    run_with_echo(&["-g", "-s", "-c"]);
}

#[test]
fn an_ipv4_relay_that_is_asked_for_is_granted() {
    run_with_echo(&["-X"]);
}

#[test]
fn repeated_permissions_and_channel_binds_disturb_nothing() {
    run_with_echo(&["-G", "-n", "20"]);
}

#[test]
fn clients_that_move_to_another_socket_keep_their_allocation() {
    // Two workers: about half of the clients land on another one than the one that holds their allocation.
    let server = Meetpoint::start(&[
        ("PEERS__ALLOW", "127.0.0.0/8"),
        ("RELAY__MOBILITY", "true"),
        ("RELAY__WORKERS", "2"),
    ]);
    let peer = EchoPeer::start("127.0.0.1");
    let port = peer.port.to_string();
    for way in [&["-M"][..], &["-M", "-s"], &["-M", "-m", "8"]] {
        let arguments = [&["-e", "127.0.0.1", "-r", &port, "-c"], way].concat();
        let tally = run(&server, "127.0.0.1", &arguments);
        assert_eq!((tally.lost, tally.received), (0, tally.sent), "{way:?}");
    }
    server.assert_counted("meetpoint_relay_moves_ended_total", &["used"], 3.0);
}

#[test]
fn clients_by_tcp_that_come_back_on_another_connection_keep_their_allocation() {
    // Two workers: a connection goes to the one that holds its client's allocation.
    let server = Meetpoint::start(&[
        ("PEERS__ALLOW", "127.0.0.0/8"),
        ("RELAY__MOBILITY", "true"),
        ("RELAY__WORKERS", "2"),
    ]);
    let peer = EchoPeer::start("127.0.0.1");
    let port = peer.port.to_string();
    let tally = run(
        &server,
        "127.0.0.1",
        &["-e", "127.0.0.1", "-r", &port, "-c", "-M", "-t", "-m", "4"],
    );
    assert_eq!((tally.lost, tally.received), (0, tally.sent));
    server.assert_counted("meetpoint_relay_moves_ended_total", &[], 4.0);
    server.assert_counted("meetpoint_relay_streams_closed_total", &["reason=\"moved\""], 1.0);
}

/// The three keys that `turnutils_uclient -J` seals its tokens with, one or the other at random: at Allocate, and anew at each
/// Refresh. It reads base64 with a line feed at the end and cuts what is longer than a key.
pub(crate) const COTURN_KEYS: &str = "north:MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=,\
                           union:MTIzNDU2Nzg5MDEyMzQ1Ng==,\
                           oldempire:MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI=";

#[test]
fn clients_with_access_tokens_are_served_by_udp_and_tcp() {
    let server = Meetpoint::start(&[
        ("PEERS__ALLOW", "127.0.0.0/8"),
        ("THIRD_PARTY__SERVER_NAME", "turn.example.org"),
        ("THIRD_PARTY__KEYS", COTURN_KEYS),
    ]);
    let peer = EchoPeer::start("127.0.0.1");
    let port = peer.port.to_string();
    // Eight clients, so that every key has its turn.
    for way in [&["-J", "-m", "8"][..], &["-J", "-t", "-m", "4"], &["-J", "-s"]] {
        let arguments = [&["-e", "127.0.0.1", "-r", &port, "-c"], way].concat();
        let tally = run(&server, "127.0.0.1", &arguments);
        assert_eq!((tally.lost, tally.received), (0, tally.sent), "{way:?}");
    }
}

/// Tokens that coturn's tool makes are read here, and those of ours by the tool.
#[test]
fn tokens_of_coturn_are_read_here_and_ours_by_coturn() {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    let (name, secret, mac_key) = ("turn.example.org", [7; 32], *b"a mac key of 20 byte");
    let key = meetpoint::credentials::TokenKey::new("north", &secret).unwrap();
    let tool = |arguments: &[&str]| {
        let mut command = Command::new("turnutils_oauth");
        command.args(["-v", "--server-name", name, "--auth-key-id", "north"]);
        command.args([
            "--auth-key",
            &STANDARD.encode(secret),
            "--auth-key-as-rs-alg",
            "A256GCM",
        ]);
        command.args(["--auth-key-timestamp", "1800000000", "--auth-key-lifetime", "86400"]);
        output_of(command.args(arguments), LIMIT)
    };
    let issued = 1_800_000_000_u64;
    let (mac, timestamp) = (STANDARD.encode(mac_key), (issued << 16).to_string());
    let made = tool(&[
        "-e",
        "--token-mac-key",
        &mac,
        "--token-timestamp",
        &timestamp,
        "--token-lifetime",
        "3600",
    ]);
    let theirs = made
        .1
        .split('"')
        .filter_map(|word| STANDARD.decode(word).ok())
        .find_map(|bytes| key.open(name, &bytes).ok())
        .unwrap_or_else(|| panic!("no token in: {}", made.1));
    assert_eq!(
        (theirs.mac_key.as_slice(), theirs.issued.0, theirs.lifetime),
        (&mac_key[..], issued, 3600)
    );
    let ours = STANDARD.encode(key.seal(name, [5; 12], &theirs).unwrap());
    let (_, read) = tool(&["-d", "--token", &ours]);
    assert!(read.contains("3600") && read.contains("a mac key of 20 byte"), "{read}");
}

#[test]
fn clients_that_vanish_and_return_disturb_nothing() {
    run_with_echo(&["-B", "-c", "-m", "3"]);
}

#[test]
fn two_allocations_of_one_server_reach_each_other_without_an_open_peer_range() {
    let server = Meetpoint::start(&[]);
    run(&server, "127.0.0.1", &["-y", "-c", "-n", "50", "-m", "4"]);
    run(&server, "127.0.0.1", &["-y", "-s", "-c", "-n", "50", "-m", "4"]);
}

#[test]
fn allocations_of_different_workers_reach_each_other() {
    let server = Meetpoint::start(&[("RELAY__WORKERS", "3")]);
    run(&server, "127.0.0.1", &["-y", "-n", "50", "-m", "8"]);
}

#[test]
fn clients_and_peers_of_ipv6_are_served() {
    if !ipv6_works() {
        return eprintln!("left out: no IPv6 on loopback");
    }
    let server = Meetpoint::with_loopback_peers();
    let peer = EchoPeer::start("::1");
    let port = peer.port.to_string();
    run(&server, "::1", &["-x", "-e", "::1", "-r", &port]);
    run(&server, "::1", &["-x", "-s", "-c", "-e", "::1", "-r", &port]);
    let seen = binding_mapped_address(format!("[::1]:{}", server.udp).parse().unwrap()).unwrap();
    assert!(seen.is_ipv6());
    drop(peer.program);
}

#[test]
fn a_relay_of_the_other_family_is_granted() {
    if !ipv6_works() {
        return eprintln!("left out: no IPv6 on loopback");
    }
    let server = Meetpoint::with_loopback_peers();
    let (v4, v6) = (EchoPeer::start("127.0.0.1"), EchoPeer::start("::1"));
    run(&server, "127.0.0.1", &["-x", "-e", "::1", "-r", &v6.port.to_string()]);
    run(&server, "::1", &["-X", "-e", "127.0.0.1", "-r", &v4.port.to_string()]);
    drop((v4.program, v6.program));
}

#[test]
fn clients_by_tcp_carry_everything_to_the_peer_and_back() {
    run_with_echo(&["-t", "-n", "50", "-m", "4"]);
    run_with_echo(&["-t", "-s", "-c", "-n", "50", "-m", "4"]);
    run_with_echo(&["-t", "-c", "-l", "1201", "-n", "50"]);
}

#[test]
fn two_clients_by_tcp_reach_each_other_on_whichever_worker() {
    let server = Meetpoint::start(&[("RELAY__WORKERS", "3")]);
    run(&server, "127.0.0.1", &["-t", "-y", "-c", "-n", "50", "-m", "4"]);
    run(&server, "127.0.0.1", &["-t", "-y", "-s", "-c", "-n", "50", "-m", "4"]);
}

#[test]
fn clients_by_tcp_over_ipv6_are_served() {
    if !ipv6_works() {
        return eprintln!("left out: no IPv6 on loopback");
    }
    let server = Meetpoint::with_loopback_peers();
    let peer = EchoPeer::start("::1");
    let port = peer.port.to_string();
    run(&server, "::1", &["-t", "-x", "-c", "-e", "::1", "-r", &port]);
    run(&server, "::1", &["-t", "-x", "-s", "-c", "-e", "::1", "-r", &port]);
    drop(peer.program);
}

/// A server with TLS on a port of its own and everything on another; both ports.
fn with_tls(directory: &std::path::Path) -> (Meetpoint, u16, u16) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (chain, key) = (directory.join("chain.pem"), directory.join("key.pem"));
    std::fs::write(&chain, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let (tls, one_port) = (free_tcp_port(), free_tcp_port());
    let everywhere = |port: u16| {
        let v6 = if ipv6_works() {
            format!(",[::1]:{port}")
        } else {
            String::new()
        };
        format!("127.0.0.1:{port}{v6}")
    };
    let server = Meetpoint::start(&[
        ("PEERS__ALLOW", "127.0.0.0/8,::1/128"),
        ("RELAY__WORKERS", "2"),
        ("TLS__CERTIFICATES", &format!("{}:{}", chain.display(), key.display())),
        ("RELAY__LISTEN_TLS", &everywhere(tls)),
        ("STREAMS__ONE_PORT", &everywhere(one_port)),
    ]);
    (server, tls, one_port)
}

#[test]
fn clients_by_tls_are_served_on_a_port_of_their_own_and_on_the_one_port() {
    let directory = tempfile::tempdir().unwrap();
    let (server, tls, one_port) = with_tls(directory.path());
    let peer = EchoPeer::start("127.0.0.1");
    let port = peer.port.to_string();
    for at in [tls, one_port] {
        run_at_port(
            at,
            "127.0.0.1",
            &["-t", "-S", "-c", "-n", "50", "-m", "4", "-e", "127.0.0.1", "-r", &port],
        );
        run_at_port(
            at,
            "127.0.0.1",
            &["-t", "-S", "-s", "-c", "-n", "50", "-e", "127.0.0.1", "-r", &port],
        );
        run_at_port(at, "127.0.0.1", &["-t", "-S", "-y", "-c", "-n", "50", "-m", "4"]);
    }
    run_at_port(one_port, "127.0.0.1", &["-t", "-y", "-c", "-n", "50", "-m", "4"]);
    server.assert_counted("meetpoint_relay_streams_opened_total", &["tls"], 18.0);
    drop(peer.program);
}

#[test]
fn clients_by_tls_over_ipv6_are_served() {
    if !ipv6_works() {
        return eprintln!("left out: no IPv6 on loopback");
    }
    let directory = tempfile::tempdir().unwrap();
    let (_server, tls, _) = with_tls(directory.path());
    let peer = EchoPeer::start("::1");
    let port = peer.port.to_string();
    run_at_port(tls, "::1", &["-t", "-S", "-x", "-c", "-e", "::1", "-r", &port]);
    drop(peer.program);
}

/// A server with DTLS, and its port.
fn with_dtls(directory: &std::path::Path) -> (Meetpoint, u16) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (chain, key) = (directory.join("chain.pem"), directory.join("key.pem"));
    std::fs::write(&chain, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let port = free_udp_port();
    let v6 = if ipv6_works() {
        format!(",[::1]:{port}")
    } else {
        String::new()
    };
    let server = Meetpoint::start(&[
        ("PEERS__ALLOW", "127.0.0.0/8,::1/128"),
        ("RELAY__WORKERS", "2"),
        (
            "TLS__DTLS_CERTIFICATE",
            &format!("{}:{}", chain.display(), key.display()),
        ),
        ("RELAY__LISTEN_DTLS", &format!("127.0.0.1:{port}{v6}")),
    ]);
    (server, port)
}

#[test]
fn clients_by_dtls_carry_everything_to_the_peer_and_back_and_to_each_other() {
    let directory = tempfile::tempdir().unwrap();
    let (server, dtls) = with_dtls(directory.path());
    let peer = EchoPeer::start("127.0.0.1");
    let port = peer.port.to_string();
    let echo = ["-S", "-e", "127.0.0.1", "-r", &port];
    run_at_port(dtls, "127.0.0.1", &[&echo[..], &["-c", "-n", "50", "-m", "4"]].concat());
    run_at_port(
        dtls,
        "127.0.0.1",
        &[&echo[..], &["-s", "-c", "-n", "50", "-m", "4"]].concat(),
    );
    run_at_port(
        dtls,
        "127.0.0.1",
        &[&echo[..], &["-c", "-l", "1201", "-n", "50"]].concat(),
    );
    run_at_port(dtls, "127.0.0.1", &["-S", "-y", "-c", "-n", "50", "-m", "4"]);
    run_at_port(dtls, "127.0.0.1", &["-S", "-y", "-s", "-c", "-n", "50", "-m", "4"]);
    server.assert_counted("meetpoint_relay_dtls_established_total", &[], 17.0);
    server.assert_counted(
        "meetpoint_relay_payload_packets_total",
        &["\"dtls\"", "client_to_peer"],
        100.0,
    );
    drop(peer.program);
}

#[test]
fn clients_by_dtls_over_ipv6_are_served() {
    if !ipv6_works() {
        return eprintln!("left out: no IPv6 on loopback");
    }
    let directory = tempfile::tempdir().unwrap();
    let (_server, dtls) = with_dtls(directory.path());
    let peer = EchoPeer::start("::1");
    let port = peer.port.to_string();
    run_at_port(dtls, "::1", &["-S", "-x", "-c", "-e", "::1", "-r", &port]);
    run_at_port(dtls, "::1", &["-S", "-x", "-s", "-c", "-e", "::1", "-r", &port]);
    drop(peer.program);
}

#[test]
fn openssl_finishes_a_dtls_1_2_handshake_with_each_cipher_suite_and_says_goodbye() {
    let directory = tempfile::tempdir().unwrap();
    let (server, dtls) = with_dtls(directory.path());
    for cipher in [
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "ECDHE-ECDSA-AES256-GCM-SHA384",
    ] {
        let mut command = Command::new("openssl");
        let at = format!("127.0.0.1:{dtls}");
        command.args(["s_client", "-dtls1_2", "-connect", &at, "-cipher", cipher]);
        // Its input is empty: it shakes hands and leaves.
        let (success, output) = output_of(&mut command, LIMIT);
        assert!(success, "{output}");
        assert!(output.contains(&format!("Cipher is {cipher}")), "{output}");
    }
    server.assert_counted("meetpoint_relay_dtls_ended_total", &["\"client\""], 3.0);
}

#[test]
fn credentials_of_the_api_open_the_relay() {
    let server = Meetpoint::with_loopback_peers();
    let peer = EchoPeer::start("127.0.0.1");
    let Credential { username, password } = Credential::from_api(server.http);
    let arguments = [
        "-u",
        &username,
        "-w",
        &password,
        "-e",
        "127.0.0.1",
        "-r",
        &peer.port.to_string(),
    ];
    run(&server, "127.0.0.1", &arguments);
    drop(peer.program);
}

#[test]
fn a_user_with_a_fixed_password_is_served() {
    let server = Meetpoint::start(&[
        ("PEERS__ALLOW", "127.0.0.0/8"),
        ("CREDENTIALS__USERS", "ann:a-password-of-ann"),
    ]);
    let peer = EchoPeer::start("127.0.0.1");
    let port = peer.port.to_string();
    run(
        &server,
        "127.0.0.1",
        &["-u", "ann", "-w", "a-password-of-ann", "-e", "127.0.0.1", "-r", &port],
    );
    drop(peer.program);
}

#[test]
fn a_wrong_secret_opens_nothing_and_is_counted() {
    let server = Meetpoint::with_loopback_peers();
    let mut command = Command::new("turnutils_uclient");
    let port = server.udp.to_string();
    command.args([
        "-p",
        &port,
        "-u",
        "interop",
        "-W",
        "another-secret",
        "-c",
        "-e",
        "127.0.0.1",
        "127.0.0.1",
    ]);
    let (_, output) = output_of(&mut command, LIMIT);
    assert!(output.contains("Cannot complete Allocation"), "{output}");
    assert_eq!(tally(&output), None);
    server.assert_counted("meetpoint_relay_auth_failures_total", &[], 1.0);
    assert!(server.answers());
}

#[test]
fn loopback_peers_are_refused_by_default() {
    let server = Meetpoint::start(&[]);
    let peer = EchoPeer::start("127.0.0.2");
    let mut command = Command::new("turnutils_uclient");
    let (port, peer_port) = (server.udp.to_string(), peer.port.to_string());
    command.args([
        "-p",
        &port,
        "-u",
        "interop",
        "-W",
        SECRET,
        "-c",
        "-e",
        "127.0.0.2",
        "-r",
        &peer_port,
        "127.0.0.1",
    ]);
    let (_, output) = output_of(&mut command, LIMIT);
    assert!(output.contains("403"), "{output}");
    assert_eq!(tally(&output), None);
    server.assert_counted("meetpoint_relay_denied_peers_total", &["loopback"], 1.0);
    drop(peer.program);
}

#[test]
fn the_servers_own_address_is_no_way_to_its_other_services() {
    let server = Meetpoint::start(&[]);
    let peer = EchoPeer::start("127.0.0.1");
    let mut command = Command::new("turnutils_uclient");
    let (port, peer_port) = (server.udp.to_string(), peer.port.to_string());
    command.args([
        "-p",
        &port,
        "-u",
        "interop",
        "-W",
        SECRET,
        "-c",
        "-e",
        "127.0.0.1",
        "-r",
        &peer_port,
        "127.0.0.1",
    ]);
    let (_, output) = output_of(&mut command, LIMIT);
    assert!(output.contains("403"), "{output}");
    assert_eq!(tally(&output), None);
    server.assert_counted("meetpoint_relay_denied_peers_total", &["own_address"], 1.0);
    drop(peer.program);
}
