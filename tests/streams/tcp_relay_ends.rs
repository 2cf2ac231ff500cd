//! How data connections of TCP allocations end, and what happens when one side does not read.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::Duration;

use meetpoint::transport::Streams;
use meetpoint::turn::{self, Limits};

use crate::client::Client;
use crate::stage::Stage;
use crate::tcp_relay::{Joined, Leg, expect, join, joined, noise, open_core, patient, stage};

/// Reads to the end, or to a reset.
fn is_over(link: &mut (impl Read + ?Sized)) -> bool {
    let mut buffer = [0; 4096];
    loop {
        match link.read(&mut buffer) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => {
                return !matches!(
                    error.kind(),
                    std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                );
            }
        }
    }
}

/// Writes until nothing more is taken for a while; how much was.
fn fill(socket: &mut TcpStream, link: &mut dyn Write) -> usize {
    socket.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    let piece = noise(16 << 10);
    let mut taken = 0;
    loop {
        match link.write(&piece[taken % piece.len()..]) {
            Ok(count) => taken += count,
            Err(_) => return taken,
        }
    }
}

#[test]
fn what_was_said_before_one_side_closed_reaches_the_other() {
    for leg in Leg::BOTH {
        let stage = stage(1);
        let bytes = noise(300_000);
        let (mut client, first) = joined(&stage, leg);
        let Joined {
            client: mut link,
            client_socket,
            mut peer,
        } = first;
        std::thread::scope(|scope| {
            scope.spawn(|| {
                link.write_all(&bytes).unwrap();
                link.flush().unwrap();
                client_socket.shutdown(Shutdown::Write).unwrap();
            });
            let mut said = Vec::new();
            peer.read_to_end(&mut said).unwrap();
            assert!(said == bytes);
        });
        drop(peer);
        stage.assert_metric("meetpoint_relay_connections_ended_total{reason=\"finished\"}", 1);

        let Joined {
            client: mut link,
            mut peer,
            client_socket,
        } = join(&stage, leg, &mut client);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                peer.write_all(&bytes).unwrap();
                peer.shutdown(Shutdown::Write).unwrap();
            });
            let mut said = Vec::new();
            link.read_to_end(&mut said).unwrap();
            assert!(said == bytes);
        });
        client_socket.shutdown(Shutdown::Both).unwrap();
        stage.assert_metric("meetpoint_relay_connections ", 0);
        stage.assert_metric("meetpoint_relay_connections_pending", 0);
    }
}

#[test]
fn a_peer_that_resets_ends_the_clients_half_and_the_other_way_round() {
    for leg in Leg::BOTH {
        let stage = stage(1);
        let (
            mut client,
            Joined {
                client: mut link,
                peer,
                client_socket: _socket,
            },
        ) = joined(&stage, leg);
        reset(peer);
        assert!(is_over(&mut *link));
        stage.assert_metric("meetpoint_relay_connections ", 0);

        let Joined {
            client: link,
            client_socket,
            mut peer,
        } = join(&stage, leg, &mut client);
        let _other = link;
        reset(client_socket);
        drop(_other);
        assert!(is_over(&mut peer));
        drop(peer);
        stage.assert_metric("meetpoint_relay_connections ", 0);
    }
}

fn reset(socket: TcpStream) {
    socket2::SockRef::from(&socket)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    drop(socket);
}

#[test]
fn a_peer_that_does_not_read_holds_its_client_back_and_gets_everything_later() {
    slow_reader(Leg::Tcp, true);
}

#[test]
fn a_client_that_does_not_read_holds_its_peer_back_and_gets_everything_later() {
    slow_reader(Leg::Tcp, false);
    slow_reader(Leg::Tls, false);
}

