//! The one door in front of everything that gives or ends credentials: from where, by whose token, by which key, as whom.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use axum::http::{HeaderMap, header};

use super::bearer::bearer;
use super::client::Client;
use super::code::Code;
use super::config::Cors;
use super::error::Problem;
use super::keys::{Exhausted, Form, Held, Maker, Refusal, Scope, X_API_KEY, form};
use super::percent;
use super::rate_limit::Decision;
use super::state::AppState;
use crate::credentials::UnixTime;
use crate::telemetry::labels::{IssueResult, KeyResult};
use crate::ws::{self, Identity};

/// What a request shows of whom it is from.
pub(super) struct Asks<'a> {
    path: &'a str,
    headers: &'a HeaderMap,
    /// What stands where nothing but a key does.
    key: Option<Cow<'a, str>>,
    /// The key that the path names.
    named: Option<&'a str>,
}

impl<'a> Asks<'a> {
    /// A request for `path`, by its header alone.
    pub(super) fn new(path: &'a str, headers: &'a HeaderMap) -> Self {
        let key = headers.get(&X_API_KEY).map(|key| key.to_str().unwrap_or("?").trim());
        Self {
            path,
            headers,
            key: key.map(Cow::Borrowed),
            named: None,
        }
    }

    /// The same with its query, where other services have `apiKey` and `key`.
    pub(super) fn with_query(mut self, query: &'a str) -> Self {
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        let shown = pairs.rfind(|(name, value)| matches!(*name, "apiKey" | "key") && !value.is_empty());
        if let (None, Some((_, value))) = (&self.key, shown) {
            // What cannot be decoded is no key of anybody's, and still one that was shown.
            self.key = Some(Cow::Owned(percent::decode(value).unwrap_or_default()));
        }
        self
    }

    /// Its header.
    pub(super) fn headers(&self) -> &'a HeaderMap {
        self.headers
    }

    /// The same for a path in which a key is named.
    pub(super) fn of_key(mut self, name: &'a str) -> Self {
        self.named = Some(name);
        self
    }
}

/// Somebody who was let in, and whose share it is that a credential is taken from.
#[derive(Debug)]
pub(super) struct Caller {
    pub(super) identity: Identity,
    payer: Payer,
}

#[derive(Debug)]
enum Payer {
    Client,
    Tenant,
    Key(Arc<Held>),
}

impl Caller {
    /// Takes one credential from the share of whoever pays.
    ///
    /// # Errors
    /// 429.
    pub(super) fn charge(&self, state: &AppState, client: &Client) -> Result<(), Problem> {
        let now = Instant::now();
        match &self.payer {
            // A tenant asks for many clients from one address.
            Payer::Tenant => {
                let realm = self.identity.realm.as_deref().unwrap_or_default();
                charged(state, state.tenant_rates().check(realm, now))
            }
            Payer::Client => charged(state, state.rate_limiter().check(client.ip, now)),
            Payer::Key(held) => {
                // A key in a page is everybody's who sees the page.
                if held.is_public() {
                    charged(state, state.rate_limiter().check(client.ip, now))?;
                }
                let taken = held.take(now, unix_now());
                taken.map_err(|refusal| {
                    state.metrics().api().rate_limited.inc();
                    problem(refusal)
                })?;
                held.count(KeyResult::Accepted);
                Ok(())
            }
        }
    }

    /// Takes from the same share for what is no credential: quotas are left alone.
    ///
    /// # Errors
    /// 429.
    pub(super) fn pace(&self, state: &AppState, client: &Client) -> Result<(), Problem> {
        let Payer::Key(held) = &self.payer else {
            return self.charge(state, client);
        };
        held.pace(Instant::now()).map_err(problem)?;
        held.count(KeyResult::Accepted);
        Ok(())
    }

    /// Gives back what was taken for a credential that there is not.
    pub(super) fn give_back(&self) {
        if let Payer::Key(held) = &self.payer {
            held.give_back();
        }
    }

    /// The key it showed, as the maker of others.
    pub(super) fn maker(&self) -> Option<Maker<'_>> {
        let Payer::Key(held) = &self.payer else { return None };
        Some(Maker {
            name: held.name(),
            realm: held.key().realm.as_deref(),
        })
    }

    /// The key that its credentials are accounted for by.
    pub(super) fn share(&self) -> Option<&str> {
        match &self.payer {
            Payer::Key(held) => Some(held.share()),
            Payer::Client | Payer::Tenant => None,
        }
    }

    /// Counts for its key how a wish for a credential ended.
    pub(super) fn count_issue(&self, result: IssueResult) {
        if let Payer::Key(held) = &self.payer {
            held.count_issue(result);
        }
    }

    /// Whether keys that it makes could do anything: they have none but its own scopes.
    ///
    /// # Errors
    /// 403.
    pub(super) fn may_make_keys(&self) -> Result<(), Problem> {
        match &self.payer {
            Payer::Key(held) if held.can_hand_on() => Ok(()),
            _ => Err(Problem::new(
                Code::Forbidden,
                "a key makes keys for what it may do itself, and this one may neither issue nor revoke",
            )),
        }
    }

    /// The name of its key, where the operator has given it that.
    pub(super) fn key(&self) -> Option<&str> {
        match &self.payer {
            Payer::Key(held) => held.configured_name(),
            Payer::Client | Payer::Tenant => None,
        }
    }

    /// Longest lifetime that its credentials may have, whatever the realm allows.
    pub(super) fn max_ttl(&self) -> Option<Duration> {
        match &self.payer {
            Payer::Key(held) => held.key().max_ttl,
            Payer::Client | Payer::Tenant => None,
        }
    }
}

