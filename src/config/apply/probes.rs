//! Whether the servers in the ICE lists work.

use crate::config::Config;
use crate::config::types::ProbeOwn;
use crate::probe;

impl Config {
    pub(super) fn probe_settings(&self) -> probe::Config {
        let wanted = &self.probes;
        probe::Config {
            servers: wanted.servers,
            own: match wanted.own {
                ProbeOwn::Auto => probe::config::Own::Auto,
                ProbeOwn::On => probe::config::Own::On,
                ProbeOwn::Off => probe::config::Own::Off,
            },
            interval: wanted.interval,
            timeout: wanted.timeout,
            rules: probe::Rules {
                failures: wanted.failures,
                successes: wanted.successes,
                calm: wanted.calm,
            },
            at_once: wanted.concurrency,
            authorities: wanted.ca.as_ref().map(|file| file.0.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_those_of_the_module() {
        assert_eq!(Config::default().probe_settings(), probe::Config::default());
    }
}
