//! A mark inside each payload: who sent it, as the how manieth, and when. What is lost, told twice or out of order shows at the
//! receiver, whatever the protocol around it.

use std::time::Instant;

use crate::histogram::Histogram;

/// `~`, sender, number and nanoseconds in hexadecimal, `~`.
pub(crate) const LENGTH: usize = 34;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) sender: u32,
    pub(crate) number: u32,
    pub(crate) nanos: u64,
}

/// The clock of stamps: nanoseconds since the start.
#[derive(Clone, Copy)]
pub(crate) struct Clock(Instant);

impl Clock {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn nanos(self) -> u64 {
        self.0.elapsed().as_nanos() as u64
    }
}

impl Stamp {
    /// A payload of that many bytes with this stamp in front.
    pub(crate) fn body(self, length: usize) -> String {
        let mut body = format!("~{:08x}{:08x}{:016x}~", self.sender, self.number, self.nanos);
        body.extend(std::iter::repeat_n('x', length.saturating_sub(LENGTH)));
        body
    }

    pub(crate) fn find(frame: &[u8]) -> Option<Self> {
        let from = frame.iter().position(|&byte| byte == b'~')?;
        let digits = std::str::from_utf8(frame.get(from + 1..from + LENGTH - 1)?).ok()?;
        Some(Self {
            sender: u32::from_str_radix(digits.get(..8)?, 16).ok()?,
            number: u32::from_str_radix(digits.get(8..16)?, 16).ok()?,
            nanos: u64::from_str_radix(digits.get(16..)?, 16).ok()?,
        })
    }
}

/// What all receivers together have seen.
pub(crate) struct Seen {
    pub(crate) latency: Histogram,
    pub(crate) received: u64,
    pub(crate) repeated: u64,
    pub(crate) skipped: u64,
}

impl Seen {
    pub(crate) fn new() -> Self {
        Self {
            latency: Histogram::new(),
            received: 0,
            repeated: 0,
            skipped: 0,
        }
    }

    /// Counts a stamp; `next` is the number that this receiver expects of that sender.
    pub(crate) fn record(&mut self, stamp: Stamp, next: &mut u32, now: u64) {
        if stamp.number < *next {
            self.repeated += 1;
            return;
        }
        self.skipped += u64::from(stamp.number - *next);
        *next = stamp.number + 1;
        self.received += 1;
        self.latency.record(now.saturating_sub(stamp.nanos));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_found_in_whatever_is_around_it_and_gaps_and_repeats_are_counted() {
        let stamp = Stamp {
            sender: 7,
            number: 0,
            nanos: 1 << 40,
        };
        let body = stamp.body(200);
        assert_eq!(body.len(), 200);
        assert_eq!(
            Stamp::find(format!(r#"{{"t":"msg","data":"{body}"}}"#).as_bytes()),
            Some(stamp)
        );
        assert_eq!(Stamp::find(b"~short~"), None);
        let (mut seen, mut next) = (Seen::new(), 0);
        for number in [0, 1, 1, 4] {
            seen.record(Stamp { number, ..stamp }, &mut next, 1 << 41);
        }
        assert_eq!((seen.received, seen.repeated, seen.skipped, next), (3, 1, 2, 5));
    }
}
