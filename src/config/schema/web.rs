//! The web server, who may use it, and what it hands out.

use super::{everywhere, hours, minutes, seconds};
use crate::config::types::{
    AnonymousTurn, Endpoint, ExtraServer, FilePath, HeaderField, HostName, PublicKeys, Rate, RoomListing, SecretText,
};
use crate::config::value::{Between, Must, NonEmpty};
use crate::http::Service;
use ipnet::IpNet;
use std::net::SocketAddr;
use std::time::Duration;

section! {
    /// The web server: the API, the signaling WebSocket, the console page, health and metrics.
    Http as "http" {
        /// TCP addresses to listen on.
        ///
        /// The defaults are every address of this machine; the IPv6 default is skipped where there is no IPv6.
        listen: Vec<SocketAddr> = everywhere(8000), NonEmpty;
        /// TCP addresses for HTTPS and secure WebSockets. Needs `tls.certificates`.
        listen_tls: Vec<SocketAddr> = Vec::new();
        /// The address of this server as browsers see it, for example `https://meet.example.org`.
        ///
        /// Its host is advertised in the ICE list when `ice.host` is not set.
        public_url: Option<String> = None, Must("a URL that begins with http:// or https://", |url: &Option<String>| is_http_url(url.as_deref()));
        /// Names that browsers may reach this server by, such as `"meet.example.org"`, or `"*.example.org"` for all below one;
        /// none allows every name. Addresses and `localhost` are always allowed, and the probes' paths answer to any name.
        ///
        /// Set it where only the network protects this server: otherwise a page of a stranger, opened by somebody inside, can
        /// let its own name resolve to this server and use it as its own (DNS rebinding).
        hosts: Vec<String> = Vec::new(), Must("host names without scheme and port, such as \"meet.example.org\"", |hosts: &Vec<String>| are_names(hosts));
        /// Services of others whose answers are given too, at their paths: clients of them change only the host. docs/api.md
        /// shows each.
        ///
        /// Who may ask is decided as for `/api/ice-servers`, and the limits are the same. Each opens paths to everyone who reaches
        /// this server.
        compat: Vec<Service> = Vec::new();
        /// A file for API keys that are made while it runs, by Cloudflare's API (docs/api.md): their digests, written anew with each
        /// change and readable by its owner alone. Without it, none can be made.
        ///
        /// Its directory must be writable. Processes may share it, where its file system has locks (flock): none loses what another one
        /// changed, and each knows of it within three seconds.
        keys_file: Option<FilePath> = None;
        /// Origins whose pages may use the API and the hub: `"https://app.example.org"`, or `"*"` for all.
        ///
        /// Every origin that is allowed can let its visitors spend this server's bandwidth, unless `auth.jwt_secrets`
        /// asks for a token. Pages that this server serves itself need no entry.
        cors_origins: Vec<String> = vec!["*".to_owned()],
            Must("\"*\" alone, or origins without a path such as \"https://app.example.org\"", |origins: &Vec<String>| are_origins(origins));
        /// Proxies whose `Forwarded`, `X-Forwarded-For`, `X-Real-IP` and `X-Forwarded-Host` are believed.
        ///
        /// An address that is no proxy of yours can pass for any client, and so escapes every limit per client. Proxies that
        /// pass TCP on, with a PROXY header, are named in `streams.proxy_protocol_from` instead; with both, the client of the
        /// PROXY header is who must be listed here to be believed.
        trusted_proxies: Vec<IpNet> = Vec::new();
        /// Credentials that one client address (IPv4 address, IPv6 /64) may fetch in the long run; `"0/s"` is no limit.
        ///
        /// Above it the answer is 429 with `Retry-After`. Loopback is not limited.
        rate: Rate = Rate::per_second(1);
        /// Credentials that one client may fetch at once before `rate` counts.
        ///
        /// Many people behind one address load a page together.
        burst: u32 = 30, Between(1, 100_000);
        /// Connections open at once, WebSockets included. Beyond it new ones wait in the kernel's backlog.
        ///
        /// Each costs a file descriptor and about 10 KiB while it speaks HTTP.
        max_connections: usize = 20_000, Between(16, 1_000_000);
        /// Of those, connections of one client address (IPv4 address, IPv6 /64), WebSockets not included; 0 is no limit.
        ///
        /// Beyond it new ones are closed at once. Whole companies share an address. `trusted_proxies` and loopback are not
        /// limited.
        max_connections_per_client: u32 = 1000, Between(0, 1_000_000);
        /// How long a client may take to send a request's header, and how long a connection may stay idle between two.
        header_timeout: Duration = seconds(15), Between(seconds(1), minutes(10));
        /// How long a request may take from its header to the answer. WebSockets are exempt.
        request_timeout: Duration = seconds(10), Between(seconds(1), minutes(10));
        /// How long a client may take no byte of an answer that waits for it. Raising it lets clients that read nothing hold
        /// connections for longer.
        write_timeout: Duration = seconds(20), Between(seconds(1), minutes(10));
        /// How long open requests may go on after a stop was asked for.
        drain_timeout: Duration = seconds(10), Between(Duration::ZERO, minutes(10));
    }
}

