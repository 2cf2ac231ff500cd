//! The shared secrets: the first mints, all verify.

use std::fmt;
use std::sync::Arc;

use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use subtle::{Choice, ConstantTimeEq};

use super::credential::Password;
use super::credential_key::TAG_BYTES;
use super::username::Username;

/// Most secrets in a ring. Rotation needs two; each one more costs every failed login one more HMAC and MESSAGE-INTEGRITY.
pub const MAX_SECRETS: usize = 8;

/// Below this a secret can be guessed off line from one credential; callers should warn, coturn's users have short ones.
pub const RECOMMENDED_SECRET_BYTES: usize = 16;

/// One shared secret, held as the prepared state of HMAC-SHA1 (two compressions saved per password, and the plain bytes
/// are not kept). Printed as `[redacted]`, wiped on drop.
#[derive(Clone)]
pub struct Secret(Hmac<Sha1>);

/// Why a text cannot be a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// An empty secret would let anybody mint.
    #[error("a shared secret must not be empty")]
    Empty,
}

impl Secret {
    /// Takes the secret's bytes as coturn's `static-auth-secret` does: as they are, neither trimmed nor decoded.
    pub fn new(bytes: &[u8]) -> Result<Self, SecretError> {
        if bytes.is_empty() {
            return Err(SecretError::Empty);
        }
        // HMAC takes keys of any length; the error type is the trait's, not the algorithm's.
        Hmac::new_from_slice(bytes).map(Self).map_err(|_| SecretError::Empty)
    }

    /// `base64(HMAC-SHA1(secret, username))`.
    pub(super) fn password(&self, username: &str) -> Password {
        let mut mac = self.0.clone();
        mac.update(username.as_bytes());
        Password::from_mac(&mac.finalize().into_bytes().into())
    }

    /// What signs a username as [`super::CredentialKey`] has it. No username begins with a zero byte, so this is no password of any.
    fn tag(&self, username: &str) -> [u8; TAG_BYTES] {
        let mut mac = self.0.clone();
        mac.update(b"\0meetpoint credential key\0");
        mac.update(username.as_bytes());
        mac.finalize().into_bytes().into()
    }

