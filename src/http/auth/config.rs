//! What an operator may set about who is let in.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use zeroize::Zeroizing;

use super::key::VerifyingKey;
use crate::events::config::Secret;
use crate::http::rate_limit::RateLimit;
use crate::outbound::Url;

/// Who may fetch credentials and join rooms.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Auth {
    /// Everybody. Default; `app` warns about it at start.
    #[default]
    Open,
    /// Holders of a bearer token.
    Jwt(Box<Jwt>),
    /// Whom a service of the operator's lets in; where there are keys too, it is asked about those alone whose token one of
    /// them has verified.
    Hook(Box<Hook>, Option<Box<Jwt>>),
}

/// What a bearer token must be. The algorithm is that of the key, never the token's to choose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Jwt {
    /// Secrets; each verifies, so that they can be rotated. At least 32 bytes each (RFC 7518 §3.2).
    pub secrets: Vec<JwtSecret>,
    /// Public keys; each verifies. Default none.
    pub keys: Vec<VerifyingKey>,
    /// Where the issuer publishes more of them. Default nowhere.
    pub jwks: Option<JwksSource>,
    /// `aud` that a token must carry. Default: not looked at.
    pub audience: Option<String>,
    /// `iss` that a token must carry. Default: not looked at.
    pub issuer: Option<String>,
    /// Claims that are kept of a token, because a rule of lists looks at them. Default none.
    pub kept_claims: Vec<Box<str>>,
    /// How far the clocks of the issuer and this server may differ. Default 30 s. A token lives this much longer.
    pub leeway: Duration,
}

impl Jwt {
    /// Tokens signed with one of `secrets`; nothing asked of `aud` and `iss`, 30 s of leeway.
    pub fn new(secrets: Vec<JwtSecret>) -> Self {
        Self {
            secrets,
            keys: Vec::new(),
            jwks: None,
            audience: None,
            issuer: None,
            kept_claims: Vec::new(),
            leeway: Duration::from_secs(30),
        }
    }
}

/// The operator's own service, which is asked who is let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    /// Where it is asked.
    pub url: Url,
    /// Signs the questions, as webhooks are signed.
    pub secret: Secret,
    /// As [`JwksSource::authorities`].
    pub authorities: Option<PathBuf>,
    /// How long an answer may take, the wait for a turn included. Default 3 s. Applicants wait this long.
    pub timeout: Duration,
    /// Questions under way at once. Default 64. Sixteen times as many may wait for their turn.
    pub concurrency: usize,
    /// How long an answer counts for the same question. Default 10 s. For so long it lets in whom it would not any more.
    pub cache: Duration,
    /// Whether it is asked about those who show no token. Default no.
    pub without_token: bool,
}

impl Hook {
    /// The service at `url`, with the defaults.
    pub fn new(url: Url, secret: Secret) -> Self {
        Self {
            url,
            secret,
            authorities: None,
            timeout: Duration::from_secs(3),
            concurrency: 64,
            cache: Duration::from_secs(10),
            without_token: false,
        }
    }
}

/// A key set that is fetched (RFC 7517 §5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwksSource {
    /// Where it is.
    pub url: Url,
    /// A file of certificates (PEM) that are believed there, beside those that this machine believes. Default none.
    pub authorities: Option<PathBuf>,
    /// Longest time between two fetches. Default 10 min. A key that its issuer takes back verifies for up to this long.
    pub refresh: Duration,
    /// One fetch in this long, when tokens name keys that are not there. Default 30 s. A new key may go unknown for so long.
    pub cooldown: Duration,
    /// How long a fetch may take. Default 5 s. Whoever shows an unknown key waits this long.
    pub timeout: Duration,
}

impl JwksSource {
    /// The set at `url`, with the defaults.
    pub fn new(url: Url) -> Self {
        Self {
            url,
            authorities: None,
            refresh: Duration::from_secs(600),
            cooldown: Duration::from_secs(30),
            timeout: Duration::from_secs(5),
        }
    }
}

/// A secret of HS256. Printed as `[redacted]`, wiped on drop.
#[derive(Clone, PartialEq, Eq)]
pub struct JwtSecret(Zeroizing<Vec<u8>>);

impl JwtSecret {
    /// Takes the secret's bytes as they are.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(Zeroizing::new(bytes.into()))
    }

    pub(in crate::http) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for JwtSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// A bucket of bad tokens per client: IPv4 address or IPv6 /64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failures(pub RateLimit);

impl Default for Failures {
    /// One a second, and a hundred at once: whole companies share an address, and one page there with an old key must not
    /// lock out the others.
    fn default() -> Self {
        Self(RateLimit {
            burst: 100,
            clients: 16_384,
            ..RateLimit::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jwt_secret_never_shows_in_debug_output() {
        let auth = Auth::Jwt(Box::new(Jwt::new(vec![JwtSecret::new(
            "hunter2hunter2hunter2hunter2hunter2",
        )])));
        let shown = format!("{auth:?}");
        assert!(shown.contains("[redacted]") && !shown.contains("104, 117"), "{shown}");
    }
}
