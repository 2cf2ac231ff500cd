//! API keys as they are written down: digests, scopes, and when one ends.

use crate::config::value::{Fault, Raw, RawValue, Value, quoted};
use crate::credentials::UnixTime;
use crate::http::keys::{Form, from_rfc3339, to_rfc3339};
use crate::http::{KeyHash, Scope, keys};

/// The digest of an API key, as `sha256:` and 64 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyDigest(pub KeyHash);

impl Value for KeyDigest {
    /// No secret, where keys are long; but it may come from a file, and whoever brought a short key along is not exposed.
    const SECRET: bool = true;

    fn expects() -> String {
        "the digest of a key as `\"sha256:<64 hexadecimal digits>\"`, which `meetpoint keys make` prints".into()
    }

    fn from_raw(raw: &Raw) -> Result<Self, Vec<Fault>> {
        let text = raw.text()?;
        if let Some(hash) = KeyHash::parse(text) {
            return Ok(Self(hash));
        }
        // The text is not repeated: it may be a key.
        if keys::form(text) == Form::Other {
            Err(raw.fault("it is no digest of a key"))
        } else {
            Err(raw.fault_with(
                "this is a key itself, which whoever reads this can use",
                format!("write \"{}\" in its place", KeyHash::of(text).written()),
            ))
        }
    }

    fn to_toml(&self) -> String {
        quoted(format_args!("{}<redacted>", self.0.beginning()))
    }
}

impl Value for Scope {
    fn expects() -> String {
        let names = Self::ALL.map(|scope| format!("`\"{}\"`", scope.name()));
        format!("one of {}", names.join(", "))
    }

    fn from_raw(raw: &Raw) -> Result<Self, Vec<Fault>> {
        let name = raw.text()?;
        let known = Self::ALL.into_iter().find(|scope| scope.name() == name);
        known.ok_or_else(|| raw.fault(format!("`{name}` is not one of the choices")))
    }

    fn to_toml(&self) -> String {
        quoted(self.name())
    }
}

/// A point in time, as RFC 3339 writes it in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Date(pub UnixTime);

impl Value for Date {
    fn expects() -> String {
        "a date in UTC in quotes, such as `\"2027-01-31\"` or `\"2027-01-31T12:00:00Z\"`".into()
    }

    fn from_raw(raw: &Raw) -> Result<Self, Vec<Fault>> {
        if let RawValue::Other(_) = raw.value {
            return Err(raw.fault("a date is written in quotes here"));
        }
        let text = raw.text()?;
        let date = from_rfc3339(text).map(Self);
        date.ok_or_else(|| raw.fault(format!("`{text}` is no date in UTC")))
    }

    fn to_toml(&self) -> String {
        quoted(to_rfc3339(self.0))
    }
}
