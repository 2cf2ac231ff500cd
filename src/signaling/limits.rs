//! Token buckets on the hub's clock.

use std::time::{Duration, Instant};

/// How fast a bucket refills and how much it holds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rate {
    pub(crate) per_second: u32,
    pub(crate) burst: u32,
}

const MICROS: u64 = 1_000_000;
/// When to come back to what is closed.
const NEVER: Duration = Duration::from_secs(3_600);

/// What is left of a budget. Starts full.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bucket {
    /// Millionths of a token, so that a refill over any whole microsecond is exact.
    level: u64,
    updated: Instant,
}

impl Bucket {
    pub(crate) fn full(rate: Rate, now: Instant) -> Self {
        Self {
            level: u64::from(rate.burst) * MICROS,
            updated: now,
        }
    }

    fn refill(&mut self, rate: Rate, now: Instant) {
        let elapsed = now.saturating_duration_since(self.updated);
        let micros = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
        if micros == 0 {
            return;
        }
        self.level = self
            .level
            .saturating_add(micros.saturating_mul(u64::from(rate.per_second)))
            .min(u64::from(rate.burst) * MICROS);
        // Whole microseconds only: the rest counts next time.
        self.updated += Duration::from_micros(micros);
    }

    /// Takes `amount`, or says how long until it could be taken. An amount above the whole burst costs the whole burst,
    /// else it could never pass. A burst of zero lets nothing through.
    pub(crate) fn try_take(&mut self, rate: Rate, now: Instant, amount: u64) -> Result<(), Duration> {
        self.refill(rate, now);
        if rate.burst == 0 && amount > 0 {
            // Capped to the burst, everything would be free.
            return Err(NEVER);
        }
        let amount = amount.min(u64::from(rate.burst)) * MICROS;
        if amount <= self.level {
            self.level -= amount;
            return Ok(());
        }
        let missing = amount - self.level;
        Err(Duration::from_micros(
            missing.div_ceil(u64::from(rate.per_second).max(1)),
        ))
    }
}

impl Bucket {
    /// Gives back what was taken for something that did not happen after all.
    pub(crate) fn put_back(&mut self, rate: Rate, amount: u64) {
        let full = u64::from(rate.burst) * MICROS;
        let amount = amount.min(u64::from(rate.burst)) * MICROS;
        self.level = self.level.saturating_add(amount).min(full);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate {
        per_second: 10,
        burst: 5,
    };

    #[test]
    fn the_burst_passes_and_one_more_waits_for_exactly_its_refill() {
        let start = Instant::now();
        let mut bucket = Bucket::full(RATE, start);
        for _ in 0..5 {
            assert_eq!(bucket.try_take(RATE, start, 1), Ok(()));
        }
        let wait = bucket.try_take(RATE, start, 1).unwrap_err();
        assert_eq!(wait, Duration::from_millis(100));
        assert!(
            bucket
                .try_take(RATE, start + wait - Duration::from_micros(1), 1)
                .is_err()
        );
        assert_eq!(bucket.try_take(RATE, start + wait, 1), Ok(()));
    }

    #[test]
    fn a_bucket_never_holds_more_than_its_burst() {
        let start = Instant::now();
        let mut bucket = Bucket::full(RATE, start);
        let later = start + Duration::from_secs(3_600);
        assert_eq!(bucket.try_take(RATE, later, 5), Ok(()));
        assert!(bucket.try_take(RATE, later, 1).is_err());
    }

    #[test]
    fn an_amount_above_the_burst_costs_the_whole_burst() {
        let start = Instant::now();
        let mut bucket = Bucket::full(RATE, start);
        assert_eq!(bucket.try_take(RATE, start, 1_000), Ok(()));
        assert!(bucket.try_take(RATE, start, 1_000).is_err());
        assert_eq!(bucket.try_take(RATE, start + Duration::from_millis(500), 1_000), Ok(()));
    }

    #[test]
    fn a_clock_that_goes_back_takes_nothing_away() {
        let start = Instant::now() + Duration::from_secs(10);
        let mut bucket = Bucket::full(RATE, start);
        assert_eq!(bucket.try_take(RATE, start - Duration::from_secs(5), 5), Ok(()));
        assert!(bucket.try_take(RATE, start, 1).is_err());
    }

    #[test]
    fn a_rate_of_zero_never_refills_and_never_divides_by_zero() {
        let rate = Rate {
            per_second: 0,
            burst: 1,
        };
        let start = Instant::now();
        let mut bucket = Bucket::full(rate, start);
        assert_eq!(bucket.try_take(rate, start, 1), Ok(()));
        assert!(bucket.try_take(rate, start + Duration::from_secs(60), 1).is_err());
    }

    #[test]
    fn what_is_put_back_can_be_taken_again_and_never_more_than_the_burst() {
        let start = Instant::now();
        let mut bucket = Bucket::full(RATE, start);
        assert_eq!(bucket.try_take(RATE, start, 1_000), Ok(()));
        bucket.put_back(RATE, 1_000);
        bucket.put_back(RATE, 3);
        assert_eq!(bucket.try_take(RATE, start, 5), Ok(()));
        assert!(bucket.try_take(RATE, start, 1).is_err());
    }

    #[test]
    fn a_burst_of_zero_lets_nothing_through() {
        let rate = Rate {
            per_second: 0,
            burst: 0,
        };
        let start = Instant::now();
        let mut bucket = Bucket::full(rate, start);
        assert!(bucket.try_take(rate, start, 1).is_err());
        assert_eq!(bucket.try_take(rate, start, 0), Ok(()));
    }
}
