//! What `--mint` makes from the secrets of this machine's configuration: a token for the API and the hub, and a credential for
//! a relay that is named by its URL. Whoever can read those secrets could make both anyway.

use super::Access;
use crate::config::Config;
use crate::credentials::{KeyRing, UnixTime, mint};
use jsonwebtoken::{EncodingKey, Header, encode};
use serde::Serialize;
use std::time::{Duration, SystemTime};

/// Longer than any check takes.
const TTL: Duration = Duration::from_mins(5);

/// Quotas and logs name it.
const USER: &str = "check";

#[derive(Serialize)]
struct Claims<'a> {
    sub: &'static str,
    exp: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    aud: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<&'a str>,
}

/// Whatever the configuration has secrets for; what has none is asked for without.
pub(super) fn access(config: &Config) -> Result<Access, String> {
    let now = UnixTime::from_system_time(SystemTime::now());
    let auth = &config.auth;
    let token = auth.jwt_secrets.first().map(|secret| {
        let claims = Claims {
            sub: USER,
            exp: now.0.saturating_add(TTL.as_secs()),
            aud: auth.jwt_audience.as_deref(),
            iss: auth.jwt_issuer.as_deref(),
        };
        let key = EncodingKey::from_secret(secret.expose().as_bytes());
        encode(&Header::default(), &claims, &key).map_err(|error| format!("auth.jwt_secrets: {error}"))
    });
    let secrets: Vec<&str> = config
        .credentials
        .secrets
        .iter()
        .map(|secret| secret.expose())
        .collect();
    let minted = (!secrets.is_empty()).then(|| {
        let ring = KeyRing::from_bytes(&secrets).map_err(|error| format!("credentials.secrets: {error}"))?;
        mint(&ring, now, USER, TTL).map_err(|error| format!("credentials.secrets: {error}"))
    });
    let (username, credential) = minted
        .transpose()?
        .map(|credential| (credential.username, credential.password.as_str().to_owned()))
        .unzip();
    Ok(Access {
        token: token.transpose()?,
        username,
        credential,
    })
}
