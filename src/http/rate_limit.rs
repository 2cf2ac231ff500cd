//! How often one client may ask: the generic cell rate algorithm over a table of fixed size.
//!
//! A client is an IPv4 address or an IPv6 /64, which is what one subscriber holds. Its state is one number, the
//! theoretical arrival time of its next request. The table is a set-associative cache: a client's place is one of
//! eight slots of the set that its hash names, so a full table costs nothing to search and the one forgotten is the one
//! whose bucket is nearest to full. The hash is seeded, so that nobody can aim at another client's set.

use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Slots per set.
const WAYS: usize = 8;

/// Key of a slot that holds nobody.
const EMPTY: u64 = 0;

#[derive(Clone, Copy, Debug)]
struct Slot {
    key: u64,
    /// Theoretical arrival time, nanoseconds since `began`. In the past: the bucket is full.
    arrival: u64,
}

/// A bucket per client: IPv4 address or IPv6 /64. Only requests that mint are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// One credential per this long, in the long run. Default 1 s. Zero switches the limit off.
    pub interval: Duration,
    /// Credentials at once before `interval` counts. Default 30. Many people behind one address load a page together.
    pub burst: u32,
    /// Whether loopback is limited too. Default no: it is the operator, or a proxy that was forgotten in `trusted_proxies`.
    pub limit_loopback: bool,
    /// Clients remembered. Default 65 536, 32 bytes each. Past it the client that was quiet the longest among a sample is
    /// forgotten, which gives it a full bucket again.
    pub clients: usize,
}

impl Default for RateLimit {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(1),
            burst: 30,
            limit_loopback: false,
            clients: 65_536,
        }
    }
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Go on. `evicted`: another client was forgotten to remember this one.
    Allowed {
        /// Whether the table had to forget somebody whose bucket was not full.
        evicted: bool,
    },
    /// Too many; the next one is due after this long.
    Limited {
        /// Until a request would be allowed.
        retry_after: Duration,
    },
}

/// The limiter of one route, shared by all its requests.
#[derive(Debug)]
pub struct RateLimiter {
    /// Nanoseconds that one request costs; 0 is no limit.
    interval: u64,
    /// How far ahead of now the arrival time may run.
    tolerance: u64,
    limit_loopback: bool,
    began: Instant,
    hasher: RandomState,
    slots: Mutex<Box<[Slot]>>,
}

impl RateLimiter {
    /// A limiter where everybody's bucket is full at `now`.
    pub fn new(config: RateLimit, now: Instant) -> Self {
        let sets = config.clients.div_ceil(WAYS).max(1).next_power_of_two();
        let interval = nanos(config.interval);
        Self {
            interval,
            tolerance: interval.saturating_mul(u64::from(config.burst.max(1))),
            limit_loopback: config.limit_loopback,
            began: now,
            hasher: RandomState::new(),
            slots: Mutex::new(vec![Slot { key: EMPTY, arrival: 0 }; sets * WAYS].into()),
        }
    }

    /// How long until one request of `ip` would be allowed; `None` when it would be now. Charges nothing.
    pub fn wait(&self, ip: IpAddr, now: Instant) -> Option<Duration> {
        if self.interval == 0 || (ip.is_loopback() && !self.limit_loopback) {
            return None;
        }
        let key = key_of(ip);
        let now = nanos(now.saturating_duration_since(self.began));
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let sets = slots.len() / WAYS;
        let set = (self.hasher.hash_one(key) as usize & (sets - 1)) * WAYS;
        let slot = slots[set..set + WAYS].iter().find(|slot| slot.key == key)?;
        let ahead = (slot.arrival.max(now) - now).saturating_add(self.interval);
        let over = ahead.checked_sub(self.tolerance)?;
        (over > 0).then(|| Duration::from_nanos(over))
    }

    /// Charges one request of `ip`.
    pub fn check(&self, ip: IpAddr, now: Instant) -> Decision {
        if self.interval == 0 || (ip.is_loopback() && !self.limit_loopback) {
            return Decision::Allowed { evicted: false };
        }
        let key = key_of(ip);
        let now = nanos(now.saturating_duration_since(self.began));
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let sets = slots.len() / WAYS;
        let set = (self.hasher.hash_one(key) as usize & (sets - 1)) * WAYS;
        let set = &mut slots[set..set + WAYS];

        let known = set.iter_mut().find(|slot| slot.key == key);
        let (slot, evicted) = match known {
            Some(slot) => (slot, false),
            None => {
                // An empty slot has the arrival time 0 and so is taken first.
                let Some(slot) = set.iter_mut().min_by_key(|slot| slot.arrival) else {
                    return Decision::Allowed { evicted: false };
                };
                let evicted = slot.key != EMPTY && slot.arrival > now;
                *slot = Slot { key, arrival: 0 };
                (slot, evicted)
            }
        };
        let arrival = slot.arrival.max(now).saturating_add(self.interval);
        let ahead = arrival - now;
        if ahead > self.tolerance {
            return Decision::Limited {
                retry_after: Duration::from_nanos(ahead - self.tolerance),
            };
        }
        slot.arrival = arrival;
        Decision::Allowed { evicted }
    }
}

