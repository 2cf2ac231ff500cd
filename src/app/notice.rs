//! What an operator should know at the start: what listens where, and what is open.

use crate::config::detect::Machine;
use crate::config::types::{Endpoint, SecretText};
use crate::config::{Config, RelayListeners, Settings};
use crate::credentials::key_ring::RECOMMENDED_SECRET_BYTES;
use crate::http;
use crate::signaling::Dialect;
use crate::telemetry::build_info;
use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

/// The addresses that were taken.
#[derive(Debug, Clone, Default)]
pub(super) struct Listening {
    pub(super) web: Vec<SocketAddr>,
    pub(super) metrics: Vec<SocketAddr>,
    pub(super) dialects: Vec<(SocketAddr, Dialect)>,
    pub(super) https: Vec<SocketAddr>,
    pub(super) relay: RelayListeners,
}

/// What is open, or will surprise, with the key that changes it.
pub(super) fn warnings(config: &Config, settings: &Settings) -> Vec<String> {
    let mut all = Vec::new();
    let secrets = &config.credentials.secrets;
    if secrets.is_empty() {
        all.push(
            "no shared secret is configured, so one was made at random for this process: a restart ends every credential, \
             and replicas refuse each other's (credentials.secrets)"
                .to_owned(),
        );
    } else if secrets
        .iter()
        .any(|secret| secret.expose().len() < RECOMMENDED_SECRET_BYTES)
    {
        all.push(format!(
            "a shared secret has fewer than {RECOMMENDED_SECRET_BYTES} characters and can be guessed from one credential \
             (credentials.secrets)"
        ));
    }
    for (name, realm) in &config.realms {
        let is_short = |secret: &SecretText| secret.expose().len() < RECOMMENDED_SECRET_BYTES;
        if realm.secrets.iter().any(is_short) {
            all.push(format!(
                "a shared secret has fewer than {RECOMMENDED_SECRET_BYTES} characters and can be guessed from one credential \
                 (realms.{name}.secrets)"
            ));
        }
        if !realm.allow.is_empty() {
            let networks: Vec<_> = realm.allow.iter().map(ToString::to_string).collect();
            all.push(format!(
                "holders of a credential of {name} reach every UDP service in {} (realms.{name}.allow)",
                networks.join(", ")
            ));
        }
    }
    let open = settings.http.auth == http::Auth::Open;
    if open && settings.http.refuse_strangers {
        all.push(
            "everyone who reaches this server may join rooms, and fetches no credentials there (auth.jwt_secrets)"
                .to_owned(),
        );
    } else if open {
        all.push("everyone who reaches this server may fetch credentials and join rooms (auth.jwt_secrets)".to_owned());
    }
    if open && !settings.http.refuse_strangers && !config.keys.is_empty() {
        all.push("API keys keep nobody out: credentials are given without one, too (auth.anonymous_turn)".to_owned());
    }
    for (name, key) in &config.keys {
        if !key.origins.is_empty() && key.quota_per_hour == 0 && key.quota_per_day == 0 {
            all.push(format!(
                "the key {name} stands in pages, where everybody can copy it, and has no quota (keys.{name}.quota_per_day)"
            ));
        }
    }
    let crosses_open = |url: &&Endpoint| !url.0.secure && !is_own(&url.0.host);
    if let Some(url) = config.auth.jwks_url.as_ref().filter(crosses_open) {
        all.push(format!(
            "the key set comes from {} without TLS: whoever is on the way there decides who is let in (auth.jwks_url)",
            url.0
        ));
    }
    if let Some(url) = config.auth.hook_url.as_ref().filter(crosses_open) {
        all.push(format!(
            "tokens are sent to {} without TLS: whoever is on the way there reads them (auth.hook_url)",
            url.0
        ));
    }
    if open && settings.http.cors == http::Cors::Any {
        all.push("so may the visitors of every other web page (http.cors_origins)".to_owned());
    }
    let tcp = settings.turn.tcp_relay;
    if tcp {
        all.push(
            "holders of a credential open TCP connections from here to any public address and port (relay.tcp_relay)"
                .to_owned(),
        );
    }
    if !config.peers.allow.is_empty() {
        let networks: Vec<_> = config.peers.allow.iter().map(ToString::to_string).collect();
        all.push(format!(
            "holders of a credential reach every UDP{} service in {} (peers.allow)",
            if tcp { " and TCP" } else { "" },
            networks.join(", ")
        ));
    }
    if config
        .streams
        .proxy_protocol_from
        .iter()
        .any(|network| network.prefix_len() == 0)
    {
        all.push("everybody may send a PROXY header and pass for any client (streams.proxy_protocol_from)".to_owned());
    }
    if let Some(discovery) = &settings.turn.nat_discovery {
        all.push(format!(
            "answers of NAT discovery are longer than their requests and leave from other addresses{} (nat_discovery.addresses)",
            if discovery.response_port { ", to any port of the client" } else { "" }
        ));
    }
    for hook in settings.events.hooks.iter().filter(|hook| !hook.url.secure) {
        if !is_local(&hook.url.host) {
            all.push(format!(
                "{} is told of users and their addresses without TLS (events.webhooks)",
                hook.url
            ));
        }
    }
    if let Some(backplane) = &settings.backplane
        && !backplane.url.secure
        && !is_local(&backplane.url.host)
    {
        all.push(format!(
            "what rooms share with other replicas passes to {} without TLS (backplane.redis_url)",
            backplane.url
        ));
    }
    for address in settings.turn.relay_addrs.iter().map(|address| address.advertised) {
        if address.is_loopback() {
            all.push(format!(
                "relaying from {address}: only this machine can be a peer (relay.external_ip)"
            ));
        } else if is_private(address) {
            all.push(format!(
                "relaying from {address}: peers outside this network cannot send to it (relay.external_ip)"
            ));
        }
    }
    all
}

