//! TCP allocations (RFC 6062) on real sockets: connections to peers and from peers, over TCP and TLS, wherever the streams land.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use meetpoint::transport::Streams;
use meetpoint::turn::{self, Limits, PeerFilter, RateLimit, RelayAddr};
use meetpoint::wire::attribute::ConnectionId;

use crate::client::{Client, Link, connect};
use crate::secure::{client as tls_client, handshake};
use crate::stage::Stage;
use crate::support::core_config;

/// Longer than any test takes that does not hang.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn open_core() -> turn::Config {
    turn::Config {
        tcp_relay: true,
        ..core_config()
    }
}

pub(crate) fn stage(workers: usize) -> Stage {
    Stage::with(workers, Streams::default(), open_core())
}

/// How a client comes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Leg {
    Tcp,
    Tls,
}

impl Leg {
    pub(crate) const BOTH: [Self; 2] = [Self::Tcp, Self::Tls];

    pub(crate) fn client(self, stage: &Stage) -> Client {
        match self {
            Self::Tcp => Client::tcp(stage.tcp),
            Self::Tls => tls_client(stage.tls, handshake(stage.tls, &[]).stream),
        }
    }

    /// A further connection, and its socket.
    pub(crate) fn link(self, stage: &Stage) -> (Box<dyn Link>, TcpStream) {
        match self {
            Self::Tcp => {
                let socket = patient(connect(stage.tcp));
                (Box::new(socket.try_clone().unwrap()), socket)
            }
            Self::Tls => {
                let stream = handshake(stage.tls, &[]).stream;
                let socket = patient(stream.sock.try_clone().unwrap());
                (Box::new(stream), socket)
            }
        }
    }
}

pub(crate) fn patient(socket: TcpStream) -> TcpStream {
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.set_write_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// The two ends of a data connection.
pub(crate) struct Joined {
    pub(crate) client: Box<dyn Link>,
    pub(crate) client_socket: TcpStream,
    pub(crate) peer: TcpStream,
}

/// A new client with a TCP allocation and a connection to a peer.
pub(crate) fn joined(stage: &Stage, leg: Leg) -> (Client, Joined) {
    let mut client = leg.client(stage);
    client.allocate_tcp();
    let joined = join(stage, leg, &mut client);
    (client, joined)
}

pub(crate) fn join(stage: &Stage, leg: Leg, client: &mut Client) -> Joined {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let id = client.connect_peer(listener.local_addr().unwrap()).unwrap();
    let (mut link, client_socket) = leg.link(stage);
    client.bind_connection(&mut link, id, b"").unwrap();
    Joined {
        client: link,
        client_socket,
        peer: patient(listener.accept().unwrap().0),
    }
}

/// Bytes of which none is like its neighbours.
pub(crate) fn noise(len: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let step = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..len).map(step).collect()
}

pub(crate) fn expect(link: &mut (impl Read + ?Sized), expected: &[u8]) {
    let mut found = vec![0; expected.len()];
    link.read_exact(&mut found).unwrap();
    assert!(
        found == expected,
        "{} bytes are not those that were sent",
        expected.len()
    );
}

fn passes_both_ways(joined: &mut Joined) {
    for len in [1, 3, 1200, 70_000] {
        let bytes = noise(len);
        joined.client.write_all(&bytes).unwrap();
        joined.client.flush().unwrap();
        expect(&mut joined.peer, &bytes);
        joined.peer.write_all(&bytes).unwrap();
        expect(&mut *joined.client, &bytes);
    }
}

