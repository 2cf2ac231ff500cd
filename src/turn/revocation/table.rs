//! The entries of the revocations, how two replicas that know different ones become alike, and how they see that they are.

use std::collections::BTreeMap;
use std::ops::Bound;

use sha2::{Digest as _, Sha256};

use super::{Change, MAX_REVOCATIONS, MAX_REVOCATIONS_FOR_TENANTS, RevocationsFull, Revoked, Tenants};
use crate::credentials::{UnixTime, named_realm};

/// Parts of the table that are compared on their own: replicas that differ in one entry tell each other a part of it.
pub const PARTS: usize = 64;

/// What each part holds, as one number. Equal digests: equal parts.
pub type Digests = [u64; PARTS];

/// What became of a change that another replica made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Merged {
    /// Somebody is turned away who was not, or for another time.
    Revoked,
    /// Somebody is let in again.
    Lifted,
    /// Nothing: it was known, or is older than what is known, or over.
    Known,
}

/// What is known of one name. Ordered by which of two wins: the later one; of two of one time the one that turns away, and that for
/// longer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Entry {
    stamp: u64,
    in_force: bool,
    until: UnixTime,
}

#[derive(Debug, Default)]
pub(super) struct Table {
    entries: BTreeMap<Revoked, Entry>,
    digests: Option<Box<Digests>>,
    /// Nothing in it is over before.
    earliest: UnixTime,
    /// How many of the entries are for one credential each, by what its username names as its realm, configured or not.
    credentials: BTreeMap<Box<str>, usize>,
    all_credentials: usize,
}

impl Table {
    /// As an operator of this process says. Its stamp is later than that of whatever was known, whatever the clocks of others.
    pub(super) fn set(
        &mut self,
        now: UnixTime,
        who: Revoked,
        until: UnixTime,
        in_force: bool,
    ) -> Result<Change, RevocationsFull> {
        let known = self.entries.get(&who).map_or(0, |entry| entry.stamp);
        let stamp = known.saturating_add(1).max(now.0.saturating_mul(1_000));
        let change = Change {
            who,
            until,
            in_force,
            stamp,
        };
        self.make_room(now, &change.who)?;
        self.put(change.clone());
        Ok(change)
    }

    pub(super) fn merge(&mut self, now: UnixTime, change: Change) -> Result<Merged, RevocationsFull> {
        let known = self.entries.get(&change.who);
        let wanted = change.entry();
        if change.until <= now || known.is_some_and(|known| *known >= wanted) {
            return Ok(Merged::Known);
        }
        let was_in_force = known.is_some_and(|known| known.in_force);
        if known.is_none() && self.entries.len() >= MAX_REVOCATIONS {
            self.purge(now);
            // Unlike an operator, another replica makes no room: a table that is full of liftings stays one.
            if self.entries.len() >= MAX_REVOCATIONS {
                return Err(RevocationsFull::Table);
            }
        }
        let merged = match (change.in_force, was_in_force) {
            (true, _) => Merged::Revoked,
            (false, true) => Merged::Lifted,
            (false, false) => Merged::Known,
        };
        self.put(change);
        Ok(merged)
    }

    /// A place for `who`: of those that are over, else that of the oldest lifting, which is only kept for replicas that have missed it.
    fn make_room(&mut self, now: UnixTime, who: &Revoked) -> Result<(), RevocationsFull> {
        if self.entries.len() < MAX_REVOCATIONS || self.entries.contains_key(who) {
            return Ok(());
        }
        self.purge(now);
        if self.entries.len() < MAX_REVOCATIONS {
            return Ok(());
        }
        let liftings = self.entries.iter().filter(|(_, entry)| !entry.in_force);
        let oldest = liftings
            .min_by_key(|(_, entry)| entry.stamp)
            .map(|(who, _)| who.clone());
        self.take(&oldest.ok_or(RevocationsFull::Table)?);
        Ok(())
    }

    /// Whether `who` has a place, or tenants may have one more and this one, too.
    pub(super) fn check_share(
        &mut self,
        now: UnixTime,
        who: &Revoked,
        tenants: &Tenants,
    ) -> Result<(), RevocationsFull> {
        if self.entries.contains_key(who) {
            return Ok(());
        }
        if self.fullness_for(tenants).is_some() {
            self.purge(now);
        }
        self.fullness_for(tenants).map_or(Ok(()), Err)
    }

    fn fullness_for(&self, tenants: &Tenants) -> Option<RevocationsFull> {
        let of = |realm: &str| self.credentials.get(realm).copied().unwrap_or(0);
        let own = match &tenants.own {
            Some(own) => of(own),
            // All that is no other's: whatever stands behind an `@`.
            None => {
                let of_others = tenants.realms.iter().map(|realm| of(realm)).sum();
                self.all_credentials.saturating_sub(of_others)
            }
        };
        if own >= tenants.share() {
            Some(RevocationsFull::Tenant)
        } else if self.entries.len() >= MAX_REVOCATIONS_FOR_TENANTS {
            Some(RevocationsFull::Tenants)
        } else {
            None
        }
    }

