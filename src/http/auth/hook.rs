//! The operator's own service, asked who an applicant is.
//!
//! One POST for each question, signed as webhooks are, so that the service knows who asks. It says yes with an identity, or no.
//! Whatever else happens (no answer in time, an error, something that is no answer) lets nobody in: those are told to come back.
//!
//! Bounds: so many questions under way and so many that wait for their turn; a time-out over both; answers are kept for a moment
//! and in bounded number; a service that fails again and again is left alone for a while, and asked by one at a time after that.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http_body_util::Full;
use hyper::header::{ACCEPT, CONTENT_TYPE};
use hyper::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};
use zeroize::Zeroizing;

use super::claims::{Can, kept, sane_identity};
use super::config::Hook as Config;
use super::fault::{AuthConfigError, trust};
use super::object::Object;
use crate::credentials::{DEFAULT_REALM, UnixTime};
use crate::events::webhook::signature;
use crate::outbound::{self, Trust};
use crate::telemetry::AuthMetrics;
use crate::telemetry::labels::{HookVerdict, Surface};
use crate::ws::{Applicant, AuthError, Identity};

/// Longest answer.
const MAX_ANSWER_BYTES: usize = 16 * 1024;
/// Longest answer that is kept: this times [`MAX_KEPT`] is the worst case of memory.
const MAX_KEPT_BYTES: usize = 2 * 1024;
/// Answers that are kept.
pub(super) const MAX_KEPT: usize = 8_192;
/// Longest token that the service is asked about.
const MAX_TOKEN_BYTES: usize = super::rules::MAX_TOKEN_BYTES;
/// Questions that may wait, for each one that may be under way.
pub(super) const WAITING_SHARE: usize = 16;
/// Failures in a row after which the service is left alone.
pub(super) const PATIENCE: u32 = 5;
/// For so long, doubled with each failure more.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// What those are told who found no place.
const COME_BACK: Duration = Duration::from_secs(1);

/// The service. Cheap to share, and its questions outlive it.
pub(super) struct Hook {
    config: Config,
    trust: Trust,
    /// Hides what answers are kept by.
    salt: Zeroizing<[u8; 32]>,
    turns: Semaphore,
    places: Arc<Semaphore>,
    kept: Mutex<HashMap<[u8; 32], Kept, RandomState>>,
    health: Arc<Mutex<Health>>,
    metrics: AuthMetrics,
}

struct Kept {
    until: Instant,
    result: Result<Identity, AuthError>,
}

#[derive(Default)]
struct Health {
    failures: u32,
    /// Nobody asks before.
    not_before: Option<Instant>,
}

/// What is asked, with its place among those that wait.
pub(super) struct Question {
    body: Zeroizing<Vec<u8>>,
    key: [u8; 32],
    /// What is known already, by a token that keys have verified.
    known: Option<Identity>,
    _place: tokio::sync::OwnedSemaphorePermit,
    _probe: Option<Probe>,
}

/// That one question asks while the others wait for what comes of it. Taken back without an answer, it leaves that to the next:
/// somebody who asks and goes away would keep everybody waiting otherwise, again and again.
struct Probe {
    health: Arc<Mutex<Health>>,
    /// What the others were told.
    until: Instant,
}

