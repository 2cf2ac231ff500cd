//! Self-contained access tokens of third-party authorization (RFC 7635 §6.2): sealed and opened in one file.
//!
//! ```text
//! nonce length 2 ‖ nonce 12 ‖ AES-GCM( key length 2 ‖ mac key ‖ timestamp 8 ‖ lifetime 4 ) ‖ tag 16
//! ```
//! An authorization server seals the key that the client signs its requests with; whoever has the key of that server's kid
//! opens it. The associated data is the name of the STUN server, so that a token for one server is none for another.
//!
//! Every length is checked before anything is decrypted, and nothing is copied that was not measured (CVE-2026-43994).

use std::fmt;

use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{Aes128Gcm, Aes256Gcm, Nonce, Tag};
use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::UnixTime;

const LENGTH: usize = 2;
const NONCE: usize = 12;
const TAG: usize = 16;
/// Timestamp and lifetime.
const TIMES: usize = 8 + 4;
/// Bytes of a mac key: below, HMAC-SHA1 would be weaker than its tag is long; above, no HMAC here makes use of them.
const MAC_KEY: std::ops::RangeInclusive<usize> = 16..=64;
const MAX_BODY: usize = LENGTH + 64 + TIMES;
/// Bytes of the longest token.
pub const MAX_TOKEN: usize = LENGTH + NONCE + MAX_BODY + TAG;

/// Most kids that one server takes tokens of: two for each of some authorization servers.
pub const MAX_KIDS: usize = 32;

/// One authorization server's key: kid and AES key. The key is not printed, and wiped when dropped.
#[derive(Clone)]
pub struct TokenKey {
    kid: String,
    cipher: Cipher,
    /// Tells two keys apart without keeping them: a reload must see that one has changed.
    digest: [u8; 32],
}

impl PartialEq for TokenKey {
    fn eq(&self, other: &Self) -> bool {
        self.kid == other.kid && bool::from(self.digest.ct_eq(&other.digest))
    }
}

impl Eq for TokenKey {}

#[derive(Clone)]
enum Cipher {
    Aes128(Box<Aes128Gcm>),
    Aes256(Box<Aes256Gcm>),
}

/// Why a text is no [`TokenKey`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenKeyError {
    /// A kid is 1 to 127 characters, since it is sent as a USERNAME.
    #[error("a kid has 1 to 127 characters")]
    Kid,
    /// The key is not base64.
    #[error("the key is not base64")]
    Base64,
    /// The key is of neither cipher.
    #[error("the key has neither 16 bytes (AES-128-GCM) nor 32 (AES-256-GCM)")]
    Length,
}

impl TokenKey {
    /// From the bytes of the key: 16 for AES-128-GCM, 32 for AES-256-GCM.
    ///
    /// # Errors
    /// When the kid or the key is too short or too long.
    pub fn new(kid: &str, key: &[u8]) -> Result<Self, TokenKeyError> {
        if kid.is_empty() || kid.chars().count() > 127 {
            return Err(TokenKeyError::Kid);
        }
        let cipher = match (<&[u8; 16]>::try_from(key), <&[u8; 32]>::try_from(key)) {
            (Ok(key), _) => Cipher::Aes128(Box::new(Aes128Gcm::new(key.into()))),
            (_, Ok(key)) => Cipher::Aes256(Box::new(Aes256Gcm::new(key.into()))),
            _ => return Err(TokenKeyError::Length),
        };
        Ok(Self {
            kid: kid.to_owned(),
            cipher,
            digest: Sha256::digest(key).into(),
        })
    }

    /// From the key as base64, padded or not.
    ///
    /// # Errors
    /// As for [`TokenKey::new`], and when the text is not base64.
    pub fn from_base64(kid: &str, key: &str) -> Result<Self, TokenKeyError> {
        const LENIENT: GeneralPurpose = GeneralPurpose::new(
            &alphabet::STANDARD,
            GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
        );
        let key = Zeroizing::new(LENIENT.decode(key.trim()).map_err(|_| TokenKeyError::Base64)?);
        Self::new(kid, &key)
    }

