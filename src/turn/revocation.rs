//! Users and usernames that are turned away before their credentials end.
//!
//! Asked at Allocate and at Refresh, never on the way of a relayed packet.
//!
//! Replicas tell each other what their operators change ([`Change`]). Of two changes of one name the later one counts, whichever way
//! and in whatever order they come, so that all who know the same changes turn away the same. A lifting is kept for as long as
//! what it lifts would have lasted: a replica that missed it must not bring the revocation back.

mod table;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::credentials::{UnixTime, Username};

use super::verdict::labels;
use table::Table;
pub use table::{Digests, Merged, PARTS};

/// Most entries. A revocation that would be one more is refused: to forget one would let somebody in again.
pub const MAX_REVOCATIONS: usize = 65_536;

/// Past so many entries tenants revoke nothing: the rest is the operators', who could turn away nobody if tenants filled all of it. Each
/// tenant has an equal share of it, so that none keeps another one from revoking.
pub const MAX_REVOCATIONS_FOR_TENANTS: usize = MAX_REVOCATIONS / 2;

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

/// What an operator changed, for other replicas.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// For whom.
    pub who: Revoked,
    /// Until when; of a lifting: until when that would have been.
    pub until: UnixTime,
    /// Turned away, or let in again.
    pub in_force: bool,
    /// Unix milliseconds by the clock where it was made, and in any case more than that of whatever was known there of the name.
    pub stamp: u64,
}

labels! {
    /// What is full when there is no room for one more.
    RevocationsFull {
        /// The table: [`MAX_REVOCATIONS`].
        Table = "table",
        /// What all tenants have together: [`MAX_REVOCATIONS_FOR_TENANTS`].
        Tenants = "tenants",
        /// What one of them has: [`Tenants::share`].
        Tenant = "tenant",
    }
}

impl std::fmt::Display for RevocationsFull {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Table => "too many revocations are in force",
            Self::Tenants => "too many revocations are in force, of all tenants together",
            Self::Tenant => "too many revocations of this tenant are in force",
        })
    }
}

impl std::error::Error for RevocationsFull {}

/// A tenant that revokes, and those that it shares with.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Tenants {
    /// Which one it is; `None` for the default realm.
    pub own: Option<Box<str>>,
    /// All realms beside the default one.
    pub realms: Vec<Box<str>>,
}

impl Tenants {
    /// Entries that one tenant may have: fewer the more tenants there are, [`super::MAX_REALMS`] at the most.
    pub const fn share(&self) -> usize {
        MAX_REVOCATIONS_FOR_TENANTS / (self.realms.len() + 1)
    }
}

/// The revocations of a process. Clones share.
#[derive(Clone, Debug, Default)]
pub struct Revocations(Arc<Mutex<Table>>);

impl Revocations {
    /// Turns `who` away until `until`. A later call for the same replaces the time, also by an earlier one.
    ///
    /// # Errors
    /// When the table is full of revocations that are in force.
    pub fn insert(&self, now: UnixTime, who: Revoked, until: UnixTime) -> Result<Change, RevocationsFull> {
        self.table().set(now, who, until, true)
    }

    /// The same for a tenant, of one of its credentials. All tenants together have no more than half of the table, and each of them no more
    /// than its share of that: entries with usernames of its realm, whoever made them, on whichever replica.
    ///
    /// # Errors
    /// When that half is full, or that share.
    pub fn insert_for_tenant(
        &self,
        now: UnixTime,
        who: Revoked,
        until: UnixTime,
        tenants: &Tenants,
    ) -> Result<Change, RevocationsFull> {
        let mut table = self.table();
        table.check_share(now, &who, tenants)?;
        table.set(now, who, until, true)
    }

    /// Lets `who` in again; `None` if no revocation of exactly that was in force.
    pub fn lift(&self, now: UnixTime, who: &Revoked) -> Option<Change> {
        let mut table = self.table();
        let until = table.until(now, who)?;
        // It has a place already.
        table.set(now, who.clone(), until, false).ok()
    }

    /// Does as another replica did.
    ///
    /// # Errors
    /// When the table is full.
    pub fn merge(&self, now: UnixTime, change: Change) -> Result<Merged, RevocationsFull> {
        self.table().merge(now, change)
    }

    /// Those in force, in a fixed order: at most `most` of those behind `after`, and whether there are more.
    pub fn page(&self, now: UnixTime, after: Option<&Revoked>, most: usize) -> (Vec<(Revoked, UnixTime)>, bool) {
        let table = self.table();
        let mut in_force = table.in_force(now, after).map(|(who, until)| (who.clone(), until));
        let page = in_force.by_ref().take(most).collect();
        (page, in_force.next().is_some())
    }

    /// What each part of the table holds, for a comparison with another replica.
    pub fn digests(&self, now: UnixTime) -> Digests {
        self.table().digests(now)
    }

    /// What another replica lacks, perhaps: a part of the table behind `after`, liftings too, at most `most`, and whether there is
    /// more of it.
    pub fn changes(&self, now: UnixTime, part: usize, after: Option<&Revoked>, most: usize) -> (Vec<Change>, bool) {
        self.table().changes(now, part, after, most)
    }