#[test]
fn a_client_connects_to_peers_from_its_relayed_address() {
    for leg in Leg::BOTH {
        let stage = stage(1);
        let mut client = leg.client(&stage);
        let relayed = client.allocate_tcp();
        let mut all: Vec<_> = (0..3).map(|_| join(&stage, leg, &mut client)).collect();
        for joined in &mut all {
            assert_eq!(joined.peer.peer_addr().unwrap(), relayed);
            passes_both_ways(joined);
        }
        stage.assert_metric("meetpoint_relay_connections{", 0);
        stage.assert_metric("meetpoint_relay_connections ", 3);
        stage.assert_metric("meetpoint_relay_tcp_allocations{family=\"ipv4\"}", 1);
        let over = if leg == Leg::Tls { "tls" } else { "tcp" };
        for way in ["client_to_peer", "peer_to_client"] {
            let name = format!("meetpoint_relay_payload_bytes_total{{direction=\"{way}\",transport=\"{over}\"}}");
            stage.assert_metric(&name, 3 * (1 + 3 + 1200 + 70_000));
        }
    }
}

#[test]
fn a_permitted_peer_connects_to_the_relayed_address_and_another_is_closed() {
    for leg in Leg::BOTH {
        let stage = stage(1);
        let mut client = leg.client(&stage);
        let relayed = client.allocate_tcp();
        // Before the permission it is closed at once.
        let mut early = patient(TcpStream::connect(relayed).unwrap());
        assert!(!matches!(early.read(&mut [0]), Ok(1..)));
        stage.assert_metric("meetpoint_relay_connections_ended_total{reason=\"no_permission\"}", 1);

        client.permit("127.0.0.1:1".parse().unwrap());
        let mut peer = patient(TcpStream::connect(relayed).unwrap());
        // What a peer says before it is bound is not lost.
        let bytes = noise(100_000);
        let mut talker = peer.try_clone().unwrap();
        let said = bytes.clone();
        let talks = std::thread::spawn(move || talker.write_all(&said).unwrap());
        let (id, from) = client.attempt();
        assert_eq!(from, peer.local_addr().unwrap());
        let (mut link, client_socket) = leg.link(&stage);
        client.bind_connection(&mut link, id, b"first words").unwrap();
        expect(&mut *link, &bytes);
        expect(&mut peer, b"first words");
        talks.join().unwrap();
        passes_both_ways(&mut Joined {
            client: link,
            client_socket,
            peer,
        });
    }
}

#[test]
fn what_a_client_sends_behind_its_request_is_the_first_that_the_peer_gets() {
    for leg in Leg::BOTH {
        for workers in [1, 2] {
            let stage = stage(workers);
            let mut client = leg.client(&stage);
            client.allocate_tcp();
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let id = client.connect_peer(listener.local_addr().unwrap()).unwrap();
            let mut peer = patient(listener.accept().unwrap().0);
            let (mut link, _socket) = leg.link(&stage);
            // More than one record of TLS, and more than one read.
            let bytes = noise(60_000);
            client.bind_connection(&mut link, id, &bytes).unwrap();
            expect(&mut peer, &bytes);
        }
    }
}

#[test]
fn streams_that_land_at_another_worker_are_joined_all_the_same() {
    for leg in Leg::BOTH {
        let stage = stage(2);
        let mut client = leg.client(&stage);
        client.allocate_tcp();
        let mut all: Vec<_> = (0..6).map(|_| join(&stage, leg, &mut client)).collect();
        for joined in &mut all {
            passes_both_ways(joined);
        }
        stage.assert_metric("meetpoint_relay_connections ", 6);
        let moved = stage
            .running
            .metric("meetpoint_relay_streams_closed_total{reason=\"moved\"}");
        assert!(
            moved > 0,
            "each worker gets the next stream: half of them were the other's"
        );
        let over = if leg == Leg::Tls { "tls" } else { "tcp" };
        stage.assert_metric(&format!("meetpoint_relay_streams{{transport=\"{over}\"}}"), 7);
        drop(client);
        stage.assert_metric("meetpoint_relay_connections ", 0);
        stage.assert_metric("meetpoint_relay_streams{", 0);
    }
}

/// Two clients whose relayed addresses connect to each other; nothing but relays is open.
fn across(workers: usize, leg: Leg) {
    across_as(workers, leg, "127.0.0.1");
}

