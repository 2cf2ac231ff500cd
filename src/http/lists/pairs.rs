//! The relays of rooms, ready for lists: their URLs are read once, and not for every list.
//!
//! Any number of rooms share them, since what a room is given are two relays of the fleet, in their order. Of so many as there are relays
//! in a usual fleet all pairs have a place (one whose URLs died is another one); whoever announces more than that, or ever other ones, makes the table begin anew, and lists
//! cost what they cost without it.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use super::urls::Source;
use crate::fleet::{Pair, PairKey};

/// Pairs that are kept: all of 32 relays.
const MAX_PAIRS: usize = 1_024;

#[derive(Default)]
pub(super) struct Pairs(RwLock<HashMap<PairKey, Arc<Source>>>);

impl Pairs {
    /// What lists are made of for rooms of this pair; `make` is asked when that is not known.
    pub(super) fn of(&self, pair: &Pair<'_>, make: impl FnOnce() -> Source) -> Arc<Source> {
        let key = pair.key();
        // A panic in between leaves sources that are whole.
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        known.unwrap_or_else(|| {
            let made = Arc::new(make());
            let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
            if all.len() >= MAX_PAIRS {
                all.clear();
            }
            all.insert(key, Arc::clone(&made));
            made
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credentials::{Advertised, UriTransport};
    use crate::fleet::{Announced, Choice, Dead, Load, Relay, RoomKey, Standing};

    fn alone(host: &str) -> Choice {
        let listener = Advertised {
            transport: UriTransport::Udp,
            secure: false,
            port: 3478,
        };
        let relay = Relay {
            hosts: vec![host.parse().unwrap()],
            listeners: vec![listener],
            weight: 1,
            region: "".into(),
            version: "1".into(),
        };
        let announced = Announced {
            relay,
            standing: Standing::Open,
            load: Load::default(),
            dead: Dead::default(),
        };
        Choice::new([&announced])
    }

    #[test]
    fn relays_are_read_once_for_all_their_rooms_and_the_table_has_a_bound() {
        let pairs = Pairs::default();
        let room = |name: &str| RoomKey::new(None, name);
        let known = |pairs: &Pairs| pairs.0.read().unwrap().len();
        let first = alone("a.example");
        pairs.of(&first.pair(room("lobby")).unwrap(), Source::default);
        pairs.of(&first.pair(room("attic")).unwrap(), || panic!("it is known"));
        for number in 1..MAX_PAIRS {
            let choice = alone(&format!("r{number}.example"));
            pairs.of(&choice.pair(room("lobby")).unwrap(), Source::default);
        }
        assert_eq!(known(&pairs), MAX_PAIRS);
        pairs.of(&first.pair(room("cellar")).unwrap(), || panic!("it is known"));
        pairs.of(&alone("one.more.example").pair(room("lobby")).unwrap(), Source::default);
        assert_eq!(known(&pairs), 1);
    }
}
