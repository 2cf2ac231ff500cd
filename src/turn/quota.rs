//! The process-wide ledger of allocations: who holds how many.
//!
//! Touched by Allocate and by the end of an allocation only, never by a relayed packet. A `Lease` is one entry; dropping it
//! is the only way to give it back, so that no path can do so twice or forget it.
//!
//! What users and the process have relayed is kept beside it, in integers that any thread adds to without the lock. It outlives
//! a user's last allocation for as long as it matters: whoever deletes and allocates anew begins with no fresh burst.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use hashbrown::HashMap;
use zeroize::Zeroize;

use super::bucket::Ticks;
use super::config::Limits;
use super::meter::SharedUsage;
use super::route::RouteBoard;
use super::verdict::QuotaKind;

/// Handle to the ledger; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Ledger(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    entries: Mutex<Entries>,
    epoch: OnceLock<Instant>,
    usage: SharedUsage,
    ticket_key: OnceLock<TicketKey>,
    routes: RouteBoard,
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

#[derive(Debug, Default)]
struct User {
    held: u32,
    usage: Arc<SharedUsage>,
}

#[derive(Debug, Default)]
struct Entries {
    total: u32,
    users: HashMap<Arc<str>, User, foldhash::quality::RandomState>,
    /// Users without an allocation whose use is remembered, and how many of them call for a look through all.
    idle: usize,
    sweep_at: usize,
    clients: HashMap<IpAddr, u32, foldhash::quality::RandomState>,
}

impl Ledger {
    /// An empty ledger.
    pub fn new() -> Self {
        Self::default()
    }

    /// Enters one allocation, or says which bound it would pass. `user` is the part of the username after the expiry: a fresh
    /// expiry must not be a fresh quota.
    pub(super) fn try_enter(
        &self,
        now: Ticks,
        limits: &Limits,
        user: &str,
        client: IpAddr,
    ) -> Result<Lease, QuotaKind> {
        let client = client_prefix(client, limits.client_prefix_v4, limits.client_prefix_v6);
        let mut entries = self.entries();
        entries.forget_idle(now);
        if entries
            .users
            .get(user)
            .is_some_and(|user| user.held >= limits.allocations_per_user)
            || limits.allocations_per_user == 0
        {
            return Err(QuotaKind::User);
        }
        if entries
            .clients
            .get(&client)
            .is_some_and(|held| *held >= limits.allocations_per_client)
            || limits.allocations_per_client == 0
        {
            return Err(QuotaKind::Client);
        }
        if entries.total >= limits.allocations {
            return Err(QuotaKind::Process);
        }
        let user: Arc<str> = match entries.users.get_key_value(user) {
            Some((known, _)) => Arc::clone(known),
            None => Arc::from(user),
        };
        entries.total += 1;
        let known = entries.users.contains_key(&user);
        let entry = entries.users.entry(Arc::clone(&user)).or_default();
        let was_idle = known && entry.held == 0;
        entry.held += 1;
        let usage = Arc::clone(&entry.usage);
        entries.idle -= usize::from(was_idle);
        *entries.clients.entry(client).or_insert(0) += 1;
        drop(entries);
        Ok(Lease {
            ledger: self.clone(),
            user,
            usage,
            client,
        })
    }

    /// Allocations held now.
    pub fn total(&self) -> u32 {
        self.entries().total
    }

    /// Users and client addresses that hold at least one: zero once everything is closed.
    pub fn holders(&self) -> usize {
        let entries = self.entries();
        entries.users.len() - entries.idle + entries.clients.len()
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
        if self.idle <= self.sweep_at.max(SLACK) {
            return;
        }
        self.users.retain(|_, user| user.held > 0 || !user.usage.is_full(now));
        self.idle = self.users.values().filter(|user| user.held == 0).count();
        self.sweep_at = 2 * self.idle;
    }

    fn move_client(&mut self, from: IpAddr, to: IpAddr) {
        self.leave_client(from);
        *self.clients.entry(to).or_insert(0) += 1;
    }

    fn leave_client(&mut self, client: IpAddr) {
        if let Some(held) = self.clients.get_mut(&client) {
            *held -= 1;
            if *held == 0 {
                self.clients.remove(&client);
            }
        }
    }
}

/// One allocation's entry in the ledger, given back on drop.
#[derive(Debug)]
pub(super) struct Lease {
    ledger: Ledger,
    user: Arc<str>,
    usage: Arc<SharedUsage>,
    client: IpAddr,
}

