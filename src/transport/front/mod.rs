//! The way in for TCP: accepts connections, finds out what they speak, and hands them to who serves them.
//!
//! What it is: the one part of the transport that runs on tokio, because it waits a lot and relays nothing. A stream that
//! speaks TURN goes to the worker with the fewest and is the worker's from then on.
//! What it is not: on the way of a relayed packet.
//!
//! Invariants:
//! - What is accepted is counted from accept to close, of all and of each client; beyond a bound it is closed at once.
//! - A connection that has not shown what it speaks has a deadline.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};

use super::Relay;
use super::stream::Streams;
use super::stream::census::{Census, Ticket};
use super::stream::intake::{Dispatch, NewStream};
use crate::telemetry::labels::FrontListener;
use crate::telemetry::{FrontMetrics, Metrics, StreamRefusal};
use crate::turn::{ClientAddr, FiveTuple, ListenAddr, Transport};

/// Wait after an accept failed for want of descriptors or memory: there is nothing to do but let others end.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Wait for a worker whose queue is full: it empties it in one turn.
const BUSY_PAUSE: Duration = Duration::from_millis(5);
/// How often a busy worker is asked before a connection is refused.
const BUSY_ATTEMPTS: u32 = 40;

/// Accepts connections for a relay. One value for all listeners: they share the bounds.
#[derive(Clone)]
pub struct Front {
    census: Census,
    dispatch: Dispatch,
    metrics: FrontMetrics,
}

impl Front {
    /// A front for `relay`.
    pub fn new(bounds: &Streams, relay: &Relay, metrics: &Metrics) -> Self {
        Self {
            census: Census::new(bounds),
            dispatch: relay.dispatch().clone(),
            metrics: metrics.front().clone(),
        }
    }

    /// Accepts TURN clients on `listener` until `shutdown` completes. Streams that workers have live on.
    pub async fn serve(self, listener: TcpListener, shutdown: impl Future<Output = ()>) {
        let mut shutdown = pin!(shutdown);
        loop {
            let accepted = tokio::select! {
                () = &mut shutdown => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, client)) => {
                    self.metrics.accepted(FrontListener::Turn);
                    match self.census.admit(client.ip()) {
                        Ok(ticket) => self.to_worker(stream, client, ticket).await,
                        Err(reason) => self.metrics.refused(reason),
                    }
                }
                Err(error) if is_of_the_connection(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn to_worker(&self, stream: TcpStream, client: SocketAddr, ticket: Ticket) {
        let (Ok(server), Ok(socket)) = (stream.local_addr(), stream.into_std()) else {
            // It was reset before anybody looked.
            return;
        };
        let mut new = NewStream {
            socket,
            tls: None,
            five_tuple: FiveTuple {
                transport: Transport::Tcp,
                client: ClientAddr(client),
                server: ListenAddr(server),
            },
            early: Vec::new(),
            ticket,
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
}

impl std::fmt::Debug for Front {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Front")
            .field("census", &self.census)
            .finish_non_exhaustive()
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
