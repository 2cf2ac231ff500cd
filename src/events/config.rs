//! What an operator may choose about events. Plain values.

use std::fmt;
use std::time::Duration;

use zeroize::Zeroizing;

pub use crate::outbound::Url;
use crate::telemetry::labels::RecordKind;
use crate::telemetry::redact::Addresses;

/// Who is told what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Write events to the log. Default no: they name clients.
    pub log: bool,
    /// How much of addresses stands there. Default their networks.
    pub log_addresses: Addresses,
    /// Receivers by HTTP. Default none.
    pub hooks: Vec<Hook>,
    /// Bounds of what waits for one of them.
    pub queue: Queue,
    /// How long a delivery is tried again before it is given up. Default 15 min. Longer rides out longer outages as far as the
    /// queue goes.
    pub retry_for: Duration,
    /// Listeners to the admin stream at once. Default 16.
    pub subscribers: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            log: false,
            log_addresses: Addresses::Network,
            hooks: Vec::new(),
            queue: Queue::default(),
            retry_for: Duration::from_secs(900),
            subscribers: 16,
        }
    }
}

/// Bounds of what waits for one webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queue {
    /// Events. Default 20 000.
    pub events: usize,
    /// Bytes of them, as JSON. Default 16 MiB.
    pub bytes: usize,
}

impl Default for Queue {
    fn default() -> Self {
        Self {
            events: 20_000,
            bytes: 16 << 20,
        }
    }
}

/// One webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    /// Where to. `http` or `https`, without user and password.
    pub url: Url,
    /// Signs deliveries.
    pub secret: Secret,
    /// What it is told.
    pub kinds: Kinds,
    /// Most events of one delivery. Default 100.
    pub batch: usize,
    /// How long an event waits for others to go with. Default 1 s.
    pub interval: Duration,
    /// How long a receiver may take to answer. Default 10 s.
    pub timeout: Duration,
}

/// A webhook's secret. Printed as `[redacted]`, wiped on drop.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes the secret's bytes as they are.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(Zeroizing::new(bytes.into()))
    }

    /// The bytes, for the one place that signs.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// A set of kinds of events.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Kinds(u32);

impl Kinds {
    /// Every kind.
    pub const ALL: Self = Self(u32::MAX);
    /// None.
    pub const NONE: Self = Self(0);

    /// With one more.
    #[must_use]
    pub const fn and(self, kind: RecordKind) -> Self {
        Self(self.0 | 1 << kind.index())
    }

    /// Without one.
    #[must_use]
    pub const fn without(self, kind: RecordKind) -> Self {
        Self(self.0 & !(1 << kind.index()))
    }

    /// Whether a kind is in it.
    #[must_use]
    pub const fn has(self, kind: RecordKind) -> bool {
        self.0 & 1 << kind.index() != 0
    }

    /// Reads their words, separated by commas; the first word that is none otherwise.
    ///
    /// # Errors
    /// The word that names no kind.
    pub fn parse(text: &str) -> Result<Self, &str> {
        let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
        words.into_iter().try_fold(Self::NONE, |kinds, word| {
            let kind = RecordKind::ALL.into_iter().find(|kind| kind.as_label() == word);
            kind.map(|kind| kinds.and(kind)).ok_or(word)
        })
    }

    /// Their words.
    pub fn words(self) -> impl Iterator<Item = &'static str> {
        let kinds = RecordKind::ALL.into_iter().filter(move |kind| self.has(*kind));
        kinds.map(RecordKind::as_label)
    }
}

impl fmt::Debug for Kinds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.words()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_shown() {
        assert_eq!(format!("{:?}", Secret::new("hunter2")), "[redacted]");
    }

    #[test]
    fn kinds_are_read_by_their_words() {
        let kinds = Kinds::parse("closed, created").unwrap();
        assert_eq!(kinds.words().collect::<Vec<_>>(), ["created", "closed"]);
        assert_eq!(Kinds::parse("created,opened"), Err("opened"));
        assert!(!Kinds::ALL.without(RecordKind::Refreshed).has(RecordKind::Refreshed));
    }
}
