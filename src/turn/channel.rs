//! Channel bindings: a number for a peer's transport address (RFC 8656 §12).

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::Family;
use super::hashing::{HashState, Map};
use crate::wire::ChannelNumber;

/// RFC 8656 §12: ten minutes.
pub const CHANNEL_LIFETIME: Duration = Duration::from_secs(600);

/// The channels of one allocation: one peer per number and one number per peer. What is expired is removed by the
/// allocation's timer before anything can see it.
#[derive(Debug)]
pub(super) struct Channels {
    by_number: Map<ChannelNumber, Binding>,
    by_peer: Map<SocketAddr, ChannelNumber>,
}

#[derive(Clone, Copy, Debug)]
struct Binding {
    peer: SocketAddr,
    expires: Instant,
}

/// Number or peer is bound to another (RFC 8656 §12.2: 400).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct AlreadyBound;

impl Channels {
    pub(super) fn new(state: &HashState) -> Self {
        Self {
            by_number: Map::with_hasher(state.clone()),
            by_peer: Map::with_hasher(state.clone()),
        }
    }

    /// The peer of a number.
    #[inline]
    pub(super) fn peer_of(&self, number: ChannelNumber) -> Option<SocketAddr> {
        self.by_number.get(&number).map(|binding| binding.peer)
    }

    /// The number of a peer.
    #[inline]
    pub(super) fn number_of(&self, peer: &SocketAddr) -> Option<ChannelNumber> {
        if self.by_peer.is_empty() {
            None
        } else {
            self.by_peer.get(peer).copied()
        }
    }

    /// Whether number and peer can be bound to each other: both free (`Ok(true)`), or bound so already (`Ok(false)`).
    pub(super) fn check(&self, number: ChannelNumber, peer: &SocketAddr) -> Result<bool, AlreadyBound> {
        match (self.by_number.get(&number), self.by_peer.get(peer)) {
            (None, None) => Ok(true),
            (Some(binding), Some(_)) if binding.peer == *peer => Ok(false),
            _ => Err(AlreadyBound),
        }
    }

    /// Binds or refreshes, after [`Channels::check`].
    pub(super) fn bind(&mut self, number: ChannelNumber, peer: SocketAddr, now: Instant) {
        self.by_number.insert(
            number,
            Binding {
                peer,
                expires: now + CHANNEL_LIFETIME,
            },
        );
        self.by_peer.insert(peer, number);
    }

    pub(super) fn len(&self) -> usize {
        self.by_number.len()
    }

    /// Removes what is expired at `now`; says how many that were.
    pub(super) fn expire(&mut self, now: Instant) -> usize {
        self.retain(|binding| now < binding.expires)
    }

    /// Removes those to peers of one family; says how many that were.
    pub(super) fn remove_family(&mut self, family: Family) -> usize {
        self.retain(|binding| Family::of(binding.peer.ip()) != family)
    }

    /// Keeps those to peers that `keep` agrees to; says how many went.
    pub(super) fn retain_peers(&mut self, keep: impl Fn(SocketAddr) -> bool) -> usize {
        self.retain(|binding| keep(binding.peer))
    }

    /// When the next one expires.
    pub(super) fn next_expiry(&self) -> Option<Instant> {
        self.by_number.values().map(|binding| binding.expires).min()
    }

    fn retain(&mut self, keep: impl Fn(&Binding) -> bool) -> usize {
        let before = self.by_number.len();
        let by_peer = &mut self.by_peer;
        self.by_number.retain(|_, binding| {
            let keep = keep(binding);
            if !keep {
                by_peer.remove(&binding.peer);
            }
            keep
        });
        before - self.by_number.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channels() -> Channels {
        Channels::new(&HashState::with_seed(1))
    }

    fn number(value: u16) -> ChannelNumber {
        ChannelNumber::new(value).unwrap()
    }

    fn peer(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_number_has_one_peer_and_a_peer_one_number() {
        let now = Instant::now();
        let mut channels = channels();
        let (a, b) = (peer("203.0.113.1:1"), peer("203.0.113.1:2"));
        assert_eq!(channels.check(number(0x4000), &a), Ok(true));
        channels.bind(number(0x4000), a, now);
        assert_eq!(channels.check(number(0x4000), &a), Ok(false));
        assert_eq!(channels.check(number(0x4000), &b), Err(AlreadyBound));
        assert_eq!(channels.check(number(0x4001), &a), Err(AlreadyBound));
        assert_eq!(channels.check(number(0x4001), &b), Ok(true));
        channels.bind(number(0x4001), b, now);
        assert_eq!(channels.check(number(0x4000), &b), Err(AlreadyBound));
        assert_eq!(channels.peer_of(number(0x4000)), Some(a));
        assert_eq!(channels.number_of(&b), Some(number(0x4001)));
    }

    #[test]
    fn a_channel_lasts_ten_minutes_and_both_its_ends_are_free_at_the_very_end() {
        let now = Instant::now();
        let mut channels = channels();
        let (a, b) = (peer("203.0.113.1:1"), peer("203.0.113.1:2"));
        channels.bind(number(0x4000), a, now);
        assert_eq!(channels.next_expiry(), Some(now + CHANNEL_LIFETIME));
        assert_eq!(channels.expire(now + CHANNEL_LIFETIME - Duration::from_nanos(1)), 0);
        assert_eq!(channels.expire(now + CHANNEL_LIFETIME), 1);
        assert_eq!(channels.check(number(0x4000), &b), Ok(true));
        assert_eq!(channels.check(number(0x4001), &a), Ok(true));
        assert_eq!(channels.len(), 0);
    }
}
