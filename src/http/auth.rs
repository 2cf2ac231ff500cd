//! Bearer tokens: JSON Web Tokens signed with HS256 (RFC 7519, RFC 7518 §3.2, RFC 6750, RFC 8725).
//!
//! The algorithm is pinned here and never taken from the token (RFC 8725 §3.1). Claims: `sub` or `userId` (one is needed),
//! `exp` (needed), `nbf`, `publicKey`, and `aud`, `iss` where the configuration asks for them; `peer`, `rooms` and
//! `can: {publish, relay, turn}` narrow what the holder may do; `realm` says whose TURN credentials it gets.

use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption};
use axum::http::{HeaderMap, header};
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;

use super::config::{Auth, Jwt};
use super::error::Problem;
use super::realm::{Realm, Tenants};
use crate::credentials::DEFAULT_REALM;
use crate::telemetry::labels::{Surface, TokenFailure};
use crate::telemetry::{ApiMetrics, Metrics};
use crate::ws::{AuthError, Authenticator, Identity, Rights};

/// Longest token that is looked at. A claim set of ours is a few hundred bytes.
const MAX_TOKEN_BYTES: usize = 8 * 1024;
/// Longest user id, public key and peer id in a token.
const MAX_CLAIM_BYTES: usize = 256;
/// Shortest HS256 secret (RFC 7518 §3.2: at least the length of the hash).
pub const MIN_SECRET_BYTES: usize = 32;

/// Judges tokens. Cheap to clone.
#[derive(Clone)]
pub struct TokenAuthenticator {
    /// Shared by all surfaces, so that a reload reaches them at once.
    rules: Arc<ArcSwapOption<Rules>>,
    tenants: Arc<ArcSwap<Tenants>>,
    surface: Surface,
    metrics: ApiMetrics,
}

struct Rules {
    keys: Vec<DecodingKey>,
    validation: Validation,
}

/// Why tokens cannot be judged with this configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthConfigError {
    /// Nothing to verify with.
    #[error("tokens are asked for, but there is no secret to verify them with")]
    NoSecret,
    /// Too easily guessed.
    #[error("a token secret must have at least {MIN_SECRET_BYTES} bytes")]
    ShortSecret,
}

#[derive(Deserialize)]
struct Claims {
    sub: Option<Box<str>>,
    #[serde(rename = "userId")]
    user_id: Option<UserId>,
    #[serde(rename = "publicKey")]
    public_key: Option<Box<str>>,
    exp: f64,
    peer: Option<Box<str>>,
    rooms: Option<Box<[Box<str>]>>,
    realm: Option<Box<str>>,
    can: Option<Can>,
}

/// Issuers with numeric user tables write numbers.
#[derive(Deserialize)]
#[serde(untagged)]
enum UserId {
    Text(Box<str>),
    Number(u64),
}

#[derive(Deserialize)]
struct Can {
    #[serde(default = "yes")]
    publish: bool,
    #[serde(default = "yes")]
    relay: bool,
    #[serde(default = "yes")]
    turn: bool,
}

const fn yes() -> bool {
    true
}

