//! From what an operator wrote to each module's plain configuration.

mod auth;
mod backplane;
mod events;
mod keys;
mod lists;
mod probes;
mod realms;
mod usage;

use self::realms::static_users;
use super::detect::Machine;
use super::schema::{Config, Signaling};
use super::types::{ByteSize, ExternalIp, RoomListing, TakeoverPolicy};
use crate::credentials::{Advertised, Host, KeyRing, ThirdParty, UriTransport};
use crate::transport::front::tls::CertificateFiles;
use crate::turn::{NonceKey, PeerFilter, RateLimit, RelayAddr};
use crate::{http, signaling, transport, turn, ws};
use sha2::{Digest, Sha256};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

/// Each module's plain configuration.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The relay core, all but `keys`: those may be made at start.
    pub turn: turn::Config,
    /// The relay's sockets and threads.
    pub transport: transport::Config,
    /// The hub.
    pub signaling: signaling::Config,
    /// The hub's sockets.
    pub ws: ws::Config,
    /// The web server.
    pub http: http::Config,
    /// Who is told what happens.
    pub events: crate::events::Config,
    /// Whether the servers in the lists work.
    pub probes: crate::probe::Config,
    /// What tenants used, written down.
    pub usage: crate::usage::Config,
    /// Where the other replicas are; `None` for a process that is alone.
    pub backplane: Option<crate::backplane::Config>,
    /// What its relay tells those of others; there with `backplane`.
    pub fleet: Option<crate::fleet::Config>,
}

impl Config {
    /// Fills in what this machine knows about itself.
    #[must_use]
    pub fn settings(&self, machine: &Machine) -> Settings {
        let relay_addrs = self.relay_addrs(machine);
        Settings {
            http: self.http_settings(&relay_addrs),
            turn: self.turn_settings(relay_addrs, machine),
            transport: self.transport_settings(),
            signaling: signaling::Config {
                bus: self.bus_settings(),
                ..self.signaling.settings()
            },
            ws: self.ws_settings(),
            events: self.event_settings(),
            probes: self.probe_settings(),
            usage: self.usage_settings(),
            backplane: self.backplane_settings(),
            fleet: self.fleet_settings(),
        }
    }

    /// The shared secrets, if any is configured.
    #[must_use]
    pub fn key_ring(&self) -> Option<KeyRing> {
        // The schema has already bounded their number and refused empty ones.
        KeyRing::from_bytes(self.credentials.secrets.iter().map(|secret| secret.expose())).ok()
    }

    /// Whose access tokens are taken; nobody's without a name and a key.
    fn third_party(&self) -> Option<Arc<ThirdParty>> {
        let configured = &self.third_party;
        let keys = configured.keys.iter().map(|key| key.0.clone()).collect();
        // The schema has already bounded name and keys.
        ThirdParty::new(
            configured.server_name.as_deref()?,
            keys,
            configured.clock_skew.as_secs(),
        )
        .ok()
        .map(Arc::new)
    }

    /// What the relay listens on if every port is what is configured.
    pub(super) fn planned(&self) -> RelayListeners {
        RelayListeners {
            tcp: self.relay_tcp(&self.relay_udp()),
            udp: self.relay_udp(),
            tls: self.relay.listen_tls.clone(),
            dtls: self.relay.listen_dtls.clone(),
            one_port: self.streams.one_port.clone(),
        }
    }

    /// The file of the certificate that is for DTLS alone.
    #[must_use]
    pub fn dtls_certificate(&self) -> Option<CertificateFiles> {
        self.tls.dtls_certificate.as_ref().map(|pair| pair.0.clone())
    }

    /// The files of every certificate that is for TLS.
    #[must_use]
    pub fn certificates(&self) -> Vec<CertificateFiles> {
        self.tls.certificates.iter().map(|pair| pair.0.clone()).collect()
    }

    /// Where the relay listens for TCP, when it listens for UDP at `udp`.
    #[must_use]
    pub fn relay_tcp(&self, udp: &[SocketAddr]) -> Vec<SocketAddr> {
        let web = [&self.http.listen, &self.metrics.listen, &self.streams.one_port];
        let dialects = self.dialect_listeners();
        self.relay.listen_tcp.addresses(udp, |address| {
            web.iter()
                .copied()
                .flatten()
                .chain(&dialects)
                .any(|taken| overlap(*taken, *address))
        })
    }

