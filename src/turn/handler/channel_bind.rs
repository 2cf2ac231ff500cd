//! ChannelBind (RFC 8656 §12.2).

use std::net::SocketAddr;

use crate::turn::allocation::bare;
use crate::turn::connection::RelayedTransport;
use crate::turn::event::Asked;
use crate::turn::five_tuple::{Family, PeerAddr};
use crate::turn::input::Now;
use crate::turn::permission::PERMISSION_LIFETIME;
use crate::turn::request::{Reject, Request};
use crate::turn::server::Server;
use crate::turn::verdict::{Answer, QuotaKind, Verdict};
use crate::wire::attribute::XorPeerAddress;
use crate::wire::{ChannelNumber, Message};

impl Server {
    pub(in crate::turn) fn handle_channel_bind(
        &mut self,
        now: Now,
        request: &Request,
        message: &Message<'_>,
    ) -> Verdict {
        let (index, signer) = match self.authorize(now, request, message) {
            Ok(authorized) => authorized,
            Err(verdict) => return verdict,
        };
        let (number, peer) = match self.judge_channel(now, index, message) {
            Ok(wanted) => wanted,
            Err(reject) => return self.reject(now, request, reject, Some(&signer)),
        };
        if let Some(allocation) = self.allocations.get_mut(index) {
            if allocation.channels.check(number, &peer) == Ok(true) {
                self.stats.channels_active += 1;
                self.stats.channels_created += 1;
            }
            allocation.channels.bind(number, peer, now.instant);
            // The permission comes with it, and ends before it.
            if allocation.permissions.install(peer.ip(), now.instant) {
                self.stats.permissions_active += 1;
                self.stats.permissions_created += 1;
            }
        }
        self.note_expiry(index, now.instant + PERMISSION_LIFETIME);
        self.succeed(request, Some(&signer), |_| {})
    }

    fn judge_channel(
        &mut self,
        now: Now,
        index: u32,
        message: &Message<'_>,
    ) -> Result<(ChannelNumber, SocketAddr), Reject> {
        let bad = || Reject::from(Answer::BadRequest);

        // Both attributes; a number that may be bound.
        let number = message.find::<ChannelNumber>().map_err(|_| bad())?.ok_or_else(bad)?;
        let XorPeerAddress(peer) = message.find::<XorPeerAddress>().map_err(|_| bad())?.ok_or_else(bad)?;
        let PeerAddr(peer) = bare(PeerAddr(peer));

        // Neither bound to another.
        let Some(allocation) = self.allocations.get(index) else {
            return Err(Answer::AllocationMismatch.into());
        };
        // Channels are for datagrams (RFC 6062 §3).
        if allocation.relayed_transport == RelayedTransport::Tcp {
            return Err(bad());
        }
        let new = allocation.channels.check(number, &peer).map_err(|_| bad())?;
        if allocation.relay(Family::of(peer.ip())).is_none() {
            return Err(Answer::PeerAddressFamilyMismatch.into());
        }
        let (channels, realm) = (allocation.channels.len(), allocation.realm);
        let new_permission = usize::from(!allocation.permissions.permits(peer.ip()));

        // A peer that may be reached.
        if let Err(class) = self.judge_peer(realm, peer) {
            self.deny(now, index, class, Asked::ChannelBind, peer.ip());
            return Err(Answer::Forbidden.into());
        }

        // Room.
        if new && channels >= usize::from(self.config.limits.channels_per_allocation) {
            self.hit_quota(now, index, QuotaKind::Channels);
            return Err(Answer::InsufficientCapacity.into());
        }
        self.room_for_permissions(now, index, new_permission)?;
        Ok((number, peer))
    }
}