/// The same where clients know the relay by another address than it is bound to, as behind 1:1 NAT.
fn across_as(workers: usize, leg: Leg, advertised: &str) {
    let relay = RelayAddr {
        bind: "127.0.0.1".parse().unwrap(),
        advertised: advertised.parse().unwrap(),
    };
    let core = turn::Config {
        peers: PeerFilter::default(),
        relay_addrs: vec![relay],
        ..open_core()
    };
    let stage = Stage::with(workers, Streams::default(), core);
    for _ in 0..3 {
        let (mut a, mut b) = (leg.client(&stage), leg.client(&stage));
        let (of_a, of_b) = (a.allocate_tcp(), b.allocate_tcp());
        assert_eq!(of_a.ip(), relay.advertised);
        b.permit(of_a);
        let id = a.connect_peer(of_b).unwrap();
        let (back, from) = b.attempt();
        assert_eq!(from, of_a);
        let (mut link_a, _socket_a) = leg.link(&stage);
        let (mut link_b, _socket_b) = leg.link(&stage);
        a.bind_connection(&mut link_a, id, b"").unwrap();
        b.bind_connection(&mut link_b, back, b"").unwrap();
        let bytes = noise(50_000);
        link_a.write_all(&bytes).unwrap();
        link_a.flush().unwrap();
        expect(&mut *link_b, &bytes);
        link_b.write_all(&bytes).unwrap();
        link_b.flush().unwrap();
        expect(&mut *link_a, &bytes);
    }
}

#[test]
fn allocations_of_one_server_connect_to_each_other_without_an_open_peer_range() {
    across(1, Leg::Tcp);
    across(1, Leg::Tls);
}

#[test]
fn and_so_they_do_from_worker_to_worker() {
    across(3, Leg::Tcp);
    across(2, Leg::Tls);
}

#[test]
fn behind_nat_they_connect_by_the_addresses_that_clients_know() {
    across_as(1, Leg::Tcp, "198.51.100.7");
    across_as(3, Leg::Tcp, "198.51.100.7");
}

#[test]
fn other_ports_of_this_machine_stay_closed() {
    let peers = PeerFilter::new(["127.0.0.2/32".parse().unwrap()], []);
    let stage = Stage::with(1, Streams::default(), turn::Config { peers, ..open_core() });
    let mut client = Client::tcp(stage.tcp);
    let own = client.allocate_tcp();
    assert_eq!(client.connect_peer(own), Err(403), "itself");
    assert_eq!(client.connect_peer(stage.one_port), refusal(stage.one_port));
    assert_eq!(client.connect_peer(stage.https), refusal(stage.https));
    assert_eq!(client.connect_peer("127.0.0.1:22".parse().unwrap()), Err(403));
    // A service that took a port out of the relay's range, and an allocation of UDP.
    let local = TcpListener::bind("127.0.0.1:0").unwrap();
    let in_range = (49_152..=65_535)
        .find_map(|port| TcpListener::bind(("127.0.0.1", port)).ok())
        .unwrap();
    assert_eq!(client.connect_peer(in_range.local_addr().unwrap()), Err(447));
    let udp = Client::tcp(stage.tcp).allocate();
    assert_eq!(client.connect_peer(udp), Err(447));
    for listener in [local, in_range] {
        listener.set_nonblocking(true).unwrap();
        assert!(listener.accept().is_err(), "nobody came");
    }
    // What is open is open.
    let peer = TcpListener::bind("127.0.0.2:0").unwrap();
    client.connect_peer(peer.local_addr().unwrap()).unwrap();
}

/// A listener of ours is in the range of relays or not, as the kernel chose.
fn refusal(listener: SocketAddr) -> Result<ConnectionId, u16> {
    Err(if listener.port() >= 49_152 { 447 } else { 403 })
}

