//! A relay core with a driver made of tables, and clients that speak to it: time, sockets and loss are the test's.

#![allow(dead_code, clippy::allow_attributes, reason = "each test binary uses its part")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends at its first surprise"
)]

use std::collections::{BTreeMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use meetpoint::credentials::{self, AccessToken, KeyRing, TokenKey, UnixTime};
use meetpoint::turn::{
    BindError, ClientAddr, Config, ConnectError, ConnectionEnd, ConnectionKey, Destination, Event, FiveTuple, Forward,
    Handled, Ledger, ListenAddr, NonceKey, Now, Output, PeerAddr, PeerRoute, RelayAddr, RelayId, RelaySocket,
    RelayedAddr, ReservationToken, Reservations, Server, Shard, StaticUser, Transport,
};
use meetpoint::wire::attribute::{
    ErrorCodeAttribute, Lifetime, Nonce, PasswordAlgorithm, PasswordAlgorithms, Realm, RequestedTransport, Userhash,
    Username, XorMappedAddress, XorPeerAddress, XorRelayedAddress,
};
use meetpoint::wire::{
    Attribute, AttributeType, ChannelData, ChannelNumber, Class, IntegrityKey, IntegrityKind, Message, MessageBuilder,
    Method, TransactionId, userhash,
};

pub(crate) const REALM: &str = "meetpoint";
pub(crate) const SECRET: &str = "north-north-west";
pub(crate) const STATIC_USER: &str = "alice";
pub(crate) const STATIC_PASSWORD: &str = "wonderland";
pub(crate) const BEGIN: UnixTime = UnixTime(1_800_000_000);
pub(crate) const RELAY_V4: &str = "20.9.9.9";
pub(crate) const RELAY_V6: &str = "2600:9::9";
pub(crate) const PEER: &str = "20.0.0.1:7000";
pub(crate) const PEER_V6: &str = "[2600::1]:7000";
pub(crate) const SERVER: &str = "20.9.9.9:3478";

/// Both families, advertised other than bound, one secret and one static user.
pub(crate) fn config() -> Config {
    Config {
        keys: Some(KeyRing::from_bytes([SECRET]).unwrap()),
        static_users: vec![StaticUser::new(STATIC_USER, STATIC_PASSWORD)],
        nonce_key: Some(NonceKey::new([7; 32])),
        relay_addrs: vec![
            RelayAddr {
                bind: "10.0.0.5".parse().unwrap(),
                advertised: RELAY_V4.parse().unwrap(),
            },
            RelayAddr {
                bind: "fd00::5".parse().unwrap(),
                advertised: RELAY_V6.parse().unwrap(),
            },
        ],
        events: true,
        ..Config::default()
    }
}

pub(crate) fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

pub(crate) fn five_tuple(client: &str) -> FiveTuple {
    FiveTuple {
        transport: Transport::Udp,
        client: ClientAddr(addr(client)),
        server: ListenAddr(addr(SERVER)),
    }
}

/// One shard and its driver.
pub(crate) struct Lab {
    pub(crate) server: Server,
    pub(crate) now: Now,
    pub(crate) ledger: Ledger,
    pub(crate) reservations: Reservations,
    /// Sockets by relay.
    pub(crate) sockets: BTreeMap<RelayId, SocketAddr>,
    /// Reserved sockets.
    pub(crate) parked: Vec<(ReservationToken, SocketAddr)>,
    /// What went to clients since it was last taken.
    pub(crate) sent: Vec<(FiveTuple, Vec<u8>)>,
    /// Ports that other programs hold.
    pub(crate) foreign: HashSet<u16>,
    /// Do not report binds; keep them in `held`.
    pub(crate) hold_binds: bool,
    pub(crate) held: Vec<(RelayId, SocketAddr, RelaySocket)>,
    /// Binds asked for so far.
    pub(crate) binds: usize,
    /// Connections to peers that were asked for and not reported, oldest first.
    pub(crate) connects: Vec<(ConnectionKey, RelayId, SocketAddr, PeerRoute)>,
    /// Connections of peers that are there, and the client's stream that each is joined with.
    pub(crate) connections: BTreeMap<ConnectionKey, Option<FiveTuple>>,
    /// The connection that is being reported: the server may close it first, when its time is up as well.
    reported: Option<ConnectionKey>,
    /// What was noted since it was last taken.
    pub(crate) events: Vec<Event>,
}

impl Lab {
    pub(crate) fn new(config: Config) -> Self {
        Self::shard(config, Shard::SINGLE, Ledger::new(), Reservations::new())
    }

    pub(crate) fn shard(config: Config, shard: Shard, ledger: Ledger, reservations: Reservations) -> Self {
        let seed = [shard.index as u8 + 1; 32];
        let server = Server::new(Arc::new(config), shard, ledger.clone(), reservations.clone(), seed);
        Self {
            server,
            now: Now {
                instant: Instant::now(),
                unix: BEGIN,
            },
            ledger,
            reservations,
            sockets: BTreeMap::new(),
            parked: Vec::new(),
            sent: Vec::new(),
            foreign: HashSet::new(),
            hold_binds: false,
            held: Vec::new(),
            binds: 0,
            connects: Vec::new(),
            connections: BTreeMap::new(),
            reported: None,
            events: Vec::new(),
        }
    }

    /// Lets time pass without telling the server.
    pub(crate) fn sleep(&mut self, time: Duration) {
        self.now.instant += time;
        self.now.unix = UnixTime(self.now.unix.0 + time.as_secs());
    }

    /// Lets time pass and runs every timer at its time.
    pub(crate) fn advance(&mut self, time: Duration) {
        let end = self.now.instant + time;
        while let Some(at) = self.server.poll_timeout().filter(|at| *at <= end) {
            self.sleep(at.saturating_duration_since(self.now.instant));
            self.server.handle_timeout(self.now);
            self.drain();
            let next = self.server.poll_timeout();
            assert!(
                next.is_none_or(|next| next > self.now.instant),
                "a timer that was run does not come back at once"
            );
        }
        self.sleep(end.saturating_duration_since(self.now.instant));
        self.drain();
    }

    /// A packet from a client.
    pub(crate) fn client(&mut self, from: &FiveTuple, datagram: &[u8]) -> Handled {
        let handled = self.server.handle_client(self.now, from, datagram);
        self.drain();
        self.check();
        handled
    }

    /// A packet from a peer to a relay.
    pub(crate) fn peer(&mut self, relay: RelayId, from: SocketAddr, datagram: &[u8]) -> Handled {
        let handled = self.server.handle_peer(self.now, relay, PeerAddr(from), datagram);
        self.drain();
        self.check();
        handled
    }

    /// Reports a bind that was held back.
    pub(crate) fn report(&mut self, result: Result<(), BindError>) {
        let (relay, at, socket) = self.held.remove(0);
        self.bind(relay, at, socket, result);
        self.drain();
        self.check();
    }

    /// The peer of the oldest connection that was asked for has answered, or not.
    pub(crate) fn connected(&mut self, result: Result<(), ConnectError>) -> ConnectionKey {
        let (key, ..) = self.connects.remove(0);
        if result.is_ok() {
            assert!(self.connections.insert(key, None).is_none(), "{key:?} is there twice");
        }
        self.server.handle_peer_connected(self.now, key, result);
        self.reported = Some(key);
        self.drain();
        self.reported = None;
        self.check();
        key
    }

    /// A peer connects to a relayed address.
    pub(crate) fn accept(&mut self, relayed: SocketAddr, from: &str) -> Result<ConnectionKey, ConnectionEnd> {
        let relay = self.relay_at(relayed);
        self.accept_at(relay, addr(from))
    }

    pub(crate) fn accept_at(&mut self, relay: RelayId, from: SocketAddr) -> Result<ConnectionKey, ConnectionEnd> {
        let result = self.server.handle_peer_accepted(self.now, relay, PeerAddr(from));
        if let Ok(key) = result {
            assert!(self.connections.insert(key, None).is_none(), "{key:?} is there twice");
        }
        self.drain();
        self.check();
        result
    }

    /// A data connection is over.
    pub(crate) fn ended(&mut self, key: ConnectionKey, end: ConnectionEnd) {
        self.connections.remove(&key);
        self.server.handle_connection_ended(self.now, key, end);
        self.reported = Some(key);
        self.drain();
        self.reported = None;
        self.check();
    }

    pub(crate) fn gone(&mut self, five_tuple: &FiveTuple) {
        self.server.handle_client_gone(self.now, five_tuple);
        self.drain();
        self.check();
    }

    /// Packets in are verdicts out, at any time.
    pub(crate) fn check(&self) {
        let stats = self.server.stats();
        assert_eq!(stats.packets_in(), stats.verdicts(), "{stats:?}");
        let (opened, ended) = (stats.connections_opened, stats.connections_ended);
        let living = stats.connections_pending + stats.connections_active;
        assert_eq!(
            opened.iter().sum::<u64>(),
            ended.iter().sum::<u64>() + living,
            "{stats:?}"
        );
        let driven = self.connects.len() + self.connections.len();
        assert_eq!(driven as u64, living, "the driver has what the core has");
        let joined = self.connections.values().flatten().count();
        assert_eq!(joined as u64, stats.connections_active);
    }

    /// Nothing is left of anything.
    pub(crate) fn assert_empty(&self) {
        let stats = self.server.stats();
        assert_eq!((self.server.allocations(), self.server.paths()), (0, 0));
        assert!(self.sockets.is_empty(), "{:?}", self.sockets);
        assert!(self.parked.is_empty(), "{:?}", self.parked);
        assert_eq!((self.ledger.total(), self.ledger.holders()), (0, 0));
        assert!(self.reservations.is_empty());
        assert!(self.connections.is_empty() && self.connects.is_empty());
        assert_eq!(self.ledger.connections(), (0, 0));
        assert_eq!((stats.connections_pending, stats.connections_active), (0, 0));
        assert_eq!(stats.tcp_relays_active, [0; 2]);
        assert_eq!(stats.allocations_active, [[0_u64; 5]; 2]);
        assert_eq!(
            (stats.permissions_active, stats.channels_active, stats.pending),
            (0, 0, 0)
        );
    }

    fn bind(&mut self, relay: RelayId, at: SocketAddr, socket: RelaySocket, result: Result<(), BindError>) {
        let taken = |port: u16| self.foreign.contains(&port);
        let result = result.and_then(|()| match socket {
            RelaySocket::Fresh | RelaySocket::Listen if taken(at.port()) => Err(BindError::InUse),
            RelaySocket::FreshAndReserveNext(_) if taken(at.port()) || taken(at.port() + 1) => Err(BindError::InUse),
            RelaySocket::Reserved(token) => {
                let parked = self.parked.iter().position(|parked| *parked == (token, at));
                parked
                    .map(|position| _ = self.parked.remove(position))
                    .ok_or(BindError::NotReserved)
            }
            RelaySocket::FreshAndReserveNext(token) => {
                self.parked.push((token, SocketAddr::new(at.ip(), at.port() + 1)));
                Ok(())
            }
            RelaySocket::Fresh | RelaySocket::Listen => Ok(()),
        });
        if let (Err(_), RelaySocket::Reserved(token)) = (&result, socket) {
            // It was taken before whatever failed did.
            self.parked.retain(|(parked, _)| *parked != token);
        }
        if result.is_ok() {
            // A walk over all sockets: for tests, not for benches.
            debug_assert!(
                !self
                    .sockets
                    .values()
                    .chain(self.parked.iter().map(|(_, at)| at))
                    .any(|other| *other == at),
                "{at} is bound twice"
            );
            assert!(self.sockets.insert(relay, at).is_none(), "{relay} is bound twice");
        }
        self.server.handle_relay_bound(self.now, relay, result.map(|()| at));
    }

    pub(crate) fn drain(&mut self) {
        loop {
            let mut bind = None;
            match self.server.poll_output() {
                None => break,
                Some(Output::Transmit { to, bytes }) => self.sent.push((to, bytes.to_vec())),
                Some(Output::BindRelay { relay, at, socket }) => {
                    self.binds += 1;
                    bind = Some((relay, at, socket));
                }
                Some(Output::CloseRelay { relay }) => {
                    self.sockets.remove(&relay);
                    // A driver that is still at it drops the socket when it comes, the parked one as well.
                    for (_, _, socket) in self.held.extract_if(.., |(held, ..)| *held == relay) {
                        if let RelaySocket::Reserved(token) = socket {
                            self.parked.retain(|(parked, _)| *parked != token);
                        }
                    }
                }
                Some(Output::ConnectPeer {
                    connection,
                    relay,
                    peer,
                    route,
                }) => {
                    assert!(self.sockets.contains_key(&relay));
                    self.connects.push((connection, relay, peer.0, route));
                }
                Some(Output::JoinConnection { connection, client }) => {
                    let joined = self.connections.get_mut(&connection).expect("it is there");
                    assert!(joined.replace(client).is_none(), "{connection:?} is joined twice");
                }
                Some(Output::CloseConnection { connection }) => {
                    let before = self.connects.len();
                    self.connects.retain(|(key, ..)| *key != connection);
                    let was_there = self.connections.remove(&connection).is_some() || self.connects.len() < before;
                    let was_reported = self.reported.take_if(|reported| *reported == connection).is_some();
                    assert!(was_there || was_reported, "{connection:?} is closed once");
                }
                Some(Output::ReleaseReserved { token }) => self.parked.retain(|(parked, _)| *parked != token),
            }
            match bind {
                Some(held) if self.hold_binds => self.held.push(held),
                Some((relay, at, socket)) => self.bind(relay, at, socket, Ok(())),
                None => {}
            }
        }
        while let Some(event) = self.server.poll_event() {
            self.events.push(event);
        }
    }

    /// The one message that was sent since.
    pub(crate) fn reply(&mut self) -> Reply {
        let mut sent = std::mem::take(&mut self.sent);
        assert_eq!(sent.len(), 1, "one answer");
        let (to, bytes) = sent.remove(0);
        Reply { to, bytes }
    }

    /// The relay that has this relayed address.
    pub(crate) fn relay_at(&self, relayed: SocketAddr) -> RelayId {
        self.server
            .relay_at(RelayedAddr(relayed))
            .expect("a living relayed address")
    }
}

/// An answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Reply {
    pub(crate) to: FiveTuple,
    pub(crate) bytes: Vec<u8>,
}

