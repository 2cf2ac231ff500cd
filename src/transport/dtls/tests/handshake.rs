//! From the first ClientHello to the first message.

use std::time::Duration;

use super::super::hello::{self, CLIENT_HELLO, HANDSHAKE_HEADER, RECORD_HEADER};
use super::world::{ALL, Network, Peer, Speaks, World, connected, talk, tuple};
use crate::telemetry::{DtlsEnd, DtlsRefusal};

/// As long as the client goes on by itself.
const PATIENCE: Duration = Duration::from_secs(39);

/// Cuts a datagram with one ClientHello into records with fragments of it.
pub(super) fn cut(datagram: &[u8], size: usize) -> Vec<Vec<u8>> {
    let body = &datagram[RECORD_HEADER + HANDSHAKE_HEADER..];
    let mut pieces = Vec::new();
    for (nth, piece) in body.chunks(size).enumerate() {
        let mut header = datagram[..RECORD_HEADER + HANDSHAKE_HEADER].to_vec();
        header[10] = header[10].wrapping_add(nth as u8);
        header[11..13].copy_from_slice(&((HANDSHAKE_HEADER + piece.len()) as u16).to_be_bytes());
        let (offset, len) = ((nth * size) as u32, piece.len() as u32);
        header[RECORD_HEADER + 6..RECORD_HEADER + 9].copy_from_slice(&offset.to_be_bytes()[1..]);
        header[RECORD_HEADER + 9..].copy_from_slice(&len.to_be_bytes()[1..]);
        pieces.push([&header[..], piece].concat());
    }
    pieces
}

#[test]
fn clients_of_each_version_get_a_session_and_are_understood() {
    for (speaks, wire) in [
        (Speaks::Only12, 0xfefd),
        (Speaks::Only13, 0xfefc),
        (Speaks::Both, 0xfefc),
    ] {
        let mut world = World::new();
        let mut client = connected(&mut world, "198.51.100.1:4000", speaks);
        let version = client.dtls.protocol_version().unwrap().as_u16();
        assert_eq!(version, wire, "{speaks:?}");
        assert!(!client.certificate.is_empty());
        let datagram = client.say(b"hello");
        world.receive(&client.from, &datagram);
        assert_eq!(world.said, [(client.from, b"hello".to_vec())]);
        for datagram in world.seal(&client.from, b"and back") {
            client.receive(world.now, &datagram);
        }
        client.poll();
        assert_eq!(client.heard, [b"and back"]);
        assert_eq!((world.stats.dtls_cookies, world.stats.dtls_established), (1, 1));
    }
}

#[test]
fn a_first_hello_is_answered_shortly_and_nothing_is_remembered_of_it() {
    for speaks in ALL {
        let mut world = World::new();
        for port in 1000..1100 {
            let mut client = Peer::new(&world, &format!("198.51.100.1:{port}"), speaks);
            let sent = client.poll();
            let answers: Vec<_> = sent.iter().flat_map(|one| world.receive(&client.from, one)).collect();
            let (asked, answered): (usize, usize) =
                (sent.iter().map(Vec::len).sum(), answers.iter().map(Vec::len).sum());
            assert!(answers.len() == 1 && answered <= asked, "{asked} → {answered}");
        }
        assert_eq!(world.sessions(), (0, 0));
        assert_eq!(world.stats.dtls_cookies, 100);
        assert_eq!(world.table.next_deadline(), None);
    }
}

#[test]
fn a_cookie_is_no_good_from_another_address() {
    for speaks in ALL {
        let mut world = World::new();
        let mut client = Peer::new(&world, "198.51.100.1:4000", speaks);
        for datagram in client.poll() {
            for answer in world.receive(&client.from, &datagram) {
                client.receive(world.now, &answer);
            }
        }
        let second = client.poll();
        for other in ["198.51.100.2:4000", "198.51.100.1:4001"] {
            assert!(world.receive(&tuple(other), &second[0]).is_empty());
        }
        assert_eq!((world.sessions(), world.refused(DtlsRefusal::BadCookie)), ((0, 0), 2));
        assert!(!world.receive(&client.from, &second[0]).is_empty());
        assert_eq!(world.sessions(), (1, 0));
    }
}

