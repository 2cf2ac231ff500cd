//! From readings to records, without a clock: what was added to each tenant's counters between two moments.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::day::{DAY_MS, Day, time};
use super::record::{Counters, Record, bounded};
use crate::credentials::DEFAULT_REALM;

/// How far the clock may be from where it should be before it counts as set. A clock that is disciplined stays well within.
const SLACK_MS: u64 = 2000;

/// A moment on both clocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct At {
    /// The one that never is set.
    pub instant: Instant,
    /// Unix milliseconds.
    pub unix_ms: u64,
}

/// What is known of a tenant at a moment.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Reading {
    /// What only grows.
    pub counters: Counters,
    /// Living allocations.
    pub living: u64,
    /// Most that lived at once since the last reading.
    pub peak: u64,
    /// About how many USERNAMEs opened an allocation since the last reading.
    pub credentials_used: u64,
    /// Parts of the counters, by API key.
    pub keys: BTreeMap<String, Counters>,
    /// What probes did, which is not in the counters.
    pub probes: Counters,
}

/// What was read last.
#[derive(Debug, Default)]
struct Known {
    counters: Counters,
    keys: BTreeMap<String, Counters>,
    probes: Counters,
}

/// The books of one process.
#[derive(Debug)]
pub struct Account {
    instance: String,
    sequence: u64,
    /// When the interval that is open began.
    from: At,
    known: BTreeMap<String, Known>,
}

impl Account {
    /// Opens the books: what was counted before counts for the first interval. `instance` is a name that no other process has.
    pub fn new(instance: String, now: At) -> Self {
        Self {
            instance,
            sequence: 0,
            from: now,
            known: BTreeMap::new(),
        }
    }

    /// How long until the interval should end: at the next multiple of `interval` of the UTC day, so that all processes have the
    /// same ones, and at midnight in any case.
    pub fn due_in(now: At, interval: Duration) -> Duration {
        let interval = u64::try_from(interval.as_millis()).unwrap_or(DAY_MS).clamp(1, DAY_MS);
        let of_day = now.unix_ms % DAY_MS;
        let next = ((of_day / interval + 1) * interval).min(DAY_MS);
        Duration::from_millis(next - of_day)
    }

    /// Ends the interval that is open: a record for each tenant that did anything, and one of the default realm in any case, so
    /// that a missing interval shows. `last` says that the process ends.
    pub fn close(&mut self, now: At, readings: BTreeMap<String, Reading>, last: bool) -> Vec<Record> {
        self.sequence += 1;
        let passed = now.instant.saturating_duration_since(self.from.instant);
        let passed = u64::try_from(passed.as_millis()).unwrap_or(u64::MAX);
        let expected = self.from.unix_ms.saturating_add(passed);
        let clock_set = expected.abs_diff(now.unix_ms) > SLACK_MS;
        // An interval never ends before it begins, whatever the clock was set to.
        let (from, to) = if clock_set {
            (now.unix_ms.saturating_sub(passed), now.unix_ms)
        } else {
            (self.from.unix_ms, now.unix_ms.max(self.from.unix_ms))
        };
        self.from = At {
            instant: now.instant,
            unix_ms: to,
        };
        let mut records = Vec::new();
        for (realm, reading) in readings {
            let known = self.known.entry(realm.clone()).or_default();
            let added = reading.counters.since(&known.counters);
            let probes = reading.probes.since(&known.probes);
            let mut keys = Vec::new();
            for (key, counters) in reading.keys {
                let known = known.keys.entry(key.clone()).or_default();
                let added = counters.since(known);
                *known = counters;
                if !added.is_nothing() {
                    keys.push((key, added));
                }
            }
            let is_quiet = added.is_nothing() && reading.living == 0 && keys.is_empty() && probes.is_nothing();
            (known.counters, known.probes) = (reading.counters, reading.probes);
            if is_quiet && realm != DEFAULT_REALM {
                continue;
            }
            records.push(Record {
                record: format!("{}-{}-{realm}", self.instance, self.sequence),
                instance: self.instance.clone(),
                sequence: self.sequence,
                from: time(from),
                to: time(to),
                clock_set,
                last,
                living: reading.living,
                peak: reading.peak,
                credentials_used: reading.credentials_used,
                added,
                keys: bounded(keys),
                probes,
                realm,
            });
        }
        records
    }

