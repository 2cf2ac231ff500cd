//! Clients whose NAT forgets them all the time, with mobility and two shards, on a network that loses, repeats and reorders: what
//! each asked for stays its own, wherever it goes, and in the end nothing is left.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use meetpoint::turn::{
    Config, Destination, Handled, Ledger, Limits, MoveEnd, RelayedAddr, Reservations, Shard, Transport,
};
use meetpoint::wire::attribute::{Lifetime, MobilityTicket, RequestedTransport, XorPeerAddress};
use meetpoint::wire::{AttributeType, Class, Message, Method};

use crate::network::{Chance, Network};
use crate::relay::{Client, Lab, Reply, addr, channel_data, config, five_tuple};

#[derive(Clone, Debug)]
enum Packet {
    ToServer { from: SocketAddr, bytes: Vec<u8> },
    ToClient { to: SocketAddr, bytes: Vec<u8> },
    FromPeer { relayed: SocketAddr, peer: SocketAddr },
}

/// A client: what it believes, and where it has been.
struct Actor {
    client: Client,
    /// The only peer that this client ever asks for.
    peer: SocketAddr,
    ticket: Option<Vec<u8>>,
    relayed: Option<SocketAddr>,
    /// Whether it has moved since it last heard from the server about its allocation.
    is_lost: bool,
    open: BTreeMap<[u8; 12], (Method, Vec<u8>)>,
}

struct World {
    shards: [Lab; 2],
    chance: Chance,
    network: Network<Packet>,
    clock: Duration,
    actors: Vec<Actor>,
    /// Whose address it is, or was.
    owners: BTreeMap<SocketAddr, usize>,
    /// Whose relayed address it was last.
    relayed: BTreeMap<SocketAddr, usize>,
    to_peers: u64,
    to_clients: u64,
    handed_over: u64,
    /// Requests with somebody else's ticket.
    thefts: BTreeSet<[u8; 12]>,
}

impl World {
    fn new(seed: u64, clients: usize) -> Self {
        let config = Config {
            mobility: true,
            limits: Limits {
                allocations_per_user: 3,
                allocations_per_client: 6,
                retransmit_cache: 16,
                ..Limits::default()
            },
            ..config()
        };
        let (ledger, reservations) = (Ledger::new(), Reservations::new());
        let lab = |index| {
            Lab::shard(
                config.clone(),
                Shard { index, count: 2 },
                ledger.clone(),
                reservations.clone(),
            )
        };
        let mut shards = [lab(0), lab(1)];
        shards[1].now = shards[0].now;
        let mut owners = BTreeMap::new();
        let actors = (0..clients)
            .map(|n| {
                let address = format!("192.0.2.{}:{}", n % 3 + 1, 4000 + n);
                owners.insert(addr(&address), n);
                Actor {
                    client: Client::with_expiry(&address, &format!("user{}", n % 5), Duration::from_secs(90_000)),
                    peer: addr(&format!("20.0.0.{}:7000", n + 1)),
                    ticket: None,
                    relayed: None,
                    is_lost: false,
                    open: BTreeMap::new(),
                }
            })
            .collect();
        Self {
            shards,
            chance: Chance::new(seed),
            network: Network::new(8, 10, Duration::from_millis(400)),
            clock: Duration::ZERO,
            actors,
            owners,
            relayed: BTreeMap::new(),
            to_peers: 0,
            to_clients: 0,
            handed_over: 0,
            thefts: BTreeSet::new(),
        }
    }

    fn run(&mut self, actions: usize) {
        for _ in 0..actions {
            self.act();
            let pause = Duration::from_millis(self.chance.below(1500));
            self.pass(pause);
        }
    }

    fn pass(&mut self, time: Duration) {
        let end = self.clock + time;
        while let Some(at) = self.network.next().filter(|at| *at <= end) {
            self.advance(at);
            if let Some(packet) = self.network.arrive() {
                self.arrive(packet);
            }
        }
        self.advance(end);
        self.check();
    }

    fn advance(&mut self, to: Duration) {
        for lab in &mut self.shards {
            lab.advance(to.saturating_sub(self.clock));
        }
        self.clock = to;
    }

