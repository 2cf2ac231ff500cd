//! What the kernel says about this machine and this process.

use crate::telemetry::metrics::status_field;
use rustix::process::{Resource, getrlimit};
use std::path::Path;

/// The facts that are judged. `None`: not to be read here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// Descriptors that this process may raise its limit to; `Some(u64::MAX)` for no limit.
    pub open_files: Option<u64>,
    /// `net.core.rmem_max`, bytes.
    pub receive_buffer: Option<u64>,
    /// `net.core.wmem_max`, bytes.
    pub send_buffer: Option<u64>,
    /// `net.core.somaxconn`.
    pub backlog: Option<u64>,
    /// Entries of connection tracking now, and at most. `None` where it is not loaded.
    pub tracked: Option<(u64, u64)>,
    /// First and last port of `net.ipv4.ip_local_port_range`.
    pub ephemeral_ports: Option<(u16, u16)>,
    /// Ranges of `net.ipv4.ip_local_reserved_ports`.
    pub reserved_ports: Vec<(u16, u16)>,
    /// The first port that needs no privilege.
    pub unprivileged_port: Option<u16>,
    /// Whether this process may bind below it.
    pub may_bind_low: bool,
    /// Datagrams that the kernel has dropped for want of room in a receive buffer, since the machine started.
    pub receive_buffer_errors: Option<u64>,
    /// Bytes of memory, of the machine or of the control group, whichever is less.
    pub memory: Option<u64>,
    /// Processors that the control group may use, in hundredths; `None` for no bound.
    pub cpu_quota_percent: Option<u64>,
    /// Processors this process may run on.
    pub processors: Option<usize>,
    /// Major and minor of the kernel.
    pub kernel: Option<(u32, u32)>,
}

/// `CAP_NET_BIND_SERVICE` of capabilities(7).
const BIND_SERVICE: u32 = 10;

impl Facts {
    /// Reads them all.
    #[must_use]
    pub fn ask() -> Self {
        let mut facts = Self::read(&|path| std::fs::read_to_string(Path::new(path)).ok());
        facts.open_files = Some(getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX));
        facts.processors = std::thread::available_parallelism().ok().map(usize::from);
        facts
    }

    /// Those that are in files, as `read` gives them.
    pub(super) fn read(read: &dyn Fn(&str) -> Option<String>) -> Self {
        let number = |path: &str| read(path)?.trim().parse::<u64>().ok();
        let port = |path: &str| u16::try_from(number(path)?).ok();
        let tracked = number("/proc/sys/net/netfilter/nf_conntrack_count")
            .zip(number("/proc/sys/net/netfilter/nf_conntrack_max"));
        let total = read("/proc/meminfo").and_then(|text| status_field(&text, "MemTotal:"));
        let group = number("/sys/fs/cgroup/memory.max");
        let memory = [total.map(|kib| kib.saturating_mul(1024)), group];
        Self {
            open_files: None,
            receive_buffer: number("/proc/sys/net/core/rmem_max"),
            send_buffer: number("/proc/sys/net/core/wmem_max"),
            backlog: number("/proc/sys/net/core/somaxconn"),
            tracked,
            ephemeral_ports: read("/proc/sys/net/ipv4/ip_local_port_range").and_then(|text| pair(&text)),
            reserved_ports: read("/proc/sys/net/ipv4/ip_local_reserved_ports")
                .map(|text| ranges(&text))
                .unwrap_or_default(),
            unprivileged_port: port("/proc/sys/net/ipv4/ip_unprivileged_port_start"),
            may_bind_low: read("/proc/self/status").is_some_and(|text| has_capability(&text, BIND_SERVICE)),
            receive_buffer_errors: read("/proc/net/snmp").and_then(|text| udp_counter(&text, "RcvbufErrors")),
            memory: memory.into_iter().flatten().min(),
            cpu_quota_percent: read("/sys/fs/cgroup/cpu.max").and_then(|text| quota(&text)),
            processors: None,
            kernel: read("/proc/sys/kernel/osrelease").and_then(|text| release(&text)),
        }
    }
}

