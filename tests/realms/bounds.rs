//! What a realm may hold and relay: at the bound, past it, and never at the cost of another.

use std::time::Duration;

use meetpoint::turn::{
    AllocateRefusal, Config, Direction, DropReason, Handled, Ledger, Limits, QuotaKind, RateKind, RateLimit,
    RealmConfig, RealmLimits, Reservations, Shard, Verdict,
};

use crate::relay::{Client, Lab, PEER, SECRET, addr, channel_data};
use crate::two::{ACME, GLOBEX, acme, globex, minted, of_acme, of_globex, stats, with};

const MIB: u64 = 1 << 20;
const SECONDS: u64 = 10;

fn limited(limits: RealmLimits) -> Config {
    with([RealmConfig { limits, ..acme() }, globex()])
}

fn allocate(lab: &mut Lab, mut client: Client) -> u16 {
    client.allocate_with(lab, |_| {}).code()
}

fn hits(lab: &Lab, kind: QuotaKind) -> u64 {
    lab.server.stats().quota_hits[kind.index()]
}

#[test]
fn a_realm_has_its_number_of_allocations_and_none_of_it_comes_off_anothers() {
    let limits = RealmLimits {
        allocations: 3,
        ..RealmLimits::NONE
    };
    let mut lab = Lab::new(limited(limits));
    let at = |port: u16| format!("192.0.2.1:{port}");
    for port in 1..=3 {
        assert_eq!(allocate(&mut lab, of_acme(&at(port), &format!("u{port}"))), 0);
    }
    assert_eq!(allocate(&mut lab, of_acme(&at(4), "u4")), 486);
    assert_eq!(hits(&lab, QuotaKind::Realm), 1);
    for port in 5..=8 {
        assert_eq!(allocate(&mut lab, of_globex(&at(port), "u")), 0);
    }
    assert_eq!(allocate(&mut lab, minted(&at(9), SECRET, "u")), 0);
    let counted = stats(&mut lab, ACME);
    assert_eq!(
        (
            counted.allocations,
            counted.allocations_created,
            counted.allocations_refused[AllocateRefusal::Quota.index()]
        ),
        (3, 3, 1)
    );
    assert_eq!(stats(&mut lab, GLOBEX).allocations, 4);
    assert_eq!(stats(&mut lab, "default").allocations, 1);

    lab.gone(&crate::relay::five_tuple(&at(1)));
    assert_eq!(stats(&mut lab, ACME).allocations, 2);
    assert_eq!(allocate(&mut lab, of_acme(&at(4), "u4")), 0);
    lab.advance(Duration::from_secs(3600));
    lab.assert_empty();
    for realm in [ACME, GLOBEX, "default"] {
        assert_eq!(stats(&mut lab, realm).allocations, 0);
    }
}

#[test]
fn the_bound_of_the_process_holds_for_realms_too() {
    let mut config = limited(RealmLimits::NONE);
    config.limits.allocations = 2;
    let mut lab = Lab::new(config);
    assert_eq!(allocate(&mut lab, of_acme("192.0.2.1:1", "a")), 0);
    assert_eq!(allocate(&mut lab, of_globex("192.0.2.1:2", "a")), 0);
    assert_eq!(allocate(&mut lab, of_acme("192.0.2.1:3", "a")), 508);
    assert_eq!(hits(&lab, QuotaKind::Process), 1);
}

#[test]
fn a_user_has_the_number_of_its_realm_and_the_same_name_elsewhere_is_somebody_else() {
    for (of_realm, expected) in [(Some(2), 2), (None, 3), (Some(4), 4)] {
        let mut config = limited(RealmLimits {
            allocations_per_user: of_realm,
            ..RealmLimits::NONE
        });
        config.limits.allocations_per_user = 3;
        let mut lab = Lab::new(config);
        let mut allocated = |client: fn(&str, &str) -> Client, from: u16| {
            let codes = (from..from + 9).map(|port| allocate(&mut lab, client(&format!("192.0.2.1:{port}"), "u")));
            codes.filter(|code| *code == 0).count()
        };
        assert_eq!(allocated(of_acme, 100), expected);
        assert_eq!(allocated(of_globex, 200), 3);
        assert_eq!(allocated(|address, user| minted(address, SECRET, user), 300), 3);
    }
}

