//! Clients allocate, permit, bind, send, move behind their NAT and vanish; peers answer and strangers knock. A model beside the
//! server keeps what it was told, and says of each packet whether it may pass.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use meetpoint::turn::{Destination, Handled, Limits, Verdict, What};
use meetpoint::wire::attribute::{EvenPort, Lifetime, RequestedTransport, XorPeerAddress};
use meetpoint::wire::{AttributeType, Class, Message, Method};

use crate::network::{Chance, Network};
use crate::relay::{Client, Lab, Reply, addr, channel_data, config, five_tuple};

#[derive(Clone, Debug)]
enum Packet {
    ToServer { from: SocketAddr, bytes: Vec<u8> },
    ToClient { to: SocketAddr, bytes: Vec<u8> },
    FromPeer { relayed: SocketAddr, peer: SocketAddr },
}

/// What a client believes, and what it asked for.
struct Actor {
    client: Client,
    relayed: Option<SocketAddr>,
    /// Requests without an answer yet, to be sent again.
    open: BTreeMap<[u8; 12], (Method, Vec<u8>)>,
}

struct World {
    lab: Lab,
    chance: Chance,
    network: Network<Packet>,
    clock: Duration,
    actors: Vec<Actor>,
    peers: Vec<SocketAddr>,
    /// Every address that the client at this address ever asked a permission for, in requests that reached the server.
    asked: BTreeMap<SocketAddr, BTreeSet<IpAddr>>,
    relayed_to_peers: u64,
    relayed_to_clients: u64,
    /// Allocations that were told of as created and not yet as closed.
    living: HashSet<String>,
    /// By the events so far: created, closed, payload in both directions.
    told: Told,
}

#[derive(Default)]
struct Told {
    created: u64,
    closed: u64,
    denied: u64,
    payload: u64,
}

impl World {
    fn new(seed: u64, clients: usize) -> Self {
        let mut small = config();
        small.relay_ports = 50000..=50063;
        small.limits = Limits {
            allocations_per_user: 5,
            allocations: 40,
            permissions_per_allocation: 4,
            channels_per_allocation: 3,
            reservations: 4,
            retransmit_cache: 8,
            ..Limits::default()
        };
        let mut lab = Lab::new(small);
        let mut chance = Chance::new(seed);
        lab.foreign = (0..8).map(|_| 50000 + chance.below(64) as u16).collect();
        let users = ["ann", "ben", "eve", "joe", "kim", "lea", "max", "sue"];
        let actors = (0..clients)
            .map(|n| {
                let address = format!("192.0.2.{}:{}", n % 7 + 1, 4000 + n);
                let client = Client::with_expiry(&address, users[n % users.len()], Duration::from_secs(7200));
                Actor {
                    client,
                    relayed: None,
                    open: BTreeMap::new(),
                }
            })
            .collect();
        Self {
            lab,
            chance,
            network: Network::new(10, 12, Duration::from_millis(400)),
            clock: Duration::ZERO,
            actors,
            peers: (1..=6).map(|n| addr(&format!("20.0.0.{n}:7000"))).collect(),
            asked: BTreeMap::new(),
            relayed_to_peers: 0,
            relayed_to_clients: 0,
            living: HashSet::new(),
            told: Told::default(),
        }
    }

    fn run(&mut self, actions: usize) {
        for _ in 0..actions {
            self.act();
            let pause = Duration::from_millis(self.chance.below(3000));
            self.pass(pause);
        }
    }

    /// Lets time pass, with the packets that arrive in it.
    fn pass(&mut self, time: Duration) {
        let end = self.clock + time;
        while let Some(at) = self.network.next().filter(|at| *at <= end) {
            self.lab.advance(at.saturating_sub(self.clock));
            self.clock = at;
            if let Some(packet) = self.network.arrive() {
                self.arrive(packet);
            }
        }
        self.lab.advance(end - self.clock);
        self.clock = end;
        self.check();
    }

