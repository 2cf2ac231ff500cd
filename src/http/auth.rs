//! Who may use the API and the hub: bearer tokens, judged by keys (RFC 7519, RFC 7518, RFC 6750, RFC 8725).
//!
//! What it is: the one judge of both surfaces. A token is verified with the keys of the configuration ([`key`]), with those of
//! the issuer's set (`jwks`), or both; or the operator's own service is asked ([`hook`]), about what keys let pass or about all.
//! What it is not: a memory of people. Who was let in stays in until that identity ends, whatever becomes of the key: nothing here is
//! asked again. Tokens that a key has verified are known (`verified`) for as long as that key and their time hold.
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
pub mod config;
mod fault;
mod header;
pub mod hook;
pub mod jwk;
mod jwks;
pub mod key;
mod object;
mod pem;
mod rules;
mod sign;
mod verified;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::{ArcSwap, ArcSwapOption};
use axum::http::{HeaderMap, header as field};

use self::config::{Auth, Failures, Jwt};
use self::fault::trust;
use self::hook::Hook;
use self::rules::{Judged, Rules};
use self::sign::sign;
pub(super) use self::sign::{Can, Grant, Issued, NotIssued};
use super::bearer::bearer;
use super::client::Client;
use super::code::Code;
use super::error::Problem;
use super::rate_limit::RateLimiter;
use super::realm::{Realm, Tenants};
use crate::credentials::{UnixTime, named_realm};
use crate::telemetry::labels::{Surface, TokenFailure};
use crate::telemetry::{ApiMetrics, AuthMetrics, Metrics};
use crate::ws::{Applicant, AuthError, Authenticator, Identity, Rights, Verdict};

pub use fault::AuthConfigError;
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
    judges: ArcSwapOption<Judges>,
    failures: ArcSwap<(Failures, RateLimiter)>,
    tenants: ArcSwap<Tenants>,
    /// Whether those who are let in because nobody is asked for a token get no TURN credentials.
    refuses_strangers: AtomicBool,
    counts: ApiMetrics,
    metrics: AuthMetrics,
}

