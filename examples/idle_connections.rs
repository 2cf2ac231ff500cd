//! How much memory an idle connection of the signaling hub costs: `cargo run --release --example idle_connections [N]`.
//!
//! This process is the server: an axum router with the hub's upgrade and nothing else. A second process (this program again)
//! opens N connections, so that none of its memory is counted. After each step the server's resident set is read, and its
//! growth since the start divided by N. Kernel memory of the sockets is not part of a resident set.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measurement ends at its first surprise and prints what it found"
)]

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use axum::{Router, extract::Request, routing::get};
use meetpoint::{
    signaling,
    ws::{self, Anonymous, HubHandle, IceAsker, IceList, IceSource},
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Members of one room: every connection is in one.
const ROOM: usize = 10;

struct NoIce;

impl IceSource for NoIce {
    fn ice_servers(&self, asker: &IceAsker<'_>) -> IceList {
        // As long as a usual list, so that the welcome has its usual length.
        let list = serde_json::json!([
            {"urls": ["stun:meet.example.org:3478"]},
            {"urls": ["turn:meet.example.org:3478?transport=udp", "turn:meet.example.org:3478?transport=tcp"],
             "username": format!("1767229200:{}", asker.user.user), "credential": "QUJDREVGR0hJSktMTU5PUFFSU1Q="},
        ]);
        IceList::new(&list, 1_767_229_200_000).unwrap()
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.get(1).map(String::as_str) {
        Some("client") => client(arguments[2].parse().unwrap(), arguments[3].parse().unwrap()),
        wanted => server(wanted.map_or(10_000, |wanted| wanted.parse().unwrap())),
    }
}

/// Descriptors for `wanted` sockets, or as many as the hard limit gives.
fn sockets(wanted: usize) -> usize {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        },
    )
    .unwrap();
    let most = limit
        .maximum
        .map_or(wanted, |most| usize::try_from(most).unwrap().saturating_sub(100));
    wanted.min(most)
}

#[tokio::main(worker_threads = 2)]
async fn server(wanted: usize) {
    let count = sockets(wanted);
    let hub = signaling::Config {
        connections: count,
        rooms: count,
        hello_timeout: Duration::from_secs(300),
        ..Default::default()
    };
    let hub = HubHandle::start(
        hub,
        ws::Config::default(),
        Arc::new(Anonymous),
        Arc::new(NoIce),
        [1; 32],
    );
    let handle = hub.clone();
    let app = Router::new().route(
        "/signaling",
        get(move |request: Request| async move { ws::upgrade(&handle, signaling::Dialect::Native, request) }),
    );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });

    // One connection first, so that what is set up once is not counted.
    drop(Driver::start(address, 1));
    until(&hub, 0).await;
    let before = resident();
    println!(
        "{count} connections, {ROOM} to a room; before: {} KiB resident",
        before / 1_024
    );
    let mut driver = Driver::start(address, count);
    for step in ["open", "welcomed", "joined", "10 offers each way"] {
        driver.wait();
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        let grown = resident().saturating_sub(before);
        println!(
            "{step:>22}: {:>6} bytes per connection ({} KiB)",
            grown / count,
            grown / 1_024
        );
        driver.go_on();
    }
    let stats = hub.stats();
    println!(
        "{} connections, {} rooms, {} frames delivered",
        stats.connections, stats.rooms, stats.deliveries
    );
    drop(driver);
    until(&hub, 0).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    println!("{:>22}: {} KiB resident", "all gone", resident() / 1_024);
    // Freed memory stays with the allocator, by thread, so it takes a few rounds until nothing new is asked for. A leak would
    // grow by as much in every round.
    for round in 2..=5 {
        let mut driver = Driver::start(address, count);
        for _ in 0..4 {
            driver.wait();
            driver.go_on();
        }
        println!("{:>22}: {} KiB resident", format!("round {round}"), resident() / 1_024);
        drop(driver);
        until(&hub, 0).await;
    }
}

