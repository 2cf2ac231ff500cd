//! Pairs that negotiate: an offer or answer of 1,200 bytes, then five candidates of 160, each way, at a rate.

use std::{cell::RefCell, rc::Rc, time::Duration};

use clap::Args;
use tokio::time::Instant;

use crate::{
    Failure, crowd, process,
    report::Report,
    speak::Target,
    stamp::{Clock, Seen, Stamp},
};

/// Signals after which the next description comes.
const ROUND: u32 = 6;
const DESCRIPTION: usize = 1_200;
const CANDIDATE: usize = 160;

#[derive(Args, Clone)]
pub(crate) struct Signal {
    #[command(flatten)]
    pub(crate) target: Target,
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=9_000))]
    pub(crate) pairs: u32,
    /// Signals per second, of all pairs together; 0 sends each when the one before has arrived.
    #[arg(long, default_value_t = 5_000, value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    pub(crate) rate: u32,
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=200))]
    pub(crate) seconds: u64,
}

fn room(at: usize) -> String {
    format!("s{}", at / 2)
}

pub(crate) async fn run(signal: &Signal) -> Result<Report, Failure> {
    let target = &signal.target;
    let clock = Clock::start();
    let count = 2 * signal.pairs as usize;
    let crowd = crowd::enter(target, 0, count, 32, room).await?;
    if let Some(complaint) = crowd.complaint {
        return Err(complaint.into());
    }
    let seen = Rc::new(RefCell::new(Seen::new()));
    let sent: Rc<RefCell<Vec<u32>>> = Rc::new(RefCell::new(vec![0; count]));
    let writers: Vec<_> = crowd
        .members
        .iter()
        .map(|member| member.reader.writer.clone())
        .collect();
    let closed_loop = signal.rate == 0;
    let started = Instant::now();
    let end = started + Duration::from_secs(signal.seconds);
    let next_text = {
        let (target, sent) = (target.clone(), Rc::clone(&sent));
        move |from: usize| {
            let number = sent.borrow()[from];
            sent.borrow_mut()[from] += 1;
            let offer = number % ROUND == 0;
            let stamp = Stamp {
                sender: from as u32,
                number,
                nanos: clock.nanos(),
            };
            let body = stamp.body(if offer { DESCRIPTION } else { CANDIDATE });
            target.signal(&room(from), from, from ^ 1, offer, &body)
        }
    };
    let next_text = Rc::new(next_text);
    let before = process::sample(&target.pid);
    for (at, mut member) in crowd.members.into_iter().enumerate() {
        let (seen, next_text) = (Rc::clone(&seen), Rc::clone(&next_text));
        let writer = member.reader.writer.clone();
        tokio::task::spawn_local(async move {
            let mut expected = 0;
            let mut owed = Vec::new();
            let partner = (at ^ 1) as u32;
            let (go, mut went) = tokio::sync::mpsc::unbounded_channel();
            tokio::task::spawn_local(async move {
                while let Some(text) = went.recv().await {
                    let text: String = text;
                    if writer.say(&text).await.is_err() {
                        return;
                    }
                }
            });
            let _ = member
                .reader
                .take(|frame| {
                    // What a topic echoes to its publisher is not an arrival.
                    let Some(stamp) = Stamp::find(frame).filter(|stamp| stamp.sender == partner) else {
                        return;
                    };
                    seen.borrow_mut().record(stamp, &mut expected, clock.nanos());
                    if closed_loop && Instant::now() < end {
                        owed.push(());
                    }
                    for () in owed.drain(..) {
                        let _ = go.send(next_text(at));
                    }
                })
                .await;
        });
    }
    let mut late = 0;
    if closed_loop {
        for (at, writer) in writers.iter().enumerate() {
            writer.say(&next_text(at)).await?;
        }
        tokio::time::sleep_until(end).await;
    } else {
        let mut tick = tokio::time::interval(Duration::from_millis(1));
        let mut total: u64 = 0;
        while Instant::now() < end {
            tick.tick().await;
            let owed = (started.elapsed().as_secs_f64() * f64::from(signal.rate)) as u64;
            late = late.max(owed.saturating_sub(total));
            while total < owed {
                let from = total as usize % count;
                writers[from].say(&next_text(from)).await?;
                total += 1;
            }
        }
    }
    let elapsed = started.elapsed().as_secs_f64();
    let after = process::sample(&target.pid);
    settle(&seen).await;
    let seen = seen.borrow();
    let total: u64 = sent.borrow().iter().map(|sent| u64::from(*sent)).sum();
    let mut report = Report::default();
    report.add("sent", total, "");
    report.add("lost", total.saturating_sub(seen.received), "");
    report.add("repeated", seen.repeated, "or out of order");
    report.add_rounded("signals_per_second", seen.received as f64 / elapsed, "/s");
    report.add("late_at_most", late, "signals that the generator was behind");
    add_latency(&mut report, &seen);
    report.add_rounded(
        "cpu_us_per_signal",
        after.cpu_micros(&before, total),
        "µs of the server",
    );
    process::add_resident(&mut report, &before, &after);
    Ok(report)
}

/// Waits until nothing has arrived for a while: 300 ms, and 10 s at most.
pub(crate) async fn settle(seen: &RefCell<Seen>) {
    let mut last = seen.borrow().received;
    for _ in 0..33 {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let now = seen.borrow().received;
        if now == last {
            return;
        }
        last = now;
    }
}

pub(crate) fn add_latency(report: &mut Report, seen: &Seen) {
    for (name, share) in [("p50_us", 0.5), ("p99_us", 0.99), ("max_us", 1.0)] {
        let nanos = seen.latency.quantile(share).unwrap_or_default();
        report.add(name, nanos / 1_000, "µs, sent to received");
    }
}
