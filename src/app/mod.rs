//! The process: builds the task tree, drains it, ends it.
//!
//! What it is: the order of things. Log, addresses, secrets, the relay's threads, the hub, the web server; on a signal
//! the same backwards, within a bounded time.
//! What it is not: configuration (that is `config`), nor anything a client can reach.
//!
//! Invariants: `/readyz` says yes only while everything listens; whatever cannot start ends the start with one error
//! that names the way out; the first signal drains, the second ends at once.

mod bind;
mod front;
mod notice;
mod secrets;
mod services;
mod signals;

use crate::config::detect::Machine;
use crate::config::types::LogFormat;
use crate::config::{Config, Settings, advertised};
use crate::telemetry::{Metrics, build_info, logging};
use crate::transport::Relay;
use crate::transport::front::Front;
use anyhow::Context as _;
use notice::Listening;
use services::Services;
use signals::Signals;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

/// How often the relay's threads are looked at: a dead one ends the process, so that what supervises it can restart it.
const WATCH: Duration = Duration::from_secs(1);

/// Serves until a signal ends it. `err` gets the greeting when a person reads it.
///
/// # Errors
/// Whatever could not be started, or ended by itself, with the way out.
pub fn run(config: &Config, err: &mut dyn Write, terminal: bool) -> anyhow::Result<()> {
    logging::init(&logging::Config {
        filter: config.log.level.clone(),
        format: match config.log.format {
            LogFormat::Auto => logging::Format::Auto,
            LogFormat::Text => logging::Format::Text,
            LogFormat::Json => logging::Format::Json,
        },
        output: logging::Output::Stderr,
    })?;
    let machine = Machine::ask();
    let mut settings = config.settings(&machine);
    secrets::fill(&mut settings.turn)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .thread_name("meetpoint-web")
        .enable_all()
        .build()
        .context("cannot start the threads of the web server")?;
    let result = runtime.block_on(serve(config, settings, &machine, err, terminal));
    // Whatever is still open had its time.
    runtime.shutdown_background();
    result
}

async fn serve(
    config: &Config,
    mut settings: Settings,
    machine: &Machine,
    err: &mut dyn Write,
    terminal: bool,
) -> anyhow::Result<()> {
    let mut signals = Signals::listen()?;
    let metrics = Metrics::new()?;
    // Bound before anything runs: what is likeliest to fail comes first.
    let web = bind::listen(&config.http.listen, "http.listen")?;
    let metrics_only = bind::listen(&config.metrics.listen, "metrics.listen")?;
    let core = Arc::new(settings.turn.clone());
    let relay = Relay::start(&settings.transport, &core, &metrics).map_err(bind::relay_advice)?;
    let tcp = front::listen(config, relay.local_addrs())?;
    // Port 0 is known only now.
    settings.http.ice.listeners = advertised(&config.ice, relay.local_addrs(), &bind::addresses(&tcp));
    let listening = Listening {
        web: bind::addresses(&web),
        metrics: bind::addresses(&metrics_only),
        relay: relay.local_addrs().to_vec(),
        relay_tcp: bind::addresses(&tcp),
    };

    let services = Services::start(&settings, &metrics)?;
    let front = Front::new(&settings.transport.streams, &relay, &metrics);
    let ending = services.spawn(web, metrics_only, &front, tcp);
    announce(config, &settings, &listening, machine, err, terminal);
    metrics.readiness().set(true);

    let ended = tokio::select! {
        name = signals.next() => Ok(name),
        () = relay_ends(&relay) => Err(anyhow::anyhow!("a thread of the relay has ended, see the log")),
    };
    metrics.readiness().set(false);
    match &ended {
        Ok(name) => tracing::info!(signal = name, "stopping; a second signal ends it at once"),
        Err(error) => tracing::error!(%error, "stopping"),
    }
    tokio::select! {
        () = ending.drain(&relay, &core) => tracing::info!("stopped"),
        name = signals.next() => tracing::warn!(signal = name, "stopped at once"),
    }
    relay.shutdown();
    ended.map(|_| ())
}

async fn relay_ends(relay: &Relay) {
    while relay.is_alive() {
        tokio::time::sleep(WATCH).await;
    }
}

/// On a terminal a greeting, elsewhere log lines with the same content.
fn announce(
    config: &Config,
    settings: &Settings,
    listening: &Listening,
    machine: &Machine,
    err: &mut dyn Write,
    terminal: bool,
) {
    if terminal {
        let _ = write!(err, "{}", notice::banner(config, settings, listening, machine));
        return;
    }
    let urls = notice::urls(config, listening, machine);
    tracing::info!(version = build_info::VERSION, ?urls, "meetpoint is running");
    for warning in notice::warnings(config, settings) {
        tracing::warn!("{warning}");
    }
}