#[test]
fn a_peer_that_refuses_is_told_of_and_nothing_is_left() {
    let stage = stage(1);
    let mut client = Client::tcp(stage.tcp);
    client.allocate_tcp();
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert_eq!(client.connect_peer(gone), Err(447));
    stage.assert_metric("meetpoint_relay_connections_ended_total{reason=\"connect_failed\"}", 1);
    stage.assert_metric("meetpoint_relay_connections_pending", 0);
}

#[test]
fn it_is_closed_until_the_operator_opens_it() {
    let stage = Stage::start(1);
    assert_eq!(Client::tcp(stage.tcp).try_allocate_tcp(), Err(442));
}

#[test]
fn a_stream_is_moved_once_and_then_refused() {
    let stage = stage(3);
    let mut client = Client::tcp(stage.tcp);
    client.allocate_tcp();
    let (mut link, _socket) = Leg::Tcp.link(&stage);
    for id in 0..6 {
        assert_eq!(client.bind_connection(&mut link, ConnectionId(id), b""), Err(400));
    }
    stage.assert_metric("meetpoint_relay_streams_closed_total{reason=\"moved\"}", 1);
    stage.assert_metric("meetpoint_relay_streams{transport=\"tcp\"}", 2);
}

#[test]
fn a_limit_of_bytes_makes_a_transfer_slow_and_loses_nothing() {
    let core = turn::Config {
        limits: Limits {
            allocation_rate: RateLimit {
                bytes_per_second: 500_000,
                ..RateLimit::NONE
            },
            ..Limits::default()
        },
        ..open_core()
    };
    for leg in Leg::BOTH {
        let stage = Stage::with(1, Streams::default(), core.clone());
        let (_client, mut joined) = joined(&stage, leg);
        let bytes = noise(400_000);
        let begun = std::time::Instant::now();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                joined.client.write_all(&bytes).unwrap();
                joined.client.flush().unwrap();
            });
            expect(&mut joined.peer, &bytes);
        });
        joined.peer.write_all(&bytes).unwrap();
        expect(&mut *joined.client, &bytes);
        // No burst is larger than 64 KiB: the rest came at the rate, each way.
        assert!(begun.elapsed() >= Duration::from_millis(2 * 600));
        assert!(stage.running.metric("meetpoint_relay_connection_pauses_total") > 0);
        stage.assert_metric("meetpoint_relay_over_rate_packets_total", 0);
    }
}

#[test]
fn the_operator_sees_which_allocations_are_of_tcp() {
    let stage = stage(1);
    let (_client, _joined) = joined(&stage, Leg::Tcp);
    let page = stage
        .running
        .relay
        .inquiry()
        .ask(0, Duration::from_secs(5), |server, now| {
            server.page(now, &turn::Filter::default(), 0, 9)
        })
        .unwrap();
    let view = &page.allocations[0];
    assert_eq!((view.relayed_transport.as_label(), view.connections), ("tcp", 1));
}

#[test]
fn a_half_closed_connection_still_carries_the_other_way() {
    for leg in Leg::BOTH {
        let stage = stage(1);
        let (_client, mut joined) = joined(&stage, leg);
        joined.peer.write_all(b"all I have to say").unwrap();
        joined.peer.shutdown(Shutdown::Write).unwrap();
        let mut said = Vec::new();
        // TLS says so with its own words.
        joined.client.read_to_end(&mut said).unwrap();
        assert_eq!(said, b"all I have to say");
        joined.client.write_all(b"and my answer").unwrap();
        joined.client.flush().unwrap();
        expect(&mut joined.peer, b"and my answer");
        joined.client_socket.shutdown(Shutdown::Write).unwrap();
        assert_eq!(joined.peer.read(&mut [0]).unwrap(), 0);
        stage.assert_metric("meetpoint_relay_connections_ended_total{reason=\"finished\"}", 1);
        stage.assert_metric("meetpoint_relay_connections ", 0);
    }
}