fn is_local(host: &str) -> bool {
    host.parse().map_or(host == "localhost", |ip: IpAddr| ip.is_loopback())
}

fn is_private(address: IpAddr) -> bool {
    match address {
        // Shared address space (RFC 6598) is as far from the internet as RFC 1918.
        IpAddr::V4(v4) => {
            v4.is_private() || v4.is_link_local() || (v4.octets()[0] == 100 && v4.octets()[1] & 0xc0 == 64)
        }
        IpAddr::V6(v6) => v6.segments()[0] & 0xfe00 == 0xfc00,
    }
}

/// Where to go with a browser: on this machine, and on others of the network.
pub(super) fn urls(config: &Config, listening: &Listening, machine: &Machine) -> Vec<String> {
    if let Some(url) = &config.http.public_url {
        return vec![format!("{}/", url.trim_end_matches('/'))];
    }
    let mut secure: Vec<SocketAddr> = listening.https.clone();
    if !config.tls.certificates.is_empty() {
        secure.extend(&listening.relay.one_port);
    }
    let plain = listening.web.iter().map(|address| ("http", address));
    let mut urls = Vec::new();
    for (scheme, address) in plain.chain(secure.iter().map(|address| ("https", address))) {
        let url = |host: IpAddr, port: u16| format!("{scheme}://{}/", SocketAddr::new(host, port));
        let (ip, port) = (address.ip(), address.port());
        if ip.is_unspecified() || ip.is_loopback() {
            urls.push(format!("{scheme}://localhost:{port}/"));
        }
        if ip.is_unspecified() {
            urls.extend(machine.default_route_like(ip).map(|host| url(host, port)));
        } else if !ip.is_loopback() {
            urls.push(url(ip, port));
        }
    }
    let mut seen = Vec::new();
    urls.retain(|url| {
        let new = !seen.contains(url);
        seen.push(url.clone());
        new
    });
    urls
}

/// The greeting on a terminal.
pub(super) fn banner(config: &Config, settings: &Settings, listening: &Listening, machine: &Machine) -> String {
    let list = |addresses: &[SocketAddr]| addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let relays: Vec<_> = settings
        .turn
        .relay_addrs
        .iter()
        .map(|address| address.advertised.to_string())
        .collect();
    let range = config.relay.port_range;
    let mut out = format!("\nmeetpoint {} is running\n\n", build_info::VERSION);
    let urls = urls(config, listening, machine);
    for (at, url) in urls.iter().enumerate() {
        let _ = writeln!(out, "  {:<11}{url}", if at == 0 { "open" } else { "" });
    }
    if !listening.metrics.is_empty() {
        let _ = writeln!(out, "  {:<11}{}", "metrics", list(&listening.metrics));
    }
    for (address, dialect) in &listening.dialects {
        let _ = writeln!(out, "  {:<11}{address} ({})", "signaling", dialect.as_label());
    }
    let relay = &listening.relay;
    let _ = writeln!(out, "  {:<11}{} (UDP)", "STUN/TURN", list(&relay.udp));
    for (addresses, over) in [(&relay.tcp, "TCP"), (&relay.tls, "TLS"), (&relay.dtls, "DTLS")] {
        if !addresses.is_empty() {
            let _ = writeln!(out, "  {:<11}{} ({over})", "", list(addresses));
        }
    }
    if !relay.one_port.is_empty() {
        let _ = writeln!(out, "  {:<11}{}", "everything", list(&relay.one_port));
    }
    let _ = writeln!(
        out,
        "  {:<11}from {}, ports {}-{}",
        "relaying",
        relays.join(", "),
        range.first,
        range.last
    );
    let _ = writeln!(out, "  {:<11}meetpoint check {}", "test it", first_host(&urls));
    let warnings = warnings(config, settings);
    if !warnings.is_empty() {
        let _ = writeln!(out);
    }
    for warning in warnings {
        let _ = writeln!(out, "  note: {warning}");
    }
    out.push('\n');
    out
}