/// Who has a say: keys first, and then the operator's service about what they let pass.
struct Judges {
    rules: Option<Arc<Rules>>,
    hook: Option<Arc<Hook>>,
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
                judges: ArcSwapOption::new(judges(auth, None, &metrics_of_auth)?),
                failures: ArcSwap::from_pointee(limiter(Failures::default())),
                tenants: ArcSwap::default(),
                refuses_strangers: AtomicBool::new(false),
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
        let (jwt, hook) = parts(auth);
        let of_hook = hook.and_then(|hook| hook.authorities.as_deref());
        let of_set = jwt.and_then(|jwt| jwt.jwks.as_ref()?.authorities.as_deref());
        trust(of_hook)?;
        trust(of_set)?;
        jwt.map_or(Ok(()), Rules::check)
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
        let before = self.shared.judges.load_full();
        let judges = judges(auth, before.as_deref(), &self.shared.metrics)?;
        self.shared.judges.store(judges);
        Ok(())
    }

    /// Lets clients show so many bad tokens from now on, on all surfaces.
    pub fn replace_failures(&self, failures: Failures) {
        // A new limiter has forgotten everybody, so only another limit is worth one.
        if self.shared.failures.load().0 != failures {
            self.shared.failures.store(Arc::new(limiter(failures)));
        }
    }

    /// Knows these tenants from now on, on all surfaces.
    pub fn replace_realms(&self, realms: &[Realm]) {
        self.shared.tenants.store(Arc::new(Tenants::new(realms)));
    }

    /// Whether a tenant has this name.
    pub(super) fn knows_realm(&self, name: &str) -> bool {
        self.shared.tenants.load().is_one(name)
    }

    /// The tenant whose user this is; `None` is the default one's.
    pub(super) fn realm_of<'a>(&self, username: &'a str) -> Option<&'a str> {
        named_realm(username).filter(|realm| self.shared.tenants.load().is_one(realm))
    }

    /// Gives no TURN credentials from now on, or gives them again, to those who are let in because nobody is asked for a token. Who
    /// was let in keeps its rights.
    pub fn refuse_strangers(&self, refuse: bool) {
        self.shared.refuses_strangers.store(refuse, Ordering::Relaxed);
    }

    /// How long a client that showed too many bad tokens has to wait; counted if it has to.
    pub(super) fn must_wait(&self, ip: IpAddr) -> Option<Duration> {
        let wait = self.shared.failures.load().1.wait(ip, Instant::now())?;
        self.shared.counts.token_failure(self.surface, TokenFailure::Throttled);
        Some(wait)
    }

    /// Counts something bad that was shown against its address.
    pub(super) fn note_bad(&self, ip: IpAddr) {
        self.shared.counts.token_failure(self.surface, TokenFailure::Invalid);
        self.shared.failures.load().1.check(ip, Instant::now());
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

    /// A token for `grant`, signed with the first secret, as the rules that hold now ask for it. What could not be let in by it is
    /// not signed.
    pub(super) fn issue(&self, grant: &Grant, now: UnixTime, ttl: Duration) -> Result<Issued, NotIssued> {
        let judges = self.shared.judges.load();
        let rules = judges.as_ref().and_then(|judges| judges.rules.as_ref());
        let issued = sign(rules.ok_or(NotIssued::NoSecret)?, grant, now, ttl)?;
        match &issued.1.realm {
            Some(realm) if !self.shared.tenants.load().is_one(realm) => Err(NotIssued::Realm),
            // Its holder would get no ICE list: the name looks like a tenant's.
            None if named_realm(&grant.user).is_some_and(|realm| self.shared.tenants.load().is_one(realm)) => {
                Err(NotIssued::OtherRealm)
            }
            _ => Ok(issued.0),
        }
    }

    /// Whether everybody is let in.
    pub fn is_open(&self) -> bool {
        self.shared.judges.load().is_none()
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
    /// 401 as RFC 6750 §3 spells it, 403, 429 and 503.
    pub(super) async fn authenticate_request(
        &self,
        client: &Client,
        path: &str,
        headers: &HeaderMap,
    ) -> Result<Identity, Problem> {
        let applicant = Applicant {
            token: bearer(headers),
            ip: Some(client.ip),
            origin: headers.get(field::ORIGIN).and_then(|origin| origin.to_str().ok()),
            path: Some(path),
        };
        self.identify(applicant).await.map_err(problem)
    }
}

/// What a refusal is by HTTP.
pub(super) fn problem(error: AuthError) -> Problem {
    const INVALID: &str = "Bearer realm=\"meetpoint\", error=\"invalid_token\"";
    match error {
        AuthError::Missing => Problem::unauthorized(
            Code::TokenRequired,
            "a bearer token is required",
            "Bearer realm=\"meetpoint\"",
        ),
        AuthError::Invalid => Problem::unauthorized(Code::InvalidToken, "the token is not valid", INVALID),
        AuthError::Expired => Problem::unauthorized(Code::ExpiredToken, "the token has expired", INVALID),
        AuthError::Forbidden => Problem::new(Code::Forbidden, "the token does not allow this"),
        AuthError::Throttled(retry) => Problem::rate_limited(retry),
        AuthError::Unavailable(retry) => {
            Problem::unavailable(Code::AuthUnavailable, "tokens cannot be judged now", retry)
        }
    }
}

impl Authenticator for TokenAuthenticator {
    fn authenticate(&self, applicant: Applicant<'_>) -> Verdict {
        // Where everybody is let in, a token says nothing: nobody here could tell a good one from a bad one.
        let judges = self.shared.judges.load();
        let Some(judges) = &*judges else {
            let mut rights = Rights::ALL;
            rights.turn = !self.shared.refuses_strangers.load(Ordering::Relaxed);
            return Verdict::Now(Ok(Identity {
                rights,
                ..Identity::ANONYMOUS
            }));
        };
        let failures = self.shared.failures.load();
        if let Some(retry) = applicant.ip.and_then(|ip| failures.1.wait(ip, Instant::now())) {
            return Verdict::Now(self.concluded(applicant.ip, Err(AuthError::Throttled(retry))));
        }
        let Some(token) = applicant.token else {
            return match &judges.hook {
                Some(hook) if hook.config().without_token => self.ask(hook, applicant, None),
                _ => Verdict::Now(self.concluded(applicant.ip, Err(AuthError::Missing))),
            };
        };
        let Some(rules) = &judges.rules else {
            return self.with_consent(judges, applicant, None);
        };
        match rules.judge(token) {
            Judged::Settled(Ok(identity)) => self.with_consent(judges, applicant, Some(identity)),
            Judged::Settled(refused) => Verdict::Now(self.concluded(applicant.ip, refused)),
            Judged::UnknownKey => self.look_again(judges, rules, applicant),
        }
    }

    fn looks_at_origins(&self) -> bool {
        let judges = self.shared.judges.load();
        judges.as_ref().is_some_and(|judges| judges.hook.is_some())
    }
}

impl TokenAuthenticator {
    /// The verdict on somebody whom keys know, or who needs none: the service has the last word, if there is one.
    fn with_consent(&self, judges: &Judges, applicant: Applicant<'_>, known: Option<Identity>) -> Verdict {
        match (&judges.hook, known) {
            (Some(hook), known) => self.ask(hook, applicant, known),
            (None, known) => Verdict::Now(self.concluded(applicant.ip, known.ok_or(AuthError::Invalid))),
        }
    }

    fn ask(&self, hook: &Arc<Hook>, applicant: Applicant<'_>, known: Option<Identity>) -> Verdict {
        let ip = applicant.ip;
        let question = match hook.question(applicant, self.surface, known) {
            Ok(question) => question,
            Err(result) => return Verdict::Now(self.concluded(ip, result)),
        };
        let (this, hook) = (self.clone(), Arc::clone(hook));
        Verdict::Later(Box::pin(async move { this.concluded(ip, hook.ask(question).await) }))
    }

    /// The key may be in the issuer's set by now.
    fn look_again(&self, judges: &Arc<Judges>, rules: &Arc<Rules>, applicant: Applicant<'_>) -> Verdict {
        let looking = rules.jwks().map_or(Err(AuthError::Invalid), |jwks| jwks.look_again());
        let looking = match looking {
            Ok(looking) => looking,
            Err(error) => return Verdict::Now(self.concluded(applicant.ip, Err(error))),
        };
        let (this, judges, rules) = (self.clone(), Arc::clone(judges), Arc::clone(rules));
        let owned = |text: Option<&str>| text.map(Box::<str>::from);
        let (token, origin, path) = (owned(applicant.token), owned(applicant.origin), owned(applicant.path));
        let ip = applicant.ip;
        Verdict::Later(Box::pin(async move {
            if let Err(error) = looking.await {
                return this.concluded(ip, Err(error));
            }
            let known = match rules.judge(token.as_deref().unwrap_or_default()) {
                Judged::Settled(Ok(identity)) => identity,
                Judged::Settled(refused) => return this.concluded(ip, refused),
                Judged::UnknownKey => return this.concluded(ip, Err(AuthError::Invalid)),
            };
            let applicant = Applicant {
                token: token.as_deref(),
                ip,
                origin: origin.as_deref(),
                path: path.as_deref(),
            };
            match this.with_consent(&judges, applicant, Some(known)) {
                Verdict::Now(result) => result,
                Verdict::Later(pending) => pending.await,
            }
        }))
    }

    /// What holds of every verdict: nobody's time was over while somebody else was asked, a realm is a known one, and a refusal is
    /// counted, a bad token against its address.
    fn concluded(&self, ip: Option<IpAddr>, result: Result<Identity, AuthError>) -> Result<Identity, AuthError> {
        result
            .and_then(|identity| match identity.expires_at_ms {
                Some(end) if end <= UnixTime::from_system_time(SystemTime::now()).0.saturating_mul(1000) => {
                    Err(AuthError::Expired)
                }
                _ => Ok(identity),
            })
            .and_then(|identity| match &identity.realm {
                Some(realm) if !self.shared.tenants.load().is_one(realm) => Err(AuthError::Forbidden),
                _ => Ok(identity),
            })
            .inspect_err(|error| {
                let (reason, is_bad) = match error {
                    AuthError::Missing => (TokenFailure::Missing, false),
                    AuthError::Invalid => (TokenFailure::Invalid, true),
                    // Good once: its page was left open.
                    AuthError::Expired => (TokenFailure::Expired, false),
                    AuthError::Forbidden => (TokenFailure::Forbidden, true),
                    AuthError::Unavailable(_) => (TokenFailure::Unavailable, false),
                    AuthError::Throttled(_) => (TokenFailure::Throttled, false),
                };
                self.shared.counts.token_failure(self.surface, reason);
                if let Some(ip) = ip.filter(|_| is_bad) {
                    self.shared.failures.load().1.check(ip, Instant::now());
                }
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

const fn parts(auth: &Auth) -> (Option<&Jwt>, Option<&config::Hook>) {
    match auth {
        Auth::Open => (None, None),
        Auth::Jwt(jwt) => (Some(jwt), None),
        Auth::Hook(hook, None) => (None, Some(hook)),
        Auth::Hook(hook, Some(jwt)) => (Some(jwt), Some(hook)),
    }
}

/// What goes on from before goes on: a fetched set, kept answers.
fn judges(auth: &Auth, before: Option<&Judges>, metrics: &AuthMetrics) -> Result<Option<Arc<Judges>>, AuthConfigError> {
    let (jwt, hook) = parts(auth);
    if jwt.is_none() && hook.is_none() {
        return Ok(None);
    }
    let running = before.and_then(|before| before.hook.as_ref());
    let hook = match (hook, running) {
        (None, _) => None,
        (Some(hook), Some(running)) if running.config() == hook => Some(Arc::clone(running)),
        (Some(hook), _) => Some(Arc::new(Hook::new(hook, metrics)?)),
    };
    let known = before.and_then(|before| before.rules.as_deref());
    let rules = jwt.map(|jwt| Rules::new(jwt, known, metrics)).transpose()?;
    Ok(Some(Arc::new(Judges {
        rules: rules.map(Arc::new),
        hook,
    })))
}

fn limiter(failures: Failures) -> (Failures, RateLimiter) {
    (failures, RateLimiter::new(failures.0, Instant::now()))
}

#[cfg(test)]
mod any_tests;
#[cfg(test)]
mod hook_tests;
#[cfg(test)]
mod jwks_tests;
#[cfg(test)]
mod key_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tls_tests;
