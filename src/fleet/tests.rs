//! Several replicas in virtual time, over a bus that the test delivers, loses or cuts.

use super::*;
use crate::credentials::{Advertised, UnixTime, UriTransport};
use crate::turn::{MAX_REVOCATIONS, PARTS, Revoked};

/// One replica.
struct Replica {
    fleet: Fleet,
    revocations: Revocations,
    linked: bool,
    sweeps: u64,
    /// How often it made its choice anew.
    choices: u64,
    /// Messages it has published.
    said: u64,
}

/// All of them, and one clock.
struct World {
    replicas: Vec<Replica>,
    now: Now,
    /// Of the last message that a test wrote itself.
    stamp: u64,
}

fn id(at: usize) -> NodeId {
    NodeId::new([at as u8 + 1; 8])
}

fn config(at: usize) -> Config {
    Config {
        nodes: 4,
        hosts: vec![format!("relay{at}.example").parse().unwrap()],
        ..Config::new(id(at))
    }
}

const UDP: Advertised = Advertised {
    transport: UriTransport::Udp,
    secure: false,
    port: 3478,
};

impl World {
    /// Everybody has a relay.
    fn with_relays(count: usize) -> Self {
        let mut world = Self::linked(count);
        for replica in &mut world.replicas {
            replica.fleet.open(&[UDP], "1");
        }
        world.deliver();
        world
    }

    /// Which relay each of some rooms is given first, by what a replica knows.
    fn firsts(&self, at: usize) -> Vec<Option<String>> {
        let choice = self.replicas[at].fleet.choice();
        let of = |room| Some(choice.of(RoomKey::new(None, &format!("{room}")))?.turn[0].clone());
        (0..200).map(of).collect()
    }

    /// What a replica knows, whether it has chosen by it or not.
    fn standing(&self, at: usize) -> [u64; Standing::COUNT] {
        let mut known = [0; Standing::COUNT];
        for (_, announced) in self.replicas[at].fleet.relays() {
            known[announced.standing.index()] += 1;
        }
        known
    }

    /// As that replica, or a stranger, would say it now; nobody signs.
    fn message(&mut self, from: usize, message: &Message) -> Bytes {
        self.stamp = (self.stamp + 1).max(unix_ms(self.now));
        Seals::default().seal(&message.encode(id(from), self.stamp))
    }

    fn new(count: usize) -> Self {
        let replicas = (0..count).map(|at| {
            let revocations = Revocations::default();
            Replica {
                fleet: Fleet::new(config(at), revocations.clone()),
                revocations,
                linked: false,
                sweeps: 0,
                choices: 0,
                said: 0,
            }
        });
        let now = Now {
            instant: Instant::now(),
            unix: UnixTime(1_800_000_000),
        };
        Self {
            replicas: replicas.collect(),
            now,
            stamp: 0,
        }
    }

    fn linked(count: usize) -> Self {
        let mut world = Self::new(count);
        for at in 0..count {
            world.link(at);
        }
        world.pass(Duration::from_secs(1));
        world
    }

    fn link(&mut self, at: usize) {
        let replica = &mut self.replicas[at];
        replica.linked = true;
        replica.fleet.bus_connected(self.now);
        self.deliver();
    }

    fn cut(&mut self, at: usize) {
        let replica = &mut self.replicas[at];
        replica.linked = false;
        replica.fleet.bus_lost();
    }

