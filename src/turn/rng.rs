//! Randomness out of one seed: HMAC-SHA256 over a counter.
//!
//! Ports and tokens must not be guessable from those seen before (CVE-2025-69217), so nothing weaker will do; and the same
//! seed gives the same run, which tests and simulations live on.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// A deterministic random bit generator.
pub(super) struct Drbg {
    mac: Hmac<Sha256>,
    counter: u64,
    block: [u8; 32],
    used: usize,
}

impl Drbg {
    /// From 32 secret random bytes.
    pub(super) fn new(seed: [u8; 32]) -> Self {
        let mut key = [0; 64];
        key[..32].copy_from_slice(&seed);
        Self {
            mac: Hmac::new(&key.into()),
            counter: 0,
            block: [0; 32],
            used: 32,
        }
    }

    /// The next `N` bytes.
    pub(super) fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut out = [0; N];
        for byte in &mut out {
            if self.used == self.block.len() {
                self.counter += 1;
                self.block = self
                    .mac
                    .clone()
                    .chain_update(self.counter.to_be_bytes())
                    .finalize()
                    .into_bytes()
                    .into();
                self.used = 0;
            }
            *byte = self.block[self.used];
            // What was handed out is not kept.
            self.block[self.used] = 0;
            self.used += 1;
        }
        out
    }

    /// A number in `0..bound`, each equally likely; 0 for a bound of 0.
    pub(super) fn below(&mut self, bound: u32) -> u32 {
        if bound == 0 {
            return 0;
        }
        // Rejecting the incomplete last round keeps the choice even; fewer than one in two draws is rejected.
        let limit = u32::MAX - u32::MAX % bound;
        loop {
            let drawn = u32::from_be_bytes(self.bytes());
            if drawn < limit {
                return drawn % bound;
            }
        }
    }
}

impl fmt::Debug for Drbg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Drbg([redacted])")
    }
}

/// Transaction ids of Data indications: unlike each other, cheap, and no secret (nobody answers an indication).
#[derive(Debug)]
pub(super) struct IndicationIds(u64);

impl IndicationIds {
    pub(super) const fn new(start: u64) -> Self {
        Self(start)
    }

    /// The next id.
    #[inline]
    pub(super) const fn next(&mut self) -> [u8; 12] {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        // The finalizer of SplitMix64: a bijection, so ids repeat after 2^64 indications.
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^= z >> 31;
        let [a, b, c, d, e, f, g, h] = z.to_be_bytes();
        let [i, j, k, l] = ((self.0 >> 32) as u32).to_be_bytes();
        [a, b, c, d, e, f, g, h, i, j, k, l]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_bytes_and_another_seed_others() {
        let draw = |seed: u8| Drbg::new([seed; 32]).bytes::<100>();
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        let mut drbg = Drbg::new([1; 32]);
        let parts = [drbg.bytes::<50>(), drbg.bytes::<50>()].concat();
        assert_eq!(parts, draw(1));
    }

    #[test]
    fn every_number_below_the_bound_comes_about_equally_often() {
        let mut drbg = Drbg::new([3; 32]);
        let mut seen = [0_u32; 7];
        for _ in 0..7000 {
            seen[drbg.below(7) as usize] += 1;
        }
        assert!(seen.iter().all(|count| (850..1150).contains(count)), "{seen:?}");
        assert_eq!(drbg.below(1), 0);
        assert_eq!(drbg.below(0), 0);
    }

    #[test]
    fn indication_ids_differ() {
        let mut ids = IndicationIds::new(0);
        let drawn: std::collections::HashSet<_> = (0..10_000).map(|_| ids.next()).collect();
        assert_eq!(drawn.len(), 10_000);
    }
}
