//! How the library is told that a cookie has been verified.
//!
//! It makes a secret for cookies in each session, so state would have to exist before an address is verified. It asks its HMAC
//! provider for a cookie and compares; while a session is being made here, the provider's answer is the cookie that the gate
//! has verified. Nothing else asks for that one function: key derivation goes by the other, which is passed through.

use std::cell::Cell;

use dimpl::CryptoError;
use dimpl::crypto::{HashAlgorithm, HmacProvider, aws_lc_rs};

use super::cookie::COOKIE;

thread_local! {
    static VOUCHED: Cell<Option<[u8; COOKIE]>> = const { Cell::new(None) };
}

/// The library's own provider, with cookies that are vouched for.
#[derive(Debug)]
pub(super) struct Vouching;

impl HmacProvider for Vouching {
    fn hmac_sha256(&self, key: &[u8], data: &[u8]) -> Result<[u8; 32], CryptoError> {
        match VOUCHED.get() {
            Some(cookie) => Ok(cookie),
            None => aws_lc_rs::default_provider().hmac_provider.hmac_sha256(key, data),
        }
    }

    fn hmac(&self, hash: HashAlgorithm, key: &[u8], data: &[u8], out: &mut [u8]) -> Result<usize, CryptoError> {
        aws_lc_rs::default_provider().hmac_provider.hmac(hash, key, data, out)
    }
}

/// Runs `make` with every cookie being this one, on this thread.
pub(super) fn vouching<T>(cookie: [u8; COOKIE], make: impl FnOnce() -> T) -> T {
    struct Reset;
    impl Drop for Reset {
        fn drop(&mut self) {
            VOUCHED.set(None);
        }
    }
    VOUCHED.set(Some(cookie));
    let _reset = Reset;
    make()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_vouched_for_no_longer_than_asked_and_not_after_a_panic() {
        let ask = || Vouching.hmac_sha256(b"key", b"data").unwrap();
        let honest = ask();
        assert_eq!(vouching([9; COOKIE], ask), [9; COOKIE]);
        assert_eq!(ask(), honest);
        let fell = std::panic::catch_unwind(|| vouching([9; COOKIE], || std::panic::resume_unwind(Box::new(()))));
        assert!(fell.is_err());
        assert_eq!(ask(), honest);
    }

    #[test]
    fn keys_are_never_vouched_for() {
        let ask = || {
            let mut out = [0; 32];
            Vouching.hmac(HashAlgorithm::SHA256, b"key", b"data", &mut out).unwrap();
            out
        };
        let honest = ask();
        assert_eq!(vouching([9; COOKIE], ask), honest);
    }
}
