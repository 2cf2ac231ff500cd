//! What is known of every URL, for whoever asks.

use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;

use super::attempt::Finding;
use super::health::State;

/// What is known of one URL.
#[derive(Clone, Debug)]
pub struct Seen {
    /// As it stands in lists.
    pub url: Box<str>,
    /// Whose server it is.
    pub server: Box<str>,
    /// The judgement.
    pub state: State,
    /// When that began.
    pub since: SystemTime,
    /// Results in a row that speak against it, and how many change it.
    pub against: (u32, u32),
    /// The last probe, and when it ended.
    pub last: Option<(SystemTime, Finding)>,
}

/// The last state of things. Clones share.
#[derive(Clone, Debug, Default)]
pub struct Board(Arc<ArcSwap<Vec<Seen>>>);

impl Board {
    /// By URL.
    #[must_use]
    pub fn all(&self) -> Arc<Vec<Seen>> {
        self.0.load_full()
    }

    pub(super) fn put(&self, all: Vec<Seen>) {
        self.0.store(Arc::new(all));
    }
}
