//! TURN over TCP (RFC 8656 §3.1): what a client does with UDP it does here.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use crate::client::{Arrival, Client};
use crate::stage::Stage;
use crate::support::client::Client as UdpClient;

fn peer(like: SocketAddr) -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind((like.ip(), 0)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    let addr = socket.local_addr().unwrap();
    (socket, addr)
}

fn expect_from(peer: &UdpSocket, relayed: SocketAddr, payload: &[u8]) {
    let mut buffer = [0; 2048];
    let (len, from) = peer.recv_from(&mut buffer).unwrap();
    assert_eq!((&buffer[..len], from), (payload, relayed));
}

fn relays_both_ways(server: SocketAddr) {
    let mut client = Client::tcp(server);
    assert_eq!(client.mapped(), client.local);
    let relayed = client.allocate();
    let (peer, peer_addr) = peer(relayed);

    client.permit(peer_addr);
    client.send_indication(peer_addr, b"by indication");
    expect_from(&peer, relayed, b"by indication");
    peer.send_to(b"and back", relayed).unwrap();
    assert_eq!(client.receive(), Some(Arrival::Data(peer_addr, b"and back".to_vec())));

    client.bind(0x4000, peer_addr);
    for len in 0..9 {
        let payload = vec![b'x'; len];
        client.send_channel(0x4000, &payload);
        expect_from(&peer, relayed, &payload);
        peer.send_to(&payload, relayed).unwrap();
        assert_eq!(client.receive(), Some(Arrival::Channel(0x4000, payload)));
    }
}

#[test]
fn a_client_by_tcp_reaches_a_peer_and_is_reached() {
    relays_both_ways(Stage::start(1).tcp);
}

#[test]
fn a_client_by_tcp_over_ipv6_reaches_a_peer_and_is_reached() {
    match Stage::start(1) {
        stage @ Stage { tcp6: Some(addr), .. } => {
            relays_both_ways(addr);
            drop(stage);
        }
        _ => eprintln!("left out: no IPv6 on loopback"),
    }
}

/// Whichever worker each client lands on.
fn talks_with_a_udp_client(workers: usize) {
    let stage = Stage::start(workers);
    for channel in 0x4000..0x4008 {
        let mut stream = Client::tcp(stage.tcp);
        let stream_relayed = stream.allocate();
        let mut udp = UdpClient::new(stage.running.addr());
        let udp_relayed = udp.allocate();

        stream.bind(channel, udp_relayed);
        udp.permit(stream_relayed);
        stream.send_channel(channel, b"from the stream");
        let arrival = Arrival::Data(stream_relayed, b"from the stream".to_vec());
        assert_eq!(udp.receive(), Some(arrival));
        udp.send_indication(stream_relayed, b"from the datagram", false);
        let arrival = Arrival::Channel(channel, b"from the datagram".to_vec());
        assert_eq!(stream.receive(), Some(arrival));
    }
    assert!(
        stage
            .running
            .wait_for("meetpoint_relay_hairpin_packets_total", |n| n >= 16)
            >= 16
    );
    // Handed over between workers or not, no packet of theirs was one of the kernel's.
    assert_eq!(stage.running.metric("meetpoint_relay_handover_unowned_total"), 0);
}

#[test]
fn a_client_by_tcp_and_a_client_by_udp_talk_inside_one_worker() {
    talks_with_a_udp_client(1);
}

#[test]
fn a_client_by_tcp_and_a_client_by_udp_talk_across_workers() {
    talks_with_a_udp_client(3);
}

#[test]
fn two_clients_by_tcp_talk_wherever_they_are() {
    for workers in [1, 2] {
        let stage = Stage::start(workers);
        let (mut a, mut b) = (Client::tcp(stage.tcp), Client::tcp(stage.tcp));
        let (a_relayed, b_relayed) = (a.allocate(), b.allocate());
        a.bind(0x4000, b_relayed);
        b.bind(0x4001, a_relayed);
        for n in 0..100_u8 {
            a.send_channel(0x4000, &[n; 1201]);
            b.send_channel(0x4001, &[n; 3]);
        }
        for n in 0..100_u8 {
            assert_eq!(b.receive(), Some(Arrival::Channel(0x4001, vec![n; 1201])));
            assert_eq!(a.receive(), Some(Arrival::Channel(0x4000, vec![n; 3])));
        }
        stage.assert_metric("meetpoint_relay_streams{transport=\"tcp\"}", 2);
    }
}

#[test]
fn the_allocation_of_a_client_that_goes_away_ends_at_once() {
    let stage = Stage::start(1);
    let mut client = Client::tcp(stage.tcp);
    client.allocate();
    let allocations = "meetpoint_relay_allocations{family=\"ipv4\",transport=\"tcp\"}";
    stage.assert_metric(allocations, 1);
    drop(client);
    stage.assert_metric(allocations, 0);
    stage.assert_metric("meetpoint_relay_sockets", 0);
    stage.assert_metric("meetpoint_relay_allocations_closed_total{reason=\"client_gone\"}", 1);
    stage.assert_metric("meetpoint_relay_streams_closed_total{reason=\"client\"}", 1);
    stage.assert_metric("meetpoint_relay_streams{", 0);
}

#[test]
fn a_client_that_leaves_does_not_take_the_relay_of_another_with_it() {
    let stage = Stage::start(1);
    let mut stays = Client::tcp(stage.tcp);
    let relayed = stays.allocate();
    let (peer, peer_addr) = peer(relayed);
    stays.bind(0x4000, peer_addr);
    for _ in 0..20 {
        let mut goes = Client::tcp(stage.tcp);
        goes.allocate();
        drop(goes);
        stays.send_channel(0x4000, b"still here");
        expect_from(&peer, relayed, b"still here");
    }
}

#[test]
fn every_worker_gets_streams() {
    let stage = Stage::start(2);
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let mut client = Client::tcp(stage.tcp);
            client.mapped();
            client
        })
        .collect();
    stage.assert_metric("meetpoint_relay_streams{transport=\"tcp\"}", 4);
    stage.assert_metric("meetpoint_relay_streams_opened_total{transport=\"tcp\"}", 4);
    drop(clients);
    stage.assert_metric("meetpoint_relay_streams{transport=\"tcp\"}", 0);
}