    fn act(&mut self) {
        let index = self.chance.below(self.actors.len() as u64) as usize;
        let peer = self.any_peer();
        let actor = &mut self.actors[index];
        let number = 0x4000 + self.chance.below(4) as u16;
        match self.chance.below(14) {
            0 if actor.client.nonce.is_empty() => {
                let request = actor.client.bare(Method::ALLOCATE, Class::Request, |builder| {
                    builder.attribute(&RequestedTransport::UDP);
                });
                self.request(index, Method::ALLOCATE, request);
            }
            0..=2 => {
                let even = self.chance.one_in(4).then(|| self.chance.one_in(2));
                let request = actor.client.request(Method::ALLOCATE, |builder| {
                    builder.attribute(&RequestedTransport::UDP);
                    if let Some(reserve_next) = even {
                        builder.attribute(&EvenPort { reserve_next });
                    }
                });
                self.request(index, Method::ALLOCATE, request);
            }
            3 | 4 => {
                let lifetime = if self.chance.one_in(3) {
                    0
                } else {
                    self.chance.below(4000) as u32
                };
                let request = actor.client.request(Method::REFRESH, |builder| {
                    builder.attribute(&Lifetime(lifetime));
                });
                self.request(index, Method::REFRESH, request);
            }
            5 | 6 => {
                let request = actor.client.request(Method::CREATE_PERMISSION, |builder| {
                    builder.attribute(&XorPeerAddress(peer));
                });
                self.request(index, Method::CREATE_PERMISSION, request);
            }
            7 | 8 => {
                let [a, b] = number.to_be_bytes();
                let request = actor.client.request(Method::CHANNEL_BIND, |builder| {
                    builder
                        .raw_attribute(AttributeType::CHANNEL_NUMBER, &[a, b, 0, 0])
                        .attribute(&XorPeerAddress(peer));
                });
                self.request(index, Method::CHANNEL_BIND, request);
            }
            9 => self.packet_of(index, channel_data(number, b"by channel")),
            10 => {
                let indication = actor.client.bare(Method::SEND, Class::Indication, |builder| {
                    builder
                        .attribute(&XorPeerAddress(peer))
                        .raw_attribute(AttributeType::DATA, b"by indication");
                });
                self.packet_of(index, indication);
            }
            11 => {
                // A retransmission.
                let again = actor.open.values().next().cloned();
                if let Some((_, request)) = again {
                    self.packet_of(index, request);
                }
            }
            12 if self.chance.one_in(6) => {
                // The NAT forgets the client: a new port, and nobody knows it there.
                let port = 20_000 + self.chance.below(30_000) as u16;
                let actor = &mut self.actors[index];
                let old = actor.client.five_tuple.client.0;
                actor.client.five_tuple = five_tuple(&SocketAddr::new(old.ip(), port).to_string());
                actor.relayed = None;
                actor.open.clear();
            }
            _ => {
                // A peer, or a stranger, sends to a relayed address it has heard of.
                let known: Vec<_> = self.actors.iter().filter_map(|actor| actor.relayed).collect();
                let peer = *self.chance.pick(&self.peers).unwrap();
                if let Some(relayed) = self.chance.pick(&known).copied() {
                    let packet = Packet::FromPeer { relayed, peer };
                    self.network.send(&mut self.chance, self.clock, &packet);
                }
            }
        }
    }

    /// A peer, or another client's relayed address.
    fn any_peer(&mut self) -> SocketAddr {
        let relayed: Vec<_> = self.actors.iter().filter_map(|actor| actor.relayed).collect();
        if self.chance.one_in(3)
            && let Some(relayed) = self.chance.pick(&relayed)
        {
            return *relayed;
        }
        *self.chance.pick(&self.peers).unwrap()
    }

    fn request(&mut self, index: usize, method: Method, request: Vec<u8>) {
        let id = Message::parse(&request).unwrap().transaction_id().0;
        self.actors[index].open.insert(id, (method, request.clone()));
        self.packet_of(index, request);
    }

