//! The files: one for each UTC day, lines of JSON, appended to and never changed.
//!
//! A batch of lines is written in one piece and synced; what was written of one that failed is cut off again, so that its lines
//! are there once when they are written later. One process writes to a directory at a time, which a lock of the kernel's sees to.

use std::collections::VecDeque;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::account::Account;
use super::day::Day;
use super::record::Record;

/// Records that may wait to be written: some 2 MiB.
pub const MAX_WAITING: usize = 4096;
/// The file whose lock says who writes.
const LOCK: &str = "usage.lock";
/// Read and written by the owner, read by the group: whoever bills.
const MODE: u32 = 0o640;
/// So many other days within so many days before it make a day one on which records were really written: a clock that was wrong for
/// a while leaves files that stand alone.
const WITNESSES: (usize, u64) = (2, 31);
/// Of the directory, where it is made here.
const DIRECTORY_MODE: u32 = 0o750;

/// Keeps records.
#[derive(Debug)]
pub struct Store {
    directory: PathBuf,
    lock: Option<File>,
    waiting: VecDeque<(Day, String)>,
    /// The file that was written to last, which ends with a whole line.
    open: Option<(Day, File)>,
    /// The day on which this was made, at the earliest, as the files that were there say.
    made: Option<Day>,
}

impl Store {
    /// Writes to `directory`, which is made if it is not there.
    ///
    /// # Errors
    /// When it cannot be made, or nothing can be written there. That another process writes there is no error: it may be about
    /// to end.
    pub fn new(directory: &Path) -> io::Result<Self> {
        if !directory.is_dir() {
            DirBuilder::new()
                .recursive(true)
                .mode(DIRECTORY_MODE)
                .create(directory)?;
        }
        let mut store = Self {
            directory: directory.to_owned(),
            lock: None,
            waiting: VecDeque::new(),
            open: None,
            made: None,
        };
        store.made = earliest_today(store.days()?);
        match store.hold() {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            _ => Ok(store),
        }
    }