    /// The day whose file has a record: that of its beginning.
    pub fn day_of(record: &Record) -> Day {
        Day::of(super::day::parse_time(&record.from).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: u64 = 60_000;
    const NOON: u64 = 1_795_219_200_000 + DAY_MS / 2;

    struct Clock(At);

    impl Clock {
        fn at(unix_ms: u64) -> Self {
            Self(At {
                instant: Instant::now(),
                unix_ms,
            })
        }

        fn pass(&mut self, ms: u64) -> At {
            self.0.instant += Duration::from_millis(ms);
            self.0.unix_ms += ms;
            self.0
        }
    }

    fn reading(bytes: u64) -> Reading {
        let mut reading = Reading::default();
        reading.counters.to_peer.bytes = bytes;
        reading
    }

    fn readings<const N: usize>(each: [(&str, u64); N]) -> BTreeMap<String, Reading> {
        each.map(|(realm, bytes)| (realm.to_owned(), reading(bytes))).into()
    }

    fn bytes_of(records: &[Record], realm: &str) -> Option<u64> {
        let record = records.iter().find(|record| record.realm == realm)?;
        Some(record.added.to_peer.bytes)
    }

    #[test]
    fn records_are_what_was_added_and_add_up_to_the_counters() {
        let mut clock = Clock::at(NOON);
        let mut account = Account::new("i".into(), clock.0);
        let mut sum = 0;
        for bytes in [10, 10, 25, 1_000_000, u64::MAX] {
            let records = account.close(clock.pass(MINUTE), readings([("acme", bytes)]), false);
            sum += bytes_of(&records, "acme").unwrap_or(0);
            assert_eq!(sum, bytes);
        }
    }

    #[test]
    fn a_tenant_without_use_has_no_record_and_the_default_realm_always_one() {
        let mut clock = Clock::at(NOON);
        let mut account = Account::new("i".into(), clock.0);
        account.close(clock.pass(MINUTE), readings([("acme", 5), ("default", 0)]), false);
        let records = account.close(clock.pass(MINUTE), readings([("acme", 5), ("default", 0)]), false);
        assert_eq!(records.len(), 1);
        assert_eq!(
            (
                records[0].realm.as_str(),
                records[0].record.as_str(),
                records[0].sequence
            ),
            ("default", "i-2-default", 2)
        );
        // Silent but there: its time is billed, and the record says that it lives.
        let mut silent = readings([("acme", 5), ("default", 0)]);
        silent.get_mut("acme").unwrap().living = 1;
        assert_eq!(account.close(clock.pass(MINUTE), silent, false).len(), 2);
    }

    #[test]
    fn keys_are_parts_of_their_tenant_as_many_as_are_named_and_probes_are_apart() {
        use super::super::record::{MAX_KEYS, OTHERS};
        let mut clock = Clock::at(NOON);
        let mut account = Account::new("i".into(), clock.0);
        let bytes = |bytes: u64| reading(bytes).counters;
        let name = |at: u64| format!("k{at:03}");
        let most = MAX_KEYS as u64 + 3;
        // Each interval each key relays as many bytes as its number; a probe allocates once.
        for interval in 1..=3_u64 {
            let mut acme = reading(interval * (0..most).sum::<u64>());
            acme.keys = (0..most).map(|at| (name(at), bytes(interval * at))).collect();
            acme.probes.allocations = interval;
            let records = account.close(clock.pass(MINUTE), [("acme".to_owned(), acme)].into(), false);
            let record = &records[0];
            assert_eq!(
                (record.keys.len(), record.probes.allocations, record.added.allocations),
                (MAX_KEYS + 1, 1, 0)
            );
            // k000 did nothing; of the 66 others the two smallest are not named.
            assert_eq!(record.keys[OTHERS].to_peer.bytes, 1 + 2);
            assert_eq!(record.keys[&name(most - 1)].to_peer.bytes, most - 1);
            let sum: u64 = record.keys.values().map(|of| of.to_peer.bytes).sum();
            assert_eq!(sum, record.added.to_peer.bytes);
        }
        // A key that is gone from the readings and comes back begins where it was; probes alone make a record.
        let mut acme = reading(3 * (0..most).sum::<u64>() + 5);
        acme.keys = [(name(1), bytes(8))].into();
        acme.probes.allocations = 3;
        let records = account.close(clock.pass(MINUTE), [("acme".to_owned(), acme.clone())].into(), false);
        assert_eq!(records[0].keys, [(name(1), bytes(5))].into());
        assert!(records[0].probes.is_nothing());
        acme.probes.allocations = 4;
        let records = account.close(clock.pass(MINUTE), [("acme".to_owned(), acme)].into(), false);
        assert!(records[0].added.is_nothing() && records[0].probes.allocations == 1);
    }

    #[test]
    fn a_tenant_that_goes_and_comes_back_is_billed_for_what_is_new() {
        let mut clock = Clock::at(NOON);
        let mut account = Account::new("i".into(), clock.0);
        account.close(clock.pass(MINUTE), readings([("acme", 7)]), false);
        account.close(clock.pass(MINUTE), readings([("default", 0)]), false);
        let records = account.close(clock.pass(MINUTE), readings([("acme", 9)]), false);
        assert_eq!(bytes_of(&records, "acme"), Some(2));
        // Counters that shrank, which cannot be: nothing is billed twice, and nothing below zero.
        let records = account.close(clock.pass(MINUTE), readings([("acme", 1), ("default", 0)]), false);
        assert_eq!(bytes_of(&records, "acme"), None);
        let records = account.close(clock.pass(MINUTE), readings([("acme", 4)]), false);
        assert_eq!(bytes_of(&records, "acme"), Some(3));
    }

    #[test]
    fn intervals_follow_each_other_without_a_gap_though_the_clock_drifts() {
        let mut clock = Clock::at(NOON);
        let mut account = Account::new("i".into(), clock.0);
        let mut last = time(NOON);
        for drift in [0_u64, 3, 1500, 40] {
            let mut now = clock.pass(5 * MINUTE);
            now.unix_ms += drift;
            clock.0.unix_ms = now.unix_ms;
            let records = account.close(now, readings([("default", 0)]), false);
            assert_eq!(records[0].from, last);
            assert!(!records[0].clock_set);
            last.clone_from(&records[0].to);
        }
    }

    #[test]
    fn a_clock_that_is_set_makes_no_interval_negative_and_none_too_long() {
        let mut clock = Clock::at(NOON);
        let mut account = Account::new("i".into(), clock.0);
        for unix_ms in [NOON - 3600 * 1000, NOON + 400 * DAY_MS, 0, 5, NOON] {
            clock.0.instant += Duration::from_millis(5 * MINUTE);
            clock.0.unix_ms = unix_ms;
            let records = account.close(clock.0, readings([("default", 0)]), false);
            let ends = [&records[0].from, &records[0].to].map(|text| super::super::day::parse_time(text).unwrap());
            assert!(
                ends[0] <= ends[1] && ends[1] - ends[0] <= 5 * MINUTE,
                "{:?}",
                records[0]
            );
            assert_eq!(ends[1], unix_ms);
            assert!(records[0].clock_set);
        }
        // A clock that goes back by less than it drifts.
        clock.0.instant += Duration::from_millis(1000);
        clock.0.unix_ms -= 500;
        let records = account.close(clock.0, readings([("default", 0)]), false);
        assert!(records[0].from <= records[0].to && !records[0].clock_set);
    }

    #[test]
    fn an_interval_ends_at_a_multiple_of_its_length_and_at_midnight() {
        let due = |of_day: u64, interval: u64| {
            let now = At {
                instant: Instant::now(),
                unix_ms: NOON - DAY_MS / 2 + of_day,
            };
            let due = Account::due_in(now, Duration::from_millis(interval));
            u64::try_from(due.as_millis()).unwrap()
        };
        assert_eq!(due(0, 5 * MINUTE), 5 * MINUTE);
        assert_eq!(due(5 * MINUTE - 1, 5 * MINUTE), 1);
        assert_eq!(due(5 * MINUTE, 5 * MINUTE), 5 * MINUTE);
        // Seven minutes do not divide a day: the last one is shorter.
        assert_eq!(due(DAY_MS - MINUTE, 7 * MINUTE), MINUTE);
        assert_eq!(due(DAY_MS - 1, 3_600_000), 1);
        assert_eq!(due(1, 2 * DAY_MS), DAY_MS - 1);
    }

    #[test]
    fn a_record_is_in_the_file_of_the_day_on_which_it_begins() {
        let midnight = NOON + DAY_MS / 2;
        let mut clock = Clock::at(midnight - MINUTE);
        let mut account = Account::new("i".into(), clock.0);
        // The thread that should have run at midnight was late.
        let before = account.close(clock.pass(MINUTE + 80), readings([("default", 0)]), false);
        let after = account.close(clock.pass(MINUTE), readings([("default", 0)]), true);
        assert_eq!(Account::day_of(&before[0]), Day::of(NOON));
        assert_eq!(Account::day_of(&after[0]), Day::of(NOON).next());
        assert!(after[0].last && !before[0].last);
    }
}
