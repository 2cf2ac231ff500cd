//! The real program with the configuration it has when nobody configures anything: what an abuser finds there.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant, SystemTime};

use meetpoint::credentials::{KeyRing, UnixTime, mint};
use meetpoint::wire::attribute::RequestedTransport;
use meetpoint::wire::{Class, MessageBuilder, Method, TransactionId};

use crate::disguise::spellings;
use crate::program::{PATIENCE, Server, free_port, get};
use crate::stream_client;
use crate::support::client::{Arrival, Client};

use crate::support::SECRET;

/// With a secret that the test knows, and else as it comes.
fn start(more: &str) -> Server {
    let toml = format!("{more}[credentials]\nsecrets_file = \"secrets\"\n[relay]\nexternal_ip = \"127.0.0.1\"\n");
    Server::start_with(&[("meetpoint.toml", &toml), ("secrets", SECRET)], &[])
}

fn client_of(server: &Server, user: &str) -> Client {
    let mut client = Client::new(server.relay);
    let ring = KeyRing::from_bytes([SECRET]).unwrap();
    let now = UnixTime::from_system_time(SystemTime::now());
    let credential = mint(&ring, now, user, Duration::from_secs(3600)).unwrap();
    client.log_in_with(&credential.username, credential.password.as_str());
    client
}

/// Sends bytes, and returns whatever comes back until the server closes or nothing comes.
fn tcp(server: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(server).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
    let mut answer = Vec::new();
    // It may close before it has read everything.
    if stream.write_all(bytes).is_ok() {
        let _ = stream.read_to_end(&mut answer);
    }
    answer
}

/// The list of the range scanners (firefart/stunner `range-scan`, and what Slack's relays were open to), each with its metric.
const RANGES: [(&str, &str); 30] = [
    ("0.0.0.0", "unspecified"),
    ("0.255.255.255", "unspecified"),
    ("127.0.0.1", "own_address"),
    ("127.0.0.8", "loopback"),
    ("127.255.255.254", "loopback"),
    ("10.0.0.1", "private"),
    ("10.255.255.254", "private"),
    ("172.16.0.1", "private"),
    ("172.31.255.254", "private"),
    ("192.168.0.1", "private"),
    ("192.168.255.254", "private"),
    ("169.254.0.1", "link_local"),
    ("169.254.169.254", "metadata"),
    ("169.254.170.2", "metadata"),
    ("100.64.0.1", "carrier_grade_nat"),
    ("100.127.255.254", "carrier_grade_nat"),
    ("100.100.100.200", "metadata"),
    ("192.0.0.1", "protocol_assignment"),
    ("192.0.2.1", "documentation"),
    ("198.51.100.1", "documentation"),
    ("203.0.113.1", "documentation"),
    ("198.18.0.1", "benchmarking"),
    ("198.19.255.254", "benchmarking"),
    ("224.0.0.1", "multicast"),
    ("239.255.255.250", "multicast"),
    ("240.0.0.1", "reserved"),
    ("255.255.255.254", "reserved"),
    ("255.255.255.255", "broadcast"),
    ("168.63.129.16", "metadata"),
    ("192.0.0.192", "metadata"),
];

/// CVE-2018-4058, and CVE-free the rest of them: coturn's default relayed to loopback.
#[test]
fn cve_2018_4058_a_range_scan_of_the_default_configuration_finds_every_range_closed() {
    let server = start("");
    let mut client = client_of(&server, "scanner");
    client.allocate();
    let mut classes = std::collections::BTreeMap::<&str, u64>::new();
    for (ip, class) in RANGES {
        let ip: IpAddr = ip.parse().unwrap();
        // The relay's own address can be permitted, for the relays there, and nothing else of it be reached.
        if class == "own_address" {
            for port in [22, 80, server.http.port(), server.relay.port()] {
                assert_eq!(
                    client.try_bind(0x4001, SocketAddr::new(ip, port)),
                    Err(403),
                    "{ip}:{port}"
                );
                *classes.entry(class).or_default() += 1;
            }
            continue;
        }
        let peer = SocketAddr::new(ip, 80);
        assert_eq!(client.try_permit(peer), Err(403), "{ip} is open to CreatePermission");
        assert_eq!(client.try_bind(0x4001, peer), Err(403), "{ip} is open to ChannelBind");
        *classes.entry(class).or_default() += 2;
    }
    let start = Instant::now();
    for (class, times) in classes {
        let line = format!("meetpoint_relay_denied_peers_total{{class=\"{class}\"}}");
        // Workers publish what they count now and then.
        while server.metric(&line).as_deref() != Some(&times.to_string()) {
            let found = server.metric(&line);
            assert!(start.elapsed() < PATIENCE, "{class}: {found:?} instead of {times}");
        }
    }
    assert_eq!(server.metric("meetpoint_relay_permissions "), Some("0".to_owned()));
    assert_eq!(server.metric("meetpoint_relay_channels "), Some("0".to_owned()));
}

