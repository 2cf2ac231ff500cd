//! Users and usernames that are turned away before their credentials end.
//!
//! Asked at Allocate and at Refresh, never on the way of a relayed packet.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::credentials::{UnixTime, Username};

/// Most entries. A revocation that would be one more is refused: to forget one would let somebody in again.
pub const MAX_REVOCATIONS: usize = 65_536;

/// Who is turned away.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Revoked {
    /// Everybody who comes as this user, with whatever expiry.
    User(Box<str>),
    /// The holder of one credential.
    Username(Box<str>),
    /// Whoever holds a credential that a session of the hub was given.
    Session(Box<str>),
}

/// No room for one more.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{MAX_REVOCATIONS} revocations are in force already")]
pub struct RevocationsFull;

/// The revocations of a process. Clones share.
#[derive(Clone, Debug, Default)]
pub struct Revocations(Arc<Mutex<BTreeMap<Revoked, UnixTime>>>);

impl Revocations {
    /// Turns `who` away until `until`. A later call for the same replaces the time, also by an earlier one.
    ///
    /// # Errors
    /// When the table is full of revocations that are in force.
    pub fn insert(&self, now: UnixTime, who: Revoked, until: UnixTime) -> Result<(), RevocationsFull> {
        let mut entries = self.entries();
        if entries.len() >= MAX_REVOCATIONS && !entries.contains_key(&who) {
            entries.retain(|_, until| *until > now);
            if entries.len() >= MAX_REVOCATIONS {
                return Err(RevocationsFull);
            }
        }
        entries.insert(who, until);
        Ok(())
    }

    /// Lets `who` in again; `false` if no revocation of exactly that was in force.
    pub fn lift(&self, now: UnixTime, who: &Revoked) -> bool {
        self.entries().remove(who).is_some_and(|until| until > now)
    }

    /// Those in force, in a fixed order: at most `most` of those behind `after`, and whether there are more.
    pub fn page(&self, now: UnixTime, after: Option<&Revoked>, most: usize) -> (Vec<(Revoked, UnixTime)>, bool) {
        let entries = self.entries();
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut in_force = entries
            .range::<Revoked, _>((from, Bound::Unbounded))
            .filter(|(_, until)| **until > now)
            .map(|(who, until)| (who.clone(), *until));
        let page = in_force.by_ref().take(most).collect();
        (page, in_force.next().is_some())
    }

    /// Whether a client is turned away now.
    pub fn contains(&self, now: UnixTime, username: &str, user: &str) -> bool {
        let entries = self.entries();
        if entries.is_empty() {
            return false;
        }
        let holds = |who| entries.get(&who).is_some_and(|until| now < *until);
        let named = Username::parse(username).ok();
        let session = named.and_then(|named| named.session());
        holds(Revoked::User(user.into()))
            || holds(Revoked::Username(username.into()))
            || named.is_some_and(|named| holds(Revoked::User(named.account().into())))
            || session.is_some_and(|session| holds(Revoked::Session(session.into())))
    }

    fn entries(&self) -> MutexGuard<'_, BTreeMap<Revoked, UnixTime>> {
        // An insertion leaves a whole map behind, whatever happens to the thread afterwards.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime(1000);

    #[test]
    fn a_user_or_one_credential_is_turned_away_until_its_time() {
        let revocations = Revocations::default();
        assert!(!revocations.contains(NOW, "2000:alice", "alice"));
        let insert = |who, until| revocations.insert(NOW, who, UnixTime(until)).unwrap();
        insert(Revoked::User("alice".into()), 1500);
        insert(Revoked::Username("2000:bob".into()), 1500);
        let contains = |now, username, user| revocations.contains(UnixTime(now), username, user);
        assert!(contains(1499, "2000:alice", "alice") && contains(1499, "9000:alice", "alice"));
        assert!(contains(1499, "2000:bob", "bob") && !contains(1499, "2001:bob", "bob"));
        assert!(!contains(1500, "2000:alice", "alice") && !contains(1500, "2000:bob", "bob"));
    }

    #[test]
    fn a_session_is_turned_away_with_whatever_credential_it_was_given_and_others_of_its_user_are_not() {
        let revocations = Revocations::default();
        let session = Revoked::Session("mJ7rTq0c2nLxWb5A".into());
        revocations.insert(NOW, session, UnixTime(1500)).unwrap();
        let contains = |username| revocations.contains(NOW, username, "alice");
        assert!(contains("2000:mJ7rTq0c2nLxWb5A~alice") && contains("3000:mJ7rTq0c2nLxWb5A~alice@acme"));
        assert!(!contains("2000:AJ7rTq0c2nLxWb5A~alice") && !contains("2000:alice"));
        revocations
            .insert(NOW, Revoked::User("bob".into()), UnixTime(1500))
            .unwrap();
        let username = "2000:mJ7rTq0c2nLxWb5B~bob";
        assert!(
            revocations.contains(NOW, username, "mJ7rTq0c2nLxWb5B~bob"),
            "counted by session"
        );
    }

    #[test]
    fn a_revocation_that_is_lifted_lets_in_at_once_and_only_its_own() {
        let revocations = Revocations::default();
        let (alice, bob) = (Revoked::User("alice".into()), Revoked::Username("2000:bob".into()));
        for who in [&alice, &bob] {
            revocations.insert(NOW, who.clone(), UnixTime(1500)).unwrap();
        }
        assert!(!revocations.lift(NOW, &Revoked::Username("alice".into())));
        assert!(revocations.lift(NOW, &alice) && !revocations.lift(NOW, &alice));
        assert!(!revocations.contains(NOW, "2000:alice", "alice"));
        assert!(revocations.contains(NOW, "2000:bob", "bob"));
        assert!(!revocations.lift(UnixTime(1500), &bob), "it was over by itself");
    }

    #[test]
    fn those_in_force_are_listed_page_by_page_and_those_that_are_over_are_not() {
        let revocations = Revocations::default();
        for at in 0..10_u64 {
            let who = Revoked::User(format!("user{at}").into());
            revocations.insert(NOW, who, UnixTime(1001 + at % 2)).unwrap();
        }
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let (page, more) = revocations.page(UnixTime(1001), after.as_ref(), 2);
            assert!(page.len() <= 2);
            after = page.last().map(|(who, _)| who.clone());
            seen.extend(page);
            if !more {
                break;
            }
        }
        let expected = [1, 3, 5, 7, 9].map(|at| (Revoked::User(format!("user{at}").into()), UnixTime(1002)));
        assert_eq!(seen, expected);
        assert_eq!(revocations.page(UnixTime(2000), None, 9), (Vec::new(), false));
    }

    #[test]
    fn a_full_table_refuses_until_something_in_it_is_over() {
        let revocations = Revocations::default();
        for at in 0..MAX_REVOCATIONS {
            let who = Revoked::User(at.to_string().into());
            revocations.insert(NOW, who, UnixTime(1001 + at as u64)).unwrap();
        }
        let one_more = Revoked::User("one more".into());
        assert_eq!(
            revocations.insert(NOW, one_more.clone(), UnixTime(9000)),
            Err(RevocationsFull)
        );
        assert_eq!(
            revocations.insert(NOW, Revoked::User("7".into()), UnixTime(9000)),
            Ok(())
        );
        assert_eq!(revocations.insert(UnixTime(1001), one_more, UnixTime(9000)), Ok(()));
    }
}
