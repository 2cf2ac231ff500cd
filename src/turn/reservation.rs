//! Ports reserved by EVEN-PORT with R set (RFC 8656 §7.2), process-wide: the Allocate that claims one may reach another shard
//! than the one that reserved it.
//!
//! The entry here is the right to claim; the socket itself is parked by the driver under the same token. Whoever removes the
//! entry owns the socket: a claim, or the expiry in the shard that reserved. Both happen under the lock, so never both.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hashbrown::HashMap;

use super::config::{Limits, RelayAddr};
use super::output::ReservationToken;

/// How long a reservation is held (RFC 8656 §7.2: at least 30 s).
pub const RESERVATION_LIFETIME: Duration = Duration::from_secs(30);

/// Handle to the reservations; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Reservations(Arc<Mutex<Entries>>);

type Entries = HashMap<ReservationToken, Reservation, foldhash::quality::RandomState>;

/// A socket that waits for its client.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Reservation {
    /// Who may claim it: the user part of the username that reserved it.
    pub(super) user: Arc<str>,
    /// Where the socket is bound.
    pub(super) at: SocketAddr,
    /// The relay address it belongs to.
    pub(super) relay_addr: RelayAddr,
    /// From then on it is gone.
    pub(super) expires: Instant,
}

impl Reservations {
    /// No reservations.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reservations held now.
    pub fn len(&self) -> usize {
        self.entries().len()
    }

    /// Whether none is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Enters a reservation; `false` if as many are held already as there may be, in the process or by this user. They
    /// outlive the allocation they came with, so its quota does not bound them.
    pub(super) fn try_reserve(&self, limits: &Limits, token: ReservationToken, reservation: Reservation) -> bool {
        let mut entries = self.entries();
        if entries.len() >= limits.reservations as usize || entries.contains_key(&token) {
            return false;
        }
        let of_user = entries.values().filter(|held| held.user == reservation.user).count();
        if of_user >= limits.allocations_per_user as usize {
            return false;
        }
        entries.insert(token, reservation);
        true
    }

    /// Whether `token` is neither claimed nor given up.
    pub(super) fn is_held(&self, token: ReservationToken) -> bool {
        self.entries().contains_key(&token)
    }

    /// Whether `token` can be claimed by `user` now.
    pub(super) fn peek(&self, token: ReservationToken, user: &str, now: Instant) -> Option<Reservation> {
        self.entries()
            .get(&token)
            .filter(|held| *held.user == *user && now < held.expires)
            .cloned()
    }

    /// Takes the reservation. `None`: never made, claimed, out of time, or somebody else's.
    pub(super) fn claim(&self, token: ReservationToken, user: &str, now: Instant) -> Option<Reservation> {
        let mut entries = self.entries();
        entries
            .get(&token)
            .filter(|held| *held.user == *user && now < held.expires)?;
        entries.remove(&token)
    }

    /// Gives the reservation up. `Some` if it was still there, so that the caller has to have the socket closed.
    pub(super) fn release(&self, token: ReservationToken) -> Option<Reservation> {
        self.entries().remove(&token)
    }

    /// Says where the socket of a reservation is, after all.
    pub(super) fn relocate(&self, token: ReservationToken, at: SocketAddr) {
        if let Some(held) = self.entries().get_mut(&token) {
            held.at = at;
        }
    }

    /// Says until when a reservation is held.
    pub(super) fn hold_until(&self, token: ReservationToken, expires: Instant) {
        if let Some(held) = self.entries().get_mut(&token) {
            held.expires = expires;
        }
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        // Insert and remove leave the map whole; a panic elsewhere cannot have broken it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: ReservationToken = ReservationToken([7; 8]);

    fn limits(reservations: u32) -> Limits {
        Limits {
            reservations,
            ..Limits::default()
        }
    }

    fn reservation(now: Instant) -> Reservation {
        Reservation {
            user: Arc::from("alice"),
            at: "127.0.0.1:50001".parse().unwrap(),
            relay_addr: RelayAddr::same("127.0.0.1".parse().unwrap()),
            expires: now + RESERVATION_LIFETIME,
        }
    }

    #[test]
    fn a_token_is_claimed_once_by_its_user_in_time() {
        let now = Instant::now();
        let late = now + RESERVATION_LIFETIME;
        let table = Reservations::new();
        assert!(table.try_reserve(&limits(9), TOKEN, reservation(now)));
        assert_eq!(table.claim(TOKEN, "mallory", now), None);
        assert_eq!(table.claim(ReservationToken([8; 8]), "alice", now), None);
        assert_eq!(table.claim(TOKEN, "alice", late), None);
        assert_eq!(
            table.claim(TOKEN, "alice", late - Duration::from_nanos(1)),
            Some(reservation(now))
        );
        assert_eq!(table.claim(TOKEN, "alice", now), None);
        assert_eq!(table.release(TOKEN), None);
    }

    #[test]
    fn a_released_token_cannot_be_claimed() {
        let now = Instant::now();
        let table = Reservations::new();
        assert!(table.try_reserve(&limits(1), TOKEN, reservation(now)));
        assert!(table.release(TOKEN).is_some());
        assert_eq!(table.claim(TOKEN, "alice", now), None);
        assert!(table.is_empty());
    }

    #[test]
    fn the_table_takes_its_limit_and_no_more() {
        let now = Instant::now();
        let table = Reservations::new();
        for byte in 0..3 {
            assert_eq!(
                table.try_reserve(&limits(2), ReservationToken([byte; 8]), reservation(now)),
                byte < 2
            );
        }
        assert_eq!(table.len(), 2);
    }
}
