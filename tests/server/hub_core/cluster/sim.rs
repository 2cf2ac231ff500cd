//! Everything at once, by chance, from a seed.

use std::time::Duration;

use meetpoint::signaling::{CloseCode, Config, Takeover};
use serde_json::json;

use super::world::{ClientId, Cluster};

const NODES: usize = 4;
const STEPS: usize = 400;

struct Sim {
    cluster: Cluster,
    words: u64,
}

impl Sim {
    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.cluster.random.below(bound as u64)).unwrap()
    }

    fn someone(&mut self) -> Option<ClientId> {
        let clients = self.cluster.clients.iter().enumerate();
        let here: Vec<ClientId> = clients
            .filter(|(_, client)| client.connection.is_some())
            .map(|(at, _)| at)
            .collect();
        (!here.is_empty()).then(|| here[self.below(here.len())])
    }

    fn a_room_of(&mut self, client: ClientId) -> Option<String> {
        let rooms: Vec<String> = self.cluster.clients[client].rooms.keys().cloned().collect();
        (!rooms.is_empty()).then(|| rooms[self.below(rooms.len())].clone())
    }

    fn step(&mut self, with_failures: bool) {
        let room = format!("room{}", self.below(4));
        match self.below(if with_failures { 28 } else { 20 }) {
            0..=4 => {
                let node = self.below(NODES);
                if self.cluster.is_running(node)
                    && self.cluster.clients.iter().filter(|c| c.connection.is_some()).count() < 24
                {
                    let id = format!("peer{}", self.below(12));
                    let client = self.cluster.peer(node, &id);
                    self.cluster.say(client, json!({"t": "join", "room": room}));
                }
            }
            5..=6 => {
                if let Some(client) = self.someone() {
                    self.cluster.say(client, json!({"t": "join", "room": room}));
                }
            }
            7 => {
                if let Some(client) = self.someone()
                    && let Some(room) = self.a_room_of(client)
                {
                    // Frames that wait would go out after it has left; it waits for them first.
                    self.cluster.run(Duration::from_secs(1));
                    if self.cluster.clients[client].connection.is_some() {
                        self.cluster.say(client, json!({"t": "leave", "room": room}));
                        self.cluster.clients[client].leaves(&room);
                    }
                }
            }
            8 => {
                if let Some(client) = self.someone() {
                    let code = [CloseCode::Normal, CloseCode::Abnormal][self.below(2)];
                    self.cluster.drop_socket(client, code);
                }
            }
            9..=12 => {
                if let Some(client) = self.someone()
                    && let Some(room) = self.a_room_of(client)
                {
                    self.words += 1;
                    self.cluster
                        .say(client, json!({"t": "send", "room": room, "data": self.words}));
                }
            }
            13..=16 => {
                if let Some(client) = self.someone()
                    && let Some(room) = self.a_room_of(client)
                {
                    let others: Vec<String> = self.cluster.clients[client].rooms[&room].iter().cloned().collect();
                    if !others.is_empty() {
                        let to = &others[self.below(others.len())];
                        self.words += 1;
                        let sig = json!({"t": "sig", "room": room, "to": to, "kind": "cand", "data": self.words});
                        self.cluster.say(client, sig);
                    }
                }
            }
            17 => {
                if let Some(client) = self.someone()
                    && let Some(room) = self.a_room_of(client)
                {
                    self.words += 1;
                    self.cluster
                        .say(client, json!({"t": "meta", "room": room, "set": {"n": self.words}}));
                }
            }
            18..=19 => {
                if let Some(client) = self.someone()
                    && let Some(room) = self.a_room_of(client)
                {
                    self.words += 1;
                    self.cluster
                        .say(client, json!({"t": "room", "room": room, "set": {"n": self.words}}));
                }
            }
            20 => {
                let (one, other) = (self.below(NODES), self.below(NODES));
                if one != other {
                    self.cluster.cut(one, other);
                }
            }
            21 => self.cluster.heal(),
            22 => self.cluster.lost_permille = [0, 20, 200][self.below(3)],
            23 => {
                let node = self.below(NODES);
                if self.cluster.is_running(node) {
                    self.cluster.kill(node);
                } else {
                    self.cluster.start_node(node);
                }
            }
            24 => {
                let node = self.below(NODES);
                self.cluster.unlink(node);
            }
            25 => {
                let node = self.below(NODES);
                self.cluster.link(node);
            }
            26 => (0..NODES).for_each(|node| self.cluster.unlink(node)),
            _ => (0..NODES).for_each(|node| self.cluster.link(node)),
        }
        let micros = [50, 500, 5_000, 100_000, 2_000_000][self.below(5)];
        let micros = self.cluster.random.below(micros);
        self.cluster.run(Duration::from_micros(micros));
        for client in &mut self.cluster.clients {
            client.inbox.clear();
        }
    }

    /// Mends everything, and waits for it to be found out.
    fn come_to_rest(&mut self) {
        self.cluster.heal();
        self.cluster.lost_permille = 0;
        for node in 0..NODES {
            if !self.cluster.is_running(node) {
                self.cluster.start_node(node);
            }
            self.cluster.link(node);
        }
        self.cluster.run(Duration::from_secs(90));
        self.cluster.check_agreement();
    }
}

fn run(seed: u64, with_failures: bool) {
    let config = Config {
        takeover: [Takeover::SameOwner, Takeover::Replace, Takeover::Reject][seed as usize % 3],
        ..Config::default()
    };
    let mut cluster = Cluster::with(NODES, config, seed, |_| {});
    // Words are numbered over all senders, so that there are gaps by design.
    cluster.strict = false;
    cluster.delay_us = [(100, 900), (1_000, 40_000)][seed as usize % 2];
    for node in 0..NODES {
        let skew = i64::try_from(cluster.random.below(4_000)).unwrap() - 2_000;
        cluster.skew(node, skew);
    }
    let mut sim = Sim { cluster, words: 0 };
    for step in 0..STEPS {
        sim.step(with_failures);
        if step % 100 == 99 {
            sim.come_to_rest();
        }
    }
    sim.come_to_rest();
}

#[test]
fn nodes_agree_and_nothing_is_heard_twice_or_from_strangers_while_all_is_well() {
    for seed in 1..=12 {
        run(seed, false);
    }
}

#[test]
fn nodes_agree_again_and_nothing_is_heard_twice_or_from_strangers_whatever_fails() {
    for seed in 1..=24 {
        run(seed, true);
    }
}
