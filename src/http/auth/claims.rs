//! What a token says about its holder (RFC 7519 §4).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::credentials::DEFAULT_REALM;
use crate::signaling::KeptClaims;
use crate::ws::{AuthError, Identity, Rights};

/// Longest user id, public key and peer id in a token.
pub(super) const MAX_CLAIM_BYTES: usize = 256;

#[derive(Deserialize)]
pub(super) struct Claims {
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
pub(super) enum UserId {
    Text(Box<str>),
    Number(u64),
}

#[derive(Deserialize)]
pub(super) struct Can {
    #[serde(default = "yes")]
    publish: bool,
    #[serde(default = "yes")]
    relay: bool,
    #[serde(default = "yes")]
    turn: bool,
}

impl Can {
    pub(super) fn rights(self) -> Rights {
        Rights {
            publish: self.publish,
            relay: self.relay,
            turn: self.turn,
        }
    }
}

const fn yes() -> bool {
    true
}

/// The identity that claims stand for.
pub(super) fn identity(claims: Claims, leeway: u64) -> Result<Identity, AuthError> {
    let user_id = claims.user_id.map(|id| match id {
        UserId::Text(text) => text,
        UserId::Number(number) => number.to_string().into(),
    });
    let user = claims.sub.or(user_id).ok_or(AuthError::Invalid)?;
    sane_identity(Identity {
        user: Some(user),
        public_key: claims.public_key,
        peer: claims.peer,
        rooms: claims.rooms,
        realm: claims.realm.filter(|realm| **realm != *DEFAULT_REALM),
        key: None,
        rights: claims.can.map(Can::rights).unwrap_or_default(),
        claims: None,
        // `exp` was checked to be a number in the future, give or take the leeway; `as` saturates.
        expires_at_ms: Some(((claims.exp + leeway as f64) * 1000.0) as u64),
    })
}

/// Most values that are kept of one token or answer.
const MAX_KEPT: usize = 32;

/// What an object says under names that `is_wanted`: texts, numbers, booleans, and lists of them. What is longer than a claim may be
/// is left out, as if it were not there.
pub(super) fn kept(said: &Map<String, Value>, is_wanted: impl Fn(&str) -> bool) -> Option<KeptClaims> {
    let text = |value: &Value| -> Option<Box<str>> {
        match value {
            Value::String(text) => Some(text.as_str().into()),
            Value::Number(number) => Some(number.to_string().into()),
            Value::Bool(yes) => Some(yes.to_string().into()),
            _ => None,
        }
    };
    let named = said
        .iter()
        .filter(|(name, _)| is_wanted(name) && name.len() <= MAX_CLAIM_BYTES);
    let pairs = named.flat_map(|(name, value)| {
        let values = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
        values
            .iter()
            .filter_map(move |value| Some((name.as_str().into(), text(value)?)))
    });
    let pairs: Vec<(Box<str>, Box<str>)> = pairs
        .filter(|(_, value)| value.len() <= MAX_CLAIM_BYTES)
        .take(MAX_KEPT)
        .collect();
    (!pairs.is_empty()).then(|| pairs.into())
}

/// The same of a token that was verified.
pub(super) fn kept_of_token(token: &str, names: &[Box<str>]) -> Option<KeptClaims> {
    let payload = token.split('.').nth(1).filter(|_| !names.is_empty())?;
    let payload = URL_SAFE_NO_PAD.decode(payload).ok()?;
    let said: Map<String, Value> = serde_json::from_slice(&payload).ok()?;
    kept(&said, |name| names.iter().any(|wanted| **wanted == *name))
}

/// The user becomes part of a TURN username, the others go into comparisons: bounded and printable.
pub(super) fn sane_identity(identity: Identity) -> Result<Identity, AuthError> {
    let texts = [&identity.user, &identity.public_key, &identity.peer];
    let sane = |text: &str| (1..=MAX_CLAIM_BYTES).contains(&text.len()) && !text.chars().any(char::is_control);
    if texts.into_iter().flatten().all(|text| sane(text)) {
        Ok(identity)
    } else {
        Err(AuthError::Invalid)
    }
}
