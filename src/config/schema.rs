//! Every key there is: its words, type, default and bounds, once.

use super::types::{ByteSize, ExternalIp, LogFormat, PortRange, Rate, SecretText, StaticUser};
use super::value::{Between, Must, NonEmpty};
use ipnet::IpNet;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

/// `n` minutes.
const fn minutes(n: u64) -> Duration {
    Duration::from_secs(n * 60)
}

/// `n` hours.
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
    /// The web server: the API, the signaling WebSocket, the console page, health and metrics.
    Http as "http" {
        /// TCP addresses to listen on.
        ///
        /// The defaults are every address of this machine; an IPv6 default is skipped where there is no IPv6.
        listen: Vec<SocketAddr> = everywhere(8000), NonEmpty;
        /// The address of this server as browsers see it, for example `https://meet.example.org`.
        ///
        /// Used in the start-up messages, and its host is advertised in the ICE list when `ice.host` is not set.
        public_url: Option<String> = None, Must("a URL that begins with http:// or https://", is_http_url);
        /// Origins whose pages may read the API: `"https://app.example.org"`, or `"*"` for all.
        ///
        /// Every origin that is allowed can let its visitors spend this server's bandwidth, unless `auth.jwt_secrets`
        /// asks for a token. Pages that this server serves itself need no entry.
        cors_origins: Vec<String> = vec!["*".to_owned()], Must("`*` or origins such as https://app.example.org", are_origins);
        /// Proxies whose `X-Forwarded-For` is believed.
        ///
        /// An address that does not belong to a proxy of yours lets its owner escape every limit by client address.
        trusted_proxies: Vec<IpNet> = Vec::new();
        /// How long one request may take, from its first byte to the last of the answer. Slow clients hold a
        /// connection for this long.
        request_timeout: Duration = Duration::from_secs(10), Between(Duration::from_secs(1), minutes(10));
        /// Credentials one client address may fetch.
        ///
        /// Above it the answer is 429 with `Retry-After`. Raising it lets one address draw more credentials.
        rate: Rate = Rate::per_minute(60);
        /// Credentials one client address may fetch at once before `rate` counts.
        burst: u32 = 30, Between(1, 100_000);
        /// TCP connections open at once, over all addresses. Each costs some 10 KiB; beyond it new ones wait.
        max_connections: u32 = 20_000, Between(16, 1_000_000);
    }
}

fn is_http_url(url: &Option<String>) -> bool {
    url.as_deref().is_none_or(|url| {
        let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
        rest.is_some_and(|rest| !rest.is_empty() && !rest.contains(char::is_whitespace))
    })
}

fn are_origins(origins: &Vec<String>) -> bool {
    origins
        .iter()
        .all(|origin| origin == "*" || is_http_url(&Some(origin.clone())) && origin.matches('/').count() == 2)
}

section! {
    /// The STUN/TURN relay over UDP.
    Relay as "relay" {
        /// UDP addresses to listen on.
        ///
        /// A wildcard works with any number of addresses and costs two control messages per packet; naming the
        /// address saves them. The IPv6 default is skipped where there is no IPv6.
        listen: Vec<SocketAddr> = everywhere(3478), NonEmpty;
        /// Addresses that relayed traffic comes from, at most one of each family, as peers see them.
        ///
        /// Without it the address of the default route is found by asking the kernel (no packet is sent). Behind 1:1
        /// NAT, as in most clouds, write `"public/private"`; `"public"` alone binds the address of the default route.
        external_ip: Vec<ExternalIp> = Vec::new();
        /// Ports that relayed traffic comes from.
        ///
        /// One allocation holds one port, so this bounds the number of allocations for each address.
        port_range: PortRange = PortRange { first: 49_152, last: 65_535 };
        /// Threads that relay; 0 is one for each core.
        ///
        /// More than cores costs context switches.
        workers: usize = 0, Between(0, 1024);
        /// The REALM of RFC 8489 §14.9. Clients show it and mix it into the key; changing it ends no session.
        realm: String = "meetpoint".to_owned(), Must("1 to 128 characters without quotes", is_realm);
        /// The lifetime an allocation gets when its client asks for none.
        default_lifetime: Duration = minutes(10), Between(minutes(1), hours(24));
        /// The longest lifetime a client can ask for. A client that vanishes holds its port for this long.
        max_lifetime: Duration = hours(1), Between(minutes(1), hours(24));
        /// How long a nonce is good for. Longer means fewer 438 answers and a longer time to replay a captured request.
        nonce_lifetime: Duration = hours(1), Between(minutes(1), hours(24));
        /// Secret of the nonces, at least 32 characters. Replicas behind one address need the same one.
        ///
        /// Without it each process makes its own at random.
        nonce_secret: Option<SecretText> = None, Must("at least 32 characters long", is_long_secret);
        /// Bytes the kernel may queue for each listening socket before it drops; 0 keeps the kernel's default.
        ///
        /// Raising it rides out longer stalls and costs kernel memory. Capped by `net.core.rmem_max`.
        recv_buffer: ByteSize = ByteSize::mib(2), Between(ByteSize(0), ByteSize::mib(1024));
        /// Bytes of unsent datagrams for each listening socket; 0 keeps the kernel's default. Capped by
        /// `net.core.wmem_max`.
        send_buffer: ByteSize = ByteSize::mib(2), Between(ByteSize(0), ByteSize::mib(1024));
        /// As `recv_buffer` for the socket of each allocation: the worst case is this times the allocations.
        relay_recv_buffer: ByteSize = ByteSize(0), Between(ByteSize(0), ByteSize::mib(64));
        /// As `send_buffer` for the socket of each allocation.
        relay_send_buffer: ByteSize = ByteSize(0), Between(ByteSize(0), ByteSize::mib(64));
        /// Takes and sends trains of equal datagrams as one (UDP GRO and GSO). Off only helps to find out whether a
        /// network driver mishandles them.
        offload: bool = true;
    }
}