    fn packet_of(&mut self, client: usize, bytes: Vec<u8>) {
        let from = self.actors[client].client.five_tuple.client.0;
        let packet = Packet::ToServer { from, bytes };
        self.network.send(&mut self.chance, self.clock, &packet);
    }

    fn arrive(&mut self, packet: Packet) {
        match packet {
            Packet::ToServer { from, bytes } => {
                if let Ok(message) = Message::parse(&bytes)
                    && message.class() == Class::Request
                {
                    for peer in message.find_all::<XorPeerAddress>() {
                        self.asked.entry(from).or_default().insert(peer.unwrap().0.ip());
                    }
                }
                let handled = self.lab.client(&five_tuple(&from.to_string()), &bytes);
                self.judge(Some(from), None, &handled);
                for (to, bytes) in std::mem::take(&mut self.lab.sent) {
                    let packet = Packet::ToClient { to: to.client.0, bytes };
                    self.network.send(&mut self.chance, self.clock, &packet);
                }
            }
            Packet::FromPeer { relayed, peer } => {
                let Some(relay) = self.lab.server.relay_at(meetpoint::turn::RelayedAddr(relayed)) else {
                    return;
                };
                let handled = self.lab.peer(relay, peer, b"from a peer");
                self.judge(None, Some(peer), &handled);
            }
            Packet::ToClient { to, bytes } => self.answered(to, bytes),
        }
    }

    /// No data without a permission that its client asked for.
    fn judge(&mut self, from: Option<SocketAddr>, peer: Option<SocketAddr>, handled: &Handled) {
        let Handled::Forward(forward) = handled else {
            assert_ne!(handled.verdict(), Verdict::Relayed);
            return;
        };
        match forward.to {
            Destination::Peer { relay, peer } => {
                self.relayed_to_peers += 1;
                let asked = self
                    .asked
                    .get(&from.expect("only clients reach peers"))
                    .expect("it asked for something");
                assert!(asked.contains(&peer.0.ip()), "{peer:?} was never asked for");
                assert!(self.lab.sockets.contains_key(&relay));
            }
            Destination::Client(to) => {
                self.relayed_to_clients += 1;
                let asked = self.asked.get(&to.client.0).expect("the receiver asked for something");
                // A hairpinned packet comes from our own relayed address.
                let source = peer.map_or_else(|| crate::relay::ip(crate::relay::RELAY_V4), |peer| peer.ip());
                assert!(asked.contains(&source), "{source} was never asked for by {to:?}");
            }
            Destination::Sibling { .. } | Destination::Owner { .. } => unreachable!("there is one shard"),
        }
    }

    fn answered(&mut self, to: SocketAddr, bytes: Vec<u8>) {
        let Some(actor) = self
            .actors
            .iter_mut()
            .find(|actor| actor.client.five_tuple.client.0 == to)
        else {
            return;
        };
        let reply = Reply {
            to: actor.client.five_tuple,
            bytes,
        };
        let Some((method, _)) = actor.open.remove(&reply.message().transaction_id().0) else {
            return;
        };
        match reply.code() {
            401 | 438 => actor.client.nonce = reply.nonce(),
            0 => {
                assert!(actor.client.signed(&reply));
                match method {
                    Method::ALLOCATE => actor.relayed = Some(reply.relayed()),
                    Method::REFRESH if reply.lifetime() == 0 => actor.relayed = None,
                    _ => {}
                }
            }
            403 | 437 | 443 | 486 | 508 | 400 => assert!(actor.client.signed(&reply)),
            other => panic!("{other} to {method:?}"),
        }
    }

