//! A TURN client over UDP, built on the codec alone.

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime};

use meetpoint::credentials::{self, KeyRing, UnixTime};
use meetpoint::wire::attribute::{
    AddressFamily, Data, DontFragment, ErrorCodeAttribute, EvenPort, Icmp, Lifetime, MobilityTicket, Nonce, Realm,
    RequestedAddressFamily, RequestedTransport, ReservationToken, Username, XorPeerAddress, XorRelayedAddress,
};
use meetpoint::wire::{
    AttributeType, ChannelData, ChannelNumber, Class, IntegrityKey, Message, MessageBuilder, Method, PacketKind,
    TransactionId, demux,
};

use super::SECRET;

/// How long a client waits for data, and for an answer before it asks again.
const PATIENCE: Duration = Duration::from_secs(3);
const RETRANSMIT: Duration = Duration::from_millis(500);

/// What arrives at a client besides answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Arrival {
    Channel(u16, Vec<u8>),
    Data(SocketAddr, Vec<u8>),
    /// An ICMP error about a peer.
    Icmp(SocketAddr, Icmp),
}

/// What a client may ask for beyond a plain allocation.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Wish {
    pub(crate) family: Option<AddressFamily>,
    pub(crate) even_port: Option<bool>,
    pub(crate) token: Option<[u8; 8]>,
}

/// An allocation as its client knows it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Allocation {
    pub(crate) relayed: SocketAddr,
    pub(crate) token: Option<[u8; 8]>,
}

pub(crate) struct Client {
    pub(crate) socket: UdpSocket,
    server: SocketAddr,
    username: String,
    password: String,
    realm: String,
    nonce: String,
    key: Option<IntegrityKey>,
}

static COUNT: AtomicU32 = AtomicU32::new(1);

