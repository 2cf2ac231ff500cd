//! How the tables of this module hash.

/// Fast and, with a seed that nobody knows, not to be flooded with collisions.
pub(super) type HashState = foldhash::fast::FixedState;

/// The maps of this module.
pub(super) type Map<K, V> = hashbrown::HashMap<K, V, HashState>;
