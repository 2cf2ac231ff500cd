//! Holes that other relays had, each tried here: in the core, where packets are judged.

use std::collections::HashSet;
use std::time::Duration;

use meetpoint::turn::{Config, DropReason, Handled, Ledger, Limits, NonceKey, Reservations, Shard, Transport, Verdict};
use meetpoint::wire::attribute::{EvenPort, RequestedTransport};
use meetpoint::wire::{AttributeType, Class, Message, Method};

use crate::relay::{Client, Lab, PEER, REALM, addr, channel_data, config, ip, to_client};

fn dropped(handled: Handled) -> DropReason {
    match handled {
        Handled::Done(Verdict::Dropped(reason)) => reason,
        other => panic!("not dropped: {other:?}"),
    }
}

/// Everything this server answers with, of every kind and with every attribute it sends.
fn all_answers(lab: &mut Lab) -> Vec<Vec<u8>> {
    let mut client = Client::new("192.0.2.1:4001");
    let mut answers = vec![client.challenge(lab).bytes];
    let reply = client.allocate_with(lab, |builder| {
        builder.attribute(&EvenPort { reserve_next: true });
    });
    assert_eq!(reply.code(), 0);
    answers.push(reply.bytes);
    let binding = client.bare(Method::BINDING, Class::Request, |_| {});
    answers.push(client.send(lab, &binding).bytes);
    for method in [
        Method::ALLOCATE,
        Method::CREATE_PERMISSION,
        Method::CHANNEL_BIND,
        Method::REFRESH,
        Method::CONNECT,
    ] {
        let unknown = client.request(method, |builder| {
            builder
                .raw_attribute(AttributeType(0x7abc), &[1, 2, 3])
                .raw_attribute(AttributeType(0x7abd), &[]);
        });
        answers.push(client.send(lab, &unknown).bytes);
        answers.push(client.call(lab, method, |_| {}).bytes);
    }
    answers.push(
        client
            .call(lab, Method::CREATE_PERMISSION, |builder| {
                builder.attribute(&meetpoint::wire::attribute::XorPeerAddress(addr("127.0.0.1:1")));
            })
            .bytes,
    );
    client.nonce = "obMatJos2AAAA".to_owned();
    answers.push(client.call(lab, Method::REFRESH, |_| {}).bytes);
    answers
}

/// What lies between the attributes of a message: the bytes behind each value up to the next multiple of four.
fn paddings(message: &[u8]) -> Vec<u8> {
    let mut found = Vec::new();
    let mut at = 20;
    while at + 4 <= message.len() {
        let len = usize::from(u16::from_be_bytes([message[at + 2], message[at + 3]]));
        let (end, next) = (at + 4 + len, at + 4 + len.next_multiple_of(4));
        found.extend_from_slice(&message[end..next]);
        at = next;
    }
    found
}

/// CVE-2020-4067: the padding of answers was memory that had not been written.
#[test]
fn cve_2020_4067_padding_is_zero_in_every_answer() {
    // A realm and a software of every length modulo four.
    for extra in ["", "x", "xx", "xxx"] {
        let padded = Config {
            realm: format!("{REALM}{extra}"),
            software: Some(format!("software{extra}")),
            ..config()
        };
        let mut lab = Lab::new(padded);
        let mut client = Client::new("192.0.2.9:1");
        client.realm = format!("{REALM}{extra}");
        let mut answers = vec![client.challenge(&mut lab).bytes];
        answers.push(client.allocate_with(&mut lab, |_| {}).bytes);
        answers.push(
            client
                .call(&mut lab, Method::CREATE_PERMISSION, |builder| {
                    builder.raw_attribute(AttributeType(0x7abc), &[1]);
                })
                .bytes,
        );
        answers.extend(extra.is_empty().then(|| all_answers(&mut lab)).into_iter().flatten());
        let padding: Vec<u8> = answers.iter().flat_map(|answer| paddings(answer)).collect();
        assert!(padding.iter().all(|byte| *byte == 0), "{answers:02x?}");
        assert!(extra.is_empty() || !padding.is_empty());
    }
}

