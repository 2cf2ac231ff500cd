//! Clients that come and go: connect, join a room with others in it, leave, close, again and again.

use std::time::Duration;

use clap::Args;
use tokio::time::Instant;

use crate::{Failure, crowd, histogram::Histogram, process, report::Report, speak::Target};

#[derive(Args, Clone)]
pub(crate) struct Churn {
    #[command(flatten)]
    pub(crate) target: Target,
    /// Clients that go round at the same time.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) at_once: u32,
    /// Members of each room that stay, and hear of the others.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(0..=1_000))]
    pub(crate) staying: u32,
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=200))]
    pub(crate) seconds: u64,
}

/// Rooms that those who come and go share.
const ROOMS: usize = 16;

pub(crate) async fn run(churn: &Churn) -> Result<Report, Failure> {
    let target = &churn.target;
    let room = |at: usize| format!("c{}", at % ROOMS);
    let staying = churn.staying as usize * ROOMS;
    let crowd = crowd::enter(target, 0, staying, 32, room).await?;
    if let Some(complaint) = crowd.complaint {
        return Err(complaint.into());
    }
    for mut member in crowd.members {
        tokio::task::spawn_local(async move { member.reader.take(|_| {}).await });
    }
    let before = process::sample(&target.pid);
    let (started, end) = (Instant::now(), Instant::now() + Duration::from_secs(churn.seconds));
    let mut tasks = tokio::task::JoinSet::new();
    for worker in 0..churn.at_once as usize {
        let target = target.clone();
        tasks.spawn_local(async move {
            let (mut count, mut failed, mut rounds) = (0_u64, 0_u64, Histogram::new());
            while Instant::now() < end {
                let at = staying + worker + (count as usize % 1_000) * 1_000;
                let began = Instant::now();
                let round = async {
                    let mut entered = target.enter(at, &room(worker)).await?;
                    target.leave(&mut entered.reader, &room(worker)).await
                };
                match round.await {
                    Ok(()) => {
                        count += 1;
                        rounds.record(began.elapsed().as_nanos() as u64);
                    }
                    Err(_) => {
                        failed += 1;
                        tokio::time::sleep(Duration::from_millis(10)).await;
                    }
                }
            }
            (count, failed, rounds)
        });
    }
    let (mut count, mut failed, mut rounds) = (0, 0, Histogram::new());
    while let Some(done) = tasks.join_next().await {
        let done = done?;
        count += done.0;
        failed += done.1;
        rounds.merge(&done.2);
    }
    let elapsed = started.elapsed().as_secs_f64();
    let after = process::sample(&target.pid);
    let mut report = Report::default();
    report.add("rounds", count, "");
    report.add("failed", failed, "");
    report.add_rounded("rounds_per_second", count as f64 / elapsed, "/s");
    for (name, share) in [("p50_us", 0.5), ("p99_us", 0.99)] {
        report.add(name, rounds.quantile(share).unwrap_or_default() / 1_000, "µs a round");
    }
    report.add_rounded("cpu_us_per_round", after.cpu_micros(&before, count), "µs of the server");
    process::add_resident(&mut report, &before, &after);
    Ok(report)
}