/// The same in IPv6, where the relay has an address of it.
#[test]
fn abuse_a_range_scan_over_ipv6_finds_every_range_and_every_disguise_closed() {
    let toml = "[credentials]\nsecrets_file = \"secrets\"\n[relay]\nexternal_ip = [\"127.0.0.1\", \"::1\"]\n";
    let server = Server::start_with(&[("meetpoint.toml", toml), ("secrets", SECRET)], &[]);
    let mut client = client_of(&server, "scanner");
    let wish = crate::support::client::Wish {
        family: Some(meetpoint::wire::attribute::AddressFamily::Ipv6),
        ..Default::default()
    };
    if client.try_allocate(wish).is_err() {
        // No IPv6 on this machine: the core's own test of the same is all there is.
        return;
    }
    let mut closed: BTreeSet<IpAddr> = [
        "::",
        "fe80::1",
        "fd00:ec2::254",
        "fc00::1",
        "ff02::1",
        "2001:db8::1",
        "fec0::1",
        "100::1",
        "64:ff9b:1::1",
    ]
    .map(|ip| ip.parse().unwrap())
    .into();
    for inside in ["127.0.0.1", "10.0.0.1", "169.254.169.254", "0.0.0.0", "255.255.255.255"] {
        closed.extend(
            spellings(inside.parse().unwrap())
                .into_iter()
                .map(|(_, ip)| ip)
                .filter(IpAddr::is_ipv6),
        );
    }
    for ip in closed {
        assert_eq!(client.try_permit(SocketAddr::new(ip, 80)), Err(403), "{ip}");
    }
}

/// Bytes of memory that a process holds.
fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// Sockets of a process that wait for somebody, out of /proc: protocol and address.
fn listening(pid: u32) -> BTreeSet<(&'static str, SocketAddr)> {
    let mut inodes = BTreeSet::new();
    for entry in std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten() {
        let Ok(link) = std::fs::read_link(entry.path()) else {
            continue;
        };
        let link = link.to_string_lossy().into_owned();
        if let Some(inode) = link.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']')) {
            inodes.insert(inode.to_owned());
        }
    }
    let mut found = BTreeSet::new();
    for (protocol, state) in [("tcp", "0A"), ("tcp6", "0A"), ("udp", "07"), ("udp6", "07")] {
        let table = std::fs::read_to_string(format!("/proc/{pid}/net/{protocol}")).unwrap_or_default();
        for line in table.lines().skip(1) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            if fields[3] == state && inodes.contains(fields[9]) {
                let protocol = if protocol.starts_with("tcp") { "tcp" } else { "udp" };
                found.insert((protocol, parse_address(fields[1])));
            }
        }
    }
    found
}

/// An address as /proc/net writes it: words of four bytes in the order of the machine.
fn parse_address(text: &str) -> SocketAddr {
    let (ip, port) = text.split_once(':').unwrap();
    let bytes: Vec<u8> = (0..ip.len() / 8)
        .flat_map(|word| {
            u32::from_str_radix(&ip[word * 8..word * 8 + 8], 16)
                .unwrap()
                .to_ne_bytes()
        })
        .collect();
    let ip = match <[u8; 4]>::try_from(bytes.as_slice()) {
        Ok(v4) => IpAddr::from(v4),
        Err(_) => IpAddr::from(<[u8; 16]>::try_from(bytes.as_slice()).unwrap()),
    };
    SocketAddr::new(ip, u16::from_str_radix(port, 16).unwrap())
}

