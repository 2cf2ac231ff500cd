//! Tokens that a key has verified: a page shows the same one again and again, and a digest costs a fraction of a signature.
//!
//! What it is: a table of fixed size, from a token's digest to whom it lets in. What it is not: a judge. It knows tokens that were verified
//! by the keys that still hold: it belongs to one set of rules, goes with them at a reload, and forgets all at once when the issuer's set
//! becomes another one. A token that was turned away is never in it, and one whose time is over, or whose time has not come by a clock
//! that was set back, is judged like any other.
//!
//! Set-associative, as the table of rates: a digest has one of [`WAYS`] places in the set that a hash names, and the one that was shown
//! last stays longest. The hash has a key of its own, so that nobody can aim at another's place. Only holders of good tokens fill it.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Mutex, PoisonError};

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::ws::Identity;

/// Tokens that are known at once.
pub(super) const PLACES: usize = 4_096;
/// Places of a set.
const WAYS: usize = 4;
const SETS: usize = PLACES / WAYS;
/// Longest token that is: what it says is kept, and no more than this of each.
pub(super) const MAX_KNOWN_BYTES: usize = 2_048;

/// What is kept of a token. It could not be shown again.
#[derive(Clone, Copy)]
pub(super) struct Digest([u8; 32]);

impl Digest {
    /// `None` for what is too long to be known.
    pub(super) fn of(token: &str) -> Option<Self> {
        (token.len() <= MAX_KNOWN_BYTES).then(|| Self(Sha256::digest(token).into()))
    }
}

/// When, and by which keys.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    /// Milliseconds since the Unix epoch.
    pub(super) unix_ms: u64,
    /// Which of the issuer's sets holds, counted.
    pub(super) key_set: u64,
}

struct Known {
    digest: Digest,
    /// When it was verified.
    since: Moment,
    /// As of [`Identity::expires_at_ms`].
    ends_ms: u64,
    identity: Box<Identity>,
}

impl Known {
    fn holds(&self, now: Moment) -> bool {
        self.since.key_set == now.key_set && (self.since.unix_ms..self.ends_ms).contains(&now.unix_ms)
    }
}

/// The one that was shown last comes first.
type Set = [Option<Known>; WAYS];

pub(super) struct Verified {
    sets: Box<[Mutex<Set>]>,
    hasher: RandomState,
}