/// Loses the datagrams whose place in their direction the bits say.
struct Lossy {
    to_server: u32,
    to_client: u32,
}

impl Network for Lossy {
    fn carry(&mut self, to_server: bool, datagrams: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
        let bits = if to_server {
            &mut self.to_server
        } else {
            &mut self.to_client
        };
        let arrives = |_: &Vec<u8>| {
            let lost = *bits & 1 == 1;
            *bits >>= 1;
            !lost
        };
        datagrams.into_iter().filter(arrives).collect()
    }
}

#[test]
fn whichever_datagrams_of_a_handshake_are_lost_it_is_finished_later() {
    // One or two of the first four of each direction: no client waits for more.
    const LOST: [u32; 8] = [0, 0b1, 0b10, 0b11, 0b100, 0b110, 0b1000, 0b1100];
    let pairs = LOST.iter().flat_map(|&one| LOST.iter().map(move |&other| (one, other)));
    for speaks in ALL {
        for (to_server, to_client) in pairs.clone() {
            let lost = format!("{to_server:04b} {to_client:04b}");
            let mut network = Lossy { to_server, to_client };
            let mut world = World::new();
            let mut client = Peer::new(&world, "198.51.100.1:4000", speaks);
            assert!(
                talk(&mut world, &mut client, &mut network, PATIENCE),
                "{speaks:?} {lost}"
            );
            let datagram = client.say(b"hello");
            world.receive(&client.from, &datagram);
            assert_eq!(world.said.len(), 1, "{speaks:?} {lost}");
        }
    }
}

/// Cuts each ClientHello into pieces and turns the order of what is sent together.
struct Cutting {
    size: usize,
    reverse: bool,
    together: bool,
}

impl Network for Cutting {
    fn carry(&mut self, to_server: bool, datagrams: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
        if !to_server {
            return datagrams;
        }
        let mut out = Vec::new();
        for datagram in datagrams {
            if datagram.get(RECORD_HEADER) == Some(&CLIENT_HELLO) && datagram[0] == hello::HANDSHAKE {
                let mut pieces = cut(&datagram, self.size);
                if self.reverse {
                    pieces.reverse();
                }
                if self.together {
                    pieces = vec![pieces.concat()];
                }
                out.extend(pieces);
            } else {
                out.push(datagram);
            }
        }
        out
    }
}

#[test]
fn a_hello_in_pieces_is_put_together_in_whichever_order_they_come() {
    for speaks in ALL {
        for (size, reverse, together) in [
            (100, false, false),
            (100, true, false),
            (150, true, true),
            (60, false, true),
        ] {
            let mut network = Cutting {
                size,
                reverse,
                together,
            };
            let mut world = World::new();
            let mut client = Peer::new(&world, "198.51.100.1:4000", speaks);
            assert!(
                talk(&mut world, &mut client, &mut network, PATIENCE),
                "{speaks:?} {size}"
            );
        }
    }
}

/// Turns the order of what a direction sends together.
struct Reversing;

impl Network for Reversing {
    fn carry(&mut self, _: bool, mut datagrams: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
        datagrams.reverse();
        datagrams
    }
}

#[test]
fn flights_may_arrive_backwards() {
    for speaks in ALL {
        let mut world = World::new();
        let mut client = Peer::new(&world, "198.51.100.1:4000", speaks);
        assert!(talk(&mut world, &mut client, &mut Reversing, PATIENCE), "{speaks:?}");
    }
}

#[test]
fn our_records_go_on_from_the_number_of_the_hello_that_was_let_in() {
    // RFC 6347 §4.2.1: what was sent before the session existed had the numbers of what it answered.
    let mut world = World::new();
    let mut client = Peer::new(&world, "198.51.100.1:4000", Speaks::Only12);
    let mut first = client.poll().remove(0);
    first[10] = 77;
    let answer = world.receive(&client.from, &first).remove(0);
    assert_eq!(answer[5..11], first[5..11]);
    client.receive(world.now, &answer);
    let mut second = client.poll().remove(0);
    second[10] = 78;
    let flight = world.receive(&client.from, &second);
    assert_eq!(flight[0][5..11], second[5..11]);
}

