//! Answers to the request that ended an allocation, kept for its retransmissions.
//!
//! Every other request can be processed twice with the same outcome, or finds its answer in the allocation. A Refresh with
//! LIFETIME 0 cannot: once the allocation is gone, its retransmission would be answered with 437, and if the client has
//! allocated anew from the same port, a late duplicate would delete the new allocation.
//!
//! Only 5-tuples that were authenticated get in, and the oldest makes room at the bound.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::five_tuple::FiveTuple;
use super::hashing::{HashState, Map};
use crate::wire::TransactionId;

/// How long a client may retransmit (RFC 8489 §6.3.1: 40 seconds).
pub(super) const RETRANSMIT_LIFETIME: Duration = Duration::from_secs(40);

#[derive(Debug)]
pub(super) struct RetransmitCache {
    answers: Map<(FiveTuple, [u8; 12]), Box<[u8]>>,
    /// Oldest first; one entry per answer.
    expiries: VecDeque<(Instant, (FiveTuple, [u8; 12]))>,
}

impl RetransmitCache {
    pub(super) fn new(state: &HashState) -> Self {
        Self {
            answers: Map::with_hasher(state.clone()),
            expiries: VecDeque::new(),
        }
    }

    /// Remembers an answer. `true` if the oldest had to make room.
    pub(super) fn remember(
        &mut self,
        now: Instant,
        limit: u32,
        five_tuple: FiveTuple,
        id: TransactionId,
        answer: &[u8],
    ) -> bool {
        let key = (five_tuple, id.0);
        if limit == 0 || self.answers.contains_key(&key) {
            return false;
        }
        let mut evicted = false;
        while self.answers.len() >= limit as usize {
            let Some((_, oldest)) = self.expiries.pop_front() else {
                break;
            };
            self.answers.remove(&oldest);
            evicted = true;
        }
        self.answers.insert(key, Box::from(answer));
        self.expiries.push_back((now + RETRANSMIT_LIFETIME, key));
        evicted
    }

    pub(super) fn answer(&self, five_tuple: &FiveTuple, id: TransactionId) -> Option<&[u8]> {
        if self.answers.is_empty() {
            None
        } else {
            self.answers.get(&(*five_tuple, id.0)).map(|answer| &**answer)
        }
    }

    /// Answers that are kept.
    pub(super) fn len(&self) -> usize {
        self.answers.len().max(self.expiries.len())
    }

    /// When the oldest answer is dropped.
    #[inline]
    pub(super) fn next_expiry(&self) -> Option<Instant> {
        self.expiries.front().map(|(at, _)| *at)
    }

    /// Drops what is too old at `now`.
    pub(super) fn expire(&mut self, now: Instant) {
        while self.next_expiry().is_some_and(|at| at <= now) {
            if let Some((_, key)) = self.expiries.pop_front() {
                self.answers.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::turn::{ClientAddr, ListenAddr, Transport};

    fn five_tuple(port: u16) -> FiveTuple {
        FiveTuple {
            transport: Transport::Udp,
            client: ClientAddr(([192, 0, 2, 1], port).into()),
            server: ListenAddr(([192, 0, 2, 2], 3478).into()),
        }
    }

    #[test]
    fn an_answer_is_kept_for_forty_seconds() {
        let now = Instant::now();
        let mut cache = RetransmitCache::new(&HashState::with_seed(1));
        let id = TransactionId([1; 12]);
        assert!(!cache.remember(now, 9, five_tuple(1), id, b"bye"));
        assert_eq!(cache.answer(&five_tuple(1), id), Some(&b"bye"[..]));
        assert_eq!(cache.answer(&five_tuple(2), id), None);
        assert_eq!(cache.answer(&five_tuple(1), TransactionId([2; 12])), None);
        cache.expire(now + RETRANSMIT_LIFETIME - Duration::from_nanos(1));
        assert!(cache.answer(&five_tuple(1), id).is_some());
        cache.expire(now + RETRANSMIT_LIFETIME);
        assert_eq!(cache.answer(&five_tuple(1), id), None);
        assert_eq!(cache.next_expiry(), None);
    }

    #[test]
    fn at_the_bound_the_oldest_makes_room() {
        let now = Instant::now();
        let mut cache = RetransmitCache::new(&HashState::with_seed(1));
        let id = TransactionId([1; 12]);
        for (port, evicted) in [(1, false), (2, false), (3, true)] {
            assert_eq!(cache.remember(now, 2, five_tuple(port), id, b"bye"), evicted);
        }
        assert_eq!(cache.answer(&five_tuple(1), id), None);
        assert!(cache.answer(&five_tuple(2), id).is_some());
        assert!(cache.answer(&five_tuple(3), id).is_some());
        assert!(!cache.remember(now, 0, five_tuple(4), id, b"bye"));
        assert_eq!(cache.answer(&five_tuple(4), id), None);
    }
}
