//! CreatePermission (RFC 8656 §10.2).

use std::net::{IpAddr, Ipv4Addr};

use crate::turn::event::Asked;
use crate::turn::five_tuple::Family;
use crate::turn::input::Now;
use crate::turn::permission::PERMISSION_LIFETIME;
use crate::turn::request::{Reject, Request};
use crate::turn::server::Server;
use crate::turn::verdict::{Answer, QuotaKind, Verdict};
use crate::wire::attribute::XorPeerAddress;
use crate::wire::{MAX_ATTRIBUTES, Message};

/// The distinct addresses of one request. A message has no more attributes than this has places.
struct Peers {
    addresses: [IpAddr; MAX_ATTRIBUTES],
    len: usize,
}

impl Peers {
    const NONE: Self = Self {
        addresses: [IpAddr::V4(Ipv4Addr::UNSPECIFIED); MAX_ATTRIBUTES],
        len: 0,
    };

    fn insert(&mut self, ip: IpAddr) {
        if self.as_slice().contains(&ip) {
            return;
        }
        if let Some(place) = self.addresses.get_mut(self.len) {
            *place = ip;
            self.len += 1;
        }
    }

    fn as_slice(&self) -> &[IpAddr] {
        self.addresses.get(..self.len).unwrap_or_default()
    }
}

impl Server {
    pub(in crate::turn) fn handle_create_permission(
        &mut self,
        now: Now,
        request: &Request,
        message: &Message<'_>,
    ) -> Verdict {
        let (index, signer) = match self.authorize(now, request, message) {
            Ok(authorized) => authorized,
            Err(verdict) => return verdict,
        };
        // Each address is judged alone and the request is carried out as a whole or not at all, so that an address that is
        // allowed cannot vouch for one that is not.
        let peers = match self.judge_permissions(now, index, message) {
            Ok(peers) => peers,
            Err(reject) => return self.reject(now, request, reject, Some(&signer)),
        };
        if let Some(allocation) = self.allocations.get_mut(index) {
            for ip in peers.as_slice() {
                if allocation.permissions.install(*ip, now.instant) {
                    self.stats.permissions_active += 1;
                    self.stats.permissions_created += 1;
                }
            }
        }
        self.note_expiry(index, now.instant + PERMISSION_LIFETIME);
        self.succeed(request, Some(&signer), |_| {})
    }

    fn judge_permissions(&mut self, now: Now, index: u32, message: &Message<'_>) -> Result<Peers, Reject> {
        // At least one XOR-PEER-ADDRESS, and none that is malformed.
        let mut peers = Peers::NONE;
        for peer in message.find_all::<XorPeerAddress>() {
            let XorPeerAddress(peer) = peer.map_err(|_| Reject::from(Answer::BadRequest))?;
            peers.insert(peer.ip());
        }
        if peers.as_slice().is_empty() {
            return Err(Answer::BadRequest.into());
        }

        // Of the family of the relayed address.
        let Some(allocation) = self.allocations.get(index) else {
            return Err(Answer::AllocationMismatch.into());
        };
        let (mut new, realm) = (0, allocation.realm);
        for ip in peers.as_slice() {
            if allocation.relay(Family::of(*ip)).is_none() {
                return Err(Answer::PeerAddressFamilyMismatch.into());
            }
            new += usize::from(!allocation.permissions.permits(*ip));
        }

        // Peers that may be reached.
        for ip in peers.as_slice() {
            if let Err(class) = self.judge_peer_ip(realm, *ip) {
                self.deny(now, index, class, Asked::CreatePermission, *ip);
                return Err(Answer::Forbidden.into());
            }
        }

        // Room.
        self.room_for_permissions(now, index, new)?;
        Ok(peers)
    }

    /// Whether the allocation may have `new` more permissions.
    pub(super) fn room_for_permissions(&mut self, now: Now, index: u32, new: usize) -> Result<(), Reject> {
        let held = self
            .allocations
            .get(index)
            .map_or(0, |allocation| allocation.permissions.len());
        if new > 0 && held + new > usize::from(self.config.limits.permissions_per_allocation) {
            self.hit_quota(now, index, QuotaKind::Permissions);
            return Err(Answer::InsufficientCapacity.into());
        }
        Ok(())
    }
}
