//! The process-wide ledger of allocations: who holds how many.
//!
//! Touched by Allocate and by the end of an allocation only, never by a relayed packet. A `Lease` is one entry; dropping it
//! is the only way to give it back, so that no path can do so twice or forget it.
//!
//! What users and the process have relayed is kept beside it, in integers that any thread adds to without the lock. It outlives
//! a user's last allocation for as long as it matters: whoever deletes and allocates anew begins with no fresh burst.

use std::fmt;
use std::hash::Hash;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use hashbrown::{Equivalent, HashMap};
use zeroize::Zeroize;

use super::bucket::Ticks;
use super::config::Limits;
use super::load::SharedLoad;
use super::meter::SharedUsage;
use super::realm::MAX_REALMS;
use super::route::RouteBoard;
use super::tally::{Period, Tallies};
use super::verdict::QuotaKind;

/// Handle to the ledger; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Ledger(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    entries: Mutex<Entries>,
    epoch: OnceLock<Instant>,
    usage: SharedUsage,
    load: SharedLoad,
    ticket_key: OnceLock<TicketKey>,
    routes: RouteBoard,
    connections: Connections,
    tallies: Tallies,
}

/// Key of the mobility tickets of this process.
struct TicketKey([u8; 32]);

impl fmt::Debug for TicketKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TicketKey([redacted])")
    }
}

impl Drop for TicketKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// Who holds something, and what they have relayed: a user, or a realm.
#[derive(Debug, Default)]
struct Holder {
    held: u32,
    usage: Arc<SharedUsage>,
    connections: Arc<Connections>,
}

/// Data connections of TCP, and those of them that wait. The numbers guard no memory but themselves.
#[derive(Debug, Default)]
struct Connections {
    all: AtomicU32,
    pending: AtomicU32,
}

impl Connections {
    /// One more that waits, or which of the two limits it would pass.
    fn try_enter(&self, all: u32, pending: u32) -> Result<(), PastLimit> {
        if !try_take(&self.all, all) {
            return Err(PastLimit::All);
        }
        if !try_take(&self.pending, pending) {
            self.all.fetch_sub(1, Ordering::Relaxed);
            return Err(PastLimit::Pending);
        }
        Ok(())
    }

    fn leave_pending(&self) {
        self.pending.fetch_sub(1, Ordering::Relaxed);
    }

    fn leave(&self) {
        self.all.fetch_sub(1, Ordering::Relaxed);
    }
}

enum PastLimit {
    All,
    Pending,
}

/// A user of a realm: the same name in two realms is two users. The default realm is that without a name.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct UserKey {
    realm: Arc<str>,
    user: Arc<str>,
}

/// Hashes as [`UserKey`] does.
#[derive(Hash)]
struct UserOf<'a> {
    realm: &'a str,
    user: &'a str,
}

impl Equivalent<UserKey> for UserOf<'_> {
    fn equivalent(&self, key: &UserKey) -> bool {
        *self.realm == *key.realm && *self.user == *key.user
    }
}

/// Who asks for an allocation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Applicant<'a> {
    /// The realm's name and how many it may hold; `None` for the default realm, whose bound is that of the process.
    pub(super) realm: Option<(&'a str, u32)>,
    /// The part of the username after the expiry: a fresh expiry must not be a fresh quota.
    pub(super) user: &'a str,
    /// How many a user may hold.
    pub(super) per_user: u32,
    pub(super) client: IpAddr,
}

#[derive(Debug, Default)]
struct Entries {
    total: u32,
    users: HashMap<UserKey, Holder, foldhash::quality::RandomState>,
    /// Realms that hold something, or held it. More than there can be are those of former configurations.
    realms: HashMap<Arc<str>, Holder, foldhash::quality::RandomState>,
    /// Users without an allocation whose use is remembered, and how many of them call for a look through all.
    idle: usize,
    sweep_at: usize,
    /// Users that hold something, by realm.
    active: HashMap<Arc<str>, u32, foldhash::quality::RandomState>,
    clients: HashMap<IpAddr, u32, foldhash::quality::RandomState>,
}

impl Ledger {
    /// An empty ledger.
    pub fn new() -> Self {
        Self::default()
    }

