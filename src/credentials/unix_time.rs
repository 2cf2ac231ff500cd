//! Seconds since 1970, as they stand in a username and in a JWT.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// Whole seconds since 1970-01-01T00:00:00Z, leap seconds not counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnixTime(pub u64);

impl UnixTime {
    /// The second that `time` falls in; a clock before 1970 reads as 0, where every credential is still to come.
    pub fn from_system_time(time: SystemTime) -> Self {
        Self(time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()))
    }

    /// This time plus the whole seconds of `duration`; stops at the end of the range instead of wrapping.
    pub const fn saturating_add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration.as_secs()))
    }

    /// How long from `earlier` until this time; zero when it is already past.
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_secs(self.0.saturating_sub(earlier.0))
    }
}

impl fmt::Display for UnixTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_before_1970_reads_as_zero() {
        assert_eq!(
            UnixTime::from_system_time(UNIX_EPOCH - Duration::from_secs(5)),
            UnixTime(0)
        );
        assert_eq!(
            UnixTime::from_system_time(UNIX_EPOCH + Duration::from_millis(1999)),
            UnixTime(1)
        );
    }

    #[test]
    fn arithmetic_stops_at_the_ends_of_the_range() {
        assert_eq!(
            UnixTime(u64::MAX - 1).saturating_add(Duration::from_secs(9)),
            UnixTime(u64::MAX)
        );
        assert_eq!(UnixTime(5).saturating_since(UnixTime(9)), Duration::ZERO);
        assert_eq!(UnixTime(9).saturating_since(UnixTime(5)), Duration::from_secs(4));
    }
}
