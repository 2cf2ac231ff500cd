//! `meetpoint usage`: sums the files of records by day and tenant, and says whether they can be billed.

use super::{DONE, Environment, FAILED, MISUSED, say};
use crate::usage::day::Day;
use crate::usage::record::Counters;
use crate::usage::sum::{ByDay, Findings, Sums, Used, Wanted, as_json, files};
use clap::{Args, ValueEnum};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// What to sum.
#[derive(Debug, Args)]
pub struct UsageArguments {
    /// Files, or directories with files called usage-2026-11-21.jsonl and so on
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// The first UTC day, such as 2026-11-01
    #[arg(long, value_name = "DAY")]
    pub from: Option<Day>,
    /// The last UTC day
    #[arg(long, value_name = "DAY")]
    pub to: Option<Day>,
    /// One tenant alone
    #[arg(long, value_name = "NAME")]
    pub realm: Option<String>,
    /// One sum for each tenant, not one for each of its days
    #[arg(long)]
    pub total: bool,
    /// A line for each API key in place of one for its tenant, with (none) for what no key fetched and (probes) for this
    /// server's own probes
    #[arg(long)]
    pub keys: bool,
    /// How to write it
    #[arg(long, value_enum, default_value_t = Form::Table)]
    pub format: Form,
}

/// How sums are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// Columns for a person
    Table,
    /// Comma-separated values with a line of names (RFC 4180)
    Csv,
    /// One object, with what is wrong
    Json,
}

const COLUMNS: [&str; 13] = [
    "day",
    "realm",
    "to_peer_bytes",
    "to_client_bytes",
    "to_peer_packets",
    "to_client_packets",
    "allocations",
    "allocation_seconds",
    "peak",
    "refused",
    "auth_failures",
    "issued",
    "records",
];

pub(super) fn run(asked: &UsageArguments, environment: &mut Environment<'_>) -> u8 {
    let wanted = Wanted {
        from: asked.from,
        to: asked.to,
        realm: asked.realm.clone(),
    };
    let mut sums = Sums::of(wanted.clone());
    for path in &asked.files {
        let found = if path.is_dir() {
            files(path, &wanted)
        } else {
            Ok(vec![path.clone()])
        };
        let read = found.and_then(|found| found.iter().try_for_each(|file| sums.read(file)));
        if let Err(error) = read {
            say!(environment.err, "{}: {error}", path.display());
            return MISUSED;
        }
    }
    let (used, findings) = sums.finish();
    let used = if asked.total { total(used) } else { used };
    match asked.format {
        Form::Json => say!(environment.out, "{}", as_json(&used, &findings)),
        Form::Csv | Form::Table => {
            let rows = used.iter().flat_map(|(of, used)| rows(of, used, asked.keys));
            write(rows.collect(), asked, environment);
            complain(&findings, environment);
        }
    }
    if findings.is_sound() { DONE } else { FAILED }
}

/// A line: that of a tenant, or those of its keys, which add up to it, and of what is not in it.
fn rows((day, realm): &(String, String), used: &Used, by_key: bool) -> Vec<Vec<String>> {
    let row = |key: Option<&str>, sum: &Counters| {
        let mut cells = cells(day, realm, used, sum).to_vec();
        if let Some(key) = key {
            cells.insert(2, key.to_owned());
        }
        cells
    };
    if !by_key {
        return vec![row(None, &used.sum)];
    }
    let mut of_keys = Counters::default();
    used.keys.values().for_each(|of| of_keys.add(of));
    let mut rows: Vec<_> = used.keys.iter().map(|(key, of)| row(Some(key), of)).collect();
    rows.push(row(Some("(none)"), &used.sum.since(&of_keys)));
    if !used.probes.is_nothing() {
        rows.push(row(Some("(probes)"), &used.probes));
    }
    rows
}

/// The names of the columns.
fn names(by_key: bool) -> Vec<String> {
    let mut names = COLUMNS.map(str::to_owned).to_vec();
    if by_key {
        names.insert(2, "key".to_owned());
    }
    names
}

fn write(rows: Vec<Vec<String>>, asked: &UsageArguments, environment: &mut Environment<'_>) {
    let mut lines = vec![names(asked.keys)];
    lines.extend(rows);
    if asked.format == Form::Csv {
        csv(&lines, environment);
    } else {
        table(&lines, if asked.keys { 3 } else { 2 }, environment);
    }
}

fn total(used: ByDay) -> ByDay {
    let mut totals = ByDay::new();
    for ((_, realm), used) in used {
        let total = totals.entry(("all".to_owned(), realm)).or_default();
        total.add(&used);
    }
    totals
}

fn cells(day: &str, realm: &str, used: &Used, sum: &Counters) -> [String; 13] {
    let words = |words: &BTreeMap<String, u64>| words.values().sum::<u64>().to_string();
    [
        day.to_owned(),
        realm.to_owned(),
        sum.to_peer.bytes.to_string(),
        sum.to_client.bytes.to_string(),
        sum.to_peer.packets.to_string(),
        sum.to_client.packets.to_string(),
        sum.allocations.to_string(),
        format!("{}.{:03}", sum.allocation_ms / 1000, sum.allocation_ms % 1000),
        used.peak.to_string(),
        words(&sum.refused),
        words(&sum.auth_failures),
        sum.issued.to_string(),
        used.records.to_string(),
    ]
}

/// Names of realms and days hold nothing that would have to be quoted, unless a file was tampered with.
fn quoted(cell: &str) -> String {
    if cell.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", cell.replace('"', "\"\""))
    } else {
        cell.to_owned()
    }
}

fn csv(lines: &[Vec<String>], environment: &mut Environment<'_>) {
    for line in lines {
        let cells: Vec<String> = line.iter().map(|cell| quoted(cell)).collect();
        say!(environment.out, "{}", cells.join(","));
    }
}

/// The first so many columns are words.
fn table(lines: &[Vec<String>], words: usize, environment: &mut Environment<'_>) {
    let mut widths = vec![0; lines.first().map_or(0, Vec::len)];
    for line in lines {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = (*width).max(cell.chars().count());
        }
    }
    for line in lines {
        let padded = line.iter().zip(&widths).enumerate().map(|(at, (cell, width))| {
            if at < words {
                format!("{cell:<width$}")
            } else {
                format!("{cell:>width$}")
            }
        });
        say!(environment.out, "{}", padded.collect::<Vec<_>>().join("  ").trim_end());
    }
}

fn complain(findings: &Findings, environment: &mut Environment<'_>) {
    let Findings {
        doubles,
        conflicts,
        gaps,
        unfinished,
        malformed,
        named,
    } = findings;
    for (count, what) in [
        (*doubles, "records are there more than once; each counts once"),
        (
            *conflicts,
            "records share a name and say different things; the first of each counts",
        ),
        (*gaps, "intervals are missing"),
        (
            *unfinished,
            "processes have no last record: they still run, or crashed and lost up to one interval",
        ),
        (*malformed, "lines are no records"),
    ] {
        if count > 0 {
            say!(environment.err, "{count} {what}");
        }
    }
    for one in named {
        say!(environment.err, "  {one}");
    }
}
