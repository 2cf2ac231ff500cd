//! A relay that is listened to by DTLS, and a link to it.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dimpl::{Config, Dtls, DtlsCertificate, Output};
use meetpoint::telemetry::Metrics;
use meetpoint::transport::front::tls::{CertificateFiles, Certificates};
use meetpoint::transport::{self, Relay};
use rcgen::{CertifiedKey, KeyPair};
use tempfile::TempDir;

use crate::client::Client;
use crate::support::{Running, config, core_config};

/// How long a client waits for anything.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Stage {
    pub(crate) running: Running,
    /// Where DTLS is listened for, an address of each family.
    pub(crate) dtls: SocketAddr,
    pub(crate) dtls6: Option<SocketAddr>,
    pub(crate) certificates: Arc<Certificates>,
    pub(crate) files: CertificateFiles,
    _directory: TempDir,
}

pub(crate) fn certificate() -> CertifiedKey<KeyPair> {
    rcgen::generate_simple_self_signed(["turn.example.org".to_owned()]).unwrap()
}

/// Puts a certificate where the files say; its DER.
pub(crate) fn write(files: &CertificateFiles, made: &CertifiedKey<KeyPair>) -> Vec<u8> {
    std::fs::write(&files.chain, made.cert.pem()).unwrap();
    std::fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
    made.cert.der().to_vec()
}

pub(crate) fn files(directory: &TempDir) -> CertificateFiles {
    CertificateFiles {
        chain: directory.path().join("chain.pem"),
        key: directory.path().join("key.pem"),
    }
}

impl Stage {
    pub(crate) fn start(workers: usize) -> Self {
        Self::bounded(workers, transport::Dtls::default())
    }

    pub(crate) fn bounded(workers: usize, dtls: transport::Dtls) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let files = files(&directory);
        write(&files, &certificate());
        let certificates = Arc::new(Certificates::load_for_dtls(vec![files.clone()], None).unwrap());
        let mut listen_dtls: Vec<SocketAddr> = vec!["127.0.0.1:0".parse().unwrap()];
        if UdpSocket::bind("[::1]:0").is_ok() {
            listen_dtls.push("[::1]:0".parse().unwrap());
        }
        let config = transport::Config {
            listen_dtls,
            dtls,
            ..config(workers, &["127.0.0.1:0"])
        };
        let (core, metrics) = (core_config(), Metrics::new().unwrap());
        let relay = Relay::start_with(&config, &Arc::new(core.clone()), &metrics, Some(&certificates), None).unwrap();
        Self {
            dtls: relay.dtls_addrs()[0],
            dtls6: relay.dtls_addrs().get(1).copied(),
            running: Running { relay, metrics, core },
            certificates,
            files,
            _directory: directory,
        }
    }

    /// Waits until a metric has this value.
    pub(crate) fn assert_metric(&self, name: &str, value: u64) {
        assert_eq!(self.running.wait_for(name, |found| found == value), value, "{name}");
    }
}

/// What versions a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Speaks {
    Only12,
    Only13,
    Both,
}

/// A client's DTLS: each write is a message, each read gives one.
pub(crate) struct Link {
    dtls: Dtls,
    socket: UdpSocket,
    buffer: Vec<u8>,
    wake: Instant,
    connected: bool,
    closed: bool,
    heard: Vec<u8>,
    /// What was said last. It is said again while nothing comes: a busy machine loses datagrams, and requests over DTLS are
    /// repeated like those over UDP (RFC 8489 §6.2.3).
    last: Vec<u8>,
    pub(crate) certificate: Vec<u8>,
}

