//! MESSAGE-INTEGRITY and MESSAGE-INTEGRITY-SHA256 (RFC 8489 §14.5, §14.6) with keys prepared once.
//!
//! The HMAC covers the message up to the attribute, with a length field that ends at the attribute's own end. The
//! message is never copied or patched for that: its first block is, on the stack.

use hmac::{Hmac, KeyInit, Mac};
use md5::{Digest, Md5};
use sha1::Sha1;
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::Zeroize;

use super::attribute::AttributeType;
use super::header::HEADER_LEN;

/// Block size of SHA-1 and SHA-256 in bytes.
const BLOCK: usize = 64;

/// Which of the two integrity attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IntegrityKind {
    /// MESSAGE-INTEGRITY: HMAC-SHA1, 20 bytes.
    Sha1,
    /// MESSAGE-INTEGRITY-SHA256: HMAC-SHA256, 32 bytes; 16, 20, 24 or 28 from senders that truncate.
    Sha256,
}

impl IntegrityKind {
    pub(super) const fn attribute(self) -> AttributeType {
        match self {
            Self::Sha1 => AttributeType::MESSAGE_INTEGRITY,
            Self::Sha256 => AttributeType::MESSAGE_INTEGRITY_SHA256,
        }
    }

    /// Bytes of the HMAC as we write it.
    pub(super) const fn len(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
        }
    }
}

/// A key, prepared for both HMACs: each use starts from a copy of a hash state instead of hashing the key again.
///
/// About 450 bytes. Its `Debug` shows nothing.
#[derive(Clone)]
pub struct IntegrityKey {
    sha1: Hmac<Sha1>,
    sha256: Hmac<Sha256>,
}

impl IntegrityKey {
    /// From the bytes of a key.
    #[must_use]
    pub fn new(key: &[u8]) -> Self {
        // Both hashes have blocks of 64 bytes: a key up to that long is padded, a longer one is hashed first, each with
        // its own hash (RFC 2104 §2).
        let mut block = [0; BLOCK];
        let prepared = if let Some(short) = block.get_mut(..key.len()) {
            short.copy_from_slice(key);
            Self {
                sha1: Hmac::new(&block.into()),
                sha256: Hmac::new(&block.into()),
            }
        } else {
            block[..20].copy_from_slice(&Sha1::digest(key));
            let sha1 = Hmac::new(&block.into());
            block[..32].copy_from_slice(&Sha256::digest(key));
            Self {
                sha1,
                sha256: Hmac::new(&block.into()),
            }
        };
        block.zeroize();
        prepared
    }

    /// The key of a short-term credential: the password itself (RFC 8489 §9.1.1), see [`is_opaque_string`].
    #[must_use]
    pub fn short_term(password: &str) -> Self {
        Self::new(password.as_bytes())
    }

    /// The key of a long-term credential without PASSWORD-ALGORITHM, or with MD5: `MD5(username:realm:password)`
    /// (RFC 8489 §18.5.1.1). Realm and password are taken as they are, see [`is_opaque_string`].
    #[must_use]
    pub fn long_term_md5(username: &str, realm: &str, password: &str) -> Self {
        Self::of_digest::<Md5>(username, realm, password)
    }

    /// The key of a long-term credential with the password algorithm SHA-256: `SHA256(username:realm:password)`
    /// (RFC 8489 §18.5.1.2). Realm and password are taken as they are, see [`is_opaque_string`].
    #[must_use]
    pub fn long_term_sha256(username: &str, realm: &str, password: &str) -> Self {
        Self::of_digest::<Sha256>(username, realm, password)
    }

    fn of_digest<D: Digest>(username: &str, realm: &str, password: &str) -> Self {
        let mut digest = D::new();
        for part in [username, ":", realm, ":", password] {
            digest.update(part.as_bytes());
        }
        let mut key = digest.finalize();
        let prepared = Self::new(&key);
        key.as_mut_slice().zeroize();
        prepared
    }

    /// Whether `value` is the HMAC of `covered`, the message up to the attribute, in constant time.
    pub(super) fn verify(&self, kind: IntegrityKind, covered: &[u8], value: &[u8]) -> bool {
        let mut expected = [0; 32];
        let len = self.sign(kind, covered, value.len(), &mut expected);
        // The lengths a truncated HMAC may have were checked when the message was parsed; an empty one would verify.
        value.len() >= 16 && value.len() <= len && expected[..value.len()].ct_eq(value).into()
    }

