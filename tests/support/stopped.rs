//! A relay whose thread stands still in a process that lives.

use std::path::Path;
use std::process::{Child, Command};
use std::thread::sleep;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(30);

/// The relay of a process is dead, and all else of it lives, until this is dropped.
pub(crate) struct Stopped(Vec<Child>);

impl Stopped {
    /// Of the process with that id.
    pub(crate) fn of(process: u32) -> Self {
        let tasks = std::fs::read_dir(format!("/proc/{process}/task")).unwrap();
        let of_relay = tasks.map(|task| task.unwrap().path()).filter(|task| {
            let name = std::fs::read_to_string(task.join("comm")).unwrap_or_default();
            name.starts_with("relay-")
        });
        let stopped = Self(of_relay.map(|task| stop(&task)).collect());
        assert!(!stopped.0.is_empty(), "no such thread");
        stopped
    }
}

/// Who is traced waits at every system call for the tracer, and this tracer is put to sleep.
fn stop(task: &Path) -> Child {
    let id = task.file_name().unwrap().to_str().unwrap();
    let arguments = ["-qq", "-o", "/dev/null", "-p", id];
    let tracer = Command::new("strace").args(arguments).spawn().unwrap();
    let traced_by = format!("TracerPid:\t{}", tracer.id());
    let start = Instant::now();
    while !std::fs::read_to_string(task.join("status"))
        .unwrap()
        .contains(&traced_by)
    {
        assert!(start.elapsed() < PATIENCE, "strace does not attach");
        pause();
    }
    let sent = Command::new("kill")
        .args(["-s", "STOP", &tracer.id().to_string()])
        .status();
    assert!(sent.unwrap().success());
    tracer
}

#[expect(clippy::disallowed_methods, reason = "a test, between two looks at another process")]
fn pause() {
    sleep(Duration::from_millis(10));
}

impl Drop for Stopped {
    fn drop(&mut self) {
        for tracer in &mut self.0 {
            let _ = tracer.kill();
            let _ = tracer.wait();
        }
    }
}
