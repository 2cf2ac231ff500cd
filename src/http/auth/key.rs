//! A key that tokens are verified with, and the one algorithm that it is for (RFC 8725 §3.1, RFC 7518 §3).
//!
//! The algorithm belongs to the key: it follows from what the key is, and from what its owner says it is for. A token's own
//! `alg` only chooses among keys; it never makes a key do what it is not for.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use sha2::{Digest as _, Sha256};

/// Shortest HS256 secret (RFC 7518 §3.2: at least the length of the hash).
pub const MIN_SECRET_BYTES: usize = 32;
/// Shortest RSA modulus (RFC 7518 §3.3).
pub const MIN_RSA_BITS: usize = 2048;
/// Longest RSA modulus: verifying costs its square, at a stranger's word.
pub const MAX_RSA_BITS: usize = 8192;
/// Longest key id.
pub const MAX_KID_BYTES: usize = 256;

/// What a token can be signed with here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// HMAC with SHA-256 (RFC 7518 §3.2).
    Hs256,
    /// RSASSA-PKCS1-v1_5 with SHA-256 (RFC 7518 §3.3).
    Rs256,
    /// RSASSA-PSS with SHA-256 (RFC 7518 §3.5).
    Ps256,
    /// ECDSA over P-256 with SHA-256 (RFC 7518 §3.4).
    Es256,
    /// Ed25519 (RFC 8037 §3.1).
    EdDsa,
}

impl Algorithm {
    pub(super) const ALL: [Self; 5] = [Self::Hs256, Self::Rs256, Self::Ps256, Self::Es256, Self::EdDsa];

    /// Its name in a token's header.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::Rs256 => "RS256",
            Self::Ps256 => "PS256",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
        }
    }

    /// That of a token's header, compared as it stands (RFC 7515 §4.1.1: case-sensitive).
    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|each| each.name() == name)
    }

    pub(super) const fn of_library(self) -> jsonwebtoken::Algorithm {
        match self {
            Self::Hs256 => jsonwebtoken::Algorithm::HS256,
            Self::Rs256 => jsonwebtoken::Algorithm::RS256,
            Self::Ps256 => jsonwebtoken::Algorithm::PS256,
            Self::Es256 => jsonwebtoken::Algorithm::ES256,
            Self::EdDsa => jsonwebtoken::Algorithm::EdDSA,
        }
    }
}

/// Why something is no key that tokens can be verified with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Neither PEM nor JSON.
    #[error("it is neither a PEM public key nor a JSON Web Key")]
    Form,
    /// Somebody's private half.
    #[error("it is a private key: give the public half, which is all that verifying takes")]
    Private,
    /// A secret among public keys.
    #[error("it is a secret (kty \"oct\"): give it in `auth.jwt_secrets`")]
    Secret,
    /// RSA, P-256 and Ed25519 are known.
    #[error("its type or curve is not one of RSA, P-256 and Ed25519")]
    Type,
    /// For something that is not verified here, or not with this type of key.
    #[error("its `alg` is not one of RS256, PS256, ES256 and EdDSA, or does not fit its type")]
    Algorithm,
    /// Not for signatures.
    #[error("it is not for verifying signatures (`use`, `key_ops`)")]
    Use,
    /// Too easily broken, or too costly.
    #[error("an RSA key must have {MIN_RSA_BITS} to {MAX_RSA_BITS} bits and an odd exponent from 3 on")]
    Size,
    /// A number in it is none.
    #[error("a part of it is missing, or is no base64url of the right length")]
    Part,
    /// Longer than can be meant.
    #[error("its `kid` is longer than {MAX_KID_BYTES} bytes")]
    Kid,
    /// More than anybody rotates through.
    #[error("there are too many keys")]
    Number,
    /// A set in which none can be used.
    #[error("none of its keys can be used")]
    Nothing,
}

/// A key to verify with. Two are equal when they verify the same tokens.
#[derive(Clone)]
pub struct VerifyingKey {
    kid: Option<Box<str>>,
    algorithm: Algorithm,
    /// Of its material: what two keys are compared by.
    digest: [u8; 32],
    key: DecodingKey,
}

impl VerifyingKey {
    /// A secret of HS256. It has no id: every token of HS256 is tried with it.
    pub(super) fn secret(secret: &[u8]) -> Self {
        Self::new(None, Algorithm::Hs256, &[secret], DecodingKey::from_secret(secret))
    }

    pub(super) fn rsa(kid: Option<Box<str>>, algorithm: Algorithm, n: &[u8], e: &[u8]) -> Result<Self, KeyError> {
        let (n, e) = (without_zeros(n), without_zeros(e));
        let bits = n.len() * 8 - n.first().map_or(0, |first| first.leading_zeros() as usize);
        let odd_and_not_one = e.last().is_some_and(|last| last % 2 == 1) && e != [1];
        if !(MIN_RSA_BITS..=MAX_RSA_BITS).contains(&bits) || e.len() > 4 || !odd_and_not_one {
            return Err(KeyError::Size);
        }
        let key = DecodingKey::from_rsa_raw_components(n, e);
        Ok(Self::new(kid, algorithm, &[n, e], key))
    }

    pub(super) fn p256(kid: Option<Box<str>>, x: &[u8; 32], y: &[u8; 32]) -> Self {
        // The uncompressed point (SEC 1 §2.3.3).
        let point = [&[4], x.as_slice(), y].concat();
        Self::new(kid, Algorithm::Es256, &[x, y], DecodingKey::from_ec_der(&point))
    }

    pub(super) fn ed25519(kid: Option<Box<str>>, x: &[u8; 32]) -> Self {
        Self::new(kid, Algorithm::EdDsa, &[x], DecodingKey::from_ed_der(x))
    }

    fn new(kid: Option<Box<str>>, algorithm: Algorithm, parts: &[&[u8]], key: DecodingKey) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        Self {
            kid,
            algorithm,
            digest: hash.finalize().into(),
            key,
        }
    }

    /// Its id.
    #[must_use]
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// The one algorithm that it is for.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    pub(super) const fn key(&self) -> &DecodingKey {
        &self.key
    }

    /// Whether a token of `algorithm` that names `kid` may have been signed for this. A key without an id is for all.
    pub(super) fn fits(&self, algorithm: Algorithm, kid: Option<&str>) -> bool {
        let named = match (self.kid(), kid) {
            (Some(own), Some(asked)) => own == asked,
            _ => true,
        };
        self.algorithm == algorithm && named
    }
}

impl PartialEq for VerifyingKey {
    fn eq(&self, other: &Self) -> bool {
        (self.algorithm, &self.kid, &self.digest) == (other.algorithm, &other.kid, &other.digest)
    }
}

impl Eq for VerifyingKey {}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.algorithm.name(), self.kid().unwrap_or("-"))
    }
}

/// Some issuers write a sign byte in front.
fn without_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.get(zeros..).unwrap_or_default()
}

pub(super) fn base64url(text: &str) -> Result<Vec<u8>, KeyError> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| KeyError::Part)
}