    /// What clients send as USERNAME.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// Opens a token that was sealed with this key for the server of that name.
    ///
    /// # Errors
    /// When it is not shaped like one, or was not sealed so. Its time is not looked at: see [`AccessToken::is_valid`].
    pub fn open(&self, server_name: &str, token: &[u8]) -> Result<AccessToken, TokenError> {
        // Shape and lengths first: what passes them fits the buffer.
        let (length, rest) = token.split_first_chunk::<LENGTH>().ok_or(TokenError::Shape)?;
        if usize::from(u16::from_be_bytes(*length)) != NONCE {
            return Err(TokenError::Shape);
        }
        let (nonce, rest) = rest.split_first_chunk::<NONCE>().ok_or(TokenError::Shape)?;
        let (sealed, tag) = rest.split_last_chunk::<TAG>().ok_or(TokenError::Shape)?;
        let mac_key_len = sealed.len().checked_sub(LENGTH + TIMES).ok_or(TokenError::Shape)?;
        if !MAC_KEY.contains(&mac_key_len) {
            return Err(TokenError::Shape);
        }
        let mut buffer = Zeroizing::new([0; MAX_BODY]);
        let body = buffer.get_mut(..sealed.len()).ok_or(TokenError::Shape)?;
        body.copy_from_slice(sealed);
        let (nonce, tag, aad) = (Nonce::from(*nonce), Tag::from(*tag), server_name.as_bytes());
        let opened = match &self.cipher {
            Cipher::Aes128(cipher) => cipher.decrypt_inout_detached(&nonce, aad, (&mut *body).into(), &tag),
            Cipher::Aes256(cipher) => cipher.decrypt_inout_detached(&nonce, aad, (&mut *body).into(), &tag),
        };
        opened.map_err(|_| TokenError::Seal)?;

        // Only now it is the word of the authorization server.
        let (length, rest) = body.split_first_chunk::<LENGTH>().ok_or(TokenError::Shape)?;
        if usize::from(u16::from_be_bytes(*length)) != mac_key_len {
            return Err(TokenError::Shape);
        }
        let (mac_key, times) = rest.split_at_checked(mac_key_len).ok_or(TokenError::Shape)?;
        let (timestamp, lifetime) = times.split_first_chunk::<8>().ok_or(TokenError::Shape)?;
        Ok(AccessToken {
            mac_key: Zeroizing::new(mac_key.to_vec()),
            // 48 bits of seconds, 16 of fractions.
            issued: UnixTime(u64::from_be_bytes(*timestamp) >> 16),
            lifetime: u32::from_be_bytes(*lifetime.first_chunk().ok_or(TokenError::Shape)?),
        })
    }

    /// Seals a token, as an authorization server does. `nonce` must be another one for every token of this key.
    ///
    /// # Errors
    /// When the mac key has fewer than 16 or more than 64 bytes.
    pub fn seal(&self, server_name: &str, nonce: [u8; NONCE], token: &AccessToken) -> Result<Vec<u8>, TokenError> {
        if !MAC_KEY.contains(&token.mac_key.len()) {
            return Err(TokenError::Shape);
        }
        let mut bytes = vec![0, NONCE as u8];
        bytes.extend_from_slice(&nonce);
        let start = bytes.len();
        bytes.extend_from_slice(&(token.mac_key.len() as u16).to_be_bytes());
        bytes.extend_from_slice(&token.mac_key);
        bytes.extend_from_slice(&(token.issued.0 << 16).to_be_bytes());
        bytes.extend_from_slice(&token.lifetime.to_be_bytes());
        let (nonce, aad) = (Nonce::from(nonce), server_name.as_bytes());
        let body = bytes.get_mut(start..).unwrap_or_default();
        let sealed = match &self.cipher {
            Cipher::Aes128(cipher) => cipher.encrypt_inout_detached(&nonce, aad, body.into()),
            Cipher::Aes256(cipher) => cipher.encrypt_inout_detached(&nonce, aad, body.into()),
        };
        bytes.extend_from_slice(&sealed.map_err(|_| TokenError::Seal)?);
        Ok(bytes)
    }
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenKey")
            .field("kid", &self.kid)
            .finish_non_exhaustive()
    }
}

/// What a token says. The mac key is not printed, and wiped when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct AccessToken {
    /// What the client signs its requests with.
    pub mac_key: Zeroizing<Vec<u8>>,
    /// When it was made.
    pub issued: UnixTime,
    /// Seconds from then on.
    pub lifetime: u32,
}

