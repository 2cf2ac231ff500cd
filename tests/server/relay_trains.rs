//! Trains: what a sender's kernel hands over as one unit stays one as far as it can.

use crate::relay::{peer, receive};
use crate::support::client::{Arrival, Client, channel_data};
use crate::support::{Running, config, core_config, train};

const PACKETS: usize = 20;
const SIZE: usize = 300;

fn payload(index: usize) -> Vec<u8> {
    vec![index as u8; if index + 1 == PACKETS { SIZE / 2 } else { SIZE }]
}

fn both_ways(running: &Running) {
    let peer = peer("127.0.0.1");
    let mut client = Client::new(running.addr());
    let relayed = client.allocate();
    client.bind(0x4000, peer.local_addr().unwrap());

    let out: Vec<u8> = (0..PACKETS)
        .flat_map(|index| channel_data(0x4000, &payload(index)))
        .collect();
    train::cut_into(&client.socket, SIZE as u16 + 4);
    client.socket.send_to(&out, running.addr()).unwrap();
    train::cut_into(&client.socket, 0);
    for index in 0..PACKETS {
        assert_eq!(receive(&peer), (payload(index), relayed));
    }

    let back: Vec<u8> = (0..PACKETS).flat_map(payload).collect();
    train::cut_into(&peer, SIZE as u16);
    peer.send_to(&back, relayed).unwrap();
    for index in 0..PACKETS {
        assert_eq!(client.receive(), Some(Arrival::Channel(0x4000, payload(index))));
    }
}

#[test]
fn trains_go_in_and_trains_come_out() {
    let running = Running::start(1, &["127.0.0.1:0"]);
    both_ways(&running);
    assert_eq!(running.wait_for("meetpoint_relay_recv_trains_total", |n| n == 2), 2);
    assert_eq!(running.wait_for("meetpoint_relay_send_trains_total", |n| n == 2), 2);
}

#[test]
fn without_offload_the_same_packets_go_one_by_one() {
    let running = Running::with(
        &meetpoint::transport::Config {
            offload: false,
            ..config(1, &["127.0.0.1:0"])
        },
        core_config(),
    );
    both_ways(&running);
    assert!(
        running.wait_for("meetpoint_relay_send_datagrams_total", |n| n >= 2 * PACKETS as u64) >= 2 * PACKETS as u64
    );
    assert_eq!(running.metric("meetpoint_relay_recv_trains_total"), 0);
    assert_eq!(running.metric("meetpoint_relay_send_trains_total"), 0);
}
