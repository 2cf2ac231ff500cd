//! RFC 8016 §3: an allocation that follows its client to another 5-tuple.

use std::net::SocketAddr;
use std::time::Duration;

use meetpoint::turn::{
    Answer, AuthFailure, ClientAddr, CloseReason, Config, DropReason, FiveTuple, Handled, Ledger, Limits, MoveEnd,
    QuotaKind, Reservations, Shard, Transport, Verdict,
};
use meetpoint::wire::attribute::{Lifetime, MobilityTicket};
use meetpoint::wire::{AttributeType, Method};

use crate::relay::{Client, Lab, PEER, Reply, addr, config, five_tuple, forwarded, to_client, to_peer};

pub(crate) const A: &str = "192.0.2.1:4001";
pub(crate) const B: &str = "198.51.100.7:5002";
const C: &str = "203.0.113.9:6003";
const MOVE: Duration = Duration::from_secs(30);
const NANO: Duration = Duration::from_nanos(1);

pub(crate) fn mobile() -> Config {
    Config {
        mobility: true,
        ..config()
    }
}

pub(crate) fn ticket(reply: &Reply) -> Vec<u8> {
    assert_eq!(reply.code(), 0);
    reply.find::<MobilityTicket<'_>>().expect("MOBILITY-TICKET").0.to_vec()
}

/// A relay with randomness of its own. Its first allocation has the place and generation of the first one elsewhere.
pub(crate) fn another_process() -> Lab {
    let shard = Shard { index: 4, count: 5 };
    Lab::shard(mobile(), shard, Ledger::new(), Reservations::new())
}

/// Allocates with mobility, binds channel 0x4000 to [`PEER`]: the relayed address and the ticket.
pub(crate) fn allocate(lab: &mut Lab, client: &mut Client) -> (SocketAddr, Vec<u8>) {
    let reply = client.allocate_with(lab, |builder| {
        builder.attribute(&MobilityTicket(&[]));
    });
    assert!(client.signed(&reply));
    let ticket = ticket(&reply);
    assert_eq!(client.bind(lab, 0x4000, PEER), 0);
    (reply.relayed(), ticket)
}

/// Asks with a ticket from wherever the client is: a nonce for its new address first.
pub(crate) fn resume(lab: &mut Lab, client: &mut Client, ticket: &[u8]) -> Reply {
    client.challenge(lab);
    client.call(lab, Method::REFRESH, |builder| {
        builder.attribute(&Lifetime(600)).attribute(&MobilityTicket(ticket));
    })
}

/// Where a packet of the peer ends up.
fn from_peer(lab: &mut Lab, relayed: SocketAddr) -> FiveTuple {
    let relay = lab.relay_at(relayed);
    let handled = lab.peer(relay, addr(PEER), b"data");
    to_client(handled, b"data").0
}

fn ended(lab: &Lab, end: MoveEnd) -> u64 {
    lab.server.stats().moves_ended[end.index()]
}

// §3.1.2: receiving an Allocate request.

#[test]
fn an_empty_ticket_asks_for_one_and_the_answer_carries_it() {
    let mut lab = Lab::new(mobile());
    let mut client = Client::new(A);
    let (_, ticket) = allocate(&mut lab, &mut client);
    assert_eq!(ticket.len(), 32);
    let mut other = Client::new(B);
    assert_ne!(allocate(&mut lab, &mut other).1, ticket);
}

#[test]
fn who_does_not_ask_gets_no_ticket() {
    let mut lab = Lab::new(mobile());
    let mut client = Client::new(A);
    let reply = client.allocate_with(&mut lab, |_| {});
    assert!(!reply.has(AttributeType::MOBILITY_TICKET));
    let reply = client.refresh(&mut lab, 600);
    assert!(!reply.has(AttributeType::MOBILITY_TICKET));
}

#[test]
fn a_ticket_in_an_allocate_request_is_400() {
    let mut lab = Lab::new(mobile());
    let mut client = Client::new(A);
    let reply = client.allocate_with(&mut lab, |builder| {
        builder.attribute(&MobilityTicket(b"x"));
    });
    assert_eq!(reply.code(), 400);
    assert!(client.signed(&reply));
    lab.assert_empty();
}