fn is_http_url(url: Option<&str>) -> bool {
    url.is_none_or(|url| {
        let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
        rest.is_some_and(|rest| {
            !rest.starts_with(['/', ':']) && url.parse::<hyper::Uri>().is_ok_and(|uri| uri.host().is_some())
        })
    })
}

/// Without scheme, port and path; a star only in front.
fn are_names(hosts: &[String]) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
    hosts.iter().all(|host| {
        let name = host.strip_prefix("*.").unwrap_or(host);
        !name.is_empty() && !name.starts_with('.') && name.bytes().all(plain)
    })
}

pub(super) fn are_origins(origins: &[String]) -> bool {
    if origins.iter().any(|origin| origin == "*") {
        return origins.len() == 1;
    }
    origins
        .iter()
        .all(|origin| is_http_url(Some(origin)) && origin.matches('/').count() == 2)
}

section! {
    /// The list of ICE servers that clients get.
    Ice as "ice" {
        /// Host names or addresses to advertise.
        ///
        /// Without it: the host of `http.public_url`, else the host at which the client asked for the list, else the
        /// addresses of the relay.
        host: Vec<HostName> = Vec::new();
        /// Advertises the addresses of the relay (`relay.external_ip`, or what was found) where `host` is not set: for relays
        /// of which each has an address, behind one name for the web server.
        relay_addresses: bool = false;
        /// The port to advertise for UDP, where it is not the port of `relay.listen` (behind a load balancer or a mapping).
        port: Option<u16> = None, Must("a port from 1 to 65535", |port: &Option<u16>| *port != Some(0));
        /// The port to advertise for TCP, where it is not the port of `relay.listen_tcp` or
        /// `streams.one_port`.
        tcp_port: Option<u16> = None, Must("a port from 1 to 65535", |port: &Option<u16>| *port != Some(0));
        /// The port to advertise for TLS, where it is not the port of `relay.listen_tls` or `streams.one_port`.
        ///
        /// Browsers check the certificate against the advertised host: set `ice.host` to a name that is in it.
        tls_port: Option<u16> = None, Must("a port from 1 to 65535", |port: &Option<u16>| *port != Some(0));
        /// Lists TURN over DTLS as well, as `turns:host:port?transport=udp`. Browsers cannot use it, and some refuse a list
        /// in which it is.
        advertise_dtls: bool = false;
        /// Servers to add to the list: a URI such as `"stun:stun.example.org:3478"`, or a table
        /// `{ urls = ["turn:…"], username = "…", credential = "…" }`.
        ///
        /// Each makes every client send more probes.
        extra: Vec<ExtraServer> = Vec::new();
        /// Whether clients that are no browsers get the URL of the first TLS listener once more without `?transport=tcp`, which is what
        /// `turns:` means without it: some clients lose what is behind the question mark, or cannot read it.
        ///
        /// Browsers, which would only gather twice, do not get it.
        plain_turns: bool = true;
        /// Whether browsers get URLs with port 53, to which they do not connect. A browser is who sends `Origin`,
        /// `Sec-Fetch-Mode` or a `User-Agent` that begins with `Mozilla/`.
        port_53_for_browsers: bool = false;
        /// A file that knows countries of addresses, in the format of MaxMind (`.mmdb`), for `lists.NAME.countries`. It is read into
        /// memory at the start and when the file changes.
        countries_file: Option<FilePath> = None;
        /// The header in which one of `http.trusted_proxies` tells the client's country, such as `"CF-IPCountry"`. It comes before
        /// `countries_file`.
        ///
        /// From anybody else it is not believed. The proxy must set it itself, whatever the client sent.
        country_header: Option<HeaderField> = None;
        /// Recommends `iceTransportPolicy: "relay"`: hides clients' addresses from each other, and sends all traffic
        /// through this server.
        relay_only: bool = false;
    }
}

