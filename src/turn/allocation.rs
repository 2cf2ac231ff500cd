//! Allocations (RFC 8656 §2.2) and the two ways to find one: by 5-tuple and by relayed address.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::bucket::Bucket;
use super::channel::Channels;
use super::config::RelayAddr;
use super::connection::{ConnectionKey, RelayedTransport};
use super::five_tuple::{Family, FiveTuple, PeerAddr, RelayId, RelayedAddr};
use super::hashing::{HashState, Map};
use super::meter::Usage;
use super::mobility::Mobility;
use super::output::{RelaySocket, ReservationToken};
use super::permission::Permissions;
use super::ports::PortWish;
use super::quota::Lease;
use super::realm::RealmId;
use super::request::{Request, Signer};
use super::share::ShareId;
use super::stats::Traffic;
use super::verdict::Answer;
use crate::credentials::UnixTime;
use crate::wire::TransactionId;
use crate::wire::attribute::PasswordAlgorithm;

/// One allocation: up to two relayed addresses, one per family.
#[derive(Debug)]
pub(super) struct Allocation {
    /// The path to the client; see [`Allocation::path`].
    pub(super) five_tuple: FiveTuple,
    /// If its client asked for it.
    pub(super) mobility: Option<Box<Mobility>>,
    /// Entry in the process-wide ledger; dropping the allocation gives it back.
    pub(super) lease: Lease,
    /// Whose it is.
    pub(super) realm: RealmId,
    /// Which part of what is counted for that, if it is told apart.
    pub(super) share: Option<ShareId>,
    /// The REALM that its key was made with, one of two where a realm has one of its own.
    pub(super) challenge: Arc<str>,
    /// USERNAME of the Allocate request; every later request must carry it (RFC 8656 §5).
    pub(super) username: Box<str>,
    /// The verified key: later requests cost one HMAC and no look-up, and outlive the credential.
    pub(super) signer: Signer,
    /// When the access token ends that it was made with, or refreshed with last (RFC 7635); no relayed address lives longer.
    pub(super) token_expires: Option<Instant>,
    /// Which password algorithm made the key.
    pub(super) algorithm: PasswordAlgorithm,
    pub(super) state: State,
    /// When it was asked for.
    pub(super) created: UnixTime,
    /// The same, on the clock that is never set.
    pub(super) began: Instant,
    /// Payload from the client to peers.
    pub(super) to_peer: Traffic,
    /// Payload from peers to the client.
    pub(super) to_client: Traffic,
    /// What its relayed addresses speak.
    pub(super) relayed_transport: RelayedTransport,
    /// By [`Family::index`].
    pub(super) relays: [Option<RelayLeg>; 2],
    /// Its data connections: none unless it is one of TCP.
    pub(super) connections: Vec<ConnectionKey>,
    pub(super) permissions: Permissions,
    pub(super) channels: Channels,
    /// What it has relayed, for its limits.
    pub(super) usage: Usage,
    /// ICMP errors its client may yet be told of.
    pub(super) peer_errors: Bucket,
    /// Entry of this allocation in the timers.
    pub(super) timer_at: Instant,
}

/// How far an allocation is.
#[derive(Debug)]
pub(super) enum State {
    /// Its sockets are being bound; the Allocate request waits.
    Binding(Box<Pending>),
    /// Answered.
    Live {
        /// The Allocate request that made it.
        transaction_id: TransactionId,
        /// What it was answered with, for its retransmissions (RFC 8489 §6.3.1).
        answer: Box<[u8]>,
    },
}

/// An Allocate request that waits for its sockets.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) request: Request,
    pub(super) lifetime: Duration,
    pub(super) wish: PortWish,
    pub(super) reservation: Option<ReservationToken>,
    /// Why a family of a dual allocation is not there, by [`Family::index`].
    pub(super) refused: [Option<Answer>; 2],
}

/// One relayed address of an allocation.
#[derive(Debug)]
pub(super) struct RelayLeg {
    pub(super) id: RelayId,
    pub(super) relay_addr: RelayAddr,
    /// Address of the socket, bound or being bound.
    pub(super) at: SocketAddr,
    /// What the client and its peers know.
    pub(super) relayed: RelayedAddr,
    /// From then on it is gone. Legs of a dual allocation are refreshed alone or together (RFC 8656 §8.1).
    pub(super) expires: Instant,
    pub(super) bind: Bind,
}

/// Whether the socket is there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Bind {
    /// Asked for.
    Waiting {
        /// Further ports that may be tried.
        attempts_left: u8,
        /// What was asked for.
        socket: RelaySocket,
    },
    /// There.
    Done,
}

impl Allocation {
    /// The relayed address of a family.
    #[inline]
    pub(super) fn relay(&self, family: Family) -> Option<&RelayLeg> {
        self.relays[family.index()].as_ref()
    }

    /// When something of it expires next.
    pub(super) fn next_expiry(&self) -> Option<Instant> {
        let legs = self.relays.iter().flatten().map(|leg| leg.expires);
        let moving = self.mobility.as_ref().and_then(|mobility| mobility.moving.as_ref());
        legs.chain(moving.map(|moving| moving.expires))
            .chain(self.permissions.next_expiry())
            .chain(self.channels.next_expiry())
            .min()
    }

    /// Where what is for the client goes; `None` while its stream is closed and it has not come back (RFC 8016).
    #[inline]
    pub(super) fn path(&self) -> Option<FiveTuple> {
        let is_adrift = self.mobility.as_ref().is_some_and(|mobility| mobility.is_adrift);
        (!is_adrift).then_some(self.five_tuple)
    }

