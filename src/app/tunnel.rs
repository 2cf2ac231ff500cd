//! WebSockets with TURN inside, from the web server to the front.

use crate::telemetry::StreamRefusal;
use crate::transport::front::{self, Front, Link, Rewind};
use crate::ws::{Reclaimed, TunnelPlace, TunnelSink, UpgradeError};
use std::net::SocketAddr;
use tokio::net::TcpStream;

/// Where they go.
pub(super) struct Tunnels(pub(super) Front);

struct Place(front::TunnelPlace);

impl TunnelSink for Tunnels {
    fn admit(&self, client: SocketAddr) -> Result<Box<dyn TunnelPlace>, UpgradeError> {
        match self.0.admit_tunnel(client) {
            Ok(place) => Ok(Box::new(Place(place))),
            Err(StreamRefusal::Client) => Err(UpgradeError::PerIp),
            Err(StreamRefusal::Total | StreamRefusal::Busy) => Err(UpgradeError::Full),
        }
    }
}

impl TunnelPlace for Place {
    fn begin(self: Box<Self>, connection: Reclaimed) {
        let Reclaimed { stream, early } = connection;
        // Either the web server accepted it itself, or the front did.
        let stream: Rewind<Link> = match stream.downcast::<TcpStream>() {
            Ok(stream) => (*stream).into(),
            Err(stream) => match stream.downcast::<Rewind<Link>>() {
                Ok(stream) => *stream,
                Err(_) => return tracing::error!("a WebSocket came from a listener that nobody knows"),
            },
        };
        tokio::spawn(async move { self.0.begin(stream, &early).await });
    }
}
