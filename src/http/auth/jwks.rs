//! The issuer's key set, fetched and kept (RFC 7517 §5).
//!
//! One task fetches: now and then, and when a token names a key that is not there. That may be anybody's doing, so however many
//! such tokens come, one fetch is made in [`JwksSource::cooldown`], and those who wait for it are bounded in number and in time.
//! When a fetch fails the keys stay: an issuer that is away for an hour is no reason to turn its users away. When it succeeds
//! the set is the new one, and a key that is not in it verifies nothing more.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::{ArcSwap, Guard};
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ACCEPT, CACHE_CONTROL};
use hyper::{HeaderMap, Method, StatusCode};
use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::config::JwksSource;
use super::fault::{AuthConfigError, trust};
use super::jwk::KeySet;
use super::key::VerifyingKey;
use crate::outbound::{self, Trust};
use crate::telemetry::AuthMetrics;
use crate::telemetry::labels::JwksFetch;
use crate::ws::AuthError;

/// Longest answer. Sets of a few keys with their certificates have ten KiB.
const MAX_BYTES: usize = 256 * 1024;
/// Authentications that may wait for a fetch.
pub(super) const MAX_WAITING: usize = 1024;
/// However short an issuer says that its set lives.
const SHORTEST: Duration = Duration::from_secs(10);
/// After a failure, doubled each time up to the usual interval.
const FIRST_RETRY: Duration = Duration::from_secs(1);

/// A set that is fetched. Dropping it ends the fetching.
pub(super) struct Jwks {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    source: JwksSource,
    trust: Trust,
    keys: ArcSwap<Fetched>,
    state: watch::Sender<State>,
    /// Told when a key is asked for that is not there.
    wanted: Notify,
    waiting: Arc<Semaphore>,
    metrics: AuthMetrics,
}

/// Keys as they were fetched.
#[derive(Default)]
pub(super) struct Fetched {
    /// Which set this is, counted: another one has another number.
    pub(super) number: u64,
    pub(super) keys: Vec<VerifyingKey>,
}

#[derive(Clone, Copy)]
struct State {
    /// Fetches that have ended, whichever way.
    ended: u64,
    busy: bool,
    /// There is a set, and the last fetch gave it.
    is_fresh: bool,
    /// A fetch that somebody asks for begins no sooner.
    not_before: Instant,
}

impl Jwks {
    /// Begins with a fetch. Must be called inside a tokio runtime.
    pub(super) fn start(source: &JwksSource, metrics: &AuthMetrics) -> Result<Self, AuthConfigError> {
        let trust = trust(source.authorities.as_deref())?;
        let runtime = Handle::try_current().map_err(|_| AuthConfigError::NoRuntime)?;
        let state = State {
            ended: 0,
            busy: true,
            is_fresh: false,
            not_before: Instant::now(),
        };
        let shared = Arc::new(Shared {
            source: source.clone(),
            trust,
            keys: ArcSwap::default(),
            state: watch::Sender::new(state),
            wanted: Notify::new(),
            waiting: Arc::new(Semaphore::new(MAX_WAITING)),
            metrics: metrics.clone(),
        });
        let task = runtime.spawn(Arc::clone(&shared).run());
        Ok(Self { shared, task })
    }

    /// The keys as of now; none before the first fetch.
    pub(super) fn keys(&self) -> Guard<Arc<Fetched>> {
        self.shared.keys.load()
    }

    /// A key is not there. Waits for a fetch, if one is under way or due; afterwards the key is there or is nobody's.
    ///
    /// # Errors
    /// When there is nothing to wait for: the set was fetched a moment ago, and the key is nobody's ([`AuthError::Invalid`]); or
    /// nobody knows, because it cannot be fetched or too many wait already ([`AuthError::Unavailable`]).
    pub(super) fn look_again(&self) -> Result<impl Future<Output = Result<(), AuthError>> + Send + 'static, AuthError> {
        let shared = Arc::clone(&self.shared);
        let state = *shared.state.borrow();
        let now = Instant::now();
        if !state.busy && now < state.not_before {
            return Err(if state.is_fresh {
                AuthError::Invalid
            } else {
                AuthError::Unavailable(state.not_before - now)
            });
        }
        let permit = Arc::clone(&shared.waiting).try_acquire_owned();
        let permit = permit.map_err(|_| AuthError::Unavailable(FIRST_RETRY))?;
        if !state.busy {
            shared.wanted.notify_one();
        }
        // A fetch under way has its time-out; what is left to the task is to be scheduled.
        let until = now + shared.source.timeout + FIRST_RETRY;
        Ok(async move {
            let _permit = permit;
            let mut states = shared.state.subscribe();
            let ended = timeout_at(until, states.wait_for(|now| now.ended > state.ended)).await;
            match ended {
                Ok(Ok(state)) if state.is_fresh => Ok(()),
                _ => Err(AuthError::Unavailable(FIRST_RETRY)),
            }
        })
    }
}

