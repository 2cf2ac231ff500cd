//! What the hub wants from Redis: publications in order, and the rooms it hosts. Handed in under the hub's lock, so nothing here
//! waits.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use foldhash::fast::RandomState;
use hashbrown::HashSet;
use tokio::sync::Notify;

use super::config::Queue;
use crate::fleet::FleetTopic;
use crate::signaling::{RoomTopic, Topic};
use crate::telemetry::BackplaneMetrics;

/// The hub's side of the backplane. Clones share.
#[derive(Clone)]
pub struct Outgoing(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    bound: Queue,
    metrics: BackplaneMetrics,
    /// There is something to publish.
    publications: Notify,
    /// There is too much.
    overflow: Notify,
    /// There is a room to subscribe to or to leave.
    rooms: Notify,
}

#[derive(Default)]
struct State {
    /// Whether there is anybody to publish to.
    open: bool,
    /// Whether somebody takes changes: otherwise all that is wanted is asked for later.
    followed: bool,
    /// More was to be published than may wait: what follows a gap is worth nothing, so all of it was dropped.
    overflowed: bool,
    queue: VecDeque<Publication>,
    bytes: usize,
    /// Some were taken, and Redis has not answered yet.
    under_way: bool,
    /// Rooms that the hub hosts.
    wanted: HashSet<RoomTopic, RandomState>,
    /// Rooms whose turn it is to be compared with what Redis knows, in order and each once.
    changes: VecDeque<RoomTopic>,
    /// The same, to find them.
    changed: HashSet<RoomTopic, RandomState>,
}

/// One message to be published.
pub(super) struct Publication {
    pub(super) to: To,
    pub(super) payload: Bytes,
}

/// Where to.
pub(super) enum To {
    /// What the hub said.
    Topic(Topic),
    /// What the relay said.
    Fleet(FleetTopic),
    /// Back to this replica.
    Echo,
}

impl Outgoing {
    /// Empty and closed: what is published before there is a connection reaches nobody, and is not kept.
    #[must_use]
    pub fn new(bound: Queue, metrics: BackplaneMetrics) -> Self {
        Self(Arc::new(Shared {
            state: Mutex::default(),
            bound,
            metrics,
            publications: Notify::new(),
            overflow: Notify::new(),
            rooms: Notify::new(),
        }))
    }

    /// Publishes, in the order of the calls. Never waits: beyond the bound everything is dropped, and the hub is told that it
    /// lost the backplane.
    pub fn publish(&self, topic: Topic, payload: Bytes) {
        self.push(Publication {
            to: To::Topic(topic),
            payload,
        });
    }

    /// The same for what relays tell each other, in one order with the rest.
    pub fn publish_to_fleet(&self, topic: FleetTopic, payload: Bytes) {
        self.push(Publication {
            to: To::Fleet(topic),
            payload,
        });
    }

    /// Publishes to this replica itself.
    pub(super) fn echo(&self, payload: Bytes) {
        self.push(Publication { to: To::Echo, payload });
    }

    fn push(&self, publication: Publication) {
        let Shared { bound, metrics, .. } = &*self.0;
        let mut state = self.lock();
        if !state.open {
            return;
        }
        let bytes = state.bytes + publication.payload.len();
        let wake = if state.overflowed || state.queue.len() >= bound.messages || bytes > bound.bytes {
            metrics.dropped.inc_by(state.queue.len() as u64 + 1);
            state.overflowed = true;
            state.empty();
            Some(&self.0.overflow)
        } else {
            state.bytes = bytes;
            state.queue.push_back(publication);
            // Who takes them looks again before it sleeps.
            (state.queue.len() == 1).then_some(&self.0.publications)
        };
        metrics.queue(state.queue.len(), state.bytes);
        drop(state);
        if let Some(wake) = wake {
            wake.notify_one();
        }
    }

    /// The hub has members in that room from now on, and wants to know when Redis has confirmed it.
    pub fn subscribe(&self, topic: RoomTopic) {
        let mut state = self.lock();
        state.wanted.insert(topic);
        state.note(topic);
        drop(state);
        self.0.rooms.notify_one();
    }

