//! Who did how much, for more names than there is room for: Space-Saving with weights (Metwally et al. 2005).

use std::collections::HashMap;
use std::hash::Hash;

/// Names that one sketch keeps. Whoever did more than a hundredth of all is among them.
pub const KEPT: usize = 100;

/// What is counted for a name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Counted {
    /// Not less than it did.
    pub(super) count: u64,
    /// How much of that may be others'.
    pub(super) error: u64,
}

#[derive(Clone, Debug)]
pub(super) struct Sketch<K>(HashMap<K, Counted>);

impl<K: Hash + Eq + Clone> Sketch<K> {
    pub(super) fn new() -> Self {
        Self(HashMap::new())
    }

    /// Who comes when there is no room takes the place of who did least, and that one's count as its error.
    pub(super) fn add(&mut self, key: K, weight: u64) {
        if let Some(counted) = self.0.get_mut(&key) {
            counted.count = counted.count.saturating_add(weight);
            return;
        }
        let mut error = 0;
        if self.0.len() >= KEPT {
            let least = self.0.iter().min_by_key(|(_, counted)| counted.count);
            if let Some((least, counted)) = least.map(|(least, counted)| (least.clone(), *counted)) {
                self.0.remove(&least);
                error = counted.count;
            }
        }
        let count = error.saturating_add(weight);
        self.0.insert(key, Counted { count, error });
    }

    /// What somebody did at most who is not in it.
    pub(super) fn unseen(&self) -> u64 {
        if self.0.len() < KEPT {
            return 0;
        }
        self.0.values().map(|counted| counted.count).min().unwrap_or(0)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &Counted)> {
        self.0.iter()
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}