impl Lease {
    /// What the user has relayed.
    #[inline]
    pub(super) fn user_usage(&self) -> &SharedUsage {
        &self.usage
    }

    /// Counts the allocation for another client address from now on, in place of the one before, which is returned. It counts
    /// for one of them at any time: never for both, never for none (CVE-2026-73216).
    pub(super) fn try_move(&mut self, limits: &Limits, client: IpAddr) -> Result<IpAddr, QuotaKind> {
        let client = client_prefix(client, limits.client_prefix_v4, limits.client_prefix_v6);
        if client == self.client {
            return Ok(client);
        }
        let mut entries = self.ledger.entries();
        let held = entries.clients.get(&client).copied().unwrap_or(0);
        if held >= limits.allocations_per_client {
            return Err(QuotaKind::Client);
        }
        entries.move_client(self.client, client);
        drop(entries);
        Ok(std::mem::replace(&mut self.client, client))
    }

    /// Undoes a [`Lease::try_move`]. It never fails: the allocation had its place there when it left.
    pub(super) fn move_back(&mut self, client: IpAddr) {
        if client != self.client {
            self.ledger.entries().move_client(self.client, client);
            self.client = client;
        }
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
                if user.usage.is_untouched() {
                    entries.users.remove(&self.user);
                } else {
                    entries.idle += 1;
                }
            }
        }
        entries.leave_client(self.client);
    }
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

    #[test]
    fn each_bound_admits_exactly_its_number() {
        for (limits, kind) in [
            (limits(2, 9, 9), QuotaKind::User),
            (limits(9, 2, 9), QuotaKind::Client),
            (limits(9, 9, 2), QuotaKind::Process),
        ] {
            let ledger = Ledger::new();
            let held = [
                ledger.try_enter(0, &limits, "u", V4).unwrap(),
                ledger.try_enter(0, &limits, "u", V4).unwrap(),
            ];
            assert_eq!(ledger.try_enter(0, &limits, "u", V4).unwrap_err(), kind);
            assert_eq!(ledger.total(), 2);
            drop(held);
            assert!(ledger.try_enter(0, &limits, "u", V4).is_ok());
        }
    }

    #[test]
    fn a_bound_of_zero_admits_nobody() {
        for (limits, kind) in [
            (limits(0, 9, 9), QuotaKind::User),
            (limits(9, 0, 9), QuotaKind::Client),
            (limits(9, 9, 0), QuotaKind::Process),
        ] {
            assert_eq!(Ledger::new().try_enter(0, &limits, "u", V4).unwrap_err(), kind);
        }
    }

    #[test]
    fn users_and_clients_are_counted_apart() {
        let ledger = Ledger::new();
        let limits = limits(1, 1, 9);
        let _a = ledger.try_enter(0, &limits, "a", V4).unwrap();
        assert_eq!(ledger.try_enter(0, &limits, "b", V4).unwrap_err(), QuotaKind::Client);
        assert_eq!(
            ledger
                .try_enter(0, &limits, "a", "203.0.113.10".parse().unwrap())
                .unwrap_err(),
            QuotaKind::User
        );
        assert!(
            ledger
                .try_enter(0, &limits, "b", "203.0.113.10".parse().unwrap())
                .is_ok()
        );
    }

    #[test]
    fn an_ipv6_household_is_one_client() {
        let ledger = Ledger::new();
        let limits = limits(9, 1, 9);
        let _a = ledger
            .try_enter(0, &limits, "a", "2001:db8:1:2::1".parse().unwrap())
            .unwrap();
        assert!(
            ledger
                .try_enter(0, &limits, "a", "2001:db8:1:2:ffff::9".parse().unwrap())
                .is_err()
        );
        assert!(
            ledger
                .try_enter(0, &limits, "a", "2001:db8:1:3::1".parse().unwrap())
                .is_ok()
        );
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
        drop(ledger.try_enter(0, &Limits::default(), "a", V4).unwrap());
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
            let lease = ledger.try_enter(index * second, &limits, &user, V4).unwrap();
            lease.user_usage().take_for_test(pace, index * second);
            drop(lease);
            assert_eq!(ledger.holders(), 0);
            assert!(ledger.entries().users.len() <= 66, "{index}");
        }
        let again = ledger.try_enter(999 * second, &limits, "user999", V4).unwrap();
        assert!(!again.user_usage().is_full(999 * second));
    }
}
