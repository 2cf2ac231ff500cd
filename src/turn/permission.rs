//! Permissions: which peer addresses may send to an allocation, and be sent to (RFC 8656 §9).

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::Family;
use super::hashing::{HashState, Map};

/// RFC 8656 §9: "The Permission Lifetime MUST be 300 seconds".
pub const PERMISSION_LIFETIME: Duration = Duration::from_secs(300);

/// The permissions of one allocation. What is expired is removed by the allocation's timer before anything can see it.
#[derive(Debug)]
pub(super) struct Permissions(Map<IpAddr, Instant>);

impl Permissions {
    pub(super) fn new(state: &HashState) -> Self {
        Self(Map::with_hasher(state.clone()))
    }

    /// Only the address counts, not the port.
    #[inline]
    pub(super) fn permits(&self, peer: IpAddr) -> bool {
        !self.0.is_empty() && self.0.contains_key(&peer)
    }

    /// Installs or refreshes; `true` if it is new.
    pub(super) fn install(&mut self, peer: IpAddr, now: Instant) -> bool {
        self.0.insert(peer, now + PERMISSION_LIFETIME).is_none()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Removes what is expired at `now`; says how many that were.
    pub(super) fn expire(&mut self, now: Instant) -> usize {
        self.retain(|_, expires| now < expires)
    }

    /// Removes those of one family; says how many that were.
    pub(super) fn remove_family(&mut self, family: Family) -> usize {
        self.retain(|peer, _| Family::of(peer) != family)
    }

    /// Keeps those to addresses that `keep` agrees to; says how many went.
    pub(super) fn retain_peers(&mut self, keep: impl Fn(IpAddr) -> bool) -> usize {
        self.retain(|peer, _| keep(peer))
    }

    /// When the next one expires.
    pub(super) fn next_expiry(&self) -> Option<Instant> {
        self.0.values().copied().min()
    }

    fn retain(&mut self, keep: impl Fn(IpAddr, Instant) -> bool) -> usize {
        let before = self.0.len();
        self.0.retain(|peer, expires| keep(*peer, *expires));
        before - self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_permission_lasts_five_minutes_and_is_gone_at_the_very_end() {
        let now = Instant::now();
        let peer: IpAddr = "203.0.113.1".parse().unwrap();
        let mut permissions = Permissions::new(&HashState::with_seed(1));
        assert!(permissions.install(peer, now));
        assert_eq!(permissions.next_expiry(), Some(now + PERMISSION_LIFETIME));
        assert_eq!(
            permissions.expire(now + PERMISSION_LIFETIME - Duration::from_nanos(1)),
            0
        );
        assert!(permissions.permits(peer));
        assert_eq!(permissions.expire(now + PERMISSION_LIFETIME), 1);
        assert!(!permissions.permits(peer));
    }

    #[test]
    fn installing_again_starts_the_five_minutes_anew() {
        let now = Instant::now();
        let later = now + Duration::from_secs(200);
        let peer: IpAddr = "203.0.113.1".parse().unwrap();
        let mut permissions = Permissions::new(&HashState::with_seed(1));
        assert!(permissions.install(peer, now));
        assert!(!permissions.install(peer, later));
        assert_eq!(permissions.len(), 1);
        assert_eq!(permissions.next_expiry(), Some(later + PERMISSION_LIFETIME));
    }

    #[test]
    fn a_family_goes_alone() {
        let now = Instant::now();
        let mut permissions = Permissions::new(&HashState::with_seed(1));
        permissions.install("203.0.113.1".parse().unwrap(), now);
        permissions.install("2001:db8::1".parse().unwrap(), now);
        assert_eq!(permissions.remove_family(Family::V4), 1);
        assert!(permissions.permits("2001:db8::1".parse().unwrap()));
    }
}
