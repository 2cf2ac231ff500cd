use std::net::UdpSocket;
use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use super::*;
use crate::transport::buffer::{Answers, Arena};
use crate::transport::udp::socket::SendState;
use crate::transport::udp::sys::set_option;

/// Two UDP sockets and one Unix socket to send by.
struct Bench {
    batch: SendBatch,
    arena: Arena,
    answers: Answers,
    out: Vec<(UdpSocket, SendState)>,
    sibling: (UnixDatagram, SendState),
    stats: DriverStats,
    receiver: UdpSocket,
    inbox: UnixDatagram,
}

impl OutSockets for (&mut Vec<(UdpSocket, SendState)>, &mut (UnixDatagram, SendState)) {
    fn out(&mut self, key: SocketKey) -> Option<OutSocket<'_>> {
        match key {
            SocketKey::Relay(index) => {
                let (socket, state) = self.0.get_mut(index as usize)?;
                Some(OutSocket {
                    fd: UdpSocket::as_fd(socket),
                    state,
                })
            }
            SocketKey::Sibling(_) => Some(OutSocket {
                fd: self.1.0.as_fd(),
                state: &mut self.1.1,
            }),
            SocketKey::Listener(_) => None,
        }
    }
}

impl Bench {
    fn new() -> Self {
        let socket = || UdpSocket::bind("127.0.0.1:0").unwrap();
        let state = || SendState::new(false, true, Instant::now());
        let (inbox, sender) = UnixDatagram::pair().unwrap();
        sender.set_nonblocking(true).unwrap();
        let receiver = socket();
        receiver.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        Self {
            batch: SendBatch::new(),
            arena: Arena::new(),
            answers: Answers::new(),
            out: vec![(socket(), state()), (socket(), state())],
            sibling: (sender, state()),
            stats: DriverStats::default(),
            receiver,
            inbox,
        }
    }

    fn try_push(
        &mut self,
        socket: SocketKey,
        to: Option<SocketAddr>,
        prefix: &[u8],
        payload: &[u8],
        padding: u8,
    ) -> bool {
        let range = self.answers.push(payload).unwrap();
        let source = Source::Answer;
        self.batch.push(&Packet {
            socket,
            to,
            local: None,
            prefix,
            source,
            range,
            padding,
            dont_fragment: false,
        })
    }

    /// From the first socket to the receiver.
    fn push(&mut self, payload: &[u8]) {
        let to = self.receiver.local_addr().unwrap();
        assert!(self.try_push(SocketKey::Relay(0), Some(to), &[], payload, 0));
    }

    fn flush(&mut self) {
        let memory = Memory {
            arena: &self.arena,
            answers: &self.answers,
        };
        let mut sockets = (&mut self.out, &mut self.sibling);
        self.batch.flush(Instant::now(), memory, &mut sockets, &mut self.stats);
        self.answers.reset();
        assert!(self.batch.is_empty());
    }

    fn received(&self) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        let mut buffer = [0; 2048];
        while let Ok(len) = self.receiver.recv(&mut buffer) {
            all.push(buffer[..len].to_vec());
        }
        all
    }
}

#[test]
fn packets_of_one_size_to_one_place_leave_as_one_train_with_a_shorter_last() {
    let mut bench = Bench::new();
    for index in 0..10 {
        bench.push(&[index; 100]);
    }
    bench.push(&[10; 40]);
    bench.flush();
    assert_eq!(
        (
            bench.stats.send_calls,
            bench.stats.send_trains,
            bench.stats.send_datagrams
        ),
        (1, 1, 11)
    );
    let received = bench.received();
    assert_eq!(received.len(), 11);
    for (index, packet) in received.iter().enumerate() {
        assert_eq!(packet, &vec![index as u8; if index == 10 { 40 } else { 100 }]);
    }
}

#[test]
fn the_order_of_a_flow_survives_every_change_of_size() {
    let mut bench = Bench::new();
    let sizes = [100, 100, 60, 100, 100, 200, 200, 200, 1, 1, 1200, 100];
    for (index, &size) in sizes.iter().enumerate() {
        bench.push(&vec![index as u8; size]);
    }
    bench.flush();
    let received = bench.received();
    let expected: Vec<_> = sizes
        .iter()
        .enumerate()
        .map(|(index, &size)| vec![index as u8; size])
        .collect();
    assert_eq!(received, expected);
    assert_eq!(bench.stats.send_calls, 1, "all of one socket is one call");
    assert!(bench.stats.send_trains >= 4);
}

