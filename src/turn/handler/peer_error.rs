//! ICMP errors about datagrams to peers, told to the client as Data indications (RFC 8656 §11.5).
//!
//! Whoever knows the two addresses of a datagram can forge such an error, so the bounds are what matters: an indication is
//! shorter than the shortest error it can stand for, only peers with a permission are spoken of, and no more are told of than
//! a client can make use of. The driver has checked by its kernel that the error quotes a UDP datagram of the relay's socket.

use crate::turn::allocation::bare;
use crate::turn::bucket::Pace;
use crate::turn::five_tuple::{Family, PeerAddr, RelayId};
use crate::turn::input::{IcmpError, Now};
use crate::turn::server::Server;
use crate::turn::verdict::PeerErrorEnd;
use crate::wire::attribute::{Icmp, XorPeerAddress};
use crate::wire::{Class, MessageBuilder, Method, TransactionId};

/// Errors in a second, and at once, that one client is told of. Path MTU discovery and a closed port need a few.
const PER_ALLOCATION: u64 = 10;
/// As above, for all clients of a shard together.
const PER_SHARD: u64 = 1000;
/// Header, XOR-PEER-ADDRESS of IPv6, ICMP.
const MAX_INDICATION: usize = 20 + 24 + 12;

impl Server {
    pub(in crate::turn) fn report_peer_error(
        &mut self,
        now: Now,
        relay: RelayId,
        peer: PeerAddr,
        icmp: IcmpError,
    ) -> PeerErrorEnd {
        let ticks = self.ticks(now);
        let Some(owner) = self.allocations.owner_of(relay) else {
            return PeerErrorEnd::NoRelay;
        };
        let realm = self.allocations.get(owner.index).map(|allocation| allocation.realm);
        let is_closed = realm.is_none_or(|realm| self.is_ip_closed_meanwhile(realm, peer.0.ip()));
        let Some(icmp) = reported(owner.family, icmp) else {
            return PeerErrorEnd::OtherType;
        };
        let allocation = self.allocations.get_mut(owner.index);
        let Some(allocation) = allocation.filter(|allocation| allocation.is_live()) else {
            return PeerErrorEnd::NoRelay;
        };
        let Some(to) = allocation.path() else {
            return PeerErrorEnd::NoRelay;
        };
        let peer = bare(peer);
        if is_closed || !allocation.permissions.permits(peer.0.ip()) {
            return PeerErrorEnd::NoPermission;
        }
        let within = |per_second| Pace::new(per_second, per_second);
        let (Some(alone), Some(together)) = (within(PER_ALLOCATION), within(PER_SHARD)) else {
            return PeerErrorEnd::RateLimited;
        };
        // The client's own bound first: one client's storm must not use up what the others are due.
        if !allocation.peer_errors.try_take(alone, ticks, 1) || !self.peer_errors.try_take(together, ticks, 1) {
            return PeerErrorEnd::RateLimited;
        }
        let id = TransactionId(self.indication_ids.next());
        let mut buffer = [0; MAX_INDICATION];
        let mut builder = MessageBuilder::new(&mut buffer, Method::DATA, Class::Indication, id);
        builder.attribute(&XorPeerAddress(peer.0)).attribute(&icmp);
        let Some(indication) = builder.finish().ok().and_then(|len| buffer.get(..len)) else {
            // Cannot be: the buffer is as long as the longest one.
            return PeerErrorEnd::OtherType;
        };
        self.outputs.transmit(to, indication);
        PeerErrorEnd::Reported
    }
}

/// The attribute for an error, if clients are told of its type.
fn reported(family: Family, error: IcmpError) -> Option<Icmp> {
    let (told, has_mtu) = match family {
        // Destination unreachable, with "fragmentation needed" among its codes, and time exceeded.
        Family::V4 => (matches!(error.kind, 3 | 11), (error.kind, error.code) == (3, 4)),
        // Destination unreachable, packet too big, time exceeded.
        Family::V6 => (matches!(error.kind, 1..=3), error.kind == 2),
    };
    let error_data = if has_mtu { error.next_hop_mtu } else { 0 };
    Icmp::new(error.kind, u16::from(error.code), error_data).filter(|_| told)
}
