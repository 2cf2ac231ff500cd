//! Starting the program on free ports, in an empty directory, with no environment but what a test gives.

use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Longer than anything here takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A command of the program, with nothing from around it.
pub(crate) fn meetpoint(directory: &TempDir) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_meetpoint"));
    command.env_clear().current_dir(directory.path()).stdin(Stdio::null());
    command
}

/// Runs a command to its end.
pub(crate) fn run(arguments: &[&str]) -> (i32, String, String) {
    let directory = TempDir::new().unwrap();
    finished(meetpoint(&directory).args(arguments).output().unwrap())
}

pub(crate) fn finished(output: Output) -> (i32, String, String) {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code().unwrap_or(-1),
        text(output.stdout),
        text(output.stderr),
    )
}

/// A port that was free a moment ago, for TCP and UDP.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let is_free = |port: &u16| {
        let address = ("127.0.0.1", *port);
        TcpListener::bind(address).is_ok() && UdpSocket::bind(address).is_ok()
    };
    // Below the ports that clients are given: a connection of another test could have it before it is listened at.
    let mut somewhere = std::iter::repeat_with(|| {
        12_000 + ((std::process::id() + NEXT.fetch_add(1, Ordering::Relaxed)) % 8_000) as u16
    });
    somewhere.find(is_free).unwrap()
}

/// A running server. Dropping it ends it.
pub(crate) struct Server {
    child: Child,
    directory: TempDir,
    pub(crate) http: SocketAddr,
    pub(crate) relay: SocketAddr,
}

impl Server {
    /// On loopback, with further arguments; waits until it is ready.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::start_at("127.0.0.1", arguments, &[])
    }

    /// On an address of choice, with arguments and variables.
    pub(crate) fn start_at(host: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        Self::start_among(&[], host, arguments, variables)
    }

    /// On loopback, in a directory with these files.
    pub(crate) fn start_with(files: &[(&str, &str)], arguments: &[&str]) -> Self {
        Self::start_among(files, "127.0.0.1", arguments, &[])
    }

    /// All of it.
    pub(crate) fn start_among(
        files: &[(&str, &str)],
        host: &str,
        arguments: &[&str],
        variables: &[(&str, &str)],
    ) -> Self {
        // Another process may take a port between the look and the start: then it is tried again.
        for _ in 0..5 {
            let directory = TempDir::new().unwrap();
            for (name, text) in files {
                std::fs::write(directory.path().join(name), text).unwrap();
            }
            let mut server = Self::spawn(directory, host, arguments, variables);
            if server.becomes_ready() {
                return server;
            }
            assert!(server.log().contains("in use"), "{}", server.log());
        }
        panic!("no free ports");
    }

    fn spawn(directory: TempDir, host: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let at = |port: u16| SocketAddr::new(host.parse().unwrap(), port);
        let (http, relay) = (at(free_port()), at(free_port()));
        let log = std::fs::File::create(directory.path().join("log")).unwrap();
        let child = meetpoint(&directory)
            .args(["--http-listen", &http.to_string(), "--relay-listen", &relay.to_string()])
            .args(arguments)
            .envs(variables.iter().copied())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        Self {
            child,
            directory,
            http,
            relay,
        }
    }

    /// False when it ended instead.
    fn becomes_ready(&mut self) -> bool {
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            if self.has_ended().is_some() {
                return false;
            }
            if get(self.http, "/readyz").is_ok_and(|answer| answer.starts_with("HTTP/1.1 200")) {
                return true;
            }
            pause();
        }
        panic!("not ready\n{}", self.log());
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.http)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Everything logged so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap()
    }

    /// What is in a file of its directory.
    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.directory.path().join(name)).unwrap()
    }

    /// Replaces a file of its directory, as a whole.
    pub(crate) fn write(&self, name: &str, text: &str) {
        let (new, old) = (self.directory.path().join("new"), self.directory.path().join(name));
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, old).unwrap();
    }

    /// Waits until something is logged so many times.
    pub(crate) fn wait_for_log(&self, part: &str, times: usize) {
        let start = Instant::now();
        while self.log().matches(part).count() < times {
            assert!(start.elapsed() < PATIENCE, "{part} is missing in\n{}", self.log());
            pause();
        }
    }

    pub(crate) fn metric(&self, line: &str) -> Option<String> {
        let answer = get(self.http, "/metrics").unwrap();
        let found = answer.lines().find_map(|each| each.strip_prefix(line))?;
        Some(found.trim().to_owned())
    }

    /// Waits until a sample has this value: workers publish theirs a few times a second.
    pub(crate) fn wait_for_metric(&self, line: &str) {
        let start = Instant::now();
        while !get(self.http, "/metrics").unwrap().lines().any(|each| each == line) {
            assert!(
                start.elapsed() < PATIENCE,
                "{line} is missing in\n{}",
                get(self.http, "/metrics").unwrap()
            );
            pause();
        }
    }

    /// Runs a command with the configuration of this server.
    pub(crate) fn command(&self, arguments: &[&str]) -> Output {
        meetpoint(&self.directory).args(arguments).output().unwrap()
    }

    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args(["-s", name, &self.pid().to_string()])
            .status()
            .unwrap();
        assert!(sent.success());
    }

    pub(crate) fn has_ended(&mut self) -> Option<i32> {
        self.child.try_wait().unwrap().map(|status| status.code().unwrap_or(-1))
    }

    /// The exit code, once it has ended by itself.
    pub(crate) fn wait(&mut self) -> i32 {
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            if let Some(code) = self.has_ended() {
                return code;
            }
            pause();
        }
        panic!("still running\n{}", self.log());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a test that waits for another process has nothing to poll"
)]
pub(crate) fn pause() {
    std::thread::sleep(Duration::from_millis(20));
}

/// One GET, the whole answer as text.
pub(crate) fn get(server: SocketAddr, path: &str) -> std::io::Result<String> {
    use std::io::Write;
    let mut stream = TcpStream::connect(server)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
