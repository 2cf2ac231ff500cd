//! Relays of several replicas on one bus whose messages are delivered, lost, kept back, broken and made up, while operators turn people
//! away and let them in again.
//!
//! Whoever can write to the bus can have somebody turned away. It cannot make a replica panic, grow or turn in circles, nor keep the
//! replicas apart once it is gone: then they know the same of revocations and of each other's relays.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use meetpoint::credentials::{Advertised, UnixTime, UriTransport};
use meetpoint::fleet::{Announced, Config, Fleet, FleetTopic, Load, Output};
use meetpoint::signaling::NodeId;
use meetpoint::turn::{Now, Revocations, Revoked};

use super::dialect_ops::Input;

const REPLICAS: usize = 3;
const OTHERS: usize = 4;
const NAMES: [&str; 5] = ["alice", "bob", "1700000900:alice", "carol@acme", "session"];
/// What waits for one replica, after which the oldest is lost.
const MOST_QUEUED: usize = 256;
/// What one call may put out: an answer to each of the questions in one heartbeat, a heartbeat and a question.
const MOST_OUTPUTS: usize = meetpoint::fleet::ANSWERS as usize + 16;
const LISTENER: Advertised = Advertised { transport: UriTransport::Udp, secure: false, port: 3478 };

struct Replica {
    fleet: Fleet,
    revocations: Revocations,
    id: NodeId,
    linked: bool,
    queue: VecDeque<Vec<u8>>,
}

struct World {
    replicas: Vec<Replica>,
    now: Now,
    /// Of 256 messages.
    lost: usize,
    random: u64,
    published: VecDeque<Vec<u8>>,
}

pub(crate) fn run(data: &[u8]) {
    let mut input = Input(data);
    let now = Now { instant: Instant::now(), unix: UnixTime(1_700_000_000) };
    let mut world = World {
        replicas: (0..REPLICAS).map(|at| replica(at as u8)).collect(),
        now,
        lost: 0,
        random: 0x9E37_79B9_7F4A_7C15 ^ data.len() as u64,
        published: VecDeque::new(),
    };
    for at in 0..REPLICAS {
        world.link(at);
    }
    while !input.0.is_empty() {
        world.operate(&mut input);
    }
    world.come_to_rest();
}

fn replica(at: u8) -> Replica {
    let id = NodeId::new([b'n', b'o', b'd', b'e', at, 0, 0, 1]);
    let hosts = vec![format!("turn{at}.example.org").parse().expect("a host")];
    let config = Config { nodes: OTHERS, hosts, weight: u16::from(at) + 1, ..Config::new(id) };
    let revocations = Revocations::default();
    let mut fleet = Fleet::new(config, revocations.clone());
    fleet.open(&[LISTENER], "0");
    Replica { fleet, revocations, id, linked: false, queue: VecDeque::new() }
}

impl World {
    fn operate(&mut self, input: &mut Input<'_>) {
        let (operation, at) = (input.byte(), input.byte() % REPLICAS);
        match operation {
            0..40 => self.advance(input.byte() as u64 * 40),
            40..90 => self.deliver(at, input.byte() % 8),
            90..110 => (0..REPLICAS).for_each(|at| self.deliver(at, MOST_QUEUED)),
            110..150 => self.revoke(at, input),
            150..160 => self.lift(at, input),
            160..168 => self.lost = [0, 32, 255][input.byte() % 3],
            168..176 if self.replicas[at].linked => self.unlink(at),
            168..176 => self.link(at),
            176..184 => {
                let load = Load {
                    allocations: input.byte() as u64,
                    most_allocations: input.byte() as u64,
                    ..Load::default()
                };
                self.with(at, |fleet, _| fleet.set_load(load));
            }
            184 => self.with(at, |fleet, _| fleet.drain()),
            _ => self.inject(at, input),
        }
    }

    fn revoke(&mut self, at: usize, input: &mut Input<'_>) {
        let until = UnixTime(self.now.unix.0 + 60 * input.byte() as u64);
        let change = self.replicas[at].revocations.insert(self.now.unix, who(input), until);
        if let Ok(change) = change {
            self.with(at, |fleet, _| fleet.tell(&change));
        }
    }

    fn lift(&mut self, at: usize, input: &mut Input<'_>) {
        if let Some(change) = self.replicas[at].revocations.lift(self.now.unix, &who(input)) {
            self.with(at, |fleet, _| fleet.tell(&change));
        }
    }

