//! Two clients of one relay that talk to each other through their relayed addresses.

use std::net::SocketAddr;

use meetpoint::turn;

use crate::support::client::{Arrival, Client};
use crate::support::{Running, config, core_config};

/// A client with an allocation.
struct Side {
    client: Client,
    relayed: SocketAddr,
}

fn side(running: &Running) -> Side {
    let mut client = Client::new(running.addr());
    let relayed = client.allocate();
    Side { client, relayed }
}

fn talk(a: &mut Side, b: &mut Side, channel: u16) {
    a.client.bind(channel, b.relayed);
    b.client.permit(a.relayed);
    a.client.send_channel(channel, b"hello");
    assert_eq!(b.client.receive(), Some(Arrival::Data(a.relayed, b"hello".to_vec())));
    b.client.send_indication(a.relayed, b"hello yourself", false);
    assert_eq!(
        a.client.receive(),
        Some(Arrival::Channel(channel, b"hello yourself".to_vec()))
    );
}

#[test]
fn two_clients_of_one_worker_talk_without_leaving_it() {
    let running = Running::start(1, &["127.0.0.1:0"]);
    talk(&mut side(&running), &mut side(&running), 0x4000);
    assert!(running.wait_for("meetpoint_relay_hairpin_packets_total", |n| n > 0) > 0);
    assert_eq!(running.metric("meetpoint_relay_handovers_total"), 0);
}

#[test]
fn two_clients_of_different_workers_talk_by_hand_over() {
    let running = Running::start(2, &["127.0.0.1:0"]);
    let mut a = side(&running);
    // Which worker a client lands on is the kernel's choice. A handful of them is on both.
    for (round, channel) in (1..).zip(0x4000..0x4020) {
        talk(&mut a, &mut side(&running), channel);
        // All that was relayed so far is published by then.
        running.wait_for("meetpoint_relay_relayed_packets_total", |n| n >= 2 * round);
        if running.metric("meetpoint_relay_handovers_total") > 1 {
            return;
        }
    }
    panic!("thirty-two clients, all on one worker");
}

#[test]
fn a_hand_over_keeps_order_and_loses_nothing_that_fits() {
    let running = Running::start(2, &["127.0.0.1:0"]);
    let mut a = side(&running);
    for _ in 0..8 {
        let mut b = side(&running);
        b.client.bind(0x4000, a.relayed);
        a.client.bind(0x4001, b.relayed);
        for index in 0..50_u8 {
            b.client.send_channel(0x4000, &[index; 700]);
        }
        for index in 0..50_u8 {
            assert_eq!(a.client.receive(), Some(Arrival::Channel(0x4001, vec![index; 700])));
        }
        a.client.permit(b.relayed);
        b.client.refresh(0).unwrap();
        a = side(&running);
    }
}

#[test]
fn without_a_permission_nothing_is_handed_on() {
    let running = Running::start(2, &["127.0.0.1:0"]);
    let mut a = side(&running);
    let b = side(&running);
    a.client.permit(b.relayed);
    a.client.send_indication(b.relayed, b"let me in", false);
    let dropped = "meetpoint_relay_dropped_packets_total{reason=\"no_permission\"}";
    assert_eq!(running.wait_for(dropped, |n| n == 1), 1);
}

#[test]
fn a_relayed_address_that_nobody_holds_leads_nowhere() {
    for workers in [1, 2] {
        // Closed to peers on this machine, except for its own allocations.
        let core = turn::Config {
            peers: turn::PeerFilter::default(),
            ..core_config()
        };
        let running = Running::with(&config(workers, &["127.0.0.1:0"]), core);
        let mut a = side(&running);
        let mut gone = side(&running);
        a.client.bind(0x4000, gone.relayed);
        gone.client.refresh(0).unwrap();
        a.client.send_channel(0x4000, b"anybody there?");
        let nobody = || {
            running.metric("meetpoint_relay_handover_unowned_total")
                + running.metric("meetpoint_relay_dropped_packets_total{reason=\"no_such_peer\"}")
        };
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(3);
        while nobody() == 0 && std::time::Instant::now() < deadline {
            std::thread::yield_now();
        }
        assert_eq!(nobody(), 1);
    }
}