    fn act(&mut self) {
        let index = self.chance.below(self.actors.len() as u64) as usize;
        let lifetime = if self.chance.one_in(12) { 0 } else { 600 };
        let actor = &mut self.actors[index];
        let peer = actor.peer;
        match self.chance.below(12) {
            0 | 1 if actor.relayed.is_none() => {
                let request = actor.client.request(Method::ALLOCATE, |builder| {
                    builder
                        .attribute(&RequestedTransport::UDP)
                        .attribute(&MobilityTicket(&[]));
                });
                self.request(index, Method::ALLOCATE, request);
            }
            2 | 3 => {
                let ticket = actor.ticket.clone().filter(|_| actor.is_lost);
                let request = actor.client.request(Method::REFRESH, |builder| {
                    builder.attribute(&Lifetime(lifetime));
                    if let Some(ticket) = &ticket {
                        builder.attribute(&MobilityTicket(ticket));
                    }
                });
                self.request(index, Method::REFRESH, request);
            }
            4 => {
                let request = actor.client.request(Method::CHANNEL_BIND, |builder| {
                    builder
                        .raw_attribute(AttributeType::CHANNEL_NUMBER, &[0x40, 0, 0, 0])
                        .attribute(&XorPeerAddress(peer));
                });
                self.request(index, Method::CHANNEL_BIND, request);
            }
            5 | 6 => self.packet_of(index, channel_data(0x4000, b"by channel")),
            7 => {
                if let Some((_, request)) = actor.open.values().next().cloned() {
                    self.packet_of(index, request);
                }
            }
            8 if self.chance.one_in(2) => self.rebind(index),
            9 => {
                // Somebody else tries the ticket of another with the credentials of its own.
                let stolen = self.actors[(index + 1) % self.actors.len()].ticket.clone();
                if let Some(stolen) = stolen
                    && self.actors[index].relayed.is_none()
                {
                    let request = self.actors[index].client.request(Method::REFRESH, |builder| {
                        builder.attribute(&MobilityTicket(&stolen));
                    });
                    self.thefts.insert(Message::parse(&request).unwrap().transaction_id().0);
                    self.packet_of(index, request);
                }
            }
            _ => {
                let known: Vec<_> = self.actors.iter().filter_map(|actor| actor.relayed).collect();
                if let Some(relayed) = self.chance.pick(&known).copied() {
                    let peer = self.actors[index].peer;
                    let packet = Packet::FromPeer { relayed, peer };
                    self.network.send(&mut self.chance, self.clock, &packet);
                }
            }
        }
    }

    /// The NAT forgets the client: another port, and sometimes another network.
    fn rebind(&mut self, index: usize) {
        let port = loop {
            let port = 10_000 + self.chance.below(50_000) as u16;
            let taken = self.owners.keys().any(|known| known.port() == port);
            if !taken {
                break port;
            }
        };
        let to = addr(&format!("192.0.2.{}:{port}", self.chance.below(3) + 1));
        self.owners.insert(to, index);
        let actor = &mut self.actors[index];
        actor.client.five_tuple = five_tuple(&to.to_string());
        actor.is_lost = actor.relayed.is_some();
        actor.open.clear();
    }

    fn request(&mut self, index: usize, method: Method, request: Vec<u8>) {
        let id = Message::parse(&request).unwrap().transaction_id().0;
        self.actors[index].open.insert(id, (method, request.clone()));
        self.packet_of(index, request);
    }

    fn packet_of(&mut self, client: usize, bytes: Vec<u8>) {
        let from = self.actors[client].client.five_tuple.client.0;
        self.network
            .send(&mut self.chance, self.clock, &Packet::ToServer { from, bytes });
    }

    fn arrive(&mut self, packet: Packet) {
        match packet {
            Packet::ToServer { from, bytes } => {
                // The kernel's choice.
                let shard = usize::from(from.port() % 2);
                let client = five_tuple(&from.to_string());
                let mut handled = self.shards[shard].client(&client, &bytes);
                if let Handled::Forward(forward) = handled
                    && let Destination::Owner { shard: owner, client } = forward.to
                {
                    self.handed_over += 1;
                    let lab = &mut self.shards[usize::from(owner)];
                    handled = lab.server.handle_handed_over(lab.now, shard as u16, &client, &bytes);
                    lab.drain();
                    lab.check();
                }
                if let Handled::Forward(forward) = handled {
                    let Destination::Peer { peer, .. } = forward.to else {
                        panic!("{:?}", forward.to)
                    };
                    self.to_peers += 1;
                    assert_eq!(
                        peer.0, self.actors[self.owners[&from]].peer,
                        "a client reaches its own peer"
                    );
                }
                for lab in &mut self.shards {
                    for (to, bytes) in std::mem::take(&mut lab.sent) {
                        let packet = Packet::ToClient { to: to.client.0, bytes };
                        self.network.send(&mut self.chance, self.clock, &packet);
                    }
                }
            }
            Packet::FromPeer { relayed, peer } => {
                for lab in &mut self.shards {
                    let Some(relay) = lab.server.relay_at(RelayedAddr(relayed)) else {
                        continue;
                    };
                    if let Handled::Forward(forward) = lab.peer(relay, peer, b"from a peer") {
                        let Destination::Client(to) = forward.to else {
                            panic!("{:?}", forward.to)
                        };
                        self.to_clients += 1;
                        let owner = self.owners[&to.client.0];
                        assert_eq!(
                            self.relayed.get(&relayed),
                            Some(&owner),
                            "to whom it belongs, wherever it is"
                        );
                        assert_eq!(self.actors[owner].peer, peer, "and from whom it asked for");
                    }
                }
            }
            Packet::ToClient { to, bytes } => self.answered(to, bytes),
        }
    }

