//! Another implementation's client (`turn-client-proto`) over our streams: allocations of UDP and of TCP, by TCP and by TLS.
//!
//! Not here: connections from peers. This client (0.7.3) waits for a ConnectionAttempt request, where RFC 6062 §5.3 and coturn have an
//! indication; `tests/interop/tcp_relay.rs` shows that side with coturn's client. And it must be told that it may use SHA-256: with
//! MD5 alone it takes our offer of PASSWORD-ALGORITHMS, and then looks for MESSAGE-INTEGRITY in an answer that has
//! MESSAGE-INTEGRITY-SHA256 (RFC 8489 §9.2.4).

use std::collections::HashMap;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::time::{Duration, Instant as Clock};

use meetpoint::credentials::{self, KeyRing, UnixTime};
use turn_client_proto::api::{TurnConfig, TurnEvent, TurnPollRet, TurnRecvRet};
use turn_client_proto::prelude::TurnClientApi as _;
use turn_client_proto::stun::Instant;
use turn_client_proto::stun::agent::Transmit;
use turn_client_proto::stun::types::TransportType;
use turn_client_proto::stun::types::message::IntegrityAlgorithm;
use turn_client_proto::tcp::TurnClientTcp;
use turn_client_proto::types::TurnCredentials;

use crate::client::Link;
use crate::stage::Stage;
use crate::support::SECRET;
use crate::tcp_relay::{Leg, expect, noise, patient, stage};

/// That client with its sockets: the control connection, and one for each data connection.
struct Session<'s> {
    stage: &'s Stage,
    leg: Leg,
    client: TurnClientTcp,
    links: HashMap<SocketAddr, Box<dyn Link>>,
    events: Vec<TurnEvent>,
    received: Vec<u8>,
    /// What its clock counts from.
    began: Clock,
}

impl<'s> Session<'s> {
    fn start(stage: &'s Stage, leg: Leg, allocation: TransportType) -> Self {
        let ring = KeyRing::from_bytes([SECRET]).unwrap();
        let now = UnixTime::from_system_time(std::time::SystemTime::now());
        let credential = credentials::mint(&ring, now, "proto", Duration::from_secs(600)).unwrap();
        let mut config = TurnConfig::new(TurnCredentials::new(&credential.username, credential.password.as_str()));
        config.set_allocation_transport(allocation);
        config.add_supported_integrity(IntegrityAlgorithm::Sha256);
        let (local, link) = dial(stage, leg);
        Self {
            stage,
            leg,
            client: TurnClientTcp::allocate(local, server(stage, leg), config),
            links: HashMap::from([(local, link)]),
            events: Vec::new(),
            received: Vec::new(),
            began: Clock::now(),
        }
    }

    fn now(&self) -> Instant {
        Instant::from_std(self.began)
    }

    /// One turn: writes, reads, and does what the client asks for.
    fn turn(&mut self) {
        let now = self.now();
        loop {
            match self.client.poll(now) {
                TurnPollRet::AllocateTcpSocket { id, socket, peer_addr } => {
                    let (local, link) = dial(self.stage, self.leg);
                    self.links.insert(local, link);
                    self.client
                        .allocated_tcp_socket(id, socket, peer_addr, Some(local), now)
                        .unwrap();
                }
                TurnPollRet::TcpClose { local_addr, .. } => drop(self.links.remove(&local_addr)),
                _ => break,
            }
        }
        while let Some(transmit) = self.client.poll_transmit(now) {
            self.write(&transmit.from, &transmit.data);
        }
        self.events.extend(std::iter::from_fn(|| self.client.poll_event()));
        let locals: Vec<_> = self.links.keys().copied().collect();
        for local in locals {
            let mut buffer = vec![0; 4096];
            match self.links.get_mut(&local).unwrap().read(&mut buffer) {
                Ok(count) => buffer.truncate(count),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => continue,
                Err(error) => panic!("{error}"),
            }
            let from = server(self.stage, self.leg);
            let arrived = Transmit::new(buffer, TransportType::Tcp, from, local);
            if let TurnRecvRet::PeerData(data) = self.client.recv(arrived, now) {
                self.received.extend_from_slice(data.data());
            }
            while let Some(data) = self.client.poll_recv(now) {
                self.received.extend_from_slice(data.data());
            }
        }
    }