#[test]
fn without_mobility_to_ask_for_it_is_405_and_to_do_without_is_not() {
    let mut lab = Lab::new(config());
    let mut client = Client::new(A);
    let reply = client.allocate_with(&mut lab, |builder| {
        builder.attribute(&MobilityTicket(&[]));
    });
    assert_eq!(reply.code(), 405);
    assert!(client.signed(&reply));
    lab.assert_empty();
    client.allocate(&mut lab);
}

#[test]
fn a_retransmitted_allocate_gets_the_same_ticket() {
    let mut lab = Lab::new(mobile());
    let mut client = Client::new(A);
    client.challenge(&mut lab);
    let request = client.request(Method::ALLOCATE, |builder| {
        builder
            .raw_attribute(AttributeType::REQUESTED_TRANSPORT, &[17, 0, 0, 0])
            .attribute(&MobilityTicket(&[]));
    });
    let first = client.send(&mut lab, &request);
    assert_eq!(client.send(&mut lab, &request), first);
}

// §3.2.2: receiving a Refresh request.

#[test]
fn a_client_that_moves_keeps_relay_permission_channel_and_what_is_left_of_their_time() {
    let mut lab = Lab::new(mobile());
    let mut client = Client::new(A);
    let (relayed, old_ticket) = allocate(&mut lab, &mut client);
    lab.advance(Duration::from_secs(299));
    client.five_tuple = five_tuple(B);
    let reply = resume(&mut lab, &mut client, &old_ticket);
    assert!(client.signed(&reply));
    assert_eq!(reply.lifetime(), 600);
    assert_ne!(ticket(&reply), old_ticket);
    assert_eq!(to_peer(client.send_on(&mut lab, 0x4000, b"hi")), addr(PEER));
    assert_eq!(from_peer(&mut lab, relayed).client, ClientAddr(addr(B)));
    let stats = lab.server.stats();
    assert_eq!((stats.permissions_active, stats.channels_active), (1, 1));
    // The permission was made with the channel: it has a second left, the channel 301.
    lab.advance(Duration::from_secs(1));
    assert_eq!(lab.server.stats().permissions_active, 0);
    assert_eq!(to_peer(client.send_on(&mut lab, 0x4000, b"hi")), addr(PEER));
    lab.advance(Duration::from_secs(599));
    lab.assert_empty();
}

#[test]
fn until_the_client_is_heard_on_the_new_path_both_take_and_the_old_one_gets() {
    let mut lab = Lab::new(mobile());
    let mut client = Client::new(A);
    let (relayed, ticket) = allocate(&mut lab, &mut client);
    let old = client.clone();
    client.five_tuple = five_tuple(B);
    resume(&mut lab, &mut client, &ticket);
    assert_eq!(lab.server.paths(), 2);
    assert_eq!(from_peer(&mut lab, relayed).client, ClientAddr(addr(A)));
    let mut old = old;
    assert_eq!(to_peer(old.send_on(&mut lab, 0x4000, b"from the old one")), addr(PEER));
    assert_eq!(from_peer(&mut lab, relayed).client, ClientAddr(addr(A)));
    assert_eq!(
        to_peer(client.send_on(&mut lab, 0x4000, b"from the new one")),
        addr(PEER)
    );
    assert_eq!(from_peer(&mut lab, relayed).client, ClientAddr(addr(B)));
    assert_eq!(
        old.send_on(&mut lab, 0x4000, b"too late"),
        Handled::Done(Verdict::Dropped(DropReason::NoAllocation))
    );
    assert_eq!((lab.server.paths(), ended(&lab, MoveEnd::Used)), (1, 1));
}

#[test]
fn a_send_indication_and_a_request_on_the_new_path_count_as_heard() {
    for way in 0..3 {
        let mut lab = Lab::new(mobile());
        let mut client = Client::new(A);
        let (relayed, ticket) = allocate(&mut lab, &mut client);
        client.five_tuple = five_tuple(B);
        resume(&mut lab, &mut client, &ticket);
        match way {
            0 => _ = forwarded(client.send_to(&mut lab, PEER, b"hi")),
            1 => assert_eq!(client.permit(&mut lab, &["20.0.0.2:0"]), 0),
            _ => assert_eq!(client.refresh(&mut lab, 600).code(), 0),
        }
        assert_eq!(from_peer(&mut lab, relayed).client, ClientAddr(addr(B)));
    }
}

