//! What an operator may choose about accounting. Plain values.

use std::path::PathBuf;
use std::time::Duration;

/// Where records go, and how many there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where the files are. Default nowhere: records are told as events alone.
    pub directory: Option<PathBuf>,
    /// What one record covers, at most. Default 5 min.
    pub interval: Duration,
    /// For how many days files are kept; 0 for ever. Default 400.
    pub retention_days: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            directory: None,
            interval: Duration::from_secs(300),
            retention_days: 400,
        }
    }
}