    /// Something that was said, changed a little, or bytes as they are.
    fn inject(&mut self, at: usize, input: &mut Input<'_>) {
        let choice = input.byte();
        let mut bytes = match self.published.get(choice / 2 % self.published.len().max(1)) {
            Some(known) if choice & 1 == 0 => known.clone(),
            _ => {
                let len = input.byte().min(input.0.len());
                let (made_up, rest) = input.0.split_at(len);
                input.0 = rest;
                // Signed by nobody, of this version, of some kind.
                [&[0, 2, choice as u8 / 2 % 6][..], made_up].concat()
            }
        };
        for _ in 0..input.byte() % 4 {
            let (kind, place) = (input.byte() % 5, input.byte() % bytes.len().max(1));
            match kind {
                0 => bytes.truncate(place),
                1 => bytes.iter_mut().skip(place).take(8).for_each(|byte| *byte = 0xFF),
                // Another sender: one that never was, or one of these.
                2 => bytes.iter_mut().skip(7).take(1).for_each(|byte| *byte = place as u8 % 16),
                _ => {
                    let mask = input.byte() as u8;
                    bytes.iter_mut().skip(place).take(1).for_each(|byte| *byte ^= mask);
                }
            }
        }
        self.with(at, |fleet, now| fleet.handle_remote(now, &bytes));
    }

    fn link(&mut self, at: usize) {
        self.replicas[at].linked = true;
        self.with(at, Fleet::bus_connected);
    }

    fn unlink(&mut self, at: usize) {
        self.replicas[at].linked = false;
        self.replicas[at].queue.clear();
        self.with(at, |fleet, _| fleet.bus_lost());
    }

    fn deliver(&mut self, at: usize, most: usize) {
        for _ in 0..most {
            let Some(message) = self.replicas[at].queue.pop_front() else { return };
            self.with(at, |fleet, now| fleet.handle_remote(now, &message));
        }
    }

    fn advance(&mut self, milliseconds: u64) {
        let before = self.now.instant;
        self.now.instant += Duration::from_millis(milliseconds);
        // As the clock of the wall goes: whole seconds of what has passed.
        let passed = self.now.instant.duration_since(before);
        self.now.unix = UnixTime(self.now.unix.0 + passed.as_secs());
        for at in 0..REPLICAS {
            self.with(at, Fleet::handle_timeout);
            let due = self.replicas[at].fleet.poll_timeout();
            assert!(due.is_none_or(|due| due > self.now.instant), "what is due is not done");
        }
    }

    /// Calls a replica, and carries what it says.
    fn with(&mut self, at: usize, call: impl FnOnce(&mut Fleet, Now)) {
        call(&mut self.replicas[at].fleet, self.now);
        let mut outputs = 0;
        while let Some(output) = self.replicas[at].fleet.poll_output() {
            outputs += 1;
            assert!(outputs <= MOST_OUTPUTS, "one call puts out more than {MOST_OUTPUTS}");
            if let Output::Publish { topic, payload } = output {
                assert!(self.replicas[at].linked, "nothing is said to nobody");
                self.publish(topic, &payload);
            }
        }
        assert!(self.replicas[at].fleet.stats().nodes <= OTHERS as u64);
    }

    fn publish(&mut self, topic: FleetTopic, payload: &[u8]) {
        if self.published.len() == 16 {
            self.published.pop_front();
        }
        self.published.push_back(payload.to_vec());
        for replica in &mut self.replicas {
            self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let is_lost = (self.random >> 56) < self.lost as u64;
            let is_for = match topic {
                FleetTopic::Everybody => true,
                FleetTopic::Node(node) => node == replica.id,
            };
            if is_for && replica.linked && !is_lost {
                if replica.queue.len() == MOST_QUEUED {
                    replica.queue.pop_front();
                }
                replica.queue.push_back(payload.to_vec());
            }
        }
    }

    /// Nobody makes anything up any more, and nothing is lost: the dead are buried, and the living agree.
    fn come_to_rest(&mut self) {
        self.lost = 0;
        for at in 0..REPLICAS {
            if !self.replicas[at].linked {
                self.link(at);
            }
        }
        for _ in 0..60 {
            self.advance(500);
            // Answers lead to questions.
            for _ in 0..4 {
                (0..REPLICAS).for_each(|at| self.deliver(at, MOST_QUEUED));
            }
        }
        let digests: Vec<_> = self.replicas.iter().map(|one| one.revocations.digests(self.now.unix)).collect();
        assert!(digests.windows(2).all(|pair| pair[0] == pair[1]), "they do not agree who is turned away");
        let relays: Vec<Vec<(NodeId, Announced)>> = self.replicas.iter().map(known).collect();
        assert!(relays.windows(2).all(|pair| pair[0] == pair[1]), "{relays:?}");
        assert_eq!(relays[0].len(), REPLICAS);
    }
}

fn who(input: &mut Input<'_>) -> Revoked {
    let choice = input.byte();
    let name = NAMES[choice % NAMES.len()].into();
    match choice / NAMES.len() % 3 {
        0 => Revoked::User(name),
        1 => Revoked::Username(name),
        _ => Revoked::Session(name),
    }
}

fn known(replica: &Replica) -> Vec<(NodeId, Announced)> {
    let mut relays: Vec<_> = replica.fleet.relays().map(|(id, announced)| (id, announced.clone())).collect();
    relays.sort_by_key(|(id, _)| *id);
    relays
}
