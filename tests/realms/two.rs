//! Two tenants beside the default realm, and clients with credentials of each.

use std::time::Duration;

use meetpoint::credentials::{self, KeyRing, in_realm};
use meetpoint::turn::{Config, RealmConfig, RealmStats, StaticUser};

use crate::relay::{BEGIN, Client, Lab, config};

pub(crate) const ACME: &str = "acme";
pub(crate) const ACME_SECRET: &str = "acme's secret";
/// The REALM that acme has of its own.
pub(crate) const ACME_REALM: &str = "turn.acme.example";
pub(crate) const ACME_PASSWORD: &str = "acme's carol";
pub(crate) const GLOBEX: &str = "globex";
pub(crate) const GLOBEX_SECRET: &str = "globex's secret";

pub(crate) fn acme() -> RealmConfig {
    RealmConfig {
        name: ACME.to_owned(),
        realm: Some(ACME_REALM.to_owned()),
        keys: Some(KeyRing::from_bytes([ACME_SECRET]).unwrap()),
        static_users: vec![StaticUser::new("carol", ACME_PASSWORD)],
        ..RealmConfig::default()
    }
}

pub(crate) fn globex() -> RealmConfig {
    RealmConfig {
        name: GLOBEX.to_owned(),
        keys: Some(KeyRing::from_bytes([GLOBEX_SECRET]).unwrap()),
        ..RealmConfig::default()
    }
}

/// The default realm, acme and globex.
pub(crate) fn with(realms: impl IntoIterator<Item = RealmConfig>) -> Config {
    Config {
        realms: realms.into_iter().collect(),
        ..config()
    }
}

pub(crate) fn two() -> Config {
    with([acme(), globex()])
}

/// A client with a credential for `user` that was minted with `secret`, whatever that user names.
pub(crate) fn minted(address: &str, secret: &str, user: &str) -> Client {
    let ring = KeyRing::from_bytes([secret]).unwrap();
    let credential = credentials::mint(&ring, BEGIN, user, Duration::from_secs(3600)).unwrap();
    Client::with(address, &credential.username, credential.password.as_str())
}

pub(crate) fn of_acme(address: &str, user: &str) -> Client {
    minted(address, ACME_SECRET, &in_realm(user, ACME))
}

pub(crate) fn of_globex(address: &str, user: &str) -> Client {
    minted(address, GLOBEX_SECRET, &in_realm(user, GLOBEX))
}

/// What a realm has counted.
pub(crate) fn stats(lab: &mut Lab, name: &str) -> RealmStats {
    let all = lab.server.realm_stats();
    all.iter().find(|one| *one.name == *name).unwrap().clone()
}
