//! Limits of bytes and packets, in virtual time: as exact as a bill must be, and none of them stops what it need not.

use std::sync::Arc;
use std::time::Duration;

use meetpoint::turn::{
    Config, Direction, DropReason, Handled, Ledger, Limits, RateKind, RateLimit, Reservations, Shard, Verdict,
};

#[path = "support/relay.rs"]
mod relay;

use relay::{Client, Lab, PEER, addr, config};

const MIB: u64 = 1 << 20;
const SECONDS: u64 = 10;

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

fn limited(limits: Limits) -> Config {
    Config { limits, ..config() }
}

/// One limit at a time.
fn each_scope(rate: RateLimit) -> [Limits; 3] {
    let none = Limits::default();
    [
        Limits {
            allocation_rate: rate,
            ..none
        },
        Limits {
            user_rate: rate,
            ..none
        },
        Limits {
            total_rate: rate,
            ..none
        },
    ]
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

fn ready(lab: &mut Lab, address: &str, user: &str) -> Client {
    let mut client = Client::with_expiry(address, user, Duration::from_secs(3600));
    client.allocate(lab);
    assert_eq!(client.bind(lab, 0x4000, PEER), 0);
    client
}

fn assert_within_two_percent(passed: u64, expected: u64) {
    let (low, high) = (expected * 98 / 100, expected * 102 / 100);
    assert!((low..=high).contains(&passed), "{passed} instead of {expected}");
}

#[test]
fn ten_seconds_of_bytes_are_exact_to_two_percent_for_every_limit_in_either_direction() {
    // From where the burst of 64 KiB is below one percent up to 10 Gbit/s.
    for (rate, step, size) in [
        (MIB, 1_000, 1_000),
        (20 * MIB, 100, 1_200),
        (1_250_000_000, 100, 60_000),
    ] {
        for limits in each_scope(bytes(rate)) {
            let mut lab = Lab::new(limited(limits));
            let mut client = ready(&mut lab, "192.0.2.1:1", "bob");
            let relay = *lab.sockets.keys().next().unwrap();
            let (mut out, mut back) = (0, 0);
            let data = vec![7; size];
            let datagram = relay::channel_data(0x4000, &data);
            for _ in 0..SECONDS * 1_000_000 / step {
                for _ in 0..(rate * step * 3 / 2 / 1_000_000 / size as u64).max(2) {
                    let handled = lab.server.handle_client(lab.now, &client.five_tuple, &datagram);
                    out += u64::from(passed(handled)) * size as u64;
                    let from = meetpoint::turn::PeerAddr(addr(PEER));
                    back += u64::from(passed(lab.server.handle_peer(lab.now, relay, from, &data))) * size as u64;
                }
                lab.now.instant += Duration::from_micros(step);
            }
            assert_within_two_percent(out, rate * SECONDS);
            assert_within_two_percent(back, rate * SECONDS);
            lab.check();
            client.refresh(&mut lab, 0);
            lab.assert_empty();
        }
    }
}

#[test]
fn ten_seconds_of_packets_are_exact_to_two_percent_for_every_limit() {
    for limits in each_scope(packets(1000)) {
        let mut lab = Lab::new(limited(limits));
        let mut client = ready(&mut lab, "192.0.2.1:1", "bob");
        let mut out = 0;
        for _ in 0..SECONDS * 2000 {
            out += u64::from(passed(client.send_on(&mut lab, 0x4000, b"x")));
            lab.sleep(Duration::from_micros(500));
        }
        assert_within_two_percent(out, 1000 * SECONDS);
        let stats = lab.server.stats();
        let stopped: u64 = stats.over_rate[Direction::ClientToPeer.index()].iter().sum();
        assert_eq!(stopped, SECONDS * 2000 - out);
        assert_eq!(stats.dropped[DropReason::OverRate.index()], stopped);
    }
}

#[test]
fn the_burst_passes_to_the_byte_and_no_byte_more() {
    for limits in each_scope(RateLimit {
        byte_burst: 100_000,
        ..bytes(1_000)
    }) {
        let mut lab = Lab::new(limited(limits));
        let mut client = ready(&mut lab, "192.0.2.1:1", "bob");
        for _ in 0..100 {
            assert!(passed(client.send_on(&mut lab, 0x4000, &[1; 1000])));
        }
        assert!(!passed(client.send_on(&mut lab, 0x4000, &[1; 1])));
        // An empty packet has no bytes.
        assert!(passed(client.send_on(&mut lab, 0x4000, &[])));
        lab.sleep(Duration::from_secs(1));
        assert!(!passed(client.send_on(&mut lab, 0x4000, &[1; 1001])));
        assert!(passed(client.send_on(&mut lab, 0x4000, &[1; 1000])));
    }
}

#[test]
fn each_limit_counts_what_it_stopped_under_its_own_name() {
    let kinds = [
        [RateKind::AllocationBytes, RateKind::AllocationPackets],
        [RateKind::UserBytes, RateKind::UserPackets],
        [RateKind::TotalBytes, RateKind::TotalPackets],
    ];
    for (of, limit) in [bytes(1), packets(1)].into_iter().enumerate() {
        for (limits, kinds) in each_scope(limit).into_iter().zip(kinds) {
            let mut lab = Lab::new(limited(limits));
            let mut client = ready(&mut lab, "192.0.2.1:1", "bob");
            let stopped = (0..100)
                .filter(|_| !passed(client.send_on(&mut lab, 0x4000, &[1; 1400])))
                .count() as u64;
            let counted = lab.server.stats().over_rate[Direction::ClientToPeer.index()];
            assert!(stopped > 0);
            assert_eq!(counted[kinds[of].index()], stopped);
            assert_eq!(counted.iter().sum::<u64>(), stopped);
        }
    }
}

#[test]
fn an_allocation_at_its_limit_leaves_the_users_and_the_total_untouched() {
    let limits = Limits {
        allocation_rate: packets(10),
        user_rate: RateLimit {
            packet_burst: 3,
            ..packets(10)
        },
        ..Limits::default()
    };
    let mut lab = Lab::new(limited(limits));
    let mut one = ready(&mut lab, "192.0.2.1:1", "bob");
    let mut two = ready(&mut lab, "192.0.2.1:2", "bob");
    // A burst of one for each allocation, of three for their user: what the first is refused, the second can have.
    assert!(passed(one.send_on(&mut lab, 0x4000, b"x")));
    for _ in 0..50 {
        assert!(!passed(one.send_on(&mut lab, 0x4000, b"x")));
    }
    assert!(passed(two.send_on(&mut lab, 0x4000, b"x")));
    let mut three = ready(&mut lab, "192.0.2.1:3", "bob");
    let mut four = ready(&mut lab, "192.0.2.1:4", "bob");
    assert!(passed(three.send_on(&mut lab, 0x4000, b"x")));
    assert!(!passed(four.send_on(&mut lab, 0x4000, b"x")));
    let counted = lab.server.stats().over_rate[Direction::ClientToPeer.index()];
    assert_eq!(counted[RateKind::AllocationPackets.index()], 50);
    assert_eq!(counted[RateKind::UserPackets.index()], 1);
}

#[test]
fn a_packet_that_ends_for_another_reason_is_given_back() {
    for limits in each_scope(packets(10)) {
        let mut lab = Lab::new(limited(limits));
        let mut a = Client::with_expiry("192.0.2.1:1", "ann", Duration::from_secs(3600));
        let mut b = Client::with_expiry("192.0.2.2:1", "bob", Duration::from_secs(3600));
        let (at_a, at_b) = (a.allocate(&mut lab), b.allocate(&mut lab));
        a.bind(&mut lab, 0x4000, &at_b.to_string());
        for _ in 0..20 {
            let handled = a.send_on(&mut lab, 0x4000, b"x");
            assert_eq!(handled, Handled::Done(Verdict::Dropped(DropReason::NoPermission)));
        }
        b.permit(&mut lab, &[&at_a.to_string()]);
        assert!(passed(a.send_on(&mut lab, 0x4000, b"x")));
        let traffic = lab.server.stats().traffic;
        assert_eq!(traffic.map(|way| way[0].packets), [1, 1], "both clients are charged");
        assert!(!passed(a.send_on(&mut lab, 0x4000, b"x")));
    }
}

#[test]
fn shards_share_the_users_and_the_total_limit_to_two_percent_however_the_load_moves() {
    const SHARDS: u16 = 4;
    let rate = 8 * MIB;
    for limits in each_scope(bytes(rate)).into_iter().skip(1) {
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
                ready(lab, &format!("192.0.2.1:{}", index + 1), "bob")
            })
            .collect();
        let mut out = 0;
        for millisecond in 0..SECONDS * 1000 {
            for (index, (lab, client)) in labs.iter_mut().zip(&mut clients).enumerate() {
                lab.now.instant = begin.instant + Duration::from_millis(millisecond);
                // One shard in turn is idle, one carries more than the whole rate, the others some of it.
                let load = match (millisecond / 700 + index as u64) % 4 {
                    0 => 0,
                    1 => 12,
                    _ => 2,
                };
                for _ in 0..load {
                    out += u64::from(passed(client.send_on(lab, 0x4000, &[1; 1200]))) * 1200;
                }
            }
        }
        assert_within_two_percent(out, rate * SECONDS);
    }
}