    /// Events tell the same story: each allocation begins, is heard of, and ends once.
    fn listen(&mut self) {
        for event in std::mem::take(&mut self.lab.events) {
            let id = event.about.allocation.map(|id| id.to_string());
            match event.what {
                What::Created { .. } => {
                    self.told.created += 1;
                    assert!(self.living.insert(id.unwrap()), "created twice");
                }
                What::Closed { to_peer, to_client, .. } => {
                    self.told.closed += 1;
                    self.told.payload += to_peer.bytes + to_client.bytes;
                    assert!(self.living.remove(&id.unwrap()), "closed without having been created");
                }
                What::Denied { count, .. } => {
                    self.told.denied += count;
                    assert!(self.living.contains(&id.unwrap()));
                }
                What::Refreshed { .. } | What::Moved { .. } => assert!(self.living.contains(&id.unwrap())),
                What::Limited { .. } | What::AuthFailed { .. } => {
                    assert!(id.is_none_or(|id| self.living.contains(&id)));
                }
            }
        }
        assert_eq!(
            self.living.len(),
            self.lab.server.allocations() - self.lab.server.stats().pending as usize
        );
    }

    /// What must be true between any two packets.
    fn check(&mut self) {
        self.listen();
        self.lab.check();
        let stats = self.lab.server.stats();
        let active: u64 = stats.allocations_active.iter().flatten().sum();
        assert_eq!(self.lab.ledger.total() as usize, self.lab.server.allocations());
        assert_eq!(active as usize, self.lab.sockets.len());
        assert_eq!(self.lab.reservations.len(), self.lab.parked.len());
        assert_eq!(
            stats.allocations_created - stats.allocations_closed.iter().sum::<u64>(),
            active
        );
        assert!(self.lab.server.allocations() <= 40);
        assert!(stats.permissions_active <= 4 * active && stats.channels_active <= 3 * active);
    }

    /// Everybody falls silent: in the end nothing is left.
    fn end(&mut self) {
        self.pass(Duration::from_secs(3600));
        self.lab.assert_empty();
        let stats = self.lab.server.stats();
        assert_eq!(stats.allocations_created, stats.allocations_closed.iter().sum::<u64>());
        assert_eq!(
            (self.told.created, self.told.closed),
            (stats.allocations_created, stats.allocations_created)
        );
        assert_eq!(self.told.denied, stats.denied_peers.iter().sum::<u64>());
        assert_eq!(stats.events_dropped, 0);
        let relayed: u64 = stats.traffic.iter().flatten().map(|traffic| traffic.bytes).sum();
        assert_eq!(
            self.told.payload, relayed,
            "what was relayed is in the ends of the allocations"
        );
        assert_eq!(self.lab.server.poll_timeout(), None, "nothing is waited for");
    }
}

#[test]
fn a_crowd_on_a_bad_network_breaks_no_promise() {
    let (mut to_peers, mut to_clients, mut hairpins, mut retransmits, mut reservations) = (0, 0, 0, 0, 0);
    for seed in 1..=24 {
        println!("seed {seed}");
        let mut world = World::new(seed, 12);
        world.run(900);
        world.end();
        to_peers += world.relayed_to_peers;
        to_clients += world.relayed_to_clients;
        let stats = world.lab.server.stats();
        hairpins += stats.hairpin.packets;
        retransmits += stats.retransmits;
        reservations += stats.reservations_created;
    }
    // The run is worth something only if all of it happened.
    for happened in [to_peers, to_clients, hairpins, retransmits, reservations] {
        assert!(
            happened > 20,
            "{to_peers} {to_clients} {hairpins} {retransmits} {reservations}"
        );
    }
}

#[test]
fn a_full_house_refuses_and_recovers() {
    let mut world = World::new(7, 60);
    world.network = Network::new(1_000_000, 3, Duration::from_millis(20));
    world.run(3000);
    let stats = world.lab.server.stats();
    assert!(stats.quota_hits.iter().sum::<u64>() > 0, "{stats:?}");
    world.end();
}

#[test]
fn the_same_seed_is_the_same_run() {
    let run = |seed| {
        let mut world = World::new(seed, 8);
        world.run(300);
        let stats = world.lab.server.stats();
        (stats.relayed, stats.answered, stats.allocations_created)
    };
    assert_eq!(run(3), run(3));
}