/// CVE-2018-4059: an administration shell without a password listened, and nobody had asked for it.
#[test]
fn cve_2018_4059_nothing_listens_but_what_is_configured() {
    let server = start("");
    let expected: BTreeSet<_> = [("tcp", server.http), ("tcp", server.relay), ("udp", server.relay)].into();
    // Workers hand packets to each other over loopback sockets that take datagrams of this process alone.
    let found = listening(server.pid());
    let unexpected: Vec<_> = found.difference(&expected).collect();
    assert!(found.is_superset(&expected), "{found:?}");
    assert!(unexpected.is_empty(), "{unexpected:?}");
    // A relay socket comes with its allocation, and goes with it.
    let mut client = client_of(&server, "ann");
    let relayed = client.allocate();
    let with: Vec<_> = listening(server.pid()).difference(&expected).copied().collect();
    assert_eq!(with, [("udp", relayed)]);
    client.refresh(0).unwrap();
    assert_eq!(listening(server.pid()), expected);
}

/// CVE-2018-4056, CVE-2018-4059: an administration without a token, and names that were commands.
#[test]
fn cve_2018_4056_no_administration_without_a_token_and_no_name_is_a_command() {
    let server = start("");
    for path in [
        "config",
        "allocations",
        "revocations",
        "reload",
        "drain",
        "users/a/allocations",
        "",
        "../admin/config",
    ] {
        let answer = get(server.http, &format!("/api/admin/{path}")).unwrap();
        assert!(
            answer.starts_with("HTTP/1.1 404"),
            "{path}: {}",
            answer.lines().next().unwrap()
        );
    }
    for name in [
        "' OR 1=1 --",
        "'; DROP TABLE users; --",
        "%s%s%n%n",
        "a\\nb",
        "$(id)",
        "{{7*7}}",
        "../../etc/passwd",
        "\u{0}",
    ] {
        let quoted: String = name.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let answer = get(server.http, &format!("/api/ice-servers?user={quoted}")).unwrap();
        assert!(answer.starts_with("HTTP/1.1 400"), "{name}: {answer}");
        assert!(answer.contains("bad_user"), "{name}: {answer}");
    }
}

/// CVE-2020-6061, CVE-2020-6062: a POST whose body was not what it said crashed the web server.
#[test]
fn cve_2020_6061_and_6062_no_broken_post_ends_the_server() {
    let mut server = start("[admin]\ntokens = \"an operator's token of 32 characters\"\n");
    let token = "Authorization: Bearer an operator's token of 32 characters\r\n";
    for path in [
        "/api/ice-servers",
        "/api/admin/revocations",
        "/api/admin/reload",
        "/",
        "/metrics",
    ] {
        for (head, body) in [
            ("Content-Length: 0", &b""[..]),
            ("Content-Length: 10", b"x"),
            ("Content-Length: 1", b"xxxxxxxxxxxxxxxx"),
            ("Content-Length: -1", b"x"),
            ("Content-Length: 18446744073709551616", b"x"),
            ("Content-Length: 5\r\nContent-Length: 6", b"xxxxxx"),
            ("Transfer-Encoding: chunked", b"FFFFFFFFFFFFFFFF\r\nx"),
            ("Transfer-Encoding: chunked\r\nContent-Length: 3", b"0\r\n\r\n"),
            ("Content-Type: application/json\r\nContent-Length: 7", b"{\"a\":[["),
            (
                "Content-Type: application/json\r\nContent-Length: 6",
                b"\"\xFF\xFE\0\0\"",
            ),
        ] {
            let request = [
                format!("POST {path} HTTP/1.1\r\nHost: x\r\n{token}Connection: close\r\n{head}\r\n\r\n").as_bytes(),
                body,
            ]
            .concat();
            let mut stream = TcpStream::connect(server.http).unwrap();
            stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
            let _ = stream.write_all(&request);
            let _ = stream.read(&mut [0; 4096]);
        }
    }
    assert_eq!(server.has_ended(), None);
    assert!(get(server.http, "/readyz").unwrap().starts_with("HTTP/1.1 200"));
    assert!(!server.log().contains("panicked"), "{}", server.log());
}

