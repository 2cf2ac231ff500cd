//! A worker's way out: it finds the socket each packet leaves by, and sends the batch when it must go.

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Instant;

use socket2::Socket;

use super::buffer::{Answers, Arena, Memory, Source};
use super::dtls::Scratch;
use super::dtls::table::{Table, Unsealed};
use super::handover::{HandedOver, PortOwners};
use super::listener::Listener;
use super::relay_table::RelayTable;
use super::stream::table::{Frame, StreamTable};
use super::udp::socket::{OutSocket, OutSockets, SendState, SocketKey};
use super::udp::{Packet, SendBatch};
use crate::telemetry::{DriverStats, SendFailure};
use crate::turn::{Destination, FiveTuple, Forward, Transport};

/// Everything one worker sends by.
#[derive(Debug)]
pub(crate) struct Sockets {
    pub(crate) listeners: Vec<(Listener, SendState)>,
    pub(crate) relays: RelayTable,
    /// The inboxes of all workers, by index.
    pub(crate) siblings: Vec<(Arc<Socket>, SendState)>,
}

impl OutSockets for Sockets {
    fn out(&mut self, key: SocketKey) -> Option<OutSocket<'_>> {
        match key {
            SocketKey::Listener(index) => {
                let (listener, state) = self.listeners.get_mut(usize::from(index))?;
                Some(OutSocket {
                    fd: listener.socket.as_fd(),
                    state,
                })
            }
            SocketKey::Relay(index) => self.relays.out(crate::turn::RelayId(index)),
            SocketKey::Sibling(index) => {
                let (socket, state) = self.siblings.get_mut(usize::from(index))?;
                Some(OutSocket {
                    fd: Socket::as_fd(socket),
                    state,
                })
            }
        }
    }
}

impl Sockets {
    /// The listener that packets to `server` come in at, and the address an answer must be told to leave from.
    fn listener_of(&self, server: SocketAddr) -> Option<(SocketKey, Option<IpAddr>)> {
        // A handful at most. The exact match wins: a wildcard socket on the same port may exist beside it.
        let mut covered = None;
        for (index, (listener, _)) in self.listeners.iter().enumerate() {
            match listener.serves(server) {
                Some(None) => return Some((SocketKey::Listener(index as u16), None)),
                Some(local) => covered = Some((SocketKey::Listener(index as u16), local)),
                None => {}
            }
        }
        covered
    }
}

/// The batch, the answers it points to, and the sockets it leaves by.
pub(crate) struct Outbox {
    pub(crate) sockets: Sockets,
    pub(crate) streams: StreamTable,
    /// The sessions of DTLS, where that is listened for.
    pub(crate) dtls: Option<Box<Table>>,
    pub(crate) stats: DriverStats,
    batch: SendBatch,
    answers: Answers,
    owners: Arc<PortOwners>,
    /// The worker this is.
    index: u16,
}

impl Outbox {
    pub(crate) fn new(
        sockets: Sockets,
        streams: StreamTable,
        dtls: Option<Box<Table>>,
        owners: Arc<PortOwners>,
        index: u16,
    ) -> Self {
        Self {
            sockets,
            streams,
            dtls,
            stats: DriverStats::default(),
            batch: SendBatch::new(),
            answers: Answers::new(),
            owners,
            index,
        }
    }

    /// Adds the packet the core relays: `forward` speaks of the datagram that starts at `start` of `slot`.
    pub(crate) fn forward(&mut self, now: Instant, arena: &Arena, slot: u16, start: usize, forward: &Forward) {
        let payload = forward.payload();
        let range = start + payload.start..start + payload.end;
        self.forward_from(now, arena, Source::Slot(slot), range, forward);
    }

