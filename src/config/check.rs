//! What must hold between keys.

mod keys;
mod lists;
mod realms;

use super::apply::overlap;
use super::discovery::Wrong;
use super::problem::{Origin, Problem};
use super::schema::Config;
use super::types::TcpListen;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

/// Adds what is wrong between keys. A rule whose keys are already wrong one by one says nothing.
pub(super) fn across(
    config: &Config,
    origins: &BTreeMap<String, Origin>,
    invalid: &BTreeSet<String>,
    problems: &mut Vec<Problem>,
) {
    let mut rules = Rules {
        origins,
        invalid,
        problems,
    };
    lifetimes(config, &mut rules);
    ports(config, &mut rules);
    listeners(config, &mut rules);
    external(config, &mut rules);
    nat_discovery(config, &mut rules);
    redirect(config, &mut rules);
    tokens(config, &mut rules);
    third_party(config, &mut rules);
    realms::check(config, &mut rules);
    keys::check(config, &mut rules);
    lists::check(config, &mut rules);
    dialects(config, &mut rules);
    drain_window(config, &mut rules);
    backplane(config, &mut rules);
    fleet(config, &mut rules);
}

struct Rules<'a> {
    origins: &'a BTreeMap<String, Origin>,
    invalid: &'a BTreeSet<String>,
    problems: &'a mut Vec<Problem>,
}

impl Rules<'_> {
    fn valid(&self, keys: &[&str]) -> bool {
        keys.iter().all(|key| !self.invalid.contains(*key))
    }

    /// A problem of several keys is shown at the first of them that somebody set.
    fn broken(&mut self, keys: &[&str], wrong: String, fix: String) {
        let key = keys
            .iter()
            .find(|key| self.origins.contains_key(**key))
            .or(keys.first())
            .copied()
            .unwrap_or_default();
        let origin = self.origins.get(key).cloned().unwrap_or(Origin::Default);
        self.problems.push(Problem {
            origin,
            key: key.to_owned(),
            wrong,
            fix,
        });
    }
}

/// A window ends no sooner than it begins.
fn drain_window(config: &Config, rules: &mut Rules<'_>) {
    let (min, max) = ("signaling.drain_after_min", "signaling.drain_after_max");
    let hub = &config.signaling;
    if rules.valid(&[min, max]) && hub.drain_after_min > hub.drain_after_max {
        rules.broken(
            &[min, max],
            format!("clients would come back no sooner than `{min}` and no later than `{max}`, which is less"),
            format!("set `{min}` to `{max}` at most"),
        );
    }
}

/// Certificates that are never looked at, and a password for nobody: somebody meant more than that.
fn backplane(config: &Config, rules: &mut Rules<'_>) {
    let (url, password, ca) = ("backplane.redis_url", "backplane.redis_password", "backplane.redis_ca");
    if !rules.valid(&[url, password, ca]) {
        return;
    }
    let backplane = &config.backplane;
    match &backplane.redis_url {
        None if backplane.redis_password.is_some() => {
            rules.broken(
                &[password],
                "there is no server to show it to".into(),
                format!("set `{url}`"),
            );
        }
        None if backplane.redis_ca.is_some() => {
            rules.broken(&[ca], "there is no server to believe".into(), format!("set `{url}`"));
        }
        Some(address) if backplane.redis_ca.is_some() && !address.0.secure => {
            let fix = format!("write `{url}` with rediss://, or remove it");
            rules.broken(&[ca], "without TLS nobody looks at it".into(), fix);
        }
        _ => {}
    }
}

/// Rooms are given relays by replicas that hear each other, and by credentials that each of them takes.
fn fleet(config: &Config, rules: &mut Rules<'_>) {
    let (host, url, secrets) = ("fleet.host", "backplane.redis_url", "credentials.secrets");
    if !rules.valid(&[host, url, secrets]) || config.fleet.host.is_empty() {
        return;
    }
    if config.backplane.redis_url.is_none() {
        let fix = format!("set `{url}`, or `ice.host` for a process that is alone");
        rules.broken(&[host], "without a backplane there is nobody to tell it to".into(), fix);
    }
    if config.credentials.secrets.is_empty() {
        let fix = format!("set `{secrets}` to the same on all replicas");
        rules.broken(
            &[host],
            "a secret that this process makes for itself opens no other relay".into(),
            fix,
        );
    }
}

