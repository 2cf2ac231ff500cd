//! Junk, truncation and floods beside a call that must not notice.

use std::{
    io::Write as _,
    net::{TcpStream, UdpSocket},
    process::Command,
    time::{Duration, Instant},
};

use crate::support::{Credential, Meetpoint, Program, SECRET, connect_from, free_tcp_port, output_of};
use crate::uclient::run_at_port;

/// Numbers that look random and are the same in each run.
struct Sequence(u64);

impl Sequence {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next() as u8).collect()
    }
}

/// Packets of every kind of wrongness: noise of all lengths, STUN headers that lie about what follows, ChannelData of
/// nobody, valid headers with unknown methods.
fn junk(sequence: &mut Sequence) -> Vec<u8> {
    let len = (sequence.next() % 1400) as usize;
    let mut packet = sequence.bytes(len);
    let set = |packet: &mut Vec<u8>, bytes: &[u8]| {
        let n = bytes.len().min(packet.len());
        packet[..n].copy_from_slice(&bytes[..n]);
    };
    match sequence.next() % 5 {
        0 => {}
        1 => set(&mut packet, &[0x00, 0x03, 0xFF, 0xFC, 0x21, 0x12, 0xA4, 0x42]),
        2 => set(&mut packet, &[0x00, 0x01, 0x00, 0x00, 0x21, 0x12, 0xA4, 0x42]),
        3 => set(&mut packet, &[0x40, 0x00, 0xFF, 0xFF]),
        _ => {
            let body = (packet.len().saturating_sub(20) & !3) as u16;
            let [high, low] = body.to_be_bytes();
            set(&mut packet, &[0x00, 0x3E, high, low, 0x21, 0x12, 0xA4, 0x42]);
        }
    }
    packet
}

#[test]
fn a_flood_of_junk_disturbs_no_call() {
    let server = Meetpoint::start(&[]);
    let port = server.udp;
    let call = std::thread::spawn(move || {
        let mut command = Command::new("turnutils_uclient");
        let port = port.to_string();
        command.args([
            "-p",
            &port,
            "-y",
            "-c",
            "-n",
            "100",
            "-u",
            "ann",
            "-W",
            SECRET,
            "127.0.0.1",
        ]);
        output_of(&mut command, Duration::from_secs(60))
    });
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut sequence = Sequence(0x9E37_79B9_7F4A_7C15);
    let until = Instant::now() + Duration::from_secs(3);
    let mut sent = 0_u64;
    while Instant::now() < until && sent < 200_000 {
        sent += u64::from(socket.send_to(&junk(&mut sequence), ("127.0.0.1", port)).is_ok());
        if sent.is_multiple_of(64) {
            std::thread::yield_now();
        }
    }
    assert!(sent > 1000, "the flood was a trickle: {sent}");
    let (success, output) = call.join().unwrap();
    assert!(success && output.contains("Total lost packets 0 "), "{output}");
    assert!(server.answers());
}

#[test]
fn clients_that_connect_and_leave_at_once_disturb_no_call() {
    let server = Meetpoint::start(&[("PEERS__ALLOW", "127.0.0.0/8")]);
    let port = server.udp.to_string();
    for _ in 0..3 {
        let mut command = Command::new("turnutils_uclient");
        command.args([
            "-p",
            &port,
            "-O",
            "-c",
            "-m",
            "20",
            "-e",
            "127.0.0.1",
            "-u",
            "ann",
            "-W",
            SECRET,
            "127.0.0.1",
        ]);
        output_of(&mut command, Duration::from_secs(60));
    }
    let mut command = Command::new("turnutils_uclient");
    command.args(["-p", &port, "-y", "-c", "-u", "bob", "-W", SECRET, "127.0.0.1"]);
    let (success, output) = output_of(&mut command, Duration::from_secs(60));
    assert!(success && output.contains("Total lost packets 0 "), "{output}");
}

