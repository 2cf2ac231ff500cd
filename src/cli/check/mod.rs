//! `meetpoint check`: tests an installation from where it is run, as a client would.
//!
//! It is judged in other people's code: messages of `stun` and `turn` for the relay (`probe` sends them), hyper, rustls and
//! tungstenite for the rest.
//! Every step has a time limit, and every failure names its likely cause.

mod api;
mod backplane;
mod mint;
mod relay;
mod report;
mod signaling;
mod web;

use super::{DONE, Environment, FAILED, MISUSED, flags::ConfigArguments, say, sources};
use crate::config::detect::Machine;
use crate::probe::{Login, Place, Resolver, Service};
use api::{Entry, Urls};
use clap::Args;
use relay::{Target, Tools, way_out};
use report::{Failure, Outcome, Report};
use std::net::IpAddr;
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
    /// Leave the relays of the list out
    #[arg(long, conflicts_with = "relay_only")]
    pub web_only: bool,
    /// Make the token and the credential that are needed from the secrets of this machine's configuration, for 5 minutes
    #[arg(long, conflicts_with_all = ["token", "username", "credential"])]
    pub mint: bool,
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
    let access = match Access::of(asked, &configuration, environment) {
        Ok(access) => access,
        Err(code) => return code,
    };
    let plan = match Plan::new(asked, access) {
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
    // A name look-up may go on; nobody waits for that.
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

/// What lets us in.
#[derive(Default)]
struct Access {
    token: Option<String>,
    username: Option<String>,
    credential: Option<String>,
}

impl Access {
    fn of(
        asked: &CheckArguments,
        configuration: &ConfigArguments,
        environment: &mut Environment<'_>,
    ) -> Result<Self, u8> {
        if !asked.mint {
            return Ok(Self {
                token: asked.token.clone(),
                username: asked.username.clone(),
                credential: asked.credential.clone(),
            });
        }
        let loaded = sources::configuration(configuration, environment)?;
        mint::access(&loaded.config).map_err(|wrong| {
            say!(environment.err, "--mint: {wrong}");
            MISUSED
        })
    }
}

struct Plan<'a> {
    asked: &'a CheckArguments,
    access: Access,
    shared: Shared,
    start: Start,
    trust: Trust,
    resolver: Resolver,
    limit: Duration,
}

impl<'a> Plan<'a> {
    fn new(asked: &'a CheckArguments, access: Access) -> Result<Self, String> {
        let is_relay = ["stun:", "turn:", "stuns:", "turns:"]
            .iter()
            .any(|scheme| asked.url.starts_with(scheme));
        let start = if is_relay {
            let needs = asked.url.starts_with("turn");
            if needs && (access.username.is_none() || access.credential.is_none()) {
                return Err(
                    "a turn: URL needs --username and --credential (`meetpoint credentials` mints them), or --mint \
                            where credentials.secrets are configured"
                        .into(),
                );
            }
            Start::Relay(Entry {
                urls: Urls::One(asked.url.clone()),
                username: access.username.clone(),
                credential: access.credential.clone(),
            })
        } else {
            Start::Web(Site::parse(&asked.url)?)
        };
        Ok(Self {
            asked,
            access,
            shared: Shared::Alone,
            start,
            trust: Trust::new(asked.ca.as_deref())?,
            resolver: Resolver::new(1),
            limit: Duration::from_secs(asked.timeout),
        })
    }

    async fn run(&self) -> Report {
        let mut report = Report::default();
        let entries = match &self.start {
            Start::Relay(entry) => vec![entry.clone()],
            Start::Web(site) => self.web(site, &mut report).await,
        };
        let relays = if self.asked.web_only { &[] } else { &entries[..] };
        for entry in relays {
            for url in entry.urls() {
                self.server(url, entry, &mut report).await;
            }
        }
        if let (Start::Web(site), false) = (&self.start, self.asked.relay_only) {
            let work = signaling::hello(site, &self.trust, self.access.token.as_deref());
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
        let work = api::ice_servers(site, &self.trust, self.access.token.as_deref());
        let target = site.url("http", "/api/ice-servers");
        report
            .step("API", target, self.limit, slow, work)
            .await
            .unwrap_or_default()
    }

    async fn server(&self, url: &str, entry: &Entry, report: &mut Report) {
        let Some(place) = Place::of_url(url) else {
            return report.skip("list", url, "not a stun: or turn: URL");
        };
        let step = match place.service {
            Service::Stun => "STUN",
            Service::Turn => "TURN",
        };
        let login = match (&entry.username, &entry.credential) {
            _ if place.service == Service::Stun => None,
            (Some(username), Some(credential)) => Some(Login {
                username: username.clone(),
                credential: credential.clone(),
            }),
            _ => return report.skip(step, url, "the list gives no credential for it"),
        };
        let tools = Tools {
            tls: self.trust.for_turn(),
            limit: self.limit,
        };
        // Runs the step for each address of the host. One that fails beside one that works is no failure: clients try all.
        let addresses = match relay::resolve(&self.resolver, &place, self.limit).await {
            Ok(addresses) => addresses,
            Err(failure) => {
                let failed = async { Err::<((), String), Failure>(failure) };
                report.step(step, url, self.limit, "", failed).await;
                return;
            }
        };
        let first = report.steps.len();
        for server in addresses {
            let target = if place.host.parse::<IpAddr>().is_ok() {
                url.to_owned()
            } else {
                format!("{url} ({server})")
            };
            let tested = Target { place: &place, server };
            let work = relay::test(&tools, tested, login.as_ref());
            report.step(step, target, self.limit, way_out(place.way), work).await;
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
