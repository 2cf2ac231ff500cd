//! Token buckets as one integer: until when what was taken is paid for (the virtual scheduling algorithm of ITU-T I.371).
//!
//! What may be taken in any time `t` is at most `burst + rate × t`. Time is counted in sixteenths of a nanosecond since the
//! process's epoch, so that a packet of 100 bytes at 100 Gbit/s still costs 128 of them: a rounding error below 0.4 % there
//! and far less anywhere else.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Time since the epoch, in sixteenths of a nanosecond: 36 years fit.
pub(super) type Ticks = u64;

pub(super) const TICKS_PER_SECOND: u64 = 16 * 1_000_000_000;

/// `now` as it is counted here; 0 before the epoch.
#[inline]
pub(super) fn ticks(epoch: Instant, now: Instant) -> Ticks {
    let since = now.saturating_duration_since(epoch);
    since
        .as_secs()
        .saturating_mul(TICKS_PER_SECOND)
        .saturating_add(u64::from(since.subsec_nanos()) * 16)
}

/// How fast a bucket fills and how much it holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Pace {
    per_second: u64,
    /// The time in which an empty bucket becomes full.
    slack: Ticks,
}

impl Pace {
    /// `None` for a rate of 0, which is no limit.
    pub(super) fn new(per_second: u64, burst: u64) -> Option<Self> {
        let slack = (u128::from(burst) * u128::from(TICKS_PER_SECOND)).checked_div(u128::from(per_second))?;
        Some(Self {
            per_second,
            slack: u64::try_from(slack).unwrap_or(u64::MAX / 4).min(u64::MAX / 4),
        })
    }

    /// The time that pays for `amount`.
    #[inline]
    fn cost(self, amount: u64) -> Ticks {
        // Exact below 2^30 of amount, which a packet and a second of any line's rate are.
        amount
            .saturating_mul(TICKS_PER_SECOND)
            .saturating_add(self.per_second / 2)
            / self.per_second
    }

    /// How much there is to take.
    #[inline]
    fn available(self, paid_until: Ticks, now: Ticks) -> u64 {
        let left = now.saturating_add(self.slack).saturating_sub(paid_until.max(now));
        let amount = u128::from(left) * u128::from(self.per_second) / u128::from(TICKS_PER_SECOND);
        u64::try_from(amount).unwrap_or(u64::MAX)
    }

    /// Until when it is paid for if `amount` is taken as well; `None` if that is more than there is.
    #[inline]
    fn after(self, paid_until: Ticks, now: Ticks, amount: u64) -> Option<Ticks> {
        let after = paid_until.max(now).saturating_add(self.cost(amount));
        (after <= now.saturating_add(self.slack)).then_some(after)
    }
}

/// A bucket of one thread. Begins full.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Bucket(Ticks);

impl Bucket {
    /// Takes `amount`, or nothing if there is less.
    #[inline]
    pub(super) fn try_take(&mut self, pace: Pace, now: Ticks, amount: u64) -> bool {
        match pace.after(self.0, now, amount) {
            Some(after) => {
                self.0 = after;
                true
            }
            None => false,
        }
    }
}

impl Bucket {
    /// Undoes a [`Bucket::try_take`] of `amount`.
    pub(super) fn give_back(&mut self, pace: Pace, amount: u64) {
        self.0 = self.0.saturating_sub(pace.cost(amount));
    }
}

/// A bucket of the process: any thread takes from it without waiting for another. Begins full.
#[derive(Debug, Default)]
pub(super) struct SharedBucket(AtomicU64);

impl SharedBucket {
    /// Takes as much as there is of `least..=most`; nothing if there is less than `least`.
    #[inline]
    pub(super) fn try_take(&self, pace: Pace, now: Ticks, least: u64, most: u64) -> Option<u64> {
        // The number is all that is shared, so no order with other memory is asked for.
        let mut paid_until = self.0.load(Ordering::Relaxed);
        loop {
            let amount = match pace.available(paid_until, now) {
                available if available >= most => most,
                available => available.max(least),
            };
            let after = pace.after(paid_until, now, amount)?;
            match self
                .0
                .compare_exchange_weak(paid_until, after, Ordering::Relaxed, Ordering::Relaxed)
            {
                Ok(_) => return Some(amount),
                Err(changed) => paid_until = changed,
            }
        }
    }