#[test]
fn clients_that_break_the_protocol_disturb_no_call() {
    let server = Meetpoint::start(&[("PEERS__ALLOW", "127.0.0.0/8")]);
    let port = server.udp.to_string();
    let breakers: Vec<Program> = (0..6)
        .map(|_| {
            let arguments = [
                "-p",
                &port,
                "-R",
                "-e",
                "127.0.0.1",
                "-u",
                "ann",
                "-W",
                SECRET,
                "127.0.0.1",
            ];
            Program::start(Command::new("turnutils_uclient").args(arguments))
        })
        .collect();
    let mut command = Command::new("turnutils_uclient");
    command.args([
        "-p",
        &port,
        "-y",
        "-c",
        "-n",
        "50",
        "-u",
        "bob",
        "-W",
        SECRET,
        "127.0.0.1",
    ]);
    let (success, output) = output_of(&mut command, Duration::from_secs(60));
    assert!(success && output.contains("Total lost packets 0 "), "{output}");
    assert!(server.answers());
    drop(breakers);
}

/// Connections that are half of something, from thousands of addresses.
struct Halves {
    open: Vec<TcpStream>,
}

impl Halves {
    fn add(&mut self, count: usize, port: u16, half: &[u8]) {
        for _ in 0..count {
            let number = self.open.len() as u32 + (10 << 16);
            let [_, a, b, c] = number.to_be_bytes();
            let mut stream = connect_from(&format!("127.{a}.{b}.{}", c | 1), port);
            // Those that are refused may be gone already.
            let _ = stream.write_all(half);
            self.open.push(stream);
        }
    }
}

#[test]
fn thousands_of_half_open_connections_of_every_kind_delay_no_good_client() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let files = getrlimit(Resource::Nofile).maximum;
    let raised = Rlimit {
        current: files,
        maximum: files,
    };
    setrlimit(Resource::Nofile, raised).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(path("chain.pem"), made.cert.pem()).unwrap();
    std::fs::write(path("key.pem"), made.signing_key.serialize_pem()).unwrap();
    let one_port = free_tcp_port();
    let server = Meetpoint::start(&[
        ("PEERS__ALLOW", "127.0.0.0/8"),
        ("STREAMS__ONE_PORT", &format!("127.0.0.1:{one_port}")),
        (
            "TLS__CERTIFICATES",
            &format!("{}:{}", path("chain.pem"), path("key.pem")),
        ),
        // They are held for as long as the test takes.
        ("STREAMS__FIRST_TIMEOUT", "300s"),
        ("HTTP__HEADER_TIMEOUT", "300s"),
    ]);
    let before = server.memory();
    let mut halves = Halves { open: Vec::new() };
    // Streams have an eighth of the server's descriptors: with the usual 20,000 of a container these leave 400 places.
    halves.add(700, server.udp, b"");
    halves.add(700, one_port, &[0x16, 0x03, 0x01, 0x02, 0x00, 0x01]);
    halves.add(700, one_port, &[0x00, 0x01, 0x00]);
    halves.add(2900, server.http, b"GET /api/health HTTP/1.1\r\nHost: ");
    assert_eq!(halves.open.len(), 5000);

    run_at_port(server.udp, "127.0.0.1", &["-t", "-y", "-c", "-n", "20"]);
    run_at_port(one_port, "127.0.0.1", &["-t", "-S", "-y", "-c", "-n", "20"]);
    Credential::from_api(server.http);
    assert!(server.answers());
    let each = server.memory().saturating_sub(before) / 5000;
    assert!(each < 40 << 10, "{each} bytes for each connection");

    // One address alone comes to its own bound, and is told so by the counter.
    let crowd: Vec<_> = (0..520).map(|_| connect_from("127.0.0.200", server.udp)).collect();
    let refused = "meetpoint_front_refused_connections_total";
    // Where there are few descriptors the bound of all comes first.
    server.assert_counted(refused, &[], 20.0);
    drop(crowd);
    drop(halves);
    run_at_port(server.udp, "127.0.0.1", &["-t", "-y", "-c", "-n", "20"]);
}
