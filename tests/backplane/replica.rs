//! The real program as one of several replicas, in a network namespace of its own where wanted.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tempfile::TempDir;

use crate::client::Client;
use crate::redis::{PATIENCE, pause};

/// Of an operator.
pub(crate) const TOKEN: &str = "an-operators-token-of-32-or-more-bytes";

/// A running replica. Dropping it ends it.
pub(crate) struct Replica {
    child: Child,
    directory: TempDir,
    pub(crate) http: SocketAddr,
    /// STUN and TURN.
    pub(crate) relay: SocketAddr,
    home: Option<String>,
}

impl Replica {
    pub(crate) fn start(redis: &str, arguments: &[&str]) -> Self {
        Self::start_in(None, redis, arguments)
    }

    /// With a configuration file, and others that it names.
    pub(crate) fn start_with(redis: &str, files: &[(&str, &str)], arguments: &[&str]) -> Self {
        Self::start_where(None, redis, files, arguments)
    }

    /// In that network namespace. Waits until it is ready, which it is without Redis, too.
    pub(crate) fn start_in(home: Option<&str>, redis: &str, arguments: &[&str]) -> Self {
        Self::start_where(home, redis, &[], arguments)
    }

    fn start_where(home: Option<&str>, redis: &str, files: &[(&str, &str)], arguments: &[&str]) -> Self {
        // Another process may take a port between the look and the start: then it is tried again.
        for _ in 0..5 {
            let mut replica = Self::spawn(home, redis, files, arguments);
            if replica.becomes_ready() {
                return replica;
            }
            assert!(replica.log().contains("in use"), "{}", replica.log());
        }
        panic!("no free ports");
    }

