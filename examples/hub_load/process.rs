//! What the kernel says about the servers' processes: memory and CPU time. Nothing is asked of the servers themselves.

use std::fs;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::report::Report;

/// USER_HZ, on every Linux architecture we know.
const TICKS_PER_SECOND: f64 = 100.0;

/// Memory and CPU time of a set of processes.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sample {
    /// Resident memory, bytes.
    pub(crate) resident: u64,
    /// User and system time, seconds.
    pub(crate) cpu: f64,
    /// Memory of all TCP sockets of this machine, both ends, bytes.
    pub(crate) kernel: u64,
}

pub(crate) fn sample(pids: &[u32]) -> Sample {
    let mut all = Sample {
        kernel: kernel_memory().unwrap_or_default(),
        ..Sample::default()
    };
    for pid in pids {
        all.resident += resident(*pid).unwrap_or_default();
        all.cpu += cpu(*pid).unwrap_or_default();
    }
    all
}

fn resident(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib * 1_024)
}

fn cpu(pid: u32) -> Option<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may hold anything but ends at the last parenthesis.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks: u64 = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    Some(ticks as f64 / TICKS_PER_SECOND)
}

/// Pages that TCP holds for buffers, in bytes.
fn kernel_memory() -> Option<u64> {
    let sockstat = fs::read_to_string("/proc/net/sockstat").ok()?;
    let tcp = sockstat.lines().find(|line| line.starts_with("TCP:"))?;
    let pages: u64 = tcp.split_whitespace().last()?.parse().ok()?;
    Some(pages * page_size()?)
}

/// As the kernel tells every process at its start: pairs of words, 6 is `AT_PAGESZ`.
fn page_size() -> Option<u64> {
    const AT_PAGESZ: u64 = 6;
    let words = fs::read("/proc/self/auxv").ok()?;
    let word = |bytes: &[u8]| bytes.try_into().map(u64::from_ne_bytes).ok();
    let mut pairs = words.chunks_exact(16).map(|pair| pair.split_at(8));
    let found = pairs.find(|(kind, _)| word(kind) == Some(AT_PAGESZ))?;
    word(found.1)
}

/// Descriptors that this process may have, after asking for as many as it may ask for.
pub(crate) fn descriptors() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        },
    );
    getrlimit(Resource::Nofile)
        .current
        .map_or(1 << 20, |most| most as usize)
}

impl Sample {
    /// CPU time since `before` over `count` of something, microseconds.
    pub(crate) fn cpu_micros(&self, before: &Self, count: u64) -> f64 {
        (self.cpu - before.cpu) * 1e6 / count.max(1) as f64
    }

    pub(crate) fn grown(&self, before: &Self) -> u64 {
        self.resident.saturating_sub(before.resident)
    }
}

/// Adds how much the servers' memory has grown.
pub(crate) fn add_resident(report: &mut Report, before: &Sample, after: &Sample) {
    report.add("server_rss_mib", after.resident >> 20, "MiB");
    report.add("server_rss_grown_kib", after.grown(before) >> 10, "KiB");
}
