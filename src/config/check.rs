//! What must hold between keys.

use super::problem::{Origin, Problem};
use super::schema::Config;
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

fn lifetimes(config: &Config, rules: &mut Rules<'_>) {
    let keys = ["relay.default_lifetime", "relay.max_lifetime"];
    if rules.valid(&keys) && config.relay.default_lifetime > config.relay.max_lifetime {
        rules.broken(
            &keys,
            "`relay.default_lifetime` is above `relay.max_lifetime`".into(),
            "raise `relay.max_lifetime` or lower `relay.default_lifetime`".into(),
        );
    }
}

fn ports(config: &Config, rules: &mut Rules<'_>) {
    let keys = ["relay.port_range", "relay.listen"];
    if !rules.valid(&keys) {
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
    if rules.valid(&["limits.allocations"]) && rules.origins.contains_key("limits.allocations") {
        let ports = range.count() * u32::try_from(config.relay.external_ip.len().max(1)).unwrap_or(u32::MAX);
        if config.limits.allocations > ports {
            rules.broken(
                &["limits.allocations", "relay.port_range"],
                format!("{} allocations do not fit in {ports} ports", config.limits.allocations),
                "widen `relay.port_range` or lower `limits.allocations`".into(),
            );
        }
    }
}

fn listeners(config: &Config, rules: &mut Rules<'_>) {
    for (key, listen) in [
        ("http.listen", &config.http.listen),
        ("relay.listen", &config.relay.listen),
    ] {
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

fn external(config: &Config, rules: &mut Rules<'_>) {
    let key = "relay.external_ip";
    if !rules.valid(&[key]) {
        return;
    }
    for (name, family) in [
        ("IPv4", IpAddr::is_ipv4 as fn(&IpAddr) -> bool),
        ("IPv6", IpAddr::is_ipv6),
    ] {
        if config
            .relay
            .external_ip
            .iter()
            .filter(|external| family(&external.public))
            .count()
            > 1
        {
            rules.broken(
                &[key],
                format!("more than one {name} address"),
                format!("keep the {name} address that peers can reach"),
            );
        }
    }
}