impl Drop for Jwks {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    async fn run(self: Arc<Self>) {
        let mut failures = 0_u32;
        loop {
            let not_before = Instant::now() + self.source.cooldown;
            self.state
                .send_modify(|state| (state.busy, state.not_before) = (true, not_before));
            let fetched = timeout(self.source.timeout, self.fetch()).await;
            let fetched = fetched.unwrap_or_else(|_| Err((JwksFetch::Failed, "it does not answer in time".to_owned())));
            let is_fresh = fetched.is_ok();
            let rest = match fetched {
                Ok((set, rest)) => {
                    self.take_over(set, failures > 0);
                    failures = 0;
                    rest
                }
                Err((result, why)) => {
                    self.metrics.jwks_fetch(result);
                    if failures == 0 {
                        tracing::warn!(url = %self.source.url, keys = self.keys.load().keys.len(), "cannot fetch the key set: {why}");
                    }
                    let doubled = FIRST_RETRY.saturating_mul(1 << failures.min(16));
                    failures = failures.saturating_add(1);
                    doubled.min(self.source.refresh)
                }
            };
            self.state.send_modify(|state| {
                state.ended += 1;
                (state.busy, state.is_fresh) = (false, is_fresh);
            });
            let due = sleep(rest);
            tokio::pin!(due);
            loop {
                tokio::select! {
                    () = &mut due => break,
                    () = self.wanted.notified() => {
                        // Asked for before the last fetch ended: that was the answer.
                        if Instant::now() >= not_before {
                            break;
                        }
                    }
                }
            }
        }
    }

    fn take_over(&self, set: KeySet, was_away: bool) {
        let skipped = set.skipped.len();
        let keys = set.keys.len();
        self.metrics.jwks_fetch(JwksFetch::Fetched);
        self.metrics.jwks_keys.set(i64::try_from(keys).unwrap_or(i64::MAX));
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.metrics
            .jwks_fetched_at
            .set(i64::try_from(unix.as_secs()).unwrap_or(i64::MAX));
        let before = self.keys.load();
        let differs = before.keys != set.keys;
        if differs || was_away {
            tracing::info!(url = %self.source.url, keys, skipped, "key set fetched");
        }
        if differs {
            let number = before.number + 1;
            self.keys.store(Arc::new(Fetched { number, keys: set.keys }));
        }
    }

    /// The set, and how long until the next fetch.
    async fn fetch(&self) -> Result<(KeySet, Duration), (JwksFetch, String)> {
        let source = &self.source;
        let request = outbound::request(Method::GET, &source.url)
            .header(ACCEPT, "application/jwk-set+json, application/json")
            .body(Full::new(Bytes::new()))
            .map_err(|error| (JwksFetch::Failed, format!("HTTP: {error}")))?;
        let answer = outbound::exchange(&source.url, &self.trust, request, MAX_BYTES).await;
        let answer = answer.map_err(|why| (JwksFetch::Failed, why))?;
        // A redirect is not followed: it would be a stranger who says whose keys are believed.
        if answer.status != StatusCode::OK {
            return Err((JwksFetch::Failed, format!("it answers {}", answer.status)));
        }
        let unusable = |why: String| (JwksFetch::Unusable, why);
        let body = answer
            .body
            .ok_or_else(|| unusable(format!("its answer has more than {MAX_BYTES} bytes, or ends early")))?;
        let set = KeySet::from_json(&body).map_err(|error| unusable(error.to_string()))?;
        let lives = max_age(&answer.headers).unwrap_or(source.refresh);
        Ok((set, lives.max(SHORTEST).min(source.refresh)))
    }
}

/// How long an answer may be kept (RFC 9111 §5.2.2); `None` where it does not say.
pub(super) fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let lines = headers.get_all(CACHE_CONTROL).into_iter();
    let directives = lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','));
    let mut lives = None;
    for directive in directives.map(str::trim) {
        let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
        if name.eq_ignore_ascii_case("no-store") || name.eq_ignore_ascii_case("no-cache") {
            return Some(Duration::ZERO);
        }
        if name.eq_ignore_ascii_case("max-age") {
            lives = value.trim_matches('"').parse().ok().map(Duration::from_secs);
        }
    }
    lives
}