#[test]
fn what_is_not_good_on_the_new_path_does_not_count_as_heard() {
    let mut lab = Lab::new(mobile());
    let mut client = Client::new(A);
    let (relayed, ticket) = allocate(&mut lab, &mut client);
    client.five_tuple = five_tuple(B);
    resume(&mut lab, &mut client, &ticket);
    client.send_on(&mut lab, 0x4001, b"no such channel");
    client.send_to(&mut lab, "20.0.0.9:1", b"no permission");
    client.password.push('!');
    assert_eq!(client.refresh(&mut lab, 600).code(), 401);
    assert_eq!(from_peer(&mut lab, relayed).client, ClientAddr(addr(A)));
}

#[test]
fn a_client_that_only_listens_is_on_the_new_path_after_thirty_seconds() {
    let mut lab = Lab::new(mobile());
    let mut client = Client::new(A);
    let (relayed, ticket) = allocate(&mut lab, &mut client);
    client.five_tuple = five_tuple(B);
    resume(&mut lab, &mut client, &ticket);
    lab.advance(MOVE - NANO);
    assert_eq!(from_peer(&mut lab, relayed).client, ClientAddr(addr(A)));
    lab.advance(NANO);
    assert_eq!(from_peer(&mut lab, relayed).client, ClientAddr(addr(B)));
    assert_eq!((lab.server.paths(), ended(&lab, MoveEnd::Silent)), (1, 1));
}

#[test]
fn a_client_that_goes_on_speaking_on_the_old_path_stays_there_and_both_tickets_are_good() {
    for newest in [false, true] {
        let mut lab = Lab::new(mobile());
        let mut client = Client::new(A);
        let (relayed, first) = allocate(&mut lab, &mut client);
        let mut moved = client.clone();
        moved.five_tuple = five_tuple(B);
        let second = ticket(&resume(&mut lab, &mut moved, &first));
        lab.advance(Duration::from_secs(20));
        client.send_on(&mut lab, 0x4000, b"still here");
        lab.advance(Duration::from_secs(10));
        assert_eq!(from_peer(&mut lab, relayed).client, ClientAddr(addr(A)));
        assert_eq!((lab.server.paths(), ended(&lab, MoveEnd::Abandoned)), (1, 1));
        client.five_tuple = five_tuple(C);
        resume(&mut lab, &mut client, if newest { &second } else { &first });
        client.send_on(&mut lab, 0x4000, b"now here");
        assert_eq!(from_peer(&mut lab, relayed).client, ClientAddr(addr(C)));
    }
}

#[test]
fn what_was_under_way_on_the_old_path_is_not_a_come_back() {
    let mut lab = Lab::new(mobile());
    let mut client = Client::new(A);
    let (relayed, ticket) = allocate(&mut lab, &mut client);
    let mut moved = client.clone();
    moved.five_tuple = five_tuple(B);
    resume(&mut lab, &mut moved, &ticket);
    lab.advance(Duration::from_secs(14));
    client.send_on(&mut lab, 0x4000, b"late");
    lab.advance(Duration::from_secs(16));
    assert_eq!(from_peer(&mut lab, relayed).client, ClientAddr(addr(B)));
}

#[test]
fn a_ticket_from_where_the_client_is_already_is_400() {
    let mut lab = Lab::new(mobile());
    let mut client = Client::new(A);
    let (_, first) = allocate(&mut lab, &mut client);
    let reply = resume(&mut lab, &mut client, &first);
    assert_eq!(reply.code(), 400);
    assert!(client.signed(&reply));
    // Without the ticket it is a Refresh as ever.
    assert_eq!(client.refresh(&mut lab, 600).code(), 0);
    assert_eq!(resume(&mut lab, &mut client, &[]).code(), 400);
    assert_eq!(lab.server.stats().moves_begun, 0);
}

#[test]
fn a_retransmitted_refresh_gets_the_same_ticket_also_when_the_move_is_over() {
    let mut lab = Lab::new(mobile());
    let mut client = Client::new(A);
    let (_, first) = allocate(&mut lab, &mut client);
    client.five_tuple = five_tuple(B);
    client.challenge(&mut lab);
    let request = client.request(Method::REFRESH, |builder| {
        builder.attribute(&MobilityTicket(&first));
    });
    let reply = client.send(&mut lab, &request);
    assert_eq!(client.send(&mut lab, &request), reply);
    client.send_on(&mut lab, 0x4000, b"heard");
    assert_eq!(client.send(&mut lab, &request), reply);
    assert_eq!(lab.server.stats().moves_begun, 1);
}

