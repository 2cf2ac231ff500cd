//! Files read again: what each tenant used on each day, and whether anything is there twice or missing.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{self, BufRead};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::{Value, json};

use super::day::Day;
use super::record::{Counters, Record};

/// Longest line that is looked at: ten times the longest that is written.
const MAX_LINE: u64 = 64 * 1024;
/// Most findings of a kind that are named; all are counted.
const MOST_NAMED: usize = 20;

/// What a tenant used on a day.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Used {
    /// Records that say so.
    pub records: u64,
    /// Most allocations that lived at once in one process.
    pub peak: u64,
    /// The sum of what they say.
    #[serde(flatten)]
    pub sum: Counters,
    /// Of that, by API key.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub keys: BTreeMap<String, Counters>,
    /// What this server's own probes did, which is not in the sum.
    #[serde(skip_serializing_if = "Counters::is_nothing")]
    pub probes: Counters,
}

impl Used {
    /// Adds what another day or record says.
    pub fn add(&mut self, other: &Self) {
        self.records += other.records;
        self.peak = self.peak.max(other.peak);
        self.sum.add(&other.sum);
        self.probes.add(&other.probes);
        for (key, of) in &other.keys {
            self.keys.entry(key.clone()).or_default().add(of);
        }
    }
}

/// By day and tenant.
pub type ByDay = BTreeMap<(String, String), Used>;

/// Sums as the command and the API show them.
pub fn as_json(used: &ByDay, findings: &Findings) -> Value {
    let one = |((day, realm), used): (&(String, String), &Used)| {
        let mut shown = json!({ "day": day, "realm": realm });
        if let (Some(shown), Ok(Value::Object(fields))) = (shown.as_object_mut(), serde_json::to_value(used)) {
            shown.extend(fields);
        }
        shown
    };
    json!({ "usage": used.iter().map(one).collect::<Vec<_>>(), "findings": findings })
}

/// What is wrong with the files.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Findings {
    /// Records that are there more than once, and count once.
    pub doubles: u64,
    /// Records that share a name and say different things; the first counts.
    pub conflicts: u64,
    /// Intervals that are missing between others of the same process.
    pub gaps: u64,
    /// Processes that ended without a last record, or still run: the newest of each directory does, as a rule.
    pub unfinished: u64,
    /// Lines that are no record; torn ones at the end of a file among them.
    pub malformed: u64,
    /// Some of them, in words.
    pub named: Vec<String>,
}

impl Findings {
    /// Whether the sums can be billed: nothing is missing, and nothing cannot be read.
    pub const fn is_sound(&self) -> bool {
        self.conflicts == 0 && self.gaps == 0 && self.malformed == 0
    }

    fn name(&mut self, what: String) {
        if self.named.len() < MOST_NAMED {
            self.named.push(what);
        }
    }
}

/// Which records are meant: those that fit everything that is given.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Wanted {
    /// The first day, by the beginning of the interval.
    pub from: Option<Day>,
    /// The last day.
    pub to: Option<Day>,
    /// The tenant.
    pub realm: Option<String>,
}

/// Sums, as far as they are read.
#[derive(Debug, Default)]
pub struct Sums {
    wanted: Wanted,
    used: ByDay,
    /// By the digest of a record's name, that of what it says: 16 bytes each, since there may be millions.
    seen: HashMap<u64, u64>,
    /// By process.
    intervals: HashMap<String, Intervals>,
    findings: Findings,
}

#[derive(Debug, Default)]
struct Intervals {
    seen: BTreeSet<u64>,
    has_ended: bool,
}

impl Sums {
    /// Of these records.
    pub fn of(wanted: Wanted) -> Self {
        Self {
            wanted,
            ..Self::default()
        }
    }

