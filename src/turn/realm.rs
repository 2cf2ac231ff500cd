//! Tenants: realms beside the default one, each with secrets, users, limits and peers of its own.
//!
//! Which realm a request belongs to is decided by its username alone (see [`crate::credentials::realm`]), before any secret is
//! tried: a secret of one realm is never tried on a name of another, so whoever holds it can mint for its realm and no other.
//!
//! A shard gives each realm a place, which allocations remember. The place stays for as long as one of them lives, whatever is
//! reconfigured: a realm that is removed lets nobody in, and what it let in goes on within the limits and the peers it had.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::config::{Config, RateLimit, StaticUser};
use super::peer_filter::PeerFilter;
use super::quota::Ledger;
use super::stats::{Stats, Traffic};
use super::tally::{RealmTally, Tallies};
use super::verdict::{AllocateRefusal, AuthFailure, Direction};
use crate::credentials::{DEFAULT_REALM, KeyRing};

/// Most realms beside the default one. Each is a label of some metrics, and costs a worker some 500 bytes.
pub const MAX_REALMS: usize = 255;

/// One realm. Names are unique, and each is one for which [`crate::credentials::is_realm_name`] holds.
#[derive(Clone, Debug, Default)]
pub struct RealmConfig {
    /// What stands behind the last `@` of its usernames.
    pub name: String,
    /// A REALM that its clients may send in place of [`Config::realm`], at most 127 characters. Default none. For clients that
    /// keep a key, which is made of user, REALM and password, in place of a password (RFC 8489 §9.2.2).
    pub realm: Option<String>,
    /// Shared secrets of its time-limited credentials. Default none. Those of the default realm do not count here.
    pub keys: Option<KeyRing>,
    /// Users with a fixed password, without the `@` and the realm that their USERNAME has. Default none.
    pub static_users: Vec<StaticUser>,
    /// Bounds, within those of the process.
    pub limits: RealmLimits,
    /// Which peers may be reached. In place of [`Config::peers`], not beside it.
    pub peers: PeerFilter,
}

/// What a realm may hold. [`super::Limits::allocations`], [`super::Limits::total_rate`] and all other limits of the process hold as
/// well.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RealmLimits {
    /// Allocations of all its users in this process (486). Default: as many as the process.
    pub allocations: u32,
    /// Allocations of one user (486). Default: [`super::Limits::allocations_per_user`].
    pub allocations_per_user: Option<u32>,
    /// What one allocation may relay. Default: [`super::Limits::allocation_rate`].
    pub allocation_rate: Option<RateLimit>,
    /// What all allocations of one user may relay together. Default: [`super::Limits::user_rate`].
    pub user_rate: Option<RateLimit>,
    /// What the realm may relay. Default: as much as it can. Workers draw on it in slices, as on [`super::Limits::total_rate`].
    pub total_rate: RateLimit,
}

impl RealmLimits {
    /// None but those of the process.
    pub const NONE: Self = Self {
        allocations: u32::MAX,
        allocations_per_user: None,
        allocation_rate: None,
        user_rate: None,
        total_rate: RateLimit::NONE,
    };
}

impl Default for RealmLimits {
    fn default() -> Self {
        Self::NONE
    }
}

/// A realm's place in its shard.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct RealmId(u16);

impl RealmId {
    /// Of everybody whose username names no realm.
    pub const DEFAULT: Self = Self(0);