    fn spawn(home: Option<&str>, redis: &str, files: &[(&str, &str)], arguments: &[&str]) -> Self {
        let (http, relay) = (free_port(), free_port());
        let directory = TempDir::new().unwrap();
        for (name, content) in files {
            write_private(&directory.path().join(name), content);
        }
        let program = env!("CARGO_BIN_EXE_meetpoint");
        let mut command = match home {
            None => Command::new(program),
            Some(home) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", home, program]);
                command
            }
        };
        let path = std::env::var("PATH").unwrap_or_default();
        let child = command
            .env_clear()
            .env("PATH", path)
            .env("MEETPOINT__BACKPLANE__REDIS_URL", redis)
            .args(["--http-listen", &http.to_string(), "--relay-listen", &relay.to_string()])
            .args(["--relay-external-ip", "127.0.0.1"])
            .args(if files.is_empty() {
                &[][..]
            } else {
                &["--config", "meetpoint.toml"]
            })
            .args(arguments)
            .current_dir(directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(directory.path().join("log")).unwrap())
            .spawn()
            .unwrap();
        Self {
            child,
            directory,
            http,
            relay,
            home: home.map(str::to_owned),
        }
    }

    fn becomes_ready(&mut self) -> bool {
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            if self.child.try_wait().unwrap().is_some() {
                return false;
            }
            if self
                .try_get("/readyz")
                .is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
            {
                return true;
            }
            pause();
        }
        panic!("not ready\n{}", self.log());
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// One of its files.
    pub(crate) fn file(&self, name: &str) -> String {
        std::fs::read_to_string(self.directory.path().join(name)).unwrap()
    }

    pub(crate) fn write(&self, name: &str, content: &str) {
        write_private(&self.directory.path().join(name), content);
    }

    /// A connection from where it runs.
    pub(crate) fn connect(&self) -> std::io::Result<TcpStream> {
        let to = self.http;
        let Some(home) = &self.home else {
            return TcpStream::connect(to);
        };
        let file = File::open(format!("/run/netns/{home}"))?;
        // A socket keeps the namespace of the thread that made it.
        let connecting = std::thread::spawn(move || {
            move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))?;
            TcpStream::connect(to)
        });
        connecting.join().unwrap()
    }

    /// One GET, the whole answer.
    pub(crate) fn try_get(&self, path: &str) -> std::io::Result<String> {
        let mut stream = self.connect()?;
        stream.set_read_timeout(Some(PATIENCE))?;
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
            self.http
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    /// A request of an operator, and the JSON of its answer.
    pub(crate) fn operate(&self, request: &str, body: &serde_json::Value) -> serde_json::Value {
        let answer = self.request(request, TOKEN, body);
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        serde_json::from_str(body).unwrap_or_else(|_| panic!("{answer}"))
    }

    /// The status of a request without a body.
    pub(crate) fn status(&self, request: &str, token: &str) -> u16 {
        let answer = self.request(request, token, &serde_json::Value::Null);
        answer[9..12].parse().unwrap()
    }

    fn request(&self, request: &str, token: &str, body: &serde_json::Value) -> String {
        let mut stream = self.connect().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let body = if body.is_null() || request.starts_with("GET") {
            String::new()
        } else {
            body.to_string()
        };
        write!(
            stream,
            "{request} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.http,
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// The JSON of one.
    pub(crate) fn json(&self, path: &str) -> serde_json::Value {
        let answer = self.try_get(path).unwrap();
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        serde_json::from_str(body).unwrap_or_else(|_| panic!("{answer}"))
    }

    /// Waits until an answer is as wanted.
    pub(crate) fn wait_json(&self, path: &str, wanted: impl Fn(&serde_json::Value) -> bool) {
        let start = Instant::now();
        loop {
            let found = self.json(path);
            if wanted(&found) {
                return;
            }
            assert!(start.elapsed() < PATIENCE, "{path}: {found}\n{}", self.log());
            pause();
        }
    }

    /// A metric without labels.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        let text = self.try_get("/metrics").unwrap();
        let found = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        found
            .unwrap_or_else(|| panic!("{name}\n{text}"))
            .trim()
            .parse()
            .unwrap()
    }

    pub(crate) fn wait_metric(&self, name: &str, wanted: impl Fn(f64) -> bool) {
        let start = Instant::now();
        while !wanted(self.metric(name)) {
            assert!(
                start.elapsed() < PATIENCE,
                "{name} is {}\n{}",
                self.metric(name),
                self.log()
            );
            pause();
        }
    }

    /// Waits until it hears so many others.
    pub(crate) fn wait_for_others(&self, count: u32) {
        self.wait_metric("meetpoint_backplane_nodes", |nodes| nodes == f64::from(count));
    }

    pub(crate) fn wait_away(&self) {
        self.wait_metric("meetpoint_backplane_connected", |connected| connected == 0.0);
    }

    pub(crate) fn client(&self, peer: &str) -> Client {
        Client::hello(self, peer)
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    pub(crate) fn wait_for_log(&self, part: &str) {
        let start = Instant::now();
        while !self.log().contains(part) {
            assert!(start.elapsed() < PATIENCE, "{part} is missing in\n{}", self.log());
            pause();
        }
    }

    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-s", name, &pid])
                .status()
                .unwrap()
                .success()
        );
    }

    /// As by SIGKILL.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Several that hear each other.
pub(crate) fn replicas<const N: usize>(redis: &str, arguments: &[&str]) -> [Replica; N] {
    let all = [(); N].map(|()| Replica::start(redis, arguments));
    for replica in &all {
        replica.wait_for_others(u32::try_from(N).unwrap() - 1);
    }
    all
}

/// For nobody else to read, as secrets have to be.
pub(crate) fn write_private(path: &std::path::Path, content: &str) {
    std::fs::write(path, content).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// An address that was free a moment ago, for TCP and UDP.
fn free_port() -> SocketAddr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let is_free = |address: &SocketAddr| TcpListener::bind(address).is_ok() && UdpSocket::bind(address).is_ok();
    // Below the ports that clients are given: a connection of another test could have it before it is listened at.
    let mut somewhere = std::iter::repeat_with(|| {
        let port = 12_000 + ((std::process::id() + NEXT.fetch_add(1, Ordering::Relaxed)) % 8_000) as u16;
        SocketAddr::from(([127, 0, 0, 1], port))
    });
    somewhere.find(is_free).unwrap()
}