    /// The hub has no members in that room any more.
    pub fn unsubscribe(&self, topic: RoomTopic) {
        let mut state = self.lock();
        state.wanted.remove(&topic);
        state.note(topic);
        drop(state);
        self.0.rooms.notify_one();
    }

    pub(super) fn is_wanted(&self, topic: &RoomTopic) -> bool {
        self.lock().wanted.contains(topic)
    }

    /// Takes publications from now on, unless there are changes that nobody has taken.
    pub(super) fn open_unless_changed(&self) -> bool {
        let mut state = self.lock();
        if !state.changes.is_empty() {
            return false;
        }
        state.empty();
        state.overflowed = false;
        state.open = true;
        true
    }

    /// Drops what waits, and whatever comes until [`Self::open_unless_changed`].
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.empty();
        state.under_way = false;
        state.open = false;
        state.overflowed = false;
        state.followed = false;
        state.forget_changes();
        self.0.metrics.queue(0, 0);
    }

    /// Every room that is wanted as of now. Changes are kept from here on.
    pub(super) fn follow(&self) -> Vec<RoomTopic> {
        let mut state = self.lock();
        state.forget_changes();
        state.followed = true;
        state.wanted.iter().copied().collect()
    }

    /// The next publications, at most `messages`, and at most `bytes` or one. Waits for the first of them.
    pub(super) async fn next_batch(&self, messages: usize, bytes: usize) -> Vec<Publication> {
        loop {
            {
                let mut state = self.lock();
                let mut batch = Vec::new();
                let mut taken = 0;
                while let Some(first) = state.queue.front()
                    && batch.len() < messages
                    && (batch.is_empty() || taken + first.payload.len() <= bytes)
                {
                    taken += first.payload.len();
                    batch.extend(state.queue.pop_front());
                }
                state.bytes -= taken;
                if !batch.is_empty() {
                    state.under_way = true;
                    self.0.metrics.queue(state.queue.len(), state.bytes);
                    return batch;
                }
                state.shrink();
            }
            self.0.publications.notified().await;
        }
    }

    /// Waits until more was to be published than may wait.
    pub(super) async fn overflow(&self) {
        while !self.lock().overflowed {
            self.0.overflow.notified().await;
        }
    }

    /// Rooms that may have to be subscribed to or left, at most `most`. Waits for the first of them.
    pub(super) async fn next_changes(&self, most: usize) -> Vec<(RoomTopic, bool)> {
        loop {
            {
                let mut state = self.lock();
                let count = state.changes.len().min(most);
                let topics: Vec<_> = state.changes.drain(..count).collect();
                if !topics.is_empty() {
                    let mut changes = Vec::with_capacity(topics.len());
                    for topic in topics {
                        state.changed.remove(&topic);
                        changes.push((topic, state.wanted.contains(&topic)));
                    }
                    return changes;
                }
            }
            self.0.rooms.notified().await;
        }
    }

    /// What was taken last has arrived.
    pub(super) fn is_through(&self) {
        self.lock().under_way = false;
    }

    /// Whether nothing waits and nothing is under way.
    pub(super) fn is_flushed(&self) -> bool {
        let state = self.lock();
        state.queue.is_empty() && !state.under_way
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn empty(&mut self) {
        self.queue.clear();
        self.bytes = 0;
        self.shrink();
    }

    fn shrink(&mut self) {
        if self.queue.capacity() > 1024 {
            // A burst must not hold its peak of memory for ever.
            self.queue.shrink_to(64);
        }
    }

    fn note(&mut self, topic: RoomTopic) {
        if self.followed && self.changed.insert(topic) {
            self.changes.push_back(topic);
        }
    }

    fn forget_changes(&mut self) {
        self.changes = VecDeque::new();
        self.changed = HashSet::default();
    }
}