    /// As [`Outbox::forward`], of a frame of a stream or a message of DTLS: its payload is copied, because its buffer is
    /// read into again before the batch goes out.
    pub(crate) fn forward_frame(&mut self, now: Instant, arena: &Arena, frame: &[u8], forward: &Forward) {
        let payload = frame.get(forward.payload()).unwrap_or_default();
        if let Destination::Client(to) = &forward.to
            && to.transport.is_stream()
        {
            let prefix = forward.prefix.as_slice();
            self.streams
                .send(&mut self.stats, to, Frame::Relayed, prefix, payload, forward.padding);
            return;
        }
        if let Destination::Client(to) = &forward.to
            && to.transport == Transport::Dtls
        {
            self.seal(now, arena, to, forward.prefix.as_slice(), payload, forward.padding);
            return;
        }
        match self.keep(now, arena, payload) {
            Some(range) => self.forward_from(now, arena, Source::Answer, range, forward),
            None => self.stats.send_failures[SendFailure::TooLong.index()] += 1,
        }
    }

    /// Copies bytes to where they stay until the next flush.
    fn keep(&mut self, now: Instant, arena: &Arena, bytes: &[u8]) -> Option<Range<usize>> {
        self.answers.push(bytes).or_else(|| {
            self.flush(now, arena);
            self.answers.push(bytes)
        })
    }

    fn forward_from(&mut self, now: Instant, arena: &Arena, source: Source, range: Range<usize>, forward: &Forward) {
        let prefix = forward.prefix.as_slice();
        let header;
        let (socket, to, prefix, padding) = match forward.to {
            Destination::Peer { relay, peer } => (SocketKey::Relay(relay.0), Some(peer.0), prefix, forward.padding),
            Destination::Client(client) => {
                self.push_client(now, arena, &client, prefix, source, range, forward.padding);
                return;
            }
            Destination::Sibling { to, from, otherwise } => match (self.owners.owner(to), otherwise) {
                (Some(owner), _) if owner != self.index => {
                    header = HandedOver::Peer { from, to }.encode();
                    (SocketKey::Sibling(owner), None, &header[..], 0)
                }
                // A service of this machine, on an address that the operator opened.
                (_, Some(relay)) => (SocketKey::Relay(relay.0), Some(to.0), prefix, forward.padding),
                (_, None) => {
                    self.stats.handover_unowned += 1;
                    return;
                }
            },
            Destination::Owner { shard, client } => {
                let via = self.index;
                header = HandedOver::Client { via, from: client }.encode();
                (SocketKey::Sibling(shard), None, &header[..], 0)
            }
        };
        let dont_fragment = forward.dont_fragment && !socket.is_sibling();
        self.push(
            now,
            arena,
            &Packet {
                socket,
                to,
                local: None,
                prefix,
                source,
                range,
                padding,
                dont_fragment,
            },
        );
    }