#[test]
fn flows_that_take_turns_still_become_trains() {
    let mut bench = Bench::new();
    let other = UdpSocket::bind("127.0.0.1:0").unwrap();
    for index in 0..8 {
        bench.push(&[index; 50]);
        assert!(bench.try_push(
            SocketKey::Relay(1),
            Some(other.local_addr().unwrap()),
            &[],
            &[index; 50],
            0
        ));
    }
    bench.flush();
    assert_eq!(
        (
            bench.stats.send_calls,
            bench.stats.send_trains,
            bench.stats.send_datagrams
        ),
        (2, 2, 16)
    );
    assert_eq!(bench.received().len(), 8);
}

#[test]
fn a_packet_is_its_prefix_its_payload_and_its_padding() {
    let mut bench = Bench::new();
    let to = bench.receiver.local_addr().unwrap();
    for _ in 0..3 {
        assert!(bench.try_push(SocketKey::Relay(0), Some(to), &[0x40, 0, 0, 2], b"hi", 2));
    }
    bench.flush();
    assert_eq!(bench.stats.send_trains, 1);
    assert_eq!(bench.received(), vec![b"\x40\x00\x00\x02hi\x00\x00".to_vec(); 3]);
}

#[test]
fn a_train_ends_at_64_packets() {
    let mut bench = Bench::new();
    for index in 0..=TRAIN_PACKETS {
        bench.push(&[index as u8; 9]);
    }
    bench.flush();
    assert_eq!((bench.stats.send_calls, bench.stats.send_trains), (1, 1));
    assert_eq!(bench.received().len(), TRAIN_PACKETS + 1);
}

#[test]
fn a_train_ends_at_what_one_ip_packet_can_carry() {
    let mut bench = Bench::new();
    let size = 10_000;
    let fit = TRAIN_BYTES / size;
    for _ in 0..fit {
        bench.push(&vec![0; size]);
    }
    assert_eq!(bench.batch.trains.len(), 1);
    bench.answers.reset();
    bench.push(&vec![0; size]);
    assert_eq!(bench.batch.trains.len(), 2);
}

#[test]
fn an_empty_datagram_is_sent_alone() {
    let mut bench = Bench::new();
    bench.push(&[]);
    bench.push(&[]);
    bench.push(&[1]);
    bench.flush();
    assert_eq!(bench.received(), [vec![], vec![], vec![1]]);
    assert_eq!(bench.stats.send_datagrams, 3);
}

#[test]
fn a_destination_that_cannot_be_sent_to_costs_nobody_else() {
    let mut bench = Bench::new();
    bench.push(&[1; 10]);
    // Sending to a broadcast address needs a permission that this socket does not have.
    assert!(bench.try_push(
        SocketKey::Relay(0),
        Some("255.255.255.255:9".parse().unwrap()),
        &[],
        &[2; 10],
        0
    ));
    let to = bench.receiver.local_addr().unwrap();
    assert!(bench.try_push(SocketKey::Relay(0), Some(to), &[], &[3; 11], 0));
    bench.flush();
    assert_eq!(bench.received(), [vec![1; 10], vec![3; 11]]);
    assert_eq!(bench.stats.send_failures.iter().sum::<u64>(), 1);
    assert_eq!(bench.stats.send_datagrams, 2);
}

#[test]
fn a_socket_that_cannot_cut_trains_sends_one_by_one_in_order() {
    let mut bench = Bench::new();
    // Without checksums the kernel refuses to cut.
    set_option(bench.out[0].0.as_fd(), libc::SOL_SOCKET, libc::SO_NO_CHECK, 1).unwrap();
    for index in 0..4 {
        bench.push(&[index; 100]);
    }
    bench.push(&[4; 200]);
    bench.flush();
    assert_eq!(bench.stats.send_train_fallbacks, 1);
    assert_eq!((bench.stats.send_trains, bench.stats.send_datagrams), (0, 5));
    let first: Vec<_> = bench.received().iter().map(|packet| packet[0]).collect();
    assert_eq!(first, [0, 1, 2, 3, 4]);
}

