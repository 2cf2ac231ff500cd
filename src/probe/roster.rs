//! Which URLs are probed, when each is due, and what is known of it. Sans-I/O: time and chance are arguments.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use super::config::MAX_TARGETS;
use super::health::{Change, Health, Rules, State, Verdict};

/// All URLs that are probed.
#[derive(Debug, Default)]
pub(super) struct Roster {
    entries: BTreeMap<Box<str>, Entry>,
}

#[derive(Debug)]
struct Entry {
    health: Health,
    due: Duration,
    under_way: bool,
}

/// Earlier or later by up to a fifth, so that what began together does not stay together. `chance` is of all 32 bits.
fn about(interval: Duration, chance: u32) -> Duration {
    let part = f64::from(chance) / f64::from(u32::MAX);
    interval.mul_f64(0.4_f64.mul_add(part, 0.8))
}

impl Roster {
    /// Probes these from now on, and forgets all others. New ones are due within a second or a tenth of the interval, whichever is
    /// shorter, not all at once. Says how many found no place.
    pub(super) fn retarget<'a>(
        &mut self,
        now: Duration,
        interval: Duration,
        urls: impl Iterator<Item = &'a str>,
        mut chance: impl FnMut() -> u32,
    ) -> usize {
        let (mut kept, mut left_out) = (BTreeMap::new(), 0);
        for url in urls {
            if kept.len() >= MAX_TARGETS && !kept.contains_key(url) {
                left_out += 1;
                continue;
            }
            let entry = self.entries.remove(url).unwrap_or_else(|| {
                let window = (interval / 10).min(Duration::from_secs(1));
                Entry {
                    health: Health::new(now),
                    due: now + window.mul_f64(f64::from(chance()) / f64::from(u32::MAX)),
                    under_way: false,
                }
            });
            kept.insert(Box::from(url), entry);
        }
        self.entries = kept;
        left_out
    }

    /// One that is due, which is under way from then on.
    pub(super) fn take_due(&mut self, now: Duration) -> Option<Box<str>> {
        let waiting = self.entries.iter_mut().filter(|(_, entry)| !entry.under_way);
        let (url, entry) = waiting.min_by_key(|(_, entry)| entry.due)?;
        if entry.due > now {
            return None;
        }
        entry.under_way = true;
        Some(url.clone())
    }

    /// When the next one is due.
    pub(super) fn next_due(&self) -> Option<Duration> {
        let waiting = self.entries.values().filter(|entry| !entry.under_way);
        waiting.map(|entry| entry.due).min()
    }

    /// Takes in what a probe found. One that was forgotten meanwhile says nothing.
    pub(super) fn settle(
        &mut self,
        now: Duration,
        url: &str,
        verdict: Verdict,
        (rules, interval): (&Rules, Duration),
        chance: u32,
    ) -> Option<Change> {
        let entry = self.entries.get_mut(url)?;
        entry.under_way = false;
        entry.due = now + about(interval, chance);
        entry.health.judge(now, rules, verdict)
    }

    pub(super) fn health(&self, url: &str) -> Option<&Health> {
        self.entries.get(url).map(|entry| &entry.health)
    }

    /// What is to be left out of lists.
    pub(super) fn dead(&self) -> HashSet<Box<str>> {
        let down = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.health.state() == State::Down);
        down.map(|(url, _)| url.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(10);
    const RULES: Rules = Rules {
        failures: 2,
        successes: 1,
        calm: Duration::from_secs(600),
    };

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn roster(urls: &[&str]) -> Roster {
        let mut roster = Roster::default();
        roster.retarget(at(0), INTERVAL, urls.iter().copied(), || 0);
        roster
    }

    #[test]
    fn each_is_probed_once_at_a_time_and_about_an_interval_after_its_last_result() {
        let mut roster = roster(&["a", "b"]);
        let first = [roster.take_due(at(0)), roster.take_due(at(0)), roster.take_due(at(0))];
        assert_eq!(first, [Some("a".into()), Some("b".into()), None]);
        assert_eq!(roster.next_due(), None);
        for (chance, expected) in [(0, 8.0), (u32::MAX / 2, 10.0), (u32::MAX, 12.0)] {
            roster.settle(at(5), "a", Verdict::Works, (&RULES, INTERVAL), chance);
            let due = roster.next_due().unwrap().as_secs_f64();
            assert!((due - 5.0 - expected).abs() < 0.001, "{due}");
        }
        assert_eq!(roster.take_due(at(16)), None);
        assert_eq!(roster.take_due(at(17)), Some("a".into()));
    }

    #[test]
    fn what_is_dead_is_told_and_forgotten_with_its_url() {
        let mut roster = roster(&["a", "b"]);
        let dies = |roster: &mut Roster, url| {
            let fails = |roster: &mut Roster| roster.settle(at(1), url, Verdict::Fails, (&RULES, INTERVAL), 0);
            assert_eq!((fails(roster), fails(roster)), (None, Some(Change::Died)));
        };
        dies(&mut roster, "a");
        assert_eq!(roster.dead(), HashSet::from(["a".into()]));
        dies(&mut roster, "b");
        roster.retarget(at(2), INTERVAL, ["b", "c"].into_iter(), || 0);
        assert_eq!(roster.dead(), HashSet::from(["b".into()]));
        // One that comes back in the configuration works until it is proven dead, and a late result of one that is gone is nobody's.
        roster.retarget(at(3), INTERVAL, ["a", "b", "c"].into_iter(), || 0);
        assert_eq!(roster.dead().len(), 1);
        roster.retarget(at(4), INTERVAL, std::iter::empty(), || 0);
        assert_eq!(roster.settle(at(5), "b", Verdict::Fails, (&RULES, INTERVAL), 0), None);
        assert_eq!((roster.dead().len(), roster.next_due()), (0, None));
    }

    #[test]
    fn at_most_256_are_probed_and_those_that_find_no_place_are_counted() {
        let urls: Vec<String> = (0..MAX_TARGETS + 3).map(|nth| format!("stun:{nth}.example")).collect();
        let mut roster = Roster::default();
        let retarget = |roster: &mut Roster, count| {
            let urls = urls[..count].iter().map(String::as_str);
            roster.retarget(at(0), INTERVAL, urls, || 0)
        };
        assert_eq!(retarget(&mut roster, MAX_TARGETS), 0);
        assert_eq!(retarget(&mut roster, MAX_TARGETS + 3), 3);
        assert_eq!(roster.entries.len(), MAX_TARGETS);
    }

    #[test]
    fn new_ones_are_due_soon_and_not_all_at_once() {
        let mut chance = [0, u32::MAX].into_iter();
        let mut roster = Roster::default();
        let urls = ["a", "b"].into_iter();
        roster.retarget(at(0), INTERVAL, urls, || chance.next().unwrap());
        assert_eq!((roster.entries["a"].due, roster.entries["b"].due), (at(0), at(1)));
    }
}
