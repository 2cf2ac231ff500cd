//! What all shards count together because it cannot be summed: most allocations at once, and how many different ones there were.
//!
//! Touched by Allocate, by the end of an allocation and by a refusal; never by a relayed packet.

use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use hashbrown::HashMap;

use super::bucket::{TICKS_PER_SECOND, Ticks};
use super::distinct::Distinct;
use super::input::Now;
use super::realm::MAX_REALMS;
use super::server::Server;
use super::stats::Fill;
use super::verdict::Resource;

/// For how long sources of refused credentials are gathered.
const WINDOW: Ticks = 60 * TICKS_PER_SECOND;

/// Of the process. Part of the ledger.
#[derive(Debug, Default)]
pub(super) struct Tallies {
    realms: Mutex<HashMap<Arc<str>, Arc<RealmTally>, foldhash::quality::RandomState>>,
    failing: FailingSources,
    hasher: foldhash::quality::RandomState,
}

impl Tallies {
    /// That of a realm, the same one for every shard. A realm that no shard has a place for is forgotten.
    pub(super) fn of_realm(&self, name: &str) -> Arc<RealmTally> {
        let mut realms = self.realms.lock().unwrap_or_else(PoisonError::into_inner);
        if realms.len() > 2 * MAX_REALMS {
            realms.retain(|_, tally| Arc::strong_count(tally) > 1);
        }
        Arc::clone(realms.entry(name.into()).or_default())
    }

    /// Ends a period of a realm; of one that nobody knows nothing is told.
    pub(super) fn end_period(&self, realm: &str) -> Period {
        let realms = self.realms.lock().unwrap_or_else(PoisonError::into_inner);
        realms
            .get(realm)
            .map_or_else(Period::default, |tally| tally.end_period())
    }

    /// A USERNAME opened an allocation.
    pub(super) fn opened(&self, realm: &RealmTally, username: &str) {
        let hash = self.hasher.hash_one(username);
        if realm.used.insert(hash) {
            // Worked out here, since it is asked for many times a second.
            let estimate = realm.used.estimate();
            realm.used_so_far.fetch_max(estimate, Ordering::Relaxed);
        }
        realm.used_of_period.insert(hash);
        let living = realm.living.fetch_add(1, Ordering::Relaxed) + 1;
        realm.peak.fetch_max(living, Ordering::Relaxed);
        realm.peak_of_period.fetch_max(living, Ordering::Relaxed);
    }

    /// Credentials were turned away that came from where they say.
    pub(super) fn failed(&self, now: Ticks, source: IpAddr) {
        self.failing.insert(now, self.hasher.hash_one(source));
    }

    /// About how many sources had credentials turned away: in this minute or in the one before, whichever is more.
    pub(super) fn failing(&self, now: Ticks) -> u64 {
        self.failing.estimate(now)
    }
}

/// Of one realm.
#[derive(Debug, Default)]
pub(super) struct RealmTally {
    living: AtomicU64,
    peak: AtomicU64,
    peak_of_period: AtomicU64,
    used: Distinct,
    used_so_far: AtomicU64,
    used_of_period: Distinct,
}

/// What there was since the last look.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Period {
    /// Most allocations that lived at once.
    pub peak: u64,
    /// About how many different USERNAMEs opened an allocation, within 3.3 % (one standard error).
    pub credentials_used: u64,
}

impl RealmTally {
    /// An allocation ended.
    pub(super) fn closed(&self) {
        let fewer = |living: u64| Some(living.saturating_sub(1));
        let _ = self.living.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fewer);
    }

    /// Most that lived at once, ever.
    pub(super) fn peak(&self) -> u64 {
        self.peak.load(Ordering::Relaxed)
    }

    /// About how many different USERNAMEs opened an allocation, ever.
    pub(super) fn used(&self) -> u64 {
        self.used_so_far.load(Ordering::Relaxed)
    }

    /// Ends a period and begins the next one.
    pub(super) fn end_period(&self) -> Period {
        let living = self.living.load(Ordering::Relaxed);
        let credentials_used = self.used_of_period.estimate();
        self.used_of_period.clear();
        Period {
            peak: self.peak_of_period.swap(living, Ordering::Relaxed),
            credentials_used,
        }
    }
}