    /// Becomes the one who writes there.
    fn hold(&mut self) -> io::Result<()> {
        if self.lock.is_some() {
            return Ok(());
        }
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(MODE)
            .open(self.directory.join(LOCK))?;
        match file.try_lock() {
            Ok(()) => {
                self.lock = Some(file);
                Ok(())
            }
            Err(TryLockError::WouldBlock) => {
                let text = "another process writes there (usage.directory)";
                Err(io::Error::new(io::ErrorKind::WouldBlock, text))
            }
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Whether there is room for the records of one more interval.
    pub fn has_room(&self, records: usize) -> bool {
        self.waiting.len() + records <= MAX_WAITING
    }

    /// Records that wait.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Takes records, to be written by [`Store::write`].
    pub fn push(&mut self, records: &[Record]) {
        for record in records {
            // There is no map with keys that are no strings in it, so that it cannot fail.
            let line = serde_json::to_string(record).unwrap_or_default();
            self.waiting.push_back((Account::day_of(record), line));
        }
    }

    /// Writes what waits, the oldest first, and waits until it is on the disk.
    ///
    /// # Errors
    /// Those of files. What was not written goes on waiting.
    pub fn write(&mut self) -> io::Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        self.hold()?;
        while let Some((day, _)) = self.waiting.front() {
            let day = *day;
            let lines: Vec<&str> = self
                .waiting
                .iter()
                .take_while(|(other, _)| *other == day)
                .map(|(_, line)| line.as_str())
                .collect();
            let (count, text) = (lines.len(), lines.join("\n") + "\n");
            self.append(day, text.as_bytes())?;
            self.waiting.drain(..count);
        }
        Ok(())
    }

    /// What could not be written, for the log.
    pub fn unwritten(&self) -> impl Iterator<Item = &str> {
        self.waiting.iter().map(|(_, line)| line.as_str())
    }

    fn append(&mut self, day: Day, bytes: &[u8]) -> io::Result<()> {
        let file = match self.open.take() {
            Some((open, file)) if open == day => file,
            _ => self.open_day(day)?,
        };
        let before = file.metadata()?.len();
        match (&file).write_all(bytes).and_then(|()| file.sync_data()) {
            Ok(()) => {
                self.open = Some((day, file));
                Ok(())
            }
            Err(error) => {
                // If this fails too, the next one who opens the file finds the torn line.
                let _ = file.set_len(before);
                Err(error)
            }
        }
    }

    /// Opens the file of a day, and cuts off a line that was torn.
    fn open_day(&self, day: Day) -> io::Result<File> {
        let path = self.directory.join(day.file_name());
        let is_new = !path.exists();
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .read(true)
            .mode(MODE)
            .open(&path)?;
        if is_new {
            File::open(&self.directory)?.sync_all()?;
        }
        let torn = cut_torn_line(&file)?;
        if torn > 0 {
            tracing::warn!(file = %path.display(), bytes = torn, "a line of usage that was torn by a crash is cut off");
        }
        Ok(file)
    }

    /// The days that have files.
    fn days(&self) -> io::Result<Vec<Day>> {
        let mut days = Vec::new();
        for entry in std::fs::read_dir(&self.directory)? {
            days.extend(entry?.file_name().to_str().and_then(Day::of_file));
        }
        Ok(days)
    }

    /// The last day that it can be today: what the clock says, but no later than the files that were there at the start and the time since
    /// then bear out. Whoever starts with a clock that is years ahead removes nothing by it. After a pause in which nothing was written
    /// it is behind by as much, until the next start.
    pub fn today(&self, clock: Day, since_start: Duration) -> Day {
        let days = since_start.as_secs() / 86_400 + 1;
        self.made.map_or(clock, |made| clock.min(made.after(days)))
    }

    /// Removes files that are older than so many days; how many.
    ///
    /// # Errors
    /// When the directory cannot be read. A file that cannot be removed is tried again the next day.
    pub fn forget(&self, today: Day, days: u32) -> io::Result<usize> {
        if days == 0 || self.lock.is_none() {
            return Ok(0);
        }
        let first = today.before(days.into());
        let old = self.days()?.into_iter().filter(|day| *day < first);
        let remove = |day: Day| std::fs::remove_file(self.directory.join(day.file_name()));
        Ok(old.filter(|day| remove(*day).is_ok()).count())
    }
}

/// When it is at the earliest, as files of these days say: the last one that has witnesses; else the first of all, which a wrong clock cannot
/// have made newer than it is.
fn earliest_today(mut days: Vec<Day>) -> Option<Day> {
    let (witnesses, within) = WITNESSES;
    days.sort_unstable();
    let mut runs = days.windows(witnesses + 1).rev();
    let run = runs.find(|run| {
        run.first()
            .zip(run.last())
            .is_some_and(|(first, last)| *first >= last.before(within))
    });
    run.and_then(|run| run.last()).or(days.first()).copied()
}

/// Cuts off what stands behind the last line break; how many bytes.
fn cut_torn_line(mut file: &File) -> io::Result<u64> {
    const STEP: u64 = 4096;
    let len = file.metadata()?.len();
    let mut end = len;
    while end > 0 {
        let begin = end.saturating_sub(STEP);
        let mut bytes = vec![0; (end - begin) as usize];
        file.seek(SeekFrom::Start(begin))?;
        file.read_exact(&mut bytes)?;
        if let Some(at) = bytes.iter().rposition(|byte| *byte == b'\n') {
            end = begin + at as u64 + 1;
            break;
        }
        end = begin;
    }
    if end < len {
        file.set_len(end)?;
        file.sync_all()?;
    }
    Ok(len - end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::usage::account::{At, Reading};
    use std::collections::BTreeMap;
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;
    use std::time::Instant;
    use tempfile::TempDir;

    const NOON: u64 = 1_795_262_400_000;

    fn records(unix_ms: u64, instance: &str, count: usize) -> Vec<Record> {
        let at = At {
            instant: Instant::now(),
            unix_ms,
        };
        let mut account = Account::new(instance.into(), at);
        (0..count)
            .flat_map(|_| {
                let readings = BTreeMap::from([("default".to_owned(), Reading::default())]);
                account.close(at, readings, false)
            })
            .collect()
    }

    fn lines(directory: &Path, name: &str) -> Vec<Record> {
        let text = fs::read_to_string(directory.join(name)).unwrap();
        assert!(text.is_empty() || text.ends_with('\n'));
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn records_are_lines_in_the_file_of_their_day_which_others_cannot_read() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("made/here");
        let mut store = Store::new(&path).unwrap();
        let (first, second) = (records(NOON, "a", 3), records(NOON + 86_400_000, "b", 2));
        store.push(&first);
        store.push(&second);
        store.write().unwrap();
        store.write().unwrap();
        assert_eq!(store.waiting(), 0);
        assert_eq!(lines(&path, "usage-2026-11-21.jsonl"), first);
        assert_eq!(lines(&path, "usage-2026-11-22.jsonl"), second);
        let mode = fs::metadata(path.join("usage-2026-11-21.jsonl"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o137, 0, "{mode:o}");
    }

    #[test]
    fn a_torn_line_is_cut_off_wherever_it_was_torn_and_nothing_else_is() {
        let whole = records(NOON, "a", 2);
        let text: String = whole
            .iter()
            .map(|record| serde_json::to_string(record).unwrap() + "\n")
            .collect();
        for torn in [0, 1, 100, 5000] {
            let directory = TempDir::new().unwrap();
            let file = directory.path().join("usage-2026-11-21.jsonl");
            fs::write(&file, format!("{text}{}", "x".repeat(torn))).unwrap();
            let mut store = Store::new(directory.path()).unwrap();
            store.push(&records(NOON, "b", 1));
            store.write().unwrap();
            let found = lines(directory.path(), "usage-2026-11-21.jsonl");
            assert_eq!((found.len(), &found[..2]), (3, &whole[..]), "{torn}");
        }
        // A file of nothing but a torn line.
        let directory = TempDir::new().unwrap();
        fs::write(directory.path().join("usage-2026-11-21.jsonl"), "{\"record\":").unwrap();
        let mut store = Store::new(directory.path()).unwrap();
        store.push(&whole);
        store.write().unwrap();
        assert_eq!(lines(directory.path(), "usage-2026-11-21.jsonl"), whole);
    }

    #[test]
    fn what_cannot_be_written_waits_within_its_bound_and_is_written_once() {
        let directory = TempDir::new().unwrap();
        let mut store = Store::new(directory.path()).unwrap();
        // A directory in the place of the file: no permission stops the superuser.
        let file = directory.path().join("usage-2026-11-21.jsonl");
        fs::create_dir(&file).unwrap();
        let waiting = records(NOON, "a", MAX_WAITING);
        assert!(store.has_room(MAX_WAITING) && !store.has_room(MAX_WAITING + 1));
        store.push(&waiting);
        for _ in 0..3 {
            assert!(store.write().is_err());
            assert_eq!(store.waiting(), MAX_WAITING);
        }
        assert!(!store.has_room(1));
        fs::remove_dir(&file).unwrap();
        store.write().unwrap();
        assert_eq!(lines(directory.path(), "usage-2026-11-21.jsonl"), waiting);
    }

    #[test]
    fn a_full_disk_loses_nothing_and_doubles_nothing() {
        let directory = TempDir::new().unwrap();
        let file = directory.path().join("usage-2026-11-21.jsonl");
        std::os::unix::fs::symlink("/dev/full", &file).unwrap();
        let mut store = Store::new(directory.path()).unwrap();
        let waiting = records(NOON, "a", 3);
        store.push(&waiting);
        let error = store.write().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull, "{error}");
        assert_eq!(store.waiting(), 3);
        fs::remove_file(&file).unwrap();
        store.write().unwrap();
        assert_eq!(lines(directory.path(), "usage-2026-11-21.jsonl"), waiting);
    }

    #[test]
    fn a_second_process_waits_until_the_first_has_ended() {
        let directory = TempDir::new().unwrap();
        let mut first = Store::new(directory.path()).unwrap();
        let mut second = Store::new(directory.path()).unwrap();
        second.push(&records(NOON, "b", 1));
        assert_eq!(second.write().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        first.push(&records(NOON, "a", 1));
        first.write().unwrap();
        drop(first);
        second.write().unwrap();
        let found = lines(directory.path(), "usage-2026-11-21.jsonl");
        assert_eq!(found.iter().map(|one| &*one.instance).collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn files_older_than_they_are_kept_are_removed_and_no_other_file_is() {
        let directory = TempDir::new().unwrap();
        let store = Store::new(directory.path()).unwrap();
        for name in [
            "usage-2026-11-11.jsonl",
            "usage-2026-11-12.jsonl",
            "usage-2020-01-01.jsonl.gz",
            "notes",
        ] {
            fs::write(directory.path().join(name), "").unwrap();
        }
        let today = Day::of(NOON);
        assert_eq!(store.forget(today, 0).unwrap(), 0);
        assert_eq!(store.forget(today, 9).unwrap(), 1);
        assert!(directory.path().join("usage-2026-11-12.jsonl").exists());
        assert!(directory.path().join("notes").exists());
    }

    fn day(text: &str) -> Day {
        text.parse().unwrap()
    }

    #[test]
    fn a_clock_that_is_years_ahead_at_the_start_removes_nothing_that_time_has_not_made_old() {
        let directory = TempDir::new().unwrap();
        for file in ["2026-11-18", "2026-11-19", "2026-11-20", "2026-11-21"] {
            fs::write(directory.path().join(day(file).file_name()), "").unwrap();
        }
        let store = Store::new(directory.path()).unwrap();
        let wrong = day("2031-06-01");
        let today = store.today(wrong, Duration::from_secs(60));
        assert_eq!(today, day("2026-11-22"));
        assert_eq!(store.forget(today, 400).unwrap(), 0);
        // What the wrong clock has written is no witness for it, at the next start either.
        fs::write(directory.path().join(wrong.file_name()), "").unwrap();
        drop(store);
        let store = Store::new(directory.path()).unwrap();
        assert_eq!(store.today(wrong, Duration::ZERO), day("2026-11-22"));
        // Time that really passed makes files old; a clock that is right, or behind, counts as ever.
        let later = Duration::from_secs(400 * 86_400);
        assert_eq!(store.today(day("2027-12-26"), later), day("2027-12-26"));
        assert_eq!(store.today(wrong, later), day("2027-12-27"));
        assert_eq!(store.forget(store.today(wrong, later), 400).unwrap(), 4);
        assert_eq!(store.today(day("2026-11-21"), Duration::ZERO), day("2026-11-21"));
        assert_eq!(store.today(day("1970-01-02"), later), day("1970-01-02"));
    }

    #[test]
    fn without_files_that_bear_each_other_out_the_oldest_one_says_when_it_was_and_without_any_the_clock() {
        let at = |days: &[&str]| earliest_today(days.iter().map(|text| day(text)).collect());
        assert_eq!(at(&[]), None);
        assert_eq!(at(&["2031-06-01", "2026-11-21"]), Some(day("2026-11-21")));
        assert_eq!(at(&["2026-11-21", "2031-06-02", "2031-06-01"]), Some(day("2026-11-21")));
        assert_eq!(at(&["2026-11-01", "2026-11-10", "2026-12-02"]), Some(day("2026-12-02")));
        assert_eq!(at(&["2026-11-01", "2026-11-10", "2026-12-03"]), Some(day("2026-11-01")));
        let directory = TempDir::new().unwrap();
        let store = Store::new(directory.path()).unwrap();
        assert_eq!(store.today(day("2031-06-01"), Duration::ZERO), day("2031-06-01"));
    }
}