    /// Undoes a [`SharedBucket::try_take`] of `amount`.
    pub(super) fn give_back(&self, pace: Pace, amount: u64) {
        // What was taken is still in the number: time only ever adds to it.
        self.0.fetch_sub(pace.cost(amount), Ordering::Relaxed);
    }

    /// Takes `amount` whether or not there is as much, and owes no more than `most` for it.
    pub(super) fn add(&self, pace: Pace, now: Ticks, amount: u64, most: Ticks) {
        let after = |paid_until: Ticks| {
            let after = paid_until.max(now).saturating_add(pace.cost(amount));
            Some(after.min(now.saturating_add(most)))
        };
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, after);
    }

    /// How far ahead of `now` it is paid for.
    pub(super) fn ahead(&self, now: Ticks) -> Ticks {
        self.0.load(Ordering::Relaxed).saturating_sub(now)
    }

    /// Whether it holds all that it can.
    pub(super) fn is_full(&self, now: Ticks) -> bool {
        self.0.load(Ordering::Relaxed) <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(per_second: u64, burst: u64) -> Pace {
        Pace::new(per_second, burst).unwrap()
    }

    #[test]
    fn a_bucket_begins_full_and_holds_no_more_than_its_burst() {
        let (pace, mut bucket) = (pace(100, 10), Bucket::default());
        for round in 0..2 {
            let now = round * 100 * TICKS_PER_SECOND;
            assert!((0..10).all(|_| bucket.try_take(pace, now, 1)));
            assert!(!bucket.try_take(pace, now, 1));
        }
    }

    #[test]
    fn what_was_taken_comes_back_at_the_rate_and_not_a_tick_sooner() {
        let (pace, mut bucket) = (pace(1000, 1000), Bucket::default());
        assert!(bucket.try_take(pace, 0, 1000));
        let hundredth = TICKS_PER_SECOND / 100;
        assert!(!bucket.try_take(pace, hundredth - 1, 10));
        assert!(bucket.try_take(pace, hundredth, 10));
        assert!(!bucket.try_take(pace, hundredth, 1));
    }

    #[test]
    fn more_than_the_burst_never_passes_and_costs_nothing() {
        let (pace, mut bucket) = (pace(1000, 100), Bucket::default());
        assert!(!bucket.try_take(pace, 50 * TICKS_PER_SECOND, 101));
        assert!(bucket.try_take(pace, 50 * TICKS_PER_SECOND, 100));
    }

    #[test]
    fn what_is_given_back_can_be_taken_again() {
        let (pace, mut alone, shared) = (pace(1000, 100), Bucket::default(), SharedBucket::default());
        let now = 5 * TICKS_PER_SECOND;
        assert!(alone.try_take(pace, now, 100));
        assert_eq!(shared.try_take(pace, now, 100, 100), Some(100));
        alone.give_back(pace, 30);
        shared.give_back(pace, 30);
        assert!(!alone.try_take(pace, now, 31) && alone.try_take(pace, now, 30));
        assert_eq!(shared.try_take(pace, now, 31, 31), None);
        assert_eq!(shared.try_take(pace, now, 30, 30), Some(30));
    }

    #[test]
    fn a_shared_bucket_gives_what_it_has_within_what_is_asked() {
        let (pace, shared) = (pace(1000, 100), SharedBucket::default());
        assert!(shared.is_full(0));
        assert_eq!(shared.try_take(pace, 0, 10, 60), Some(60));
        assert!(!shared.is_full(0));
        assert_eq!(shared.try_take(pace, 0, 10, 60), Some(40));
        assert_eq!(shared.try_take(pace, 0, 1, 60), None);
        assert!(shared.is_full(TICKS_PER_SECOND / 10));
    }

    #[test]
    fn threads_together_take_no_more_than_there_is() {
        let (pace, shared) = (pace(1, 40_000), SharedBucket::default());
        let taken: u64 = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| (0..20_000).filter_map(|_| shared.try_take(pace, 0, 1, 1)).sum::<u64>()))
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(taken, 40_000);
    }

    #[test]
    fn no_rate_is_no_limit_and_no_number_overflows() {
        assert_eq!(Pace::new(0, 5), None);
        for (rate, burst) in [(1, u64::MAX), (u64::MAX, 1), (u64::MAX, u64::MAX)] {
            let mut bucket = Bucket::default();
            bucket.try_take(pace(rate, burst), u64::MAX - 1, u64::MAX);
            bucket.try_take(pace(rate, burst), 0, u64::MAX);
        }
    }
}
