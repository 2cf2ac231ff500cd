//! What an operator may choose about the relay. Plain values: where they come from is `config`'s business.

use std::fmt;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use zeroize::Zeroize;

use super::nat_discovery::NatDiscovery;
use super::peer_filter::PeerFilter;
use super::realm::RealmConfig;
use super::redirect::Redirect;
use super::revocation::Revocations;
use super::share::ShareNames;
use crate::credentials::{KeyRing, ThirdParty};

/// Configuration of the relay core, shared by all shards. Swap it whole with [`super::Server::reconfigure`].
#[derive(Clone, Debug)]
pub struct Config {
    /// REALM in challenges and in the long-term key (RFC 8489 §14.9). Default `meetpoint`. At most 127 characters; every 401
    /// carries it, so a long one makes the server a better amplifier.
    pub realm: String,
    /// SOFTWARE attribute of authenticated answers. Default none: fewer bytes, fewer hints.
    pub software: Option<String>,
    /// Shared secrets of time-limited credentials. Default none. Each further secret costs one more HMAC and MESSAGE-INTEGRITY
    /// on the first request of a session.
    pub keys: Option<KeyRing>,
    /// Users with a fixed password. Default none.
    pub static_users: Vec<StaticUser>,
    /// Whose access tokens are taken as credentials (RFC 7635). Default nobody's. With it every 401 carries the server's name, so
    /// a long one makes the server a better amplifier. A kid that names a realm, as a username does, belongs to it.
    pub third_party: Option<Arc<ThirdParty>>,
    /// Tenants, each with its own of `keys` and `static_users`, of limits and of peers; at most [`super::MAX_REALMS`]. What stands here is
    /// for usernames that name none of them. Default none: then nothing is looked up for them.
    pub realms: Vec<RealmConfig>,
    /// Parts of realms that are counted apart as well. Default none. Each costs a worker some 400 bytes once it is used, and a packet of
    /// it a few more instructions.
    pub shares: ShareNames,
    /// Offer SHA-256 with PASSWORD-ALGORITHMS (RFC 8489 §14.11). Default on. Adds 12 bytes to a 401. Clients that do not know it
    /// use MD5 as ever.
    pub offer_sha256: bool,
    /// Set the "username anonymity" bit, so that clients of RFC 8489 send USERHASH instead of USERNAME (§9.2.3). Default off:
    /// the username of a time-limited credential cannot be found by its hash, only static users can.
    pub username_anonymity: bool,
    /// Key of the nonces. Share it between replicas, so that a client which is moved need not start again. Default none: the
    /// shard draws its own.
    pub nonce_key: Option<NonceKey>,
    /// How long a nonce lives. Default 600 s. Longer: fewer 438 round trips, a wider window for a replayed request;
    /// three days at most, whatever is said here.
    pub nonce_lifetime: Duration,

    /// Addresses that relay sockets bind, with what clients are told. At least one; the first of each family is used. Default
    /// 127.0.0.1, which is of use on one machine only.
    pub relay_addrs: Vec<RelayAddr>,
    /// Further addresses of this machine (listeners, interfaces). Peers there are never reached through the kernel, unless an
    /// allow rule opens them. The relay addresses are always included.
    pub own_addrs: Vec<IpAddr>,
    /// Ports of relay sockets. Default 49152–65535 (RFC 8656 §7.2). The bound of living relayed addresses per relay address.
    pub relay_ports: RangeInclusive<u16>,
    /// How many ports are tried when others on this machine hold them, before 508. Default 8. Each try is a system call.
    pub bind_attempts: u8,
    /// Grant allocations of TCP (RFC 6062). Default off: 442. With them whoever has a credential connects from here to any TCP
    /// service that [`Config::peers`] does not close, mail servers included, and listens here.
    pub tcp_relay: bool,
    /// The driver can set DF. Default on. Off: DONT-FRAGMENT is answered with 420 (RFC 8656 §7.2 step 4).
    pub dont_fragment: bool,

    /// Lifetime of an allocation whose client asked for none or for less. Default 600 s (RFC 8656 §3.2).
    pub default_lifetime: Duration,
    /// Longest lifetime granted. Default 3600 s (RFC 8656 §7.2). Raising it keeps relays of vanished clients for longer.
    pub max_lifetime: Duration,