fn first_host(urls: &[String]) -> &str {
    urls.first()
        .map_or("http://localhost:8000", |url| url.trim_end_matches('/'))
}

/// Whether a host is this machine, by its name or its address.
fn is_own(host: &str) -> bool {
    host == "localhost" || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{File, Sources, load};

    fn machine() -> Machine {
        Machine {
            ipv4: Some("192.168.1.5".parse().unwrap()),
            ipv6: None,
            addresses: Vec::new(),
            outside: Vec::new(),
        }
    }

    fn loaded(text: &str) -> (Config, Settings) {
        let file = File {
            path: "m.toml".into(),
            text: text.into(),
        };
        let config = load(&Sources {
            file: Some(file),
            ..Sources::none()
        })
        .unwrap()
        .config;
        let settings = config.settings(&machine());
        (config, settings)
    }

    fn warned(text: &str) -> String {
        let (config, settings) = loaded(text);
        warnings(&config, &settings).join("\n")
    }

    #[test]
    fn a_server_without_configuration_says_everything_that_is_open() {
        let all = warned("");
        for key in [
            "credentials.secrets",
            "auth.jwt_secrets",
            "http.cors_origins",
            "relay.external_ip",
        ] {
            assert!(all.contains(key), "{key} is missing in\n{all}");
        }
        assert!(!all.contains("peers.allow"));
    }

    #[test]
    fn a_server_that_is_closed_says_nothing() {
        let all = warned(
            "[credentials]\nsecrets = \"0123456789abcdef\"\n[auth]\njwt_secrets = \"0123456789abcdef0123456789abcdef\"\n\
             [relay]\nexternal_ip = \"203.0.113.5/192.168.1.5\"\n",
        );
        assert_eq!(all, "");
    }

    #[test]
    fn short_secrets_and_open_networks_are_named() {
        let all = warned("[credentials]\nsecrets = \"short\"\n[peers]\nallow = \"10.0.0.0/8\"\n");
        assert!(
            all.contains("fewer than 16 characters") && all.contains("in 10.0.0.0/8 (peers.allow)"),
            "{all}"
        );
        assert!(!all.contains("short\""));
        let open = "[nat_discovery]\naddresses = [\"203.0.113.5\", \"203.0.113.6\"]\n";
        assert!(warned(open).contains("leave from other addresses (nat_discovery.addresses)"));
        assert!(warned(&format!("{open}response_port = true\n")).contains("to any port of the client"));
    }

    #[test]
    fn believing_everybodys_proxy_headers_is_named() {
        let key = "streams.proxy_protocol_from";
        assert!(warned("[streams]\nproxy_protocol_from = [\"0.0.0.0/0\"]\n").contains(key));
        assert!(!warned("[streams]\nproxy_protocol_from = [\"10.0.0.0/8\"]\n").contains(key));
    }

    #[test]
    fn a_backplane_without_tls_to_another_machine_is_named() {
        let key = "backplane.redis_url";
        let with = |url: &str| warned(&format!("[backplane]\nredis_url = \"{url}\"\n"));
        assert!(with("redis://:hunter2@10.0.0.7").contains(key));
        assert!(!with("redis://:hunter2@10.0.0.7").contains("hunter2"));
        for url in ["redis://localhost", "redis://[::1]", "rediss://10.0.0.7"] {
            assert!(!with(url).contains(key), "{url}");
        }
    }

    #[test]
    fn the_greeting_says_what_to_open_on_this_machine_and_on_another() {
        let (config, settings) = loaded("");
        let listening = Listening {
            web: vec!["0.0.0.0:8000".parse().unwrap(), "[::]:8000".parse().unwrap()],
            metrics: Vec::new(),
            relay: RelayListeners {
                udp: vec!["0.0.0.0:3478".parse().unwrap()],
                tcp: vec!["0.0.0.0:3478".parse().unwrap()],
                ..RelayListeners::default()
            },
            ..Listening::default()
        };
        let text = banner(&config, &settings, &listening, &machine());
        assert!(text.contains("open       http://localhost:8000/\n"), "{text}");
        assert!(text.contains("           http://192.168.1.5:8000/\n"), "{text}");
        assert_eq!(text.matches("localhost:8000/\n").count(), 1, "{text}");
        assert!(text.contains("from 192.168.1.5, ports 49152-65535"), "{text}");
        let (config, _) = loaded("[http]\npublic_url = \"https://meet.example.org\"\n");
        assert_eq!(urls(&config, &listening, &machine()), ["https://meet.example.org/"]);
    }

    #[test]
    fn addresses_that_only_their_network_reaches_are_private() {
        for address in ["10.0.0.1", "192.168.1.5", "100.64.0.1", "169.254.1.1", "fd00::1"] {
            assert!(is_private(address.parse().unwrap()), "{address}");
        }
        for address in ["100.128.0.1", "203.0.113.5", "2001:db8::1"] {
            assert!(!is_private(address.parse().unwrap()), "{address}");
        }
    }
}
