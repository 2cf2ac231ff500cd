//! How a stream is cut into frames (RFC 8489 §6.2.2, RFC 8656 §12.5), and what becomes of one that cannot be.

use std::io::{Read as _, Write as _};

use meetpoint::wire::{Message, Method};

use crate::client::{Client, binding, channel_data, connect};
use crate::stage::Stage;

#[test]
fn requests_that_come_byte_by_byte_are_answered() {
    let stage = Stage::start(1);
    let mut client = Client::tcp(stage.tcp);
    for _ in 0..2 {
        for byte in binding() {
            client.write(&[byte]);
        }
        let answer = client.frame().unwrap();
        assert_eq!(Message::parse(&answer).unwrap().method(), Method::BINDING);
    }
}

#[test]
fn requests_that_come_at_once_are_answered_each() {
    let stage = Stage::start(1);
    let mut client = Client::tcp(stage.tcp);
    let all: Vec<u8> = (0..200).flat_map(|_| binding()).collect();
    client.write(&all);
    for _ in 0..200 {
        assert!(client.frame().is_some());
    }
}

#[test]
fn frames_cut_anywhere_come_out_whole() {
    let stage = Stage::start(1);
    let (mut a, mut b) = (Client::tcp(stage.tcp), Client::tcp(stage.tcp));
    let (a_relayed, b_relayed) = (a.allocate(), b.allocate());
    a.bind(0x4000, b_relayed);
    b.bind(0x4000, a_relayed);
    for piece in [1, 3, 4, 5, 7, 64, 1000] {
        let stream: Vec<u8> = (0..40_u8)
            .flat_map(|n| channel_data(0x4000, &vec![n; usize::from(n)]))
            .collect();
        for bytes in stream.chunks(piece) {
            a.write(bytes);
        }
        for n in 0..40_u8 {
            let expected = crate::client::Arrival::Channel(0x4000, vec![n; usize::from(n)]);
            assert_eq!(b.receive(), Some(expected), "pieces of {piece}");
        }
    }
}

#[test]
fn the_longest_frames_are_carried_between_clients() {
    let stage = Stage::start(1);
    let (mut a, mut b) = (Client::tcp(stage.tcp), Client::tcp(stage.tcp));
    let (a_relayed, b_relayed) = (a.allocate(), b.allocate());
    a.bind(0x4000, b_relayed);
    b.bind(0x4000, a_relayed);
    let payload = vec![7; usize::from(u16::MAX)];
    a.send_channel(0x4000, &payload);
    assert_eq!(b.receive(), Some(crate::client::Arrival::Channel(0x4000, payload)));
}

/// Whether the server closes a stream that begins with these bytes.
fn is_closed_after(stage: &Stage, bytes: &[u8]) -> bool {
    let mut stream = connect(stage.tcp);
    stream.write_all(bytes).unwrap();
    let mut buffer = [0; 64];
    // A reset, when bytes were left unread, is an end as well.
    !matches!(stream.read(&mut buffer), Ok(1..)) && stream.take_error().unwrap().is_none() && {
        stream
            .set_read_timeout(Some(std::time::Duration::from_millis(50)))
            .unwrap();
        !matches!(stream.read(&mut buffer), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
    }
}

#[test]
fn what_is_neither_stun_nor_channel_data_is_closed_and_counted() {
    let stage = Stage::start(1);
    let mut wrong_cookie = binding();
    wrong_cookie[4] ^= 1;
    let mut unaligned = binding();
    unaligned[3] |= 1;
    let wrong: [&[u8]; 5] = [
        b"GET / HTTP/1.1\r\n\r\n",
        &[0xff; 20],
        &[0x16, 0x03, 0x01, 0x02, 0x00],
        &wrong_cookie,
        &unaligned,
    ];
    for bytes in wrong {
        assert!(is_closed_after(&stage, bytes), "{bytes:?}");
    }
    stage.assert_metric("meetpoint_relay_streams_closed_total{reason=\"framing\"}", 5);
    stage.assert_metric("meetpoint_relay_streams{", 0);
}

#[test]
fn a_length_that_lies_holds_nothing_for_a_client_without_an_allocation() {
    let stage = Stage::start(1);
    // 64 KiB of ChannelData, and the longest STUN message there can be: announced, not sent.
    let mut stun = binding();
    stun[2..4].copy_from_slice(&[0xff, 0xfc]);
    for bytes in [&[0x40, 0x00, 0xff, 0xff][..], &stun] {
        assert!(is_closed_after(&stage, bytes), "{bytes:?}");
    }
    stage.assert_metric("meetpoint_relay_streams_closed_total{reason=\"framing\"}", 2);
}

#[test]
fn a_request_of_the_longest_size_is_still_read_and_one_byte_more_is_not() {
    let stage = Stage::start(1);
    // The bound is 4096 bytes with the header; SOFTWARE (comprehension-optional) fills it up.
    let request = |len: usize| {
        let mut message = vec![0; len];
        message[..20].copy_from_slice(&binding()[..20]);
        message[2..4].copy_from_slice(&((len - 20) as u16).to_be_bytes());
        message[20..22].copy_from_slice(&0x8022_u16.to_be_bytes());
        message[22..24].copy_from_slice(&((len - 24) as u16).to_be_bytes());
        message
    };
    let mut client = Client::tcp(stage.tcp);
    client.write(&request(4096));
    assert!(client.frame().is_some());
    client.write(&request(4100)[..20]);
    assert_eq!(client.frame(), None);
}
