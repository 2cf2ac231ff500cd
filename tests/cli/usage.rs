//! `meetpoint usage` on files, good and bad ones, and the bill of docs/usage.md made of what it says.

use crate::program::{finished, meetpoint};
use meetpoint::usage::account::Reading;
use meetpoint::usage::store::Store;
use meetpoint::usage::{Account, At};
use std::process::Command;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Noon of 2026-11-21, UTC.
const NOON: u64 = 1_795_262_400_000;

/// A directory with the files of a process in which acme relays 1 GB in each of 24 hours.
fn files() -> TempDir {
    let directory = TempDir::new().unwrap();
    let mut store = Store::new(directory.path()).unwrap();
    let mut at = At {
        instant: Instant::now(),
        unix_ms: NOON,
    };
    let mut account = Account::new("0123456789ab".into(), at);
    for hour in 1..=24 {
        at.instant += Duration::from_secs(3600);
        at.unix_ms += 3_600_000;
        let mut acme = Reading::default();
        acme.counters.to_peer.bytes = 400_000_000 * hour;
        acme.counters.to_client.bytes = 600_000_000 * hour;
        acme.counters.allocation_ms = 7_200_000 * hour;
        acme.counters.refused.insert("quota".into(), hour);
        let readings = [("acme".to_owned(), acme), ("default".to_owned(), Reading::default())];
        store.push(&account.close(at, readings.into(), hour == 24));
    }
    store.write().unwrap();
    directory
}

fn usage(directory: &TempDir, arguments: &[&str]) -> (i32, String, String) {
    let mut command = meetpoint(directory);
    finished(command.args(["usage", "."]).args(arguments).output().unwrap())
}

#[test]
fn days_and_tenants_are_summed_in_columns_for_people_and_in_values_for_programs() {
    let directory = files();
    let (code, table, complaints) = usage(&directory, &[]);
    assert_eq!((code, complaints.as_str()), (0, ""));
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(&rows[0][..4], ["day", "realm", "to_peer_bytes", "to_client_bytes"]);
    assert_eq!(&rows[1][..4], ["2026-11-21", "acme", "4800000000", "7200000000"]);
    assert_eq!(rows.len(), 5);
    let (code, csv, _) = usage(&directory, &["--total", "--realm", "acme", "--format", "csv"]);
    assert_eq!(code, 0);
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!(lines[1], "all,acme,9600000000,14400000000,0,0,0,172800.000,0,24,0,0,24");
    assert_eq!(lines.len(), 2);
    let (_, day, _) = usage(
        &directory,
        &["--from", "2026-11-22", "--to", "2026-11-22", "--format", "csv"],
    );
    assert_eq!(day.lines().nth(1).unwrap().split(',').nth(2).unwrap(), "4800000000");
}

#[test]
fn what_is_wrong_with_the_files_is_said_and_fails() {
    let directory = files();
    let file = directory.path().join("usage-2026-11-21.jsonl");
    let text = std::fs::read_to_string(&file).unwrap();
    let mut lines: Vec<&str> = text.lines().collect();
    lines.push(lines[0]);
    lines.drain(4..6);
    std::fs::write(&file, lines.join("\n") + "\n{\"torn\":").unwrap();
    let (code, table, complaints) = usage(&directory, &[]);
    assert_eq!(code, 1, "{complaints}");
    assert!(table.contains("2026-11-22"));
    for wanted in [
        "1 records are there more than once",
        "1 intervals are missing",
        "1 lines are no records",
        "0123456789ab: 1 intervals are missing",
    ] {
        assert!(complaints.contains(wanted), "{wanted} is missing in\n{complaints}");
    }
    let (code, _, complaints) = finished(meetpoint(&directory).args(["usage", "nowhere.jsonl"]).output().unwrap());
    assert_eq!(code, 2);
    assert!(complaints.starts_with("nowhere.jsonl: "), "{complaints}");
}

#[test]
fn the_bill_of_the_page_is_made_of_what_the_command_says() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/usage.md")).unwrap();
    let (_, script) = page.split_once("```python\n").unwrap();
    let script = script.split_once("```").unwrap().0;
    let directory = files();
    let at = |name: &str| directory.path().join(name);
    let (_, sums, _) = usage(&directory, &["--total", "--format", "json"]);
    std::fs::write(at("bill.py"), script).unwrap();
    std::fs::write(at("usage.json"), sums).unwrap();
    let bill = || {
        let mut command = Command::new("python3");
        finished(command.args([at("bill.py"), at("usage.json")]).output().unwrap())
    };
    let (code, text, errors) = bill();
    assert_eq!((code, errors.as_str()), (0, ""));
    let cells: Vec<&str> = text.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(cells, ["acme", "24.000", "GB", "48.000", "h", "1.22"]);

    let file = at("usage-2026-11-21.jsonl");
    let text = std::fs::read_to_string(&file).unwrap();
    let gap: Vec<&str> = text.lines().filter(|line| !line.contains("\"sequence\":3,")).collect();
    std::fs::write(&file, gap.join("\n") + "\n").unwrap();
    let (_, sums, _) = usage(&directory, &["--total", "--format", "json"]);
    std::fs::write(at("usage.json"), sums).unwrap();
    let (code, _, errors) = bill();
    assert_eq!((code, errors.trim()), (1, "not billed: {'gaps': 1}"));
}