    /// Delivers everything, and what comes of it.
    fn deliver(&mut self) {
        loop {
            let mut under_way = Vec::new();
            for replica in &mut self.replicas {
                while let Some(output) = replica.fleet.poll_output() {
                    match output {
                        Output::Sweep => replica.sweeps += 1,
                        Output::Chosen => replica.choices += 1,
                        Output::Publish { topic, payload } => {
                            assert!(replica.linked, "published without a bus");
                            replica.said += 1;
                            under_way.push((topic, payload));
                        }
                    }
                }
            }
            if under_way.is_empty() {
                return;
            }
            for (topic, payload) in under_way {
                for at in 0..self.replicas.len() {
                    let is_meant = topic == FleetTopic::Everybody || topic == FleetTopic::Node(id(at));
                    if is_meant && self.replicas[at].linked {
                        self.replicas[at].fleet.handle_remote(self.now, &payload);
                    }
                }
            }
        }
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now.instant + time;
        loop {
            let due = self
                .replicas
                .iter()
                .filter_map(|replica| replica.fleet.poll_timeout())
                .min();
            let until = due.filter(|due| *due <= end).unwrap_or(end);
            let seconds_before = self.now.instant;
            self.now.instant = self.now.instant.max(until);
            let passed = self.now.instant - seconds_before;
            self.now.unix = UnixTime(self.now.unix.0 + passed.as_secs());
            if due.is_none_or(|due| due > end) {
                return;
            }
            for replica in &mut self.replicas {
                replica.fleet.handle_timeout(self.now);
            }
            self.deliver();
        }
    }

    fn revoke(&mut self, at: usize, user: &str) {
        let replica = &mut self.replicas[at];
        let until = UnixTime(self.now.unix.0 + 3_600);
        let who = Revoked::User(user.into());
        let change = replica.revocations.insert(self.now.unix, who, until).unwrap();
        replica.fleet.tell(&change);
        self.deliver();
    }

    fn lift(&mut self, at: usize, user: &str) {
        let replica = &mut self.replicas[at];
        let change = replica.revocations.lift(self.now.unix, &Revoked::User(user.into()));
        replica.fleet.tell(&change.unwrap());
        self.deliver();
    }

    fn is_out(&self, at: usize, user: &str) -> bool {
        self.replicas[at].revocations.contains(self.now.unix, "", user)
    }

    fn said(&self) -> u64 {
        self.replicas.iter().map(|replica| replica.said).sum()
    }

    fn stats(&self, at: usize) -> Stats {
        self.replicas[at].fleet.stats()
    }

    fn assert_alike(&self) {
        let first = self.replicas[0].revocations.digests(self.now.unix);
        for replica in &self.replicas {
            assert_eq!(replica.revocations.digests(self.now.unix), first);
        }
    }
}

#[test]
fn who_is_turned_away_on_one_replica_is_on_all_at_once_and_is_told_once() {
    let mut world = World::linked(3);
    let before = world.said();
    world.revoke(1, "mallory");
    assert!((0..3).all(|at| world.is_out(at, "mallory")));
    assert_eq!(world.said() - before, 1, "nobody says again what was said");
    assert_eq!(
        [0, 1, 2].map(|at| world.replicas[at].sweeps),
        [1, 0, 1],
        "its own operator ended the rest itself"
    );
    world.lift(2, "mallory");
    assert!((0..3).all(|at| !world.is_out(at, "mallory")));
    assert_eq!(
        [0, 1, 2].map(|at| world.replicas[at].sweeps),
        [1, 0, 1],
        "nothing ends by that"
    );
    assert_eq!(world.stats(0).changes, [0, 2, 0]);
    assert_eq!(world.stats(1).changes, [1, 1, 0]);
}

#[test]
fn a_replica_that_starts_or_was_cut_off_catches_up_and_tells_what_it_did_alone() {
    let mut world = World::new(3);
    world.link(0);
    for at in 0..1_000 {
        world.revoke(0, &format!("user{at}"));
    }
    // One that starts.
    world.link(1);
    assert!(world.is_out(1, "user999"), "before anything can pass");
    assert_eq!(
        world.replicas[1].sweeps,
        world.replicas[1].sweeps.min(PARTS as u64),
        "not a sweep each"
    );
    world.link(2);
    world.assert_alike();
    assert_eq!(world.stats(2).changes, [0, 0, 1_000]);
    // One that is cut off, while both sides go on.
    world.cut(1);
    world.revoke(0, "mallory");
    world.lift(0, "user3");
    world.revoke(1, "eve");
    world.lift(1, "user5");
    world.pass(Duration::from_secs(60));
    assert!(!world.is_out(1, "mallory") && world.is_out(1, "user3") && !world.is_out(0, "eve"));
    world.link(1);
    world.pass(Duration::from_secs(10));
    world.assert_alike();
    for at in 0..3 {
        assert!(world.is_out(at, "mallory") && world.is_out(at, "eve"), "{at}");
        assert!(!world.is_out(at, "user3") && !world.is_out(at, "user5"), "{at}");
    }
}

