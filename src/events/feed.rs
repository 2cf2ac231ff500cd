//! Who listens while it happens: a ring that all listeners read at their own pace, and miss what they are too slow for.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{broadcast, watch};

use super::config::Kinds;
use super::record::Record;
use crate::telemetry::EventMetrics;

/// Events that a listener may be behind: some 500 bytes each, for all listeners together.
const BEHIND: usize = 4096;

/// Passes records to listeners. Clones share.
#[derive(Clone)]
pub struct Feed(Arc<Inner>);

struct Inner {
    ring: broadcast::Sender<Arc<Record>>,
    closed: watch::Sender<bool>,
    open: AtomicUsize,
    most: AtomicUsize,
    metrics: EventMetrics,
}

/// As many listen as may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("as many listen as may (events.subscribers)")]
pub struct TooMany;

/// What a listener wants to hear.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Of these kinds.
    pub kinds: Kinds,
    /// About this user, by user or whole USERNAME; about everything if there is none.
    pub user: Option<Box<str>>,
}

impl Wanted {
    fn fits(&self, record: &Record) -> bool {
        self.kinds.has(record.kind)
            && self.user.as_deref().is_none_or(|user| {
                [&record.user, &record.username]
                    .into_iter()
                    .flatten()
                    .any(|name| &**name == user)
            })
    }
}

/// What a listener hears.
#[derive(Clone, Debug)]
pub enum Item {
    /// Something that it wants to hear.
    Record(Arc<Record>),
    /// It was too slow, and so many were missed, of whatever kind.
    Lagged(u64),
}

impl Feed {
    pub(super) fn new(most: usize, metrics: EventMetrics) -> Self {
        Self(Arc::new(Inner {
            ring: broadcast::Sender::new(BEHIND),
            closed: watch::Sender::new(false),
            open: AtomicUsize::new(0),
            most: AtomicUsize::new(most),
            metrics,
        }))
    }

    /// Listens from now on.
    ///
    /// # Errors
    /// When as many listen as may.
    pub fn subscribe(&self, wanted: Wanted) -> Result<Subscription, TooMany> {
        let most = self.0.most.load(Ordering::Relaxed);
        let open = self.0.open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |open| {
            (open < most).then_some(open + 1)
        });
        if open.is_err() {
            self.0.metrics.subscribers_refused.inc();
            return Err(TooMany);
        }
        self.0.metrics.subscribers.inc();
        Ok(Subscription {
            ring: self.0.ring.subscribe(),
            closed: self.0.closed.subscribe(),
            wanted,
            feed: self.clone(),
        })
    }

    /// Ends every subscription, those included that come later: the process is about to end.
    pub fn close(&self) {
        self.0.closed.send_replace(true);
    }

    pub(super) fn bound(&self, most: usize) {
        self.0.most.store(most, Ordering::Relaxed);
    }

    pub(super) fn is_listened_to(&self) -> bool {
        self.0.ring.receiver_count() > 0
    }

    pub(super) fn tell(&self, record: &Arc<Record>) {
        // Fails when nobody listens.
        let _ = self.0.ring.send(Arc::clone(record));
    }
}

impl std::fmt::Debug for Feed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Feed").finish_non_exhaustive()
    }
}

/// One listener.
#[derive(Debug)]
pub struct Subscription {
    ring: broadcast::Receiver<Arc<Record>>,
    closed: watch::Receiver<bool>,
    wanted: Wanted,
    feed: Feed,
}

impl Subscription {
    /// The next thing; `None` when the process is about to end. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Item> {
        loop {
            let received = tokio::select! {
                biased;
                _ = self.closed.wait_for(|closed| *closed) => return None,
                received = self.ring.recv() => received,
            };
            match received {
                Ok(record) if self.wanted.fits(&record) => return Some(Item::Record(record)),
                Ok(_) => {}
                Err(broadcast::error::RecvError::Lagged(missed)) => {
                    self.feed.0.metrics.lagged.inc_by(missed);
                    return Some(Item::Lagged(missed));
                }
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.feed.0.open.fetch_sub(1, Ordering::Relaxed);
        self.feed.0.metrics.subscribers.dec();
    }
}
