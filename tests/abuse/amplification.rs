//! What comes back for what is sent, when the source may be forged.
//!
//! The requests are those that real clients were seen to send first, by their length: Chromium 148 and aioice 0.10 ask for their
//! address with a bare header, as `turnutils_stunclient` does; a first Allocate is 28 bytes of Chromium, 36 of aioice, 52 of
//! `turnutils_uclient`.

use std::time::Duration;

use meetpoint::turn::{Config, DropReason, Limits, Verdict};
use meetpoint::wire::attribute::{Lifetime, RequestedTransport};
use meetpoint::wire::{AttributeType, Class, MessageBuilder, Method};

use crate::relay::{Client, Lab, config};

const V4: &str = "192.0.2.1:4001";
const V6: &str = "[2600::1]:4001";

/// Headers of IP and UDP, which a victim's line carries as well.
fn around(client: &Client) -> usize {
    if client.five_tuple.client.0.is_ipv4() {
        20 + 8
    } else {
        40 + 8
    }
}

/// Bytes in and out, without and with the headers around them.
fn exchange(from: &str, method: Method, fill: impl FnOnce(&mut MessageBuilder<'_>)) -> ([usize; 2], [usize; 2]) {
    let mut lab = Lab::new(config());
    let mut client = Client::new(from);
    let request = client.bare(method, Class::Request, fill);
    let answer = client.send(&mut lab, &request).bytes;
    let wire = around(&client);
    (
        [request.len(), answer.len()],
        [request.len() + wire, answer.len() + wire],
    )
}

#[test]
fn abuse_a_binding_over_ipv4_gives_back_less_than_twice_what_it_costs() {
    let (bytes, wire) = exchange(V4, Method::BINDING, |_| {});
    assert_eq!((bytes, wire), ([20, 32], [48, 60]));
    // With a FINGERPRINT, as agents send between themselves, the answer has one too.
    let mut lab = Lab::new(config());
    let mut client = Client::new(V4);
    client.fingerprint = true;
    let request = client.bare(Method::BINDING, Class::Request, |_| {});
    assert_eq!((request.len(), client.send(&mut lab, &request).bytes.len()), (28, 40));
}

/// XOR-MAPPED-ADDRESS of IPv6 is 24 bytes and RFC 8489 §6.3.1 leaves no choice: 44 bytes for a bare header, 2.2 times its 20.
/// On the line it is 1.35 times, because the headers of IPv6 are long as well; a victim gets no more than its share a second.
#[test]
fn abuse_a_binding_over_ipv6_is_less_than_twice_on_the_line() {
    let (bytes, [to, back]) = exchange(V6, Method::BINDING, |_| {});
    assert_eq!(bytes, [20, 44]);
    assert!(back * 100 < to * 136, "{back} for {to}");
}

#[test]
fn abuse_a_401_is_no_more_than_three_times_what_any_real_client_asks_with() {
    type Fill = fn(&mut MessageBuilder<'_>);
    let chromium: Fill = |builder| {
        builder.attribute(&RequestedTransport::UDP);
    };
    let aioice: Fill = |builder| {
        builder.attribute(&Lifetime(600)).attribute(&RequestedTransport::UDP);
    };
    let uclient: Fill = |builder| {
        builder
            .attribute(&RequestedTransport::UDP)
            .attribute(&Lifetime(777))
            .raw_attribute(AttributeType::EVEN_PORT, &[0])
            .fingerprint();
    };
    for from in [V4, V6] {
        for (fill, len) in [(chromium, 28), (aioice, 36), (uclient, 52)] {
            let ([asked, answered], [to, back]) = exchange(from, Method::ALLOCATE, fill);
            assert_eq!(asked, len);
            assert!(answered <= 3 * asked, "{answered} for {asked}");
            assert!(back <= 2 * to, "{back} for {to} on the line");
        }
    }
}

/// Every answer that needs no credentials, from a request as short as it can be made.
#[test]
fn abuse_no_answer_without_credentials_is_longer_than_the_challenge() {
    let mut lab = Lab::new(Config {
        software: Some("a long name of a software that nobody shall be told for nothing".to_owned()),
        ..config()
    });
    let mut client = Client::new(V4);
    for method in (0..=0x00F)
        .chain([0x7FF, 0xFFF])
        .map(|value| Method::new(value).unwrap())
    {
        for unknown in 0..=20_u16 {
            let request = client.bare(method, Class::Request, |builder| {
                for n in 0..unknown {
                    builder.raw_attribute(AttributeType(0x7000 + n), &[]);
                }
            });
            lab.client(&client.five_tuple, &request);
            for (_, answer) in lab.sent.drain(..) {
                assert!(
                    answer.len() <= 84.max(request.len() + 24),
                    "{} for {}",
                    answer.len(),
                    request.len()
                );
            }
        }
        lab.advance(Duration::from_secs(1));
    }
}

/// What one address can be made to get in a second, whatever it is asked: Binding, challenges, refusals, all of one budget.
#[test]
fn abuse_a_victim_gets_its_share_of_answers_and_no_more_whatever_is_asked_in_its_name() {
    for (from, other) in [(V4, "192.0.2.2:1"), (V6, "[2600:0:0:1::1]:1")] {
        let limits = Limits {
            unauthenticated_per_second: 50,
            ..Limits::default()
        };
        let mut lab = Lab::new(Config { limits, ..config() });
        let mut answered = 0;
        for n in 0..1000_u32 {
            // Of IPv6 every address of one prefix is the same victim.
            let port = 1000 + n;
            let from = if from == V4 {
                format!("192.0.2.1:{port}")
            } else {
                format!("[2600::{n:x}]:{port}")
            };
            let mut client = Client::new(&from);
            let method = [
                Method::BINDING,
                Method::ALLOCATE,
                Method::REFRESH,
                Method::CONNECT,
                Method::CREATE_PERMISSION,
            ][n as usize % 5];
            let request = client.bare(method, Class::Request, |_| {});
            match lab.client(&client.five_tuple, &request).verdict() {
                Verdict::Answered(_) => answered += 1,
                verdict => assert_eq!(verdict, Verdict::Dropped(DropReason::RateLimited)),
            }
        }
        assert_eq!(answered, 50);
        assert_eq!(lab.server.stats().dropped[DropReason::RateLimited.index()], 950);
        assert_eq!(lab.sent.len(), 50);
        // The neighbour has a share of its own.
        let mut neighbour = Client::new(other);
        lab.sent.clear();
        let request = neighbour.bare(Method::BINDING, Class::Request, |_| {});
        assert_eq!(neighbour.send(&mut lab, &request).code(), 0);
    }
}
