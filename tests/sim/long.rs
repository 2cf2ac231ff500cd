//! Hours in the life of a relay: honest clients, hostile ones, a bad network, clocks that jump, an operator who changes things.
//!
//! `MEETPOINT_SIM_SEEDS=FROM..TO` runs other seeds than the usual ones; a failure names its seed.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use meetpoint::credentials::{DEFAULT_REALM, KeyRing};
use meetpoint::turn::{
    BindError, CloseReason, Config, DiscoveryAnswer, Filter, FiveTuple, Limits, ListenAddr, PeerFilter, QuotaKind,
    Revoked, Transport,
};
use meetpoint::wire::attribute::{
    ChangeRequest, ConnectionId, EvenPort, Lifetime, MobilityTicket, Padding, RequestedTransport, ResponsePort,
    XorPeerAddress,
};
use meetpoint::wire::{AttributeType, Class, Message, MessageBuilder, Method};

use crate::fleet::Fleet;
use crate::network::{Chance, Network};
use crate::parties::{PARTIES, PLACES, Party, USERS, nat_discovery, other_tenants, take_token, tenants, third_party};
use crate::relay::{Client, Reply, SECRET, addr, channel_data, config, five_tuple};

#[derive(Clone, Debug)]
enum Packet {
    ToServer { from: FiveTuple, bytes: Vec<u8> },
    ToClient { to: FiveTuple, bytes: Vec<u8> },
    FromPeer { relayed: SocketAddr, peer: SocketAddr },
}

/// What a data connection is asked for with: the client's half of it is a stream of its own.
#[derive(Clone, Copy)]
struct Offered {
    actor: usize,
    id: ConnectionId,
}

struct Actor {
    party: Party,
    client: Client,
    /// How long its access token is good in all.
    token_lifetime: Option<u32>,
    relayed: Vec<SocketAddr>,
    ticket: Vec<u8>,
    token: Option<[u8; 8]>,
    /// Requests without an answer yet, and how often they were asked again after a challenge.
    open: BTreeMap<[u8; 12], (Method, Vec<u8>, u8)>,
}

struct World {
    fleet: Fleet,
    chance: Chance,
    network: Network<Packet>,
    actors: Vec<Actor>,
    peers: Vec<SocketAddr>,
    /// Requests that somebody on the path has seen.
    captured: Vec<(FiveTuple, Vec<u8>)>,
    /// Connections of peers that wait for their ConnectionBind.
    offered: Vec<Offered>,
    next_port: u16,
    holds: bool,
}

const PORTS: std::ops::RangeInclusive<u16> = 50_000..=50_095;

fn limits() -> Limits {
    Limits {
        allocations_per_user: 6,
        allocations: 48,
        permissions_per_allocation: 5,
        channels_per_allocation: 4,
        reservations: 6,
        retransmit_cache: 8,
        unauthenticated_per_second: 20,
        ..Limits::default()
    }
}

fn base() -> Config {
    Config {
        relay_ports: PORTS,
        limits: limits(),
        mobility: true,
        tcp_relay: true,
        realms: tenants(),
        third_party: Some(third_party(2)),
        nat_discovery: Some(nat_discovery(true)),
        ..config()
    }
}

impl World {
    fn new(seed: u64, shards: u16) -> Self {
        let mut chance = Chance::new(seed);
        let foreign: Vec<u16> = (0..8).map(|_| PORTS.start() + chance.below(96) as u16).collect();
        let mut peers: Vec<SocketAddr> = (1..=6).map(|n| addr(&format!("20.0.0.{n}:7000"))).collect();
        peers.extend((1..=3).map(|n| addr(&format!("[2600::{n}]:7000"))));
        let mut world = Self {
            fleet: Fleet::new(base(), shards, &foreign),
            chance,
            network: Network::new(12, 12, Duration::from_millis(400)),
            actors: Vec::new(),
            peers,
            captured: Vec::new(),
            offered: Vec::new(),
            next_port: 2000,
            holds: false,
        };
        for (n, party) in PARTIES.into_iter().enumerate() {
            let mut client = party.client(n);
            client.five_tuple = world.new_address(n, n % 3 == 2);
            world.fleet.realms.push(party.realm());
            world.actors.push(Actor {
                party,
                client,
                token_lifetime: None,
                relayed: Vec::new(),
                ticket: Vec::new(),
                token: None,
                open: BTreeMap::new(),
            });
            world.take_token(n);
        }
        world
    }

