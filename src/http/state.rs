//! What the handlers share.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Once};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, Guard};

use super::auth::{AuthConfigError, TokenAuthenticator};
use super::config::{Config, Cors};
use super::cors::Sharing;
use super::issuer::Issuer;
use super::keys::{Keys, StoreError};
use super::lists::Countries;
use super::rate_limit::{Decision, RateLimiter};
use super::realm::TenantRates;
use super::usage::files::Files;
use crate::credentials::KeyRing;
use crate::telemetry::Metrics;
use crate::ws::{HubHandle, UpgradeError};

/// What the handlers share. Cheap to clone.
#[derive(Clone)]
pub struct AppState(Arc<Inner>);

struct Inner {
    config: ArcSwap<Config>,
    authenticator: TokenAuthenticator,
    issuer: Issuer,
    keys: Keys,
    hub: HubHandle,
    metrics: Metrics,
    rate_limiter: ArcSwap<RateLimiter>,
    /// Of attempts to open a socket of the hub.
    attempts: ArcSwap<RateLimiter>,
    tenant_rates: ArcSwap<TenantRates>,
    cors: ArcSwap<Sharing>,
    /// Said at most once.
    unknown_proxy: Once,
    usage: Files,
}

impl AppState {
    /// Puts the parts together. `authenticator` and `issuer` are the ones that the hub was given, or made like them, so
    /// that a token and a credential mean the same on both surfaces. From now on a scrape of `metrics` asks `hub`.
    pub fn new(
        config: Config,
        authenticator: TokenAuthenticator,
        issuer: Issuer,
        hub: HubHandle,
        metrics: Metrics,
    ) -> Self {
        let asked = hub.clone();
        metrics.hub_slot().ask(move || asked.stats());
        authenticator.replace_realms(&config.realms);
        issuer.replace_lists(config.lists.clone());
        authenticator.replace_failures(config.failures);
        authenticator.refuse_strangers(config.refuse_strangers);
        let keys = Keys::new(metrics.keys());
        keys.replace(&config.keys);
        let usage_directory = config.usage_directory.clone();
        Self(Arc::new(Inner {
            rate_limiter: ArcSwap::from_pointee(RateLimiter::new(config.rate, Instant::now())),
            attempts: ArcSwap::from_pointee(RateLimiter::new(config.connect_rate.0, Instant::now())),
            tenant_rates: ArcSwap::from_pointee(TenantRates::new(&config.realms, Instant::now())),
            cors: ArcSwap::from_pointee(Sharing::new(&config)),
            config: ArcSwap::from_pointee(config),
            authenticator,
            issuer,
            keys,
            hub,
            metrics,
            unknown_proxy: Once::new(),
            usage: Files::new(usage_directory),
        }))
    }

    /// Answers by another configuration from now on, and mints with `keys`, for tenants with theirs. What is bound or built once stays as it was:
    /// [`Config::limits`] but for the request timeout, and [`Config::metrics`].
    ///
    /// # Errors
    /// When the configuration asks for tokens but has no usable secret; everything is then as before.
    pub fn reconfigure(
        &self,
        config: Config,
        keys: KeyRing,
        realm_keys: &HashMap<Box<str>, KeyRing>,
    ) -> Result<(), AuthConfigError> {
        self.0.authenticator.replace(&config.auth)?;
        self.0.authenticator.replace_realms(&config.realms);
        self.0.authenticator.replace_failures(config.failures);
        self.0.authenticator.refuse_strangers(config.refuse_strangers);
        self.0.keys.replace(&config.keys);
        self.0.issuer.replace_keys(keys);
        self.0.issuer.replace_ice(config.ice.clone());
        self.0.issuer.replace_lists(config.lists.clone());
        self.0.issuer.replace_realms(&config.realms, realm_keys);
        if !self.0.tenant_rates.load().are_for(&config.realms) {
            let rates = TenantRates::new(&config.realms, Instant::now());
            self.0.tenant_rates.store(Arc::new(rates));
        }
        self.0.cors.store(Arc::new(Sharing::new(&config)));
        self.0.hub.replace_origins(match &config.cors {
            Cors::Any => None,
            Cors::Origins(origins) => Some(origins.clone()),
        });
        // A new limiter has forgotten everybody, so only another limit is worth one.
        if self.0.config.load().rate != config.rate {
            let limiter = RateLimiter::new(config.rate, Instant::now());
            self.0.rate_limiter.store(Arc::new(limiter));
        }
        if self.0.config.load().connect_rate != config.connect_rate {
            let limiter = RateLimiter::new(config.connect_rate.0, Instant::now());
            self.0.attempts.store(Arc::new(limiter));
        }
        self.0.config.store(Arc::new(config));
        Ok(())
    }

