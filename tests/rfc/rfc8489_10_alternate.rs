//! RFC 8489 §10, RFC 8656 §7.2 step 11: which new allocations are sent to another server, where to, and how it is said.

use std::sync::Arc;
use std::time::Duration;

use meetpoint::turn::{
    AlternateServer, Config, Limits, ListenAddr, RateLimit, Redirect, RedirectReason, RedirectWhen, Transport,
};
use meetpoint::wire::attribute::{self, AlternateDomain, EvenPort, ReservationToken};
use meetpoint::wire::{AttributeType, Class, Method};

use crate::relay::{Client, Lab, Mode, PEER, addr, config};

const A: &str = "192.0.2.1:4001";

fn server(v4: &str, weight: u16) -> AlternateServer {
    AlternateServer {
        v4: Some(addr(v4)),
        v6: None,
        domain: None,
        weight,
    }
}

fn redirecting(when: RedirectWhen) -> Config {
    Config {
        redirect: Some(Redirect {
            when,
            servers: vec![server("20.8.8.8:3478", 1)],
            secure_servers: vec![AlternateServer {
                domain: Some("turn.example.org".into()),
                ..server("20.8.8.8:5349", 1)
            }],
            arrival_ports: vec![3480],
            ..Redirect::default()
        }),
        ..config()
    }
}

/// A new client of a new user asks: the code, and where it is sent.
fn ask(lab: &mut Lab, port: u16) -> (u16, Option<String>) {
    let mut client = Client::with_expiry(
        &format!("192.0.2.1:{port}"),
        &format!("user{port}"),
        Duration::from_secs(3600),
    );
    let reply = client.allocate_with(lab, |_| {});
    assert!(client.signed(&reply));
    let there = reply.find::<attribute::AlternateServer>();
    (reply.code(), there.map(|there| there.0.to_string()))
}

fn sent_to(server: &str) -> (u16, Option<String>) {
    (300, Some(server.to_owned()))
}

fn redirects(lab: &Lab, reason: RedirectReason) -> u64 {
    lab.server.stats().redirects[reason.index()]
}

#[test]
fn a_draining_server_sends_new_allocations_away_and_keeps_the_living() {
    let mut lab = Lab::new(redirecting(RedirectWhen::Draining));
    let mut living = Client::new(A);
    living.allocate(&mut lab);
    lab.server.reconfigure(Arc::new(Config {
        draining: true,
        ..redirecting(RedirectWhen::Draining)
    }));
    assert_eq!(ask(&mut lab, 4002), sent_to("20.8.8.8:3478"));
    assert_eq!(redirects(&lab, RedirectReason::Draining), 1);
    assert_eq!(living.permit(&mut lab, &[PEER]), 0);
    assert_eq!(living.refresh(&mut lab, 600).code(), 0);
    // Nothing was taken for those who were sent away.
    assert_eq!((lab.ledger.total(), lab.sockets.len()), (1, 1));
}

#[test]
fn only_who_has_shown_credentials_is_told_where_to_go_and_the_answer_is_signed() {
    let mut lab = Lab::new(redirecting(RedirectWhen::Always));
    let mut client = Client::new(A);
    let challenge = client.challenge(&mut lab);
    assert!(!challenge.has(AttributeType::ALTERNATE_SERVER));
    let mut stranger = Client::with(A, &client.username, "wrong");
    assert_eq!(stranger.allocate_with(&mut lab, |_| {}).code(), 401);
    for mode in [Mode::Classic, Mode::Md5, Mode::Sha256] {
        client.mode = mode;
        let reply = client.allocate_with(&mut lab, |_| {});
        assert_eq!(reply.code(), 300);
        assert!(client.signed(&reply), "{mode:?}");
    }
    // Only Allocate is redirected.
    let binding = client.bare(Method::BINDING, Class::Request, |_| {});
    assert_eq!(client.send(&mut lab, &binding).code(), 0);
    assert_eq!(client.refresh(&mut lab, 600).code(), 437);
}

#[test]
fn a_server_with_room_keeps_its_clients_unless_it_is_told_to_send_all_away() {
    for (when, code) in [
        (RedirectWhen::Draining, 0),
        (RedirectWhen::Full, 0),
        (RedirectWhen::Always, 300),
    ] {
        let mut lab = Lab::new(redirecting(when));
        assert_eq!(ask(&mut lab, 4001).0, code, "{when:?}");
    }
}

