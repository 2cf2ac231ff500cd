//! A TURN client over a stream, built on the codec alone.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use meetpoint::credentials::{self, KeyRing, UnixTime};
use meetpoint::wire::attribute::{
    AddressFamily, ConnectionId, Data, ErrorCodeAttribute, Lifetime, Nonce, Realm, RequestedAddressFamily,
    RequestedTransport, Username, XorMappedAddress, XorPeerAddress, XorRelayedAddress,
};
use meetpoint::wire::stream::{FrameReader, MAX_FRAME_LEN};
use meetpoint::wire::{
    ChannelData, ChannelNumber, Class, IntegrityKey, Message, MessageBuilder, Method, PacketKind, TransactionId, demux,
};

use crate::support::SECRET;
pub(crate) use crate::support::client::Arrival;

/// Anything that carries bytes both ways.
pub(crate) trait Link: Read + Write + Send {}
impl<T: Read + Write + Send> Link for T {}

pub(crate) struct Client {
    pub(crate) link: Box<dyn Link>,
    pub(crate) local: SocketAddr,
    server: SocketAddr,
    frames: FrameReader,
    username: String,
    password: String,
    realm: String,
    nonce: String,
    key: Option<IntegrityKey>,
}

static COUNT: AtomicU32 = AtomicU32::new(1);

