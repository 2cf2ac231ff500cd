//! The long-term credential mechanism (RFC 8489 §9.2), over static users and time-limited usernames.
//!
//! Order of the checks is that of §9.2.4, with what costs nothing moved in front of what costs an HMAC wherever the answer
//! is the same. A nonce that is not ours is refused before any key is derived: a forged source cannot have one, so it
//! cannot make the server hash passwords.

use std::fmt;
use std::sync::Arc;

use hashbrown::HashMap;

use super::allocation::Allocation;
use super::config::{Config, NonceKey};
use super::five_tuple::FiveTuple;
use super::hashing::{HashState, Map};
use super::input::Now;
use super::nonce::{NONCE_LEN, NonceState, Nonces};
use super::request::{Reject, Signer};
use super::verdict::{Answer, AuthFailure};
use crate::credentials;
use crate::wire::attribute::{
    Nonce, PasswordAlgorithm, PasswordAlgorithms, Realm, SecurityFeatures, Userhash, Username,
};
use crate::wire::{AttributeType, IntegrityKey, IntegrityKind, Message, userhash};

/// What we offer; compared byte for byte with what comes back.
const OFFERED: PasswordAlgorithms<'static> = PasswordAlgorithms::SHA256_THEN_MD5;

/// The prepared form of what the configuration says about credentials. Rebuilt on reconfiguration.
pub(super) struct Authenticator {
    config: Arc<Config>,
    nonces: Nonces,
    static_users: Map<Box<str>, StaticKeys>,
    by_userhash: HashMap<[u8; 32], Box<str>, HashState>,
}

struct StaticKeys {
    md5: IntegrityKey,
    sha256: IntegrityKey,
}

/// Who sent the request.
#[derive(Debug)]
pub(super) struct Authenticated {
    /// Signs the answer.
    pub(super) signer: Signer,
    pub(super) identity: Identity,
}

/// How the sender was recognised.
#[derive(Debug)]
pub(super) enum Identity {
    /// As the owner of the allocation, by its key.
    Owner,
    /// By its credentials.
    Other {
        /// USERNAME, looked up if USERHASH came instead.
        username: Box<str>,
        /// How the key was made.
        algorithm: PasswordAlgorithm,
    },
}

/// A refusal and how it is counted.
pub(super) type Refusal = (AuthFailure, Reject);

/// What the request asks for, as far as credentials go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Purpose {
    /// A new allocation: the credential must not be expired.
    NewAllocation,
    /// Anything else.
    Other,
}

impl Authenticator {
    pub(super) fn new(config: Arc<Config>, own_key: &NonceKey, hash_state: &HashState) -> Self {
        let nonces = Nonces::new(config.nonce_key.as_ref().unwrap_or(own_key), config.nonce_lifetime);
        let mut static_users = Map::with_hasher(hash_state.clone());
        let mut by_userhash = HashMap::with_hasher(hash_state.clone());
        for user in &config.static_users {
            let (name, realm, password) = (user.name.as_str(), config.realm.as_str(), user.password());
            let keys = StaticKeys {
                md5: IntegrityKey::long_term_md5(name, realm, password),
                sha256: IntegrityKey::long_term_sha256(name, realm, password),
            };
            by_userhash.insert(userhash(name, realm), Box::from(name));
            static_users.insert(Box::from(name), keys);
        }
        Self {
            config,
            nonces,
            static_users,
            by_userhash,
        }
    }

    const fn features(config: &Config) -> SecurityFeatures {
        SecurityFeatures {
            password_algorithms: config.offer_sha256,
            username_anonymity: config.username_anonymity,
        }
    }

    /// A fresh nonce for a challenge.
    pub(super) fn nonce(&self, now: Now, from: &FiveTuple) -> [u8; NONCE_LEN] {
        self.nonces.mint(Self::features(&self.config), from.client.0, now.unix)
    }

