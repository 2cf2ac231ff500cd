//! Session ids, session keys and assigned peer ids, all from the seed that was handed in.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// A session id: 12 random bytes as 16 characters of base64url. Public among the operators, not a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Sid([u8; 16]);

impl Sid {
    /// The 16 characters.
    pub fn as_str(&self) -> &str {
        // Base64 is ASCII, so the default is never used.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    pub(crate) const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    pub(crate) const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// A session id as a client sent it; `None` when it cannot be one of ours.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        text.as_bytes().try_into().ok().map(Self)
    }
}

/// The generator and the key maker. The key of a session is a MAC of its id, so that nothing is stored per session.
#[derive(Clone)]
pub(crate) struct Secrets {
    seed: [u8; 32],
    drawn: u64,
}

impl Secrets {
    pub(crate) const fn new(seed: [u8; 32]) -> Self {
        Self { seed, drawn: 0 }
    }

    fn draw(&mut self) -> [u8; 16] {
        let mut digest = Sha256::new();
        digest.update(b"draw");
        digest.update(self.seed);
        digest.update(self.drawn.to_be_bytes());
        self.drawn += 1;
        let digest = digest.finalize();
        let mut text = [0; 16];
        // 12 bytes always become 16 characters.
        let _ = URL_SAFE_NO_PAD.encode_slice(&digest[..12], &mut text);
        text
    }

    pub(crate) fn sid(&mut self) -> Sid {
        Sid(self.draw())
    }

    pub(crate) fn peer_id(&mut self) -> String {
        Sid(self.draw()).as_str().to_owned()
    }

    /// The peer id that a silent connection is offered, `peer-` and 16 hexadecimal digits; it says nothing of the session id.
    pub(crate) fn offer(&self, sid: Sid) -> String {
        let digest = Sha256::new_with_prefix(b"offer")
            .chain_update(self.seed)
            .chain_update(sid.0)
            .finalize();
        let id = u64::from_be_bytes(std::array::from_fn(|at| digest[at]));
        format!("peer-{id:016x}")
    }

    /// A random UUID (RFC 9562 §5.4).
    pub(crate) fn uuid(&mut self) -> String {
        let digest = Sha256::new_with_prefix(b"uuid")
            .chain_update(self.seed)
            .chain_update(self.draw())
            .finalize();
        let random = u128::from_be_bytes(std::array::from_fn(|at| digest[at]));
        let uuid = (random & !(0xF << 76) & !(0x3 << 62)) | (0x4 << 76) | (0x2 << 62);
        let hex = format!("{uuid:032x}");
        format!(
            "{}-{}-{}-{}-{}",
            &hex[..8],
            &hex[8..12],
            &hex[12..16],
            &hex[16..20],
            &hex[20..]
        )
    }

    /// A seed for hash tables, so that nobody outside can aim at one bucket.
    pub(crate) fn hash_seed(&self) -> u64 {
        let digest = Sha256::new_with_prefix(b"hash").chain_update(self.seed).finalize();
        u64::from_be_bytes(std::array::from_fn(|at| digest[at]))
    }

    /// The key that proves a session: 24 bytes as 32 characters of base64url.
    pub(crate) fn key(&self, sid: Sid) -> String {
        // HMAC takes a key of any length, so there is always a value.
        let Ok(mac) = Hmac::<Sha256>::new_from_slice(&self.seed) else {
            return String::new();
        };
        let tag = mac.chain_update(b"key").chain_update(sid.0).finalize().into_bytes();
        URL_SAFE_NO_PAD.encode(&tag[..24])
    }

    pub(crate) fn proves(&self, sid: Sid, key: &str) -> bool {
        let expected = self.key(sid);
        !expected.is_empty() && bool::from(expected.as_bytes().ct_eq(key.as_bytes()))
    }
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secrets")
            .field("drawn", &self.drawn)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_proves_its_own_session_and_no_other() {
        let mut secrets = Secrets::new([7; 32]);
        let (one, two) = (secrets.sid(), secrets.sid());
        assert_ne!(one, two);
        let key = secrets.key(one);
        assert_eq!(key.len(), 32);
        assert!(secrets.proves(one, &key));
        assert!(!secrets.proves(two, &key));
        assert!(!secrets.proves(one, ""));
        assert!(!secrets.proves(one, &key[..31]));
        assert!(!Secrets::new([8; 32]).proves(one, &key));
        assert_eq!(Sid::parse(one.as_str()), Some(one));
        assert_eq!(Sid::parse("short"), None);
    }

    #[test]
    fn an_assigned_uuid_is_random_and_says_so() {
        let mut secrets = Secrets::new([7; 32]);
        let (one, two) = (secrets.uuid(), secrets.uuid());
        assert_ne!(one, two);
        for uuid in [one, two] {
            let parts: Vec<&str> = uuid.split('-').collect();
            assert_eq!(
                parts.iter().map(|part| part.len()).collect::<Vec<_>>(),
                [8, 4, 4, 4, 12]
            );
            assert!(
                parts[2].starts_with('4') && parts[3].starts_with(['8', '9', 'a', 'b']),
                "{uuid}"
            );
        }
    }

    #[test]
    fn the_debug_form_does_not_show_the_seed() {
        assert!(!format!("{:?}", Secrets::new([77; 32])).contains("77"));
    }
}
