//! Control-plane loads: allocations made and released as fast as the server lets them, and allocations held for their weight.

use std::{
    sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use crate::{
    Allocate, Failure, Hold, Target,
    client::Client,
    histogram::Histogram,
    namespace,
    probe::{self, Cpu},
    report::Report,
};

/// Cycles after which a run ends whatever the clock says: bounds the ports and the accounts it can use up.
const MAX_CYCLES: u32 = 2_000_000;

/// One whole life: challenge, Allocate, Refresh 0, each from a port of its own, as strangers do. Gives the ports that were
/// refused as still in use.
fn cycle(target: &Target, index: u32) -> Result<u32, Failure> {
    let (mut client, _, collisions) = Client::open(target, None, index, None)?;
    client.release()?;
    Ok(collisions)
}

/// Closed loop of `concurrency` clients.
pub(crate) fn allocate(options: &Allocate) -> Result<Report, Failure> {
    namespace::raise_file_limit();
    let target = &options.target;
    let stop = AtomicBool::new(false);
    let next = AtomicU32::new(0);
    let (done, failed, collisions) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let first_failure = std::sync::Mutex::new(None);
    let mut latency = Histogram::new();

    let (cpu, elapsed, finished) = thread::scope(|scope| -> Result<_, Failure> {
        let workers: Vec<_> = (0..options.concurrency)
            .map(|_| {
                scope.spawn(|| -> Result<Histogram, Failure> {
                    namespace::enter(target.client_netns.as_deref())?;
                    let mut latency = Histogram::new();
                    while !stop.load(Relaxed) {
                        let index = next.fetch_add(1, Relaxed);
                        if index >= MAX_CYCLES {
                            break;
                        }
                        let begun = Instant::now();
                        match cycle(target, index) {
                            Ok(ports) => {
                                collisions.fetch_add(u64::from(ports), Relaxed);
                                done.fetch_add(1, Relaxed);
                                latency.record(begun.elapsed().as_nanos() as u64);
                            }
                            Err(error) => {
                                failed.fetch_add(1, Relaxed);
                                if let Ok(mut first) = first_failure.lock() {
                                    first.get_or_insert(error);
                                }
                                // A server that refuses must not be hammered.
                                thread::park_timeout(Duration::from_millis(10));
                            }
                        }
                    }
                    Ok(latency)
                })
            })
            .collect();
        thread::park_timeout(Duration::from_millis(500));
        let (before, done_before, begun) = (Cpu::read(target.pid)?, done.load(Relaxed), Instant::now());
        pause(Duration::from_secs(options.seconds));
        let (after, done_after, elapsed) = (Cpu::read(target.pid)?, done.load(Relaxed), begun.elapsed());
        stop.store(true, Relaxed);
        for worker in workers {
            latency.merge(&worker.join().map_err(|_| "worker panicked")??);
        }
        Ok((after.since(before), elapsed, done_after - done_before))
    })?;
    if finished == 0 {
        let reason = first_failure
            .into_inner()
            .ok()
            .flatten()
            .map_or("nothing happened".into(), |e| e.to_string());
        return Err(format!("no cycle finished: {reason}").into());
    }

    let mut report = Report::default();
    report.add("cycles", finished, "");
    report.add("failed_cycles", failed.load(Relaxed), "");
    report.add(
        "port_collisions",
        collisions.load(Relaxed),
        "ports that the server still held from an earlier cycle (437)",
    );
    if let Ok(Some(error)) = first_failure.into_inner() {
        report.add("first_failure", error.to_string(), "");
    }
    report.add_rounded("cycles_per_second", finished as f64 / elapsed.as_secs_f64(), "/s");
    if target.pid.is_some() {
        report.add_rounded("server_cpu_us_per_cycle", cpu.server as f64 / finished as f64, "µs");
    }
    report.add_rounded(
        "generator_cpu_us_per_cycle",
        cpu.generator as f64 / finished as f64,
        "µs",
    );
    for (name, share) in [("cycle_p50_us", 0.5), ("cycle_p99_us", 0.99)] {
        if let Some(nanos) = latency.quantile(share) {
            report.add_rounded(name, nanos as f64 / 1000.0, "µs");
        }
    }
    Ok(report)
}

/// Holds allocations and compares the server's resident memory before and after.
pub(crate) fn hold(options: &Hold) -> Result<Report, Failure> {
    namespace::raise_file_limit();
    let target = &options.target;
    let pid = target.pid.ok_or("hold needs --pid: it weighs that process")?;
    // The first allocation pays for what the server sets up once.
    let mut clients = Vec::new();
    let mut before = 0;
    for index in 0..options.allocations {
        let (client, ..) = Client::open(target, target.client_netns.as_deref(), index, None)?;
        clients.push(client);
        if index == 0 {
            before = probe::resident_kib(pid)?;
        }
    }
    pause(Duration::from_millis(500));
    let after = probe::resident_kib(pid)?;
    let more = (clients.len() - 1).max(1);
    for client in &mut clients {
        client.release()?;
    }
    pause(Duration::from_millis(500));

    let mut report = Report::default();
    report.add("allocations", clients.len(), "");
    report.add("rss_one_kib", before, "KiB");
    report.add("rss_all_kib", after, "KiB");
    report.add("rss_released_kib", probe::resident_kib(pid)?, "KiB");
    report.add_rounded(
        "rss_bytes_per_allocation",
        (after.saturating_sub(before) * 1024) as f64 / more as f64,
        "B",
    );
    Ok(report)
}

/// Waits; parking may end early, so the clock decides.
pub(crate) fn pause(duration: Duration) {
    let until = Instant::now() + duration;
    while let Some(left) = until
        .checked_duration_since(Instant::now())
        .filter(|left| !left.is_zero())
    {
        thread::park_timeout(left);
    }
}