/// A name without a key, or a key without a name, takes no token: somebody meant more than that.
fn third_party(config: &Config, rules: &mut Rules<'_>) {
    let (name, keys) = ("third_party.server_name", "third_party.keys");
    if !rules.valid(&[name, keys]) {
        return;
    }
    match (&config.third_party.server_name, config.third_party.keys.is_empty()) {
        (Some(_), true) => {
            let fix = format!("give `{keys}` the key of an authorization server");
            rules.broken(&[name], "without a key no token can be opened".into(), fix);
        }
        (None, false) => {
            let fix = format!("set `{name}` to the name that tokens are sealed for");
            rules.broken(&[keys], "without a name no token is for this server".into(), fix);
        }
        _ => {}
    }
}

/// A path is answered by one handler.
fn dialects(config: &Config, rules: &mut Rules<'_>) {
    const TAKEN: [&str; 10] = [
        "/api",
        "/client.",
        "/console",
        "/health",
        "/metrics",
        "/openapi",
        "/readyz",
        "/signaling",
        "/turn",
        "/v1",
    ];
    let key = "signaling.dialects";
    let mut seen = BTreeSet::new();
    for entry in &config.signaling.dialects {
        let path = entry.path.trim_end_matches('/');
        if TAKEN.iter().any(|taken| path.starts_with(taken)) {
            let fix = "choose another path, or let clients that can choose none come to `/signaling`";
            rules.broken(&[key], format!("`{path}` is answered by something else"), fix.into());
        } else if !seen.insert(path) {
            rules.broken(
                &[key],
                format!("`{}` stands there twice", entry.path),
                "remove one of them".into(),
            );
        }
    }
}

/// Nothing to judge tokens by means that everybody is let in: nobody shall get there who meant to ask for tokens. An empty
/// variable is what an unset one becomes in `KEY=${OTHER}`; a list that is empty in the file was written so.
fn tokens(config: &Config, rules: &mut Rules<'_>) {
    let auth = &config.auth;
    let (url, secret) = ("auth.hook_url", "auth.hook_secret");
    if rules.valid(&[url, secret]) {
        if auth.hook_url.is_some() && auth.hook_secret.is_none() {
            let fix = format!("set `{secret}` or `{secret}_file`");
            rules.broken(
                &[url],
                "the service could not tell its questions from forgeries".into(),
                fix,
            );
        } else if auth.hook_url.is_none() && auth.hook_secret.is_some() {
            let fix = format!("set `{url}`, or remove `{secret}`");
            rules.broken(&[secret], "signs what nobody is asked".into(), fix);
        }
    }
    let judges = ["auth.jwt_secrets", "auth.jwt_keys", "auth.jwks_url", url];
    if !rules.valid(&judges) {
        return;
    }
    let open = "without `auth.jwt_secrets`, `auth.jwt_keys`, `auth.jwks_url` or `auth.hook_url` everybody is let in";
    for judge in judges.iter().filter(|_| !auth.is_closed()) {
        if matches!(rules.origins.get(*judge), Some(Origin::Env(_))) {
            let fix = "give it a value, or unset it to let everybody in";
            rules.broken(&[judge], format!("the variable is empty: {open}"), fix.into());
        }
    }
    for (key, is_set) in [
        ("auth.jwt_audience", auth.jwt_audience.is_some()),
        ("auth.jwt_issuer", auth.jwt_issuer.is_some()),
    ] {
        if is_set && !auth.asks_for_keys() {
            let (wrong, fix) = if auth.is_closed() {
                (
                    "asks something of tokens, but there are no keys to verify them".to_owned(),
                    "set some",
                )
            } else {
                (format!("asks something of tokens, but {open}"), "set one of them")
            };
            rules.broken(&[key], wrong, format!("{fix}, or remove `{key}`"));
        }
    }
}

fn lifetimes(config: &Config, rules: &mut Rules<'_>) {
    let keys = ["credentials.ttl", "credentials.max_ttl"];
    if rules.valid(&keys) && config.credentials.ttl > config.credentials.max_ttl {
        rules.broken(
            &keys,
            "`credentials.ttl` is above `credentials.max_ttl`".into(),
            "raise `credentials.max_ttl` or lower `credentials.ttl`".into(),
        );
    }
    let keys = ["signaling.ping_interval", "signaling.dead_after"];
    if rules.valid(&keys) && config.signaling.ping_interval >= config.signaling.dead_after {
        rules.broken(
            &keys,
            "a connection would be dead before it is pinged".into(),
            "keep `signaling.ping_interval` below `signaling.dead_after`".into(),
        );
    }
    let keys = ["relay.default_lifetime", "relay.max_lifetime"];
    if rules.valid(&keys) && config.relay.default_lifetime > config.relay.max_lifetime {
        rules.broken(
            &keys,
            "`relay.default_lifetime` is above `relay.max_lifetime`".into(),
            "raise `relay.max_lifetime` or lower `relay.default_lifetime`".into(),
        );
    }
}

