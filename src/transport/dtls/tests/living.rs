//! A session that lives: what ends it, and what does not.

use std::time::Duration;

use super::world::{ALL, Good, Peer, Speaks, World, connected, talk, tuple};
use crate::telemetry::{DtlsEnd, DtlsRefusal};
use crate::transport::dtls::table::Unsealed;

/// A sequence of numbers that is the same in each run.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self, below: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % below
    }
}

fn is_well(world: &mut World, client: &mut Peer) {
    let before = world.said.len();
    let datagram = client.say(b"still here");
    world.receive(&client.from, &datagram);
    assert_eq!(world.said.len(), before + 1);
    for datagram in world.seal(&client.from, b"indeed") {
        client.receive(world.now, &datagram);
    }
    client.poll();
    assert_eq!(client.heard.pop().unwrap(), b"indeed");
}

#[test]
fn what_others_send_from_a_clients_address_is_discarded_and_counted() {
    for speaks in ALL {
        let mut world = World::new();
        let mut client = connected(&mut world, "198.51.100.1:4000", speaks);
        is_well(&mut world, &mut client);
        let from = client.from;
        let replayed = client.say(b"once");
        world.receive(&from, &replayed);
        let said = world.said.len();
        let mut damaged = client.say(b"damaged");
        let last = damaged.len() - 1;
        damaged[last] ^= 1;
        let alert =
            |level, description, epoch| [21, 0xfe, 0xfd, 0, epoch, 0, 0, 0, 0, 1, 9, 0, 2, level, description].to_vec();
        let forged: Vec<Vec<u8>> = vec![
            replayed,
            damaged,
            alert(2, 40, 0),
            alert(1, 0, 0),
            alert(2, 40, 1),
            alert(1, 0, 2),
            vec![0; 64],
            vec![22; 64],
            vec![0x2f; 64],
            b"GET / HTTP/1.1\r\n\r\n".to_vec(),
            vec![20, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 9, 0, 1, 1],
            vec![
                22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 9, 0, 12, 20, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0,
            ],
            Vec::new(),
        ];
        for datagram in &forged {
            world.receive(&from, datagram);
        }
        assert_eq!(world.said.len(), said, "{speaks:?}: nothing of it is believed");
        assert_eq!(world.sessions(), (0, 1), "{speaks:?}");
        assert_eq!(world.stats.dtls_discarded, forged.len() as u64, "{speaks:?}");
        is_well(&mut world, &mut client);
    }
}

#[test]
fn mutated_datagrams_end_nothing_and_leave_nothing() {
    let mut numbers = Numbers(7);
    for speaks in ALL {
        let mut world = World::new();
        // Whole handshakes as they are seen on the wire, to be damaged.
        let mut client = Peer::new(&world, "198.51.100.1:4000", speaks);
        let mut seen = Vec::new();
        for _ in 0..6 {
            for datagram in client.poll() {
                for answer in world.receive(&client.from, &datagram) {
                    client.receive(world.now, &answer);
                    seen.push(answer);
                }
                seen.push(datagram);
            }
        }
        assert!(client.connected);
        for _ in 0..20 {
            seen.push(client.say(b"some message"));
        }
        for round in 0..3000 {
            let mut datagram = seen[numbers.next(seen.len())].clone();
            for _ in 0..=numbers.next(4) {
                let at = numbers.next(datagram.len());
                match numbers.next(4) {
                    0 => datagram[at] = numbers.next(256) as u8,
                    1 => datagram[at] ^= 1 << numbers.next(8),
                    2 => datagram.truncate(at + 1),
                    _ => datagram.insert(at, numbers.next(256) as u8),
                }
            }
            // The session that lives, one address that stays, and ones that come once.
            let from = match round % 3 {
                0 => client.from,
                1 => tuple("198.51.100.7:4000"),
                _ => tuple(&format!("198.51.100.8:{}", 1000 + round)),
            };
            world.receive(&from, &datagram);
        }
        assert_eq!(world.ended(DtlsEnd::Fault), 0, "{speaks:?}");
        assert_eq!(world.sessions(), (0, 1), "{speaks:?}");
        is_well(&mut world, &mut client);
    }
}

#[test]
fn damaged_flights_after_the_cookie_never_panic_and_end_in_time() {
    let mut numbers = Numbers(11);
    let mut world = World::new();
    for round in 0..150 {
        let speaks = ALL[round % 3];
        let mut client = Peer::new(&world, &format!("198.51.100.1:{}", 2000 + round), speaks);
        let mut turns = 0;
        while turns < 6 {
            turns += 1;
            for mut datagram in client.poll() {
                let is_hello = datagram.get(13) == Some(&1);
                if !is_hello {
                    let at = numbers.next(datagram.len());
                    datagram[at] ^= 1 << numbers.next(8);
                }
                for answer in world.receive(&client.from, &datagram) {
                    let _ = client.dtls.handle_timeout(world.now);
                    let _ = client.dtls.handle_packet(&answer);
                }
            }
        }
    }
    assert_eq!(world.ended(DtlsEnd::Fault), 0);
    world.advance(Duration::from_secs(60));
    assert_eq!(world.sessions(), (0, 0));
}

