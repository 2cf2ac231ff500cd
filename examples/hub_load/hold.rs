//! Many connections that do nothing: how fast they come in, what each of them costs, how many stay.
//!
//! One process has as many descriptors as its limit says, so the connections are spread over children of this program, each with
//! a loopback address of its own (an address has some 28 000 ports for each server), and over several servers if one may not
//! have as many descriptors either.

use std::{
    io::{BufRead as _, BufReader, Lines, Write as _},
    process::{Child, ChildStdout, Command, Stdio},
    rc::Rc,
    time::Duration,
};

use clap::Args;
use serde_json::{Value, json};

use crate::{
    Failure, crowd, process,
    report::Report,
    speak::{Entered, Target},
};

/// Descriptors that a process needs beside its connections.
const SPARE: usize = 200;
/// The first loopback address that children come from.
const FIRST_SOURCE: usize = 11;

#[derive(Args, Clone)]
pub(crate) struct Hold {
    #[command(flatten)]
    pub(crate) target: Target,
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) connections: u32,
    /// Members of each room.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) room: u32,
    /// Seconds that they are held for.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub(crate) seconds: u64,
    /// Connections that come in at the same time, from each child.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) at_once: u32,
    /// Used by the program for its children: this is one of them, and its first connection has this number.
    #[arg(long, hide = true)]
    pub(crate) part_from: Option<u32>,
}

/// One child with its share.
struct Part {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Part {
    fn start(hold: &Hold, part: usize, from: usize, count: usize) -> Result<Self, Failure> {
        let server = hold.target.server[part % hold.target.server.len()];
        let protocol = clap::ValueEnum::to_possible_value(&hold.target.protocol).ok_or("no name")?;
        let mut command = Command::new(std::env::current_exe()?);
        command.args([
            "hold",
            "--server",
            &server.to_string(),
            "--protocol",
            protocol.get_name(),
        ]);
        command.args(["--part-from", &from.to_string(), "--connections", &count.to_string()]);
        command.args(["--room", &hold.room.to_string(), "--at-once", &hold.at_once.to_string()]);
        command.args(["--source", &(FIRST_SOURCE + part % 200).to_string()]);
        if let Some(path) = &hold.target.path {
            command.args(["--path", path]);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let output = child.stdout.take().ok_or("no output")?;
        Ok(Self {
            child,
            lines: BufReader::new(output).lines(),
        })
    }

    fn line(&mut self) -> Result<Value, Failure> {
        let line = self.lines.next().ok_or("a child ended early")??;
        Ok(serde_json::from_str(&line)?)
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // Its input ends, so it ends, unless it is busy with something it cannot finish.
        drop(self.child.stdin.take());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) async fn run(hold: &Hold) -> Result<Report, Failure> {
    let (wanted, pids) = (hold.connections as usize, &hold.target.pid);
    let share = process::descriptors().saturating_sub(SPARE).max(1);
    // As many to each server as to every other.
    let parts = wanted.div_ceil(share).next_multiple_of(hold.target.server.len());
    let each = wanted.div_ceil(parts);
    let before = process::sample(pids);
    let mut children = Vec::new();
    for part in 0..parts {
        let from = part * each;
        children.push(Part::start(hold, part, from, each.min(wanted.saturating_sub(from)))?);
    }
    let (mut open, mut failed, mut slowest) = (0, 0, 0.0_f64);
    let mut complaint = None;
    let mut p99 = 0.0_f64;
    for child in &mut children {
        let entered = child.line()?;
        open += entered["open"].as_u64().unwrap_or_default();
        failed += entered["failed"].as_u64().unwrap_or_default();
        slowest = slowest.max(entered["seconds"].as_f64().unwrap_or_default());
        p99 = p99.max(entered["p99_ms"].as_f64().unwrap_or_default());
        complaint = complaint.or_else(|| entered["complaint"].as_str().map(str::to_owned));
    }
    let entered = process::sample(pids);
    tokio::time::sleep(Duration::from_secs(hold.seconds)).await;
    let held = process::sample(pids);
    let mut lost = 0;
    for child in &mut children {
        let input = child.child.stdin.as_mut().ok_or("no input")?;
        input.write_all(b"count\n")?;
        lost += child.line()?["closed"].as_u64().unwrap_or_default();
    }
    let mut report = Report::default();
    report.add("servers", hold.target.server.len(), "processes");
    report.add("connections", open, "");
    report.add("failed", failed, "could not come in");
    report.add("closed", lost, "closed while held");
    report.add_rounded("enters_per_second", open as f64 / slowest, "/s");
    report.add_rounded("enter_p99_ms", p99, "ms");
    report.add_rounded("cpu_us_per_enter", entered.cpu_micros(&before, open), "µs");
    report.add("rss_bytes_per_connection", held.grown(&before) / open.max(1), "B");
    let kernel = held.kernel.saturating_sub(before.kernel);
    report.add("kernel_bytes_per_connection", kernel / open.max(1), "B, both ends");
    report.add_rounded(
        "idle_cores",
        (held.cpu - entered.cpu) / hold.seconds as f64,
        "cores while idle",
    );
    process::add_resident(&mut report, &before, &held);
    if let Some(complaint) = complaint {
        report.add("complaint", complaint, "");
    }
    Ok(report)
}

/// A child: comes in with its share, says so, holds until it is asked, says how many were closed, and ends with its input.
pub(crate) async fn part(hold: &Hold, from: u32) -> Result<(), Failure> {
    process::descriptors();
    let (from, count, size) = (from as usize, hold.connections as usize, hold.room as usize);
    // Each child has rooms of its own: it may talk to a server of its own.
    let room = |at: usize| format!("h{from}-{}", (at - from) / size);
    let closed = Rc::new(std::cell::Cell::new(0_u64));
    let counted = Rc::clone(&closed);
    let read_on = move |_, mut member: Entered| {
        let closed = Rc::clone(&counted);
        tokio::task::spawn_local(async move {
            let _ = member.reader.take(|_| {}).await;
            closed.set(closed.get() + 1);
        });
    };
    let crowd = crowd::enter_each(&hold.target, from, count, hold.at_once as usize, room, read_on).await?;
    let open = count - crowd.failed;
    let p99 = crowd.entering.quantile(0.99).unwrap_or_default() as f64 / 1e6;
    say(
        &json!({"open": open, "failed": crowd.failed, "seconds": crowd.seconds, "p99_ms": p99, "complaint": crowd.complaint}),
    )?;
    let asked = tokio::task::spawn_blocking(|| std::io::stdin().lock().read_line(&mut String::new()));
    if asked.await?? > 0 {
        say(&json!({"closed": closed.get()}))?;
    }
    Ok(())
}

fn say(line: &Value) -> Result<(), Failure> {
    let mut output = std::io::stdout().lock();
    writeln!(output, "{line}")?;
    output.flush()?;
    Ok(())
}
