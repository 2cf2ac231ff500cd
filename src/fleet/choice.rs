//! Which relays a room is given: the same by every replica, and as few others as can be when one goes.
//!
//! Rendezvous hashing (Thaler and Ravishankar, 1998) with weights: each relay has a score for the room, made of both names and of its weight,
//! and the highest wins. Where one goes, only its rooms have another winner; where one comes, it wins its share from all alike.

use sha2::{Digest as _, Sha256};

use super::relay::{Announced, Standing};
use crate::credentials::{DEFAULT_REALM, own_urls};

/// Most URLs of relays behind the first one that a list is given: for the case that the first one dies meanwhile.
pub const MAX_FURTHER: usize = 2;

/// A room, whatever the relays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoomKey(u64);

impl RoomKey {
    /// The room `name` of a tenant; `None` is the default realm.
    pub fn new(realm: Option<&str>, name: &str) -> Self {
        let realm = realm.unwrap_or(DEFAULT_REALM);
        let length = (realm.len() as u64).to_be_bytes();
        Self(first_bytes(
            Sha256::new_with_prefix(b"meetpoint room's relay")
                .chain_update(length)
                .chain_update(realm)
                .chain_update(name),
        ))
    }
}

fn named<'a>(of: &[u8], urls: impl IntoIterator<Item = &'a String>) -> Sha256 {
    urls.into_iter().fold(Sha256::new_with_prefix(of), |name, url| {
        name.chain_update((url.len() as u64).to_be_bytes()).chain_update(url)
    })
}

fn first_bytes(hash: Sha256) -> u64 {
    let digest = hash.finalize();
    u64::from_be_bytes(std::array::from_fn(|at| digest[at]))
}

/// A relay that can be chosen, with its URLs ready.
#[derive(Debug, Clone, PartialEq)]
struct Candidate {
    /// Of its hosts and listeners: a replica that was restarted is the same relay.
    key: u64,
    weight: f64,
    place: Place,
    /// Those that live; all of them of one that is dead.
    stun: Vec<String>,
    turn: Vec<String>,
    /// Of those.
    urls: u64,
}

impl Candidate {
    fn new(announced: &Announced) -> Self {
        let relay = &announced.relay;
        let (mut stun, mut turn) = own_urls(&relay.hosts, &relay.listeners);
        // Of all that it listens on, dead or not.
        let name = named(b"meetpoint relay", &turn);
        let mut dead = announced.dead.flags();
        let mut living = |urls: &[String]| -> Vec<String> {
            let flagged = urls.iter().zip(&mut dead);
            flagged.filter(|(_, dead)| !dead).map(|(url, _)| url.clone()).collect()
        };
        let left = (living(&stun), living(&turn));
        let place = match announced.standing {
            Standing::Broken | Standing::Draining => Place::Broken,
            _ if left.1.is_empty() => Place::Broken,
            Standing::Open => Place::Open,
            Standing::Busy => Place::Busy,
        };
        if place != Place::Broken {
            (stun, turn) = left;
        }
        Self {
            key: first_bytes(name),
            weight: f64::from(relay.weight),
            place,
            urls: first_bytes(named(b"meetpoint relay's urls", stun.iter().chain(&turn))),
            stun,
            turn,
        }
    }

    /// Exponentially distributed with the weight as its rate, negated: the highest of some is each one's with its share of all weights.
    fn score(&self, room: RoomKey) -> f64 {
        let bits = mix(room.0 ^ mix(self.key)) >> 11;
        // Above 0 and below 1.
        let uniform = (bits as f64 + 0.5) / (1_u64 << 53) as f64;
        uniform.ln() / self.weight
    }
}

/// The finalizer of SplitMix64: every bit of the input moves every bit of the output.
const fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// What stands against a relay, score, key: what is compared for a room.
type Rank = (Place, f64, u64);

/// What stands against a relay, the least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Open,
    Busy,
    /// It is dead by its own probes. Better than none: where all are, it is likelier that the probes are wrong.
    Broken,
}

/// The relays that rooms can be given. Made anew when one comes, goes, or has another standing.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Choice {
    candidates: Vec<Candidate>,
    /// The key of this replica's relay, 0 if it has none.
    own: u64,
}