/// A relay that meets a listener's port takes another one, so the default range may hold one. A range that somebody
/// wrote down was meant to be free.
fn ports(config: &Config, rules: &mut Rules<'_>) {
    let keys = ["relay.port_range", "relay.listen"];
    if !rules.valid(&keys) || !rules.origins.contains_key("relay.port_range") {
        return;
    }
    let range = config.relay.port_range;
    for listen in config
        .relay
        .listen
        .iter()
        .filter(|listen| range.contains(listen.port()))
    {
        rules.broken(
            &keys,
            format!(
                "the relay range {}-{} contains the port of the listener {listen}",
                range.first, range.last
            ),
            format!(
                "choose a range without {} or another port in `relay.listen`",
                listen.port()
            ),
        );
    }
}

fn listeners(config: &Config, rules: &mut Rules<'_>) {
    let keys = ["metrics.listen", "http.listen"];
    if rules.valid(&keys) {
        let shared = |address: &&SocketAddr| address.port() != 0 && config.http.listen.contains(address);
        for address in config.metrics.listen.iter().filter(shared) {
            rules.broken(
                &keys,
                format!("{address} is also in `http.listen`"),
                "remove it: without an address of their own the metrics are served there".into(),
            );
        }
    }
    let relay_tcp = match &config.relay.listen_tcp {
        TcpListen::At(addresses) => addresses.as_slice(),
        TcpListen::Same | TcpListen::Off => &[],
    };
    let dialects = config.dialect_listeners();
    let lists: [(&str, &[SocketAddr]); 9] = [
        ("http.listen", &config.http.listen),
        ("relay.listen", &config.relay.listen),
        ("metrics.listen", &config.metrics.listen),
        ("relay.listen_tcp", relay_tcp),
        ("relay.listen_tls", &config.relay.listen_tls),
        ("http.listen_tls", &config.http.listen_tls),
        ("streams.one_port", &config.streams.one_port),
        ("relay.listen_dtls", &config.relay.listen_dtls),
        ("signaling.listeners", &dialects),
    ];
    let of_tcp = |key: &str| !["relay.listen", "relay.listen_dtls"].contains(&key);
    tcp_twice(lists.into_iter().filter(|(key, _)| of_tcp(key)), rules);
    without_certificate(config, rules);
    dtls(config, rules);
    for (key, listen) in lists {
        if !rules.valid(&[key]) {
            continue;
        }
        let mut seen: BTreeSet<SocketAddr> = BTreeSet::new();
        for address in listen {
            if !seen.insert(*address) && address.port() != 0 {
                rules.broken(
                    &[key],
                    format!("{address} is listed twice"),
                    "remove one of them".into(),
                );
            }
        }
    }
}

/// A TCP address serves one thing.
fn tcp_twice<'a>(lists: impl Iterator<Item = (&'a str, &'a [SocketAddr])>, rules: &mut Rules<'_>) {
    let lists: Vec<_> = lists.collect();
    for (at, (key, listen)) in lists.iter().enumerate() {
        for (other, taken) in lists.iter().take(at) {
            // Has words of its own.
            let is_metrics = [*key, *other] == ["metrics.listen", "http.listen"];
            let keys = [*key, *other];
            if is_metrics || !rules.valid(&keys) {
                continue;
            }
            for address in *listen {
                if taken.iter().any(|taken| overlap(*taken, *address)) {
                    rules.broken(
                        &keys,
                        format!("{address} is also in `{other}`"),
                        "choose another port for one of them, or serve both with `streams.one_port`".into(),
                    );
                }
            }
        }
    }
}