impl Reply {
    pub(crate) fn message(&self) -> Message<'_> {
        Message::parse(&self.bytes).unwrap()
    }

    /// As [`code_of`].
    pub(crate) fn code(&self) -> u16 {
        code_of(&self.bytes)
    }

    pub(crate) fn find<'a, A: Attribute<'a>>(&'a self) -> Option<A> {
        self.message().find::<A>().unwrap()
    }

    pub(crate) fn has(&self, kind: AttributeType) -> bool {
        self.message().has(kind)
    }

    pub(crate) fn relayed(&self) -> SocketAddr {
        self.find::<XorRelayedAddress>().expect("XOR-RELAYED-ADDRESS").0
    }

    pub(crate) fn mapped(&self) -> SocketAddr {
        self.find::<XorMappedAddress>().expect("XOR-MAPPED-ADDRESS").0
    }

    pub(crate) fn lifetime(&self) -> u32 {
        self.find::<Lifetime>().expect("LIFETIME").0
    }

    pub(crate) fn token(&self) -> Option<ReservationToken> {
        self.find::<ReservationToken>()
    }

    pub(crate) fn nonce(&self) -> String {
        self.find::<Nonce<'_>>().expect("NONCE").as_str().to_owned()
    }

    /// Types of all visible attributes, in order.
    pub(crate) fn kinds(&self) -> Vec<AttributeType> {
        self.message().attributes().map(|attribute| attribute.kind).collect()
    }
}