    pub(super) const fn is_live(&self) -> bool {
        matches!(self.state, State::Live { .. })
    }
}

/// Where a relay belongs.
#[derive(Clone, Copy, Debug)]
pub(super) struct RelayOwner {
    pub(super) index: u32,
    pub(super) family: Family,
}

/// The allocations of a shard.
#[derive(Debug)]
pub(super) struct Allocations {
    slots: Vec<Slot>,
    free: Vec<u32>,
    by_five_tuple: Map<FiveTuple, u32>,
    relays: Vec<Option<RelayOwner>>,
    free_relays: Vec<RelayId>,
    by_relayed: Map<SocketAddr, RelayId>,
    pub(super) hash_state: HashState,
}

#[derive(Debug, Default)]
struct Slot {
    generation: u32,
    allocation: Option<Box<Allocation>>,
}

impl Allocations {
    pub(super) fn new(hash_state: HashState) -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            by_five_tuple: Map::with_hasher(hash_state.clone()),
            relays: Vec::new(),
            free_relays: Vec::new(),
            by_relayed: Map::with_hasher(hash_state.clone()),
            hash_state,
        }
    }

    #[inline]
    pub(super) fn find(&self, five_tuple: &FiveTuple) -> Option<u32> {
        self.by_five_tuple.get(five_tuple).copied()
    }

    /// The allocation of a 5-tuple, if it is past binding.
    #[inline]
    pub(super) fn find_live(&self, five_tuple: &FiveTuple) -> Option<(u32, &Allocation)> {
        let index = self.find(five_tuple)?;
        self.get(index)
            .filter(|allocation| allocation.is_live())
            .map(|allocation| (index, allocation))
    }

    #[inline]
    pub(super) fn get(&self, index: u32) -> Option<&Allocation> {
        self.slots.get(index as usize)?.allocation.as_deref()
    }

    #[inline]
    pub(super) fn get_mut(&mut self, index: u32) -> Option<&mut Allocation> {
        self.slots.get_mut(index as usize)?.allocation.as_deref_mut()
    }

    pub(super) fn generation(&self, index: u32) -> Option<u32> {
        self.slots.get(index as usize).map(|slot| slot.generation)
    }

    /// Places for allocations, taken or free.
    pub(super) fn places(&self) -> u32 {
        u32::try_from(self.slots.len()).unwrap_or(u32::MAX)
    }

    /// Allocations, those being bound included.
    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Relays, bound or being bound.
    pub(super) fn relays(&self) -> usize {
        self.relays.iter().flatten().count()
    }

    /// Relayed addresses that lead to a relay.
    pub(super) fn relayed(&self) -> usize {
        self.by_relayed.len()
    }

    /// Takes an allocation in, without relays. The caller made sure that its 5-tuple is free.
    pub(super) fn insert(&mut self, allocation: Allocation) -> u32 {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            (self.slots.len() - 1) as u32
        });
        self.by_five_tuple.insert(allocation.five_tuple, index);
        if let Some(slot) = self.slots.get_mut(index as usize) {
            slot.allocation = Some(Box::new(allocation));
        }
        index
    }

    /// Makes an allocation reachable by one more 5-tuple, which is free.
    pub(super) fn insert_path(&mut self, path: FiveTuple, index: u32) {
        self.by_five_tuple.insert(path, index);
    }

    /// Forgets a 5-tuple of an allocation.
    pub(super) fn remove_path(&mut self, path: &FiveTuple, index: u32) {
        if self.by_five_tuple.get(path) == Some(&index) {
            self.by_five_tuple.remove(path);
        }
    }

    /// 5-tuples that lead to an allocation.
    pub(super) fn paths(&self) -> usize {
        self.by_five_tuple.len()
    }

    /// Takes an allocation out. The caller has removed its relays and its paths.
    pub(super) fn remove(&mut self, index: u32) -> Option<Box<Allocation>> {
        let slot = self.slots.get_mut(index as usize)?;
        let allocation = slot.allocation.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(index);
        Some(allocation)
    }

    /// A key for a relay that is about to be bound.
    pub(super) fn new_relay(&mut self, owner: RelayOwner) -> RelayId {
        let id = self.free_relays.pop().unwrap_or_else(|| {
            self.relays.push(None);
            RelayId((self.relays.len() - 1) as u32)
        });
        if let Some(entry) = self.relays.get_mut(id.index()) {
            *entry = Some(owner);
        }
        id
    }

    /// Makes a relay reachable by its relayed address.
    pub(super) fn publish(&mut self, id: RelayId, relayed: RelayedAddr) {
        self.by_relayed.insert(relayed.0, id);
    }

    /// Forgets a relay.
    pub(super) fn remove_relay(&mut self, id: RelayId, relayed: RelayedAddr) {
        if let Some(entry) = self.relays.get_mut(id.index())
            && entry.take().is_some()
        {
            self.free_relays.push(id);
        }
        if self.by_relayed.get(&relayed.0) == Some(&id) {
            self.by_relayed.remove(&relayed.0);
        }
    }

    #[inline]
    pub(super) fn owner_of(&self, id: RelayId) -> Option<RelayOwner> {
        self.relays.get(id.index()).copied().flatten()
    }

    #[inline]
    pub(super) fn relay_at(&self, relayed: &SocketAddr) -> Option<RelayId> {
        self.by_relayed.get(relayed).copied()
    }
}

/// An address as it is compared: without the flow label and scope that a kernel may attach.
#[inline]
pub(super) fn bare(peer: PeerAddr) -> PeerAddr {
    PeerAddr(SocketAddr::new(peer.0.ip(), peer.0.port()))
}