/// CVE-2026-104074: bytes of the stack were in the reason and the padding of ERROR-CODE.
#[test]
fn cve_2026_104074_an_error_says_its_code_and_nothing_else() {
    let mut lab = Lab::new(config());
    let mut errors = 0;
    for answer in all_answers(&mut lab) {
        let message = Message::parse(&answer).unwrap();
        if let Some(value) = message.value(AttributeType::ERROR_CODE) {
            errors += 1;
            let [0, 0, class, number] = value else {
                panic!("{value:02x?}")
            };
            assert!((3..=6).contains(class) && *number < 100);
        }
    }
    assert!(errors > 10);
    // Two servers that differ in all their randomness say the same, but for the nonce.
    let answers = [1, 2].map(|index| {
        let nonce_key = Some(NonceKey::new([7; 32]));
        let shard = Shard { index, count: 4 };
        let mut lab = Lab::shard(
            Config { nonce_key, ..config() },
            shard,
            Ledger::new(),
            Reservations::new(),
        );
        let request = [&[0, 3, 0, 0, 0x21, 0x12, 0xA4, 0x42][..], &[9; 12]].concat();
        lab.client(&Client::new("192.0.2.1:4001").five_tuple, &request);
        lab.reply().bytes
    });
    assert_eq!(answers[0], answers[1]);
}

/// CVE-2025-69217: nonces and ports came from libc's random numbers, and some fifty samples told the rest.
#[test]
fn cve_2025_69217_neither_ports_nor_nonces_can_be_foretold() {
    let mut lab = Lab::new(Config {
        limits: Limits {
            allocations_per_user: 1000,
            allocations_per_client: 1000,
            unauthenticated_per_second: 0,
            ..Limits::default()
        },
        ..config()
    });
    let mut ports = Vec::new();
    for n in 0..400 {
        let mut client = Client::new(&format!("192.0.2.1:{}", 4000 + n));
        ports.push(i32::from(client.allocate(&mut lab).port()));
    }
    // No step between neighbours comes often, and a linear recurrence over three of them explains next to nothing.
    let mut steps: Vec<i32> = ports.windows(2).map(|pair| pair[1] - pair[0]).collect();
    steps.sort_unstable();
    steps.dedup();
    assert!(steps.len() > 380, "{} different steps", steps.len());
    for modulus in [1 << 14, 1 << 15, 1 << 16] {
        let explained = ports
            .windows(4)
            .filter(|p| (p[3] - p[2] - (p[2] - p[1])) % modulus == (p[2] - p[1] - (p[1] - p[0])) % modulus);
        assert!(explained.count() < 8);
    }
    // Ports spread over the whole range: no quarter of it is left out.
    for quarter in 0..4 {
        let inside = ports.iter().filter(|port| (**port - 49_152) / 4096 == quarter).count();
        assert!((50..=150).contains(&inside), "{inside} of 400 in quarter {quarter}");
    }
    // A process that is given no key for nonces has one that no other has, and one changed character is no nonce.
    let nonces: HashSet<String> = (0..50)
        .map(|index| {
            let shard = Shard { index, count: 50 };
            let keyless = Config {
                nonce_key: None,
                ..config()
            };
            let mut lab = Lab::shard(keyless, shard, Ledger::new(), Reservations::new());
            Client::new("192.0.2.1:4001").challenge(&mut lab).nonce()
        })
        .collect();
    assert_eq!(nonces.len(), 50);
    let mut client = Client::new("192.0.2.1:4001");
    client.challenge(&mut lab);
    for at in 13..client.nonce.len() {
        let mut guess = client.clone();
        let other = if &client.nonce[at..=at] == "A" { "B" } else { "A" };
        guess.nonce.replace_range(at..=at, other);
        assert_eq!(guess.call(&mut lab, Method::REFRESH, |_| {}).code(), 438);
    }
}

/// CVE-2026-40613: a read that was not aligned ended the process on ARM.
#[test]
fn cve_2026_40613_a_packet_may_begin_at_any_address() {
    let mut lab = Lab::new(config());
    let mut client = Client::new("192.0.2.1:4001");
    client.allocate(&mut lab);
    client.bind(&mut lab, 0x4000, PEER);
    let refresh = client.request(Method::REFRESH, |_| {});
    let data = channel_data(0x4000, b"12345");
    for offset in 0..16 {
        for packet in [&refresh, &data] {
            let mut held = vec![0xEE; offset];
            held.extend_from_slice(packet);
            let handled = lab.client(&client.five_tuple, &held[offset..]);
            assert!(
                !matches!(handled.verdict(), Verdict::Dropped(_)),
                "at {offset}: {handled:?}"
            );
        }
        lab.sent.clear();
    }
}

