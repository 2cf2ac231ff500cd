//! What was done lately, by whom: events and looks in, names and bounds out, by minutes that are given.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::IpAddr;

use super::sketch::Sketch;
use super::{By, MINUTES, Per, Question, Talker, Who};
use crate::turn::{AllocationId, AllocationView, Event, Traffic, What};

#[derive(Debug)]
struct Minute {
    number: u64,
    sketches: HashMap<(By, Per), Sketch<Who>>,
}

/// What is counted already of an allocation that lives.
#[derive(Clone, Copy, Debug)]
struct Seen {
    traffic: Traffic,
    /// The look that found it last.
    look: u64,
}

/// Whose doing it is.
struct Doer<'a> {
    realm: &'a str,
    user: Option<&'a str>,
    client: IpAddr,
}

/// What was done lately, by whom.
#[derive(Debug, Default)]
pub struct Counts {
    /// Only those in which something was done, the oldest first.
    minutes: VecDeque<Minute>,
    /// As many as there may be allocations.
    living: HashMap<AllocationId, Seen>,
    /// Number of the last look.
    look: u64,
    /// What ended while a look is under way, which may still show it; `None` between looks.
    ended: Option<HashSet<AllocationId>>,
}

impl Counts {
    /// Takes an event. `minute` never goes back.
    pub fn handle_event(&mut self, minute: u64, event: &Event) {
        let about = &event.about;
        let doer = Doer {
            realm: &about.realm,
            user: about.user.as_deref(),
            client: about.client.0.ip().to_canonical(),
        };
        match event.what {
            What::Created { .. } => self.add(minute, By::Allocations, &doer, 1),
            What::Denied { count, .. } => self.add(minute, By::Denied, &doer, count),
            What::AuthFailed { count, .. } => self.add(minute, By::AuthFailures, &doer, count),
            What::Closed { to_peer, to_client, .. } => {
                let known = about.allocation.and_then(|id| self.living.remove(&id));
                if let (Some(ended), Some(id)) = (&mut self.ended, about.allocation) {
                    ended.insert(id);
                }
                self.add_traffic(minute, &doer, to_peer.plus(to_client), known);
            }
            What::Refreshed { .. } | What::Moved { .. } | What::Limited { .. } => {}
        }
    }

    /// A look at all living allocations begins.
    pub fn begin_look(&mut self) {
        self.look += 1;
        self.ended = Some(HashSet::new());
    }

    /// Takes one allocation that the look has found.
    pub fn handle_living(&mut self, minute: u64, view: &AllocationView) {
        // It was found before it ended, and its end has been counted.
        if self.ended.as_ref().is_some_and(|ended| ended.contains(&view.id)) {
            return;
        }
        let traffic = view.to_peer.plus(view.to_client);
        let look = self.look;
        let known = self.living.insert(view.id, Seen { traffic, look });
        let doer = Doer {
            realm: &view.realm,
            user: Some(&view.user),
            client: view.client.ip().to_canonical(),
        };
        self.add_traffic(minute, &doer, traffic, known);
    }

    /// The look is over. If it was `whole`, what it has not found has ended, though its end may not have been told.
    pub fn end_look(&mut self, whole: bool) {
        let look = self.look;
        if whole {
            self.living.retain(|_, seen| seen.look == look);
        }
        self.ended = None;
    }

    fn add_traffic(&mut self, minute: u64, doer: &Doer<'_>, traffic: Traffic, known: Option<Seen>) {
        let added = traffic.minus(known.map(|seen| seen.traffic).unwrap_or_default());
        self.add(minute, By::Bytes, doer, added.bytes);
        self.add(minute, By::Packets, doer, added.packets);
    }

