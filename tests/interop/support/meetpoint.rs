//! The real binary, configured by its environment as an operator would.

use std::{
    net::{SocketAddr, TcpStream},
    process::Command,
    time::{Duration, Instant},
};

use super::{
    program::{Program, output_of, pause},
    wire::{binding_mapped_address, free_tcp_port, free_udp_port, http_get, ipv6_works},
};

/// The shared secret of every server here.
pub(crate) const SECRET: &str = "interop-secret-of-32-characters!!";

/// How long a server may take until it answers.
const START: Duration = Duration::from_secs(20);

/// A running server on loopback.
pub(crate) struct Meetpoint {
    program: Program,
    /// STUN and TURN over UDP, on 127.0.0.1 and, where there is IPv6, on ::1.
    pub(crate) udp: u16,
    /// The web server.
    pub(crate) http: u16,
}

impl Meetpoint {
    /// Starts with loopback peers opened, as tools that echo on this machine need.
    pub(crate) fn with_loopback_peers() -> Self {
        Self::start(&[("PEERS__ALLOW", "127.0.0.0/8,::1/128")])
    }

    /// Starts with further settings, keyed without the prefix `MEETPOINT__`. Ports that another process took in between are
    /// replaced by others.
    pub(crate) fn start(settings: &[(&str, &str)]) -> Self {
        let mut last = String::new();
        for _ in 0..3 {
            match Self::try_start(settings) {
                Ok(server) => return server,
                Err(log) => last = log,
            }
        }
        panic!("meetpoint did not start:\n{last}")
    }

    fn try_start(settings: &[(&str, &str)]) -> Result<Self, String> {
        let (udp, http) = (free_udp_port(), free_tcp_port());
        let (mut listen, mut external) = (format!("127.0.0.1:{udp}"), "127.0.0.1".to_owned());
        if ipv6_works() {
            listen.push_str(&format!(",[::1]:{udp}"));
            external.push_str(",::1");
        }
        let mut command = Self::command();
        command
            .arg("serve")
            .env("MEETPOINT__HTTP__LISTEN", format!("127.0.0.1:{http}"))
            .env("MEETPOINT__RELAY__LISTEN", listen)
            .env("MEETPOINT__RELAY__EXTERNAL_IP", external)
            .env("MEETPOINT__CREDENTIALS__SECRETS", SECRET)
            .env("MEETPOINT__LOG__LEVEL", "debug");
        for (key, value) in settings {
            command.env(format!("MEETPOINT__{key}"), value);
        }
        let mut server = Self {
            program: Program::start(&mut command),
            udp,
            http,
        };
        let until = Instant::now() + START;
        while Instant::now() < until {
            if server.program.ended().is_some() {
                return Err(server.program.log());
            }
            // The relay's TCP listener is the last one to be opened.
            let open = |port: u16| TcpStream::connect(("127.0.0.1", port)).is_ok();
            if open(http) && open(udp) && binding_mapped_address(SocketAddr::from(([127, 0, 0, 1], udp))).is_some() {
                return Ok(server);
            }
            pause(Duration::from_millis(50));
        }
        Err(format!("no answer within {START:?}:\n{}", server.program.log()))
    }

    /// The binary without anything of this environment that could configure it.
    pub(crate) fn command() -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_meetpoint"));
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command
    }

    /// Ends it as a supervisor would; it must end well.
    pub(crate) fn end(mut self) {
        let status = self.program.end();
        assert!(status.success(), "{status}\n{}", self.program.log());
    }

    /// Memory that it holds, bytes.
    pub(crate) fn memory(&self) -> u64 {
        self.program.memory()
    }

    /// Everything it has logged so far.
    pub(crate) fn log(&self) -> String {
        self.program.log()
    }

    /// One value of `/metrics`, summed over its labels; only series whose text contains all of `labels` count.
    pub(crate) fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        let (status, body) = http_get(self.http, "/metrics");
        assert_eq!(status, 200);
        body.lines()
            .filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])))
            .filter(|line| labels.iter().all(|label| line.contains(label)))
            .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
            .sum()
    }

    /// Waits until a metric has reached a value: workers publish theirs a few times a second.
    pub(crate) fn assert_counted(&self, name: &str, labels: &[&str], at_least: f64) {
        let until = Instant::now() + Duration::from_secs(3);
        loop {
            let found = self.metric(name, labels);
            if found >= at_least {
                return;
            }
            assert!(
                Instant::now() < until,
                "{name}{labels:?} is {found}, not {at_least} or more"
            );
            pause(Duration::from_millis(100));
        }
    }

    /// Whether a Binding request is answered: the server lives and serves.
    pub(crate) fn answers(&self) -> bool {
        binding_mapped_address(SocketAddr::from(([127, 0, 0, 1], self.udp))).is_some()
    }

    /// Credentials of the command line: `meetpoint credentials --json`.
    pub(crate) fn minted_by_command(user: &str) -> (bool, String) {
        let mut command = Self::command();
        command
            .env("MEETPOINT__CREDENTIALS__SECRETS", SECRET)
            .args(["credentials", "--user", user, "--json"]);
        output_of(&mut command, Duration::from_secs(10))
    }
}
