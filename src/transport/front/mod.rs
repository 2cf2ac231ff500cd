//! The way in for TCP: accepts connections, finds out what they speak, and hands them to who serves them.
//!
//! What it is: the one part of the transport that runs on tokio, because it waits a lot and relays nothing. A stream that
//! speaks TURN goes to the worker with the fewest and is the worker's from then on, TLS included; what speaks HTTP goes out
//! by [`WebConnection`], to whom `app` has connected.
//! What it is not: on the way of a relayed packet, nor anybody's proxy.
//!
//! Invariants:
//! - What is accepted is counted from accept until it is served, of all and of each client; beyond a bound it is closed at
//!   once.
//! - A connection that has not shown what it speaks has a deadline, TLS handshake included.
//! - What a connection speaks is decided once, by ALPN or by its first byte, and never changes.
//! - Who a client is, is decided before anything of it is looked at: by its address, or by the PROXY header of a proxy that
//!   the operator named. Such a proxy must send one; nobody else is asked for one.
//!
//! On one port (RFC 7983 is the same idea for UDP): STUN begins with 0x00..=0x03, a TLS handshake with 0x16, a method of
//! HTTP with a capital letter. ChannelData cannot come first: a channel is bound by a request.

mod link;
pub mod proxy_protocol;
mod rewind;
pub mod tls;
mod tunnel;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use rustls::ServerConnection;
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

pub use self::link::Link;
use self::proxy_protocol::Preamble;
pub use self::rewind::Rewind;
use self::tls::{Acceptors, Agreed, Certificates};
pub use self::tunnel::TunnelPlace;
use super::Relay;
use super::stream::Streams;
use super::stream::census::{Census, Ticket};
use super::stream::intake::{Dispatch, NewStream};
use crate::telemetry::labels::{FrontFailure, FrontListener};
use crate::telemetry::{FrontMetrics, Metrics, StreamRefusal};
use crate::turn::{ClientAddr, FiveTuple, ListenAddr, Transport};

/// Wait after an accept failed for want of descriptors or memory: there is nothing to do but let others end.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Wait for a worker whose queue is full: it empties it in one turn.
const BUSY_PAUSE: Duration = Duration::from_millis(5);
/// How often a busy worker is asked before a connection is refused.
const BUSY_ATTEMPTS: u32 = 40;
/// Bytes read of a TLS connection to see what it speaks; with less the first byte is enough.
const FIRST_READ: usize = 2048;
/// Bytes that may have come behind the request that made a connection a WebSocket: as many as the web server reads at once.
const MAX_EARLY: usize = 64 << 10;

/// A connection that speaks HTTP.
pub struct WebConnection {
    /// Its bytes, without TLS.
    pub stream: Rewind<Link>,
    /// Who it is from.
    pub client: SocketAddr,
}

/// Accepts connections. One value for all listeners: they share the bounds.
#[derive(Clone)]
pub struct Front {
    census: Census,
    dispatch: Dispatch,
    metrics: FrontMetrics,
    patience: Duration,
    proxies: Arc<[IpNet]>,
    acceptors: Option<Acceptors>,
    web: Option<mpsc::Sender<WebConnection>>,
}

/// What a connection turned out to speak.
enum Spoken {
    Turn(TcpStream),
    TurnTls(Box<TlsStream<TcpStream>>, Vec<u8>),
    Web(Rewind<Link>),
}

impl Front {
    /// A front for `relay`. Without more it serves [`FrontListener::Turn`] alone.
    pub fn new(bounds: &Streams, relay: &Relay, metrics: &Metrics) -> Self {
        Self {
            census: Census::new(&Streams {
                connections: relay.streams(),
                ..bounds.clone()
            }),
            dispatch: relay.dispatch().clone(),
            metrics: metrics.front().clone(),
            patience: bounds.first_timeout,
            proxies: bounds.proxies.as_slice().into(),
            acceptors: None,
            web: None,
        }
    }

    /// Speaks TLS with these certificates, on listeners that are for it.
    ///
    /// # Errors
    /// None with the provider that is built in.
    pub fn with_tls(self, certificates: &Arc<Certificates>) -> Result<Self, rustls::Error> {
        let acceptors = Some(Acceptors::new(certificates)?);
        Ok(Self { acceptors, ..self })
    }

    /// Sends what speaks HTTP this way. When it is not taken in time, connections are closed.
    #[must_use]
    pub fn with_web(self, web: mpsc::Sender<WebConnection>) -> Self {
        Self { web: Some(web), ..self }
    }