    /// Whether a client is turned away now.
    pub fn contains(&self, now: UnixTime, username: &str, user: &str) -> bool {
        let table = self.table();
        if table.is_empty() {
            return false;
        }
        let holds = |who| table.until(now, &who).is_some();
        let named = Username::parse(username).ok();
        let session = named.and_then(|named| named.session());
        holds(Revoked::User(user.into()))
            || holds(Revoked::Username(username.into()))
            || named.is_some_and(|named| holds(Revoked::User(named.account().into())))
            || session.is_some_and(|session| holds(Revoked::Session(session.into())))
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // A change leaves a whole table behind, whatever happens to the thread afterwards.
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
        assert_eq!(revocations.lift(NOW, &Revoked::Username("alice".into())), None);
        assert!(revocations.lift(NOW, &alice).is_some() && revocations.lift(NOW, &alice).is_none());
        assert!(!revocations.contains(NOW, "2000:alice", "alice"));
        assert!(revocations.contains(NOW, "2000:bob", "bob"));
        assert_eq!(revocations.lift(UnixTime(1500), &bob), None, "it was over by itself");
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
            Err(RevocationsFull::Table)
        );
        let seventh = revocations.insert(NOW, Revoked::User("7".into()), UnixTime(9000));
        assert!(seventh.is_ok(), "it has a place");
        assert!(
            revocations
                .insert(UnixTime(1001), one_more.clone(), UnixTime(9000))
                .is_ok()
        );
        // Another replica gets none by what is lifted, an operator does.
        let of_another = |name: &str, until| Change {
            who: Revoked::User(name.into()),
            until: UnixTime(until),
            in_force: true,
            stamp: 1,
        };
        let now = UnixTime(1001);
        assert_eq!(
            revocations.merge(now, of_another("x", 9000)),
            Err(RevocationsFull::Table)
        );
        assert_eq!(
            revocations.merge(now, of_another("7", 9001)),
            Ok(Merged::Known),
            "an older one"
        );
        assert!(revocations.lift(now, &one_more).is_some());
        assert_eq!(
            revocations.merge(now, of_another("x", 9000)),
            Err(RevocationsFull::Table)
        );
        assert!(
            revocations
                .insert(now, Revoked::User("y".into()), UnixTime(9000))
                .is_ok()
        );
        assert_eq!(
            revocations.merge(UnixTime(1002), of_another("x", 9000)),
            Ok(Merged::Revoked)
        );
    }

    fn tenants(own: Option<&str>, realms: &[&str]) -> Tenants {
        Tenants {
            own: own.map(Box::from),
            realms: realms.iter().map(|name| Box::from(*name)).collect(),
        }
    }

    fn credential(at: usize, realm: &str) -> Revoked {
        Revoked::Username(format!("2000:{at}{realm}").into())
    }

    #[test]
    fn tenants_fill_half_of_the_table_and_operators_have_the_rest() {
        let revocations = Revocations::default();
        // Operators turn away whom they like, and what they turn away takes no share but that of all tenants.
        for at in 0..MAX_REVOCATIONS_FOR_TENANTS {
            let who = Revoked::User(at.to_string().into());
            revocations.insert(NOW, who, UnixTime(1001 + at as u64)).unwrap();
        }
        let acme = tenants(Some("acme"), &["acme"]);
        let for_tenant =
            |now, at| revocations.insert_for_tenant(UnixTime(now), credential(at, "@acme"), UnixTime(9000), &acme);
        assert_eq!(for_tenant(1000, 1), Err(RevocationsFull::Tenants));
        let operators = revocations.insert(NOW, Revoked::User("eve".into()), UnixTime(9000));
        assert!(operators.is_ok());
        // One is over for each of the two that have come.
        assert_eq!(for_tenant(1001, 1), Err(RevocationsFull::Tenants));
        assert!(
            for_tenant(1002, 1).is_ok() && for_tenant(1002, 1).is_ok(),
            "it has a place"
        );
    }

    #[test]
    fn a_tenant_fills_its_share_and_leaves_every_other_tenant_theirs() {
        let revocations = Revocations::default();
        let names = ["acme", "globex", "initech"];
        let insert = |now, who, until, own| {
            let tenants = tenants(own, &names);
            revocations.insert_for_tenant(UnixTime(now), who, UnixTime(until), &tenants)
        };
        let share = tenants(None, &names).share();
        assert_eq!(share, MAX_REVOCATIONS_FOR_TENANTS / 4);
        for at in 0..share {
            insert(1000, credential(at, "@acme"), 1001 + at as u64, Some("acme")).unwrap();
        }
        let full = Err(RevocationsFull::Tenant);
        assert_eq!(insert(1000, credential(share, "@acme"), 9000, Some("acme")), full);
        assert!(
            insert(1000, credential(7, "@acme"), 9000, Some("acme")).is_ok(),
            "it has a place"
        );
        // Names that look like those of other realms are the default one's, where there are no such realms.
        for at in 0..share {
            let who = credential(at, &format!("@nobody{at}"));
            insert(1000, who, 9000, None).unwrap();
        }
        for who in [
            credential(1, ""),
            credential(1, "@example.org"),
            credential(share, "@nobody"),
        ] {
            assert_eq!(insert(1000, who, 9000, None), full);
        }
        for realm in ["globex", "initech"] {
            for at in 0..share {
                let who = credential(at, &format!("@{realm}"));
                insert(1000, who, 9000, Some(realm)).unwrap();
            }
        }
        // What is over makes room for its own tenant; one that is forgotten for another reason, too.
        assert!(insert(1001, credential(share, "@acme"), 9000, Some("acme")).is_ok());
        assert_eq!(insert(1001, credential(share + 1, "@acme"), 9000, Some("acme")), full);
    }

    #[test]
    fn what_another_replica_was_told_counts_for_the_share_too() {
        let (here, there) = (Revocations::default(), Revocations::default());
        let acme = tenants(Some("acme"), &["acme"]);
        for at in 0..acme.share() {
            let change = there
                .insert_for_tenant(NOW, credential(at, "@acme"), UnixTime(9000), &acme)
                .unwrap();
            here.merge(NOW, change).unwrap();
        }
        let one_more = credential(acme.share(), "@acme");
        let refused = here.insert_for_tenant(NOW, one_more, UnixTime(9000), &acme);
        assert_eq!(refused, Err(RevocationsFull::Tenant));
    }

    /// Hands everything of `from` to `to`, in parts of two.
    fn tell_all(now: UnixTime, from: &Revocations, to: &Revocations) {
        for part in 0..PARTS {
            let mut after = None;
            loop {
                let (changes, more) = from.changes(now, part, after.as_ref(), 2);
                assert!(changes.len() <= 2);
                after = changes.last().map(|change| change.who.clone());
                for change in changes {
                    to.merge(now, change).unwrap();
                }
                if !more {
                    break;
                }
            }
        }
    }

    #[test]
    fn replicas_that_told_each_other_everything_turn_away_the_same_and_see_that_they_do() {
        let (a, b) = (Revocations::default(), Revocations::default());
        for at in 0..300_u64 {
            let who = Revoked::User(format!("user{at}").into());
            let (made, other) = if at % 2 == 0 { (&a, &b) } else { (&b, &a) };
            let change = made.insert(NOW, who.clone(), UnixTime(1500 + at)).unwrap();
            if at % 3 == 0 {
                assert_eq!(other.merge(NOW, change.clone()), Ok(Merged::Revoked));
                assert_eq!(other.merge(NOW, change), Ok(Merged::Known), "a second time");
            }
            if at % 5 == 0 {
                made.lift(NOW, &who).unwrap();
            }
        }
        assert_ne!(a.digests(NOW), b.digests(NOW));
        tell_all(NOW, &a, &b);
        tell_all(NOW, &b, &a);
        assert_eq!(a.digests(NOW), b.digests(NOW));
        let (listed, _) = a.page(NOW, None, 1000);
        assert_eq!((listed.len(), &listed), (240, &b.page(NOW, None, 1000).0));
        // What is over goes from both, and from what they compare.
        assert_eq!(a.digests(UnixTime(1700)), b.digests(UnixTime(1700)));
        assert_eq!(a.digests(UnixTime(2000)), [0; PARTS]);
    }

    #[test]
    fn a_lifting_is_not_undone_by_a_replica_that_missed_it_and_a_later_revocation_counts() {
        let (a, b) = (Revocations::default(), Revocations::default());
        let alice = || Revoked::User("alice".into());
        let revoked = a.insert(NOW, alice(), UnixTime(1500)).unwrap();
        b.merge(NOW, revoked.clone()).unwrap();
        // At a replica whose clock is behind, and within the same second.
        let lifted = b.lift(UnixTime(900), &alice()).unwrap();
        assert!(lifted.stamp > revoked.stamp);
        assert_eq!(
            b.merge(NOW, revoked.clone()),
            Ok(Merged::Known),
            "by one that missed the lifting"
        );
        assert!(!b.contains(NOW, "2000:alice", "alice"));
        assert_eq!(a.merge(NOW, lifted), Ok(Merged::Lifted));
        assert!(!a.contains(NOW, "2000:alice", "alice"));
        let again = b.insert(UnixTime(901), alice(), UnixTime(1400)).unwrap();
        assert_eq!(a.merge(NOW, again), Ok(Merged::Revoked));
        assert!(a.contains(NOW, "2000:alice", "alice"));
    }

    #[test]
    fn of_two_changes_at_one_moment_the_one_that_turns_away_counts_everywhere() {
        let change = |in_force, until| Change {
            who: Revoked::User("alice".into()),
            until: UnixTime(until),
            in_force,
            stamp: 7,
        };
        let all = [change(true, 1500), change(false, 1600), change(true, 1400)];
        for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2], [1, 2, 0]] {
            let revocations = Revocations::default();
            for at in order {
                let at: usize = at;
                revocations.merge(NOW, all[at].clone()).unwrap();
            }
            assert_eq!(
                revocations.page(NOW, None, 9).0,
                [(Revoked::User("alice".into()), UnixTime(1500))]
            );
        }
    }
}
