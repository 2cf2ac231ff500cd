//! Whether the servers in the ICE lists work.

use super::{minutes, seconds};
use crate::config::types::{FilePath, ProbeOwn};
use crate::config::value::Between;
use std::time::Duration;

section! {
    /// Every STUN and TURN URL that the ICE lists may hold is asked for what a client would ask it, again and again: a binding, or an
    /// allocation that is ended at once. One that does not work leaves the lists until it does (docs/probes.md). Lists are never left
    /// without a TURN server for that.
    Probes as "probes" {
        /// Probes servers of others: `ice.extra`, those of realms, and all others that the lists may hold.
        servers: bool = true;
        /// Probes this server's own URLs. `auto`: where the lists hold a TURN server of somebody else, which could stand in for it, and those under
        /// `fleet.host`, which other replicas give to their rooms as long as this one says that they work.
        own: ProbeOwn = ProbeOwn::Auto;
        /// Between two probes of one URL, a fifth more or less at random.
        ///
        /// A dead server is out of the lists after at most 1.2 times this and twice `timeout`, times `failures`. Lowering it finds it sooner, and is
        /// more work for all servers: from each replica, and for each URL.
        interval: Duration = seconds(15), Between(seconds(1), minutes(10));
        /// How long the name may take to be looked up, and then the server to answer.
        ///
        /// Raising it forgives slow servers, and finds silent ones later.
        timeout: Duration = seconds(5), Between(Duration::from_millis(100), seconds(30));
        /// Failed probes in a row that put a URL out of the lists.
        failures: u32 = 3, Between(1, 100);
        /// Probes in a row that have to work before it is back. Twice as many each time, up to 16 times, where it dies again within `calm`.
        successes: u32 = 2, Between(1, 100);
        /// How long a URL has to work until its earlier deaths are forgotten.
        calm: Duration = minutes(10), Between(Duration::ZERO, minutes(24 * 60));
        /// Probes at once.
        ///
        /// Each holds a socket for each address of its name, four at most.
        concurrency: usize = 8, Between(1, 64);
        /// A PEM file with certificates that probes of `turns:` and `stuns:` URLs believe beside those of this machine. Browsers believe
        /// others: a URL whose certificate they refuse works for nobody but the probe.
        ca: Option<FilePath> = None;
    }
}