fn pair(text: &str) -> Option<(u16, u16)> {
    let mut numbers = text.split_ascii_whitespace().map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

/// `8080,9148-9200`, and nothing for an empty line.
fn ranges(text: &str) -> Vec<(u16, u16)> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some((first.parse().ok()?, last.parse().ok()?))
    };
    text.trim().split(',').filter_map(range).collect()
}

/// Of proc_pid_status(5).
fn has_capability(status: &str, capability: u32) -> bool {
    let bits = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    bits.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok())
        .is_some_and(|bits| bits >> capability & 1 == 1)
}

/// `/proc/net/snmp` has a line of names and a line of numbers for each protocol.
fn udp_counter(text: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("Udp:"));
    let (names, values) = (lines.next()?, lines.next()?);
    let at = names.split_ascii_whitespace().position(|found| found == name)?;
    values.split_ascii_whitespace().nth(at)?.parse().ok()
}

/// `max 100000`, or `200000 100000` for two processors.
fn quota(text: &str) -> Option<u64> {
    let mut numbers = text.split_ascii_whitespace().map(str::parse::<u64>);
    let (of, period) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
    (of * 100).checked_div(period)
}

/// `6.1.0-28-amd64`.
fn release(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split(|byte: char| !byte.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_the_kernel_are_read_as_they_are_written() {
        let facts = Facts::read(&|path| {
            let text = match path {
                "/proc/sys/net/core/rmem_max" => "212992\n",
                "/proc/sys/net/netfilter/nf_conntrack_count" => "17\n",
                "/proc/sys/net/netfilter/nf_conntrack_max" => "262144\n",
                "/proc/sys/net/ipv4/ip_local_port_range" => "32768\t60999\n",
                "/proc/sys/net/ipv4/ip_local_reserved_ports" => "8080,49152-65535\n",
                "/proc/sys/net/ipv4/ip_unprivileged_port_start" => "1024\n",
                "/proc/self/status" => "Name:\tmeetpoint\nCapEff:\t0000000000000400\nThreads:\t3\n",
                "/proc/net/snmp" => {
                    "Udp: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors\nUdp: 10 2 3 11 4\nUdpLite: RcvbufErrors\nUdpLite: 0\n"
                }
                "/proc/meminfo" => "MemTotal:       16384000 kB\nMemFree: 1 kB\n",
                "/sys/fs/cgroup/memory.max" => "536870912\n",
                "/sys/fs/cgroup/cpu.max" => "150000 100000\n",
                "/proc/sys/kernel/osrelease" => "6.1.0-28-amd64\n",
                _ => return None,
            };
            Some(text.to_owned())
        });
        let expected = Facts {
            receive_buffer: Some(212_992),
            tracked: Some((17, 262_144)),
            ephemeral_ports: Some((32_768, 60_999)),
            reserved_ports: vec![(8080, 8080), (49_152, 65_535)],
            unprivileged_port: Some(1024),
            may_bind_low: true,
            receive_buffer_errors: Some(4),
            memory: Some(536_870_912),
            cpu_quota_percent: Some(150),
            kernel: Some((6, 1)),
            ..Facts::default()
        };
        assert_eq!(facts, expected);
    }

    #[test]
    fn what_has_no_bound_or_cannot_be_read_is_not_made_up() {
        let facts = Facts::read(&|path| {
            let text = match path {
                "/sys/fs/cgroup/memory.max" => "max\n",
                "/sys/fs/cgroup/cpu.max" => "max 100000\n",
                "/proc/sys/net/ipv4/ip_local_reserved_ports" => "\n",
                "/proc/self/status" => "CapEff:\t0000000000000000\n",
                "/proc/sys/net/ipv4/ip_local_port_range" => "damaged",
                _ => return None,
            };
            Some(text.to_owned())
        });
        assert_eq!(facts, Facts::default());
    }
}
