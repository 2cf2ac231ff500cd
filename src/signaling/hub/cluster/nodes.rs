//! Who else is alive.

use std::time::Instant;

use super::Hub;
use crate::signaling::{
    Now,
    cluster::{
        NodeId, Topic,
        message::{Load, Message},
    },
    room::Room,
    slab::Key,
    stats::BusStats,
};

/// Another node.
#[derive(Debug)]
pub(super) struct Node {
    heard: Instant,
    pub(super) load: Load,
}

impl Hub {
    /// A node has said something. False: there are more than may be.
    pub(super) fn note_node(&mut self, now: Now, node: NodeId) -> bool {
        let Some(bus) = self.bus.as_deref_mut() else {
            return false;
        };
        if let Some(known) = bus.nodes.get_mut(&node) {
            known.heard = now.instant;
            return true;
        }
        if bus.nodes.len() >= bus.config.nodes {
            self.stats.bus.turned_away += 1;
            return false;
        }
        bus.nodes.insert(
            node,
            Node {
                heard: now.instant,
                load: Load::default(),
            },
        );
        let expiry = now.instant + bus.config.node_timeout;
        bus.expiry = Some(bus.expiry.map_or(expiry, |earlier| earlier.min(expiry)));
        // It may have been away and come back, with members in rooms that are hosted here.
        let load = self.load();
        self.publish(Topic::Node(node), &Message::Alive { hello: false, load });
        self.resync_all(node);
        self.plan_bans(now, node);
        true
    }

    pub(super) fn note_load(&mut self, node: NodeId, load: Load) {
        let known = self.bus.as_deref_mut().and_then(|bus| bus.nodes.get_mut(&node));
        if let Some(known) = known {
            known.load = load;
        }
    }

    /// What this process has to carry.
    pub(super) fn load(&self) -> Load {
        let own = self.node();
        let is_led = |room: &Room| {
            let mut others = room.members().iter().filter_map(|member| member.remote());
            others.all(|remote| Some(remote.node) > own) && room.here() > 0
        };
        Load {
            connections: (self.connections.len() - self.away) as u64,
            peers: self.stats.peers,
            rooms: self.rooms.iter().filter(|(_, room)| is_led(room)).count() as u64,
            memberships: self.stats.memberships,
        }
    }

    /// Those who were silent for too long are dead: their members leave.
    pub(super) fn bury(&mut self, now: Now) {
        let Some(bus) = self.bus.as_deref_mut() else { return };
        let timeout = bus.config.node_timeout;
        let dead: Vec<NodeId> = bus
            .nodes
            .iter()
            .filter(|(_, node)| node.heard + timeout <= now.instant)
            .map(|(node, _)| *node)
            .collect();
        for node in &dead {
            bus.nodes.remove(node);
        }
        bus.expiry = bus.nodes.values().map(|node| node.heard + timeout).min();
        self.stats.bus.nodes_lost += dead.len() as u64;
        if dead.is_empty() {
            return;
        }
        let rooms: Vec<Key> = self.rooms.iter().map(|(key, _)| key).collect();
        for room in rooms {
            self.forget_nodes(room, &dead);
        }
    }

    pub(super) fn forget_nodes(&mut self, key: Key, dead: &[NodeId]) {
        let Some(room) = self.rooms.get_mut(key) else { return };
        if let Some(link) = room.link.as_deref_mut() {
            link.views.retain(|view| !dead.contains(&view.node));
        }
        let members = room.members().iter();
        let of_dead = members.filter(|member| member.remote().is_some_and(|remote| dead.contains(&remote.node)));
        let ordinals: Vec<u64> = of_dead.map(|member| member.ordinal).collect();
        for ordinal in ordinals {
            self.remove_mirrored(key, ordinal, "lost");
        }
        for node in dead {
            self.has_answered(*node, key);
        }
    }

    /// Says that this node lives, and of some rooms which list it has.
    pub(super) fn tell_alive(&mut self, now: Now) {
        let Some(bus) = self.bus.as_deref_mut() else { return };
        bus.next_beat = bus.connected.then(|| now.instant + bus.config.heartbeat);
        let (from, most, is_alone) = (bus.audited, bus.config.audited_rooms, bus.nodes.is_empty());
        let load = self.load();
        self.publish(Topic::Everybody, &Message::Alive { hello: false, load });
        if is_alone {
            return;
        }
        let rooms = self.rooms.iter().filter(|(key, _)| key.index() >= from);
        let audited: Vec<Key> = rooms.map(|(key, _)| key).take(most).collect();
        let next = audited
            .last()
            .filter(|_| audited.len() == most)
            .map(|key| key.index() + 1);
        if let Some(bus) = self.bus.as_deref_mut() {
            bus.audited = next.unwrap_or(0);
        }
        for key in audited {
            self.ask_the_quiet(key);
            let link = self.rooms.get(key).and_then(|room| room.link.as_deref());
            if let Some(link) = link.filter(|link| link.opening.is_none()) {
                let (room, seq) = (link.topic, link.seq);
                self.publish(Topic::Room(room), &Message::Audit { room, seq });
            }
        }
    }

    /// The counters of the bus, with the gauges as of now.
    pub(in crate::signaling::hub) fn bus_stats(&self) -> BusStats {
        let Some(bus) = self.bus.as_deref() else {
            return self.stats.bus;
        };
        let own = self.load();
        // What others say of themselves can be anything.
        let total = |of: fn(&Load) -> u64| {
            bus.nodes
                .values()
                .map(|node| of(&node.load))
                .fold(of(&own), u64::saturating_add)
        };
        BusStats {
            connected: bus.connected,
            nodes: bus.nodes.len() as u64,
            waiting: self.waiting() as u64,
            mirrored: bus.mirrored as u64,
            total_connections: total(|load| load.connections),
            total_peers: total(|load| load.peers),
            total_rooms: total(|load| load.rooms),
            total_memberships: total(|load| load.memberships),
            ..self.stats.bus
        }
    }
}
