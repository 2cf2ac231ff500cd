//! ChannelData from clients (RFC 8656 §12.6): the shortest way through the server.

use crate::turn::event::Asked;
use crate::turn::five_tuple::{FiveTuple, PeerAddr};
use crate::turn::input::Now;
use crate::turn::output::Handled;
use crate::turn::server::{Server, drop_packet};
use crate::turn::verdict::DropReason;
use crate::wire::ChannelData;

impl Server {
    #[inline]
    pub(in crate::turn) fn handle_channel_data(&mut self, now: Now, from: &FiveTuple, datagram: &[u8]) -> Handled {
        let Ok(data) = ChannelData::parse(datagram) else {
            return drop_packet(DropReason::Malformed);
        };
        let Some((index, allocation)) = self.allocations.find_live(from) else {
            return drop_packet(DropReason::NoAllocation);
        };
        // The channel is enough: its peer was judged when it was bound. §12.6 asks for no permission here, and using a channel
        // refreshes neither it nor the permission.
        let Some(peer) = allocation.channels.peer_of(data.number) else {
            return drop_packet(DropReason::NoChannel);
        };
        // Unless new rules close that peer now.
        if let Some(class) = self.closed_meanwhile(allocation.realm, peer) {
            self.deny(now, index, class, Asked::ChannelData, peer.ip());
            return drop_packet(DropReason::PeerDenied);
        }
        self.relay_to_peer(now, index, from, PeerAddr(peer), data.data_range(), false)
    }
}
