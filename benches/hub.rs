//! The hub without sockets: `cargo bench --bench hub`.
//!
//! One call is a frame from text to outputs: parse, judge, route, write. Allocations are counted beside time.

#![expect(clippy::unwrap_used, reason = "a benchmark ends at its first surprise")]

use std::time::Instant;

use divan::{Bencher, counter::ItemsCount};
use meetpoint::signaling::{Config, ConnectionId, Dialect, Frame, Grants, Hub, Identity, Now};

#[global_allocator]
static ALLOCATIONS: divan::AllocProfiler = divan::AllocProfiler::system();

fn main() {
    divan::main();
}

/// A hub whose rates never refuse, with `count` members in room `r`.
struct World {
    hub: Hub,
    now: Now,
    members: Vec<ConnectionId>,
}

impl World {
    fn new(count: usize) -> Self {
        let config = Config {
            peers_per_room: 100_000,
            connections: 100_000,
            messages_per_second: u32::MAX,
            message_burst: u32::MAX,
            bytes_per_second: u32::MAX,
            byte_burst: u32::MAX,
            relay_bytes_per_second: u32::MAX,
            relay_byte_burst: u32::MAX,
            relay_total_bytes_per_second: u32::MAX,
            ..Config::default()
        };
        let now = Now {
            instant: Instant::now(),
            unix_ms: 1_700_000_000_000,
        };
        let mut world = Self {
            hub: Hub::new(config, [1; 32]),
            now,
            members: Vec::new(),
        };
        for at in 0..count {
            let member = world.welcomed(at);
            world.say(member, r#"{"t":"join","room":"r"}"#);
            world.members.push(member);
        }
        world
    }

    fn welcomed(&mut self, at: usize) -> ConnectionId {
        let connection = self.hub.connect(self.now, Dialect::Native).unwrap().connection;
        let hello = format!(r#"{{"t":"hello","v":[1],"peer":"p{at}"}}"#);
        let admitted = self
            .hub
            .try_admit(self.now, connection, Frame::text(Dialect::Native, &hello))
            .unwrap();
        let grants = Grants {
            identity: Some(Ok(Identity::ANONYMOUS)),
            ice: None,
        };
        self.hub.handle_request(self.now, connection, admitted, grants);
        self.drain();
        connection
    }

    fn say(&mut self, connection: ConnectionId, text: &str) -> usize {
        // The clock moves, as in life; it refills whatever was spent.
        self.now.instant += std::time::Duration::from_millis(1);
        self.hub
            .handle_frame(self.now, connection, Frame::text(Dialect::Native, text));
        self.drain()
    }

    fn drain(&mut self) -> usize {
        let mut outputs = 0;
        while let Some(output) = self.hub.poll_output() {
            divan::black_box(output);
            outputs += 1;
        }
        outputs
    }
}

/// An offer as a browser writes one for a data channel, about as long.
fn offer() -> String {
    format!(
        r#"{{"t":"sig","id":7,"room":"r","to":"p1","kind":"offer","data":{{"type":"offer","sdp":"{}"}}}}"#,
        "v=0\\r\\n".repeat(160)
    )
}

#[divan::bench]
fn parse_an_offer(bencher: Bencher<'_, '_>) {
    let text = offer();
    bencher.bench_local(|| Frame::text(Dialect::Native, divan::black_box(&text)));
}

#[divan::bench(args = [2, 256])]
fn signal_to_one(bencher: Bencher<'_, '_>, room: usize) {
    let mut world = World::new(room);
    let (from, text) = (world.members[0], offer());
    assert_eq!(world.say(from, &text), 2);
    bencher.bench_local(|| world.say(from, &text));
}

#[divan::bench(args = [10, 1_000])]
fn send_to_the_room(bencher: Bencher<'_, '_>, room: usize) {
    let mut world = World::new(room);
    let from = world.members[0];
    let text = format!(r#"{{"t":"send","room":"r","data":"{}"}}"#, "x".repeat(200));
    assert_eq!(world.say(from, &text), room - 1);
    bencher
        .counter(ItemsCount::new(room - 1))
        .bench_local(|| world.say(from, &text));
}

#[divan::bench(args = [2, 100])]
fn join_and_leave(bencher: Bencher<'_, '_>, room: usize) {
    let mut world = World::new(room - 1);
    let newcomer = world.welcomed(room);
    assert_eq!(world.say(newcomer, r#"{"t":"join","room":"r"}"#), room);
    world.say(newcomer, r#"{"t":"leave","room":"r"}"#);
    bencher.bench_local(|| {
        world.say(newcomer, r#"{"t":"join","room":"r"}"#);
        world.say(newcomer, r#"{"t":"leave","room":"r"}"#)
    });
}

#[divan::bench]
fn connect_hello_and_go(bencher: Bencher<'_, '_>) {
    let mut world = World::new(0);
    bencher.bench_local(|| {
        let connection = world.welcomed(1);
        let now = world.now;
        world
            .hub
            .disconnect(now, connection, meetpoint::signaling::CloseCode::Normal);
    });
}