#[test]
fn a_close_notify_ends_the_session_and_is_answered() {
    for speaks in ALL {
        let mut world = World::new();
        let mut client = connected(&mut world, "198.51.100.1:4000", speaks);
        is_well(&mut world, &mut client);
        client.dtls.close().unwrap();
        let answers: Vec<_> = client
            .poll()
            .iter()
            .flat_map(|datagram| world.receive(&client.from, datagram))
            .collect();
        assert_eq!(
            (world.sessions(), world.ended(DtlsEnd::Client)),
            ((0, 0), 1),
            "{speaks:?}"
        );
        assert_eq!(world.gone, [client.from]);
        assert!(!answers.is_empty(), "{speaks:?}: RFC 5246 §7.2.1");
        assert_eq!(
            world.table.seal(world.now, &client.from, &[], b"late", 0),
            Err(Unsealed::Gone)
        );
    }
}

#[test]
fn a_session_without_an_allocation_ends_and_one_with_an_allocation_does_not() {
    for speaks in ALL {
        let mut world = World::new();
        let mut client = connected(&mut world, "198.51.100.1:4000", speaks);
        world.advance(Duration::from_secs(29));
        is_well(&mut world, &mut client);
        world.advance(Duration::from_secs(29));
        assert_eq!(world.sessions(), (0, 1));
        world.in_use = true;
        world.advance(Duration::from_secs(3600));
        is_well(&mut world, &mut client);
        world.in_use = false;
        let last_words = world.advance(Duration::from_secs(61));
        assert_eq!(
            (world.sessions(), world.ended(DtlsEnd::Idle)),
            ((0, 0), 1),
            "{speaks:?}"
        );
        for (to, datagram) in last_words {
            assert_eq!(to, client.from);
            client.receive(world.now, &datagram);
        }
        client.poll();
        assert!(client.closed, "{speaks:?}: it is told");
    }
}

#[test]
fn a_client_that_comes_back_from_the_same_address_gets_a_new_session() {
    for speaks in ALL {
        let mut world = World::new();
        let mut vanished = connected(&mut world, "198.51.100.1:4000", speaks);
        is_well(&mut world, &mut vanished);
        // Until the new client has shown its address the old session lives (RFC 6347 §4.2.8).
        let mut again = Peer::new(&world, "198.51.100.1:4000", speaks);
        for datagram in again.poll() {
            for answer in world.receive(&again.from, &datagram) {
                again.receive(world.now, &answer);
            }
        }
        is_well(&mut world, &mut vanished);
        assert!(world.gone.is_empty());
        assert!(talk(&mut world, &mut again, &mut Good, Duration::from_secs(5)));
        assert_eq!(world.ended(DtlsEnd::Replaced), 1);
        assert_eq!((&world.gone[..], world.sessions()), (&[again.from][..], (0, 1)));
        is_well(&mut world, &mut again);
        let lost = vanished.say(b"who am I");
        let said = world.said.len();
        world.receive(&vanished.from, &lost);
        assert_eq!(world.said.len(), said);
    }
}

#[test]
fn a_hello_in_plaintext_asks_for_a_new_session_and_not_for_a_renegotiation() {
    let mut world = World::new();
    let mut client = connected(&mut world, "198.51.100.1:4000", Speaks::Only12);
    is_well(&mut world, &mut client);
    let mut asking = Peer::new(&world, "198.51.100.2:4000", Speaks::Only12);
    let hello = asking.poll().remove(0);
    world.receive(&client.from, &hello);
    assert_eq!(world.sessions(), (0, 1));
    is_well(&mut world, &mut client);
}

#[test]
fn a_process_that_ends_says_goodbye() {
    for speaks in ALL {
        let mut world = World::new();
        let mut client = connected(&mut world, "198.51.100.1:4000", speaks);
        world.table.end_all();
        for (_, datagram) in world.finish() {
            client.receive(world.now, &datagram);
        }
        client.poll();
        assert!(client.closed);
        assert_eq!(world.ended(DtlsEnd::Shutdown), 1);
    }
}

#[test]
fn messages_are_sealed_whole_up_to_a_record_and_no_further() {
    for speaks in ALL {
        let mut world = World::new();
        let mut client = connected(&mut world, "198.51.100.1:4000", speaks);
        for len in [0, 1, 1200, 1500, 9000, 1 << 14] {
            let message = vec![5; len];
            for datagram in world.seal(&client.from, &message) {
                assert!(datagram.len() <= len + 37, "{speaks:?}: {} for {len}", datagram.len());
                client.receive(world.now, &datagram);
            }
            client.poll();
            if len > 0 {
                assert_eq!(client.heard.pop().unwrap(), message, "{speaks:?} {len}");
            }
        }
        let long = vec![5; (1 << 14) + 1];
        let sealed = world.table.seal(world.now, &client.from, &[], &long, 0);
        assert_eq!(sealed, Err(Unsealed::TooLong));
        is_well(&mut world, &mut client);
        assert_eq!(world.refused(DtlsRefusal::NoSession), 0);
    }
}
