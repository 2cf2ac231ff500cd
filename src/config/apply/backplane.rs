//! Several replicas as one.

use crate::backplane;
use crate::config::Config;
use crate::fleet;
use crate::signaling::{BusConfig, NodeId};

impl Config {
    pub(super) fn backplane_settings(&self) -> Option<backplane::Config> {
        let shared = &self.backplane;
        Some(backplane::Config {
            url: shared.redis_url.as_ref()?.0.clone(),
            password: shared
                .redis_password
                .as_ref()
                .map(|password| backplane::Password::new(password.expose())),
            ca: shared.redis_ca.as_ref().map(|file| file.0.clone()),
            prefix: shared.prefix.as_str().into(),
            queue: backplane::config::Queue {
                messages: shared.queue_messages,
                bytes: shared.queue_size.as_usize(),
            },
            patience: shared.redis_timeout,
        })
    }

    /// How the hub lives with others, if it does. The name of this process is made at its start.
    pub(super) fn bus_settings(&self) -> Option<BusConfig> {
        let shared = &self.backplane;
        shared.redis_url.as_ref()?;
        Some(BusConfig {
            heartbeat: shared.node_timeout * 2 / 7,
            node_timeout: shared.node_timeout,
            sync_timeout: shared.sync_timeout,
            nodes: shared.nodes,
            mirrored: shared.mirrored_peers,
            ..BusConfig::new(NodeId::new([0; 8]))
        })
    }
}

impl Config {
    /// How the relay lives with others, if it does.
    pub(super) fn fleet_settings(&self) -> Option<fleet::Config> {
        let shared = &self.backplane;
        let own = &self.fleet;
        shared.redis_url.as_ref()?;
        Some(fleet::Config {
            heartbeat: shared.node_timeout * 2 / 7,
            node_timeout: shared.node_timeout,
            nodes: shared.nodes,
            hosts: own.host.iter().map(|host| host.0.clone()).collect(),
            region: own.region.as_str().into(),
            weight: own.weight,
            busy: fleet::Busy {
                from: own.busy_percent,
                until: own.busy_percent * 5 / 6,
            },
            seals: fleet::Seals::new(self.key_ring().as_ref()),
            ..fleet::Config::new(NodeId::new([0; 8]))
        })
    }
}

impl Config {
    /// Bytes that the relay can pass in a second, as far as anybody has said; 0 is nobody.
    #[must_use]
    pub fn relay_capacity(&self) -> u64 {
        match self.fleet.bytes_per_second.0 {
            0 => self.limits.total_bytes_per_second.0,
            set => set,
        }
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
    fn the_defaults_are_those_of_the_modules() {
        let config = config("[backplane]\nredis_url = \"redis://a.example\"\n");
        let url = backplane::RedisUrl::parse("redis://a.example").unwrap();
        assert_eq!(config.backplane_settings(), Some(backplane::Config::at(url)));
        assert_eq!(config.bus_settings(), Some(BusConfig::new(NodeId::new([0; 8]))));
        assert_eq!(config.fleet_settings(), Some(fleet::Config::new(NodeId::new([0; 8]))));
    }

    #[test]
    fn without_a_server_there_is_no_backplane_whatever_else_is_set() {
        let config = config("[backplane]\nprefix = \"x\"\nnodes = 3\n");
        assert_eq!((config.backplane_settings(), config.bus_settings()), (None, None));
        assert_eq!(config.fleet_settings(), None);
    }

    #[test]
    fn the_password_of_its_own_key_takes_the_place_of_the_one_in_the_url() {
        let config = config("[backplane]\nredis_url = \"redis://:one@a.example\"\nredis_password = \"other\"\n");
        let settings = config.backplane_settings().unwrap();
        assert_eq!(settings.password, Some(backplane::Password::new("other")));
    }
}
