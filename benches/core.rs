//! The relay core alone, without a socket: `cargo bench --bench core`. Time and heap allocations per packet.

#![expect(clippy::unwrap_used, reason = "a benchmark ends at its first surprise")]

use divan::Bencher;
use meetpoint::turn::{Handled, Limits, PeerAddr, RateLimit, RelayId};
use meetpoint::wire::{AttributeType, Class, Method};

#[path = "../tests/support/relay.rs"]
mod relay;

use relay::{Client, Lab, PEER, addr, channel_data, config};

#[global_allocator]
static ALLOCATIONS: divan::AllocProfiler = divan::AllocProfiler::system();

/// Allocations that live beside the ones under test.
const COUNTS: [usize; 3] = [1, 100, 10_000];
const PAYLOAD: [u8; 160] = [0xAB; 160];

fn main() {
    divan::main();
}

/// A server with `count` allocations, each with a channel to its peer, and packets that go round them.
struct Crowd {
    lab: Lab,
    clients: Vec<Client>,
    relays: Vec<RelayId>,
}

impl Crowd {
    fn new(count: usize) -> Self {
        Self::limited(count, |_| {})
    }

    fn limited(count: usize, set: impl FnOnce(&mut Limits)) -> Self {
        let mut config = config();
        set(&mut config.limits);
        config.limits.allocations_per_user = u32::MAX;
        config.limits.allocations_per_client = u32::MAX;
        config.limits.unauthenticated_per_second = 0;
        let mut lab = Lab::new(config);
        let mut clients: Vec<_> = (0..count)
            .map(|n| Client::new(&format!("192.0.2.{}:{}", n / 60_000 + 1, 1024 + n % 60_000)))
            .collect();
        let mut relays = Vec::new();
        for client in &mut clients {
            let relayed = client.allocate(&mut lab);
            assert_eq!(client.bind(&mut lab, 0x4000, PEER), 0);
            relays.push(lab.relay_at(relayed));
        }
        Self { lab, clients, relays }
    }

    fn relayed(&mut self, turn: &mut usize, datagram: &[u8]) -> Handled {
        *turn = (*turn + 1) % self.clients.len();
        let handled = self
            .lab
            .server
            .handle_client(self.lab.now, &self.clients[*turn].five_tuple, datagram);
        debug_assert!(matches!(handled, Handled::Forward(_)));
        handled
    }
}

#[divan::bench(args = COUNTS)]
fn channel_data_client_to_peer(bencher: Bencher<'_, '_>, count: usize) {
    let mut crowd = Crowd::new(count);
    let datagram = channel_data(0x4000, &PAYLOAD);
    let mut turn = 0;
    bencher.bench_local(|| crowd.relayed(&mut turn, &datagram));
}

/// Bytes and packets limited for the allocation, its user, the process, and all three, which nobody reaches. Compare with
/// [`channel_data_client_to_peer`], where nothing is.
#[divan::bench(args = ["allocation", "user", "total", "all"], sample_size = 3200)]
fn channel_data_within_limits(bencher: Bencher<'_, '_>, of: &str) {
    let rate = RateLimit {
        bytes_per_second: 1 << 36,
        byte_burst: 1 << 50,
        packets_per_second: 1 << 28,
        packet_burst: 1 << 50,
    };
    let mut crowd = Crowd::limited(100, |limits| {
        let all = of == "all";
        if all || of == "allocation" {
            limits.allocation_rate = rate;
        }
        if all || of == "user" {
            limits.user_rate = rate;
        }
        if all || of == "total" {
            limits.total_rate = rate;
        }
    });
    let datagram = channel_data(0x4000, &PAYLOAD);
    let mut turn = 0;
    bencher.bench_local(|| crowd.relayed(&mut turn, &datagram));
}

