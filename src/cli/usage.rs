//! `meetpoint usage`: sums the files of records by day and tenant, and says whether they can be billed.

use super::{DONE, Environment, FAILED, MISUSED, say};
use crate::usage::day::Day;
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
        Form::Csv => csv(&used, environment),
        Form::Table => table(&used, environment),
    }
    if asked.format != Form::Json {
        complain(&findings, environment);
    }
    if findings.is_sound() { DONE } else { FAILED }
}

fn total(used: ByDay) -> ByDay {
    let mut totals = ByDay::new();
    for ((_, realm), used) in used {
        let total = totals.entry(("all".to_owned(), realm)).or_default();
        total.records += used.records;
        total.peak = total.peak.max(used.peak);
        total.sum.add(&used.sum);
    }
    totals
}

fn cells((day, realm): &(String, String), used: &Used) -> [String; 13] {
    let sum = &used.sum;
    let words = |words: &BTreeMap<String, u64>| words.values().sum::<u64>().to_string();
    [
        day.clone(),
        realm.clone(),
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

fn csv(used: &ByDay, environment: &mut Environment<'_>) {
    say!(environment.out, "{}", COLUMNS.join(","));
    for (key, used) in used {
        let cells = cells(key, used).map(|cell| quoted(&cell));
        say!(environment.out, "{}", cells.join(","));
    }
}

fn table(used: &ByDay, environment: &mut Environment<'_>) {
    let rows: Vec<_> = used.iter().map(|(key, used)| cells(key, used)).collect();
    let mut widths = COLUMNS.map(str::len);
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: [&str; 13]| {
        let padded = cells.iter().zip(widths).enumerate().map(|(at, (cell, width))| {
            if at < 2 {
                format!("{cell:<width$}")
            } else {
                format!("{cell:>width$}")
            }
        });
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    say!(environment.out, "{}", line(COLUMNS));
    for row in &rows {
        say!(environment.out, "{}", line(row.each_ref().map(String::as_str)));
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