#[test]
fn a_client_that_never_got_the_answer_asks_again_with_the_ticket_it_has() {
    let mut lab = Lab::new(mobile());
    let mut client = Client::new(A);
    let (relayed, first) = allocate(&mut lab, &mut client);
    client.five_tuple = five_tuple(B);
    resume(&mut lab, &mut client, &first);
    // From the same place, and from a third one.
    assert_eq!(resume(&mut lab, &mut client, &first).code(), 0);
    client.five_tuple = five_tuple(C);
    assert_eq!(resume(&mut lab, &mut client, &first).code(), 0);
    assert_eq!(lab.server.paths(), 2);
    client.send_on(&mut lab, 0x4000, b"heard");
    assert_eq!(from_peer(&mut lab, relayed).client, ClientAddr(addr(C)));
    assert_eq!(lab.server.paths(), 1);
}

#[test]
fn lifetime_zero_with_a_ticket_ends_the_allocation_from_anywhere() {
    let mut lab = Lab::new(mobile());
    let mut client = Client::new(A);
    let (_, ticket) = allocate(&mut lab, &mut client);
    client.five_tuple = five_tuple(B);
    client.challenge(&mut lab);
    let reply = client.call(&mut lab, Method::REFRESH, |builder| {
        builder.attribute(&Lifetime(0)).attribute(&MobilityTicket(&ticket));
    });
    assert_eq!((reply.code(), reply.lifetime()), (0, 0));
    assert!(!reply.has(AttributeType::MOBILITY_TICKET));
    lab.assert_empty();
}

#[test]
fn an_allocation_that_ends_while_it_moves_leaves_nothing() {
    for end in 0..3 {
        let mut lab = Lab::new(mobile());
        let mut client = Client::new(A);
        let (_, ticket) = allocate(&mut lab, &mut client);
        let mut old = client.clone();
        client.five_tuple = five_tuple(B);
        resume(&mut lab, &mut client, &ticket);
        match end {
            0 => assert_eq!(old.refresh(&mut lab, 0).code(), 0),
            1 => assert_eq!(client.refresh(&mut lab, 0).code(), 0),
            _ => lab.advance(Duration::from_secs(600)),
        }
        lab.assert_empty();
        let stats = lab.server.stats();
        assert_eq!(stats.moves_ended.iter().sum::<u64>(), stats.moves_begun);
    }
}

#[test]
fn mobility_that_was_switched_off_is_405_for_tickets_and_nothing_to_others() {
    let mut lab = Lab::new(mobile());
    let mut client = Client::new(A);
    let (_, ticket) = allocate(&mut lab, &mut client);
    lab.server.reconfigure(std::sync::Arc::new(config()));
    assert_eq!(client.refresh(&mut lab, 600).code(), 0);
    client.five_tuple = five_tuple(B);
    let reply = resume(&mut lab, &mut client, &ticket);
    assert_eq!(reply.code(), 405);
    assert!(client.signed(&reply));
    assert_eq!(resume(&mut lab, &mut client, b"junk").code(), 405);
}

// Who may: "the same user" (§3.2.2, §5).

#[test]
fn a_stolen_ticket_is_441_for_another_user_and_401_for_none() {
    let mut lab = Lab::new(mobile());
    let mut client = Client::new(A);
    let (relayed, ticket) = allocate(&mut lab, &mut client);
    let mut thief = Client::with_expiry(B, "eve", Duration::from_secs(3600));
    let reply = resume(&mut lab, &mut thief, &ticket);
    assert_eq!(reply.code(), 441);
    assert!(thief.signed(&reply));
    assert_eq!(lab.server.stats().auth_failures[AuthFailure::WrongUser.index()], 1);
    thief.username.clone_from(&client.username);
    assert_eq!(resume(&mut lab, &mut thief, &ticket).code(), 401);
    // The same user behind another expiry is another credential: not the one of the allocation.
    let mut again = Client::with_expiry(B, "bob", Duration::from_secs(1800));
    assert_eq!(resume(&mut lab, &mut again, &ticket).code(), 441);
    assert_eq!((lab.server.paths(), lab.server.stats().moves_begun), (1, 0));
    assert_eq!(from_peer(&mut lab, relayed).client, ClientAddr(addr(A)));
}

