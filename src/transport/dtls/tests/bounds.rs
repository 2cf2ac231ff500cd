//! Bounds: at them, and past them.

use std::time::Duration;

use super::super::Dtls;
use super::world::{ALL, Good, Peer, Speaks, World, connected, talk};
use crate::telemetry::{DtlsEnd, DtlsRefusal};

/// A client that has sent its cookie back and then says no more.
fn half_open(world: &mut World, from: &str, speaks: Speaks) -> Peer {
    let mut client = Peer::new(world, from, speaks);
    for datagram in client.poll() {
        for answer in world.receive(&client.from, &datagram) {
            client.receive(world.now, &answer);
        }
    }
    let mut flight = Vec::new();
    for datagram in client.poll() {
        flight.extend(world.receive(&client.from, &datagram));
    }
    for datagram in flight {
        client.receive(world.now, &datagram);
    }
    client
}

#[test]
fn past_the_bound_of_handshakes_the_oldest_ends_and_the_newest_is_served() {
    let bounds = Dtls {
        handshakes: 4,
        ..Dtls::default()
    };
    let mut world = World::bounded(bounds);
    let mut first = half_open(&mut world, "198.51.100.1:4000", Speaks::Only13);
    for host in 2..=4 {
        half_open(&mut world, &format!("198.51.100.{host}:4000"), Speaks::Only13);
    }
    assert_eq!((world.sessions(), world.ended(DtlsEnd::Evicted)), ((4, 0), 0));
    for host in 5..=50 {
        half_open(&mut world, &format!("198.51.100.{host}:4000"), Speaks::Only12);
        assert_eq!(world.sessions(), (4, 0));
    }
    assert_eq!(world.ended(DtlsEnd::Evicted), 46);
    let late = first.poll();
    for datagram in late {
        assert!(world.receive(&first.from, &datagram).is_empty(), "its place is gone");
    }
    let mut good = connected(&mut world, "203.0.113.1:4000", Speaks::Both);
    let datagram = good.say(b"hello");
    world.receive(&good.from, &datagram);
    assert_eq!(world.said.len(), 1);
    // An established session has left the handshakes.
    for host in 51..=60 {
        half_open(&mut world, &format!("198.51.100.{host}:4000"), Speaks::Only13);
    }
    assert_eq!(world.sessions(), (4, 1));
}

#[test]
fn past_the_bound_of_a_clients_handshakes_it_gets_none_and_others_do() {
    let bounds = Dtls {
        handshakes_per_client: 2,
        ..Dtls::default()
    };
    let mut world = World::bounded(bounds);
    for port in 4000..4005 {
        half_open(&mut world, &format!("198.51.100.1:{port}"), Speaks::Only13);
    }
    assert_eq!(world.sessions(), (2, 0));
    assert_eq!(world.refused(DtlsRefusal::ClientHandshakes), 3);
    connected(&mut world, "198.51.100.2:4000", Speaks::Only13);
    // Time frees what its handshakes held.
    world.advance(Duration::from_secs(11));
    connected(&mut world, "198.51.100.1:4001", Speaks::Only13);
}

#[test]
fn past_the_bound_of_sessions_new_clients_get_none_until_one_ends() {
    let bounds = Dtls {
        sessions: 3,
        sessions_per_client: 2,
        ..Dtls::default()
    };
    let mut world = World::bounded(bounds);
    let mut one = connected(&mut world, "198.51.100.1:4000", Speaks::Only13);
    connected(&mut world, "198.51.100.1:4001", Speaks::Only13);
    half_open(&mut world, "198.51.100.1:4002", Speaks::Only13);
    assert_eq!(world.refused(DtlsRefusal::Client), 1);
    connected(&mut world, "198.51.100.2:4000", Speaks::Only13);
    half_open(&mut world, "198.51.100.3:4000", Speaks::Only13);
    assert_eq!((world.refused(DtlsRefusal::Total), world.sessions()), (1, (0, 3)));
    one.dtls.close().unwrap();
    for datagram in one.poll() {
        world.receive(&one.from, &datagram);
    }
    connected(&mut world, "198.51.100.3:4000", Speaks::Only13);
}

#[test]
fn what_was_counted_comes_back_whatever_a_session_ends_by() {
    let bounds = Dtls {
        sessions: 2,
        handshakes: 2,
        ..Dtls::default()
    };
    let mut world = World::bounded(bounds);
    for round in 0..60 {
        let speaks = ALL[round % 3];
        let from = format!("198.51.100.{}:4000", 1 + round % 7);
        match round % 4 {
            0 => drop(half_open(&mut world, &from, speaks)),
            1 => drop(connected_or_not(&mut world, &from, speaks)),
            2 => {
                world.advance(Duration::from_secs(70));
            }
            _ => {
                if let Some(mut client) = connected_or_not(&mut world, &from, speaks) {
                    client.dtls.close().unwrap();
                    for datagram in client.poll() {
                        world.receive(&client.from, &datagram);
                    }
                }
            }
        }
    }
    world.advance(Duration::from_secs(70));
    assert_eq!(world.sessions(), (0, 0));
    connected(&mut world, "203.0.113.1:4000", Speaks::Both);
    connected(&mut world, "203.0.113.2:4000", Speaks::Both);
    assert_eq!(world.sessions(), (0, 2));
}

fn connected_or_not(world: &mut World, from: &str, speaks: Speaks) -> Option<Peer> {
    let mut client = Peer::new(world, from, speaks);
    talk(world, &mut client, &mut Good, Duration::from_secs(3))
        .then_some(client)
        .filter(|client| client.connected)
}

#[test]
fn an_established_session_wakes_nobody_needlessly() {
    let mut world = World::new();
    let mut client = connected(&mut world, "198.51.100.1:4000", Speaks::Only13);
    let addr = client.address();
    assert_eq!(addr.port(), 4000);
    for _ in 0..2000 {
        let datagram = client.say(b"message");
        world.receive(&client.from, &datagram);
        world.seal(&client.from, b"answer");
        world.advance(Duration::from_millis(10));
    }
    assert_eq!(world.sessions(), (0, 1));
}
