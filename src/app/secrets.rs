//! Secrets that nobody configured are made at random, for this process alone.

use crate::credentials::{KeyRing, probe_user};
use crate::turn::{self, NonceKey, Revocations};
use anyhow::Context as _;
use std::sync::Arc;
use zeroize::Zeroizing;

/// A shared secret and a nonce key of this process. Made once: a reload keeps what was minted with them.
pub(super) struct Own {
    keys: KeyRing,
    nonce_key: NonceKey,
    revocations: Revocations,
    probe: Arc<str>,
}

impl Own {
    pub(super) fn make() -> anyhow::Result<Self> {
        Ok(Self {
            keys: KeyRing::from_bytes([random()?.as_slice()])?,
            nonce_key: NonceKey::new(*random()?),
            revocations: Revocations::default(),
            probe: probe_user(
                &random()?[..16]
                    .iter()
                    .map(|byte| format!("{byte:02x}"))
                    .collect::<String>(),
            )
            .into(),
        })
    }

    /// Gives the relay what it has none of, and what outlives every configuration: who was turned away stays out.
    ///
    /// One nonce key for all workers: a client that the kernel moves to another worker keeps its nonce.
    pub(super) fn fill(&self, core: &mut turn::Config) {
        core.keys.get_or_insert_with(|| self.keys.clone());
        core.nonce_key.get_or_insert_with(|| self.nonce_key.clone());
        core.revocations = self.revocations.clone();
        core.shares.probe = Some(Arc::clone(&self.probe));
    }
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
        let (own, others) = (Own::make().unwrap(), Own::make().unwrap());
        let (mut one, mut other) = (turn::Config::default(), turn::Config::default());
        own.fill(&mut one);
        others.fill(&mut other);
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
        let mut again = turn::Config::default();
        own.fill(&mut again);
        assert!(verified(&again), "a reload keeps the secret");
        others.fill(&mut one);
        assert!(verified(&one), "a ring that is there stays");
    }
}