    fn put(&mut self, change: Change) {
        let entry = change.entry();
        let (who, until) = (change.who, change.until);
        self.toggle(&who, entry);
        match self.entries.insert(who.clone(), entry) {
            Some(replaced) => self.toggle(&who, replaced),
            None => self.count(&who),
        }
        self.earliest = if self.entries.len() == 1 {
            until
        } else {
            self.earliest.min(until)
        };
    }

    fn take(&mut self, who: &Revoked) {
        if let Some(entry) = self.entries.remove(who) {
            self.toggle(who, entry);
            self.discount(who);
        }
    }

    fn count(&mut self, who: &Revoked) {
        if let Revoked::Username(username) = who {
            *self.credentials.entry(realm_in(username).into()).or_default() += 1;
            self.all_credentials += 1;
        }
    }

    fn discount(&mut self, who: &Revoked) {
        let Revoked::Username(username) = who else { return };
        let realm = realm_in(username);
        self.all_credentials = self.all_credentials.saturating_sub(1);
        if let Some(count) = self.credentials.get_mut(realm) {
            *count -= 1;
            if *count == 0 {
                self.credentials.remove(realm);
            }
        }
    }

    /// Puts an entry into the digest of its part, or takes it out.
    fn toggle(&mut self, who: &Revoked, entry: Entry) {
        let digests = self.digests.get_or_insert_with(|| Box::new([0; PARTS]));
        digests[part_of(who)] ^= digest(who, entry);
    }

    /// Forgets what is over.
    fn purge(&mut self, now: UnixTime) {
        if now < self.earliest {
            return;
        }
        let over: Vec<Revoked> = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.until <= now)
            .map(|(who, _)| who.clone())
            .collect();
        for who in &over {
            self.take(who);
        }
        let left = self.entries.values().map(|entry| entry.until);
        self.earliest = left.min().unwrap_or(UnixTime(u64::MAX));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Until when, if it is in force.
    pub(super) fn until(&self, now: UnixTime, who: &Revoked) -> Option<UnixTime> {
        let entry = self
            .entries
            .get(who)
            .filter(|entry| entry.in_force && now < entry.until)?;
        Some(entry.until)
    }

    /// Those in force behind `after`, in order.
    pub(super) fn in_force(
        &self,
        now: UnixTime,
        after: Option<&Revoked>,
    ) -> impl Iterator<Item = (&Revoked, UnixTime)> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.entries
            .range::<Revoked, _>((from, Bound::Unbounded))
            .filter(move |(_, entry)| entry.in_force && entry.until > now)
            .map(|(who, entry)| (who, entry.until))
    }

    pub(super) fn digests(&mut self, now: UnixTime) -> Digests {
        self.purge(now);
        self.digests.as_deref().copied().unwrap_or([0; PARTS])
    }

    /// Everything of a part behind `after`, liftings too: at most `most`, and whether there is more.
    pub(super) fn changes(
        &self,
        now: UnixTime,
        part: usize,
        after: Option<&Revoked>,
        most: usize,
    ) -> (Vec<Change>, bool) {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut found = self
            .entries
            .range::<Revoked, _>((from, Bound::Unbounded))
            .filter(|(who, entry)| entry.until > now && part_of(who) == part)
            .map(|(who, entry)| Change {
                who: who.clone(),
                until: entry.until,
                in_force: entry.in_force,
                stamp: entry.stamp,
            });
        let changes = found.by_ref().take(most).collect();
        (changes, found.next().is_some())
    }
}

impl Change {
    const fn entry(&self) -> Entry {
        Entry {
            stamp: self.stamp,
            in_force: self.in_force,
            until: self.until,
        }
    }
}

impl Revoked {
    const fn name(&self) -> (u8, &str) {
        match self {
            Self::User(name) => (0, name),
            Self::Username(name) => (1, name),
            Self::Session(name) => (2, name),
        }
    }
}

/// What a username names as its realm; nothing for the default one.
fn realm_in(username: &str) -> &str {
    named_realm(username).unwrap_or_default()
}

/// Which part a name is in. Cheap, since whole tables are looked through for one part; who chooses names so that all of them are
/// in one part has a long way to get them in here.
fn part_of(who: &Revoked) -> usize {
    let (kind, name) = who.name();
    let mixed = name
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325 ^ u64::from(kind), |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
    (mixed >> 58) as usize
}

fn digest(who: &Revoked, entry: Entry) -> u64 {
    let (kind, name) = who.name();
    let hash = Sha256::new_with_prefix(b"meetpoint revocation")
        .chain_update([kind, entry.in_force.into()])
        .chain_update(entry.stamp.to_be_bytes())
        .chain_update(entry.until.0.to_be_bytes())
        .chain_update(name.as_bytes())
        .finalize();
    u64::from_be_bytes(std::array::from_fn(|at| hash[at]))
}
