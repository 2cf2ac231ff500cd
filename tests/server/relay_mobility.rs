//! Clients that move between sockets while data flows, with several workers: the kernel decides which one a client meets.

use std::net::UdpSocket;

use meetpoint::turn;

use crate::support::client::{Arrival, Client};
use crate::support::{Running, config, core_config};

fn start(workers: usize) -> Running {
    let core = turn::Config {
        mobility: true,
        ..core_config()
    };
    Running::with(&config(workers, &["127.0.0.1:0"]), core)
}

#[test]
fn a_client_moves_over_all_workers_while_data_flows_both_ways() {
    let running = start(3);
    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    peer.set_read_timeout(Some(std::time::Duration::from_secs(3))).unwrap();
    let at = peer.local_addr().unwrap();
    let mut client = Client::new(running.addr());
    let (relayed, mut ticket) = client.allocate_mobile();
    client.bind(0x4000, at);
    let mut buffer = [0; 64];
    for round in 0..40_u8 {
        // Both paths are open: what is under way on the old one is not lost.
        let old = client.move_to(UdpSocket::bind("127.0.0.1:0").unwrap());
        ticket = client.resume(&ticket).unwrap();
        peer.send_to(&[round, 0], relayed).unwrap();
        let before = Client::on(old, running.addr());
        assert_eq!(before.receive(), Some(Arrival::Channel(0x4000, vec![round, 0])));
        before.send_channel(0x4000, &[round, 1]);
        assert_eq!(peer.recv_from(&mut buffer).unwrap(), (2, relayed));
        assert_eq!(buffer[..2], [round, 1]);
        // The client is heard on the new one, and gets there what is for it.
        client.send_channel(0x4000, &[round, 2]);
        assert_eq!(peer.recv_from(&mut buffer).unwrap(), (2, relayed));
        assert_eq!(buffer[..2], [round, 2]);
        peer.send_to(&[round, 3], relayed).unwrap();
        assert_eq!(client.receive(), Some(Arrival::Channel(0x4000, vec![round, 3])));
    }
    // One socket in three meets the worker that holds the allocation: forty do not all do so, whatever the kernel's hash.
    assert!(running.wait_for("meetpoint_relay_handovers_total", |n| n > 40) > 40);
    assert_eq!(running.wait_for("meetpoint_relay_moves_begun_total", |n| n == 40), 40);
    assert_eq!(running.wait_for("meetpoint_relay_moves_ended_total", |n| n == 40), 40);
    client.refresh(0).unwrap();
    assert_eq!(running.wait_for("meetpoint_relay_allocations{", |n| n == 0), 0);
    assert_eq!(running.relay.allocations(), 0);
    for worker in 0..3 {
        let patience = std::time::Duration::from_secs(3);
        // A packet of anybody makes a worker look; here it is asked after one.
        let routes = running
            .relay
            .inquiry()
            .ask(worker, patience, |server, _| (server.paths(), server.allocations()));
        assert_eq!(routes, Ok((0, 0)));
    }
}

#[test]
fn a_ticket_is_no_credential_and_no_ticket_is_good_twice() {
    let running = start(2);
    let mut client = Client::new(running.addr());
    let (_, first) = client.allocate_mobile();
    // Some sockets meet the worker that holds the allocation, some the other: both say the same.
    for _ in 0..8 {
        assert_eq!(Client::new(running.addr()).resume(&first), Err(441));
        client.move_to(UdpSocket::bind("127.0.0.1:0").unwrap());
        assert_eq!(client.resume(&[b'7'; 32]), Err(437));
    }
    let second = client.resume(&first).unwrap();
    client.refresh(600).unwrap();
    client.move_to(UdpSocket::bind("127.0.0.1:0").unwrap());
    assert_eq!(client.resume(&first), Err(437));
    client.resume(&second).unwrap();
    client.refresh(0).unwrap();
    client.move_to(UdpSocket::bind("127.0.0.1:0").unwrap());
    assert_eq!(client.resume(&second), Err(437));
    assert_eq!(running.relay.allocations(), 0);
}

#[test]
fn without_mobility_nobody_gets_a_ticket() {
    let running = Running::start(2, &["127.0.0.1:0"]);
    assert_eq!(Client::new(running.addr()).try_allocate_mobile().map(drop), Err(405));
    assert_eq!(running.relay.allocations(), 0);
}
