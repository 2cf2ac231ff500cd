//! Clients that take and do not give: slow, silent, idle, deaf and too many.

use std::io::Read as _;
use std::io::Write as _;
use std::net::UdpSocket;
use std::time::{Duration, Instant};

use meetpoint::transport::Streams;

use crate::client::{Arrival, Client, binding, connect};
use crate::stage::{Stage, impatient};

/// How long until the server closes the stream.
fn closed_after(stream: &mut std::net::TcpStream) -> Duration {
    let start = Instant::now();
    let mut buffer = [0; 4096];
    while matches!(stream.read(&mut buffer), Ok(1..)) {}
    start.elapsed()
}

#[test]
fn a_connection_that_says_nothing_is_closed() {
    let stage = Stage::bounded(impatient());
    let mut stream = connect(stage.tcp);
    let took = closed_after(&mut stream);
    assert!(
        took >= Duration::from_millis(150) && took < Duration::from_millis(1500),
        "{took:?}"
    );
    stage.assert_metric("meetpoint_relay_streams_closed_total{reason=\"silent\"}", 1);
}

#[test]
fn a_request_that_never_ends_is_not_waited_for_however_it_drips() {
    let stage = Stage::bounded(impatient());
    let mut stream = connect(stage.tcp);
    stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let start = Instant::now();
    let request = binding();
    // One byte at a time, and not enough of them to complete it.
    let mut dripping = request.iter().take(19);
    let mut buffer = [0; 64];
    loop {
        if let Some(byte) = dripping.next() {
            let _ = stream.write_all(&[*byte]);
        }
        match stream.read(&mut buffer) {
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            _ => break,
        }
        assert!(start.elapsed() < Duration::from_secs(2), "it is waited for");
    }
    stage.assert_metric("meetpoint_relay_streams_closed_total{reason=\"silent\"}", 1);
}

#[test]
fn a_connection_without_an_allocation_is_closed_when_it_falls_idle_and_one_with_an_allocation_is_not() {
    let stage = Stage::bounded(impatient());
    let mut idle = Client::tcp(stage.tcp);
    idle.mapped();
    let mut relayed = Client::tcp(stage.tcp);
    relayed.allocate();
    assert_eq!(idle.frame(), None);
    stage.assert_metric("meetpoint_relay_streams_closed_total{reason=\"idle\"}", 1);
    std::thread::yield_now();
    let until = Instant::now() + Duration::from_millis(700);
    while Instant::now() < until {
        std::thread::yield_now();
    }
    assert_eq!(relayed.mapped(), relayed.local);
    // Without its allocation it is one of the others.
    relayed.refresh(0);
    assert_eq!(relayed.frame(), None);
    stage.assert_metric("meetpoint_relay_streams_closed_total{reason=\"idle\"}", 2);
}

#[test]
fn requests_keep_a_connection_open() {
    let stage = Stage::bounded(impatient());
    let mut client = Client::tcp(stage.tcp);
    let until = Instant::now() + Duration::from_millis(900);
    while Instant::now() < until {
        client.mapped();
    }
    stage.assert_metric("meetpoint_relay_streams{transport=\"tcp\"}", 1);
}

#[test]
fn a_client_that_does_not_read_loses_data_and_nobody_else_does() {
    let stage = Stage::bounded(Streams {
        queue_bytes: 64 << 10,
        ..Streams::default()
    });
    let (mut deaf, mut good) = (Client::tcp(stage.tcp), Client::tcp(stage.tcp));
    let (deaf_relayed, good_relayed) = (deaf.allocate(), good.allocate());
    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    let peer_addr = peer.local_addr().unwrap();
    deaf.bind(0x4000, peer_addr);
    good.bind(0x4000, peer_addr);
    let dropped = "meetpoint_relay_stream_dropped_frames_total";
    let until = Instant::now() + Duration::from_secs(20);
    while stage.running.metric(dropped) == 0 {
        for _ in 0..64 {
            peer.send_to(&[1; 1200], deaf_relayed).unwrap();
        }
        peer.send_to(b"for the good one", good_relayed).unwrap();
        assert_eq!(
            good.receive(),
            Some(Arrival::Channel(0x4000, b"for the good one".to_vec()))
        );
        assert!(Instant::now() < until, "nothing was ever dropped");
    }
    // What it missed is gone; it is still served.
    stage.assert_metric("meetpoint_relay_streams{transport=\"tcp\"}", 2);
    deaf.refresh(600);
    stage.assert_metric("meetpoint_relay_streams_closed_total", 0);
}

#[test]
fn a_client_that_asks_and_does_not_read_the_answers_is_closed() {
    let stage = Stage::bounded(Streams {
        queue_bytes: 64 << 10,
        ..Streams::default()
    });
    let mut stream = connect(stage.tcp);
    stream.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
    let many: Vec<u8> = (0..1000).flat_map(|_| binding()).collect();
    let until = Instant::now() + Duration::from_secs(20);
    while stream.write_all(&many).is_ok() {
        assert!(Instant::now() < until, "it is answered for ever");
    }
    stage.assert_metric("meetpoint_relay_streams_closed_total{reason=\"slow_reader\"}", 1);
}

#[test]
fn connections_beyond_the_bounds_are_refused_and_those_within_go_on() {
    let stage = Stage::bounded(Streams {
        connections_per_client: 3,
        ..Streams::default()
    });
    let mut within: Vec<_> = (0..3).map(|_| Client::tcp(stage.tcp)).collect();
    for client in &mut within {
        client.mapped();
    }
    assert_eq!(Client::tcp(stage.tcp).frame(), None);
    stage.assert_metric("meetpoint_front_refused_connections_total{reason=\"client\"}", 1);
    for client in &mut within {
        client.mapped();
    }
    within.pop();
    stage.assert_metric("meetpoint_relay_streams{transport=\"tcp\"}", 2);
    Client::tcp(stage.tcp).mapped();
}

#[test]
fn the_bound_of_all_connections_is_one_of_the_process() {
    let stage = Stage::bounded(Streams {
        connections: 2,
        ..Streams::default()
    });
    let mut within: Vec<_> = (0..2).map(|_| Client::tcp(stage.tcp)).collect();
    for client in &mut within {
        client.mapped();
    }
    assert_eq!(Client::tcp(stage.tcp).frame(), None);
    stage.assert_metric("meetpoint_front_refused_connections_total{reason=\"total\"}", 1);
}

#[test]
fn hundreds_of_connections_that_drip_do_not_delay_a_good_client() {
    let stage = Stage::bounded(Streams {
        connections_per_client: 10_000,
        ..Streams::default()
    });
    let slow: Vec<_> = (0..800)
        .map(|_| {
            let mut stream = connect(stage.tcp);
            stream.write_all(&binding()[..5]).unwrap();
            stream
        })
        .collect();
    let start = Instant::now();
    let mut good = Client::tcp(stage.tcp);
    let relayed = good.allocate();
    assert!(relayed.port() != 0);
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    drop(slow);
    stage.assert_metric("meetpoint_relay_streams{transport=\"tcp\"}", 1);
}
