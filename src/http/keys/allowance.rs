//! How many credentials the holders of a key may have: at once, in an hour, in a day.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::credentials::UnixTime;
use crate::http::rate_limit::{Decision, RateLimit, RateLimiter};

const HOUR: u64 = 3_600;
const DAY: u64 = 86_400;

/// What an operator grants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// How often, in the long run and at once. [`RateLimit::clients`] does not count here.
    pub rate: RateLimit,
    /// Credentials in each hour of UTC; 0 is no limit.
    pub per_hour: u64,
    /// Credentials in each day of UTC; 0 is no limit.
    pub per_day: u64,
}

/// Why there is no more for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http) enum Exhausted {
    /// Too fast; the next one is due after this long.
    Rate(Duration),
    /// The hour or the day has no more; it ends after this long.
    Quota(Duration),
}

/// Credentials of one hour or day.
#[derive(Clone, Copy, Debug, Default)]
struct Window {
    /// Which one, counted from 1970.
    index: u64,
    used: u64,
}

/// What of a grant is left. In memory: a restart forgets what was used.
#[derive(Debug)]
pub(super) struct Allowance {
    grant: Grant,
    rate: RateLimiter,
    /// The hour, the day.
    windows: Mutex<[Window; 2]>,
}

impl Allowance {
    /// All of `grant`, but for what was used of `before`.
    pub(super) fn new(grant: Grant, before: Option<&Self>, now: Instant) -> Self {
        let windows = before.map(|before| *before.windows.lock().unwrap_or_else(PoisonError::into_inner));
        let one_client = RateLimit {
            clients: 1,
            limit_loopback: true,
            ..grant.rate
        };
        Self {
            grant,
            rate: RateLimiter::new(one_client, now),
            windows: Mutex::new(windows.unwrap_or_default()),
        }
    }

    pub(super) fn is_for(&self, grant: &Grant) -> bool {
        self.grant == *grant
    }

    /// Takes one credential.
    pub(super) fn take(&self, at: Instant, now: UnixTime) -> Result<(), Exhausted> {
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        // A clock that is set back stays in the window that it knows: nobody gets an hour twice.
        for (window, length) in windows.iter_mut().zip([HOUR, DAY]) {
            let index = now.0 / length;
            if index > window.index {
                *window = Window { index, used: 0 };
            }
        }
        let limits = [(HOUR, self.grant.per_hour), (DAY, self.grant.per_day)];
        let wait = windows.iter().zip(limits).filter_map(|(window, (length, most))| {
            let ends = (window.index + 1).saturating_mul(length);
            (most != 0 && window.used >= most).then(|| ends.saturating_sub(now.0))
        });
        // Whoever has used up both comes back when both have more.
        if let Some(seconds) = wait.max() {
            return Err(Exhausted::Quota(Duration::from_secs(seconds)));
        }
        self.pace(at)?;
        for window in &mut *windows {
            window.used += 1;
        }
        Ok(())
    }

    /// Takes from the rate alone.
    pub(super) fn pace(&self, at: Instant) -> Result<(), Exhausted> {
        // One client: the key.
        match self.rate.check(IpAddr::V4(Ipv4Addr::UNSPECIFIED), at) {
            Decision::Allowed { .. } => Ok(()),
            Decision::Limited { retry_after } => Err(Exhausted::Rate(retry_after)),
        }
    }

    /// Gives one back that came to nothing. The rate keeps it: asking costs, too.
    pub(super) fn give_back(&self) {
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        for window in &mut *windows {
            window.used = window.used.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: UnixTime = UnixTime(1_700_000_000 / DAY * DAY + 12 * HOUR);

    fn grant(per_hour: u64, per_day: u64) -> Grant {
        let rate = RateLimit {
            interval: Duration::ZERO,
            ..RateLimit::default()
        };
        Grant {
            rate,
            per_hour,
            per_day,
        }
    }

    fn at(seconds: u64) -> UnixTime {
        UnixTime(NOON.0 + seconds)
    }

    #[test]
    fn a_quota_is_met_at_its_bound_and_comes_back_with_the_next_hour_or_day() {
        let start = Instant::now();
        let allowance = Allowance::new(grant(2, 3), None, start);
        let take = |now| allowance.take(start, now);
        assert_eq!((take(NOON), take(at(10))), (Ok(()), Ok(())));
        assert_eq!(take(at(60)), Err(Exhausted::Quota(Duration::from_secs(HOUR - 60))));
        // Refused attempts used nothing.
        assert_eq!(take(at(HOUR)), Ok(()));
        assert_eq!(take(at(HOUR)), Err(Exhausted::Quota(Duration::from_secs(11 * HOUR))));
        assert_eq!(take(at(12 * HOUR)), Ok(()));
    }

    #[test]
    fn a_clock_that_goes_back_gives_nobody_an_hour_twice() {
        let start = Instant::now();
        let allowance = Allowance::new(grant(1, 0), None, start);
        assert_eq!(allowance.take(start, at(HOUR)), Ok(()));
        let wait = Duration::from_secs(2 * HOUR);
        assert_eq!(allowance.take(start, NOON), Err(Exhausted::Quota(wait)));
    }

    #[test]
    fn what_came_to_nothing_is_given_back_and_another_grant_begins_with_what_was_used() {
        let start = Instant::now();
        let allowance = Allowance::new(grant(1, 0), None, start);
        assert_eq!(allowance.take(start, NOON), Ok(()));
        allowance.give_back();
        allowance.give_back();
        assert_eq!(allowance.take(start, NOON), Ok(()));
        let raised = Allowance::new(grant(2, 0), Some(&allowance), start);
        assert_eq!(raised.take(start, NOON), Ok(()));
        assert!(raised.take(start, NOON).is_err());
        assert!(raised.is_for(&grant(2, 0)) && !raised.is_for(&grant(1, 0)));
    }

    #[test]
    fn the_rate_counts_on_loopback_too_and_its_refusals_use_no_quota() {
        let start = Instant::now();
        let rate = RateLimit {
            interval: Duration::from_secs(1),
            burst: 1,
            ..RateLimit::default()
        };
        let allowance = Allowance::new(Grant { rate, ..grant(2, 0) }, None, start);
        assert_eq!(allowance.take(start, NOON), Ok(()));
        assert_eq!(
            allowance.take(start, NOON),
            Err(Exhausted::Rate(Duration::from_secs(1)))
        );
        assert_eq!(allowance.take(start + Duration::from_secs(1), NOON), Ok(()));
        let later = start + Duration::from_secs(9);
        assert!(matches!(allowance.take(later, NOON), Err(Exhausted::Quota(_))));
    }
}
