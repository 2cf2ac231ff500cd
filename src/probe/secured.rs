//! DTLS on the client's leg (RFC 7350), by the crate that the relay's own listeners use.
//!
//! It speaks ECDSA alone and shows the first certificate alone. So a server that answers, and with which no handshake comes about, says
//! nothing of itself; and a certificate is held against the name, not against authorities. What goes through here is what goes over
//! plain UDP as well.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use dimpl::{Config, Dtls, DtlsCertificate, Output};
use rustls::client::verify_server_name;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::ParsedCertificate;
use tokio::net::UdpSocket;
use tokio::time::{sleep_until, timeout_at};

use super::fault::Fault;
use crate::telemetry::labels::ProbeFault;

/// First wait for an answer of the handshake; each further one is about twice as long.
const RTO: Duration = Duration::from_millis(250);
/// The longest datagram that is read, and the longest output of the library.
const MAX_DATAGRAM: usize = 1 << 16;
/// Messages that may wait to be read. What comes beyond is lost, as datagrams are.
const MAX_WAITING: usize = 32;
/// Pieces of output at a time: more than a flight and all that may wait.
const MAX_PIECES: usize = 256;

/// A socket that is connected to the server, with DTLS on it.
pub(super) struct Secured {
    socket: UdpSocket,
    dtls: Dtls,
    /// Where the library writes.
    out: Box<[u8]>,
    /// Where datagrams are read to.
    buffer: Box<[u8]>,
    unsent: VecDeque<Vec<u8>>,
    messages: VecDeque<Vec<u8>>,
    /// The message that was given out last.
    given: Vec<u8>,
    certificate: Option<Vec<u8>>,
    wake: Instant,
    /// Something has come from the server that speaks DTLS.
    is_heard: bool,
    is_connected: bool,
    is_closed: bool,
}

impl Secured {
    /// Agrees with the server on keys, until then.
    pub(super) async fn open(socket: UdpSocket, host: &str, until: tokio::time::Instant) -> Result<Self, Fault> {
        let now = Instant::now();
        let mut dtls = Dtls::new_auto(config()?, nobody()?, now);
        dtls.set_active(true);
        let started = dtls.handle_timeout(now);
        started.map_err(|error| local(&error.to_string()))?;
        let mut this = Self {
            socket,
            dtls,
            out: vec![0; MAX_DATAGRAM].into(),
            buffer: vec![0; MAX_DATAGRAM].into(),
            unsent: VecDeque::new(),
            messages: VecDeque::new(),
            given: Vec::new(),
            certificate: None,
            wake: now,
            is_heard: false,
            is_connected: false,
            is_closed: false,
        };
        this.drain()?;
        match timeout_at(until, this.shake_hands()).await {
            Ok(shaken) => shaken?,
            Err(_) if this.is_heard => return Err(local("no agreement in time")),
            Err(_) => return Err(Fault::silent()),
        }
        this.verify(host)?;
        Ok(this)
    }

    async fn shake_hands(&mut self) -> Result<(), Fault> {
        while !self.is_connected {
            if self.is_closed {
                return Err(local("the server ended the handshake"));
            }
            self.step().await?;
        }
        Ok(())
    }

    fn verify(&self, host: &str) -> Result<(), Fault> {
        let failed = |text: String| Fault::new(ProbeFault::Tls, text);
        let name = ServerName::try_from(host.to_owned());
        let name = name.map_err(|_| failed(format!("`{host}` is no name for DTLS")))?;
        let der = CertificateDer::from(self.certificate.as_deref().unwrap_or_default());
        let verified = ParsedCertificate::try_from(&der).and_then(|parsed| verify_server_name(&parsed, &name));
        verified.map_err(|error| failed(format!("DTLS: {error}")))
    }

