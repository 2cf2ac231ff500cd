//! What the server asks of its driver.
//!
//! A relayed packet is the return value of `handle_*` ([`Handled::Forward`]): no queue, no copy. Everything else is drained
//! with [`super::Server::poll_output`] after each `handle_*`, in order. The two do not interfere: no queued output closes
//! the relay that a [`Forward`] just returned names, so a driver may send before or after draining.

use std::net::SocketAddr;
use std::ops::Range;

use super::connection::ConnectionKey;
use super::five_tuple::{FiveTuple, PeerAddr, RelayId, RelayedAddr};
use super::verdict::Verdict;
pub use crate::wire::Prefix;
pub use crate::wire::attribute::ReservationToken;

/// What became of one packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Handled {
    /// Relay it: send `prefix`, then `payload` of the datagram that was handed in, then `padding` zero bytes, as one
    /// datagram or stream frame. Already counted as [`Verdict::Relayed`].
    Forward(Forward),
    /// Nothing to relay.
    Done(Verdict),
}

impl Handled {
    /// The packet's one verdict.
    pub const fn verdict(&self) -> Verdict {
        match self {
            Self::Forward(_) => Verdict::Relayed,
            Self::Done(verdict) => *verdict,
        }
    }
}

/// A packet to relay.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Forward {
    /// Where to.
    pub to: Destination,
    /// Header to put in front; empty towards peers and siblings.
    pub prefix: Prefix,
    /// Start of the payload in the datagram that was handed in.
    pub payload_start: u32,
    /// Bytes of payload.
    pub payload_len: u32,
    /// Zero bytes to put behind, 0..=3.
    pub padding: u8,
    /// The client asked for the DF bit (RFC 8656 §11.2); only towards peers.
    pub dont_fragment: bool,
}

impl Forward {
    /// The payload as a range of the datagram that was handed in.
    #[inline]
    pub const fn payload(&self) -> Range<usize> {
        let start = self.payload_start as usize;
        start..start + self.payload_len as usize
    }
}

/// Where a relayed packet goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Destination {
    /// Out of the relay socket `relay`, by UDP.
    Peer {
        /// The socket to send from.
        relay: RelayId,
        /// The address to send to.
        peer: PeerAddr,
    },
    /// To a client on its own leg (also: hairpin inside this shard).
    Client(FiveTuple),
    /// The peer may be a relayed address of another shard of this process. Hand the payload to the shard that holds the
    /// port, which calls `relay_at(to)` and `handle_peer(relay, from, payload)`. If no shard does: send it to `to` from the
    /// socket `otherwise` where that is given, else drop it, because `to` may be the port of some local service.
    Sibling {
        /// The relayed address it is for.
        to: RelayedAddr,
        /// The relayed address it is from, the peer in the eyes of the receiver.
        from: PeerAddr,
        /// The operator's allow list opens this address of ours, so a local service may be meant.
        otherwise: Option<RelayId>,
    },
    /// The client moved to a listener of this shard, and `shard` of this process holds its allocation (RFC 8016). Hand the
    /// whole datagram over; that shard takes it with `handle_handed_over`.
    Owner {
        /// The shard that serves the client.
        shard: u16,
        /// Whose datagram it is, as it came in.
        client: FiveTuple,
    },
}

/// Which socket a relay shall get.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RelaySocket {
    /// Bind a new UDP socket at `at`.
    Fresh,
    /// Bind two new UDP sockets: one at `at`, one at the next port. Both or none: if the second fails, close the first and
    /// report that error. Park the second, not receiving, under the token in a table that all shards share, until a
    /// [`RelaySocket::Reserved`] of any shard takes it or [`Output::ReleaseReserved`] drops it (RFC 8656 §7.2, EVEN-PORT
    /// with R set).
    FreshAndReserveNext(ReservationToken),
    /// Take the parked socket of this token, bound at `at`; [`super::BindError::NotReserved`] if it is gone.
    Reserved(ReservationToken),
    /// Bind a TCP socket at `at` and listen. Every connection it accepts goes to [`super::Server::handle_peer_accepted`], with the
    /// advertised address in place of the bound one if it comes from a relay of this process.
    Listen,
}

/// Where a TCP connection to a peer may go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PeerRoute {
    /// The peer is no address of this machine.
    Network,
    /// The peer's address is of this machine: connect if a relay of TCP of this process has it, to where that is bound. Anything
    /// else that may listen there is closed.
    OwnRelay,
    /// As [`PeerRoute::OwnRelay`], but the operator's allow list opens the address: what is no relay is connected to as it is.
    OwnOpened,
}

/// Work for the driver.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Output<'s> {
    /// Send `bytes` to a client.
    Transmit {
        /// To the client, from the listener `to.server`: that need not be the one its request came to, nor `to.client` the
        /// port that it came from (RFC 5780 §6.1).
        to: FiveTuple,
        /// One STUN message.
        bytes: &'s [u8],
    },
    /// Get a socket for `relay` and report with [`super::Server::handle_relay_bound`], at once or later. Until then (and if
    /// it failed) the relay does not exist for the driver.
    BindRelay {
        /// Key for everything that concerns this socket from now on.
        relay: RelayId,
        /// Address to bind, port chosen by the core.
        at: SocketAddr,
        /// Which socket.
        socket: RelaySocket,
    },
    /// Close the socket of `relay`; the id may come again in a later `BindRelay`. Also sent for a relay whose bind is not
    /// reported yet: then drop the socket when it comes, and do not report it.
    CloseRelay {
        /// The socket's key.
        relay: RelayId,
    },
    /// Connect to `peer` from the address of `relay`, and report with [`super::Server::handle_peer_connected`], later or at once.
    ConnectPeer {
        /// Key for everything that concerns this connection from now on.
        connection: ConnectionKey,
        /// The relay to connect from.
        relay: RelayId,
        /// The peer.
        peer: PeerAddr,
        /// Where that may lead.
        route: PeerRoute,
    },
    /// From now on the client's stream `client` carries no messages, but the bytes of `connection`, once what was sent to it before
    /// is written (RFC 6062 §4.3). Bytes that came in behind the last message are the first of them. Report the end with
    /// [`super::Server::handle_connection_ended`].
    JoinConnection {
        /// The peer's half.
        connection: ConnectionKey,
        /// The client's half.
        client: FiveTuple,
    },
    /// Close the sockets of `connection`, the client's as well if they are joined, and do not report it. The key may come again.
    CloseConnection {
        /// The connection's key.
        connection: ConnectionKey,
    },
    /// A reservation ran out unclaimed: close the socket parked under the token, if it is still there.
    ReleaseReserved {
        /// The socket's token.
        token: ReservationToken,
    },
}