impl AccessToken {
    /// When it ends.
    #[must_use]
    pub const fn expires(&self) -> UnixTime {
        UnixTime(self.issued.0.saturating_add(self.lifetime as u64))
    }

    /// Whether it is good at `now`. An authorization server's clock may be ahead of ours by `skew` seconds; a token from further
    /// ahead would outlive what was meant. At its end there is no such allowance: no allocation outlives its token.
    #[must_use]
    pub const fn is_valid(&self, now: UnixTime, skew: u64) -> bool {
        self.issued.0 <= now.0.saturating_add(skew) && now.0 < self.expires().0
    }
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessToken")
            .field("issued", &self.issued)
            .field("lifetime", &self.lifetime)
            .finish_non_exhaustive()
    }
}

/// Why a token is not taken. It never holds a byte of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// A length is not one that a token can have.
    #[error("not shaped like an access token")]
    Shape,
    /// Not sealed with this key for this server.
    #[error("not sealed for this server")]
    Seal,
}

/// The keys of all authorization servers whose tokens are taken, and the name of this server. Several keys, so that they can
/// be rotated: the new one is added before the old one goes.
#[derive(Debug, Clone)]
pub struct ThirdParty {
    server_name: String,
    keys: Vec<TokenKey>,
    skew: u64,
}

/// Why there is no [`ThirdParty`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ThirdPartyError {
    /// The name is sent in THIRD-PARTY-AUTHORIZATION.
    #[error("a server name has 1 to 127 characters")]
    ServerName,
    /// A kid names one key.
    #[error("two keys with the same kid")]
    SameKid,
    /// No key, or too many.
    #[error("1 to {MAX_KIDS} keys are needed")]
    Count,
}

impl ThirdParty {
    /// `skew`: seconds by which the clocks of authorization servers may differ from ours; RFC 7635 §9 recommends 5.
    ///
    /// # Errors
    /// When name or keys are missing, too many, or the same twice.
    pub fn new(server_name: &str, keys: Vec<TokenKey>, skew: u64) -> Result<Self, ThirdPartyError> {
        if server_name.is_empty() || server_name.chars().count() > 127 {
            return Err(ThirdPartyError::ServerName);
        }
        if keys.is_empty() || keys.len() > MAX_KIDS {
            return Err(ThirdPartyError::Count);
        }
        let twice = |key: &TokenKey| keys.iter().filter(|other| other.kid == key.kid).count() > 1;
        if keys.iter().any(twice) {
            return Err(ThirdPartyError::SameKid);
        }
        Ok(Self {
            server_name: server_name.to_owned(),
            keys,
            skew,
        })
    }

    /// What THIRD-PARTY-AUTHORIZATION says, and what tokens are sealed for.
    #[must_use]
    pub fn server_name(&self) -> &str {
        &self.server_name
    }

    /// Seconds by which clocks may differ.
    #[must_use]
    pub const fn skew(&self) -> u64 {
        self.skew
    }