    /// Enters one allocation, or says which bound it would pass.
    pub(super) fn try_enter(&self, now: Ticks, limits: &Limits, who: Applicant<'_>) -> Result<Lease, QuotaKind> {
        let client = client_prefix(who.client, limits.client_prefix_v4, limits.client_prefix_v6);
        let mut guard = self.entries();
        let entries = &mut *guard;
        entries.forget_idle(now);
        let key = UserOf {
            realm: who.realm.map_or("", |(name, _)| name),
            user: who.user,
        };
        let of_user = entries.users.get(&key).map_or(0, |user| user.held);
        if of_user >= who.per_user {
            return Err(QuotaKind::User);
        }
        if entries.clients.get(&client).copied().unwrap_or(0) >= limits.allocations_per_client {
            return Err(QuotaKind::Client);
        }
        if let Some((name, most)) = who.realm
            && entries.realms.get(name).map_or(0, |realm| realm.held) >= most
        {
            return Err(QuotaKind::Realm);
        }
        if entries.total >= limits.allocations {
            return Err(QuotaKind::Process);
        }
        let realm = who.realm.map(|(name, _)| {
            let name = match entries.realms.get_key_value(name) {
                Some((known, _)) => Arc::clone(known),
                None => Arc::from(name),
            };
            let realm = entries.realms.entry(Arc::clone(&name)).or_default();
            realm.held += 1;
            (name, Arc::clone(&realm.usage))
        });
        let (user, usage, connections) = match entries.users.get_key_value(&key) {
            Some((known, holder)) => {
                entries.idle -= usize::from(holder.held == 0);
                (
                    known.clone(),
                    Arc::clone(&holder.usage),
                    Arc::clone(&holder.connections),
                )
            }
            None => {
                let key = UserKey {
                    realm: realm
                        .as_ref()
                        .map_or_else(|| Arc::from(""), |(name, _)| Arc::clone(name)),
                    user: Arc::from(who.user),
                };
                (key, Arc::default(), Arc::default())
            }
        };
        entries.total += 1;
        let holder = entries.users.entry(user.clone()).or_insert_with(|| Holder {
            held: 0,
            usage: Arc::clone(&usage),
            connections: Arc::clone(&connections),
        });
        holder.held += 1;
        if holder.held == 1 {
            *entries.active.entry(Arc::clone(&user.realm)).or_insert(0) += 1;
        }
        *entries.clients.entry(client).or_insert(0) += 1;
        drop(guard);
        Ok(Lease {
            ledger: self.clone(),
            realm,
            user,
            usage,
            connections,
            client,
            former: None,
        })
    }

    /// Data connections held now, and those of them that wait for their peer or their client.
    pub fn connections(&self) -> (u32, u32) {
        let Connections { all, pending } = &self.0.connections;
        (all.load(Ordering::Relaxed), pending.load(Ordering::Relaxed))
    }

    /// What there was of a realm since this was asked last: whoever asks is the only one who does.
    pub fn end_period(&self, realm: &str) -> Period {
        self.0.tallies.end_period(realm)
    }

    /// Allocations held now.
    pub fn total(&self) -> u32 {
        self.entries().total
    }

    /// Users, realms and client addresses that hold at least one: zero once everything is closed.
    pub fn holders(&self) -> usize {
        let entries = self.entries();
        let realms = entries.realms.values().filter(|realm| realm.held > 0).count();
        entries.users.len() - entries.idle + realms + entries.clients.len()
    }

    /// When time began for this process: the first `now` that any shard has named here.
    pub(super) fn epoch(&self, now: Instant) -> Instant {
        *self.0.epoch.get_or_init(|| now)
    }

    /// The key of this process's mobility tickets: what the first shard that asks has drawn.
    pub(super) fn ticket_key(&self, draw: impl FnOnce() -> [u8; 32]) -> [u8; 32] {
        self.0.ticket_key.get_or_init(|| TicketKey(draw())).0
    }

    /// Where shards tell each other of clients that moved.
    pub(super) fn routes(&self) -> RouteBoard {
        self.0.routes.clone()
    }

    /// What the process has relayed.
    pub(super) fn usage(&self) -> &SharedUsage {
        &self.0.usage
    }

    /// What all shards count together.
    pub(super) fn tallies(&self) -> &Tallies {
        &self.0.tallies
    }

    /// Tells how many users of a realm hold an allocation now. The default realm is that without a name.
    pub(super) fn look_at_users(&self, look: impl FnOnce(&dyn Fn(&str) -> u32)) {
        let entries = self.entries();
        look(&|realm| entries.active.get(realm).copied().unwrap_or(0));
    }

