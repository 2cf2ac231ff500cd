//! What the core tells about allocations: one event for what happens once, one a second for what repeats, bounds on all of it.

use std::time::Duration;

use meetpoint::turn::{
    Asked, AuthFailure, CloseReason, Config, Direction, Event, EventKind, Family, Filter, Limit, Limits, Output,
    PeerClass, QuotaKind, RateKind, RateLimit, Revoked, Traffic, What,
};
use meetpoint::wire::attribute::AdditionalAddressFamily;

use crate::relay::{BEGIN, Client, Lab, PEER, addr, config, five_tuple};

const A: &str = "192.0.2.1:4001";
const B: &str = "192.0.2.2:4002";
const SECOND: Duration = Duration::from_secs(1);
const CLOSED_PEER: &str = "10.0.0.1:7000";

fn taken(lab: &mut Lab) -> Vec<Event> {
    std::mem::take(&mut lab.events)
}

/// The events once whatever is folded has come out.
fn settled(lab: &mut Lab) -> Vec<Event> {
    lab.advance(SECOND);
    taken(lab)
}

fn kinds(events: &[Event]) -> Vec<EventKind> {
    events.iter().map(|event| event.what.kind()).collect()
}

fn only(events: Vec<Event>) -> Event {
    assert_eq!(events.len(), 1, "{events:?}");
    events.into_iter().next().unwrap()
}

#[test]
fn an_allocation_is_told_of_when_it_comes_is_refreshed_and_goes() {
    let mut lab = Lab::new(config());
    let mut client = Client::new(A);
    let relayed = client.allocate(&mut lab);
    let created = only(taken(&mut lab));
    assert_eq!(created.at, BEGIN);
    assert_eq!(created.what, What::Created { lifetime: 600 * SECOND });
    let about = created.about.clone();
    assert_eq!(about.username.as_deref(), Some(client.username.as_str()));
    assert_eq!((about.user.as_deref(), &*about.realm), (Some("bob"), "default"));
    assert_eq!(
        (about.client, about.listen),
        (client.five_tuple.client, client.five_tuple.server)
    );
    assert_eq!(about.relayed.map(|leg| leg.map(|leg| leg.0)), [Some(relayed), None]);
    let listed = lab.server.page(lab.now, &Filter::default(), 0, 9).allocations;
    assert_eq!(
        about.allocation,
        Some(listed[0].id),
        "the name that the admin API has for it"
    );

    lab.advance(100 * SECOND);
    assert_eq!(client.refresh(&mut lab, 900).code(), 0);
    let refreshed = only(taken(&mut lab));
    assert_eq!(
        (refreshed.at.0, refreshed.what),
        (BEGIN.0 + 100, What::Refreshed { lifetime: 900 * SECOND })
    );
    assert_eq!(refreshed.about, about);

    lab.advance(900 * SECOND);
    let closed = only(taken(&mut lab));
    assert_eq!(closed.about, about);
    assert_eq!(
        closed.what,
        What::Closed {
            reason: CloseReason::Expired,
            lived: 1000 * SECOND,
            to_peer: Traffic::default(),
            to_client: Traffic::default(),
        }
    );
}