    /// Where `signaling.listeners` listens.
    #[must_use]
    pub fn dialect_listeners(&self) -> Vec<SocketAddr> {
        let listeners = self.signaling.listeners.iter();
        listeners.map(|listener| listener.address).collect()
    }

    fn relay_addrs(&self, machine: &Machine) -> Vec<RelayAddr> {
        let configured = &self.relay.external_ip;
        if !configured.is_empty() {
            return configured
                .iter()
                .map(|external| RelayAddr {
                    bind: bind_for(external, machine),
                    advertised: external.public,
                })
                .collect();
        }
        let seen = |route: IpAddr| {
            let like = machine.outside.iter().find(|seen| seen.is_ipv4() == route.is_ipv4());
            like.map_or(RelayAddr::same(route), |seen| RelayAddr {
                bind: bind_for(
                    &ExternalIp {
                        public: *seen,
                        private: None,
                    },
                    machine,
                ),
                advertised: *seen,
            })
        };
        let found: Vec<_> = machine.default_routes().into_iter().map(seen).collect();
        if found.is_empty() {
            vec![RelayAddr::same(Ipv4Addr::LOCALHOST.into())]
        } else {
            found
        }
    }

    fn turn_settings(&self, relay_addrs: Vec<RelayAddr>, machine: &Machine) -> turn::Config {
        let (relay, limits) = (&self.relay, &self.limits);
        let open = self.planned();
        let listeners = [
            &open.udp,
            &open.tcp,
            &open.tls,
            &open.dtls,
            &open.one_port,
            &self.http.listen,
            &self.http.listen_tls,
        ];
        let listeners = listeners.into_iter().flatten().map(SocketAddr::ip);
        let mut own_addrs: Vec<IpAddr> = machine.addresses.iter().copied().chain(listeners).collect();
        own_addrs.extend(
            relay_addrs
                .iter()
                .flat_map(|address| [address.bind, address.advertised]),
        );
        let nat_discovery = self.nat_discovery();
        let discovered = nat_discovery.iter().flat_map(|discovery| &discovery.places);
        let discovered = discovered.flat_map(|places| places.addrs);
        own_addrs.extend(discovered.flat_map(|addr| [addr.bind, addr.advertised]));
        own_addrs.retain(|address| !address.is_unspecified());
        own_addrs.sort_unstable();
        own_addrs.dedup();
        turn::Config {
            realm: relay.realm.clone(),
            software: relay.software.clone(),
            keys: self.key_ring(),
            third_party: self.third_party(),
            events: self.notes_events(),
            static_users: static_users(&self.credentials.users),
            realms: self.turn_realms(),
            shares: self.shares(),
            offer_sha256: relay.offer_sha256,
            username_anonymity: relay.username_anonymity,
            nonce_key: relay
                .nonce_secret
                .as_ref()
                .map(|secret| NonceKey::new(Sha256::digest(secret.expose().as_bytes()).into())),
            nonce_lifetime: relay.nonce_lifetime,
            relay_addrs,
            own_addrs,
            relay_ports: relay.port_range.first..=relay.port_range.last,
            tcp_relay: relay.tcp_relay,
            default_lifetime: relay.default_lifetime,
            max_lifetime: relay.max_lifetime,
            mobility: relay.mobility,
            limits: turn::Limits {
                allocations_per_user: limits.allocations_per_user,
                count_sessions: limits.count_sessions,
                allocations_per_client: limits.allocations_per_client,
                allocations: limits.allocations,
                permissions_per_allocation: limits.permissions,
                channels_per_allocation: limits.channels,
                reservations: limits.reservations,
                connections_per_allocation: limits.tcp_connections_per_allocation,
                connections: limits.tcp_connections,
                pending_connections: limits.tcp_connections_pending,
                unauthenticated_per_second: limits.unauthenticated_per_second,
                allocation_rate: RateLimit {
                    bytes_per_second: limits.allocation_bytes_per_second.0,
                    byte_burst: limits.allocation_byte_burst.0,
                    packets_per_second: limits.allocation_packets_per_second.into(),
                    packet_burst: limits.allocation_packet_burst.into(),
                },
                user_rate: RateLimit {
                    bytes_per_second: limits.user_bytes_per_second.0,
                    byte_burst: limits.user_byte_burst.0,
                    packets_per_second: limits.user_packets_per_second.into(),
                    packet_burst: limits.user_packet_burst.into(),
                },
                total_rate: RateLimit {
                    bytes_per_second: limits.total_bytes_per_second.0,
                    byte_burst: limits.total_byte_burst.0,
                    packets_per_second: limits.total_packets_per_second.into(),
                    packet_burst: limits.total_packet_burst.into(),
                },
                ..turn::Limits::default()
            },
            peers: PeerFilter::new(self.peers.allow.iter().copied(), self.peers.deny.iter().copied()),
            redirect: self.redirect(),
            nat_discovery,
            ..turn::Config::default()
        }
    }

