//! CPU time and memory as the kernel counts them.
//!
//! A relay's cost hides in softirq, and a kernel fast path has no process at all: so the whole machine's busy time is read
//! beside the server's own. Where other work shares the machine, the sum of server and generator is the figure to trust.

use std::{fs, process};

use crate::Failure;

/// Microseconds of one tick of `/proc` (USER_HZ is 100 on every Linux architecture we know).
const TICK_MICROS: u64 = 10_000;

/// CPU times since boot in microseconds.
#[derive(Clone, Copy)]
pub(crate) struct Cpu {
    /// All busy time of all cores: the clock times the cores, less what was idle. Idle time is measured by the kernel, busy
    /// time is sampled at ticks and misses work that always begins just after one.
    pub(crate) system: u64,
    /// Of that, softirq.
    pub(crate) softirq: u64,
    /// The server's process, with its threads.
    pub(crate) server: u64,
    /// This process.
    pub(crate) generator: u64,
}

impl Cpu {
    pub(crate) fn read(server: Option<u32>) -> Result<Self, Failure> {
        let (system, softirq) = system()?;
        Ok(Self {
            system,
            softirq,
            server: server.map_or(Ok(0), of_process)?,
            generator: of_process(process::id())?,
        })
    }

    pub(crate) fn since(self, earlier: Self) -> Self {
        Self {
            system: self.system.saturating_sub(earlier.system),
            softirq: self.softirq.saturating_sub(earlier.softirq),
            server: self.server.saturating_sub(earlier.server),
            generator: self.generator.saturating_sub(earlier.generator),
        }
    }
}

/// Busy time and softirq time.
fn system() -> Result<(u64, u64), Failure> {
    let stat = fs::read_to_string("/proc/stat")?;
    let uptime = fs::read_to_string("/proc/uptime")?;
    let line = stat.lines().next().ok_or("empty /proc/stat")?;
    let cores = stat.lines().filter(|l| l.starts_with("cpu")).count().saturating_sub(1) as u64;
    // user nice system idle iowait irq softirq steal
    let fields: Vec<u64> = line.split_whitespace().skip(1).map_while(|f| f.parse().ok()).collect();
    let at = |i: usize| fields.get(i).copied().unwrap_or(0) * TICK_MICROS;
    let up: f64 = uptime.split_whitespace().next().ok_or("empty /proc/uptime")?.parse()?;
    let not_ours = at(3) + at(4) + at(7);
    Ok((((up * 1e6) as u64 * cores).saturating_sub(not_ours), at(6)))
}

fn of_process(pid: u32) -> Result<u64, Failure> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).map_err(|e| format!("process {pid}: {e}"))?;
    // The name may hold spaces and brackets: fields are counted from the last bracket.
    let fields: Vec<&str> = stat
        .rsplit_once(')')
        .map_or("", |(_, rest)| rest)
        .split_whitespace()
        .collect();
    let at = |i: usize| fields.get(i).and_then(|f| f.parse::<u64>().ok()).unwrap_or(0);
    Ok((at(11) + at(12)) * TICK_MICROS)
}

/// Resident memory of a process in KiB.
pub(crate) fn resident_kib(pid: u32) -> Result<u64, Failure> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).map_err(|e| format!("process {pid}: {e}"))?;
    let line = status
        .lines()
        .find_map(|l| l.strip_prefix("VmRSS:"))
        .ok_or("no VmRSS")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse()?)
}