    /// Reads a file.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read(&mut self, path: &Path) -> io::Result<()> {
        let file = std::fs::File::open(path)?;
        self.read_lines(&path.display().to_string(), &mut io::BufReader::new(file))
    }

    /// Reads lines; `name` is for the findings.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn read_lines(&mut self, name: &str, lines: &mut impl BufRead) -> io::Result<()> {
        let (mut line, mut number) = (Vec::new(), 0_u64);
        loop {
            line.clear();
            let read = io::Read::take(&mut *lines, MAX_LINE).read_until(b'\n', &mut line)?;
            if read == 0 {
                return Ok(());
            }
            number += 1;
            let is_whole = line.pop_if(|byte| *byte == b'\n').is_some();
            match serde_json::from_slice::<Record>(&line) {
                Ok(record) if is_whole => self.add(record),
                _ => {
                    self.findings.malformed += 1;
                    self.findings.name(format!("{name}:{number}: no record"));
                    if !is_whole {
                        // The rest of a line that is too long, or nothing.
                        lines.skip_until(b'\n')?;
                    }
                }
            }
        }
    }

    fn add(&mut self, record: Record) {
        let day = record.from.get(..10).unwrap_or_default().to_owned();
        let parsed = day.parse::<Day>();
        let Ok(at) = parsed else {
            self.findings.malformed += 1;
            self.findings
                .name(format!("{}: its time makes no sense", record.record));
            return;
        };
        let (name, says) = (
            digest(&record.record),
            digest(&serde_json::to_string(&record).unwrap_or_default()),
        );
        if let Some(known) = self.seen.get(&name) {
            if *known == says {
                self.findings.doubles += 1;
                self.findings.name(format!("{}: there more than once", record.record));
            } else {
                self.findings.conflicts += 1;
                self.findings.name(format!("{}: says different things", record.record));
            }
            return;
        }
        self.seen.insert(name, says);
        let intervals = self.intervals.entry(record.instance).or_default();
        intervals.seen.insert(record.sequence);
        intervals.has_ended |= record.last;
        let Wanted { from, to, realm } = &self.wanted;
        let is_wanted = from.is_none_or(|from| at >= from)
            && to.is_none_or(|to| at <= to)
            && realm.as_ref().is_none_or(|realm| *realm == record.realm);
        if is_wanted {
            let used = self.used.entry((day, record.realm)).or_default();
            used.add(&Used {
                records: 1,
                peak: record.peak,
                sum: record.added,
                keys: record.keys,
                probes: record.probes,
            });
        }
    }

    /// What each tenant used on each day, by day and tenant, and what is wrong.
    pub fn finish(mut self) -> (ByDay, Findings) {
        let mut instances: Vec<_> = self.intervals.into_iter().collect();
        instances.sort_by(|(one, _), (other, _)| one.cmp(other));
        for (instance, intervals) in instances {
            let (first, last) = (intervals.seen.first(), intervals.seen.last());
            if let (Some(first), Some(last)) = (first, last) {
                let between = (last - first).saturating_add(1);
                let missing = between.saturating_sub(intervals.seen.len() as u64);
                if missing > 0 {
                    self.findings.gaps = self.findings.gaps.saturating_add(missing);
                    self.findings
                        .name(format!("{instance}: {missing} intervals are missing"));
                }
            }
            self.findings.unfinished += u64::from(!intervals.has_ended);
        }
        (self.used, self.findings)
    }
}

