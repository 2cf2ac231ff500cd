//! The control side of one TURN client: challenge, Allocate, permission, channel, release.
//!
//! Blocking, one request at a time, a few retransmissions. The socket is handed over to the traffic once it is set up.

use std::{
    fmt, io,
    net::{SocketAddr, UdpSocket},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;
use stun::{
    agent::TransactionId,
    attributes::{
        ATTR_CHANNEL_NUMBER, ATTR_DATA, ATTR_ERROR_CODE, ATTR_LIFETIME, ATTR_NONCE, ATTR_REALM,
        ATTR_REQUESTED_ADDRESS_FAMILY, ATTR_REQUESTED_TRANSPORT, ATTR_USERNAME, ATTR_XOR_PEER_ADDRESS,
        ATTR_XOR_RELAYED_ADDRESS, AttrType,
    },
    integrity::MessageIntegrity,
    message::{
        CLASS_ERROR_RESPONSE, CLASS_REQUEST, CLASS_SUCCESS_RESPONSE, METHOD_ALLOCATE, METHOD_CHANNEL_BIND,
        METHOD_CREATE_PERMISSION, METHOD_REFRESH, Message, MessageType, Method, Setter as _,
    },
    xoraddr::XorMappedAddress,
};

use crate::{Failure, Target, namespace};

/// Requests are sent at most this often.
const ATTEMPTS: u32 = 8;
/// Validity of a minted credential: longer than any run.
const CREDENTIAL_SECONDS: u64 = 3600;

/// A user name and the password that goes with it.
struct Login {
    username: String,
    password: String,
}

impl Login {
    /// The `index`-th login: all different with a shared secret, so that per-user limits see many users.
    fn nth(target: &Target, index: u32) -> Result<Self, Failure> {
        if let (Some(user), Some(password)) = (&target.user, &target.password) {
            return Ok(Self {
                username: user.clone(),
                password: password.clone(),
            });
        }
        let secret = target.secret.as_deref().ok_or("neither secret nor user")?;
        let expiry = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() + CREDENTIAL_SECONDS;
        let username = format!("{expiry}:load{index}");
        let mut mac = Hmac::<Sha1>::new_from_slice(secret.as_bytes())?;
        mac.update(username.as_bytes());
        Ok(Self {
            username,
            password: STANDARD.encode(mac.finalize().into_bytes()),
        })
    }
}

/// An error response that is no challenge.
#[derive(Debug)]
pub(crate) struct Refused {
    method: Method,
    pub(crate) code: u16,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} refused with {}", self.method, self.code)
    }
}

impl std::error::Error for Refused {}

/// What a 401 gave us, and the key that follows from it.
struct Session {
    realm: Vec<u8>,
    nonce: Vec<u8>,
    integrity: MessageIntegrity,
}

/// One client with its socket. `allocate` first, then the rest.
pub(crate) struct Client {
    pub(crate) socket: UdpSocket,
    server: SocketAddr,
    login: Login,
    session: Option<Session>,
}

impl Client {
    fn new(socket: UdpSocket, target: &Target, login: Login) -> io::Result<Self> {
        socket.set_read_timeout(Some(Target::RETRANSMIT))?;
        Ok(Self {
            socket,
            server: target.server,
            login,
            session: None,
        })
    }

    /// Binds a port and allocates on it. A server may still remember the port from a client before us, which is a 437 and
    /// the port's fault: another one is tried, and the tries are counted.
    pub(crate) fn open(
        target: &Target,
        namespace: Option<&str>,
        index: u32,
        peer: Option<SocketAddr>,
    ) -> Result<(Self, SocketAddr, u32), Failure> {
        let mut collisions = 0;
        loop {
            let socket = namespace::bind(namespace, target.client_address(), 1)?
                .pop()
                .ok_or("no socket")?;
            let mut client = Self::new(socket, target, Login::nth(target, index)?)?;
            match client.allocate(peer) {
                Ok(relayed) => return Ok((client, relayed, collisions)),
                Err(error) if collisions < 8 && error.downcast_ref::<Refused>().is_some_and(|r| r.code == 437) => {
                    collisions += 1;
                }
                Err(error) => return Err(format!("allocation {index}: {error}").into()),
            }
        }
    }

    /// Challenge and Allocate; gives the relayed address. A family is requested only where the default would be wrong.
    fn allocate(&mut self, family_of: Option<SocketAddr>) -> Result<SocketAddr, Failure> {
        let mut attributes = vec![(ATTR_REQUESTED_TRANSPORT, vec![17, 0, 0, 0])];
        if family_of.is_some_and(|peer| peer.is_ipv6()) {
            attributes.push((ATTR_REQUESTED_ADDRESS_FAMILY, vec![2, 0, 0, 0]));
        }
        let answer = self.request(METHOD_ALLOCATE, &attributes)?;
        let mut relayed = XorMappedAddress::default();
        relayed.get_from_as(&answer, ATTR_XOR_RELAYED_ADDRESS)?;
        Ok(SocketAddr::new(relayed.ip, relayed.port))
    }

