//! Which relay port an allocation gets: random, so that nobody can guess where the next one will be (RFC 6056), and from the
//! share of the range that belongs to this shard, so that shards do not race for the same port.
//!
//! Shares go by pairs (`port >> 1`), because EVEN-PORT wants a port and its neighbour.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;

use super::hashing::{HashState, Map};
use super::input::Shard;
use super::output::ReservationToken;
use super::rng::Drbg;

/// What the port must be like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum PortWish {
    /// Any.
    Any,
    /// Even (EVEN-PORT, R = 0).
    Even,
    /// Even, and the next one free too (EVEN-PORT, R = 1).
    Pair,
}

/// Who has a port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Holder {
    Relay,
    Reservation(ReservationToken),
}

/// Random draws before the range is searched in order.
const DRAWS: usize = 16;

/// The ports of this shard that are taken.
#[derive(Debug)]
pub(super) struct Ports {
    shard: Shard,
    taken: Map<SocketAddr, Holder>,
}

/// The pairs of the range that belong to a shard: `first + k * step` for `k < count`.
#[derive(Clone, Copy, Debug)]
struct Share {
    first: u32,
    step: u32,
    count: u32,
}

impl Share {
    fn new(range: &RangeInclusive<u16>, shard: Shard) -> Self {
        let (low, high) = (u32::from(*range.start()) >> 1, u32::from(*range.end()) >> 1);
        let step = u32::from(shard.count.max(1));
        let first = low + (u32::from(shard.index) + step - low % step) % step;
        let count = if range.is_empty() || first > high {
            0
        } else {
            (high - first) / step + 1
        };
        Self { first, step, count }
    }

    fn even_port(self, k: u32) -> u32 {
        (self.first + k * self.step) << 1
    }
}

impl Ports {
    pub(super) fn new(shard: Shard, state: &HashState) -> Self {
        Self {
            shard,
            taken: Map::with_hasher(state.clone()),
        }
    }

    /// A free port on `ip`; the caller takes it. `None`: there is none.
    pub(super) fn pick(&self, rng: &mut Drbg, ip: IpAddr, range: &RangeInclusive<u16>, wish: PortWish) -> Option<u16> {
        let share = Share::new(range, self.shard);
        let parity = rng.below(2);
        for _ in 0..DRAWS {
            let k = rng.below(share.count);
            if let Some(port) = self.pick_in(share, k, rng.below(2), ip, range, wish) {
                return Some(port);
            }
        }
        // Nearly full. Where the search begins is random, so the choice stays hard to guess.
        let start = rng.below(share.count);
        (0..share.count).find_map(|k| self.pick_in(share, (start + k) % share.count, parity, ip, range, wish))
    }

    fn pick_in(
        &self,
        share: Share,
        k: u32,
        parity: u32,
        ip: IpAddr,
        range: &RangeInclusive<u16>,
        wish: PortWish,
    ) -> Option<u16> {
        if k >= share.count {
            return None;
        }
        let even = share.even_port(k);
        let free = |port: u32| {
            let port = u16::try_from(port).ok()?;
            (range.contains(&port) && !self.taken.contains_key(&SocketAddr::new(ip, port))).then_some(port)
        };
        match wish {
            PortWish::Any => free(even + parity).or_else(|| free(even + 1 - parity)),
            PortWish::Even => free(even),
            PortWish::Pair => free(even + 1).and_then(|_| free(even)),
        }
    }

    /// Marks a port as a relay's; a reserved one changes hands.
    pub(super) fn take(&mut self, at: SocketAddr) {
        self.taken.insert(at, Holder::Relay);
    }

    /// Marks a port as reserved under `token`.
    pub(super) fn reserve(&mut self, at: SocketAddr, token: ReservationToken) {
        self.taken.insert(at, Holder::Reservation(token));
    }

    /// Frees a relay's port.
    pub(super) fn release(&mut self, at: SocketAddr) {
        if self.taken.get(&at) == Some(&Holder::Relay) {
            self.taken.remove(&at);
        }
    }

    /// Frees a reserved port, unless the reservation has become a relay of this shard.
    pub(super) fn release_reserved(&mut self, at: SocketAddr, token: ReservationToken) {
        if self.taken.get(&at) == Some(&Holder::Reservation(token)) {
            self.taken.remove(&at);
        }
    }

