//! Payload on its way: out to a peer, in to a client, and across when the peer is a client of ours (hairpin).
//!
//! A peer that is one of our own relayed addresses is never reached through the kernel. Its allocation is looked up and its
//! permission judged here, and the packet leaves towards the other client at once: one pass, so no chain of relays can make
//! a packet go round.

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

use crate::turn::PeerClass;
use crate::turn::allocation::bare;
use crate::turn::config::Config;
use crate::turn::connection::RelayedTransport;
use crate::turn::five_tuple::{Family, FiveTuple, PeerAddr, RelayId, RelayedAddr};
use crate::turn::input::Now;
use crate::turn::output::{Destination, Forward, Handled, Prefix};
use crate::turn::peer_filter::{PeerFilter, reduce};
use crate::turn::realm::RealmId;
use crate::turn::server::{Server, drop_packet};
use crate::turn::verdict::{Direction, DropReason};
use crate::wire::{TransactionId, padding};

impl Server {
    /// Relays `payload` of a packet from the client's path `from`, which is permitted, to `peer`.
    #[inline]
    pub(super) fn relay_to_peer(
        &mut self,
        now: Now,
        index: u32,
        from: &FiveTuple,
        peer: PeerAddr,
        payload: Range<usize>,
        dont_fragment: bool,
    ) -> Handled {
        self.heard(now, index, from);
        let Some(allocation) = self.allocations.get(index) else {
            return drop_packet(DropReason::NoAllocation);
        };
        let Some(leg) = allocation.relay(Family::of(peer.0.ip())) else {
            return drop_packet(DropReason::FamilyMismatch);
        };
        if allocation.relayed_transport == RelayedTransport::Tcp {
            return drop_packet(DropReason::TcpAllocation);
        }
        let (relay, source, realm) = (leg.id, leg.relayed, allocation.realm);
        let transport = allocation.five_tuple.transport;
        let len = payload.len();
        if self.meter.is_on()
            && let Err(reason) = self.charge(now, index, Direction::ClientToPeer, len)
        {
            return drop_packet(reason);
        }
        let to = if self.is_own(peer.0.ip()) {
            match self.hairpin(now, (relay, realm), source, peer, len) {
                Ok(Hairpin::Here { to, prefix, padding }) => {
                    self.stats.add_traffic(Direction::ClientToPeer, transport, len);
                    self.stats.add_traffic(Direction::PeerToClient, to.transport, len);
                    self.stats.hairpin.add(len);
                    self.add_own(index, Direction::ClientToPeer, len);
                    return forward(Destination::Client(to), prefix, payload, padding, false);
                }
                Ok(Hairpin::Elsewhere(to)) => {
                    self.stats.hairpin.add(len);
                    to
                }
                Ok(Hairpin::Opened) => Destination::Peer { relay, peer },
                Err(reason) => {
                    self.refund(index, Direction::ClientToPeer, len);
                    return drop_packet(reason);
                }
            }
        } else {
            Destination::Peer { relay, peer }
        };
        self.stats.add_traffic(Direction::ClientToPeer, transport, len);
        self.add_own(index, Direction::ClientToPeer, len);
        forward(to, Prefix::EMPTY, payload, 0, dont_fragment)
    }

    /// Counts what one allocation relays, for those who ask about it alone or about its realm.
    #[inline]
    pub(in crate::turn) fn add_own(&mut self, index: u32, direction: Direction, len: usize) {
        if let Some(allocation) = self.allocations.get_mut(index) {
            match direction {
                Direction::ClientToPeer => allocation.to_peer.add(len),
                Direction::PeerToClient => allocation.to_client.add(len),
            }
            self.realms.add_traffic(allocation.realm, direction, len);
            self.shares.add_traffic(allocation.share, direction, len);
        }
    }

    /// A datagram on a relay (RFC 8656 §11.3).
    #[inline]
    pub(in crate::turn) fn handle_peer_data(
        &mut self,
        now: Now,
        relay: RelayId,
        from: PeerAddr,
        datagram: &[u8],
    ) -> Handled {
        match self.towards_client(now, relay, bare(from), datagram.len()) {
            Ok((to, prefix, padding)) => {
                self.stats
                    .add_traffic(Direction::PeerToClient, to.transport, datagram.len());
                forward(Destination::Client(to), prefix, 0..datagram.len(), padding, false)
            }
            Err(reason) => drop_packet(reason),
        }
    }

    /// The client behind a relay, if it permits `from` and its limits do, and what goes around a payload of `len` bytes.
    #[inline]
    fn towards_client(
        &mut self,
        now: Now,
        relay: RelayId,
        from: PeerAddr,
        len: usize,
    ) -> Result<(FiveTuple, Prefix, u8), DropReason> {
        let owner = self.allocations.owner_of(relay).ok_or(DropReason::NoRelay)?;
        let allocation = self
            .allocations
            .get(owner.index)
            .filter(|allocation| allocation.is_live())
            .ok_or(DropReason::NoRelay)?;
        if allocation.relayed_transport == RelayedTransport::Tcp {
            return Err(DropReason::TcpAllocation);
        }
        if !allocation.permissions.permits(from.0.ip()) || self.is_ip_closed_meanwhile(allocation.realm, from.0.ip()) {
            return Err(DropReason::NoPermission);
        }
        let to = allocation.path().ok_or(DropReason::ClientGone)?;
        let (prefix, padded) = match allocation.channels.number_of(&from.0) {
            // The channel MUST be used if there is one (RFC 8656 §12.5).
            Some(number) => (Prefix::channel_data(number, len), to.transport.is_stream()),
            None => {
                let id = TransactionId(self.indication_ids.next());
                (Prefix::data_indication(id, from.0, len), true)
            }
        };
        let prefix = prefix.map_err(|_| DropReason::TooLong)?;
        if self.meter.is_on() {
            self.charge(now, owner.index, Direction::PeerToClient, len)?;
        }
        self.add_own(owner.index, Direction::PeerToClient, len);
        Ok((to, prefix, if padded { padding(len) as u8 } else { 0 }))
    }

