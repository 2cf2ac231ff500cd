//! `<user>@<realm>`: how a username says whose it is.
//!
//! A challenge goes out before the server knows who asks, so the REALM in it cannot tell tenants apart; the username can. What
//! stands behind its last `@` is the realm, if a realm of that name is configured; else the `@` is a part of the name like any
//! other, as in `@bob:matrix.example`.

/// Longest name of a realm.
pub const MAX_REALM_NAME_BYTES: usize = 63;

/// What everybody belongs to whose username names no realm. Can be the name of no other.
pub const DEFAULT_REALM: &str = "default";

/// Between the user and the realm.
pub(super) const AT: char = '@';

/// Whether a realm may have this name: 1 to 63 lower-case letters, digits, `-`, `_` and `.`, with a letter or digit first. One
/// realm has one spelling, so that nothing which compares names can be got around.
pub fn is_realm_name(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    (1..=MAX_REALM_NAME_BYTES).contains(&text.len())
        && text.bytes().next().is_some_and(plain)
        && text.bytes().all(|byte| plain(byte) || b"-_.".contains(&byte))
        && text != DEFAULT_REALM
}

/// What a username names as its realm, configured or not. `None` where nothing is behind an `@` that could be one.
pub fn named_realm(username: &str) -> Option<&str> {
    let (_, realm) = username.rsplit_once(AT)?;
    is_realm_name(realm).then_some(realm)
}

/// The user as it stands in a username of that realm.
pub fn in_realm(user: &str, realm: &str) -> String {
    format!("{user}{AT}{realm}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_realm_is_behind_the_last_at() {
        for (username, realm) in [
            ("1700000000:alice@acme", Some("acme")),
            ("1700000000:@acme", Some("acme")),
            ("carol@acme", Some("acme")),
            ("a@b@acme", Some("acme")),
            ("alice@example.org", Some("example.org")),
            ("1700000000:alice", None),
            ("alice@", None),
            ("@bob:matrix.example", None),
            ("alice@Acme", None),
            ("alice@acme ", None),
            ("alice@default", None),
            ("", None),
        ] {
            assert_eq!(named_realm(username), realm, "{username}");
        }
        assert_eq!(named_realm(&in_realm("a@b", "acme")), Some("acme"));
    }

    #[test]
    fn a_name_has_63_plain_characters_and_no_more() {
        let longest = "a".repeat(MAX_REALM_NAME_BYTES);
        for good in ["a", "9", "acme", "acme-eu_1", "turn.acme.example", &longest] {
            assert!(is_realm_name(good), "{good}");
        }
        for bad in [
            "",
            "-a",
            ".a",
            "_a",
            "A",
            "a b",
            "ü",
            "a@b",
            "a:b",
            "default",
            &format!("{longest}a"),
        ] {
            assert!(!is_realm_name(bad), "{bad}");
        }
    }
}
