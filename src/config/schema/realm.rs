//! A tenant: what it mints with, what it may hold, whom it may reach, what its clients are told.

use super::relay::{MOST_BYTES, is_realm};
use super::web::are_long;
use super::{Config, hours, minutes};
use crate::config::types::{ByteSize, ExtraServer, HostName, Rate, SecretText, StaticUser};
use crate::config::value::{Between, Must};
use crate::credentials::key_ring::MAX_SECRETS;
use ipnet::IpNet;
use std::time::Duration;

fn is_lifetime(time: &Option<Duration>) -> bool {
    time.is_none_or(|time| (minutes(1)..=hours(48)).contains(&time))
}

fn is_bound(number: &Option<u32>) -> bool {
    number.is_none_or(|number| (1..=1_000_000).contains(&number))
}

fn is_size(size: &Option<ByteSize>) -> bool {
    size.is_none_or(|size| size <= MOST_BYTES)
}

impl Realm {
    /// How long its credentials last, and at most.
    pub(crate) fn lifetimes(&self, config: &Config) -> (Duration, Duration) {
        let credentials = &config.credentials;
        let max_ttl = self.max_ttl.unwrap_or(credentials.max_ttl);
        // A longest time of its own bounds the common default, too.
        let ttl = self.ttl.unwrap_or_else(|| credentials.ttl.min(max_ttl));
        (ttl, max_ttl)
    }
}

section! {
    /// A tenant, called NAME: its users come as `<expiry>:<user>@NAME`, with passwords from its own secrets. What has no value
    /// here is as it is for everybody; the limits of the process hold for all realms together (docs/realms.md).
    ///
    /// NAME has up to 63 lower-case letters, digits, `-`, `_` and `.`; in a variable it can have letters and digits only.
    Realm as "realms.NAME" {
        /// Shared secrets, at most 8. The first one mints, every one verifies: to rotate, put a new one in front; with several
        /// replicas first below it, until all know it (docs/scaling.md).
        ///
        /// They open nothing but this realm, and no other secret opens it. Without any, only `users` are let in.
        secrets: Vec<SecretText> = Vec::new(), Must("at most 8 secrets", |secrets: &Vec<SecretText>| secrets.len() <= MAX_SECRETS);
        /// Users with fixed passwords. A user `carol` comes as `carol@NAME`.
        users: Vec<StaticUser> = Vec::new();
        /// A REALM of its own that its clients may use in place of `relay.realm`. Challenges carry `relay.realm` as ever: who
        /// will answer one is not known yet.
        realm: Option<String> = None, Must("1 to 127 characters without quotes", |realm: &Option<String>| realm.as_ref().is_none_or(|realm| is_realm(realm)));
        /// Bearer tokens that fetch credentials of this realm from `/api/ice-servers`, at least 32 characters each. Every one
        /// opens, so that they can be rotated.
        ///
        /// They are for the tenant's own servers: a holder mints for any user of the realm.
        tokens: Vec<SecretText> = Vec::new(), Must("tokens of at least 32 characters", |tokens: &Vec<SecretText>| are_long(tokens));
        /// Credentials that all holders of its tokens together may fetch in the long run; `"0/s"` is no limit. It counts in
        /// place of `http.rate`, which is for each client address.
        rate: Rate = Rate::per_second(100);
        /// Credentials that they may fetch at once before `rate` counts.
        burst: u32 = 1000, Between(1, 100_000);
        /// As `credentials.ttl`.
        ttl: Option<Duration> = None, Must("between \"1m\" and \"48h\"", is_lifetime);
        /// As `credentials.max_ttl`.
        max_ttl: Option<Duration> = None, Must("between \"1m\" and \"48h\"", is_lifetime);
        /// Hosts to advertise in place of those of `ice.host`.
        host: Vec<HostName> = Vec::new();
        /// Servers to add to the list of this realm. Those of `ice.extra` are not in it.
        ice_servers: Vec<ExtraServer> = Vec::new();
        /// Networks to open for this realm that are closed by default. What `peers.allow` opens is closed to it.
        ///
        /// Its clients then reach every UDP service in them.
        allow: Vec<IpNet> = Vec::new();
        /// Networks to close for this realm, with those of `peers.deny`. Wins over `allow`.
        deny: Vec<IpNet> = Vec::new();
        /// Allocations of the realm in this process, within `limits.allocations`. Beyond it: 486.
        allocations: Option<u32> = None, Must("between 1 and 1000000", is_bound);
        /// As `limits.allocations_per_user`.
        allocations_per_user: Option<u32> = None, Must("between 1 and 1000000", is_bound);
        /// As `limits.allocation_bytes_per_second`; 0 is no limit.
        allocation_bytes_per_second: Option<ByteSize> = None, Must("at most 1 TB", is_size);
        /// As `limits.allocation_byte_burst`. Not set: what a tenth of a second brings, where the realm has the limit.
        allocation_byte_burst: Option<ByteSize> = None, Must("at most 1 TB", is_size);
        /// As `limits.allocation_packets_per_second`; 0 is no limit.
        allocation_packets_per_second: Option<u32> = None;
        /// As `limits.allocation_packet_burst`. Not set: what a tenth of a second brings, where the realm has the limit.
        allocation_packet_burst: Option<u32> = None;
        /// As `limits.user_bytes_per_second`; 0 is no limit.
        user_bytes_per_second: Option<ByteSize> = None, Must("at most 1 TB", is_size);
        /// As `limits.user_byte_burst`. Not set: what a tenth of a second brings, where the realm has the limit.
        user_byte_burst: Option<ByteSize> = None, Must("at most 1 TB", is_size);
        /// As `limits.user_packets_per_second`; 0 is no limit.
        user_packets_per_second: Option<u32> = None;
        /// As `limits.user_packet_burst`. Not set: what a tenth of a second brings, where the realm has the limit.
        user_packet_burst: Option<u32> = None;
        /// Bytes of payload that the realm may relay in a second, in each direction on its own; 0 is no limit. It counts beside
        /// `limits.total_bytes_per_second`.
        total_bytes_per_second: ByteSize = ByteSize(0), Between(ByteSize(0), MOST_BYTES);
        /// Bytes of that which may pass at once; 0 is what a tenth of a second brings.
        total_byte_burst: ByteSize = ByteSize(0), Between(ByteSize(0), MOST_BYTES);
        /// Packets that the realm may relay in a second, in each direction on its own; 0 is no limit.
        total_packets_per_second: u32 = 0;
        /// Packets of that which may pass at once; 0 is what a tenth of a second brings.
        total_packet_burst: u32 = 0;
    }
}
