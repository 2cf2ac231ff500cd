//! Connect (RFC 6062 §5.2): a TCP connection from a relayed address to a peer.

use crate::turn::allocation::bare;
use crate::turn::connection::{CONNECT_TIMEOUT, ConnectionKey, ConnectionState, PeerConnection, RelayedTransport};
use crate::turn::event::Asked;
use crate::turn::five_tuple::{Family, PeerAddr, RelayId};
use crate::turn::input::{ConnectError, Now};
use crate::turn::output::{Output, PeerRoute};
use crate::turn::peer_filter::PeerClass;
use crate::turn::quota::ConnectionLease;
use crate::turn::request::{Reject, Request};
use crate::turn::server::Server;
use crate::turn::verdict::{Answer, ConnectionEnd, Initiator, QuotaKind, Verdict};
use crate::wire::Message;
use crate::wire::attribute::XorPeerAddress;

/// A connection that may be asked for.
struct Wanted {
    relay: RelayId,
    peer: PeerAddr,
    route: PeerRoute,
    lease: ConnectionLease,
}

impl Server {
    pub(in crate::turn) fn handle_connect(&mut self, now: Now, request: &Request, message: &Message<'_>) -> Verdict {
        let (index, signer) = match self.authorize(now, request, message) {
            Ok(authorized) => authorized,
            Err(verdict) => return verdict,
        };
        let wanted = match self.judge_connect(now, index, message) {
            Ok(wanted) => wanted,
            Err(reject) => return self.reject(now, request, reject, Some(&signer)),
        };
        let expires = now.instant + CONNECT_TIMEOUT;
        let connection = PeerConnection {
            id: self.connections.new_id(&mut self.rng),
            allocation: index,
            peer: wanted.peer,
            state: ConnectionState::Connecting {
                waiting: Box::new((*request, signer)),
                expires,
            },
            owed: [0; 2],
            lease: wanted.lease,
        };
        let key = self.open_connection(connection, Initiator::Client);
        self.outputs.ask(Output::ConnectPeer {
            connection: key,
            relay: wanted.relay,
            peer: wanted.peer,
            route: wanted.route,
        });
        self.note_expiry(index, expires);
        Verdict::Deferred
    }

    fn judge_connect(&mut self, now: Now, index: u32, message: &Message<'_>) -> Result<Wanted, Reject> {
        // A TCP allocation.
        let allocation = self
            .allocations
            .get(index)
            .filter(|allocation| allocation.relayed_transport == RelayedTransport::Tcp)
            .ok_or(Answer::AllocationMismatch)?;

        // A peer, and of the family of the relayed address.
        let peer = message.find::<XorPeerAddress>().ok().flatten();
        let XorPeerAddress(peer) = peer.ok_or(Answer::BadRequest)?;
        let peer = bare(PeerAddr(peer));
        let leg = allocation
            .relay(Family::of(peer.0.ip()))
            .ok_or(Answer::PeerAddressFamilyMismatch)?;
        let (relay, relayed, realm) = (leg.id, leg.relayed, allocation.realm);

        // Not connected yet, nor about to be. One that the peer opened counts as well: there cannot be two between the same
        // two addresses.
        let known = |key: &ConnectionKey| self.connections.get(*key).is_some_and(|known| known.peer == peer);
        if allocation.connections.iter().any(known) {
            return Err(Answer::ConnectionAlreadyExists.into());
        }

        // A peer that may be reached, other than itself.
        let judged = if peer.0 == relayed.0 {
            Err(PeerClass::OwnAddress)
        } else {
            self.judge_peer(realm, peer.0)
        };
        if let Err(class) = judged {
            self.deny(now, index, class, Asked::Connect, peer.0.ip());
            return Err(Answer::Forbidden.into());
        }
        let route = if !self.is_own(peer.0.ip()) {
            PeerRoute::Network
        } else if self.realms.peers(realm).allows(peer.0.ip()) {
            PeerRoute::OwnOpened
        } else {
            PeerRoute::OwnRelay
        };

        // Room.
        let lease = self.room_for_connection(index).map_err(|kind| {
            self.hit_quota(now, index, kind);
            Answer::InsufficientCapacity
        })?;
        Ok(Wanted {
            relay,
            peer,
            route,
            lease,
        })
    }

    /// A place for one more connection of an allocation, or which bound is in the way.
    pub(super) fn room_for_connection(&self, index: u32) -> Result<ConnectionLease, QuotaKind> {
        let limits = &self.config.limits;
        let allocation = self.allocations.get(index).ok_or(QuotaKind::Connections)?;
        if allocation.connections.len() >= usize::from(limits.connections_per_allocation) {
            return Err(QuotaKind::Connections);
        }
        allocation.lease.try_connect(limits)
    }

    /// Takes the outcome of [`super::super::Output::ConnectPeer`]. Once for each; for a connection that is closed meanwhile it does
    /// nothing.
    pub fn handle_peer_connected(&mut self, now: Now, key: ConnectionKey, result: Result<(), ConnectError>) {
        self.expire(now);
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        if !matches!(connection.state, ConnectionState::Connecting { .. }) {
            return;
        }
        if result.is_err() {
            return self.fail_connect(now, key, ConnectionEnd::ConnectFailed);
        }
        let (index, id) = (connection.allocation, connection.id);
        let expires = now.instant + super::super::connection::BIND_TIMEOUT;
        let before = std::mem::replace(&mut connection.state, ConnectionState::Unbound { expires });
        let ConnectionState::Connecting { waiting, .. } = before else {
            return;
        };
        self.note_expiry(index, expires);
        let (request, signer) = *waiting;
        let verdict = self.succeed(&request, Some(&signer), |builder| {
            builder.attribute(&id);
        });
        self.settle(verdict);
    }

    /// Ends a connection that never came to be, and answers its Connect request.
    pub(in crate::turn) fn fail_connect(&mut self, now: Now, key: ConnectionKey, end: ConnectionEnd) {
        let Some(connection) = self.forget_connection(key, end) else {
            return;
        };
        if let ConnectionState::Connecting { waiting, .. } = connection.state {
            let (request, signer) = *waiting;
            let reject = Answer::ConnectionTimeoutOrFailure.into();
            let verdict = self.reject(now, &request, reject, Some(&signer));
            self.settle(verdict);
        }
    }
}
