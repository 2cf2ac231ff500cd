//! Every key there is: its words, type, default and bounds, once.
//!
//! Where a module has a default for the same thing it is the same one; a test in `apply` ties the two.

mod backplane;
mod dtls;
mod events;
mod fleet;
mod hub;
mod key;
mod lists;
mod nat_discovery;
mod probes;
mod realm;
mod relay;
mod streams;
mod third_party;
mod tls;
mod usage;
mod web;

pub use backplane::Backplane;
pub use dtls::Dtls;
pub use events::Events;
pub use fleet::Fleet;
pub use hub::Signaling;
pub use key::ApiKey;
pub use lists::{List, Server};
pub use nat_discovery::NatDiscovery;
pub use probes::Probes;
pub use realm::Realm;
pub use relay::{Credentials, Limits, Peers, Relay};
pub use streams::Streams;
pub use third_party::ThirdParty;
pub use tls::Tls;
pub use usage::Usage;
pub use web::{Admin, Auth, Http, Ice, Metrics};

use super::types::{LogAddresses, LogFormat, LogOutput};
use super::value::{Between, Must};
use crate::http::keys::MAX_KEYS;
use crate::http::lists::config::{MAX_LISTS, MAX_SERVERS};
use crate::turn::MAX_REALMS;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

const fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

const fn minutes(n: u64) -> Duration {
    seconds(n * 60)
}

const fn hours(n: u64) -> Duration {
    minutes(n * 60)
}

fn everywhere(port: u16) -> Vec<SocketAddr> {
    vec![
        SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)),
        SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)),
    ]
}

section! {
    /// What is written about what happens (docs/logging.md).
    Log as "log" {
        /// `error`, `warn`, `info`, `debug` or `trace`, or a filter such as `"info,meetpoint::turn=debug"`.
        ///
        /// Addresses of clients appear at `debug` and below only, and in events (`events.log`).
        level: String = "info".to_owned(), Must("a level or a filter of levels", |filter: &String| is_filter(filter));
        /// How lines look.
        format: LogFormat = LogFormat::Auto;
        /// Where lines go. What greets a person at a terminal, and errors before the log is open, go to standard error in any case.
        output: LogOutput = LogOutput::Stderr;
        /// How much of a client's or peer's address a line shows: its network (/24, /48), all of it, or nothing.
        ///
        /// Lines of the audit trail (`meetpoint::audit`) name operators' addresses in full in any case.
        addresses: LogAddresses = LogAddresses::Network;
        /// Lines from `info` up that one place in the program may write in ten seconds; what comes beyond is counted and told of in
        /// one line. Events, the audit trail, and what start, reload and stop say are never held back. 0 writes everything: then
        /// whoever can make the program warn can fill the disk.
        burst: u32 = 20, Between(0, 1_000_000);
    }
}

/// Stricter than the filter itself, which takes any word for the name of a module and then logs nothing.
fn is_filter(filter: &str) -> bool {
    let is_level = |word: &str| ["off", "error", "warn", "info", "debug", "trace"].contains(&word);
    filter
        .split(',')
        .map(str::trim)
        .all(|directive| match directive.split_once('=') {
            Some((target, level)) => !target.is_empty() && is_level(level),
            None => is_level(directive),
        })
}

sections! {
    /// The whole configuration.
    Config {
        http: Http,
        relay: Relay,
        streams: Streams,
        tls: Tls,
        dtls: Dtls,
        limits: Limits,
        peers: Peers,
        nat_discovery: NatDiscovery,
        credentials: Credentials,
        third_party: ThirdParty,
        ice: Ice,
        probes: Probes,
        auth: Auth,
        signaling: Signaling,
        backplane: Backplane,
        fleet: Fleet,
        admin: Admin,
        events: Events,
        usage: Usage,
        metrics: Metrics,
        log: Log,
    }
    several {
        realms: Realm, at most MAX_REALMS;
        keys: ApiKey, at most MAX_KEYS;
        servers: Server, at most MAX_SERVERS;
        lists: List, at most MAX_LISTS;
    }
}
