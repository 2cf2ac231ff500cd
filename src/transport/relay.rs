//! The relay as the rest of the process sees it: started, reconfigured, ended.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use super::Config;
use super::dtls::table::Shared as SharedDtls;
use super::front::tls::Certificates;
use super::handover::{PortOwners, inbox};
use super::limits;
use super::listener;
use super::relay_table::Parked;
use super::stream::intake::{Desk, Dispatch};
use super::worker::{Control, Parts, Worker};
use crate::events;
use crate::telemetry::Metrics;
use crate::telemetry::labels::QuotaGauge;
use crate::turn::{self, Ledger, Now, Reservations, Server, Shard, Transport};

/// A running relay. Dropping it ends it.
#[derive(Debug)]
pub struct Relay {
    /// How many descriptors the process may have open.
    open_files: Option<u64>,
    /// How many of them streams may take.
    streams: usize,
    workers: Vec<Handle>,
    ledger: Ledger,
    local_addrs: Vec<SocketAddr>,
    dtls_addrs: Vec<SocketAddr>,
    dispatch: Dispatch,
}

#[derive(Debug)]
struct Handle {
    control: Arc<Control>,
    thread: Option<JoinHandle<()>>,
}

impl Relay {
    /// Binds every listener and starts the workers.
    ///
    /// # Errors
    /// An address that cannot be listened on (the text names it and the way out), or a lack of descriptors, memory or
    /// randomness. Nothing is left running.
    pub fn start(config: &Config, core: &Arc<turn::Config>, metrics: &Metrics) -> io::Result<Self> {
        Self::start_with(config, core, metrics, None, None)
    }

    /// As [`Relay::start`], with the certificates of [`Config::listen_dtls`]; what `core` notes ([`turn::Config::events`]) goes to
    /// `events`.
    ///
    /// # Errors
    /// As [`Relay::start`], and when there are none although DTLS is to be listened for.
    pub fn start_with(
        config: &Config,
        core: &Arc<turn::Config>,
        metrics: &Metrics,
        certificates: Option<&Arc<Certificates>>,
        events: Option<&events::Intake>,
    ) -> io::Result<Self> {
        let count = config.worker_count().get();
        let open_files = limits::raise_open_files();
        let streams = limits::streams(open_files, config.streams.connections);
        if streams != config.streams.connections {
            tracing::warn!(
                open_files,
                streams,
                configured = config.streams.connections,
                "fewer open files are allowed than the configured streams need; raise LimitNOFILE="
            );
        }
        metrics.replace_quota(QuotaGauge::Streams, streams);
        if !config.listen_dtls.is_empty() {
            metrics.replace_quota(QuotaGauge::DtlsSessions, config.dtls.sessions);
        }
        let bounded = limits::within(open_files, streams, core);
        if bounded.limits != core.limits {
            tracing::warn!(
                open_files,
                allocations = bounded.limits.allocations,
                configured = core.limits.allocations,
                tcp_connections = bounded.limits.connections,
                "fewer open files are allowed than the configured allocations need; raise LimitNOFILE="
            );
        }
        let core = &bounded;
        let dtls = shared_dtls(config, certificates, count)?;
        let sets = listener::open(config, count)?;
        let addrs_of = |transport| -> Vec<SocketAddr> {
            let first = sets.first().into_iter().flatten();
            first
                .filter(|one| one.transport == transport)
                .map(|one| one.addr)
                .collect()
        };
        let (local_addrs, dtls_addrs) = (addrs_of(Transport::Udp), addrs_of(Transport::Dtls));

        let owners = Arc::new(PortOwners::new(&core.relay_addrs));
        let tcp_owners = Arc::new(PortOwners::new(&core.relay_addrs));
        let (ledger, reservations, parked) = (Ledger::default(), Reservations::new(), Parked::default());
        let mut receivers = Vec::with_capacity(count);
        let mut senders = Vec::with_capacity(count);
        for _ in 0..count {
            let (receiver, sender) = inbox()?;
            receivers.push(receiver);
            senders.push(Arc::new(sender));
        }
        let mut controls = Vec::with_capacity(count);
        let mut desks = Vec::with_capacity(count);
        for _ in 0..count {
            let control = Arc::new(Control::new()?);
            let (desk, intake) = Desk::open(Arc::clone(&control));
            desks.push(desk);
            controls.push((control, intake));
        }
        let dispatch = Dispatch::new(desks);
        let mut relay = Self {
            open_files,
            streams,
            workers: Vec::with_capacity(count),
            ledger: ledger.clone(),
            local_addrs,
            dtls_addrs,
            dispatch: dispatch.clone(),
        };
        let workers = sets.into_iter().zip(receivers).zip(controls).enumerate();
        for (index, ((listeners, inbox), (control, intake))) in workers {
            let seed = random()?;
            let shard = Shard {
                index: index as u16,
                count: count as u16,
            };
            let server = Server::new(Arc::clone(core), shard, ledger.clone(), reservations.clone(), seed);
            let parts = Parts {
                index: shard.index,
                config: config.clone(),
                server,
                listeners,
                inbox,
                siblings: senders.clone(),
                owners: Arc::clone(&owners),
                tcp_owners: Arc::clone(&tcp_owners),
                parked: parked.clone(),
                control: Arc::clone(&control),
                metrics: metrics.relay_shard(index),
                intake,
                dispatch: dispatch.clone(),
                dtls: match &dtls {
                    Some(shared) => Some((shared.clone(), random()?)),
                    None => None,
                },
                events: events.cloned(),
            };
            // On an error, dropping what was started ends it.
            relay.workers.push(spawn(parts, control)?);
        }
        tracing::info!(workers = count, addrs = ?relay.local_addrs, "relay listening (UDP)");
        if !relay.dtls_addrs.is_empty() {
            tracing::info!(addrs = ?relay.dtls_addrs, "relay listening (DTLS)");
        }
        Ok(relay)
    }