    fn answered(&mut self, to: SocketAddr, bytes: Vec<u8>) {
        let owner = self.owners[&to];
        let actor = &mut self.actors[owner];
        if actor.client.five_tuple.client.0 != to {
            return;
        }
        let five_tuple = actor.client.five_tuple;
        let reply = Reply { to: five_tuple, bytes };
        let code = reply.code();
        if matches!(code, 401 | 438) {
            actor.client.nonce = reply.nonce();
        }
        let Some((method, _)) = actor.open.remove(&reply.message().transaction_id().0) else {
            let id = reply.message().transaction_id().0;
            assert!(
                code != 0 || !self.thefts.contains(&id),
                "nobody moves another's allocation"
            );
            return;
        };
        if matches!(code, 401 | 438) {
            return;
        }
        assert!(actor.client.signed(&reply), "{code}");
        if let Some(ticket) = reply.find::<MobilityTicket<'_>>() {
            actor.ticket = Some(ticket.0.to_vec());
        }
        match (method, code) {
            (Method::ALLOCATE, 0) => {
                actor.relayed = Some(reply.relayed());
                actor.is_lost = false;
                self.relayed.insert(reply.relayed(), owner);
            }
            (Method::REFRESH, 0) if reply.lifetime() == 0 => (actor.relayed, actor.ticket) = (None, None),
            (Method::REFRESH, 0) => actor.is_lost = false,
            // It has gone meanwhile, or nothing of it is known here.
            (Method::REFRESH, 437) => (actor.relayed, actor.ticket, actor.is_lost) = (None, None, false),
            // 400: it has not moved, as far as the server knows.
            (Method::CHANNEL_BIND, 0) | (_, 400 | 437 | 441 | 486 | 508) => {}
            other => panic!("{other:?}"),
        }
    }

    /// What must be true between any two packets.
    fn check(&self) {
        let stats = || self.shards.iter().map(|lab| lab.server.stats());
        let held: usize = self.shards.iter().map(|lab| lab.server.allocations()).sum();
        let paths: usize = self.shards.iter().map(|lab| lab.server.paths()).sum();
        assert_eq!(self.shards[0].ledger.total() as usize, held);
        assert!(held <= paths && paths <= 2 * held, "{held} {paths}");
        for stats in stats() {
            let under_way = stats.moves_begun - stats.moves_ended.iter().sum::<u64>();
            assert!(under_way <= 30, "{under_way}");
            let active: u64 = stats.allocations_active.iter().flatten().sum();
            assert_eq!(active, stats.allocations_active[0][Transport::Udp.index()]);
        }
    }

    fn end(&mut self) {
        self.pass(Duration::from_secs(3600));
        // A packet makes a shard look at what the other one wrote.
        for (lab, from) in self.shards.iter_mut().zip(["198.51.100.1:2", "198.51.100.1:3"]) {
            let mut stranger = Client::new(from);
            let binding = stranger.bare(Method::BINDING, Class::Request, |_| {});
            lab.client(&stranger.five_tuple, &binding);
        }
        for lab in &self.shards {
            lab.assert_empty();
            assert_eq!(lab.server.routes(), 0);
            let stats = lab.server.stats();
            assert_eq!(stats.moves_begun, stats.moves_ended.iter().sum::<u64>());
        }
    }
}

#[test]
fn clients_that_rebind_all_the_time_keep_what_is_theirs_and_nothing_else() {
    let mut ends = [0; MoveEnd::COUNT];
    let (mut to_peers, mut to_clients, mut handed_over) = (0, 0, 0);
    for seed in 1..=12 {
        println!("seed {seed}");
        let mut world = World::new(seed, 10);
        world.run(1500);
        world.end();
        to_peers += world.to_peers;
        to_clients += world.to_clients;
        handed_over += world.handed_over;
        for lab in &world.shards {
            for (sum, count) in ends.iter_mut().zip(lab.server.stats().moves_ended) {
                *sum += count;
            }
        }
    }
    // The run is worth something only if all of it happened.
    let ends = [MoveEnd::Used, MoveEnd::Silent, MoveEnd::Abandoned].map(|end| ends[end.index()]);
    for happened in [to_peers, to_clients, handed_over].into_iter().chain(ends) {
        assert!(happened > 10, "{to_peers} {to_clients} {handed_over} {ends:?}");
    }
}
