//! The driver of [`Fleet`]: its clock, its timer, its way to Redis, and the end of what those hold who are turned away.

use super::operator::Desk;
use crate::backplane::Outgoing;
use crate::credentials::{Advertised, UnixTime};
use crate::fleet::{Announced, Config, Fleet, Load, Output};
use crate::http::Issuer;
use crate::signaling::NodeId;
use crate::telemetry::{Metrics, build_info};
use crate::transport::Relay;
use crate::turn::{Change, Now, Revocations};
use crate::ws::HubHandle;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::Notify;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

/// How long a relay that has no time is left alone.
const AGAIN: Duration = Duration::from_secs(1);

/// How long relays that came or went are waited for by those who gave newer lists because of others.
const MOVE_PAUSE: Duration = Duration::from_secs(1);

/// This replica's relay among those of others. Clones share.
#[derive(Clone)]
pub(super) struct FleetHandle(Arc<Shared>);

struct Shared {
    core: Mutex<Fleet>,
    outgoing: Outgoing,
    /// Something may be due earlier than before.
    changed: Notify,
    /// Somebody is turned away who holds something, perhaps.
    sweep: Notify,
    /// Rooms may have other relays.
    moved: Notify,
    /// Whoever gives rooms their relays.
    issuer: Issuer,
    /// As many allocations and bytes a second as may be.
    bounds: Mutex<Load>,
}

impl FleetHandle {
    pub(super) fn new(
        config: Config,
        revocations: Revocations,
        outgoing: Outgoing,
        issuer: Issuer,
        metrics: &Metrics,
    ) -> Self {
        let handle = Self(Arc::new(Shared {
            core: Mutex::new(Fleet::new(config, revocations)),
            outgoing,
            changed: Notify::new(),
            sweep: Notify::new(),
            moved: Notify::new(),
            issuer,
            bounds: Mutex::default(),
        }));
        let asked = handle.clone();
        metrics.fleet_slot().ask(move || asked.with(|core, _| core.stats()));
        handle
    }

    pub(super) fn bus_connected(&self) {
        self.with(Fleet::bus_connected);
        self.0.changed.notify_one();
    }

    pub(super) fn bus_lost(&self) {
        self.with(|core, _| core.bus_lost());
    }

    pub(super) fn handle_remote(&self, payload: &[u8]) {
        self.with(|core, now| core.handle_remote(now, payload));
        self.0.changed.notify_one();
    }

    /// This replica's relay listens there.
    pub(super) fn open(&self, listeners: &[Advertised]) {
        self.with(|core, _| core.open(listeners, build_info::VERSION));
    }

    /// As the configuration says now.
    pub(super) fn reconfigure(&self, config: Config, listeners: &[Advertised]) {
        self.with(|core, _| core.reconfigure(config, listeners));
    }

    /// As much as the relay may carry from now on.
    pub(super) fn bound(&self, bounds: Load) {
        *self.0.bounds.lock().unwrap_or_else(PoisonError::into_inner) = bounds;
    }