fn transaction_id() -> TransactionId {
    let mut id = [0x5a; 12];
    id[..4].copy_from_slice(&COUNT.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    TransactionId(id)
}

impl Client {
    pub(crate) fn new(server: SocketAddr) -> Self {
        let local = if server.is_ipv4() { "127.0.0.1:0" } else { "[::1]:0" };
        Self::on(UdpSocket::bind(local).unwrap(), server)
    }

    pub(crate) fn on(socket: UdpSocket, server: SocketAddr) -> Self {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let ring = KeyRing::from_bytes([SECRET]).unwrap();
        let user = format!("user{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let now = UnixTime::from_system_time(SystemTime::now());
        let credential = credentials::mint(&ring, now, &user, Duration::from_secs(600)).unwrap();
        Self {
            socket,
            server,
            username: credential.username,
            password: credential.password.as_str().to_owned(),
            realm: String::new(),
            nonce: String::new(),
            key: None,
        }
    }

    /// Uses the credential of `other` from now on.
    pub(crate) fn log_in_as(&mut self, other: &Self) {
        self.username.clone_from(&other.username);
        self.password.clone_from(&other.password);
        self.key = None;
    }

    /// Uses this credential from now on.
    pub(crate) fn log_in_with(&mut self, username: &str, password: &str) {
        self.username = username.to_owned();
        self.password = password.to_owned();
        self.key = None;
    }

    /// Allocates; the error code if that is refused.
    pub(crate) fn try_allocate(&mut self, wish: Wish) -> Result<Allocation, u16> {
        let add = |builder: &mut MessageBuilder<'_>| {
            builder.attribute(&RequestedTransport::UDP);
            if let Some(family) = wish.family {
                builder.attribute(&RequestedAddressFamily(family.value()));
            }
            if let Some(reserve_next) = wish.even_port {
                builder.attribute(&EvenPort { reserve_next });
            }
            if let Some(token) = wish.token {
                builder.attribute(&ReservationToken(token));
            }
        };
        self.request(Method::ALLOCATE, add, |answer| Allocation {
            relayed: answer.find::<XorRelayedAddress>().unwrap().unwrap().0,
            token: answer.find::<ReservationToken>().unwrap().map(|token| token.0),
        })
    }

    /// Allocates as plainly as can be; the relayed address.
    pub(crate) fn allocate(&mut self) -> SocketAddr {
        let family = AddressFamily::of(self.server);
        self.try_allocate(Wish {
            family: Some(family),
            ..Wish::default()
        })
        .unwrap()
        .relayed
    }

    /// Allocates with mobility: the relayed address and the ticket.
    pub(crate) fn try_allocate_mobile(&mut self) -> Result<(SocketAddr, Vec<u8>), u16> {
        let add = |builder: &mut MessageBuilder<'_>| {
            builder
                .attribute(&RequestedTransport::UDP)
                .attribute(&MobilityTicket(&[]));
        };
        self.request(Method::ALLOCATE, add, |answer| {
            (answer.find::<XorRelayedAddress>().unwrap().unwrap().0, ticket(answer))
        })
    }

    pub(crate) fn allocate_mobile(&mut self) -> (SocketAddr, Vec<u8>) {
        self.try_allocate_mobile().unwrap()
    }

    /// Goes on from another socket, and gives back the one before.
    pub(crate) fn move_to(&mut self, socket: UdpSocket) -> UdpSocket {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        std::mem::replace(&mut self.socket, socket)
    }

    /// Asks with a ticket for its allocation: the next ticket.
    pub(crate) fn resume(&mut self, with: &[u8]) -> Result<Vec<u8>, u16> {
        let add = |builder: &mut MessageBuilder<'_>| {
            builder.attribute(&Lifetime(600)).attribute(&MobilityTicket(with));
        };
        self.request(Method::REFRESH, add, ticket)
    }

    pub(crate) fn try_permit(&mut self, peer: SocketAddr) -> Result<(), u16> {
        let add = |builder: &mut MessageBuilder<'_>| {
            builder.attribute(&XorPeerAddress(peer));
        };
        self.request(Method::CREATE_PERMISSION, add, |_| ())
    }

    pub(crate) fn permit(&mut self, peer: SocketAddr) {
        self.try_permit(peer).unwrap();
    }

    pub(crate) fn bind(&mut self, number: u16, peer: SocketAddr) {
        self.try_bind(number, peer).unwrap();
    }

    pub(crate) fn try_bind(&mut self, number: u16, peer: SocketAddr) -> Result<(), u16> {
        let add = |builder: &mut MessageBuilder<'_>| {
            builder
                .attribute(&ChannelNumber::new(number).unwrap())
                .attribute(&XorPeerAddress(peer));
        };
        self.request(Method::CHANNEL_BIND, add, |_| ())
    }

    pub(crate) fn refresh(&mut self, seconds: u32) -> Result<(), u16> {
        let add = |builder: &mut MessageBuilder<'_>| {
            builder.attribute(&Lifetime(seconds));
        };
        self.request(Method::REFRESH, add, |_| ())
    }

    pub(crate) fn send_channel(&self, number: u16, payload: &[u8]) {
        self.socket
            .send_to(&channel_data(number, payload), self.server)
            .unwrap();
    }

    pub(crate) fn send_indication(&self, peer: SocketAddr, payload: &[u8], dont_fragment: bool) {
        self.socket
            .send_to(&send_indication(peer, payload, dont_fragment), self.server)
            .unwrap();
    }

    /// The next channel data or Data indication.
    pub(crate) fn receive(&self) -> Option<Arrival> {
        let mut buffer = [0; 65_536];
        loop {
            let (len, from) = self.socket.recv_from(&mut buffer).ok()?;
            assert_eq!(from, self.server, "an answer from another address than was asked");
            let bytes = &buffer[..len];
            match demux(bytes) {
                PacketKind::ChannelData => {
                    let data = ChannelData::parse(bytes).unwrap();
                    let payload = bytes[data.data_range()].to_vec();
                    return Some(Arrival::Channel(data.number.value(), payload));
                }
                PacketKind::Stun => {
                    let message = Message::parse(bytes).unwrap();
                    if message.method() == Method::DATA {
                        let peer = message.find::<XorPeerAddress>().unwrap().unwrap().0;
                        if let Some(icmp) = message.find::<Icmp>().unwrap() {
                            assert!(!message.has(AttributeType::DATA));
                            return Some(Arrival::Icmp(peer, icmp));
                        }
                        let data = message.find::<Data<'_>>().unwrap().unwrap().0.to_vec();
                        return Some(Arrival::Data(peer, data));
                    }
                }
                other => panic!("{other:?}"),
            }
        }
    }

    /// Sends `request` until the answer to `id` comes, as a client on a lossy network does (RFC 8489 §6.2.1).
    fn transact(&self, id: TransactionId, request: &[u8]) -> Vec<u8> {
        let mut buffer = [0; 65_536];
        for _ in 0..8 {
            self.socket.send_to(request, self.server).unwrap();
            let deadline = Instant::now() + RETRANSMIT;
            while Instant::now() < deadline {
                self.socket.set_read_timeout(Some(RETRANSMIT)).unwrap();
                let Ok((len, _)) = self.socket.recv_from(&mut buffer) else {
                    break;
                };
                let bytes = &buffer[..len];
                if demux(bytes) == PacketKind::Stun && Message::parse(bytes).unwrap().transaction_id() == id {
                    self.socket.set_read_timeout(Some(PATIENCE)).unwrap();
                    return bytes.to_vec();
                }
            }
        }
        panic!("no answer");
    }

    /// Sends a request, signed once there is a key, and again after a challenge; reads what came of it.
    fn request<T>(
        &mut self,
        method: Method,
        add: impl Fn(&mut MessageBuilder<'_>),
        read: impl Fn(&Message<'_>) -> T,
    ) -> Result<T, u16> {
        for _ in 0..3 {
            let id = transaction_id();
            let mut buffer = [0; 1024];
            let mut builder = MessageBuilder::new(&mut buffer, method, Class::Request, id);
            add(&mut builder);
            if let Some(key) = &self.key {
                builder
                    .attribute(&Username::new(&self.username).unwrap())
                    .attribute(&Realm::new(&self.realm).unwrap())
                    .attribute(&Nonce::new(&self.nonce).unwrap())
                    .integrity(key);
            }
            let len = builder.finish().unwrap();
            let answer = self.transact(id, &buffer[..len]);
            let answer = Message::parse(&answer).unwrap();
            match answer.class() {
                Class::Success => return Ok(read(&answer)),
                Class::Error => {
                    let code = answer.find::<ErrorCodeAttribute<'_>>().unwrap().unwrap().code().value();
                    if code != 401 && code != 438 {
                        return Err(code);
                    }
                    if code == 401 && self.key.is_some() {
                        return Err(code);
                    }
                    self.realm = answer.find::<Realm<'_>>().unwrap().unwrap().as_str().to_owned();
                    self.nonce = answer.find::<Nonce<'_>>().unwrap().unwrap().as_str().to_owned();
                    self.key = Some(IntegrityKey::long_term_md5(&self.username, &self.realm, &self.password));
                }
                other => panic!("{other:?}"),
            }
        }
        panic!("challenged again and again");
    }
}

fn ticket(answer: &Message<'_>) -> Vec<u8> {
    answer.find::<MobilityTicket<'_>>().unwrap().unwrap().0.to_vec()
}

pub(crate) fn channel_data(number: u16, payload: &[u8]) -> Vec<u8> {
    let number = ChannelNumber::new(number).unwrap();
    [&ChannelData::header(number, payload.len() as u16)[..], payload].concat()
}

pub(crate) fn send_indication(peer: SocketAddr, payload: &[u8], dont_fragment: bool) -> Vec<u8> {
    let mut buffer = vec![0; payload.len() + 128];
    let mut builder = MessageBuilder::new(&mut buffer, Method::SEND, Class::Indication, transaction_id());
    builder.attribute(&XorPeerAddress(peer));
    if dont_fragment {
        builder.attribute(&DontFragment);
    }
    builder.attribute(&Data(payload));
    let len = builder.finish().unwrap();
    buffer.truncate(len);
    buffer
}