#[test]
fn replicas_that_are_alike_ask_nothing_and_one_that_ends_is_forgotten() {
    let mut world = World::linked(3);
    world.revoke(0, "mallory");
    let asked = |world: &World| (0..3).map(|at| world.stats(at).asked).sum::<u64>();
    world.pass(Duration::from_secs(20));
    let (before, said) = (asked(&world), world.said());
    world.pass(Duration::from_secs(60));
    assert_eq!(asked(&world), before);
    assert_eq!(world.said() - said, 3 * 30, "signs of life alone");
    world.cut(2);
    world.pass(Duration::from_secs(4));
    assert_eq!(world.stats(0).nodes, 2);
    world.pass(Duration::from_secs(4));
    assert_eq!(world.stats(0).nodes, 1);
}

#[test]
fn a_full_table_takes_no_more_counts_what_it_lacks_and_does_not_ask_for_ever() {
    let mut world = World::linked(2);
    for at in 0..MAX_REVOCATIONS {
        let who = Revoked::User(format!("of b {at}").into());
        let until = UnixTime(world.now.unix.0 + 360_000);
        world.replicas[1]
            .revocations
            .insert(world.now.unix, who, until)
            .unwrap();
    }
    world.revoke(0, "mallory");
    assert!(!world.is_out(1, "mallory"));
    assert_eq!(world.stats(1).full, 1);
    world.pass(Duration::from_secs(600));
    // The first has no room for one of the many; the second none for mallory. Neither asks each time.
    assert_eq!(world.stats(0).full.min(1), 1);
    let asked = world.stats(0).asked + world.stats(1).asked;
    world.pass(Duration::from_secs(600));
    let more = world.stats(0).asked + world.stats(1).asked - asked;
    assert!(more <= 64, "{more} in ten minutes");
}

#[test]
fn what_no_replica_says_changes_nothing_and_is_counted() {
    let mut world = World::linked(1);
    let says = |world: &mut World, from: usize, message: &Message| {
        let payload = world.message(from, message);
        world.replicas[0].fleet.handle_remote(world.now, &payload);
        world.deliver();
    };
    let change = |stamp| Change {
        who: Revoked::User("alice".into()),
        until: UnixTime(world_end()),
        in_force: true,
        stamp,
    };
    fn world_end() -> u64 {
        u64::MAX
    }
    // A time stamp that no operator could ever be later than.
    let changes = vec![change(u64::MAX)];
    says(&mut world, 7, &Message::Told { changes });
    assert!(!world.is_out(0, "alice"));
    // An answer that nobody asked for.
    let part = Message::Part {
        part: 0,
        more: false,
        changes: vec![change(1)],
    };
    says(&mut world, 7, &part);
    assert!(!world.is_out(0, "alice"));
    // Its own name in another's mouth.
    says(
        &mut world,
        0,
        &Message::Told {
            changes: vec![change(1)],
        },
    );
    assert!(!world.is_out(0, "alice"));
    world.replicas[0].fleet.handle_remote(world.now, b"\0\x02\x01");
    assert_eq!(world.stats(0).malformed, 2);
    // More names than may be: the fifth is not heard.
    for from in 10..13 {
        says(&mut world, from, &Message::Ask { part: 0, after: None });
    }
    says(
        &mut world,
        13,
        &Message::Told {
            changes: vec![change(1)],
        },
    );
    assert!(!world.is_out(0, "alice"));
    assert_eq!((world.stats(0).nodes, world.stats(0).turned_away), (4, 1));
    // And what may be said is done; an operator can undo it, whatever the stamp.
    let in_a_day = world.now.unix.0 * 1_000 + MAX_AHEAD_MS;
    says(
        &mut world,
        7,
        &Message::Told {
            changes: vec![change(in_a_day)],
        },
    );
    assert!(world.is_out(0, "alice"));
    world.lift(0, "alice");
    assert!(!world.is_out(0, "alice"));
}

