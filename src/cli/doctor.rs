//! `meetpoint doctor`: what this machine allows, held against the configuration.

use super::{DONE, Environment, FAILED, flags::ConfigArguments, sources};
use crate::app::doctor::{Facts, Finding, Level, examine};
use crate::config::detect::Machine;
use clap::Args;
use std::fmt::Write as _;

/// What to look at.
#[derive(Debug, Args)]
pub struct DoctorArguments {
    /// Print the findings as JSON
    #[arg(long)]
    pub json: bool,
    /// The configuration that the machine is to carry.
    #[command(flatten)]
    pub config: ConfigArguments,
}

pub(super) fn run(outer: ConfigArguments, asked: DoctorArguments, environment: &mut Environment<'_>) -> u8 {
    let reading = sources::read(&outer.overridden_by(asked.config), &environment.variables);
    let loaded = match sources::accepted(reading.result, environment.err) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    let settings = loaded.config.settings(&Machine::ask());
    let findings = examine(&loaded.config, &settings, &Facts::ask(), &reading.files);
    let sound = findings.iter().all(|finding| finding.level != Level::Bad);
    let text = if asked.json {
        json(&findings, sound)
    } else {
        table(&findings)
    };
    let _ = write!(environment.out, "{text}");
    if sound { DONE } else { FAILED }
}

fn json(findings: &[Finding], sound: bool) -> String {
    format!("{:#}\n", serde_json::json!({ "ok": sound, "findings": findings }))
}

fn table(findings: &[Finding]) -> String {
    let mut out = String::new();
    for finding in findings {
        let mark = match finding.level {
            Level::Good => "ok",
            Level::Note => "note",
            Level::Bad => "BAD",
        };
        let _ = writeln!(out, "{mark:<5} {:<20} {}", finding.what, finding.found);
        if let Some(fix) = &finding.fix {
            let _ = writeln!(out, "{:<26} fix: {fix}", "");
        }
    }
    let count = |level| findings.iter().filter(|finding| finding.level == level).count();
    let _ = writeln!(
        out,
        "{} looked at: {} bad, {} to know",
        findings.len(),
        count(Level::Bad),
        count(Level::Note)
    );
    out
}