impl Drop for Probe {
    fn drop(&mut self) {
        let mut health = lock(&self.health);
        // What came of it has been noted, or this still stands.
        if health.not_before == Some(self.until) {
            health.not_before = Some(Instant::now());
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    token: Option<&'a str>,
    surface: &'static str,
    ip: Option<IpAddr>,
    origin: Option<&'a str>,
    path: Option<&'a str>,
    user: Option<&'a str>,
}

/// What the service says. Fields of other names are not looked at.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    allow: bool,
    reason: Option<Reason>,
    user: Option<Box<str>>,
    public_key: Option<Box<str>>,
    peer: Option<Box<str>>,
    rooms: Option<Box<[Box<str>]>>,
    realm: Option<Box<str>>,
    can: Option<Object<Can>>,
    /// What rules of ICE lists look at.
    claims: Option<serde_json::Value>,
    /// Unix seconds.
    expires_at: Option<f64>,
    /// Seconds.
    cache_for: Option<f64>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Reason {
    Invalid,
    Expired,
    #[serde(other)]
    Forbidden,
}

impl Hook {
    pub(super) fn new(config: &Config, metrics: &AuthMetrics) -> Result<Self, AuthConfigError> {
        let mut salt = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *salt).map_err(|_| AuthConfigError::NoRandomness)?;
        Ok(Self {
            trust: trust(config.authorities.as_deref())?,
            salt,
            turns: Semaphore::new(config.concurrency),
            places: Arc::new(Semaphore::new(config.concurrency * (1 + WAITING_SHARE))),
            kept: Mutex::default(),
            health: Arc::default(),
            metrics: metrics.clone(),
            config: config.clone(),
        })
    }

    pub(super) const fn config(&self) -> &Config {
        &self.config
    }

    /// What to ask about an applicant, or the answer where that is known.
    #[expect(
        clippy::result_large_err,
        reason = "both sides are large, and it is taken apart at once"
    )]
    pub(super) fn question(
        &self,
        applicant: Applicant<'_>,
        surface: Surface,
        known: Option<Identity>,
    ) -> Result<Question, Result<Identity, AuthError>> {
        if applicant.token.is_some_and(|token| token.len() > MAX_TOKEN_BYTES) {
            return Err(Err(AuthError::Invalid));
        }
        let body = Body {
            token: applicant.token,
            surface: surface.as_label(),
            ip: applicant.ip,
            origin: applicant.origin,
            path: applicant.path,
            user: known.as_ref().and_then(|known| known.user.as_deref()),
        };
        // Nothing in it can fail to be JSON.
        let body = serde_json::to_vec(&body).map_err(|_| Err(AuthError::Invalid))?;
        let body = Zeroizing::new(body);
        let key = self.key(&body);
        if let Some(kept) = self.kept(&key) {
            self.metrics.hook_verdict(HookVerdict::Kept);
            return Err(kept.map(|identity| merged(known, identity)));
        }
        let probe = self.turn_to_ask().map_err(|pause| {
            self.metrics.hook_verdict(HookVerdict::Away);
            Err(AuthError::Unavailable(pause))
        })?;
        match Arc::clone(&self.places).try_acquire_owned() {
            Ok(place) => Ok(Question {
                body,
                key,
                known,
                _place: place,
                _probe: probe,
            }),
            Err(_) => {
                self.metrics.hook_verdict(HookVerdict::Busy);
                Err(Err(AuthError::Unavailable(COME_BACK)))
            }
        }
    }

    /// Asks it. Dropping this takes the question back.
    pub(super) async fn ask(&self, question: Question) -> Result<Identity, AuthError> {
        let until = Instant::now() + self.config.timeout;
        // Whoever had no turn in time says nothing about the service: it may be well, and somebody asks too much of it.
        let Ok(Ok(_turn)) = timeout_at(until, self.turns.acquire()).await else {
            self.metrics.hook_verdict(HookVerdict::Busy);
            return Err(AuthError::Unavailable(COME_BACK));
        };
        let left = until.saturating_duration_since(Instant::now());
        let answer = timeout_at(until, self.exchange(&question.body)).await;
        if answer.is_err() && left < self.config.timeout / 2 {
            self.metrics.hook_verdict(HookVerdict::Busy);
            return Err(AuthError::Unavailable(COME_BACK));
        }
        let answer = answer.unwrap_or_else(|_| Err("it does not answer in time".to_owned()));
        match answer {
            Ok((result, keep)) => {
                self.metrics.hook_verdict(if result.is_ok() {
                    HookVerdict::Allowed
                } else {
                    HookVerdict::Denied
                });
                if std::mem::take(&mut *self.health()).failures >= PATIENCE {
                    tracing::info!(url = %self.config.url, "the service that judges tokens answers again");
                }
                if !keep.is_zero() {
                    self.keep(question.key, result.clone(), keep);
                }
                result.map(|identity| merged(question.known, identity))
            }
            Err(why) => {
                self.metrics.hook_verdict(HookVerdict::Failed);
                Err(AuthError::Unavailable(self.failed(&why)))
            }
        }
    }

    async fn exchange(&self, body: &[u8]) -> Result<(Result<Identity, AuthError>, Duration), String> {
        let now = UnixTime::from_system_time(SystemTime::now());
        let request = outbound::request(Method::POST, &self.config.url)
            .header(CONTENT_TYPE, "application/json")
            .header(ACCEPT, "application/json")
            .header(signature::HEADER, signature::sign(&self.config.secret, now, body))
            .body(Full::new(Bytes::copy_from_slice(body)))
            .map_err(|error| format!("HTTP: {error}"))?;
        let answer = outbound::exchange(&self.config.url, &self.trust, request, MAX_ANSWER_BYTES).await?;
        let body = answer
            .body
            .ok_or_else(|| "its answer is too long, or ends early".to_owned())?;
        let keep = |wanted: Option<f64>| {
            let wanted = wanted.and_then(|seconds| Duration::try_from_secs_f64(seconds.max(0.0)).ok());
            let keep = wanted.map_or(self.config.cache, |wanted| wanted.min(self.config.cache));
            if body.len() > MAX_KEPT_BYTES {
                Duration::ZERO
            } else {
                keep
            }
        };
        match answer.status {
            StatusCode::OK => {
                let (result, wanted) =
                    read_answer(&body).ok_or_else(|| "its answer cannot be understood".to_owned())?;
                Ok((result, keep(wanted)))
            }
            StatusCode::UNAUTHORIZED => Ok((Err(AuthError::Invalid), keep(None))),
            StatusCode::FORBIDDEN => Ok((Err(AuthError::Forbidden), keep(None))),
            status => Err(format!("it answers {status}")),
        }
    }

    /// Nobody who reads this process's memory later finds a token in it.
    fn key(&self, body: &[u8]) -> [u8; 32] {
        // HMAC takes keys of any length.
        Hmac::<Sha256>::new_from_slice(&*self.salt).map_or([0; 32], |mut mac| {
            mac.update(body);
            mac.finalize().into_bytes().into()
        })
    }

    fn kept(&self, key: &[u8; 32]) -> Option<Result<Identity, AuthError>> {
        let table = self.table();
        let kept = table.get(key).filter(|kept| Instant::now() < kept.until)?;
        Some(kept.result.clone())
    }

    pub(super) fn keep(&self, key: [u8; 32], result: Result<Identity, AuthError>, keep: Duration) {
        let now = Instant::now();
        let mut table = self.table();
        if table.len() >= MAX_KEPT {
            table.retain(|_, kept| now < kept.until);
        }
        // Full of what still counts: then this one is asked again, which costs a question and not an answer of somebody else.
        if table.len() < MAX_KEPT {
            let until = now + keep;
            table.insert(key, Kept { until, result });
        }
    }

    /// Whether the service may be asked, or how long it is to be left alone. Of those who come when that is over, one asks and
    /// the others wait for what comes of it.
    fn turn_to_ask(&self) -> Result<Option<Probe>, Duration> {
        let now = Instant::now();
        let mut health = self.health();
        let Some(not_before) = health.not_before else {
            return Ok(None);
        };
        if now < not_before {
            return Err(not_before - now);
        }
        let until = now + self.config.timeout;
        health.not_before = Some(until);
        Ok(Some(Probe {
            health: Arc::clone(&self.health),
            until,
        }))
    }

    /// Notes a failure; how long those who were told of it should wait.
    fn failed(&self, why: &str) -> Duration {
        let mut health = self.health();
        health.failures = health.failures.saturating_add(1);
        let more = health.failures.checked_sub(PATIENCE);
        let Some(more) = more else { return COME_BACK };
        if more == 0 {
            tracing::warn!(url = %self.config.url, "the service that judges tokens is left alone for a while: {why}");
        }
        let pause = FIRST_PAUSE.saturating_mul(1 << more.min(8)).min(LONGEST_PAUSE);
        health.not_before = Some(Instant::now() + pause);
        pause
    }

    fn table(&self) -> MutexGuard<'_, HashMap<[u8; 32], Kept, RandomState>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn health(&self) -> MutexGuard<'_, Health> {
        lock(&self.health)
    }

    #[cfg(test)]
    pub(super) fn kept_answers(&self) -> usize {
        self.table().len()
    }
}

