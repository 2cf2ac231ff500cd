//! `<unix expiry>:<user>`, the username of a time-limited credential. Those that the hub hands out say in the user which session they
//! belong to: `<unix expiry>:<session>~<user>`. Those that an API key fetched can say in the same place which key that was:
//! `<unix expiry>:<key>!<user>`.

use super::{UnixTime, is_realm_name};

/// Longest USERNAME attribute: "fewer than 509 bytes" (RFC 8489 §14.3).
pub const MAX_USERNAME_BYTES: usize = 508;

/// Between the expiry and the user, as coturn's default `rest-api-separator`.
pub const SEPARATOR: char = ':';

/// Between a session of the hub and its user.
const SESSION_SEPARATOR: char = '~';
/// Length of a session id.
const SESSION_BYTES: usize = 16;

/// The user part of a credential that belongs to a session of the hub: 16 characters of base64url, `~`, the user.
pub fn of_session(session: &str, user: &str) -> String {
    format!("{session}{SESSION_SEPARATOR}{user}")
}

/// The session and the user behind it, where the user part of a username has both.
fn split_session(user: &str) -> Option<(&str, &str)> {
    let (session, account) = user.split_once(SESSION_SEPARATOR)?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let fits = session.len() == SESSION_BYTES && session.bytes().all(plain) && !account.is_empty();
    fits.then_some((session, account))
}

/// Between an API key and the user whom it fetched a credential for. No label that a client may choose has it.
const KEY_SEPARATOR: char = '!';

/// In place of the name of a key that an operator made while the process ran: those have none in the configuration.
pub const MADE_KEY: &str = "(made)";

/// The user part of a credential that a key fetched: the name of the key, `!`, the user.
pub fn of_key(key: &str, user: &str) -> String {
    format!("{key}{KEY_SEPARATOR}{user}")
}

/// The key and the user behind it, where the user part of a username has both.
fn split_key(user: &str) -> Option<(&str, &str)> {
    let (key, account) = user.split_once(KEY_SEPARATOR)?;
    let fits = (is_realm_name(key) || key == MADE_KEY) && !account.is_empty();
    fits.then_some((key, account))
}

/// Whether a user part says which key fetched it. Nobody else may be called so: what they do would count as that key's.
pub fn names_key(user: &str) -> bool {
    split_session(user).is_none() && split_key(user).is_some()
}

/// User of the credentials by which this server probes relays. Nobody is given a credential for it, so what it does is ours.
pub const PROBE_USER: &str = "meetpoint-probe";

/// The user of the probes of one process, which nobody else can know.
pub fn probe_user(token: &str) -> String {
    format!("{PROBE_USER}{PROBE_SEPARATOR}{token}")
}

/// Between that user and what no other process knows.
const PROBE_SEPARATOR: char = '.';

/// Whether a user part is that of a probe, in whatever realm and session.
pub fn is_probe(user: &str) -> bool {
    let account = split_session(user).map_or(user, |(_, account)| account);
    let rest = account.strip_prefix(PROBE_USER);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with([super::realm::AT, PROBE_SEPARATOR]))
}

/// Whether a user part says that it belongs to a session of the hub. The hub alone hands such names out: whoever else may choose
/// theirs could have what they do counted, and ended, as another user's.
pub fn names_session(user: &str) -> bool {
    split_session(user).is_some()
}

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

    /// The session of the hub that the credential was handed out to, if it says so.
    pub fn session(&self) -> Option<&'a str> {
        split_session(self.user).map(|(session, _)| session)
    }

    /// The API key that fetched the credential, if it says so.
    pub fn key(&self) -> Option<&'a str> {
        let of_key = split_key(self.user).filter(|_| self.session().is_none());
        of_key.map(|(key, _)| key)
    }

    /// The user without the session or the key.
    pub fn account(&self) -> &'a str {
        let split = split_session(self.user).or_else(|| split_key(self.user));
        split.map_or(self.user, |(_, account)| account)
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
    fn a_session_stands_before_its_user_and_only_16_characters_are_one() {
        let of = |user: &str| {
            let text = format!("1:{user}");
            let username = Username::parse(&text).unwrap();
            (username.session().map(str::to_owned), username.account().to_owned())
        };
        let sid = "mJ7rTq0c2nLx-b_A";
        for user in ["alice", "@alice:matrix.example", "a~b", sid, "alice@acme"] {
            assert_eq!(of(&of_session(sid, user)), (Some(sid.to_owned()), user.to_owned()));
        }
        for user in [
            "alice",
            "mJ7rTq0c2nLx-b_A",
            "mJ7rTq0c2nLx-b_A~",
            "short~alice",
            "mJ7rTq0c2nLx-b+A~alice",
            "~alice",
        ] {
            assert_eq!(of(user), (None, user.to_owned()));
        }
    }

    #[test]
    fn a_key_stands_before_its_user_and_never_behind_a_session() {
        let of = |user: &str| {
            let text = format!("1:{user}");
            let username = Username::parse(&text).unwrap();
            (username.key().map(str::to_owned), username.account().to_owned())
        };
        for key in ["shop", "0-a.b_c", MADE_KEY] {
            for user in ["alice", "alice@acme", "a!b", "mJ7rTq0c2nLx-b_A"] {
                assert_eq!(of(&of_key(key, user)), (Some(key.to_owned()), user.to_owned()));
                assert!(names_key(&of_key(key, user)));
            }
        }
        for user in ["alice", "!alice", "shop!", "Shop!alice", "default!alice", "sh op!alice"] {
            assert_eq!(of(user), (None, user.to_owned()));
            assert!(!names_key(user));
        }
        let of_hub = of_session("mJ7rTq0c2nLx-b_A", "shop!mallory");
        assert_eq!(of(&of_hub), (None, "shop!mallory".to_owned()));
        assert!(!names_key(&of_hub));
    }

    #[test]
    fn the_user_of_probes_is_known_in_every_realm_and_session_and_nobody_else_is_taken_for_it() {
        for user in [
            "meetpoint-probe",
            "meetpoint-probe@acme",
            &probe_user("00ff"),
            &format!("{}@acme", probe_user("00ff")),
            "mJ7rTq0c2nLx-b_A~meetpoint-probe",
            "mJ7rTq0c2nLx-b_A~meetpoint-probe@acme",
        ] {
            assert!(is_probe(user), "{user}");
        }
        for user in [
            "",
            "alice",
            "meetpoint-probes",
            "a~meetpoint-probe",
            "Meetpoint-Probe",
            "alice@meetpoint-probe",
        ] {
            assert!(!is_probe(user), "{user}");
        }
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