    /// Let allocations follow their clients to another address, where a client asks for it (RFC 8016). Default off: 405. On, a
    /// client that loses its stream without a word holds its allocation for up to a minute longer.
    pub mobility: bool,

    /// Bounds.
    pub limits: Limits,
    /// Which peers may be reached by clients of the default realm.
    pub peers: PeerFilter,
    /// Help clients to find out what their NAT does (RFC 5780). Default none: it makes answers longer, and lets them go where
    /// no request came from.
    pub nat_discovery: Option<NatDiscovery>,
    /// Send new allocations to other servers with 300 (RFC 8489 §10): when, and where to. Default none.
    pub redirect: Option<Redirect>,
    /// Refuse new allocations, because the process is about to end: 300 if `redirect` names where to, else 508. Default off.
    pub draining: bool,
    /// Who is turned away at Allocate and Refresh with 403, whatever the credentials. Shared by all clones, and to be handed
    /// on to the next configuration. Default nobody.
    pub revocations: Revocations,
    /// Note [`super::Event`]s for [`super::Server::poll_event`]. Default off. On, an allocation that comes or goes costs some
    /// 100 ns and 300 bytes until it is drained; a relayed packet costs nothing.
    pub events: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            realm: "meetpoint".to_owned(),
            software: None,
            keys: None,
            static_users: Vec::new(),
            third_party: None,
            realms: Vec::new(),
            shares: ShareNames::default(),
            offer_sha256: true,
            username_anonymity: false,
            nonce_key: None,
            nonce_lifetime: Duration::from_secs(600),
            relay_addrs: vec![RelayAddr::same(IpAddr::from([127, 0, 0, 1]))],
            own_addrs: Vec::new(),
            relay_ports: 49152..=65535,
            bind_attempts: 8,
            tcp_relay: false,
            dont_fragment: true,
            default_lifetime: Duration::from_secs(600),
            max_lifetime: Duration::from_secs(3600),
            mobility: false,
            limits: Limits::default(),
            peers: PeerFilter::default(),
            nat_discovery: None,
            redirect: None,
            draining: false,
            revocations: Revocations::default(),
            events: false,
        }
    }
}

/// One address of relay sockets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RelayAddr {
    /// Address to bind.
    pub bind: IpAddr,
    /// Address told to clients, the same behind no NAT. Of the same family as `bind`.
    pub advertised: IpAddr,
}

impl RelayAddr {
    /// Bound and advertised alike.
    pub const fn same(ip: IpAddr) -> Self {
        Self {
            bind: ip,
            advertised: ip,
        }
    }
}

/// Bounds, each counted when it is hit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Allocations of one user in this process, counted by the part of the username after the expiry, by all of it where
    /// nothing follows (486). Default 50. A browser opens one per interface, transport and TURN URL of each connection.
    pub allocations_per_user: u32,
    /// Count each session of the hub for itself, instead of all of its user together. Default no.
    pub count_sessions: bool,
    /// Allocations of one client address (486). Default 500: whole companies share an address. For IPv6, of one prefix.
    pub allocations_per_client: u32,
    /// Prefix length that counts as one IPv4 client. Default 32.
    pub client_prefix_v4: u8,
    /// Prefix length that counts as one IPv6 client. Default 64, what one household has.
    pub client_prefix_v6: u8,
    /// Allocations of the process (508). Default 20,000: about 2.7 KiB of kernel memory, one descriptor and 1.5 KiB here, each.
    pub allocations: u32,
    /// Permissions of one allocation (508). Default 256; 64 bytes each.
    pub permissions_per_allocation: u16,
    /// Channels of one allocation (508). Default 256; 128 bytes each.
    pub channels_per_allocation: u16,
    /// Ports reserved by EVEN-PORT, process-wide (508). Default 500; a socket each, for 30 s. One user holds no more of them
    /// than `allocations_per_user`.
    pub reservations: u32,
    /// Data connections of one TCP allocation, those that wait included (508; a peer's is closed). Default 32; 400 bytes each while
    /// idle, a socket, and twice 64 KiB while one side does not read.
    pub connections_per_allocation: u16,
    /// Data connections of the process (508; a peer's is closed). Default 4,000. One user has a quarter of them and of
    /// `pending_connections` at most, and always as many as one allocation may have.
    pub connections: u32,
    /// Data connections of the process whose peer has not answered or whose client has not bound them, within 30 s (508; a peer's
    /// is closed). Default 1,000.
    pub pending_connections: u32,
    /// Remembered answers to the Refresh that deleted an allocation, per shard; the oldest makes room. Default 4096; 200 bytes
    /// each, for 40 s.
    pub retransmit_cache: u32,
    /// Answers per second to requests without valid credentials, Binding among them, per client address (or IPv6 prefix) and shard; more are dropped.
    /// Default 200. A 401 is 84 bytes, 3 times the shortest request of a real client and 4.2 times a bare header, so this is what
    /// a spoofed source can be hit with. 0: no limit.
    pub unauthenticated_per_second: u16,
    /// What one allocation may relay. Default: as much as it can.
    pub allocation_rate: RateLimit,
    /// What all allocations of one user in this process may relay together. Default: as much as they can.
    pub user_rate: RateLimit,
    /// What this process may relay. Default: as much as it can. Each worker draws on it in slices of at most 1/20 second's worth
    /// divided by the number of workers, so in any time `t` between `rate × t` and `burst + rate × (t + 1/20 s)` passes.
    pub total_rate: RateLimit,
}