#[test]
fn a_reserved_port_is_not_claimed_from_another_realm() {
    let mut lab = Lab::new(limited(RealmLimits::NONE));
    let mut owner = of_acme("192.0.2.1:1", "u");
    let reply = owner.allocate_with(&mut lab, |builder| {
        builder.raw_attribute(meetpoint::wire::AttributeType::EVEN_PORT, &[0x80]);
    });
    let token = reply.token().unwrap();
    let mut claim = |mut client: Client| {
        let reply = client.allocate_with(&mut lab, |builder| {
            builder.attribute(&token);
        });
        reply.code()
    };
    assert_eq!(claim(of_globex("192.0.2.1:2", "u")), 508);
    assert_eq!(claim(minted("192.0.2.1:3", SECRET, "u")), 508);
    assert_eq!(claim(of_acme("192.0.2.1:4", "u")), 0);
}

fn bytes(per_second: u64) -> RateLimit {
    RateLimit {
        bytes_per_second: per_second,
        ..RateLimit::NONE
    }
}

fn packets(per_second: u64) -> RateLimit {
    RateLimit {
        packets_per_second: per_second,
        ..RateLimit::NONE
    }
}

/// One limit at a time, with the kinds that it counts what it stops under.
fn each_scope(rate: RateLimit) -> [(RealmLimits, RateKind, RateKind); 3] {
    let none = RealmLimits::NONE;
    let allocation = RealmLimits {
        allocation_rate: Some(rate),
        ..none
    };
    let user = RealmLimits {
        user_rate: Some(rate),
        ..none
    };
    let total = RealmLimits {
        total_rate: rate,
        ..none
    };
    [
        (allocation, RateKind::AllocationBytes, RateKind::AllocationPackets),
        (user, RateKind::UserBytes, RateKind::UserPackets),
        (total, RateKind::RealmBytes, RateKind::RealmPackets),
    ]
}

fn ready(lab: &mut Lab, mut client: Client) -> Client {
    client.allocate(lab);
    assert_eq!(client.bind(lab, 0x4000, PEER), 0);
    client
}

/// Whether a packet passed; if not, a limit stopped it.
fn passed(handled: Handled) -> bool {
    match handled {
        Handled::Forward(_) => true,
        Handled::Done(verdict) => {
            assert_eq!(verdict, Verdict::Dropped(DropReason::OverRate));
            false
        }
    }
}

fn assert_within_two_percent(passed: u64, expected: u64) {
    let (low, high) = (expected * 98 / 100, expected * 102 / 100);
    assert!((low..=high).contains(&passed), "{passed} instead of {expected}");
}

#[test]
fn ten_seconds_of_a_realm_are_exact_to_two_percent_while_others_are_not_slowed_down() {
    for (rate, step, size) in [(MIB, 1_000, 1_000), (20 * MIB, 200, 1_200)] {
        for (limits, of_bytes, _) in each_scope(bytes(rate)) {
            let mut lab = Lab::new(limited(limits));
            let acme = ready(&mut lab, of_acme("192.0.2.1:1", "bob"));
            let globex = ready(&mut lab, of_globex("192.0.2.1:2", "bob"));
            let default = ready(&mut lab, minted("192.0.2.1:3", SECRET, "bob"));
            let relay = *lab.sockets.keys().next().unwrap();
            let data = vec![7; size];
            let datagram = channel_data(0x4000, &data);
            let (mut out, mut back) = (0, 0);
            for _ in 0..SECONDS * 1_000_000 / step {
                for _ in 0..(rate * step * 3 / 2 / 1_000_000 / size as u64).max(2) {
                    let handled = lab.server.handle_client(lab.now, &acme.five_tuple, &datagram);
                    out += u64::from(passed(handled)) * size as u64;
                    let from = meetpoint::turn::PeerAddr(addr(PEER));
                    back += u64::from(passed(lab.server.handle_peer(lab.now, relay, from, &data))) * size as u64;
                    for other in [&globex, &default] {
                        assert!(passed(lab.server.handle_client(lab.now, &other.five_tuple, &datagram)));
                    }
                }
                lab.now.instant += Duration::from_micros(step);
            }
            assert_within_two_percent(out, rate * SECONDS);
            assert_within_two_percent(back, rate * SECONDS);
            let stopped: u64 = lab.server.stats().over_rate.iter().flatten().sum();
            let of_kind: u64 = lab
                .server
                .stats()
                .over_rate
                .iter()
                .map(|way| way[of_bytes.index()])
                .sum();
            assert_eq!((of_kind, stats(&mut lab, ACME).over_rate), (stopped, stopped));
            // The bytes of all realms are the bytes of the relay.
            let counted = stats(&mut lab, ACME).traffic.map(|way| way.bytes);
            assert_eq!(counted, [out, back]);
            for way in Direction::ALL {
                let of_relay: u64 = lab.server.stats().traffic[way.index()]
                    .iter()
                    .map(|each| each.bytes)
                    .sum();
                let realms: u64 = lab
                    .server
                    .realm_stats()
                    .iter()
                    .map(|each| each.traffic[way.index()].bytes)
                    .sum();
                assert_eq!(realms, of_relay);
            }
            lab.check();
        }
    }
}