async fn until(hub: &HubHandle, connections: u64) {
    for _ in 0..600 {
        if hub.stats().connections == connections {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Resident set of this process, bytes.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let kib: usize = line.trim().strip_suffix(" kB").unwrap().parse().unwrap();
    kib * 1_024
}

/// The client process: it does one step, says so on its output, and waits for a line on its input.
struct Driver {
    child: Child,
    lines: BufReader<std::process::ChildStdout>,
}

impl Driver {
    fn start(address: SocketAddr, count: usize) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["client", &address.to_string(), &count.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        let mut driver = Self { child, lines };
        if count == 1 {
            (0..4).for_each(|_| {
                driver.wait();
                driver.go_on();
            });
        }
        driver
    }

    fn wait(&mut self) {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        assert_eq!(line, "done\n");
    }

    fn go_on(&mut self) {
        self.child.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // Its input ends, so it ends.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

fn client(address: SocketAddr, count: usize) {
    let count = sockets(count);
    let mut open: Vec<TcpStream> = (0..count).map(|_| handshake(address)).collect();
    step();
    for (at, socket) in open.iter_mut().enumerate() {
        say(socket, &format!(r#"{{"t":"hello","v":[1],"peer":"peer-{at}"}}"#));
        hear(socket, "welcome");
    }
    step();
    for (at, socket) in open.iter_mut().enumerate() {
        say(
            socket,
            &format!(
                r#"{{"t":"join","room":"room-{}","meta":{{"name":"Somebody"}}}}"#,
                at / ROOM
            ),
        );
        hear(socket, "joined");
    }
    step();
    // Neighbours of a room signal each other: as long as an offer, and answered.
    let sdp = "a=candidate:1 1 udp 2122260223 192.0.2.1 54321 typ host".repeat(15);
    for _ in 0..10 {
        for at in 0..count {
            let (room, neighbour) = (at / ROOM, at ^ 1);
            if neighbour >= count {
                continue;
            }
            let sig = format!(
                r#"{{"t":"sig","id":1,"room":"room-{room}","to":"peer-{neighbour}","kind":"offer","data":{{"sdp":"{sdp}"}}}}"#
            );
            say(&mut open[at], &sig);
            hear(&mut open[at], "ok");
            hear(&mut open[neighbour], "sig");
        }
    }
    step();
    let mut line = String::new();
    let _ = std::io::stdin().read_line(&mut line);
}

fn step() {
    println!("done");
    std::io::stdout().flush().unwrap();
    let mut line = String::new();
    if std::io::stdin().read_line(&mut line).unwrap() == 0 {
        std::process::exit(0);
    }
}

fn handshake(address: SocketAddr) -> TcpStream {
    let mut socket = TcpStream::connect(address).unwrap();
    let request = format!(
        "GET /signaling HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Protocol: meetpoint.v1.json\r\nUser-Agent: idle_connections\r\n\r\n"
    );
    socket.write_all(request.as_bytes()).unwrap();
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        socket.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    assert!(head.starts_with(b"HTTP/1.1 101"));
    socket
}

/// One text frame with a mask of zeros.
fn say(socket: &mut TcpStream, text: &str) {
    let mut frame = vec![0x81];
    match text.len() {
        short @ 0..126 => frame.push(0x80 | u8::try_from(short).unwrap()),
        long => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&u16::try_from(long).unwrap().to_be_bytes());
        }
    }
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(text.as_bytes());
    socket.write_all(&frame).unwrap();
}

/// Reads frames up to one of that type.
fn hear(socket: &mut TcpStream, kind: &str) {
    loop {
        let mut head = [0; 2];
        socket.read_exact(&mut head).unwrap();
        let length = match head[1] {
            126 => {
                let mut length = [0; 2];
                socket.read_exact(&mut length).unwrap();
                usize::from(u16::from_be_bytes(length))
            }
            short => usize::from(short),
        };
        let mut payload = vec![0; length];
        socket.read_exact(&mut payload).unwrap();
        if head[0] == 0x81 && payload.starts_with(format!(r#"{{"t":"{kind}""#).as_bytes()) {
            return;
        }
    }
}
