//! `meetpoint check`: tests an installation from where it is run, as a client would.
//!
//! It is judged by other people's code: `stun` and `turn` for the relay, hyper, rustls and tungstenite for the rest.
//! Every step has a time limit, and every failure names its likely cause.

mod api;
mod backplane;
mod leg;
mod relay;
mod report;
mod signaling;
mod web;

use super::{DONE, Environment, FAILED, MISUSED, flags::ConfigArguments, say, sources};
use crate::config::detect::Machine;
use crate::credentials::{StunUri, TurnUri, UriTransport};
use crate::transport::{DEFAULT_PORT, DEFAULT_TLS_PORT};
use api::{Entry, Urls};
use clap::Args;
use leg::Leg;
use report::{Failure, Outcome, Report};
use std::path::PathBuf;
use std::time::Duration;
use web::{Site, Trust};

/// What to test.
#[derive(Debug, Args)]
pub struct CheckArguments {
    /// The server, such as http://localhost:8000 or https://meet.example.org; or one relay, such as
    /// turn:relay.example.org:3478, with --username and --credential
    #[arg(value_name = "URL", default_value = "http://localhost:8000")]
    pub url: String,
    /// Leave the signaling hub out
    #[arg(long)]
    pub relay_only: bool,
    /// A JSON Web Token for the API and the hub
    #[arg(long, env = "MEETPOINT_CHECK_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// The username for a turn: URL
    #[arg(long)]
    pub username: Option<String>,
    /// The password for a turn: URL
    #[arg(long, env = "MEETPOINT_CHECK_CREDENTIAL", hide_env_values = true)]
    pub credential: Option<String>,
    /// Configuration of this machine: its [backplane] is tested too; else $MEETPOINT_CONFIG, ./meetpoint.toml,
    /// /etc/meetpoint/meetpoint.toml
    #[arg(long, short, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Also trust the certificates of this PEM file
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// Seconds that each step may take
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=120))]
    pub timeout: u64,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

pub(super) fn run(outer: ConfigArguments, asked: &CheckArguments, environment: &mut Environment<'_>) -> u8 {
    let configuration = outer.overridden_by(ConfigArguments {
        file: asked.config.clone(),
        flags: Vec::new(),
    });
    let plan = match Plan::new(asked) {
        Ok(plan) => Plan {
            shared: Shared::of(&configuration, &environment.variables),
            ..plan
        },
        Err(wrong) => {
            say!(environment.err, "{wrong}");
            return MISUSED;
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            say!(environment.err, "cannot start: {error}");
            return FAILED;
        }
    };
    let report = runtime.block_on(plan.run());
    // The crates under the round trip keep timers running; nobody waits for those.
    runtime.shutdown_background();
    let _ = write!(
        environment.out,
        "{}",
        if asked.json { report.json() } else { report.table() }
    );
    if report.passed() { DONE } else { FAILED }
}

/// Where the list of servers comes from.
enum Start {
    Web(Site),
    Relay(Entry),
}

/// What this machine's configuration says about other replicas.
enum Shared {
    /// Nothing.
    Alone,
    /// It cannot be read.
    Unknown,
    With(Box<crate::backplane::Config>),
}

impl Shared {
    /// A server elsewhere can be tested without any configuration here, so one that is broken is no failure of it.
    fn of(arguments: &ConfigArguments, variables: &[(String, String)]) -> Self {
        match sources::read(arguments, variables).result {
            Ok(loaded) => match loaded.config.settings(&Machine::default()).backplane {
                Some(config) => Self::With(Box::new(config)),
                None => Self::Alone,
            },
            Err(_) => Self::Unknown,
        }
    }
}

struct Plan<'a> {
    asked: &'a CheckArguments,
    shared: Shared,
    start: Start,
    trust: Trust,
    limit: Duration,
}

impl<'a> Plan<'a> {
    fn new(asked: &'a CheckArguments) -> Result<Self, String> {
        let is_relay = ["stun:", "turn:", "stuns:", "turns:"]
            .iter()
            .any(|scheme| asked.url.starts_with(scheme));
        let start = if is_relay {
            let needs = asked.url.starts_with("turn");
            if needs && (asked.username.is_none() || asked.credential.is_none()) {
                return Err(
                    "a turn: URL needs --username and --credential (`meetpoint credentials` mints them)".into(),
                );
            }
            Start::Relay(Entry {
                urls: Urls::One(asked.url.clone()),
                username: asked.username.clone(),
                credential: asked.credential.clone(),
            })
        } else {
            Start::Web(Site::parse(&asked.url)?)
        };
        Ok(Self {
            asked,
            shared: Shared::Alone,
            start,
            trust: Trust::new(asked.ca.as_deref())?,
            limit: Duration::from_secs(asked.timeout),
        })
    }

