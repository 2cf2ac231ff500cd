//! Connections of the web server that became WebSockets with TURN inside: from here on they are streams like the others.

use std::net::SocketAddr;

use super::{Front, Link, Rewind};
use crate::telemetry::StreamRefusal;
use crate::telemetry::labels::FrontFailure;
use crate::transport::stream::census::Ticket;
use crate::turn::Transport;

/// The place of one, reserved before the client is told that it may go on. Dropping it gives it back.
pub struct TunnelPlace {
    front: Front,
    client: SocketAddr,
    ticket: Ticket,
}

impl Front {
    /// A place for a WebSocket of `client`: it counts among the streams, of all and of that client.
    ///
    /// # Errors
    /// Which bound was reached.
    pub fn admit_tunnel(&self, client: SocketAddr) -> Result<TunnelPlace, StreamRefusal> {
        let ticket = self
            .census
            .admit(client.ip())
            .inspect_err(|reason| self.metrics.refused(*reason))?;
        Ok(TunnelPlace {
            front: self.clone(),
            client,
            ticket,
        })
    }
}

impl TunnelPlace {
    /// Hands the connection to a worker: its answer of the upgrade is written, and `early` was read of it since.
    pub async fn begin(self, stream: Rewind<Link>, early: &[u8]) {
        let Self { front, client, ticket } = self;
        // The web server reads what we had read first, so what it read is older than what is left of that.
        let (mut before, link) = stream.into_parts();
        before.splice(..0, early.iter().copied());
        let (stream, tls) = match link {
            Link::Tcp(stream) => (stream, None),
            Link::Tls(stream) => {
                let (stream, tls) = stream.into_inner();
                (stream, Some(Box::new(tls)))
            }
        };
        if before.len() > super::MAX_EARLY {
            return front.metrics.failed(FrontFailure::Unknown);
        }
        front
            .serve_turn(Transport::WebSocket, stream, tls, before, client, ticket)
            .await;
    }
}

impl std::fmt::Debug for TunnelPlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TunnelPlace").finish_non_exhaustive()
    }
}
