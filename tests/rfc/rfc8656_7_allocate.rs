//! RFC 8656 §7.2: receiving an Allocate request.

use std::time::Duration;

use meetpoint::turn::{
    Answer, BindError, CloseReason, DropReason, Family, Handled, Ledger, Limits, QuotaKind, RelayAddr, RelaySocket,
    ReservationToken, Reservations, Shard, Transport, Verdict,
};
use meetpoint::wire::attribute::{
    AdditionalAddressFamily, AddressErrorCode, DontFragment, EvenPort, Lifetime, RequestedAddressFamily,
    RequestedTransport, Software, UnknownAttributes, XorRelayedAddress,
};
use meetpoint::wire::{AttributeType, Class, ErrorCode, MessageBuilder, Method};

use crate::relay::{Client, Lab, RELAY_V4, RELAY_V6, addr, config, ip};

const A: &str = "192.0.2.1:4001";
const B: &str = "192.0.2.1:4002";

#[test]
fn an_allocation_has_a_relayed_address_of_the_range_and_the_mapped_address_of_its_client() {
    let mut lab = Lab::new(config());
    let mut client = Client::new(A);
    let reply = client.allocate_with(&mut lab, |_| {});
    assert_eq!(reply.code(), 0);
    assert!(client.signed(&reply));
    assert_eq!(reply.relayed().ip(), ip(RELAY_V4));
    assert!((49152..=65535).contains(&reply.relayed().port()));
    assert_eq!(reply.mapped(), addr(A));
    assert_eq!(reply.lifetime(), 600);
    assert_eq!(reply.token(), None);
    let bound = *lab.sockets.values().next().unwrap();
    assert_eq!((bound.ip(), bound.port()), (ip("10.0.0.5"), reply.relayed().port()));
    let stats = lab.server.stats();
    assert_eq!(stats.allocations_created, 1);
    assert_eq!(stats.allocations_active[Family::V4.index()][Transport::Udp.index()], 1);
}

