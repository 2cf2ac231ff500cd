//! The signature of a delivery: `t=<Unix seconds>,v1=<hex of HMAC-SHA256>`, of the time, a dot and the body (RFC 2104).

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::credentials::UnixTime;
use crate::events::config::Secret;

/// The header it travels in.
pub const HEADER: &str = "x-meetpoint-signature";

/// Signs `body` at `now`. The time is part of what is signed, so that a receiver can refuse an old delivery.
#[must_use]
pub fn sign(secret: &Secret, now: UnixTime, body: &[u8]) -> String {
    let time = now.0.to_string();
    // HMAC takes keys of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else {
        return String::new();
    };
    mac.update(time.as_bytes());
    mac.update(b".");
    mac.update(body);
    let mac = mac.finalize().into_bytes();
    let hex: String = mac.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("t={time},v1={hex}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_what_openssl_makes_of_the_same() {
        // printf '1700000000.{"events":[]}' | openssl dgst -sha256 -hmac 'a secret of the test'
        let signed = sign(
            &Secret::new("a secret of the test"),
            UnixTime(1_700_000_000),
            b"{\"events\":[]}",
        );
        assert_eq!(
            signed,
            "t=1700000000,v1=9f6e5dc21f5aa3bdb90da9bef31a03d2fe4080b665187a245292e876017256a9"
        );
    }
}