    fn transport_settings(&self) -> transport::Config {
        let relay = &self.relay;
        let size = |size: ByteSize| (size.0 != 0).then(|| size.as_usize());
        transport::Config {
            listen: self.relay_udp(),
            listen_dtls: relay.listen_dtls.clone(),
            workers: NonZeroUsize::new(relay.workers),
            listener_recv_buffer: size(relay.recv_buffer),
            listener_send_buffer: size(relay.send_buffer),
            relay_recv_buffer: size(relay.relay_recv_buffer),
            relay_send_buffer: size(relay.relay_send_buffer),
            offload: relay.offload,
            stats_interval: relay.stats_interval,
            streams: transport::Streams {
                connections: self.streams.max_connections,
                connections_per_client: self.streams.max_connections_per_client,
                idle_timeout: self.streams.idle_timeout,
                first_timeout: self.streams.first_timeout,
                queue_bytes: self.streams.queue_size.as_usize(),
                proxies: self.streams.proxy_protocol_from.clone(),
            },
            dtls: transport::Dtls {
                sessions: self.dtls.max_sessions,
                sessions_per_client: self.dtls.max_sessions_per_client,
                handshakes: self.dtls.max_handshakes,
                handshakes_per_client: self.dtls.max_handshakes_per_client,
                handshake_timeout: self.dtls.handshake_timeout,
                idle_timeout: self.dtls.idle_timeout,
            },
        }
    }

    /// Origins as browsers spell them, that of `http.public_url` with them; `None` is every origin.
    pub(super) fn origins(&self) -> Option<Vec<String>> {
        let listed = &self.http.cors_origins;
        if listed.iter().any(|origin| origin == "*") {
            return None;
        }
        // Behind a proxy the Host that arrives here need not be the one that the browser knows.
        let own = self.http.public_url.as_deref().and_then(url_origin);
        let mut origins: Vec<String> = listed.iter().map(|each| each.to_lowercase()).chain(own).collect();
        origins.dedup();
        Some(origins)
    }

    fn ws_settings(&self) -> ws::Config {
        let hub = &self.signaling;
        ws::Config {
            origins: self.origins(),
            connections_per_ip: hub.connections_per_ip,
            queue_messages: hub.queue_messages,
            queue_bytes: hub.queue_size.as_usize(),
            read_buffer: hub.read_buffer.as_usize(),
            write_timeout: hub.write_timeout,
            close_timeout: hub.close_timeout,
        }
    }

    fn http_settings(&self, relay_addrs: &[RelayAddr]) -> http::Config {
        let web = &self.http;
        http::Config {
            cors: self.origins().map_or(http::Cors::Any, http::Cors::Origins),
            dialect_paths: self.dialect_paths(),
            peerjs_discovery: self.signaling.peerjs_discovery,
            hosts: web.hosts.clone(),
            usage_directory: self.usage_settings().directory,
            names_keys: self.usage.keys,
            compat: web.compat.clone(),
            trusted_proxies: web.trusted_proxies.clone(),
            ice: self.ice_settings(relay_addrs),
            lists: self.lists_settings(),
            realms: self.http_realms(),
            auth: self.auth_settings(),
            refuse_strangers: self.refuses_strangers(),
            keys: self.http_keys(),
            keys_file: web.keys_file.as_ref().map(|file| file.0.clone()),
            connect_rate: http::ConnectRate(http::RateLimit {
                interval: interval(self.signaling.connect_rate.count, self.signaling.connect_rate.per),
                burst: self.signaling.connect_burst,
                ..http::ConnectRate::default().0
            }),
            failures: http::Failures(http::RateLimit {
                interval: interval(self.auth.failure_rate.count, self.auth.failure_rate.per),
                burst: self.auth.failure_burst,
                ..http::Failures::default().0
            }),
            rate: http::RateLimit {
                interval: interval(web.rate.count, web.rate.per),
                burst: web.burst,
                ..http::RateLimit::default()
            },
            logged_addresses: self.shown_addresses(),
            limits: http::Limits {
                connections: web.max_connections,
                connections_per_ip: web.max_connections_per_client,
                header_timeout: web.header_timeout,
                request_timeout: web.request_timeout,
                write_timeout: web.write_timeout,
                drain_timeout: web.drain_timeout,
                ..http::Limits::default()
            },
            room_listing: match self.auth.room_listing {
                RoomListing::Trusted => http::RoomListing::Trusted,
                RoomListing::Everyone => http::RoomListing::Everyone,
                RoomListing::Nobody => http::RoomListing::Nobody,
            },
            metrics: match (self.metrics.enabled, self.metrics.listen.is_empty()) {
                (false, _) => http::MetricsAccess::Off,
                (true, true) => http::MetricsAccess::Public,
                (true, false) => http::MetricsAccess::Separate,
            },
        }
    }