/// 0 for a success, else the error code.
pub(crate) fn code_of(bytes: &[u8]) -> u16 {
    let message = Message::parse(bytes).unwrap();
    match message.class() {
        Class::Success => 0,
        Class::Error => message
            .find::<ErrorCodeAttribute<'_>>()
            .unwrap()
            .unwrap()
            .code()
            .value(),
        other => panic!("{other:?} is no answer"),
    }
}

/// How a client derives its key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mode {
    /// As in RFC 5389: no PASSWORD-ALGORITHM, MESSAGE-INTEGRITY.
    Classic,
    /// RFC 8489 with MD5 and MESSAGE-INTEGRITY-SHA256.
    Md5,
    /// RFC 8489 with SHA-256 and MESSAGE-INTEGRITY-SHA256.
    Sha256,
}

/// A client: credentials, nonce, transaction ids.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) five_tuple: FiveTuple,
    pub(crate) username: String,
    pub(crate) password: String,
    pub(crate) realm: String,
    pub(crate) nonce: String,
    pub(crate) mode: Mode,
    pub(crate) userhash: bool,
    pub(crate) fingerprint: bool,
    /// What it has in place of a password; the username is the kid then.
    pub(crate) access: Option<Access>,
}

/// An access token as its bearer has it (RFC 7635).
#[derive(Clone, Debug)]
pub(crate) struct Access {
    pub(crate) mac_key: Vec<u8>,
    pub(crate) token: Vec<u8>,
}

