//! What the real program holds for each idle connection of the hub, over two thousand of them.

use crate::program::{PATIENCE, Server};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

const CONNECTIONS: usize = 2_000;
/// Resident bytes of each: the bound is 6 KB. A debug build's state machines are larger.
const BOUND: usize = if cfg!(debug_assertions) { 14_000 } else { 6_000 };

#[test]
fn two_thousand_idle_connections_cost_some_kilobytes_each_and_give_them_back() {
    let most = getrlimit(Resource::Nofile).maximum;
    let limit = Rlimit {
        current: most,
        maximum: most,
    };
    setrlimit(Resource::Nofile, limit).unwrap();
    let server = Server::start(&[]);
    // What is set up once, by the first who come, is not counted.
    let warm: Vec<TcpStream> = (0..50).map(|at| member(server.http, at)).collect();
    let before = resident(server.pid());
    let held: Vec<TcpStream> = (50..50 + CONNECTIONS).map(|at| member(server.http, at)).collect();
    let each = resident(server.pid()).saturating_sub(before) / CONNECTIONS;
    assert!(each < BOUND, "{each} bytes a connection");
    assert_eq!(held.len() + warm.len(), CONNECTIONS + 50);
    drop(held);
    // The same again takes the same memory: nothing of the first ones is left.
    until(server.pid(), 100);
    let again: Vec<TcpStream> = (50..50 + CONNECTIONS).map(|at| member(server.http, at)).collect();
    let grown = resident(server.pid()).saturating_sub(before) / CONNECTIONS;
    assert!(
        grown < BOUND + BOUND / 2,
        "{grown} bytes a connection in the second round"
    );
    drop(again);
}

/// Waits until a process has at most that many descriptors.
fn until(pid: u32, most: usize) {
    let started = std::time::Instant::now();
    while std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count() > most {
        assert!(
            started.elapsed() < PATIENCE,
            "connections that are gone keep their descriptors"
        );
        crate::program::pause();
    }
}

/// A connection that has said hello and is in a room of ten.
fn member(server: SocketAddr, at: usize) -> TcpStream {
    let mut socket = TcpStream::connect(server).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = format!(
        "GET /v1/ws HTTP/1.1\r\nHost: {server}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: meetpoint.v1.json\r\n\r\n"
    );
    socket.write_all(request.as_bytes()).unwrap();
    say(&mut socket, &format!(r#"{{"t":"hello","v":[1],"peer":"p{at}"}}"#));
    say(&mut socket, &format!(r#"{{"t":"join","room":"r{}"}}"#, at / 10));
    let mut heard = Vec::new();
    let mut part = [0; 4_096];
    while !heard.windows(12).any(|window| window == br#""t":"joined""#) {
        let length = socket.read(&mut part).unwrap();
        assert!(length > 0, "closed: {}", String::from_utf8_lossy(&heard));
        heard.extend_from_slice(&part[..length]);
    }
    assert!(heard.starts_with(b"HTTP/1.1 101"));
    socket
}

/// One text frame of less than 126 bytes with a mask of zeros.
fn say(socket: &mut TcpStream, text: &str) {
    let mut frame = vec![0x81, 0x80 | u8::try_from(text.len()).unwrap(), 0, 0, 0, 0];
    assert!(text.len() < 126);
    frame.extend_from_slice(text.as_bytes());
    socket.write_all(&frame).unwrap();
}

/// Resident set of a process, bytes.
fn resident(pid: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let kib: usize = line.trim().strip_suffix(" kB").unwrap().parse().unwrap();
    kib * 1_024
}
