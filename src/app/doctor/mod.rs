//! What this machine allows, held against what the configuration asks of it.
//!
//! What it is: facts read from `/proc` and `/sys` ([`Facts`]), and a judgement of each that matters to a relay, with the fix.
//! `meetpoint doctor` prints them all, a start logs those that will hurt.
//! What it is not: a test of the network. Whether clients get through is what `meetpoint check` tells, from where they are.
//!
//! Invariants: nothing is changed and nothing is sent; what cannot be read is not judged.

mod facts;
mod files;
mod machine;

pub use facts::Facts;

use super::watch::Watched;
use crate::config::{Config, Settings};
use serde::Serialize;

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Good,
    /// Worth knowing; nothing breaks by it.
    Note,
    /// The configuration asks for more than this machine allows, or something will fail under load.
    Bad,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How it stands.
    pub level: Level,
    /// What was looked at, in a few words.
    pub what: &'static str,
    /// What was found, with numbers.
    pub found: String,
    /// What to do, where something is to be done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

impl Finding {
    fn good(what: &'static str, found: impl Into<String>) -> Self {
        Self {
            level: Level::Good,
            what,
            found: found.into(),
            fix: None,
        }
    }

    fn note(what: &'static str, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            level: Level::Note,
            what,
            found: found.into(),
            fix: Some(fix.into()),
        }
    }

    fn bad(what: &'static str, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            level: Level::Bad,
            ..Self::note(what, found, fix)
        }
    }
}

/// Everything that can be said before anything is started. `files` are those the configuration was read from.
#[must_use]
pub fn examine(config: &Config, settings: &Settings, facts: &Facts, files: &[Watched]) -> Vec<Finding> {
    let mut all = machine::examine(config, settings, facts);
    all.extend(files::certificates(config));
    all.extend(files::readable_by_all(files));
    all
}

/// What a start says in the log once all is bound: only what will hurt and is not said elsewhere, each with its fix.
#[must_use]
pub fn complaints(config: &Config, settings: &Settings, facts: &Facts) -> Vec<String> {
    // The relay says itself what its sockets were granted, and how many it may have.
    const SAID: [&str; 4] = [machine::OPEN_FILES, machine::RECEIVE, machine::SEND, machine::LOW_PORTS];
    let is_said = |finding: &Finding| SAID.contains(&finding.what);
    let found = machine::examine(config, settings, facts);
    let bad = found
        .into_iter()
        .filter(|finding| finding.level == Level::Bad && !is_said(finding));
    bad.map(|finding| {
        let fix = finding.fix.unwrap_or_default();
        format!("{}: {}; {fix} (meetpoint doctor)", finding.what, finding.found)
    })
    .collect()
}