#[test]
fn questions_beyond_the_bound_wait_for_the_next_heartbeat() {
    let mut world = World::linked(1);
    let ask = Message::Ask { part: 0, after: None };
    for _ in 0..ANSWERS + 10 {
        let ask = world.message(7, &ask);
        world.replicas[0].fleet.handle_remote(world.now, &ask);
    }
    world.deliver();
    assert_eq!(world.stats(0).unanswered, 10);
    world.pass(Duration::from_secs(2));
    let ask = world.message(7, &ask);
    world.replicas[0].fleet.handle_remote(world.now, &ask);
    assert_eq!(world.stats(0).unanswered, 10);
}

#[test]
fn a_replica_that_lies_about_what_it_knows_is_asked_less_and_less() {
    let mut world = World::linked(1);
    let alive = Message::Alive {
        hello: false,
        digests: Box::new([9; PARTS]),
    };
    for _ in 0..3_600 {
        let alive = world.message(7, &alive);
        world.replicas[0].fleet.handle_remote(world.now, &alive);
        world.pass(Duration::from_secs(1));
    }
    assert!(world.stats(0).asked < 40, "{}", world.stats(0).asked);
}

#[test]
fn all_replicas_choose_the_same_relays_and_load_alone_makes_no_choice_anew() {
    let mut world = World::with_relays(4);
    for at in 1..4 {
        assert_eq!(world.firsts(at), world.firsts(0));
    }
    world.pass(CHOICE_PAUSE);
    let choices = world.replicas[0].choices;
    for allocations in 1..60 {
        let load = Load {
            allocations,
            most_allocations: 100,
            ..Load::default()
        };
        world.replicas[1].fleet.set_load(load);
        world.pass(Duration::from_secs(1));
    }
    assert_eq!(world.replicas[0].choices, choices);
    let (_, known) = world.replicas[0]
        .fleet
        .relays()
        .find(|(node, _)| *node == id(1))
        .unwrap();
    assert!(known.load.allocations >= 57, "{known:?}");
}

#[test]
fn a_relay_that_drains_leaves_at_once_and_one_that_dies_after_its_time() {
    let mut world = World::with_relays(3);
    let before = world.firsts(0);
    world.replicas[1].fleet.drain();
    world.deliver();
    let drained = world.firsts(0);
    assert_eq!(world.standing(0), [2, 0, 1, 0]);
    let is_of = |url: &Option<String>, at: usize| url.as_ref().unwrap().contains(&format!("relay{at}."));
    for (was, is) in before.iter().zip(&drained) {
        assert_eq!(was == is, !is_of(was, 1));
    }
    world.cut(2);
    world.pass(Duration::from_secs(4));
    assert_eq!(world.firsts(0), drained);
    world.pass(Duration::from_secs(4));
    assert!(world.firsts(0).iter().all(|url| is_of(url, 0)));
    // The one that hears nobody keeps what it knows: perhaps it is Redis that is away.
    world.pass(Duration::from_secs(60));
    assert_eq!(world.firsts(2), drained);
    world.link(2);
    assert_eq!(world.firsts(0), drained);
}

#[test]
fn a_relay_that_is_full_is_told_of_at_once_and_taken_again_well_below_that() {
    let mut world = World::with_relays(2);
    let fill = |world: &mut World, allocations| {
        let load = Load {
            allocations,
            most_allocations: 100,
            ..Load::default()
        };
        world.replicas[1].fleet.set_load(load);
        world.deliver();
        world.standing(0)
    };
    assert_eq!(
        [50, 90, 80, 74, 89].map(|allocations| fill(&mut world, allocations)),
        [[2, 0, 0, 0], [1, 1, 0, 0], [1, 1, 0, 0], [2, 0, 0, 0], [2, 0, 0, 0]]
    );
    fill(&mut world, 95);
    assert!(
        world
            .firsts(0)
            .iter()
            .all(|url| url.as_ref().unwrap().contains("relay0."))
    );
    // A replica that comes later hears of it with the first word.
    world.cut(0);
    world.link(0);
    assert_eq!(world.standing(0), [1, 1, 0, 0]);
}

