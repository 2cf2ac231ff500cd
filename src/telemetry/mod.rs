//! Every metric declared once, logging, redaction, build information.

pub mod driver_stats;
pub mod labels;

pub use driver_stats::{DriverStats, SendFailure};
