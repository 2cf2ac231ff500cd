//! What the handlers share.

use std::sync::{Arc, Once};
use std::time::Instant;

use super::auth::TokenAuthenticator;
use super::config::Config;
use super::issuer::Issuer;
use super::rate_limit::RateLimiter;
use crate::telemetry::Metrics;
use crate::ws::HubHandle;

/// What the handlers share. Cheap to clone.
#[derive(Clone)]
pub struct AppState(Arc<Inner>);

struct Inner {
    config: Config,
    authenticator: TokenAuthenticator,
    issuer: Issuer,
    hub: HubHandle,
    metrics: Metrics,
    rate_limiter: RateLimiter,
    /// Said at most once.
    unknown_proxy: Once,
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
        let rate_limiter = RateLimiter::new(config.rate, Instant::now());
        Self(Arc::new(Inner {
            config,
            authenticator,
            issuer,
            hub,
            metrics,
            rate_limiter,
            unknown_proxy: Once::new(),
        }))
    }

    pub(super) fn config(&self) -> &Config {
        &self.0.config
    }

    pub(super) fn authenticator(&self) -> &TokenAuthenticator {
        &self.0.authenticator
    }

    pub(super) fn issuer(&self) -> &Issuer {
        &self.0.issuer
    }

    pub(super) fn hub(&self) -> &HubHandle {
        &self.0.hub
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

    pub(super) fn rate_limiter(&self) -> &RateLimiter {
        &self.0.rate_limiter
    }
}

impl std::fmt::Debug for AppState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AppState")
            .field("config", &self.0.config)
            .finish_non_exhaustive()
    }
}
