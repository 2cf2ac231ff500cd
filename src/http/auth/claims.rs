//! What a token says about its holder (RFC 7519 §4).

use serde::Deserialize;

use crate::credentials::DEFAULT_REALM;
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
        // `exp` was checked to be a number in the future, give or take the leeway; `as` saturates.
        expires_at_ms: Some(((claims.exp + leeway as f64) * 1000.0) as u64),
    })
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
