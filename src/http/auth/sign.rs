//! Signing a token of our own, for operators whose backend cannot or should not (`POST /v1/tokens`).
//!
//! It is judged before it is given out, by the rules that it will be judged by: what would not be let in is not signed.

use std::time::Duration;

use jsonwebtoken::{EncodingKey, Header, encode};
use serde::{Deserialize, Serialize};

use super::rules::{Judged, Rules};
use crate::credentials::UnixTime;
use crate::ws::Identity;

/// Most rooms in one token; `*` at the end of one stands for many.
pub(in crate::http) const MAX_ROOMS: usize = 64;
/// Longest name of a room in a token; as long as `signaling.room_name_bytes` may be.
pub(in crate::http) const MAX_ROOM_BYTES: usize = 1024;

/// What the holder of a token may do. What is not named is allowed.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Can {
    #[serde(default = "yes")]
    pub(in crate::http) publish: bool,
    #[serde(default = "yes")]
    pub(in crate::http) relay: bool,
    #[serde(default = "yes")]
    pub(in crate::http) turn: bool,
}

const fn yes() -> bool {
    true
}

/// What a token is to say about its holder, by the names of its claims.
#[derive(Clone, Debug, Serialize)]
pub(in crate::http) struct Grant {
    #[serde(rename = "sub")]
    pub(in crate::http) user: Box<str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::http) peer: Option<Box<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::http) rooms: Option<Vec<Box<str>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::http) can: Option<Can>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::http) realm: Option<Box<str>>,
    #[serde(rename = "publicKey", skip_serializing_if = "Option::is_none")]
    pub(in crate::http) public_key: Option<Box<str>>,
}

/// Why no token was signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::http) enum NotIssued {
    /// Open to all, or judged by public keys or by a service alone.
    #[error("there is no secret to sign with: set auth.jwt_secrets")]
    NoSecret,
    /// Nobody would be let in by it.
    #[error(
        "user, peer and publicKey have 1 to 256 bytes without control characters, and rooms are 64 of 1 to 1024 bytes"
    )]
    Claim,
    /// Longer than what is looked at.
    #[error("the token would be longer than 8 KiB, which is the most that is looked at")]
    TooLong,
    /// No tenant of that name.
    #[error("no realm of that name is configured")]
    Realm,
    /// A tenant's name in the default realm.
    #[error("user ends with the name of a realm: name that as realm")]
    OtherRealm,
}

/// A token, and when it ends.
pub(in crate::http) struct Issued {
    pub(in crate::http) token: String,
    pub(in crate::http) expires_at: UnixTime,
}

#[derive(Serialize)]
struct Signed<'a> {
    #[serde(flatten)]
    grant: &'a Grant,
    iat: u64,
    exp: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    aud: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<&'a str>,
}

