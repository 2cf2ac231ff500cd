//! The one task between the way in and the ways out.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use super::config::Config;
use super::feed::Feed;
use super::intake::{Intake, Message};
use super::log;
use super::record::Happened;
use super::talkers::Talkers;
use super::webhook::{Shared, Webhook};
use crate::telemetry::{EventMetrics, Metrics};

/// Events between the workers and the task: the ends of all allocations of a busy process at once, and as many again. Memory is
/// taken as they come, 300 bytes each.
const WAITING: usize = 65_536;

/// The events of this process. Made once; [`Events::finish`] ends it.
pub struct Events {
    intake: Intake,
    feed: Feed,
    talkers: Talkers,
    config: Arc<ArcSwap<Config>>,
    changed: watch::Sender<()>,
    task: JoinHandle<()>,
    ending: watch::Sender<Option<Instant>>,
}

impl Events {
    /// Starts to tell. Needs a runtime of tokio.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub fn start(config: Config, metrics: &Metrics) -> std::io::Result<Self> {
        let mut instance = [0; 6];
        getrandom::fill(&mut instance).map_err(std::io::Error::other)?;
        let instance: String = instance.iter().map(|byte| format!("{byte:02x}")).collect();
        let metrics = metrics.events().clone();
        let (sender, receiver) = mpsc::channel(WAITING);
        let feed = Feed::new(config.subscribers, metrics.clone());
        let talkers = Talkers::new();
        let (ending, ends) = watch::channel(None);
        let (changed, changes) = watch::channel(());
        let config = Arc::new(ArcSwap::from_pointee(config));
        let mut teller = Teller {
            instance,
            number: 0,
            config: Arc::clone(&config),
            feed: feed.clone(),
            talkers: talkers.clone(),
            hooks: HashMap::new(),
            shared: Shared::new(metrics.clone(), ends),
            metrics: metrics.clone(),
        };
        teller.look_at_hooks();
        let task = tokio::spawn(teller.run(receiver, changes));
        Ok(Self {
            intake: Intake { sender, metrics },
            feed,
            talkers,
            config,
            changed,
            task,
            ending,
        })
    }

    /// The way in.
    pub fn intake(&self) -> Intake {
        self.intake.clone()
    }

    /// The way out for those who listen.
    pub fn feed(&self) -> Feed {
        self.feed.clone()
    }

    /// Who did most lately.
    pub fn talkers(&self) -> Talkers {
        self.talkers.clone()
    }

    /// Tells others from now on. What waits for a webhook whose address stays goes there, signed with its new secret; what waits
    /// for one that is gone is counted and dropped.
    pub fn reconfigure(&self, config: Config) {
        self.feed.bound(config.subscribers);
        self.config.store(Arc::new(config));
        self.changed.send_replace(());
    }

    /// Tells what was put in before, gives webhooks `patience` to take it, and ends.
    pub async fn finish(mut self, patience: Duration) {
        let deadline = Instant::now() + patience;
        let _ = timeout_at(deadline, self.intake.sender.send(None)).await;
        self.ending.send_replace(Some(deadline));
        // A moment more, since webhooks count what they give up then.
        if timeout_at(deadline + Duration::from_secs(1), &mut self.task)
            .await
            .is_err()
        {
            self.task.abort();
        }
    }
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Events")
            .field("config", &self.config.load())
            .finish_non_exhaustive()
    }
}

/// What the task has.
struct Teller {
    /// Names this process in the ids of events.
    instance: String,
    number: u64,
    config: Arc<ArcSwap<Config>>,
    feed: Feed,
    talkers: Talkers,
    /// By address.
    hooks: HashMap<String, Webhook>,
    shared: Shared,
    metrics: EventMetrics,
}

impl Teller {
    async fn run(mut self, mut receiver: mpsc::Receiver<Message>, mut changes: watch::Receiver<()>) {
        loop {
            tokio::select! {
                biased;
                Ok(()) = changes.changed() => self.look_at_hooks(),
                message = receiver.recv() => match message {
                    Some(Some(happened)) => self.tell(&happened),
                    Some(None) | None => break,
                },
            }
        }
        for hook in self.hooks.values() {
            hook.end();
        }
        for hook in self.hooks.into_values() {
            hook.finished().await;
        }
    }

    fn tell(&mut self, happened: &Happened) {
        self.number += 1;
        let kind = happened.kind();
        self.metrics.told(kind);
        if let Happened::Relay(event) = happened {
            self.talkers.handle_event(event);
        }
        let config = self.config.load();
        match happened {
            Happened::Relay(event) if config.log => log::relay(self.number, event, config.log_addresses),
            Happened::Hub(event) if config.log => log::hub(self.number, event, config.log_addresses),
            // The prober has written what an operator needs to know, and usage is in its file.
            Happened::Relay(_) | Happened::Hub(_) | Happened::Server(_) | Happened::Usage(_) => {}
            Happened::Audit(audit) => log::audit(self.number, audit),
        }
        let mut hooks = self.hooks.values().filter(|hook| hook.wants(kind)).peekable();
        if hooks.peek().is_none() && !self.feed.is_listened_to() {
            return;
        }
        let record = Arc::new(happened.record(&self.instance, self.number));
        for hook in hooks {
            hook.push(&record);
        }
        self.feed.tell(&record);
    }

    /// Starts webhooks that are new, ends those that are gone, and tells the others how they are to be told.
    fn look_at_hooks(&mut self) {
        let config = self.config.load_full();
        self.hooks
            .retain(|address, _| config.hooks.iter().any(|hook| hook.url.whole() == *address));
        for hook in &config.hooks {
            let address = hook.url.whole();
            match self.hooks.get(&address) {
                Some(known) => known.reconfigure(hook, &config),
                None => {
                    let started = Webhook::start(hook, &config, &self.shared);
                    self.hooks.insert(address, started);
                }
            }
        }
    }
}
