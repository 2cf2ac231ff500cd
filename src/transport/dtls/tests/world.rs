//! A table of sessions and clients of the library itself, in virtual time, on a network that is the test's.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dimpl::{Config, Dtls as Client, DtlsCertificate, Output};

use super::super::Dtls;
use super::super::session::Scratch;
use super::super::table::{Heard, Shared, Table};
use crate::telemetry::{DriverStats, DtlsEnd, DtlsPhase, DtlsRefusal};
use crate::transport::front::tls::{CertificateFiles, Certificates};
use crate::turn::{ClientAddr, FiveTuple, ListenAddr, Transport};

pub(super) const SERVER: &str = "192.0.2.9:5349";

/// The server's side.
pub(super) struct World {
    pub(super) table: Table,
    pub(super) stats: DriverStats,
    pub(super) now: Instant,
    scratch: Scratch,
    /// What clients said, with the 5-tuple they said it from.
    pub(super) said: Vec<(FiveTuple, Vec<u8>)>,
    /// Whose allocation ended because its session did.
    pub(super) gone: Vec<FiveTuple>,
    /// Whether clients have an allocation.
    pub(super) in_use: bool,
    _directory: tempfile::TempDir,
}

pub(super) fn tuple(client: &str) -> FiveTuple {
    FiveTuple {
        transport: Transport::Dtls,
        client: ClientAddr(client.parse().unwrap()),
        server: ListenAddr(SERVER.parse().unwrap()),
    }
}

pub(super) fn certificate() -> rcgen::CertifiedKey<rcgen::KeyPair> {
    rcgen::generate_simple_self_signed(["turn.example.org".to_owned()]).unwrap()
}

impl World {
    pub(super) fn new() -> Self {
        Self::bounded(Dtls::default())
    }

    pub(super) fn bounded(bounds: Dtls) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let files = CertificateFiles {
            chain: directory.path().join("chain.pem"),
            key: directory.path().join("key.pem"),
        };
        let made = certificate();
        std::fs::write(&files.chain, made.cert.pem()).unwrap();
        std::fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
        let certificates = Certificates::load_for_dtls(vec![files], None).unwrap();
        let shared = Shared::new(&bounds, Arc::new(certificates), 1).unwrap();
        let now = Instant::now();
        Self {
            table: Table::new(shared, [3; 32], now),
            stats: DriverStats::default(),
            now,
            scratch: Scratch::new(),
            said: Vec::new(),
            gone: Vec::new(),
            in_use: false,
            _directory: directory,
        }
    }

    /// A datagram for the server; what it sends to that client.
    pub(super) fn receive(&mut self, from: &FiveTuple, datagram: &[u8]) -> Vec<Vec<u8>> {
        let heard = self
            .table
            .receive(&mut self.stats, self.now, from, datagram, &mut self.scratch);
        let mut sent = Vec::new();
        if let Heard::Admitted(admission) = heard {
            self.finish();
            self.table
                .open(&mut self.stats, self.now, from, &admission, &mut self.scratch);
        }
        sent.extend(self.scratch.packets().map(<[u8]>::to_vec));
        let said = self.scratch.messages().map(|message| (*from, message.to_vec()));
        self.said.extend(said);
        sent.extend(
            self.finish()
                .into_iter()
                .filter(|(to, _)| to == from)
                .map(|(_, bytes)| bytes),
        );
        sent
    }

    /// Ends what is to end; the last words.
    pub(super) fn finish(&mut self) -> Vec<(FiveTuple, Vec<u8>)> {
        let mut sent = Vec::new();
        while let Some(five_tuple) = self.table.close_next(&mut self.stats, self.now) {
            sent.extend(self.table.sealed.packets().map(|bytes| (five_tuple, bytes.to_vec())));
            self.table.sealed.clear();
            self.gone.push(five_tuple);
        }
        sent
    }

    /// Lets time pass; what the server sends meanwhile, and to whom.
    pub(super) fn advance(&mut self, time: Duration) -> Vec<(FiveTuple, Vec<u8>)> {
        let end = self.now + time;
        let mut sent = Vec::new();
        while let Some(due) = self.table.next_deadline().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            let in_use = self.in_use;
            while let Some(woken) = self.table.wake_next(self.now, |_| in_use, &mut self.scratch) {
                sent.extend(self.scratch.packets().map(|bytes| (woken, bytes.to_vec())));
            }
            sent.extend(self.finish());
        }
        self.now = end;
        sent
    }

    pub(super) fn seal(&mut self, to: &FiveTuple, message: &[u8]) -> Vec<Vec<u8>> {
        let sealed = self.table.seal(self.now, to, &[], message, 0);
        assert_eq!(sealed, Ok(()));
        self.table.sealed.packets().map(<[u8]>::to_vec).collect()
    }

    pub(super) fn sessions(&self) -> (u64, u64) {
        let of = |phase: DtlsPhase| self.stats.dtls_sessions[phase.index()];
        (of(DtlsPhase::Handshake), of(DtlsPhase::Established))
    }

    pub(super) fn ended(&self, why: DtlsEnd) -> u64 {
        self.stats.dtls_ended[why.index()]
    }

    pub(super) fn refused(&self, why: DtlsRefusal) -> u64 {
        self.stats.dtls_refused[why.index()]
    }
}

