//! The effective configuration: each value, and who set it.

use super::load::Loaded;
use super::schema::Config;
use super::value::quoted;
use std::fmt::Write as _;

/// One value as it is shown.
#[derive(Debug, Clone)]
pub struct Shown {
    /// Its section, for example `relay` or `realms.acme`.
    pub section: String,
    /// Its name in the section.
    pub name: &'static str,
    /// As it would be written in the file; secrets redacted.
    pub value: String,
}

/// A TOML document of every value, with secrets redacted.
#[must_use]
pub fn show_values(config: &Config) -> String {
    document(config, |line, _| line)
}

/// A TOML document of every value in effect, with the origin of each behind it. Secrets are redacted.
#[must_use]
pub fn show(loaded: &Loaded) -> String {
    document(&loaded.config, |line, key| match loaded.origins.get(key) {
        Some(origin) => format!("{line:<60} # {origin}"),
        None => format!("{line:<60} # default"),
    })
}

fn document(config: &Config, written: impl Fn(String, &str) -> String) -> String {
    let mut out = String::new();
    let mut current = String::new();
    for Shown { section, name, value } in config.shown() {
        if section != current {
            let gap = if current.is_empty() { "" } else { "\n" };
            let _ = writeln!(out, "{gap}[{}]", header(&section));
        }
        let line = written(format!("{name} = {value}"), &format!("{section}.{name}"));
        let _ = writeln!(out, "{line}");
        current = section;
    }
    out
}

/// A name of the operator's may have dots, which divide tables in TOML.
fn header(section: &str) -> String {
    match section.split_once('.') {
        Some((several, name)) if name.contains('.') => format!("{several}.{}", quoted(name)),
        _ => section.to_owned(),
    }
}
