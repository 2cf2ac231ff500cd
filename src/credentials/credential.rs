//! Minting and verifying, side by side: what one writes the other reads.

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroize;

use super::key_ring::KeyRing;
use super::unix_time::UnixTime;
use super::username::{MAX_USERNAME_BYTES, SEPARATOR, Username, UsernameError};

/// Length of `base64(HMAC-SHA1)`: 20 bytes in groups of three, padded.
pub const PASSWORD_BYTES: usize = 28;

/// Longest user part. Leaves room for the widest expiry and the colon in a USERNAME.
pub const MAX_USER_BYTES: usize = MAX_USERNAME_BYTES - 21;

/// The password of one username under one secret: 28 ASCII characters. Printed as `[redacted]`, wiped on drop.
#[derive(Clone)]
pub struct Password([u8; PASSWORD_BYTES]);

impl Password {
    /// Encodes an HMAC-SHA1.
    pub(super) fn from_mac(mac: &[u8; 20]) -> Self {
        let mut text = [0; PASSWORD_BYTES];
        // 20 bytes always encode to exactly 28 characters, so the slice is never too small.
        let written = STANDARD.encode_slice(mac, &mut text);
        debug_assert_eq!(written, Ok(PASSWORD_BYTES));
        Self(text)
    }

    /// The password as it goes into the long-term key (RFC 8489 §9.2.2). ASCII, so OpaqueString leaves it as it is.
    pub const fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The password as it goes into `credential` of an `RTCIceServer`.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl Drop for Password {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// What a client needs to open allocations until `expires_at`.
#[derive(Clone, Debug)]
pub struct Credential {
    /// `<unix expiry>:<user>`.
    pub username: String,
    /// `base64(HMAC-SHA1(newest secret, username))`.
    pub password: Password,
    /// Last second in which a new allocation is granted; living ones go on.
    pub expires_at: UnixTime,
}

/// Why no credential was minted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MintError {
    /// The user part is longer than [`MAX_USER_BYTES`].
    #[error("user longer than {MAX_USER_BYTES} bytes")]
    UserTooLong,
    /// Control characters would be mangled by OpaqueString, and by every log they reach.
    #[error("user contains control characters")]
    UserHasControlCharacters,
}

/// Mints a credential for `user` that opens allocations until `now + ttl`.
pub fn mint(ring: &KeyRing, now: UnixTime, user: &str, ttl: Duration) -> Result<Credential, MintError> {
    if user.len() > MAX_USER_BYTES {
        return Err(MintError::UserTooLong);
    }
    if user.chars().any(char::is_control) {
        return Err(MintError::UserHasControlCharacters);
    }
    let expires_at = now.saturating_add(ttl);
    let username = if user.is_empty() {
        expires_at.to_string()
    } else {
        format!("{expires_at}{SEPARATOR}{user}")
    };
    let password = ring.newest_password(&username);
    Ok(Credential {
        password,
        username,
        expires_at,
    })
}

/// Why a username and password open nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// The username is not of this scheme.
    #[error(transparent)]
    Username(#[from] UsernameError),
    /// No secret of the ring gives this password for this username.
    #[error("the password does not belong to the username")]
    WrongPassword,
    /// Genuine, but too late.
    #[error("the credential has expired")]
    Expired,
}

/// Checks a username and password that came in plain, in constant time over the ring. The relay never sees a password: it
/// goes through [`KeyRing::passwords`] instead.
///
/// The password is judged before the expiry, so that only the holder of a genuine credential learns that it is late.
pub fn verify<'a>(
    ring: &KeyRing,
    now: UnixTime,
    username: &'a str,
    password: &[u8],
) -> Result<Username<'a>, VerifyError> {
    let username = Username::parse(username)?;
    if !ring.accepts(&username, password) {
        return Err(VerifyError::WrongPassword);
    }
    if username.is_expired(now) {
        return Err(VerifyError::Expired);
    }
    Ok(username)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: UnixTime = UnixTime(1_700_000_000);

    fn ring(secrets: &[&str]) -> KeyRing {
        KeyRing::from_bytes(secrets).unwrap()
    }

    /// The values were computed with `printf %s USERNAME | openssl dgst -sha1 -hmac SECRET -binary | openssl base64`.
    #[test]
    fn passwords_are_those_that_openssl_computes() {
        let vectors = [
            ("north", "1700003600:alice", "wjwSXO2ch1B6VaLTLMy2Avn5O9o="),
            (
                "logen-ninefingers-0123456789abcdef",
                "1735689600:@bob:matrix.example",
                "KJuWHRNkJbp+nneN6iDWiZl1Fq8=",
            ),
            ("north", "1700003600", "xF4I6gruVt/PjGbjajGu2UlidPk="),
        ];
        for (secret, username, password) in vectors {
            let parsed = Username::parse(username).unwrap();
            let ring = ring(&[secret]);
            let own: Vec<_> = ring.passwords(&parsed).map(|own| own.as_str().to_owned()).collect();
            assert_eq!(own, [password], "{username}");
        }
    }

    #[test]
    fn a_credential_holds_until_the_second_of_its_expiry() {
        let ring = ring(&["north"]);
        let credential = mint(&ring, NOW, "alice", Duration::from_secs(3600)).unwrap();
        assert_eq!(credential.username, "1700003600:alice");
        let check = |now| verify(&ring, now, &credential.username, credential.password.as_bytes());
        assert_eq!(check(UnixTime(1_700_003_600)).unwrap().user(), "alice");
        assert_eq!(check(UnixTime(1_700_003_601)), Err(VerifyError::Expired));
    }

    #[test]
    fn an_old_secret_verifies_but_no_longer_mints() {
        let before = ring(&["old"]);
        let during = ring(&["new", "old"]);
        let after = ring(&["new"]);
        let old = mint(&before, NOW, "a", Duration::from_secs(60)).unwrap();
        let new = mint(&during, NOW, "a", Duration::from_secs(60)).unwrap();
        assert!(verify(&during, NOW, &old.username, old.password.as_bytes()).is_ok());
        assert!(verify(&after, NOW, &new.username, new.password.as_bytes()).is_ok());
        assert_eq!(
            verify(&after, NOW, &old.username, old.password.as_bytes()),
            Err(VerifyError::WrongPassword)
        );
    }

    #[test]
    fn a_wrong_password_is_named_before_the_expiry() {
        assert_eq!(
            verify(&ring(&["a"]), NOW, "1:late", b"nonsense"),
            Err(VerifyError::WrongPassword)
        );
    }

    #[test]
    fn a_user_may_fill_the_username_and_no_more() {
        let ring = ring(&["a"]);
        let longest = "u".repeat(MAX_USER_BYTES);
        let minted = mint(&ring, UnixTime(u64::MAX), &longest, Duration::MAX).unwrap();
        assert_eq!(minted.username.len(), MAX_USERNAME_BYTES);
        let longer = format!("{longest}u");
        assert_eq!(
            mint(&ring, NOW, &longer, Duration::ZERO).unwrap_err(),
            MintError::UserTooLong
        );
    }

    #[test]
    fn a_user_with_control_characters_is_refused() {
        for user in ["a\nb", "a\0", "\u{85}"] {
            let minted = mint(&ring(&["a"]), NOW, user, Duration::ZERO);
            assert_eq!(minted.unwrap_err(), MintError::UserHasControlCharacters, "{user:?}");
        }
    }

    #[test]
    fn the_password_never_shows_in_debug_output() {
        let credential = mint(&ring(&["a"]), NOW, "alice", Duration::from_secs(1)).unwrap();
        let shown = format!("{credential:?}");
        assert!(
            !shown.contains(credential.password.as_str()) && shown.contains("[redacted]"),
            "{shown}"
        );
    }

    proptest! {
        #[test]
        fn whatever_is_minted_verifies_and_nothing_else_does(
            secret in "[ -~]{1,40}",
            user in "[^\\p{Cc}]{0,80}",
            now in 0..u64::MAX / 2,
            ttl in 0..200_000_u64,
            flip in 0..PASSWORD_BYTES,
        ) {
            let ring = KeyRing::from_bytes([b"another".as_slice(), secret.as_bytes()]).unwrap();
            let minting = KeyRing::from_bytes([&secret]).unwrap();
            let now = UnixTime(now);
            let credential = mint(&minting, now, &user, Duration::from_secs(ttl)).unwrap();
            let username = verify(&ring, now, &credential.username, credential.password.as_bytes()).unwrap();
            prop_assert_eq!(username.user(), &user);
            prop_assert_eq!(username.expires_at(), credential.expires_at);

            let mut wrong = credential.password.as_bytes().to_vec();
            wrong[flip] ^= 1;
            prop_assert_eq!(verify(&ring, now, &credential.username, &wrong), Err(VerifyError::WrongPassword));
            let renamed = format!("{}x", credential.username);
            let stolen = verify(&ring, now, &renamed, credential.password.as_bytes());
            prop_assert!(matches!(stolen, Err(VerifyError::WrongPassword | VerifyError::Username(_))));
        }
    }
}