impl Client {
    /// A client with a time-limited credential that is good for an hour.
    pub(crate) fn new(address: &str) -> Self {
        Self::with_expiry(address, "bob", Duration::from_secs(3600))
    }

    pub(crate) fn with_expiry(address: &str, user: &str, ttl: Duration) -> Self {
        let ring = KeyRing::from_bytes([SECRET]).unwrap();
        let credential = credentials::mint(&ring, BEGIN, user, ttl).unwrap();
        Self::with(address, &credential.username, credential.password.as_str())
    }

    pub(crate) fn with(address: &str, username: &str, password: &str) -> Self {
        Self {
            five_tuple: five_tuple(address),
            username: username.to_owned(),
            password: password.to_owned(),
            realm: REALM.to_owned(),
            nonce: String::new(),
            mode: Mode::Classic,
            userhash: false,
            fingerprint: false,
            access: None,
        }
    }

    /// Takes a token that the server named `server` opens with `key`; `nonce` is never used twice with that.
    pub(crate) fn bear(&mut self, server: &str, key: &TokenKey, nonce: [u8; 12], token: &AccessToken) {
        self.username = key.kid().to_owned();
        self.access = Some(Access {
            mac_key: token.mac_key.to_vec(),
            token: key.seal(server, nonce, token).unwrap(),
        });
    }