    /// Position in [`super::Server::realm_stats`].
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// What one realm has done in one shard. Counters only ever grow, for as long as the realm has its place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RealmStats {
    /// Its name; [`DEFAULT_REALM`] for the first.
    pub name: Arc<str>,
    /// Whether new clients are let in.
    pub is_configured: bool,
    /// Living allocations.
    pub allocations: u64,
    /// Allocations that were answered with success.
    pub allocations_created: u64,
    /// Allocate requests with good credentials that were answered with an error, by [`AllocateRefusal`].
    pub allocations_refused: [u64; AllocateRefusal::COUNT],
    /// Requests with credentials that name the realm and were turned away, by [`AuthFailure`]. Whoever knows the name of a realm can
    /// make it grow.
    pub auth_failures: [u64; AuthFailure::COUNT],
    /// For how long its allocations have lived together, those that live now included. As of the last
    /// [`super::Server::all_stats`].
    pub allocation_time: Duration,
    /// Most allocations that lived at once in the process, whatever the shard. As of the last [`super::Server::all_stats`], as those
    /// below.
    pub peak: u64,
    /// Users that hold an allocation, in the process.
    pub users: u64,
    /// About how many different USERNAMEs have opened an allocation in the process.
    pub credentials_used: u64,
    /// Allocations that it may hold; 0: as many as the process.
    pub limit: u64,
    /// Payload packets that a limit of bytes or packets dropped, its own or another that it came under.
    pub over_rate: u64,
    /// Payload, by [`Direction`].
    pub traffic: [Traffic; Direction::COUNT],
}

impl RealmStats {
    /// Adds what the same realm has done in another shard.
    pub fn add(&mut self, other: &Self) {
        let Self {
            name: _,
            is_configured,
            allocations,
            allocations_created,
            allocations_refused,
            auth_failures,
            allocation_time,
            peak,
            users,
            credentials_used,
            limit,
            over_rate,
            traffic,
        } = other;
        self.is_configured |= is_configured;
        self.allocations += allocations;
        self.allocations_created += allocations_created;
        add_each(&mut self.allocations_refused, allocations_refused);
        add_each(&mut self.auth_failures, auth_failures);
        self.allocation_time += *allocation_time;
        // Each shard tells these of the whole process.
        self.peak = self.peak.max(*peak);
        self.users = self.users.max(*users);
        self.credentials_used = self.credentials_used.max(*credentials_used);
        self.limit = self.limit.max(*limit);
        self.over_rate += over_rate;
        for (own, others) in self.traffic.iter_mut().zip(traffic) {
            *own = own.plus(*others);
        }
    }

    /// What is left of it without a part of it.
    #[must_use]
    pub fn without(mut self, part: &Self) -> Self {
        self.allocations = self.allocations.saturating_sub(part.allocations);
        self.allocations_created = self.allocations_created.saturating_sub(part.allocations_created);
        for (own, of_part) in self.allocations_refused.iter_mut().zip(part.allocations_refused) {
            *own = own.saturating_sub(of_part);
        }
        self.allocation_time = self.allocation_time.saturating_sub(part.allocation_time);
        for (own, of_part) in self.traffic.iter_mut().zip(part.traffic) {
            *own = own.minus(of_part);
        }
        self
    }

    /// Counts the time that its allocations have lived since this was asked last.
    pub(super) fn count_time(&mut self, now: Instant, counted_to: &mut Option<Instant>) {
        let since = counted_to.replace(now);
        let passed = since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        let living = u32::try_from(self.allocations).unwrap_or(u32::MAX);
        self.allocation_time = self.allocation_time.saturating_add(passed.saturating_mul(living));
    }

    /// Of a realm that is configured and has done nothing.
    pub fn new(name: Arc<str>) -> Self {
        Self {
            name,
            is_configured: true,
            allocations: 0,
            allocations_created: 0,
            allocations_refused: [0; AllocateRefusal::COUNT],
            auth_failures: [0; AuthFailure::COUNT],
            allocation_time: Duration::ZERO,
            peak: 0,
            users: 0,
            credentials_used: 0,
            limit: 0,
            over_rate: 0,
            traffic: [Traffic::default(); Direction::COUNT],
        }
    }
}

fn add_each<const N: usize>(own: &mut [u64; N], others: &[u64; N]) {
    for (own, other) in own.iter_mut().zip(others) {
        *own += other;
    }
}

