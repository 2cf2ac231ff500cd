//! The thread that keeps the books: it waits for the end of an interval, reads, writes, tells.

use std::collections::BTreeMap;
use std::io;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::account::{Account, At, Reading};
use super::config::Config;
use super::day::{Day, parse_time};
use super::record::Record;
use super::store::Store;
use crate::credentials::UnixTime;
use crate::events::{Intake, UsageEvent};
use crate::telemetry::Metrics;
use crate::turn::Ledger;

/// What cannot be written is tried again after so long, at the latest.
const AGAIN: Duration = Duration::from_secs(10);
/// Records in the log when the process ends and cannot write them.
const MOST_LOGGED: usize = 100;

/// Where the numbers come from, and who is told.
#[derive(Debug, Clone)]
pub struct Source {
    /// The counters.
    pub metrics: Metrics,
    /// Peaks.
    pub ledger: Ledger,
    /// Who tells others.
    pub intake: Intake,
}

/// The accounting of this process. [`Usage::finish`] ends it.
#[derive(Debug)]
pub struct Usage {
    orders: Sender<Order>,
    thread: Option<JoinHandle<()>>,
}

enum Order {
    /// Intervals of this length from now on, and files for so many days.
    Reconfigure(Config),
    Finish,
}

impl Usage {
    /// Opens the books.
    ///
    /// # Errors
    /// When nothing can be written where records are to be written, or the system gives no thread or no randomness.
    pub fn start(config: Config, source: Source) -> io::Result<Self> {
        let store = config.directory.as_deref().map(Store::new).transpose()?;
        let mut instance = [0; 6];
        getrandom::fill(&mut instance).map_err(io::Error::other)?;
        let instance = instance.iter().map(|byte| format!("{byte:02x}")).collect();
        let keeper = Keeper {
            account: Account::new(instance, now()),
            config,
            store,
            source,
            is_failing: false,
            looked: None,
            started: Instant::now(),
        };
        let (orders, receiver) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("usage".to_owned())
            .spawn(move || keeper.run(&receiver))?;
        Ok(Self {
            orders,
            thread: Some(thread),
        })
    }

    /// Takes over what can change: all but the directory.
    pub fn reconfigure(&self, config: Config) {
        let _ = self.orders.send(Order::Reconfigure(config));
    }

    /// Ends the last interval and writes it. To be called when the relay has ended, and before events do. Blocks for as long as
    /// that takes.
    pub fn finish(mut self) {
        let _ = self.orders.send(Order::Finish);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the accounting ended by a panic");
        }
    }
}

struct Keeper {
    account: Account,
    config: Config,
    store: Option<Store>,
    source: Source,
    /// The last attempt to write failed: said once, and once when it is over.
    is_failing: bool,
    /// The day on which it was last looked for files that are too old.
    looked: Option<Day>,
    started: Instant,
}

impl Keeper {
    fn run(mut self, orders: &Receiver<Order>) {
        let mut due = self.due();
        loop {
            let mut wait = due.saturating_duration_since(Instant::now());
            if self.store.as_ref().is_some_and(|store| store.waiting() > 0) {
                wait = wait.min(AGAIN);
            }
            match orders.recv_timeout(wait) {
                Ok(Order::Reconfigure(config)) => {
                    self.config = config;
                    due = self.due();
                }
                Ok(Order::Finish) | Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) if Instant::now() >= due => {
                    self.close(false);
                    due = self.due();
                }
                Err(RecvTimeoutError::Timeout) => self.write(),
            }
        }
        self.close(true);
        self.give_up();
    }

    fn due(&self) -> Instant {
        let now = now();
        now.instant + Account::due_in(now, self.config.interval)
    }

    /// Ends the interval, unless there is no room for its records: then it goes on, and nothing is lost.
    fn close(&mut self, last: bool) {
        let totals = self.source.metrics.account_totals();
        let has_room = self.store.as_ref().is_none_or(|store| store.has_room(totals.len()));
        if !has_room && !last {
            return self.write();
        }
        let reading = |(name, totals): (std::sync::Arc<str>, crate::telemetry::AccountTotals)| {
            let period = self.source.ledger.end_period(&name);
            let reading = Reading {
                counters: (&totals.all).into(),
                living: totals.all.relay.allocations,
                peak: period.peak,
                credentials_used: period.credentials_used,
                keys: totals.keys.iter().map(|(key, of)| (key.clone(), of.into())).collect(),
                probes: (&totals.probes).into(),
            };
            (name.to_string(), reading)
        };
        let readings: BTreeMap<_, _> = totals.into_iter().map(reading).collect();
        let at = now();
        let records = self.account.close(at, readings, last);
        if let Some(store) = &mut self.store {
            store.push(&records);
        }
        self.write();
        for record in &records {
            self.tell(record);
        }
        self.forget(at, records.iter().any(|record| record.clock_set));
    }

    fn tell(&self, record: &Record) {
        let at = UnixTime(parse_time(&record.to).unwrap_or(0) / 1000);
        if let Ok(serde_json::Value::Object(fields)) = serde_json::to_value(record) {
            self.source.intake.usage(UsageEvent { at, fields });
        }
    }

    fn write(&mut self) {
        let Some(store) = &mut self.store else { return };
        let metrics = self.source.metrics.usage();
        let before = store.waiting();
        let result = store.write();
        // What was written before a fault is written.
        let written = before - store.waiting();
        metrics.written.inc_by(written as u64);
        metrics.waiting.set(i64::try_from(store.waiting()).unwrap_or(i64::MAX));
        match result {
            Ok(()) if written == 0 => {}
            Ok(()) => {
                metrics
                    .written_at
                    .set(i64::try_from(now().unix_ms / 1000).unwrap_or(i64::MAX));
                if std::mem::take(&mut self.is_failing) {
                    tracing::info!(records = written, "usage is written again");
                }
            }
            Err(error) => {
                metrics.failures.inc();
                if !std::mem::replace(&mut self.is_failing, true) {
                    tracing::error!(%error, "usage cannot be written, and waits (usage.directory)");
                }
            }
        }
    }

    /// Once a day, and not when the clock has just been set: it may be wrong by years. As it may be at the start, so that it is not
    /// believed alone.
    fn forget(&mut self, at: At, clock_set: bool) {
        let (Some(store), clock) = (&self.store, Day::of(at.unix_ms)) else {
            return;
        };
        if clock_set || self.config.retention_days == 0 || self.looked == Some(clock) {
            return;
        }
        self.looked = Some(clock);
        let today = store.today(clock, at.instant.saturating_duration_since(self.started));
        if today < clock {
            tracing::warn!(
                %clock,
                %today,
                "the clock is ahead of the records of usage that were there at the start: files are removed by the records, until the next start"
            );
        }
        match store.forget(today, self.config.retention_days) {
            Ok(0) => {}
            Ok(files) => tracing::info!(files, "files of usage were removed (usage.retention_days)"),
            Err(error) => tracing::warn!(%error, "old files of usage cannot be looked for"),
        }
    }

    /// The process ends: what is not written now is in the log alone.
    fn give_up(&mut self) {
        let Some(store) = &self.store else { return };
        let lost = store.waiting();
        if lost == 0 {
            return;
        }
        self.source.metrics.usage().lost.inc_by(lost as u64);
        tracing::error!(records = lost, "usage could not be written before the end; it follows");
        for line in store.unwritten().take(MOST_LOGGED) {
            tracing::error!(record = line, "usage");
        }
    }
}

fn now() -> At {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH);
    At {
        instant: Instant::now(),
        unix_ms: unix.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX)),
    }
}
