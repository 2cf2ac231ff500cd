//! Judging a token by keys: which of them may have signed it, and whether one has.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Validation, decode};

use super::claims::{Claims, identity, kept_of_token};
use super::config::Jwt;
use super::fault::AuthConfigError;
use super::header::Header;
use super::jwks::Jwks;
use super::key::{Algorithm, MIN_SECRET_BYTES, VerifyingKey};
use super::verified::{Digest, Moment, Verified};
use crate::telemetry::AuthMetrics;
use crate::telemetry::labels::TokenMemory;
use crate::ws::{AuthError, Identity};

/// Longest token that is looked at. A claim set of ours is a few hundred bytes.
pub(super) const MAX_TOKEN_BYTES: usize = 8 * 1024;
/// Keys that one token is tried with. A stranger chooses how many signatures are verified for him; nobody has so many secrets
/// under way at once.
pub(super) const MAX_TRIES: usize = 16;

/// What a token is judged by.
pub(super) struct Rules {
    wanted: Jwt,
    keys: Vec<VerifyingKey>,
    /// Of [`Algorithm::ALL`].
    validations: [Validation; Algorithm::ALL.len()],
    jwks: Option<Arc<Jwks>>,
    /// By these rules, and so gone with them.
    verified: Verified,
    metrics: AuthMetrics,
}

/// What came of judging by the keys at hand.
pub(super) enum Judged {
    /// It is settled.
    Settled(Result<Identity, AuthError>),
    /// It names a key that is not there. The set that keys come from may have it by now.
    UnknownKey,
}

impl Rules {
    /// Rules for `jwt`. The fetched set of `before` goes on where it is the same one.
    pub(super) fn new(jwt: &Jwt, before: Option<&Self>, metrics: &AuthMetrics) -> Result<Self, AuthConfigError> {
        Self::check(jwt)?;
        // With two back ends in one build (feature unification) the first verification would panic; choosing one here rules
        // that out. An error means that it was chosen before.
        let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
        let secrets = jwt.secrets.iter().map(|secret| VerifyingKey::secret(secret.as_bytes()));
        let same = |before: &Self| (before.wanted.jwks == jwt.jwks).then(|| before.jwks.clone());
        let jwks = match (before.and_then(same), &jwt.jwks) {
            (Some(running), _) => running,
            (None, Some(source)) => Some(Arc::new(Jwks::start(source, metrics)?)),
            (None, None) => None,
        };
        Ok(Self {
            keys: secrets.chain(jwt.keys.iter().cloned()).collect(),
            validations: Algorithm::ALL.map(|algorithm| validation(jwt, algorithm)),
            jwks,
            wanted: jwt.clone(),
            verified: Verified::new(),
            metrics: metrics.clone(),
        })
    }

    /// Whether there can be rules for `jwt`. Starts nothing.
    pub(super) fn check(jwt: &Jwt) -> Result<(), AuthConfigError> {
        if jwt.secrets.is_empty() && jwt.keys.is_empty() && jwt.jwks.is_none() {
            return Err(AuthConfigError::NoSecret);
        }
        let short = |secret: &crate::http::JwtSecret| secret.as_bytes().len() < MIN_SECRET_BYTES;
        if jwt.secrets.iter().any(short) {
            return Err(AuthConfigError::ShortSecret);
        }
        Ok(())
    }

    /// What is asked of a token.
    pub(super) const fn wanted(&self) -> &Jwt {
        &self.wanted
    }

    pub(super) fn jwks(&self) -> Option<&Arc<Jwks>> {
        self.jwks.as_ref()
    }

    /// Judges a token by the keys at hand. Never waits.
    pub(super) fn judge(&self, token: &str) -> Judged {
        if token.len() > MAX_TOKEN_BYTES {
            return Judged::Settled(Err(AuthError::Invalid));
        }
        let fetched = self.jwks.as_ref().map(|jwks| jwks.keys());
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = Moment {
            unix_ms: u64::try_from(unix.as_millis()).unwrap_or(u64::MAX),
            // Of the very keys that it is tried with below: a set that comes meanwhile is another one.
            key_set: fetched.as_ref().map_or(0, |set| set.number),
        };
        let digest = Digest::of(token);
        if let Some(known) = digest.and_then(|digest| self.verified.find(digest, now)) {
            self.metrics.token_memory(TokenMemory::Known);
            return Judged::Settled(Ok(known));
        }
        let judged = self.tried(token, fetched.as_ref().map_or(&[], |set| &set.keys));
        if let (Some(digest), Judged::Settled(Ok(identity))) = (digest, &judged) {
            self.metrics.token_memory(TokenMemory::Verified);
            if self.verified.remember(digest, now, identity) {
                self.metrics.token_memory(TokenMemory::Forgotten);
            }
        }
        judged
    }

    fn tried(&self, token: &str, fetched: &[VerifyingKey]) -> Judged {
        let Some(header) = Header::of(token) else {
            return Judged::Settled(Err(AuthError::Invalid));
        };
        let kid = header.kid.as_deref();
        // No set holds secrets, so none is asked for one.
        let may_come = self.jwks.is_some() && header.algorithm != Algorithm::Hs256;
        let is_there = fetched
            .iter()
            .any(|key| key.algorithm() == header.algorithm && (kid.is_none() || key.kid() == kid));
        let mut fitting = self
            .keys
            .iter()
            .chain(fetched)
            .filter(|key| key.fits(header.algorithm, kid))
            .peekable();
        if fitting.peek().is_none() {
            return if may_come {
                Judged::UnknownKey
            } else {
                Judged::Settled(Err(AuthError::Invalid))
            };
        }
        let validation = &self.validations[header.algorithm as usize];
        for key in fitting.take(MAX_TRIES) {
            match decode::<Claims>(token, key.key(), validation) {
                Ok(verified) => {
                    let known = identity(verified.claims, validation.leeway).map(|identity| Identity {
                        claims: kept_of_token(token, &self.wanted.kept_claims),
                        ..identity
                    });
                    return Judged::Settled(known);
                }
                Err(error) => match error.kind() {
                    // Another key may have signed it.
                    ErrorKind::InvalidSignature => {}
                    ErrorKind::ExpiredSignature => return Judged::Settled(Err(AuthError::Expired)),
                    _ => return Judged::Settled(Err(AuthError::Invalid)),
                },
            }
        }
        // Keys without an id fit every token: that they are tried says nothing about the one that it names.
        if may_come && !is_there {
            return Judged::UnknownKey;
        }
        Judged::Settled(Err(AuthError::Invalid))
    }
}

/// The algorithm is the one of the keys that are tried, and so is not the token's choice twice over.
fn validation(jwt: &Jwt, algorithm: Algorithm) -> Validation {
    let mut validation = Validation::new(algorithm.of_library());
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
    validation
}
