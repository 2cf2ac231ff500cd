//! Users and usernames that are turned away before their credentials end.
//!
//! Asked at Allocate and at Refresh, never on the way of a relayed packet.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::credentials::UnixTime;

/// Most entries. A revocation that would be one more is refused: to forget one would let somebody in again.
pub const MAX_REVOCATIONS: usize = 65_536;

/// Who is turned away.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Revoked {
    /// Everybody who comes as this user, with whatever expiry.
    User(Box<str>),
    /// The holder of one credential.
    Username(Box<str>),
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

    /// Whether a client is turned away now.
    pub fn contains(&self, now: UnixTime, username: &str, user: &str) -> bool {
        let entries = self.entries();
        if entries.is_empty() {
            return false;
        }
        let holds = |who| entries.get(&who).is_some_and(|until| now < *until);
        holds(Revoked::User(user.into())) || holds(Revoked::Username(username.into()))
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
