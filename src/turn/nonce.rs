//! Stateless nonces: the time, sealed with the client's address.
//!
//! ```text
//! "obMatJos2" + 4 characters of security features      (RFC 8489 §9.2)
//! base64( seconds since 1970, last 18 bits ‖ HMAC-SHA256(key, cookie ‖ seconds ‖ address ‖ port), first 46 bits )
//! ```
//! 24 characters: short, because every 401 carries them to sources that may be forged, and no answer to one shall be more than
//! three times its request. 46 bits cannot be guessed within the life of a nonce, and would give nothing to who has no password.
//! The seconds are sealed whole: those not sent are taken from the clock, so that a nonce does not come to life again.
//! Nothing is remembered: the server recognises its own work, and so does a replica with the same key.

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

/// Bits of the time that are sent: three days, more than any nonce lives.
const TIME_BITS: u32 = 18;
const TIME_MASK: u64 = (1 << TIME_BITS) - 1;
const MAC_BITS: u32 = u64::BITS - TIME_BITS;
const SEALED_LEN: usize = size_of::<u64>();
/// Characters of a nonce.
pub(super) const NONCE_LEN: usize = SecurityFeatures::COOKIE_LEN + 11;

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
        let sealed = self.seal(&cookie, now.0, client).to_be_bytes();
        let mut nonce = [0; NONCE_LEN];
        nonce[..cookie.len()].copy_from_slice(&cookie);
        // 8 bytes are 11 characters, always.
        let written = STANDARD_NO_PAD.encode_slice(sealed, &mut nonce[cookie.len()..]);
        debug_assert_eq!(written, Ok(11));
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
        let [sealed @ .., _] = sealed;
        let sealed = u64::from_be_bytes(sealed);
        // When it was made: at most a little ahead, else less than three days ago.
        let latest = now.0.wrapping_add(CLOCK_SKEW);
        let seconds = latest.wrapping_sub(latest.wrapping_sub(sealed >> MAC_BITS) & TIME_MASK);
        if !bool::from(self.seal(cookie, seconds, client).ct_eq(&sealed)) {
            return NonceState::Foreign;
        }
        if now.0.saturating_sub(seconds) < self.lifetime {
            NonceState::Fresh
        } else {
            NonceState::Stale
        }
    }

    /// What is sent behind the cookie.
    fn seal(&self, cookie: &[u8], seconds: u64, client: SocketAddr) -> u64 {
        let ip = match client.ip() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        let mac = self
            .mac
            .clone()
            .chain_update(cookie)
            .chain_update(seconds.to_be_bytes())
            .chain_update(ip.octets())
            .chain_update(client.port().to_be_bytes())
            .finalize()
            .into_bytes();
        let mut first = [0; SEALED_LEN];
        first.copy_from_slice(&mac[..SEALED_LEN]);
        (seconds & TIME_MASK) << MAC_BITS | u64::from_be_bytes(first) >> TIME_BITS
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
            NonceState::Foreign
        );
    }

    #[test]
    fn a_nonce_does_not_come_to_life_again_when_the_time_it_carries_does() {
        let nonce = minted();
        let period = TIME_MASK + 1;
        let judged = |at| nonces().judge(&nonce, client(), UnixTime(at));
        assert_eq!(judged(NOW.0 + period - CLOCK_SKEW - 1), NonceState::Stale);
        for later in [period - CLOCK_SKEW, period, period + 1, 1000 * period] {
            assert_eq!(judged(NOW.0 + later), NonceState::Foreign, "{later}");
        }
        // A clock that stands at the beginning of time is no cause to panic.
        let first = nonces().mint(FEATURES, client(), UnixTime(0));
        let first = std::str::from_utf8(&first).unwrap();
        assert_eq!(nonces().judge(first, client(), UnixTime(0)), NonceState::Fresh);
        assert_eq!(nonces().judge(&nonce, client(), UnixTime(0)), NonceState::Foreign);
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
        assert_eq!(minted().len(), 24);
    }
}
