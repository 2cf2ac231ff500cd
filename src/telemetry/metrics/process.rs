//! The process's numbers, as the kernel gives them. What a platform does not tell is left out, not made up.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use prometheus::Registry;
use prometheus::proto::MetricFamily;
use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

use super::family::AtScrape;
use super::table as t;
use crate::telemetry::build_info;

/// Whether this process takes work. Starts as not ready.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<States>);

#[derive(Debug, Default)]
struct States {
    ready: AtomicBool,
    draining: AtomicBool,
}

impl Readiness {
    /// Ready: everything listens. Not ready: still starting, or draining.
    pub fn set(&self, ready: bool) {
        self.0.ready.store(ready, Ordering::Release);
    }

    /// Not ready any more, and for good: what lives may go on, and then the process ends.
    pub fn drain(&self) {
        self.0.draining.store(true, Ordering::Release);
        self.set(false);
    }

    /// What was set last.
    pub fn is_ready(&self) -> bool {
        self.0.ready.load(Ordering::Acquire)
    }

    /// Whether [`Self::drain`] was called.
    pub fn is_draining(&self) -> bool {
        self.0.draining.load(Ordering::Acquire)
    }
}

/// What does not change, read when counting began.
#[derive(Clone)]
pub(super) struct Process {
    began: Instant,
    began_unix: f64,
    readiness: Readiness,
}

impl Process {
    pub(super) fn begin() -> Self {
        Self {
            began: Instant::now(),
            began_unix: unix_now(),
            readiness: Readiness::default(),
        }
    }

    pub(super) fn readiness(&self) -> &Readiness {
        &self.readiness
    }

    pub(super) fn uptime(&self) -> std::time::Duration {
        self.began.elapsed()
    }

    pub(super) fn register(&self, registry: &Registry) -> prometheus::Result<()> {
        let families: &[_] = &[
            &t::BUILD_INFO,
            &t::UPTIME,
            &t::READY,
            &t::DRAINING,
            &t::CLOCK,
            &t::PROCESS_START,
            &t::PROCESS_CPU,
            &t::PROCESS_RESIDENT,
            &t::PROCESS_VIRTUAL,
            &t::PROCESS_FDS,
            &t::PROCESS_MAX_FDS,
            &t::PROCESS_THREADS,
        ];
        let process = self.clone();
        registry.register(Box::new(AtScrape::new(families, move || process.collect())?))
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let cpu = clock_gettime(ClockId::ProcessCPUTime);
        let mut families = vec![
            t::BUILD_INFO.samples([([build_info::VERSION, build_info::REVISION, build_info::PROFILE], 1.0)]),
            t::UPTIME.single(self.uptime().as_secs_f64()),
            t::READY.single(f64::from(u8::from(self.readiness.is_ready()))),
            t::DRAINING.single(f64::from(u8::from(self.readiness.is_draining()))),
            t::CLOCK.single(unix_now()),
            t::PROCESS_START.single(self.began_unix),
            t::PROCESS_CPU.single(cpu.tv_sec as f64 + cpu.tv_nsec as f64 / 1e9),
        ];
        let (open, most) = open_files();
        if most > 0 {
            families.push(t::PROCESS_MAX_FDS.single(most as f64));
        }
        if open > 0 {
            families.push(t::PROCESS_FDS.single(open as f64));
        }
        if let Ok(status) = std::fs::read_to_string("/proc/self/status") {
            let fields = [
                ("VmRSS:", &t::PROCESS_RESIDENT, 1024.0),
                ("VmSize:", &t::PROCESS_VIRTUAL, 1024.0),
                ("Threads:", &t::PROCESS_THREADS, 1.0),
            ];
            for (name, family, unit) in fields {
                if let Some(value) = status_field(&status, name) {
                    families.push(family.single(value as f64 * unit));
                }
            }
        }
        families
    }
}

/// Open files, and how many there may be; 0 is not known.
pub(super) fn open_files() -> (u64, u64) {
    let entries = std::fs::read_dir("/proc/self/fd");
    // The listing's own descriptor is among the entries.
    let open = entries.map_or(0, |entries| entries.count().saturating_sub(1) as u64);
    (open, getrlimit(Resource::Nofile).current.unwrap_or(0))
}

/// Seconds since 1970 as this machine's clock says, which may be wrong: credentials and tokens are judged by it.
fn unix_now() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0.0, |since| since.as_secs_f64())
}

/// The number in a line such as `VmRSS:     1234 kB` (proc_pid_status(5), proc_meminfo(5)).
pub(crate) fn status_field(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_the_status_file_are_found_by_name() {
        let status = "Name:\tmeetpoint\nVmSize:\t  20480 kB\nVmRSS:\t    1234 kB\nThreads:\t7\n";
        assert_eq!(status_field(status, "VmRSS:"), Some(1234));
        assert_eq!(status_field(status, "Threads:"), Some(7));
        assert_eq!(status_field(status, "VmHWM:"), None);
    }
}
