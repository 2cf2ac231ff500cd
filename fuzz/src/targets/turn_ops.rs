//! Any sequence of operations on a relay that already has a living allocation. No panic; every packet has one verdict; nothing
//! is relayed that was not asked for; and when everybody has left, nothing is left.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use meetpoint::credentials::{AccessToken, KeyRing, ThirdParty, TokenKey, in_realm, mint};
use meetpoint::turn::{
    AlternateServer, BindError, ConnectError, ConnectionEnd, ConnectionKey, Destination, Direction, DiscoveryPlaces,
    FiveTuple, Handled, Limits, ListenAddr, NatDiscovery, PeerRoute, RealmConfig, Redirect, RedirectWhen, RelayId, ServerAddr,
    Transport, What,
};
use meetpoint::wire::attribute::{ConnectionId, MobilityTicket, RequestedTransport, XorPeerAddress, XorRelayedAddress};
use meetpoint::wire::{AttributeType, Class, Message, MessageBuilder, Method};

#[path = "../../../tests/support/relay.rs"]
mod relay;

use relay::{BEGIN, Client, Lab, Mode, PEER, PEER_V6, RELAY_V4, RELAY_V6, SECRET, channel_data, config};

/// Most operations of one input.
const MAX_OPERATIONS: usize = 200;

/// The addresses and ports of NAT discovery; the clients' server is one of them.
const DISCOVERY: ([&str; 2], [u16; 2]) = ([RELAY_V4, "20.9.9.10"], [3478, 3479]);

fn nat_discovery() -> NatDiscovery {
    let (addrs, ports) = DISCOVERY;
    let addrs = addrs.map(|addr| ServerAddr { bind: relay::ip(addr), advertised: relay::ip(addr) });
    NatDiscovery {
        places: vec![DiscoveryPlaces { addrs, ports }],
        tcp: true,
        response_port: true,
        answers_per_second: 3,
    }
}

const TENANTS: [&str; 2] = ["acme", "globex"];
const TOKEN_SERVER: &str = "turn.example.org";

fn tenant(name: &str) -> RealmConfig {
    RealmConfig { name: name.to_owned(), keys: KeyRing::from_bytes([name]).ok(), ..RealmConfig::default() }
}

fn token_key() -> TokenKey {
    TokenKey::new("north", &[1; 32]).expect("a key of 32 bytes")
}

fn third_party() -> Arc<ThirdParty> {
    Arc::new(ThirdParty::new(TOKEN_SERVER, vec![token_key()], 5).expect("one key"))
}

/// With a credential for a tenant's user, made with any secret.
fn of_tenant(address: &str, secret: &str, tenant: &str) -> Client {
    let ring = KeyRing::from_bytes([secret]).expect("a secret");
    let hour = Duration::from_secs(3600);
    let credential = mint(&ring, BEGIN, &in_realm("bob", tenant), hour).expect("a name");
    Client::with(address, &credential.username, credential.password.as_str())
}

struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn take(&mut self) -> &'a [u8] {
        let len = usize::from(self.byte()).min(self.0.len());
        let (taken, rest) = self.0.split_at(len);
        self.0 = rest;
        taken
    }
}

struct State {
    lab: Lab,
    clients: Vec<Client>,
    relayed: Vec<SocketAddr>,
    asked: BTreeSet<IpAddr>,
    /// CONNECTION-IDs that clients were told.
    ids: Vec<ConnectionId>,
    /// Mobility tickets that clients were told, and everywhere a client has been.
    tickets: Vec<Vec<u8>>,
    places: Vec<FiveTuple>,
    /// How many tokens were made.
    tokens: u8,
}

/// Clients of datagrams; behind them come one of TCP, with an allocation of TCP, and its further connection.
const DATAGRAMS: usize = 3;
/// Behind those come one of each tenant, one with the default secret on a tenant's name, and one with an access token.
const STRANGERS: usize = DATAGRAMS + 2;
const BEARER: usize = STRANGERS + 3;

