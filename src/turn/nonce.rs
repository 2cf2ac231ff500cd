//! Stateless nonces: the time, sealed with the client's address.
//!
//! ```text
//! "obMatJos2" + 4 characters of security features      (RFC 8489 §9.2)
//! base64( seconds since 1970, 32 bits ‖ HMAC-SHA256(key, cookie ‖ seconds ‖ address ‖ port), first 80 bits )
//! ```
//! 32 characters: short, because every 401 carries them to sources that may be forged. 80 bits cannot be guessed within the
//! life of a nonce. Nothing is remembered: the server recognises its own work, and so does a replica with the same key.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use super::config::NonceKey;
use crate::credentials::UnixTime;
use crate::wire::attribute::SecurityFeatures;

const MAC_LEN: usize = 10;
const SEALED_LEN: usize = 4 + MAC_LEN;
/// Characters of a nonce.
pub(super) const NONCE_LEN: usize = SecurityFeatures::COOKIE_LEN + 19;

/// How far ahead another replica's clock may be.
const CLOCK_SKEW: u64 = 60;

/// What a nonce that came back is worth.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum NonceState {
    /// Ours, for this address, in time.
    Fresh,
    /// Ours, for this address, too old.
    Stale,
    /// Not ours, or given to another address.
    Foreign,
}

/// Makes and recognises nonces.
pub(super) struct Nonces {
    mac: Hmac<Sha256>,
    lifetime: u64,
}

impl Nonces {
    pub(super) fn new(key: &NonceKey, lifetime: Duration) -> Self {
        let mut block = [0; 64];
        block[..32].copy_from_slice(&key.0);
        Self {
            mac: Hmac::new(&block.into()),
            lifetime: lifetime.as_secs(),
        }
    }

    /// A nonce for `client`, made at `now`.
    pub(super) fn mint(&self, features: SecurityFeatures, client: SocketAddr, now: UnixTime) -> [u8; NONCE_LEN] {
        let cookie = features.cookie();
        let seconds = (now.0 as u32).to_be_bytes();
        let mut sealed = [0; SEALED_LEN];
        sealed[..4].copy_from_slice(&seconds);
        sealed[4..].copy_from_slice(&self.seal(&cookie, seconds, client));
        let mut nonce = [0; NONCE_LEN];
        nonce[..cookie.len()].copy_from_slice(&cookie);
        // 14 bytes are 19 characters, always.
        let written = STANDARD_NO_PAD.encode_slice(sealed, &mut nonce[cookie.len()..]);
        debug_assert_eq!(written, Ok(19));
        nonce
    }

    /// Judges a nonce that `client` sent.
    pub(super) fn judge(&self, nonce: &str, client: SocketAddr, now: UnixTime) -> NonceState {
        // Lengths first: a stranger's guess costs no HMAC.
        let Ok(nonce) = <&[u8; NONCE_LEN]>::try_from(nonce.as_bytes()) else {
            return NonceState::Foreign;
        };
        let (cookie, text) = nonce.split_at(SecurityFeatures::COOKIE_LEN);
        let mut sealed = [0; SEALED_LEN + 1];
        if STANDARD_NO_PAD.decode_slice(text, &mut sealed) != Ok(SEALED_LEN) {
            return NonceState::Foreign;
        }
        let [a, b, c, d, mac @ .., _] = sealed;
        let seconds = [a, b, c, d];
        if !bool::from(self.seal(cookie, seconds, client).ct_eq(&mac)) {
            return NonceState::Foreign;
        }
        // In 2106 the seconds begin anew; differences stay right.
        let age = (now.0 as u32).wrapping_sub(u32::from_be_bytes(seconds));
        let ahead = u64::from(age.wrapping_neg());
        if u64::from(age) < self.lifetime || (ahead != 0 && ahead <= CLOCK_SKEW) {
            NonceState::Fresh
        } else {
            NonceState::Stale
        }
    }

    fn seal(&self, cookie: &[u8], seconds: [u8; 4], client: SocketAddr) -> [u8; MAC_LEN] {
        let ip = match client.ip() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        let mac = self
            .mac
            .clone()
            .chain_update(cookie)
            .chain_update(seconds)
            .chain_update(ip.octets())
            .chain_update(client.port().to_be_bytes())
            .finalize()
            .into_bytes();
        let mut out = [0; MAC_LEN];
        out.copy_from_slice(&mac[..MAC_LEN]);
        out
    }
}

impl fmt::Debug for Nonces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Nonces([redacted])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FEATURES: SecurityFeatures = SecurityFeatures {
        password_algorithms: true,
        username_anonymity: false,
    };
    const NOW: UnixTime = UnixTime(1_800_000_000);

    fn nonces() -> Nonces {
        Nonces::new(&NonceKey::new([9; 32]), Duration::from_secs(600))
    }

    fn client() -> SocketAddr {
        "192.0.2.1:4000".parse().unwrap()
    }

    fn minted() -> String {
        String::from_utf8(nonces().mint(FEATURES, client(), NOW).to_vec()).unwrap()
    }

    #[test]
    fn a_nonce_is_fresh_until_its_last_second_and_stale_from_then_on() {
        let nonce = minted();
        for (age, state) in [
            (0, NonceState::Fresh),
            (599, NonceState::Fresh),
            (600, NonceState::Stale),
            (9999, NonceState::Stale),
        ] {
            assert_eq!(nonces().judge(&nonce, client(), UnixTime(NOW.0 + age)), state, "{age}");
        }
    }

    #[test]
    fn the_clock_of_a_replica_may_be_a_minute_ahead() {
        let nonce = minted();
        assert_eq!(
            nonces().judge(&nonce, client(), UnixTime(NOW.0 - 60)),
            NonceState::Fresh
        );
        assert_eq!(
            nonces().judge(&nonce, client(), UnixTime(NOW.0 - 61)),
            NonceState::Stale
        );
    }

    #[test]
    fn a_nonce_is_of_use_to_its_address_alone() {
        let nonce = minted();
        for other in ["192.0.2.1:4001", "192.0.2.2:4000", "[2001:db8::1]:4000"] {
            assert_eq!(nonces().judge(&nonce, other.parse().unwrap(), NOW), NonceState::Foreign);
        }
    }

    #[test]
    fn a_replica_with_the_key_knows_the_nonce_and_one_without_does_not() {
        let other = Nonces::new(&NonceKey::new([8; 32]), Duration::from_secs(600));
        assert_eq!(other.judge(&minted(), client(), NOW), NonceState::Foreign);
        assert_eq!(nonces().judge(&minted(), client(), NOW), NonceState::Fresh);
    }

    #[test]
    fn no_character_can_be_changed() {
        let nonce = minted();
        for at in 0..nonce.len() {
            for character in ["A", "B", "/", "="] {
                let mut changed = nonce.clone();
                changed.replace_range(at..=at, character);
                if changed != nonce {
                    assert_eq!(
                        nonces().judge(&changed, client(), NOW),
                        NonceState::Foreign,
                        "{changed}"
                    );
                }
            }
        }
        assert_eq!(nonces().judge("", client(), NOW), NonceState::Foreign);
        assert_eq!(nonces().judge(&nonce[1..], client(), NOW), NonceState::Foreign);
    }

    #[test]
    fn a_nonce_begins_with_the_cookie_of_its_features() {
        assert_eq!(SecurityFeatures::of_nonce(&minted()), Some(FEATURES));
        assert!(minted().starts_with("obMatJos2"));
        assert_eq!(minted().len(), 32);
    }
}