    /// What goes into a challenge besides REALM and NONCE.
    pub(super) fn offered(&self) -> Option<PasswordAlgorithms<'static>> {
        self.config.offer_sha256.then_some(OFFERED)
    }

    /// Authenticates a request. `allocation` is that of the 5-tuple, if there is one.
    pub(super) fn authenticate(
        &self,
        now: Now,
        from: &FiveTuple,
        message: &Message<'_>,
        allocation: Option<&Allocation>,
        purpose: Purpose,
    ) -> Result<Authenticated, Refusal> {
        let bad = |failure| (failure, Reject::Code(Answer::BadRequest));
        let denied = |failure| (failure, Reject::Challenge(Answer::Unauthenticated));
        let stale = |failure| (failure, Reject::Challenge(Answer::StaleNonce));

        // 1. No integrity: this is how a client asks for a challenge.
        let Some(carried) = message.integrity_kind() else {
            return Err(denied(AuthFailure::NoCredentials));
        };

        // 2. The attributes that integrity needs.
        let missing = || bad(AuthFailure::MissingAttribute);
        let claim = match (message.find::<Username<'_>>(), message.find::<Userhash>()) {
            (Ok(Some(username)), Ok(_)) => Claim::Name(username.as_str()),
            (Ok(None), Ok(Some(hash))) => Claim::Hash(hash.0),
            _ => return Err(missing()),
        };
        let Ok(Some(realm)) = message.find::<Realm<'_>>() else {
            return Err(missing());
        };
        let Ok(Some(nonce)) = message.find::<Nonce<'_>>() else {
            return Err(missing());
        };

        // 3. Bid-down protection: what we offered must come back as we sent it.
        let (algorithm, kind) = password_algorithm(message, nonce.as_str()).map_err(|()| bad(AuthFailure::BidDown))?;

        // The cheap half of what follows.
        if realm.as_str() != self.config.realm {
            return Err(denied(AuthFailure::WrongRealm));
        }
        let nonce_state = self.nonces.judge(nonce.as_str(), from.client.0, now.unix);
        if nonce_state == NonceState::Foreign {
            return Err(stale(AuthFailure::ForeignNonce));
        }

        // 4. and 5. The user, and the integrity under the user's key.
        let authenticated = self.verify(now, message, claim, algorithm, carried, kind, allocation, purpose);
        let authenticated = authenticated.map_err(denied)?;

        // 6. The nonce is judged last: 438 is for those who know the password (RFC 8489 §9.2.4).
        if nonce_state == NonceState::Stale {
            return Err(stale(AuthFailure::StaleNonce));
        }
        Ok(authenticated)
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "one step of authenticate, split off for its length alone"
    )]
    fn verify(
        &self,
        now: Now,
        message: &Message<'_>,
        claim: Claim<'_>,
        algorithm: PasswordAlgorithm,
        carried: IntegrityKind,
        kind: IntegrityKind,
        allocation: Option<&Allocation>,
        purpose: Purpose,
    ) -> Result<Authenticated, AuthFailure> {
        // A sender may truncate HMAC-SHA256 only where the usage says so (RFC 8489 §14.6). TURN does not.
        let hmac = message.value(AttributeType::MESSAGE_INTEGRITY_SHA256);
        if hmac.is_some_and(|hmac| hmac.len() != 32) {
            return Err(AuthFailure::WrongPassword);
        }
        let verifies = |key: &IntegrityKey| message.verify_integrity_of(carried, key).is_ok();
        let other = |key: IntegrityKey, username: &str| Authenticated {
            signer: Signer { key, kind },
            identity: Identity::Other {
                username: Box::from(username),
                algorithm,
            },
        };

        // The owner of the allocation: the key is at hand, and its credential may be long expired.
        let owner = allocation.filter(|allocation| self.names(claim, &allocation.username));
        if let Some(owner) = owner.filter(|owner| owner.algorithm == algorithm) {
            let key = &owner.signer.key;
            if !verifies(key) {
                return Err(AuthFailure::WrongPassword);
            }
            return Ok(Authenticated {
                signer: Signer { key: key.clone(), kind },
                identity: Identity::Owner,
            });
        }

        let username = match claim {
            Claim::Name(name) => name,
            Claim::Hash(hash) => match (owner, self.by_userhash.get(&hash)) {
                (Some(owner), _) => &owner.username,
                (None, Some(name)) => name,
                (None, None) => return Err(AuthFailure::UnknownUser),
            },
        };
        let authenticated = if let Some(keys) = self.static_users.get(username) {
            let key = match algorithm {
                PasswordAlgorithm::Md5 => &keys.md5,
                PasswordAlgorithm::Sha256 => &keys.sha256,
            };
            if !verifies(key) {
                return Err(AuthFailure::WrongPassword);
            }
            other(key.clone(), username)
        } else {
            let ring = self.config.keys.as_ref().ok_or(AuthFailure::UnknownUser)?;
            let parsed = credentials::Username::parse(username).map_err(|_| AuthFailure::UnknownUser)?;
            if purpose == Purpose::NewAllocation && parsed.is_expired(now.unix) {
                return Err(AuthFailure::Expired);
            }
            let realm = self.config.realm.as_str();
            let key = ring
                .passwords(&parsed)
                .map(|password| match algorithm {
                    PasswordAlgorithm::Md5 => IntegrityKey::long_term_md5(username, realm, password.as_str()),
                    PasswordAlgorithm::Sha256 => IntegrityKey::long_term_sha256(username, realm, password.as_str()),
                })
                .find(verifies)
                .ok_or(AuthFailure::WrongPassword)?;
            other(key, username)
        };
        // The owner again, with another password algorithm than at Allocate.
        Ok(match owner {
            Some(_) => Authenticated {
                identity: Identity::Owner,
                ..authenticated
            },
            None => authenticated,
        })
    }

    fn names(&self, claim: Claim<'_>, username: &str) -> bool {
        match claim {
            Claim::Name(name) => name == username,
            Claim::Hash(hash) => userhash(username, &self.config.realm) == hash,
        }
    }
}