pub(crate) fn transaction_id() -> TransactionId {
    let mut id = [0xa5; 12];
    id[..4].copy_from_slice(&COUNT.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    TransactionId(id)
}

/// A connection that gives up after two seconds of silence.
pub(crate) fn connect(server: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(server).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// As [`connect`], from an address of loopback.
pub(crate) fn connect_from(local: &str, server: SocketAddr) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::new(local.parse().unwrap(), 0).into()).unwrap();
    socket.connect(&server.into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// A Binding request with its FINGERPRINT.
pub(crate) fn binding() -> Vec<u8> {
    let mut buffer = [0; 64];
    let len = MessageBuilder::new(&mut buffer, Method::BINDING, Class::Request, transaction_id())
        .fingerprint()
        .finish()
        .unwrap();
    buffer[..len].to_vec()
}

/// ChannelData with the padding of a stream.
pub(crate) fn channel_data(number: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = crate::support::client::channel_data(number, payload);
    frame.resize(frame.len().next_multiple_of(4), 0);
    frame
}

impl Client {
    pub(crate) fn tcp(server: SocketAddr) -> Self {
        let stream = connect(server);
        let local = stream.local_addr().unwrap();
        Self::over(Box::new(stream), local, server)
    }

    pub(crate) fn over(link: Box<dyn Link>, local: SocketAddr, server: SocketAddr) -> Self {
        let ring = KeyRing::from_bytes([SECRET]).unwrap();
        let user = format!("stream{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let now = UnixTime::from_system_time(SystemTime::now());
        let credential = credentials::mint(&ring, now, &user, Duration::from_secs(600)).unwrap();
        Self {
            link,
            local,
            server,
            frames: FrameReader::new(vec![0; MAX_FRAME_LEN].into()),
            username: credential.username,
            password: credential.password.as_str().to_owned(),
            realm: String::new(),
            nonce: String::new(),
            key: None,
        }
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.link.write_all(bytes).unwrap();
        self.link.flush().unwrap();
    }

    /// The next whole frame; `None` when the server has closed the stream.
    pub(crate) fn frame(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some(frame) = self.frames.next_frame().unwrap() {
                return Some(frame.to_vec());
            }
            match self.link.read(self.frames.space()) {
                Ok(0) => return None,
                Ok(len) => self.frames.filled(len),
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("nothing comes: {error}"),
            }
        }
    }

    /// The address that a Binding request is answered with.
    pub(crate) fn mapped(&mut self) -> SocketAddr {
        self.write(&binding());
        let frame = self.frame().expect("closed");
        let message = Message::parse(&frame).unwrap();
        assert_eq!(message.class(), Class::Success);
        message.find::<XorMappedAddress>().unwrap().unwrap().0
    }

    pub(crate) fn allocate(&mut self) -> SocketAddr {
        self.try_allocate().unwrap()
    }

    pub(crate) fn try_allocate(&mut self) -> Result<SocketAddr, u16> {
        let family = AddressFamily::of(self.server);
        let add = |builder: &mut MessageBuilder<'_>| {
            builder
                .attribute(&RequestedTransport::UDP)
                .attribute(&RequestedAddressFamily(family.value()));
        };
        self.request(Method::ALLOCATE, add, |answer| {
            answer.find::<XorRelayedAddress>().unwrap().unwrap().0
        })
    }

    pub(crate) fn permit(&mut self, peer: SocketAddr) {
        let add = |builder: &mut MessageBuilder<'_>| {
            builder.attribute(&XorPeerAddress(peer));
        };
        self.request(Method::CREATE_PERMISSION, add, |_| ()).unwrap();
    }

    pub(crate) fn bind(&mut self, number: u16, peer: SocketAddr) {
        let add = |builder: &mut MessageBuilder<'_>| {
            builder
                .attribute(&ChannelNumber::new(number).unwrap())
                .attribute(&XorPeerAddress(peer));
        };
        self.request(Method::CHANNEL_BIND, add, |_| ()).unwrap();
    }

    pub(crate) fn refresh(&mut self, seconds: u32) {
        let add = |builder: &mut MessageBuilder<'_>| {
            builder.attribute(&Lifetime(seconds));
        };
        self.request(Method::REFRESH, add, |_| ()).unwrap();
    }

    pub(crate) fn send_channel(&mut self, number: u16, payload: &[u8]) {
        self.write(&channel_data(number, payload));
    }

    pub(crate) fn send_indication(&mut self, peer: SocketAddr, payload: &[u8]) {
        self.write(&crate::support::client::send_indication(peer, payload, false));
    }

    pub(crate) fn allocate_tcp(&mut self) -> SocketAddr {
        self.try_allocate_tcp().unwrap()
    }

    pub(crate) fn try_allocate_tcp(&mut self) -> Result<SocketAddr, u16> {
        let add = |builder: &mut MessageBuilder<'_>| {
            builder.attribute(&RequestedTransport::TCP);
        };
        self.request(Method::ALLOCATE, add, |answer| {
            answer.find::<XorRelayedAddress>().unwrap().unwrap().0
        })
    }

    /// Connects to a peer (RFC 6062 §4.3).
    pub(crate) fn connect_peer(&mut self, peer: SocketAddr) -> Result<ConnectionId, u16> {
        let add = |builder: &mut MessageBuilder<'_>| {
            builder.attribute(&XorPeerAddress(peer));
        };
        self.request(Method::CONNECT, add, |answer| {
            answer.find::<ConnectionId>().unwrap().unwrap()
        })
    }

    /// The next ConnectionAttempt indication (RFC 6062 §4.4).
    pub(crate) fn attempt(&mut self) -> (ConnectionId, SocketAddr) {
        loop {
            let frame = self.frame().expect("closed instead of an indication");
            let message = Message::parse(&frame).unwrap();
            if message.method() == Method::CONNECTION_ATTEMPT {
                let peer = message.find::<XorPeerAddress>().unwrap().unwrap().0;
                return (message.find::<ConnectionId>().unwrap().unwrap(), peer);
            }
        }
    }

    /// Makes `link` the client's half of a data connection; `behind` goes in one write with the request that does. Nothing is
    /// read beyond the answer.
    pub(crate) fn bind_connection(&self, link: &mut dyn Link, id: ConnectionId, behind: &[u8]) -> Result<(), u16> {
        let mut nonce: Option<String> = None;
        for _ in 0..2 {
            let mut buffer = [0; 1024];
            let mut builder =
                MessageBuilder::new(&mut buffer, Method::CONNECTION_BIND, Class::Request, transaction_id());
            builder.attribute(&id);
            if let Some(nonce) = &nonce {
                builder
                    .attribute(&Username::new(&self.username).unwrap())
                    .attribute(&Realm::new(&self.realm).unwrap())
                    .attribute(&Nonce::new(nonce).unwrap())
                    .integrity(self.key.as_ref().unwrap());
            }
            let len = builder.finish().unwrap();
            let mut bytes = buffer[..len].to_vec();
            if nonce.is_some() {
                bytes.extend_from_slice(behind);
            }
            link.write_all(&bytes).unwrap();
            link.flush().unwrap();
            let mut answer = vec![0; 20];
            link.read_exact(&mut answer).unwrap();
            let len = usize::from(u16::from_be_bytes([answer[2], answer[3]]));
            answer.resize(20 + len, 0);
            link.read_exact(&mut answer[20..]).unwrap();
            let answer = Message::parse(&answer).unwrap();
            if answer.class() == Class::Success {
                return Ok(());
            }
            match answer.find::<ErrorCodeAttribute<'_>>().unwrap().unwrap().code().value() {
                401 if nonce.is_none() => {
                    nonce = Some(answer.find::<Nonce<'_>>().unwrap().unwrap().as_str().to_owned());
                }
                code => return Err(code),
            }
        }
        panic!("challenged again")
    }

    /// The next channel data or Data indication.
    pub(crate) fn receive(&mut self) -> Option<Arrival> {
        loop {
            let frame = self.frame()?;
            if let Some(arrival) = arrival(&frame) {
                return Some(arrival);
            }
        }
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
            self.write(&buffer[..len]);
            let frame = loop {
                let frame = self.frame().expect("closed instead of an answer");
                if demux(&frame) == PacketKind::Stun && Message::parse(&frame).unwrap().transaction_id() == id {
                    break frame;
                }
            };
            let answer = Message::parse(&frame).unwrap();
            if answer.class() == Class::Success {
                return Ok(read(&answer));
            }
            let code = answer.find::<ErrorCodeAttribute<'_>>().unwrap().unwrap().code().value();
            if (code != 401 && code != 438) || (code == 401 && self.key.is_some()) {
                return Err(code);
            }
            self.realm = answer.find::<Realm<'_>>().unwrap().unwrap().as_str().to_owned();
            self.nonce = answer.find::<Nonce<'_>>().unwrap().unwrap().as_str().to_owned();
            self.key = Some(IntegrityKey::long_term_md5(&self.username, &self.realm, &self.password));
        }
        panic!("challenged again and again");
    }
}

fn arrival(frame: &[u8]) -> Option<Arrival> {
    if demux(frame) == PacketKind::ChannelData {
        let data = ChannelData::parse(frame).unwrap();
        assert_eq!(frame.len() % 4, 0, "ChannelData on a stream is padded (RFC 8656 §12.5)");
        return Some(Arrival::Channel(data.number.value(), frame[data.data_range()].to_vec()));
    }
    let message = Message::parse(frame).unwrap();
    (message.method() == Method::DATA).then(|| {
        let peer = message.find::<XorPeerAddress>().unwrap().unwrap().0;
        let data = message.find::<Data<'_>>().unwrap().unwrap().0.to_vec();
        Arrival::Data(peer, data)
    })
}