/// Those of the minute that is running, and of the one before.
#[derive(Debug, Default)]
struct FailingSources {
    minute: AtomicU64,
    running: Distinct,
    before: Distinct,
}

impl FailingSources {
    fn turn(&self, now: Ticks) {
        let (minute, known) = (now / WINDOW, self.minute.load(Ordering::Relaxed));
        if minute <= known {
            return;
        }
        let won = self
            .minute
            .compare_exchange(known, minute, Ordering::Relaxed, Ordering::Relaxed);
        if won.is_ok() {
            self.before.take(&self.running);
            if minute > known + 1 {
                self.before.clear();
            }
        }
    }

    fn insert(&self, now: Ticks, hash: u64) {
        self.turn(now);
        self.running.insert(hash);
    }

    fn estimate(&self, now: Ticks) -> u64 {
        self.turn(now);
        self.running.estimate().max(self.before.estimate())
    }
}

impl Server {
    /// Looks how full things are.
    pub(super) fn look_around(&mut self, now: Now) {
        let ticks = self.ticks(now);
        self.stats.failing_sources = self.ledger.tallies().failing(ticks);
        let (connections, pending) = self.ledger.connections();
        let (limits, config) = (&self.config.limits, &self.config);
        let addrs = config.relay_addrs.len();
        for resource in Resource::ALL {
            self.stats.fills[resource.index()] = match resource {
                Resource::Allocations => Fill::new(self.ledger.total() as usize, limits.allocations as usize),
                Resource::Ports => Fill::new(self.ports.len(), addrs * self.ports.share(&config.relay_ports)),
                Resource::Reservations => Fill::new(self.reservations.len(), limits.reservations as usize),
                Resource::Connections => Fill::new(connections as usize, limits.connections as usize),
                Resource::PendingConnections => Fill::new(pending as usize, limits.pending_connections as usize),
            };
        }
        self.realms.look(now.instant, &self.ledger);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_of_a_period_begins_with_what_lives() {
        let tallies = Tallies::default();
        let realm = tallies.of_realm("acme");
        for user in ["a", "b", "b"] {
            tallies.opened(&realm, user);
        }
        realm.closed();
        let first = realm.end_period();
        assert_eq!((first.peak, first.credentials_used), (3, 2));
        assert_eq!(
            realm.end_period(),
            Period {
                peak: 2,
                credentials_used: 0
            }
        );
        assert_eq!((realm.peak(), realm.used()), (3, 2));
        for _ in 0..5 {
            realm.closed();
        }
        realm.end_period();
        assert_eq!(realm.end_period().peak, 0, "it is never below nothing");
    }

    #[test]
    fn sources_count_for_their_minute_and_the_next_and_no_longer() {
        let tallies = Tallies::default();
        for host in 0..50_u8 {
            tallies.failed(WINDOW, IpAddr::from([192, 0, 2, host]));
            tallies.failed(WINDOW + 1, IpAddr::from([192, 0, 2, host]));
        }
        for now in [WINDOW, 2 * WINDOW - 1, 2 * WINDOW, 3 * WINDOW - 1] {
            assert!(tallies.failing(now).abs_diff(50) <= 3, "{now}");
        }
        assert_eq!(tallies.failing(3 * WINDOW), 0);
        tallies.failed(4 * WINDOW, IpAddr::from([192, 0, 2, 1]));
        assert_eq!(tallies.failing(9 * WINDOW), 0, "long after nothing is left");
    }

    #[test]
    fn realms_that_nobody_has_a_place_for_are_forgotten() {
        let tallies = Tallies::default();
        let held = tallies.of_realm("held");
        tallies.opened(&held, "a");
        for index in 0..10 * MAX_REALMS {
            tallies.of_realm(&format!("realm{index}"));
        }
        assert!(tallies.realms.lock().unwrap().len() <= 2 * MAX_REALMS + 1);
        assert_eq!(tallies.of_realm("held").peak(), 1);
    }
}
