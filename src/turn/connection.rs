//! Peer data connections (RFC 6062 §5.2, §5.3): TCP connections between a relayed address and a peer, and the two ways to find
//! one: by the driver's key and by CONNECTION-ID. Their bytes never come here.

use std::time::{Duration, Instant};

use super::five_tuple::{Family, PeerAddr, Transport};
use super::hashing::{HashState, Map};
use super::input::Shard;
use super::quota::ConnectionLease;
use super::request::{Request, Signer};
use super::rng::Drbg;
use crate::wire::attribute::ConnectionId;

/// How long a peer may take to answer a connection (RFC 6062 §5.2: at least 30 s).
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a peer data connection waits for its ConnectionBind (RFC 6062 §5.2, §5.3).
pub const BIND_TIMEOUT: Duration = Duration::from_secs(30);

/// Key of one peer data connection of one shard. Small and dense: a driver indexes its sockets with it. Reused once the
/// connection has ended.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ConnectionKey(pub u32);

impl ConnectionKey {
    /// As an index into a driver's table.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// What the relayed address of an allocation speaks.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum RelayedTransport {
    /// Datagrams (RFC 8656).
    Udp,
    /// Connections (RFC 6062).
    Tcp,
}

impl RelayedTransport {
    /// As operators read it.
    pub const fn as_label(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
        }
    }
}

/// One peer data connection.
#[derive(Debug)]
pub(super) struct PeerConnection {
    pub(super) id: ConnectionId,
    /// Place of its allocation.
    pub(super) allocation: u32,
    pub(super) peer: PeerAddr,
    pub(super) state: ConnectionState,
    /// Bytes that passed and are not taken from the limits yet, by [`super::Direction`].
    pub(super) owed: [usize; 2],
    /// Entry in the process-wide ledger; dropping the connection gives it back.
    pub(super) lease: ConnectionLease,
}

/// How far a peer data connection is.
#[derive(Debug)]
pub(super) enum ConnectionState {
    /// The peer has not answered; the Connect request waits.
    Connecting {
        waiting: Box<(Request, Signer)>,
        expires: Instant,
    },
    /// It is there, and waits for its ConnectionBind.
    Unbound { expires: Instant },
    /// It belongs to a client data connection of this transport.
    Bound(Transport),
}

impl PeerConnection {
    /// When it ends unless something happens.
    pub(super) const fn expires(&self) -> Option<Instant> {
        match self.state {
            ConnectionState::Connecting { expires, .. } | ConnectionState::Unbound { expires } => Some(expires),
            ConnectionState::Bound(_) => None,
        }
    }

    pub(super) const fn family(&self) -> Family {
        Family::of(self.peer.0.ip())
    }
}

/// The peer data connections of a shard.
#[derive(Debug)]
pub(super) struct PeerConnections {
    shard: Shard,
    slots: Vec<Option<PeerConnection>>,
    free: Vec<ConnectionKey>,
    by_id: Map<u32, ConnectionKey>,
}

impl PeerConnections {
    pub(super) fn new(shard: Shard, hash_state: HashState) -> Self {
        Self {
            shard,
            slots: Vec::new(),
            free: Vec::new(),
            by_id: Map::with_hasher(hash_state),
        }
    }

    /// A CONNECTION-ID that no living connection has. It cannot be guessed, and says which shard it belongs to.
    pub(super) fn new_id(&self, rng: &mut Drbg) -> ConnectionId {
        let count = u32::from(self.shard.count.max(1));
        loop {
            let drawn = u32::from_be_bytes(rng.bytes());
            let id = (drawn - drawn % count).checked_add(u32::from(self.shard.index));
            if let Some(id) = id.filter(|id| !self.by_id.contains_key(id)) {
                return ConnectionId(id);
            }
        }
    }

    /// The shard that gave this CONNECTION-ID, if any did.
    pub(super) fn shard_of(&self, id: ConnectionId) -> u16 {
        (id.0 % u32::from(self.shard.count.max(1))) as u16
    }

    /// Connections, those that are being made included.
    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(super) fn insert(&mut self, connection: PeerConnection) -> ConnectionKey {
        let key = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            ConnectionKey((self.slots.len() - 1) as u32)
        });
        self.by_id.insert(connection.id.0, key);
        if let Some(slot) = self.slots.get_mut(key.index()) {
            *slot = Some(connection);
        }
        key
    }

    pub(super) fn remove(&mut self, key: ConnectionKey) -> Option<PeerConnection> {
        let connection = self.slots.get_mut(key.index())?.take()?;
        self.by_id.remove(&connection.id.0);
        self.free.push(key);
        Some(connection)
    }

    #[inline]
    pub(super) fn get(&self, key: ConnectionKey) -> Option<&PeerConnection> {
        self.slots.get(key.index())?.as_ref()
    }

    pub(super) fn get_mut(&mut self, key: ConnectionKey) -> Option<&mut PeerConnection> {
        self.slots.get_mut(key.index())?.as_mut()
    }

    pub(super) fn find(&self, id: ConnectionId) -> Option<ConnectionKey> {
        self.by_id.get(&id.0).copied()
    }

    /// The earliest end among `keys`.
    pub(super) fn next_expiry(&self, keys: &[ConnectionKey]) -> Option<Instant> {
        keys.iter().filter_map(|key| self.get(*key)?.expires()).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_says_which_shard_gave_it() {
        let mut rng = Drbg::new([3; 32]);
        for count in [1, 2, 3, 1000] {
            for index in [0, count / 2, count - 1] {
                let table = PeerConnections::new(Shard { index, count }, HashState::with_seed(1));
                for _ in 0..50 {
                    let id = table.new_id(&mut rng);
                    assert_eq!(table.shard_of(id), index);
                }
            }
        }
    }

    #[test]
    fn ids_are_drawn_from_the_whole_range() {
        let mut rng = Drbg::new([4; 32]);
        let table = PeerConnections::new(Shard::SINGLE, HashState::with_seed(1));
        let ids: std::collections::HashSet<_> = (0..1000).map(|_| table.new_id(&mut rng).0).collect();
        assert!(ids.len() > 990);
        assert!(ids.iter().any(|id| *id > u32::MAX / 2) && ids.iter().any(|id| *id < u32::MAX / 2));
    }
}