/// How much payload may be relayed, in each of the two directions on its own. Bytes are those that
/// `meetpoint_relay_payload_bytes_total` counts: without STUN, ChannelData, UDP and IP headers. What is beyond is dropped, as a
/// slow line would do, and counted; a packet counts against every limit or against none.
///
/// In any time `t` no more than `burst + rate × t` passes. A limit costs some 10 ns for each packet, none costs nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RateLimit {
    /// Bytes in a second; 0: no limit.
    pub bytes_per_second: u64,
    /// Bytes that may pass at once. 0: what comes in a tenth of a second. Never less than 64 KiB, the largest datagram.
    pub byte_burst: u64,
    /// Packets in a second; 0: no limit.
    pub packets_per_second: u64,
    /// Packets that may pass at once. 0: what comes in a tenth of a second. Never less than 1.
    pub packet_burst: u64,
}

impl RateLimit {
    /// No limit.
    pub const NONE: Self = Self {
        bytes_per_second: 0,
        byte_burst: 0,
        packets_per_second: 0,
        packet_burst: 0,
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            allocations_per_user: 50,
            count_sessions: false,
            allocations_per_client: 500,
            client_prefix_v4: 32,
            client_prefix_v6: 64,
            allocations: 20_000,
            permissions_per_allocation: 256,
            channels_per_allocation: 256,
            reservations: 500,
            connections_per_allocation: 32,
            connections: 4_000,
            pending_connections: 1_000,
            retransmit_cache: 4096,
            unauthenticated_per_second: 200,
            allocation_rate: RateLimit::NONE,
            user_rate: RateLimit::NONE,
            total_rate: RateLimit::NONE,
        }
    }
}

/// A user with a fixed password. The password is not printed.
#[derive(Clone)]
pub struct StaticUser {
    /// USERNAME, already prepared with OpaqueString if it is not ASCII. Must not look like `<digits>:<user>`. In a realm without
    /// the `@` and the name of the realm; in the default one it must not end with those of another.
    pub name: String,
    password: String,
}

impl StaticUser {
    /// Name and password, both taken as they are (RFC 8489 §9.2.2 wants OpaqueString, which leaves ASCII alone).
    pub fn new(name: impl Into<String>, password: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            password: password.into(),
        }
    }

    pub(super) fn password(&self) -> &str {
        &self.password
    }
}

impl fmt::Debug for StaticUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StaticUser")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Drop for StaticUser {
    fn drop(&mut self) {
        self.password.zeroize();
    }
}

/// Key of the stateless nonces: 32 secret bytes. Not printed.
#[derive(Clone)]
pub struct NonceKey(pub(super) [u8; 32]);

impl NonceKey {
    /// From random bytes, or from the same secret on every replica.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for NonceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NonceKey([redacted])")
    }
}

impl Drop for NonceKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}