#[test]
fn a_client_that_has_nothing_in_common_is_told_so_once() {
    let mut world = World::new();
    let body = hello::tests::hello(b"", &[]);
    let mut foreign = body.clone();
    let at = foreign.len() - 6;
    // TLS_RSA_WITH_AES_128_CBC_SHA, twice.
    foreign[at..at + 4].copy_from_slice(&[0, 0x2f, 0, 0x2f]);
    let from = tuple("198.51.100.1:4000");
    let answer = world.receive(&from, &hello::record(5, CLIENT_HELLO, 0, &foreign));
    assert_eq!(answer, [[21, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 5, 0, 2, 2, 40].to_vec()]);
    assert_eq!(world.refused(DtlsRefusal::NothingInCommon), 1);
    let old = {
        let mut old = body;
        old[1] = 0xff;
        old
    };
    world.receive(&from, &hello::record(0, CLIENT_HELLO, 0, &old));
    assert_eq!(world.refused(DtlsRefusal::NothingInCommon), 2, "DTLS 1.0");
}

#[test]
fn a_client_without_a_share_that_serves_gets_dtls_1_2_or_nothing() {
    use dimpl::crypto::NamedGroup;
    let mut world = World::new();
    let config = super::world::client_config().kx_groups(&[NamedGroup::X25519]);
    let mut client = Peer::with(&world, "198.51.100.1:4000", Speaks::Only13, config);
    let mut first = client.poll().remove(0);
    // Its one share is named as one of a group that we do not have.
    let share = [0, 0x1d, 0, 0x20];
    let at = first.windows(4).position(|bytes| bytes == share).unwrap();
    first[at..at + 2].copy_from_slice(&[0x11, 0xec]);
    let answer = world.receive(&client.from, &first);
    assert_eq!(answer[0][0], 21);
    assert_eq!(world.refused(DtlsRefusal::NothingInCommon), 1);
    let mut both = Peer::new(&world, "198.51.100.2:4000", Speaks::Both);
    let mut first = both.poll().remove(0);
    if let Some(at) = first.windows(4).position(|bytes| bytes == share) {
        first[at..at + 2].copy_from_slice(&[0x11, 0xec]);
    }
    let answer = world.receive(&both.from, &first);
    assert_eq!(answer[0][RECORD_HEADER], 3, "a HelloVerifyRequest");
}

#[test]
fn a_handshake_that_is_not_finished_ends_in_time() {
    for speaks in ALL {
        let mut world = World::new();
        let mut client = Peer::new(&world, "198.51.100.1:4000", speaks);
        for datagram in client.poll() {
            for answer in world.receive(&client.from, &datagram) {
                client.receive(world.now, &answer);
            }
        }
        for datagram in client.poll() {
            assert!(!world.receive(&client.from, &datagram).is_empty());
        }
        let sent = world.advance(Duration::from_millis(9_900));
        assert_eq!(world.sessions(), (1, 0), "{speaks:?}");
        assert!(!sent.is_empty(), "our flight is sent again");
        world.advance(Duration::from_millis(200));
        assert_eq!(
            (world.sessions(), world.ended(DtlsEnd::Timeout)),
            ((0, 0), 1),
            "{speaks:?}"
        );
        assert_eq!(world.gone, [client.from]);
    }
}

#[test]
fn a_handshake_that_fails_ends_at_once() {
    let mut world = World::new();
    let mut client = Peer::new(&world, "198.51.100.1:4000", Speaks::Only12);
    for datagram in client.poll() {
        for answer in world.receive(&client.from, &datagram) {
            client.receive(world.now, &answer);
        }
    }
    for datagram in client.poll() {
        world.receive(&client.from, &datagram);
    }
    world.receive(&client.from, &[21, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 9, 0, 2, 2, 48]);
    assert_eq!((world.sessions(), world.ended(DtlsEnd::Failed)), ((0, 0), 1));
}