#[test]
fn a_captured_refresh_does_not_move_an_allocation_to_who_replays_it() {
    let mut lab = Lab::new(mobile());
    let mut client = Client::new(A);
    let (_, ticket) = allocate(&mut lab, &mut client);
    client.five_tuple = five_tuple(B);
    client.challenge(&mut lab);
    let request = client.request(Method::REFRESH, |builder| {
        builder.attribute(&MobilityTicket(&ticket));
    });
    assert_eq!(client.send(&mut lab, &request).code(), 0);
    let thief = Client::new(C);
    assert_eq!(
        thief.send(&mut lab, &request).code(),
        438,
        "the nonce is not of this address"
    );
    assert_eq!(lab.server.paths(), 2);
}

#[test]
fn a_ticket_that_was_used_is_437_once_the_client_is_heard_on_the_new_path() {
    let mut lab = Lab::new(mobile());
    let mut client = Client::new(A);
    let (_, first) = allocate(&mut lab, &mut client);
    client.five_tuple = five_tuple(B);
    let second = ticket(&resume(&mut lab, &mut client, &first));
    client.send_on(&mut lab, 0x4000, b"heard");
    client.five_tuple = five_tuple(C);
    assert_eq!(resume(&mut lab, &mut client, &first).code(), 437);
    assert_eq!(resume(&mut lab, &mut client, &second).code(), 0);
}

#[test]
fn a_ticket_of_an_allocation_that_ended_is_437_also_for_the_next_one_in_its_place() {
    let mut lab = Lab::new(mobile());
    let mut client = Client::new(A);
    let (_, first) = allocate(&mut lab, &mut client);
    client.refresh(&mut lab, 0);
    let (_, _) = allocate(&mut lab, &mut client);
    client.five_tuple = five_tuple(B);
    assert_eq!(resume(&mut lab, &mut client, &first).code(), 437);
}

#[test]
fn a_ticket_of_another_process_is_437() {
    let (mut here, mut there) = (Lab::new(mobile()), another_process());
    let mut client = Client::new(A);
    let (_, foreign) = allocate(&mut there, &mut client);
    let mut client = Client::new(A);
    allocate(&mut here, &mut client);
    client.five_tuple = five_tuple(B);
    assert_eq!(resume(&mut here, &mut client, &foreign).code(), 437);
    for junk in [&b"x"[..], &[b'A'; 32], &[0xFF; 200]] {
        assert_eq!(resume(&mut here, &mut client, junk).code(), 437);
    }
}

#[test]
fn a_client_with_an_allocation_of_its_own_cannot_move_another_one_there() {
    let mut lab = Lab::new(mobile());
    let mut client = Client::new(A);
    let (_, ticket) = allocate(&mut lab, &mut client);
    let mut second = client.clone();
    second.five_tuple = five_tuple(B);
    second.challenge(&mut lab);
    second.allocate(&mut lab);
    assert_eq!(resume(&mut lab, &mut second, &ticket).code(), 437);
    assert_eq!((lab.server.allocations(), lab.server.paths()), (2, 2));
}

#[test]
fn an_allocation_whose_client_did_not_ask_cannot_be_moved() {
    // Its place and generation are guessed right, as the ticket of a mobile one before it in the same place would.
    let mut lab = Lab::new(mobile());
    let mut client = Client::new(A);
    client.allocate(&mut lab);
    client.five_tuple = five_tuple(B);
    assert_eq!(resume(&mut lab, &mut client, &[]).code(), 437);
}

#[test]
fn whoever_was_revoked_is_403_and_does_not_move() {
    let mut lab = Lab::new(mobile());
    let mut client = Client::new(A);
    let (_, ticket) = allocate(&mut lab, &mut client);
    let revoked = mobile();
    let who = meetpoint::turn::Revoked::User("bob".into());
    let until = meetpoint::credentials::UnixTime(u64::MAX);
    revoked.revocations.insert(lab.now.unix, who, until).unwrap();
    lab.server.reconfigure(std::sync::Arc::new(revoked));
    client.five_tuple = five_tuple(B);
    assert_eq!(resume(&mut lab, &mut client, &ticket).code(), 403);
    assert_eq!(lab.server.paths(), 1);
}