    /// The key of a kid.
    #[must_use]
    pub fn key(&self, kid: &str) -> Option<&TokenKey> {
        self.keys.iter().find(|key| key.kid == kid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "turn.example.org";

    fn token(mac_key: &[u8]) -> AccessToken {
        AccessToken {
            mac_key: Zeroizing::new(mac_key.to_vec()),
            issued: UnixTime(1_800_000_000),
            lifetime: 600,
        }
    }

    #[test]
    fn what_was_sealed_is_opened_with_either_cipher_and_every_length_of_key() {
        for key in [&[1; 16][..], &[2; 32]] {
            let key = TokenKey::new("kid", key).unwrap();
            for len in MAC_KEY {
                let token = token(&vec![7; len]);
                let sealed = key.seal(NAME, [9; 12], &token).unwrap();
                assert_eq!(sealed.len(), 2 + 12 + 2 + len + 12 + 16);
                assert!(sealed.len() <= MAX_TOKEN);
                assert_eq!(key.open(NAME, &sealed), Ok(token));
            }
            assert_eq!(key.seal(NAME, [9; 12], &token(&[7; 15])), Err(TokenError::Shape));
            assert_eq!(key.seal(NAME, [9; 12], &token(&[7; 65])), Err(TokenError::Shape));
        }
    }

    #[test]
    fn a_token_that_is_changed_anywhere_or_for_another_server_is_none() {
        let key = TokenKey::new("kid", &[2; 32]).unwrap();
        let sealed = key.seal(NAME, [9; 12], &token(&[7; 20])).unwrap();
        for bit in 0..sealed.len() * 8 {
            let mut broken = sealed.clone();
            broken[bit / 8] ^= 1 << (bit % 8);
            assert!(key.open(NAME, &broken).is_err(), "bit {bit}");
        }
        assert_eq!(key.open("turn.example.com", &sealed), Err(TokenError::Seal));
        let other = TokenKey::new("kid", &[3; 32]).unwrap();
        assert_eq!(other.open(NAME, &sealed), Err(TokenError::Seal));
    }

    #[test]
    fn lengths_that_lie_are_refused_before_anything_is_decrypted() {
        let key = TokenKey::new("kid", &[2; 32]).unwrap();
        let sealed = key.seal(NAME, [9; 12], &token(&[7; 20])).unwrap();
        for len in 0..sealed.len() {
            assert!(key.open(NAME, &sealed[..len]).is_err(), "{len}");
        }
        for len in [sealed.len() + 1, MAX_TOKEN, MAX_TOKEN + 1, 2048, 65_535] {
            let mut long = sealed.clone();
            long.resize(len, 0);
            assert!(key.open(NAME, &long).is_err(), "{len}");
        }
        for nonce_len in [0, 8, 11, 13, 16, u16::MAX] {
            let mut lying = sealed.clone();
            lying[..2].copy_from_slice(&nonce_len.to_be_bytes());
            assert_eq!(key.open(NAME, &lying), Err(TokenError::Shape));
        }
        // Sealed in order, and lying inside.
        let Cipher::Aes256(cipher) = &key.cipher else { panic!() };
        for inner in [0, 19, 21, u16::MAX] {
            let mut body = [0; 2 + 20 + 12];
            body[..2].copy_from_slice(&inner.to_be_bytes());
            let nonce = Nonce::from([9; 12]);
            let tag = cipher
                .encrypt_inout_detached(&nonce, NAME.as_bytes(), body.as_mut_slice().into())
                .unwrap();
            let lying = [&[0, 12][..], &[9; 12], &body, &tag].concat();
            assert_eq!(key.open(NAME, &lying), Err(TokenError::Shape));
        }
    }

    #[test]
    fn a_token_is_good_from_its_timestamp_less_the_skew_to_the_end_of_its_lifetime() {
        let token = token(&[7; 20]);
        let valid = |at| token.is_valid(UnixTime(at), 5);
        assert!(!valid(1_799_999_994) && valid(1_799_999_995));
        assert!(valid(1_800_000_599) && !valid(1_800_000_600));
        let endless = AccessToken {
            issued: UnixTime(u64::MAX >> 16),
            lifetime: u32::MAX,
            ..token
        };
        assert!(!endless.is_valid(UnixTime(1_800_000_000), u64::MAX >> 32));
    }

    #[test]
    fn a_key_is_read_from_base64_and_never_shown() {
        let key = TokenKey::from_base64("north", "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=").unwrap();
        let shown = format!("{key:?} {:?}", token(b"a mac key of twenty."));
        assert!(
            shown.contains("north") && !shown.contains("mac_key") && !shown.contains("01234"),
            "{shown}"
        );
        for (kid, text, error) in [
            ("", "AAAAAAAAAAAAAAAAAAAAAA", TokenKeyError::Kid),
            ("a", "!", TokenKeyError::Base64),
            ("a", "AAAA", TokenKeyError::Length),
        ] {
            assert_eq!(TokenKey::from_base64(kid, text).err(), Some(error));
        }
        assert!(TokenKey::from_base64("a", "AAAAAAAAAAAAAAAAAAAAAA").is_ok());
    }

    #[test]
    fn every_kid_is_one_key_and_there_is_at_least_one() {
        let key = |kid| TokenKey::new(kid, &[1; 16]).unwrap();
        let new = |keys| ThirdParty::new(NAME, keys, 5).map(drop);
        assert_eq!(new(vec![key("a"), key("b")]), Ok(()));
        assert_eq!(new(vec![key("a"), key("a")]), Err(ThirdPartyError::SameKid));
        assert_eq!(new(Vec::new()), Err(ThirdPartyError::Count));
        assert_eq!(
            ThirdParty::new("", vec![key("a")], 5).map(drop),
            Err(ThirdPartyError::ServerName)
        );
    }
}
