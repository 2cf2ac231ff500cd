//! `<unix expiry>:<user>`, the username of a time-limited credential.

use super::UnixTime;

/// Longest USERNAME attribute: "fewer than 509 bytes" (RFC 8489 §14.3).
pub const MAX_USERNAME_BYTES: usize = 508;

/// Between the expiry and the user, as coturn's default `rest-api-separator`.
pub const SEPARATOR: char = ':';

/// A username that has the form of this scheme. Says nothing about its password: see [`super::KeyRing::passwords`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Username<'a> {
    text: &'a str,
    user: &'a str,
    expires_at: UnixTime,
}

/// Why a username is not one of this scheme.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UsernameError {
    /// Longer than [`MAX_USERNAME_BYTES`].
    #[error("username longer than {MAX_USERNAME_BYTES} bytes")]
    TooLong,
    /// What stands before the first `:` is not a decimal number without sign or leading zero.
    #[error("username does not begin with a decimal expiry")]
    NotAnExpiry,
    /// The number does not fit into 64 bits.
    #[error("username's expiry is out of range")]
    OutOfRange,
}

impl<'a> Username<'a> {
    /// Parses `<expiry>:<user>` or a bare `<expiry>` (which coturn takes too). The user may contain further colons.
    ///
    /// One credential has one spelling: signs, leading zeros and blanks are refused, so that nobody multiplies a quota
    /// by writing the same expiry in several ways. coturn's other order, `<user>:<expiry>`, is refused for that reason.
    pub fn parse(text: &'a str) -> Result<Self, UsernameError> {
        if text.len() > MAX_USERNAME_BYTES {
            return Err(UsernameError::TooLong);
        }
        let (expiry, user) = text.split_once(SEPARATOR).unwrap_or((text, ""));
        let canonical = !expiry.is_empty()
            && expiry.bytes().all(|byte| byte.is_ascii_digit())
            && (expiry.len() == 1 || !expiry.starts_with('0'));
        if !canonical {
            return Err(UsernameError::NotAnExpiry);
        }
        let expires_at = expiry.parse().map(UnixTime).map_err(|_| UsernameError::OutOfRange)?;
        Ok(Self { text, user, expires_at })
    }

    /// The username as it came, which is what the password is computed over.
    pub const fn as_str(&self) -> &'a str {
        self.text
    }

    /// The part after the first colon, empty for a bare expiry. Quotas count by this part, where there is one: a fresh
    /// expiry must not be a fresh quota.
    pub const fn user(&self) -> &'a str {
        self.user
    }

    /// Last second in which the credential opens a new allocation.
    pub const fn expires_at(&self) -> UnixTime {
        self.expires_at
    }

    /// Whether `now` is past the expiry. Judged at Allocate only: an expired credential never cuts a living relay.
    pub const fn is_expired(&self, now: UnixTime) -> bool {
        now.0 > self.expires_at.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_user_is_everything_after_the_first_colon() {
        let username = Username::parse("1700000000:@alice:matrix.example").unwrap();
        assert_eq!(username.expires_at(), UnixTime(1_700_000_000));
        assert_eq!(username.user(), "@alice:matrix.example");
        assert_eq!(username.as_str(), "1700000000:@alice:matrix.example");
    }

    #[test]
    fn a_bare_expiry_and_an_empty_user_are_both_the_nameless_user() {
        assert_eq!(Username::parse("1700000000").unwrap().user(), "");
        assert_eq!(Username::parse("1700000000:").unwrap().user(), "");
    }

    #[test]
    fn anything_but_plain_digits_is_not_an_expiry() {
        for text in [
            "",
            ":",
            ":alice",
            "alice",
            "alice:1700000000",
            "+1:a",
            "-1:a",
            " 1:a",
            "1 :a",
            "1.0:a",
            "0x1:a",
            "01:a",
            "١:a",
        ] {
            assert_eq!(Username::parse(text), Err(UsernameError::NotAnExpiry), "{text:?}");
        }
    }

    #[test]
    fn the_expiry_reaches_the_end_of_64_bits_and_not_further() {
        assert_eq!(
            Username::parse("18446744073709551615:a").unwrap().expires_at(),
            UnixTime(u64::MAX)
        );
        assert_eq!(
            Username::parse("18446744073709551616:a"),
            Err(UsernameError::OutOfRange)
        );
        assert_eq!(Username::parse("0:a").unwrap().expires_at(), UnixTime(0));
    }

    #[test]
    fn a_username_may_have_508_bytes_and_no_more() {
        let longest = format!("1:{}", "a".repeat(MAX_USERNAME_BYTES - 2));
        assert!(Username::parse(&longest).is_ok());
        assert_eq!(Username::parse(&format!("{longest}a")), Err(UsernameError::TooLong));
    }

    #[test]
    fn the_second_of_the_expiry_still_counts() {
        let username = Username::parse("100:a").unwrap();
        assert!(!username.is_expired(UnixTime(100)));
        assert!(username.is_expired(UnixTime(101)));
    }
}