#[test]
fn allocating_anew_is_no_new_burst_for_the_user() {
    let limits = Limits {
        user_rate: RateLimit {
            packet_burst: 10,
            ..packets(1)
        },
        ..Limits::default()
    };
    let mut lab = Lab::new(limited(limits));
    let mut out = 0;
    for port in 1..20 {
        let mut client = ready(&mut lab, &format!("192.0.2.1:{port}"), "bob");
        out += (0..5)
            .filter(|_| passed(client.send_on(&mut lab, 0x4000, b"x")))
            .count();
        client.refresh(&mut lab, 0);
    }
    assert_eq!(out, 10);
    lab.assert_empty();
}

#[test]
fn without_limits_nothing_is_stopped_and_a_limit_holds_from_the_reload_on() {
    let mut lab = Lab::new(config());
    let mut client = ready(&mut lab, "192.0.2.1:1", "bob");
    for _ in 0..20_000 {
        assert!(passed(client.send_on(&mut lab, 0x4000, &[1; 1400])));
    }
    let limits = Limits {
        allocation_rate: packets(10),
        ..Limits::default()
    };
    lab.server.reconfigure(Arc::new(limited(limits)));
    assert!(passed(client.send_on(&mut lab, 0x4000, b"x")));
    assert!(!passed(client.send_on(&mut lab, 0x4000, b"x")));
    lab.server.reconfigure(Arc::new(config()));
    assert!(passed(client.send_on(&mut lab, 0x4000, b"x")));
}
