//! Defaults < TOML file < environment < flags; every error at once.
//!
//! What it is: the one place that knows how an operator writes things down. Each key is declared once, in
//! [`schema`], with its words, type, default and bounds; the struct, its `Default`, parsing, validation, the command
//! line flag, `meetpoint config show` and the reference page all come from that declaration.
//! What it is not: it opens no listener, keeps no state and reads no environment by itself. The environment, the
//! flags and the reader for secret files are handed in as values ([`Sources`]), so a test fixes all of them.
//!
//! Invariants: a [`Config`] that exists has passed every check; a secret is never printed, in no error and by no
//! command; an unknown key is an error in every source, because a typo in a limit is a limit that does not hold.

mod apply;
mod check;
#[macro_use]
mod declare;
pub mod detect;
mod discovery;
mod docs;
mod live;
mod load;
mod problem;
mod redirect;
pub mod schema;
mod show;
mod source;
mod suggest;
pub mod types;
pub mod value;

#[cfg(test)]
mod tests;

pub use apply::{RelayListeners, Settings, advertised};
pub use docs::{README_KEYS, reference, summary};
pub use live::{Changes, is_live};
pub use load::{Loaded, load};
pub use problem::{Origin, Problem, Problems};
pub use schema::Config;
pub use show::{Shown, show, show_values};
pub use source::{ENV_PREFIX, File, Sources};

/// One key as its declaration describes it.
#[derive(Debug, Clone)]
pub struct Key {
    /// The section it belongs to, for example `relay`.
    pub section: &'static str,
    /// Its name inside the section, for example `port_range`.
    pub name: &'static str,
    /// The lines of its documentation.
    pub doc: &'static [&'static str],
    /// What a value looks like.
    pub expects: String,
    /// The default, as it would be written in the file.
    pub default: String,
    /// The bounds of the value, in words.
    pub bounds: Option<String>,
    /// Whether the value is a secret, which also allows `<name>_file`.
    pub secret: bool,
}

impl Key {
    /// `section.name`.
    #[must_use]
    pub fn path(&self) -> String {
        format!("{}.{}", self.section, self.name)
    }

    /// The environment variable of this key.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("{ENV_PREFIX}{}__{}", self.section.replace('.', "__"), self.name).to_uppercase()
    }

    /// Whether the section has a name of the operator's: no flag is declared for what is not known beforehand.
    #[must_use]
    pub fn is_named(&self) -> bool {
        self.section.contains('.')
    }

    /// The command line flag of this key, without the dashes. For a secret it takes a file: every user of a machine can
    /// read the command lines of all others.
    #[must_use]
    pub fn flag(&self) -> String {
        let file = if self.secret { "-file" } else { "" };
        format!("{}-{}{file}", self.section, self.name).replace('_', "-")
    }

    /// The first sentence of its documentation, without the full stop.
    #[must_use]
    pub fn sentence(&self) -> String {
        let lines: Vec<&str> = self
            .doc
            .iter()
            .map(|line| line.trim())
            .take_while(|line| !line.is_empty())
            .collect();
        let text = lines.join(" ");
        let end = text
            .match_indices(". ")
            .map(|(at, _)| at)
            .find(|at| text[at + 2..].starts_with(char::is_uppercase));
        text[..end.unwrap_or(text.len())].trim_end_matches('.').to_owned()
    }
}

/// A section as its declaration describes it.
#[derive(Debug, Clone)]
pub struct Section {
    /// The name between the brackets.
    pub name: &'static str,
    /// The lines of its documentation.
    pub doc: &'static [&'static str],
    /// Its keys in the order of the declaration.
    pub keys: Vec<Key>,
}
