//! The UDP relay, one client and one peer at a time.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use meetpoint::transport::{self, Relay};
use meetpoint::wire::attribute::AddressFamily;

use crate::support::client::{Arrival, Client, Wish, channel_data};
use crate::support::{Running, config, core_config};

pub(crate) fn peer(ip: &str) -> UdpSocket {
    let peer = UdpSocket::bind((ip, 0)).unwrap();
    peer.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    peer
}

pub(crate) fn receive(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = [0; 65_536];
    let (len, from) = socket.recv_from(&mut buffer).expect("nothing came");
    (buffer[..len].to_vec(), from)
}

/// Both directions, by channel and by indication.
fn round_trip(server: SocketAddr, peer: &UdpSocket) {
    let mut client = Client::new(server);
    let relayed = client.allocate();
    let there = peer.local_addr().unwrap();

    client.permit(there);
    client.send_indication(there, b"by indication", false);
    assert_eq!(receive(peer), (b"by indication".to_vec(), relayed));
    peer.send_to(b"and back", relayed).unwrap();
    assert_eq!(client.receive(), Some(Arrival::Data(there, b"and back".to_vec())));

    client.bind(0x4001, there);
    client.send_channel(0x4001, b"by channel");
    assert_eq!(receive(peer), (b"by channel".to_vec(), relayed));
    peer.send_to(b"and back again", relayed).unwrap();
    assert_eq!(
        client.receive(),
        Some(Arrival::Channel(0x4001, b"and back again".to_vec()))
    );
}

#[test]
fn data_goes_both_ways_over_ipv4() {
    let running = Running::start(1, &["127.0.0.1:0"]);
    round_trip(running.addr(), &peer("127.0.0.1"));
}

#[test]
fn data_goes_both_ways_over_ipv6() {
    let running = Running::start(1, &["[::1]:0"]);
    round_trip(running.addr(), &peer("::1"));
}

#[test]
fn a_client_on_ipv4_reaches_a_peer_on_ipv6() {
    let running = Running::start(1, &["127.0.0.1:0"]);
    let peer = peer("::1");
    let mut client = Client::new(running.addr());
    let wish = Wish {
        family: Some(AddressFamily::Ipv6),
        ..Wish::default()
    };
    let relayed = client.try_allocate(wish).unwrap().relayed;
    assert!(relayed.is_ipv6());
    client.permit(peer.local_addr().unwrap());
    client.send_indication(peer.local_addr().unwrap(), b"across", false);
    assert_eq!(receive(&peer), (b"across".to_vec(), relayed));
    peer.send_to(b"the bridge", relayed).unwrap();
    assert_eq!(
        client.receive(),
        Some(Arrival::Data(peer.local_addr().unwrap(), b"the bridge".to_vec()))
    );
}

#[test]
fn a_wildcard_listener_answers_from_the_address_it_was_asked_at() {
    let running = Running::start(1, &["0.0.0.0:0", "[::]:0"]);
    let addrs = running.relay.local_addrs().to_vec();
    // The client fails the test if an answer comes from elsewhere; 127.0.0.2 is not what routing would choose.
    for ip in ["127.0.0.1", "127.0.0.2"] {
        let server = SocketAddr::new(ip.parse().unwrap(), addrs[0].port());
        round_trip(server, &peer("127.0.0.1"));
    }
    round_trip(SocketAddr::new("::1".parse().unwrap(), addrs[1].port()), &peer("::1"));
}

#[test]
fn every_listener_of_a_relay_serves() {
    let running = Running::start(2, &["127.0.0.1:0", "127.0.0.2:0"]);
    for &server in running.relay.local_addrs() {
        let mut client = Client::new(server);
        assert_eq!(client.allocate().ip(), SocketAddr::from(([127, 0, 0, 1], 0)).ip());
    }
}

#[test]
fn many_clients_are_spread_over_the_workers_and_kept_apart() {
    let running = Running::start(2, &["127.0.0.1:0"]);
    let peer = peer("127.0.0.1");
    let there = peer.local_addr().unwrap();
    let mut clients: Vec<_> = (0..32).map(|_| Client::new(running.addr())).collect();
    let relayed: Vec<_> = clients.iter_mut().map(Client::allocate).collect();
    for client in &mut clients {
        client.bind(0x4000, there);
    }
    for (index, client) in clients.iter().enumerate() {
        client.send_channel(0x4000, &[index as u8; 50]);
    }
    for _ in 0..clients.len() {
        let (payload, from) = receive(&peer);
        assert_eq!(
            from,
            relayed[usize::from(payload[0])],
            "a packet left by another client's relay"
        );
    }
    for (index, &relayed) in relayed.iter().enumerate() {
        peer.send_to(&[index as u8; 20], relayed).unwrap();
    }
    for (index, client) in clients.iter().enumerate() {
        assert_eq!(client.receive(), Some(Arrival::Channel(0x4000, vec![index as u8; 20])));
    }
    assert_eq!(running.wait_for("meetpoint_relay_sockets ", |n| n == 32), 32);
}