impl Link {
    /// Shakes hands from a socket.
    pub(crate) fn connect(socket: UdpSocket, server: SocketAddr, speaks: Speaks) -> Self {
        socket.connect(server).unwrap();
        let made = certificate();
        let own = DtlsCertificate {
            certificate: made.cert.der().to_vec(),
            private_key: made.signing_key.serialize_der(),
        };
        let config = Config::builder().require_client_certificate(false).build().unwrap();
        let (config, now) = (Arc::new(config), Instant::now());
        let mut dtls = match speaks {
            Speaks::Only12 => Dtls::new_12(config, own, now),
            Speaks::Only13 => Dtls::new_13(config, own, now),
            Speaks::Both => Dtls::new_auto(config, own, now),
        };
        dtls.set_active(true);
        dtls.handle_timeout(now).unwrap();
        let mut link = Self {
            dtls,
            socket,
            buffer: vec![0; 1 << 16],
            wake: now,
            connected: false,
            closed: false,
            heard: Vec::new(),
            last: Vec::new(),
            certificate: Vec::new(),
        };
        let until = now + PATIENCE;
        while !link.connected {
            assert!(Instant::now() < until, "no session within {PATIENCE:?}");
            link.turn();
        }
        link
    }

    /// Sends what there is to send; then waits for a datagram, or until something is due.
    fn turn(&mut self) {
        self.poll();
        let wait = self.wake.saturating_duration_since(Instant::now());
        let wait = wait.clamp(Duration::from_millis(1), Duration::from_millis(200));
        self.socket.set_read_timeout(Some(wait)).unwrap();
        let mut datagram = vec![0; 1 << 16];
        let received = self.socket.recv(&mut datagram);
        self.dtls.handle_timeout(Instant::now()).unwrap();
        if let Ok(len) = received {
            let _ = self.dtls.handle_packet(&datagram[..len]);
        }
        self.poll();
    }

    fn poll(&mut self) {
        loop {
            match self.dtls.poll_output(&mut self.buffer) {
                Output::Packet(packet) => {
                    let _ = self.socket.send(packet);
                }
                Output::Connected => self.connected = true,
                Output::PeerCert(der) => self.certificate = der.to_vec(),
                Output::ApplicationData(message) => self.heard.extend_from_slice(message),
                Output::CloseNotify => self.closed = true,
                Output::Timeout(wake) => {
                    self.wake = wake;
                    return;
                }
                _ => {}
            }
        }
    }

    /// Says that it goes.
    pub(crate) fn close(&mut self) {
        self.dtls.close().unwrap();
        self.poll();
    }
}

impl Read for Link {
    fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
        let until = Instant::now() + PATIENCE;
        let mut again = Instant::now() + Duration::from_secs(1);
        while self.heard.is_empty() {
            if Instant::now() > again && !self.closed {
                let last = self.last.clone();
                let _ = self.write(&last)?;
                again += Duration::from_secs(1);
            }
            if self.closed {
                return Ok(0);
            }
            if Instant::now() > until {
                return Err(io::ErrorKind::TimedOut.into());
            }
            self.turn();
        }
        let len = self.heard.len().min(space.len());
        space[..len].copy_from_slice(&self.heard[..len]);
        self.heard.drain(..len);
        Ok(len)
    }
}

impl Write for Link {
    fn write(&mut self, message: &[u8]) -> io::Result<usize> {
        self.dtls.handle_timeout(Instant::now()).unwrap();
        self.dtls.send_application_data(message).unwrap();
        self.poll();
        self.last = message.to_vec();
        Ok(message.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A socket on loopback, of the family of the server.
pub(crate) fn socket_for(server: SocketAddr) -> UdpSocket {
    let local = if server.is_ipv4() { "127.0.0.1:0" } else { "[::1]:0" };
    UdpSocket::bind(local).unwrap()
}

/// A TURN client with a session.
pub(crate) fn client(server: SocketAddr, speaks: Speaks) -> Client {
    client_on(socket_for(server), server, speaks)
}

pub(crate) fn client_on(socket: UdpSocket, server: SocketAddr, speaks: Speaks) -> Client {
    let local = socket.local_addr().unwrap();
    let link = Link::connect(socket, server, speaks);
    Client::over(Box::new(link), local, server)
}