    fn add(&mut self, minute: u64, by: By, doer: &Doer<'_>, weight: u64) {
        if weight == 0 {
            return;
        }
        if self.minutes.back().is_none_or(|last| last.number < minute) {
            self.minutes.push_back(Minute {
                number: minute,
                sketches: HashMap::new(),
            });
            while self
                .minutes
                .front()
                .is_some_and(|first| first.number + MINUTES < minute)
            {
                self.minutes.pop_front();
            }
        }
        let Some(running) = self.minutes.back_mut() else { return };
        for per in Per::ALL {
            let who = match (per, doer.user) {
                (Per::User, None) => continue,
                (Per::User, Some(user)) => Who::User {
                    realm: doer.realm.into(),
                    user: user.into(),
                },
                (Per::Client, _) => Who::Client(doer.client),
                (Per::Realm, _) => Who::Realm(doer.realm.into()),
            };
            let sketch = running.sketches.entry((by, per)).or_insert_with(Sketch::new);
            sketch.add(who, weight);
        }
    }

    /// Who did most in `minute` and the window before it; and what anybody did at most who is in none of the sketches.
    pub fn top(&self, minute: u64, question: Question) -> (Vec<Talker>, u64) {
        let Question { by, per, window, most } = question;
        let first = minute.saturating_sub(window);
        let minutes = self.minutes.iter().filter(|one| one.number >= first);
        let sketches: Vec<_> = minutes.filter_map(|one| one.sketches.get(&(by, per))).collect();
        let unseen: Vec<u64> = sketches.iter().map(|sketch| sketch.unseen()).collect();
        let all = unseen.iter().fold(0, |sum: u64, one| sum.saturating_add(*one));
        let mut found: HashMap<&Who, (u64, u64)> = HashMap::new();
        for (sketch, unseen) in sketches.iter().zip(&unseen) {
            for (who, counted) in sketch.iter() {
                let (least, over) = found.entry(who).or_insert((0, all));
                *least = least.saturating_add(counted.count - counted.error);
                // What may be missing of it in this minute is known better: its error.
                *over = over.saturating_sub(*unseen).saturating_add(counted.error);
            }
        }
        let mut talkers: Vec<_> = found
            .into_iter()
            .map(|(who, (at_least, over))| Talker {
                who: who.clone(),
                at_least,
                at_most: at_least.saturating_add(over),
            })
            .collect();
        talkers.sort_by_key(|one| std::cmp::Reverse((one.at_most, one.at_least)));
        talkers.truncate(most);
        (talkers, all)
    }
}

#[cfg(test)]
mod tests {
    use super::super::KEPT;
    use super::*;
    use crate::credentials::UnixTime;
    use crate::turn::{ClientAddr, CloseReason, ListenAddr, PeerClass, RelayedTransport, Subject, Transport};
    use std::net::SocketAddr;
    use std::time::Duration;