    fn bounds(&self) -> Load {
        *self.0.bounds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What probes found dead. What is this replica's own of it the others are told.
    pub(super) fn set_dead(&self, dead: &HashSet<Box<str>>) {
        self.with(|core, _| core.set_dead(|url| dead.contains(url)));
    }

    /// The URLs by which this relay is given to rooms.
    pub(super) fn own_urls(&self) -> Vec<String> {
        self.with(|core, _| core.own_urls())
    }

    /// No room is given it any more.
    pub(super) fn drain(&self) {
        self.with(|core, _| core.drain());
    }

    /// All relays, this one's first, as operators see them.
    pub(super) fn relays(&self) -> Vec<(NodeId, Announced)> {
        self.with(|core, _| {
            core.relays()
                .map(|(node, announced)| (node, announced.clone()))
                .collect()
        })
    }

    /// Has every other replica do as an operator of this one did.
    pub(super) fn tell(&self, change: &Change) {
        self.with(|core, _| core.tell(change));
    }

    fn with<T>(&self, act: impl FnOnce(&mut Fleet, Now) -> T) -> T {
        let shared = &*self.0;
        let mut core = shared.core.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = act(&mut core, now());
        // Under the lock: what is published leaves in the order in which it was said.
        while let Some(output) = core.poll_output() {
            match output {
                Output::Publish { topic, payload } => shared.outgoing.publish_to_fleet(topic, payload),
                Output::Sweep => shared.sweep.notify_one(),
                Output::Chosen => {
                    shared.issuer.replace_fleet(Arc::new(core.choice()));
                    shared.moved.notify_one();
                }
            }
        }
        answer
    }

    /// Does what is due, for ever.
    pub(super) async fn keep_time(self) {
        loop {
            let due = self.with(|core, now| {
                core.handle_timeout(now);
                core.poll_timeout()
            });
            let changed = self.0.changed.notified();
            match due {
                None => changed.await,
                Some(due) => tokio::select! {
                    () = changed => {}
                    () = tokio::time::sleep_until(due.into()) => {}
                },
            }
        }
    }

    /// Gives clients of the hub newer lists when the relay of their room goes, or the room goes to another, for ever.
    pub(super) async fn move_rooms(self, hub: HubHandle) {
        loop {
            self.0.moved.notified().await;
            let clients = hub.renew_moved_ice();
            if clients > 0 {
                self.with(|core, _| core.note_moved(clients as u64));
                tracing::info!(
                    clients,
                    "rooms have other relays: their clients are given newer ICE servers"
                );
            }
            sleep(MOVE_PAUSE).await;
        }
    }

    /// Ends what those hold whom another replica turns away, as often as there are such, for ever. However many there are at once: one
    /// look at all allocations finds them.
    pub(super) async fn sweep(self, desk: Arc<Desk>) {
        loop {
            self.0.sweep.notified().await;
            loop {
                let desk = Arc::clone(&desk);
                // The workers are asked in turn, and waited for.
                match spawn_blocking(move || desk.end_revoked()).await {
                    Ok(Ok(0)) => break,
                    Ok(Ok(ended)) => {
                        tracing::info!(ended, "ended allocations of users that another replica turns away");
                        break;
                    }
                    // They stay turned away; a look at a relay that is busy comes later.
                    Ok(Err(_)) | Err(_) => sleep(AGAIN).await,
                }
            }
        }
    }
}

/// As many allocations and bytes a second as the relay may carry.
pub(super) fn relay_bounds(config: &crate::config::Config) -> Load {
    Load {
        most_allocations: config.limits.allocations.into(),
        most_bytes_per_second: config.relay_capacity(),
        ..Load::default()
    }
}

/// Says once a second how much a relay has to carry.
pub(super) struct Scales {
    fleet: FleetHandle,
    metrics: Metrics,
    last: (Instant, [u64; 2]),
}

impl Scales {
    pub(super) fn new(fleet: FleetHandle, metrics: &Metrics) -> Self {
        Self {
            fleet,
            metrics: metrics.clone(),
            last: (Instant::now(), metrics.payload_bytes()),
        }
    }

    pub(super) fn weigh(&mut self, relay: &Relay) {
        let (now, bytes) = (Instant::now(), self.metrics.payload_bytes());
        let (before, known) = std::mem::replace(&mut self.last, (now, bytes));
        let millis = u64::try_from(now.duration_since(before).as_millis())
            .unwrap_or(u64::MAX)
            .max(1);
        let grown = bytes
            .iter()
            .zip(known)
            .map(|(bytes, known)| bytes.saturating_sub(known))
            .max();
        let load = Load {
            allocations: relay.allocations().into(),
            bytes_per_second: grown.unwrap_or(0).saturating_mul(1_000) / millis,
            ..self.fleet.bounds()
        };
        self.fleet.with(|core, _| core.set_load(load));
    }
}

fn now() -> Now {
    Now {
        instant: Instant::now(),
        unix: UnixTime::from_system_time(SystemTime::now()),
    }
}