    /// A client that comes by TCP.
    pub(crate) fn over_tcp(mut self) -> Self {
        self.five_tuple.transport = Transport::Tcp;
        self
    }

    /// Another connection of the same user.
    pub(crate) fn again_from(&self, address: &str) -> Self {
        let mut again = self.clone();
        again.five_tuple.client = ClientAddr(addr(address));
        again.nonce = String::new();
        again
    }

    pub(crate) fn id(&mut self) -> TransactionId {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let mut id = [0xC1; 12];
        id[4..].copy_from_slice(&NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes());
        TransactionId(id)
    }

    pub(crate) fn key(&self) -> IntegrityKey {
        if let Some(access) = &self.access {
            return IntegrityKey::new(&access.mac_key);
        }
        match self.mode {
            Mode::Sha256 => IntegrityKey::long_term_sha256(&self.username, &self.realm, &self.password),
            Mode::Classic | Mode::Md5 => IntegrityKey::long_term_md5(&self.username, &self.realm, &self.password),
        }
    }

    /// A request with credentials.
    pub(crate) fn request(&mut self, method: Method, fill: impl FnOnce(&mut MessageBuilder<'_>)) -> Vec<u8> {
        let id = self.id();
        self.request_as(method, id, fill)
    }

    pub(crate) fn request_as(
        &self,
        method: Method,
        id: TransactionId,
        fill: impl FnOnce(&mut MessageBuilder<'_>),
    ) -> Vec<u8> {
        let mut buffer = [0; 2048];
        let mut builder = MessageBuilder::new(&mut buffer, method, Class::Request, id);
        fill(&mut builder);
        if self.userhash {
            builder.attribute(&Userhash(userhash(&self.username, &self.realm)));
        } else {
            builder.attribute(&Username::new(&self.username).unwrap());
        }
        builder
            .attribute(&Realm::new(&self.realm).unwrap())
            .attribute(&Nonce::new(&self.nonce).unwrap());
        if let Some(access) = &self.access {
            builder.raw_attribute(AttributeType::ACCESS_TOKEN, &access.token);
        }
        let kind = match self.mode {
            Mode::Classic => IntegrityKind::Sha1,
            Mode::Md5 | Mode::Sha256 => {
                let algorithm = if self.mode == Mode::Sha256 {
                    PasswordAlgorithm::Sha256
                } else {
                    PasswordAlgorithm::Md5
                };
                builder
                    .attribute(&PasswordAlgorithms::SHA256_THEN_MD5)
                    .attribute(&algorithm);
                IntegrityKind::Sha256
            }
        };
        builder.sign(kind, &self.key());
        if self.fingerprint {
            builder.fingerprint();
        }
        let len = builder.finish().unwrap();
        buffer[..len].to_vec()
    }

    /// A message without credentials.
    pub(crate) fn bare(&mut self, method: Method, class: Class, fill: impl FnOnce(&mut MessageBuilder<'_>)) -> Vec<u8> {
        let id = self.id();
        let mut buffer = [0; 2048];
        let mut builder = MessageBuilder::new(&mut buffer, method, class, id);
        fill(&mut builder);
        if self.fingerprint {
            builder.fingerprint();
        }
        let len = builder.finish().unwrap();
        buffer[..len].to_vec()
    }

    /// Sends a request and takes the answer, which must be signed like the request unless it is a challenge.
    pub(crate) fn call(&mut self, lab: &mut Lab, method: Method, fill: impl FnOnce(&mut MessageBuilder<'_>)) -> Reply {
        let request = self.request(method, fill);
        self.send(lab, &request)
    }

    pub(crate) fn send(&self, lab: &mut Lab, request: &[u8]) -> Reply {
        lab.client(&self.five_tuple, request);
        let reply = lab.reply();
        assert_eq!(reply.to, self.five_tuple);
        assert_eq!(
            reply.message().transaction_id(),
            Message::parse(request).unwrap().transaction_id()
        );
        reply
    }

    /// Whether an answer is signed with this client's key, in the attribute that its mode calls for.
    pub(crate) fn signed(&self, reply: &Reply) -> bool {
        let kind = if self.mode == Mode::Classic {
            IntegrityKind::Sha1
        } else {
            IntegrityKind::Sha256
        };
        reply.message().verify_integrity_of(kind, &self.key()).is_ok()
    }

    /// Gets a nonce, as every session begins.
    pub(crate) fn challenge(&mut self, lab: &mut Lab) -> Reply {
        let request = self.bare(Method::ALLOCATE, Class::Request, |builder| {
            builder.attribute(&RequestedTransport::UDP);
        });
        let reply = self.send(lab, &request);
        assert_eq!(reply.code(), 401);
        self.nonce = reply.nonce();
        reply
    }

    /// Challenge and Allocate with further attributes.
    pub(crate) fn allocate_with(&mut self, lab: &mut Lab, fill: impl FnOnce(&mut MessageBuilder<'_>)) -> Reply {
        if self.nonce.is_empty() {
            self.challenge(lab);
        }
        self.call(lab, Method::ALLOCATE, |builder| {
            builder.attribute(&RequestedTransport::UDP);
            fill(builder);
        })
    }

    /// Challenge and a plain Allocate that must succeed: the relayed address.
    pub(crate) fn allocate(&mut self, lab: &mut Lab) -> SocketAddr {
        let reply = self.allocate_with(lab, |_| {});
        assert_eq!(reply.code(), 0);
        reply.relayed()
    }

    pub(crate) fn refresh(&mut self, lab: &mut Lab, lifetime: u32) -> Reply {
        self.call(lab, Method::REFRESH, |builder| {
            builder.attribute(&Lifetime(lifetime));
        })
    }

    /// Deletes its allocation, when that answers other requests as well.
    pub(crate) fn refresh_with_others(&mut self, lab: &mut Lab) {
        let request = self.request(Method::REFRESH, |builder| {
            builder.attribute(&Lifetime(0));
        });
        lab.client(&self.five_tuple, &request);
    }

    pub(crate) fn permit(&mut self, lab: &mut Lab, peers: &[&str]) -> u16 {
        let reply = self.call(lab, Method::CREATE_PERMISSION, |builder| {
            for peer in peers {
                builder.attribute(&XorPeerAddress(addr(peer)));
            }
        });
        assert!(self.signed(&reply));
        reply.code()
    }

    pub(crate) fn bind(&mut self, lab: &mut Lab, number: u16, peer: &str) -> u16 {
        let [a, b] = number.to_be_bytes();
        let reply = self.call(lab, Method::CHANNEL_BIND, |builder| {
            builder
                .raw_attribute(AttributeType::CHANNEL_NUMBER, &[a, b, 0, 0])
                .attribute(&XorPeerAddress(addr(peer)));
        });
        assert!(self.signed(&reply));
        reply.code()
    }

    /// Sends data by a Send indication.
    pub(crate) fn send_to(&mut self, lab: &mut Lab, peer: &str, data: &[u8]) -> Handled {
        let indication = self.bare(Method::SEND, Class::Indication, |builder| {
            builder
                .attribute(&XorPeerAddress(addr(peer)))
                .raw_attribute(AttributeType::DATA, data);
        });
        let handled = lab.client(&self.five_tuple, &indication);
        if let Handled::Forward(forward) = handled {
            assert_eq!(&indication[forward.payload()], data);
        }
        assert!(lab.sent.is_empty(), "an indication is not answered");
        handled
    }

    /// Sends data by ChannelData.
    pub(crate) fn send_on(&mut self, lab: &mut Lab, number: u16, data: &[u8]) -> Handled {
        let bytes = channel_data(number, data);
        lab.client(&self.five_tuple, &bytes)
    }
}

pub(crate) fn channel_data(number: u16, data: &[u8]) -> Vec<u8> {
    let number = ChannelNumber::new(number).unwrap();
    [&ChannelData::header(number, data.len() as u16), data].concat()
}

/// The forward of a packet that was relayed.
pub(crate) fn forwarded(handled: Handled) -> Forward {
    match handled {
        Handled::Forward(forward) => forward,
        Handled::Done(verdict) => panic!("not relayed: {verdict:?}"),
    }
}

/// Where a packet went that was relayed to a peer.
pub(crate) fn to_peer(handled: Handled) -> SocketAddr {
    let forward = forwarded(handled);
    assert!(forward.prefix.is_empty() && forward.padding == 0);
    match forward.to {
        Destination::Peer { peer, .. } => peer.0,
        other => panic!("not to a peer: {other:?}"),
    }
}

/// What a client gets of a packet that was relayed to it.
pub(crate) fn to_client(handled: Handled, datagram: &[u8]) -> (FiveTuple, Vec<u8>) {
    let forward = forwarded(handled);
    let Destination::Client(to) = forward.to else {
        panic!("not to a client: {:?}", forward.to)
    };
    let mut bytes = forward.prefix.as_slice().to_vec();
    bytes.extend_from_slice(&datagram[forward.payload()]);
    bytes.resize(bytes.len() + usize::from(forward.padding), 0);
    (to, bytes)
}

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}
