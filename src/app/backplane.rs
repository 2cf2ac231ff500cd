//! The hub, the relay and the backplane, each of which knows nothing of the others.

use super::fleet::FleetHandle;
use crate::backplane::{Backplane, Config, Outgoing, Receiver};
use crate::fleet;
use crate::http::Issuer;
use crate::signaling::{NodeId, RoomTopic, Topic};
use crate::telemetry::Metrics;
use crate::turn::Revocations;
use crate::ws::{Bus, HubHandle};
use anyhow::Context as _;
use bytes::Bytes;
use std::sync::Arc;

/// Connects them. The first connection of a client must not come before this.
pub(super) fn start(
    config: &Config,
    fleet: fleet::Config,
    hub: &HubHandle,
    revocations: Revocations,
    issuer: &Issuer,
    metrics: &Metrics,
) -> anyhow::Result<(Backplane, FleetHandle)> {
    let node = fleet.node;
    let outgoing = Outgoing::new(config.queue, metrics.backplane().clone());
    hub.attach(Arc::new(Out(outgoing.clone())));
    let fleet = FleetHandle::new(fleet, revocations, outgoing.clone(), issuer.clone(), metrics);
    let receiver = Arc::new(In {
        hub: hub.clone(),
        fleet: fleet.clone(),
    });
    let backplane = Backplane::start(config, node, outgoing, receiver, metrics.backplane())
        .context("backplane.redis_url, redis_ca")?;
    tokio::spawn(fleet.clone().keep_time());
    tokio::spawn(fleet.clone().move_rooms(hub.clone()));
    Ok((backplane, fleet))
}

/// A name for every start: a replica that was restarted is another one.
pub(super) fn node(random: &[u8; 32]) -> NodeId {
    NodeId::new(std::array::from_fn(|at| random[at]))
}

/// From the hub.
struct Out(Outgoing);

impl Bus for Out {
    fn publish(&self, topic: Topic, payload: Bytes) {
        self.0.publish(topic, payload);
    }

    fn subscribe(&self, topic: RoomTopic) {
        self.0.subscribe(topic);
    }

    fn unsubscribe(&self, topic: RoomTopic) {
        self.0.unsubscribe(topic);
    }
}

/// To the hub, and to the fleet.
struct In {
    hub: HubHandle,
    fleet: FleetHandle,
}

impl Receiver for In {
    fn bus_connected(&self, ready: &dyn Fn() -> bool) -> bool {
        let connected = self.hub.bus_connected(ready);
        if connected {
            self.fleet.bus_connected();
        }
        connected
    }

    fn bus_lost(&self) {
        self.hub.bus_lost();
        self.fleet.bus_lost();
    }

    fn subscribed(&self, topic: RoomTopic) {
        self.hub.subscribed(topic);
    }

    fn handle_remote(&self, topic: Topic, payload: &[u8]) {
        self.hub.handle_remote(topic, payload);
    }

    fn handle_fleet(&self, payload: &[u8]) {
        self.fleet.handle_remote(payload);
    }
}
