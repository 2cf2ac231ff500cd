//! The effective configuration: each value, and who set it.

use super::load::Loaded;
use super::schema::Config;
use std::fmt::Write as _;

/// A TOML document of every value, with secrets redacted.
#[must_use]
pub fn show_values(config: &Config) -> String {
    let mut out = String::new();
    let mut current = "";
    for (section, name, value) in config.shown() {
        if section != current {
            let gap = if current.is_empty() { "" } else { "\n" };
            let _ = writeln!(out, "{gap}[{section}]");
            current = section;
        }
        let _ = writeln!(out, "{name} = {value}");
    }
    out
}

/// A TOML document of every value in effect, with the origin of each behind it. Secrets are redacted.
#[must_use]
pub fn show(loaded: &Loaded) -> String {
    let mut out = String::new();
    let mut current = "";
    for (section, name, value) in loaded.config.shown() {
        if section != current {
            let gap = if current.is_empty() { "" } else { "\n" };
            let _ = writeln!(out, "{gap}[{section}]");
            current = section;
        }
        let line = format!("{name} = {value}");
        match loaded.origins.get(&format!("{section}.{name}")) {
            Some(origin) => {
                let _ = writeln!(out, "{line:<60} # {origin}");
            }
            None => {
                let _ = writeln!(out, "{line:<60} # default");
            }
        }
    }
    out
}
