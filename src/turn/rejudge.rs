//! New rules for peers, and what was permitted under the old ones.
//!
//! What the new rules close is closed at once: no packet passes on a permission or a channel that they deny. Taking them out
//! of every allocation is done in slices, because it runs on the thread that relays. Until the last slice, packets on
//! allocations not yet seen are judged one by one.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use super::config::Config;
use super::connection::PeerConnection;
use super::peer_filter::PeerClass;
use super::realm::RealmId;
use super::server::Server;
use super::verdict::{Answer, ConnectionEnd};

/// Permissions and channels that one slice judges, and allocations besides: some 0.5 ms.
const SLICE: usize = 4096;

impl Server {
    /// Whether the difference between two configurations can close a peer that was open.
    pub(super) fn judges_alike(old: &Config, new: &Config) -> bool {
        old.peers == new.peers && old.relay_addrs == new.relay_addrs && old.relay_ports == new.relay_ports
    }

    /// Begins to judge every permission and channel anew, and does the first slice.
    pub(super) fn begin_rejudging(&mut self) {
        self.rejudged = Some(0);
        self.rejudge();
    }

    /// When the next slice is due: it is overdue, as far as there is one.
    #[inline]
    pub(super) fn next_rejudging(&self) -> Option<Instant> {
        // Whoever has allocations knows when time began.
        self.rejudged.and(self.epoch)
    }

    /// Judges a slice of what is permitted, and removes what may no longer be.
    pub(super) fn rejudge(&mut self) {
        let Some(mut place) = self.rejudged else { return };
        let mut judged = 0;
        while judged < SLICE {
            if place >= self.allocations.places() {
                self.rejudged = None;
                return;
            }
            if let Some(allocation) = self.allocations.get_mut(place) {
                let filter = self.realms.peers(allocation.realm);
                let judge = super::handler::Judge::new(&self.config, &self.own_addrs, filter);
                judged += allocation.permissions.len() + allocation.channels.len();
                let channels = allocation.channels.retain_peers(|peer| judge.peer(peer).is_ok()) as u64;
                let permissions = allocation.permissions.retain_peers(|ip| judge.ip(ip).is_ok()) as u64;
                self.stats.channels_active -= channels;
                self.stats.channels_revoked += channels;
                self.stats.permissions_active -= permissions;
                self.stats.permissions_revoked += permissions;
                judged += allocation.connections.len();
                if !allocation.connections.is_empty() {
                    self.close_revoked(place);
                }
            }
            judged += 1;
            place += 1;
        }
        self.rejudged = Some(place);
    }

    /// Ends the data connections of an allocation whose peers may no longer be reached. The port counts: at an address of this
    /// machine it is what tells a relayed address from a service.
    fn close_revoked(&mut self, index: u32) {
        let Some(realm) = self.allocations.get(index).map(|allocation| allocation.realm) else {
            return;
        };
        let (config, own_addrs) = (Arc::clone(&self.config), self.own_addrs.clone());
        let filter = self.realms.peers(realm).clone();
        let judge = super::handler::Judge::new(&config, &own_addrs, &filter);
        let is_closed = |connection: &PeerConnection| judge.peer(connection.peer.0).is_err();
        self.close_connections(index, is_closed, ConnectionEnd::Revoked, Some(Answer::Forbidden));
    }

    /// Why a peer of a standing channel is closed, by rules that its allocation was not judged by yet.
    #[inline]
    pub(super) fn closed_meanwhile(&self, realm: RealmId, peer: SocketAddr) -> Option<PeerClass> {
        self.rejudged.and_then(|_| self.judge_peer(realm, peer).err())
    }

    /// Whether the address of a standing permission is.
    #[inline]
    pub(super) fn is_ip_closed_meanwhile(&self, realm: RealmId, ip: IpAddr) -> bool {
        self.rejudged.is_some() && self.judge_peer_ip(realm, ip).is_err()
    }
}
