//! The limit of open files: each allocation owns a socket, and the usual soft limit of 1,024 is 1,000 clients.

use std::sync::Arc;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::Config;
use crate::turn;

/// Raises the soft limit to the hard one. Returns how many descriptors this process may have open; `None`: no bound.
///
/// A process that may not do this keeps what it has.
pub(crate) fn raise_open_files() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return limit.current;
    }
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => raised.current,
        Err(error) => {
            tracing::warn!(%error, limit = ?limit.current, "cannot raise the limit of open files");
            limit.current
        }
    }
}

/// Descriptors that are not for relay sockets: listeners, hand-over, the web server and its connections.
const OTHERS: u64 = 256;

/// Streams that may be open at once: as many as configured, and no more than an eighth of all descriptors, so that
/// connections that cost nothing to open cannot take those of allocations, of the health check and of the metrics.
pub(crate) fn streams(open_files: Option<u64>, configured: usize) -> usize {
    let room = open_files.map_or(usize::MAX, |all| usize::try_from(all / 8).unwrap_or(usize::MAX));
    configured.min(room)
}

/// How many of the allocations that `core` allows there is room for, with a limit of so many open files.
pub fn allocations_within(open_files: Option<u64>, config: &Config, core: &turn::Config) -> u32 {
    let streams = streams(open_files, config.streams.connections);
    within(open_files, streams, &Arc::new(core.clone())).limits.allocations
}

/// `core` with no more allocations, reservations and data connections than `open_files` leaves room for beside so many `streams`. Relay sockets that take the last
/// descriptor take the health check and the metrics away with it, and a supervisor would end every call for that.
pub(crate) fn within(open_files: Option<u64>, streams: usize, core: &Arc<turn::Config>) -> Arc<turn::Config> {
    let Some(open_files) = open_files else {
        return Arc::clone(core);
    };
    let limits = core.limits;
    // A data connection's client half is a stream; its peer half is not.
    let connections = match core.tcp_relay {
        true => u64::from(limits.connections).min(open_files / 8),
        false => 0,
    };
    let room = open_files - OTHERS.min(open_files / 2) - streams as u64 - connections;
    let families = core.relay_addrs.len().clamp(1, 2) as u64;
    let reservations = u64::from(limits.reservations).min(room / 8);
    let allocations = u64::from(limits.allocations).min((room - reservations) / families);
    let is_within = (allocations, reservations) == (limits.allocations.into(), limits.reservations.into());
    if is_within && (!core.tcp_relay || connections == u64::from(limits.connections)) {
        return Arc::clone(core);
    }
    let mut bounded = turn::Config::clone(core);
    if core.tcp_relay {
        bounded.limits.connections = connections as u32;
    }
    bounded.limits.allocations = allocations as u32;
    bounded.limits.reservations = reservations as u32;
    Arc::new(bounded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::turn::RelayAddr;

    #[test]
    fn relay_sockets_leave_descriptors_to_others() {
        let core = Arc::new(turn::Config {
            relay_addrs: vec![
                RelayAddr::same([127, 0, 0, 1].into()),
                RelayAddr::same([0_u16; 8].into()),
            ],
            ..turn::Config::default()
        });
        let limits = |open_files| {
            let limits = within(open_files, 0, &core).limits;
            (limits.allocations, limits.reservations)
        };
        assert_eq!(limits(None), (20_000, 500));
        // Two sockets for each allocation of both families, one for each reservation.
        assert_eq!(limits(Some(40_756)), (20_000, 500));
        assert_eq!(limits(Some(40_755)), (19_999, 500));
        assert_eq!(limits(Some(1024)), (336, 96));
        assert_eq!(limits(Some(64)), (14, 4));
        assert_eq!(limits(Some(0)), (0, 0));
    }

    #[test]
    fn streams_take_an_eighth_of_the_descriptors_at_most() {
        assert_eq!(streams(None, 20_000), 20_000);
        assert_eq!(streams(Some(160_000), 20_000), 20_000);
        assert_eq!(streams(Some(159_992), 20_000), 19_999);
        assert_eq!(streams(Some(1024), 20_000), 128);
        assert_eq!(streams(Some(0), 20_000), 0);
        let core = Arc::new(turn::Config {
            relay_addrs: vec![RelayAddr::same([127, 0, 0, 1].into())],
            ..turn::Config::default()
        });
        let with = |streams| within(Some(1024), streams, &core).limits.allocations;
        assert_eq!((with(0), with(128)), (672, 560));
    }

    #[test]
    fn data_connections_take_an_eighth_of_the_descriptors_at_most_and_none_when_they_are_off() {
        let limits = |tcp_relay, open_files| {
            let core = Arc::new(turn::Config {
                tcp_relay,
                relay_addrs: vec![RelayAddr::same([127, 0, 0, 1].into())],
                ..turn::Config::default()
            });
            let limits = within(Some(open_files), 0, &core).limits;
            (limits.allocations, limits.connections)
        };
        assert_eq!(limits(true, 32_000), (20_000, 4_000));
        assert_eq!(limits(true, 31_992), (20_000, 3_999));
        assert_eq!(limits(true, 1024), (560, 128));
        assert_eq!(limits(false, 1024), (672, 4_000));
    }

    #[test]
    fn afterwards_the_soft_limit_is_the_hard_one() {
        let reported = raise_open_files();
        let limit = getrlimit(Resource::Nofile);
        assert_eq!((limit.current, reported), (limit.maximum, limit.maximum));
    }
}
