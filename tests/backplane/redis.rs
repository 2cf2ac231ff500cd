//! A real `redis-server` on a port of its own, which can be killed, stopped and started again.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Longer than anything here takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// One server. Dropping it ends it.
pub(crate) struct Redis {
    directory: TempDir,
    pub(crate) port: u16,
    arguments: Vec<String>,
    child: Option<Child>,
    /// The network namespace it runs in.
    home: Option<String>,
}

impl Redis {
    /// Starts one and waits until it answers.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let mut redis = Self::planned(arguments);
        redis.start_again();
        redis
    }

    /// One that does not run yet, at a port that was free a moment ago.
    pub(crate) fn planned(arguments: &[&str]) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Self {
            directory: TempDir::new().unwrap(),
            port,
            arguments: arguments.iter().map(|argument| (*argument).to_owned()).collect(),
            child: None,
            home: None,
        }
    }

    /// In a network namespace, at that address of it too.
    pub(crate) fn start_in(home: &str, address: &str) -> Self {
        let mut redis = Self::planned(&["--bind", "127.0.0.1", address, "--protected-mode", "no"]);
        redis.home = Some(home.to_owned());
        redis.start_again();
        redis
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// With further arguments, which win over those before them.
    pub(crate) fn with(mut self, arguments: &[&str]) -> Self {
        self.arguments
            .extend(arguments.iter().map(|argument| (*argument).to_owned()));
        self
    }

    /// Starts it at the same port as before.
    pub(crate) fn start_again(&mut self) {
        let port = self.port.to_string();
        let start = Instant::now();
        loop {
            let log = std::fs::File::create(self.directory.path().join("log")).unwrap();
            let mut command = match &self.home {
                None => Command::new("redis-server"),
                Some(home) => {
                    let mut command = Command::new("ip");
                    command.args(["netns", "exec", home, "redis-server"]);
                    command
                }
            };
            let spawned = command
                .args([
                    "--port",
                    &port,
                    "--bind",
                    "127.0.0.1",
                    "--save",
                    "",
                    "--appendonly",
                    "no",
                    "--daemonize",
                    "no",
                ])
                .args(&self.arguments)
                .current_dir(self.directory.path())
                .stdin(Stdio::null())
                .stdout(log)
                .stderr(Stdio::null())
                .spawn();
            let mut child = spawned.expect("redis-server runs (Debian package redis-server)");
            loop {
                // Whatever it says: it listens.
                if self.listens() {
                    self.child = Some(child);
                    return;
                }
                if child.try_wait().unwrap().is_some() {
                    break;
                }
                assert!(start.elapsed() < PATIENCE, "{}", self.log());
                pause();
            }
            // Somebody else has the port for the moment.
            assert!(start.elapsed() < PATIENCE, "{}", self.log());
            pause();
        }
    }

    fn listens(&self) -> bool {
        if self.home.is_some() {
            return self.log().contains("Ready to accept connections");
        }
        TcpStream::connect(("127.0.0.1", self.port)).is_ok()
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    /// The first line of its answer to one command, on a connection of its own.
    pub(crate) fn ask(&self, commands: &[&str]) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut answers = BufReader::new(stream.try_clone().unwrap());
        let mut line = String::new();
        for command in commands {
            let words: Vec<_> = command.split(' ').collect();
            let mut text = format!("*{}\r\n", words.len());
            for word in words {
                text += &format!("${}\r\n{word}\r\n", word.len());
            }
            stream.write_all(text.as_bytes()).unwrap();
            line.clear();
            answers.read_line(&mut line).unwrap();
        }
        line.trim_end().to_owned()
    }

    /// How many clients listen to a channel.
    pub(crate) fn listeners(&self, channel: &str) -> u64 {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        write!(stream, "PUBSUB NUMSUB {channel}\r\n").unwrap();
        let mut answers = BufReader::new(stream).lines();
        // *2, $n, the name, :count
        answers.nth(3).unwrap().unwrap()[1..].parse().unwrap()
    }

    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.as_ref().unwrap().id().to_string();
        assert!(
            Command::new("kill")
                .args(["-s", name, &pid])
                .status()
                .unwrap()
                .success()
        );
    }

    /// As by SIGKILL.
    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a test that waits for another process has nothing to poll"
)]
pub(crate) fn pause() {
    std::thread::sleep(Duration::from_millis(20));
}
