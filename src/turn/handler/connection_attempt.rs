//! A peer's connection to a relayed address (RFC 6062 §5.3), which a ConnectionAttempt indication tells the client of.

use crate::turn::allocation::bare;
use crate::turn::connection::{BIND_TIMEOUT, ConnectionKey, ConnectionState, PeerConnection, RelayedTransport};
use crate::turn::five_tuple::{PeerAddr, RelayId};
use crate::turn::input::Now;
use crate::turn::server::Server;
use crate::turn::verdict::{ConnectionEnd, Initiator};
use crate::wire::attribute::XorPeerAddress;
use crate::wire::{Class, MessageBuilder, Method, TransactionId};

/// A ConnectionAttempt indication with an IPv6 address is 52 bytes.
const MAX_INDICATION: usize = 64;

impl Server {
    /// Takes a connection that the driver accepted on a relay of TCP. `Err`: close it at once; it is counted already.
    ///
    /// # Errors
    /// Why it is not wanted.
    pub fn handle_peer_accepted(
        &mut self,
        now: Now,
        relay: RelayId,
        from: PeerAddr,
    ) -> Result<ConnectionKey, ConnectionEnd> {
        self.expire(now);
        let accepted = self.judge_accepted(now, relay, bare(from)).and_then(|connection| {
            let mut buffer = [0; MAX_INDICATION];
            let id = TransactionId(self.indication_ids.next());
            let built = MessageBuilder::new(&mut buffer, Method::CONNECTION_ATTEMPT, Class::Indication, id)
                .attribute(&connection.id)
                .attribute(&XorPeerAddress(connection.peer.0))
                .finish();
            let message = built.ok().and_then(|len| buffer.get(..len));
            let allocation = self.allocations.get(connection.allocation);
            match (message, allocation) {
                (Some(message), Some(allocation)) => {
                    self.outputs.transmit(allocation.five_tuple, message);
                    Ok(connection)
                }
                _ => Err(ConnectionEnd::Failed),
            }
        });
        match accepted {
            Ok(mut connection) => {
                let expires = now.instant + BIND_TIMEOUT;
                connection.state = ConnectionState::Unbound { expires };
                let index = connection.allocation;
                let key = self.open_connection(connection, Initiator::Peer);
                self.note_expiry(index, expires);
                Ok(key)
            }
            Err(end) => {
                self.stats.connections_opened[Initiator::Peer.index()] += 1;
                self.stats.connections_ended[end.index()] += 1;
                Err(end)
            }
        }
    }

    fn judge_accepted(&mut self, now: Now, relay: RelayId, peer: PeerAddr) -> Result<PeerConnection, ConnectionEnd> {
        let owner = self.allocations.owner_of(relay).ok_or(ConnectionEnd::AllocationEnded)?;
        let allocation = self
            .allocations
            .get(owner.index)
            .filter(|allocation| allocation.is_live() && allocation.relayed_transport == RelayedTransport::Tcp)
            .ok_or(ConnectionEnd::AllocationEnded)?;
        if !allocation.permissions.permits(peer.0.ip()) || self.is_ip_closed_meanwhile(allocation.realm, peer.0.ip()) {
            return Err(ConnectionEnd::NoPermission);
        }
        let lease = self.room_for_connection(owner.index).map_err(|kind| {
            self.hit_quota(now, owner.index, kind);
            ConnectionEnd::NoRoom
        })?;
        Ok(PeerConnection {
            id: self.connections.new_id(&mut self.rng),
            allocation: owner.index,
            peer,
            state: ConnectionState::Bound(crate::turn::Transport::Tcp),
            owed: [0; 2],
            lease,
        })
    }
}
