//! The long-term credential mechanism (RFC 8489 §9.2), over static users and time-limited usernames.
//!
//! Order of the checks is that of §9.2.4, with what costs nothing moved in front of what costs an HMAC wherever the answer
//! is the same. A nonce that is not ours is refused before any key is derived: a forged source cannot have one, so it
//! cannot make the server hash passwords.
//!
//! In place of a password there may be an access token, which brings the key; the username is the kid then (RFC 7635).
//!
//! The username says which realm's users and secrets are asked, and no other's are. REALM does not: a challenge goes out before
//! the server knows who will answer it, so everybody is challenged with the same REALM and echoes that (§9.2.3). §9.2.4 asks
//! that the user be valid within the REALM of the request; a realm with a REALM of its own is one space of users with two
//! names, and either is good for its users and for nobody else's. The key is made with the one that came (§9.2.2).

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use hashbrown::{HashMap, HashSet};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::allocation::Allocation;
use super::config::{Config, NonceKey};
use super::five_tuple::FiveTuple;
use super::hashing::{HashState, Map};
use super::input::Now;
use super::nonce::{NONCE_LEN, NonceState, Nonces};
use super::realm::{RealmId, Realms};
use super::request::{Reject, Signer};
use super::verdict::{Answer, AuthFailure};
use crate::credentials::{self, KeyRing, UnixTime, in_realm, named_realm};
use crate::wire::attribute::{
    Nonce, PasswordAlgorithm, PasswordAlgorithms, Realm, SecurityFeatures, Userhash, Username,
};
use crate::wire::{AttributeType, IntegrityKey, IntegrityKind, Message, userhash};

/// What we offer; compared byte for byte with what comes back.
const OFFERED: PasswordAlgorithms<'static> = PasswordAlgorithms::SHA256_THEN_MD5;

/// Bytes of a key that MD5 makes of a password.
const MD5_KEY: usize = 16;

/// The prepared form of what the configuration says about credentials. Rebuilt on reconfiguration.
pub(super) struct Authenticator {
    config: Arc<Config>,
    nonces: Nonces,
    /// REALM of challenges.
    challenge: Arc<str>,
    /// Of everybody whose username names none of `realms`.
    default: RealmKeys,
    realms: Map<Box<str>, RealmKeys>,
    /// By USERNAME, with the `@` and the name of the realm.
    static_users: Map<Box<str>, StaticKeys>,
    by_userhash: HashMap<[u8; 32], Box<str>, HashState>,
    /// The REALMs of their own that realms have.
    own_challenges: HashSet<Arc<str>, HashState>,
}

/// What opens a realm, besides its static users.
struct RealmKeys {
    id: RealmId,
    ring: Option<KeyRing>,
    /// A REALM of its own.
    challenge: Option<Arc<str>>,
}

struct StaticKeys {
    of_server: KeyPair,
    /// With the realm's own REALM.
    of_realm: Option<KeyPair>,
}

struct KeyPair {
    md5: IntegrityKey,
    sha256: IntegrityKey,
}

impl KeyPair {
    fn new(username: &str, realm: &str, password: &str) -> Self {
        Self {
            md5: IntegrityKey::long_term_md5(username, realm, password),
            sha256: IntegrityKey::long_term_sha256(username, realm, password),
        }
    }
}

/// Who sent the request.
#[derive(Debug)]
pub(super) struct Authenticated {
    /// Signs the answer.
    pub(super) signer: Signer,
    pub(super) identity: Identity,
    /// The access token that the request was authenticated with.
    pub(super) grant: Option<Grant>,
}

/// What an access token allows (RFC 7635).
#[derive(Clone, Debug)]
pub(super) struct Grant {
    pub(super) expires: UnixTime,
    /// What quotas count by: the token itself, since its USERNAME is that of everybody whom one authorization server sends.
    pub(super) user: Box<str>,
}

impl Grant {
    /// When it ends on the clock that lifetimes are measured with.
    pub(super) fn ends(&self, now: Now) -> Instant {
        now.instant + self.expires.saturating_since(now.unix)
    }
}

/// How the sender was recognised.
#[derive(Debug)]
pub(super) enum Identity {
    /// As the owner of the allocation, by its key.
    Owner,
    /// By its credentials.
    Other(Account),
}

