//! Accounting: what each tenant used, written down so that bills can be made of it.
//!
//! What it is: a thread that takes the counters that `/metrics` shows, and at the end of each interval makes a record of what was
//! added since: one line of JSON for each tenant, appended to the file of its UTC day and told as an event `usage`. [`account`]
//! works the records out, without a clock or a file; [`store`] keeps them; [`sum`] reads them again.
//! What it is not: a count of its own. Whatever a record says is the difference of two readings of the relay's counters, so that
//! all records together are those counters.
//!
//! Invariants:
//! - Nothing is counted twice and nothing is left out, whatever the clock, the disk or a reload does: readings only grow, and a
//!   reading is left behind by exactly one record.
//! - A record has an id of its own, the same in the file and in the event.
//! - What cannot be written waits, within a bound; at the bound intervals grow longer, and nothing is lost.
//! - A line that a crash has torn is cut off at the next start, and nothing else is ever changed in a file.
//! - No address and no user is in a record.

pub mod account;
pub mod config;
pub mod day;
pub mod record;
pub mod store;
pub mod sum;
mod thread;

pub use account::{Account, At};
pub use config::Config;
pub use record::{Counters, Record};
pub use thread::{Source, Usage};