    /// An address that nobody ever had.
    fn new_address(&mut self, actor: usize, stream: bool) -> FiveTuple {
        self.next_port += 1;
        let host = if actor % 5 == 4 {
            "[2600:7::7]".to_owned()
        } else {
            format!("192.0.2.{}", actor % 7 + 1)
        };
        let mut address = five_tuple(&format!("{host}:{}", self.next_port));
        if stream {
            address.transport = Transport::Tcp;
        }
        self.fleet.owners.insert(address.client.0, actor);
        address
    }

    fn run(&mut self, actions: usize) {
        for action in 0..actions {
            match self.chance.below(20) {
                0..=11 => self.act(),
                12..=16 => self.attack(),
                17 | 18 => self.peer_speaks(),
                _ => self.operate(),
            }
            // Mostly at once, now and then minutes in which things run out.
            let pause = match self.chance.below(30) {
                0 if self.chance.one_in(6) => Duration::from_secs(self.chance.below(700)),
                1 | 2 => Duration::from_secs(self.chance.below(30)),
                _ => Duration::from_millis(self.chance.below(500)),
            };
            self.pass(pause);
            if self.holds {
                let shard = self.chance.below(self.fleet.labs.len() as u64) as usize;
                self.fleet.report(shard, Ok(()));
                self.post();
            }
            if action % 4 == 0 {
                self.fleet.check();
            }
        }
    }

    fn pass(&mut self, time: Duration) {
        let end = self.fleet.clock + time;
        while let Some(at) = self.network.next().filter(|at| *at <= end) {
            self.fleet.advance(at);
            if let Some(packet) = self.network.arrive() {
                self.arrive(packet);
            }
        }
        self.fleet.advance(end);
        self.post();
    }

    fn arrive(&mut self, packet: Packet) {
        match packet {
            Packet::ToServer { from, bytes } => self.fleet.client(&from, &bytes),
            Packet::FromPeer { relayed, peer } => self.fleet.peer(relayed, peer, b"from a peer"),
            Packet::ToClient { to, bytes } => self.answered(to, bytes),
        }
        self.post();
    }

    /// Puts what the servers have sent on its way.
    fn post(&mut self) {
        for (to, bytes) in std::mem::take(&mut self.fleet.sent) {
            let clock = self.fleet.clock;
            self.network
                .send(&mut self.chance, clock, &Packet::ToClient { to, bytes });
        }
    }

    fn send(&mut self, from: FiveTuple, bytes: Vec<u8>) {
        let clock = self.fleet.clock;
        self.network
            .send(&mut self.chance, clock, &Packet::ToServer { from, bytes });
    }

    fn any_relayed(&mut self) -> Option<SocketAddr> {
        let known: Vec<_> = self
            .actors
            .iter()
            .flat_map(|actor| actor.relayed.iter().copied())
            .collect();
        self.chance.pick(&known).copied()
    }

    fn any_peer(&mut self) -> SocketAddr {
        if self.chance.one_in(3)
            && let Some(relayed) = self.any_relayed()
        {
            return relayed;
        }
        *self.chance.pick(&self.peers).unwrap()
    }

