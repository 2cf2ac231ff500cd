//! Packets from one worker to another: when both ends of a conversation are allocations of this process, but the
//! kernel put their clients on different workers; and when a client has moved to another worker than the one that holds its
//! allocation (RFC 8016).
//!
//! Each worker has an inbox, one end of a pair of Unix datagram sockets; the other end is open to all its siblings. The
//! kernel does the locking, and a full inbox is a dropped packet, as with any router. Which worker holds a relayed
//! address is in a table of one cell per port, written when a relay socket is bound or closed.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU16, Ordering};

use socket2::{Domain, Socket, Type};

use super::udp::socket::{Buffer, set_buffer};
use crate::turn::{ClientAddr, FiveTuple, ListenAddr, PeerAddr, RelayAddr, RelayedAddr, Transport};

/// Bytes in front of the payload: what it is, the worker it is from, and two addresses.
pub(crate) const HEADER: usize = 1 + 2 + 2 * ADDR;
const ADDR: usize = 1 + 16 + 2;
/// Bytes that may wait in one worker's inbox.
const INBOX: usize = 4 << 20;

/// What a worker hands to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HandedOver {
    /// A packet for a relayed address, from what is a peer to it.
    Peer { from: PeerAddr, to: RelayedAddr },
    /// A datagram of a client, as the listener of worker `via` received it. By UDP: no other transport can be answered from
    /// another worker.
    Client { via: u16, from: FiveTuple },
}

const PEER: u8 = 0;
const CLIENT: u8 = 1;

impl HandedOver {
    /// The header, in front of the payload.
    pub(crate) fn encode(&self) -> [u8; HEADER] {
        let (kind, via, left, right) = match *self {
            Self::Peer { from, to } => (PEER, 0, from.0, to.0),
            Self::Client { via, from } => (CLIENT, via, from.client.0, from.server.0),
        };
        let mut header = [0; HEADER];
        header[0] = kind;
        header[1..3].copy_from_slice(&via.to_be_bytes());
        let (first, second) = header[3..].split_at_mut(ADDR);
        encode_addr(first, left);
        encode_addr(second, right);
        header
    }

    /// Takes a hand-over apart; the payload is behind the header. `None` if it is none.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (header, _) = bytes.split_first_chunk::<HEADER>()?;
        let [kind, a, b, addrs @ ..] = header;
        let (left, right) = addrs.split_at(ADDR);
        let (left, right) = (decode_addr(left)?, decode_addr(right)?);
        match *kind {
            PEER => Some(Self::Peer {
                from: PeerAddr(left),
                to: RelayedAddr(right),
            }),
            CLIENT => Some(Self::Client {
                via: u16::from_be_bytes([*a, *b]),
                from: FiveTuple {
                    transport: Transport::Udp,
                    client: ClientAddr(left),
                    server: ListenAddr(right),
                },
            }),
            _ => None,
        }
    }
}

fn encode_addr(bytes: &mut [u8], addr: SocketAddr) {
    match addr.ip() {
        IpAddr::V4(v4) => {
            bytes[0] = 4;
            bytes[1..5].copy_from_slice(&v4.octets());
        }
        IpAddr::V6(v6) => {
            bytes[0] = 6;
            bytes[1..17].copy_from_slice(&v6.octets());
        }
    }
    bytes[17..19].copy_from_slice(&addr.port().to_be_bytes());
}

fn decode_addr(bytes: &[u8]) -> Option<SocketAddr> {
    let (&family, rest) = bytes.split_first()?;
    let (ip, port) = rest.split_first_chunk::<16>()?;
    let ip = match family {
        4 => IpAddr::from(Ipv4Addr::from(*ip.first_chunk::<4>()?)),
        6 => IpAddr::from(Ipv6Addr::from(*ip)),
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_be_bytes(*port.first_chunk()?)))
}

