//! The process-wide ledger of allocations: who holds how many.
//!
//! Touched by Allocate and by the end of an allocation only, never by a relayed packet. A `Lease` is one entry; dropping it
//! is the only way to give it back, so that no path can do so twice or forget it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hashbrown::HashMap;

use super::config::Limits;
use super::verdict::QuotaKind;

/// Handle to the ledger; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Ledger(Arc<Mutex<Entries>>);

#[derive(Debug, Default)]
struct Entries {
    total: u32,
    users: HashMap<Arc<str>, u32, foldhash::quality::RandomState>,
    clients: HashMap<IpAddr, u32, foldhash::quality::RandomState>,
}

impl Ledger {
    /// An empty ledger.
    pub fn new() -> Self {
        Self::default()
    }

    /// Enters one allocation, or says which bound it would pass. `user` is the part of the username after the expiry: a fresh
    /// expiry must not be a fresh quota.
    pub(super) fn try_enter(&self, limits: &Limits, user: &str, client: IpAddr) -> Result<Lease, QuotaKind> {
        let client = client_prefix(client, limits.client_prefix_v4, limits.client_prefix_v6);
        let mut entries = self.entries();
        if entries
            .users
            .get(user)
            .is_some_and(|held| *held >= limits.allocations_per_user)
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
        *entries.users.entry(Arc::clone(&user)).or_insert(0) += 1;
        *entries.clients.entry(client).or_insert(0) += 1;
        drop(entries);
        Ok(Lease {
            ledger: self.clone(),
            user,
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
        entries.users.len() + entries.clients.len()
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        // Every critical section leaves whole numbers behind, so a panic elsewhere cannot have broken them.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One allocation's entry in the ledger, given back on drop.
#[derive(Debug)]
pub(super) struct Lease {
    ledger: Ledger,
    user: Arc<str>,
    client: IpAddr,
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut entries = self.ledger.entries();
        entries.total = entries.total.saturating_sub(1);
        if let Some(held) = entries.users.get_mut(&self.user) {
            *held -= 1;
            if *held == 0 {
                entries.users.remove(&self.user);
            }
        }
        if let Some(held) = entries.clients.get_mut(&self.client) {
            *held -= 1;
            if *held == 0 {
                entries.clients.remove(&self.client);
            }
        }
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
                ledger.try_enter(&limits, "u", V4).unwrap(),
                ledger.try_enter(&limits, "u", V4).unwrap(),
            ];
            assert_eq!(ledger.try_enter(&limits, "u", V4).unwrap_err(), kind);
            assert_eq!(ledger.total(), 2);
            drop(held);
            assert!(ledger.try_enter(&limits, "u", V4).is_ok());
        }
    }

    #[test]
    fn a_bound_of_zero_admits_nobody() {
        for (limits, kind) in [
            (limits(0, 9, 9), QuotaKind::User),
            (limits(9, 0, 9), QuotaKind::Client),
            (limits(9, 9, 0), QuotaKind::Process),
        ] {
            assert_eq!(Ledger::new().try_enter(&limits, "u", V4).unwrap_err(), kind);
        }
    }

    #[test]
    fn users_and_clients_are_counted_apart() {
        let ledger = Ledger::new();
        let limits = limits(1, 1, 9);
        let _a = ledger.try_enter(&limits, "a", V4).unwrap();
        assert_eq!(ledger.try_enter(&limits, "b", V4).unwrap_err(), QuotaKind::Client);
        assert_eq!(
            ledger
                .try_enter(&limits, "a", "203.0.113.10".parse().unwrap())
                .unwrap_err(),
            QuotaKind::User
        );
        assert!(ledger.try_enter(&limits, "b", "203.0.113.10".parse().unwrap()).is_ok());
    }

    #[test]
    fn an_ipv6_household_is_one_client() {
        let ledger = Ledger::new();
        let limits = limits(9, 1, 9);
        let _a = ledger
            .try_enter(&limits, "a", "2001:db8:1:2::1".parse().unwrap())
            .unwrap();
        assert!(
            ledger
                .try_enter(&limits, "a", "2001:db8:1:2:ffff::9".parse().unwrap())
                .is_err()
        );
        assert!(
            ledger
                .try_enter(&limits, "a", "2001:db8:1:3::1".parse().unwrap())
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
        drop(ledger.try_enter(&Limits::default(), "a", V4).unwrap());
        assert_eq!((ledger.total(), ledger.holders()), (0, 0));
    }
}