    /// Accepts on `listener` until `shutdown` completes. Streams that others have by then live on.
    pub async fn serve(self, listener: TcpListener, kind: FrontListener, shutdown: impl Future<Output = ()>) {
        let mut shutdown = pin!(shutdown);
        loop {
            let accepted = tokio::select! {
                () = &mut shutdown => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, client)) => {
                    self.metrics.accepted(kind);
                    self.welcome(stream, kind, client).await;
                }
                Err(error) if is_of_the_connection(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn welcome(&self, stream: TcpStream, kind: FrontListener, client: SocketAddr) {
        let ip = client.ip().to_canonical();
        let is_proxy = self.proxies.iter().any(|proxies| proxies.contains(&ip));
        let admitted = if is_proxy {
            // It stands for many clients.
            self.census.admit_untold()
        } else {
            self.census.admit(ip)
        };
        match admitted {
            Ok(ticket) if is_proxy => {
                tokio::spawn(self.clone().introduce(stream, kind, client, ticket));
            }
            Ok(ticket) if kind == FrontListener::Turn => {
                self.serve_turn(Transport::Tcp, stream, None, Vec::new(), client, ticket)
                    .await;
            }
            Ok(ticket) => {
                tokio::spawn(self.clone().sort(stream, kind, client, ticket));
            }
            Err(reason) => self.metrics.refused(reason),
        }
    }

    /// Lets a proxy say who its client is, and goes on with that client.
    async fn introduce(self, mut stream: TcpStream, kind: FrontListener, proxy: SocketAddr, ticket: Ticket) {
        let told = timeout(self.patience, introduced(&mut stream))
            .await
            .unwrap_or(Err(FrontFailure::ProxyTimeout));
        let client = match told {
            Ok(told) => client_of(told, proxy),
            Err(failure) => return self.metrics.failed(failure),
        };
        match ticket.of(client.ip()) {
            Ok(ticket) => self.sort(stream, kind, client, ticket).await,
            Err(reason) => self.metrics.refused(reason),
        }
    }

    /// Finds out what a connection speaks, and passes it on.
    async fn sort(self, stream: TcpStream, kind: FrontListener, client: SocketAddr, ticket: Ticket) {
        // Answers are one segment; Nagle's algorithm would only hold them back.
        let _ = stream.set_nodelay(true);
        let spoken = timeout(self.patience, self.spoken(stream, kind))
            .await
            .unwrap_or(Err(FrontFailure::Timeout));
        match spoken {
            Ok(Spoken::Turn(stream)) => {
                self.serve_turn(Transport::Tcp, stream, None, Vec::new(), client, ticket)
                    .await
            }
            Ok(Spoken::TurnTls(stream, early)) => {
                let (stream, tls) = stream.into_inner();
                self.serve_turn(Transport::Tls, stream, Some(Box::new(tls)), early, client, ticket)
                    .await;
            }
            Ok(Spoken::Web(stream)) => self.serve_web(stream, client, ticket).await,
            Err(failure) => self.metrics.failed(failure),
        }
    }

    async fn spoken(&self, stream: TcpStream, kind: FrontListener) -> Result<Spoken, FrontFailure> {
        let acceptors = || self.acceptors.as_ref().ok_or(FrontFailure::Unknown);
        match kind {
            FrontListener::Turn => Ok(Spoken::Turn(stream)),
            FrontListener::Http => Ok(Spoken::Web(stream.into())),
            FrontListener::TurnTls => {
                let stream = handshake(&acceptors()?.turn, stream).await?;
                Ok(Spoken::TurnTls(Box::new(stream), Vec::new()))
            }
            FrontListener::Https => {
                let stream = handshake(&acceptors()?.web, stream).await?;
                Ok(Spoken::Web(secure(stream, Vec::new())))
            }
            FrontListener::OnePort => {
                let mut first = [0];
                match stream.peek(&mut first).await {
                    Ok(1) => {}
                    _ => return Err(FrontFailure::Gone),
                }
                match first {
                    [0x16] => spoken_inside(handshake(&acceptors()?.any, stream).await?).await,
                    [0x00..=0x03] => Ok(Spoken::Turn(stream)),
                    [b'A'..=b'Z'] => Ok(Spoken::Web(stream.into())),
                    _ => Err(FrontFailure::Unknown),
                }
            }
        }
    }

    async fn serve_turn(
        &self,
        transport: Transport,
        stream: TcpStream,
        tls: Option<Box<ServerConnection>>,
        early: Vec<u8>,
        client: SocketAddr,
        ticket: Ticket,
    ) {
        let (Ok(server), Ok(socket)) = (stream.local_addr(), stream.into_std()) else {
            // It was reset before anybody looked.
            return self.metrics.failed(FrontFailure::Gone);
        };
        let mut new = NewStream {
            socket,
            tls,
            five_tuple: FiveTuple {
                transport,
                client: ClientAddr(client),
                server: ListenAddr(server),
            },
            early,
            ticket,
            is_moved: false,
        };
        for _ in 0..BUSY_ATTEMPTS {
            match self.dispatch.hand_over(new) {
                Ok(()) => return,
                Err(back) => new = *back,
            }
            tokio::time::sleep(BUSY_PAUSE).await;
        }
        self.metrics.refused(StreamRefusal::Busy);
    }

    /// From here on the connection counts among those of the web server, which has its own bound. Until that takes it, it
    /// keeps its place here; not for longer, since it may come back as a stream ([`TunnelPlace`]).
    async fn serve_web(&self, stream: Rewind<Link>, client: SocketAddr, ticket: Ticket) {
        let Some(web) = &self.web else {
            return self.metrics.failed(FrontFailure::Unknown);
        };
        match timeout(self.patience, web.reserve()).await {
            Ok(Ok(taken)) => {
                drop(ticket);
                taken.send(WebConnection { stream, client });
            }
            _ => self.metrics.refused(StreamRefusal::Busy),
        }
    }
}

/// Reads a PROXY header, and not a byte more.
async fn introduced(stream: &mut TcpStream) -> Result<proxy_protocol::Client, FrontFailure> {
    let mut preamble = Preamble::default();
    let mut offered = [0; FIRST_READ];
    let mut is_first = true;
    loop {
        let count = match stream.peek(&mut offered).await {
            Ok(count @ 1..) => count,
            // Whoever only looks whether the port is open says nothing.
            _ if is_first => return Err(FrontFailure::Gone),
            _ => return Err(FrontFailure::ProxyHeader),
        };
        is_first = false;
        let offered = offered.get_mut(..count).unwrap_or_default();
        let (taken, client) = preamble.take(offered).map_err(|_| FrontFailure::ProxyHeader)?;
        // They are there: this does not wait.
        let read = stream.read_exact(offered.get_mut(..taken).unwrap_or_default()).await;
        read.map_err(|_| FrontFailure::Gone)?;
        if let Some(client) = client {
            return Ok(client);
        }
    }
}

/// Whose connection it is, by what `proxy` told. Being local is worth something to the web server, so it is believed of
/// somebody else only from a proxy that is local itself.
fn client_of(told: proxy_protocol::Client, proxy: SocketAddr) -> SocketAddr {
    use proxy_protocol::Client::{At, Proxy, Untold};
    let nobody = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), proxy.port());
    let is_local = proxy.ip().to_canonical().is_loopback();
    match told {
        Proxy => proxy,
        At(client) if !client.ip().is_loopback() || is_local => client,
        At(_) => proxy,
        // The proxy's own address would make a stranger look local.
        Untold if is_local => nobody,
        Untold => proxy,
    }
}

