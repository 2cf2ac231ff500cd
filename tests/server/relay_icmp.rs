//! ICMP errors from real sockets (RFC 8656 §11.5): a closed port of loopback answers with one.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use meetpoint::wire::attribute::Icmp;

use crate::support::Running;
use crate::support::client::{Arrival, Client};

const REPORTED: &str = "meetpoint_relay_peer_errors_total{result=\"reported\"}";

/// A port of loopback that nobody listens on: it was free a moment ago.
fn closed(ip: &str) -> SocketAddr {
    UdpSocket::bind((ip, 0)).unwrap().local_addr().unwrap()
}

#[test]
fn a_closed_port_is_told_to_the_client_in_either_family() {
    // Port unreachable: type 3 code 3 of ICMP, type 1 code 4 of ICMPv6.
    for (listen, ip, kind, code) in [("127.0.0.1:0", "127.0.0.1", 3, 3), ("[::1]:0", "::1", 1, 4)] {
        let running = Running::start(1, &[listen]);
        let mut client = Client::new(running.addr());
        client.allocate();
        let peer = closed(ip);
        client.permit(peer);
        client.send_indication(peer, b"anybody there?", false);
        let icmp = Icmp::new(kind, code, 0).unwrap();
        assert_eq!(client.receive(), Some(Arrival::Icmp(peer, icmp)));
        assert_eq!(running.wait_for(REPORTED, |count| count == 1), 1);
    }
}

#[test]
fn a_storm_of_errors_is_not_passed_on_and_other_peers_are_served() {
    let running = Running::start(1, &["127.0.0.1:0"]);
    let mut client = Client::new(running.addr());
    client.allocate();
    let open = UdpSocket::bind("127.0.0.1:0").unwrap();
    let (gone, here) = (closed("127.0.0.1"), open.local_addr().unwrap());
    client.bind(0x4000, gone);
    client.bind(0x4001, here);
    for index in 0..500 {
        // Of unequal length, because a train of equal ones is answered with one error.
        client.send_channel(0x4000, &[1; 100][index % 7 * 10..]);
    }
    let seen = running.wait_for("meetpoint_relay_peer_errors_total", |count| count >= 20);
    assert!(seen >= 20, "{seen} errors seen");

    // The same socket still works both ways.
    open.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
    client.send_channel(0x4001, b"ping");
    let mut buffer = [0; 64];
    let (len, relayed) = open.recv_from(&mut buffer).unwrap();
    assert_eq!(&buffer[..len], b"ping");
    open.send_to(b"pong", relayed).unwrap();
    let mut told = 0;
    loop {
        match client.receive() {
            Some(Arrival::Icmp(peer, _)) => {
                assert_eq!(peer, gone);
                told += 1;
            }
            other => {
                assert_eq!(other, Some(Arrival::Channel(0x4001, b"pong".to_vec())));
                break;
            }
        }
    }
    assert!((1..=60).contains(&told), "{told} errors told");
    assert_eq!(running.metric(REPORTED), told);
}
