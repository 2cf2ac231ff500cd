//! When to try again.

use std::time::Duration;

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);
/// A receiver that asks for more than this gets this.
const LONGEST_ASKED: Duration = Duration::from_secs(600);
/// While the process ends there is no time for more.
const AT_THE_END: Duration = Duration::from_millis(250);

/// How long to wait after attempt `attempt` (from 0 on) failed: a second, doubled each time up to a minute, and of that between
/// half and all at random, so that many senders do not come at once; or as long as the receiver asks.
pub(super) fn wait(attempt: u32, asked: Option<Duration>, ending: bool) -> Duration {
    if ending {
        return AT_THE_END;
    }
    if let Some(asked) = asked {
        return asked.min(LONGEST_ASKED);
    }
    let longest = FIRST
        .saturating_mul(1_u32.checked_shl(attempt).unwrap_or(u32::MAX))
        .min(LONGEST);
    let share = f64::from(random_u32()) / f64::from(u32::MAX);
    longest.mul_f64(0.5 + share / 2.0)
}

fn random_u32() -> u32 {
    let mut bytes = [0; 4];
    // Without randomness everybody waits alike, which is no danger.
    let _ = getrandom::fill(&mut bytes);
    u32::from_be_bytes(bytes)
}

/// Names a delivery.
pub(super) fn random_id() -> String {
    (0..4).map(|_| format!("{:08x}", random_u32())).collect()
}

/// The seconds of Retry-After (RFC 9110 §10.2.3). Dates are not read: then it is as if nothing was asked.
pub(super) fn asked(value: &str) -> Option<Duration> {
    value.trim().parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_to_a_minute_and_are_never_less_than_half_of_that() {
        for (attempt, longest) in [(0, 1), (1, 2), (3, 8), (6, 60), (31, 60), (32, 60), (u32::MAX, 60)] {
            for _ in 0..50 {
                let wait = wait(attempt, None, false).as_secs_f64();
                let longest = f64::from(longest);
                assert!((longest / 2.0..=longest).contains(&wait), "{attempt}: {wait}");
            }
        }
    }

    #[test]
    fn a_receiver_may_ask_for_more_time_within_reason() {
        assert_eq!(wait(0, asked(" 7 "), false), Duration::from_secs(7));
        assert_eq!(wait(0, asked("999999"), false), LONGEST_ASKED);
        assert_eq!(asked("Fri, 21 Nov 2026 07:28:00 GMT"), None);
        assert_eq!(wait(0, asked("7"), true), AT_THE_END);
    }
}
