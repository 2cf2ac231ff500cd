//! Who is told what happens.

use crate::config::Config;
use crate::config::types::LogAddresses;
use crate::events;
use crate::telemetry::redact::Addresses;

impl Config {
    pub(super) fn event_settings(&self) -> events::Config {
        let told = &self.events;
        events::Config {
            log: told.log,
            log_addresses: if told.log_addresses {
                Addresses::Full
            } else {
                self.shown_addresses()
            },
            hooks: told.webhooks.iter().map(|hook| hook.0.clone()).collect(),
            queue: events::config::Queue {
                events: told.queue_events,
                bytes: told.queue_size.as_usize(),
            },
            retry_for: told.retry_for,
            subscribers: told.subscribers,
        }
    }

    /// How much of clients' addresses lines show.
    pub(super) const fn shown_addresses(&self) -> Addresses {
        match self.log.addresses {
            LogAddresses::Network => Addresses::Network,
            LogAddresses::Full => Addresses::Full,
            LogAddresses::None => Addresses::None,
        }
    }

    /// Whether anybody is told, or may come to listen.
    pub(super) fn notes_events(&self) -> bool {
        let told = &self.events;
        told.log || !told.webhooks.is_empty() || !self.admin.tokens.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::detect::Machine;

    #[test]
    fn the_defaults_are_those_of_the_module() {
        assert_eq!(Config::default().event_settings(), events::Config::default());
    }

    #[test]
    fn nothing_is_noted_when_nobody_can_listen() {
        let noted = |text: &str| {
            let file = crate::config::File {
                path: "m.toml".into(),
                text: text.into(),
            };
            let sources = crate::config::Sources {
                file: Some(file),
                ..crate::config::Sources::none()
            };
            let config = crate::config::load(&sources).unwrap().config;
            config.settings(&Machine::default()).turn.events
        };
        assert!(!noted(""));
        assert!(noted("[events]\nlog = true"));
        assert!(noted(
            "[[events.webhooks]]\nurl = \"http://a\"\nsecret = \"0123456789abcdef\""
        ));
        assert!(noted("[admin]\ntokens = \"0123456789abcdef0123456789abcdef\""));
    }
}