    pub(crate) fn permit(&mut self, peer: SocketAddr) -> Result<(), Failure> {
        let peer = XorMappedAddress {
            ip: peer.ip(),
            port: peer.port(),
        };
        self.request_about(METHOD_CREATE_PERMISSION, &[], &peer)
    }

    pub(crate) fn bind_channel(&mut self, channel: u16, peer: SocketAddr) -> Result<(), Failure> {
        let number = [channel.to_be_bytes().as_slice(), &[0, 0]].concat();
        let peer = XorMappedAddress {
            ip: peer.ip(),
            port: peer.port(),
        };
        self.request_about(METHOD_CHANNEL_BIND, &[(ATTR_CHANNEL_NUMBER, number)], &peer)
    }

    /// Refresh with LIFETIME 0: deletes the allocation.
    pub(crate) fn release(&mut self) -> Result<(), Failure> {
        self.request(METHOD_REFRESH, &[(ATTR_LIFETIME, vec![0; 4])]).map(drop)
    }

    fn request_about(
        &mut self,
        method: Method,
        attributes: &[(AttrType, Vec<u8>)],
        peer: &XorMappedAddress,
    ) -> Result<(), Failure> {
        self.request_with(method, attributes, Some(peer)).map(drop)
    }

    fn request(&mut self, method: Method, attributes: &[(AttrType, Vec<u8>)]) -> Result<Message, Failure> {
        self.request_with(method, attributes, None)
    }

    /// Sends a request, takes a 401 or 438 as the challenge it is, and returns the success response.
    fn request_with(
        &mut self,
        method: Method,
        attributes: &[(AttrType, Vec<u8>)],
        peer: Option<&XorMappedAddress>,
    ) -> Result<Message, Failure> {
        for _ in 0..3 {
            let mut message = Message::new();
            message.set_type(MessageType {
                method,
                class: CLASS_REQUEST,
            });
            TransactionId::new().add_to(&mut message)?;
            message.write_header();
            for (kind, value) in attributes {
                message.add(*kind, value);
            }
            if let Some(peer) = peer {
                peer.add_to_as(&mut message, ATTR_XOR_PEER_ADDRESS)?;
            }
            if let Some(session) = &self.session {
                message.add(ATTR_USERNAME, self.login.username.as_bytes());
                message.add(ATTR_REALM, &session.realm);
                message.add(ATTR_NONCE, &session.nonce);
                session.integrity.add_to(&mut message)?;
            }
            let answer = self.exchange(&message)?;
            if answer.typ.class == CLASS_SUCCESS_RESPONSE {
                return Ok(answer);
            }
            let code = answer.get(ATTR_ERROR_CODE)?;
            let code = u16::from(*code.get(2).ok_or("short ERROR-CODE")?) * 100
                + u16::from(*code.get(3).ok_or("short ERROR-CODE")?);
            match code {
                401 if self.session.is_none() => self.challenge(&answer)?,
                438 => self.challenge(&answer)?,
                _ => return Err(Refused { method, code }.into()),
            }
        }
        Err(format!("{method}: challenged again and again").into())
    }

    fn challenge(&mut self, answer: &Message) -> Result<(), Failure> {
        let realm = answer.get(ATTR_REALM)?;
        let nonce = answer.get(ATTR_NONCE)?;
        let integrity = MessageIntegrity::new_long_term_integrity(
            self.login.username.clone(),
            String::from_utf8(realm.clone())?,
            self.login.password.clone(),
        );
        self.session = Some(Session {
            realm,
            nonce,
            integrity,
        });
        Ok(())
    }

    fn exchange(&self, message: &Message) -> Result<Message, Failure> {
        let mut buffer = [0; 2048];
        for _ in 0..ATTEMPTS {
            self.socket.send_to(&message.raw, self.server)?;
            // Data of an earlier trial may lie in front of the answer.
            for _ in 0..4096 {
                match self.socket.recv_from(&mut buffer) {
                    Ok((len, from)) if from == self.server && stun::message::is_message(&buffer[..len]) => {
                        let mut answer = Message::new();
                        answer.unmarshal_binary(&buffer[..len])?;
                        let answers = [CLASS_SUCCESS_RESPONSE, CLASS_ERROR_RESPONSE].contains(&answer.typ.class);
                        if answers && answer.transaction_id == message.transaction_id && !answer.contains(ATTR_DATA) {
                            return Ok(answer);
                        }
                    }
                    Ok(_) => {}
                    Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => break,
                    Err(e) => return Err(e.into()),
                }
            }
        }
        let waited = Target::RETRANSMIT * ATTEMPTS;
        Err(format!(
            "no answer from {} within {:.1} s",
            self.server,
            Duration::as_secs_f64(&waited)
        )
        .into())
    }
}