#[test]
fn an_end_says_why_and_what_was_relayed_each_way() {
    type End = fn(&mut Lab, &mut Client);
    let ends: [(CloseReason, End); 5] = [
        (CloseReason::Deleted, |lab, client| {
            assert_eq!(client.refresh(lab, 0).code(), 0)
        }),
        (CloseReason::Expired, |lab, _| lab.advance(600 * SECOND)),
        (CloseReason::ClientGone, |lab, client| lab.gone(&client.five_tuple)),
        (CloseReason::Operator, |lab, _| {
            assert_eq!(lab.server.end_fitting(lab.now, &Filter::default(), 0).0, 1);
            lab.drain();
        }),
        (CloseReason::Shutdown, |lab, _| {
            lab.server.end_all(lab.now);
            lab.drain();
        }),
    ];
    for (why, end) in ends {
        let mut lab = Lab::new(config());
        let mut client = Client::new(A);
        let relayed = client.allocate(&mut lab);
        assert_eq!(client.bind(&mut lab, 0x4000, PEER), 0);
        for _ in 0..3 {
            client.send_on(&mut lab, 0x4000, b"to the peer");
        }
        client.send_to(&mut lab, PEER, b"once more");
        // Stopped: no permission, so not relayed.
        client.send_to(&mut lab, "20.0.0.7:1", b"to nobody");
        let relay = lab.relay_at(relayed);
        for _ in 0..2 {
            lab.peer(relay, addr(PEER), b"to the client");
        }
        end(&mut lab, &mut client);
        let events = taken(&mut lab);
        assert_eq!(kinds(&events), [EventKind::Created, EventKind::Closed], "{why:?}");
        let What::Closed {
            reason,
            to_peer,
            to_client,
            ..
        } = events[1].what
        else {
            panic!("{events:?}")
        };
        assert_eq!(reason, why);
        assert_eq!((to_peer.packets, to_peer.bytes), (4, 3 * 11 + 9));
        assert_eq!((to_client.packets, to_client.bytes), (2, 2 * 13));
        let total = lab.server.stats().traffic;
        let udp = |way: Direction| total[way.index()][0];
        assert_eq!(
            (udp(Direction::ClientToPeer), udp(Direction::PeerToClient)),
            (to_peer, to_client)
        );
        lab.assert_empty();
    }
}

#[test]
fn a_dual_allocation_is_one_allocation_and_ends_once() {
    let mut lab = Lab::new(config());
    let mut client = Client::new(A);
    client.allocate_with(&mut lab, |builder| {
        builder.attribute(&AdditionalAddressFamily(2));
    });
    lab.advance(600 * SECOND);
    let events = taken(&mut lab);
    assert_eq!(kinds(&events), [EventKind::Created, EventKind::Closed]);
    let relayed = events[0].about.relayed;
    assert!(relayed[Family::V4.index()].is_some() && relayed[Family::V6.index()].is_some());
}

#[test]
fn an_allocation_that_follows_its_client_says_from_where_and_once() {
    let mut lab = Lab::new(crate::rfc8016_mobility::mobile());
    let mut client = Client::new(A);
    let (_, ticket) = crate::rfc8016_mobility::allocate(&mut lab, &mut client);
    let old = client.five_tuple;
    taken(&mut lab);
    client.five_tuple = five_tuple(B);
    assert_eq!(
        crate::rfc8016_mobility::resume(&mut lab, &mut client, &ticket).code(),
        0
    );
    assert_eq!(
        kinds(&taken(&mut lab)),
        [EventKind::Refreshed],
        "asked for, not used yet"
    );
    client.send_on(&mut lab, 0x4000, b"from the new path");
    client.send_on(&mut lab, 0x4000, b"again");
    let moved = only(taken(&mut lab));
    assert_eq!(
        (moved.what, moved.about.client),
        (What::Moved { from: old.client }, client.five_tuple.client)
    );
    assert_eq!(client.refresh(&mut lab, 0).code(), 0);
    assert_eq!(only(taken(&mut lab)).about.client, client.five_tuple.client);
}

#[test]
fn refusals_of_peers_are_one_event_a_second_with_their_number() {
    let mut lab = Lab::new(config());
    let mut client = Client::new(A);
    client.allocate(&mut lab);
    taken(&mut lab);
    for _ in 0..5 {
        assert_eq!(client.permit(&mut lab, &[CLOSED_PEER]), 403);
    }
    assert_eq!(client.bind(&mut lab, 0x4000, "10.0.0.2:1"), 403);
    assert_eq!(client.permit(&mut lab, &["127.0.0.1:1"]), 403);
    // Permitted by address, refused by port, thousands of times.
    assert_eq!(client.permit(&mut lab, &[PEER]), 0);
    for _ in 0..5000 {
        client.send_to(&mut lab, "20.0.0.1:0", b"x");
    }
    assert!(lab.events.is_empty(), "{:?}", lab.events);
    let events = settled(&mut lab);
    let denied = |class, asked, peer: &str, count| What::Denied {
        class,
        asked,
        peer: peer.parse().unwrap(),
        count,
    };
    assert_eq!(
        events.iter().map(|event| event.what).collect::<Vec<_>>(),
        [
            denied(PeerClass::Private, Asked::CreatePermission, "10.0.0.1", 6),
            denied(PeerClass::Loopback, Asked::CreatePermission, "127.0.0.1", 1),
            denied(PeerClass::PortZero, Asked::Send, "20.0.0.1", 5000),
        ]
    );
    assert!(events.iter().all(|event| event.about.allocation.is_some()));
    // The next second is another event.
    assert_eq!(client.permit(&mut lab, &[CLOSED_PEER]), 403);
    assert_eq!(only(settled(&mut lab)).what.count(), 1);
    assert!(settled(&mut lab).is_empty(), "nothing is told twice");
}

