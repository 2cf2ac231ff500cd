//! Child processes that end with the test that started them.

use std::{
    ffi::OsStr,
    fs::File,
    io::Read as _,
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

/// A program running in the background; ended on drop, whatever the test does. Its output goes to a file that a failure shows.
pub(crate) struct Program {
    child: Child,
    log: tempfile::NamedTempFile,
}

impl Program {
    pub(crate) fn start(command: &mut Command) -> Self {
        let log = tempfile::NamedTempFile::new().unwrap();
        let (out, err) = (log.reopen().unwrap(), log.reopen().unwrap());
        let name = command.get_program().to_owned();
        let child = command.stdin(Stdio::null()).stdout(out).stderr(err).spawn();
        Self {
            child: child.unwrap_or_else(|error| missing(&name, &error)),
            log,
        }
    }

    /// The exit status, once there is one.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Asks it to end, and waits until it has.
    pub(crate) fn end(&mut self) -> ExitStatus {
        let id = self.child.id().to_string();
        let asked = Command::new("kill").args(["-s", "TERM", &id]).status().unwrap();
        assert!(asked.success());
        self.child.wait().unwrap()
    }

    /// Memory that it holds, bytes.
    pub(crate) fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
    }

    /// Everything it has written so far.
    pub(crate) fn log(&self) -> String {
        read(self.log.reopen().unwrap())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("--- the log of a program of this test:\n{}", self.log());
        }
    }
}

/// Runs a program to its end, or for at most `limit`; gives whether it succeeded, and what it wrote.
pub(crate) fn output_of(command: &mut Command, limit: Duration) -> (bool, String) {
    let mut program = Program::start(command);
    let until = Instant::now() + limit;
    loop {
        if let Some(status) = program.ended() {
            return (status.success(), program.log());
        }
        assert!(
            Instant::now() < until,
            "{command:?} did not end within {limit:?}:\n{}",
            program.log()
        );
        pause(Duration::from_millis(20));
    }
}

fn read(mut file: File) -> String {
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn missing(name: &OsStr, error: &std::io::Error) -> ! {
    let name = name.to_string_lossy();
    let from = if name.starts_with("turn") {
        "apt install coturn"
    } else if name == "haproxy" {
        "apt install haproxy"
    } else {
        "ops/test.sh installs it"
    };
    panic!("cannot run {name}: {error} ({from})")
}

/// Waits a moment between two looks at something.
#[expect(clippy::disallowed_methods, reason = "a test has no poller to wait on")]
pub(crate) fn pause(duration: Duration) {
    thread::sleep(duration);
}