/// Whose credentials they are, and how their key was made.
#[derive(Debug)]
pub(super) struct Account {
    /// USERNAME, looked up if USERHASH came instead.
    pub(super) username: Box<str>,
    pub(super) realm: RealmId,
    pub(super) algorithm: PasswordAlgorithm,
    /// REALM.
    pub(super) challenge: Arc<str>,
}

/// A refusal and how it is counted.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) failure: AuthFailure,
    /// The realm that the request names.
    pub(super) realm: RealmId,
    pub(super) reject: Reject,
}

/// What the request asks for, as far as credentials go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Purpose {
    /// A new allocation: the credential must not be expired.
    NewAllocation,
    /// Anything else.
    Other,
}

impl Authenticator {
    pub(super) fn new(config: Arc<Config>, places: &Realms, own_key: &NonceKey, hash_state: &HashState) -> Self {
        let nonces = Nonces::new(config.nonce_key.as_ref().unwrap_or(own_key), config.nonce_lifetime);
        let mut this = Self {
            nonces,
            challenge: Arc::from(config.realm.as_str()),
            default: RealmKeys {
                id: RealmId::DEFAULT,
                ring: config.keys.clone(),
                challenge: None,
            },
            realms: Map::with_hasher(hash_state.clone()),
            static_users: Map::with_hasher(hash_state.clone()),
            by_userhash: HashMap::with_hasher(hash_state.clone()),
            own_challenges: HashSet::with_hasher(hash_state.clone()),
            config: Arc::clone(&config),
        };
        for realm in &config.realms {
            let Some(id) = places.find(&realm.name) else { continue };
            let challenge: Option<Arc<str>> = realm.realm.as_deref().map(Arc::from);
            for user in &realm.static_users {
                let username = in_realm(&user.name, &realm.name);
                this.add_static_user(&username, user.password(), challenge.as_deref());
            }
            this.own_challenges.extend(challenge.clone());
            let keys = RealmKeys {
                id,
                ring: realm.keys.clone(),
                challenge,
            };
            this.realms.insert(Box::from(realm.name.as_str()), keys);
        }
        for user in &config.static_users {
            // One that names a realm would be let into it.
            if this.realm_of(&user.name).id == RealmId::DEFAULT {
                this.add_static_user(&user.name, user.password(), None);
            }
        }
        this
    }

    fn add_static_user(&mut self, username: &str, password: &str, challenge: Option<&str>) {
        for realm in [Some(&*self.challenge), challenge].into_iter().flatten() {
            self.by_userhash.insert(userhash(username, realm), Box::from(username));
        }
        let keys = StaticKeys {
            of_server: KeyPair::new(username, &self.challenge, password),
            of_realm: challenge.map(|realm| KeyPair::new(username, realm, password)),
        };
        self.static_users.insert(Box::from(username), keys);
    }

    /// The realm that a username belongs to.
    fn realm_of(&self, username: &str) -> &RealmKeys {
        if self.realms.is_empty() {
            return &self.default;
        }
        named_realm(username)
            .and_then(|name| self.realms.get(name))
            .unwrap_or(&self.default)
    }

