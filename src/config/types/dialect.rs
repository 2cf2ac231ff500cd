//! Where which dialect of the hub is spoken.

use crate::config::value::{Fault, Raw, Value, quoted};
use crate::signaling::Dialect;

/// A path of the web server and what clients speak there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DialectPath {
    /// Begins with a slash.
    pub path: String,
    /// What is spoken there.
    pub dialect: Dialect,
}

/// The dialect of that name.
pub(super) fn named(name: &str) -> Option<Dialect> {
    Dialect::ALL.iter().find(|dialect| dialect.as_label() == name).copied()
}

impl Value for DialectPath {
    fn expects() -> String {
        let names: Vec<_> = Dialect::ALL.iter().map(|dialect| dialect.as_label()).collect();
        format!("`\"/path=dialect\"`, where the dialect is one of {}", names.join(", "))
    }

    fn from_raw(raw: &Raw) -> Result<Self, Vec<Fault>> {
        let text = raw.text()?;
        let Some((path, name)) = text.split_once('=') else {
            return Err(raw.fault("a path, an equals sign and a dialect are needed"));
        };
        let (path, name) = (path.trim(), name.trim());
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-_.".contains(&byte);
        if !path.starts_with('/') || !path.bytes().all(plain) {
            return Err(raw.fault("a path begins with a slash and has letters, digits, `-`, `_`, `.` and slashes"));
        }
        let dialect = named(name).ok_or_else(|| raw.fault("no such dialect"))?;
        Ok(Self {
            path: path.to_owned(),
            dialect,
        })
    }

    fn to_toml(&self) -> String {
        quoted(format_args!("{}={}", self.path, self.dialect.as_label()))
    }
}
