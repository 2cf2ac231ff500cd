//! Public keys in PEM: `PUBLIC KEY` blocks, which are SubjectPublicKeyInfo (RFC 7468 §13, RFC 5280 §4.1).
//!
//! Three types are known, so three beginnings are: what stands in front of the key's own bytes is the same in every key of a
//! type, down to the byte (RFC 3279 §2.3.1, RFC 5480 §2, RFC 8410 §4).

use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::pki_types::pem::PemObject as _;

use super::jwk::{KeySet, MAX_KEYS};
use super::key::{Algorithm, KeyError, VerifyingKey};

/// `SEQUENCE { SEQUENCE { id-ecPublicKey, prime256v1 }, BIT STRING`, and that the point is not compressed.
const P256: &[u8] = &[
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04,
];
/// `SEQUENCE { SEQUENCE { id-Ed25519 }, BIT STRING`.
const ED25519: &[u8] = &[0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
/// `SEQUENCE { rsaEncryption, NULL }`.
const RSA: &[u8] = &[
    0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00,
];

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;

/// Reads keys: PEM blocks, a JSON Web Key, or a set of those.
///
/// # Errors
/// What is wrong with the first that cannot be used; of a JSON set, when none can.
pub fn read_keys(text: &str) -> Result<Vec<VerifyingKey>, KeyError> {
    if text.trim_start().starts_with('{') {
        return KeySet::from_json(text.as_bytes()).map(|set| set.keys);
    }
    if text.contains("PRIVATE KEY-----") {
        return Err(KeyError::Private);
    }
    let mut keys = Vec::new();
    for block in SubjectPublicKeyInfoDer::pem_slice_iter(text.as_bytes()) {
        if keys.len() == MAX_KEYS {
            return Err(KeyError::Number);
        }
        keys.push(key(&block.map_err(|_| KeyError::Form)?)?);
    }
    if keys.is_empty() { Err(KeyError::Form) } else { Ok(keys) }
}

fn key(info: &[u8]) -> Result<VerifyingKey, KeyError> {
    let fixed = |bytes: &[u8]| <[u8; 32]>::try_from(bytes).map_err(|_| KeyError::Part);
    if let Some(point) = info.strip_prefix(P256) {
        let (x, y) = point.split_at_checked(32).ok_or(KeyError::Part)?;
        return Ok(VerifyingKey::p256(None, &fixed(x)?, &fixed(y)?));
    }
    if let Some(x) = info.strip_prefix(ED25519) {
        return Ok(VerifyingKey::ed25519(None, &fixed(x)?));
    }
    let (info, _) = value(SEQUENCE, info).ok_or(KeyError::Type)?;
    let bits = info.strip_prefix(RSA).ok_or(KeyError::Type)?;
    let (bits, _) = value(BIT_STRING, bits).ok_or(KeyError::Part)?;
    // Whole bytes: none of their bits is unused.
    let inner = bits.strip_prefix(&[0]).ok_or(KeyError::Part)?;
    let (numbers, _) = value(SEQUENCE, inner).ok_or(KeyError::Part)?;
    let (n, rest) = value(INTEGER, numbers).ok_or(KeyError::Part)?;
    let (e, _) = value(INTEGER, rest).ok_or(KeyError::Part)?;
    VerifyingKey::rsa(None, Algorithm::Rs256, n, e)
}

/// The content of the DER value of that tag which `bytes` begins with, and what follows it. Lengths of at most two bytes: a
/// key is no longer.
fn value(tag: u8, bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&[found, length], rest) = bytes.split_first_chunk::<2>()?;
    if found != tag {
        return None;
    }
    let (length, rest) = match length {
        0..=0x7f => (usize::from(length), rest),
        0x81 => rest.split_first().map(|(length, rest)| (usize::from(*length), rest))?,
        0x82 => rest
            .split_first_chunk::<2>()
            .map(|(length, rest)| (usize::from(u16::from_be_bytes(*length)), rest))?,
        _ => return None,
    };
    rest.split_at_checked(length)
}