#[test]
fn the_answer_names_no_software_unless_the_operator_wants_it() {
    let mut lab = Lab::new(config());
    assert!(
        !Client::new(A)
            .allocate_with(&mut lab, |_| {})
            .has(AttributeType::SOFTWARE)
    );
    let mut lab = Lab::new(meetpoint::turn::Config {
        software: Some("meetpoint".into()),
        ..config()
    });
    let mut client = Client::new(A);
    assert!(!client.challenge(&mut lab).has(AttributeType::SOFTWARE));
    let reply = client.allocate_with(&mut lab, |_| {});
    assert_eq!(reply.find::<Software<'_>>().unwrap().as_str(), "meetpoint");
}

#[test]
fn a_5_tuple_in_use_is_437() {
    let mut lab = Lab::new(config());
    let mut client = Client::new(A);
    client.allocate(&mut lab);
    let reply = client.allocate_with(&mut lab, |_| {});
    assert_eq!(reply.code(), 437);
    assert!(client.signed(&reply));
    let mut other = Client::with_expiry(A, "mallory", Duration::from_secs(60));
    assert_eq!(other.allocate_with(&mut lab, |_| {}).code(), 437);
    assert_eq!(lab.sockets.len(), 1);
}

#[test]
fn requested_transport_must_be_there_whole_and_udp() {
    let mut lab = Lab::new(config());
    let mut client = Client::new(A);
    client.challenge(&mut lab);
    assert_eq!(client.call(&mut lab, Method::ALLOCATE, |_| {}).code(), 400);
    let malformed = client.call(&mut lab, Method::ALLOCATE, |builder| {
        builder.raw_attribute(AttributeType::REQUESTED_TRANSPORT, &[17, 0]);
    });
    assert_eq!(malformed.code(), 400);
    for protocol in [0, 1, 6, 16, 18, 255] {
        let reply = client.call(&mut lab, Method::ALLOCATE, |builder| {
            builder.attribute(&RequestedTransport(protocol));
        });
        assert_eq!(reply.code(), 442, "{protocol}");
    }
    lab.assert_empty();
}

#[test]
fn dont_fragment_is_420_where_df_cannot_be_set() {
    let mut lab = Lab::new(meetpoint::turn::Config {
        dont_fragment: false,
        ..config()
    });
    let mut client = Client::new(A);
    let reply = client.allocate_with(&mut lab, |builder| {
        builder.attribute(&DontFragment);
    });
    assert_eq!(reply.code(), 420);
    assert!(client.signed(&reply));
    let UnknownAttributes(types) = reply.find().unwrap();
    assert_eq!(types.as_slice(), [AttributeType::DONT_FRAGMENT]);

    let mut lab = Lab::new(config());
    let reply = Client::new(A).allocate_with(&mut lab, |builder| {
        builder.attribute(&DontFragment);
    });
    assert_eq!(reply.code(), 0);
}

#[test]
fn unknown_attributes_are_420_with_the_list_after_authentication() {
    let mut lab = Lab::new(config());
    let mut client = Client::new(A);
    let reply = client.allocate_with(&mut lab, |builder| {
        builder
            .raw_attribute(AttributeType(0x7F01), b"x")
            .raw_attribute(AttributeType(0x7F00), b"");
        builder.raw_attribute(AttributeType(0xFF00), b"optional, ignored");
    });
    assert_eq!(reply.code(), 420);
    let UnknownAttributes(types) = reply.find().unwrap();
    assert_eq!(types.as_slice(), [AttributeType(0x7F01), AttributeType(0x7F00)]);
    let unauthenticated = client.bare(Method::ALLOCATE, Class::Request, |builder| {
        builder.raw_attribute(AttributeType(0x7F01), b"x");
    });
    assert_eq!(client.send(&mut lab, &unauthenticated).code(), 401);
}

#[test]
fn the_family_is_ipv4_unless_ipv6_is_asked_for() {
    let mut lab = Lab::new(config());
    for (port, family, relay) in [(1, 1, RELAY_V4), (2, 2, RELAY_V6)] {
        let reply = Client::new(&format!("192.0.2.1:{port}")).allocate_with(&mut lab, |builder| {
            builder.attribute(&RequestedAddressFamily(family));
        });
        assert_eq!((reply.code(), reply.relayed().ip()), (0, ip(relay)));
    }
    let reply = Client::new(A).allocate_with(&mut lab, |builder| {
        builder.attribute(&RequestedAddressFamily(3));
    });
    assert_eq!(reply.code(), 440);
}

#[test]
fn a_client_may_come_by_ipv6_and_relay_by_ipv4() {
    let mut lab = Lab::new(config());
    let reply = Client::new("[2001:db8::7]:4000").allocate_with(&mut lab, |_| {});
    assert_eq!(
        (reply.relayed().ip(), reply.mapped()),
        (ip(RELAY_V4), addr("[2001:db8::7]:4000"))
    );
}

#[test]
fn a_family_that_is_not_served_is_440() {
    let v4 = vec![RelayAddr::same(ip(RELAY_V4))];
    let v6 = vec![RelayAddr::same(ip(RELAY_V6))];
    let mut lab = Lab::new(meetpoint::turn::Config {
        relay_addrs: v4,
        ..config()
    });
    let reply = Client::new(A).allocate_with(&mut lab, |builder| {
        builder.attribute(&RequestedAddressFamily(2));
    });
    assert_eq!(reply.code(), 440);
    let mut lab = Lab::new(meetpoint::turn::Config {
        relay_addrs: v6,
        ..config()
    });
    assert_eq!(Client::new(A).allocate_with(&mut lab, |_| {}).code(), 440);
    let reply = Client::new(A).allocate_with(&mut lab, |builder| {
        builder.attribute(&AdditionalAddressFamily(2));
    });
    assert_eq!(reply.code(), 440);
}

#[test]
fn contradicting_wishes_are_400() {
    let mut lab = Lab::new(config());
    let mut client = Client::new(A);
    client.challenge(&mut lab);
    let token = ReservationToken([1; 8]);
    let mut code =
        |fill: &dyn Fn(&mut MessageBuilder<'_>)| client.allocate_with(&mut lab, |builder| fill(builder)).code();
    let even = |reserve_next| EvenPort { reserve_next };
    let contradictions: [&dyn Fn(&mut MessageBuilder<'_>); 7] = [
        &|builder| _ = builder.attribute(&token).attribute(&even(false)),
        &|builder| _ = builder.attribute(&token).attribute(&RequestedAddressFamily(1)),
        &|builder| _ = builder.attribute(&token).attribute(&AdditionalAddressFamily(2)),
        &|builder| {
            _ = builder
                .attribute(&RequestedAddressFamily(1))
                .attribute(&AdditionalAddressFamily(2))
        },
        &|builder| _ = builder.attribute(&even(true)).attribute(&AdditionalAddressFamily(2)),
        &|builder| _ = builder.attribute(&AdditionalAddressFamily(1)),
        &|builder| _ = builder.attribute(&AdditionalAddressFamily(7)),
    ];
    for contradiction in contradictions {
        assert_eq!(code(contradiction), 400);
    }
    for malformed in [
        AttributeType::LIFETIME,
        AttributeType::EVEN_PORT,
        AttributeType::RESERVATION_TOKEN,
        AttributeType::REQUESTED_ADDRESS_FAMILY,
        AttributeType::ADDITIONAL_ADDRESS_FAMILY,
    ] {
        assert_eq!(
            code(&|builder| _ = builder.raw_attribute(malformed, &[0; 3])),
            400,
            "{malformed}"
        );
    }
    lab.assert_empty();
}

#[test]
fn a_dual_allocation_has_an_address_of_each_family() {
    let mut lab = Lab::new(config());
    let reply = Client::new(A).allocate_with(&mut lab, |builder| {
        builder.attribute(&AdditionalAddressFamily(2));
    });
    assert_eq!(reply.code(), 0);
    let relayed: Vec<_> = reply
        .message()
        .find_all::<XorRelayedAddress>()
        .map(|found| found.unwrap().0.ip())
        .collect();
    assert_eq!(relayed, [ip(RELAY_V4), ip(RELAY_V6)]);
    assert_eq!(lab.sockets.len(), 2);
    assert_eq!(lab.ledger.total(), 1);
}

#[test]
fn half_a_dual_allocation_says_which_half_is_missing_and_why() {
    let v4_only = vec![RelayAddr::same(ip(RELAY_V4))];
    let mut lab = Lab::new(meetpoint::turn::Config {
        relay_addrs: v4_only,
        ..config()
    });
    let dual = |client: &mut Client, lab: &mut Lab| {
        client.allocate_with(lab, |builder| {
            builder.attribute(&AdditionalAddressFamily(2));
        })
    };
    let reply = dual(&mut Client::new(A), &mut lab);
    assert_eq!((reply.code(), reply.relayed().ip()), (0, ip(RELAY_V4)));
    assert_eq!(
        reply.find::<AddressErrorCode<'_>>().unwrap().code(),
        ErrorCode::ADDRESS_FAMILY_NOT_SUPPORTED
    );

    for (failing, left, missing) in [(0, RELAY_V6, 1), (1, RELAY_V4, 2)] {
        let mut lab = Lab::new(config());
        lab.hold_binds = true;
        let mut client = Client::new(A);
        client.challenge(&mut lab);
        let request = client.request(Method::ALLOCATE, |builder| {
            builder
                .attribute(&RequestedTransport::UDP)
                .attribute(&AdditionalAddressFamily(2));
        });
        lab.client(&client.five_tuple, &request);
        for bind in 0..2 {
            assert!(lab.sent.is_empty(), "not before both are known");
            lab.report(if bind == failing {
                Err(BindError::Failed)
            } else {
                Ok(())
            });
        }
        let reply = lab.reply();
        assert_eq!((reply.code(), reply.relayed().ip()), (0, ip(left)));
        let error = reply.find::<AddressErrorCode<'_>>().unwrap();
        assert_eq!(
            (error.family().value(), error.code()),
            (missing, ErrorCode::INSUFFICIENT_CAPACITY)
        );
    }
}

#[test]
fn the_lifetime_is_between_default_and_maximum() {
    for (asked, granted) in [
        (None, 600),
        (Some(0), 600),
        (Some(1), 600),
        (Some(600), 600),
        (Some(601), 601),
        (Some(3600), 3600),
        (Some(3601), 3600),
        (Some(u32::MAX), 3600),
    ] {
        let mut lab = Lab::new(config());
        let mut client = Client::new(A);
        let reply = client.allocate_with(&mut lab, |builder| {
            if let Some(asked) = asked {
                builder.attribute(&Lifetime(asked));
            }
        });
        assert_eq!(reply.lifetime(), granted, "{asked:?}");
        let last = Duration::from_secs(u64::from(granted)) - Duration::from_nanos(1);
        lab.advance(last);
        assert_eq!(lab.server.allocations(), 1);
        lab.advance(Duration::from_nanos(1));
        lab.assert_empty();
        assert_eq!(lab.server.stats().allocations_closed[CloseReason::Expired.index()], 1);
    }
}

#[test]
fn an_expired_allocation_is_gone_even_if_no_timer_was_run() {
    let mut lab = Lab::new(config());
    let mut client = Client::new(A);
    client.allocate(&mut lab);
    lab.sleep(Duration::from_secs(600));
    assert_eq!(
        client.send_to(&mut lab, crate::relay::PEER, b"late"),
        Handled::Done(Verdict::Dropped(DropReason::NoAllocation))
    );
    lab.assert_empty();
}

#[test]
fn a_retransmitted_allocate_gets_the_same_answer_and_no_second_port() {
    let mut lab = Lab::new(config());
    let mut client = Client::new(A);
    client.challenge(&mut lab);
    let request = client.request(Method::ALLOCATE, |builder| {
        builder
            .attribute(&RequestedTransport::UDP)
            .attribute(&EvenPort { reserve_next: true });
    });
    let first = client.send(&mut lab, &request);
    lab.sleep(Duration::from_secs(5));
    let second = client.send(&mut lab, &request);
    assert_eq!(first, second);
    assert_eq!((lab.sockets.len(), lab.parked.len(), lab.binds), (1, 1, 1));
    assert_eq!(lab.server.stats().retransmits, 1);
}

#[test]
fn a_retransmission_while_the_socket_is_bound_waits_for_the_one_answer() {
    let mut lab = Lab::new(config());
    lab.hold_binds = true;
    let mut client = Client::new(A);
    client.challenge(&mut lab);
    let request = client.request(Method::ALLOCATE, |builder| {
        builder.attribute(&RequestedTransport::UDP);
    });
    assert_eq!(
        lab.client(&client.five_tuple, &request),
        Handled::Done(Verdict::Deferred)
    );
    let again = lab.client(&client.five_tuple, &request);
    assert_eq!(again, Handled::Done(Verdict::Dropped(DropReason::InProgress)));
    assert_eq!(lab.binds, 1);
    // Another request on the 5-tuple is not let in between.
    assert_eq!(client.allocate_with(&mut lab, |_| {}).code(), 437);
    assert_eq!(client.refresh(&mut lab, 600).code(), 437);
    lab.report(Ok(()));
    assert_eq!(lab.reply().code(), 0);
    assert_eq!(lab.server.stats().pending, 0);
    lab.gone(&client.five_tuple);
    lab.assert_empty();
}

#[test]
fn a_client_that_leaves_while_its_socket_is_bound_leaves_nothing() {
    for even in [false, true] {
        let mut lab = Lab::new(config());
        lab.hold_binds = true;
        let mut client = Client::new(A);
        client.challenge(&mut lab);
        let request = client.request(Method::ALLOCATE, |builder| {
            builder.attribute(&RequestedTransport::UDP);
            if even {
                builder.attribute(&EvenPort { reserve_next: true });
            }
        });
        lab.client(&client.five_tuple, &request);
        lab.gone(&client.five_tuple);
        lab.check();
        lab.assert_empty();
        assert_eq!(lab.server.stats().dropped[DropReason::ClientGone.index()], 1);
    }
}

#[test]
fn a_bind_that_is_never_reported_ends_with_the_lifetime() {
    let mut lab = Lab::new(config());
    lab.hold_binds = true;
    let mut client = Client::new(A);
    client.challenge(&mut lab);
    let request = client.request(Method::ALLOCATE, |builder| {
        builder.attribute(&RequestedTransport::UDP);
    });
    lab.client(&client.five_tuple, &request);
    lab.advance(Duration::from_secs(600));
    lab.check();
    lab.assert_empty();
}

#[test]
fn a_port_that_others_hold_is_replaced_a_bounded_number_of_times() {
    let mut limited = config();
    limited.relay_ports = 50000..=50099;
    limited.bind_attempts = 8;
    let mut lab = Lab::new(limited.clone());
    lab.foreign = (50000..=50098).collect();
    limited.bind_attempts = 255;
    let mut client = Client::new(A);
    let reply = client.allocate_with(&mut lab, |_| {});
    // One in a hundred is free: eight tries rarely find it, and never take more.
    assert!(lab.binds <= 8);
    assert!(matches!(reply.code(), 0 | 508));

    let mut lab = Lab::new(limited);
    lab.foreign = (50000..=50099).collect();
    let mut client = Client::new(A);
    let reply = client.allocate_with(&mut lab, |_| {});
    assert_eq!(reply.code(), 508);
    assert!(client.signed(&reply));
    assert!(lab.binds >= 100, "with tries enough every port is tried");
    lab.assert_empty();
    assert_eq!(lab.server.stats().quota_hits[QuotaKind::Ports.index()], 1);
}

#[test]
fn the_last_port_is_given_and_the_next_client_gets_508_until_one_is_free() {
    let mut small = config();
    small.relay_ports = 50000..=50002;
    let mut lab = Lab::new(small);
    let mut clients: Vec<_> = (1..=4).map(|port| Client::new(&format!("192.0.2.1:{port}"))).collect();
    let codes: Vec<_> = clients
        .iter_mut()
        .map(|client| client.allocate_with(&mut lab, |_| {}).code())
        .collect();
    assert_eq!(codes, [0, 0, 0, 508]);
    assert_eq!(clients[1].refresh(&mut lab, 0).code(), 0);
    assert_eq!(clients[3].allocate_with(&mut lab, |_| {}).code(), 0);
}

#[test]
fn a_bind_that_cannot_succeed_is_508_at_once() {
    let mut lab = Lab::new(config());
    lab.hold_binds = true;
    let mut client = Client::new(A);
    client.challenge(&mut lab);
    let request = client.request(Method::ALLOCATE, |builder| {
        builder
            .attribute(&RequestedTransport::UDP)
            .attribute(&EvenPort { reserve_next: true });
    });
    lab.client(&client.five_tuple, &request);
    lab.report(Err(BindError::Failed));
    assert_eq!(lab.reply().code(), 508);
    assert_eq!(lab.binds, 1);
    lab.assert_empty();
    assert_eq!(lab.server.stats().answered[Answer::InsufficientCapacity.index()], 1);
}

#[test]
fn an_even_port_is_even_and_its_neighbour_stays_free() {
    let mut small = config();
    small.relay_ports = 50000..=50001;
    let mut lab = Lab::new(small);
    let reply = Client::new(A).allocate_with(&mut lab, |builder| {
        builder.attribute(&EvenPort { reserve_next: false });
    });
    assert_eq!((reply.relayed().port(), reply.token()), (50000, None));
    let reply = Client::new(B).allocate_with(&mut lab, |_| {});
    assert_eq!(reply.relayed().port(), 50001);
}

#[test]
fn a_reserved_port_is_held_for_thirty_seconds_and_then_closed() {
    let mut lab = Lab::new(config());
    let reply = Client::new(A).allocate_with(&mut lab, |builder| {
        builder.attribute(&EvenPort { reserve_next: true });
    });
    assert_eq!(reply.relayed().port() % 2, 0);
    let token = reply.token().unwrap();
    lab.advance(Duration::from_secs(30) - Duration::from_nanos(1));
    assert_eq!(
        lab.parked,
        [(token, addr(&format!("10.0.0.5:{}", reply.relayed().port() + 1)))]
    );
    lab.advance(Duration::from_nanos(1));
    assert!(lab.parked.is_empty());
    assert_eq!(lab.server.stats().reservations_expired, 1);
    let reply = Client::new(B).allocate_with(&mut lab, |builder| {
        builder.attribute(&token);
    });
    assert_eq!(reply.code(), 508);
}

#[test]
fn a_token_gets_its_port_once_from_any_shard() {
    let ledger = Ledger::new();
    let reservations = Reservations::new();
    let shard = |index| Shard { index, count: 2 };
    let mut one = Lab::shard(config(), shard(0), ledger.clone(), reservations.clone());
    let mut two = Lab::shard(config(), shard(1), ledger, reservations);
    two.now = one.now;
    let first = Client::new(A).allocate_with(&mut one, |builder| {
        builder.attribute(&EvenPort { reserve_next: true });
    });
    let token = first.token().unwrap();
    // The driver's table of parked sockets is one for the process.
    two.parked = std::mem::take(&mut one.parked);
    let mut claiming = Client::new(B);
    let second = claiming.allocate_with(&mut two, |builder| {
        builder.attribute(&token);
    });
    assert_eq!(
        second.relayed(),
        addr(&format!("{RELAY_V4}:{}", first.relayed().port() + 1))
    );
    assert!(two.parked.is_empty());
    let again = Client::new("192.0.2.1:4003").allocate_with(&mut two, |builder| {
        builder.attribute(&token);
    });
    assert_eq!(again.code(), 508);
    one.advance(Duration::from_secs(600));
    assert_eq!(one.server.stats().reservations_expired, 0);
    one.sockets.clear();
    two.advance(Duration::from_secs(600));
    one.assert_empty();
    two.assert_empty();
}

#[test]
fn a_token_is_of_no_use_to_another_user() {
    let mut lab = Lab::new(config());
    let token = Client::new(A)
        .allocate_with(&mut lab, |builder| {
            builder.attribute(&EvenPort { reserve_next: true });
        })
        .token()
        .unwrap();
    let mut mallory = Client::with_expiry(B, "mallory", Duration::from_secs(60));
    let with_token = |client: &mut Client, lab: &mut Lab| {
        client.allocate_with(lab, |builder| {
            builder.attribute(&token);
        })
    };
    assert_eq!(with_token(&mut mallory, &mut lab).code(), 508);
    assert_eq!(with_token(&mut Client::new(B), &mut lab).code(), 0);
}

#[test]
fn a_socket_that_is_not_parked_any_more_is_508() {
    let mut lab = Lab::new(config());
    let token = Client::new(A)
        .allocate_with(&mut lab, |builder| {
            builder.attribute(&EvenPort { reserve_next: true });
        })
        .token()
        .unwrap();
    lab.parked.clear();
    let reply = Client::new(B).allocate_with(&mut lab, |builder| {
        builder.attribute(&token);
    });
    assert_eq!(reply.code(), 508);
    assert_eq!(lab.server.allocations(), 1);
}

#[test]
fn reservations_end_at_their_bound() {
    let mut few = config();
    few.limits = Limits {
        reservations: 2,
        ..Limits::default()
    };
    let mut lab = Lab::new(few);
    let codes: Vec<_> = (1..=3)
        .map(|port| {
            let reply = Client::new(&format!("192.0.2.1:{port}")).allocate_with(&mut lab, |builder| {
                builder.attribute(&EvenPort { reserve_next: true });
            });
            reply.code()
        })
        .collect();
    assert_eq!(codes, [0, 0, 508]);
    assert_eq!(lab.server.stats().quota_hits[QuotaKind::Reservations.index()], 1);
    assert_eq!(lab.sockets.len(), 2);
    assert_eq!(lab.ledger.total(), 2);
}

#[test]
fn one_user_cannot_hold_every_reservation_of_the_process() {
    // A reservation outlives the allocation it came with, so the quota of allocations does not bound them.
    let mut few = config();
    few.limits = Limits {
        allocations_per_user: 2,
        ..Limits::default()
    };
    let mut lab = Lab::new(few);
    let reserve = |lab: &mut Lab, user: &str, port: u16| {
        let mut client = Client::with_expiry(&format!("192.0.2.1:{port}"), user, Duration::from_secs(3600));
        let reply = client.allocate_with(lab, |builder| {
            builder.attribute(&EvenPort { reserve_next: true });
        });
        if reply.code() == 0 {
            client.refresh(lab, 0);
            lab.sent.clear();
        }
        reply.code()
    };
    assert_eq!(reserve(&mut lab, "mallory", 1), 0);
    assert_eq!(reserve(&mut lab, "mallory", 2), 0);
    assert_eq!(reserve(&mut lab, "mallory", 3), 508);
    assert_eq!(reserve(&mut lab, "alice", 4), 0);
    assert_eq!(lab.server.stats().quota_hits[QuotaKind::Reservations.index()], 1);
    lab.advance(Duration::from_secs(30));
    assert_eq!(reserve(&mut lab, "mallory", 5), 0);
    lab.advance(Duration::from_secs(30));
    lab.assert_empty();
}

#[test]
fn a_reserved_port_that_another_shard_took_and_gave_back_is_free_before_its_timer() {
    // One pair of ports in each shard: 50000 and 50001 belong to the first, 50002 and 50003 to the second.
    let mut narrow = config();
    narrow.relay_ports = 50000..=50003;
    let (ledger, reservations) = (Ledger::new(), Reservations::new());
    let shard = |index| Shard { index, count: 2 };
    let mut first = Lab::shard(narrow.clone(), shard(0), ledger.clone(), reservations.clone());
    let mut second = Lab::shard(narrow, shard(1), ledger, reservations);
    second.now = first.now;
    let mut client = Client::new(A);
    let reply = client.allocate_with(&mut first, |builder| {
        builder.attribute(&EvenPort { reserve_next: true });
    });
    let token = reply.token().unwrap();
    second.parked.append(&mut first.parked);
    let mut claimant = Client::new("192.0.2.1:4001");
    let claimed = claimant.allocate_with(&mut second, |builder| {
        builder.attribute(&token);
    });
    assert_eq!(
        (claimed.code(), claimed.relayed().port()),
        (0, reply.relayed().port() + 1)
    );
    claimant.refresh(&mut second, 0);
    client.refresh(&mut first, 0);
    for port in 5000..5002 {
        assert_eq!(
            Client::new(&format!("192.0.2.1:{port}"))
                .allocate_with(&mut first, |_| {})
                .code(),
            0
        );
    }
}

#[test]
fn a_pair_is_asked_for_as_a_pair() {
    let mut lab = Lab::new(config());
    lab.hold_binds = true;
    let mut client = Client::new(A);
    client.challenge(&mut lab);
    let request = client.request(Method::ALLOCATE, |builder| {
        builder
            .attribute(&RequestedTransport::UDP)
            .attribute(&EvenPort { reserve_next: true });
    });
    lab.client(&client.five_tuple, &request);
    let (_, at, socket) = lab.held[0];
    assert_eq!(at.port() % 2, 0);
    assert!(matches!(socket, RelaySocket::FreshAndReserveNext(_)));
    lab.report(Err(BindError::InUse));
    let (_, next, socket) = lab.held[0];
    assert_ne!(next, at);
    assert!(matches!(socket, RelaySocket::FreshAndReserveNext(_)));
    lab.report(Ok(()));
    assert_eq!(lab.reply().relayed().port(), next.port());
    assert_eq!(lab.parked[0].1.port(), next.port() + 1);
}

#[test]
fn users_clients_and_the_process_have_their_quotas() {
    for (limits, code, kind) in [
        (
            Limits {
                allocations_per_user: 2,
                ..Limits::default()
            },
            486,
            QuotaKind::User,
        ),
        (
            Limits {
                allocations_per_client: 2,
                ..Limits::default()
            },
            486,
            QuotaKind::Client,
        ),
        (
            Limits {
                allocations: 2,
                ..Limits::default()
            },
            508,
            QuotaKind::Process,
        ),
    ] {
        let mut lab = Lab::new(meetpoint::turn::Config { limits, ..config() });
        // A fresh expiry is not a fresh quota.
        let mut clients: Vec<_> = (1..=3_u64)
            .map(|n| Client::with_expiry(&format!("192.0.2.1:{n}"), "bob", Duration::from_secs(60 + n)))
            .collect();
        let codes: Vec<_> = clients
            .iter_mut()
            .map(|client| client.allocate_with(&mut lab, |_| {}).code())
            .collect();
        assert_eq!(codes, [0, 0, code], "{kind:?}");
        assert_eq!(lab.server.stats().quota_hits[kind.index()], 1);
        clients[0].refresh(&mut lab, 0);
        assert_eq!(clients[2].allocate_with(&mut lab, |_| {}).code(), 0);
    }
}

#[test]
fn clients_without_a_user_are_counted_by_their_credential() {
    // Prosody and others mint a bare expiry for everybody: they must not share one user's quota.
    let mut few = config();
    few.limits = Limits {
        allocations_per_user: 1,
        ..Limits::default()
    };
    let mut lab = Lab::new(few);
    let codes = [(4000, 3600), (4001, 3601), (4002, 3601)].map(|(port, ttl)| {
        let address = format!("192.0.2.1:{port}");
        let mut client = Client::with_expiry(&address, "", Duration::from_secs(ttl));
        client.allocate_with(&mut lab, |_| {}).code()
    });
    assert_eq!(codes, [0, 0, 486]);
}
