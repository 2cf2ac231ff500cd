//! Token buckets as one integer: until when what was taken is paid for (the virtual scheduling algorithm of ITU-T I.371).
//!
//! What may be taken in any time `t` is at most `burst + rate × t`. Time is counted in sixteenths of a nanosecond since the
//! process's epoch, so that a packet of 100 bytes at 100 Gbit/s still costs 128 of them: a rounding error below 0.4 % there
//! and far less anywhere else.

use std::time::Instant;

/// Time since the epoch, in sixteenths of a nanosecond: 36 years fit.
pub(super) type Ticks = u64;

const TICKS_PER_SECOND: u64 = 16 * 1_000_000_000;

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
    fn no_rate_is_no_limit_and_no_number_overflows() {
        assert_eq!(Pace::new(0, 5), None);
        for (rate, burst) in [(1, u64::MAX), (u64::MAX, 1), (u64::MAX, u64::MAX)] {
            let mut bucket = Bucket::default();
            bucket.try_take(pace(rate, burst), u64::MAX - 1, u64::MAX);
            bucket.try_take(pace(rate, burst), 0, u64::MAX);
        }
    }
}