/// Part of a username that quotas count by: behind the expiry; all of it for a static user, and where nothing is behind the
/// expiry. Some services mint such a name for everybody, and one user's share would be all that everybody gets.
pub(super) fn quota_user<'a>(config: &Config, username: &'a str) -> &'a str {
    if config.static_users.iter().any(|user| user.name == username) {
        return username;
    }
    match credentials::Username::parse(username) {
        Ok(parsed) if !parsed.user().is_empty() => parsed.user(),
        _ => username,
    }
}

/// Whom the request claims to be from.
#[derive(Clone, Copy)]
enum Claim<'a> {
    Name(&'a str),
    Hash([u8; 32]),
}

/// The algorithm of the key and the attribute that signs the answer; `Err` if the offer was tampered with.
fn password_algorithm(message: &Message<'_>, nonce: &str) -> Result<(PasswordAlgorithm, IntegrityKind), ()> {
    let chosen = message.find::<PasswordAlgorithm>().map_err(drop)?;
    let returned = message.value(AttributeType::PASSWORD_ALGORITHMS);
    let offered = SecurityFeatures::of_nonce(nonce).is_some_and(|features| features.password_algorithms);
    match (chosen, returned) {
        (None, None) => Ok((PasswordAlgorithm::Md5, IntegrityKind::Sha1)),
        (Some(chosen), Some(returned)) if offered => {
            if returned == OFFERED.as_bytes() && OFFERED.contains(chosen) {
                Ok((chosen, IntegrityKind::Sha256))
            } else {
                Err(())
            }
        }
        // Nothing was offered with this nonce, so there is nothing to compare; MD5 is what is left.
        (Some(PasswordAlgorithm::Md5), _) | (None, Some(_)) if !offered => {
            Ok((PasswordAlgorithm::Md5, IntegrityKind::Sha1))
        }
        _ => Err(()),
    }
}

impl fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authenticator").finish_non_exhaustive()
    }
}