/// What holds for the allocations of a realm: kept when the realm is gone.
#[derive(Debug)]
struct Place {
    limits: RealmLimits,
    peers: PeerFilter,
    /// Allocations that have this place, those being bound included.
    held: u32,
    /// What it shares with the same realm in other shards.
    tally: Arc<RealmTally>,
    /// Up to when [`RealmStats::allocation_time`] has been counted.
    counted_to: Option<Instant>,
}

impl Place {
    fn new(limits: RealmLimits, peers: PeerFilter, tally: Arc<RealmTally>) -> Self {
        Self {
            limits,
            peers,
            held: 0,
            tally,
            counted_to: None,
        }
    }

    /// Counts the time that its allocations have lived since this was asked last.
    fn count_time(&mut self, now: Instant, stats: &mut RealmStats) {
        stats.count_time(now, &mut self.counted_to);
    }
}

/// The realms of a shard. The default one is always there and first.
#[derive(Debug)]
pub(super) struct Realms {
    /// By [`RealmId`], as `stats`.
    places: Vec<Place>,
    stats: Vec<RealmStats>,
    /// What would hold for a place that there is not.
    strict: PeerFilter,
    /// What realms relayed whose place another one has now.
    gone: [Traffic; Direction::COUNT],
}

impl Realms {
    pub(super) fn new(config: &Config, ledger: &Ledger) -> Self {
        let tally = ledger.tallies().of_realm(DEFAULT_REALM);
        let mut this = Self {
            places: vec![Place::new(RealmLimits::NONE, config.peers.clone(), tally)],
            stats: vec![RealmStats::new(DEFAULT_REALM.into())],
            strict: PeerFilter::default(),
            gone: [Traffic::default(); Direction::COUNT],
        };
        this.reconfigure(config, ledger);
        this
    }

    /// Takes a new configuration: a realm of the same name keeps its place. `false` if a place has other rules for peers now.
    pub(super) fn reconfigure(&mut self, config: &Config, ledger: &Ledger) -> bool {
        let mut same_rules = true;
        for (stats, place) in self.stats.iter_mut().zip(&mut self.places) {
            stats.is_configured = *stats.name == *DEFAULT_REALM;
            if stats.is_configured {
                same_rules &= place.peers == config.peers;
                place.peers = config.peers.clone();
            }
        }
        // Those that have a place first, so that nobody new is given it.
        let (known, new): (Vec<_>, Vec<_>) = config
            .realms
            .iter()
            .take(MAX_REALMS)
            .partition(|realm| self.find(&realm.name).is_some());
        for realm in known.into_iter().chain(new) {
            let id = self
                .find(&realm.name)
                .unwrap_or_else(|| self.vacant(&realm.name, ledger));
            if let (Some(stats), Some(place)) = (self.stats.get_mut(id.index()), self.places.get_mut(id.index())) {
                stats.is_configured = true;
                place.limits = realm.limits;
                same_rules &= place.peers == realm.peers;
                place.peers = realm.peers.clone();
            }
        }
        // Deny rules of the default realm hold for all: configured realms have them among theirs, those that are gone do not yet.
        for (stats, place) in self.stats.iter().zip(&mut self.places) {
            if !stats.is_configured && place.held > 0 && place.peers.deny_also(&config.peers) {
                same_rules = false;
            }
        }
        same_rules
    }

    /// The place of a realm, configured or not.
    pub(super) fn find(&self, name: &str) -> Option<RealmId> {
        let index = self.stats.iter().position(|stats| *stats.name == *name)?;
        u16::try_from(index).ok().map(RealmId)
    }

