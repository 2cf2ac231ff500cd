//! One trial over calls that stand: starts the loops, measures between warm-up and end, adds up.
//!
//! A sending and a receiving thread for each direction. A sender that falls behind does not catch up in a burst, it reports
//! the shortfall, so that a slow generator is never mistaken for a slow relay.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use crate::{
    Direction, Failure, Relay,
    churn::pause,
    ends::{Counters, End, receive, send},
    frame::Stamp,
    histogram::Histogram,
    probe::Cpu,
};

/// What is still under way when the senders stop may arrive within this.
const DRAIN: Duration = Duration::from_millis(400);

/// The measured part of a trial.
pub(crate) struct Trial {
    pub(crate) directions: [Option<DirectionResult>; 2],
    pub(crate) cpu: Cpu,
    pub(crate) seconds: f64,
}

pub(crate) struct DirectionResult {
    pub(crate) offered: u64,
    pub(crate) missed: u64,
    pub(crate) delivered: u64,
    pub(crate) astray: u64,
    /// Over the whole trial, after the drain: nothing is under way any more.
    pub(crate) loss: f64,
    pub(crate) latency: Histogram,
}

impl DirectionResult {
    /// Share of what was owed that the generator did not send.
    pub(crate) fn shortfall(&self) -> f64 {
        self.missed as f64 / (self.offered + self.missed).max(1) as f64
    }
}

/// Set up once, used by every trial.
pub(crate) struct Calls {
    pub(crate) clients: Vec<End>,
    pub(crate) peers: Vec<End>,
}

pub(crate) fn run_trial(options: &Relay, calls: &Calls, rate: u32, seconds: u64, run: u32) -> Result<Trial, Failure> {
    let epoch = Instant::now();
    let (stop_sending, stop_receiving, measuring) =
        (AtomicBool::new(false), AtomicBool::new(false), AtomicBool::new(false));
    let counters = [Counters::default(), Counters::default()];
    let latencies = [Mutex::new(Histogram::new()), Mutex::new(Histogram::new())];
    let on = [options.direction != Direction::Down, options.direction != Direction::Up];

    let (cpu, elapsed, sent, missed, received) = thread::scope(|scope| -> Result<_, Failure> {
        for side in [0, 1] {
            if !on[side] {
                continue;
            }
            let (from, to) = if side == 0 {
                (&calls.clients, &calls.peers)
            } else {
                (&calls.peers, &calls.clients)
            };
            let (stop_sending, stop_receiving, measuring) = (&stop_sending, &stop_receiving, &measuring);
            let (counters, latency) = (&counters[side], &latencies[side]);
            scope.spawn(move || {
                let stamp = Stamp {
                    run,
                    flow: 0,
                    up: side == 0,
                    sent_nanos: 0,
                };
                send(from, rate, options.train, stamp, epoch, stop_sending, counters);
            });
            scope.spawn(move || {
                let expected = Stamp {
                    run,
                    flow: 0,
                    up: side == 0,
                    sent_nanos: 0,
                };
                let found = receive(
                    to,
                    usize::from(options.size),
                    expected,
                    epoch,
                    stop_receiving,
                    measuring,
                    counters,
                );
                if let (Ok(found), Ok(mut latency)) = (found, latency.lock()) {
                    *latency = found;
                }
            });
        }
        let count = |of: fn(&Counters) -> &AtomicU64| [0, 1].map(|side: usize| of(&counters[side]).load(Relaxed));
        let warm_up = if seconds > 2 { 1000 } else { 300 };
        pause(Duration::from_millis(warm_up));
        measuring.store(true, Relaxed);
        let (cpu, begun) = (Cpu::read(options.target.pid)?, Instant::now());
        let before = (count(|c| &c.sent), count(|c| &c.missed), count(|c| &c.received));
        pause(Duration::from_secs(seconds));
        let after = (count(|c| &c.sent), count(|c| &c.missed), count(|c| &c.received));
        let (cpu, elapsed) = (Cpu::read(options.target.pid)?.since(cpu), begun.elapsed());
        measuring.store(false, Relaxed);
        stop_sending.store(true, Relaxed);
        pause(DRAIN);
        stop_receiving.store(true, Relaxed);
        let less = |a: [u64; 2], b: [u64; 2]| [a[0] - b[0], a[1] - b[1]];
        Ok((
            cpu,
            elapsed,
            less(after.0, before.0),
            less(after.1, before.1),
            less(after.2, before.2),
        ))
    })?;

    let mut latencies = latencies.into_iter();
    let directions = [0, 1].map(|side: usize| {
        let latency = latencies.next()?.into_inner().ok()?;
        let counters = &counters[side];
        let all = counters.sent.load(Relaxed);
        let lost = all.saturating_sub(counters.received.load(Relaxed));
        on[side].then(|| DirectionResult {
            offered: sent[side],
            missed: missed[side],
            delivered: received[side],
            astray: counters.astray.load(Relaxed),
            loss: lost as f64 / all.max(1) as f64,
            latency,
        })
    });
    Ok(Trial {
        directions,
        cpu,
        seconds: elapsed.as_secs_f64(),
    })
}