    /// How much that is lately.
    pub(super) fn load(&self) -> &SharedLoad {
        &self.0.load
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        // Every critical section leaves whole numbers behind, so a panic elsewhere cannot have broken them.
        self.0.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entries {
    /// Forgets users without an allocation whose buckets are full again. It looks when their number has doubled since it last
    /// looked, so that each look is paid for by as many ends of allocations.
    fn forget_idle(&mut self, now: Ticks) {
        const SLACK: usize = 64;
        if self.realms.len() > 2 * MAX_REALMS {
            self.realms
                .retain(|_, realm| realm.held > 0 || !realm.usage.is_full(now));
        }
        if self.idle <= self.sweep_at.max(SLACK) {
            return;
        }
        self.users.retain(|_, user| user.held > 0 || !user.usage.is_full(now));
        self.idle = self.users.values().filter(|user| user.held == 0).count();
        self.sweep_at = 2 * self.idle;
    }

    fn leave_client(&mut self, client: IpAddr) {
        leave(&mut self.clients, &client);
    }
}

/// One fewer; whoever has none is forgotten.
fn leave<K: Hash + Eq>(held: &mut HashMap<K, u32, foldhash::quality::RandomState>, whose: &K) {
    if let Some(count) = held.get_mut(whose) {
        *count -= 1;
        if *count == 0 {
            held.remove(whose);
        }
    }
}

/// One allocation's entry in the ledger, given back on drop.
#[derive(Debug)]
pub(super) struct Lease {
    ledger: Ledger,
    /// `None` for the default realm.
    realm: Option<(Arc<str>, Arc<SharedUsage>)>,
    user: UserKey,
    usage: Arc<SharedUsage>,
    /// Those of the user.
    connections: Arc<Connections>,
    client: IpAddr,
    /// The address before, while it may move back there: its place stays taken, or others would fill it meanwhile.
    former: Option<IpAddr>,
}

impl Lease {
    /// Whom it counts for.
    pub(super) fn user(&self) -> &str {
        &self.user.user
    }

    /// What the user has relayed.
    #[inline]
    pub(super) fn user_usage(&self) -> &SharedUsage {
        &self.usage
    }

    /// Counts the allocation for another client address as well. Until [`Lease::stay`] or [`Lease::move_back`] it counts for both:
    /// a place that is given up before it is certain that nobody comes back to it is a place more than there is (CVE-2026-73216).
    pub(super) fn try_move(&mut self, limits: &Limits, client: IpAddr) -> Result<(), QuotaKind> {
        self.move_back();
        let client = client_prefix(client, limits.client_prefix_v4, limits.client_prefix_v6);
        if client == self.client {
            return Ok(());
        }
        let mut entries = self.ledger.entries();
        let held = entries.clients.get(&client).copied().unwrap_or(0);
        if held >= limits.allocations_per_client {
            return Err(QuotaKind::Client);
        }
        *entries.clients.entry(client).or_insert(0) += 1;
        drop(entries);
        self.former = Some(std::mem::replace(&mut self.client, client));
        Ok(())
    }

    /// Undoes a [`Lease::try_move`]. It never fails: the allocation kept its place.
    pub(super) fn move_back(&mut self) {
        if let Some(former) = self.former.take() {
            let left = std::mem::replace(&mut self.client, former);
            self.ledger.entries().leave_client(left);
        }
    }

    /// Makes a [`Lease::try_move`] final.
    pub(super) fn stay(&mut self) {
        if let Some(former) = self.former.take() {
            self.ledger.entries().leave_client(former);
        }
    }

    /// Enters one data connection, one that waits, or says which bound it would pass. One user has no more than a quarter of what
    /// the process may have: with many allocations it could have all, and keep everybody else out. Nor less than one allocation
    /// may have.
    pub(super) fn try_connect(&self, limits: &Limits) -> Result<ConnectionLease, QuotaKind> {
        let share = |of_process: u32| (of_process / 4).max(limits.connections_per_allocation.into());
        let of_process = &self.ledger.0.connections;
        of_process
            .try_enter(limits.connections, limits.pending_connections)
            .map_err(|past| match past {
                PastLimit::All => QuotaKind::ProcessConnections,
                PastLimit::Pending => QuotaKind::PendingConnections,
            })?;
        let (all, pending) = (share(limits.connections), share(limits.pending_connections));
        if self.connections.try_enter(all, pending).is_err() {
            of_process.leave_pending();
            of_process.leave();
            return Err(QuotaKind::Connections);
        }
        Ok(ConnectionLease {
            ledger: self.ledger.clone(),
            of_user: Arc::clone(&self.connections),
            is_pending: true,
        })
    }

    /// What its realm has relayed; `None` for the default one, which has no limit of its own.
    #[inline]
    pub(super) fn realm_usage(&self) -> Option<&SharedUsage> {
        self.realm.as_ref().map(|(_, usage)| &**usage)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut guard = self.ledger.entries();
        let entries = &mut *guard;
        entries.total = entries.total.saturating_sub(1);
        if let Some(user) = entries.users.get_mut(&self.user) {
            user.held -= 1;
            if user.held == 0 {
                leave(&mut entries.active, &self.user.realm);
                if user.usage.is_untouched() {
                    entries.users.remove(&self.user);
                } else {
                    entries.idle += 1;
                }
            }
        }
        if let Some((name, _)) = &self.realm
            && let Some(realm) = entries.realms.get_mut(name)
        {
            realm.held -= 1;
            if realm.held == 0 && realm.usage.is_untouched() {
                entries.realms.remove(name);
            }
        }
        entries.leave_client(self.client);
        if let Some(former) = self.former {
            entries.leave_client(former);
        }
    }
}

/// One data connection's entry in the ledger, given back on drop.
#[derive(Debug)]
pub(super) struct ConnectionLease {
    ledger: Ledger,
    of_user: Arc<Connections>,
    is_pending: bool,
}

impl ConnectionLease {
    fn entries(&self) -> [&Connections; 2] {
        [&self.ledger.0.connections, &self.of_user]
    }

    /// It waits no more.
    pub(super) fn bound(&mut self) {
        if std::mem::take(&mut self.is_pending) {
            for entry in self.entries() {
                entry.leave_pending();
            }
        }
    }
}

impl Drop for ConnectionLease {
    fn drop(&mut self) {
        self.bound();
        for entry in self.entries() {
            entry.leave();
        }
    }
}

/// One more, unless the limit is reached.
fn try_take(count: &AtomicU32, limit: u32) -> bool {
    let more = |held: u32| (held < limit).then(|| held + 1);
    count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
}

/// The address with everything behind the prefix cleared: what counts as one client.
pub(super) fn client_prefix(ip: IpAddr, v4_bits: u8, v6_bits: u8) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(v4) => {
            let mask = u32::MAX
                .checked_shl(32_u32.saturating_sub(u32::from(v4_bits)))
                .unwrap_or(0);
            IpAddr::V4(Ipv4Addr::from(u32::from(v4) & mask))
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX
                .checked_shl(128_u32.saturating_sub(u32::from(v6_bits)))
                .unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from(u128::from(v6) & mask))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::turn::bucket::Pace;

    const V4: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 9));

    fn limits(user: u32, client: u32, process: u32) -> Limits {
        Limits {
            allocations_per_user: user,
            allocations_per_client: client,
            allocations: process,
            ..Limits::default()
        }
    }

    fn enter_at(ledger: &Ledger, now: Ticks, limits: &Limits, user: &str, client: IpAddr) -> Result<Lease, QuotaKind> {
        let who = Applicant {
            realm: None,
            user,
            per_user: limits.allocations_per_user,
            client,
        };
        ledger.try_enter(now, limits, who)
    }

    fn enter(ledger: &Ledger, limits: &Limits, user: &str, client: IpAddr) -> Result<Lease, QuotaKind> {
        enter_at(ledger, 0, limits, user, client)
    }

    #[test]
    fn each_bound_admits_exactly_its_number() {
        for (limits, kind) in [
            (limits(2, 9, 9), QuotaKind::User),
            (limits(9, 2, 9), QuotaKind::Client),
            (limits(9, 9, 2), QuotaKind::Process),
        ] {
            let ledger = Ledger::new();
            let held = [
                enter(&ledger, &limits, "u", V4).unwrap(),
                enter(&ledger, &limits, "u", V4).unwrap(),
            ];
            assert_eq!(enter(&ledger, &limits, "u", V4).unwrap_err(), kind);
            assert_eq!(ledger.total(), 2);
            drop(held);
            assert!(enter(&ledger, &limits, "u", V4).is_ok());
        }
    }

    #[test]
    fn a_bound_of_zero_admits_nobody() {
        for (limits, kind) in [
            (limits(0, 9, 9), QuotaKind::User),
            (limits(9, 0, 9), QuotaKind::Client),
            (limits(9, 9, 0), QuotaKind::Process),
        ] {
            assert_eq!(enter(&Ledger::new(), &limits, "u", V4).unwrap_err(), kind);
        }
    }

    #[test]
    fn users_and_clients_are_counted_apart() {
        let ledger = Ledger::new();
        let limits = limits(1, 1, 9);
        let _a = enter(&ledger, &limits, "a", V4).unwrap();
        assert_eq!(enter(&ledger, &limits, "b", V4).unwrap_err(), QuotaKind::Client);
        assert_eq!(
            enter(&ledger, &limits, "a", "203.0.113.10".parse().unwrap()).unwrap_err(),
            QuotaKind::User
        );
        assert!(enter(&ledger, &limits, "b", "203.0.113.10".parse().unwrap()).is_ok());
    }

    #[test]
    fn an_ipv6_household_is_one_client() {
        let ledger = Ledger::new();
        let limits = limits(9, 1, 9);
        let _a = enter(&ledger, &limits, "a", "2001:db8:1:2::1".parse().unwrap()).unwrap();
        assert!(enter(&ledger, &limits, "a", "2001:db8:1:2:ffff::9".parse().unwrap()).is_err());
        assert!(enter(&ledger, &limits, "a", "2001:db8:1:3::1".parse().unwrap()).is_ok());
    }

    #[test]
    fn a_mapped_address_is_the_ipv4_client_it_maps() {
        assert_eq!(client_prefix("::ffff:203.0.113.9".parse().unwrap(), 32, 64), V4);
        assert_eq!(client_prefix(V4, 24, 64), IpAddr::from([203, 0, 113, 0]));
        assert_eq!(client_prefix(V4, 0, 64), IpAddr::from([0, 0, 0, 0]));
    }

    #[test]
    fn nothing_is_remembered_about_those_who_hold_nothing() {
        let ledger = Ledger::new();
        drop(enter(&ledger, &Limits::default(), "a", V4).unwrap());
        assert_eq!((ledger.total(), ledger.holders()), (0, 0));
    }

    #[test]
    fn users_that_are_idle_are_remembered_until_their_buckets_are_full_and_not_for_ever() {
        let limits = limits(9, 9, 9);
        let ledger = Ledger::new();
        let pace = Pace::new(1, 10).unwrap();
        let second = 16_000_000_000;
        for index in 0..1000_u64 {
            let user = format!("user{index}");
            let lease = enter_at(&ledger, index * second, &limits, &user, V4).unwrap();
            lease.user_usage().take_for_test(pace, index * second);
            drop(lease);
            assert_eq!(ledger.holders(), 0);
            assert!(ledger.entries().users.len() <= 66, "{index}");
        }
        let again = enter_at(&ledger, 999 * second, &limits, "user999", V4).unwrap();
        assert!(!again.user_usage().is_full(999 * second));
    }

    fn of_realm(ledger: &Ledger, realm: &str, most: u32, user: &str) -> Result<Lease, QuotaKind> {
        let limits = limits(2, 99, 99);
        let who = Applicant {
            realm: Some((realm, most)),
            user,
            per_user: limits.allocations_per_user,
            client: V4,
        };
        ledger.try_enter(0, &limits, who)
    }

    #[test]
    fn a_realm_holds_its_number_and_each_realm_its_own() {
        let ledger = Ledger::new();
        let held: Vec<_> = ["a", "b", "c"]
            .map(|user| of_realm(&ledger, "acme", 3, user).unwrap())
            .into();
        assert_eq!(of_realm(&ledger, "acme", 3, "d").unwrap_err(), QuotaKind::Realm);
        assert!(of_realm(&ledger, "other", 3, "d").is_ok());
        assert!(enter(&ledger, &limits(2, 99, 99), "d", V4).is_ok());
        drop(held);
        assert!(of_realm(&ledger, "acme", 3, "d").is_ok());
        assert_eq!((ledger.total(), ledger.holders()), (0, 0));
        assert_eq!(of_realm(&ledger, "acme", 0, "d").unwrap_err(), QuotaKind::Realm);
    }

    #[test]
    fn the_same_user_in_two_realms_shares_no_quota() {
        let ledger = Ledger::new();
        let _held: Vec<_> = (0..2).map(|_| of_realm(&ledger, "acme", 9, "a").unwrap()).collect();
        assert_eq!(of_realm(&ledger, "acme", 9, "a").unwrap_err(), QuotaKind::User);
        assert!(of_realm(&ledger, "other", 9, "a").is_ok());
        assert!(enter(&ledger, &limits(1, 99, 99), "a", V4).is_ok());
    }

    #[test]
    fn realms_of_former_configurations_are_not_remembered_for_ever() {
        let ledger = Ledger::new();
        let pace = Pace::new(1, 10).unwrap();
        let second = 16_000_000_000;
        for index in 0..3 * MAX_REALMS as u64 {
            let name = format!("realm{index}");
            let limits = limits(9, 9, 9);
            let who = Applicant {
                realm: Some((&name, 9)),
                user: "a",
                per_user: 9,
                client: V4,
            };
            let lease = ledger.try_enter(index * second, &limits, who).unwrap();
            lease.realm_usage().unwrap().take_for_test(pace, index * second);
            drop(lease);
            assert!(ledger.entries().realms.len() <= 2 * MAX_REALMS + 1);
        }
    }
}