    /// Frees the reserved ports whose reservation is `gone`: claimed by another shard, which may have given them back long
    /// since. For when there is no other port left; if a socket is still there, binding will tell. Whether there were any.
    pub(super) fn forget_reserved(&mut self, gone: impl Fn(ReservationToken) -> bool) -> bool {
        let before = self.taken.len();
        self.taken
            .retain(|_, holder| !matches!(holder, Holder::Reservation(token) if gone(*token)));
        self.taken.len() < before
    }

    /// How many there are of this shard on one address, taken or not.
    pub(super) fn share(&self, range: &RangeInclusive<u16>) -> usize {
        let share = Share::new(range, self.shard);
        let pairs = 2 * share.count as usize;
        pairs.min(range.len())
    }

    /// Ports taken.
    pub(super) fn len(&self) -> usize {
        self.taken.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    const IP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn ports(index: u16, count: u16) -> Ports {
        Ports::new(Shard { index, count }, &HashState::with_seed(1))
    }

    fn drain(ports: &mut Ports, range: &RangeInclusive<u16>, wish: PortWish) -> Vec<u16> {
        let mut rng = Drbg::new([5; 32]);
        let mut drawn = Vec::new();
        while let Some(port) = ports.pick(&mut rng, IP, range, wish) {
            ports.take(SocketAddr::new(IP, port));
            if wish == PortWish::Pair {
                ports.take(SocketAddr::new(IP, port + 1));
            }
            drawn.push(port);
        }
        drawn
    }

    #[test]
    fn every_port_of_the_range_is_given_once_and_then_none() {
        for range in [50000..=50099, 50001..=50100, 50001..=50001, 65530..=65535, 0..=3] {
            let drawn = drain(&mut ports(0, 1), &range, PortWish::Any);
            assert_eq!(drawn.len(), range.len());
            assert_eq!(drawn.iter().copied().collect::<HashSet<_>>(), range.collect());
        }
    }

    #[test]
    fn shards_share_the_range_without_overlap_and_keep_pairs_together() {
        let range = 50001..=50123;
        let mut all = HashSet::new();
        for index in 0..5 {
            for port in drain(&mut ports(index, 5), &range, PortWish::Any) {
                assert_eq!((port >> 1) % 5, index);
                assert!(all.insert(port));
            }
        }
        assert_eq!(all, range.collect());
    }

    #[test]
    fn an_even_port_is_even_and_a_pair_is_free_in_both_halves() {
        let range = 50001..=50010;
        assert_eq!(drain(&mut ports(0, 1), &range, PortWish::Even).len(), 5);
        let mut ports = ports(0, 1);
        ports.take(SocketAddr::new(IP, 50003));
        let mut pairs = drain(&mut ports, &range, PortWish::Pair);
        pairs.sort_unstable();
        // 50000 is below the range, 50003 is taken, 50011 is above it.
        assert_eq!(pairs, [50004, 50006, 50008]);
    }

    #[test]
    fn an_even_port_without_reservation_leaves_the_odd_one_free() {
        let mut ports = ports(0, 1);
        let range = 50000..=50001;
        assert_eq!(drain(&mut ports, &range, PortWish::Even), [50000]);
        assert_eq!(drain(&mut ports, &range, PortWish::Any), [50001]);
    }

    #[test]
    fn a_range_without_ports_for_this_shard_gives_none() {
        assert_eq!(
            drain(&mut ports(7, 8), &(50000..=50001), PortWish::Any),
            Vec::<u16>::new()
        );
        #[expect(clippy::reversed_empty_ranges, reason = "what an operator may write by mistake")]
        let empty = 50001..=50000;
        assert_eq!(drain(&mut ports(0, 1), &empty, PortWish::Any), Vec::<u16>::new());
    }

    #[test]
    fn a_reservation_that_became_a_relay_is_freed_by_the_relay_alone() {
        let at = SocketAddr::new(IP, 50001);
        let token = ReservationToken([1; 8]);
        let mut ports = ports(0, 1);
        ports.reserve(at, token);
        ports.release(at);
        assert_eq!(ports.len(), 1);
        ports.take(at);
        ports.release_reserved(at, token);
        assert_eq!(ports.len(), 1);
        ports.release(at);
        assert_eq!(ports.len(), 0);
        ports.reserve(at, ReservationToken([2; 8]));
        ports.release_reserved(at, token);
        assert_eq!(ports.len(), 1);
    }

    #[test]
    fn ports_do_not_come_in_an_order() {
        let drawn = drain(&mut ports(0, 1), &(49152..=65535), PortWish::Any);
        let steps = drawn
            .windows(2)
            .take(1000)
            .filter(|pair| pair[1].abs_diff(pair[0]) <= 2)
            .count();
        assert!(steps < 10, "{steps}");
    }
}