    /// Where a packet goes whose peer is an address of this machine.
    fn hairpin(
        &mut self,
        now: Now,
        (relay, realm): (RelayId, RealmId),
        source: RelayedAddr,
        peer: PeerAddr,
        len: usize,
    ) -> Result<Hairpin, DropReason> {
        if let Some(target) = self.allocations.relay_at(&peer.0) {
            let (to, prefix, padding) = self.towards_client(now, target, PeerAddr(source.0), len)?;
            return Ok(Hairpin::Here { to, prefix, padding });
        }
        let opened = self.realms.peers(realm).allows(peer.0.ip());
        if self.shard.count > 1 && self.is_relayed(peer.0.ip(), Some(peer.0.port())) {
            return Ok(Hairpin::Elsewhere(Destination::Sibling {
                to: RelayedAddr(peer.0),
                from: PeerAddr(source.0),
                otherwise: opened.then_some(relay),
            }));
        }
        if opened {
            Ok(Hairpin::Opened)
        } else {
            Err(DropReason::NoSuchPeer)
        }
    }

    fn judge(&self, realm: RealmId) -> Judge<'_> {
        Judge::new(&self.config, &self.own_addrs, self.realms.peers(realm))
    }

    /// Whether an address is of this machine.
    #[inline]
    pub(super) fn is_own(&self, ip: IpAddr) -> bool {
        self.own_addrs.contains(&ip)
    }

    /// Whether an address can be a relayed address of this process.
    fn is_relayed(&self, ip: IpAddr, port: Option<u16>) -> bool {
        is_relayed(&self.config, ip, port)
    }

    /// Judges a peer for ChannelBind and Send of a client of `realm`.
    pub(in crate::turn) fn judge_peer(&self, realm: RealmId, peer: SocketAddr) -> Result<(), PeerClass> {
        self.judge(realm).peer(peer)
    }

    /// Judges an address for CreatePermission, which ignores ports.
    pub(in crate::turn) fn judge_peer_ip(&self, realm: RealmId, ip: IpAddr) -> Result<(), PeerClass> {
        self.judge(realm).ip(ip)
    }
}

/// The rules of the operator for one realm, with what they need to know of this machine.
#[derive(Clone, Copy)]
pub(in crate::turn) struct Judge<'a> {
    config: &'a Config,
    own_addrs: &'a [IpAddr],
    filter: &'a PeerFilter,
}

impl<'a> Judge<'a> {
    pub(in crate::turn) fn new(config: &'a Config, own_addrs: &'a [IpAddr], filter: &'a PeerFilter) -> Self {
        Self {
            config,
            own_addrs,
            filter,
        }
    }

    /// Judges a peer to which packets go.
    pub(in crate::turn) fn peer(&self, peer: SocketAddr) -> Result<(), PeerClass> {
        if peer.port() == 0 {
            return Err(PeerClass::PortZero);
        }
        self.own(peer.ip(), Some(peer.port()))
            .unwrap_or_else(|| self.filter.judge(peer))
    }

    /// Judges an address whatever the port.
    pub(in crate::turn) fn ip(&self, ip: IpAddr) -> Result<(), PeerClass> {
        self.own(ip, None).unwrap_or_else(|| self.filter.judge_ip(ip))
    }

    /// Judges an address of this machine, in any spelling; `None` if it is not one. Deny rules come first, as ever. Relayed
    /// addresses are open, because only their allocations are reached there; anything else needs an allow rule.
    fn own(&self, ip: IpAddr, port: Option<u16>) -> Option<Result<(), PeerClass>> {
        if !self.own_addrs.contains(&ip) && !self.own_addrs.contains(&reduce(ip)) {
            return None;
        }
        Some(if self.filter.denied_by_rule(ip) {
            Err(PeerClass::DenyRule)
        } else if self.filter.allows(ip) || is_relayed(self.config, ip, port) {
            Ok(())
        } else {
            Err(PeerClass::OwnAddress)
        })
    }
}

/// Whether an address can be a relayed address of this process.
fn is_relayed(config: &Config, ip: IpAddr, port: Option<u16>) -> bool {
    config.relay_addrs.iter().any(|relay| relay.advertised == ip)
        && port.is_none_or(|port| config.relay_ports.contains(&port))
}

/// Where a hairpinned packet goes.
enum Hairpin {
    /// To a client of this shard.
    Here { to: FiveTuple, prefix: Prefix, padding: u8 },
    /// To a sibling shard.
    Elsewhere(Destination),
    /// To a service on this machine that the operator opened.
    Opened,
}

#[inline]
fn forward(to: Destination, prefix: Prefix, payload: Range<usize>, padding: u8, dont_fragment: bool) -> Handled {
    Handled::Forward(Forward {
        to,
        prefix,
        payload_start: payload.start as u32,
        payload_len: payload.len() as u32,
        padding,
        dont_fragment,
    })
}