/// A token of HS256 for `grant`, with `aud` and `iss` as `rules` ask for them, and who is let in by it.
pub(super) fn sign(
    rules: &Rules,
    grant: &Grant,
    now: UnixTime,
    ttl: Duration,
) -> Result<(Issued, Identity), NotIssued> {
    let jwt = rules.wanted();
    let secret = jwt.secrets.first().ok_or(NotIssued::NoSecret)?;
    let rooms = grant.rooms.as_deref().unwrap_or_default();
    let sane = |room: &str| (1..=MAX_ROOM_BYTES).contains(&room.len()) && !room.chars().any(char::is_control);
    if rooms.len() > MAX_ROOMS || !rooms.iter().all(|room| sane(room)) {
        return Err(NotIssued::Claim);
    }
    let expires_at = UnixTime(now.0.saturating_add(ttl.as_secs()));
    let claims = Signed {
        grant,
        iat: now.0,
        exp: expires_at.0,
        aud: jwt.audience.as_deref(),
        iss: jwt.issuer.as_deref(),
    };
    let key = EncodingKey::from_secret(secret.as_bytes());
    // Nothing in there fails to be JSON, and every secret is a key.
    let token = encode(&Header::default(), &claims, &key).map_err(|_| NotIssued::Claim)?;
    if token.len() > super::rules::MAX_TOKEN_BYTES {
        return Err(NotIssued::TooLong);
    }
    match rules.judge(&token) {
        Judged::Settled(Ok(identity)) => Ok((Issued { token, expires_at }, identity)),
        _ => Err(NotIssued::Claim),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credentials::UnixTime;
    use crate::http::{Jwt, JwtSecret};
    use crate::telemetry::Metrics;

    const TTL: Duration = Duration::from_secs(60);

    fn grant(user: &str) -> Grant {
        Grant {
            user: user.into(),
            peer: None,
            rooms: None,
            can: None,
            realm: None,
            public_key: None,
        }
    }

    fn issue(jwt: &Jwt, grant: &Grant) -> Result<Identity, NotIssued> {
        let metrics = Metrics::new().unwrap();
        let rules = Rules::new(jwt, None, metrics.auth()).unwrap();
        let now = UnixTime::from_system_time(std::time::SystemTime::now());
        sign(&rules, grant, now, TTL).map(|(_, identity)| identity)
    }

    fn jwt() -> Jwt {
        let secrets = [
            "the first secret, which is signed with",
            "the second secret, which only verifies",
        ];
        Jwt::new(secrets.map(JwtSecret::new).into())
    }

    #[test]
    fn a_token_says_what_was_granted_and_fits_the_audience_and_the_issuer() {
        let jwt = Jwt {
            audience: Some("meet.example".into()),
            issuer: Some("https://id.example".into()),
            ..jwt()
        };
        let can = Can {
            publish: true,
            relay: false,
            turn: true,
        };
        let identity = issue(
            &jwt,
            &Grant {
                peer: Some("p".into()),
                rooms: Some(vec!["lobby".into(), "team/*".into()]),
                can: Some(can),
                public_key: Some("k".into()),
                ..grant("alice")
            },
        )
        .unwrap();
        assert_eq!(
            (identity.user.as_deref(), identity.peer.as_deref()),
            (Some("alice"), Some("p"))
        );
        assert!(identity.allows_room("team/one") && !identity.allows_room("other"));
        assert!(identity.rights.publish && !identity.rights.relay && identity.rights.turn);
        assert_eq!(identity.public_key.as_deref(), Some("k"));
    }

    #[test]
    fn every_bound_of_a_token_is_kept_at_and_past_it() {
        let rooms = |count: usize, bytes: usize| Grant {
            rooms: Some((0..count).map(|_| "r".repeat(bytes).into()).collect()),
            ..grant("alice")
        };
        let of = |grant: &Grant| issue(&jwt(), grant).err();
        assert_eq!(of(&grant(&"u".repeat(256))), None);
        assert_eq!(of(&grant(&"u".repeat(257))), Some(NotIssued::Claim));
        assert_eq!(of(&grant("")), Some(NotIssued::Claim));
        assert_eq!(of(&grant("a\nb")), Some(NotIssued::Claim));
        assert_eq!(of(&rooms(MAX_ROOMS, 8)), None);
        assert_eq!(of(&rooms(MAX_ROOMS + 1, 8)), Some(NotIssued::Claim));
        assert_eq!(of(&rooms(1, MAX_ROOM_BYTES)), None);
        assert_eq!(of(&rooms(1, MAX_ROOM_BYTES + 1)), Some(NotIssued::Claim));
        assert_eq!(of(&rooms(1, 0)), Some(NotIssued::Claim));
        assert_eq!(of(&rooms(MAX_ROOMS, 128)), Some(NotIssued::TooLong));
    }

    #[test]
    fn nothing_is_signed_with_a_key_that_only_verifies() {
        let pem = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n-----END PUBLIC KEY-----\n";
        let jwt = Jwt {
            secrets: Vec::new(),
            keys: crate::http::read_keys(pem).unwrap(),
            ..jwt()
        };
        assert_eq!(issue(&jwt, &grant("alice")).err(), Some(NotIssued::NoSecret));
    }
}
