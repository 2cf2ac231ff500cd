//! The accept loop: bounded, patient with nobody for long, and able to end.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use hyper::Request;
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tower::ServiceExt as _;

use super::config::Limits;
use super::head;
use super::header_timer::HeaderTimer;
use super::patience::Patience;
use crate::telemetry::labels::QuotaGauge;
use crate::telemetry::{ApiMetrics, Metrics};
use crate::ws::{PerIp, Reclaim, Reclaimed, Slot, is_upgrade};

/// Wait after an accept failed for want of descriptors or memory: there is nothing to do but let others end.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Where connections come from: a listener, or whoever accepts for us (and has taken TLS off).
pub trait Source: Send {
    /// The bytes of a connection.
    type Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static;

    /// The next connection and its client. Dropping the future loses none.
    ///
    /// # Errors
    /// Those of accept(2).
    fn next(&mut self) -> impl Future<Output = io::Result<(Self::Stream, SocketAddr)>> + Send;

    /// Closes a connection of a client that has too many.
    fn refuse(stream: Self::Stream) {
        drop(stream);
    }
}

impl Source for TcpListener {
    type Stream = TcpStream;

    async fn next(&mut self) -> io::Result<(TcpStream, SocketAddr)> {
        let (stream, peer) = self.accept().await?;
        // Answers are one segment; Nagle's algorithm would only hold signaling back.
        let _ = stream.set_nodelay(true);
        Ok((stream, peer))
    }

    fn refuse(stream: TcpStream) {
        // Closed with a reset: an address that holds this many shall not fill the table of TIME-WAIT either.
        let _ = stream.set_zero_linger();
    }
}

/// Accepts connections and speaks HTTP/1.1 on them. One value for all listeners: they share the limit of connections.
#[derive(Clone)]
pub struct Server {
    limits: Limits,
    permits: Arc<Semaphore>,
    per_ip: Arc<PerIp>,
    exempt: Exempt,
    metrics: ApiMetrics,
}

/// Says which addresses are not limited.
type Exempt = Arc<dyn Fn(IpAddr) -> bool + Send + Sync>;

impl Server {
    /// A server within these limits.
    pub fn new(limits: Limits, metrics: &Metrics) -> Self {
        let connections = limits.connections.clamp(1, Semaphore::MAX_PERMITS);
        metrics.replace_quota(QuotaGauge::HttpConnections, connections);
        Self {
            limits,
            permits: Arc::new(Semaphore::new(connections)),
            per_ip: Arc::new(PerIp::new(limits.connections_per_ip).counting_loopback(limits.limit_loopback)),
            exempt: Arc::new(|_| false),
            metrics: metrics.api().clone(),
        }
    }

    /// Does not count the connections of addresses that `exempt` names against [`Limits::connections_per_ip`]: a proxy stands
    /// for many clients. It is asked for every connection.
    #[must_use]
    pub fn exempting(self, exempt: impl Fn(IpAddr) -> bool + Send + Sync + 'static) -> Self {
        Self {
            exempt: Arc::new(exempt),
            ..self
        }
    }

    /// Serves `router` on what `source` gives until `shutdown` completes; then accepts no more, lets requests in progress end,
    /// closes idle connections, and cuts what is left after [`Limits::drain_timeout`].
    ///
    /// Connections that became WebSockets are the hub's from then on, and end with it.
    pub async fn serve<S: Source>(self, mut source: S, router: Router, shutdown: impl Future<Output = ()>) {
        let mut shutdown = pin!(shutdown);
        let (ending, ended) = watch::channel(false);
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                () = &mut shutdown => break,
                Some(_) = connections.join_next(), if !connections.is_empty() => continue,
                accepted = self.accept(&mut source) => accepted,
            };
            match accepted {
                Ok((stream, peer, permit)) => {
                    let ip = peer.ip().to_canonical();
                    let counted = (!(self.exempt)(ip)).then_some(ip);
                    let Some(slot) = self.per_ip.try_open(counted) else {
                        S::refuse(stream);
                        self.metrics.refused.inc();
                        continue;
                    };
                    let connection =
                        self.clone()
                            .connection(stream, peer, router.clone(), ended.clone(), (permit, slot));
                    connections.spawn(connection);
                }
                Err(error) if is_of_the_connection(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(source);
        let _ = ending.send(true);
        let drained = async { while connections.join_next().await.is_some() {} };
        if tokio::time::timeout(self.limits.drain_timeout, drained).await.is_err() {
            tracing::info!("cutting HTTP requests that did not end in time");
        }
        // Dropping the set aborts what is left.
    }

    async fn accept<S: Source>(&self, source: &mut S) -> io::Result<(S::Stream, SocketAddr, OwnedSemaphorePermit)> {
        let permit = match Arc::clone(&self.permits).try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => {
                self.metrics.at_limit.inc();
                let waiting = Arc::clone(&self.permits).acquire_owned();
                // The semaphore is never closed.
                waiting.await.map_err(io::Error::other)?
            }
        };
        let (stream, peer) = source.next().await?;
        self.metrics.accepted.inc();
        Ok((stream, peer, permit))
    }

    async fn connection<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(
        self,
        stream: S,
        peer: SocketAddr,
        router: Router,
        mut ended: watch::Receiver<bool>,
        held: (OwnedSemaphorePermit, Slot),
    ) {
        let _open = Open::new(&self.metrics, held);
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(ConnectInfo(peer));
            if is_upgrade(request.headers()) {
                request.extensions_mut().insert(Reclaim(reclaim::<S>));
            }
            let boxed = |body: Incoming| {
                if body.is_end_stream() {
                    Body::empty()
                } else {
                    Body::new(body)
                }
            };
            router.clone().oneshot(request.map(boxed))
        });
        let connection = http1::Builder::new()
            .timer(HeaderTimer::default())
            .header_read_timeout(self.limits.header_timeout)
            .max_buf_size(head::MOST_READ_BYTES)
            .max_headers(head::MOST_READ_FIELDS)
            .serve_connection(TokioIo::new(Patience::new(stream, self.limits.write_timeout)), service)
            .with_upgrades();
        let mut connection = pin!(connection);
        let result = tokio::select! {
            biased;
            result = &mut connection => result,
            () = is_ending(&mut ended) => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = result {
            // Broken requests, slow clients, resets: the client's business, unless somebody is looking for it.
            tracing::debug!(%error, "HTTP connection ended early");
        }
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server")
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// The stream of an upgraded connection, as it came from its [`Source`].
fn reclaim<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(upgraded: Upgraded) -> Option<Reclaimed> {
    let parts = upgraded.downcast::<TokioIo<Patience<S>>>().ok()?;
    Some(Reclaimed {
        stream: Box::new(parts.io.into_inner().into_inner()),
        early: parts.read_buf,
    })
}

async fn is_ending(ended: &mut watch::Receiver<bool>) {
    // An error means that the sender is gone, and with it the server.
    let _ = ended.wait_for(|ended| *ended).await;
}

/// Counts a connection for as long as it holds its permit and its place among those of its address.
struct Open<'a> {
    metrics: &'a ApiMetrics,
    _held: (OwnedSemaphorePermit, Slot),
}

impl<'a> Open<'a> {
    fn new(metrics: &'a ApiMetrics, held: (OwnedSemaphorePermit, Slot)) -> Self {
        metrics.connections.inc();
        Self { metrics, _held: held }
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.metrics.connections.dec();
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
