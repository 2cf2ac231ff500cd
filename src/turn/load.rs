//! Whether the process relays more than a share of its limit, and has done so for a while.
//!
//! As with a bucket it is one integer: until when what was relayed is paid for at the rate of the share. While the process
//! stays below the share that is never far ahead of now; above it, it runs away. A moment of it counts for nothing.

use super::bucket::{Pace, SharedBucket, TICKS_PER_SECOND, Ticks};
use super::config::Config;
use super::input::Shard;
use super::verdict::Direction;

/// So far ahead of now is too much: at the limit, with a share of 90 %, after two seconds.
const HIGH: Ticks = TICKS_PER_SECOND / 4;
/// It runs no further ahead, so that what was long ago is over soon after.
const MOST: Ticks = TICKS_PER_SECOND / 2;
/// A shard tells the others so often in a second at the most.
const NOTES_PER_SECOND: u64 = 20;

/// What all shards relay, by [`Direction`]: bytes and packets.
#[derive(Debug, Default)]
pub(super) struct SharedLoad([[SharedBucket; 2]; Direction::COUNT]);

/// What this shard has relayed and not told yet.
#[derive(Debug, Default)]
pub(super) struct Load {
    /// Bytes and packets at the rate of the share; `None` without a limit, or where nobody asks.
    paces: [Option<Pace>; 2],
    /// How much it takes to tell.
    slices: [u64; 2],
    untold: [[u64; 2]; Direction::COUNT],
}

impl Load {
    pub(super) fn new(config: &Config, shard: Shard) -> Self {
        let Some(redirect) = &config.redirect else {
            return Self::default();
        };
        let limit = config.limits.total_rate;
        let rates = [limit.bytes_per_second, limit.packets_per_second];
        let share = rates.map(|rate| {
            let share = u128::from(rate) * u128::from(redirect.above_percent) / 100;
            u64::try_from(share).unwrap_or(u64::MAX)
        });
        Self {
            paces: share.map(|rate| Pace::new(rate, 0)),
            slices: share.map(|rate| rate / NOTES_PER_SECOND / u64::from(shard.count.max(1))),
            untold: [[0; 2]; Direction::COUNT],
        }
    }

    /// Notes a packet that counted against the limit.
    #[inline]
    pub(super) fn note(&mut self, now: Ticks, direction: Direction, len: u64, all: &SharedLoad) {
        let way = direction.index();
        for (at, amount) in [len, 1].into_iter().enumerate() {
            let Some(pace) = self.paces[at] else { continue };
            let untold = &mut self.untold[way][at];
            *untold += amount;
            if *untold >= self.slices[at] {
                all.0[way][at].add(pace, now, std::mem::take(untold), MOST);
            }
        }
    }
}

impl SharedLoad {
    /// Whether it has been above the share for a while, in either direction.
    pub(super) fn is_high(&self, now: Ticks) -> bool {
        self.0.iter().flatten().any(|paid| paid.ahead(now) >= HIGH)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::turn::config::{Limits, RateLimit};
    use crate::turn::redirect::Redirect;

    fn load(bytes_per_second: u64, shards: u16) -> Load {
        let config = Config {
            limits: Limits {
                total_rate: RateLimit {
                    bytes_per_second,
                    ..RateLimit::NONE
                },
                ..Limits::default()
            },
            redirect: Some(Redirect::default()),
            ..Config::default()
        };
        let shard = Shard {
            index: 0,
            count: shards,
        };
        Load::new(&config, shard)
    }

    /// Relays at `percent` of a limit for `tenths` of a second, by two shards, and says when it was found to be high.
    fn high_after(percent: u64, tenths: u64) -> Option<u64> {
        let (mut loads, all) = ([load(1_000_000, 2), load(1_000_000, 2)], SharedLoad::default());
        for at in 0..tenths * 100 {
            let now = at * TICKS_PER_SECOND / 1000;
            // 1000 bytes a millisecond are the whole limit.
            loads[at as usize % 2].note(now, Direction::PeerToClient, 10 * percent, &all);
            if all.is_high(now) {
                return Some(at / 100);
            }
        }
        None
    }

    #[test]
    fn below_the_share_it_is_never_high_and_above_it_is_within_seconds() {
        assert_eq!(high_after(50, 100), None);
        assert_eq!(high_after(88, 100), None);
        assert!(high_after(100, 100).is_some_and(|tenths| (10..40).contains(&tenths)));
        assert!(high_after(300, 100).is_some_and(|tenths| tenths < 10));
    }

    #[test]
    fn what_was_long_ago_is_over_soon_after() {
        let (mut load, all) = (load(1_000_000, 1), SharedLoad::default());
        load.note(0, Direction::ClientToPeer, 1_000_000_000, &all);
        assert!(all.is_high(0) && !all.is_high(TICKS_PER_SECOND));
    }

    #[test]
    fn without_a_limit_nothing_is_ever_high() {
        let (mut load, all) = (load(0, 1), SharedLoad::default());
        load.note(0, Direction::ClientToPeer, u64::MAX, &all);
        assert!(!all.is_high(0));
    }
}