impl Verified {
    pub(super) fn new() -> Self {
        Self {
            sets: (0..SETS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
        }
    }

    /// Whom the token lets in, if that is known.
    pub(super) fn find(&self, digest: Digest, now: Moment) -> Option<Identity> {
        self.in_set(digest, |set| {
            let at = set.iter().position(|place| is(place, digest))?;
            set[..=at].rotate_right(1);
            let known = set[0].take_if(|known| !known.holds(now));
            drop(known);
            set[0].as_ref().map(|known| (*known.identity).clone())
        })
    }

    /// Remembers a token that was verified. Says whether another one was forgotten for it whose time was not over.
    pub(super) fn remember(&self, digest: Digest, now: Moment, identity: &Identity) -> bool {
        // Without an end it is none of ours.
        let Some(ends_ms) = identity.expires_at_ms else {
            return false;
        };
        let known = Known {
            digest,
            since: now,
            ends_ms,
            identity: Box::new(identity.clone()),
        };
        if !known.holds(now) {
            return false;
        }
        self.in_set(digest, |set| {
            let free = |place: &Option<Known>| place.as_ref().is_none_or(|known| !known.holds(now));
            let same = set.iter().position(|place| is(place, digest));
            let at = same.or_else(|| set.iter().position(free)).unwrap_or(WAYS - 1);
            let evicted = same.is_none() && !free(&set[at]);
            set[at] = Some(known);
            set[..=at].rotate_right(1);
            evicted
        })
    }

    fn in_set<T>(&self, digest: Digest, what: impl FnOnce(&mut Set) -> T) -> T {
        let place = self.hasher.hash_one(digest.0) as usize % self.sets.len();
        // A panic in between leaves tokens that were verified.
        what(&mut self.sets[place].lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn is(place: &Option<Known>, digest: Digest) -> bool {
    place
        .as_ref()
        .is_some_and(|known| known.digest.0.ct_eq(&digest.0).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Moment = Moment {
        unix_ms: 1_700_000_000_000,
        key_set: 3,
    };

    fn digest(token: &str) -> Digest {
        Digest::of(token).unwrap()
    }

    fn identity(user: &str, lives_ms: u64) -> Identity {
        Identity {
            user: Some(user.into()),
            expires_at_ms: Some(NOW.unix_ms + lives_ms),
            ..Identity::ANONYMOUS
        }
    }

    fn later(ms: u64) -> Moment {
        Moment {
            unix_ms: NOW.unix_ms + ms,
            ..NOW
        }
    }

    #[test]
    fn a_token_is_known_until_the_millisecond_of_its_end_and_never_again() {
        let verified = Verified::new();
        let (token, alice) = (digest("alice's"), identity("alice", 1_000));
        assert_eq!(verified.find(token, NOW), None);
        assert!(!verified.remember(token, NOW, &alice));
        assert_eq!(verified.find(token, later(999)), Some(alice.clone()));
        assert_eq!(verified.find(digest("alice'S"), NOW), None);
        assert_eq!(verified.find(token, later(1_000)), None);
        assert_eq!(
            verified.find(token, NOW),
            None,
            "a clock that goes back brings nobody back"
        );
        verified.remember(token, later(1_000), &alice);
        assert_eq!(verified.find(token, NOW), None, "its time is over");
    }

    #[test]
    fn a_clock_that_was_set_back_has_every_token_judged_again() {
        let verified = Verified::new();
        let (token, alice) = (digest("alice's"), identity("alice", 1_000));
        verified.remember(token, NOW, &alice);
        let before = Moment {
            unix_ms: NOW.unix_ms - 1,
            ..NOW
        };
        // It may not be good yet (`nbf`).
        assert_eq!(verified.find(token, before), None);
    }

    #[test]
    fn another_set_of_keys_knows_no_token_of_the_one_before() {
        let verified = Verified::new();
        let (token, alice) = (digest("alice's"), identity("alice", 1_000));
        verified.remember(token, NOW, &alice);
        let newer = Moment { key_set: 4, ..NOW };
        assert_eq!(verified.find(token, newer), None);
        verified.remember(token, newer, &alice);
        assert_eq!(verified.find(token, newer), Some(alice));
    }

    #[test]
    fn a_full_table_stays_as_large_and_forgets_the_token_of_its_set_that_was_not_shown_for_longest() {
        // All in one set, so that its bound is met.
        let verified = Verified {
            sets: Box::new([Mutex::default()]),
            ..Verified::new()
        };
        let token = |at: usize| digest(&format!("token {at}"));
        for at in 0..WAYS {
            assert!(!verified.remember(token(at), NOW, &identity("u", 1_000)), "{at}");
        }
        assert!(verified.find(token(0), NOW).is_some());
        assert!(verified.remember(token(WAYS), NOW, &identity("u", 1_000)));
        assert!(verified.find(token(1), NOW).is_none() && verified.find(token(0), NOW).is_some());
        assert!(verified.sets[0].lock().unwrap().iter().all(Option::is_some));
        // Those whose time is over are in nobody's way.
        assert!(!verified.remember(token(1), later(1_000), &identity("u", 2_000)));
    }

    #[test]
    fn a_token_of_2048_bytes_is_known_and_a_longer_one_is_not() {
        let longest = "t".repeat(MAX_KNOWN_BYTES);
        assert!(Digest::of(&longest).is_some() && Digest::of(&format!("{longest}t")).is_none());
    }
}