    /// Nothing that was read or is to be sent is lost where this is dropped.
    async fn step(&mut self) -> Result<(), Fault> {
        let failed = |error: io::Error| Fault::of_socket("DTLS", &error);
        while let Some(datagram) = self.unsent.front() {
            self.socket.send(datagram).await.map_err(failed)?;
            self.unsent.pop_front();
        }
        let read = tokio::select! {
            read = self.socket.recv(&mut self.buffer) => Some(read.map_err(failed)?),
            () = sleep_until(self.wake.into()) => None,
        };
        let mut done = self.dtls.handle_timeout(Instant::now());
        if let Some(len) = read {
            // A record of DTLS, in the clear or not (RFC 9147 §4.1).
            self.is_heard |= self.buffer.first().is_some_and(|first| (20..=63).contains(first));
            let datagram = self.buffer.get(..len).unwrap_or_default();
            done = done.and_then(|()| self.dtls.handle_packet(datagram));
        }
        done.map_err(|error| match (self.is_connected, self.is_heard) {
            (true, _) => Fault::new(ProbeFault::Closed, format!("DTLS: {error}")),
            (false, true) => local(&error.to_string()),
            (false, false) => Fault::silent(),
        })?;
        self.drain()
    }

    /// Takes everything out of the library.
    fn drain(&mut self) -> Result<(), Fault> {
        for _ in 0..MAX_PIECES {
            match self.dtls.poll_output(&mut self.out) {
                Output::Packet(datagram) => self.unsent.push_back(datagram.to_vec()),
                Output::PeerCert(der) => self.certificate = Some(der.to_vec()),
                Output::Connected => self.is_connected = true,
                Output::ApplicationData(message) if self.messages.len() < MAX_WAITING => {
                    self.messages.push_back(message.to_vec());
                }
                Output::CloseNotify => self.is_closed = true,
                Output::Timeout(wake) => {
                    self.wake = wake;
                    return Ok(());
                }
                _ => {}
            }
        }
        Err(Fault::bad_answer("what comes has no end"))
    }

    pub(super) async fn send(&mut self, message: &[u8]) -> Result<(), Fault> {
        let sealed = self.dtls.send_application_data(message);
        sealed.map_err(|error| Fault::new(ProbeFault::Closed, format!("DTLS: {error}")))?;
        self.drain()?;
        while let Some(datagram) = self.unsent.front() {
            let sent = self.socket.send(datagram).await;
            sent.map_err(|error| Fault::of_socket("DTLS", &error))?;
            self.unsent.pop_front();
        }
        Ok(())
    }

    /// The next message. May be dropped at any time.
    pub(super) async fn receive(&mut self) -> Result<&[u8], Fault> {
        loop {
            if let Some(message) = self.messages.pop_front() {
                self.given = message;
                return Ok(&self.given);
            }
            if self.is_closed {
                return Err(Fault::new(ProbeFault::Closed, "the server ended the session"));
            }
            self.step().await?;
        }
    }
}

/// Says that it is over, so that the server keeps nothing for it.
impl Drop for Secured {
    fn drop(&mut self) {
        if self.dtls.close().is_ok() && self.drain().is_ok() {
            for datagram in &self.unsent {
                let _ = self.socket.try_send(datagram);
            }
        }
    }
}

/// A handshake that came to nothing although the server answers.
fn local(why: &str) -> Fault {
    Fault::new(ProbeFault::Local, format!("no DTLS that both sides speak: {why}"))
}

/// Making it tests the cryptography, so once.
fn config() -> Result<Arc<Config>, Fault> {
    static CONFIG: OnceLock<Option<Arc<Config>>> = OnceLock::new();
    let made = CONFIG.get_or_init(|| {
        let builder = Config::builder().require_client_certificate(false);
        builder.flight_start_rto(RTO).build().ok().map(Arc::new)
    });
    made.clone().ok_or_else(|| local("there is no cryptography for it"))
}

/// The library wants a certificate, which no TURN server asks for (RFC 7350 has none): one of nobody, with a key that is nowhere else.
fn nobody() -> Result<DtlsCertificate, Fault> {
    // ECPrivateKey (RFC 5915 §3) of P-256: version 1 and a number below the order of the curve.
    let mut private_key = vec![0x30, 0x25, 2, 1, 1, 4, 32];
    let mut number = [0; 32];
    getrandom::fill(&mut number).map_err(|error| local(&error.to_string()))?;
    number[0] &= 0x7f;
    number[31] |= 1;
    private_key.extend_from_slice(&number);
    Ok(DtlsCertificate {
        certificate: vec![0x30, 0],
        private_key,
    })
}