#[test]
fn what_was_folded_comes_before_the_end_of_its_allocation() {
    let mut lab = Lab::new(config());
    let mut client = Client::new(A);
    client.allocate(&mut lab);
    assert_eq!(client.permit(&mut lab, &[CLOSED_PEER]), 403);
    assert_eq!(client.refresh(&mut lab, 0).code(), 0);
    let events = taken(&mut lab);
    assert_eq!(
        kinds(&events),
        [EventKind::Created, EventKind::Denied, EventKind::Closed]
    );
    assert!(settled(&mut lab).is_empty());
}

#[test]
fn bounds_that_are_reached_are_told_of() {
    let limits = Limits {
        allocations_per_user: 1,
        permissions_per_allocation: 1,
        channels_per_allocation: 1,
        allocation_rate: RateLimit {
            packets_per_second: 10,
            ..RateLimit::NONE
        },
        ..Limits::default()
    };
    let mut lab = Lab::new(Config { limits, ..config() });
    let mut client = Client::new(A);
    client.allocate(&mut lab);
    taken(&mut lab);
    assert_eq!(client.bind(&mut lab, 0x4000, PEER), 0);
    assert_eq!(client.bind(&mut lab, 0x4001, "20.0.0.1:7001"), 508);
    assert_eq!(client.permit(&mut lab, &["20.0.0.2:0"]), 508);
    for _ in 0..50 {
        client.send_on(&mut lab, 0x4000, b"x");
    }
    let mut second = Client::new(B);
    for _ in 0..3 {
        assert_eq!(second.allocate_with(&mut lab, |_| {}).code(), 486);
    }
    let told: Vec<_> = settled(&mut lab)
        .into_iter()
        .map(|event| match event.what {
            What::Limited { limit, count } => (limit, count, event.about.allocation.is_some(), event.about.client),
            other => panic!("{other:?}"),
        })
        .collect();
    let (a, b) = (client.five_tuple.client, second.five_tuple.client);
    assert_eq!(
        told,
        [
            (Limit::Quota(QuotaKind::Channels), 1, true, a),
            (Limit::Quota(QuotaKind::Permissions), 1, true, a),
            (
                Limit::Rate(RateKind::AllocationPackets, Direction::ClientToPeer),
                49,
                true,
                a
            ),
            (Limit::Quota(QuotaKind::User), 3, false, b),
        ]
    );
    assert_eq!(
        lab.server.stats().over_rate[0][RateKind::AllocationPackets.index()],
        49,
        "none is lost in the folding"
    );
}