/// CVE-2026-43994: an OAuth token longer than the stack's buffer was copied before its tag was checked.
#[test]
fn cve_2026_43994_no_access_token_is_too_long_or_too_strange() {
    const ACCESS_TOKEN: AttributeType = AttributeType(0x001B);
    let mut lab = Lab::new(config());
    let mut client = Client::new("192.0.2.1:4001");
    client.challenge(&mut lab);
    for len in (0..64).chain([127, 128, 255, 256, 257, 511, 512, 1000, 1024, 1500]) {
        for (nonce_len, fill) in [(0_u16, 0), (12, 1), (u16::MAX, 0xFF), (len as u16, 0x41)] {
            let mut token = vec![fill; len];
            for (place, byte) in token.iter_mut().zip(nonce_len.to_be_bytes()) {
                *place = byte;
            }
            let reply = client.call(&mut lab, Method::ALLOCATE, |builder| {
                builder
                    .attribute(&RequestedTransport::UDP)
                    .raw_attribute(ACCESS_TOKEN, &token);
            });
            // Whatever is made of it, it opens nothing: with our own password it is at most not understood.
            assert!(
                [400, 401, 420, 437, 438].contains(&reply.code()),
                "{len}: {}",
                reply.code()
            );
            assert_eq!(lab.server.allocations(), 0);
        }
        lab.advance(Duration::from_secs(1));
    }
}

/// CVE-2026-73215: EVEN-PORT without a reservation kept the odd port for ever, until nobody got one.
#[test]
fn cve_2026_73215_an_even_port_without_a_reservation_keeps_no_other() {
    let mut lab = Lab::new(Config {
        relay_ports: 50_000..=50_007,
        ..config()
    });
    for round in 0..50 {
        let mut client = Client::new(&format!("192.0.2.1:{}", 4000 + round));
        let reply = client.allocate_with(&mut lab, |builder| {
            builder.attribute(&EvenPort { reserve_next: false });
        });
        assert_eq!(reply.code(), 0, "round {round}");
        assert!(reply.relayed().port().is_multiple_of(2) && reply.token().is_none());
        assert_eq!(client.refresh(&mut lab, 0).code(), 0);
    }
    // Every port of the range is there: eight allocations, and not one more.
    let mut clients: Vec<_> = (0..9)
        .map(|n| Client::new(&format!("192.0.2.2:{}", 4000 + n)))
        .collect();
    let codes: Vec<u16> = clients
        .iter_mut()
        .map(|client| client.allocate_with(&mut lab, |_| {}).code())
        .collect();
    assert_eq!(codes, [0, 0, 0, 0, 0, 0, 0, 0, 508]);
}

/// The same with R set, claimed, unclaimed and abandoned: every port comes back.
#[test]
fn cve_2026_73215_every_reservation_comes_back_however_it_ends() {
    let mut lab = Lab::new(Config {
        relay_ports: 50_000..=50_003,
        ..config()
    });
    for round in 0..40_u64 {
        let mut client = Client::with_expiry(
            &format!("192.0.2.1:{}", 4000 + round),
            "bob",
            Duration::from_secs(36_000),
        );
        let reply = client.allocate_with(&mut lab, |builder| {
            builder.attribute(&EvenPort { reserve_next: true });
        });
        assert_eq!(reply.code(), 0, "round {round}");
        let token = reply.token().unwrap();
        if round % 3 == 0 {
            let mut second = client.clone();
            second.five_tuple = crate::relay::five_tuple(&format!("192.0.2.1:{}", 9000 + round));
            second.challenge(&mut lab);
            let claimed = second.call(&mut lab, Method::ALLOCATE, |builder| {
                builder.attribute(&RequestedTransport::UDP).attribute(&token);
            });
            assert_eq!(claimed.code(), 0);
            second.refresh(&mut lab, 0);
        }
        if round % 2 == 0 {
            client.refresh(&mut lab, 0);
        } else {
            lab.gone(&client.five_tuple);
        }
        lab.advance(Duration::from_secs(31));
    }
    lab.advance(Duration::from_secs(60));
    lab.assert_empty();
}

/// CVE-2026-73216: who disconnected and resumed had quota given back that was still in use.
#[test]
fn cve_2026_73216_quota_is_given_back_once_and_not_before_the_end() {
    let limits = Limits {
        allocations_per_user: 2,
        ..Limits::default()
    };
    let mut lab = Lab::new(Config { limits, ..config() });
    let tcp = |port: u16| {
        let mut client = Client::new(&format!("192.0.2.1:{port}"));
        client.five_tuple.transport = Transport::Tcp;
        client
    };
    let (mut first, mut second) = (tcp(1), tcp(2));
    first.allocate(&mut lab);
    second.allocate(&mut lab);
    for _ in 0..20 {
        // Gone twice, and deleted after that: one place, not three.
        lab.gone(&first.five_tuple);
        lab.gone(&first.five_tuple);
        assert_eq!(first.refresh(&mut lab, 0).code(), 437);
        assert_eq!(lab.ledger.total(), 1);
        first.allocate(&mut lab);
        for port in 100..104 {
            assert_eq!(tcp(port).allocate_with(&mut lab, |_| {}).code(), 486);
        }
        assert_eq!(lab.ledger.total(), 2);
    }
    for client in [&first, &second] {
        lab.gone(&client.five_tuple);
    }
    lab.advance(Duration::from_secs(60));
    lab.assert_empty();
}

