//! The worker's turn with data connections of TCP allocations (RFC 6062): connect, accept, join, pass on, end.

use std::io::ErrorKind;

use super::{Now, Token, Worker};
use crate::telemetry::StreamEnd;
use crate::transport::data_connection::pair::{Half, Pair, Service};
use crate::transport::data_connection::socket;
use crate::transport::data_connection::table::{Awake, DataConnection};
use crate::transport::stream::connection::{Connection, Scratch};
use crate::turn::{ConnectError, ConnectionEnd, ConnectionKey, FiveTuple, PeerAddr, PeerRoute, RelayId, RelayedAddr};

/// Connections accepted of one relay in one turn: whoever knows the address can open them.
const ACCEPTS: usize = 16;

impl Worker {
    /// Begins a connection to a peer.
    pub(super) fn connect_peer(
        &mut self,
        at: Now,
        key: ConnectionKey,
        relay: RelayId,
        peer: PeerAddr,
        route: PeerRoute,
    ) {
        let target = match route {
            PeerRoute::Network => Some(peer.0),
            PeerRoute::OwnRelay => self.tcp_owners.bound_of(RelayedAddr(peer.0)),
            PeerRoute::OwnOpened => Some(self.tcp_owners.bound_of(RelayedAddr(peer.0)).unwrap_or(peer.0)),
        };
        let bound = self.outbox.sockets.relays.bound(relay);
        let begun = target.zip(bound).and_then(|(target, bound)| {
            let socket = socket::connect(bound, target).ok()?;
            let token = Token::PeerHalf(key.0);
            self.poller.add_interest(&socket, token, false, true).ok()?;
            Some(socket)
        });
        match begun {
            Some(socket) => self.connections.insert(key, DataConnection::Connecting(socket)),
            None => self.server.handle_peer_connected(at, key, Err(ConnectError)),
        }
    }

    /// Takes in what peers have opened.
    pub(super) fn serve_tcp_relay(&mut self, at: Now, relay: RelayId) {
        for _ in 0..ACCEPTS {
            // The relay may have been closed by what the last one led to.
            let Some(listener) = self.outbox.sockets.relays.socket(relay) else {
                return;
            };
            match socket::accept(listener) {
                Ok((socket, from)) => {
                    // Who comes from another relay of this process is known to clients by its relayed address.
                    let from = self.tcp_owners.relayed_of(from).map_or(from, |relayed| relayed.0);
                    if let Ok(key) = self.server.handle_peer_accepted(at, relay, PeerAddr(from)) {
                        self.connections.insert(key, DataConnection::Waiting(socket));
                    }
                    self.drain(at);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::Interrupted) => {}
                Err(_) => {
                    // No descriptor or no memory is left: it would be reported again at once.
                    self.outbox.stats.recv_failures += 1;
                    if self.poller.remove(listener).is_ok() {
                        self.connections.accept_later(relay, at.instant);
                    }
                    return;
                }
            }
        }
    }

    /// Serves an event of one half of a data connection.
    pub(super) fn serve_connection(&mut self, at: Now, key: ConnectionKey, half: Half, readable: bool) {
        // The event may be of a connection that ended earlier in this turn.
        match self.connections.get_mut(key) {
            Some(DataConnection::Connecting(socket)) => {
                let Some(result) = socket::connected(socket) else {
                    return;
                };
                let result = result.and_then(|()| self.poller.remove(&*socket));
                let connecting = self.connections.remove(key);
                let result = match (result, connecting) {
                    (Ok(()), Some(DataConnection::Connecting(socket))) => {
                        self.connections.insert(key, DataConnection::Waiting(socket));
                        Ok(())
                    }
                    _ => Err(ConnectError),
                };
                self.server.handle_peer_connected(at, key, result);
                self.drain(at);
            }
            Some(DataConnection::Joined(pair)) => {
                let mut scratch = std::mem::take(&mut self.scratch);
                if scratch.frames.is_empty() {
                    scratch = Scratch::new();
                }
                let mut service = Service {
                    server: &mut self.server,
                    scratch: &mut scratch,
                    at,
                    key,
                    pause: self.pause,
                };
                let end = pair.serve(&mut service, half, readable);
                self.scratch = scratch;
                self.conclude(at, key, end);
            }
            Some(DataConnection::Waiting(_)) | None => {}
        }
    }