    /// A place for a realm that has none: one whose realm is gone and whose allocations have ended, or one more.
    fn vacant(&mut self, name: &str, ledger: &Ledger) -> RealmId {
        let fresh = RealmStats::new(name.into());
        let tally = ledger.tallies().of_realm(name);
        let mut places = self.stats.iter_mut().zip(&mut self.places).enumerate();
        let reused = places.find(|(_, (stats, place))| !stats.is_configured && place.held == 0);
        if let Some((index, (stats, place))) = reused {
            for (gone, traffic) in self.gone.iter_mut().zip(stats.traffic) {
                *gone = gone.plus(traffic);
            }
            *stats = fresh;
            place.tally = tally;
            place.counted_to = None;
            return RealmId(index as u16);
        }
        self.stats.push(fresh);
        self.places
            .push(Place::new(RealmLimits::NONE, PeerFilter::default(), tally));
        // Each place belongs to one of 255 realms or holds an allocation, whose number is bounded far below.
        RealmId((self.stats.len() - 1) as u16)
    }

    pub(super) fn name(&self, id: RealmId) -> &str {
        self.stats.get(id.index()).map_or(DEFAULT_REALM, |stats| &stats.name)
    }

    pub(super) fn limits(&self, id: RealmId) -> RealmLimits {
        self.places
            .get(id.index())
            .map_or(RealmLimits::NONE, |place| place.limits)
    }

    /// The limits of every place, in order.
    pub(super) fn all_limits(&self) -> impl Iterator<Item = &RealmLimits> {
        self.places.iter().map(|place| &place.limits)
    }

    /// Which peers the clients of a realm may reach.
    #[inline]
    pub(super) fn peers(&self, id: RealmId) -> &PeerFilter {
        self.places.get(id.index()).map_or(&self.strict, |place| &place.peers)
    }

    /// An allocation has a place now.
    pub(super) fn enter(&mut self, id: RealmId) {
        if let Some(place) = self.places.get_mut(id.index()) {
            place.held += 1;
        }
    }

    /// An allocation has its place no more.
    pub(super) fn leave(&mut self, id: RealmId) {
        if let Some(place) = self.places.get_mut(id.index()) {
            place.held -= 1;
        }
    }

    /// An allocation was answered with success.
    pub(super) fn opened(&mut self, now: Instant, id: RealmId, username: &str, tallies: &Tallies) {
        if let (Some(place), Some(stats)) = (self.places.get_mut(id.index()), self.stats.get_mut(id.index())) {
            place.count_time(now, stats);
            stats.allocations += 1;
            stats.allocations_created += 1;
            tallies.opened(&place.tally, username);
        }
    }

    /// One of those ended.
    pub(super) fn closed(&mut self, now: Instant, id: RealmId) {
        if let (Some(place), Some(stats)) = (self.places.get_mut(id.index()), self.stats.get_mut(id.index())) {
            place.count_time(now, stats);
            stats.allocations -= 1;
            place.tally.closed();
        }
    }

    /// Brings up to `now` what is not counted as it happens.
    pub(super) fn look(&mut self, now: Instant, ledger: &Ledger) {
        let (places, stats) = (&mut self.places, &mut self.stats);
        ledger.look_at_users(|users_of| {
            for (place, stats) in places.iter_mut().zip(stats.iter_mut()) {
                place.count_time(now, stats);
                stats.peak = place.tally.peak();
                stats.credentials_used = place.tally.used();
                let is_default = *stats.name == *DEFAULT_REALM;
                stats.users = users_of(if is_default { "" } else { &stats.name }).into();
                stats.limit = match place.limits.allocations {
                    u32::MAX => 0,
                    limit => limit.into(),
                };
            }
        });
    }

    #[inline]
    pub(super) fn stats_mut(&mut self, id: RealmId) -> Option<&mut RealmStats> {
        self.stats.get_mut(id.index())
    }

    /// Counts payload. That of the default realm is what no other has, so that nothing is counted twice where there is none.
    #[inline]
    pub(super) fn add_traffic(&mut self, id: RealmId, direction: Direction, bytes: usize) {
        if id != RealmId::DEFAULT
            && let Some(stats) = self.stats.get_mut(id.index())
        {
            stats.traffic[direction.index()].add(bytes);
        }
    }

