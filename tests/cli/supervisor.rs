//! Under somebody who supervises: readiness, reloads, the watchdog and the stop by `NOTIFY_SOCKET`, and listeners that were opened
//! before (sd_notify(3), sd_listen_fds(3)).

use crate::program::{PATIENCE, Server, finished, free_port, get, meetpoint, pause};
use crate::stopped::Stopped;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::time::Instant;
use tempfile::TempDir;

/// What a supervisor hears.
struct Ear {
    socket: UnixDatagram,
    directory: TempDir,
}

impl Ear {
    fn open() -> Self {
        let directory = TempDir::new().unwrap();
        let socket = UnixDatagram::bind(directory.path().join("notify")).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { socket, directory }
    }

    fn path(&self) -> String {
        self.directory.path().join("notify").to_str().unwrap().to_owned()
    }

    /// The next message that has this line.
    fn wait_for(&self, line: &str) -> String {
        let mut buffer = [0; 1024];
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            let length = self.socket.recv(&mut buffer).unwrap();
            let text = String::from_utf8(buffer[..length].to_vec()).unwrap();
            if text.lines().any(|found| found == line) {
                return text;
            }
        }
        panic!("{line} was never said");
    }
}

#[test]
fn a_supervisor_hears_of_readiness_reload_watchdog_and_stop() {
    let ear = Ear::open();
    let path = ear.path();
    let variables = [("NOTIFY_SOCKET", path.as_str()), ("WATCHDOG_USEC", "4000000")];
    let mut server = Server::start_at("127.0.0.1", &[], &variables);
    let ready = ear.wait_for("READY=1");
    assert!(ready.contains("STATUS=version "), "{ready}");
    ear.wait_for("WATCHDOG=1");
    ear.wait_for("WATCHDOG=1");
    server.signal("HUP");
    let reloading = ear.wait_for("RELOADING=1");
    assert!(reloading.contains("MONOTONIC_USEC="), "{reloading}");
    ear.wait_for("READY=1");
    server.signal("TERM");
    let stopping = ear.wait_for("STOPPING=1");
    // 15 s for allocations, 10 s for requests, and something on top.
    let extended = stopping
        .lines()
        .find_map(|line| line.strip_prefix("EXTEND_TIMEOUT_USEC="));
    assert!(extended.unwrap().parse::<u64>().unwrap() >= 25_000_000, "{stopping}");
    assert_eq!(server.wait(), 0);
}

#[test]
fn a_worker_that_is_stuck_keeps_the_watchdog_from_hearing() {
    let ear = Ear::open();
    let path = ear.path();
    let variables = [("NOTIFY_SOCKET", path.as_str()), ("WATCHDOG_USEC", "2000000")];
    let server = Server::start_at("127.0.0.1", &["--relay-workers", "1"], &variables);
    ear.wait_for("WATCHDOG=1");
    let stopped = Stopped::of(server.pid());
    server.wait_for_log("takes no turn", 1);
    drop(stopped);
    while ear.socket.set_nonblocking(true).is_ok() && ear.socket.recv(&mut [0; 64]).is_ok() {}
    ear.socket.set_nonblocking(false).unwrap();
    ear.wait_for("WATCHDOG=1");
}

/// Started by systemd's own tool, which listens first and hands the sockets over at the first connection.
#[test]
fn a_listener_that_was_opened_before_is_taken_for_its_key() {
    let directory = TempDir::new().unwrap();
    let (http, relay) = (free_port(), free_port());
    let at = |port: u16| format!("127.0.0.1:{port}");
    let log = std::fs::File::create(directory.path().join("log")).unwrap();
    let mut activator = Command::new("systemd-socket-activate")
        .args(["-l", &at(http), "-E", "PATH", "--", env!("CARGO_BIN_EXE_meetpoint")])
        .args(["--http-listen", &at(http), "--relay-listen", &at(relay)])
        .current_dir(directory.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap();
    let start = Instant::now();
    let address = at(http).parse().unwrap();
    let answered = loop {
        if get(address, "/readyz").is_ok_and(|answer| answer.starts_with("HTTP/1.1 200")) {
            break true;
        }
        if start.elapsed() > PATIENCE {
            break false;
        }
        pause();
    };
    // It became the program: one process.
    activator.kill().unwrap();
    activator.wait().unwrap();
    let log = std::fs::read_to_string(directory.path().join("log")).unwrap();
    assert!(answered, "{log}");
}

#[test]
fn a_listener_that_no_key_names_ends_the_start_with_the_fix() {
    let directory = TempDir::new().unwrap();
    let (passed, http, relay) = (free_port(), free_port(), free_port());
    let at = |port: u16| format!("127.0.0.1:{port}");
    let mut activator = Command::new("systemd-socket-activate")
        .args(["-l", &at(passed), "--", env!("CARGO_BIN_EXE_meetpoint")])
        .args(["--http-listen", &at(http), "--relay-listen", &at(relay)])
        .current_dir(directory.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The first connection starts the program.
    let start = Instant::now();
    while std::net::TcpStream::connect(at(passed)).is_err() {
        assert!(start.elapsed() < PATIENCE, "systemd-socket-activate does not listen");
        pause();
    }
    while activator.try_wait().unwrap().is_none() {
        assert!(
            start.elapsed() < PATIENCE,
            "it runs, though nobody serves what was passed in"
        );
        pause();
    }
    let (code, _, err) = finished(activator.wait_with_output().unwrap());
    assert_eq!(code, 1, "{err}");
    assert!(
        err.contains(&at(passed)) && err.contains("fix: name the address"),
        "{err}"
    );
}

#[test]
fn the_doctor_names_what_this_machine_lacks_and_fails_for_it() {
    let directory = TempDir::new().unwrap();
    let doctor = |arguments: &[&str]| {
        let output = meetpoint(&directory).arg("doctor").args(arguments).output().unwrap();
        finished(output)
    };
    // Little is asked for: at most notes remain, whatever the machine.
    let modest = [
        "--relay-recv-buffer",
        "4KiB",
        "--relay-send-buffer",
        "4KiB",
        "--limits-allocations",
        "10",
    ];
    let modest = [
        &modest[..],
        &["--http-max-connections", "16", "--streams-max-connections", "16"],
    ]
    .concat();
    let (code, out, err) = doctor(&modest);
    assert_eq!(code, 0, "{out}{err}");
    assert!(out.contains("open files") && out.contains(": 0 bad"), "{out}");
    // More than any machine has.
    let (code, out, _) = doctor(&["--relay-recv-buffer", "1024MiB", "--json"]);
    assert_eq!(code, 1, "{out}");
    let said: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(said["ok"], false);
    let findings = said["findings"].as_array().unwrap();
    let buffers = findings.iter().find(|one| one["what"] == "receive buffers").unwrap();
    assert_eq!(buffers["level"], "bad");
    assert!(
        buffers["fix"]
            .as_str()
            .unwrap()
            .contains("net.core.rmem_max=1073741824"),
        "{buffers}"
    );
    // A configuration with mistakes is told as everywhere.
    let (code, _, err) = doctor(&["--relay-port-range", "9-1"]);
    assert_eq!(code, 2, "{err}");
}
