//! What a key looks like, and what is kept of it.

use std::fmt;
use std::hash::{Hash, Hasher};

use axum::http::HeaderName;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

/// Where a key stands that is not in `Authorization`.
pub(crate) static X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// What every key that is made here begins with, so that it is found where it should not be: `mpk_[0-9a-f]{60}`.
pub const PREFIX: &str = "mpk_";

/// Random bytes of a key: 208 bits.
const RANDOM_BYTES: usize = 26;

/// Bytes of its checksum, which tells a key from what only looks like one, and a mistyped one from a wrong one.
const CHECK_BYTES: usize = 4;

/// Characters of a key that is made here.
pub const KEY_BYTES: usize = PREFIX.len() + 2 * (RANDOM_BYTES + CHECK_BYTES);

/// Longest text that is taken for a key. Others make keys too, and theirs can be taken over by their digests.
pub const MAX_KEY_BYTES: usize = 512;

/// What stands in front of a digest in the configuration.
const ALGORITHM: &str = "sha256:";

/// The SHA-256 digest of a key, which is all that is kept of it. Printed as its first bytes.
///
/// A plain digest is enough, and a slow one would be wrong: a key has 208 random bits, so there is no dictionary to try, and each
/// request would pay for the slowness.
#[derive(Clone, Copy, Eq)]
pub struct KeyHash([u8; 32]);

impl KeyHash {
    /// Keeps no more of a key than can be compared.
    pub fn of(key: &str) -> Self {
        Self(Sha256::digest(key).into())
    }

    /// Reads `sha256:` and 64 hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix(ALGORITHM)?;
        let bytes = unhex(digits)?;
        Some(Self(bytes.try_into().ok()?))
    }

    /// As it is written in the configuration.
    pub fn written(&self) -> String {
        format!("{ALGORITHM}{}", hex(&self.0))
    }

    /// Enough to tell one from another by eye.
    pub fn beginning(&self) -> String {
        format!("{ALGORITHM}{}", hex(&self.0[..4]))
    }
}

/// Takes the same time whatever the two are. Which digest a table compares with is chosen by a hash with a key of its own.
impl PartialEq for KeyHash {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Hash for KeyHash {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyHash({}…)", self.beginning())
    }
}

/// A key that was just made, for its one showing. Never printed by accident, wiped when dropped.
pub struct NewKey(Zeroizing<String>);

impl NewKey {
    /// Makes one.
    ///
    /// # Errors
    /// When the system has no randomness to give.
    pub fn make() -> Result<Self, getrandom::Error> {
        let mut random = Zeroizing::new([0; RANDOM_BYTES]);
        getrandom::fill(&mut *random)?;
        Ok(Self::of_bytes(&random))
    }

    fn of_bytes(random: &[u8; RANDOM_BYTES]) -> Self {
        let mut key = Zeroizing::new(String::with_capacity(KEY_BYTES));
        key.push_str(PREFIX);
        key.push_str(&Zeroizing::new(hex(random)));
        let check = checksum(&key);
        key.push_str(&check);
        Self(key)
    }

    /// The key, for whoever is to have it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What is kept of it.
    pub fn hash(&self) -> KeyHash {
        KeyHash::of(&self.0)
    }
}

impl fmt::Debug for NewKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NewKey([redacted])")
    }
}

/// What a text says of itself, before it is compared with anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Made here, and whole.
    Ours,
    /// Begins as ours do, and is cut off or mistyped.
    Mangled,
    /// Anything else: a token, or a key that somebody else made.
    Other,
}

/// Looks at the form of a text alone.
pub fn form(text: &str) -> Form {
    if !text.starts_with(PREFIX) {
        return Form::Other;
    }
    let body = text.len().checked_sub(2 * CHECK_BYTES);
    let parts = body.and_then(|body| Some((text.get(..body)?, text.get(body..)?)));
    match parts {
        Some((body, check)) if text.len() == KEY_BYTES && checksum(body) == check => Form::Ours,
        _ => Form::Mangled,
    }
}

/// The first bytes of the digest of what stands in front of it.
fn checksum(body: &str) -> String {
    hex(&Sha256::digest(body)[..CHECK_BYTES])
}

pub(super) fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes
        .iter()
        .fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
            // Writing to a string cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}

fn unhex(digits: &str) -> Option<Vec<u8>> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    let pairs = digits.as_bytes().chunks(2);
    pairs
        .map(|pair| match pair {
            [high, low] => u8::try_from(digit(high)? * 16 + digit(low)?).ok(),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_its_prefix_64_characters_and_a_checksum_that_a_slip_breaks() {
        let key = NewKey::of_bytes(&[0xab; RANDOM_BYTES]);
        let text = key.expose();
        assert!(text.starts_with("mpk_abab") && text.len() == 64, "{text}");
        assert_eq!(form(text), Form::Ours);
        let mistyped = text.replacen('a', "b", 1);
        let longer = format!("{text}0");
        for mangled in [&mistyped, &longer, &text[..63], "mpk_", "mpk_ü"] {
            assert_eq!(form(mangled), Form::Mangled, "{mangled}");
        }
        for other in ["", "mpk", "eyJhbGciOi.x.y", "MPK_00"] {
            assert_eq!(form(other), Form::Other, "{other}");
        }
        assert_ne!(NewKey::make().unwrap().expose(), NewKey::make().unwrap().expose());
        assert!(!format!("{key:?}").contains("abab"));
    }

    #[test]
    fn a_digest_is_read_as_it_is_written_and_nothing_else_is_one() {
        let hash = KeyHash::of("abc");
        let written = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hash.written(), written);
        assert_eq!(KeyHash::parse(written), Some(hash));
        assert_eq!(
            KeyHash::parse(&written.to_uppercase().replace("SHA256", "sha256")),
            Some(hash)
        );
        for bad in [
            "",
            "sha256:",
            "sha256:ba78",
            &written[7..],
            &format!("{written}00"),
            "sha256:zz",
        ] {
            assert_eq!(KeyHash::parse(bad), None, "{bad}");
        }
        assert_ne!(KeyHash::of("abd"), hash);
        assert_eq!(format!("{hash:?}"), "KeyHash(sha256:ba7816bf…)");
    }
}
