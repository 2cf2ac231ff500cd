//! A name for one credential that nobody else can make: `mpc_` and base64url of the username and an HMAC-SHA1 of it.
//!
//! Who was given one can fetch that credential again from any replica that has the secret, and nothing has to be kept for it.
//!
//! The username is not sealed: whoever shows the key is told it, with the password. What keeps others from making one is the same
//! secret that keeps them from making passwords. Passwords are the HMAC of texts that begin with a digit; what is signed here begins
//! with a zero byte, so that neither is ever the other.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::credential::Credential;
use super::key_ring::KeyRing;
use super::username::{MAX_USERNAME_BYTES, Username};

/// What every such key begins with. No API key that is made here does.
pub const PREFIX: &str = "mpc_";

/// Bytes of an HMAC-SHA1.
pub(super) const TAG_BYTES: usize = 20;

/// Longest key, characters.
pub const MAX_CREDENTIAL_KEY_BYTES: usize = PREFIX.len() + ((MAX_USERNAME_BYTES + TAG_BYTES) * 4).div_ceil(3);

/// A text of the form. Says nothing about who made it: see [`CredentialKey::open`].
#[derive(Clone, PartialEq, Eq)]
pub struct CredentialKey {
    username: String,
    tag: [u8; TAG_BYTES],
}

impl CredentialKey {
    /// That of a username, by the newest secret of the ring that its passwords come from.
    pub fn of(ring: &KeyRing, username: &Username<'_>) -> Self {
        Self {
            username: username.as_str().to_owned(),
            tag: ring.newest_tag(username.as_str()),
        }
    }

    /// Whether a text can be meant as nothing else.
    pub fn is_meant(text: &str) -> bool {
        text.starts_with(PREFIX)
    }

    /// Reads one. One key has one spelling.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > MAX_CREDENTIAL_KEY_BYTES {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(text.strip_prefix(PREFIX)?).ok()?;
        let (username, tag) = bytes.split_last_chunk::<TAG_BYTES>()?;
        let username = std::str::from_utf8(username).ok()?;
        Username::parse(username).ok()?;
        Some(Self {
            username: username.to_owned(),
            tag: *tag,
        })
    }

    /// As it is handed out. Whoever has it has the credential.
    pub fn expose(&self) -> String {
        let bytes = [self.username.as_bytes(), &self.tag].concat();
        format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))
    }

    /// The username that it says, whoever made it.
    pub fn username(&self) -> &str {
        &self.username
    }

    /// The credential, with the password of the secret by which the key was made; `None` for a forgery, and when that secret is no longer
    /// in the ring. Whether it has expired is left to the caller.
    pub fn open(&self, ring: &KeyRing) -> Option<Credential> {
        let username = Username::parse(&self.username).ok()?;
        let password = ring.password_of(username.as_str(), &self.tag)?;
        Some(Credential {
            password,
            expires_at: username.expires_at(),
            username: self.username.clone(),
        })
    }
}

impl fmt::Debug for CredentialKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CredentialKey([redacted])")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ring(secrets: &[&str]) -> KeyRing {
        KeyRing::from_bytes(secrets).unwrap()
    }

    fn key(ring: &KeyRing, username: &str) -> CredentialKey {
        CredentialKey::of(ring, &Username::parse(username).unwrap())
    }

    /// `(printf '\0meetpoint credential key\0'; printf 1700003600:alice) | openssl dgst -sha1 -hmac north`
    #[test]
    fn the_tag_is_what_openssl_computes_and_no_password() {
        let ring = ring(&["north"]);
        let made = key(&ring, "1700003600:alice");
        let hex: String = made.tag.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "c6a5d54e3c93fd86f1332bb283f1f3a6b5b43f07");
        let username = Username::parse("1700003600:alice").unwrap();
        let password = ring.passwords(&username).next().unwrap();
        assert!(!made.expose().contains(password.as_str()));
        assert_ne!(
            base64::engine::general_purpose::STANDARD.encode(made.tag),
            password.as_str()
        );
    }

    #[test]
    fn a_key_opens_with_its_own_secret_wherever_that_stands_in_the_ring_and_with_no_other() {
        let old = ring(&["old"]);
        let made = key(&old, "9:a@acme");
        let again = CredentialKey::parse(&made.expose()).unwrap();
        assert_eq!(again, made);
        let password = |ring: &KeyRing| again.open(ring).map(|open| open.password.as_str().to_owned());
        let own = old.newest_password("9:a@acme").as_str().to_owned();
        for secrets in [&["old"][..], &["new", "old"], &["old", "new"]] {
            assert_eq!(password(&ring(secrets)).as_ref(), Some(&own), "{secrets:?}");
        }
        assert_eq!(password(&ring(&["new"])), None);
        assert_eq!(format!("{again:?}"), "CredentialKey([redacted])");
    }

    #[test]
    fn the_longest_username_has_a_key_and_a_longer_text_is_none() {
        let ring = ring(&["north"]);
        let longest = format!("1:{}", "u".repeat(MAX_USERNAME_BYTES - 2));
        let text = key(&ring, &longest).expose();
        assert_eq!(text.len(), MAX_CREDENTIAL_KEY_BYTES);
        assert!(CredentialKey::parse(&text).unwrap().open(&ring).is_some());
        assert_eq!(CredentialKey::parse(&format!("{text}AAAA")), None);
    }

    #[test]
    fn what_has_not_the_form_is_no_key() {
        let good = key(&ring(&["north"]), "1:ab").expose();
        for bad in [
            "",
            "mpc_",
            "mpk_AAAA",
            "mpc_AAAA",
            &good.to_uppercase(),
            &format!("{good}="),
            &format!("{good}A"),
            &format!(
                "mpc_{}",
                URL_SAFE_NO_PAD.encode([b"alice".as_slice(), &[7; TAG_BYTES]].concat())
            ),
            &format!(
                "mpc_{}",
                URL_SAFE_NO_PAD.encode([b"1:\xff".as_slice(), &[7; TAG_BYTES]].concat())
            ),
        ] {
            assert_eq!(CredentialKey::parse(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused_and_what_is_read_is_written_the_same(text in "(mpc_)?[A-Za-z0-9_-]{0,90}") {
            if let Some(read) = CredentialKey::parse(&text) {
                prop_assert_eq!(read.expose(), text);
                prop_assert!(read.open(&ring(&["north"])).is_none());
            }
        }

        #[test]
        fn no_changed_key_opens_anything(user in "[^\\p{Cc}]{0,60}", expiry in 0..u64::MAX, at in any::<prop::sample::Index>(), bit in 0..8_u8) {
            let ring = ring(&["north", "south"]);
            let made = key(&ring, &format!("{expiry}:{user}"));
            prop_assert_eq!(made.open(&ring).unwrap().expires_at.0, expiry);
            let mut bytes = [made.username.as_bytes(), &made.tag].concat();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            let changed = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes));
            prop_assert!(CredentialKey::parse(&changed).and_then(|changed| changed.open(&ring)).is_none());
        }
    }
}
