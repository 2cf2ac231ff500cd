//! Tenants at the API: whose token it is, and what their clients are told.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use axum::http::HeaderMap;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use super::bearer::bearer;
use super::rate_limit::{Decision, RateLimit, RateLimiter};
use crate::credentials::{Host, IceServer};

/// A tenant as the API knows it. What it mints with comes beside it, since that is no plain value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Realm {
    /// Its name, which is behind the last `@` of its usernames.
    pub name: String,
    /// Bearer tokens that fetch credentials of it, for any user.
    pub tokens: Vec<Token>,
    /// How often the holders of these may, together. [`RateLimit::clients`] does not count here.
    pub rate: RateLimit,
    /// Hosts to advertise in place of [`super::Ice::hosts`]. Default: those.
    pub hosts: Vec<Host>,
    /// Entries of other servers in place of [`super::Ice::extra`].
    pub extra: Vec<IceServer>,
    /// As [`super::Ice::ttl`].
    pub ttl: Duration,
    /// As [`super::Ice::max_ttl`].
    pub max_ttl: Duration,
}

/// A bearer token, kept as its digest: comparing those takes the same time whatever the token.
#[derive(Clone, PartialEq, Eq)]
pub struct Token([u8; 32]);

impl Token {
    /// Keeps no more of it than can be compared.
    pub fn new(token: &str) -> Self {
        Self(Sha256::digest(token).into())
    }

    fn is(&self, digest: &[u8; 32]) -> Choice {
        self.0.ct_eq(digest)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token([redacted])")
    }
}

/// The tenants that are configured, and who speaks for them.
#[derive(Debug, Default)]
pub(super) struct Tenants {
    names: HashSet<Box<str>>,
    tokens: Vec<(Token, Box<str>)>,
}

impl Tenants {
    pub(super) fn new(realms: &[Realm]) -> Self {
        let of = |realm: &Realm| {
            let name: Box<str> = realm.name.as_str().into();
            realm.tokens.clone().into_iter().map(move |token| (token, name.clone()))
        };
        Self {
            names: realms.iter().map(|realm| realm.name.as_str().into()).collect(),
            tokens: realms.iter().flat_map(of).collect(),
        }
    }

    pub(super) fn is_one(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    /// The tenant whose token a request carries.
    pub(super) fn of_request(&self, headers: &HeaderMap) -> Option<Box<str>> {
        if self.tokens.is_empty() {
            return None;
        }
        let digest: [u8; 32] = Sha256::digest(bearer(headers)?).into();
        // All are looked at, whichever it is.
        let known = self.tokens.iter().fold(None, |found, (token, name)| {
            if bool::from(token.is(&digest)) {
                Some(name)
            } else {
                found
            }
        });
        known.cloned()
    }
}

/// How often each tenant asks.
#[derive(Debug, Default)]
pub(super) struct TenantRates(HashMap<Box<str>, (RateLimit, RateLimiter)>);

impl TenantRates {
    pub(super) fn new(realms: &[Realm], now: Instant) -> Self {
        let limiter = |realm: &Realm| (realm.rate, RateLimiter::new(realm.rate, now));
        Self(
            realms
                .iter()
                .map(|realm| (realm.name.as_str().into(), limiter(realm)))
                .collect(),
        )
    }

    /// Whether these are the limits already: others would begin with full buckets.
    pub(super) fn are_for(&self, realms: &[Realm]) -> bool {
        let same = |realm: &Realm| {
            self.0
                .get(realm.name.as_str())
                .is_some_and(|(rate, _)| *rate == realm.rate)
        };
        self.0.len() == realms.len() && realms.iter().all(same)
    }

    pub(super) fn check(&self, realm: &str, now: Instant) -> Decision {
        // One client: the tenant.
        const ONE: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        let limiter = self.0.get(realm);
        limiter.map_or(Decision::Allowed { evicted: false }, |(_, limiter)| {
            limiter.check(ONE, now)
        })
    }
}

#[cfg(test)]
mod tests {
    use axum::http::header::AUTHORIZATION;

    use super::*;

    fn realm(name: &str, tokens: &[&str]) -> Realm {
        Realm {
            name: name.to_owned(),
            tokens: tokens.iter().map(|token| Token::new(token)).collect(),
            rate: RateLimit {
                burst: 2,
                ..RateLimit::default()
            },
            hosts: Vec::new(),
            extra: Vec::new(),
            ttl: Duration::from_secs(60),
            max_ttl: Duration::from_secs(60),
        }
    }

    #[test]
    fn a_token_names_its_tenant_and_no_other_text_does() {
        let tenants = Tenants::new(&[realm("acme", &["one", "two"]), realm("globex", &["three"])]);
        let of = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(AUTHORIZATION, value.parse().unwrap());
            tenants.of_request(&headers)
        };
        for (value, name) in [
            ("Bearer one", Some("acme")),
            ("bearer two", Some("acme")),
            ("Bearer three", Some("globex")),
            ("Bearer on", None),
            ("Bearer ", None),
            ("Basic one", None),
        ] {
            assert_eq!(of(value).as_deref(), name, "{value}");
        }
        assert_eq!(tenants.of_request(&HeaderMap::new()), None);
        assert!(!format!("{tenants:?}").contains("one\""));
    }

    #[test]
    fn each_tenant_has_its_burst_and_none_of_it_is_anothers() {
        let realms = [realm("acme", &[]), realm("globex", &[])];
        let now = Instant::now();
        let rates = TenantRates::new(&realms, now);
        let allowed = |name| matches!(rates.check(name, now), Decision::Allowed { .. });
        assert!(allowed("acme") && allowed("acme") && !allowed("acme"));
        assert!(allowed("globex"));
        assert!(rates.are_for(&realms) && !rates.are_for(&realms[..1]));
    }
}
