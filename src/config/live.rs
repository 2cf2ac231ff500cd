//! Which keys a running process can take over, and which need a restart.

use super::schema::Config;

/// Keys, and whole sections as `name.*`, that a reload changes. Everything else is bound, allocated or handed out once.
const LIVE: &[&str] = &[
    "http.public_url",
    "http.cors_origins",
    "http.hosts",
    "http.trusted_proxies",
    "http.rate",
    "http.burst",
    "http.request_timeout",
    "relay.tcp_relay",
    "relay.software",
    "relay.default_lifetime",
    "relay.max_lifetime",
    "relay.mobility",
    "relay.offer_sha256",
    "relay.username_anonymity",
    "relay.nonce_lifetime",
    "relay.nonce_secret",
    "relay.alternate_servers",
    "relay.alternate_servers_tls",
    "relay.redirect",
    "relay.redirect_above",
    "relay.arrival_ports",
    "relay.drain_timeout",
    "limits.*",
    "nat_discovery.response_port",
    "nat_discovery.answers_per_second",
    "peers.*",
    "credentials.*",
    "third_party.*",
    "ice.*",
    "probes.*",
    "fleet.*",
    "auth.*",
    "signaling.connect_rate",
    "signaling.connect_burst",
    "admin.tokens",
    "signaling.dialects",
    "signaling.peerjs_discovery",
    "signaling.drain_after_min",
    "signaling.drain_after_max",
    "events.*",
    "usage.interval",
    "usage.keys",
    "usage.retention_days",
    "realms.*",
    "keys.*",
    "servers.*",
    "lists.*",
    "log.level",
    "log.addresses",
    "log.burst",
];

/// Whether a reload changes the key `section.name`.
#[must_use]
pub fn is_live(path: &str) -> bool {
    LIVE.iter().any(|live| match live.strip_suffix('*') {
        Some(section) => path.starts_with(section),
        None => *live == path,
    })
}

/// What a reload found to be different, as `section.name`. Never a value: it may be a secret.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Taken over.
    pub applied: Vec<String>,
    /// Left as they were until the process starts again.
    pub needs_restart: Vec<String>,
}

impl Changes {
    /// Notes a key that differs; says whether the new value is to be kept.
    pub(super) fn note(&mut self, section: &str, name: &str) -> bool {
        let path = format!("{section}.{name}");
        let live = is_live(&path);
        let list = if live {
            &mut self.applied
        } else {
            &mut self.needs_restart
        };
        list.push(path);
        live
    }
}

impl Config {
    /// This configuration as far as a process that runs with `running` can take it over, and what differs.
    #[must_use]
    pub fn continuing(mut self, running: &Self) -> (Self, Changes) {
        let mut changes = Changes::default();
        self.keep(running, &mut changes);
        (self, changes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::loaded;

    fn config(text: &str) -> Config {
        loaded(text).unwrap()
    }

    #[test]
    fn every_entry_of_the_list_is_a_key_or_a_section() {
        let sections = [Config::sections(), Config::named_sections()].concat();
        for entry in LIVE {
            let (section, name) = entry.split_once('.').unwrap();
            let is_it = |each: &&crate::config::Section| each.name.split('.').next() == Some(section);
            let section = sections.iter().find(is_it).unwrap();
            assert!(
                name == "*" || section.keys.iter().any(|key| key.name == name),
                "{entry} does not exist"
            );
        }
    }

    #[test]
    fn what_can_change_is_taken_over_and_what_cannot_is_named_and_kept() {
        let running = config("[credentials]\nsecrets = \"0123456789abcdef\"\n[relay]\nport_range = \"50000-50010\"\n");
        let wanted = config(
            "[credentials]\nsecrets = \"fedcba9876543210\"\n[relay]\nport_range = \"50000-50020\"\nrealm = \"other\"\n\
             [peers]\nallow = \"10.0.0.0/8\"\n",
        );
        let (config, changes) = wanted.clone().continuing(&running);
        assert_eq!(changes.applied, ["peers.allow", "credentials.secrets"]);
        assert_eq!(changes.needs_restart, ["relay.port_range", "relay.realm"]);
        assert_eq!(config.relay, running.relay);
        assert_eq!(
            (&config.credentials, &config.peers),
            (&wanted.credentials, &wanted.peers)
        );
    }

    #[test]
    fn the_same_configuration_changes_nothing() {
        let running = config("[log]\nlevel = \"debug\"\n");
        assert_eq!(running.clone().continuing(&running), (running, Changes::default()));
    }
}
