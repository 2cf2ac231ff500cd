//! Who may use the API and the hub: bearer tokens, judged by keys (RFC 7519, RFC 7518, RFC 6750, RFC 8725).
//!
//! What it is: the one judge of both surfaces. A token is verified with the keys of the configuration ([`key`]), with those of
//! the issuer's set (`jwks`), or both.
//! What it is not: a memory. Who was let in stays in until that identity ends, whatever becomes of the key: nothing here is asked
//! again.
//!
//! Invariants:
//! - A key is for one algorithm, and a token is tried only with keys for the one it names (`rules`).
//! - A verdict that needs nobody else is given at once; what has to be waited for is bounded in time and number.
//! - No token, and nothing that one says about itself, is in a log, a metric or an error.
//!
//! Claims: `sub` or `userId` (one is needed), `exp` (needed), `nbf`, `publicKey`, and `aud`, `iss` where the configuration asks
//! for them; `peer`, `rooms` and `can: {publish, relay, turn}` narrow what the holder may do; `realm` says whose TURN
//! credentials it gets.

mod claims;
mod header;
pub mod jwk;
mod jwks;
pub mod key;
mod pem;
mod rules;

use std::path::Path;
use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption};
use axum::http::{HeaderMap, header as field};

use self::rules::{Judged, Rules};
use super::config::Auth;
use super::error::Problem;
use super::realm::{Realm, Tenants};
use crate::outbound::{Trust, TrustError};
use crate::telemetry::labels::{Surface, TokenFailure};
use crate::telemetry::{ApiMetrics, AuthMetrics, Metrics};
use crate::ws::{Applicant, AuthError, Authenticator, Identity, Verdict};

pub use key::{KeyError, MIN_SECRET_BYTES, VerifyingKey};
pub use pem::read_keys;

/// Judges tokens. Cheap to clone.
#[derive(Clone)]
pub struct TokenAuthenticator {
    shared: Arc<Shared>,
    surface: Surface,
}

/// Of all surfaces, so that a reload reaches them at once.
struct Shared {
    rules: ArcSwapOption<Rules>,
    tenants: ArcSwap<Tenants>,
    counts: ApiMetrics,
    metrics: AuthMetrics,
}

/// Why tokens cannot be judged with this configuration.
#[derive(Debug, thiserror::Error)]
pub enum AuthConfigError {
    /// Nothing to verify with.
    #[error("tokens are asked for, but there is no secret or key to verify them with")]
    NoSecret,
    /// Too easily guessed.
    #[error("a token secret must have at least {MIN_SECRET_BYTES} bytes")]
    ShortSecret,
    /// The operator's own authorities cannot be read.
    #[error("auth.authorities: {0}")]
    Authorities(#[from] TrustError),
    /// Key sets are fetched by a task.
    #[error("a key set is fetched, which takes a runtime")]
    NoRuntime,
}

impl TokenAuthenticator {
    /// Judges tokens that come by HTTP. Inside a tokio runtime, where something has to be fetched.
    ///
    /// # Errors
    /// When the configuration asks for tokens but has nothing to judge them by.
    pub fn new(auth: &Auth, metrics: &Metrics) -> Result<Self, AuthConfigError> {
        let metrics_of_auth = metrics.auth().clone();
        Ok(Self {
            shared: Arc::new(Shared {
                rules: ArcSwapOption::new(rules(auth, None, &metrics_of_auth)?),
                tenants: ArcSwap::default(),
                counts: metrics.api().clone(),
                metrics: metrics_of_auth,
            }),
            surface: Surface::Http,
        })
    }

    /// Whether tokens can be judged with this configuration. Starts nothing.
    ///
    /// # Errors
    /// When it asks for tokens but has nothing to judge them by.
    pub fn check(auth: &Auth) -> Result<(), AuthConfigError> {
        match auth {
            Auth::Open => Ok(()),
            Auth::Jwt(jwt) => {
                let authorities = jwt.jwks.as_ref().and_then(|source| source.authorities.as_deref());
                trust(authorities)?;
                Rules::check(jwt)
            }
        }
    }

    /// The same rules, counted under another surface.
    #[must_use]
    pub fn for_surface(&self, surface: Surface) -> Self {
        Self {
            surface,
            ..self.clone()
        }
    }

    /// Judges by other rules from now on, on all surfaces. Who was let in stays in.
    ///
    /// # Errors
    /// When the configuration asks for tokens but has nothing to judge them by; the rules are then as before.
    pub fn replace(&self, auth: &Auth) -> Result<(), AuthConfigError> {
        let before = self.shared.rules.load_full();
        let rules = rules(auth, before.as_deref(), &self.shared.metrics)?;
        self.shared.rules.store(rules);
        Ok(())
    }

    /// Knows these tenants from now on, on all surfaces.
    pub fn replace_realms(&self, realms: &[Realm]) {
        self.shared.tenants.store(Arc::new(Tenants::new(realms)));
    }

    /// The tenant whose own token a request carries. It fetches credentials and nothing else: who joins a room or sees one is
    /// judged by [`Authenticator::authenticate`].
    pub(super) fn tenant(&self, headers: &HeaderMap) -> Option<Identity> {
        let realm = self.shared.tenants.load().of_request(headers)?;
        Some(Identity {
            realm: Some(realm),
            ..Identity::ANONYMOUS
        })
    }