/// IPv6 by its first 64 bits; IPv4 under a prefix that no host can have (multicast). Never [`EMPTY`].
fn key_of(ip: IpAddr) -> u64 {
    let key = match ip.to_canonical() {
        IpAddr::V4(ip) => 0xffff_ffff_0000_0000 | u64::from(ip.to_bits()),
        IpAddr::V6(ip) => (ip.to_bits() >> 64) as u64,
    };
    key.max(1)
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn limiter(burst: u32, clients: usize) -> (RateLimiter, Instant) {
        let now = Instant::now();
        let config = RateLimit {
            interval: SECOND,
            burst,
            limit_loopback: false,
            clients,
        };
        (RateLimiter::new(config, now), now)
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn allowed(decision: Decision) -> bool {
        matches!(decision, Decision::Allowed { .. })
    }

    #[test]
    fn the_burst_is_allowed_at_once_and_then_one_per_interval() {
        let (limiter, now) = limiter(3, 64);
        let client = ip("203.0.113.7");
        for _ in 0..3 {
            assert!(allowed(limiter.check(client, now)));
        }
        assert_eq!(limiter.check(client, now), Decision::Limited { retry_after: SECOND });
        let half = now + SECOND / 2;
        assert_eq!(
            limiter.check(client, half),
            Decision::Limited {
                retry_after: SECOND / 2
            }
        );
        assert!(allowed(limiter.check(client, now + SECOND)));
        assert!(!allowed(limiter.check(client, now + SECOND)));
        let later = now + SECOND * 100;
        assert_eq!((0..9).filter(|_| allowed(limiter.check(client, later))).count(), 3);
    }

    #[test]
    fn asking_how_long_to_wait_costs_nothing_and_says_what_charging_would() {
        let (limiter, now) = limiter(2, 64);
        let client = ip("203.0.113.7");
        for _ in 0..2 {
            assert_eq!(limiter.wait(client, now), None);
            assert_eq!(limiter.wait(client, now), None);
            assert!(allowed(limiter.check(client, now)));
        }
        assert_eq!(limiter.wait(client, now), Some(SECOND));
        assert_eq!(limiter.wait(client, now + SECOND / 2), Some(SECOND / 2));
        assert_eq!(limiter.wait(client, now + SECOND), None);
        assert_eq!(limiter.wait(ip("203.0.113.8"), now), None);
        assert_eq!(limiter.wait(ip("127.0.0.1"), now), None);
    }

    #[test]
    fn a_refused_request_costs_nothing() {
        let (limiter, now) = limiter(1, 64);
        let client = ip("203.0.113.7");
        assert!(allowed(limiter.check(client, now)));
        for _ in 0..100 {
            assert!(!allowed(limiter.check(client, now)));
        }
        assert!(allowed(limiter.check(client, now + SECOND)));
    }

    #[test]
    fn clients_are_addresses_of_ipv4_and_networks_of_ipv6() {
        let (limiter, now) = limiter(1, 64);
        assert!(allowed(limiter.check(ip("203.0.113.7"), now)));
        assert!(allowed(limiter.check(ip("203.0.113.8"), now)));
        assert!(!allowed(limiter.check(ip("::ffff:203.0.113.7"), now)));
        assert!(allowed(limiter.check(ip("2001:db8:1:2::1"), now)));
        assert!(!allowed(limiter.check(ip("2001:db8:1:2:ffff::9"), now)));
        assert!(allowed(limiter.check(ip("2001:db8:1:3::1"), now)));
    }

    #[test]
    fn loopback_is_limited_only_when_told_so() {
        let (limiter, now) = limiter(1, 64);
        for client in ["127.0.0.1", "127.9.9.9", "::1"] {
            assert!((0..50).all(|_| allowed(limiter.check(ip(client), now))), "{client}");
        }
        let config = RateLimit {
            interval: SECOND,
            burst: 1,
            limit_loopback: true,
            clients: 8,
        };
        let limiter = RateLimiter::new(config, now);
        assert!(allowed(limiter.check(ip("::1"), now)));
        assert!(!allowed(limiter.check(ip("::1"), now)));
    }

    #[test]
    fn an_interval_of_zero_is_no_limit() {
        let now = Instant::now();
        let config = RateLimit {
            interval: Duration::ZERO,
            burst: 1,
            limit_loopback: true,
            clients: 8,
        };
        let limiter = RateLimiter::new(config, now);
        assert!((0..1000).all(|_| allowed(limiter.check(ip("203.0.113.7"), now))));
    }

    #[test]
    fn a_full_table_forgets_the_client_that_was_quiet_longest() {
        let (limiter, now) = limiter(10, WAYS);
        let client = |number: u32| IpAddr::from(std::net::Ipv4Addr::from_bits(0xcb00_7100 + number));
        // Client 0 asks once, the others twice: its bucket is the fullest.
        for number in 0..WAYS as u32 {
            for _ in 0..=u32::from(number > 0) {
                assert_eq!(limiter.check(client(number), now), Decision::Allowed { evicted: false });
            }
        }
        assert_eq!(limiter.check(client(99), now), Decision::Allowed { evicted: true });
        assert_eq!(limiter.slots.lock().unwrap().len(), WAYS);
        let known = |number| {
            limiter
                .slots
                .lock()
                .unwrap()
                .iter()
                .any(|slot| slot.key == key_of(client(number)))
        };
        assert!(!known(0) && known(1) && known(99));
        // Whoever has a full bucket again is forgotten at no cost.
        let later = now + SECOND * 100;
        assert_eq!(limiter.check(client(100), later), Decision::Allowed { evicted: false });
    }
}
