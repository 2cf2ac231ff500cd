//! What was issued in Metered's form, for its lists: what this process remembers, and no more.
//!
//! Nothing depends on it: a credential that is forgotten here works, and can be switched off, as any other.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::credentials::{DEFAULT_REALM, UnixTime, Username};

/// Most credentials of one realm that are remembered. Past it the oldest is forgotten.
pub(super) const MOST: usize = 1024;

/// Credentials on one page of a list.
pub(super) const PAGE: usize = 50;

/// One credential, without its password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct One {
    pub(super) username: Box<str>,
    pub(super) label: Box<str>,
    /// Seconds that it was given.
    pub(super) ttl: u64,
}

impl One {
    fn lives(&self, now: UnixTime) -> bool {
        Username::parse(&self.username).is_ok_and(|username| !username.is_expired(now))
    }
}

/// Some of them, and how many there are.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) of: Vec<One>,
    pub(super) total: usize,
    /// From 1.
    pub(super) page: usize,
    pub(super) pages: usize,
}

/// Oldest first, by realm. Clones share. Realms are those of the configuration, so that there are few.
#[derive(Clone, Debug, Default)]
pub(in crate::http::compat) struct Issued(Arc<Mutex<HashMap<Box<str>, VecDeque<One>>>>);

impl Issued {
    pub(super) fn add(&self, now: UnixTime, realm: Option<&str>, one: One) {
        let mut all = self.all();
        let realm = realm.unwrap_or(DEFAULT_REALM);
        if !all.contains_key(realm) {
            // Realms that are no longer configured leave with the last of theirs.
            all.retain(|_, of| of.iter().any(|one| one.lives(now)));
        }
        let of = all.entry(realm.into()).or_default();
        if of.len() >= MOST {
            of.retain(|one| one.lives(now));
        }
        // The same label in the same second is the same credential.
        of.retain(|known| known.username != one.username);
        if of.len() >= MOST {
            of.pop_front();
        }
        of.push_back(one);
    }

    /// Leaves one out from now on.
    pub(super) fn forget(&self, realm: Option<&str>, username: &str) {
        if let Some(of) = self.all().get_mut(realm.unwrap_or(DEFAULT_REALM)) {
            of.retain(|one| *one.username != *username);
        }
    }

    /// Those that have not expired, newest first. A page past the last is empty.
    pub(super) fn page(&self, now: UnixTime, realm: Option<&str>, label: Option<&str>, page: usize) -> Page {
        let all = self.all();
        let of = all.get(realm.unwrap_or(DEFAULT_REALM));
        let fits = |one: &&One| one.lives(now) && label.is_none_or(|label| *one.label == *label);
        let fitting = || of.into_iter().flatten().rev().filter(fits);
        let total = fitting().count();
        let page = page.max(1);
        let skipped = (page - 1).saturating_mul(PAGE);
        Page {
            of: fitting().skip(skipped).take(PAGE).cloned().collect(),
            total,
            page,
            pages: total.div_ceil(PAGE).max(1),
        }
    }

    fn all(&self) -> MutexGuard<'_, HashMap<Box<str>, VecDeque<One>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime(1_000);

    fn one(expiry: u64, label: &str) -> One {
        One {
            username: format!("{expiry}:{label}").into(),
            label: label.into(),
            ttl: 60,
        }
    }

    fn labels(page: &Page) -> Vec<&str> {
        page.of.iter().map(|one| &*one.label).collect()
    }

    #[test]
    fn a_list_is_of_one_realm_and_one_label_newest_first_without_what_has_expired() {
        let issued = Issued::default();
        for (realm, one) in [
            (None, one(2_000, "a")),
            (None, one(2_001, "b")),
            (None, one(2_002, "a")),
            (None, one(999, "a")),
            (Some("acme"), one(2_000, "c")),
        ] {
            issued.add(NOW, realm, one.clone());
            issued.add(NOW, realm, one);
        }
        assert_eq!(labels(&issued.page(NOW, None, None, 1)), ["a", "b", "a"]);
        assert_eq!(issued.page(NOW, None, Some("a"), 1).total, 2);
        assert_eq!(labels(&issued.page(NOW, Some("acme"), None, 0)), ["c"]);
        assert_eq!(issued.page(NOW, Some("globex"), None, 1).total, 0);
        issued.forget(None, "2002:a");
        issued.forget(Some("globex"), "2000:a");
        assert_eq!(labels(&issued.page(NOW, None, None, 1)), ["b", "a"]);
    }

    #[test]
    fn a_realm_has_as_many_as_are_remembered_and_then_loses_its_oldest_alone() {
        let issued = Issued::default();
        issued.add(NOW, Some("acme"), one(2_000, "theirs"));
        for at in 0..MOST {
            issued.add(NOW, None, one(5_000 + at as u64, "x"));
        }
        assert_eq!(issued.page(NOW, None, None, 1).total, MOST);
        issued.add(NOW, None, one(9_000, "y"));
        let last = issued.page(NOW, None, None, MOST.div_ceil(PAGE));
        assert_eq!((last.total, last.pages, last.of.len()), (MOST, 21, MOST - 20 * PAGE));
        assert_eq!(&*last.of.last().unwrap().username, "5001:x");
        assert_eq!(issued.page(NOW, Some("acme"), None, 1).total, 1);
        let past = issued.page(NOW, None, None, usize::MAX);
        assert!(past.of.is_empty() && past.total == MOST);
        // What has expired makes room before what lives is forgotten.
        let later = UnixTime(5_500);
        issued.add(later, None, one(9_001, "z"));
        assert_eq!(&*issued.all()[DEFAULT_REALM][0].username, "5500:x");
    }
}
