//! Who has something waiting that need not go out at once: the comings and goings of a crowd.
//!
//! A join in a room of thousands is news for thousands of sockets. Each would be woken and written to for a hundred bytes, and again
//! for the next join a moment later. So that news waits in the queues, in its place among everything else, until the queue has
//! something urgent, or enough, or until the time is up that is kept here. Nothing is dropped, merged or told out of order.

use std::time::{Duration, Instant};

use crate::signaling::ConnectionId;

/// The shortest that news waits. Below what a person notices.
const LEAST: Duration = Duration::from_millis(100);
/// The longest, in the largest crowds.
const MOST: Duration = Duration::from_secs(1);
/// What the wait grows by for each who is woken at its end: some ten times what waking and writing costs, so that news never takes
/// more than about a tenth of a core for system calls, however large the crowd.
const EACH: Duration = Duration::from_micros(50);

/// Those who wait, and until when.
#[derive(Debug)]
pub(super) struct Soon {
    /// Each at most once: whoever adds one asks its queue first.
    listed: Vec<ConnectionId>,
    due: Option<Instant>,
    wait: Duration,
}

impl Soon {
    pub(super) const fn new() -> Self {
        Self {
            listed: Vec::new(),
            due: None,
            wait: LEAST,
        }
    }

    /// Something waits for this connection as of now.
    pub(super) fn list(&mut self, now: Instant, connection: ConnectionId) {
        self.listed.push(connection);
        self.due.get_or_insert(now + self.wait);
    }

    /// When the time is up.
    pub(super) const fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Those whose time is up.
    pub(super) fn take(&mut self, now: Instant) -> Vec<ConnectionId> {
        if self.due.is_none_or(|due| due > now) {
            return Vec::new();
        }
        self.due = None;
        let crowd = u32::try_from(self.listed.len()).unwrap_or(u32::MAX);
        self.wait = EACH.saturating_mul(crowd).clamp(LEAST, MOST);
        std::mem::take(&mut self.listed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signaling::{Config, Dialect, Hub, Now};

    #[test]
    fn the_first_sets_the_time_for_all_and_a_larger_crowd_waits_for_longer() {
        let start = Instant::now();
        let now = Now {
            instant: start,
            unix_ms: 0,
        };
        let connection = Hub::new(Config::default(), [1; 32])
            .connect(now, Dialect::Native)
            .map(|connected| connected.connection)
            .unwrap();
        let mut soon = Soon::new();
        assert_eq!(soon.due(), None);
        soon.list(start, connection);
        soon.list(start + LEAST / 2, connection);
        assert_eq!(soon.due(), Some(start + LEAST));
        assert!(soon.take(start + LEAST - Duration::from_nanos(1)).is_empty());
        assert_eq!(soon.take(start + LEAST).len(), 2);
        assert_eq!(soon.due(), None);
        for (crowd, wait) in [(10_000, EACH * 10_000), (100_000, MOST), (1, LEAST)] {
            (0..crowd).for_each(|_| soon.list(start, connection));
            assert_eq!(soon.take(start + MOST).len(), crowd);
            soon.list(start, connection);
            assert_eq!(soon.due(), Some(start + wait));
            // The next round begins from what this one was.
            soon.take(start + MOST);
            assert_eq!(soon.wait, LEAST);
        }
    }
}