    fn request(&mut self, index: usize, method: Method, fill: impl FnOnce(&mut MessageBuilder<'_>)) {
        self.request_again(index, method, 0, fill);
    }

    fn request_again(&mut self, index: usize, method: Method, again: u8, fill: impl FnOnce(&mut MessageBuilder<'_>)) {
        let actor = &mut self.actors[index];
        let request = if actor.client.nonce.is_empty() {
            actor.client.bare(method, Class::Request, fill)
        } else {
            actor.client.request(method, fill)
        };
        let from = actor.client.five_tuple;
        let id = Message::parse(&request).unwrap().transaction_id().0;
        actor.open.insert(id, (method, request.clone(), again));
        if actor.open.len() > 40 {
            actor.open.pop_first();
        }
        self.captured.push((from, request.clone()));
        if self.captured.len() > 200 {
            self.captured.remove(0);
        }
        self.send(from, request);
    }

    /// What an honest client does, or one that is only careless.
    fn act(&mut self) {
        // Half of the time a few do most of it.
        let lively = if self.chance.one_in(2) { 4 } else { self.actors.len() };
        let index = self.chance.below(lively as u64) as usize;
        let peer = self.any_peer();
        let number = 0x4000 + self.chance.below(5) as u16;
        let from = self.actors[index].client.five_tuple;
        match self.chance.below(21) {
            19 => self.ask_about_nat(index),
            20 => self.take_token(index),
            16 => self.request(index, Method::CONNECT, |builder| {
                builder.attribute(&XorPeerAddress(peer));
            }),
            17 => self.bind_connection(),
            18 => {
                let shard = self.chance.below(self.fleet.labs.len() as u64) as usize;
                let is_there = !self.chance.one_in(4);
                self.fleet.settle_connection(shard, is_there);
                self.post();
            }
            0 if from.transport == Transport::Tcp => self.request(index, Method::ALLOCATE, |builder| {
                builder.attribute(&RequestedTransport::TCP);
            }),
            0..=2 => {
                let even = self.chance.one_in(4).then(|| self.chance.one_in(2));
                let dual = even.is_none() && self.chance.one_in(3);
                let mobile = self.chance.one_in(2);
                let token = self.actors[index].token.take_if(|_| even.is_none() && !dual);
                self.request(index, Method::ALLOCATE, |builder| {
                    builder.attribute(&RequestedTransport::UDP);
                    if let Some(reserve_next) = even {
                        builder.attribute(&EvenPort { reserve_next });
                    }
                    if dual {
                        builder.raw_attribute(AttributeType::ADDITIONAL_ADDRESS_FAMILY, &[2, 0, 0, 0]);
                    }
                    if mobile {
                        builder.attribute(&MobilityTicket(&[]));
                    }
                    if let Some(token) = token {
                        builder.raw_attribute(AttributeType::RESERVATION_TOKEN, &token);
                    }
                });
            }
            3 | 4 => {
                let lifetime = if self.chance.one_in(4) {
                    0
                } else {
                    self.chance.below(4000) as u32
                };
                let family = self.chance.one_in(4).then(|| 1 + self.chance.below(2) as u8);
                self.request(index, Method::REFRESH, |builder| {
                    builder.attribute(&Lifetime(lifetime));
                    if let Some(family) = family {
                        builder.raw_attribute(AttributeType::REQUESTED_ADDRESS_FAMILY, &[family, 0, 0, 0]);
                    }
                });
            }
            5 | 6 => self.request(index, Method::CREATE_PERMISSION, |builder| {
                builder.attribute(&XorPeerAddress(peer));
            }),
            7 | 8 => {
                let [a, b] = number.to_be_bytes();
                self.request(index, Method::CHANNEL_BIND, |builder| {
                    builder
                        .raw_attribute(AttributeType::CHANNEL_NUMBER, &[a, b, 0, 0])
                        .attribute(&XorPeerAddress(peer));
                });
            }
            9..=11 => {
                for number in 0x4000..0x4005 {
                    self.send(from, channel_data(number, b"by channel"));
                }
            }
            12 => {
                let indication = self.actors[index]
                    .client
                    .bare(Method::SEND, Class::Indication, |builder| {
                        builder
                            .attribute(&XorPeerAddress(peer))
                            .raw_attribute(AttributeType::DATA, b"by indication");
                    });
                self.send(from, indication);
            }
            13 if self.chance.one_in(2) => {
                // The NAT forgets the client, or it changes networks: on another shard perhaps.
                let stream = from.transport == Transport::Tcp;
                let address = self.new_address(index, stream);
                let actor = &mut self.actors[index];
                actor.client.five_tuple = address;
                actor.client.nonce.clear();
                actor.open.clear();
                if stream && self.chance.one_in(2) {
                    self.fleet.gone(&from);
                    self.post();
                }
                self.resume(index);
            }
            _ => self.resume(index),
        }
    }

    /// Binding, with what tells of NATs: from one of four places to another, or to another port.
    fn ask_about_nat(&mut self, index: usize) {
        let (addrs, ports) = PLACES;
        let at = self.chance.pick(&addrs).copied().unwrap();
        let port = self.chance.pick(&ports).copied().unwrap();
        let change = ChangeRequest {
            change_ip: self.chance.one_in(2),
            change_port: self.chance.one_in(2),
        };
        let which = self.chance.below(6);
        let client = &mut self.actors[index].client;
        let mut from = client.five_tuple;
        from.server = ListenAddr(addr(&format!("{at}:{port}")));
        let request = client.bare(Method::BINDING, Class::Request, |builder| {
            if which > 0 {
                builder.attribute(&change);
            }
            if which == 1 || which == 2 {
                builder.attribute(&ResponsePort(9));
            }
            if which == 2 || which == 3 {
                builder.attribute(&Padding(&[0; 64]));
            }
        });
        for _ in 0..1 + self.chance.below(6) {
            self.send(from, request.clone());
        }
    }

    /// The bearer of a token takes another one, and shows it where the one before is known.
    fn take_token(&mut self, index: usize) {
        if self.actors[index].party != Party::ByToken {
            return;
        }
        let now = self.fleet.labs[0].now.unix;
        let actor = &mut self.actors[index];
        actor.token_lifetime = Some(take_token(&mut actor.client, &mut self.chance, now));
        actor.open.clear();
        if !actor.client.nonce.is_empty() {
            self.request(index, Method::REFRESH, |builder| {
                builder.attribute(&Lifetime(3600));
            });
        }
    }

    /// A stream of its own for a connection that waits, now and then of somebody else.
    fn bind_connection(&mut self) {
        let at = self.chance.below(self.offered.len() as u64) as usize;
        if self.offered.is_empty() {
            return;
        }
        let Offered { actor, id } = self.offered.swap_remove(at);
        let who = if self.chance.one_in(6) {
            (actor + 1) % self.actors.len()
        } else {
            actor
        };
        let address = self.new_address(who, true);
        let mut half = self.actors[who].client.clone();
        half.five_tuple = address;
        // A stream loses nothing: the challenge and the request that follows it, at once.
        let bare = half.bare(Method::CONNECTION_BIND, Class::Request, |builder| {
            builder.attribute(&id);
        });
        self.fleet.client(&address, &bare);
        let challenge = self.fleet.sent.pop().map(|(to, bytes)| Reply { to, bytes });
        if let Some(challenge) = challenge.filter(|reply| reply.code() == 401) {
            half.nonce = challenge.nonce();
            let request = half.request(Method::CONNECTION_BIND, |builder| {
                builder.attribute(&id);
            });
            self.fleet.client(&address, &request);
        }
        self.post();
    }

    /// Asks for the allocation of a ticket, from wherever the client is now.
    fn resume(&mut self, index: usize) {
        let ticket = self.actors[index].ticket.clone();
        if !ticket.is_empty() {
            self.request(index, Method::REFRESH, |builder| {
                builder.attribute(&Lifetime(600)).attribute(&MobilityTicket(&ticket));
            });
        }
    }

    /// What a hostile one does.
    fn attack(&mut self) {
        let index = self.chance.below(self.actors.len() as u64) as usize;
        let other = self.chance.below(self.actors.len() as u64) as usize;
        let from = self.actors[index].client.five_tuple;
        match self.chance.below(10) {
            0 => {
                // Somebody's request again: from where it came, or from elsewhere.
                if let Some((captured, bytes)) = self.chance.pick(&self.captured).cloned() {
                    let from = if self.chance.one_in(2) { captured } else { from };
                    self.send(from, bytes);
                }
            }
            1 => {
                // A wrong password, at the address of somebody else's allocation.
                let mut forged = self.actors[other].client.clone();
                forged.password.push('x');
                forged.five_tuple = from;
                let method = *self
                    .chance
                    .pick(&[Method::REFRESH, Method::ALLOCATE, Method::CHANNEL_BIND])
                    .unwrap();
                let request = forged.request(method, |builder| {
                    builder.attribute(&RequestedTransport::UDP).attribute(&Lifetime(0));
                });
                self.send(from, request);
            }
            2 => {
                // Good credentials of one's own on the path of somebody else.
                let mut stranger = self.actors[other].client.clone();
                stranger.five_tuple = from;
                stranger.nonce.clone_from(&self.actors[index].client.nonce);
                let request = stranger.request(Method::REFRESH, |builder| {
                    builder.attribute(&Lifetime(0));
                });
                // A token of whoever has one takes the place of another, from where the client is.
                let owner = &self.actors[index];
                let is_another = owner.client.username != stranger.username || owner.party != self.actors[other].party;
                if is_another && owner.party != Party::ByToken {
                    self.send(from, request);
                }
            }
            3 => {
                let len = self.chance.below(200) as usize;
                let junk: Vec<u8> = (0..len).map(|_| self.chance.below(256) as u8).collect();
                self.send(from, junk);
            }
            4 => {
                // A request cut or bent on its way.
                if let Some((from, mut bytes)) = self.chance.pick(&self.captured).cloned() {
                    let at = self.chance.below(bytes.len() as u64) as usize;
                    if self.chance.one_in(2) {
                        bytes.truncate(at);
                    } else {
                        bytes[at] ^= 1 << self.chance.below(8);
                    }
                    self.send(from, bytes);
                }
            }
            5 => {
                let nobody = five_tuple("192.0.2.99:0");
                self.fleet.client(&nobody, &channel_data(0x4000, b"x"));
            }
            6 => {
                // More than its share, from one address and many ports.
                for port in 0..60 {
                    let from = five_tuple(&format!("192.0.2.200:{}", 100 + port));
                    let request = self.actors[index]
                        .client
                        .bare(Method::ALLOCATE, Class::Request, |builder| {
                            builder.attribute(&RequestedTransport::UDP);
                        });
                    self.fleet.client(&from, &request);
                }
                self.fleet.sent.clear();
            }
            7 => {
                // As many permissions as a request can name, and closed ones among them.
                let closed = self.chance.one_in(2);
                self.request(index, Method::CREATE_PERMISSION, |builder| {
                    for n in 1..=7 {
                        builder.attribute(&XorPeerAddress(addr(&format!("20.0.1.{n}:1"))));
                    }
                    if closed {
                        builder.attribute(&XorPeerAddress(addr("169.254.169.254:80")));
                    }
                });
            }
            8 => {
                // Peers that are closed, in any spelling.
                let closed = [
                    "127.0.0.1:1",
                    "[::ffff:10.0.0.1]:1",
                    "[64:ff9b::7f00:1]:1",
                    "20.9.9.9:3478",
                    "0.0.0.0:1",
                ];
                let peer = addr(self.chance.pick(&closed).unwrap());
                self.request(index, Method::CHANNEL_BIND, |builder| {
                    builder
                        .raw_attribute(AttributeType::CHANNEL_NUMBER, &[0x40, 4, 0, 0])
                        .attribute(&XorPeerAddress(peer));
                });
            }
            _ => {
                // Somebody else's ticket.
                let ticket = self.actors[other].ticket.clone();
                if !ticket.is_empty() && self.actors[index].client.username != self.actors[other].client.username {
                    self.request(index, Method::REFRESH, |builder| {
                        builder.attribute(&Lifetime(600)).attribute(&MobilityTicket(&ticket));
                    });
                }
            }
        }
        self.post();
    }

    /// A peer, or a stranger, sends to a relayed address it has heard of.
    fn peer_speaks(&mut self) {
        let peer = *self.chance.pick(&self.peers).unwrap();
        if let Some(relayed) = self.any_relayed() {
            if self.chance.one_in(2) {
                for peer in self.peers.clone() {
                    self.fleet.accept(relayed, peer);
                }
                self.post();
                return;
            }
            let clock = self.fleet.clock;
            let packet = Packet::FromPeer { relayed, peer };
            self.network.send(&mut self.chance, clock, &packet);
        }
    }

    /// What an operator does, and what becomes of the machine.
    fn operate(&mut self) {
        let shard = self.chance.below(self.fleet.labs.len() as u64) as usize;
        let rules = [None, Some("20.0.0.0/30"), Some("2600::/64"), Some("20.9.9.9/32")];
        let rules = rules.map(|net| net.map(|net| net.parse().unwrap()));
        match self.chance.below(10) {
            8 => {
                // Tenants go and come, and keep what they have.
                let tenants = other_tenants(&mut self.chance, &rules);
                for (tenant, denied) in &tenants {
                    self.deny(&tenant.name, *denied);
                }
                let config = Config {
                    realms: tenants.into_iter().map(|(tenant, _)| tenant).collect(),
                    ..self.fleet.config.clone()
                };
                self.fleet.reconfigure(config);
            }
            9 => {
                let known = self.chance.below(6).min(2) as usize;
                let config = Config {
                    third_party: (known > 0).then(|| third_party(known)),
                    nat_discovery: (!self.chance.one_in(4)).then(|| nat_discovery(!self.chance.one_in(4))),
                    ..self.fleet.config.clone()
                };
                self.fleet.reconfigure(config);
            }
            0 => {
                let denied = self.chance.pick(&rules).copied().flatten();
                let config = Config {
                    peers: PeerFilter::new([], denied),
                    ..self.fleet.config.clone()
                };
                self.deny(DEFAULT_REALM, denied);
                self.fleet.reconfigure(config);
            }
            1 => {
                // A drain that begins, or is thought better of.
                let config = Config {
                    draining: !self.fleet.config.draining && self.chance.one_in(3),
                    ..self.fleet.config.clone()
                };
                self.fleet.reconfigure(config);
            }
            2 => {
                let secrets = if self.chance.one_in(2) {
                    vec![SECRET]
                } else {
                    vec!["another secret", SECRET]
                };
                let config = Config {
                    keys: Some(KeyRing::from_bytes(secrets).unwrap()),
                    mobility: !self.chance.one_in(3),
                    offer_sha256: self.chance.one_in(2),
                    limits: Limits {
                        allocations_per_user: 3 + self.chance.below(4) as u32,
                        ..limits()
                    },
                    ..self.fleet.config.clone()
                };
                self.fleet.reconfigure(config);
            }
            3 => {
                let seconds = self.chance.below(4000) as i64 - 2000;
                self.fleet.jump(seconds);
            }
            4 => {
                // Sockets take their time, and some cannot be had.
                self.holds = !self.holds && self.chance.one_in(2);
                let holds = self.holds;
                for lab in &mut self.fleet.labs {
                    lab.hold_binds = holds;
                }
            }
            5 => {
                let user = *self.chance.pick(&USERS).unwrap();
                let who = Revoked::User(user.into());
                let now = self.fleet.labs[0].now.unix;
                let revocations = self.fleet.config.revocations.clone();
                if revocations.lift(now, &who).is_none() {
                    let until = meetpoint::credentials::UnixTime(now.0 + 300);
                    revocations.insert(now, who, until).unwrap();
                    let filter = Filter {
                        user: Some(user.into()),
                        ..Filter::default()
                    };
                    for shard in 0..self.fleet.labs.len() {
                        self.fleet.with(shard, |lab| {
                            let now = lab.now;
                            lab.server.end_fitting(now, &filter, 0);
                            lab.drain();
                        });
                    }
                }
            }
            6 => {
                self.fleet.with(shard, |lab| {
                    let now = lab.now;
                    let page = lab.server.page(now, &Filter::default(), 0, 1);
                    if let Some(first) = page.allocations.first() {
                        assert!(lab.server.end(now, first.id));
                        lab.drain();
                    }
                });
            }
            _ => {
                // The relay loses the network for a moment: nothing arrives.
                while self.network.arrive().is_some() {}
            }
        }
        for _ in 0..self.chance.below(4) {
            let outcomes = [Ok(()), Ok(()), Err(BindError::InUse), Err(BindError::Failed)];
            let outcome = *self.chance.pick(&outcomes).unwrap();
            self.fleet.report(shard, outcome);
        }
        self.post();
    }

    fn deny(&mut self, realm: &str, net: Option<ipnet::IpNet>) {
        match net {
            Some(net) => _ = self.fleet.denied.insert(realm.to_owned(), net),
            None => _ = self.fleet.denied.remove(realm),
        }
    }

    fn answered(&mut self, to: FiveTuple, bytes: Vec<u8>) {
        let Some(index) = self.actors.iter().position(|actor| actor.client.five_tuple == to) else {
            return;
        };
        let reply = Reply { to, bytes };
        if let Some(id) = reply.find::<ConnectionId>() {
            // Of a Connect of ours, or of a connection that a peer has opened.
            self.offered.push(Offered { actor: index, id });
        }
        if reply.message().class() == Class::Indication {
            return;
        }
        let actor = &mut self.actors[index];
        let id = reply.message().transaction_id().0;
        // A request that was bent on its way may have become another.
        if actor
            .open
            .get(&id)
            .is_none_or(|(method, ..)| *method != reply.message().method())
        {
            return;
        }
        let Some((method, request, again)) = actor.open.remove(&id) else {
            return;
        };
        match reply.code() {
            401 | 438 => {
                actor.client.nonce = reply.nonce();
                if again < 2 {
                    self.ask_again(index, method, &request, again + 1);
                }
            }
            0 => {
                assert!(actor.client.signed(&reply));
                assert!(!matches!(actor.party, Party::Intruder(..)), "{:?} got in", actor.client);
                if let (Some(most), Some(lifetime)) = (actor.token_lifetime, reply.find::<Lifetime>()) {
                    // The clock of who made it may be ahead by the skew.
                    assert!(lifetime.0 <= most + 5, "{} of {most}", lifetime.0);
                }
                if let Some(ticket) = reply.find::<MobilityTicket<'_>>() {
                    actor.ticket = ticket.0.to_vec();
                }
                match method {
                    Method::ALLOCATE => {
                        let relayed = reply
                            .message()
                            .find_all::<meetpoint::wire::attribute::XorRelayedAddress>();
                        actor.relayed = relayed.map(|found| found.unwrap().0).collect();
                        actor.token = reply.token().map(|token| token.0);
                    }
                    Method::REFRESH if reply.lifetime() == 0 => actor.relayed.clear(),
                    _ => {}
                }
            }
            _ => {}
        }
    }

    /// The same request after a challenge: all of it that is not about who asks.
    fn ask_again(&mut self, index: usize, method: Method, request: &[u8], again: u8) {
        const ABOUT_WHO: [AttributeType; 5] = [
            AttributeType::USERNAME,
            AttributeType::REALM,
            AttributeType::NONCE,
            AttributeType::ACCESS_TOKEN,
            AttributeType::MESSAGE_INTEGRITY,
        ];
        let message = Message::parse(request).unwrap();
        self.request_again(index, method, again, |builder| {
            for peer in message.find_all::<XorPeerAddress>() {
                builder.attribute(&peer.unwrap());
            }
            for attribute in message.attributes() {
                if attribute.kind != AttributeType::XOR_PEER_ADDRESS && !ABOUT_WHO.contains(&attribute.kind) {
                    builder.raw_attribute(attribute.kind, attribute.value);
                }
            }
        });
    }

    /// Everybody falls silent: in the end nothing is left.
    fn end(&mut self) {
        for lab in &mut self.fleet.labs {
            lab.hold_binds = false;
        }
        for shard in 0..self.fleet.labs.len() {
            let left = |lab: &crate::relay::Lab| lab.connects.len() + lab.connections.len();
            while left(&self.fleet.labs[shard]) > 0 {
                self.fleet.settle_connection(shard, false);
            }
            while !self.fleet.labs[shard].held.is_empty() {
                self.fleet.report(shard, Err(BindError::Failed));
            }
        }
        self.pass(Duration::from_secs(2 * 3600));
        self.fleet.assert_empty();
    }
}

/// Says which seed it was, when a run does not come to its end.
struct Named(u64, u16);

impl Drop for Named {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Self(seed, shards) = *self;
            eprintln!(
                "it was seed {seed} with {shards} shards: MEETPOINT_SIM_SEEDS={seed}..{}",
                seed + 1
            );
        }
    }
}

