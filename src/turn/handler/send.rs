//! Send indications (RFC 8656 §11.2). Never answered: what is wrong with one is counted and dropped.

use crate::turn::allocation::bare;
use crate::turn::event::Asked;
use crate::turn::five_tuple::{FiveTuple, PeerAddr};
use crate::turn::input::Now;
use crate::turn::output::Handled;
use crate::turn::server::{Server, drop_packet};
use crate::turn::verdict::DropReason;
use crate::wire::attribute::XorPeerAddress;
use crate::wire::{AttributeType, Message};

impl Server {
    pub(in crate::turn) fn handle_send(&mut self, now: Now, from: &FiveTuple, message: &Message<'_>) -> Handled {
        let Some((index, allocation)) = self.allocations.find_live(from) else {
            return drop_packet(DropReason::NoAllocation);
        };
        // XOR-PEER-ADDRESS and DATA, and nothing that must be understood and is not.
        let Ok(Some(XorPeerAddress(peer))) = message.find::<XorPeerAddress>() else {
            return drop_packet(DropReason::BadIndication);
        };
        let Some(payload) = message.value_range(AttributeType::DATA) else {
            return drop_packet(DropReason::BadIndication);
        };
        if self.refuse_unknown(message).is_err() {
            return drop_packet(DropReason::BadIndication);
        }
        let dont_fragment = message.has(AttributeType::DONT_FRAGMENT);

        let peer = bare(PeerAddr(peer));
        if !allocation.permissions.permits(peer.0.ip()) {
            return drop_packet(DropReason::NoPermission);
        }
        // The address was judged with the permission. The port was not, and the rules may have changed since.
        if let Err(class) = self.judge_peer(allocation.realm, peer.0) {
            self.deny(now, index, class, Asked::Send, peer.0.ip());
            return drop_packet(DropReason::PeerDenied);
        }
        self.relay_to_peer(now, index, from, peer, payload, dont_fragment)
    }
}