    /// Writes the HMAC of `covered` to `out`; `value_len` is the length the attribute has or will have. Returns how many
    /// bytes the HMAC has.
    pub(super) fn sign(&self, kind: IntegrityKind, covered: &[u8], value_len: usize, out: &mut [u8; 32]) -> usize {
        // The length field: all attributes up to and including this one.
        let length = (covered.len() + 4 + value_len).saturating_sub(HEADER_LEN) as u16;
        let mut first = [0; BLOCK];
        let head_len = covered.len().min(BLOCK);
        let (head, rest) = covered.split_at(head_len);
        first[..head_len].copy_from_slice(head);
        first[2..4].copy_from_slice(&length.to_be_bytes());
        let head = &first[..head_len];
        match kind {
            IntegrityKind::Sha1 => {
                let mac = self
                    .sha1
                    .clone()
                    .chain_update(head)
                    .chain_update(rest)
                    .finalize()
                    .into_bytes();
                out[..20].copy_from_slice(&mac);
            }
            IntegrityKind::Sha256 => {
                let mac = self
                    .sha256
                    .clone()
                    .chain_update(head)
                    .chain_update(rest)
                    .finalize()
                    .into_bytes();
                out.copy_from_slice(&mac);
            }
        }
        kind.len()
    }
}

impl core::fmt::Debug for IntegrityKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("IntegrityKey(…)")
    }
}

/// The value of USERHASH: `SHA256(username:realm)` (RFC 8489 §14.4).
#[must_use]
pub fn userhash(username: &str, realm: &str) -> [u8; 32] {
    Sha256::new()
        .chain_update(username)
        .chain_update(":")
        .chain_update(realm)
        .finalize()
        .into()
}

/// Whether a realm or password already is what OpaqueString makes of it (RFC 8265 §4.2), so that both ends derive the
/// same key whether or not they prepare it: not empty, no control character, no space but U+0020.
///
/// Everything made here is ASCII and passes. Text from an operator is checked with this when it is read; beyond ASCII it
/// must also be in normalization form C, which is the operator's to see to: composing would need the Unicode tables, for
/// a password no generator makes.
#[must_use]
pub fn is_opaque_string(text: &str) -> bool {
    if text.is_ascii() {
        return !text.is_empty() && text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    }
    text.chars().all(|c| c == ' ' || !(c.is_control() || c.is_whitespace()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_the_block_size_and_one_longer_give_the_hmac_of_the_library() {
        let covered = [7; 100];
        for len in [0, 1, 16, 63, 64, 65, 200] {
            let bytes = vec![0x5A; len];
            let key = IntegrityKey::new(&bytes);
            let mut out = [0; 32];
            let mut patched = covered;
            patched[2..4].copy_from_slice(&104_u16.to_be_bytes());
            key.sign(IntegrityKind::Sha1, &covered, 20, &mut out);
            let expected = Hmac::<Sha1>::new_from_slice(&bytes)
                .unwrap()
                .chain_update(patched)
                .finalize()
                .into_bytes();
            assert_eq!(out[..20], expected[..]);
            patched[2..4].copy_from_slice(&116_u16.to_be_bytes());
            key.sign(IntegrityKind::Sha256, &covered, 32, &mut out);
            let expected = Hmac::<Sha256>::new_from_slice(&bytes)
                .unwrap()
                .chain_update(patched)
                .finalize()
                .into_bytes();
            assert_eq!(out[..], expected[..]);
        }
    }

    #[test]
    fn a_key_never_shows_itself() {
        assert_eq!(
            format!("{:?}", IntegrityKey::short_term("swordfish")),
            "IntegrityKey(…)"
        );
    }

    #[test]
    fn an_opaque_string_has_no_control_character_and_no_foreign_space() {
        for good in ["a", "a b", "naïve", "密码", "🔑"] {
            assert!(is_opaque_string(good), "{good:?}");
        }
        for bad in ["", "a\tb", "a\u{7F}", "a\u{A0}b", "a\u{3000}b", "é\u{85}"] {
            assert!(!is_opaque_string(bad), "{bad:?}");
        }
    }
}
