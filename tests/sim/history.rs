//! What events told, and a second set of books made of them alone: those of the realms must agree with it at any time.

use std::collections::BTreeMap;

use meetpoint::credentials::{DEFAULT_REALM, named_realm};
use meetpoint::turn::{AuthFailure, Config, Direction, Event, RealmStats, Traffic, What};

use crate::relay::Lab;

/// What one realm did in one shard, as its events tell.
#[derive(Default, Debug)]
struct Told {
    living: u64,
    created: u64,
    traffic: [Traffic; Direction::COUNT],
}

/// What a realm had counted that was removed and whose place another one has now.
#[derive(Clone, Copy, Default, Debug)]
struct Lost {
    auth_failures: u64,
    over_rate: u64,
}

#[derive(Default)]
pub(crate) struct History {
    /// The realm and the username of each allocation that was created and not closed.
    living: BTreeMap<String, (Box<str>, Box<str>)>,
    told: BTreeMap<(usize, Box<str>), Told>,
    lost: BTreeMap<usize, Lost>,
    pub(crate) seen: Seen,
}

/// A run is worth something only if all of it happened.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) in_tenants: u64,
    pub(crate) by_token: u64,
    pub(crate) renewed: u64,
    pub(crate) places_given_away: u64,
    pub(crate) events: u64,
}

impl History {
    /// Between its creation and its end an allocation is spoken of, and neither before nor after; always within one realm.
    /// `config` is that under which it was asked for, where that is known.
    pub(crate) fn note(&mut self, event: &Event, config: Option<&Config>) {
        self.seen.events += 1;
        let about = &event.about;
        let Some(id) = about.allocation else {
            assert!(
                matches!(event.what, What::Limited { .. } | What::AuthFailed { .. }),
                "{event:?}"
            );
            return;
        };
        let (name, shard) = (id.to_string(), usize::from(id.shard));
        let username = about.username.clone().expect("whoever has an allocation has a name");
        let told = self.told.entry((shard, about.realm.clone())).or_default();
        if let What::Created { .. } = &event.what {
            told.created += 1;
            told.living += 1;
            self.seen.in_tenants += u64::from(*about.realm != *DEFAULT_REALM);
            self.seen.by_token += u64::from(!username.contains(':'));
            if let Some(config) = config {
                let is_configured = |name: &&str| config.realms.iter().any(|realm| realm.name == *name);
                let named = named_realm(&username).filter(is_configured);
                assert_eq!(*about.realm, *named.unwrap_or(DEFAULT_REALM), "{event:?}");
            }
            let before = self.living.insert(name, (about.realm.clone(), username));
            assert_eq!(before, None, "{event:?}");
            return;
        }
        let (realm, owner) = self.living.get_mut(&name).expect("it is alive");
        assert_eq!(*realm, about.realm, "{event:?}");
        if *owner != username {
            // A token has taken the place of another (RFC 7635 §4.1.2).
            let is_bearer = !owner.contains(':') && !username.contains(':');
            assert!(is_bearer, "{owner} has become {event:?}");
            self.seen.renewed += u64::from(matches!(event.what, What::Refreshed { .. }));
            *owner = username;
        }
        if let What::Closed { to_peer, to_client, .. } = &event.what {
            told.living -= 1;
            for (sum, one) in told.traffic.iter_mut().zip([to_peer, to_client]) {
                sum.packets += one.packets;
                sum.bytes += one.bytes;
            }
            self.living.remove(&name);
        }
    }

    /// What the realms of every shard have counted.
    pub(crate) fn look(&self, labs: &mut [Lab]) -> Vec<Vec<RealmStats>> {
        labs.iter_mut().map(|lab| lab.server.realm_stats().to_vec()).collect()
    }

    /// After a reload: of what has lost its place nothing was left, and what it had counted agreed with what was told.
    pub(crate) fn forget_gone(&mut self, before: &[Vec<RealmStats>], labs: &mut [Lab]) {
        for ((shard, before), lab) in before.iter().enumerate().zip(labs) {
            for realm in before {
                if lab.server.realm_stats().iter().any(|now| now.name == realm.name) {
                    continue;
                }
                let told = self.told.remove(&(shard, Box::from(&*realm.name))).unwrap_or_default();
                assert_eq!((told.living, realm.allocations), (0, 0), "{realm:?}");
                assert_eq!(told.traffic, realm.traffic, "{realm:?}");
                let lost = self.lost.entry(shard).or_default();
                lost.auth_failures += realm.auth_failures.iter().sum::<u64>();
                lost.over_rate += realm.over_rate;
                self.seen.places_given_away += 1;
            }
        }
    }

    /// What is true between any two packets.
    pub(crate) fn check(&self, labs: &mut [Lab]) {
        let mut living = 0;
        for (shard, lab) in labs.iter_mut().enumerate() {
            let (stats, realms) = lab.server.all_stats(lab.now);
            let sum = |of: fn(&RealmStats) -> u64| realms.iter().map(of).sum::<u64>();
            let alive = stats.allocations_created - stats.allocations_closed.iter().sum::<u64>();
            assert_eq!(sum(|realm| realm.allocations), alive);
            living += alive;
            for realm in realms {
                let none = Told::default();
                let told = self.told.get(&(shard, Box::from(&*realm.name))).unwrap_or(&none);
                assert_eq!(
                    (told.living, told.created),
                    (realm.allocations, realm.allocations_created),
                    "{realm:?} in shard {shard}"
                );
            }
            let lost = self.lost.get(&shard).copied().unwrap_or_default();
            let no_credentials = stats.auth_failures[AuthFailure::NoCredentials.index()];
            let failures = stats.auth_failures.iter().sum::<u64>() - no_credentials;
            assert_eq!(
                sum(|realm| realm.auth_failures.iter().sum()) + lost.auth_failures,
                failures
            );
            let over_rate = stats.over_rate.iter().flatten().sum::<u64>();
            assert_eq!(sum(|realm| realm.over_rate) + lost.over_rate, over_rate);
        }
        assert_eq!(self.living.len() as u64, living, "{:?}", self.living);
    }

    /// In the end all that was created is closed, and every realm has relayed what its allocations have.
    pub(crate) fn assert_told(&self, labs: &mut [Lab]) {
        self.check(labs);
        assert!(self.living.is_empty(), "{:?}", self.living);
        for (shard, lab) in labs.iter_mut().enumerate() {
            for realm in lab.server.realm_stats() {
                assert_eq!(realm.allocations, 0, "{realm:?}");
                let told = self.told.get(&(shard, Box::from(&*realm.name)));
                let traffic = told.map_or_else(Default::default, |told| told.traffic);
                assert_eq!(traffic, realm.traffic, "{realm:?} in shard {shard}");
            }
        }
    }
}
