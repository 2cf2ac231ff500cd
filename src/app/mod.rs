//! The process: builds the task tree, drains it, ends it.
//!
//! What it is: the order of things. Log, addresses, secrets, the relay's threads, the hub, the web server; on a signal
//! the same backwards, within a bounded time.
//! What it is not: configuration (that is `config`), nor anything a client can reach.
//!
//! Invariants: `/readyz` says yes only while everything listens; whatever cannot start ends the start with one error
//! that names the way out; the first signal drains, the second ends at once; a reload changes all that it can or nothing.

mod backplane;
mod bind;
pub mod doctor;
mod fleet;
mod front;
mod inherited;
mod keys;
mod notice;
mod operator;
mod outside;
mod privilege;
mod probes;
mod reload;
mod secrets;
mod services;
mod signals;
mod supervisor;
mod talkers;
mod tunnel;
mod watch;

use crate::config::detect::Machine;
use crate::config::types::{LogFormat, LogOutput, SecretText};
use crate::config::{Config, Settings, advertised, show_values};
use crate::events::Events;
use crate::http::{self, MetricsAccess, Served, admin::Tokens};
use crate::probe::Prober;
use crate::telemetry::labels::FrontListener;
use crate::telemetry::repeats::Repeats;
use crate::telemetry::{Metrics, build_info, logging};
use crate::transport::Relay;
use crate::usage::{self, Usage};
use anyhow::Context as _;
use fleet::{Scales, relay_bounds};
use front::{Listeners, Ways};
use inherited::Inherited;
use notice::Listening;
use operator::{Desk, MAX_ORDERS, Order};
use reload::Reloader;
use secrets::Own;
use services::Services;
use signals::{Asked, Signals};
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;
use supervisor::Supervisor;
use talkers::Looker;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;
use watch::Watch;

pub use watch::{Reading, Watched};

/// How often the relay's threads and the files of the configuration are looked at. A dead thread ends the process, so that
/// what supervises it can restart it.
const WATCH: Duration = Duration::from_secs(1);

/// The machine's addresses are looked at once in so many of these: that reads the kernel's table of routes.
const ADDRESSES_EVERY: u32 = 15;

/// What the log holds back (`log.burst`) is told of so often.
const REPEATS: Duration = Duration::from_secs(10);

/// Serves until a signal ends it, with what was read from `files`; `read` reads it again. `err` gets the greeting when a person reads it.
///
/// # Errors
/// Whatever could not be started, or ended by itself, with the way out.
pub fn run(
    config: Config,
    files: Vec<Watched>,
    read: &dyn Fn() -> Reading,
    err: &mut dyn Write,
    terminal: bool,
) -> anyhow::Result<()> {
    let log = logging::init(&logging::Config {
        filter: config.log.level.clone(),
        format: match config.log.format {
            LogFormat::Auto => logging::Format::Auto,
            LogFormat::Text => logging::Format::Text,
            LogFormat::Json => logging::Format::Json,
        },
        output: match config.log.output {
            LogOutput::Stderr => logging::Output::Stderr,
            LogOutput::Stdout => logging::Output::Stdout,
        },
        burst: config.log.burst,
    })?;
    privilege::raise_bind_service();
    let inherited = Inherited::from_environment()?;
    let mut machine = Machine::ask();
    if config.relay.external_ip.is_empty() && !config.relay.external_ip_from.is_empty() {
        machine.outside = outside::ask(&config.relay.external_ip_from, &machine)?;
    }
    let mut settings = config.settings(&machine);
    let own = Own::make()?;
    own.fill(&mut settings.turn);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .thread_name("meetpoint-web")
        .enable_all()
        .build()
        .context("cannot start the threads of the web server")?;
    let start = Start {
        config,
        settings,
        machine,
        own,
        log,
        inherited,
        watch: Watch::new(files),
        read,
    };
    let result = runtime.block_on(serve(start, err, terminal));
    // Whatever is still open had its time.
    runtime.shutdown_background();
    result
}

/// What is known before anything runs.
struct Start<'a> {
    config: Config,
    settings: Settings,
    machine: Machine,
    own: Own,
    log: logging::LogHandle,
    inherited: Inherited,
    watch: Watch,
    read: &'a dyn Fn() -> Reading,
}

