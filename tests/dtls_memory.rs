//! What strangers who come by DTLS can make the relay remember: measured by an allocator that sees every thread.
//!
//! One test, in a binary of its own: while it measures, nothing else runs.

#![cfg(feature = "server")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test: what cannot be done is a failure"
)]

#[path = "support/dtls.rs"]
mod stranger;
#[path = "support/udp/mod.rs"]
mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use meetpoint::telemetry::Metrics;
use meetpoint::transport::front::tls::{CertificateFiles, Certificates};
use meetpoint::transport::{self, Relay};
use stranger::{address, half_open, hello, record, socket};
use support::{Running, config, core_config};

struct Measuring;

/// Bytes that are allocated now.
static HELD: AtomicI64 = AtomicI64::new(0);

// SAFETY: every call goes to the system's allocator unchanged; counting touches no memory of the caller.
unsafe impl GlobalAlloc for Measuring {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HELD.fetch_add(layout.size() as i64, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `alloc`, which is the same here.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size() as i64, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `dealloc`, and every block came from the system's allocator.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Measuring = Measuring;

const HANDSHAKES: usize = 64;
/// What one handshake may hold, with a client that does what it can to raise it.
const WORST: i64 = 80 << 10;

/// Memory in use, once the relay has nothing left to read: it answers in order.
fn held(server: SocketAddr) -> i64 {
    let probe = socket(address(99_999));
    for random in 0..3 {
        probe.send_to(&hello(random, b""), server).unwrap();
        probe.recv(&mut [0; 256]).unwrap();
    }
    drop(probe);
    HELD.load(Ordering::SeqCst)
}

#[test]
fn strangers_hold_nothing_and_half_open_handshakes_no_more_than_their_bound() {
    let directory = tempfile::tempdir().unwrap();
    let files = CertificateFiles {
        chain: directory.path().join("chain.pem"),
        key: directory.path().join("key.pem"),
    };
    let made = rcgen::generate_simple_self_signed(["turn.example.org".to_owned()]).unwrap();
    std::fs::write(&files.chain, made.cert.pem()).unwrap();
    std::fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
    let certificates = Arc::new(Certificates::load_for_dtls(vec![files], None).unwrap());
    let config = transport::Config {
        listen_dtls: vec!["127.0.0.1:0".parse().unwrap()],
        dtls: transport::Dtls {
            handshakes: HANDSHAKES,
            handshake_timeout: Duration::from_secs(60),
            ..transport::Dtls::default()
        },
        ..config(1, &["127.0.0.1:0"])
    };
    let (core, metrics) = (core_config(), Metrics::new().unwrap());
    let relay = Relay::start_with(&config, &Arc::new(core.clone()), &metrics, Some(&certificates), None).unwrap();
    let running = Running { relay, metrics, core };
    let server = running.relay.dtls_addrs()[0];

    // Warm: what is made once is made.
    half_open(&socket(address(50_000)), server, 1);
    let start = held(server);
    let mut buffer = [0; 2048];
    for nth in 0..2_000 {
        let socket = socket(address(nth));
        socket.send_to(&hello(nth, b""), server).unwrap();
        socket.recv(&mut buffer).unwrap();
    }
    let grown = held(server) - start;
    assert!(grown < 4096, "{grown} bytes for 2,000 strangers");

    // Pieces of hellos that never get whole: the pool has its size, which is reached soon.
    let piece = {
        let mut piece = hello(7, b"");
        piece[RECORD_LENGTH] -= 1;
        piece[FRAGMENT_LENGTH] -= 1;
        piece.pop();
        // It says that it is 4,096 bytes long.
        piece[MESSAGE_LENGTH..MESSAGE_LENGTH + 2].copy_from_slice(&[0x10, 0x00]);
        piece
    };
    for nth in 0..2_000 {
        socket(address(nth)).send_to(&piece, server).unwrap();
    }
    let pool = held(server) - start;
    assert!(pool < 400 << 10, "{pool} bytes for pieces of strangers");

    let before = held(server);
    let sockets: Vec<UdpSocket> = (0..HANDSHAKES as u32).map(|nth| socket(address(nth))).collect();
    for (nth, socket) in sockets.iter().enumerate() {
        half_open(socket, server, nth as u32);
    }
    let each = (held(server) - before) / HANDSHAKES as i64;
    for nth in 0..600 {
        half_open(&socket(address(1000 + nth)), server, nth);
    }
    let full = held(server) - before;
    assert!(
        full < (each + 1024) * HANDSHAKES as i64 * 5 / 4,
        "{full} bytes, {each} for each of the first"
    );

    // Now each does what it can: pieces of long messages, in many records of many datagrams.
    let sockets: Vec<UdpSocket> = (0..HANDSHAKES as u32).map(|nth| socket(address(3000 + nth))).collect();
    for (nth, socket) in sockets.iter().enumerate() {
        half_open(socket, server, nth as u32);
    }
    // A message of 2,000 bytes in pieces of ten, not from its start on.
    let fragment = |message: u8, number: u8, offset: u16| {
        let mut one = record(number, 16, message, &[9; 10]);
        one[MESSAGE_LENGTH..MESSAGE_LENGTH + 2].copy_from_slice(&2000_u16.to_be_bytes());
        one[FRAGMENT_OFFSET..FRAGMENT_OFFSET + 2].copy_from_slice(&offset.to_be_bytes());
        one
    };
    for socket in &sockets {
        for datagram in 0..40_u8 {
            // Many records in a datagram, of the message that is awaited and of later ones.
            let many: Vec<u8> = (0..16)
                .flat_map(|number| {
                    fragment(
                        2 + datagram % 4,
                        number,
                        10 + 10 * (u16::from(datagram) * 16 + u16::from(number)) % 1900,
                    )
                })
                .collect();
            socket.send_to(&many, server).unwrap();
            // One record as long as is taken, and one that cannot be opened yet.
            let mut long = record(datagram, 16, 6 + datagram, &[]);
            long[MESSAGE_LENGTH..MESSAGE_LENGTH + 2].copy_from_slice(&2000_u16.to_be_bytes());
            long[FRAGMENT_LENGTH - 1..=FRAGMENT_LENGTH].copy_from_slice(&2000_u16.to_be_bytes());
            long[RECORD_LENGTH - 1..=RECORD_LENGTH].copy_from_slice(&2012_u16.to_be_bytes());
            long.resize(25 + 2000, 1);
            socket.send_to(&long, server).unwrap();
            let mut sealed = record(datagram, 20, 0, &[1; 100]);
            sealed[4] = 1;
            socket.send_to(&sealed, server).unwrap();
        }
        held(server);
    }
    let living = running.wait_for("meetpoint_relay_dtls_sessions", |found| found == HANDSHAKES as u64);
    assert_eq!(living, HANDSHAKES as u64, "they are still open");
    let worst = (held(server) - before) / HANDSHAKES as i64;
    println!("a half-open handshake holds {each} bytes, at worst {worst}; the pool {pool}");
    assert!(worst < WORST, "{worst} bytes for a handshake");
    assert!(running.metric("meetpoint_relay_dtls_sessions") <= HANDSHAKES as u64);
}

const RECORD_LENGTH: usize = 12;
const MESSAGE_LENGTH: usize = 15;
const FRAGMENT_OFFSET: usize = 20;
const FRAGMENT_LENGTH: usize = 24;
