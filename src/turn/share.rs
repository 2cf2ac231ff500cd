//! Shares of a realm that are told apart for accounting: what credentials of one API key did, and what this server's own probes did.
//!
//! Which share an allocation is of is decided once, at Allocate, by the USERNAME that its password has signed; the allocation
//! remembers the place. Only shares that the configuration names are counted, so that whoever mints for a realm makes no new ones, and
//! names those of its realm alone. What is in no share is in the realm all the same.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use super::realm::RealmStats;
use super::verdict::{AllocateRefusal, Direction};
use crate::credentials::Username;

/// Most shares that a process counts, those of former configurations included: some 400 bytes each in every worker. Past it what another
/// one does is its realm's alone.
pub const MAX_SHARES: usize = 1024;

/// What is counted as that of probes. No key is called so.
pub const PROBES: &str = "(probes)";

/// Between a realm and a share of it. Neither has it in its name.
const SEPARATOR: char = '!';

/// What a share is called among those of all realms.
pub fn share_name(realm: &str, share: &str) -> String {
    format!("{realm}{SEPARATOR}{share}")
}

/// The realm and the share of such a name.
pub fn split_share(name: &str) -> (&str, &str) {
    name.split_once(SEPARATOR).unwrap_or((name, ""))
}

/// Which shares are counted. Default none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShareNames {
    /// Those of keys, by [`share_name`].
    pub keys: Arc<HashSet<String>>,
    /// The user of this process's own probes, without a realm. A secret: whoever knows it is not billed.
    pub probe: Option<Arc<str>>,
}

/// The place of a share in its shard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct ShareId(u16);

/// The shares of a shard. A place is never given to another one.
#[derive(Debug, Default)]
pub(super) struct Shares {
    stats: Vec<RealmStats>,
    /// Up to when the time of each was counted.
    counted_to: Vec<Option<Instant>>,
}

impl Shares {
    /// The share that this USERNAME of a realm belongs to.
    pub(super) fn of(&mut self, names: &ShareNames, realm: &str, username: &str) -> Option<ShareId> {
        if names.probe.is_none() && names.keys.is_empty() {
            return None;
        }
        let username = Username::parse(username).ok()?;
        let of_probes = |probe: &Arc<str>| {
            let rest = username.user().strip_prefix(&**probe);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('@'))
        };
        let name = if names.probe.as_ref().is_some_and(of_probes) {
            share_name(realm, PROBES)
        } else {
            let name = share_name(realm, username.key()?);
            names.keys.contains(&name).then_some(name)?
        };
        let known = self.stats.iter().position(|stats| *stats.name == *name);
        let index = match known {
            Some(index) => index,
            None if self.stats.len() >= MAX_SHARES => return None,
            None => {
                self.stats.push(RealmStats::new(name.into()));
                self.counted_to.push(None);
                self.stats.len() - 1
            }
        };
        u16::try_from(index).ok().map(ShareId)
    }

    /// One of its allocations was answered with success.
    pub(super) fn opened(&mut self, now: Instant, id: Option<ShareId>) {
        if let Some(stats) = self.timed(now, id) {
            stats.allocations += 1;
            stats.allocations_created += 1;
        }
    }

    /// One of those ended.
    pub(super) fn closed(&mut self, now: Instant, id: Option<ShareId>) {
        if let Some(stats) = self.timed(now, id) {
            stats.allocations -= 1;
        }
    }

    pub(super) fn refused(&mut self, id: Option<ShareId>, reason: AllocateRefusal) {
        if let Some(stats) = id.and_then(|id| self.stats.get_mut(usize::from(id.0))) {
            stats.allocations_refused[reason.index()] += 1;
        }
    }

    /// Counts payload.
    #[inline]
    pub(super) fn add_traffic(&mut self, id: Option<ShareId>, direction: Direction, bytes: usize) {
        if let Some(id) = id
            && let Some(stats) = self.stats.get_mut(usize::from(id.0))
        {
            stats.traffic[direction.index()].add(bytes);
        }
    }

    /// All of them as of now.
    pub(super) fn stats(&mut self, now: Instant) -> &[RealmStats] {
        for (stats, counted_to) in self.stats.iter_mut().zip(&mut self.counted_to) {
            stats.count_time(now, counted_to);
        }
        &self.stats
    }

    fn timed(&mut self, now: Instant, id: Option<ShareId>) -> Option<&mut RealmStats> {
        let index = usize::from(id?.0);
        let (stats, counted_to) = (self.stats.get_mut(index)?, self.counted_to.get_mut(index)?);
        stats.count_time(now, counted_to);
        Some(stats)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_that_of_a_key_that_is_configured_for_the_realm_or_of_the_probes_of_this_process() {
        let names = ShareNames {
            keys: Arc::new([share_name("acme", "shop"), share_name("default", "site")].into()),
            probe: Some("meetpoint-probe.00ff".into()),
        };
        let mut shares = Shares::default();
        let mut of = |realm, username| {
            let id = shares.of(&names, realm, username);
            id.map(|id| shares.stats[usize::from(id.0)].name.to_string())
        };
        let some = |name: &str| Some(name.to_owned());
        assert_eq!(of("acme", "1:shop!alice@acme"), some("acme!shop"));
        assert_eq!(of("default", "1:site!alice"), some("default!site"));
        assert_eq!(of("default", "1:meetpoint-probe.00ff"), some("default!(probes)"));
        assert_eq!(of("acme", "1:meetpoint-probe.00ff@acme"), some("acme!(probes)"));
        for (realm, username) in [
            ("default", "1:shop!alice"),
            ("acme", "1:site!alice@acme"),
            ("acme", "1:(probes)!alice@acme"),
            ("acme", "1:alice@acme"),
            ("acme", "alice@acme"),
            ("default", "1:meetpoint-probe"),
            ("default", "1:meetpoint-probe.00fe"),
            ("default", "1:meetpoint-probe.00ff0"),
        ] {
            assert_eq!(of(realm, username), None, "{username}");
        }
        assert_eq!(shares.stats.len(), 4);
    }

    #[test]
    fn there_are_as_many_shares_as_may_and_what_comes_then_is_in_none() {
        let keys: HashSet<String> = (0..=MAX_SHARES)
            .map(|at| share_name("acme", &format!("k{at}")))
            .collect();
        let names = ShareNames {
            keys: Arc::new(keys),
            probe: None,
        };
        let mut shares = Shares::default();
        for at in 0..MAX_SHARES {
            assert!(shares.of(&names, "acme", &format!("1:k{at}!a@acme")).is_some(), "{at}");
        }
        assert_eq!(shares.of(&names, "acme", &format!("1:k{MAX_SHARES}!a@acme")), None);
        assert_eq!(shares.of(&names, "acme", "1:k7!b@acme"), Some(ShareId(7)));
        assert_eq!(shares.stats.len(), MAX_SHARES);
    }
}