async fn serve(start: Start<'_>, err: &mut dyn Write, terminal: bool) -> anyhow::Result<()> {
    let Start {
        config,
        mut settings,
        machine,
        own,
        log,
        mut inherited,
        mut watch,
        read,
    } = start;
    let mut supervisor = Supervisor::from_environment();
    let mut signals = Signals::listen()?;
    let metrics = Metrics::new()?;
    // Bound before anything runs: what is likeliest to fail comes first.
    let mut web = bind::listen(&mut inherited, &config.http.listen, "http.listen")?;
    let web_addresses = bind::addresses(&web);
    let metrics_only = bind::listen(&mut inherited, &config.metrics.listen, "metrics.listen")?;
    let certificates = front::certificates(&config)?;
    let admin_only = bind::listen(&mut inherited, &config.admin.listen, "admin.listen")?;
    let of_dialects = bind::listen_for_dialects(&mut inherited, &config.signaling.listeners, "signaling.listeners")?;
    let core = Arc::new(settings.turn.clone());
    let events = Events::start(settings.events.clone(), &metrics).context("cannot tell of events")?;
    let intake = events.intake();
    let relay = Relay::start_with(
        &settings.transport,
        &core,
        &metrics,
        certificates.as_ref(),
        Some(&intake),
    );
    let relay = relay.map_err(bind::relay_advice)?;
    let source = usage::Source {
        metrics: metrics.clone(),
        ledger: relay.ledger(),
        intake: intake.clone(),
    };
    let usage = Usage::start(settings.usage.clone(), source)
        .context("cannot keep records of usage; usage.directory must be writable")?;
    let streams = Listeners::open(&config, relay.local_addrs(), &mut web, &mut inherited)?;
    inherited.finish()?;
    // Port 0 is known only now.
    settings.http.ice.listeners = advertised(&config, &streams.of_relay(&relay));
    let listening = Listening {
        web: web_addresses,
        metrics: bind::addresses(&metrics_only),
        dialects: bind::addresses_of_dialects(&of_dialects),
        relay: streams.of_relay(&relay),
        https: streams.addresses(FrontListener::Https),
    };

    let services = Services::start(&settings, &metrics)?;
    let state = services.state();
    let tokens = Tokens::default();
    tokens.replace(config.admin.tokens.iter().map(SecretText::expose));
    let fleet = services.fleet();
    if let Some(fleet) = &fleet {
        fleet.bound(relay_bounds(&config));
        fleet.open(&settings.http.ice.listeners);
    }
    let of_lists = probes::OfLists {
        issuer: services.issuer(),
        listening: listening.relay.clone(),
        intake: intake.clone(),
        fleet: fleet.clone(),
        user: core.shares.probe.clone().unwrap_or_default(),
    };
    let prober = Prober::start(settings.probes.clone(), Arc::new(of_lists), metrics.probe()).context("probes.ca")?;
    let (sender, mut orders) = mpsc::channel(MAX_ORDERS);
    let looker = Arc::new(Looker::new(relay.inquiry(), relay.ledger(), events.talkers()));
    tokio::spawn(talkers::watch(Arc::clone(&looker)));
    let desk = Desk {
        relay: relay.inquiry(),
        revocations: core.revocations.clone(),
        fleet: fleet.clone(),
        looker,
        probed: prober.board(),
        orders: sender,
        metrics: metrics.clone(),
    };
    let desk = Arc::new(desk);
    let mut scales = None;
    if let Some(fleet) = fleet.clone() {
        scales = Some(Scales::new(fleet.clone(), &metrics));
        tokio::spawn(fleet.sweep(Arc::clone(&desk)));
    }
    // Where operators have a listener of their own, their tokens open nothing on those of everybody.
    let public_tokens = if admin_only.is_empty() {
        tokens.clone()
    } else {
        Tokens::default()
    };
    let compat = http::compat_router(&state, public_tokens, desk.clone(), intake.clone());
    let (cut_offs, issuer) = services.cut_offs();
    tokio::spawn(operator::cut_off(cut_offs, Arc::clone(&desk), issuer));
    let admin = http::admin_router(&state, tokens.clone(), desk, (intake, events.feed()));
    let served = Served {
        public: true,
        metrics: settings.http.metrics == MetricsAccess::Public,
        compat: settings.http.compat.clone(),
        tunnel: config.streams.websocket,
        admin: admin_only.is_empty().then(|| tokens.clone()),
    };
    let compat = compat.merge(http::openapi_router(&state, served));
    let admin = if admin_only.is_empty() {
        admin
    } else {
        let served = Served {
            admin: Some(tokens.clone()),
            ..Served::default()
        };
        admin.merge(http::openapi_router(&state, served))
    };
    let ways = Ways::new(
        &settings.transport.streams,
        &relay,
        &metrics,
        certificates.as_ref(),
        streams,
    )?;
    let tunnels = config
        .streams
        .websocket
        .then(|| http::tunnel_router(&state, ways.tunnels()));
    let ending = services.spawn(
        (web, of_dialects),
        metrics_only,
        ways,
        (admin_only, admin),
        (compat, tunnels),
    );
    if let Some(certificates) = certificates {
        // Ends with the process: certificates are replaced to the last moment.
        tokio::spawn(certificates.watch(config.tls.reload_interval, metrics.front().clone()));
    }
    if let Some(file) = &settings.http.keys_file {
        tokio::spawn(keys::watch(state.clone(), file.clone()));
    }
    announce(&config, &settings, &listening, &machine, err, terminal);
    for complaint in doctor::complaints(&config, &settings, &doctor::Facts::ask()) {
        tracing::warn!("{complaint}");
    }
    let serving = format!("version {}, serving", build_info::VERSION);
    let mut reloader = Reloader {
        read,
        running: config,
        core,
        machine,
        listening,
        own,
        log,
        relay: &relay,
        state,
        tokens,
        metrics: metrics.clone(),
        events: &events,
        fleet,
        prober,
        usage: &usage,
    };
    metrics.readiness().set(true);
    supervisor.ready(&serving);

    let repeats = reloader.log.repeats();
    // To the last moment: a flood may be why it ends.
    let counting = tokio::spawn(tell_repeats(repeats.clone()));
    let mut ticks = 0_u32;
    // Kept across turns: however many orders come, the files are looked at.
    let mut watches = tokio::time::interval(WATCH);
    watches.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let ended = loop {
        // Reading files here holds nobody up: this thread serves nothing.
        tokio::select! {
            asked = signals.next() => match asked {
                Asked::Stop(name) => break Ok(name),
                Asked::Reload => {
                    supervisor.reloading();
                    watch = Watch::new(reloader.reload("SIGHUP").0);
                    supervisor.ready(&serving);
                }
            },
            Some(order) = orders.recv() => match order {
                Order::Drain => break Ok("admin API"),
                Order::Show(answer) => {
                    // Whoever asked may have stopped waiting.
                    let _ = answer.try_send(show_values(&reloader.running));
                }
                Order::Reload(answer) => {
                    let (files, reloaded) = reloader.reload("admin API");
                    watch = Watch::new(files);
                    let _ = answer.try_send(reloaded);
                }
            },
            _ = watches.tick() => {
                if !relay.is_alive() {
                    break Err(anyhow::anyhow!("a thread of the relay has ended, see the log"));
                }
                supervisor.watch(&relay).await;
                if let Some(scales) = &mut scales {
                    scales.weigh(&relay);
                }
                ticks = ticks.wrapping_add(1);
                if ticks.is_multiple_of(ADDRESSES_EVERY) {
                    reloader.look_at_addresses();
                }
                if watch.has_changed() {
                    watch = Watch::new(reloader.reload("a file has changed").0);
                }
            }
        }
    };
    // From here on orders are refused at once.
    drop(orders);
    // What ends here says nothing about the lists.
    drop(reloader.prober);
    let (core, patience) = (reloader.core, reloader.running.relay.drain_timeout);
    let hub = &reloader.running.signaling;
    let come_back = (hub.drain_after_min, hub.drain_after_max);
    let mut flush = reloader.running.events.flush_timeout;
    metrics.readiness().drain();
    supervisor.stopping(patience + reloader.running.http.drain_timeout + flush);
    match &ended {
        Ok(name) => tracing::info!(signal = name, "stopping; a second signal ends it at once"),
        Err(error) => tracing::error!(%error, "stopping"),
    }
    let feed = events.feed();
    tokio::select! {
        () = ending.drain(&relay, &core, patience, come_back, &feed) => tracing::info!("stopped"),
        () = supervisor.watch_forever(&relay) => {}
        name = signals.stop() => {
            flush = Duration::ZERO;
            tracing::warn!(signal = name, "stopped at once");
        }
    }
    relay.shutdown();
    // The bytes of the last allocations are counted now. Writing blocks, and tells those who run on this runtime.
    let _ = tokio::task::spawn_blocking(move || usage.finish()).await;
    // The ends of the last allocations are among what is left to tell. A signal does not wait for that.
    tokio::select! {
        () = events.finish(flush) => {}
        name = signals.stop() => tracing::warn!(signal = name, "webhooks were not waited for"),
    }
    counting.abort();
    repeats.tell(REPEATS);
    ended.map(|_| ())
}

/// Says every so often what the log held back, for as long as it is polled.
async fn tell_repeats(repeats: Repeats) {
    let mut ticks = tokio::time::interval(REPEATS);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    let mut began = std::time::Instant::now();
    loop {
        ticks.tick().await;
        repeats.tell(began.elapsed());
        began = std::time::Instant::now();
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
    for (address, dialect) in &listening.dialects {
        tracing::info!(%address, dialect = dialect.as_label(), "signaling.listeners");
    }
    for warning in notice::warnings(config, settings) {
        tracing::warn!("{warning}");
    }
}
