//! TURN inside of a WebSocket: the upgrade, and nothing of what comes after it. The connection leaves the web server together
//! with what was read of it, and becomes a stream of the relay (`docs/turn-over-websocket.md`).

use std::any::Any;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{ConnectInfo, Request};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use hyper::upgrade::{OnUpgrade, Upgraded};

use super::HubHandle;
use super::upgrade::{ClientIp, UpgradeError, judge, origin_allowed, switching};

/// The subprotocol's name in `Sec-WebSocket-Protocol`.
pub const TURN: &str = "turn";

/// How long writing the answer to the upgrade may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// A connection that was upgraded, as whoever accepted it knows it.
pub struct Reclaimed {
    /// The stream that the web server was given, as it was given.
    pub stream: Box<dyn Any + Send>,
    /// What was read of it behind the request.
    pub early: Bytes,
}

/// How to get the stream back out of an upgraded connection, as a request extension: only who began to serve it knows what
/// it is.
#[derive(Clone, Copy)]
pub struct Reclaim(pub fn(Upgraded) -> Option<Reclaimed>);

/// Who serves TURN inside of WebSockets.
pub trait TunnelSink: Send + Sync + 'static {
    /// A place for a connection of `client`; asked before it is told that it may go on.
    ///
    /// # Errors
    /// [`UpgradeError::PerIp`] or [`UpgradeError::Full`].
    fn admit(&self, client: SocketAddr) -> Result<Box<dyn TunnelPlace>, UpgradeError>;
}

/// A reserved place. Dropping it gives it back.
pub trait TunnelPlace: Send {
    /// Takes the connection over.
    fn begin(self: Box<Self>, connection: Reclaimed);
}

/// The axum handler behind `/turn`: answers 101 and hands the connection to `sink`, or refuses. Origins and draining are those
/// of the hub.
pub fn upgrade_tunnel(hub: &HubHandle, sink: &Arc<dyn TunnelSink>, mut request: Request) -> Response {
    match try_upgrade(hub, sink, &mut request) {
        Ok(response) => response,
        Err(error) => {
            tracing::debug!(%error, "upgrade to TURN refused");
            error.into_response()
        }
    }
}

fn try_upgrade(hub: &HubHandle, sink: &Arc<dyn TunnelSink>, request: &mut Request) -> Result<Response, UpgradeError> {
    let handshake = judge(request.method(), request.headers(), TURN)?;
    if !origin_allowed(hub.origins().as_deref().map(Vec::as_slice), request.headers()) {
        return Err(UpgradeError::Origin);
    }
    if hub.is_draining() {
        return Err(UpgradeError::Draining);
    }
    let extensions = request.extensions_mut();
    let (Some(Reclaim(reclaim)), Some(ConnectInfo(peer))) = (
        extensions.get::<Reclaim>().copied(),
        extensions.get::<ConnectInfo<SocketAddr>>().copied(),
    ) else {
        return Err(UpgradeError::NotUpgradable);
    };
    // A trusted proxy tells an address and no port: its own keeps the clients behind one address apart.
    let ip = extensions.get::<ClientIp>().map_or(peer.ip(), |ClientIp(ip)| *ip);
    let upgrading = extensions.remove::<OnUpgrade>().ok_or(UpgradeError::NotUpgradable)?;
    let place = sink.admit(SocketAddr::new(ip, peer.port()))?;
    tokio::spawn(async move {
        match tokio::time::timeout(PATIENCE, upgrading).await {
            Ok(Ok(upgraded)) => match reclaim(upgraded) {
                Some(connection) => place.begin(connection),
                None => tracing::error!("an upgraded connection is not what the web server was given"),
            },
            Ok(Err(error)) => tracing::debug!(%error, "upgrade failed"),
            Err(_elapsed) => tracing::debug!("upgrade took too long"),
        }
    });
    Ok(switching(handshake))
}

impl fmt::Debug for Reclaim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reclaim")
    }
}

impl fmt::Debug for Reclaimed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reclaimed")
            .field("early", &self.early.len())
            .finish_non_exhaustive()
    }
}