    /// A client's stream becomes the other half of a peer's connection.
    pub(super) fn join_connection(&mut self, at: Now, key: ConnectionKey, client: &FiveTuple) {
        let streams = &mut self.outbox.streams;
        let stream = streams.find(client).and_then(|index| streams.take(index));
        let waiting = self.connections.remove(key);
        let (Some(stream), Some(DataConnection::Waiting(peer))) = (stream, waiting) else {
            // The stream broke while its request was looked at.
            return self
                .server
                .handle_connection_ended(at, key, ConnectionEnd::ClientFailed);
        };
        let kind = stream.kind().index();
        match Pair::new(stream, peer, &self.poller, at.instant) {
            Ok(pair) => {
                self.connections.insert(key, DataConnection::Joined(Box::new(pair)));
                self.joined = Some(key);
            }
            Err(_) => {
                self.outbox.stats.streams[kind] -= 1;
                self.outbox.stats.streams_closed[StreamEnd::Failed.index()] += 1;
                self.server
                    .handle_connection_ended(at, key, ConnectionEnd::ClientFailed);
            }
        }
    }

    /// Passes on what was read of a client's stream behind its ConnectionBind: the first `held` bytes of the scratch, and what is
    /// still encrypted.
    pub(super) fn begin_connection(&mut self, at: Now, key: ConnectionKey, scratch: &mut Scratch, held: usize) {
        let Some(DataConnection::Joined(pair)) = self.connections.get_mut(key) else {
            return;
        };
        let mut service = Service {
            server: &mut self.server,
            scratch,
            at,
            key,
            pause: self.pause,
        };
        pair.begin(&mut service, held);
        let end = pair.settle(at.instant);
        self.conclude(at, key, end);
    }

    /// Looks at those whose time has come: a pause is over, or a patience.
    pub(super) fn wake_connections(&mut self, at: Now) {
        self.pause = self.connections.pause();
        while let Some(awake) = self.connections.next_awake(at.instant) {
            match awake {
                Awake::Connection(key) => {
                    if let Some(DataConnection::Joined(pair)) = self.connections.get_mut(key) {
                        let end = pair.settle(at.instant);
                        self.conclude(at, key, end);
                    }
                }
                Awake::Relay(relay) => {
                    if let Some(listener) = self.outbox.sockets.relays.socket(relay) {
                        // If it is another relay by now, it is watched already, and this fails.
                        let _ = self.poller.add(listener, Token::TcpRelay(relay.0));
                    }
                }
            }
        }
    }

    /// After a pair was served: it ends, or its sockets are watched for what it wants next.
    fn conclude(&mut self, at: Now, key: ConnectionKey, end: Option<ConnectionEnd>) {
        let Some(DataConnection::Joined(pair)) = self.connections.get_mut(key) else {
            return;
        };
        let end = end.or_else(|| {
            let watched = pair.watch(&self.poller, key, at.instant);
            watched.is_err().then_some(ConnectionEnd::Failed)
        });
        match end {
            None => {
                let (pause, patience) = (pair.pause_ends(at.instant), pair.patience_ends());
                self.connections.wake_at(key, pause, patience);
            }
            Some(end) => {
                self.close_connection(key);
                self.server.handle_connection_ended(at, key, end);
                self.drain(at);
            }
        }
    }

    /// Closes the sockets of a data connection.
    pub(super) fn close_connection(&mut self, key: ConnectionKey) {
        if let Some(DataConnection::Joined(pair)) = self.connections.remove(key) {
            let mut client: Box<Connection> = pair.into_client();
            self.outbox.stats.streams[client.kind().index()] -= 1;
            self.outbox.stats.streams_closed[StreamEnd::DataConnection.index()] += 1;
            client.farewell();
        }
    }
}