    /// Adds an answer of the protocol.
    pub(crate) fn answer(&mut self, now: Instant, arena: &Arena, to: &FiveTuple, bytes: &[u8]) {
        if to.transport.is_stream() {
            self.streams.send(&mut self.stats, to, Frame::Answer, &[], bytes, 0);
            return;
        }
        if to.transport == Transport::Dtls {
            self.seal(now, arena, to, &[], bytes, 0);
            return;
        }
        match self.keep(now, arena, bytes) {
            Some(range) => self.push_client(now, arena, to, &[], Source::Answer, range, 0),
            None => self.stats.send_failures[SendFailure::TooLong.index()] += 1,
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one packet, used twice")]
    fn push_client(
        &mut self,
        now: Instant,
        arena: &Arena,
        client: &FiveTuple,
        prefix: &[u8],
        source: Source,
        range: Range<usize>,
        padding: u8,
    ) {
        let listener = match client.transport {
            Transport::Udp => self.sockets.listener_of(client.server.0),
            Transport::Tcp | Transport::Tls | Transport::WebSocket => {
                let memory = Memory {
                    arena,
                    answers: &self.answers,
                };
                let payload = memory.slice(source, range);
                self.streams
                    .send(&mut self.stats, client, Frame::Relayed, prefix, payload, padding);
                return;
            }
            Transport::Dtls => {
                let memory = Memory {
                    arena,
                    answers: &self.answers,
                };
                let payload = memory.slice(source, range);
                let sealed = match &mut self.dtls {
                    Some(dtls) => dtls.seal(now, client, prefix, payload, padding),
                    None => Err(Unsealed::Gone),
                };
                self.push_sealed(now, arena, client, sealed);
                return;
            } // There is no such client: nothing hands in their packets.
        };
        let Some((socket, local)) = listener else {
            self.stats.send_failures[SendFailure::Other.index()] += 1;
            return;
        };
        let to = Some(client.client.0);
        let packet = Packet {
            socket,
            to,
            local,
            prefix,
            source,
            range,
            padding,
            dont_fragment: false,
        };
        self.push(now, arena, &packet);
    }

    /// Seals a message for a client of DTLS and adds it.
    fn seal(&mut self, now: Instant, arena: &Arena, to: &FiveTuple, prefix: &[u8], payload: &[u8], padding: u8) {
        let sealed = match &mut self.dtls {
            Some(dtls) => dtls.seal(now, to, prefix, payload, padding),
            None => Err(Unsealed::Gone),
        };
        self.push_sealed(now, arena, to, sealed);
    }

    fn push_sealed(&mut self, now: Instant, arena: &Arena, to: &FiveTuple, sealed: Result<(), Unsealed>) {
        match sealed {
            Ok(()) => self.push_last_sealed(now, arena, to),
            Err(Unsealed::TooLong) => self.stats.send_failures[SendFailure::TooLong.index()] += 1,
            Err(Unsealed::Gone) => self.stats.send_failures[SendFailure::Other.index()] += 1,
        }
    }

    /// Adds what the table of DTLS sessions has to send to `to`.
    pub(crate) fn push_last_sealed(&mut self, now: Instant, arena: &Arena, to: &FiveTuple) {
        if let Some(mut dtls) = self.dtls.take() {
            self.push_datagrams(now, arena, to, &dtls.sealed);
            dtls.sealed.clear();
            self.dtls = Some(dtls);
        }
    }

    /// Adds datagrams of DTLS, sealed or of a handshake.
    pub(crate) fn push_datagrams(&mut self, now: Instant, arena: &Arena, to: &FiveTuple, scratch: &Scratch) {
        for bytes in scratch.packets() {
            let Some((socket, local)) = self.sockets.listener_of(to.server.0) else {
                self.stats.send_failures[SendFailure::Other.index()] += 1;
                continue;
            };
            let Some(range) = self.keep(now, arena, bytes) else {
                self.stats.send_failures[SendFailure::TooLong.index()] += 1;
                continue;
            };
            let packet = Packet {
                socket,
                to: Some(to.client.0),
                local,
                prefix: &[],
                source: Source::Answer,
                range,
                padding: 0,
                dont_fragment: false,
            };
            self.push(now, arena, &packet);
        }
    }

    fn push(&mut self, now: Instant, arena: &Arena, packet: &Packet<'_>) {
        if self.batch.is_full() {
            // The answers stay: the packet at hand may be one of them.
            self.send(now, arena);
        }
        if !self.batch.push(packet) {
            self.stats.send_failures[SendFailure::Other.index()] += 1;
        }
    }

    fn send(&mut self, now: Instant, arena: &Arena) {
        let memory = Memory {
            arena,
            answers: &self.answers,
        };
        self.batch.flush(now, memory, &mut self.sockets, &mut self.stats);
    }

    /// Sends everything. Afterwards nothing points into the arena, and every socket may be closed.
    pub(crate) fn flush(&mut self, now: Instant, arena: &Arena) {
        if !self.batch.is_empty() {
            self.send(now, arena);
        }
        self.answers.reset();
    }
}
