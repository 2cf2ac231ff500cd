//! What an operator may set about the HTTP side.

use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use super::auth::config::{Auth, Failures};
use super::compat::service::Service;
use super::keys::ApiKey;
use super::lists::{Ice, Lists};
use super::rate_limit::RateLimit;
use super::realm::Realm;
use crate::signaling::Dialect;
use crate::telemetry::redact::Addresses;

/// Everything the HTTP side needs to know. What is bound, and by whom, is `app`'s business.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// Further paths of the hub, and what is spoken there. Default none.
    pub dialect_paths: Vec<(String, Dialect)>,
    /// Whether strangers may list the ids of PeerJS clients. Default false: an id is often all that it takes to call somebody.
    pub peerjs_discovery: bool,
    /// Names that requests may be for, `*.` in front of one stands for all below it; none allows every name. Addresses and
    /// `localhost` are always allowed. Default none.
    pub hosts: Vec<String>,
    /// Where records of usage are read from; `None`: there are none. Default none.
    pub usage_directory: Option<PathBuf>,
    /// Whether usernames say which API key fetched them. Default no.
    pub names_keys: bool,
    /// Services whose answers are given too, at their paths. Default none.
    pub compat: Vec<Service>,
    /// Who may read the API from a page of another origin.
    pub cors: Cors,
    /// Proxies whose `Forwarded`, `X-Forwarded-For`, `X-Real-IP` and `X-Forwarded-Host` are believed. Default: none. Every
    /// address in here can pass for any client, and so escapes every limit per client.
    pub trusted_proxies: Vec<IpNet>,
    /// What goes into the ICE list.
    pub ice: Ice,
    /// Servers of others, and who gets which. Default none: everybody gets this server's own.
    pub lists: Lists,
    /// Tenants: their names, tokens and lists. Default none.
    pub realms: Vec<Realm>,
    /// Who may ask for it.
    pub auth: Auth,
    /// Whether those without token and key get no credentials, neither by the API nor by the hub, with [`Auth::Open`]. Default: no.
    pub refuse_strangers: bool,
    /// Applications that may, beside those of `auth`. Default none.
    pub keys: Vec<ApiKey>,
    /// A file for those that are made while it runs. Default none.
    pub keys_file: Option<PathBuf>,
    /// How many bad tokens one client may show before it has to wait.
    pub failures: Failures,
    /// How often one client may open a socket of the hub.
    pub connect_rate: ConnectRate,
    /// How often one client may ask for it.
    pub rate: RateLimit,
    /// Bounds on connections and requests.
    pub limits: Limits,
    /// How much of a client's address the line of its request shows. Default its network.
    pub logged_addresses: Addresses,
    /// Who sees room names and peer ids in `/api/signaling/stats`; totals are for everybody.
    pub room_listing: RoomListing,
    /// Where `/metrics` is served.
    pub metrics: MetricsAccess,
}

/// Which origins may read answers (Fetch standard, CORS protocol). Credentials (cookies) are never allowed: nothing here
/// uses them, and tokens travel in `Authorization`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Cors {
    /// `Access-Control-Allow-Origin: *`. Default: the list is as public as the port it is served on, and with
    /// [`Auth::Jwt`] a foreign page has no token to send.
    #[default]
    Any,
    /// Exactly these origins, as browsers spell them: `https://app.example.org`, no path, default port left out. Empty
    /// allows only the pages of this server.
    Origins(Vec<String>),
}

/// A bucket of opened sockets per client: IPv4 address or IPv6 /64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectRate(pub RateLimit);

impl Default for ConnectRate {
    /// Twenty a second, and five hundred at once: after a restart a whole school comes back from one address.
    fn default() -> Self {
        Self(RateLimit {
            interval: Duration::from_millis(50),
            burst: 500,
            ..RateLimit::default()
        })
    }
}

/// Bounds on what a stranger can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Open connections that speak HTTP. Default 20 000. Past it new ones wait in the kernel's backlog. Each costs a file
    /// descriptor and about 10 KiB. One that became a WebSocket no longer counts here: the hub has its own limit.
    pub connections: usize,
    /// Of those, connections of one client address (IPv4 address, IPv6 /64). Default 1000: whole companies share an address.
    /// Past it new ones are closed at once. 0: no limit. Trusted proxies, which stand for many clients, are not limited.
    pub connections_per_ip: u32,
    /// Whether loopback is limited too. Default no: it is the operator, or a proxy that was forgotten in `trusted_proxies`.
    pub limit_loopback: bool,
    /// How long a client may take to send a request's header, and how long a kept-alive connection may stay idle, since
    /// the wait for the next request's first byte counts. Default 15 s.
    pub header_timeout: Duration,
    /// How long a request may take from its header to the answer. Default 10 s. Not for WebSockets.
    pub request_timeout: Duration,
    /// How long a client may take no byte of an answer that waits for it. Default 20 s. Raising it lets clients that read
    /// nothing hold connections for longer.
    pub write_timeout: Duration,
    /// Longest request body, bytes. Default 16 KiB. No route needs more than a few hundred.
    pub body_bytes: usize,
    /// How long open requests may go on after shutdown began. Default 10 s.
    pub drain_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 20_000,
            connections_per_ip: 1000,
            limit_loopback: false,
            header_timeout: Duration::from_secs(15),
            request_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(20),
            body_bytes: 16 * 1024,
            drain_timeout: Duration::from_secs(10),
        }
    }
}

/// Who sees room names and peer ids. A room's name is often all that keeps strangers out of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RoomListing {
    /// Clients on this machine (loopback, neither forwarded by a proxy nor a page of another origin), and holders of a valid
    /// token where tokens are asked for. Default.
    #[default]
    Trusted,
    /// Everybody who can reach the port.
    Everyone,
    /// Nobody: totals only.
    Nobody,
}

/// Where `/metrics` is served. No label holds an address, a room or a user.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MetricsAccess {
    /// On the public listeners. Default.
    #[default]
    Public,
    /// Only by [`super::metrics_router`], which `app` puts on a listener of its own.
    Separate,
    /// Nowhere.
    Off,
}