#[test]
fn a_living_allocation_moves_when_its_credential_is_expired_and_while_the_process_drains() {
    let mut lab = Lab::new(mobile());
    let mut client = Client::with_expiry(A, "bob", Duration::from_secs(60));
    let (_, ticket) = allocate(&mut lab, &mut client);
    lab.advance(Duration::from_secs(120));
    lab.server.reconfigure(std::sync::Arc::new(Config {
        draining: true,
        ..mobile()
    }));
    client.five_tuple = five_tuple(B);
    assert_eq!(resume(&mut lab, &mut client, &ticket).code(), 0);
}

// Quotas: counted at each path until it is certain which one stays (CVE-2026-73216).

fn one_each() -> Config {
    Config {
        limits: Limits {
            allocations_per_client: 1,
            allocations_per_user: 2,
            ..Limits::default()
        },
        ..mobile()
    }
}

#[test]
fn an_allocation_counts_for_both_addresses_until_its_move_is_over_and_then_for_the_new_one_alone() {
    let mut lab = Lab::new(one_each());
    let mut client = Client::new(A);
    let (_, ticket) = allocate(&mut lab, &mut client);
    let refused = |lab: &mut Lab, from: &str| {
        let mut other = Client::with_expiry(from, "eve", Duration::from_secs(3600));
        let code = other.allocate_with(lab, |_| {}).code();
        if code == 0 {
            assert_eq!(other.refresh(lab, 0).code(), 0);
        }
        code == 486
    };
    assert_eq!(
        (refused(&mut lab, "192.0.2.1:9"), refused(&mut lab, "198.51.100.7:9")),
        (true, false)
    );
    client.five_tuple = five_tuple(B);
    resume(&mut lab, &mut client, &ticket);
    assert_eq!(
        (refused(&mut lab, "192.0.2.1:9"), refused(&mut lab, "198.51.100.7:9")),
        (true, true)
    );
    client.send_on(&mut lab, 0x4000, b"heard");
    assert_eq!(
        (refused(&mut lab, "192.0.2.1:9"), refused(&mut lab, "198.51.100.7:9")),
        (false, true)
    );
    assert_eq!(lab.ledger.total(), 1);
    client.refresh(&mut lab, 0);
    lab.assert_empty();
}

#[test]
fn a_move_to_an_address_that_holds_its_share_is_486_and_the_allocation_stays() {
    let mut lab = Lab::new(one_each());
    let mut client = Client::new(A);
    let (relayed, ticket) = allocate(&mut lab, &mut client);
    let mut other = Client::with_expiry("198.51.100.7:9", "eve", Duration::from_secs(3600));
    other.allocate(&mut lab);
    client.five_tuple = five_tuple(B);
    assert_eq!(resume(&mut lab, &mut client, &ticket).code(), 486);
    assert_eq!(lab.server.stats().quota_hits[QuotaKind::Client.index()], 1);
    assert_eq!(from_peer(&mut lab, relayed).client, ClientAddr(addr(A)));
    assert_eq!((lab.server.paths(), lab.ledger.total()), (2, 2));
}

#[test]
fn a_move_that_is_abandoned_counts_for_the_old_address_again() {
    let mut lab = Lab::new(one_each());
    let mut client = Client::new(A);
    let (_, ticket) = allocate(&mut lab, &mut client);
    let mut moved = client.clone();
    moved.five_tuple = five_tuple(B);
    resume(&mut lab, &mut moved, &ticket);
    lab.advance(Duration::from_secs(29));
    client.send_on(&mut lab, 0x4000, b"back");
    lab.advance(Duration::from_secs(1));
    let mut other = Client::with_expiry("192.0.2.1:9", "eve", Duration::from_secs(3600));
    assert_eq!(other.allocate_with(&mut lab, |_| {}).code(), 486);
    client.refresh(&mut lab, 0);
    lab.assert_empty();
}

#[test]
fn no_share_is_exceeded_by_going_away_filling_the_place_and_coming_back() {
    let mut lab = Lab::new(Config {
        limits: Limits {
            allocations_per_client: 2,
            ..Limits::default()
        },
        ..mobile()
    });
    let mut clients = Vec::new();
    for port in 1..=8 {
        let mut client = Client::with_expiry(
            &format!("192.0.2.1:{port}"),
            &format!("eve{port}"),
            Duration::from_secs(3600),
        );
        let reply = client.allocate_with(&mut lab, |builder| {
            builder.attribute(&MobilityTicket(&[]));
        });
        if reply.code() != 0 {
            assert_eq!(reply.code(), 486);
            break;
        }
        let good = ticket(&reply);
        assert_eq!(client.bind(&mut lab, 0x4000, PEER), 0);
        clients.push(client.clone());
        // Away, and back in half a minute.
        client.five_tuple = five_tuple(&format!("198.51.100.{port}:7"));
        client.nonce.clear();
        assert_eq!(resume(&mut lab, &mut client, &good).code(), 0);
    }
    lab.advance(Duration::from_secs(29));
    for client in &mut clients {
        client.send_on(&mut lab, 0x4000, b"back");
    }
    lab.advance(Duration::from_secs(1));
    assert_eq!(ended(&lab, MoveEnd::Abandoned), clients.len() as u64);
    assert_eq!(clients.len(), 2);
}