/// coturn #1870, #1932: formats in names, and secrets in logs.
#[test]
fn coturn_1870_and_1932_logs_take_names_as_they_are_and_hold_no_secret() {
    let server = start("[log]\nlevel = \"trace\"\n");
    let mut clients = Vec::new();
    let ring = KeyRing::from_bytes([SECRET]).unwrap();
    let now = UnixTime::from_system_time(SystemTime::now());
    let mut passwords = Vec::new();
    for user in ["%s%n%x", "a\nlevel=fatal", "\u{1b}[31mred", "{\"a\":1}"] {
        let credential = mint(&ring, now, user, Duration::from_secs(3600));
        let Ok(credential) = credential else { continue };
        let mut client = Client::new(server.relay);
        client.log_in_with(&credential.username, credential.password.as_str());
        passwords.push(credential.password.as_str().to_owned());
        let _ = client.try_allocate(Default::default());
        clients.push(client);
    }
    let answer = get(server.http, "/api/ice-servers?user=alice").unwrap();
    let password = answer
        .split("\"credential\":\"")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap();
    passwords.push(password.to_owned());
    let log = server.log();
    for line in log.lines().filter(|line| !line.trim().is_empty()) {
        assert!(!line.contains('\u{1b}') && !line.starts_with("level=fatal"), "{line}");
    }
    let metrics = get(server.http, "/metrics").unwrap();
    let config = get(server.http, "/api/health").unwrap();
    for secret in passwords.iter().map(String::as_str).chain([SECRET]) {
        for place in [&log, &metrics, &config] {
            assert!(!place.contains(secret), "a secret is in\n{place}");
        }
    }
}

/// coturn #1872: a range that could not be read was passed over, and what it should have closed stayed open.
#[test]
fn coturn_1872_a_range_that_cannot_be_read_ends_the_start() {
    for bad in [
        "10.0.0.0/33",
        "10.0.0.0-10.0.0.255",
        "fe80::/129",
        "::ffff:10.0.0.0/8x",
        "localhost",
        "",
    ] {
        for key in ["deny", "allow"] {
            let directory = tempfile::TempDir::new().unwrap();
            let toml = format!("[peers]\n{key} = [\"{bad}\"]\n");
            std::fs::write(directory.path().join("meetpoint.toml"), toml).unwrap();
            let output = crate::program::meetpoint(&directory)
                .args(["config", "check"])
                .output()
                .unwrap();
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(2), "{key} = {bad}: {text}");
            assert!(text.contains(&format!("peers.{key}")), "{text}");
        }
    }
}

/// coturn #1946: the relay's own services behind it, here what the program itself listens on.
#[test]
fn coturn_1946_what_the_program_listens_on_is_closed_to_relaying() {
    let metrics = free_port();
    let server = start(&format!("[metrics]\nlisten = \"127.0.0.1:{metrics}\"\n"));
    let mut client = client_of(&server, "ann");
    client.allocate();
    client.permit(server.relay);
    for port in [server.http.port(), server.relay.port(), metrics] {
        let own = SocketAddr::new("127.0.0.1".parse().unwrap(), port);
        assert_eq!(client.try_bind(0x4000, own), Err(403), "{own}");
        client.send_indication(own, b"GET / HTTP/1.1\r\n\r\n", false);
    }
    assert!(get(server.http, "/readyz").unwrap().starts_with("HTTP/1.1 200"));
}

/// A fifth of a million forged requests through real sockets: no memory, and a call goes on.
#[test]
fn abuse_a_flood_through_real_sockets_takes_no_memory_and_a_call_goes_on() {
    let toml = "[peers]\nallow = \"127.0.0.0/8\"\n";
    let server = start(toml);
    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    peer.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut call = client_of(&server, "ann");
    call.allocate();
    call.bind(0x4000, peer.local_addr().unwrap());
    let mut buffer = [0; 100];
    let mut request = |n: u32, method: Method| {
        let mut id = [7; 12];
        id[..4].copy_from_slice(&n.to_be_bytes());
        let mut builder = MessageBuilder::new(&mut buffer, method, Class::Request, TransactionId(id));
        builder.attribute(&RequestedTransport::UDP);
        let len = builder.finish().unwrap();
        buffer[..len].to_vec()
    };
    let sockets: Vec<UdpSocket> = (0..40)
        .map(|n| UdpSocket::bind(format!("127.0.0.{}:0", n + 2)).unwrap())
        .collect();
    for socket in &sockets {
        socket.set_nonblocking(true).unwrap();
    }
    let (mut words, mut bytes_in, mut bytes_out) = (0_u32, 0_u64, 0_u64);
    let mut flood = |count: u32, words: &mut u32| {
        let began = Instant::now();
        let mut sink = [0; 2048];
        for n in 0..count {
            let socket = &sockets[n as usize % sockets.len()];
            let packet = request(
                n,
                if n.is_multiple_of(2) {
                    Method::ALLOCATE
                } else {
                    Method::BINDING
                },
            );
            bytes_in += socket.send_to(&packet, server.relay).map_or(0, |len| len as u64);
            while let Ok(len) = socket.recv(&mut sink) {
                bytes_out += len as u64;
            }
            if n % 2000 == 0 {
                // The call loses nothing: what the kernel drops of a full socket is sent again, as media would be repaired.
                let word = words.to_be_bytes();
                peer.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
                let arrived = (0..100).any(|_| {
                    call.send_channel(0x4000, &word);
                    peer.recv(&mut sink).is_ok_and(|len| sink[..len] == word)
                });
                assert!(arrived, "the call was cut by the flood");
                *words += 1;
            }
            if began.elapsed() > Duration::from_secs(20) {
                break;
            }
        }
    };
    flood(20_000, &mut words);
    let before = resident(server.pid());
    flood(200_000, &mut words);
    let after = resident(server.pid());
    assert!(after < before + 4 * 1024 * 1024, "{before} bytes became {after}");
    assert!(words > 10);
    assert!(bytes_out <= 3 * bytes_in, "{bytes_out} bytes for {bytes_in}");
    assert_eq!(
        server.metric("meetpoint_relay_allocations_created_total "),
        Some("1".to_owned())
    );
    call.refresh(600).unwrap();
}