    /// Every place as of now.
    pub(super) fn stats(&mut self, of_shard: &Stats) -> &[RealmStats] {
        for direction in Direction::ALL {
            let way = direction.index();
            let all = of_shard.traffic[way]
                .into_iter()
                .fold(Traffic::default(), Traffic::plus);
            if let Some((default, others)) = self.stats.split_first_mut() {
                let others = others.iter().map(|other| other.traffic[way]);
                default.traffic[way] = all.minus(others.fold(self.gone[way], Traffic::plus));
            }
        }
        &self.stats
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(names: &[&str]) -> Config {
        let realm = |name: &&str| RealmConfig {
            name: (*name).to_owned(),
            ..RealmConfig::default()
        };
        Config {
            realms: names.iter().map(realm).collect(),
            ..Config::default()
        }
    }

    #[test]
    fn a_realm_keeps_its_place_while_it_is_configured_or_holds_an_allocation() {
        let mut realms = Realms::new(&config(&["a", "b", "c"]), &Ledger::new());
        let id = |realms: &Realms, name| realms.find(name).map(RealmId::index);
        assert_eq!(
            (id(&realms, "default"), id(&realms, "a"), id(&realms, "c")),
            (Some(0), Some(1), Some(3))
        );
        let b = realms.find("b").unwrap();
        realms.enter(b);
        // A place that is free is given away, one that is held is not, and the order of the file means nothing.
        realms.reconfigure(&config(&["d", "c", "e"]), &Ledger::new());
        assert_eq!(
            ["a", "b", "c", "d", "e"].map(|name| id(&realms, name)),
            [None, Some(2), Some(3), Some(1), Some(4)]
        );
        assert!(!realms.stats[2].is_configured && realms.stats[3].is_configured);
        realms.leave(b);
        realms.reconfigure(&config(&["c", "f"]), &Ledger::new());
        assert_eq!(realms.places.len(), 5);
        assert_eq!(id(&realms, "f"), Some(1));
    }

    #[test]
    fn there_are_no_more_places_than_realms_however_often_they_are_renamed() {
        let mut realms = Realms::new(&config(&[]), &Ledger::new());
        for round in 0..1000 {
            let names: Vec<_> = (0..3).map(|index| format!("r{round}-{index}")).collect();
            realms.reconfigure(
                &config(&names.iter().map(String::as_str).collect::<Vec<_>>()),
                &Ledger::new(),
            );
            assert_eq!(realms.places.len(), 4);
        }
        let many: Vec<_> = (0..=MAX_REALMS).map(|index| format!("m{index}")).collect();
        realms.reconfigure(
            &config(&many.iter().map(String::as_str).collect::<Vec<_>>()),
            &Ledger::new(),
        );
        assert_eq!(realms.places.len(), 1 + MAX_REALMS);
    }

    #[test]
    fn the_default_realm_has_the_traffic_that_no_other_has() {
        let mut realms = Realms::new(&config(&["a"]), &Ledger::new());
        let mut stats = Stats::default();
        let direction = Direction::ClientToPeer;
        let a = realms.find("a").unwrap();
        for (id, bytes) in [(RealmId::DEFAULT, 100), (a, 30), (a, 7)] {
            stats.add_traffic(direction, crate::turn::Transport::Udp, bytes);
            realms.add_traffic(id, direction, bytes);
        }
        let bytes = |realms: &mut Realms| -> Vec<_> {
            let all = realms.stats(&stats).iter();
            all.map(|one| one.traffic[direction.index()].bytes).collect()
        };
        assert_eq!(bytes(&mut realms), [100, 37]);
        realms.reconfigure(&config(&["b"]), &Ledger::new());
        assert_eq!(bytes(&mut realms), [100, 0]);
    }
}