#[test]
fn a_replica_without_hosts_is_given_to_no_room_and_gives_rooms_to_others() {
    let mut world = World::linked(2);
    world.replicas[1].fleet.open(&[UDP], "1");
    let config = Config {
        hosts: Vec::new(),
        ..config(0)
    };
    world.replicas[0].fleet = Fleet::new(config, Revocations::default());
    world.replicas[0].fleet.open(&[UDP], "1");
    world.link(0);
    assert!(
        world
            .firsts(0)
            .iter()
            .all(|url| url.as_ref().unwrap().contains("relay1."))
    );
    assert_eq!(world.firsts(1), world.firsts(0));
}

#[test]
fn a_relay_that_its_own_probes_find_dead_leaves_the_rooms_of_all_replicas_and_comes_back() {
    let mut world = World::with_relays(3);
    let before = world.firsts(0);
    let find = |world: &mut World, dead: fn(&str) -> bool| {
        world.replicas[1].fleet.set_dead(dead);
        world.deliver();
        // A room that has its relay is asked about by its first list, which has another one by then.
        world.firsts(2)
    };
    assert_eq!(find(&mut world, |url| url.starts_with("stun:")), before, "it relays");
    assert_eq!(world.standing(0), [3, 0, 0, 0]);
    let dead = find(&mut world, |_| true);
    let is_of = |url: &Option<String>, at: usize| url.as_ref().unwrap().contains(&format!("relay{at}."));
    for (was, is) in before.iter().zip(&dead) {
        assert_eq!(was == is, !is_of(was, 1));
    }
    assert_eq!((world.standing(0), world.firsts(1)), ([2, 0, 0, 1], dead));
    // One that comes hears of it.
    world.cut(0);
    world.link(0);
    assert_eq!(world.standing(0), [2, 0, 0, 1]);
    // It ends while it is dead, or lives again.
    assert_eq!(find(&mut world, |_| false), before);
    find(&mut world, |_| true);
    world.replicas[1].fleet.drain();
    world.deliver();
    assert_eq!(world.standing(0), [2, 0, 1, 0]);
}

#[test]
fn what_a_reload_changes_of_a_relay_is_announced_at_once_and_nothing_is_where_nothing_changes() {
    let mut world = World::with_relays(2);
    world.replicas[1].fleet.set_dead(|url| url.starts_with("turn:"));
    world.deliver();
    let said = world.replicas[1].said;
    let reload = |world: &mut World, weight, listeners: &[Advertised]| {
        let wanted = Config {
            weight,
            region: "eu".into(),
            // What a reload cannot change.
            ..Config::new(id(9))
        };
        let wanted = Config {
            hosts: config(1).hosts,
            ..wanted
        };
        world.replicas[1].fleet.reconfigure(wanted, listeners);
        world.deliver();
        let (_, known) = world.replicas[0]
            .fleet
            .relays()
            .find(|(node, _)| *node == id(1))
            .unwrap();
        (known.relay.weight, known.relay.urls().pop().unwrap(), known.standing)
    };
    let turn = |port| format!("turn:relay1.example:{port}?transport=udp");
    assert_eq!(reload(&mut world, 7, &[UDP]), (7, turn(3478), Standing::Broken));
    let elsewhere = [Advertised { port: 443, ..UDP }];
    assert_eq!(reload(&mut world, 7, &elsewhere), (7, turn(443), Standing::Open));
    assert_eq!(world.replicas[1].said - said, 2);
    reload(&mut world, 7, &elsewhere);
    assert_eq!(world.replicas[1].said - said, 2);
}