#[test]
fn mobility_quota_flood() {
    // Moves without end free no place of the user's quota, and take none.
    let mut lab = Lab::new(one_each());
    let mut client = Client::new(A);
    let (_, mut good) = allocate(&mut lab, &mut client);
    let mut second = Client::with("192.0.2.200:1", &client.username, &client.password);
    second.allocate(&mut lab);
    for round in 0..500_u32 {
        lab.sleep(Duration::from_millis(20));
        let [_, _, c, d] = round.to_be_bytes();
        client.five_tuple = five_tuple(&format!("203.0.{c}.{d}:4000"));
        good = ticket(&resume(&mut lab, &mut client, &good));
        let is_heard = round % 3 == 0;
        if is_heard {
            client.send_on(&mut lab, 0x4000, b"heard");
        }
        let mut third = Client::with("198.51.100.200:1", &client.username, &client.password);
        assert_eq!(third.allocate_with(&mut lab, |_| {}).code(), 486, "round {round}");
        let holders = if is_heard { 3 } else { 4 };
        assert_eq!((lab.ledger.total(), lab.ledger.holders()), (2, holders));
        assert!(lab.server.paths() <= 3);
    }
    second.refresh(&mut lab, 0);
    client.refresh(&mut lab, 0);
    lab.assert_empty();
}

#[test]
fn mobility_resume_flood() {
    // Tickets of every bad sort, and good ones of an owner who never uses the new path: no memory, no timer stays.
    let mut lab = Lab::new(mobile());
    let mut client = Client::new(A);
    let (relayed, good) = allocate(&mut lab, &mut client);
    let mut thief = Client::with_expiry(B, "eve", Duration::from_secs(3600));
    thief.challenge(&mut lab);
    let mut owner = client.clone();
    for round in 0..2000_u16 {
        let mut bad = good.clone();
        bad[usize::from(round) % 32] ^= 1;
        let wrong: &[u8] = if round % 2 == 0 { &bad } else { &good };
        let reply = thief.call(&mut lab, Method::REFRESH, |builder| {
            builder.attribute(&MobilityTicket(wrong));
        });
        assert_eq!(reply.code(), if round % 2 == 0 { 437 } else { 441 });
        owner.five_tuple = five_tuple(&format!("198.51.100.8:{}", 1000 + round));
        lab.sleep(Duration::from_millis(20));
        assert_eq!(resume(&mut lab, &mut owner, &good).code(), 0);
        assert_eq!(lab.server.paths(), 2);
    }
    assert_eq!(from_peer(&mut lab, relayed).client, ClientAddr(addr(A)));
    let stats = lab.server.stats();
    assert_eq!(stats.answered[Answer::WrongCredentials.index()], 1000);
    assert_eq!(stats.moves_begun, 2000);
    lab.advance(Duration::from_secs(30));
    assert_eq!((lab.server.paths(), ended(&lab, MoveEnd::Silent)), (1, 1));
    owner.refresh(&mut lab, 0);
    lab.assert_empty();
    lab.advance(Duration::from_secs(600));
    assert_eq!(lab.server.poll_timeout(), None, "nothing is waited for");
}

// Between transports, and streams that close.

fn over(transport: Transport, client: &str) -> FiveTuple {
    FiveTuple {
        transport,
        ..five_tuple(client)
    }
}