#[divan::bench(args = COUNTS)]
fn send_indication_client_to_peer(bencher: Bencher<'_, '_>, count: usize) {
    let mut crowd = Crowd::new(count);
    let datagram = crowd.clients[0].bare(Method::SEND, Class::Indication, |builder| {
        builder.attribute(&meetpoint::wire::attribute::XorPeerAddress(addr(PEER)));
        builder.raw_attribute(AttributeType::DATA, &PAYLOAD);
    });
    let mut turn = 0;
    bencher.bench_local(|| crowd.relayed(&mut turn, &datagram));
}

#[divan::bench(args = COUNTS)]
fn peer_to_client_by_channel(bencher: Bencher<'_, '_>, count: usize) {
    let mut crowd = Crowd::new(count);
    let peer = PeerAddr(addr(PEER));
    let mut turn = 0;
    bencher.bench_local(|| {
        turn = (turn + 1) % crowd.relays.len();
        crowd
            .lab
            .server
            .handle_peer(crowd.lab.now, crowd.relays[turn], peer, &PAYLOAD)
    });
}

#[divan::bench(args = COUNTS)]
fn peer_to_client_by_indication(bencher: Bencher<'_, '_>, count: usize) {
    let mut crowd = Crowd::new(count);
    let peer = PeerAddr(addr("20.0.0.1:7001"));
    let mut turn = 0;
    bencher.bench_local(|| {
        turn = (turn + 1) % crowd.relays.len();
        crowd
            .lab
            .server
            .handle_peer(crowd.lab.now, crowd.relays[turn], peer, &PAYLOAD)
    });
}

/// Allocate and Refresh 0 of one client, with the key cached by nobody: what a new session costs besides its socket.
#[divan::bench(args = COUNTS)]
fn allocate_and_delete(bencher: Bencher<'_, '_>, count: usize) {
    let mut crowd = Crowd::new(count);
    let mut client = Client::new("198.51.100.1:1");
    client.challenge(&mut crowd.lab);
    crowd.lab.sent.clear();
    bencher
        .with_inputs(|| {
            let allocate = client.request(Method::ALLOCATE, |builder| {
                builder.attribute(&meetpoint::wire::attribute::RequestedTransport::UDP);
            });
            let delete = client.request(Method::REFRESH, |builder| {
                builder.attribute(&meetpoint::wire::attribute::Lifetime(0));
            });
            (allocate, delete)
        })
        .bench_local_refs(|(allocate, delete)| {
            let from = crowd
                .clients
                .first()
                .map(|_| relay::five_tuple("198.51.100.1:1"))
                .unwrap();
            crowd.lab.server.handle_client(crowd.lab.now, &from, allocate);
            crowd.lab.drain();
            crowd.lab.server.handle_client(crowd.lab.now, &from, delete);
            crowd.lab.drain();
            crowd.lab.sent.clear();
        });
}

/// The first request of a stranger: what a flood of them costs.
#[divan::bench]
fn challenge(bencher: Bencher<'_, '_>) {
    let mut crowd = Crowd::new(1);
    let request = crowd.clients[0].bare(Method::ALLOCATE, Class::Request, |_| {});
    let from = relay::five_tuple("198.51.100.1:1");
    bencher.bench_local(|| {
        crowd.lab.now.instant += std::time::Duration::from_millis(10);
        crowd.lab.server.handle_client(crowd.lab.now, &from, &request);
        while crowd.lab.server.poll_output().is_some() {}
    });
}

/// A request with a forged nonce: refused before any password is hashed.
#[divan::bench]
fn forged_nonce(bencher: Bencher<'_, '_>) {
    let mut crowd = Crowd::new(1);
    let mut stranger = Client::new("198.51.100.1:1");
    stranger.nonce = crowd.clients[0].nonce.clone();
    let request = stranger.request(Method::ALLOCATE, |_| {});
    bencher.bench_local(|| {
        crowd.lab.now.instant += std::time::Duration::from_millis(10);
        crowd
            .lab
            .server
            .handle_client(crowd.lab.now, &stranger.five_tuple, &request);
        while crowd.lab.server.poll_output().is_some() {}
    });
}
