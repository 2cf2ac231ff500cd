//! The one capability that may be wanted: to listen below port 1024 without being root.
//!
//! Kubernetes gives a container's capabilities to root alone, and to others only what their program's file carries. The file of our
//! image carries `cap_net_bind_service=p`: permitted, not effective. An effective one could not even be started where the capability
//! is dropped; this one starts everywhere, and is raised here where it was granted.

use rustix::thread::{CapabilitySet, capabilities, set_capabilities};

/// Makes the capability effective, if it is permitted and is not yet. Before there are threads: each has its own.
pub(super) fn raise_bind_service() {
    let Ok(mut sets) = capabilities(None) else { return };
    let wanted = CapabilitySet::NET_BIND_SERVICE;
    if !sets.permitted.contains(wanted) || sets.effective.contains(wanted) {
        return;
    }
    sets.effective.insert(wanted);
    if let Err(error) = set_capabilities(None, sets) {
        tracing::debug!(%error, "CAP_NET_BIND_SERVICE is permitted and cannot be raised");
    }
}
