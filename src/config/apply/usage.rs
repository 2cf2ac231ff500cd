//! What tenants used, written down.

use crate::config::Config;
use crate::usage;

impl Config {
    pub(super) fn usage_settings(&self) -> usage::Config {
        let kept = &self.usage;
        usage::Config {
            directory: kept.directory.as_ref().map(|directory| directory.0.clone()),
            interval: kept.interval,
            retention_days: kept.retention_days,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_those_of_the_module() {
        assert_eq!(Config::default().usage_settings(), usage::Config::default());
    }
}