    /// REALM of a request as far as it can be judged before the user is known: the server's; that of the allocation's key; or one
    /// that a realm has of its own, that of the user if the request names one.
    fn accepted(&self, text: &str, named: Option<&RealmKeys>, allocation: Option<&Allocation>) -> Option<Arc<str>> {
        if *text == *self.challenge {
            return Some(Arc::clone(&self.challenge));
        }
        let of_allocation = allocation.map(|allocation| &allocation.challenge);
        let of_realm = match named {
            Some(named) => named.challenge.as_ref(),
            None => self.own_challenges.get(text),
        };
        let mut known = [of_allocation, of_realm].into_iter().flatten();
        known.find(|known| ***known == *text).cloned()
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
        let refuse = |failure, realm, reject| Refusal { failure, realm, reject };
        let bad = |failure| refuse(failure, RealmId::DEFAULT, Reject::Code(Answer::BadRequest));

        // 1. No integrity: this is how a client asks for a challenge.
        let Some(carried) = message.integrity_kind() else {
            let challenge = Reject::Challenge(Answer::Unauthenticated, None);
            return Err(refuse(AuthFailure::NoCredentials, RealmId::DEFAULT, challenge));
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
        let named = match claim {
            Claim::Name(name) => Some(self.realm_of(name)),
            Claim::Hash(_) => None,
        };
        let id = named.map_or(RealmId::DEFAULT, |named| named.id);
        let Some(challenge) = self.accepted(realm.as_str(), named, allocation) else {
            let challenge = Reject::Challenge(Answer::Unauthenticated, None);
            return Err(refuse(AuthFailure::WrongRealm, id, challenge));
        };
        let again = |answer| Reject::Challenge(answer, Some(Arc::clone(&challenge)));
        let nonce_state = self.nonces.judge(nonce.as_str(), from.client.0, now.unix);
        if nonce_state == NonceState::Foreign {
            return Err(refuse(AuthFailure::ForeignNonce, id, again(Answer::StaleNonce)));
        }

        // 4. and 5. The user, and the integrity under the user's key.
        let signature = Signature {
            claim,
            challenge: &challenge,
            algorithm,
            carried,
            kind,
        };
        let authenticated = self
            .verify(now, message, &signature, allocation, purpose)
            .map_err(|failure| refuse(failure, id, again(Answer::Unauthenticated)))?;

        // 6. The nonce is judged last: 438 is for those who know the password (RFC 8489 §9.2.4).
        if nonce_state == NonceState::Stale {
            return Err(refuse(AuthFailure::StaleNonce, id, again(Answer::StaleNonce)));
        }
        Ok(authenticated)
    }

    fn verify(
        &self,
        now: Now,
        message: &Message<'_>,
        signature: &Signature<'_>,
        allocation: Option<&Allocation>,
        purpose: Purpose,
    ) -> Result<Authenticated, AuthFailure> {
        let &Signature {
            claim,
            challenge,
            algorithm,
            carried,
            kind,
        } = signature;
        // A sender may truncate HMAC-SHA256 only where the usage says so (RFC 8489 §14.6). TURN does not.
        let hmac = message.value(AttributeType::MESSAGE_INTEGRITY_SHA256);
        if hmac.is_some_and(|hmac| hmac.len() != 32) {
            return Err(AuthFailure::WrongPassword);
        }
        let verifies = |key: &IntegrityKey| message.verify_integrity_of(carried, key).is_ok();

        // Where nobody's tokens are taken it is an attribute that is not understood: 420, for who has a password.
        let takes_tokens = self.config.third_party.is_some();
        let token = message.value(AttributeType::ACCESS_TOKEN).filter(|_| takes_tokens);

        // The owner of the allocation: the key is at hand, and its credential may be long expired.
        let owner = allocation.filter(|allocation| claim.names(&allocation.username, challenge));
        let by_token = |owner: &Allocation| owner.token_expires.is_some();
        let same_key = |owner: &&Allocation| owner.algorithm == algorithm && owner.challenge == *challenge;
        if let Some(owner) = owner.filter(|owner| by_token(owner) || same_key(owner)) {
            let key = &owner.signer.key;
            if verifies(key) {
                let kind = if by_token(owner) { carried } else { kind };
                return Ok(Authenticated {
                    signer: Signer { key: key.clone(), kind },
                    identity: Identity::Owner,
                    grant: None,
                });
            }
            if token.is_none() {
                return Err(AuthFailure::WrongPassword);
            }
        }
        if let (Some(token), Claim::Name(kid)) = (token, claim) {
            let (mac_key, grant) = self.open_token(now, kid, token)?;
            // coturn's client signs with the first 16 bytes of a longer key, which is what an MD5 key of a password has.
            let lengths = [mac_key.len(), MD5_KEY];
            let key = lengths
                .into_iter()
                .filter_map(|len| mac_key.get(..len))
                .map(IntegrityKey::new)
                .find(verifies)
                .ok_or(AuthFailure::WrongPassword)?;
            return Ok(Authenticated {
                signer: Signer { key, kind: carried },
                identity: Identity::Other(Account {
                    username: Box::from(kid),
                    realm: self.realm_of(kid).id,
                    algorithm,
                    challenge: Arc::clone(challenge),
                }),
                grant: Some(grant),
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
        let realm = self.realm_of(username);
        let is_own = realm.challenge.as_ref() == Some(challenge);
        if !is_own && *challenge != self.challenge {
            return Err(AuthFailure::WrongRealm);
        }
        let key = if let Some(keys) = self.static_users.get(username) {
            let pair = match &keys.of_realm {
                Some(of_realm) if is_own => of_realm,
                _ => &keys.of_server,
            };
            let key = match algorithm {
                PasswordAlgorithm::Md5 => &pair.md5,
                PasswordAlgorithm::Sha256 => &pair.sha256,
            };
            if !verifies(key) {
                return Err(AuthFailure::WrongPassword);
            }
            key.clone()
        } else {
            let ring = realm.ring.as_ref().ok_or(AuthFailure::UnknownUser)?;
            let parsed = credentials::Username::parse(username).map_err(|_| AuthFailure::UnknownUser)?;
            if purpose == Purpose::NewAllocation && parsed.is_expired(now.unix) {
                return Err(AuthFailure::Expired);
            }
            ring.passwords(&parsed)
                .map(|password| match algorithm {
                    PasswordAlgorithm::Md5 => IntegrityKey::long_term_md5(username, challenge, password.as_str()),
                    PasswordAlgorithm::Sha256 => IntegrityKey::long_term_sha256(username, challenge, password.as_str()),
                })
                .find(verifies)
                .ok_or(AuthFailure::WrongPassword)?
        };
        // The owner again, with another password algorithm or REALM than at Allocate. A realm that came since may have a user of
        // the same name, who is somebody else.
        let identity = if owner.is_some_and(|owner| owner.realm == realm.id) {
            Identity::Owner
        } else {
            Identity::Other(Account {
                username: Box::from(username),
                realm: realm.id,
                algorithm,
                challenge: Arc::clone(challenge),
            })
        };
        Ok(Authenticated {
            signer: Signer { key, kind },
            identity,
            grant: None,
        })
    }

    /// The key that an access token brings (RFC 7635 §4.1, §6.2).
    fn open_token(&self, now: Now, kid: &str, token: &[u8]) -> Result<(Zeroizing<Vec<u8>>, Grant), AuthFailure> {
        let third_party = self.config.third_party.as_ref().ok_or(AuthFailure::UnknownUser)?;
        let key = third_party.key(kid).ok_or(AuthFailure::UnknownUser)?;
        let token = key
            .open(third_party.server_name(), token)
            .map_err(|_| AuthFailure::BadToken)?;
        if !token.is_valid(now.unix, third_party.skew()) {
            return Err(AuthFailure::Expired);
        }
        let digest = Sha256::digest(token.mac_key.as_slice());
        let mut first = [0; 8];
        first.copy_from_slice(&digest[..8]);
        let grant = Grant {
            expires: token.expires(),
            user: format!("token:{kid}:{:016x}", u64::from_be_bytes(first)).into(),
        };
        Ok((token.mac_key, grant))
    }
}

/// Part of a username that quotas count by: behind the expiry, and behind the session unless those are counted apart, with the `@` and the name of the realm; all of it for a static user, and where nothing is behind the
/// expiry. Some services mint such a name for everybody, and one user's share would be all that everybody gets.
pub(super) fn quota_user<'a>(config: &Config, username: &'a str) -> &'a str {
    if config.static_users.iter().any(|user| user.name == username) {
        return username;
    }
    match credentials::Username::parse(username) {
        Ok(parsed) if parsed.user().is_empty() => username,
        Ok(parsed) if config.limits.count_sessions => parsed.user(),
        Ok(parsed) => parsed.account(),
        Err(_) => username,
    }
}

/// Whom the request claims to be from.
#[derive(Clone, Copy)]
enum Claim<'a> {
    Name(&'a str),
    Hash([u8; 32]),
}

impl Claim<'_> {
    fn names(self, username: &str, challenge: &str) -> bool {
        match self {
            Self::Name(name) => name == username,
            Self::Hash(hash) => userhash(username, challenge) == hash,
        }
    }
}

/// What a request says about the key that signed it.
struct Signature<'a> {
    claim: Claim<'a>,
    /// REALM, as one that is known.
    challenge: &'a Arc<str>,
    algorithm: PasswordAlgorithm,
    /// The attribute that is verified.
    carried: IntegrityKind,
    /// The attribute that answers are signed with.
    kind: IntegrityKind,
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
