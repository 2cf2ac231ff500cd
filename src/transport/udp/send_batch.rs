//! Packets on their way out, put together so that the kernel is asked as rarely as it can be.
//!
//! Packets of one size from one socket to one destination become a *train*: one message that the kernel (or the network
//! card) cuts into datagrams (UDP_SEGMENT). The trains of one socket become one `sendmmsg`. Both are found by tables
//! that forget on collision, so that finding costs the same for one flow as for a thousand.
//!
//! Invariant: packets of one socket to one destination leave in the order they were pushed. A train only grows while
//! it is the last of its flow, and a chain only grows while it is the last of its socket.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::time::Instant;

use super::socket::{OutSocket, OutSockets, SocketKey, is_stale};
use super::stats::{SendCount, reason};
use super::sys::{MESSAGES, Outgoing, SendRing};
use crate::telemetry::{DriverStats, SendFailure};
use crate::transport::buffer::{Memory, Source};

/// Packets that wait for one flush at most.
const PACKETS: usize = 512;
/// Datagrams in one train at most: what every kernel with UDP_SEGMENT takes (64 before Linux 6.9, then 128).
const TRAIN_PACKETS: usize = 64;
/// Bytes in one train at most: what fits one IPv6 packet, the tighter of the two families.
const TRAIN_BYTES: usize = 65_535 - 40 - 8;
/// The longest prefix: a Data indication up to the value of DATA.
pub(crate) const PREFIX: usize = 48;
/// Places in the tables. Flows that share one only make each other's trains shorter.
const FLOWS: usize = 512;
const CHAINS: usize = 256;

const NONE: u16 = u16::MAX;
const PADDING: [u8; 3] = [0; 3];

/// One packet: `prefix`, then `range` of `source`, then `padding` zero bytes.
#[derive(Debug, Clone)]
pub(crate) struct Packet<'a> {
    pub(crate) socket: SocketKey,
    /// `None` where the socket has one peer only.
    pub(crate) to: Option<SocketAddr>,
    /// The address to send from, where the socket is bound to all of them.
    pub(crate) local: Option<IpAddr>,
    pub(crate) prefix: &'a [u8],
    pub(crate) source: Source,
    pub(crate) range: Range<usize>,
    pub(crate) padding: u8,
    /// No router and no kernel may cut it into fragments (RFC 8656 §11.1).
    pub(crate) dont_fragment: bool,
}

#[derive(Clone, Copy)]
struct Entry {
    source: Source,
    start: u32,
    len: u32,
    next: u16,
    prefix_len: u8,
    padding: u8,
    prefix: [u8; PREFIX],
}

#[derive(Clone, Copy)]
struct Train {
    to: Option<SocketAddr>,
    local: Option<IpAddr>,
    socket: SocketKey,
    dont_fragment: bool,
    /// Whether one more packet may follow: none may after a shorter one.
    open: bool,
    size: u32,
    bytes: u32,
    packets: u16,
    first: u16,
    last: u16,
    next_of_socket: u16,
    flow: u16,
    chain: u16,
}

/// What one message of a call consists of.
#[derive(Clone, Copy)]
enum Mark {
    Train(u16),
    Entry,
}

pub(crate) struct SendBatch {
    entries: Vec<Entry>,
    trains: Vec<Train>,
    /// First trains of the chains, in the order they are to be sent.
    heads: Vec<u16>,
    /// The last train of the flow that hashes here.
    flows: Box<[u16; FLOWS]>,
    /// The last train of the socket that hashes here.
    chains: Box<[u16; CHAINS]>,
    marks: Vec<Mark>,
    ring: SendRing,
    singles: SendRing,
}