impl std::fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outgoing")
            .field("bound", &self.0.bound)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Metrics;
    use futures_util::FutureExt as _;

    fn outgoing(messages: usize, bytes: usize) -> (Outgoing, Metrics) {
        let metrics = Metrics::new().unwrap();
        let bound = Queue { messages, bytes };
        (Outgoing::new(bound, metrics.backplane().clone()), metrics)
    }

    fn say(outgoing: &Outgoing, text: &'static str) {
        outgoing.publish(Topic::Everybody, Bytes::from_static(text.as_bytes()));
    }

    fn taken(outgoing: &Outgoing, messages: usize, bytes: usize) -> Vec<Bytes> {
        let batch = outgoing.next_batch(messages, bytes).now_or_never().unwrap_or_default();
        batch.into_iter().map(|publication| publication.payload).collect()
    }

    #[test]
    fn at_the_bound_everything_waits_and_past_it_everything_is_dropped_and_counted() {
        let (outgoing, metrics) = outgoing(3, 100);
        assert!(outgoing.open_unless_changed());
        for _ in 0..3 {
            say(&outgoing, "x");
        }
        assert!(outgoing.overflow().now_or_never().is_none());
        assert_eq!(metrics.backplane().dropped.get(), 0);
        say(&outgoing, "x");
        assert!(outgoing.overflow().now_or_never().is_some());
        assert_eq!(metrics.backplane().dropped.get(), 4);
        // A gap is not passed over: nothing that follows it goes out either.
        say(&outgoing, "x");
        assert_eq!(metrics.backplane().dropped.get(), 5);
        assert!(taken(&outgoing, 10, 100).is_empty());
        outgoing.close();
        assert!(outgoing.open_unless_changed());
        say(&outgoing, "y");
        assert_eq!(taken(&outgoing, 10, 100), ["y"]);
    }

    #[test]
    fn bytes_have_a_bound_of_their_own_and_are_given_back() {
        let (outgoing, metrics) = outgoing(100, 10);
        assert!(outgoing.open_unless_changed());
        for _ in 0..3 {
            say(&outgoing, "12345");
            say(&outgoing, "67890");
            assert_eq!(taken(&outgoing, 10, 100).len(), 2);
        }
        say(&outgoing, "12345");
        say(&outgoing, "678901");
        assert_eq!(metrics.backplane().dropped.get(), 2);
    }

    #[test]
    fn a_batch_ends_at_either_bound_and_one_long_message_is_a_batch() {
        let (outgoing, _) = outgoing(100, 1000);
        assert!(outgoing.open_unless_changed());
        for text in ["1", "2", "3", "a long one", "4"] {
            say(&outgoing, text);
        }
        assert_eq!(taken(&outgoing, 2, 5), ["1", "2"]);
        assert_eq!(taken(&outgoing, 2, 5), ["3"]);
        assert!(!outgoing.is_flushed());
        assert_eq!(taken(&outgoing, 2, 5), ["a long one"]);
        assert_eq!(taken(&outgoing, 2, 5), ["4"]);
        assert!(!outgoing.is_flushed(), "Redis has not answered");
        outgoing.is_through();
        assert!(outgoing.is_flushed());
    }

    #[test]
    fn what_is_published_to_nobody_is_not_kept() {
        let (outgoing, metrics) = outgoing(1, 1);
        say(&outgoing, "long before there was a connection");
        assert!(outgoing.open_unless_changed());
        assert!(taken(&outgoing, 10, 100).is_empty());
        assert_eq!(metrics.backplane().dropped.get(), 0);
    }

    #[test]
    fn changes_are_kept_once_each_while_somebody_follows_and_not_before() {
        let (outgoing, _) = outgoing(1, 1);
        let rooms = [1, 2, 3].map(|byte| RoomTopic::new([byte; 16]));
        for room in rooms {
            outgoing.subscribe(room);
        }
        outgoing.unsubscribe(rooms[2]);
        let mut wanted = outgoing.follow();
        wanted.sort();
        assert_eq!(wanted, rooms[..2]);
        assert!(outgoing.open_unless_changed());
        for _ in 0..100 {
            outgoing.unsubscribe(rooms[0]);
            outgoing.subscribe(rooms[2]);
        }
        assert!(!outgoing.open_unless_changed());
        let changes = outgoing.next_changes(10).now_or_never().unwrap();
        assert_eq!(changes, [(rooms[0], false), (rooms[2], true)]);
        assert!(outgoing.next_changes(10).now_or_never().is_none());
        assert!(outgoing.open_unless_changed());
    }
}