pub(crate) fn run(data: &[u8]) {
    let mut bytes = Bytes(data);
    let mut small = config();
    small.relay_ports = 50000..=50007;
    small.tcp_relay = true;
    small.mobility = true;
    small.nat_discovery = Some(nat_discovery());
    small.realms = TENANTS.map(tenant).into();
    small.third_party = Some(third_party());
    small.limits = Limits {
        allocations: 5,
        permissions_per_allocation: 3,
        channels_per_allocation: 3,
        reservations: 2,
        retransmit_cache: 2,
        connections_per_allocation: 4,
        connections: 5,
        pending_connections: 3,
        ..Limits::default()
    };
    let mut clients: Vec<_> = (1..=DATAGRAMS).map(|n| Client::new(&format!("192.0.2.{n}:4000"))).collect();
    clients[1].mode = Mode::Sha256;
    clients[2].mode = Mode::Md5;
    clients.push(Client::new("192.0.2.3:5000").over_tcp());
    clients.push(clients[DATAGRAMS].again_from("192.0.2.3:5001"));
    clients.push(of_tenant("192.0.2.6:4000", TENANTS[0], TENANTS[0]));
    clients.push(of_tenant("192.0.2.7:4000", TENANTS[1], TENANTS[1]));
    clients.push(of_tenant("192.0.2.8:4000", SECRET, TENANTS[0]));
    clients.push(Client::new("192.0.2.9:4000"));
    let mut lab = Lab::new(small);
    // Deep state from the start: everybody has a nonce, the first has an allocation of both families.
    for client in &mut clients {
        client.challenge(&mut lab);
    }
    let reply = clients[0].allocate_with(&mut lab, |builder| {
        builder.raw_attribute(AttributeType::ADDITIONAL_ADDRESS_FAMILY, &[2, 0, 0, 0]);
    });
    let mut relayed: Vec<_> =
        reply.message().find_all::<XorRelayedAddress>().filter_map(Result::ok).map(|found| found.0).collect();
    let reply = clients[DATAGRAMS].call(&mut lab, Method::ALLOCATE, |builder| {
        builder.attribute(&RequestedTransport::TCP);
        builder.raw_attribute(AttributeType::ADDITIONAL_ADDRESS_FAMILY, &[2, 0, 0, 0]);
    });
    relayed.push(reply.relayed());
    let mut state = State { lab, clients, relayed, asked: BTreeSet::new(), ids: Vec::new(), tickets: Vec::new(), places: Vec::new(), tokens: 0 };
    state.take_token(10);
    state.places.extend(state.clients.iter().map(|client| client.five_tuple));

    for _ in 0..MAX_OPERATIONS {
        if bytes.0.is_empty() {
            break;
        }
        state.step(&mut bytes);
        let stats = state.lab.server.stats();
        state.lab.check();
        assert!(state.lab.server.allocations() <= 5 && state.lab.server.paths() <= 10);
        assert!(stats.moves_ended.iter().sum::<u64>() <= stats.moves_begun);
        assert_eq!(state.lab.ledger.total() as usize, state.lab.server.allocations());
        let (connections, pending) = state.lab.ledger.connections();
        assert!(connections <= 5 && pending <= 3 && u64::from(pending) == stats.connections_pending);
        assert!(stats.permissions_active <= 15 && stats.channels_active <= 15);
        // What realms have is what there is.
        let alive = stats.allocations_created - stats.allocations_closed.iter().sum::<u64>();
        let of_realms = state.lab.server.realm_stats().iter().map(|realm| realm.allocations);
        assert_eq!(of_realms.sum::<u64>(), alive);
    }

    state.lab.hold_binds = false;
    while !state.lab.held.is_empty() {
        state.lab.report(Err(BindError::Failed));
    }
    state.lab.advance(Duration::from_secs(3600));
    state.lab.assert_empty();
    // Events tell of each allocation's beginning and end once, and of nothing in between that is not alive.
    let mut living = BTreeMap::new();
    for event in &state.lab.events {
        let id = event.about.allocation.map(|id| id.to_string());
        let realm = &event.about.realm;
        match event.what {
            What::Created { .. } => assert_eq!(living.insert(id.expect("an event of an allocation names it"), realm), None),
            What::Closed { .. } => assert_eq!(living.remove(&id.expect("an event of an allocation names it")), Some(realm)),
            _ => assert!(id.is_none_or(|id| living.get(&id) == Some(&realm))),
        }
    }
    assert!(living.is_empty());
}