#[test]
fn who_only_has_redis_adds_no_relay_turns_nobody_away_and_repeats_nobody() {
    let sealed = |secret: &str| Seals::new(Some(&crate::credentials::KeyRing::from_bytes([secret]).unwrap()));
    let mut world = World::new(1);
    let config = Config {
        seals: sealed("the secret of all"),
        ..config(0)
    };
    world.replicas[0].fleet = Fleet::new(config, world.replicas[0].revocations.clone());
    world.link(0);
    let change = Change {
        who: Revoked::User("alice".into()),
        until: UnixTime(u64::MAX),
        in_force: true,
        stamp: 1,
    };
    let message = Message::Told { changes: vec![change] };
    let unsigned = world.message(7, &message);
    let stamp = unix_ms(world.now);
    let by = |secret: &str, stamp| sealed(secret).seal(&message.encode(id(7), stamp));
    let mut hears = |payload: &[u8]| {
        world.replicas[0].fleet.handle_remote(world.now, payload);
        let stats = world.stats(0);
        (stats.nodes, stats.forged, stats.stale, world.is_out(0, "alice"))
    };
    assert_eq!(hears(&unsigned), (0, 1, 0, false));
    assert_eq!(hears(&by("another secret", stamp)), (0, 2, 0, false));
    // What was said long ago, and by a clock of tomorrow.
    assert_eq!(
        hears(&by("the secret of all", stamp - MAX_SKEW_MS - 1)),
        (0, 2, 1, false)
    );
    assert_eq!(
        hears(&by("the secret of all", stamp + MAX_SKEW_MS + 1)),
        (0, 2, 2, false)
    );
    let said = by("the secret of all", stamp + MAX_SKEW_MS);
    assert_eq!(hears(&said), (1, 2, 2, true));
    // And once.
    assert_eq!(hears(&said), (1, 2, 3, true));
    assert_eq!(hears(&by("the secret of all", stamp)), (1, 2, 4, true));
}

/// Of a relay with that weight.
fn announcement(weight: u16) -> Message {
    Message::Relay(Box::new(Announced {
        relay: Relay {
            hosts: config(3).hosts,
            listeners: vec![UDP],
            weight,
            region: "".into(),
            version: "1".into(),
        },
        standing: Standing::Open,
        load: Load::default(),
        dead: Dead::default(),
    }))
}

#[test]
fn a_relay_is_counted_from_when_rooms_are_dealt_to_it() {
    let mut world = World::with_relays(2);
    world.pass(Duration::from_secs(1));
    let open = |world: &World| world.stats(0).relays[Standing::Open.index()];
    assert_eq!(open(&world), 2);
    // The first one counts at once, and the second one waits until there may be another choice.
    for (from, counted) in [(3, 3), (4, 3)] {
        let said = world.message(from, &announcement(1));
        world.replicas[0].fleet.handle_remote(world.now, &said);
        world.deliver();
        assert_eq!(open(&world), counted);
    }
    world.pass(CHOICE_PAUSE);
    assert_eq!(open(&world), 4);
}

#[test]
fn relays_that_change_all_the_time_are_chosen_from_four_times_a_second_and_their_own_replica_at_once() {
    let mut world = World::with_relays(2);
    world.pass(Duration::from_secs(1));
    let (choices, postponed) = (world.replicas[0].choices, world.stats(0).postponed);
    for nth in 0..1_000_u16 {
        let payload = world.message(3, &announcement(1 + nth % 2));
        world.replicas[0].fleet.handle_remote(world.now, &payload);
        world.deliver();
        world.pass(Duration::from_millis(1));
    }
    let made = world.replicas[0].choices - choices;
    assert!((4..=5).contains(&made), "{made} in a second");
    // The last word counts in the end.
    let last = world.message(3, &announcement(1_000));
    world.replicas[0].fleet.handle_remote(world.now, &last);
    world.pass(CHOICE_PAUSE);
    let before = world.replicas[0].choices;
    assert!(before > choices + made);
    assert_eq!(world.stats(0).postponed - postponed, 1_001 - (before - choices));
    world.replicas[0].fleet.drain();
    world.deliver();
    assert_eq!(world.replicas[0].choices, before + 1);
}