#[test]
fn only_who_is_where_he_says_makes_an_event_of_a_failed_authentication() {
    let mut lab = Lab::new(config());
    // Nobody has shown that these come from where they say: a firewall must not be made to close that address.
    let mut forged = Client::new(A);
    forged.challenge(&mut lab);
    forged.nonce = "not one of ours".to_owned();
    assert_eq!(forged.allocate_with(&mut lab, |_| {}).code(), 438);
    assert!(settled(&mut lab).is_empty());

    let mut guesser = Client::new(A);
    guesser.password = "guess".to_owned();
    for _ in 0..10 {
        assert_eq!(guesser.allocate_with(&mut lab, |_| {}).code(), 401);
    }
    let mut late = Client::with_expiry(B, "eve", SECOND);
    lab.sleep(2 * SECOND);
    assert_eq!(late.allocate_with(&mut lab, |_| {}).code(), 401);
    let mut out = Client::new(B);
    let revocations = config().revocations;
    lab.server.reconfigure(std::sync::Arc::new(Config {
        revocations: revocations.clone(),
        ..config()
    }));
    revocations
        .insert(
            lab.now.unix,
            Revoked::User("bob".into()),
            meetpoint::credentials::UnixTime(BEGIN.0 + 99),
        )
        .unwrap();
    assert_eq!(out.allocate_with(&mut lab, |_| {}).code(), 403);
    let told: Vec<_> = settled(&mut lab)
        .into_iter()
        .map(|event| match event.what {
            What::AuthFailed { reason, count } => (reason, count, event.about.username.is_some()),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(
        told,
        [
            (AuthFailure::WrongPassword, 10, false),
            (AuthFailure::Expired, 1, false),
            (AuthFailure::Revoked, 1, true),
        ]
    );
}

#[test]
fn those_without_an_allocation_fill_half_of_the_table_and_not_the_rest() {
    let limits = Limits {
        unauthenticated_per_second: 0,
        ..Limits::default()
    };
    let mut lab = Lab::new(Config { limits, ..config() });
    let mut honest = Client::new("198.51.100.1:1");
    honest.allocate(&mut lab);
    taken(&mut lab);
    for source in 0..600 {
        let mut guesser = Client::new(&format!("192.0.{}.{}:4000", source / 200, source % 200));
        guesser.password = "guess".to_owned();
        assert_eq!(guesser.allocate_with(&mut lab, |_| {}).code(), 401);
    }
    assert_eq!(honest.permit(&mut lab, &[CLOSED_PEER]), 403);
    let events = settled(&mut lab);
    assert_eq!(events.len(), 512 + 1);
    assert_eq!(events[512].what.kind(), EventKind::Denied);
    assert_eq!(lab.server.stats().events_dropped, 600 - 512);
}

#[test]
fn a_driver_that_does_not_drain_loses_events_and_not_memory() {
    let limits = Limits {
        allocations: 2,
        ..Limits::default()
    };
    let mut lab = Lab::new(Config { limits, ..config() });
    let mut client = Client::new(A);
    // Without `Lab::drain`, which takes events.
    let call = |lab: &mut Lab, client: &Client, request: Vec<u8>| {
        lab.server.handle_client(lab.now, &client.five_tuple, &request);
        let mut bind = None;
        while let Some(output) = lab.server.poll_output() {
            if let Output::BindRelay { relay, at, .. } = output {
                bind = Some((relay, at));
            }
        }
        if let Some((relay, at)) = bind {
            lab.server.handle_relay_bound(lab.now, relay, Ok(at));
            while lab.server.poll_output().is_some() {}
        }
    };
    client.challenge(&mut lab);
    for _ in 0..600 {
        let allocate = client.request(meetpoint::wire::Method::ALLOCATE, |builder| {
            builder.attribute(&meetpoint::wire::attribute::RequestedTransport::UDP);
        });
        call(&mut lab, &client, allocate);
        let delete = client.request(meetpoint::wire::Method::REFRESH, |builder| {
            builder.attribute(&meetpoint::wire::attribute::Lifetime(0));
        });
        call(&mut lab, &client, delete);
    }
    assert_eq!(lab.server.stats().allocations_created, 600);
    lab.drain();
    // The bound: every allocation's end, and every fold.
    assert_eq!(lab.events.len(), 2 + 1024);
    assert_eq!(lab.server.stats().events_dropped, 1200 - 1026);
}

#[test]
fn nothing_is_noted_for_nobody() {
    let mut lab = Lab::new(Config {
        events: false,
        ..config()
    });
    let mut client = Client::new(A);
    client.allocate(&mut lab);
    assert_eq!(client.permit(&mut lab, &[CLOSED_PEER]), 403);
    assert_eq!(client.refresh(&mut lab, 0).code(), 0);
    assert!(settled(&mut lab).is_empty());
    assert_eq!(
        lab.server.stats().denied_peers[PeerClass::Private.index()],
        1,
        "it is counted all the same"
    );
}