#[test]
fn an_empty_payload_and_the_longest_one_pass() {
    let running = Running::start(1, &["127.0.0.1:0"]);
    let peer = peer("127.0.0.1");
    let mut client = Client::new(running.addr());
    let relayed = client.allocate();
    client.bind(0x4000, peer.local_addr().unwrap());
    // With the channel's header in front, 65,503 is what a UDP datagram over IPv4 has room for.
    for len in [0, 1, 65_503] {
        let payload = vec![0x77; len];
        client.send_channel(0x4000, &payload);
        assert_eq!(receive(&peer), (payload.clone(), relayed));
        peer.send_to(&payload, relayed).unwrap();
        assert_eq!(client.receive(), Some(Arrival::Channel(0x4000, payload)));
    }
    // From a peer there is room for four bytes more, which cannot go on: counted, and no harm done.
    peer.send_to(&[0; 65_507], relayed).unwrap();
    peer.send_to(b"next", relayed).unwrap();
    assert_eq!(client.receive(), Some(Arrival::Channel(0x4000, b"next".to_vec())));
    assert_eq!(
        running.wait_for("meetpoint_relay_send_failures_total{reason=\"too_long\"}", |n| n == 1),
        1
    );
}

#[test]
fn a_packet_that_may_not_be_fragmented_arrives_and_so_does_the_next() {
    let running = Running::start(1, &["127.0.0.1:0"]);
    let peer = peer("127.0.0.1");
    let there = peer.local_addr().unwrap();
    let mut client = Client::new(running.addr());
    client.allocate();
    client.permit(there);
    for (payload, dont_fragment) in [("plain", false), ("whole", true), ("plain again", false)] {
        client.send_indication(there, payload.as_bytes(), dont_fragment);
        assert_eq!(receive(&peer).0, payload.as_bytes());
    }
}

#[test]
fn an_even_port_reserves_the_next_and_its_token_claims_it_on_any_worker() {
    let running = Running::start(2, &["127.0.0.1:0"]);
    let mut first = Client::new(running.addr());
    let even = first
        .try_allocate(Wish {
            even_port: Some(true),
            ..Wish::default()
        })
        .unwrap();
    assert_eq!(even.relayed.port() % 2, 0);
    let token = even.token.expect("no reservation token");
    assert!(
        UdpSocket::bind((even.relayed.ip(), even.relayed.port() + 1)).is_err(),
        "the odd port is not held"
    );
    // The same client address cannot hold two allocations; where the second lands is the kernel's choice. A reservation
    // is for the user who made it.
    let mut second = Client::new(running.addr());
    second.log_in_as(&first);
    let odd = second
        .try_allocate(Wish {
            token: Some(token),
            ..Wish::default()
        })
        .unwrap();
    assert_eq!(odd.relayed.port(), even.relayed.port() + 1);
    let peer = peer("127.0.0.1");
    second.bind(0x4000, peer.local_addr().unwrap());
    second.send_channel(0x4000, b"rtcp");
    assert_eq!(receive(&peer), (b"rtcp".to_vec(), odd.relayed));
}

#[test]
fn a_deleted_allocation_gives_its_port_back() {
    let running = Running::start(1, &["127.0.0.1:0"]);
    let mut client = Client::new(running.addr());
    let relayed = client.allocate();
    assert!(UdpSocket::bind(relayed).is_err(), "the relay does not hold its port");
    client.refresh(0).unwrap();
    assert_eq!(running.wait_for("meetpoint_relay_sockets ", |n| n == 0), 0);
    UdpSocket::bind(relayed).unwrap();
}

#[test]
fn a_client_that_is_gone_disturbs_nobody() {
    let running = Running::start(1, &["127.0.0.1:0"]);
    let peer = peer("127.0.0.1");
    let there = peer.local_addr().unwrap();
    let mut gone = Client::new(running.addr());
    let to_nobody = gone.allocate();
    gone.permit(there);
    let mut stays = Client::new(running.addr());
    let relayed = stays.allocate();
    stays.bind(0x4000, there);
    drop(gone);
    // Each of these makes the kernel report an unreachable port to the relay.
    for index in 0..20 {
        peer.send_to(b"anybody there?", to_nobody).unwrap();
        peer.send_to(&[index], relayed).unwrap();
        assert_eq!(stays.receive(), Some(Arrival::Channel(0x4000, vec![index])));
    }
    assert!(running.relay.is_alive());
}