    /// Whether everybody is let in.
    pub fn is_open(&self) -> bool {
        self.shared.rules.load().is_none()
    }

    /// The identity behind an applicant; waits where that takes somebody else.
    ///
    /// # Errors
    /// When there is none.
    pub async fn identify(&self, applicant: Applicant<'_>) -> Result<Identity, AuthError> {
        match self.authenticate(applicant) {
            Verdict::Now(result) => result,
            Verdict::Later(pending) => pending.await,
        }
    }

    /// The identity behind a request's `Authorization`.
    ///
    /// # Errors
    /// 401 as RFC 6750 §3 spells it.
    pub(super) async fn authenticate_request(&self, headers: &HeaderMap) -> Result<Identity, Problem> {
        let applicant = Applicant {
            token: bearer(headers),
            ..Applicant::default()
        };
        self.identify(applicant).await.map_err(problem)
    }
}

/// What a refusal is by HTTP.
fn problem(error: AuthError) -> Problem {
    const INVALID: &str = "Bearer realm=\"meetpoint\", error=\"invalid_token\"";
    match error {
        AuthError::Missing => Problem::unauthorized(
            "token_required",
            "a bearer token is required",
            "Bearer realm=\"meetpoint\"",
        ),
        AuthError::Invalid => Problem::unauthorized("invalid_token", "the token is not valid", INVALID),
        AuthError::Expired => Problem::unauthorized("expired_token", "the token has expired", INVALID),
        AuthError::Forbidden => Problem::new(
            axum::http::StatusCode::FORBIDDEN,
            "forbidden",
            "the token does not allow this",
        ),
        AuthError::Unavailable(retry) => Problem::unavailable("auth_unavailable", "tokens cannot be judged now", retry),
    }
}

impl Authenticator for TokenAuthenticator {
    fn authenticate(&self, applicant: Applicant<'_>) -> Verdict {
        // Where everybody is let in, a token says nothing: nobody here could tell a good one from a bad one.
        let rules = self.shared.rules.load();
        let Some(rules) = &*rules else {
            return Verdict::Now(Ok(Identity::ANONYMOUS));
        };
        let Some(token) = applicant.token else {
            return Verdict::Now(self.concluded(Err(AuthError::Missing)));
        };
        match rules.judge(token) {
            Judged::Settled(result) => Verdict::Now(self.concluded(result)),
            Judged::UnknownKey => self.look_again(rules, token),
        }
    }
}

impl TokenAuthenticator {
    /// The key may be in the issuer's set by now.
    fn look_again(&self, rules: &Arc<Rules>, token: &str) -> Verdict {
        let looking = match rules.jwks().map(|jwks| jwks.look_again()) {
            Some(Ok(looking)) => looking,
            Some(Err(error)) => return Verdict::Now(self.concluded(Err(error))),
            None => return Verdict::Now(self.concluded(Err(AuthError::Invalid))),
        };
        let (this, rules, token) = (self.clone(), Arc::clone(rules), Box::<str>::from(token));
        Verdict::Later(Box::pin(async move {
            let result = match looking.await {
                Ok(()) => match rules.judge(&token) {
                    Judged::Settled(result) => result,
                    Judged::UnknownKey => Err(AuthError::Invalid),
                },
                Err(error) => Err(error),
            };
            this.concluded(result)
        }))
    }

    /// What holds of every verdict: a realm is a known one, and a refusal is counted.
    fn concluded(&self, result: Result<Identity, AuthError>) -> Result<Identity, AuthError> {
        result
            .and_then(|identity| match &identity.realm {
                Some(realm) if !self.shared.tenants.load().is_one(realm) => Err(AuthError::Forbidden),
                _ => Ok(identity),
            })
            .inspect_err(|error| {
                let reason = match error {
                    AuthError::Missing => TokenFailure::Missing,
                    AuthError::Invalid => TokenFailure::Invalid,
                    AuthError::Expired => TokenFailure::Expired,
                    AuthError::Forbidden => TokenFailure::Forbidden,
                    AuthError::Unavailable(_) => TokenFailure::Unavailable,
                };
                self.shared.counts.token_failure(self.surface, reason);
            })
    }
}

impl std::fmt::Debug for TokenAuthenticator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenAuthenticator")
            .field("open", &self.is_open())
            .finish_non_exhaustive()
    }
}

fn rules(auth: &Auth, before: Option<&Rules>, metrics: &AuthMetrics) -> Result<Option<Arc<Rules>>, AuthConfigError> {
    match auth {
        Auth::Open => Ok(None),
        Auth::Jwt(jwt) => Ok(Some(Arc::new(Rules::new(jwt, before, metrics)?))),
    }
}

/// Whose certificates are believed of those who are asked.
fn trust(authorities: Option<&Path>) -> Result<Trust, TrustError> {
    authorities.map_or_else(|| Ok(Trust::default()), Trust::with_authorities)
}

/// The token of `Authorization: Bearer …` (RFC 6750 §2.1); the scheme's name is case-insensitive (RFC 9110 §11.1).
pub(super) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(field::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

#[cfg(test)]
mod jwks_tests;
#[cfg(test)]
mod key_tests;
#[cfg(test)]
mod tests;