    fn dialect_paths(&self) -> Vec<(String, signaling::Dialect)> {
        let paths = self.signaling.dialects.iter();
        paths.map(|entry| (entry.path.clone(), entry.dialect)).collect()
    }

    fn ice_settings(&self, relay_addrs: &[RelayAddr]) -> http::Ice {
        let ice = &self.ice;
        let mut hosts: Vec<Host> = ice.host.iter().map(|host| host.0.clone()).collect();
        if hosts.is_empty() && ice.relay_addresses {
            hosts.extend(relay_addrs.iter().map(|address| host_of(address.advertised)));
        }
        if hosts.is_empty() {
            hosts.extend(self.http.public_url.as_deref().and_then(url_host));
        }
        http::Ice {
            hosts,
            fallback_hosts: relay_addrs.iter().map(|address| host_of(address.advertised)).collect(),
            listeners: advertised(self, &self.planned()),
            extra: ice.extra.iter().map(|server| server.0.clone()).collect(),
            ttl: self.credentials.ttl,
            max_ttl: self.credentials.max_ttl,
            plain_turns: ice.plain_turns,
            port_53_for_browsers: ice.port_53_for_browsers,
            relay_only: ice.relay_only,
        }
    }
}

impl Signaling {
    fn settings(&self) -> signaling::Config {
        let small = |size: ByteSize| u32::try_from(size.0).unwrap_or(u32::MAX);
        signaling::Config {
            node: self.node.clone(),
            hello_timeout: self.hello_timeout,
            welcome_silent_after: self.welcome_silent_after,
            peerjs_keys: self.peerjs_keys.clone(),
            peerjs_peers: self.peerjs_peers,
            postponed_frames: self.peerjs_queue_messages,
            postponed_bytes: self.peerjs_queue_size.as_usize(),
            connections: self.connections,
            connections_per_user: self.connections_per_user,
            rooms: self.rooms,
            peers_per_room: self.peers_per_room,
            rooms_per_connection: self.rooms_per_connection,
            frame_bytes: self.max_message.as_usize(),
            room_name_bytes: self.room_name_bytes,
            peer_id_bytes: self.peer_id_bytes,
            meta_bytes: self.meta_size.as_usize(),
            meta_keys: self.meta_keys,
            messages_per_second: self.messages_per_second,
            message_burst: self.message_burst,
            bytes_per_second: small(self.bytes_per_second),
            byte_burst: small(self.byte_burst),
            rate_patience: self.rate_patience,
            relay_bytes_per_second: small(self.relay_bytes_per_second),
            relay_byte_burst: small(self.relay_byte_burst),
            relay_room_bytes_per_second: small(self.relay_room_bytes_per_second),
            relay_total_bytes_per_second: small(self.relay_total_bytes_per_second),
            receivers_per_send: self.receivers_per_send,
            page_peers: self.page_peers,
            page_bytes: self.page_size.as_usize(),
            takeover: match self.takeover {
                TakeoverPolicy::Reject => signaling::Takeover::Reject,
                TakeoverPolicy::SameOwner => signaling::Takeover::SameOwner,
                TakeoverPolicy::Replace => signaling::Takeover::Replace,
            },
            resume_grace: self.resume_grace,
            resume_frames: self.resume_messages,
            resume_bytes: self.resume_size.as_usize(),
            away_sessions: self.away_sessions,
            bans: self.bans,
            ping_interval: self.ping_interval,
            dead_after: self.dead_after,
            bus: None,
        }
    }
}