/// The relays that a room has, before anything is made of them.
#[derive(Debug, Clone, Copy)]
pub struct Pair<'a> {
    first: &'a Candidate,
    next: Option<&'a Candidate>,
}

/// What is the same for two pairs whose URLs are: as many rooms as there are, there are few of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PairKey(u64, u64);

impl Pair<'_> {
    /// What tells it from others.
    pub fn key(&self) -> PairKey {
        PairKey(self.first.urls, self.next.map_or(0, |next| next.urls))
    }

    /// Its URLs.
    pub fn chosen(&self) -> Chosen {
        let further = self
            .next
            .map_or(&[][..], |next| &next.turn[..next.turn.len().min(MAX_FURTHER)]);
        Chosen {
            stun: self.first.stun.clone(),
            turn: self.first.turn.iter().chain(further).cloned().collect(),
        }
    }
}

/// What a room's list holds of relays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen {
    /// Of the first relay.
    pub stun: Vec<String>,
    /// Of the first relay, and some of the next one.
    pub turn: Vec<String>,
}

impl Choice {
    /// Of what is announced, in any order. Those that are about to end, or say no host, cannot be chosen.
    pub fn new<'a>(announced: impl IntoIterator<Item = &'a Announced>) -> Self {
        let can_be = |one: &&Announced| {
            one.standing != Standing::Draining && !one.relay.hosts.is_empty() && !one.relay.listeners.is_empty()
        };
        let mut candidates: Vec<Candidate> = announced.into_iter().filter(can_be).map(Candidate::new).collect();
        // Two that say the same are one: a replica that was restarted and its ghost. Open, if either is.
        candidates.sort_by_key(|candidate| (candidate.key, candidate.place));
        candidates.dedup_by_key(|candidate| candidate.key);
        Self { candidates, own: 0 }
    }

    /// The same, for the replica that announced this.
    pub(super) fn with_own(mut self, own: Option<&Announced>) -> Self {
        self.own = own.map_or(0, |own| Candidate::new(own).key);
        self
    }

    /// As [`Self::first_of`], of lists that are for no room: this replica's relay. `None` where rooms have nothing to choose from.
    pub fn own(&self) -> Option<u64> {
        (!self.is_empty()).then_some(self.own)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.candidates.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.candidates.is_empty()
    }

    /// The URLs for a room; `None` without any relay. Busy ones come behind all others, and dead ones behind those.
    pub fn of(&self, room: RoomKey) -> Option<Chosen> {
        self.pair(room).map(|pair| pair.chosen())
    }

    /// Which relays those URLs are of.
    pub fn pair(&self, room: RoomKey) -> Option<Pair<'_>> {
        let (first, next) = self.ranked(room, |candidate| candidate.place);
        let next = next.filter(|next| next.place != Place::Broken);
        Some(Pair { first: first?, next })
    }

    /// What tells the choice of one moment from another: the same number, the same first relay. `None` without any.
    pub fn first_of(&self, room: RoomKey) -> Option<u64> {
        let (first, _) = self.ranked(room, |candidate| candidate.place);
        first.map(|first| first.key)
    }

    /// Whether a room may stay with that relay ([`Self::first_of`]): it is the room's, or was before it became busy. Where there is
    /// none to go to, it may.
    pub fn keeps(&self, room: RoomKey, relay: u64) -> bool {
        let is_it = |first: Option<&Candidate>| first.is_none_or(|first| first.key == relay);
        let but_for_load = |candidate: &Candidate| candidate.place.max(Place::Busy);
        is_it(self.ranked(room, |candidate| candidate.place).0) || is_it(self.ranked(room, but_for_load).0)
    }

    /// The best two.
    fn ranked(&self, room: RoomKey, place: impl Fn(&Candidate) -> Place) -> (Option<&Candidate>, Option<&Candidate>) {
        let better = |one: &Rank, other: &Rank| {
            // Open before busy before dead, then the score; equal scores are no coincidence worth more than a fixed order.
            other
                .0
                .cmp(&one.0)
                .then(one.1.total_cmp(&other.1))
                .then(one.2.cmp(&other.2))
                .is_gt()
        };
        let mut best: [Option<(Rank, &Candidate)>; 2] = [None, None];
        for candidate in &self.candidates {
            let rank = (place(candidate), candidate.score(room), candidate.key);
            if best[0].as_ref().is_none_or(|(first, _)| better(&rank, first)) {
                best[1] = best[0].replace((rank, candidate));
            } else if best[1].as_ref().is_none_or(|(second, _)| better(&rank, second)) {
                best[1] = Some((rank, candidate));
            }
        }
        (best[0].map(|(_, one)| one), best[1].map(|(_, one)| one))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credentials::{Advertised, UriTransport};
    use crate::fleet::relay::{Dead, Load, Relay};
    use std::collections::HashMap;

    fn announced(name: &str, weight: u16) -> Announced {
        Announced {
            relay: Relay {
                hosts: vec![name.parse().unwrap()],
                listeners: vec![
                    Advertised {
                        transport: UriTransport::Udp,
                        secure: false,
                        port: 3478,
                    },
                    Advertised {
                        transport: UriTransport::Tcp,
                        secure: true,
                        port: 443,
                    },
                ],
                weight,
                region: "".into(),
                version: "1".into(),
            },
            standing: Standing::Open,
            load: Load::default(),
            dead: Dead::default(),
        }
    }

    fn rooms() -> impl Iterator<Item = RoomKey> {
        (0..20_000).map(|number| RoomKey::new(None, &format!("room-{number}")))
    }

    fn host(choice: &Choice, room: RoomKey) -> String {
        let chosen = choice.of(room).unwrap();
        chosen.turn[0].split(':').nth(1).unwrap().to_owned()
    }

    fn shares(choice: &Choice) -> HashMap<String, f64> {
        let mut shares = HashMap::new();
        for room in rooms() {
            *shares.entry(host(choice, room)).or_default() += 1.0 / 20_000.0;
        }
        shares
    }

    #[test]
    fn each_relay_gets_its_share_of_the_rooms() {
        let all = [
            announced("a.example", 100),
            announced("b.example", 100),
            announced("c.example", 200),
        ];
        let shares = shares(&Choice::new(&all));
        for (name, share) in [("a.example", 0.25), ("b.example", 0.25), ("c.example", 0.5)] {
            assert!((shares[name] - share).abs() < 0.02, "{shares:?}");
        }
        // However many there are.
        let many: Vec<_> = (0..50)
            .map(|at| announced(&format!("relay{at}.example"), 100))
            .collect();
        let shares = super::tests::shares(&Choice::new(&many));
        assert!(
            shares.len() == 50 && shares.values().all(|share| (0.013..0.027).contains(share)),
            "{shares:?}"
        );
    }

    #[test]
    fn replicas_that_know_the_same_relays_in_any_order_choose_the_same() {
        let names = ["a", "b", "c", "d", "e", "f", "g"];
        let all: Vec<_> = names
            .iter()
            .map(|name| announced(&format!("{name}.example"), 7))
            .collect();
        let one = Choice::new(&all);
        let mut turned: Vec<_> = all.iter().rev().collect();
        turned.swap(1, 4);
        // A ghost of the first, too.
        turned.push(&all[0]);
        let other = Choice::new(turned);
        assert_eq!(one, other);
        assert!(rooms().take(1_000).all(|room| one.of(room) == other.of(room)));
    }

    #[test]
    fn when_a_relay_goes_only_its_rooms_move_and_to_the_one_that_stood_behind_it() {
        let mut all: Vec<_> = (0..5).map(|at| announced(&format!("relay{at}.example"), 100)).collect();
        let before = Choice::new(&all);
        all[2].standing = Standing::Draining;
        let after = Choice::new(&all);
        let mut moved = 0;
        for room in rooms() {
            let (was, is) = (host(&before, room), host(&after, room));
            if was == "relay2.example" {
                moved += 1;
                let chosen = before.of(room).unwrap();
                assert!(chosen.turn[2].contains(&is), "{chosen:?}, then {is}");
            } else {
                assert_eq!(was, is);
            }
        }
        assert!((3_500..4_500).contains(&moved), "{moved} of 20000");
    }

    #[test]
    fn a_busy_relay_comes_behind_all_others_and_is_better_than_none() {
        let mut all = [announced("a.example", 100), announced("b.example", 100)];
        all[0].standing = Standing::Busy;
        let choice = Choice::new(&all);
        for room in rooms().take(500) {
            let chosen = choice.of(room).unwrap();
            assert!(
                chosen.turn[0].contains("b.example") && chosen.turn[2].contains("a.example"),
                "{chosen:?}"
            );
        }
        all[1].standing = Standing::Draining;
        let choice = Choice::new(&all);
        assert_eq!(
            (choice.len(), host(&choice, RoomKey::new(None, "r"))),
            (1, "a.example".to_owned())
        );
        all[0].standing = Standing::Draining;
        assert_eq!(Choice::new(&all).of(RoomKey::new(None, "r")), None);
    }

    #[test]
    fn a_dead_relay_is_given_where_all_are_dead_alone_and_what_is_dead_of_a_living_one_is_left_out() {
        let mut all = [announced("a.example", 100), announced("b.example", 100)];
        let urls = all[0].relay.urls();
        assert_eq!(urls.len(), 3, "one of STUN, two of TURN");
        // TURN over TLS is dead: the room stays.
        all[0].dead = Dead::of(&urls, |url| url.starts_with("turns:"));
        let before = Choice::new(&[announced("a.example", 100), announced("b.example", 100)]);
        let choice = Choice::new(&all);
        for room in rooms().take(200) {
            let chosen = choice.of(room).unwrap();
            assert_eq!(choice.first_of(room), before.first_of(room));
            assert!(!chosen.turn.iter().any(|url| url.starts_with("turns:a.")), "{chosen:?}");
            assert_eq!(chosen.stun.len(), 1);
            // Who keeps what was made of a pair makes it anew.
            let key = |choice: &Choice| choice.pair(room).map(|pair| pair.key());
            assert_ne!(key(&choice), key(&before));
        }
        all[0].standing = Standing::Broken;
        let choice = Choice::new(&all);
        for room in rooms().take(200) {
            let chosen = choice.of(room).unwrap();
            assert!(chosen.turn.iter().all(|url| url.contains("b.example")), "{chosen:?}");
        }
        all[1].standing = Standing::Broken;
        let choice = Choice::new(&all);
        for room in rooms().take(200) {
            assert_eq!(choice.of(room).unwrap().turn, before.of(room).unwrap().turn[..2]);
        }
    }

    #[test]
    fn who_has_a_list_keeps_it_while_its_relay_is_busy_and_not_when_it_goes_or_another_one_takes_the_room() {
        let all = ["a", "b", "c"].map(|name| announced(&format!("{name}.example"), 100));
        let before = Choice::new(&all);
        let with = |standing: Standing| {
            let mut all = all.clone();
            all[0].standing = standing;
            Choice::new(&all)
        };
        let (busy, gone) = (with(Standing::Busy), with(Standing::Draining));
        let without = Choice::new(&all[1..]);
        for room in rooms().take(500) {
            let relay = before.first_of(room).unwrap();
            let is_of_first = host(&before, room) == "a.example";
            assert!(before.keeps(room, relay) && busy.keeps(room, relay));
            assert_eq!(busy.first_of(room) == Some(relay), !is_of_first);
            for after in [&gone, &with(Standing::Broken)] {
                assert_eq!(after.keeps(room, relay), !is_of_first);
            }
            // It comes back: those who were given another one meanwhile come back with it.
            assert_eq!(before.keeps(room, without.first_of(room).unwrap()), !is_of_first);
            assert!(Choice::default().keeps(room, relay), "there is nothing to go to");
        }
    }

    #[test]
    fn a_list_is_all_of_the_first_relay_and_little_of_the_next() {
        let all = [
            announced("a.example", 100),
            announced("b.example", 100),
            announced("c.example", 100),
        ];
        let chosen = Choice::new(&all).of(RoomKey::new(Some("acme"), "r")).unwrap();
        assert_eq!((chosen.stun.len(), chosen.turn.len()), (1, 2 + MAX_FURTHER));
        assert_ne!(RoomKey::new(Some("acme"), "r"), RoomKey::new(None, "r"));
        assert_ne!(RoomKey::new(Some("ab"), "c"), RoomKey::new(Some("a"), "bc"));
    }
}
