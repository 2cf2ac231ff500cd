//! A STUN and TURN client, as small as a probe needs it, in messages of the `stun` and `turn` crates: code that shares nothing with
//! our server.
//!
//! The client that comes with the `turn` crate keeps tasks and sockets for every allocation until the process ends. `meetpoint check`
//! could live with that; a process that probes for months cannot. There is no task in here: what is dropped is over.

use std::net::SocketAddr;
use std::time::Duration;

use ::stun::agent::TransactionId;
use ::stun::attributes::{ATTR_NONCE, ATTR_REALM, ATTR_USERNAME, ATTR_XORMAPPED_ADDRESS};
use ::stun::error_code::ErrorCodeAttribute;
use ::stun::fingerprint::FINGERPRINT;
use ::stun::integrity::MessageIntegrity;
use ::stun::message::{
    BINDING_REQUEST, CLASS_ERROR_RESPONSE, CLASS_INDICATION, CLASS_REQUEST, CLASS_SUCCESS_RESPONSE, Getter as _,
    METHOD_ALLOCATE, METHOD_CREATE_PERMISSION, METHOD_DATA, METHOD_REFRESH, METHOD_SEND, Message, MessageType, Method,
    Setter,
};
use ::stun::textattrs::TextAttribute;
use ::stun::xoraddr::XorMappedAddress;
use ::turn::proto::PROTO_UDP;
use ::turn::proto::data::Data;
use ::turn::proto::lifetime::Lifetime;
use ::turn::proto::peeraddr::PeerAddress;
use ::turn::proto::relayaddr::RelayedAddress;
use ::turn::proto::reqtrans::RequestedTransport;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;

use super::fault::Fault;
use super::leg::Leg;
use super::place::Way;
use crate::telemetry::labels::ProbeFault;

/// First wait for an answer to a datagram; each further one is twice as long (RFC 8489 §6.2.1 says 500 ms, for an Internet that is
/// not known; a relay that takes longer than this is answered late, and not taken for dead).
const RTO: Duration = Duration::from_millis(250);
/// Messages that answer nothing, before one gives up on who sends them.
const MAX_STRAYS: usize = 32;
/// How long a server may take to confirm the end of an allocation. It has worked by then: what it says changes nothing.
const FAREWELL: Duration = Duration::from_secs(1);

/// Name and password for a TURN server.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// USERNAME.
    pub username: String,
    /// The password.
    pub credential: String,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login")
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

/// A server at one address, and how long it may take for all that is asked of it.
pub struct Client<'a> {
    /// Over what.
    pub way: Way,
    /// Where.
    pub server: SocketAddr,
    /// Whom its certificate must be for.
    pub host: &'a str,
    /// What certificates are believed.
    pub tls: &'a TlsConnector,
    /// When patience ends.
    pub until: Instant,
}

impl Client<'_> {
    /// A Binding request (RFC 8489 §7): which address does the server see?
    ///
    /// # Errors
    /// The first thing that goes wrong.
    pub async fn binding(&self) -> Result<SocketAddr, Fault> {
        let mut line = self.line().await?;
        let request = build(&[Box::new(TransactionId::new()), Box::new(BINDING_REQUEST)])?;
        let answer = line.ask(&request, self.until).await?;
        if let Some(code) = error_code(&answer) {
            return Err(Fault::answered("Binding", code));
        }
        let mut mapped = XorMappedAddress::default();
        let found = mapped.get_from_as(&answer, ATTR_XORMAPPED_ADDRESS);
        found.map_err(|_| Fault::bad_answer("the answer says no address"))?;
        Ok(SocketAddr::new(mapped.ip, mapped.port))
    }

    /// An allocation (RFC 8656 §7).
    ///
    /// # Errors
    /// The first thing that goes wrong, an answer that is an error among them.
    pub async fn allocate(&self, login: &Login) -> Result<Allocation, Fault> {
        let mut line = self.line().await?;
        let wish = || -> Vec<Box<dyn Setter>> {
            vec![
                Box::new(TransactionId::new()),
                Box::new(MessageType::new(METHOD_ALLOCATE, CLASS_REQUEST)),
                Box::new(RequestedTransport { protocol: PROTO_UDP }),
            ]
        };
        let first = build(&wish())?;
        let challenge = line.ask(&first, self.until).await?;
        match error_code(&challenge) {
            Some(401) => {}
            Some(code) => return Err(Fault::answered("Allocate", code)),
            None => return Err(Fault::bad_answer("the server asks for no credentials")),
        }
        let mut signer = Signer::new(login, &challenge)?;
        let mut answer = line.ask_signed(&signer, wish, self.until).await?;
        if error_code(&answer) == Some(438) {
            // A nonce may grow old between two requests; it may not do so every time.
            signer.take_nonce(&answer)?;
            answer = line.ask_signed(&signer, wish, self.until).await?;
        }
        if let Some(code) = error_code(&answer) {
            return Err(Fault::answered("Allocate", code));
        }
        signer.verify(&mut answer)?;
        let mut relayed = RelayedAddress::default();
        let found = relayed.get_from(&answer);
        found.map_err(|_| Fault::bad_answer("the answer says no relayed address"))?;
        Ok(Allocation {
            line,
            signer,
            relayed: SocketAddr::new(relayed.ip, relayed.port),
        })
    }

    async fn line(&self) -> Result<Line, Fault> {
        let opening = Leg::open(self.way, self.server, self.host, self.tls, self.until);
        if self.way == Way::Dtls {
            return Ok(Line { leg: opening.await? });
        }
        let opened = timeout_at(self.until, opening).await;
        let too_long = |_| match self.way {
            Way::Tls => Fault::new(ProbeFault::Silent, "no connection with TLS in time"),
            _ => Fault::new(ProbeFault::Unreachable, "no connection in time"),
        };
        Ok(Line {
            leg: opened.map_err(too_long)??,
        })
    }
}

