//! Deadlines, in a heap.
//!
//! One entry per allocation (its next expiry of whatever kind) and per reservation. Extending a lifetime touches nothing: the
//! entry comes up at the old time, finds that there is time left and goes back in. So a packet costs one comparison, a refresh
//! nothing, and an expiry O(log n).

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::net::SocketAddr;
use std::time::Instant;

use super::output::ReservationToken;

/// What is due.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Due {
    /// Look after the allocation in this slot, if it is still this one.
    Allocation {
        /// Slot.
        index: u32,
        /// Which of the slot's successive allocations.
        generation: u32,
    },
    /// A reservation of this shard runs out.
    Reservation {
        /// Its token.
        token: ReservationToken,
        /// Where the parked socket is bound.
        at: SocketAddr,
    },
}

/// The heap.
#[derive(Debug, Default)]
pub(super) struct Timers {
    heap: BinaryHeap<Entry>,
    reservations: usize,
}

#[derive(Debug)]
struct Entry {
    at: Instant,
    due: Due,
}

impl Timers {
    pub(super) fn push(&mut self, at: Instant, due: Due) {
        self.reservations += usize::from(matches!(due, Due::Reservation { .. }));
        self.heap.push(Entry { at, due });
    }

    /// The earliest deadline.
    #[inline]
    pub(super) fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|entry| entry.at)
    }

    /// Takes the earliest deadline if it is not after `now`.
    pub(super) fn pop(&mut self, now: Instant) -> Option<(Instant, Due)> {
        if self.next()? > now {
            return None;
        }
        let Entry { at, due } = self.heap.pop()?;
        self.reservations -= usize::from(matches!(due, Due::Reservation { .. }));
        Some((at, due))
    }

    /// All entries.
    pub(super) fn len(&self) -> usize {
        self.heap.len()
    }

    /// Entries of allocations, those included that will come up in vain.
    pub(super) fn of_allocations(&self) -> usize {
        self.heap.len() - self.reservations
    }

    /// Drops the entries of allocations that would come up in vain. Those of reservations are needed to the end.
    pub(super) fn retain_allocations(&mut self, mut wanted: impl FnMut(Instant, u32, u32) -> bool) {
        self.heap.retain(|entry| match entry.due {
            Due::Allocation { index, generation } => wanted(entry.at, index, generation),
            Due::Reservation { .. } => true,
        });
    }
}

/// Earliest first.
impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        other.at.cmp(&self.at)
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}

impl Eq for Entry {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn reservations_are_not_counted_among_the_entries_that_a_sweep_could_drop() {
        let start = Instant::now();
        let mut timers = Timers::default();
        for index in 0..3 {
            timers.push(start, Due::Allocation { index, generation: 0 });
            let token = ReservationToken([index as u8; 8]);
            let at = SocketAddr::from(([127, 0, 0, 1], 50001));
            timers.push(start, Due::Reservation { token, at });
        }
        assert_eq!(timers.of_allocations(), 3);
        timers.retain_allocations(|_, index, _| index == 1);
        assert_eq!(timers.of_allocations(), 1);
        let mut due = 0;
        while timers.pop(start).is_some() {
            due += 1;
        }
        assert_eq!((due, timers.of_allocations()), (4, 0));
    }

    #[test]
    fn deadlines_come_in_order_and_not_before_their_time() {
        let start = Instant::now();
        let mut timers = Timers::default();
        for seconds in [5, 1, 3] {
            timers.push(
                start + Duration::from_secs(seconds),
                Due::Allocation {
                    index: seconds as u32,
                    generation: 0,
                },
            );
        }
        assert_eq!(timers.next(), Some(start + Duration::from_secs(1)));
        assert_eq!(timers.pop(start), None);
        let due = |timers: &mut Timers, seconds| timers.pop(start + Duration::from_secs(seconds)).map(|(_, due)| due);
        assert_eq!(
            due(&mut timers, 1),
            Some(Due::Allocation {
                index: 1,
                generation: 0
            })
        );
        assert_eq!(due(&mut timers, 2), None);
        assert_eq!(
            due(&mut timers, 9),
            Some(Due::Allocation {
                index: 3,
                generation: 0
            })
        );
        assert_eq!(
            due(&mut timers, 9),
            Some(Due::Allocation {
                index: 5,
                generation: 0
            })
        );
        assert_eq!(timers.of_allocations(), 0);
    }
}