section! {
    /// Who may use the API and the hub.
    Auth as "auth" {
        /// HS256 secrets of the bearer tokens that the API and the hub then ask for, at least 32 characters each. Every
        /// one verifies, so that they can be rotated.
        ///
        /// Without any, and without `jwt_keys` and `jwks_url`, everyone who reaches the server may fetch credentials and join
        /// rooms.
        jwt_secrets: Vec<SecretText> = Vec::new(),
            Must("at most sixteen secrets of at least 32 characters", |secrets: &Vec<SecretText>| are_long(secrets) && secrets.len() <= 16);
        /// Public keys that verify tokens: PEM (`BEGIN PUBLIC KEY`), a JSON Web Key or a set of them. RS256 and PS256 with 2048
        /// bits and more, ES256, and EdDSA with Ed25519. With `jwt_keys_file` each file is one of these.
        ///
        /// What a key is decides which algorithm it verifies: RS256 for an RSA key that does not say otherwise. A token's own
        /// `alg` decides nothing (docs/authentication.md).
        jwt_keys: Vec<PublicKeys> = Vec::new(), Must("sixteen at most", |keys: &Vec<PublicKeys>| keys.len() <= 16);
        /// Where the issuer publishes its key set, for example
        /// `https://issuer.example.org/.well-known/jwks.json`. Redirects are not followed.
        ///
        /// Whoever answers there says who is let in: with `http` that is everybody on the way.
        jwks_url: Option<Endpoint> = None;
        /// Longest time between two fetches of the key set; an answer's `Cache-Control: max-age` makes it shorter, down to 10 s.
        ///
        /// A key that its issuer takes back lets in for up to this long.
        jwks_refresh: Duration = minutes(10), Between(seconds(10), hours(24));
        /// The key set is fetched once in this long, however many tokens name keys that are not in it.
        jwks_cooldown: Duration = seconds(30), Between(seconds(1), hours(1));
        /// How long a fetch of the key set may take. Who shows an unknown key waits this long.
        jwks_timeout: Duration = seconds(5), Between(Duration::from_millis(100), seconds(30));
        /// A file of certificates (PEM) that are believed when the key set is fetched and the service is asked, beside those that this machine believes.
        authorities: Option<FilePath> = None;
        /// A service of yours that is asked who is let in, by a signed POST for each token (docs/authentication.md). Where there
        /// are keys as well, it is asked about tokens that one of them has verified. No answer lets nobody in.
        ///
        /// With `http` whoever is on the way reads the tokens.
        hook_url: Option<Endpoint> = None;
        /// The secret that signs what the service is asked, at least 16 characters: by it the service knows who asks.
        hook_secret: Option<SecretText> = None, Must("a secret of at least 16 characters", |secret: &Option<SecretText>| secret.as_ref().is_none_or(|secret| secret.expose().len() >= 16));
        /// How long the service may take to answer. Whoever wants in waits this long, and is then told to come back.
        hook_timeout: Duration = seconds(3), Between(Duration::from_millis(100), seconds(8));
        /// Questions that are under way at once; sixteen times as many wait for their turn.
        hook_concurrency: usize = 64, Between(1, 4096);
        /// How long an answer counts when the same is asked again. For so long it lets in whom the service would not any more.
        hook_cache: Duration = seconds(10), Between(Duration::ZERO, minutes(10));
        /// Whether the service is asked about those who show no token. Otherwise they are turned away.
        hook_without_token: bool = false;
        /// Whether those who show neither token nor API key get TURN credentials, from the API and in the hub, where `auth` asks nobody for a
        /// token. `until-keys`: as long as there is no `[keys.NAME]`; the first one closes the API to strangers. They may join rooms ever.
        ///
        /// What a page says of where it is from is no proof: with `yes` everybody who reaches this server can spend its bandwidth.
        anonymous_turn: AnonymousTurn = AnonymousTurn::UntilKeys;
        /// Bad tokens that one client address (IPv4 address, IPv6 /64) may show in the long run; `"0/s"` is no limit.
        ///
        /// Above it no token from there is looked at, good ones neither. Loopback is not limited.
        failure_rate: Rate = Rate::per_second(1);
        /// Bad tokens that one client address may show at once before `failure_rate` counts. Whole companies share an address.
        failure_burst: u32 = 100, Between(1, 100_000);
        /// The `aud` that a token must have. Without it, `aud` is not looked at.
        jwt_audience: Option<String> = None;
        /// The `iss` that a token must have. Without it, `iss` is not looked at.
        jwt_issuer: Option<String> = None;
        /// How far the clocks of the issuer and of this server may differ. A token lives this much longer.
        jwt_leeway: Duration = seconds(30), Between(Duration::ZERO, hours(1));
        /// Who sees room names and peer ids in `/api/signaling/stats`. Totals are for everybody.
        ///
        /// A room's name is often all that keeps strangers out of it.
        room_listing: RoomListing = RoomListing::Trusted;
    }
}