impl TokenAuthenticator {
    /// Judges tokens that come by HTTP.
    ///
    /// # Errors
    /// When the configuration asks for tokens but has no usable secret.
    pub fn new(auth: &Auth, metrics: &Metrics) -> Result<Self, AuthConfigError> {
        Ok(Self {
            rules: Arc::new(ArcSwapOption::new(Rules::of(auth)?)),
            tenants: Arc::default(),
            surface: Surface::Http,
            metrics: metrics.api().clone(),
        })
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
    /// When the configuration asks for tokens but has no usable secret; the rules are then as before.
    pub fn replace(&self, auth: &Auth) -> Result<(), AuthConfigError> {
        self.rules.store(Rules::of(auth)?);
        Ok(())
    }

    /// Knows these tenants from now on, on all surfaces.
    pub fn replace_realms(&self, realms: &[Realm]) {
        self.tenants.store(Arc::new(Tenants::new(realms)));
    }

    /// The tenant whose own token a request carries. It fetches credentials and nothing else: who joins a room or sees one is
    /// judged by [`Authenticator::authenticate`].
    pub(super) fn tenant(&self, headers: &HeaderMap) -> Option<Identity> {
        let realm = self.tenants.load().of_request(headers)?;
        Some(Identity {
            realm: Some(realm),
            ..Identity::ANONYMOUS
        })
    }

    /// Whether everybody is let in.
    pub fn is_open(&self) -> bool {
        self.rules.load().is_none()
    }

    /// The identity behind a request's `Authorization`.
    ///
    /// # Errors
    /// 401 as RFC 6750 §3 spells it.
    pub(super) fn authenticate_request(&self, headers: &HeaderMap) -> Result<Identity, Problem> {
        self.authenticate(bearer(headers)).map_err(|error| {
            let invalid = "Bearer realm=\"meetpoint\", error=\"invalid_token\"";
            match error {
                AuthError::Missing => Problem::unauthorized(
                    "token_required",
                    "a bearer token is required",
                    "Bearer realm=\"meetpoint\"",
                ),
                AuthError::Invalid => Problem::unauthorized("invalid_token", "the token is not valid", invalid),
                AuthError::Expired => Problem::unauthorized("expired_token", "the token has expired", invalid),
                AuthError::Forbidden => Problem::new(
                    axum::http::StatusCode::FORBIDDEN,
                    "forbidden",
                    "the token does not allow this",
                ),
            }
        })
    }
}

impl Authenticator for TokenAuthenticator {
    fn authenticate(&self, token: Option<&str>) -> Result<Identity, AuthError> {
        // Where everybody is let in, a token says nothing: nobody here could tell a good one from a bad one.
        let rules = self.rules.load();
        let Some(rules) = &*rules else {
            return Ok(Identity::ANONYMOUS);
        };
        token
            .ok_or(AuthError::Missing)
            .and_then(|token| rules.judge(token))
            .and_then(|identity| match &identity.realm {
                Some(realm) if !self.tenants.load().is_one(realm) => Err(AuthError::Forbidden),
                _ => Ok(identity),
            })
            .inspect_err(|error| {
                let reason = match error {
                    AuthError::Missing => TokenFailure::Missing,
                    AuthError::Invalid => TokenFailure::Invalid,
                    AuthError::Expired => TokenFailure::Expired,
                    AuthError::Forbidden => TokenFailure::Forbidden,
                };
                self.metrics.token_failure(self.surface, reason);
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

impl Rules {
    fn of(auth: &Auth) -> Result<Option<Arc<Self>>, AuthConfigError> {
        match auth {
            Auth::Open => Ok(None),
            Auth::Jwt(jwt) => Self::new(jwt).map(Arc::new).map(Some),
        }
    }

    fn new(jwt: &Jwt) -> Result<Self, AuthConfigError> {
        // With two back ends in one build (feature unification) the first verification would panic; choosing one here rules
        // that out. An error means that it was chosen before.
        let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
        if jwt.secrets.is_empty() {
            return Err(AuthConfigError::NoSecret);
        }
        if jwt
            .secrets
            .iter()
            .any(|secret| secret.as_bytes().len() < MIN_SECRET_BYTES)
        {
            return Err(AuthConfigError::ShortSecret);
        }
        let mut validation = Validation::new(Algorithm::HS256);
        validation.leeway = jwt.leeway.as_secs();
        validation.validate_nbf = true;
        let mut required = vec!["exp"];
        match &jwt.audience {
            Some(audience) => {
                validation.set_audience(&[audience]);
                required.push("aud");
            }
            None => validation.validate_aud = false,
        }
        if let Some(issuer) = &jwt.issuer {
            validation.set_issuer(&[issuer]);
            required.push("iss");
        }
        validation.set_required_spec_claims(&required);
        let keys = jwt
            .secrets
            .iter()
            .map(|secret| DecodingKey::from_secret(secret.as_bytes()))
            .collect();
        Ok(Self { keys, validation })
    }

    fn judge(&self, token: &str) -> Result<Identity, AuthError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(AuthError::Invalid);
        }
        for key in &self.keys {
            match jsonwebtoken::decode::<Claims>(token, key, &self.validation) {
                Ok(token) => return identity(token.claims, self.validation.leeway),
                Err(error) => match error.kind() {
                    // Another secret may have signed it.
                    ErrorKind::InvalidSignature => {}
                    ErrorKind::ExpiredSignature => return Err(AuthError::Expired),
                    _ => return Err(AuthError::Invalid),
                },
            }
        }
        Err(AuthError::Invalid)
    }
}

fn identity(claims: Claims, leeway: u64) -> Result<Identity, AuthError> {
    let user_id = claims.user_id.map(|id| match id {
        UserId::Text(text) => text,
        UserId::Number(number) => number.to_string().into(),
    });
    let user = claims.sub.or(user_id).ok_or(AuthError::Invalid)?;
    let texts = [Some(&user), claims.public_key.as_ref(), claims.peer.as_ref()];
    // The user becomes part of a TURN username, the others go into comparisons: bounded and printable.
    let sane = |text: &str| (1..=MAX_CLAIM_BYTES).contains(&text.len()) && !text.chars().any(char::is_control);
    if !texts.into_iter().flatten().all(|text| sane(text)) {
        return Err(AuthError::Invalid);
    }
    let can = claims.can.unwrap_or(Can {
        publish: true,
        relay: true,
        turn: true,
    });
    Ok(Identity {
        user: Some(user),
        public_key: claims.public_key,
        peer: claims.peer,
        rooms: claims.rooms,
        realm: claims.realm.filter(|realm| **realm != *DEFAULT_REALM),
        rights: Rights {
            publish: can.publish,
            relay: can.relay,
            turn: can.turn,
        },
        // `exp` was checked to be a number in the future, give or take the leeway; `as` saturates.
        expires_at_ms: Some(((claims.exp + leeway as f64) * 1000.0) as u64),
    })
}

/// The token of `Authorization: Bearer …` (RFC 6750 §2.1); the scheme's name is case-insensitive (RFC 9110 §11.1).
pub(super) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

#[cfg(test)]
mod tests;