async fn handshake(acceptor: &TlsAcceptor, stream: TcpStream) -> Result<TlsStream<TcpStream>, FrontFailure> {
    acceptor.accept(stream).await.map_err(|error| {
        tracing::debug!(%error, "TLS handshake failed");
        match error.kind() {
            // rustls reports what the client did wrong as invalid data.
            io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => FrontFailure::Tls,
            _ => FrontFailure::Gone,
        }
    })
}

fn secure(stream: TlsStream<TcpStream>, early: Vec<u8>) -> Rewind<Link> {
    Rewind::new(early, Link::Tls(Box::new(stream)))
}

/// By ALPN, else by the first byte inside of TLS.
async fn spoken_inside(mut stream: TlsStream<TcpStream>) -> Result<Spoken, FrontFailure> {
    match Agreed::of(stream.get_ref().1.alpn_protocol()) {
        Agreed::Turn => return Ok(Spoken::TurnTls(Box::new(stream), Vec::new())),
        Agreed::Http => return Ok(Spoken::Web(secure(stream, Vec::new()))),
        Agreed::Nothing => {}
    }
    let mut early = vec![0; FIRST_READ];
    let count = stream.read(&mut early).await.map_err(|_| FrontFailure::Gone)?;
    early.truncate(count);
    match early.first() {
        None => Err(FrontFailure::Gone),
        Some(0x00..=0x03) => Ok(Spoken::TurnTls(Box::new(stream), early)),
        Some(b'A'..=b'Z') => Ok(Spoken::Web(secure(stream, early))),
        Some(_) => Err(FrontFailure::Unknown),
    }
}

impl std::fmt::Debug for Front {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Front")
            .field("census", &self.census)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for WebConnection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WebConnection").finish_non_exhaustive()
    }
}

/// Whether an accept failed because that one connection went away meanwhile (accept(2)).
fn is_of_the_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted
    )
}
