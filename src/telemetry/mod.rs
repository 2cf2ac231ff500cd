//! What the process tells about itself: metrics, logs, what it was built from.
//!
//! What it is: the one place where metrics are declared ([`metrics::table`]), where the log is installed ([`logging`]) and
//! where things are named that must not be shown ([`redact`]).
//! What it is not: known to the cores. `turn` and `signaling` count in plain integers; this module knows their `Stats`,
//! they do not know it.
//!
//! Invariants: label sets are closed ([`labels`]); no secret, address, room or user is in a metric.

pub mod build_info;
#[cfg(test)]
mod captured;
pub mod driver_stats;
pub mod labels;
pub mod logging;
pub mod metrics;
pub mod redact;
pub mod repeats;

pub use driver_stats::{
    DriverStats, DtlsEnd, DtlsPhase, DtlsRefusal, SendFailure, StreamEnd, StreamKind, StreamRefusal,
};
pub use metrics::{
    AccountTotals, ApiMetrics, AuthMetrics, BackplaneMetrics, EventMetrics, FleetSlot, FrontMetrics, HubSlot,
    KeyMetrics, Metrics, ProbeMetrics, Readiness, RealmTotals, ShardSlot, UsageMetrics,
};