/// coturn #1844, #1964, #1984 on a stream: lengths that lie, and padding that is zero.
#[test]
fn coturn_1984_padding_towards_a_stream_is_zero_and_frames_that_lie_end_it() {
    let server = start("[peers]\nallow = \"127.0.0.0/8\"\n");
    let at = server.relay;
    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut client = stream_client::Client::tcp(at);
    let relayed = client.allocate();
    client.bind(0x4000, peer.local_addr().unwrap());
    for len in 1..=9_usize {
        // What came before was longer and had other bytes.
        for (payload, held) in [(vec![0xEE; 64], 68), (vec![0xDD; len], 4 + len.next_multiple_of(4))] {
            peer.send_to(&payload, relayed).unwrap();
            let mut frame = vec![0; held];
            client.link.read_exact(&mut frame).unwrap();
            assert_eq!(frame[4..4 + payload.len()], payload);
            assert!(frame[4 + payload.len()..].iter().all(|byte| *byte == 0), "{frame:02x?}");
        }
    }
    // A STUN length that is no multiple of four, the longest there is, and what is neither STUN nor ChannelData.
    for lie in [
        &[0x00, 0x01, 0x00, 0x03, 0x21, 0x12, 0xA4, 0x42][..],
        &[0x00, 0x01, 0xFF, 0xFF, 0x21, 0x12, 0xA4, 0x42],
        &[0xFF; 40],
        &[0x00, 0x01, 0x00, 0x00, 0xDE, 0xAD, 0xBE, 0xEF],
    ] {
        let bytes = [lie, &[0; 64]].concat();
        assert!(tcp(at, &bytes).is_empty(), "{lie:02x?} was answered");
    }
    assert!(get(server.http, "/readyz").unwrap().starts_with("HTTP/1.1 200"));
}

/// A call is what is protected, so it is what is looked at last.
#[test]
fn abuse_the_default_configuration_relays_between_two_clients_and_to_nobody_inside() {
    let server = start("");
    let (mut ann, mut ben) = (client_of(&server, "ann"), client_of(&server, "ben"));
    let (at_ann, at_ben) = (ann.allocate(), ben.allocate());
    ann.bind(0x4000, at_ben);
    ben.bind(0x4000, at_ann);
    ann.send_channel(0x4000, b"hello");
    assert_eq!(ben.receive(), Some(Arrival::Channel(0x4000, b"hello".to_vec())));
    let inside = UdpSocket::bind("127.0.0.1:0").unwrap();
    inside.set_nonblocking(true).unwrap();
    assert_eq!(ann.try_permit(SocketAddr::from(([127, 0, 0, 2], 9))), Err(403));
    ann.send_indication(inside.local_addr().unwrap(), b"let me in", false);
    ann.send_channel(0x4000, b"behind it");
    assert_eq!(ben.receive(), Some(Arrival::Channel(0x4000, b"behind it".to_vec())));
    assert!(
        inside.recv(&mut [0; 100]).is_err(),
        "a packet came from the relay to a service inside"
    );
}