    /// Likewise no password of any username, and none of its signatures.
    fn derived(&self, purpose: &[u8]) -> [u8; TAG_BYTES] {
        let mut mac = self.0.clone();
        mac.update(b"\0derived\0");
        mac.update(purpose);
        mac.finalize().into_bytes().into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// One to [`MAX_SECRETS`] secrets, newest first. Cloning shares them.
#[derive(Clone, Debug)]
pub struct KeyRing(Arc<Secrets>);

#[derive(Debug)]
struct Secrets {
    newest: Secret,
    older: Box<[Secret]>,
}

/// Why secrets cannot be a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyRingError {
    /// Nothing to mint with.
    #[error("at least one shared secret is needed")]
    Empty,
    /// More than [`MAX_SECRETS`].
    #[error("at most {MAX_SECRETS} shared secrets can be active at once")]
    TooMany,
    /// One of the secrets is unusable.
    #[error(transparent)]
    Secret(#[from] SecretError),
}

impl KeyRing {
    /// The first secret mints, all verify. To rotate, put the new one first and drop the old one after the longest
    /// lifetime of a credential.
    pub fn new(secrets: Vec<Secret>) -> Result<Self, KeyRingError> {
        if secrets.len() > MAX_SECRETS {
            return Err(KeyRingError::TooMany);
        }
        let mut secrets = secrets.into_iter();
        let newest = secrets.next().ok_or(KeyRingError::Empty)?;
        Ok(Self(Arc::new(Secrets {
            newest,
            older: secrets.collect(),
        })))
    }

    /// [`KeyRing::new`] from plain bytes.
    pub fn from_bytes<B: AsRef<[u8]>>(secrets: impl IntoIterator<Item = B>) -> Result<Self, KeyRingError> {
        let secrets = secrets
            .into_iter()
            .map(|bytes| Secret::new(bytes.as_ref()))
            .collect::<Result<_, _>>()?;
        Self::new(secrets)
    }

    /// How many passwords [`KeyRing::passwords`] yields.
    #[expect(clippy::len_without_is_empty, reason = "a ring is never empty")]
    pub fn len(&self) -> usize {
        1 + self.0.older.len()
    }

    /// The passwords that `username` has, one per secret, in the order of the ring. The relay derives a key from each and
    /// tries the request's MESSAGE-INTEGRITY against it.
    pub fn passwords<'a>(&'a self, username: &Username<'a>) -> impl Iterator<Item = Password> + 'a {
        let username = username.as_str();
        std::iter::once(&self.0.newest)
            .chain(&self.0.older)
            .map(move |secret| secret.password(username))
    }

    /// A key for another purpose out of each secret, newest first. `purpose` is what tells it from that for any other.
    pub(crate) fn derived<'a>(&'a self, purpose: &'a [u8]) -> impl Iterator<Item = [u8; TAG_BYTES]> + 'a {
        let all = std::iter::once(&self.0.newest).chain(&self.0.older);
        all.map(move |secret| secret.derived(purpose))
    }

    /// Mints with the newest secret.
    pub(super) fn newest_password(&self, username: &str) -> Password {
        self.0.newest.password(username)
    }

    /// Signs with the newest secret.
    pub(super) fn newest_tag(&self, username: &str) -> [u8; TAG_BYTES] {
        self.0.newest.tag(username)
    }

    /// The password by the secret that signed. Every secret is tried whether or not an earlier one matched.
    pub(super) fn password_of(&self, username: &str, tag: &[u8; TAG_BYTES]) -> Option<Password> {
        let all = std::iter::once(&self.0.newest).chain(&self.0.older);
        all.fold(None, |found, secret| {
            let password = secret.password(username);
            let is_it: bool = secret.tag(username).ct_eq(tag).into();
            if is_it { Some(password) } else { found }
        })
    }

    /// Whether `password` is one of the username's. Every secret is tried whether or not an earlier one matched.
    pub(super) fn accepts(&self, username: &Username<'_>, password: &[u8]) -> bool {
        self.passwords(username)
            .fold(Choice::from(0), |found, own| found | own.as_bytes().ct_eq(password))
            .into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_holds_one_to_eight_secrets() {
        let secrets = |count: usize| KeyRing::from_bytes((0..count).map(|number| format!("secret-{number}")));
        assert_eq!(secrets(0).unwrap_err(), KeyRingError::Empty);
        assert_eq!(secrets(1).unwrap().len(), 1);
        assert_eq!(secrets(MAX_SECRETS).unwrap().len(), MAX_SECRETS);
        assert_eq!(secrets(MAX_SECRETS + 1).unwrap_err(), KeyRingError::TooMany);
    }

    #[test]
    fn an_empty_secret_is_refused() {
        assert_eq!(
            KeyRing::from_bytes(["", "x"]).unwrap_err(),
            KeyRingError::Secret(SecretError::Empty)
        );
    }

    #[test]
    fn a_secret_never_shows_in_debug_output() {
        let ring = KeyRing::from_bytes(["hunter2hunter2"]).unwrap();
        assert_eq!(
            format!("{ring:?}"),
            "KeyRing(Secrets { newest: [redacted], older: [] })"
        );
    }

    #[test]
    fn passwords_come_in_the_order_of_the_ring() {
        let both = KeyRing::from_bytes(["new", "old"]).unwrap();
        let username = Username::parse("1:a").unwrap();
        let texts: Vec<_> = both
            .passwords(&username)
            .map(|password| password.as_str().to_owned())
            .collect();
        let alone = |secret| {
            let ring = KeyRing::from_bytes([secret]).unwrap();
            ring.newest_password("1:a").as_str().to_owned()
        };
        assert_eq!(texts, [alone("new"), alone("old")]);
    }
}
