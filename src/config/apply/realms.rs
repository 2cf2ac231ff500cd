//! From `[realms.NAME]` to what the relay and the web server know of a tenant.

use super::{Settings, interval};
use crate::config::schema::{Config, Realm};
use crate::config::types::StaticUser;
use crate::credentials::KeyRing;
use crate::http::{self, Token};
use crate::turn::{self, PeerFilter, RateLimit, RealmConfig, RealmLimits};
use std::collections::HashMap;

pub(super) fn static_users(users: &[StaticUser]) -> Vec<turn::StaticUser> {
    let user = |user: &StaticUser| turn::StaticUser::new(user.name.as_str(), user.password.expose());
    users.iter().map(user).collect()
}

impl Settings {
    /// What tenants mint with, by name.
    #[must_use]
    pub fn realm_keys(&self) -> HashMap<Box<str>, KeyRing> {
        let key = |realm: &RealmConfig| Some((realm.name.as_str().into(), realm.keys.clone()?));
        self.turn.realms.iter().filter_map(key).collect()
    }
}

impl Config {
    pub(in crate::config) fn turn_realms(&self) -> Vec<RealmConfig> {
        let realm = |(name, realm): (&String, &Realm)| RealmConfig {
            name: name.clone(),
            realm: realm.realm.clone(),
            keys: realm.key_ring(),
            static_users: static_users(&realm.users),
            limits: realm.limits(self),
            // What is opened for the operator's own use is not opened for tenants.
            peers: PeerFilter::new(
                realm.allow.iter().copied(),
                self.peers.deny.iter().chain(&realm.deny).copied(),
            ),
        };
        self.realms.iter().map(realm).collect()
    }

    pub(in crate::config) fn http_realms(&self) -> Vec<http::Realm> {
        let realm = |(name, realm): (&String, &Realm)| {
            let (ttl, max_ttl) = realm.lifetimes(self);
            http::Realm {
                name: name.clone(),
                tokens: realm.tokens.iter().map(|token| Token::new(token.expose())).collect(),
                rate: http::RateLimit {
                    interval: interval(realm.rate.count, realm.rate.per),
                    burst: realm.burst,
                    clients: 1,
                    ..http::RateLimit::default()
                },
                hosts: realm.host.iter().map(|host| host.0.clone()).collect(),
                extra: realm.ice_servers.iter().map(|server| server.0.clone()).collect(),
                ttl,
                max_ttl,
            }
        };
        self.realms.iter().map(realm).collect()
    }
}

impl Realm {
    /// The shared secrets, if any is configured.
    #[must_use]
    pub fn key_ring(&self) -> Option<KeyRing> {
        // The schema has already bounded their number and refused empty ones.
        KeyRing::from_bytes(self.secrets.iter().map(|secret| secret.expose())).ok()
    }

    fn limits(&self, config: &Config) -> RealmLimits {
        let limits = &config.limits;
        RealmLimits {
            allocations: self.allocations.unwrap_or(u32::MAX),
            allocations_per_user: self.allocations_per_user,
            allocation_rate: Some(RateLimit {
                bytes_per_second: own(self.allocation_bytes_per_second, limits.allocation_bytes_per_second).0,
                byte_burst: burst(
                    self.allocation_byte_burst,
                    self.allocation_bytes_per_second,
                    limits.allocation_byte_burst,
                )
                .0,
                packets_per_second: own(self.allocation_packets_per_second, limits.allocation_packets_per_second)
                    .into(),
                packet_burst: burst(
                    self.allocation_packet_burst,
                    self.allocation_packets_per_second,
                    limits.allocation_packet_burst,
                )
                .into(),
            }),
            user_rate: Some(RateLimit {
                bytes_per_second: own(self.user_bytes_per_second, limits.user_bytes_per_second).0,
                byte_burst: burst(self.user_byte_burst, self.user_bytes_per_second, limits.user_byte_burst).0,
                packets_per_second: own(self.user_packets_per_second, limits.user_packets_per_second).into(),
                packet_burst: burst(
                    self.user_packet_burst,
                    self.user_packets_per_second,
                    limits.user_packet_burst,
                )
                .into(),
            }),
            total_rate: RateLimit {
                bytes_per_second: self.total_bytes_per_second.0,
                byte_burst: self.total_byte_burst.0,
                packets_per_second: self.total_packets_per_second.into(),
                packet_burst: self.total_packet_burst.into(),
            },
        }
    }
}

/// What the realm says, or what holds for everybody.
fn own<T>(of_realm: Option<T>, of_all: T) -> T {
    of_realm.unwrap_or(of_all)
}

/// A burst for everybody's rate says nothing about a rate of the realm's own.
fn burst<T: Default>(of_realm: Option<T>, own_rate: Option<T>, of_all: T) -> T {
    let otherwise = if own_rate.is_some() { T::default() } else { of_all };
    of_realm.unwrap_or(otherwise)
}
