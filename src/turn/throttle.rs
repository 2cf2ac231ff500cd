//! How many answers a source gets that has shown no credentials.
//!
//! A forged source is answered to its victim, so there is a bound per source and second. It needs no memory per source: sources
//! share a fixed table of counters by a secret hash, and the table is wiped each second. Two sources on one counter share its
//! allowance, which costs the honest one a retransmission at worst.

use std::hash::BuildHasher;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::hashing::HashState;

const COUNTERS: usize = 4096;
const WINDOW: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Throttle {
    counters: Box<[u16]>,
    window_ends: Option<Instant>,
    hash_state: HashState,
}

impl Throttle {
    pub(super) fn new(hash_state: HashState) -> Self {
        Self {
            counters: vec![0; COUNTERS].into_boxed_slice(),
            window_ends: None,
            hash_state,
        }
    }

    /// Whether `source` may be answered once more in this second. A limit of 0 is none.
    pub(super) fn admit(&mut self, now: Instant, source: IpAddr, limit: u16) -> bool {
        if limit == 0 {
            return true;
        }
        if self.window_ends.is_none_or(|ends| now >= ends) {
            self.counters.fill(0);
            self.window_ends = Some(now + WINDOW);
        }
        let slot = self.hash_state.hash_one(source) as usize % COUNTERS;
        match self.counters.get_mut(slot) {
            Some(count) if *count >= limit => false,
            Some(count) => {
                *count += 1;
                true
            }
            None => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_gets_its_answers_and_no_more_until_the_next_second() {
        let now = Instant::now();
        let mut throttle = Throttle::new(HashState::with_seed(1));
        let (a, b) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        for _ in 0..3 {
            assert!(throttle.admit(now, a, 3));
        }
        assert!(!throttle.admit(now, a, 3));
        assert!(throttle.admit(now, b, 3));
        assert!(!throttle.admit(now + WINDOW - Duration::from_nanos(1), a, 3));
        assert!(throttle.admit(now + WINDOW, a, 3));
    }

    #[test]
    fn a_limit_of_zero_is_no_limit() {
        let mut throttle = Throttle::new(HashState::with_seed(1));
        assert!((0..10_000).all(|_| throttle.admit(Instant::now(), IpAddr::from([192, 0, 2, 1]), 0)));
    }
}