fn is_realm(realm: &String) -> bool {
    (1..=128).contains(&realm.chars().count()) && !realm.contains(['"', '\\']) && !realm.contains(char::is_control)
}

fn is_long_secret(secret: &Option<SecretText>) -> bool {
    secret.as_ref().is_none_or(|secret| secret.expose().len() >= 32)
}

section! {
    /// What one user, and all together, may hold of the relay.
    Limits as "limits" {
        /// Allocations of one user (the part of the username after the expiry). Beyond it: 486.
        ///
        /// Every peer connection of a browser uses one per network interface and server URL.
        allocations_per_user: u32 = 64, Between(1, 1_000_000);
        /// Allocations of all users. Beyond it: 508. Each costs a socket, a port and some 2 KiB.
        allocations: u32 = 16_000, Between(1, 1_000_000);
        /// Permissions of one allocation. Beyond it: 508.
        permissions: u32 = 128, Between(1, 65_536);
        /// Channels of one allocation. Beyond it: 508.
        channels: u32 = 128, Between(1, 16_384);
        /// Answers to requests that prove nothing (Binding, 401), for each source address and worker.
        ///
        /// Beyond it they are dropped and counted: a spoofed source cannot turn this server on a victim.
        unauthenticated: Rate = Rate::per_second(100);
    }
}

section! {
    /// Who may be relayed to. Private, loopback, link-local, multicast and metadata addresses are closed by default,
    /// in every disguise (mapped, compatible, NAT64, 6to4, Teredo).
    Peers as "peers" {
        /// Networks to open that are closed by default.
        ///
        /// Whoever holds a credential reaches every UDP service in them.
        allow: Vec<IpNet> = Vec::new();
        /// Networks to close. Wins over `allow`.
        deny: Vec<IpNet> = Vec::new();
    }
}

section! {
    /// Time-limited credentials: username `<expiry>:<user>`, password base64(HMAC-SHA1(secret, username)), the scheme
    /// of coturn's `use-auth-secret`.
    Credentials as "credentials" {
        /// Shared secrets. The first one mints, every one verifies: put a new one in front to rotate.
        ///
        /// Without any, one is made at random at each start: credentials then end with the process, and another
        /// replica refuses them.
        secrets: Vec<SecretText> = Vec::new();
        /// How long a credential can be used to begin relaying. A relay that lives is never cut by it.
        ttl: Duration = hours(12), Between(minutes(1), hours(48));
        /// Users with fixed passwords, for clients that cannot fetch credentials.
        users: Vec<StaticUser> = Vec::new();
    }
}

section! {
    /// The signaling hub.
    Signaling as "signaling" {
        /// Bytes of one message. Raising it costs this much per queued message.
        max_message: ByteSize = ByteSize::kib(64), Between(ByteSize::kib(1), ByteSize::mib(1));
    }
}

section! {
    /// Who may use the API and the hub.
    Auth as "auth" {
        /// HS256 secrets of the bearer tokens that the API and the hub then ask for, at least 32 characters each.
        ///
        /// Without any, everyone may fetch credentials and join rooms.
        jwt_secrets: Vec<SecretText> = Vec::new(), Must("secrets of at least 32 characters", are_long_secrets);
        /// The `aud` a token must have, if it is set.
        jwt_audience: Option<String> = None;
        /// The `iss` a token must have, if it is set.
        jwt_issuer: Option<String> = None;
    }
}

fn are_long_secrets(secrets: &Vec<SecretText>) -> bool {
    secrets.iter().all(|secret| secret.expose().len() >= 32)
}

section! {
    /// The list of ICE servers that clients get.
    Ice as "ice" {
        /// Host names or addresses to advertise. Without it: the host the client asked for the list at, else
        /// `http.public_url`, else the addresses of `relay.external_ip`.
        host: Vec<String> = Vec::new();
        /// The port to advertise, when it is not the port of `relay.listen` (behind a load balancer or NAT).
        port: Option<u16> = None;
        /// Further servers for the list, as URIs: `"stun:stun.example.org:3478"`.
        extra: Vec<String> = Vec::new();
    }
}

section! {
    /// What is written to standard error.
    Log as "log" {
        /// `error`, `warn`, `info`, `debug` or `trace`, or a filter such as `"info,meetpoint::turn=debug"`.
        ///
        /// Addresses of clients appear at `debug` and below only.
        level: String = "info".to_owned(), NonEmpty;
        /// How lines look.
        format: LogFormat = LogFormat::Auto;
    }
}

section! {
    /// Prometheus metrics.
    Metrics as "metrics" {
        /// Serves `/metrics` on the addresses of `http.listen`.
        enabled: bool = true;
    }
}

sections! {
    /// The whole configuration.
    Config {
        http: Http,
        relay: Relay,
        limits: Limits,
        peers: Peers,
        credentials: Credentials,
        signaling: Signaling,
        auth: Auth,
        ice: Ice,
        log: Log,
        metrics: Metrics,
    }
}