#[test]
fn from_its_share_of_the_allocations_on_a_server_sends_new_ones_away_until_there_is_room() {
    let mut few = redirecting(RedirectWhen::Full);
    few.limits = Limits {
        allocations: 10,
        ..Limits::default()
    };
    few.redirect.as_mut().unwrap().above_percent = 30;
    let mut lab = Lab::new(few.clone());
    let mut first = Client::new(A);
    first.allocate(&mut lab);
    assert_eq!((ask(&mut lab, 4002).0, ask(&mut lab, 4003).0), (0, 0));
    assert_eq!(ask(&mut lab, 4004), sent_to("20.8.8.8:3478"));
    assert_eq!(redirects(&lab, RedirectReason::Allocations), 1);
    first.refresh(&mut lab, 0);
    assert_eq!(ask(&mut lab, 4004).0, 0);
    // A server that is told to do so at its end alone fills up to the last place.
    few.redirect.as_mut().unwrap().when = RedirectWhen::Draining;
    lab.server.reconfigure(Arc::new(few));
    for port in 5001..=5007 {
        assert_eq!(ask(&mut lab, port).0, 0);
    }
    assert_eq!(ask(&mut lab, 5008), (508, None));
}

#[test]
fn relaying_more_than_the_share_for_a_while_sends_new_allocations_away_and_a_moment_of_it_does_not() {
    let mut limited = redirecting(RedirectWhen::Full);
    limited.limits.total_rate = RateLimit {
        bytes_per_second: 100_000,
        ..RateLimit::NONE
    };
    let mut lab = Lab::new(limited);
    let mut busy = Client::new(A);
    busy.allocate(&mut lab);
    busy.permit(&mut lab, &[PEER]);
    // At half of the limit for five seconds, and once with all that may pass at once.
    for _ in 0..50 {
        busy.send_to(&mut lab, PEER, &[0; 1000]);
        busy.send_to(&mut lab, PEER, &[0; 1000]);
        busy.send_to(&mut lab, PEER, &[0; 1000]);
        busy.send_to(&mut lab, PEER, &[0; 1000]);
        busy.send_to(&mut lab, PEER, &[0; 1000]);
        lab.advance(Duration::from_millis(100));
    }
    assert_eq!(ask(&mut lab, 4002).0, 0);
    // At all that passes.
    for _ in 0..500 {
        busy.send_to(&mut lab, PEER, &[0; 1200]);
        lab.advance(Duration::from_millis(10));
    }
    assert_eq!(ask(&mut lab, 4003), sent_to("20.8.8.8:3478"));
    assert_eq!(redirects(&lab, RedirectReason::Rate), 1);
    lab.advance(Duration::from_secs(1));
    assert_eq!(ask(&mut lab, 4004).0, 0);
}

#[test]
fn who_was_sent_here_is_never_sent_on() {
    for when in [RedirectWhen::Full, RedirectWhen::Always] {
        let mut crowded = redirecting(when);
        crowded.limits.allocations = 2;
        crowded.redirect.as_mut().unwrap().above_percent = 1;
        let mut lab = Lab::new(crowded.clone());
        let arrive = |lab: &mut Lab, port: u16| {
            let mut client = Client::new(&format!("192.0.2.1:{port}"));
            client.five_tuple.server = ListenAddr(addr("20.9.9.9:3480"));
            client.allocate_with(lab, |_| {}).code()
        };
        assert_eq!(arrive(&mut lab, 4001), 0);
        assert_eq!(ask(&mut lab, 4002).0, 300);
        assert_eq!(arrive(&mut lab, 4003), 0);
        // Full is full, and the client's other servers are the client's business.
        assert_eq!(arrive(&mut lab, 4004), 508);
        lab.server.reconfigure(Arc::new(Config {
            draining: true,
            ..crowded
        }));
        assert_eq!(arrive(&mut lab, 4005), 508);
    }
}

