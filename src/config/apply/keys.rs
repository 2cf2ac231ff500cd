//! From `[keys.NAME]` to what the web server knows of an API key.

use super::interval;
use crate::config::schema::{ApiKey, Config};
use crate::config::types::AnonymousTurn;
use crate::credentials::{DEFAULT_REALM, MADE_KEY};
use crate::http;
use crate::http::keys::Grant;
use crate::turn::{ShareNames, share_name};
use std::sync::Arc;

impl Config {
    /// Whether those without token and key get nothing, where nobody is asked for a token.
    pub(in crate::config) fn refuses_strangers(&self) -> bool {
        match self.auth.anonymous_turn {
            AnonymousTurn::Yes => false,
            AnonymousTurn::No => true,
            AnonymousTurn::UntilKeys => !self.keys.is_empty() || self.http.keys_file.is_some(),
        }
    }

    /// What the relay counts apart: the keys of the configuration, and those that operators make.
    pub(in crate::config) fn shares(&self) -> ShareNames {
        if !self.usage.keys {
            return ShareNames::default();
        }
        let of_key = |(name, key): (&String, &ApiKey)| share_name(key.realm.as_deref().unwrap_or(DEFAULT_REALM), name);
        let realms = self.realms.keys().map(String::as_str).chain([DEFAULT_REALM]);
        let made = realms.filter(|_| self.http.keys_file.is_some());
        let names = self
            .keys
            .iter()
            .map(of_key)
            .chain(made.map(|realm| share_name(realm, MADE_KEY)));
        ShareNames {
            keys: Arc::new(names.collect()),
            probe: None,
        }
    }

    pub(in crate::config) fn http_keys(&self) -> Vec<http::ApiKey> {
        let key = |(name, key): (&String, &ApiKey)| http::ApiKey {
            name: name.clone(),
            hashes: key.hashes.iter().map(|digest| digest.0).collect(),
            scopes: key.scopes.clone(),
            realm: key.realm.clone(),
            origins: key.origins.clone(),
            grant: Grant {
                rate: http::RateLimit {
                    interval: interval(key.rate.count, key.rate.per),
                    burst: key.burst,
                    ..http::RateLimit::default()
                },
                per_hour: key.quota_per_hour,
                per_day: key.quota_per_day,
            },
            max_ttl: key.max_ttl,
            enabled: key.enabled,
            expires_at: key.expires.map(|date| date.0),
        };
        self.keys.iter().map(key).collect()
    }
}