/// What tells one text from another. For finding faults, not forgers.
fn digest(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

/// The files of a directory that have records of these days, the oldest first.
///
/// # Errors
/// When the directory cannot be read.
pub fn files(directory: &Path, wanted: &Wanted) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let day = entry.file_name().to_str().and_then(Day::of_file);
        let fits = |day: Day| wanted.from.is_none_or(|from| day >= from) && wanted.to.is_none_or(|to| day <= to);
        if day.is_some_and(fits) {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::usage::account::{Account, At, Reading};
    use std::time::{Duration, Instant};

    const NOON: u64 = 1_795_262_400_000;

    /// Records of a process that relays 10 bytes for acme in each of so many intervals of an hour.
    fn process(instance: &str, intervals: u64) -> Vec<String> {
        let mut at = At {
            instant: Instant::now(),
            unix_ms: NOON,
        };
        let mut account = Account::new(instance.into(), at);
        let mut lines = Vec::new();
        for number in 1..=intervals {
            at.instant += Duration::from_secs(3600);
            at.unix_ms += 3_600_000;
            let mut acme = Reading::default();
            acme.counters.to_peer.bytes = 10 * number;
            acme.peak = number;
            let readings = [("acme".to_owned(), acme), ("default".to_owned(), Reading::default())];
            let records = account.close(at, readings.into(), number == intervals);
            lines.extend(records.iter().map(|record| serde_json::to_string(record).unwrap()));
        }
        lines
    }

    fn sums(lines: &[String], wanted: Wanted) -> (ByDay, Findings) {
        let mut sums = Sums::of(wanted);
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        sums.read_lines("test", &mut text.as_bytes()).unwrap();
        sums.finish()
    }

    fn bytes(used: &ByDay, day: &str, realm: &str) -> u64 {
        let used = used.get(&(day.to_owned(), realm.to_owned()));
        used.map_or(0, |used| used.sum.to_peer.bytes)
    }

    #[test]
    fn records_are_summed_by_day_and_tenant() {
        let (used, findings) = sums(&process("a", 15), Wanted::default());
        assert_eq!(bytes(&used, "2026-11-21", "acme"), 120);
        assert_eq!(bytes(&used, "2026-11-22", "acme"), 30);
        assert_eq!(used[&("2026-11-22".to_owned(), "acme".to_owned())].peak, 15);
        assert_eq!(findings, Findings::default());
        let wanted = Wanted {
            realm: Some("acme".into()),
            to: Some("2026-11-21".parse().unwrap()),
            ..Wanted::default()
        };
        assert_eq!(sums(&process("a", 15), wanted).0.len(), 1);
    }

    #[test]
    fn what_is_there_twice_counts_once_and_is_said() {
        let mut lines = process("a", 5);
        lines.extend(process("b", 2));
        lines.push(lines[0].clone());
        lines.push(lines[2].replace("\"bytes\":10", "\"bytes\":99"));
        let (used, findings) = sums(&lines, Wanted::default());
        assert_eq!(bytes(&used, "2026-11-21", "acme"), 70);
        assert_eq!((findings.doubles, findings.conflicts, findings.gaps), (1, 1, 0));
        assert!(!findings.is_sound());
    }

    #[test]
    fn missing_intervals_and_crashes_are_found() {
        let mut lines = process("a", 9);
        lines.retain(|line| !line.contains("\"sequence\":4,") && !line.contains("\"sequence\":5,"));
        lines.truncate(lines.len() - 2);
        let (_, findings) = sums(&lines, Wanted::default());
        assert_eq!((findings.gaps, findings.unfinished, findings.doubles), (2, 1, 0));
        assert!(!findings.is_sound() && findings.named.len() == 1, "{findings:?}");
    }

    #[test]
    fn intervals_with_numbers_that_nobody_reaches_are_gaps_and_no_overflow() {
        let mut lines = process("a", 1);
        let of_other = |number: u64| lines[0].replace("a-1-", &format!("a-{number}-"));
        let more =
            [0, u64::MAX].map(|number| of_other(number).replace("\"sequence\":1,", &format!("\"sequence\":{number},")));
        lines.extend(more);
        let (_, findings) = sums(&lines, Wanted::default());
        assert_eq!((findings.malformed, findings.gaps), (0, u64::MAX - 3));
    }

    #[test]
    fn lines_that_are_no_records_are_counted_and_passed_over() {
        let whole = process("a", 1).join("\n");
        let long = "x".repeat(3 * MAX_LINE as usize);
        let text = format!("\n{{}}\nnonsense\n{long}\n{whole}\n{{\"record\":");
        let mut sums = Sums::default();
        sums.read_lines("test", &mut text.as_bytes()).unwrap();
        let (used, findings) = sums.finish();
        assert_eq!(findings.malformed, 5);
        assert_eq!(bytes(&used, "2026-11-21", "acme"), 10);
    }
}