/// TLS needs a certificate, and a certificate that serves nothing was meant for something.
fn without_certificate(config: &Config, rules: &mut Rules<'_>) {
    let tls = [
        ("relay.listen_tls", &config.relay.listen_tls),
        ("http.listen_tls", &config.http.listen_tls),
    ];
    if !config.tls.certificates.is_empty() {
        let for_dtls = !config.relay.listen_dtls.is_empty() && config.tls.dtls_certificate.is_none();
        let one_port = !config.streams.one_port.is_empty();
        let is_used = tls.iter().any(|(_, listen)| !listen.is_empty()) || one_port || for_dtls;
        let keys = [
            "tls.certificates",
            "relay.listen_tls",
            "http.listen_tls",
            "streams.one_port",
        ];
        if !is_used && rules.valid(&keys) {
            rules.broken(
                &keys,
                "nothing listens with TLS".into(),
                "set `relay.listen_tls` (usually \"0.0.0.0:5349\"), `http.listen_tls` or `streams.one_port`".into(),
            );
        }
        return;
    }
    for (key, listen) in tls {
        if !listen.is_empty() && rules.valid(&["tls.certificates", key]) {
            rules.broken(
                &[key],
                "TLS without a certificate".into(),
                "name the files in `tls.certificates`, such as \"/etc/meetpoint/chain.pem:/etc/meetpoint/key.pem\""
                    .into(),
            );
        }
    }
}

/// DTLS needs a certificate and a UDP port of its own.
fn dtls(config: &Config, rules: &mut Rules<'_>) {
    let key = "relay.listen_dtls";
    let listen = &config.relay.listen_dtls;
    let keys = [key, "tls.certificates", "tls.dtls_certificate"];
    let certified = !config.tls.certificates.is_empty() || config.tls.dtls_certificate.is_some();
    if !listen.is_empty() && !certified && rules.valid(&keys) {
        rules.broken(
            &[key],
            "DTLS without a certificate".into(),
            "name the files in `tls.dtls_certificate`, such as \"/etc/meetpoint/cert.pem:/etc/meetpoint/key.pem\""
                .into(),
        );
    }
    if listen.is_empty() && config.tls.dtls_certificate.is_some() && rules.valid(&keys) {
        rules.broken(
            &["tls.dtls_certificate"],
            "nothing listens with DTLS".into(),
            "set `relay.listen_dtls` (usually \"0.0.0.0:5349\")".into(),
        );
    }
    let keys = [key, "relay.listen"];
    for address in listen.iter().filter(|_| rules.valid(&keys)).collect::<Vec<_>>() {
        if config.relay.listen.iter().any(|taken| overlap(*taken, *address)) {
            rules.broken(
                &keys,
                format!("{address} is also in `relay.listen`"),
                "choose another port for one of them: 5349 is that of DTLS".into(),
            );
        }
        let range = config.relay.port_range;
        if range.contains(address.port()) && rules.origins.contains_key("relay.port_range") {
            rules.broken(
                &["relay.port_range", key],
                format!(
                    "the relay range {}-{} contains the port of the listener {address}",
                    range.first, range.last
                ),
                format!("choose a range without {} or another port in `{key}`", address.port()),
            );
        }
    }
}

/// Families of which only one address can be had.
fn one_of_each_family(key: &str, addresses: &[IpAddr], rules: &mut Rules<'_>) {
    for (name, v4) in [("IPv4", true), ("IPv6", false)] {
        if addresses.iter().filter(|address| address.is_ipv4() == v4).count() > 1 {
            rules.broken(
                &[key],
                format!("more than one {name} address"),
                format!("keep one {name} address"),
            );
        }
    }
}

fn external(config: &Config, rules: &mut Rules<'_>) {
    let relay = &config.relay;
    let key = "relay.external_ip";
    if rules.valid(&[key]) {
        let addresses: Vec<_> = relay.external_ip.iter().map(|external| external.public).collect();
        one_of_each_family(key, &addresses, rules);
    }
}

fn redirect(config: &Config, rules: &mut Rules<'_>) {
    for (key, Wrong(wrong, fix)) in config.redirect_problems() {
        if rules.valid(&[key, "relay.listen"]) {
            rules.broken(&[key], wrong, fix);
        }
    }
}

fn nat_discovery(config: &Config, rules: &mut Rules<'_>) {
    let keys = [
        "nat_discovery.addresses",
        "nat_discovery.alternate_port",
        "relay.listen",
    ];
    if !rules.valid(&keys) {
        return;
    }
    if let Err(Wrong(wrong, fix)) = config.discovery_places() {
        rules.broken(&["nat_discovery.addresses"], wrong, fix);
    }
    let (port, range) = (config.nat_discovery.alternate_port, config.relay.port_range);
    let is_used = !config.nat_discovery.addresses.is_empty() && rules.origins.contains_key("relay.port_range");
    if is_used && rules.valid(&["relay.port_range"]) && range.contains(port) {
        rules.broken(
            &["nat_discovery.alternate_port", "nat_discovery.addresses"],
            format!("the relay range {}-{} contains port {port}", range.first, range.last),
            format!("choose a range without {port}, or another `nat_discovery.alternate_port`"),
        );
    }
}