fn seeds() -> std::ops::Range<u64> {
    let Ok(wanted) = std::env::var("MEETPOINT_SIM_SEEDS") else {
        return 1..19;
    };
    let (from, to) = wanted.split_once("..").expect("FROM..TO");
    from.parse().unwrap()..to.parse().unwrap()
}

#[test]
fn hours_of_honest_and_hostile_clients_leave_nothing_behind() {
    let mut happened = BTreeMap::<&str, u64>::new();
    let mut virtual_time = Duration::ZERO;
    for seed in seeds() {
        let shards = 1 + (seed % 4) as u16;
        let named = Named(seed, shards);
        let mut world = World::new(seed, shards);
        world.run(4000);
        world.end();
        drop(named);
        virtual_time += world.fleet.clock;
        let mut add = |what, count| *happened.entry(what).or_default() += count;
        add("to peers", world.fleet.seen.to_peers);
        add("to clients", world.fleet.seen.to_clients);
        add("by a sibling", world.fleet.seen.by_sibling);
        add("by an owner", world.fleet.seen.by_owner);
        add("connects", world.fleet.seen.connects);
        add("accepted", world.fleet.seen.accepted);
        add("asked about a NAT", world.fleet.seen.asked_about_nat);
        add("answered from elsewhere", world.fleet.seen.answered_from_elsewhere);
        add("answered at another port", world.fleet.seen.answered_at_another_port);
        let told = &world.fleet.history.seen;
        add("events", told.events);
        add("in tenants", told.in_tenants);
        add("by token", told.by_token);
        add("renewed by another token", told.renewed);
        add("places given away", told.places_given_away);
        for lab in &world.fleet.labs {
            let stats = lab.server.stats();
            add("retransmitted", stats.retransmits);
            add("reserved", stats.reservations_created);
            add("unclaimed", stats.reservations_expired);
            add("moved", stats.moves_begun);
            add("revoked channels", stats.channels_revoked);
            add("revoked permissions", stats.permissions_revoked);
            add("expired", stats.allocations_closed[CloseReason::Expired.index()]);
            add(
                "ended by an operator",
                stats.allocations_closed[CloseReason::Operator.index()],
            );
            add("gone", stats.allocations_closed[CloseReason::ClientGone.index()]);
            add("denied", stats.denied_peers.iter().sum());
            add("connected", stats.connections_opened.iter().sum());
            add("at a bound", stats.quota_hits.iter().sum());
            add("at the bound of a tenant", stats.quota_hits[QuotaKind::Realm.index()]);
            add("over a rate", stats.over_rate.iter().flatten().sum());
            add("short answer", stats.discovery_answers[DiscoveryAnswer::Short.index()]);
            add("not authenticated", stats.auth_failures.iter().sum());
        }
    }
    // The runs are worth something only if all of it happened.
    println!("{virtual_time:?} {happened:?}");
    if std::env::var_os("MEETPOINT_SIM_SEEDS").is_none() {
        assert!(happened.values().all(|count| *count >= 5), "{happened:?}");
        assert!(virtual_time > Duration::from_secs(24 * 3600), "{virtual_time:?}");
    }
}
