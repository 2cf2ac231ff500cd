//! What an operator may choose about probes. Plain values.

use std::path::PathBuf;
use std::time::Duration;

use super::health::Rules;

/// Most URLs that are probed. Lists of more servers than that are no lists for browsers.
pub const MAX_TARGETS: usize = 256;

/// What is probed, how often, and what it takes to be dead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Servers of others. Default yes.
    pub servers: bool,
    /// This server's own URLs. Default [`Own::Auto`].
    pub own: Own,
    /// Between two probes of one URL; each is earlier or later by up to a fifth. Default 15 s. Shorter finds a dead server sooner, and
    /// is more work for it.
    pub interval: Duration,
    /// How long one may take. Default 5 s.
    pub timeout: Duration,
    /// When a judgement changes.
    pub rules: Rules,
    /// Probes at once. Default 8.
    pub at_once: usize,
    /// A PEM file of certificates that are believed beside those of this machine. Default none.
    pub authorities: Option<PathBuf>,
}

/// Whether this server probes itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Own {
    /// Where the lists hold another TURN server: without one there is nothing to leave out. And what other replicas are told of.
    Auto,
    /// In any case.
    On,
    /// Never.
    Off,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            servers: true,
            own: Own::Auto,
            interval: Duration::from_secs(15),
            timeout: Duration::from_secs(5),
            rules: Rules::default(),
            at_once: 8,
            authorities: None,
        }
    }
}