    fn doer(user: &str) -> Doer<'_> {
        Doer {
            realm: "acme",
            user: Some(user),
            client: IpAddr::from([192, 0, 2, 1]),
        }
    }

    fn users(counts: &Counts, minute: u64, window: u64) -> (Vec<(String, u64, u64)>, u64) {
        let question = Question {
            by: By::Bytes,
            per: Per::User,
            window,
            most: 1000,
        };
        let (top, unseen) = counts.top(minute, question);
        let named = top.into_iter().map(|one| match one.who {
            Who::User { user, .. } => (user.into_string(), one.at_least, one.at_most),
            other => panic!("{other:?}"),
        });
        (named.collect(), unseen)
    }

    /// Exactly so much, of each user.
    fn exactly(counts: &Counts) -> Vec<(String, u64)> {
        let (mut all, unseen) = users(counts, 0, 0);
        assert!(
            unseen == 0 && all.iter().all(|(_, least, most)| least == most),
            "{all:?}"
        );
        all.sort();
        all.into_iter().map(|(user, least, _)| (user, least)).collect()
    }

    fn traffic(bytes: u64) -> Traffic {
        Traffic { packets: 1, bytes }
    }

    fn client() -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], 1000))
    }

    fn id(place: u32) -> AllocationId {
        format!("0-{place}-1").parse().unwrap()
    }

    fn living(place: u32, user: &str, bytes: u64) -> AllocationView {
        AllocationView {
            id: id(place),
            username: user.into(),
            user: user.into(),
            realm: "acme".into(),
            transport: Transport::Udp,
            client: client(),
            relayed_transport: RelayedTransport::Udp,
            relayed: Vec::new(),
            created: UnixTime(0),
            expires: UnixTime(0),
            to_peer: traffic(bytes),
            to_client: Traffic::default(),
            permissions: 0,
            channels: 0,
            connections: 0,
        }
    }

    fn event(place: u32, user: &str, what: What) -> Event {
        Event {
            at: UnixTime(0),
            about: Subject {
                allocation: Some(id(place)),
                username: Some(user.into()),
                user: Some(user.into()),
                realm: "acme".into(),
                transport: Transport::Udp,
                client: ClientAddr(client()),
                listen: ListenAddr(client()),
                relayed: [None; 2],
            },
            what,
        }
    }

    fn closed(place: u32, user: &str, bytes: u64) -> Event {
        let what = What::Closed {
            reason: CloseReason::Expired,
            lived: Duration::ZERO,
            to_peer: traffic(bytes),
            to_client: Traffic::default(),
        };
        event(place, user, what)
    }

    #[test]
    fn a_byte_counts_once_whether_looks_or_the_end_show_it() {
        let mut counts = Counts::default();
        counts.begin_look();
        counts.handle_living(0, &living(1, "alice", 100));
        counts.end_look(true);
        counts.begin_look();
        counts.handle_living(0, &living(1, "alice", 150));
        counts.end_look(true);
        assert_eq!(exactly(&counts), [("alice".to_owned(), 150)]);
        counts.handle_event(0, &closed(1, "alice", 170));
        // One that no look has found.
        counts.handle_event(0, &closed(2, "bob", 30));
        assert_eq!(exactly(&counts), [("alice".to_owned(), 170), ("bob".to_owned(), 30)]);
        assert!(counts.living.is_empty());
    }

    #[test]
    fn a_look_that_shows_what_has_ended_meanwhile_does_not_count_it_again() {
        let mut counts = Counts::default();
        counts.begin_look();
        let found = living(1, "alice", 100);
        counts.handle_event(0, &closed(1, "alice", 120));
        counts.handle_living(0, &found);
        counts.end_look(true);
        assert_eq!(exactly(&counts), [("alice".to_owned(), 120)]);
        assert!(counts.living.is_empty());
        // Between looks nothing is kept of what ends.
        counts.handle_event(0, &closed(2, "bob", 1));
        assert!(counts.ended.is_none());
    }

    #[test]
    fn what_ends_untold_is_forgotten_by_the_next_whole_look_and_by_no_other() {
        let mut counts = Counts::default();
        counts.begin_look();
        counts.handle_living(0, &living(1, "alice", 100));
        counts.end_look(true);
        counts.begin_look();
        counts.end_look(false);
        assert_eq!(counts.living.len(), 1);
        counts.begin_look();
        counts.end_look(true);
        assert!(counts.living.is_empty());
    }

    #[test]
    fn what_was_refused_counts_as_often_as_it_was_for_user_client_and_realm() {
        let mut counts = Counts::default();
        let denied = What::Denied {
            class: PeerClass::Private,
            asked: crate::turn::Asked::Send,
            peer: IpAddr::from([10, 0, 0, 1]),
            count: 7,
        };
        counts.handle_event(0, &event(1, "mallory", denied));
        let failed = What::AuthFailed {
            reason: crate::turn::AuthFailure::WrongPassword,
            count: 3,
        };
        let mut failed = event(1, "mallory", failed);
        failed.about.user = None;
        counts.handle_event(0, &failed);
        let lifetime = Duration::from_secs(600);
        counts.handle_event(0, &event(2, "alice", What::Created { lifetime }));
        let count = |by, per| {
            let question = Question {
                by,
                per,
                window: 1,
                most: 10,
            };
            let (top, _) = counts.top(0, question);
            top.into_iter().map(|one| (one.who, one.at_most)).collect::<Vec<_>>()
        };
        let user = |user: &str| Who::User {
            realm: "acme".into(),
            user: user.into(),
        };
        assert_eq!(count(By::Denied, Per::User), [(user("mallory"), 7)]);
        assert_eq!(count(By::Denied, Per::Client), [(Who::Client(client().ip()), 7)]);
        assert_eq!(count(By::AuthFailures, Per::User), []);
        assert_eq!(count(By::AuthFailures, Per::Client), [(Who::Client(client().ip()), 3)]);
        assert_eq!(count(By::AuthFailures, Per::Realm), [(Who::Realm("acme".into()), 3)]);
        assert_eq!(count(By::Allocations, Per::User), [(user("alice"), 1)]);
        assert_eq!(count(By::Bytes, Per::User), []);
    }

    #[test]
    fn while_there_is_room_counts_are_exact() {
        let mut counts = Counts::default();
        for at in 0..KEPT {
            for _ in 0..2 {
                counts.add(0, By::Bytes, &doer(&format!("u{at}")), at as u64 + 1);
            }
        }
        let (top, unseen) = users(&counts, 0, 1);
        assert_eq!((top.len(), unseen), (KEPT, 2));
        let most = 2 * KEPT as u64;
        assert_eq!(top[0], (format!("u{}", KEPT - 1), most, most));
        assert!(top.iter().all(|(_, least, most)| least == most));
    }

    #[test]
    fn whoever_does_more_than_their_part_is_found_among_strangers_within_the_bounds_told() {
        let mut counts = Counts::default();
        let mut truth: HashMap<String, u64> = HashMap::new();
        let mut random = 1_u64;
        for at in 0..40_000_u64 {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let (user, weight) = match at % 20 {
                0 => ("heavy".to_owned(), 500),
                1 => (format!("mid{}", random >> 60), 100),
                _ => (format!("stranger{}", random >> 40), random >> 58),
            };
            *truth.entry(user.clone()).or_insert(0) += weight;
            counts.add(at / 10_000, By::Bytes, &doer(&user), weight);
        }
        let sketches = counts.minutes.iter().flat_map(|minute| minute.sketches.values());
        assert!(sketches.into_iter().all(|sketch| sketch.len() <= KEPT));
        let (top, unseen) = users(&counts, 3, 3);
        assert_eq!(top[0].0, "heavy");
        for (user, least, most) in &top {
            let true_count = truth[user];
            assert!(
                (*least..=*most).contains(&true_count),
                "{user}: {least} {true_count} {most}"
            );
        }
        let named: HashSet<_> = top.iter().map(|(user, ..)| user).collect();
        let all: u64 = truth.values().sum();
        assert!(unseen <= all / KEPT as u64, "{unseen} of {all}");
        for (user, count) in truth.iter().filter(|(user, _)| !named.contains(user)) {
            assert!(*count <= unseen, "{user}: {count} > {unseen}");
        }
    }

    #[test]
    fn what_is_older_than_the_window_does_not_count_and_is_forgotten() {
        let mut counts = Counts::default();
        counts.add(0, By::Bytes, &doer("old"), 1000);
        counts.add(5, By::Bytes, &doer("new"), 1);
        assert_eq!(users(&counts, 5, 4).0, [("new".to_owned(), 1, 1)]);
        assert_eq!(users(&counts, 5, 5).0.len(), 2);
        assert_eq!(users(&counts, 70, 60).0, []);
        for minute in 6..1000 {
            counts.add(minute, By::Bytes, &doer("new"), 1);
            assert!(counts.minutes.len() as u64 <= MINUTES + 1);
        }
        assert_eq!(users(&counts, 999, 60).0, [("new".to_owned(), 61, 61)]);
    }
}