/// CVE-2026-100251, and the abuse of Slack's relays before it: the metadata services of clouds, over UDP and over TCP.
#[test]
fn cve_2026_100251_metadata_services_are_out_of_reach_by_udp_and_by_tcp() {
    let mut lab = Lab::new(crate::disguise::with_tcp());
    let mut client = crate::disguise::dual(&mut lab);
    for service in [
        "169.254.169.254:80",
        "169.254.170.2:80",
        "100.100.100.200:80",
        "168.63.129.16:53",
        "192.0.0.192:80",
        "[fd00:ec2::254]:80",
        "[fd20:ce::254]:80",
        "[::ffff:169.254.169.254]:80",
        "[64:ff9b::a9fe:a9fe]:80",
        "[2002:a9fe:a9fe::]:80",
    ] {
        crate::disguise::assert_closed(&mut lab, &mut client, addr(service), "metadata");
    }
}

/// CVE-2021-21382: the status interface of the relay was reached through the relay.
#[test]
fn cve_2021_21382_the_relays_own_services_are_not_its_clients_peers() {
    let mut lab = Lab::new(Config {
        own_addrs: vec![ip("20.1.1.1"), ip("2600:1::1")],
        ..config()
    });
    let mut client = crate::disguise::dual(&mut lab);
    for own in [
        "20.1.1.1:8000",
        "[2600:1::1]:8000",
        "[::ffff:20.1.1.1]:8000",
        "127.0.0.1:8000",
        "[::1]:8000",
        "10.0.0.5:8000",
    ] {
        crate::disguise::assert_closed(&mut lab, &mut client, addr(own), "own");
    }
    // The advertised address itself can be permitted, for the relays there; a service there is not reached.
    assert_eq!(client.permit(&mut lab, &["20.9.9.9:3478"]), 0);
    for port in [22, 80, 3478, 8000] {
        let peer = format!("20.9.9.9:{port}");
        assert_eq!(
            dropped(client.send_to(&mut lab, &peer, b"GET /")),
            DropReason::PeerDenied
        );
    }
}

/// coturn #1869: MESSAGE-INTEGRITY was compared byte by byte, so that time told how many were right.
#[test]
fn coturn_1869_integrity_is_compared_in_constant_time() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let integrity = std::fs::read_to_string(root.join("src/wire/integrity.rs")).unwrap();
    let code = integrity.split("#[cfg(test)]").next().unwrap();
    assert!(
        code.contains("verify_truncated_left") || code.contains("ct_eq"),
        "compared how?"
    );
    // And whatever is wrong about it is one and the same answer.
    let mut lab = Lab::new(config());
    let mut client = Client::new("192.0.2.1:4001");
    client.challenge(&mut lab);
    let request = client.request(Method::ALLOCATE, |builder| {
        builder.attribute(&RequestedTransport::UDP);
    });
    for byte in request.len() - 20..request.len() {
        let mut forged = request.clone();
        forged[byte] ^= 1;
        assert_eq!(client.send(&mut lab, &forged).code(), 401);
    }
    assert_eq!(lab.server.allocations(), 0);
}

/// coturn #1871: the realm, and with it the tenant, was taken from what the integrity did not cover.
#[test]
fn coturn_1871_nothing_behind_the_integrity_changes_the_realm_or_the_user() {
    let mut lab = Lab::new(config());
    let mut client = Client::new("192.0.2.1:4001");
    client.allocate(&mut lab);
    let append = |request: &mut Vec<u8>, kind: u16, value: &[u8]| {
        request.extend_from_slice(&kind.to_be_bytes());
        request.extend_from_slice(&(value.len() as u16).to_be_bytes());
        request.extend_from_slice(value);
        request.resize(request.len().next_multiple_of(4), 0);
        let len = (request.len() - 20) as u16;
        request[2..4].copy_from_slice(&len.to_be_bytes());
    };
    let mut request = client.request(Method::REFRESH, |_| {});
    append(&mut request, 0x0014, b"another realm");
    append(&mut request, 0x0006, b"another user");
    append(&mut request, 0x802F, b"another origin");
    assert_eq!(
        client.send(&mut lab, &request).code(),
        0,
        "what stands behind the seal is not there"
    );
    // In front of it another realm is another realm, with the right key or not.
    let mut elsewhere = client.clone();
    elsewhere.realm = "another realm".to_owned();
    assert_eq!(elsewhere.call(&mut lab, Method::REFRESH, |_| {}).code(), 401);
    assert_eq!(client.refresh(&mut lab, 600).code(), 0);
}