/// Which versions a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Speaks {
    Only12,
    Only13,
    Both,
}

pub(super) const ALL: [Speaks; 3] = [Speaks::Only12, Speaks::Only13, Speaks::Both];

/// A client.
pub(super) struct Peer {
    pub(super) dtls: Client,
    pub(super) from: FiveTuple,
    pub(super) connected: bool,
    pub(super) closed: bool,
    pub(super) heard: Vec<Vec<u8>>,
    pub(super) certificate: Vec<u8>,
    pub(super) wake: Instant,
    buffer: Vec<u8>,
}

pub(super) fn client_config() -> dimpl::ConfigBuilder {
    // Patient enough for networks that lose most of what is sent first.
    Config::builder().require_client_certificate(false).flight_retries(8)
}

impl Peer {
    pub(super) fn new(world: &World, from: &str, speaks: Speaks) -> Self {
        Self::with(world, from, speaks, client_config())
    }

    pub(super) fn with(world: &World, from: &str, speaks: Speaks, config: dimpl::ConfigBuilder) -> Self {
        let made = certificate();
        let certificate = DtlsCertificate {
            certificate: made.cert.der().to_vec(),
            private_key: made.signing_key.serialize_der(),
        };
        let config = Arc::new(config.build().unwrap());
        let mut dtls = match speaks {
            Speaks::Only12 => Client::new_12(config, certificate, world.now),
            Speaks::Only13 => Client::new_13(config, certificate, world.now),
            Speaks::Both => Client::new_auto(config, certificate, world.now),
        };
        dtls.set_active(true);
        dtls.handle_timeout(world.now).unwrap();
        Self {
            dtls,
            from: tuple(from),
            connected: false,
            closed: false,
            heard: Vec::new(),
            certificate: Vec::new(),
            wake: world.now,
            buffer: vec![0; 1 << 16],
        }
    }

    /// What it sends now.
    pub(super) fn poll(&mut self) -> Vec<Vec<u8>> {
        let mut sent = Vec::new();
        loop {
            match self.dtls.poll_output(&mut self.buffer) {
                Output::Packet(packet) => sent.push(packet.to_vec()),
                Output::Connected => self.connected = true,
                Output::PeerCert(der) => self.certificate = der.to_vec(),
                Output::ApplicationData(message) => self.heard.push(message.to_vec()),
                Output::CloseNotify => self.closed = true,
                Output::Timeout(wake) => {
                    self.wake = wake;
                    return sent;
                }
                _ => {}
            }
        }
    }

    pub(super) fn receive(&mut self, now: Instant, datagram: &[u8]) {
        self.dtls.handle_timeout(now).unwrap();
        self.dtls.handle_packet(datagram).unwrap();
    }

    /// One datagram of a message.
    pub(super) fn say(&mut self, message: &[u8]) -> Vec<u8> {
        self.dtls.send_application_data(message).unwrap();
        let mut sent = self.poll();
        assert_eq!(sent.len(), 1);
        sent.remove(0)
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.from.client.0
    }
}

/// What a network does to the `nth` datagram of a direction.
pub(super) trait Network {
    /// The datagrams that arrive, in this order, in place of the ones that were sent together.
    fn carry(&mut self, to_server: bool, datagrams: Vec<Vec<u8>>) -> Vec<Vec<u8>>;
}

/// Carries everything.
pub(super) struct Good;

impl Network for Good {
    fn carry(&mut self, _: bool, datagrams: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
        datagrams
    }
}

/// Lets both talk until the client is connected and nothing is on its way; whether it came to that within `patience`.
pub(super) fn talk(world: &mut World, client: &mut Peer, network: &mut impl Network, patience: Duration) -> bool {
    let end = world.now + patience;
    let mut to_client: Vec<Vec<u8>> = Vec::new();
    loop {
        let mut to_server = network.carry(true, client.poll());
        for datagram in to_server.drain(..) {
            to_client.extend(world.receive(&client.from, &datagram));
        }
        let arriving = network.carry(false, std::mem::take(&mut to_client));
        let quiet = arriving.is_empty();
        for datagram in arriving {
            client.receive(world.now, &datagram);
        }
        if !quiet {
            continue;
        }
        let more = network.carry(true, client.poll());
        if !more.is_empty() {
            for datagram in more {
                to_client.extend(world.receive(&client.from, &datagram));
            }
            continue;
        }
        if client.connected && world.sessions().1 > 0 {
            return true;
        }
        let server_due = world.table.next_deadline().unwrap_or(end);
        let due = client.wake.min(server_due).max(world.now + Duration::from_millis(1));
        if due >= end {
            return false;
        }
        let passed = due - world.now;
        to_client.extend(world.advance(passed).into_iter().map(|(_, bytes)| bytes));
        if client.dtls.handle_timeout(world.now).is_err() {
            return false;
        }
    }
}

/// A client that has a session.
pub(super) fn connected(world: &mut World, from: &str, speaks: Speaks) -> Peer {
    let mut client = Peer::new(world, from, speaks);
    assert!(
        talk(world, &mut client, &mut Good, Duration::from_secs(5)),
        "{speaks:?}"
    );
    client
}
