//! Some of many, by their weights, and the same ones for the same key.
//!
//! Weighted rendezvous hashing: every candidate draws a number from its name and the key, the best ones are taken. Who asks again
//! gets the same servers, the two ends of a room get the same ones, replicas agree without a word, and a server that goes takes
//! nobody's choice along but that of its own clients.

/// What a choice goes by: the room, or else the user. FNV-1a, so that it is the same in every process and every version.
pub(super) fn key(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// The number that a candidate draws; the smallest wins. Twice the weight is twice the chance.
pub(super) fn draw(key: u64, name: u64, weight: u32) -> f64 {
    // 53 bits of it, between 0 and 1, neither of them reached.
    let even = ((mixed(key ^ mixed(name)) >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
    -even.ln() / f64::from(weight.max(1))
}

/// Every bit of the outcome depends on every bit of `bits` (the finalizer of SplitMix64).
const fn mixed(bits: u64) -> u64 {
    let bits = bits.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen<'a>(user: &str, servers: &[(&'a str, u32)]) -> &'a str {
        let drawn = |(name, weight): &(&str, u32)| draw(key(user), key(name), *weight);
        let best = servers.iter().min_by(|a, b| drawn(a).total_cmp(&drawn(b)));
        best.unwrap().0
    }

    #[test]
    fn clients_are_spread_by_weight() {
        let servers = [("fra", 3), ("ams", 1)];
        let many = 20_000;
        let fra = (0..many)
            .filter(|user| chosen(&format!("user-{user}"), &servers) == "fra")
            .count();
        let share = fra as f64 / f64::from(many);
        assert!((0.735..0.765).contains(&share), "{share}");
    }

    #[test]
    fn a_server_that_goes_moves_its_own_clients_alone() {
        let all = [("fra", 1), ("ams", 1), ("lon", 1)];
        for user in 0..1_000 {
            let user = format!("user-{user}");
            let before = chosen(&user, &all);
            if before != "lon" {
                assert_eq!(chosen(&user, &all[..2]), before);
            }
        }
    }

    /// Replicas of different versions must agree.
    #[test]
    fn what_is_drawn_does_not_change_with_the_version() {
        assert_eq!(key("fra"), 0xdc8d_8718_feba_d7d0);
        assert_eq!(mixed(0), 0xe220_a839_7b1d_cdaf);
    }
}