/// Which worker holds each relayed address of this process.
///
/// A reader that meets a cell just changed hands a packet to a worker that drops it: the same as a packet that comes a
/// moment too early or too late. Nothing else is ordered by these cells.
#[derive(Debug)]
pub(crate) struct PortOwners {
    tables: Vec<(RelayAddr, Box<[AtomicU16]>)>,
}

const NOBODY: u16 = u16::MAX;

impl PortOwners {
    /// For the relay addresses of the process; 128 KiB each.
    pub(crate) fn new(addrs: &[RelayAddr]) -> Self {
        let table = || (0..=u16::MAX).map(|_| AtomicU16::new(NOBODY)).collect();
        Self {
            tables: addrs.iter().map(|&addr| (addr, table())).collect(),
        }
    }

    /// The relay socket bound at `bound` now belongs to `worker`.
    pub(crate) fn set(&self, bound: SocketAddr, worker: u16) {
        for cell in self.bound_at(bound) {
            cell.store(worker, Ordering::Relaxed);
        }
    }

    /// `worker` closed the relay socket bound at `bound`.
    pub(crate) fn clear(&self, bound: SocketAddr, worker: u16) {
        for cell in self.bound_at(bound) {
            // Another worker may have bound the port in the meantime.
            let _ = cell.compare_exchange(worker, NOBODY, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// The worker that holds the relayed address clients know as `addr`.
    pub(crate) fn owner(&self, addr: RelayedAddr) -> Option<u16> {
        let (_, table) = self.tables.iter().find(|(relay, _)| relay.advertised == addr.0.ip())?;
        let owner = table.get(usize::from(addr.0.port()))?.load(Ordering::Relaxed);
        (owner != NOBODY).then_some(owner)
    }

    /// Where the relay is bound that clients know as `addr`, if some worker holds it.
    pub(crate) fn bound_of(&self, addr: RelayedAddr) -> Option<SocketAddr> {
        self.owner(addr)?;
        let (relay, _) = self.tables.iter().find(|(relay, _)| relay.advertised == addr.0.ip())?;
        Some(SocketAddr::new(relay.bind, addr.0.port()))
    }

    /// What clients know the relay as that is bound at `bound`, if some worker holds it.
    pub(crate) fn relayed_of(&self, bound: SocketAddr) -> Option<RelayedAddr> {
        let (relay, table) = self.tables.iter().find(|(relay, _)| relay.bind == bound.ip())?;
        let owner = table.get(usize::from(bound.port()))?.load(Ordering::Relaxed);
        (owner != NOBODY).then(|| RelayedAddr(SocketAddr::new(relay.advertised, bound.port())))
    }

    fn bound_at(&self, bound: SocketAddr) -> impl Iterator<Item = &AtomicU16> {
        let tables = self.tables.iter().filter(move |(relay, _)| relay.bind == bound.ip());
        tables.filter_map(move |(_, table)| table.get(usize::from(bound.port())))
    }
}

/// A worker's inbox and the end its siblings send to.
pub(crate) fn inbox() -> io::Result<(Socket, Socket)> {
    // Of a connected pair only the bytes are bounded, not the number of datagrams (unix(7): net.unix.max_dgram_qlen
    // would be 10).
    let kind = Type::DGRAM.nonblocking().cloexec();
    let (receiver, sender) = Socket::pair(Domain::UNIX, kind, None)?;
    let granted = set_buffer(&sender, Buffer::Send, INBOX)?;
    tracing::debug!(granted, fd = ?sender.as_fd(), "hand-over inbox");
    Ok((receiver, sender))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relay(bind: &str, advertised: &str) -> RelayAddr {
        RelayAddr {
            bind: bind.parse().unwrap(),
            advertised: advertised.parse().unwrap(),
        }
    }

    fn relayed(addr: &str) -> RelayedAddr {
        RelayedAddr(addr.parse().unwrap())
    }

    #[test]
    fn a_header_is_read_back() {
        for (from, to) in [
            ("192.0.2.1:1", "198.51.100.2:65535"),
            ("[2001:db8::1]:9", "[2001:db8::2]:49152"),
        ] {
            let (left, right) = (from.parse().unwrap(), relayed(to));
            let peer = HandedOver::Peer {
                from: PeerAddr(left),
                to: right,
            };
            let client = HandedOver::Client {
                via: 1023,
                from: FiveTuple {
                    transport: Transport::Udp,
                    client: ClientAddr(left),
                    server: ListenAddr(right.0),
                },
            };
            for handed_over in [peer, client] {
                let mut bytes = handed_over.encode().to_vec();
                bytes.extend_from_slice(b"payload");
                assert_eq!(HandedOver::decode(&bytes), Some(handed_over));
            }
        }
    }

    #[test]
    fn what_is_too_short_or_of_no_family_is_no_hand_over() {
        let peer = HandedOver::Peer {
            from: PeerAddr("192.0.2.1:1".parse().unwrap()),
            to: relayed("192.0.2.2:2"),
        };
        let header = peer.encode();
        assert_eq!(HandedOver::decode(&header[..HEADER - 1]), None);
        for (at, wrong) in [(0, 2), (3, 5), (3 + ADDR, 5)] {
            let mut broken = header;
            broken[at] = wrong;
            assert_eq!(HandedOver::decode(&broken), None);
        }
    }

    #[test]
    fn an_owner_is_found_by_the_advertised_address_and_set_by_the_bound_one() {
        let owners = PortOwners::new(&[relay("10.0.0.1", "192.0.2.1"), relay("::1", "2001:db8::1")]);
        assert_eq!(owners.owner(relayed("192.0.2.1:50000")), None);
        owners.set("10.0.0.1:50000".parse().unwrap(), 3);
        assert_eq!(owners.owner(relayed("192.0.2.1:50000")), Some(3));
        assert_eq!(owners.owner(relayed("10.0.0.1:50000")), None);
        assert_eq!(owners.owner(relayed("[2001:db8::1]:50000")), None);
        owners.clear("10.0.0.1:50000".parse().unwrap(), 3);
        assert_eq!(owners.owner(relayed("192.0.2.1:50000")), None);
    }

    #[test]
    fn what_is_bound_and_what_clients_know_are_told_apart_while_somebody_holds_the_port() {
        let owners = PortOwners::new(&[relay("10.0.0.1", "192.0.2.1")]);
        let (bound, known) = ("10.0.0.1:50000".parse().unwrap(), relayed("192.0.2.1:50000"));
        assert_eq!((owners.bound_of(known), owners.relayed_of(bound)), (None, None));
        owners.set(bound, 0);
        assert_eq!(
            (owners.bound_of(known), owners.relayed_of(bound)),
            (Some(bound), Some(known))
        );
        assert_eq!(owners.bound_of(RelayedAddr(bound)), None);
        owners.clear(bound, 0);
        assert_eq!((owners.bound_of(known), owners.relayed_of(bound)), (None, None));
    }

    #[test]
    fn a_port_that_changed_hands_is_not_cleared_by_its_former_owner() {
        let owners = PortOwners::new(&[relay("10.0.0.1", "10.0.0.1")]);
        let addr = "10.0.0.1:65535".parse().unwrap();
        owners.set(addr, 1);
        owners.set(addr, 2);
        owners.clear(addr, 1);
        assert_eq!(owners.owner(RelayedAddr(addr)), Some(2));
    }

    #[test]
    fn an_inbox_holds_more_datagrams_than_an_unconnected_socket_would() {
        let (receiver, sender) = inbox().unwrap();
        for _ in 0..100 {
            sender.send(&[0; 1200]).unwrap();
        }
        let mut sent = 100;
        while sender.send(&[0; 1200]).is_ok() {
            sent += 1;
            assert!(sent < 1 << 20, "the inbox has no bound");
        }
        drop(receiver);
    }
}
