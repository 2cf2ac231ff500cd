//! What an operator may set about the HTTP side.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use zeroize::Zeroizing;

use super::auth::VerifyingKey;
use super::compat::service::Service;
use super::keys::ApiKey;
use super::lists::Lists;
use super::rate_limit::RateLimit;
use super::realm::Realm;
use crate::credentials::{Advertised, Host, IceServer, UriTransport};
use crate::events::config::Secret;
use crate::outbound::Url;
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

/// The ICE list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ice {
    /// Hosts to advertise. Default: none, then the host that the client itself used to reach this server (which a browser
    /// on the same network can reach by definition) is advertised.
    pub hosts: Vec<Host>,
    /// Advertised when `hosts` is empty and the request's own host is missing or unusable: the addresses the relay is
    /// known to have.
    pub fallback_hosts: Vec<Host>,
    /// The relay's listeners as clients reach them, preferred ones first. Default: UDP and TCP on 3478.
    pub listeners: Vec<Advertised>,
    /// Entries of other servers, appended as they are. Each makes every client send more probes.
    pub extra: Vec<IceServer>,
    /// Lifetime of a credential when the client asks for none. Default 1 h. A leaked credential opens allocations for this
    /// long; a living relay is never cut by it.
    pub ttl: Duration,
    /// Longest lifetime a client may ask for with `?ttl=`. Default 48 h, as clients of other services ask for a day.
    pub max_ttl: Duration,
    /// Whether clients that are no browsers get the first TLS URL once more without its query. Default yes.
    pub plain_turns: bool,
    /// Whether browsers get URLs to port 53, to which they do not connect. Default no.
    pub port_53_for_browsers: bool,
    /// `iceTransportPolicy` to recommend: relay only. Default off. Hides clients' addresses from each other and sends all
    /// traffic through this server.
    pub relay_only: bool,
}

impl Default for Ice {
    fn default() -> Self {
        Self {
            hosts: Vec::new(),
            fallback_hosts: Vec::new(),
            listeners: [UriTransport::Udp, UriTransport::Tcp]
                .map(|transport| Advertised {
                    transport,
                    secure: false,
                    port: 3478,
                })
                .into(),
            extra: Vec::new(),
            ttl: Duration::from_secs(3_600),
            max_ttl: Duration::from_secs(48 * 3_600),
            plain_turns: true,
            port_53_for_browsers: false,
            relay_only: false,
        }
    }
}

/// Who may fetch credentials and join rooms.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Auth {
    /// Everybody. Default; `app` warns about it at start.
    #[default]
    Open,
    /// Holders of a bearer token.
    Jwt(Box<Jwt>),
    /// Whom a service of the operator's lets in; where there are keys too, it is asked about those alone whose token one of
    /// them has verified.
    Hook(Box<Hook>, Option<Box<Jwt>>),
}

/// What a bearer token must be. The algorithm is that of the key, never the token's to choose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Jwt {
    /// Secrets; each verifies, so that they can be rotated. At least 32 bytes each (RFC 7518 §3.2).
    pub secrets: Vec<JwtSecret>,
    /// Public keys; each verifies. Default none.
    pub keys: Vec<VerifyingKey>,
    /// Where the issuer publishes more of them. Default nowhere.
    pub jwks: Option<JwksSource>,
    /// `aud` that a token must carry. Default: not looked at.
    pub audience: Option<String>,
    /// `iss` that a token must carry. Default: not looked at.
    pub issuer: Option<String>,
    /// Claims that are kept of a token, because a rule of lists looks at them. Default none.
    pub kept_claims: Vec<Box<str>>,
    /// How far the clocks of the issuer and this server may differ. Default 30 s. A token lives this much longer.
    pub leeway: Duration,
}

impl Jwt {
    /// Tokens signed with one of `secrets`; nothing asked of `aud` and `iss`, 30 s of leeway.
    pub fn new(secrets: Vec<JwtSecret>) -> Self {
        Self {
            secrets,
            keys: Vec::new(),
            jwks: None,
            audience: None,
            issuer: None,
            kept_claims: Vec::new(),
            leeway: Duration::from_secs(30),
        }
    }
}

/// The operator's own service, which is asked who is let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    /// Where it is asked.
    pub url: Url,
    /// Signs the questions, as webhooks are signed.
    pub secret: Secret,
    /// As [`JwksSource::authorities`].
    pub authorities: Option<PathBuf>,
    /// How long an answer may take, the wait for a turn included. Default 3 s. Applicants wait this long.
    pub timeout: Duration,
    /// Questions under way at once. Default 64. Sixteen times as many may wait for their turn.
    pub concurrency: usize,
    /// How long an answer counts for the same question. Default 10 s. For so long it lets in whom it would not any more.
    pub cache: Duration,
    /// Whether it is asked about those who show no token. Default no.
    pub without_token: bool,
}

impl Hook {
    /// The service at `url`, with the defaults.
    pub fn new(url: Url, secret: Secret) -> Self {
        Self {
            url,
            secret,
            authorities: None,
            timeout: Duration::from_secs(3),
            concurrency: 64,
            cache: Duration::from_secs(10),
            without_token: false,
        }
    }
}

/// A key set that is fetched (RFC 7517 §5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwksSource {
    /// Where it is.
    pub url: Url,
    /// A file of certificates (PEM) that are believed there, beside those that this machine believes. Default none.
    pub authorities: Option<PathBuf>,
    /// Longest time between two fetches. Default 10 min. A key that its issuer takes back verifies for up to this long.
    pub refresh: Duration,
    /// One fetch in this long, when tokens name keys that are not there. Default 30 s. A new key may go unknown for so long.
    pub cooldown: Duration,
    /// How long a fetch may take. Default 5 s. Whoever shows an unknown key waits this long.
    pub timeout: Duration,
}

impl JwksSource {
    /// The set at `url`, with the defaults.
    pub fn new(url: Url) -> Self {
        Self {
            url,
            authorities: None,
            refresh: Duration::from_secs(600),
            cooldown: Duration::from_secs(30),
            timeout: Duration::from_secs(5),
        }
    }
}

/// A secret of HS256. Printed as `[redacted]`, wiped on drop.
#[derive(Clone, PartialEq, Eq)]
pub struct JwtSecret(Zeroizing<Vec<u8>>);

impl JwtSecret {
    /// Takes the secret's bytes as they are.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(Zeroizing::new(bytes.into()))
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for JwtSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
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

/// A bucket of bad tokens per client: IPv4 address or IPv6 /64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failures(pub RateLimit);

impl Default for Failures {
    /// One a second, and a hundred at once: whole companies share an address, and one page there with an old key must not
    /// lock out the others.
    fn default() -> Self {
        Self(RateLimit {
            burst: 100,
            clients: 16_384,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jwt_secret_never_shows_in_debug_output() {
        let auth = Auth::Jwt(Box::new(Jwt::new(vec![JwtSecret::new(
            "hunter2hunter2hunter2hunter2hunter2",
        )])));
        let shown = format!("{auth:?}");
        assert!(shown.contains("[redacted]") && !shown.contains("104, 117"), "{shown}");
    }
}