    /// Knows the API keys in [`Config::keys_file`] from now on, and makes others there.
    ///
    /// # Errors
    /// When it cannot be read, or cannot be made.
    pub fn open_keys(&self) -> Result<(), StoreError> {
        match &self.config().keys_file {
            Some(path) => self.0.keys.open(path),
            None => Ok(()),
        }
    }

    /// Knows the API keys that are in that file by now. Blocks for as long as the disk takes.
    ///
    /// # Errors
    /// When it cannot be read; all is as before then.
    pub fn read_keys_again(&self) -> Result<bool, StoreError> {
        self.0.keys.read_again()
    }

    /// As of now; hold it no longer than one answer takes.
    pub(super) fn config(&self) -> Guard<Arc<Config>> {
        self.0.config.load()
    }

    /// Whether an address is a proxy of the operator's, by the configuration that holds now.
    pub fn is_trusted_proxy(&self, ip: IpAddr) -> bool {
        self.config()
            .trusted_proxies
            .iter()
            .any(|proxies| proxies.contains(&ip))
    }

    pub(super) fn cors(&self) -> Guard<Arc<Sharing>> {
        self.0.cors.load()
    }

    pub(super) fn authenticator(&self) -> &TokenAuthenticator {
        &self.0.authenticator
    }

    pub(super) fn keys(&self) -> &Keys {
        &self.0.keys
    }

    /// Knows the countries of addresses from this database from now on.
    pub fn replace_countries(&self, countries: Option<Arc<Countries>>) {
        self.0.issuer.replace_countries(countries);
    }

    pub(super) fn issuer(&self) -> &Issuer {
        &self.0.issuer
    }

    /// Gives every client of the hub newer ICE servers within that time.
    pub fn renew_ice(&self, within: Duration) {
        self.0.hub.renew_all_ice(within);
    }

    pub(super) fn hub(&self) -> &HubHandle {
        &self.0.hub
    }

    pub(super) fn usage(&self) -> &Files {
        &self.0.usage
    }

    pub(super) fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    pub(super) fn warn_of_unknown_proxy(&self) {
        self.0.unknown_proxy.call_once(|| {
            tracing::warn!(
                "requests come through a proxy on this machine that is not in http.trusted_proxies: \
                 all its clients count as one, and none of them is limited"
            );
        });
    }

    pub(super) fn tenant_rates(&self) -> Guard<Arc<TenantRates>> {
        self.0.tenant_rates.load()
    }

    /// Charges an attempt to open a socket of the hub to its address.
    ///
    /// # Errors
    /// When there were too many.
    pub(super) fn admit(&self, ip: IpAddr) -> Result<(), UpgradeError> {
        match self.0.attempts.load().check(ip, Instant::now()) {
            Decision::Allowed { .. } => Ok(()),
            Decision::Limited { retry_after } => {
                self.0.metrics.api().connects_limited.inc();
                let seconds = u32::try_from(retry_after.as_secs()).unwrap_or(u32::MAX);
                Err(UpgradeError::Rate(seconds.saturating_add(1)))
            }
        }
    }

    pub(super) fn rate_limiter(&self) -> Guard<Arc<RateLimiter>> {
        self.0.rate_limiter.load()
    }
}

impl std::fmt::Debug for AppState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AppState")
            .field("config", &self.0.config.load())
            .finish_non_exhaustive()
    }
}