/// A living allocation. Dropped without [`Allocation::close`] it stays at the server until its lifetime ends.
pub struct Allocation {
    line: Line,
    signer: Signer,
    relayed: SocketAddr,
}

impl Allocation {
    /// The relayed address.
    #[must_use]
    pub const fn relayed(&self) -> SocketAddr {
        self.relayed
    }

    /// CreatePermission (RFC 8656 §10).
    ///
    /// # Errors
    /// As it is answered.
    pub async fn permit(&mut self, peer: SocketAddr, until: Instant) -> Result<(), Fault> {
        let request = || -> Vec<Box<dyn Setter>> {
            let (ip, port) = (peer.ip(), peer.port());
            vec![
                Box::new(TransactionId::new()),
                Box::new(MessageType::new(METHOD_CREATE_PERMISSION, CLASS_REQUEST)),
                Box::new(PeerAddress { ip, port }),
            ]
        };
        let answer = self.line.ask_signed(&self.signer, request, until).await?;
        match error_code(&answer) {
            Some(code) => Err(Fault::answered("CreatePermission", code)),
            None => Ok(()),
        }
    }

    /// Sends to a peer (RFC 8656 §11.1).
    ///
    /// # Errors
    /// When the leg is broken.
    pub async fn send(&mut self, peer: SocketAddr, payload: &[u8], until: Instant) -> Result<(), Fault> {
        let (ip, port) = (peer.ip(), peer.port());
        let message = build(&[
            Box::new(TransactionId::new()),
            Box::new(MessageType::new(METHOD_SEND, CLASS_INDICATION)),
            Box::new(PeerAddress { ip, port }),
            Box::new(Data(payload.to_vec())),
        ])?;
        let sent = timeout_at(until, self.line.leg.send(&message.raw)).await;
        sent.unwrap_or_else(|_| Err(Fault::silent()))
    }

    /// What a peer sent next (RFC 8656 §11.4).
    ///
    /// # Errors
    /// When nothing comes in time, or the leg is broken.
    pub async fn receive(&mut self, until: Instant) -> Result<Vec<u8>, Fault> {
        let data = MessageType::new(METHOD_DATA, CLASS_INDICATION);
        loop {
            let bytes = timeout_at(until, self.line.leg.receive()).await;
            let Ok(message) = decode(bytes.map_err(|_| Fault::silent())??) else {
                continue;
            };
            let mut payload = Data::default();
            if message.typ == data && payload.get_from(&message).is_ok() {
                return Ok(payload.0);
            }
        }
    }

    /// Ends it (RFC 8656 §8), so that the server has its port back now and not in ten minutes. For no longer than a second.
    pub async fn close(mut self) {
        let until = Instant::now() + FAREWELL;
        let request = || -> Vec<Box<dyn Setter>> {
            vec![
                Box::new(TransactionId::new()),
                Box::new(MessageType::new(METHOD_REFRESH, CLASS_REQUEST)),
                Box::new(Lifetime(Duration::ZERO)),
            ]
        };
        if let Ok(answer) = self.line.ask_signed(&self.signer, request, until).await
            && error_code(&answer) == Some(438)
            && self.signer.take_nonce(&answer).is_ok()
        {
            let _ = self.line.ask_signed(&self.signer, request, until).await;
        }
    }
}

/// A leg on which one request is under way at a time.
struct Line {
    leg: Leg,
}