impl SendBatch {
    pub(crate) fn new() -> Self {
        Self {
            entries: Vec::with_capacity(PACKETS),
            trains: Vec::with_capacity(PACKETS),
            heads: Vec::with_capacity(PACKETS),
            flows: Box::new([NONE; FLOWS]),
            chains: Box::new([NONE; CHAINS]),
            marks: Vec::with_capacity(MESSAGES),
            ring: SendRing::new(),
            singles: SendRing::new(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether it has to go out before another packet fits.
    pub(crate) fn is_full(&self) -> bool {
        self.entries.len() >= PACKETS
    }

    /// Adds a packet; returns whether it fitted. Its bytes stay where they are until the flush.
    pub(crate) fn push(&mut self, packet: &Packet<'_>) -> bool {
        if self.is_full() || packet.prefix.len() > PREFIX || packet.padding > 3 {
            return false;
        }
        let mut prefix = [0; PREFIX];
        prefix[..packet.prefix.len()].copy_from_slice(packet.prefix);
        let index = self.entries.len() as u16;
        self.entries.push(Entry {
            source: packet.source,
            start: packet.range.start as u32,
            len: packet.range.len() as u32,
            next: NONE,
            prefix_len: packet.prefix.len() as u8,
            padding: packet.padding,
            prefix,
        });
        let size = packet.prefix.len() + packet.range.len() + usize::from(packet.padding);
        let flow = flow_hash(packet.socket, packet.to.as_ref());
        if !self.extend_train(flow, packet, index, size as u32) {
            self.start_train(flow, packet, index, size as u32);
        }
        true
    }

    /// Couples the packet to the train that is the last of its flow, if it is of the same make.
    fn extend_train(&mut self, flow: usize, packet: &Packet<'_>, entry: u16, size: u32) -> bool {
        let Some(train) = self.trains.get_mut(usize::from(self.flows[flow])) else {
            return false;
        };
        let fits = train.open
            && size > 0
            && size <= train.size
            && usize::from(train.packets) < TRAIN_PACKETS
            && (train.bytes + size) as usize <= TRAIN_BYTES
            && train.socket == packet.socket
            && train.to == packet.to
            && train.local == packet.local
            && train.dont_fragment == packet.dont_fragment
            && !packet.socket.is_sibling();
        if fits {
            self.entries[usize::from(train.last)].next = entry;
            train.last = entry;
            train.packets += 1;
            train.bytes += size;
            train.open = size == train.size;
        }
        fits
    }

    fn start_train(&mut self, flow: usize, packet: &Packet<'_>, entry: u16, size: u32) {
        let chain = chain_hash(packet.socket);
        let index = self.trains.len() as u16;
        self.trains.push(Train {
            to: packet.to,
            local: packet.local,
            socket: packet.socket,
            dont_fragment: packet.dont_fragment,
            open: true,
            size,
            bytes: size,
            packets: 1,
            first: entry,
            last: entry,
            next_of_socket: NONE,
            flow: flow as u16,
            chain: chain as u16,
        });
        match self.trains.get_mut(usize::from(self.chains[chain])) {
            Some(last) if last.socket == packet.socket => last.next_of_socket = index,
            _ => self.heads.push(index),
        }
        self.chains[chain] = index;
        self.flows[flow] = index;
    }

    /// Sends everything. What cannot be sent is counted by its reason and dropped; nothing is kept.
    pub(crate) fn flush(
        &mut self,
        now: Instant,
        memory: Memory<'_>,
        sockets: &mut impl OutSockets,
        stats: &mut DriverStats,
    ) {
        let Self {
            entries,
            trains,
            heads,
            flows,
            chains,
            marks,
            ring,
            singles,
        } = self;
        for &head in heads.iter() {
            let key = trains[usize::from(head)].socket;
            let mut count = SendCount {
                stats: &mut *stats,
                to_sibling: key.is_sibling(),
            };
            let Some(out) = sockets.out(key) else {
                // The driver flushes before it closes a socket.
                count.failed(SendFailure::Other, packets_of_chain(trains, head));
                continue;
            };
            let mut chain = Chain {
                entries,
                trains,
                memory,
                out,
                now,
                count,
            };
            chain.send(head, ring, singles, marks);
        }
        for train in trains.iter() {
            flows[usize::from(train.flow)] = NONE;
            chains[usize::from(train.chain)] = NONE;
        }
        entries.clear();
        trains.clear();
        heads.clear();
    }
}

/// The trains of one socket, being sent.
struct Chain<'a, 's> {
    entries: &'a [Entry],
    trains: &'a [Train],
    memory: Memory<'a>,
    out: OutSocket<'s>,
    now: Instant,
    count: SendCount<'a>,
}

impl<'a> Chain<'a, '_> {
    /// Sends the chain that starts with train `head`, one ring of messages after the other.
    fn send(&mut self, head: u16, ring: &mut SendRing, singles: &mut SendRing, marks: &mut Vec<Mark>) {
        // What comes next: a train, and the packet in it to go on with.
        let mut next = (head, NONE);
        while next.0 != NONE {
            let mut outgoing = ring.begin();
            marks.clear();
            let dont_fragment = self.trains[usize::from(next.0)].dont_fragment;
            next = self.fill(next, dont_fragment, &mut outgoing, marks);
            if outgoing.len() == 0 {
                // Cannot be: an empty ring has room for any one train. Better a lost train than a loop without end.
                return;
            }
            self.out.set_dont_fragment(dont_fragment);
            let mut sent = 0;
            let mut retried = false;
            while sent < outgoing.len() {
                self.count.call();
                match outgoing.send(self.out.fd, sent) {
                    Ok(count) => {
                        marks[sent..sent + count].iter().for_each(|&mark| self.count_sent(mark));
                        sent += count;
                        retried = false;
                    }
                    // An ICMP error about an earlier packet is handed to whoever sends next. It says nothing about
                    // this packet, and reading it took it away.
                    Err(error) if is_stale(&error) && !retried => retried = true,
                    Err(error) => {
                        self.handle_failure(marks[sent], &error, singles);
                        sent += 1;
                        retried = false;
                    }
                }
            }
        }
    }

    /// Writes as many messages as fit; returns what is left.
    fn fill(
        &self,
        mut next: (u16, u16),
        dont_fragment: bool,
        outgoing: &mut Outgoing<'_, 'a>,
        marks: &mut Vec<Mark>,
    ) -> (u16, u16) {
        while let Some(train) = self.trains.get(usize::from(next.0)) {
            if train.dont_fragment != dont_fragment {
                break;
            }
            if train.packets > 1 && next.1 == NONE && self.out.may_segment(self.now) {
                if !outgoing.has_room(3 * usize::from(train.packets)) {
                    break;
                }
                let started = outgoing.start(train.to.as_ref(), |control| {
                    control.push_segment(train.size as u16);
                    if let Some(local) = train.local {
                        control.push_local(local);
                    }
                });
                debug_assert!(started);
                let mut entry = train.first;
                while entry != NONE {
                    entry = self.pieces(entry, outgoing);
                }
                marks.push(Mark::Train(next.0));
            } else {
                let mut entry = if next.1 == NONE { train.first } else { next.1 };
                while entry != NONE {
                    if !outgoing.has_room(3) {
                        return (next.0, entry);
                    }
                    marks.push(Mark::Entry);
                    entry = self.single(train, entry, outgoing);
                }
            }
            next = (train.next_of_socket, NONE);
        }
        next
    }

    /// Writes the packet `entry` as a message of its own; returns the one after it in its train.
    fn single(&self, train: &Train, entry: u16, outgoing: &mut Outgoing<'_, 'a>) -> u16 {
        outgoing.start(train.to.as_ref(), |control| {
            if let Some(local) = train.local {
                control.push_local(local);
            }
        });
        self.pieces(entry, outgoing)
    }

    /// Appends the bytes of `entry` to the open message; returns the one after it in its train.
    fn pieces(&self, entry: u16, outgoing: &mut Outgoing<'_, 'a>) -> u16 {
        let entry = &self.entries[usize::from(entry)];
        let range = entry.start as usize..(entry.start + entry.len) as usize;
        outgoing.piece(&entry.prefix[..usize::from(entry.prefix_len)]);
        outgoing.piece(self.memory.slice(entry.source, range));
        outgoing.piece(&PADDING[..usize::from(entry.padding)]);
        entry.next
    }

    fn count_sent(&mut self, mark: Mark) {
        match mark {
            Mark::Train(train) => {
                let packets = self.trains[usize::from(train)].packets;
                self.count.sent(packets.into());
            }
            Mark::Entry => self.count.sent(1),
        }
    }

    /// A train the kernel will not cut goes out packet by packet; all else is lost, and counted.
    fn handle_failure(&mut self, mark: Mark, error: &io::Error, singles: &mut SendRing) {
        let Mark::Train(index) = mark else {
            self.count.failed(reason(error), 1);
            return;
        };
        let train = &self.trains[usize::from(index)];
        match error.raw_os_error() {
            // This route or device cannot cut trains for this socket (EIO: no checksum offload, or IPsec).
            Some(libc::EIO | libc::EOPNOTSUPP | libc::ENOPROTOOPT) => self.out.suspend_segments(self.now),
            // One datagram of it is longer than the route takes in one piece; that says nothing about other flows.
            Some(libc::EINVAL | libc::EMSGSIZE) => {}
            _ => {
                self.count.failed(reason(error), train.packets.into());
                return;
            }
        }
        self.count.fallback();
        let mut entry = train.first;
        while entry != NONE {
            let mut outgoing = singles.begin();
            entry = self.single(train, entry, &mut outgoing);
            self.count.call();
            match outgoing.send(self.out.fd, 0) {
                Ok(_) => self.count.sent(1),
                Err(error) => self.count.failed(reason(&error), 1),
            }
        }
    }
}

/// Errors that may belong to an earlier packet of the socket (RFC 1122 §4.1.3.3).
fn packets_of_chain(trains: &[Train], head: u16) -> u64 {
    let mut packets = 0;
    let mut next = head;
    while let Some(train) = trains.get(usize::from(next)) {
        packets += u64::from(train.packets);
        next = train.next_of_socket;
    }
    packets
}

/// Multiplicative hashing: the flows are those of authenticated clients, and a collision only costs batching.
fn mix(value: u64) -> usize {
    (value.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 48) as usize
}

fn chain_hash(socket: SocketKey) -> usize {
    mix(socket.as_u64()) % CHAINS
}

fn flow_hash(socket: SocketKey, to: Option<&SocketAddr>) -> usize {
    let to = match to {
        Some(SocketAddr::V4(v4)) => u64::from(v4.ip().to_bits()) << 16 | u64::from(v4.port()),
        Some(SocketAddr::V6(v6)) => {
            let bits = v6.ip().to_bits();
            ((bits >> 64) as u64 ^ (bits as u64).rotate_left(16)).wrapping_add(u64::from(v6.port()))
        }
        None => 0,
    };
    mix(to ^ socket.as_u64().rotate_left(40)) % FLOWS
}

#[cfg(test)]
mod tests;
