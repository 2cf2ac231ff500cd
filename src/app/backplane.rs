//! The hub and the backplane, each of which knows nothing of the other.

use crate::backplane::{Backplane, Config, Outgoing, Receiver};
use crate::signaling::{NodeId, RoomTopic, Topic};
use crate::telemetry::Metrics;
use crate::ws::{Bus, HubHandle};
use anyhow::Context as _;
use bytes::Bytes;
use std::sync::Arc;

/// Connects them. The first connection of a client must not come before this.
pub(super) fn start(config: &Config, node: NodeId, hub: &HubHandle, metrics: &Metrics) -> anyhow::Result<Backplane> {
    let outgoing = Outgoing::new(config.queue, metrics.backplane().clone());
    hub.attach(Arc::new(Out(outgoing.clone())));
    let receiver = Arc::new(In(hub.clone()));
    Backplane::start(config, node, outgoing, receiver, metrics.backplane()).context("backplane.redis_url, redis_ca")
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

/// To the hub.
struct In(HubHandle);

impl Receiver for In {
    fn bus_connected(&self, ready: &dyn Fn() -> bool) -> bool {
        self.0.bus_connected(ready)
    }

    fn bus_lost(&self) {
        self.0.bus_lost();
    }

    fn subscribed(&self, topic: RoomTopic) {
        self.0.subscribed(topic);
    }

    fn handle_remote(&self, topic: Topic, payload: &[u8]) {
        self.0.handle_remote(topic, payload);
    }
}
