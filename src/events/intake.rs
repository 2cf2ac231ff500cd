//! The way in: for worker threads and handlers alike, and it never waits.

use tokio::sync::mpsc;

use super::audit::Audit;
use super::hub::HubEvent;
use super::record::{Happened, UsageEvent};
use super::server::ServerEvent;
use crate::credentials::is_probe;
use crate::telemetry::EventMetrics;
use crate::turn;

/// Puts events into the process's one channel. Clones share.
#[derive(Clone)]
pub struct Intake {
    pub(super) sender: mpsc::Sender<Message>,
    pub(super) metrics: EventMetrics,
}

/// What goes through the channel. `None`: all that came before is to be told, and no more comes.
pub(super) type Message = Option<Happened>;

impl Intake {
    /// Something happened in the relay. It is dropped, and counted, when too much waits.
    pub fn relay(&self, event: turn::Event) {
        if !is_of_probe(&event) {
            self.put(Happened::Relay(event));
        }
    }

    /// An operator did something. It is dropped, and counted, when too much waits.
    pub fn audit(&self, audit: Audit) {
        self.put(Happened::Audit(audit));
    }

    /// Something happened in the hub. It is dropped, and counted, when too much waits.
    pub fn hub(&self, event: HubEvent) {
        self.put(Happened::Hub(Box::new(event)));
    }

    /// A server in the lists is left out, or back. It is dropped, and counted, when too much waits.
    pub fn server(&self, event: ServerEvent) {
        self.put(Happened::Server(event));
    }

    /// An interval of a tenant has ended. Unlike all else it waits for room: not for a thread that serves anybody. `false` when
    /// nobody is told any more.
    pub fn usage(&self, event: UsageEvent) -> bool {
        self.sender
            .blocking_send(Some(Happened::Usage(Box::new(event))))
            .is_ok()
    }

    /// Where it is counted.
    pub fn metrics(&self) -> &EventMetrics {
        &self.metrics
    }

    fn put(&self, happened: Happened) {
        if self.sender.try_send(Some(happened)).is_err() {
            self.metrics.dropped.inc();
        }
    }
}

impl std::fmt::Debug for Intake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Intake").finish_non_exhaustive()
    }
}

/// Whether this server probes itself: several times a minute, an allocation that carries nothing. One that did would be told of, whoever
/// calls himself so.
fn is_of_probe(event: &turn::Event) -> bool {
    let nothing = |traffic: turn::Traffic| traffic == turn::Traffic::default();
    event.about.user.as_deref().is_some_and(is_probe)
        && match event.what {
            turn::What::Created { .. } => true,
            turn::What::Closed { to_peer, to_client, .. } => nothing(to_peer) && nothing(to_client),
            _ => false,
        }
}
