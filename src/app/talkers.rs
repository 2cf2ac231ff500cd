//! Looks at the living allocations, for those who ask who relays most.

use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use tokio::task::spawn_blocking;
use tokio::time::MissedTickBehavior;

use crate::events::Talkers;
use crate::events::talkers::{Question, Top};
use crate::transport::{Inquiry, NoAnswer};
use crate::turn::{Filter, Ledger};

/// Between two looks: a byte counts in the minute in which it is seen.
const EVERY: Duration = Duration::from_secs(10);
/// Who asks has a look that is no older.
const FRESH: Duration = Duration::from_secs(1);
/// Allocations that a worker shows between two packets: some 100 µs.
const PAGE: usize = 128;
/// How long a worker may take to its next turn.
const TURN: Duration = Duration::from_secs(1);

/// Asks the workers what their allocations have relayed.
pub(super) struct Looker {
    relay: Inquiry,
    ledger: Ledger,
    talkers: Talkers,
    /// Held while a look is under way; when the last one ended.
    last: Mutex<Option<Instant>>,
}

impl Looker {
    pub(super) fn new(relay: Inquiry, ledger: Ledger, talkers: Talkers) -> Self {
        Self {
            relay,
            ledger,
            talkers,
            last: Mutex::default(),
        }
    }

    /// Who did most, as of now. Blocks for as long as a look takes; while another one is under way it is as that has come so far.
    pub(super) fn top(&self, question: Question) -> Result<Top, NoAnswer> {
        if question.by.is_of_living() {
            self.look(FRESH)?;
        }
        Ok(self.talkers.top(question))
    }

    /// Looks at all of them, unless that has been done this lately.
    fn look(&self, lately: Duration) -> Result<(), NoAnswer> {
        let mut last = match self.last.try_lock() {
            Ok(last) => last,
            Err(TryLockError::WouldBlock) => return Ok(()),
            Err(TryLockError::Poisoned(poisoned)) => PoisonError::into_inner(poisoned),
        };
        if last.is_some_and(|last| last.elapsed() < lately) {
            return Ok(());
        }
        self.talkers.begin_look();
        let looked = self.look_at_all();
        self.talkers.end_look(looked.is_ok());
        *last = Some(Instant::now());
        looked
    }

    fn look_at_all(&self) -> Result<(), NoAnswer> {
        // Nobody is woken for nothing.
        if self.ledger.total() == 0 {
            return Ok(());
        }
        for worker in 0..self.relay.workers() {
            let mut from = Some(0);
            while let Some(place) = from {
                let question =
                    move |server: &mut crate::turn::Server, now| server.page(now, &Filter::default(), place, PAGE);
                let page = self.relay.ask(worker, TURN, question)?;
                self.talkers.handle_living(&page.allocations);
                from = page.next;
            }
        }
        Ok(())
    }
}

/// Looks again and again, for as long as the process runs. A worker that has no time is asked again by the next look.
pub(super) async fn watch(looker: Arc<Looker>) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let looker = Arc::clone(&looker);
        let _ = spawn_blocking(move || looker.look(Duration::ZERO)).await;
    }
}