#[test]
fn a_peer_that_is_gone_disturbs_nobody() {
    let running = Running::start(1, &["127.0.0.1:0"]);
    let (gone, stays) = (peer("127.0.0.1"), peer("127.0.0.1"));
    let mut client = Client::new(running.addr());
    client.allocate();
    client.bind(0x4000, gone.local_addr().unwrap());
    client.bind(0x4001, stays.local_addr().unwrap());
    drop(gone);
    for index in 0..20 {
        client.send_channel(0x4000, b"anybody there?");
        client.send_channel(0x4001, &[index]);
        assert_eq!(receive(&stays).0, [index]);
    }
}

#[test]
fn floods_of_junk_disturb_nobody() {
    let running = Running::start(1, &["127.0.0.1:0"]);
    let peer = peer("127.0.0.1");
    let there = peer.local_addr().unwrap();
    let mut client = Client::new(running.addr());
    let relayed = client.allocate();
    client.bind(0x4000, there);
    let junk = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut noise = 0x1234_5678_u32;
    for round in 0..50 {
        for len in [0_usize, 1, 3, 4, 19, 20, 21, 100, 1400] {
            let bytes: Vec<u8> = (0..len)
                .map(|_| {
                    noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    (noise >> 24) as u8
                })
                .collect();
            junk.send_to(&bytes, running.addr()).unwrap();
            junk.send_to(&bytes, relayed).unwrap();
        }
        // A channel that belongs to another client, and one that lies about its length.
        junk.send_to(&channel_data(0x4000, b"mine?"), running.addr()).unwrap();
        junk.send_to(&[0x40, 0, 0xff, 0xff, 1], running.addr()).unwrap();
        client.send_channel(0x4000, &[round]);
        assert_eq!(receive(&peer), (vec![round], relayed));
    }
    assert!(running.relay.is_alive());
}

#[test]
fn what_a_listener_has_no_room_for_is_counted() {
    let narrow = transport::Config {
        listener_recv_buffer: Some(1),
        ..config(1, &["127.0.0.1:0"])
    };
    let running = Running::with(&narrow, core_config());
    let junk = UdpSocket::bind("127.0.0.1:0").unwrap();
    let deadline = std::time::Instant::now() + Duration::from_secs(5);
    // The count comes beside the next datagram that finds room.
    while running.metric("meetpoint_relay_recv_overflows_total") == 0 && std::time::Instant::now() < deadline {
        for _ in 0..200 {
            junk.send_to(&[0xff; 1000], running.addr()).unwrap();
        }
    }
    assert!(running.metric("meetpoint_relay_recv_overflows_total") > 0);
    Client::new(running.addr()).allocate();
}

#[test]
fn a_new_configuration_reaches_every_worker() {
    let running = Running::start(2, &["127.0.0.1:0"]);
    let mut before = Client::new(running.addr());
    before.allocate();
    let mut core = running.core.clone();
    core.draining = true;
    running.relay.reconfigure(&std::sync::Arc::new(core));
    for _ in 0..8 {
        let refused = loop {
            // The workers look at it within their current turn, which has an end but no known moment.
            if let Err(code) = Client::new(running.addr()).try_allocate(Wish::default()) {
                break code;
            }
        };
        assert_eq!(refused, 508);
    }
    before.refresh(300).unwrap();
}

#[test]
fn shutting_down_closes_every_socket() {
    let running = Running::start(2, &["127.0.0.1:0"]);
    let mut client = Client::new(running.addr());
    let relayed = client.allocate();
    let listener = running.addr();
    running.relay.shutdown();
    UdpSocket::bind(listener).unwrap();
    UdpSocket::bind(relayed).unwrap();
}

#[test]
fn a_second_relay_on_the_same_address_does_not_start() {
    let running = Running::start(1, &["127.0.0.1:0"]);
    let taken = running.addr().to_string();
    let result = Relay::start(
        &config(1, &[&taken]),
        &std::sync::Arc::new(core_config()),
        &running.metrics,
    );
    let text = result.unwrap_err().to_string();
    assert!(text.contains(&taken) && text.contains("address in use"), "{text}");
    Client::new(running.addr()).allocate();
}
