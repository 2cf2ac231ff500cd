//! Access tokens of other servers as credentials of the relay.

use super::{minutes, seconds};
use crate::config::types::TokenKey;
use crate::config::value::{Between, Must};
use crate::credentials::access_token::MAX_KIDS;
use std::time::Duration;

section! {
    /// Third-party authorization (RFC 7635): an authorization server seals an access token for this relay, and the client brings
    /// it in place of a password. Beside `[credentials]`, not instead of them.
    ThirdParty as "third_party" {
        /// The name of this relay: what authorization servers seal tokens for, and what every 401 says in
        /// THIRD-PARTY-AUTHORIZATION. Without it no token is taken.
        ///
        /// Every 401 carries it, so a long one makes a better amplifier.
        server_name: Option<String> = None,
            Must("1 to 127 characters without control characters", |name: &Option<String>| name.as_ref().is_none_or(|name| is_server_name(name)));
        /// The keys shared with authorization servers as `"kid:key"`, at most 32. The kid is what clients send as USERNAME; the
        /// key is base64 of 32 bytes (AES-256-GCM) or 16 (AES-128-GCM).
        ///
        /// To rotate: add the new one, let the authorization server seal with it, remove the old one when its last token has
        /// ended. What a token opened lives on until the token ends.
        keys: Vec<TokenKey> = Vec::new(), Must("at most 32 keys, each with a kid of its own", |keys: &Vec<TokenKey>| is_a_ring(keys));
        /// How far ahead of this machine's clock the clock of an authorization server may be. A token from further ahead is
        /// refused, since it would outlive what was meant.
        clock_skew: Duration = seconds(5), Between(Duration::ZERO, minutes(10));
    }
}

fn is_server_name(name: &str) -> bool {
    (1..=127).contains(&name.chars().count()) && !name.contains(char::is_control)
}

fn is_a_ring(keys: &[TokenKey]) -> bool {
    let mut kids: Vec<_> = keys.iter().map(|key| key.0.kid()).collect();
    kids.sort_unstable();
    keys.len() <= MAX_KIDS && kids.windows(2).all(|pair| pair[0] != pair[1])
}