    /// The addresses clients reach this relay at, in the order of [`Config::listen`], with the ports that were taken.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.local_addrs
    }

    /// The addresses clients reach this relay at by DTLS, in the order of [`Config::listen_dtls`].
    pub fn dtls_addrs(&self) -> &[SocketAddr] {
        &self.dtls_addrs
    }

    /// Streams that may be open at once.
    pub(super) fn streams(&self) -> usize {
        self.streams
    }

    /// The way of streams to the workers.
    pub(super) fn dispatch(&self) -> &Dispatch {
        &self.dispatch
    }

    /// Gives every worker a new configuration of the core. It takes effect within the worker's current turn.
    ///
    /// The relay addresses are those it was started with.
    pub fn reconfigure(&self, core: &Arc<turn::Config>) {
        let core = limits::within(self.open_files, self.streams, core);
        for worker in &self.workers {
            worker.control.reconfigure(Arc::clone(&core));
        }
    }

    /// Allocations that live, those being made included. Zero: a drain is over.
    pub fn allocations(&self) -> u32 {
        self.ledger.total()
    }

    /// Who holds how many.
    pub fn ledger(&self) -> Ledger {
        self.ledger.clone()
    }

    /// A way to ask the workers something, as long as they run.
    pub fn inquiry(&self) -> Inquiry {
        Inquiry(self.workers.iter().map(|worker| Arc::clone(&worker.control)).collect())
    }

    /// Whether every worker is running. Once false it stays so, and the process should end: some clients are cut off.
    pub fn is_alive(&self) -> bool {
        self.workers
            .iter()
            .all(|worker| worker.thread.as_ref().is_some_and(|thread| !thread.is_finished()))
    }

    /// Ends every worker and waits for it. Allocations end without a word to their clients: drain first.
    pub fn shutdown(mut self) {
        self.end();
    }

    fn end(&mut self) {
        for worker in &self.workers {
            worker.control.stop();
        }
        for thread in self.workers.iter_mut().filter_map(|worker| worker.thread.take()) {
            if thread.join().is_err() {
                tracing::error!("a relay worker ended by a panic");
            }
        }
    }
}

/// Asks workers for something that only they know. Never waits for them on the way of a packet. Clones share.
#[derive(Debug, Clone)]
pub struct Inquiry(Arc<[Arc<Control>]>);

/// A worker has no time, or no longer runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a worker of the relay does not answer")]
pub struct NoAnswer;

impl Inquiry {
    /// How many workers there are.
    pub fn workers(&self) -> usize {
        self.0.len()
    }

    /// Runs `question` on the thread of a worker, between two packets, and waits for what it says: not for an async task.
    /// It must be bounded in what it looks at, since the worker's clients wait for it.
    ///
    /// # Errors
    /// When there is no such worker, when it has too many questions, or does not answer within `patience`.
    pub fn ask<T: Send + 'static>(
        &self,
        worker: usize,
        patience: Duration,
        question: impl FnOnce(&mut Server, Now) -> T + Send + 'static,
    ) -> Result<T, NoAnswer> {
        let control = self.0.get(worker).ok_or(NoAnswer)?;
        let (answer, answered) = mpsc::sync_channel(1);
        let sent = control.send(Box::new(move |server, now| {
            // Whoever asked may have stopped waiting.
            let _ = answer.try_send(question(server, now));
        }));
        if !sent {
            return Err(NoAnswer);
        }
        answered.recv_timeout(patience).map_err(|_| NoAnswer)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.end();
    }
}

/// What the sessions of DTLS share, if that is to be listened for.
fn shared_dtls(
    config: &Config,
    certificates: Option<&Arc<Certificates>>,
    workers: usize,
) -> io::Result<Option<SharedDtls>> {
    if config.listen_dtls.is_empty() {
        return Ok(None);
    }
    let Some(certificates) = certificates else {
        let text = "there is no certificate to speak DTLS with";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    };
    let shared = SharedDtls::new(&config.dtls, Arc::clone(certificates), workers);
    shared
        .map(Some)
        .map_err(|error| io::Error::other(format!("cannot speak DTLS: {error}")))
}

fn random() -> io::Result<[u8; 32]> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(io::Error::other)?;
    Ok(seed)
}

/// Starts one worker and waits until it is ready.
fn spawn(parts: Parts, control: Arc<Control>) -> io::Result<Handle> {
    let (ready, readiness) = mpsc::sync_channel(1);
    let index = parts.index;
    let thread = std::thread::Builder::new()
        .name(format!("relay-{index}"))
        .spawn(move || {
            let worker = match Worker::new(parts) {
                Ok(worker) => worker,
                Err(error) => {
                    let _ = ready.send(Err(error));
                    return;
                }
            };
            let _ = ready.send(Ok(()));
            drop(ready);
            if let Err(error) = worker.run() {
                tracing::error!(%error, worker = index, "a relay worker ended");
            }
        })?;
    match readiness.recv() {
        Ok(Ok(())) => Ok(Handle {
            control,
            thread: Some(thread),
        }),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(io::Error::other("a relay worker ended before it began")),
    }
}
