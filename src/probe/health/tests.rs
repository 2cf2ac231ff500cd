//! The judgement in virtual time.

use super::*;
use Verdict::{Fails, Unknown, Works};

const RULES: Rules = Rules {
    failures: 3,
    successes: 2,
    calm: Duration::from_secs(600),
};

/// A server that is probed every ten seconds.
struct Probed {
    health: Health,
    now: Duration,
}

impl Probed {
    fn new() -> Self {
        let now = Duration::from_secs(1000);
        let health = Health::new(now);
        Self { health, now }
    }

    fn sees(&mut self, verdict: Verdict) -> Option<Change> {
        self.now += Duration::from_secs(10);
        self.health.judge(self.now, &RULES, verdict)
    }

    /// How many of these results in a row it takes to a change, and which.
    fn until_change(&mut self, verdict: Verdict) -> (u32, Change) {
        for nth in 1..100 {
            if let Some(change) = self.sees(verdict) {
                return (nth, change);
            }
        }
        panic!("nothing changes by {verdict:?}");
    }
}

#[test]
fn a_server_works_until_three_failures_in_a_row_prove_the_contrary() {
    let mut server = Probed::new();
    assert_eq!(server.health.state(), State::Up);
    for _ in 0..5 {
        // Two are none.
        assert_eq!([server.sees(Fails), server.sees(Fails), server.sees(Works)], [None; 3]);
        assert_eq!(server.health.against(), 0);
    }
    assert_eq!([server.sees(Fails), server.sees(Fails)], [None; 2]);
    assert_eq!((server.health.state(), server.health.against()), (State::Up, 2));
    assert_eq!(server.sees(Fails), Some(Change::Died));
    assert_eq!(
        (server.health.state(), server.health.since()),
        (State::Down, server.now)
    );
}

#[test]
fn two_successes_in_a_row_bring_it_back_and_each_change_is_told_once() {
    let mut server = Probed::new();
    assert_eq!(server.until_change(Fails), (3, Change::Died));
    for _ in 0..20 {
        assert_eq!(server.sees(Fails), None);
    }
    assert_eq!([server.sees(Works), server.sees(Fails), server.sees(Works)], [None; 3]);
    assert_eq!(server.sees(Works), Some(Change::Recovered));
    assert_eq!((server.health.state(), server.health.since()), (State::Up, server.now));
    for _ in 0..20 {
        assert_eq!(server.sees(Works), None);
    }
}

#[test]
fn what_says_nothing_about_the_server_neither_counts_nor_interrupts() {
    let mut server = Probed::new();
    for _ in 0..10 {
        assert_eq!(server.sees(Unknown), None);
    }
    assert_eq!(
        [
            server.sees(Fails),
            server.sees(Unknown),
            server.sees(Fails),
            server.sees(Unknown)
        ],
        [None; 4]
    );
    assert_eq!(server.sees(Fails), Some(Change::Died));
    assert_eq!(
        [server.sees(Unknown), server.sees(Works), server.sees(Unknown)],
        [None; 3]
    );
    assert_eq!(server.sees(Works), Some(Change::Recovered));
}

#[test]
fn one_that_dies_again_soon_has_to_show_twice_as_many_successes_each_time_and_no_more_than_32() {
    let mut server = Probed::new();
    let mut shown = Vec::new();
    for _ in 0..7 {
        assert_eq!(server.until_change(Fails), (3, Change::Died));
        shown.push(server.until_change(Works).0);
    }
    assert_eq!(shown, [2, 4, 8, 16, 32, 32, 32]);
}

#[test]
fn one_that_has_worked_for_long_enough_is_forgiven() {
    let mut server = Probed::new();
    for _ in 0..3 {
        server.until_change(Fails);
        server.until_change(Works);
    }
    // Ten seconds less than it takes, and it is remembered.
    server.now += RULES.calm - Duration::from_secs(40);
    assert_eq!((server.until_change(Fails).0, server.until_change(Works).0), (3, 16));
    server.now += RULES.calm - Duration::from_secs(30);
    assert_eq!((server.until_change(Fails).0, server.until_change(Works).0), (3, 2));
}

#[test]
fn a_first_death_is_no_flap_however_soon_it_comes() {
    let mut server = Probed::new();
    assert_eq!((server.until_change(Fails).0, server.until_change(Works).0), (3, 2));
}

#[test]
fn other_rules_count_from_the_next_result_on() {
    let mut server = Probed::new();
    assert_eq!([server.sees(Fails), server.sees(Fails)], [None; 2]);
    let strict = Rules {
        failures: 1,
        successes: 1,
        ..RULES
    };
    assert_eq!(server.health.judge(server.now, &strict, Fails), Some(Change::Died));
    assert_eq!(server.health.judge(server.now, &strict, Works), Some(Change::Recovered));
}

#[test]
fn it_changes_after_exactly_as_many_results_in_a_row_as_it_says_whatever_comes() {
    // Results by a fixed rule that mixes runs of all lengths; the model counts them anew.
    let mut server = Probed::new();
    let (mut run, mut state, mut seed) = (0, State::Up, 1_u32);
    for _ in 0..20_000 {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let verdict = match seed >> 29 {
            0..=2 => Works,
            3..=5 => Fails,
            _ if state == State::Up => Fails,
            _ => Works,
        };
        let needed = server.health.needed(&RULES);
        let against = (state == State::Up) == (verdict == Fails);
        run = if against { run + 1 } else { 0 };
        let change = server.sees(verdict);
        if run < needed {
            assert_eq!(change, None);
        } else {
            state = if state == State::Up { State::Down } else { State::Up };
            run = 0;
            assert!(change.is_some());
        }
        assert_eq!(server.health.state(), state);
    }
}