    async fn run(&self) -> Report {
        let mut report = Report::default();
        let entries = match &self.start {
            Start::Relay(entry) => vec![entry.clone()],
            Start::Web(site) => self.web(site, &mut report).await,
        };
        for entry in &entries {
            for url in entry.urls() {
                self.server(url, entry, &mut report).await;
            }
        }
        if let (Start::Web(site), false) = (&self.start, self.asked.relay_only) {
            let work = signaling::hello(site, &self.trust, self.asked.token.as_deref());
            let slow = "the hub does not answer: a proxy in between may hold WebSockets back";
            report
                .step("signaling", site.url("ws", signaling::PATH), self.limit, slow, work)
                .await;
            self.replicas(&mut report).await;
        }
        report
    }

    async fn replicas(&self, report: &mut Report) {
        match &self.shared {
            Shared::Alone => {}
            Shared::Unknown => report.skip(
                "backplane",
                "configuration",
                "there are problems in it: see `meetpoint config check`",
            ),
            Shared::With(config) => {
                let slow = "Redis does not answer: a firewall may drop the packets, or it hangs";
                let work = backplane::publish(config);
                report
                    .step("backplane", config.url.to_string(), self.limit, slow, work)
                    .await;
            }
        }
    }

    async fn web(&self, site: &Site, report: &mut Report) -> Vec<Entry> {
        let slow = "a firewall may drop the packets: open the TCP port of http.listen";
        let work = api::ready(site, &self.trust);
        if report
            .step("ready", site.url("http", "/readyz"), self.limit, slow, work)
            .await
            .is_none()
        {
            return Vec::new();
        }
        let work = api::ice_servers(site, &self.trust, self.asked.token.as_deref());
        let target = site.url("http", "/api/ice-servers");
        report
            .step("API", target, self.limit, slow, work)
            .await
            .unwrap_or_default()
    }

    async fn server(&self, url: &str, entry: &Entry, report: &mut Report) {
        if let Ok(stun) = url.parse::<StunUri>() {
            if stun.secure {
                return report.skip("STUN", url, "only STUN over UDP is tested");
            }
            let port = stun.port.unwrap_or(DEFAULT_PORT);
            let host = stun.host.to_string();
            self.each_address("STUN", url, &host, port, Leg::Udp.way_out(), report, relay::binding)
                .await;
        } else if let Ok(turn) = url.parse::<TurnUri>() {
            let tcp = turn.transport.unwrap_or(if turn.secure {
                UriTransport::Tcp
            } else {
                UriTransport::Udp
            });
            let host = turn.host.to_string();
            let leg = match (tcp, turn.secure) {
                (UriTransport::Udp, false) => Leg::Udp,
                (UriTransport::Tcp, false) => Leg::Tcp,
                (UriTransport::Tcp, true) => Leg::Tls {
                    host: host.trim_matches(['[', ']']).to_owned(),
                    trust: &self.trust,
                },
                (UriTransport::Udp, true) => return report.skip("TURN", url, "TURN over DTLS is not tested"),
            };
            let (Some(username), Some(credential)) = (&entry.username, &entry.credential) else {
                return report.skip("TURN", url, "the list gives no credential for it");
            };
            let default = if turn.secure { DEFAULT_TLS_PORT } else { DEFAULT_PORT };
            let port = turn.port.unwrap_or(default);
            // Half of the time for the exchange, so that a lost packet is not taken for a lost server.
            let patience = self.limit / 2;
            let work = async |server| relay::round_trip(&leg, server, username, credential, patience).await;
            self.each_address("TURN", url, &host, port, leg.way_out(), report, work)
                .await;
        } else {
            report.skip("list", url, "not a stun: or turn: URL");
        }
    }

    /// Runs a step for each address of the host. One that fails beside one that works is no failure: clients try all.
    #[expect(clippy::too_many_arguments, reason = "what differs between the kinds of URLs")]
    async fn each_address<T>(
        &self,
        step: &'static str,
        url: &str,
        host: &str,
        port: u16,
        slow: &'static str,
        report: &mut Report,
        work: impl AsyncFn(std::net::SocketAddr) -> Result<(T, String), Failure>,
    ) {
        let addresses = match relay::resolve(host.trim_matches(['[', ']']), port).await {
            Ok(addresses) => addresses,
            Err(failure) => {
                let failed = async { Err::<((), String), Failure>(failure) };
                report.step(step, url, self.limit, "", failed).await;
                return;
            }
        };
        let first = report.steps.len();
        for address in addresses {
            let target = if host.contains(':') || host.parse::<std::net::IpAddr>().is_ok() {
                url.to_owned()
            } else {
                format!("{url} ({address})")
            };
            report.step(step, target, self.limit, slow, work(address)).await;
        }
        let rows = &mut report.steps[first..];
        if rows.iter().any(|row| row.outcome == Outcome::Ok) {
            for row in rows.iter_mut().filter(|row| row.outcome == Outcome::Failed) {
                row.outcome = Outcome::Skipped;
                row.detail = format!("{}; another address of this host works", row.detail);
                row.hint = None;
            }
        }
    }
}