fn lock(health: &Mutex<Health>) -> MutexGuard<'_, Health> {
    health.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reads a yes or a no, and for how many seconds it may be kept; `None` for what is neither.
pub fn read_answer(body: &[u8]) -> Option<(Result<Identity, AuthError>, Option<f64>)> {
    let Object(answer): Object<Answer> = serde_json::from_slice(body).ok()?;
    if !answer.allow {
        let error = match answer.reason {
            Some(Reason::Invalid) => AuthError::Invalid,
            Some(Reason::Expired) => AuthError::Expired,
            Some(Reason::Forbidden) | None => AuthError::Forbidden,
        };
        return Some((Err(error), answer.cache_for));
    }
    let identity = sane_identity(Identity {
        key: None,
        user: answer.user,
        public_key: answer.public_key,
        peer: answer.peer,
        rooms: answer.rooms,
        realm: answer.realm.filter(|realm| **realm != *DEFAULT_REALM),
        rights: answer.can.map(|Object(can)| can.rights()).unwrap_or_default(),
        claims: answer
            .claims
            .as_ref()
            .and_then(|claims| kept(claims.as_object()?, |_| true)),
        // `as` saturates: a time before 1970 is over.
        expires_at_ms: answer.expires_at.map(|seconds| (seconds * 1000.0) as u64),
    });
    Some((Ok(identity.ok()?), answer.cache_for))
}

/// What the service says of whom keys know already: what it names counts, and the sooner end.
fn merged(known: Option<Identity>, said: Identity) -> Identity {
    let Some(known) = known else { return said };
    let ends = [known.expires_at_ms, said.expires_at_ms];
    Identity {
        user: said.user.or(known.user),
        public_key: said.public_key.or(known.public_key),
        peer: said.peer.or(known.peer),
        rooms: said.rooms.or(known.rooms),
        realm: said.realm.or(known.realm),
        key: None,
        claims: said.claims.or(known.claims),
        rights: known.rights.and(said.rights),
        expires_at_ms: ends.into_iter().flatten().min(),
    }
}