#[test]
fn a_realms_packets_pass_to_the_burst_and_not_one_more() {
    for (limits, _, of_packets) in each_scope(RateLimit {
        packet_burst: 10,
        ..packets(1)
    }) {
        let mut lab = Lab::new(limited(limits));
        let mut client = ready(&mut lab, of_acme("192.0.2.1:1", "bob"));
        let mut out = || {
            (0..20)
                .filter(|_| passed(client.send_on(&mut lab, 0x4000, b"x")))
                .count()
        };
        assert_eq!(out(), 10);
        assert_eq!(out(), 0);
        let stopped = lab.server.stats().over_rate[Direction::ClientToPeer.index()];
        assert_eq!(stopped[of_packets.index()], 30);
    }
}

#[test]
fn the_limits_of_the_process_hold_for_realms_too_and_what_they_stop_is_given_back() {
    let mut config = limited(RealmLimits {
        total_rate: RateLimit {
            packet_burst: 8,
            ..packets(1)
        },
        ..RealmLimits::NONE
    });
    config.limits = Limits {
        total_rate: RateLimit {
            packet_burst: 5,
            ..packets(1)
        },
        ..Limits::default()
    };
    let mut lab = Lab::new(config);
    let mut client = ready(&mut lab, of_acme("192.0.2.1:1", "bob"));
    assert_eq!(
        (0..20)
            .filter(|_| passed(client.send_on(&mut lab, 0x4000, b"x")))
            .count(),
        5
    );
    // Fifteen times the realm had something left, because it was given back fourteen times.
    let stopped = lab.server.stats().over_rate[Direction::ClientToPeer.index()];
    assert_eq!(stopped[RateKind::TotalPackets.index()], 15);
    assert_eq!(stopped.iter().sum::<u64>(), 15);
    assert_eq!(stats(&mut lab, ACME).over_rate, 15);
}

#[test]
fn shards_share_the_limit_of_a_realm_to_two_percent() {
    const SHARDS: u16 = 4;
    let rate = 8 * MIB;
    let limits = RealmLimits {
        total_rate: bytes(rate),
        ..RealmLimits::NONE
    };
    let (ledger, reservations) = (Ledger::new(), Reservations::new());
    let mut labs: Vec<_> = (0..SHARDS)
        .map(|index| {
            let shard = Shard { index, count: SHARDS };
            Lab::shard(limited(limits), shard, ledger.clone(), reservations.clone())
        })
        .collect();
    let begin = labs[0].now;
    let mut clients: Vec<_> = labs
        .iter_mut()
        .enumerate()
        .map(|(index, lab)| {
            lab.now = begin;
            ready(lab, of_acme(&format!("192.0.2.1:{}", index + 1), &format!("u{index}")))
        })
        .collect();
    let mut out = 0;
    for millisecond in 0..SECONDS * 1000 {
        for (index, (lab, client)) in labs.iter_mut().zip(&mut clients).enumerate() {
            lab.now.instant = begin.instant + Duration::from_millis(millisecond);
            let load = [0, 12, 2, 2][(millisecond / 700 + index as u64) as usize % 4];
            for _ in 0..load {
                out += u64::from(passed(client.send_on(lab, 0x4000, &[1; 1200]))) * 1200;
            }
        }
    }
    assert_within_two_percent(out, rate * SECONDS);
}