/// Whether one of two listeners would be in the other's way.
pub(super) fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let same_ip = one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() == other.port() && one.port() != 0 && one.is_ipv4() == other.is_ipv4() && same_ip
}

/// What TURN clients can come to, by how.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RelayListeners {
    /// UDP.
    pub udp: Vec<SocketAddr>,
    /// TCP.
    pub tcp: Vec<SocketAddr>,
    /// TLS.
    pub tls: Vec<SocketAddr>,
    /// DTLS.
    pub dtls: Vec<SocketAddr>,
    /// TCP and, with a certificate, TLS.
    pub one_port: Vec<SocketAddr>,
}

/// What is advertised: each port of each kind of listener once, or the one port that the operator names for that kind.
#[must_use]
pub fn advertised(config: &Config, open: &RelayListeners) -> Vec<Advertised> {
    let ice = &config.ice;
    let secure_port: &[SocketAddr] = if config.tls.certificates.is_empty() {
        &[]
    } else {
        &open.one_port
    };
    let dtls: &[SocketAddr] = if ice.advertise_dtls { &open.dtls } else { &[] };
    let kinds = [
        (UriTransport::Udp, false, ice.port, &open.udp[..], &[][..]),
        (UriTransport::Tcp, false, ice.tcp_port, &open.tcp, &open.one_port),
        (UriTransport::Tcp, true, ice.tls_port, &open.tls, secure_port),
        (UriTransport::Udp, true, None, dtls, &[]),
    ];
    let mut all: Vec<Advertised> = Vec::new();
    for (transport, secure, port, own, shared) in kinds {
        let is_told = |port: u16| !config.is_for_discovery_alone(port) && !config.is_for_arrivals(port);
        for listener in own.iter().chain(shared).filter(|open| is_told(open.port())) {
            let one = Advertised {
                transport,
                secure,
                port: port.unwrap_or(listener.port()),
            };
            if !all.contains(&one) {
                all.push(one);
            }
        }
    }
    all
}

/// A bucket's interval from a rate; nothing in any time is no limit.
fn interval(count: u32, per: Duration) -> Duration {
    per.checked_div(count).unwrap_or(Duration::ZERO)
}

/// Behind NAT the address to bind is the private one; without NAT this machine has the public one itself.
fn bind_for(external: &ExternalIp, machine: &Machine) -> IpAddr {
    external.private.unwrap_or_else(|| {
        if machine.addresses.contains(&external.public) {
            external.public
        } else {
            machine.default_route_like(external.public).unwrap_or(external.public)
        }
    })
}

fn host_of(address: IpAddr) -> Host {
    match address {
        IpAddr::V4(address) => Host::V4(address),
        IpAddr::V6(address) => Host::V6(address),
    }
}

/// `scheme://host[:port]` of a URL, as a browser would send it.
fn url_origin(url: &str) -> Option<String> {
    let uri: hyper::Uri = url.parse().ok()?;
    let (scheme, host) = (uri.scheme_str()?, uri.host()?);
    let origin = match (scheme, uri.port_u16()) {
        (_, None) | ("http", Some(80)) | ("https", Some(443)) => format!("{scheme}://{host}"),
        (_, Some(port)) => format!("{scheme}://{host}:{port}"),
    };
    Some(origin.to_lowercase())
}

