//! Secrets that nobody configured are made at random, for this process alone.

use crate::credentials::KeyRing;
use crate::turn::{self, NonceKey};
use anyhow::Context as _;
use zeroize::Zeroizing;

/// Gives the relay a shared secret and a nonce key where it has none.
///
/// One nonce key for all workers: a client that the kernel moves to another worker keeps its nonce.
pub(super) fn fill(core: &mut turn::Config) -> anyhow::Result<()> {
    if core.keys.is_none() {
        let secret = random()?;
        core.keys = Some(KeyRing::from_bytes([secret.as_slice()])?);
    }
    if core.nonce_key.is_none() {
        core.nonce_key = Some(NonceKey::new(*random()?));
    }
    Ok(())
}

pub(super) fn random() -> anyhow::Result<Zeroizing<[u8; 32]>> {
    let mut bytes = Zeroizing::new([0; 32]);
    getrandom::fill(bytes.as_mut_slice()).context("the system gives no randomness to make a secret from")?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credentials::{UnixTime, mint, verify};
    use std::time::Duration;

    #[test]
    fn each_process_makes_its_own_secret_and_keeps_a_configured_one() {
        let mint_with = |core: &turn::Config| {
            let keys = core.keys.clone().unwrap();
            mint(&keys, UnixTime(1_700_000_000), "alice", Duration::from_secs(60)).unwrap()
        };
        let (mut one, mut other) = (turn::Config::default(), turn::Config::default());
        fill(&mut one).unwrap();
        fill(&mut other).unwrap();
        let credential = mint_with(&one);
        let verified = |core: &turn::Config| {
            let keys = core.keys.clone().unwrap();
            verify(
                &keys,
                UnixTime(1_700_000_000),
                &credential.username,
                credential.password.as_bytes(),
            )
            .is_ok()
        };
        assert!(verified(&one) && !verified(&other));
        fill(&mut one).unwrap();
        assert!(verified(&one), "a ring that is there stays");
    }
}
