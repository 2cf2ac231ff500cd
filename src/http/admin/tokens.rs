//! Who is an operator, and by which name.

use std::sync::Arc;

use arc_swap::ArcSwap;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConditionallySelectable as _, ConstantTimeEq};

/// Shortest token behind a name.
const MIN_TOKEN_BYTES: usize = 32;
/// Longest name.
const MAX_NAME_BYTES: usize = 32;

/// Tokens of operators, kept as digests: comparing those takes the same time whatever the token. Clones share.
///
/// A token may be written `name=token`; one without a name is called by its place, `token 1` for the first.
#[derive(Clone, Default)]
pub struct Tokens(Arc<ArcSwap<Vec<Known>>>);

struct Known {
    digest: [u8; 32],
    name: Box<str>,
}

impl Tokens {
    /// Lets the holders of these in from now on, and nobody else. None: the API is off.
    pub fn replace<'a>(&self, tokens: impl IntoIterator<Item = &'a str>) {
        let known = tokens.into_iter().enumerate().map(|(at, written)| {
            let (name, token) = named(written).map_or_else(
                || (format!("token {}", at + 1), written),
                |(name, token)| (name.to_owned(), token),
            );
            Known {
                digest: Sha256::digest(token).into(),
                name: name.into(),
            }
        });
        self.0.store(Arc::new(known.collect()));
    }

    pub(in crate::http) fn is_off(&self) -> bool {
        self.0.load().is_empty()
    }

    /// The name of a token that opens.
    pub(in crate::http) fn name_of(&self, token: &str) -> Option<Box<str>> {
        let digest: [u8; 32] = Sha256::digest(token).into();
        let tokens = self.0.load();
        let (mut any, mut place) = (Choice::from(0), 0_u32);
        for (at, known) in tokens.iter().enumerate() {
            let same = known.digest.ct_eq(&digest);
            any |= same;
            place.conditional_assign(&(at as u32), same);
        }
        let known = tokens.get(place as usize).filter(|_| any.into())?;
        Some(known.name.clone())
    }
}

/// Name and token, if that is what is written. Tokens of the usual alphabets have a `=` at their end at most.
fn named(written: &str) -> Option<(&str, &str)> {
    let (name, token) = written.split_once('=')?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let is_name = (1..=MAX_NAME_BYTES).contains(&name.len()) && name.bytes().all(plain);
    (is_name && token.len() >= MIN_TOKEN_BYTES).then_some((name, token))
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tokens([redacted])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_token_that_is_configured_opens() {
        let tokens = Tokens::default();
        assert!(tokens.is_off() && tokens.name_of("").is_none());
        tokens.replace(["first token", "second token"]);
        assert_eq!(tokens.name_of("first token").as_deref(), Some("token 1"));
        assert_eq!(tokens.name_of("second token").as_deref(), Some("token 2"));
        for wrong in ["first toke", "", "third token"] {
            assert_eq!(tokens.name_of(wrong), None, "{wrong}");
        }
        tokens.replace([]);
        assert!(tokens.is_off() && tokens.name_of("first token").is_none());
        assert_eq!(format!("{tokens:?}"), "Tokens([redacted])");
    }

    #[test]
    fn a_token_may_have_a_name_which_does_not_open() {
        let token = "0123456789abcdef0123456789abcdef";
        let tokens = Tokens::default();
        let written = format!("alice.ops={token}");
        tokens.replace([written.as_str(), "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYg==", "a=short"]);
        assert_eq!(tokens.name_of(token).as_deref(), Some("alice.ops"));
        assert_eq!(tokens.name_of(&written), None);
        assert_eq!(
            tokens.name_of("MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYg==").as_deref(),
            Some("token 2")
        );
        assert_eq!(tokens.name_of("a=short").as_deref(), Some("token 3"));
    }
}
