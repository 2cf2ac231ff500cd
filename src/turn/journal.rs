//! Where events wait to be drained, and where those that repeat are folded.
//!
//! Bounds: the queue holds what one call can cause ([`Journal::reconfigure`]), the table of what is being folded
//! [`MAX_FOLDED`] entries, of which those who have no allocation take at most half. What finds no room is counted and gone.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::allocation::Allocation;
use super::auth::quota_user;
use super::config::Config;
use super::event::{Asked, Event, Limit, Subject, What};
use super::five_tuple::{ClientAddr, FiveTuple};
use super::hashing::{HashState, Map};
use super::input::Now;
use super::inspect::AllocationId;
use super::peer_filter::PeerClass;
use super::quota::client_prefix;
use super::realm::RealmId;
use super::server::Server;
use super::verdict::{AuthFailure, CloseReason, Direction, QuotaKind, RateKind};

/// Events that are being folded at once, per shard; 250 bytes each and the username.
const MAX_FOLDED: usize = 1024;
/// For how long repetitions are folded into one.
const FOLD: Duration = Duration::from_secs(1);

/// What is one event, however often it repeats.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Key {
    who: Who,
    what: Class,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Who {
    Allocation {
        index: u32,
        generation: u32,
    },
    /// Who has no allocation, by address or prefix: neither another port nor another username is another event.
    Client(IpAddr),
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Class {
    Denied(PeerClass),
    Limited(Limit),
    AuthFailed(AuthFailure),
}

#[derive(Debug)]
pub(super) struct Journal {
    is_on: bool,
    most: usize,
    queue: VecDeque<Event>,
    folded: Map<Key, Event>,
    /// When each is due, the earliest first.
    due: VecDeque<(Instant, Key)>,
    /// Of those, how many belong to no allocation.
    of_strangers: usize,
    dropped: u64,
}

impl Journal {
    pub(super) fn new(config: &Config, hash_state: HashState) -> Self {
        let mut journal = Self {
            is_on: false,
            most: 0,
            queue: VecDeque::new(),
            folded: Map::with_hasher(hash_state),
            due: VecDeque::new(),
            of_strangers: 0,
            dropped: 0,
        };
        journal.reconfigure(config);
        journal
    }

    /// The queue must hold the ends of all allocations at once, since one timeout can end them all.
    pub(super) fn reconfigure(&mut self, config: &Config) {
        self.is_on = config.events;
        let allocations = usize::try_from(config.limits.allocations).unwrap_or(usize::MAX);
        self.most = self.most.max(allocations.saturating_add(MAX_FOLDED));
    }

    #[inline]
    pub(super) const fn is_on(&self) -> bool {
        self.is_on
    }

    /// When the first fold ends.
    #[inline]
    pub(super) fn next(&self) -> Option<Instant> {
        self.due.front().map(|(at, _)| *at)
    }

    /// Events that found no room so far.
    pub(super) const fn dropped(&self) -> u64 {
        self.dropped
    }

    pub(super) fn pop(&mut self) -> Option<Event> {
        self.queue.pop_front()
    }

    fn push(&mut self, event: Event) {
        if self.queue.len() < self.most {
            self.queue.push_back(event);
        } else {
            self.dropped += 1;
        }
    }

    /// Queues what was folded long enough.
    pub(super) fn settle(&mut self, now: Instant) {
        while let Some((_, key)) = self.due.pop_front_if(|(at, _)| *at <= now) {
            self.unfold(key);
        }
    }

    /// Queues all that is being folded.
    pub(super) fn settle_all(&mut self) {
        while let Some((_, key)) = self.due.pop_front() {
            self.unfold(key);
        }
    }

    fn unfold(&mut self, key: Key) {
        if let Some(event) = self.folded.remove(&key) {
            self.of_strangers -= usize::from(matches!(key.who, Who::Client(_)));
            self.push(event);
        }
    }

    /// Queues what is being folded about somebody whose end comes next.
    fn settle_all_of(&mut self, who: Who) {
        if self.folded.is_empty() {
            return;
        }
        let mut due = std::mem::take(&mut self.due);
        due.retain(|(_, key)| {
            let stays = key.who != who;
            if !stays {
                self.unfold(*key);
            }
            stays
        });
        self.due = due;
    }

    /// Adds to what is being folded; `event` is asked for the first of its kind.
    fn fold(&mut self, now: Instant, key: Key, event: impl FnOnce() -> Event) {
        if let Some(event) = self.folded.get_mut(&key) {
            match &mut event.what {
                What::Denied { count, .. } | What::Limited { count, .. } | What::AuthFailed { count, .. } => {
                    *count += 1
                }
                What::Created { .. } | What::Refreshed { .. } | What::Moved { .. } | What::Closed { .. } => {}
            }
            return;
        }
        let is_stranger = matches!(key.who, Who::Client(_));
        if self.folded.len() >= MAX_FOLDED || (is_stranger && self.of_strangers >= MAX_FOLDED / 2) {
            self.dropped += 1;
            return;
        }
        self.of_strangers += usize::from(is_stranger);
        self.folded.insert(key, event());
        self.due.push_back((now + FOLD, key));
    }
}

impl Server {
    /// The next event; `None` when there is no more. Drain after every `handle_*`, behind the outputs.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.stats.events_dropped = self.journal.dropped();
        self.journal.pop()
    }

    /// An allocation was made.
    pub(super) fn note_created(&mut self, now: Now, index: u32, lifetime: Duration) {
        self.note(now, index, |_| What::Created { lifetime });
    }

    /// An allocation was refreshed.
    pub(super) fn note_refreshed(&mut self, now: Now, index: u32, lifetime: Duration) {
        self.note(now, index, |_| What::Refreshed { lifetime });
    }

    /// An allocation has followed its client.
    pub(super) fn note_moved(&mut self, now: Now, index: u32, from: ClientAddr) {
        self.note(now, index, |_| What::Moved { from });
    }

    /// An allocation is about to end; its relayed addresses are still there.
    pub(super) fn note_closed(&mut self, now: Now, index: u32, reason: CloseReason) {
        if !self.journal.is_on() {
            return;
        }
        if let Some(who) = self.who(index) {
            self.journal.settle_all_of(who);
        }
        self.note(now, index, |allocation| What::Closed {
            reason,
            lived: now.instant.saturating_duration_since(allocation.began),
            to_peer: allocation.to_peer,
            to_client: allocation.to_client,
        });
    }

    /// Counts a peer that is refused, and notes it.
    pub(super) fn deny(&mut self, now: Now, index: u32, class: PeerClass, asked: Asked, peer: IpAddr) {
        self.stats.denied_peers[class.index()] += 1;
        self.fold(
            now,
            index,
            Class::Denied(class),
            What::Denied {
                class,
                asked,
                peer,
                count: 1,
            },
        );
    }

    /// Counts a bound of an allocation that was reached, and notes it.
    pub(super) fn hit_quota(&mut self, now: Now, index: u32, kind: QuotaKind) {
        self.stats.quota_hits[kind.index()] += 1;
        let limit = Limit::Quota(kind);
        self.fold(now, index, Class::Limited(limit), What::Limited { limit, count: 1 });
    }

    /// Counts a packet that a rate stops, and notes it.
    pub(super) fn hit_rate(&mut self, now: Now, index: u32, kind: RateKind, direction: Direction) {
        self.stats.over_rate[direction.index()][kind.index()] += 1;
        let realm = self.allocations.get(index).map(|allocation| allocation.realm);
        if let Some(realm) = realm.and_then(|realm| self.realms.stats_mut(realm)) {
            realm.over_rate += 1;
        }
        let limit = Limit::Rate(kind, direction);
        self.fold(now, index, Class::Limited(limit), What::Limited { limit, count: 1 });
    }

    /// Counts an Allocate request that a bound refuses, and notes it.
    pub(super) fn hit_quota_at_allocate(&mut self, now: Now, from: &FiveTuple, whom: (RealmId, &str), kind: QuotaKind) {
        self.stats.quota_hits[kind.index()] += 1;
        let limit = Limit::Quota(kind);
        let what = What::Limited { limit, count: 1 };
        self.fold_stranger(now, from, (whom.0, Some(whom.1)), Class::Limited(limit), what);
    }

    /// Counts credentials that are turned away, and notes those whose sender is where it says: what can be forged must not make
    /// an operator's firewall close an address. `whom` has the realm that is named, and the username where it was proven.
    pub(super) fn fail_authentication(
        &mut self,
        now: Now,
        from: &FiveTuple,
        whom: (RealmId, Option<&str>),
        reason: AuthFailure,
    ) {
        self.stats.auth_failures[reason.index()] += 1;
        if reason != AuthFailure::NoCredentials
            && let Some(realm) = self.realms.stats_mut(whom.0)
        {
            realm.auth_failures[reason.index()] += 1;
        }
        match reason {
            AuthFailure::UnknownUser
            | AuthFailure::WrongPassword
            | AuthFailure::Expired
            | AuthFailure::WrongUser
            | AuthFailure::Revoked => {
                let (ticks, limits) = (self.ticks(now), &self.config.limits);
                let source = client_prefix(from.client.0.ip(), limits.client_prefix_v4, limits.client_prefix_v6);
                self.ledger.tallies().failed(ticks, source);
                let what = What::AuthFailed { reason, count: 1 };
                self.fold_stranger(now, from, whom, Class::AuthFailed(reason), what);
            }
            // How every session begins, or judged before the nonce is.
            _ => {}
        }
    }

    fn note(&mut self, now: Now, index: u32, what: impl FnOnce(&Allocation) -> What) {
        if !self.journal.is_on() {
            return;
        }
        let Some(allocation) = self.allocations.get(index) else {
            return;
        };
        let event = Event {
            at: now.unix,
            about: self.subject(index, allocation),
            what: what(allocation),
        };
        self.journal.push(event);
    }

    #[inline]
    fn fold(&mut self, now: Now, index: u32, class: Class, what: What) {
        if self.journal.is_on() {
            self.fold_of(now, index, class, what);
        }
    }

    fn fold_of(&mut self, now: Now, index: u32, class: Class, what: What) {
        let (Some(who), Some(allocation)) = (self.who(index), self.allocations.get(index)) else {
            return;
        };
        let id = self.id(index);
        let realm = self.realms.name(allocation.realm);
        self.journal.fold(now.instant, Key { who, what: class }, || Event {
            at: now.unix,
            about: subject(realm, id, allocation),
            what,
        });
    }

    fn fold_stranger(
        &mut self,
        now: Now,
        from: &FiveTuple,
        (realm, username): (RealmId, Option<&str>),
        class: Class,
        what: What,
    ) {
        if !self.journal.is_on() {
            return;
        }
        let (config, realm) = (&*self.config, self.realms.name(realm));
        let limits = &config.limits;
        let who = Who::Client(client_prefix(
            from.client.0.ip(),
            limits.client_prefix_v4,
            limits.client_prefix_v6,
        ));
        self.journal.fold(now.instant, Key { who, what: class }, || Event {
            at: now.unix,
            about: Subject {
                allocation: None,
                username: username.map(Box::from),
                user: username.map(|username| quota_user(config, username).into()),
                realm: realm.into(),
                transport: from.transport,
                client: from.client,
                listen: from.server,
                relayed: [None; 2],
            },
            what,
        });
    }

    fn who(&self, index: u32) -> Option<Who> {
        let generation = self.allocations.generation(index)?;
        Some(Who::Allocation { index, generation })
    }

    fn id(&self, index: u32) -> Option<AllocationId> {
        self.allocations.generation(index).map(|generation| AllocationId {
            shard: self.shard.index,
            index,
            generation,
        })
    }

    fn subject(&self, index: u32, allocation: &Allocation) -> Subject {
        let realm = self.realms.name(allocation.realm);
        subject(realm, self.id(index), allocation)
    }
}

fn subject(realm: &str, id: Option<AllocationId>, allocation: &Allocation) -> Subject {
    let FiveTuple {
        transport,
        client,
        server,
    } = allocation.five_tuple;
    Subject {
        allocation: id,
        username: Some(allocation.username.clone()),
        user: Some(allocation.lease.user().into()),
        realm: realm.into(),
        transport,
        client,
        listen: server,
        relayed: [0, 1].map(|family: usize| allocation.relays[family].as_ref().map(|leg| leg.relayed)),
    }
}
