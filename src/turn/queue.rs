//! What waits for `poll_output`: small values and one buffer for all messages, reused once it is drained.

use std::collections::VecDeque;
use std::net::SocketAddr;

use super::connection::ConnectionKey;
use super::five_tuple::{FiveTuple, PeerAddr, RelayId};
use super::output::{Output, PeerRoute, RelaySocket, ReservationToken};

#[derive(Debug, Default)]
pub(super) struct Outputs {
    queue: VecDeque<Queued>,
    bytes: Vec<u8>,
}

#[derive(Debug)]
enum Queued {
    Transmit {
        to: FiveTuple,
        start: usize,
        len: usize,
    },
    BindRelay {
        relay: RelayId,
        at: SocketAddr,
        socket: RelaySocket,
    },
    CloseRelay {
        relay: RelayId,
    },
    ConnectPeer {
        connection: ConnectionKey,
        relay: RelayId,
        peer: PeerAddr,
        route: PeerRoute,
    },
    JoinConnection {
        connection: ConnectionKey,
        client: FiveTuple,
    },
    CloseConnection {
        connection: ConnectionKey,
    },
    ReleaseReserved {
        token: ReservationToken,
    },
}

impl Outputs {
    pub(super) fn transmit(&mut self, to: FiveTuple, message: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(message);
        self.queue.push_back(Queued::Transmit {
            to,
            start,
            len: message.len(),
        });
    }

    /// The message queued last, if it was the last thing queued.
    pub(super) fn last_message(&self) -> Option<&[u8]> {
        match self.queue.back()? {
            Queued::Transmit { start, len, .. } => self.bytes.get(*start..*start + *len),
            _ => None,
        }
    }

    pub(super) fn bind(&mut self, relay: RelayId, at: SocketAddr, socket: RelaySocket) {
        self.queue.push_back(Queued::BindRelay { relay, at, socket });
    }

    pub(super) fn close(&mut self, relay: RelayId) {
        self.queue.push_back(Queued::CloseRelay { relay });
    }

    pub(super) fn connect(&mut self, connection: ConnectionKey, relay: RelayId, peer: PeerAddr, route: PeerRoute) {
        self.queue.push_back(Queued::ConnectPeer {
            connection,
            relay,
            peer,
            route,
        });
    }

    pub(super) fn join(&mut self, connection: ConnectionKey, client: FiveTuple) {
        self.queue.push_back(Queued::JoinConnection { connection, client });
    }

    pub(super) fn close_connection(&mut self, connection: ConnectionKey) {
        self.queue.push_back(Queued::CloseConnection { connection });
    }

    pub(super) fn release(&mut self, token: ReservationToken) {
        self.queue.push_back(Queued::ReleaseReserved { token });
    }

    pub(super) fn pop(&mut self) -> Option<Output<'_>> {
        let Some(queued) = self.queue.pop_front() else {
            self.bytes.clear();
            return None;
        };
        Some(match queued {
            Queued::Transmit { to, start, len } => Output::Transmit {
                to,
                bytes: self.bytes.get(start..start + len).unwrap_or_default(),
            },
            Queued::BindRelay { relay, at, socket } => Output::BindRelay { relay, at, socket },
            Queued::CloseRelay { relay } => Output::CloseRelay { relay },
            Queued::ConnectPeer {
                connection,
                relay,
                peer,
                route,
            } => Output::ConnectPeer {
                connection,
                relay,
                peer,
                route,
            },
            Queued::JoinConnection { connection, client } => Output::JoinConnection { connection, client },
            Queued::CloseConnection { connection } => Output::CloseConnection { connection },
            Queued::ReleaseReserved { token } => Output::ReleaseReserved { token },
        })
    }
}