impl Line {
    async fn ask_signed(
        &mut self,
        signer: &Signer,
        request: impl Fn() -> Vec<Box<dyn Setter>>,
        until: Instant,
    ) -> Result<Message, Fault> {
        // The parts are gone before anything waits: they cannot go to another thread.
        let request = signer.sign(request())?;
        self.ask(&request, until).await
    }

    /// The answer to a request, which is sent again where datagrams may be lost.
    async fn ask(&mut self, request: &Message, until: Instant) -> Result<Message, Fault> {
        let mut strays = 0;
        let mut wait = RTO;
        loop {
            let patience = if self.leg.is_reliable() {
                until
            } else {
                until.min(Instant::now() + wait)
            };
            wait *= 2;
            let turn = async {
                self.leg.send(&request.raw).await?;
                loop {
                    let answer = decode(self.leg.receive().await?);
                    match answer {
                        Ok(answer) if answers(&answer, request) => return Ok(answer),
                        _ => strays += 1,
                    }
                    if strays >= MAX_STRAYS {
                        return Err(Fault::bad_answer("much comes that is no answer"));
                    }
                }
            };
            match timeout_at(patience, turn).await {
                Ok(answer) => return answer,
                Err(_) if Instant::now() < until => {}
                // Anybody can send a datagram from a forged address, so one that is no answer ends nothing by itself.
                Err(_) if strays > 0 => return Err(Fault::bad_answer("what comes is no answer to what was asked")),
                Err(_) => return Err(Fault::silent()),
            }
        }
    }
}

/// What a request is signed with (RFC 8489 §9.2).
struct Signer {
    username: TextAttribute,
    realm: TextAttribute,
    nonce: TextAttribute,
    integrity: MessageIntegrity,
}

impl Signer {
    fn new(login: &Login, challenge: &Message) -> Result<Self, Fault> {
        let text = |of| TextAttribute::get_from_as(challenge, of);
        let (Ok(realm), Ok(nonce)) = (text(ATTR_REALM), text(ATTR_NONCE)) else {
            return Err(Fault::bad_answer("a challenge without REALM and NONCE"));
        };
        let integrity = MessageIntegrity::new_long_term_integrity(
            login.username.clone(),
            realm.text.clone(),
            login.credential.clone(),
        );
        Ok(Self {
            username: TextAttribute::new(ATTR_USERNAME, login.username.clone()),
            realm,
            nonce,
            integrity,
        })
    }

    fn take_nonce(&mut self, answer: &Message) -> Result<(), Fault> {
        let nonce = TextAttribute::get_from_as(answer, ATTR_NONCE);
        self.nonce = nonce.map_err(|_| Fault::bad_answer("a stale nonce, and no other"))?;
        Ok(())
    }

    fn sign(&self, mut parts: Vec<Box<dyn Setter>>) -> Result<Message, Fault> {
        parts.push(Box::new(self.username.clone()));
        parts.push(Box::new(self.realm.clone()));
        parts.push(Box::new(self.nonce.clone()));
        parts.push(Box::new(self.integrity.clone()));
        parts.push(Box::new(FINGERPRINT));
        build(&parts)
    }

    /// Whether the answer is from somebody who knows the password.
    fn verify(&self, answer: &mut Message) -> Result<(), Fault> {
        let verified = self.integrity.check(answer);
        verified.map_err(|_| Fault::bad_answer("the answer is not signed with the password"))
    }
}

fn build(parts: &[Box<dyn Setter>]) -> Result<Message, Fault> {
    let mut message = Message::new();
    // The server's REALM and NONCE are in here, and the operator's credentials.
    let built = message.build(parts);
    built.map_err(|error| Fault::bad_answer(format!("a request cannot be written: {error}")))?;
    Ok(message)
}

fn decode(bytes: &[u8]) -> Result<Message, ::stun::Error> {
    let mut message = Message::new();
    message.raw = bytes.to_vec();
    message.decode()?;
    Ok(message)
}

fn answers(answer: &Message, request: &Message) -> bool {
    let method: Method = request.typ.method;
    answer.transaction_id == request.transaction_id
        && answer.typ.method == method
        && [CLASS_SUCCESS_RESPONSE, CLASS_ERROR_RESPONSE].contains(&answer.typ.class)
}

/// The code of an error answer; 0 of one that says none.
fn error_code(answer: &Message) -> Option<u16> {
    if answer.typ.class != CLASS_ERROR_RESPONSE {
        return None;
    }
    let mut code = ErrorCodeAttribute::default();
    Some(code.get_from(answer).map_or(0, |()| code.code.0))
}
