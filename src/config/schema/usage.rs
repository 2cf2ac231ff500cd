//! What tenants used, written down.

use super::{hours, minutes, seconds};
use crate::config::types::FilePath;
use crate::config::value::Between;
use std::time::Duration;

section! {
    /// What each tenant used, as records to make bills of (docs/usage.md): lines of JSON in a file for each UTC day, and events of
    /// the kind `usage`.
    Usage as "usage" {
        /// Where the files are: `usage-2026-11-21.jsonl` and so on. The directory is made if it is not there. Not set: records are
        /// told as events alone.
        ///
        /// Files are for the owner to write and for the group to read (0640). One process writes to a directory at a time.
        directory: Option<FilePath> = None;
        /// What one record covers, at most: intervals end at multiples of it from midnight (UTC) on, and at midnight.
        ///
        /// A crash loses what was used since the last one ended. Shorter loses less and writes more: some 700 bytes for each tenant
        /// that is active.
        interval: Duration = minutes(5), Between(seconds(1), hours(24));
        /// Count what the credentials of each API key use, beside what they were issued: their usernames begin with the name of the key and
        /// `!` then (docs/usage.md).
        ///
        /// Whoever sees a username sees the name of the key. Costs a worker some 400 bytes for each key.
        keys: bool = false;
        /// For how many days files are kept; 0 for ever.
        retention_days: u32 = 400, Between(0, 36_500);
    }
}