impl Auth {
    /// Whether there are keys to judge tokens by.
    pub(crate) fn asks_for_keys(&self) -> bool {
        !self.jwt_secrets.is_empty() || !self.jwt_keys.is_empty() || self.jwks_url.is_some()
    }

    /// Whether anybody is asked for a token.
    pub(crate) fn is_closed(&self) -> bool {
        self.asks_for_keys() || self.hook_url.is_some()
    }
}

pub(super) fn are_long(secrets: &[SecretText]) -> bool {
    secrets.iter().all(|secret| secret.expose().len() >= 32)
}

section! {
    /// The API for operators at `/api/admin/` (docs/api.md): living allocations, revocations, reload, drain.
    Admin as "admin" {
        /// Bearer tokens of operators, at least 32 characters each. Every one opens, so that they can be rotated. Without
        /// any the API is off.
        ///
        /// A holder sees the addresses of clients, ends their allocations and stops the process. Written as `name=token`, with a
        /// name of letters, digits, `-`, `_` and `.`, the audit trail calls it by that name; the token is what follows.
        tokens: Vec<SecretText> = Vec::new(), Must("tokens of at least 32 characters", |tokens: &Vec<SecretText>| are_long(tokens));
        /// TCP addresses of its own, for example `127.0.0.1:8001`. Without any it is served on `http.listen`.
        listen: Vec<SocketAddr> = Vec::new();
    }
}

section! {
    /// Prometheus metrics at `/metrics`. No label holds an address, a room or a user.
    Metrics as "metrics" {
        /// Whether they are served at all.
        enabled: bool = true;
        /// TCP addresses of their own. Without any they are served on `http.listen`, to everyone who can reach it.
        listen: Vec<SocketAddr> = Vec::new();
    }
}