/// coturn #1969: somebody else's session was resumed. Here that is a reservation, and a five-tuple.
#[test]
fn coturn_1969_what_is_resumed_is_the_owners() {
    let mut lab = Lab::new(config());
    let mut owner = Client::with_expiry("192.0.2.1:4001", "ann", Duration::from_secs(3600));
    let token = owner
        .allocate_with(&mut lab, |builder| {
            builder.attribute(&EvenPort { reserve_next: true });
        })
        .token()
        .unwrap();
    let mut thief = Client::with_expiry("192.0.2.2:4001", "eve", Duration::from_secs(3600));
    thief.challenge(&mut lab);
    let stolen = thief.call(&mut lab, Method::ALLOCATE, |builder| {
        builder.attribute(&RequestedTransport::UDP).attribute(&token);
    });
    assert_eq!(stolen.code(), 508);
    // With good credentials of one's own at the owner's very address.
    thief.five_tuple = owner.five_tuple;
    thief.nonce.clone_from(&owner.nonce);
    assert_eq!(thief.refresh(&mut lab, 0).code(), 441);
    assert_eq!(
        thief
            .call(&mut lab, Method::CREATE_PERMISSION, |builder| {
                builder.attribute(&meetpoint::wire::attribute::XorPeerAddress(addr(PEER)));
            })
            .code(),
        441
    );
    assert_eq!(owner.refresh(&mut lab, 600).code(), 0);
}

/// coturn #1844, #1964: lengths near 65,535 overflowed sixteen bits.
#[test]
fn coturn_1844_and_1964_no_length_overflows() {
    let mut lab = Lab::new(config());
    let mut client = Client::new("192.0.2.1:4001");
    client.allocate(&mut lab);
    client.bind(&mut lab, 0x4000, PEER);
    for held in [0_usize, 1, 3, 4, 5, 1400, 65_507, 65_535] {
        for declared in [0_u16, 1, 4, 20, 0x7FFF, 0x8000, 65_531, 65_532, 65_533, 65_534, 65_535] {
            let mut data = [&[0x40, 0x00][..], &declared.to_be_bytes()].concat();
            data.resize(4 + held, 7);
            let handled = lab.client(&client.five_tuple, &data);
            match handled {
                Handled::Forward(forward) => {
                    assert_eq!(forward.payload(), 4..4 + usize::from(declared), "{held} {declared}");
                    assert!(usize::from(declared) <= held);
                }
                Handled::Done(verdict) => {
                    assert_eq!(verdict, Verdict::Dropped(DropReason::Malformed), "{held} {declared}");
                }
            }
            let mut stun = [
                &[0x00, 0x16][..],
                &declared.to_be_bytes(),
                &[0x21, 0x12, 0xA4, 0x42],
                &[5; 12],
            ]
            .concat();
            stun.extend_from_slice(&[0x00, 0x13]);
            stun.extend_from_slice(&declared.to_be_bytes());
            stun.resize(20 + held.max(4), 7);
            let handled = lab.client(&client.five_tuple, &stun);
            assert!(!matches!(handled, Handled::Forward(_)), "{held} {declared}");
            lab.sent.clear();
        }
    }
}

/// coturn #1984: the padding of ChannelData on a stream was what the buffer held before.
#[test]
fn coturn_1984_padding_of_channel_data_is_not_what_was_there_before() {
    let mut lab = Lab::new(config());
    let mut client = Client::new("192.0.2.1:4001");
    client.five_tuple.transport = Transport::Tcp;
    let relayed = client.allocate(&mut lab);
    client.bind(&mut lab, 0x4000, PEER);
    let relay = lab.relay_at(relayed);
    // The core says how many bytes, and never which bytes of a buffer: the driver writes zeros (see `streams`).
    for len in 0..8_usize {
        let data = vec![0xEE; len];
        let (_, frame) = to_client(lab.peer(relay, addr(PEER), &data), &data);
        assert_eq!(frame.len(), 4 + len.next_multiple_of(4));
        // What a client pads with is not sent on.
        let mut sent = channel_data(0x4000, &data);
        sent.resize(sent.len().next_multiple_of(4), 0xEE);
        let handled = lab.client(&client.five_tuple, &sent);
        assert_eq!(crate::relay::forwarded(handled).payload(), 4..4 + len);
    }
}