#[test]
fn servers_take_turns_by_their_weight_and_those_without_an_address_of_the_family_have_none() {
    let mut weighted = redirecting(RedirectWhen::Always);
    weighted.redirect.as_mut().unwrap().servers = vec![
        server("20.8.8.1:3478", 3),
        server("20.8.8.2:3478", 2),
        server("20.8.8.3:3478", 0),
        server("20.8.8.4:3478", 1),
        AlternateServer {
            v4: None,
            v6: Some(addr("[2600:8::8]:3478")),
            domain: None,
            weight: 9,
        },
    ];
    let mut lab = Lab::new(weighted);
    let told: Vec<_> = (0..42).filter_map(|n| ask(&mut lab, 4001 + n).1).collect();
    let times = |address: &str| told.iter().filter(|there| *there == address).count();
    let shares = [1, 2, 3, 4].map(|n| times(&format!("20.8.8.{n}:3478")));
    assert_eq!((shares, told.len()), ([21, 14, 0, 7], 42));
    let reply = Client::new("[2001:db8::7]:1").allocate_with(&mut lab, |_| {});
    let there = reply.find::<attribute::AlternateServer>().unwrap().0;
    assert_eq!(there, addr("[2600:8::8]:3478"));
}

#[test]
fn a_client_of_a_family_that_no_server_has_is_served_here() {
    let mut lab = Lab::new(redirecting(RedirectWhen::Always));
    assert_eq!(Client::new("[2001:db8::7]:1").allocate_with(&mut lab, |_| {}).code(), 0);
}

#[test]
fn the_other_server_is_reached_by_the_same_transport() {
    let mut lab = Lab::new(redirecting(RedirectWhen::Always));
    for (transport, there) in [
        (Transport::Udp, Some("20.8.8.8:3478")),
        (Transport::Tcp, Some("20.8.8.8:3478")),
        (Transport::Tls, Some("20.8.8.8:5349")),
        (Transport::Dtls, Some("20.8.8.8:5349")),
        // An address does not say which URL to open.
        (Transport::WebSocket, None),
    ] {
        let mut client = Client::new(A);
        client.five_tuple.transport = transport;
        let reply = client.allocate_with(&mut lab, |_| {});
        assert_eq!(reply.code(), if there.is_some() { 300 } else { 0 }, "{transport:?}");
        assert_eq!(
            reply.find::<attribute::AlternateServer>().map(|at| at.0),
            there.map(addr)
        );
    }
}

#[test]
fn the_name_of_the_certificate_is_told_over_tls_to_who_signs_with_sha256() {
    let mut lab = Lab::new(redirecting(RedirectWhen::Always));
    for (transport, mode, is_told) in [
        (Transport::Tls, Mode::Sha256, true),
        (Transport::Dtls, Mode::Md5, true),
        (Transport::Tls, Mode::Classic, false),
        (Transport::Tcp, Mode::Sha256, false),
        (Transport::Udp, Mode::Sha256, false),
    ] {
        let mut client = Client::new(A);
        client.five_tuple.transport = transport;
        client.mode = mode;
        let reply = client.allocate_with(&mut lab, |_| {});
        assert_eq!(reply.code(), 300);
        let domain = reply.find::<AlternateDomain<'_>>();
        let expected = is_told.then_some(AlternateDomain(b"turn.example.org"));
        assert_eq!(domain, expected, "{transport:?} {mode:?}");
    }
}

#[test]
fn a_reservation_is_honoured_where_it_was_made() {
    let mut lab = Lab::new(redirecting(RedirectWhen::Draining));
    let mut client = Client::new(A);
    let reply = client.allocate_with(&mut lab, |builder| {
        builder.attribute(&EvenPort { reserve_next: true });
    });
    let token = reply.token().unwrap();
    lab.server.reconfigure(Arc::new(redirecting(RedirectWhen::Always)));
    let mut second = Client::new("192.0.2.1:4002");
    second.username.clone_from(&client.username);
    second.password.clone_from(&client.password);
    let reply = second.allocate_with(&mut lab, |builder| {
        builder.attribute(&ReservationToken(token.0));
    });
    assert_eq!(reply.code(), 0);
}

#[test]
fn a_draining_server_with_nowhere_to_send_to_refuses() {
    let mut lab = Lab::new(Config {
        draining: true,
        ..config()
    });
    assert_eq!(ask(&mut lab, 4001), (508, None));
}