impl State {
    fn step(&mut self, bytes: &mut Bytes<'_>) {
        let operation = bytes.byte();
        let who = usize::from(bytes.byte());
        let by_tcp = DATAGRAMS + who % 2;
        let who = if who < 0xC0 { who % DATAGRAMS } else { STRANGERS + who % 4 };
        // What is left of the operation's number chooses among variants.
        let variant = operation / 27;
        if who == BEARER && variant >= 6 {
            self.take_token(bytes.byte());
        }
        let peer = self.peer(bytes.byte());
        match operation % 27 {
            0 => self.lab.advance(Duration::from_millis(u64::from(bytes.byte()) * 1700)),
            1 => self.lab.sleep(Duration::from_secs(u64::from(bytes.byte()))),
            2 | 3 => {
                let method = match bytes.byte() % 5 {
                    0 => Method::ALLOCATE,
                    1 => Method::REFRESH,
                    2 => Method::CREATE_PERMISSION,
                    3 => Method::CHANNEL_BIND,
                    _ => Method::BINDING,
                };
                // Signed by somebody who knows the password: anything may stand before the seal.
                let request = self.clients[who].request(method, |builder| attributes(builder, bytes));
                self.deliver(who, &request);
            }
            4 => {
                let request = self.clients[who].request(Method::ALLOCATE, |builder| {
                    builder.attribute(&RequestedTransport::UDP);
                    attributes(builder, bytes);
                });
                self.deliver(who, &request);
                self.deliver(who, &request);
            }
            5 => {
                let request = self.clients[who].request(Method::CREATE_PERMISSION, |builder| {
                    builder.attribute(&XorPeerAddress(peer));
                    attributes(builder, bytes);
                });
                self.deliver(who, &request);
            }
            6 => {
                let number = bytes.byte() % 4;
                let request = self.clients[who].request(Method::CHANNEL_BIND, |builder| {
                    builder.raw_attribute(AttributeType::CHANNEL_NUMBER, &[0x40, number, 0, 0]);
                    builder.attribute(&XorPeerAddress(peer));
                });
                self.deliver(who, &request);
            }
            7 => {
                let number = 0x4000 + u16::from(bytes.byte() % 4);
                let datagram = channel_data(number, bytes.take());
                self.deliver(who, &datagram);
            }
            8 => {
                let indication = self.clients[who].bare(Method::SEND, Class::Indication, |builder| {
                    builder.attribute(&XorPeerAddress(peer)).raw_attribute(AttributeType::DATA, bytes.take());
                    attributes(builder, bytes);
                });
                self.deliver(who, &indication);
            }
            9 => {
                let relay = RelayId(u32::from(bytes.byte() % 12));
                let datagram = bytes.take();
                let handled = self.lab.peer(relay, peer, datagram);
                self.judge(&handled, datagram.len());
            }
            10 => self.deliver(who, bytes.take()),
            11 => {
                let five_tuple = self.clients[who].five_tuple;
                self.lab.gone(&five_tuple);
            }
            12 => self.lab.hold_binds = !self.lab.hold_binds,
            13 if !self.lab.held.is_empty() => self.lab.report(match bytes.byte() % 4 {
                0 => Err(BindError::InUse),
                1 => Err(BindError::Failed),
                2 => Err(BindError::NotReserved),
                _ => Ok(()),
            }),
            16 | 17 => {
                let request = self.clients[by_tcp].request(Method::CONNECT, |builder| {
                    builder.attribute(&XorPeerAddress(peer));
                    attributes(builder, bytes);
                });
                self.deliver(by_tcp, &request);
            }
            18 if !self.lab.connects.is_empty() => {
                let (_, relay, to, route) = self.lab.connects[0];
                assert!(self.lab.sockets.contains_key(&relay) && self.asked.contains(&to.ip()));
                assert!(![relay::ip("192.168.1.1"), relay::ip("::ffff:127.0.0.1")].contains(&to.ip()));
                let is_own = [RELAY_V4, RELAY_V6].map(relay::ip).contains(&to.ip());
                assert_eq!(is_own, route == PeerRoute::OwnRelay, "{to}");
                let answers = !bytes.byte().is_multiple_of(4);
                self.lab.connected(if answers { Ok(()) } else { Err(ConnectError) });
            }
            19 => {
                let relay = RelayId(u32::from(bytes.byte() % 12));
                let _ = self.lab.accept_at(relay, peer);
            }
            20 => {
                let known = self.ids.get(usize::from(bytes.byte()) % self.ids.len().max(1)).copied();
                let id = known.unwrap_or(ConnectionId(u32::from(bytes.byte())));
                let request = self.clients[by_tcp].request(Method::CONNECTION_BIND, |builder| {
                    builder.attribute(&id);
                    attributes(builder, bytes);
                });
                self.deliver(by_tcp, &request);
            }
            21 => {
                let keys: Vec<_> = self.lab.connections.keys().copied().collect();
                if let Some(key) = keys.get(usize::from(bytes.byte()) % keys.len().max(1)) {
                    self.lab.ended(*key, ConnectionEnd::Finished);
                }
            }
            22 => {
                let key = ConnectionKey(u32::from(bytes.byte() % 8));
                let granted = self.lab.server.grant(self.lab.now, key, Direction::ClientToPeer, 65_536);
                let used = granted / (1 + usize::from(bytes.byte()));
                self.lab.server.handle_passed(self.lab.now, key, Direction::ClientToPeer, granted, used);
            }
            23 => {
                let method = [Method::REFRESH, Method::CREATE_PERMISSION, Method::ALLOCATE][usize::from(bytes.byte() % 3)];
                let request = self.clients[by_tcp].request(method, |builder| {
                    builder.attribute(&RequestedTransport::TCP).attribute(&XorPeerAddress(peer));
                    attributes(builder, bytes);
                });
                self.deliver(by_tcp, &request);
            }
            24 => {
                let request = self.clients[who].request(Method::ALLOCATE, |builder| {
                    builder.attribute(&RequestedTransport::UDP).attribute(&MobilityTicket(&[]));
                    attributes(builder, bytes);
                });
                self.deliver(who, &request);
            }
            25 => {
                // The NAT forgets the client; or it moves to a stream.
                let choice = bytes.byte();
                let mut to = relay::five_tuple(&format!("192.0.2.{}:{}", who + 1, 4001 + u16::from(choice % 4)));
                if choice >= 0x80 {
                    to.transport = Transport::Tls;
                }
                if variant >= 5 {
                    // Or somebody else has the address now.
                    to = self.clients[usize::from(choice) % self.clients.len()].five_tuple;
                }
                self.clients[who].five_tuple = to;
                self.places.push(to);
            }
            26 => {
                let ticket = self.tickets.get(usize::from(bytes.byte()) % self.tickets.len().max(1)).cloned();
                let request = self.clients[who].request(Method::REFRESH, |builder| {
                    builder.attribute(&MobilityTicket(&ticket.unwrap_or_default()));
                    attributes(builder, bytes);
                });
                self.deliver(who, &request);
                self.deliver(who, &request);
            }
            14 => _ = self.lab.foreign.insert(50000 + u16::from(bytes.byte() % 8)),
            _ => {
                let mut changed = config();
                changed.relay_ports = 50000..=50007;
                changed.limits = Limits { allocations: 5, permissions_per_allocation: 3, ..Limits::default() };
                changed.limits.channels_per_allocation = 3;
                (changed.limits.connections, changed.limits.pending_connections) = (5, 3);
                changed.mobility = bytes.byte().is_multiple_of(2);
                changed.tcp_relay = bytes.byte().is_multiple_of(2);
                changed.nat_discovery = bytes.byte().is_multiple_of(2).then(nat_discovery);
                let mode = bytes.byte();
                changed.draining = mode % 2 == 1;
                changed.redirect = (mode & 2 != 0).then(|| Redirect {
                    when: if mode & 4 == 0 { RedirectWhen::Full } else { RedirectWhen::Always },
                    servers: vec![AlternateServer {
                        v4: (mode & 8 == 0).then(|| relay::addr("20.8.8.8:3478")),
                        v6: None,
                        domain: None,
                        weight: u16::from(mode >> 4),
                    }],
                    ..Redirect::default()
                });
                let stays = |bit: u8| variant & bit == 0;
                changed.realms = [1, 2].into_iter().zip(TENANTS).filter(|(bit, _)| stays(*bit)).map(|(_, name)| tenant(name)).collect();
                changed.third_party = stays(4).then(third_party);
                changed.offer_sha256 = bytes.byte().is_multiple_of(2);
                self.lab.server.reconfigure(Arc::new(changed));
            }
        }
        // Nonces that became stale are replaced, so that long inputs stay authenticated.
        for (to, answer) in std::mem::take(&mut self.lab.sent) {
            let message = Message::parse(&answer).expect("an answer is a message");
            let is_attempt = message.method() == Method::CONNECTION_ATTEMPT && message.class() == Class::Indication;
            assert!(is_attempt || matches!(message.class(), Class::Success | Class::Error));
            self.ids.extend(message.find::<ConnectionId>().ok().flatten());
            self.tickets.extend(message.find::<MobilityTicket<'_>>().ok().flatten().map(|ticket| ticket.0.to_vec()));
            // Wherever it leaves from, and to whatever port: it goes to the address of a client, from one of ours.
            let ListenAddr(from) = to.server;
            let (addrs, ports) = DISCOVERY;
            assert!(addrs.iter().any(|addr| relay::ip(addr) == from.ip()) && ports.contains(&from.port()));
            assert!(self.places.iter().any(|place| place.client.0.ip() == to.client.0.ip()));
            if let Ok(Some(nonce)) = message.find::<meetpoint::wire::attribute::Nonce<'_>>()
                && let Some(client) = self.clients.iter_mut().find(|client| client.five_tuple == to)
            {
                client.nonce = nonce.as_str().to_owned();
            }
            if let Ok(Some(relayed)) = message.find::<XorRelayedAddress>() {
                self.relayed.push(relayed.0);
            }
        }
    }

    /// The bearer takes another token, good for so many minutes.
    fn take_token(&mut self, minutes: u8) {
        self.tokens = self.tokens.wrapping_add(1);
        let token = AccessToken {
            mac_key: vec![self.tokens; 20].into(),
            issued: self.lab.now.unix,
            lifetime: u32::from(minutes) * 60,
        };
        let mut nonce = [0; 12];
        nonce[0] = self.tokens;
        self.clients[BEARER].bear(TOKEN_SERVER, &token_key(), nonce, &token);
    }

    fn peer(&self, choice: u8) -> SocketAddr {
        match choice % 6 {
            0 => relay::addr(PEER),
            1 => relay::addr(PEER_V6),
            2 => relay::addr("192.168.1.1:80"),
            3 => relay::addr(&format!("{RELAY_V4}:3478")),
            4 => relay::addr("[::ffff:127.0.0.1]:22"),
            _ => self.relayed[usize::from(choice) % self.relayed.len()],
        }
    }

    fn deliver(&mut self, who: usize, datagram: &[u8]) {
        if let Ok(message) = Message::parse(datagram) {
            self.asked.extend(message.find_all::<XorPeerAddress>().filter_map(Result::ok).map(|peer| peer.0.ip()));
        }
        let from = self.clients[who].five_tuple;
        let handled = self.lab.client(&from, datagram);
        self.judge(&handled, datagram.len());
    }

    fn judge(&self, handled: &Handled, len: usize) {
        let Handled::Forward(forward) = handled else { return };
        assert!(forward.payload().end <= len && forward.padding <= 3);
        match forward.to {
            Destination::Peer { relay, peer } => {
                assert!(self.lab.sockets.contains_key(&relay));
                assert!(self.asked.contains(&peer.0.ip()));
                let closed = ["192.168.1.1", "::ffff:127.0.0.1", RELAY_V4];
                assert!(!closed.iter().any(|closed| peer.0.ip() == relay::ip(closed)), "{peer:?} is closed");
            }
            Destination::Client(to) => assert!(self.places.contains(&to)),
            Destination::Sibling { .. } | Destination::Owner { .. } => unreachable!("there is one shard"),
        }
    }
}

/// Up to a dozen attributes of any type and value.
fn attributes(builder: &mut MessageBuilder<'_>, bytes: &mut Bytes<'_>) {
    for _ in 0..bytes.byte() % 12 {
        let kind = match bytes.byte() % 16 {
            0 => AttributeType::LIFETIME,
            1 => AttributeType::XOR_PEER_ADDRESS,
            2 => AttributeType::CHANNEL_NUMBER,
            3 => AttributeType::EVEN_PORT,
            4 => AttributeType::RESERVATION_TOKEN,
            5 => AttributeType::REQUESTED_ADDRESS_FAMILY,
            6 => AttributeType::ADDITIONAL_ADDRESS_FAMILY,
            7 => AttributeType::REQUESTED_TRANSPORT,
            8 => AttributeType::DONT_FRAGMENT,
            9 => AttributeType::DATA,
            10 => AttributeType::PASSWORD_ALGORITHM,
            11 => AttributeType::PASSWORD_ALGORITHMS,
            12 => AttributeType::USERNAME,
            13 => AttributeType::USERHASH,
            14 => match bytes.byte() % 3 {
                0 => AttributeType::CHANGE_REQUEST,
                1 => AttributeType::RESPONSE_PORT,
                _ => AttributeType::PADDING,
            },
            _ => AttributeType(u16::from(bytes.byte()) << 8 | u16::from(bytes.byte())),
        };
        let sealing = [AttributeType::MESSAGE_INTEGRITY, AttributeType::MESSAGE_INTEGRITY_SHA256, AttributeType::FINGERPRINT];
        let value = bytes.take();
        if !sealing.contains(&kind) {
            builder.raw_attribute(kind, &value[..value.len().min(40)]);
        }
    }
}
