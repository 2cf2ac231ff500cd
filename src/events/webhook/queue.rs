//! What waits for one receiver, within bounds.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::events::config;
use crate::events::record::Record;
use crate::telemetry::EventMetrics;
use crate::telemetry::labels::HookEnd;

#[derive(Debug, Default)]
struct Waiting {
    records: VecDeque<Arc<Record>>,
    bytes: usize,
    /// Taken and not settled yet.
    under_way: usize,
    bounds: config::Queue,
}

pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    /// How many wait, and whether no more come.
    state: watch::Sender<(usize, bool)>,
    metrics: EventMetrics,
}

impl Queue {
    pub(super) fn new(bounds: config::Queue, metrics: EventMetrics) -> Self {
        Self {
            waiting: Mutex::new(Waiting {
                bounds,
                ..Waiting::default()
            }),
            state: watch::Sender::new((0, false)),
            metrics,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says how many wait, while nobody can change it: a number that is out of date would have the task look for what is gone.
    fn publish(&self, waiting: &MutexGuard<'_, Waiting>) {
        self.state.send_modify(|state| state.0 = waiting.records.len());
    }

    /// What waits beyond new bounds goes on waiting.
    pub(super) fn bound(&self, bounds: config::Queue) {
        self.lock().bounds = bounds;
    }

    /// The newest is the one that finds no room: what is delivered has no gap before the first that was dropped.
    pub(super) fn push(&self, record: &Arc<Record>) {
        let mut waiting = self.lock();
        let bytes = waiting.bytes + record.json.len();
        if waiting.records.len() >= waiting.bounds.events || bytes > waiting.bounds.bytes {
            drop(waiting);
            self.metrics.hook_end(HookEnd::QueueFull, 1);
            return;
        }
        waiting.bytes = bytes;
        waiting.records.push_back(Arc::clone(record));
        self.metrics.queued.inc();
        self.publish(&waiting);
    }

    /// Waits until so many wait, or no more come. `false` when there is nothing and will be nothing.
    pub(super) async fn filled(&self, least: usize) -> bool {
        let mut states = self.state.subscribe();
        // The sender lives as long as this.
        let _ = states.wait_for(|(len, ended)| *len >= least || *ended).await;
        !self.lock().records.is_empty()
    }

    /// The oldest, at most so many. [`Queue::settle`] says what became of them.
    pub(super) fn take(&self, most: usize) -> Vec<Arc<Record>> {
        let mut waiting = self.lock();
        let most = most.min(waiting.records.len());
        let batch: Vec<_> = waiting.records.drain(..most).collect();
        waiting.bytes -= batch.iter().map(|record| record.json.len()).sum::<usize>();
        waiting.under_way = batch.len();
        self.publish(&waiting);
        batch
    }

    pub(super) fn settle(&self, end: HookEnd) {
        let settled = std::mem::take(&mut self.lock().under_way);
        self.count(end, settled);
    }

    /// Drops all that waits or is under way.
    pub(super) fn give_up(&self, end: HookEnd) {
        let mut waiting = self.lock();
        let given_up = waiting.records.len() + std::mem::take(&mut waiting.under_way);
        waiting.records.clear();
        waiting.bytes = 0;
        self.publish(&waiting);
        drop(waiting);
        self.count(end, given_up);
    }

    fn count(&self, end: HookEnd, events: usize) {
        self.metrics.queued.sub(i64::try_from(events).unwrap_or(i64::MAX));
        self.metrics.hook_end(end, events as u64);
    }

    /// No more come.
    pub(super) fn end(&self) {
        self.state.send_modify(|state| state.1 = true);
    }

    pub(super) fn has_ended(&self) -> bool {
        self.state.borrow().1
    }

    /// Waits until no more come.
    pub(super) async fn ended(&self) {
        let mut states = self.state.subscribe();
        let _ = states.wait_for(|(_, ended)| *ended).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Metrics;
    use crate::telemetry::labels::RecordKind;

    fn record(json: &str) -> Arc<Record> {
        Arc::new(Record {
            id: "x-1".into(),
            kind: RecordKind::Created,
            user: None,
            username: None,
            json: json.into(),
        })
    }

    #[tokio::test]
    async fn a_queue_holds_as_much_as_it_may_and_counts_the_rest() {
        let metrics = Metrics::new().unwrap();
        let events = metrics.events().clone();
        let bounds = config::Queue { events: 3, bytes: 10 };
        let queue = Queue::new(bounds, events.clone());
        for _ in 0..5 {
            queue.push(&record("12"));
        }
        assert_eq!((events.hook_ended(HookEnd::QueueFull), events.queued.get()), (2, 3));
        assert!(queue.filled(3).await);
        assert_eq!(queue.take(2).len(), 2);
        queue.settle(HookEnd::Delivered);
        assert_eq!((events.hook_ended(HookEnd::Delivered), events.queued.get()), (2, 1));
        queue.push(&record("12345678"));
        queue.push(&record("1"));
        assert_eq!(events.hook_ended(HookEnd::QueueFull), 3, "ten bytes and no more");
        queue.end();
        assert!(queue.filled(9).await, "what is there is still told");
        queue.take(1);
        queue.give_up(HookEnd::Shutdown);
        assert_eq!((events.hook_ended(HookEnd::Shutdown), events.queued.get()), (2, 0));
        assert!(!queue.filled(1).await);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn whoever_puts_in_while_another_takes_out_never_ends_the_queue() {
        let metrics = Metrics::new().unwrap().events().clone();
        let queue = Arc::new(Queue::new(config::Queue::default(), metrics.clone()));
        let pushing = {
            let queue = Arc::clone(&queue);
            tokio::task::spawn_blocking(move || {
                for _ in 0..50_000 {
                    queue.push(&record("1"));
                }
                queue.end();
            })
        };
        let mut taken = 0;
        while queue.filled(1).await {
            taken += queue.take(3).len() as u64;
            queue.settle(HookEnd::Delivered);
        }
        pushing.await.unwrap();
        assert_eq!(taken + metrics.hook_ended(HookEnd::QueueFull), 50_000);
    }
}