#[test]
fn an_allocation_moves_between_transports_and_is_counted_under_the_one_it_has() {
    let mut lab = Lab::new(mobile());
    let mut client = Client::new(A);
    let (relayed, mut good) = allocate(&mut lab, &mut client);
    let ways = [Transport::Tcp, Transport::Tls, Transport::Dtls, Transport::Udp];
    for (port, transport) in (5000..).zip(ways) {
        client.five_tuple = over(transport, &format!("198.51.100.7:{port}"));
        good = ticket(&resume(&mut lab, &mut client, &good));
        client.send_on(&mut lab, 0x4000, b"heard");
        assert_eq!(from_peer(&mut lab, relayed), client.five_tuple);
        let mut expected = [0; 5];
        expected[transport.index()] = 1;
        assert_eq!(lab.server.stats().allocations_active[0], expected);
    }
    client.refresh(&mut lab, 0);
    lab.assert_empty();
}

#[test]
fn a_mobile_allocation_outlives_its_stream_for_a_minute_and_is_found_by_its_ticket() {
    let mut lab = Lab::new(mobile());
    let mut client = Client::new(A);
    client.five_tuple = over(Transport::Tcp, A);
    let (relayed, first) = allocate(&mut lab, &mut client);
    lab.gone(&client.five_tuple);
    assert_eq!(
        (lab.server.allocations(), lab.server.paths(), lab.ledger.total()),
        (1, 0, 1)
    );
    let relay = lab.relay_at(relayed);
    assert_eq!(
        lab.peer(relay, addr(PEER), b"data"),
        Handled::Done(Verdict::Dropped(DropReason::ClientGone))
    );
    lab.advance(Duration::from_secs(60) - NANO);
    client.five_tuple = over(Transport::Tcp, B);
    assert_eq!(resume(&mut lab, &mut client, &first).lifetime(), 600);
    // There is no old path to wait with.
    assert_eq!(from_peer(&mut lab, relayed).client, ClientAddr(addr(B)));
    lab.advance(Duration::from_secs(599));
    assert_eq!(lab.server.allocations(), 1);
    lab.gone(&client.five_tuple);
    lab.advance(Duration::from_secs(1));
    lab.assert_empty();
    assert_eq!(lab.server.stats().allocations_closed[CloseReason::Expired.index()], 1);
}

#[test]
fn the_next_stream_on_the_5_tuple_of_a_closed_one_does_not_inherit_its_allocation() {
    let mut lab = Lab::new(mobile());
    let mut client = Client::new(A);
    client.five_tuple = over(Transport::Tcp, A);
    let (relayed, first) = allocate(&mut lab, &mut client);
    lab.gone(&client.five_tuple);
    assert_eq!(
        client.send_on(&mut lab, 0x4000, b"not mine"),
        Handled::Done(Verdict::Dropped(DropReason::NoAllocation))
    );
    let mut other = Client::with_expiry(A, "eve", Duration::from_secs(3600));
    other.five_tuple = client.five_tuple;
    other.allocate(&mut lab);
    // What ends the first one leaves the second alone.
    client.five_tuple = five_tuple(B);
    assert_eq!(resume(&mut lab, &mut client, &first).code(), 0);
    assert_eq!(from_peer(&mut lab, relayed).client, ClientAddr(addr(B)));
    assert_eq!(client.refresh(&mut lab, 0).code(), 0);
    assert_eq!(other.refresh(&mut lab, 0).code(), 0);
    lab.assert_empty();
}

#[test]
fn an_allocation_that_is_not_mobile_ends_with_its_stream() {
    let mut lab = Lab::new(mobile());
    let mut client = Client::new(A);
    client.five_tuple = over(Transport::Tcp, A);
    client.allocate(&mut lab);
    lab.gone(&client.five_tuple);
    lab.assert_empty();
}

#[test]
fn while_an_allocation_moves_the_old_stream_may_close_and_so_may_the_new_one() {
    for closes in [A, B] {
        let mut lab = Lab::new(mobile());
        let mut client = Client::new(A);
        client.five_tuple = over(Transport::Tcp, A);
        let (relayed, first) = allocate(&mut lab, &mut client);
        client.five_tuple = over(Transport::Tls, B);
        resume(&mut lab, &mut client, &first);
        let transport = if closes == A { Transport::Tcp } else { Transport::Tls };
        lab.gone(&over(transport, closes));
        let left = if closes == A { B } else { A };
        assert_eq!(from_peer(&mut lab, relayed).client, ClientAddr(addr(left)));
        assert_eq!(lab.server.paths(), 1);
        // The stream that was left behind closes some time: nothing ends.
        lab.gone(&over(transport, closes));
        assert_eq!(from_peer(&mut lab, relayed).client, ClientAddr(addr(left)));
    }
}