fn slow_reader(leg: Leg, to_peer: bool) {
    let stage = stage(1);
    let (_client, mut joined) = joined(&stage, leg);
    let taken = if to_peer {
        fill(&mut joined.client_socket, &mut *joined.client)
    } else {
        let mut socket = joined.peer.try_clone().unwrap();
        fill(&mut socket, &mut joined.peer)
    };
    // Kernels hold some megabytes of it; the relay holds 128 KiB of it at most, and did not read the rest.
    let way = if to_peer { "client_to_peer" } else { "peer_to_client" };
    let over = if leg == Leg::Tls { "tls" } else { "tcp" };
    let name = format!("meetpoint_relay_payload_bytes_total{{direction=\"{way}\",transport=\"{over}\"}}");
    let read = stage.running.metric(&name) as usize;
    assert!(read < taken, "the relay stopped reading: {read} of {taken}");
    // The other direction is not held back.
    if to_peer {
        joined.peer.write_all(b"still here").unwrap();
        expect(&mut *joined.client, b"still here");
    } else {
        joined.client.write_all(b"still here").unwrap();
        joined.client.flush().unwrap();
        expect(&mut joined.peer, b"still here");
    }
    // Nothing was lost.
    let pieces = noise(16 << 10);
    let reader: &mut dyn Read = if to_peer { &mut joined.peer } else { &mut joined.client };
    let mut left = taken;
    while left > 0 {
        let piece = left.min(pieces.len());
        expect(reader, &pieces[..piece]);
        left -= piece;
    }
}

#[test]
fn all_data_connections_end_with_their_allocation() {
    for leg in Leg::BOTH {
        for by_delete in [true, false] {
            let stage = stage(2);
            let (mut client, mut first) = joined(&stage, leg);
            let mut second = join(&stage, leg, &mut client);
            // One that waits.
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            client.connect_peer(listener.local_addr().unwrap()).unwrap();
            let mut waiting = patient(listener.accept().unwrap().0);
            if by_delete {
                client.refresh(0);
            } else {
                drop(client);
            }
            for joined in [&mut first, &mut second] {
                assert!(is_over(&mut joined.peer));
                assert!(is_over(&mut *joined.client));
            }
            assert!(is_over(&mut waiting));
            stage.assert_metric(
                "meetpoint_relay_connections_ended_total{reason=\"allocation_ended\"}",
                3,
            );
            stage.assert_metric("meetpoint_relay_connections ", 0);
            stage.assert_metric("meetpoint_relay_connections_pending", 0);
            stage.assert_metric("meetpoint_relay_sockets", 0);
        }
    }
}

#[test]
fn peers_beyond_the_limit_are_closed_and_the_port_is_listened_at_again() {
    let core = turn::Config {
        limits: Limits {
            connections_per_allocation: 2,
            ..Limits::default()
        },
        ..open_core()
    };
    let stage = Stage::with(1, Streams::default(), core);
    let mut client = Client::tcp(stage.tcp);
    let relayed = client.allocate_tcp();
    client.permit("127.0.0.1:1".parse().unwrap());
    let (_first, _second) = (
        TcpStream::connect(relayed).unwrap(),
        TcpStream::connect(relayed).unwrap(),
    );
    let first = client.attempt().0;
    client.attempt();
    let mut third = patient(TcpStream::connect(relayed).unwrap());
    assert!(is_over(&mut third));
    stage.assert_metric("meetpoint_relay_connections_ended_total{reason=\"no_room\"}", 1);
    stage.assert_metric("meetpoint_relay_quota_hits_total{quota=\"connections\"}", 1);
    let (mut link, socket) = Leg::Tcp.link(&stage);
    client.bind_connection(&mut link, first, b"").unwrap();
    drop((link, socket, _first));
    stage.assert_metric("meetpoint_relay_connections ", 0);
    let _fourth = TcpStream::connect(relayed).unwrap();
    client.attempt();
}

#[test]
fn an_allocations_port_is_free_again_when_it_has_ended() {
    let core = turn::Config {
        relay_ports: free_pair(),
        ..open_core()
    };
    let stage = Stage::with(1, Streams::default(), core);
    for _ in 0..4 {
        // Connections of the one before linger in TIME_WAIT.
        let (mut client, first) = joined(&stage, Leg::Tcp);
        let (_other, _second) = joined(&stage, Leg::Tcp);
        drop(first);
        client.refresh(0);
        drop((client, _other));
        stage.assert_metric("meetpoint_relay_sockets", 0);
    }
}

/// Two ports next to each other that nobody has now.
fn free_pair() -> std::ops::RangeInclusive<u16> {
    let free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    let first = (20_000..30_000)
        .step_by(2)
        .find(|port| free(*port) && free(*port + 1))
        .unwrap();
    first..=first + 1
}