#[test]
fn a_socket_told_to_pause_sends_no_trains_until_the_pause_is_over() {
    let now = Instant::now();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut state = SendState::new(false, true, now);
    let mut out = OutSocket {
        fd: socket.as_fd(),
        state: &mut state,
    };
    assert!(out.may_segment(now));
    out.suspend_segments(now);
    assert!(!out.may_segment(now + Duration::from_secs(29)));
    assert!(out.may_segment(now + Duration::from_secs(30)));
    let mut never = SendState::new(false, false, now);
    let out = OutSocket {
        fd: socket.as_fd(),
        state: &mut never,
    };
    assert!(!out.may_segment(now + Duration::from_secs(3600)));
}

#[test]
fn packets_for_a_socket_that_is_gone_are_counted_and_the_rest_is_sent() {
    let mut bench = Bench::new();
    let to = bench.receiver.local_addr().unwrap();
    for _ in 0..3 {
        assert!(bench.try_push(SocketKey::Relay(9), Some(to), &[], &[9], 0));
    }
    bench.push(&[1]);
    bench.flush();
    assert_eq!(bench.stats.send_failures.iter().sum::<u64>(), 3);
    assert_eq!(bench.received(), [vec![1]]);
}

#[test]
fn a_full_batch_takes_no_more_until_it_is_flushed() {
    let mut bench = Bench::new();
    for index in 0..PACKETS {
        bench.push(&[index as u8]);
    }
    let to = bench.receiver.local_addr().unwrap();
    assert!(!bench.try_push(SocketKey::Relay(0), Some(to), &[], &[1], 0));
    bench.flush();
    assert_eq!(bench.stats.send_datagrams, PACKETS as u64);
    // How many of so many small packets the receiver has room for is the system's choice.
    assert!(!bench.received().is_empty());
    bench.push(&[1]);
    bench.flush();
    assert_eq!(bench.received(), [vec![1]]);
}

#[test]
fn a_full_inbox_overflows_and_is_counted() {
    let mut bench = Bench::new();
    for round in 0..10_000 {
        for _ in 0..64 {
            assert!(bench.try_push(SocketKey::Sibling(1), None, b"head", &[7; 900], 0));
        }
        bench.flush();
        if bench.stats.handover_overflows > 0 {
            break;
        }
        assert!(round < 9_999, "an inbox without a bound");
    }
    assert!(bench.stats.handovers > 0);
    assert_eq!(bench.stats.send_datagrams, 0, "a hand-over is not a datagram sent");
    let mut buffer = [0; 1024];
    let len = bench.inbox.recv(&mut buffer).unwrap();
    assert_eq!(&buffer[..len], [&b"head"[..], &[7; 900]].concat());
}

#[test]
fn more_messages_than_one_call_takes_go_in_several() {
    let mut bench = Bench::new();
    // Growing sizes never join a train.
    for index in 0..150_u8 {
        bench.push(&vec![index; usize::from(index) + 1]);
    }
    bench.flush();
    assert_eq!((bench.stats.send_calls, bench.stats.send_datagrams), (3, 150));
    let first: Vec<_> = bench.received().iter().map(|packet| packet[0]).collect();
    assert_eq!(first, (0..150).collect::<Vec<_>>());
}

#[test]
fn df_is_set_for_those_who_ask_and_cleared_for_the_next() {
    let mut bench = Bench::new();
    let to = Some(bench.receiver.local_addr().unwrap());
    for (index, dont_fragment) in [(0, false), (1, true), (2, true), (3, false)] {
        let range = bench.answers.push(&[index; 10]).unwrap();
        let packet = Packet {
            socket: SocketKey::Relay(0),
            to,
            local: None,
            prefix: &[],
            source: Source::Answer,
            range,
            padding: 0,
            dont_fragment,
        };
        assert!(bench.batch.push(&packet));
    }
    bench.flush();
    assert_eq!(bench.stats.send_calls, 3, "what differs in DF does not share a call");
    let first: Vec<_> = bench.received().iter().map(|packet| packet[0]).collect();
    assert_eq!(first, [0, 1, 2, 3]);
    let mode = rustix::net::sockopt::ip_mtu_discover(&bench.out[0].0).unwrap();
    assert_eq!(mode, rustix::net::sockopt::Ipv4PathMtuDiscovery::OMIT);
}
