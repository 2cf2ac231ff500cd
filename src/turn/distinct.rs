//! How many different ones there were, without remembering them: HyperLogLog (Flajolet et al. 2007) in 1 KiB.
//!
//! What is counted is a hash under a secret of the process, so that nobody can choose names that count for less or for more.
//! Shards share one without a lock: a register only grows.

use std::sync::atomic::{AtomicU8, Ordering};

/// 2¹⁰ registers: a standard error of 1.04 / √1024 = 3.3 %.
const BITS: u32 = 10;
const REGISTERS: usize = 1 << BITS;

/// Estimates how many different values it was shown.
#[derive(Debug)]
pub(super) struct Distinct(Box<[AtomicU8; REGISTERS]>);

impl Default for Distinct {
    fn default() -> Self {
        Self(Box::new([const { AtomicU8::new(0) }; REGISTERS]))
    }
}

impl Distinct {
    /// Shows it a value, by its hash. Whether that makes a difference.
    pub(super) fn insert(&self, hash: u64) -> bool {
        let register = (hash >> (u64::BITS - BITS)) as usize;
        // The bit below what chose the register bounds the count, whatever the hash.
        let rest = hash << BITS | 1 << (BITS - 1);
        let rank = rest.leading_zeros() as u8 + 1;
        let register = self.0.get(register);
        register.is_some_and(|register| register.fetch_max(rank, Ordering::Relaxed) < rank)
    }

    /// About how many it was shown: exact for a few, within 3.3 % (one standard error) for many.
    pub(super) fn estimate(&self) -> u64 {
        let registers = REGISTERS as f64;
        let (mut sum, mut empty) = (0.0, 0_u32);
        for register in self.0.iter() {
            let rank = register.load(Ordering::Relaxed);
            // 2 to the power of -rank.
            sum += f64::from_bits((1023 - u64::from(rank)) << 52);
            empty += u32::from(rank == 0);
        }
        let raw = 0.7213 / (1.0 + 1.079 / registers) * registers * registers / sum;
        let estimate = if raw <= 2.5 * registers && empty > 0 {
            // Linear counting: better while most registers are empty.
            registers * (registers / f64::from(empty)).ln()
        } else {
            raw
        };
        estimate.round() as u64
    }

    /// What was shown to `other` alone counts here from now on, and nothing there.
    pub(super) fn take(&self, other: &Self) {
        for (own, others) in self.0.iter().zip(other.0.iter()) {
            own.store(others.swap(0, Ordering::Relaxed), Ordering::Relaxed);
        }
    }

    /// Forgets all.
    pub(super) fn clear(&self) {
        for register in self.0.iter() {
            register.store(0, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hash::BuildHasher;

    fn shown(many: u64) -> Distinct {
        let (distinct, state) = (Distinct::default(), foldhash::quality::FixedState::with_seed(7));
        for value in 0..many {
            distinct.insert(state.hash_one(value));
            distinct.insert(state.hash_one(value));
        }
        distinct
    }

    #[test]
    fn few_are_counted_nearly_exactly_and_many_within_ten_percent() {
        assert_eq!(shown(0).estimate(), 0);
        assert_eq!(shown(1).estimate(), 1);
        for many in [10, 100, 500] {
            assert!(shown(many).estimate().abs_diff(many) <= 1 + many / 25, "{many}");
        }
        for many in [1000, 2500, 5000, 50_000, 1_000_000] {
            let estimate = shown(many).estimate();
            assert!(estimate.abs_diff(many) <= many / 10, "{many}: {estimate}");
        }
    }

    #[test]
    fn what_is_taken_is_gone_where_it_was() {
        let (from, to) = (shown(100), shown(3));
        to.take(&from);
        assert_eq!(from.estimate(), 0);
        assert!(to.estimate().abs_diff(100) <= 5);
        to.clear();
        assert_eq!(to.estimate(), 0);
    }

    #[test]
    fn no_hash_is_out_of_bounds() {
        let distinct = Distinct::default();
        for hash in [0, u64::MAX, 1, 1 << 63] {
            distinct.insert(hash);
        }
        assert!((2..=4).contains(&distinct.estimate()));
    }
}
