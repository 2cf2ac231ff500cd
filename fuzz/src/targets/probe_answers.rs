//! What STUN and TURN servers may answer a probe, over UDP and over TCP: anything, and where the input wants it so under the right
//! transaction id and signed with the right password.
//!
//! A probe ends, whatever it is told, and what it says of a server is in words of its own. The sockets are real ones on loopback; time
//! stands still, and passes at once where there is nothing left to do.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use meetpoint::probe::{Client, Fault, Login, Way};
use meetpoint::wire::{AttributeType, Class, IntegrityKey, Message, MessageBuilder, Method, TransactionId};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::LocalSet;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;

const USER: &str = "1700000000:probe";
const PASSWORD: &str = "hunter2-hunter2";
const REALM: &str = "r";
/// What a probe has for one server. It is virtual.
const PATIENCE: Duration = Duration::from_secs(5);
/// Answers to one request: more than a probe listens to.
const MOST_ANSWERS: usize = 40;

static TLS: LazyLock<TlsConnector> = LazyLock::new(|| {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = builder.expect("versions").with_root_certificates(RootCertStore::empty()).with_no_client_auth();
    TlsConnector::from(Arc::new(config))
});

/// What is left of the input, for the server.
struct Script {
    rest: Vec<u8>,
}

pub(crate) fn run(data: &[u8]) {
    let Some((&choice, rest)) = data.split_first() else { return };
    let script = Rc::new(RefCell::new(Script { rest: rest.to_vec() }));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    let runtime = runtime.expect("a runtime");
    LocalSet::new().block_on(&runtime, async {
        let way = if choice & 1 == 0 { Way::Udp } else { Way::Tcp };
        let server = if way == Way::Udp { by_udp(script).await } else { by_tcp(script).await };
        let begun = Instant::now();
        let client = Client { way, server, host: "localhost", tls: &TLS, until: begun + PATIENCE };
        // A farewell may take a second more.
        let probed = timeout(PATIENCE + Duration::from_secs(4), probe(&client, choice & 2 == 0)).await;
        if let Err(fault) = probed.expect("a probe ends in time") {
            let said = fault.to_string();
            assert!(said.len() < 200 && said.is_ascii() && !said.contains("hunter2"), "{said}");
        }
    });
}

async fn probe(client: &Client<'_>, binding: bool) -> Result<(), Fault> {
    if binding {
        return client.binding().await.map(drop);
    }
    let login = Login { username: USER.to_owned(), credential: PASSWORD.to_owned() };
    let mut allocation = client.allocate(&login).await?;
    let (peer, until) = (allocation.relayed(), client.until);
    let permitted = allocation.permit(peer, until).await;
    let sent = allocation.send(peer, b"ping", until).await;
    let received = allocation.receive(until).await.map(drop);
    allocation.close().await;
    permitted.and(sent).and(received)
}

async fn by_udp(script: Rc<RefCell<Script>>) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    let at = socket.local_addr().expect("an address");
    tokio::task::spawn_local(async move {
        let mut buffer = [0; 4096];
        while let Ok((len, from)) = socket.recv_from(&mut buffer).await {
            for _ in 0..MOST_ANSWERS {
                let answer = script.borrow_mut().answer(&buffer[..len]);
                let Some(answer) = answer else { break };
                let _ = socket.send_to(&answer, from).await;
            }
        }
    });
    at
}

async fn by_tcp(script: Rc<RefCell<Script>>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let at = listener.local_addr().expect("an address");
    tokio::task::spawn_local(async move {
        let Ok((mut stream, _)) = listener.accept().await else { return };
        let mut buffer = [0; 4096];
        while let Ok(len @ 1..) = stream.read(&mut buffer).await {
            for _ in 0..MOST_ANSWERS {
                let answer = script.borrow_mut().answer(&buffer[..len]);
                let Some(answer) = answer else { break };
                if stream.write_all(&answer).await.is_err() {
                    return;
                }
            }
        }
    });
    at
}

impl Script {
    fn byte(&mut self) -> u8 {
        if self.rest.is_empty() { 0 } else { self.rest.remove(0) }
    }

    fn take(&mut self, most: usize) -> Vec<u8> {
        let len = usize::from(self.byte()) % (most + 1);
        self.rest.drain(..len.min(self.rest.len())).collect()
    }

    /// The next thing to say to a request; `None` for nothing more.
    fn answer(&mut self, request: &[u8]) -> Option<Vec<u8>> {
        if self.rest.is_empty() {
            return None;
        }
        match self.byte() % 8 {
            0 => None,
            1 => Some(self.take(200)),
            kind => Some(self.message(kind, request)),
        }
    }

    fn message(&mut self, kind: u8, request: &[u8]) -> Vec<u8> {
        let asked = Message::parse(request).ok();
        let id = asked.as_ref().map_or(TransactionId([0; 12]), Message::transaction_id);
        let method = asked.as_ref().map_or(Method::BINDING, Message::method);
        let (method, class) = match kind {
            2 | 3 => (method, Class::Success),
            4 | 5 => (method, Class::Error),
            6 => (Method::DATA, Class::Indication),
            _ => (Method::ALLOCATE, [Class::Request, Class::Success, Class::Error][usize::from(self.byte()) % 3]),
        };
        let mut out = [0; 2048];
        let mut builder = MessageBuilder::new(&mut out, method, class, id);
        for _ in 0..self.byte() % 8 {
            let choice = self.byte();
            let attribute = match choice % 10 {
                0 | 1 => {
                    builder.raw_attribute(AttributeType::REALM, REALM.as_bytes());
                    continue;
                }
                2 => AttributeType::NONCE,
                3 => AttributeType::XOR_MAPPED_ADDRESS,
                4 => AttributeType::XOR_RELAYED_ADDRESS,
                5 => AttributeType::ERROR_CODE,
                6 => AttributeType::XOR_PEER_ADDRESS,
                7 => AttributeType::DATA,
                8 => AttributeType::REALM,
                _ => AttributeType(u16::from_be_bytes([self.byte(), self.byte()])),
            };
            let value = match (attribute, choice / 10 % 3) {
                (AttributeType::ERROR_CODE, 0) => vec![0, 0, 4, 1],
                (AttributeType::ERROR_CODE, 1) => vec![0, 0, 4, 38],
                (AttributeType::XOR_MAPPED_ADDRESS | AttributeType::XOR_RELAYED_ADDRESS, 0 | 1) => vec![0, 1, 1, 2, 3, 4, 5, 6],
                _ => self.take(60),
            };
            if ![AttributeType::MESSAGE_INTEGRITY, AttributeType::MESSAGE_INTEGRITY_SHA256, AttributeType::FINGERPRINT].contains(&attribute)
            {
                builder.raw_attribute(attribute, &value);
            }
        }
        if kind.is_multiple_of(2) {
            builder.integrity(&IntegrityKey::long_term_md5(USER, REALM, PASSWORD));
        }
        let len = builder.finish().unwrap_or_default();
        let mut bytes = out[..len].to_vec();
        // Now and then cut short, or with a length of its own.
        match self.byte() {
            250 => bytes.truncate(usize::from(self.byte())),
            251 => bytes.iter_mut().skip(2).take(2).for_each(|byte| *byte ^= 0x55),
            252 => bytes.extend(self.take(40)),
            _ => {}
        }
        bytes
    }
}