/// Charges an address for what needs no more than what is shown.
///
/// # Errors
/// 429.
pub(super) fn charge_address(state: &AppState, ip: IpAddr) -> Result<(), Problem> {
    charged(state, state.rate_limiter().check(ip, Instant::now()))
}

/// A key that is nobody's, which counts against its address.
pub(super) fn refuse_key(state: &AppState, ip: IpAddr, detail: &'static str) -> Problem {
    if let Some(wait) = state.authenticator().must_wait(ip) {
        return Problem::rate_limited(wait);
    }
    state.keys().metrics().unknown.inc();
    state.authenticator().note_bad(ip);
    Problem::unauthorized(Code::InvalidKey, detail, INVALID)
}

fn charged(state: &AppState, decision: Decision) -> Result<(), Problem> {
    match decision {
        Decision::Allowed { evicted } => {
            if evicted {
                state.metrics().api().rate_evictions.inc();
            }
            Ok(())
        }
        Decision::Limited { retry_after } => {
            state.metrics().api().rate_limited.inc();
            Err(Problem::rate_limited(retry_after))
        }
    }
}

/// Who asks for `scope`. In this order: a page that may not ask at all, a tenant's own token, a key, and only then whoever judges
/// tokens, or lets everybody in.
///
/// # Errors
/// 401, 403, 429, and 503 where somebody else has to be asked.
pub(super) async fn admit(state: &AppState, client: &Client, asks: &Asks<'_>, scope: Scope) -> Result<Caller, Problem> {
    let authenticator = state.authenticator();
    from_allowed_page(state, asks.headers)?;
    let of_tenants = matches!(scope, Scope::Issue | Scope::Revoke | Scope::Usage);
    if let Some(identity) = authenticator.tenant(asks.headers).filter(|_| of_tenants) {
        let payer = Payer::Tenant;
        return Ok(Caller { identity, payer });
    }
    if let Some(held) = by_key(state, client.ip, asks, scope)? {
        let identity = Identity {
            realm: held.key().realm.as_deref().map(Box::from),
            key: Some(Arc::clone(held.name())),
            ..Identity::ANONYMOUS
        };
        let payer = Payer::Key(held);
        return Ok(Caller { identity, payer });
    }
    // Only keys have scopes; and where everybody is let in, nobody has said that strangers get credentials.
    if scope != Scope::Issue || (authenticator.is_open() && state.config().refuse_strangers) {
        return Err(Problem::unauthorized(
            Code::KeyRequired,
            "an API key is required",
            "Bearer realm=\"meetpoint\"",
        ));
    }
    let identity = authenticator
        .authenticate_request(client, asks.path, asks.headers)
        .await?;
    let payer = Payer::Client;
    Ok(Caller { identity, payer })
}

/// Refuses pages that may not ask at all. That its answer could not be read would not keep a page from using up what it asks for.
///
/// # Errors
/// 403.
pub(super) fn from_allowed_page(state: &AppState, headers: &HeaderMap) -> Result<(), Problem> {
    match &state.config().cors {
        Cors::Origins(origins) if !ws::origin_allowed(Some(origins), headers) => {
            Err(Problem::new(Code::OriginNotAllowed, "pages of this origin may not ask"))
        }
        _ => Ok(()),
    }
}

/// The key that a request shows, if it shows one and that opens.
fn by_key(state: &AppState, ip: IpAddr, asks: &Asks<'_>, scope: Scope) -> Result<Option<Arc<Held>>, Problem> {
    let keys = state.keys();
    if keys.is_empty() && scope == Scope::Issue {
        return Ok(None);
    }
    let (shown, must_be_one) = match (&asks.key, bearer(asks.headers)) {
        (Some(key), _) => (&**key, true),
        (None, Some(token)) => (
            token,
            scope != Scope::Issue || form(token) != Form::Other || !can_be_a_token(state),
        ),
        (None, None) => return Ok(None),
    };
    // A path that names one key and shows another is of somebody who has mixed them up.
    let is_meant = |held: &Arc<Held>| {
        asks.named
            .is_none_or(|name| *name == **held.name() || !keys.is_named(name))
    };
    let Some(held) = keys.find(shown).filter(is_meant) else {
        if !must_be_one {
            return Ok(None);
        }
        let detail = if form(shown) == Form::Mangled {
            "the key is cut off or mistyped"
        } else {
            "the key is not valid"
        };
        return Err(refuse_key(state, ip, detail));
    };
    let origin = asks.headers.get(header::ORIGIN).and_then(|origin| origin.to_str().ok());
    held.judge(scope, origin, unix_now()).map_err(|refusal| {
        held.count(refusal.result());
        problem(refusal)
    })?;
    Ok(Some(held))
}

/// Whether somebody judges what is no key. Where nobody does, and strangers get nothing, a text that is shown can only be a key.
fn can_be_a_token(state: &AppState) -> bool {
    !(state.authenticator().is_open() && state.config().refuse_strangers)
}

pub(super) const INVALID: &str = "Bearer realm=\"meetpoint\", error=\"invalid_token\"";

/// What a refusal is by HTTP.
fn problem(refusal: Refusal) -> Problem {
    match refusal {
        Refusal::Disabled => Problem::new(Code::KeyDisabled, "the key is switched off"),
        Refusal::Expired => Problem::unauthorized(Code::ExpiredKey, "the key has expired", INVALID),
        Refusal::Origin => Problem::new(
            Code::OriginNotAllowed,
            "the key is for pages, and not for one of this origin",
        ),
        Refusal::Scope => Problem::new(Code::Forbidden, "the key is not for this"),
        Refusal::Exhausted(Exhausted::Rate(retry)) => Problem::rate_limited(retry),
        Refusal::Exhausted(Exhausted::Quota(retry)) => Problem::exhausted(retry),
    }
}

fn unix_now() -> UnixTime {
    UnixTime::from_system_time(SystemTime::now())
}
