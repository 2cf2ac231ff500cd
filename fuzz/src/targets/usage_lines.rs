//! Files of usage, as a crash, a full disk or an editor leaves them: read again for sums, and written to further.
//!
//! No line counts twice or is passed over in silence, how a file is read in pieces makes no difference, and the next record stands on a
//! line of its own behind every whole line that was there.

use std::io::BufReader;
use std::path::Path;

use meetpoint::usage::store::Store;
use meetpoint::usage::sum::{ByDay, Findings, Sums, Wanted, as_json};
use meetpoint::usage::{Counters, Record};

const FILE: &str = "usage-2026-11-21.jsonl";

pub(crate) fn run(data: &[u8]) {
    let (used, findings) = read(data, 1 << 16, 1);
    assert_eq!((&used, &findings), (&read(data, 1 + data.len() % 61, 1).0, &findings));
    let lines = data.split_inclusive(|byte| *byte == b'\n').count() as u64;
    let counted: u64 = used.values().map(|used| used.records).sum();
    assert_eq!(counted + findings.doubles + findings.conflicts + findings.malformed, lines);
    let shown = as_json(&used, &findings).to_string();
    assert!(serde_json::from_str::<serde_json::Value>(&shown).is_ok());

    let whole = &data[..data.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1)];
    let (once, said) = read(whole, 1 << 16, 1);
    let (twice, again) = read(whole, 1 << 16, 2);
    // Words that add up to nothing are no difference.
    assert_eq!(once, twice);
    assert_eq!(again.malformed, 2 * said.malformed);
    appended(data, whole);
}

fn read(data: &[u8], piece: usize, times: usize) -> (ByDay, Findings) {
    let mut sums = Sums::of(Wanted::default());
    for _ in 0..times {
        let mut lines = BufReader::with_capacity(piece, data);
        sums.read_lines("a file", &mut lines).expect("memory can be read");
    }
    sums.finish()
}

/// A process starts, finds that in the file of its day, and writes a record.
fn appended(data: &[u8], whole: &[u8]) {
    let memory = Path::new("/dev/shm");
    let directory = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    let directory = directory.expect("a directory can be made");
    let file = directory.path().join(FILE);
    std::fs::write(&file, data).expect("a file can be written");
    let record = Record {
        record: "0-1-acme".into(),
        instance: "0".into(),
        sequence: 1,
        realm: "acme".into(),
        from: "2026-11-21T20:05:00.001Z".into(),
        to: "2026-11-21T20:10:00.000Z".into(),
        clock_set: false,
        last: false,
        living: 1,
        peak: 2,
        credentials_used: 3,
        added: Counters::default(),
        keys: Default::default(),
        probes: Counters::default(),
    };
    let mut store = Store::new(directory.path()).expect("the directory is ours");
    store.push(std::slice::from_ref(&record));
    store.write().expect("the file can be written");
    let found = std::fs::read(&file).expect("the file is there");
    let line = serde_json::to_string(&record).expect("a record is JSON") + "\n";
    assert_eq!(found, [whole, line.as_bytes()].concat());
}
