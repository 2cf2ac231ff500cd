//! What somebody can do who forges datagrams of DTLS 1.2, or begins a handshake and never ends it: without a library, so that
//! thousands of them cost the test nothing.

#![allow(dead_code, reason = "each test binary uses its own part")]

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

const RECORD: usize = 13;
const HEADERS: usize = RECORD + 12;

/// The `nth` address of 127/8, from 127.1.0.1 on.
pub(crate) fn address(nth: u32) -> IpAddr {
    Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 1, 0, 1)) + nth).into()
}

/// A ClientHello of DTLS 1.2 with what is needed to be let in.
pub(crate) fn hello(random: u32, cookie: &[u8]) -> Vec<u8> {
    let mut body = vec![0xfe, 0xfd];
    body.extend_from_slice(&random.to_be_bytes());
    body.extend_from_slice(&[0x42; 28]);
    body.extend_from_slice(&[0, cookie.len() as u8]);
    body.extend_from_slice(cookie);
    // ECDHE-ECDSA with ChaCha20-Poly1305, no compression.
    body.extend_from_slice(&[0, 2, 0xcc, 0xa9, 1, 0]);
    let extensions: [&[u8]; 4] = [
        &[0, 10, 0, 4, 0, 2, 0, 0x1d],
        &[0, 11, 0, 2, 1, 0],
        &[0, 13, 0, 4, 0, 2, 4, 3],
        &[0, 23, 0, 0],
    ];
    let list = extensions.concat();
    body.extend_from_slice(&(list.len() as u16).to_be_bytes());
    body.extend_from_slice(&list);
    let message = u8::from(!cookie.is_empty());
    record(message, 1, message, &body)
}

/// A handshake message in a plaintext record.
pub(crate) fn record(number: u8, kind: u8, message: u8, body: &[u8]) -> Vec<u8> {
    let len = body.len() as u8;
    let mut out = vec![22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, number, 0, len + 12];
    out.extend_from_slice(&[kind, 0, 0, len, 0, message, 0, 0, 0, 0, 0, len]);
    out.extend_from_slice(body);
    out
}

/// The cookie of a HelloVerifyRequest.
pub(crate) fn cookie(answer: &[u8]) -> Vec<u8> {
    assert_eq!((answer[0], answer[RECORD]), (22, 3), "a HelloVerifyRequest");
    answer[HEADERS + 3..].to_vec()
}

/// A socket at an address of loopback.
pub(crate) fn socket(from: IpAddr) -> UdpSocket {
    let socket = UdpSocket::bind((from, 0)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    socket
}

/// Sends a ClientHello and the cookie back, and gets the server's flight: a handshake that is half open.
pub(crate) fn half_open(socket: &UdpSocket, server: SocketAddr, random: u32) {
    let cookie = cookie(&ask(socket, server, &hello(random, b""), 3));
    ask(socket, server, &hello(random, &cookie), 2);
}

/// The answer to a datagram, a handshake message of this kind. It is sent again when it was lost, since sockets of a flood
/// overflow; then an answer may come twice.
fn ask(socket: &UdpSocket, server: SocketAddr, datagram: &[u8], kind: u8) -> Vec<u8> {
    let mut buffer = [0; 2048];
    socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    for _ in 0..20 {
        socket.send_to(datagram, server).unwrap();
        while let Ok(len) = socket.recv(&mut buffer) {
            if (buffer[0], buffer[RECORD]) == (22, kind) {
                return buffer[..len].to_vec();
            }
        }
    }
    panic!("no answer to {datagram:02x?}")
}
