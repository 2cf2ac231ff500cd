//! What probes found of the servers in the ICE lists.

use crate::credentials::UnixTime;
use crate::telemetry::labels::{ProbeFault, RecordKind};

/// A server in the lists is left out, or back. Both are of the operator's configuration: nothing here names a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerEvent {
    /// When.
    pub at: UnixTime,
    /// [`RecordKind::RelayDown`] or [`RecordKind::RelayUp`].
    pub kind: RecordKind,
    /// As it stands in lists.
    pub url: Box<str>,
    /// Its name in the configuration.
    pub server: Box<str>,
    /// Why it is out.
    pub reason: Option<ProbeFault>,
}
