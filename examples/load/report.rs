//! What a run found, as lines or as JSON.

use std::io::Write as _;

use serde_json::{Map, Value};

use crate::Failure;

/// Named figures in the order they were added.
#[derive(Default)]
pub(crate) struct Report {
    figures: Vec<(&'static str, Value, &'static str)>,
}

impl Report {
    /// Adds a figure; `unit` is for the human output, the JSON names carry theirs.
    pub(crate) fn add(&mut self, name: &'static str, value: impl Into<Value>, unit: &'static str) {
        self.figures.push((name, value.into(), unit));
    }

    /// Adds a figure rounded to three decimals.
    pub(crate) fn add_rounded(&mut self, name: &'static str, value: f64, unit: &'static str) {
        self.add(name, (value * 1000.0).round() / 1000.0, unit);
    }

    /// Writes to standard output; a closed pipe is nobody's fault.
    pub(crate) fn print(self, json: bool) {
        let text = if json {
            let map: Map<String, Value> = self.figures.into_iter().map(|(n, v, _)| (n.to_owned(), v)).collect();
            format!("{}\n", Value::Object(map))
        } else {
            self.figures
                .into_iter()
                .map(|(name, value, unit)| {
                    let value = match value {
                        Value::String(text) => text,
                        other => other.to_string(),
                    };
                    format!("{name:>28}  {value} {unit}\n")
                })
                .collect()
        };
        let _ = std::io::stdout().write_all(text.as_bytes());
    }
}

/// One line on standard error.
pub(crate) fn complain(error: &Failure) {
    let _ = writeln!(std::io::stderr(), "load: {error}");
}