    fn write(&mut self, from: &SocketAddr, data: &[u8]) {
        let link = self.links.get_mut(from).unwrap();
        link.write_all(data).unwrap();
        link.flush().unwrap();
    }

    /// Takes turns until something has happened.
    fn until<T>(&mut self, mut happened: impl FnMut(&mut Self) -> Option<T>) -> T {
        let end = Clock::now() + Duration::from_secs(20);
        loop {
            if let Some(found) = happened(self) {
                return found;
            }
            assert!(Clock::now() < end, "{:?} and no more", self.events);
            self.turn();
        }
    }

    fn relayed(&mut self) -> SocketAddr {
        self.until(|session| {
            session.events.iter().find_map(|event| match event {
                TurnEvent::AllocationCreated(_, relayed) => Some(*relayed),
                _ => None,
            })
        })
    }

    fn permit(&mut self, transport: TransportType, peer: SocketAddr) {
        let now = self.now();
        self.client.create_permission(transport, peer.ip(), now).unwrap();
        self.until(|session| session.client.have_permission(transport, peer.ip()).then_some(()));
    }

    fn send(&mut self, transport: TransportType, peer: SocketAddr, data: &[u8]) {
        let now = self.now();
        let sent = self
            .client
            .send_to(transport, peer, data, now)
            .unwrap()
            .unwrap()
            .build();
        self.write(&sent.from, &sent.data);
    }

    fn expect(&mut self, bytes: &[u8]) {
        self.until(|session| (session.received.len() >= bytes.len()).then_some(()));
        assert!(self.received == bytes);
        self.received.clear();
    }
}

fn server(stage: &Stage, leg: Leg) -> SocketAddr {
    match leg {
        Leg::Tcp => stage.tcp,
        Leg::Tls => stage.tls,
    }
}

fn dial(stage: &Stage, leg: Leg) -> (SocketAddr, Box<dyn Link>) {
    let (link, socket) = leg.link(stage);
    socket.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
    (socket.local_addr().unwrap(), link)
}

#[test]
fn an_allocation_of_udp_relays() {
    for leg in Leg::BOTH {
        let stage = Stage::start(1);
        let mut session = Session::start(&stage, leg, TransportType::Udp);
        let relayed = session.relayed();
        let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
        peer.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let peer_addr = peer.local_addr().unwrap();
        session.permit(TransportType::Udp, peer_addr);
        session.send(TransportType::Udp, peer_addr, b"by indication");
        let mut buffer = [0; 100];
        assert_eq!(peer.recv_from(&mut buffer).unwrap(), (13, relayed));
        peer.send_to(b"and back", relayed).unwrap();
        session.expect(b"and back");
    }
}

#[test]
fn a_connection_to_a_peer_carries_bytes_both_ways() {
    for leg in Leg::BOTH {
        for workers in [1, 3] {
            let stage = stage(workers);
            let mut session = Session::start(&stage, leg, TransportType::Tcp);
            let relayed = session.relayed();
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let peer_addr = listener.local_addr().unwrap();
            session.permit(TransportType::Tcp, peer_addr);
            let now = session.now();
            session.client.tcp_connect(peer_addr, now).unwrap();
            session.until(|session| {
                let connected =
                    |event: &TurnEvent| matches!(event, TurnEvent::TcpConnected(peer) if *peer == peer_addr);
                session.events.iter().any(connected).then_some(())
            });
            let (peer, from) = listener.accept().unwrap();
            assert_eq!(from, relayed);
            let mut peer = patient(peer);
            let bytes = noise(10_000);
            session.send(TransportType::Tcp, peer_addr, &bytes);
            expect(&mut peer, &bytes);
            std::io::Write::write_all(&mut peer, &bytes).unwrap();
            session.expect(&bytes);
        }
    }
}