fn url_host(url: &str) -> Option<Host> {
    let uri: hyper::Uri = url.parse().ok()?;
    Host::parse_authority(uri.host()?).ok().map(|(host, _)| host)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{File, Sources, load};

    fn machine() -> Machine {
        Machine {
            ipv4: Some("10.0.0.5".parse().unwrap()),
            ipv6: Some("2001:db8::5".parse().unwrap()),
            addresses: ["10.0.0.5", "2001:db8::5", "127.0.0.1", "198.51.100.7"]
                .map(|each| each.parse().unwrap())
                .into(),
            outside: Vec::new(),
        }
    }

    fn settings(text: &str, machine: &Machine) -> Settings {
        let file = File {
            path: "m.toml".into(),
            text: text.into(),
        };
        load(&Sources {
            file: Some(file),
            ..Sources::none()
        })
        .unwrap()
        .config
        .settings(machine)
    }

    fn pair(bind: &str, advertised: &str) -> RelayAddr {
        RelayAddr {
            bind: bind.parse().unwrap(),
            advertised: advertised.parse().unwrap(),
        }
    }

    #[test]
    fn the_defaults_here_are_the_defaults_of_the_modules() {
        let machine = Machine::default();
        let settings = Config::default().settings(&machine);
        assert_eq!(settings.transport, transport::Config::default());
        assert_eq!(settings.signaling, signaling::Config::default());
        assert_eq!(settings.ws, ws::Config::default());
        let fallback = vec![Host::V4(Ipv4Addr::LOCALHOST)];
        let ice = http::Ice {
            fallback_hosts: fallback,
            ..http::Ice::default()
        };
        assert_eq!(
            settings.http,
            http::Config {
                ice,
                ..http::Config::default()
            }
        );
        let core = turn::Config::default();
        assert_eq!(settings.turn.limits, core.limits);
        assert_eq!(settings.turn.relay_addrs, core.relay_addrs);
        assert_eq!(settings.turn.relay_ports, core.relay_ports);
        assert_eq!(settings.turn.realm, core.realm);
        assert_eq!(
            [
                settings.turn.nonce_lifetime,
                settings.turn.default_lifetime,
                settings.turn.max_lifetime
            ],
            [core.nonce_lifetime, core.default_lifetime, core.max_lifetime]
        );
        assert_eq!(settings.turn.offer_sha256, core.offer_sha256);
        assert_eq!(settings.turn.username_anonymity, core.username_anonymity);
    }

    #[test]
    fn without_an_external_address_the_default_routes_are_relayed_from() {
        let found = settings("", &machine()).turn.relay_addrs;
        assert_eq!(
            found,
            [pair("10.0.0.5", "10.0.0.5"), pair("2001:db8::5", "2001:db8::5")]
        );
    }

    #[test]
    fn what_somebody_outside_saw_is_advertised_and_the_address_of_its_route_bound() {
        let seen = Machine {
            outside: vec!["203.0.113.5".parse().unwrap()],
            ..machine()
        };
        let addrs = |text: &str| -> Vec<(String, String)> {
            let settings = settings(text, &seen);
            let own = &settings.turn.own_addrs;
            let relays = settings.turn.relay_addrs.iter();
            relays
                .map(|addr| {
                    assert!(own.contains(&addr.advertised), "closed to peers but for relays");
                    (addr.bind.to_string(), addr.advertised.to_string())
                })
                .collect()
        };
        let pair = |bind: &str, advertised: &str| (bind.to_owned(), advertised.to_owned());
        // Nobody was asked for IPv6.
        let found = [pair("10.0.0.5", "203.0.113.5"), pair("2001:db8::5", "2001:db8::5")];
        assert_eq!(addrs(""), found);
        let written = [pair("198.51.100.7", "198.51.100.7")];
        assert_eq!(
            addrs("[relay]\nexternal_ip = \"198.51.100.7\""),
            written,
            "what is written wins"
        );
    }

    #[test]
    fn behind_nat_the_private_address_is_bound_and_the_public_one_told() {
        let relay_addrs = |text: &str| settings(text, &machine()).turn.relay_addrs;
        let text = "[relay]\nexternal_ip = [\"203.0.113.5/10.0.0.9\", \"2001:db8:1::1/2001:db8::5\"]";
        assert_eq!(
            relay_addrs(text),
            [pair("10.0.0.9", "203.0.113.5"), pair("2001:db8::5", "2001:db8:1::1")]
        );
        assert_eq!(
            relay_addrs("[relay]\nexternal_ip = \"203.0.113.5\""),
            [pair("10.0.0.5", "203.0.113.5")]
        );
        assert_eq!(
            relay_addrs("[relay]\nexternal_ip = \"198.51.100.7\""),
            [pair("198.51.100.7", "198.51.100.7")]
        );
    }

    #[test]
    fn every_address_of_the_machine_is_closed_to_the_kernel_path() {
        let own = settings("[relay]\nexternal_ip = \"203.0.113.5\"", &machine())
            .turn
            .own_addrs;
        for address in ["10.0.0.5", "198.51.100.7", "203.0.113.5", "2001:db8::5"] {
            assert!(
                own.contains(&address.parse().unwrap()),
                "{address} is missing in {own:?}"
            );
        }
        assert!(!own.iter().any(IpAddr::is_unspecified));
    }

    #[test]
    fn what_is_advertised_can_differ_from_what_is_bound() {
        let ice = |text: &str| settings(text, &machine()).http.ice;
        let ports = |ice: &http::Ice| {
            let each = ice.listeners.iter();
            each.map(|each| (each.transport, each.port)).collect::<Vec<_>>()
        };
        let both = |udp: &[u16], tcp: &[u16]| {
            let kind = |transport, ports: &[u16]| ports.iter().map(|&port| (transport, port)).collect::<Vec<_>>();
            [kind(UriTransport::Udp, udp), kind(UriTransport::Tcp, tcp)].concat()
        };
        assert_eq!(ports(&ice("")), both(&[3478], &[3478]));
        let listen = "[relay]\nlisten = [\"0.0.0.0:1\", \"0.0.0.0:2\", \"[::]:1\"]";
        assert_eq!(ports(&ice(listen)), both(&[1, 2], &[1, 2]));
        assert_eq!(
            ports(&ice(&format!("{listen}\nlisten_tcp = \"off\""))),
            both(&[1, 2], &[])
        );
        assert_eq!(
            ports(&ice(&format!("{listen}\nlisten_tcp = \"[::]:443\""))),
            both(&[1, 2], &[443])
        );
        assert_eq!(
            ports(&ice(&format!("{listen}\n[ice]\ntcp_port = 80"))),
            both(&[1, 2], &[80])
        );
        let dtls = "listen_dtls = \"[::]:5349\"\n[tls]\ndtls_certificate = \"a:b\"";
        assert_eq!(ports(&ice(&format!("[relay]\n{dtls}"))), both(&[3478], &[3478]));
        let listed = ice(&format!("[relay]\n{dtls}\n[ice]\nadvertise_dtls = true"));
        let last = listed.listeners.last().unwrap();
        assert_eq!(
            (last.transport, last.secure, last.port),
            (UriTransport::Udp, true, 5349)
        );
        let far = ice("[ice]\nhost = [\"turn.example.org\", \"2001:db8::7\"]\nport = 443");
        assert_eq!(ports(&far), both(&[443], &[3478]));
        assert_eq!(
            far.hosts.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["turn.example.org", "[2001:db8::7]"]
        );
        let url = ice("[http]\npublic_url = \"https://meet.example.org:8443/x\"");
        assert_eq!(url.hosts[0].to_string(), "meet.example.org");
    }

    #[test]
    fn the_own_page_is_allowed_where_origins_are_listed() {
        let origins = |url: &str| {
            let text = format!("[http]\ncors_origins = []\npublic_url = \"{url}\"");
            settings(&text, &machine()).ws.origins.unwrap()
        };
        assert_eq!(origins("https://Meet.example.org/path"), ["https://meet.example.org"]);
        assert_eq!(origins("https://meet.example.org:443"), ["https://meet.example.org"]);
        assert_eq!(
            origins("http://meet.example.org:8000"),
            ["http://meet.example.org:8000"]
        );
    }

    #[test]
    fn a_rate_becomes_the_interval_of_one() {
        let rate = |text: &str| {
            settings(&format!("[http]\nrate = \"{text}\""), &machine())
                .http
                .rate
                .interval
        };
        assert_eq!(rate("60/m"), Duration::from_secs(1));
        assert_eq!(rate("10/s"), Duration::from_millis(100));
        assert_eq!(rate("0/s"), Duration::ZERO);
    }

    #[test]
    fn origins_tokens_and_metrics_are_carried_over() {
        let text = "[http]\ncors_origins = [\"https://App.example.org\"]\n[auth]\n\
                    jwt_secrets = [\"0123456789abcdef0123456789abcdef\"]\njwt_audience = \"meet\"\n\
                    [metrics]\nlisten = \"127.0.0.1:9100\"";
        let settings = settings(text, &machine());
        let origins = vec!["https://app.example.org".to_owned()];
        assert_eq!(settings.http.cors, http::Cors::Origins(origins.clone()));
        assert_eq!(settings.ws.origins, Some(origins));
        assert!(matches!(settings.http.auth, http::Auth::Jwt(jwt) if jwt.audience.as_deref() == Some("meet")));
        assert_eq!(settings.http.metrics, http::MetricsAccess::Separate);
    }
}
