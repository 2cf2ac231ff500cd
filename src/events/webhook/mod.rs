//! Webhooks: events as signed POST requests, in order, again and again until they are taken or given up.
//!
//! One task and one queue for each receiver, one delivery at a time. At least once: a delivery whose answer was lost comes again,
//! with the same id and other bytes in no place but the signature's time.

mod delivery;
mod queue;
mod retry;
pub mod signature;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};

use super::config::{Config, Hook};
use super::record::Record;
use crate::outbound::Trust;
use crate::telemetry::EventMetrics;
use crate::telemetry::labels::{HookAttempt, HookEnd, RecordKind};
use delivery::{Outcome, Post};
use queue::Queue;

/// What all webhooks share.
#[derive(Clone)]
pub(super) struct Shared {
    metrics: EventMetrics,
    trust: Trust,
    /// When the process ends, once it is about to.
    ending: watch::Receiver<Option<Instant>>,
}

impl Shared {
    pub(super) fn new(metrics: EventMetrics, ending: watch::Receiver<Option<Instant>>) -> Self {
        Self {
            metrics,
            trust: Trust::default(),
            ending,
        }
    }
}

/// How one is told: its own rules, and those of all.
struct Rules {
    hook: Hook,
    retry_for: Duration,
}

/// One receiver. Dropping it ends it; what waits is counted and gone.
pub(super) struct Webhook {
    rules: Arc<ArcSwap<Rules>>,
    queue: Arc<Queue>,
    task: JoinHandle<()>,
}

impl Webhook {
    pub(super) fn start(hook: &Hook, config: &Config, shared: &Shared) -> Self {
        let rules = Arc::new(ArcSwap::from_pointee(rules(hook, config)));
        let queue = Arc::new(Queue::new(config.queue, shared.metrics.clone()));
        let sender = Sender {
            rules: Arc::clone(&rules),
            queue: Arc::clone(&queue),
            shared: shared.clone(),
            is_failing: false,
        };
        Self {
            rules,
            queue,
            task: tokio::spawn(sender.run()),
        }
    }

    pub(super) fn reconfigure(&self, hook: &Hook, config: &Config) {
        self.queue.bound(config.queue);
        self.rules.store(Arc::new(rules(hook, config)));
    }

    pub(super) fn wants(&self, kind: RecordKind) -> bool {
        self.rules.load().hook.kinds.has(kind)
    }

    /// Queues it, or counts it as one that found no room.
    pub(super) fn push(&self, record: &Arc<Record>) {
        self.queue.push(record);
    }

    /// No more come.
    pub(super) fn end(&self) {
        self.queue.end();
    }

    /// Waits until all is told or the process ends.
    pub(super) async fn finished(mut self) {
        let _ = (&mut self.task).await;
    }
}

impl Drop for Webhook {
    fn drop(&mut self) {
        self.task.abort();
        self.queue.give_up(HookEnd::Removed);
    }
}

fn rules(hook: &Hook, config: &Config) -> Rules {
    Rules {
        hook: hook.clone(),
        retry_for: config.retry_for,
    }
}

/// The task of one receiver.
struct Sender {
    rules: Arc<ArcSwap<Rules>>,
    queue: Arc<Queue>,
    shared: Shared,
    /// The last delivery was not taken: said once, and once when it is over.
    is_failing: bool,
}

impl Sender {
    async fn run(mut self) {
        let mut ending = self.shared.ending.clone();
        let queue = Arc::clone(&self.queue);
        let deadline = async move {
            let at = ending.wait_for(Option::is_some).await.ok().and_then(|at| *at);
            match at {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.deliver_all() => {}
            () = deadline => queue.give_up(HookEnd::Shutdown),
        }
    }

    /// Until the queue has ended and is empty.
    async fn deliver_all(&mut self) {
        while self.queue.filled(1).await {
            let hook = self.rules.load().hook.clone();
            // Others that come soon go with it.
            tokio::select! {
                _ = self.queue.filled(hook.batch) => {}
                () = sleep(hook.interval) => {}
            }
            let batch = self.queue.take(hook.batch);
            let end = self.deliver(&batch).await;
            self.queue.settle(end);
        }
    }

    /// One batch, until it is taken or given up.
    async fn deliver(&mut self, batch: &[Arc<Record>]) -> HookEnd {
        let began = Instant::now();
        let body = body(batch);
        let id = retry::random_id();
        for attempt in 0_u32.. {
            // Read anew each time: a secret that was wrong may be right now.
            let rules = self.rules.load_full();
            let post = Post {
                hook: &rules.hook,
                id: &id,
                body: &body,
            };
            let outcome = post.send(&self.shared.trust).await;
            let wait = match outcome {
                Outcome::Taken => {
                    self.shared.metrics.attempt(HookAttempt::Taken);
                    if std::mem::take(&mut self.is_failing) {
                        tracing::info!(url = %rules.hook.url, "the webhook takes events again");
                    }
                    return HookEnd::Delivered;
                }
                Outcome::Refused(status) => {
                    self.shared.metrics.attempt(HookAttempt::Refused);
                    self.complain(
                        &rules.hook,
                        &format!("it answers {status}, and these events are dropped"),
                    );
                    return HookEnd::Refused;
                }
                Outcome::Failed { why, retry_after } => {
                    self.shared.metrics.attempt(HookAttempt::Failed);
                    self.complain(&rules.hook, &why);
                    let ending = self.queue.has_ended();
                    retry::wait(attempt, retry_after, ending)
                }
            };
            if began.elapsed() + wait > rules.retry_for {
                return HookEnd::GaveUp;
            }
            tokio::select! {
                () = sleep(wait) => {}
                // No time to wait long any more: at once, and then soon.
                () = self.queue.ended(), if !self.queue.has_ended() => {}
            }
        }
        HookEnd::GaveUp
    }

    fn complain(&mut self, hook: &Hook, why: &str) {
        if !std::mem::replace(&mut self.is_failing, true) {
            tracing::warn!(url = %hook.url, "the webhook does not take events: {why}");
        }
    }
}

fn body(batch: &[Arc<Record>]) -> bytes::Bytes {
    let mut body = String::with_capacity(16 + batch.iter().map(|record| record.json.len() + 1).sum::<usize>());
    body.push_str("{\"events\":[");
    for (at, record) in batch.iter().enumerate() {
        if at > 0 {
            body.push(',');
        }
        body.push_str(&record.json);
    }
    body.push_str("]}");
    body.into()
}
