//! The streams of one worker: found by index (the poller) and by 5-tuple (the core).

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::net::TcpStream;
use std::time::Instant;

use hashbrown::HashMap;

use super::Streams;
use super::connection::{Connection, Written};
use super::intake::{Load, NewStream};
use super::tunnel::{Head, Word};
use crate::telemetry::{DriverStats, StreamEnd};
use crate::turn::FiveTuple;

/// Room in a client's queue that only answers may use: relayed data cannot take the way of a Refresh.
const ANSWER_ROOM: usize = 16 << 10;
/// Write buffers that wait for the next stream that needs one.
const SPARE_BUFFERS: usize = 64;
/// The largest buffer that is kept.
const SPARE_BUFFER: usize = 64 << 10;

/// What is sent to a client, and what becomes of it if the client does not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::transport) enum Frame {
    /// Dropped, as a full link would.
    Relayed,
    /// The client is closed: it asks, and does not read the answers.
    Answer,
}

/// What is to be told to the poller after a write.
pub(in crate::transport) struct Interest<'a> {
    pub(in crate::transport) socket: &'a TcpStream,
    pub(in crate::transport) index: u32,
    /// Whether to report when there is room to write.
    pub(in crate::transport) room: bool,
}

/// The streams of one worker.
#[derive(Debug)]
pub(in crate::transport) struct StreamTable {
    bounds: Streams,
    slots: Vec<Option<Box<Connection>>>,
    free: Vec<u32>,
    by_five_tuple: HashMap<FiveTuple, u32, foldhash::quality::RandomState>,
    /// Streams that have something to write.
    dirty: Vec<u32>,
    /// Streams that end with this turn.
    ending: Vec<u32>,
    /// When to look at a stream again: one entry for each living stream, and some of dead ones.
    deadlines: BinaryHeap<Reverse<(Instant, u64, u32)>>,
    spare: Vec<Vec<u8>>,
    serial: u64,
}

impl StreamTable {
    pub(in crate::transport) fn new(bounds: Streams) -> Self {
        Self {
            bounds,
            slots: Vec::new(),
            free: Vec::new(),
            by_five_tuple: HashMap::default(),
            dirty: Vec::new(),
            ending: Vec::new(),
            deadlines: BinaryHeap::new(),
            spare: Vec::new(),
            serial: 0,
        }
    }

    /// Takes a stream in; `register` tells the poller. Returns its index.
    ///
    /// # Errors
    /// Those of the socket or the poller; the stream is closed then.
    pub(in crate::transport) fn insert(
        &mut self,
        stats: &mut DriverStats,
        new: NewStream,
        load: Load,
        now: Instant,
        register: impl FnOnce(&TcpStream, u32) -> io::Result<()>,
    ) -> io::Result<u32> {
        let connection = Connection::new(new, load, now, self.serial)?;
        let index = match self.free.last() {
            Some(&index) => index,
            None => self.slots.len() as u32,
        };
        register(&connection.socket, index)?;
        self.free.pop();
        self.serial += 1;
        self.by_five_tuple.insert(connection.five_tuple, index);
        let kind = connection.kind().index();
        stats.streams[kind] += 1;
        stats.streams_opened[kind] += 1;
        if let Some(due) = connection.patience_ends(self.bounds.idle_timeout, self.bounds.first_timeout) {
            self.deadlines.push(Reverse((due, connection.serial, index)));
        }
        match self.slots.get_mut(index as usize) {
            Some(slot) => *slot = Some(Box::new(connection)),
            None => self.slots.push(Some(Box::new(connection))),
        }
        Ok(index)
    }

    /// The stream of this index, if it lives on after this turn.
    pub(in crate::transport) fn get_mut(&mut self, index: u32) -> Option<&mut Connection> {
        let connection = self.slots.get_mut(index as usize)?.as_deref_mut()?;
        connection.end.is_none().then_some(connection)
    }

    /// The stream of a client.
    pub(in crate::transport) fn find(&self, five_tuple: &FiveTuple) -> Option<u32> {
        self.by_five_tuple.get(five_tuple).copied()
    }

    /// Whether `new` has the very place of that stream on the network: then the kernel has ended that one. Where a proxy told who
    /// the clients are, two that live may be told alike; neither may end the other's calls.
    pub(in crate::transport) fn is_former(&self, index: u32, new: &NewStream) -> bool {
        let former = self.slots.get(index as usize).and_then(Option::as_deref);
        let place = |socket: &TcpStream| socket.peer_addr().ok();
        // A socket that was reset has no other end any more.
        former
            .and_then(|former| place(&former.socket))
            .is_none_or(|former| Some(former) == place(&new.socket))
    }

    /// Takes a living stream out: it is the caller's, who counts its end and tells the poller.
    pub(in crate::transport) fn take(&mut self, index: u32) -> Option<Box<Connection>> {
        self.get_mut(index)?;
        let connection = self.slots.get_mut(index as usize)?.take()?;
        self.free.push(index);
        if self.by_five_tuple.get(&connection.five_tuple) == Some(&index) {
            self.by_five_tuple.remove(&connection.five_tuple);
        }
        Some(connection)
    }

    /// A whole frame came in.
    pub(in crate::transport) fn heard(&mut self, index: u32, now: Instant) {
        if let Some(connection) = self.get_mut(index) {
            connection.last_frame = Some(now);
        }
    }

    /// Queues a frame for a client.
    pub(in crate::transport) fn send(
        &mut self,
        stats: &mut DriverStats,
        to: &FiveTuple,
        frame: Frame,
        prefix: &[u8],
        payload: &[u8],
        padding: u8,
    ) {
        let bound = match frame {
            Frame::Relayed => self.bounds.queue_bytes,
            Frame::Answer => self.bounds.queue_bytes.saturating_add(ANSWER_ROOM),
        };
        let Some(index) = self.find(to) else {
            // It ended in this turn, and its allocation with it.
            stats.stream_dropped_frames += 1;
            return;
        };
        let Some(connection) = self.slots.get_mut(index as usize).and_then(Option::as_deref_mut) else {
            return;
        };
        let inside = prefix.len() + payload.len() + usize::from(padding);
        let head = connection.tunnel.is_some().then(|| Head::binary(inside));
        let head = head.as_ref().map_or(&[][..], Head::as_bytes);
        let len = head.len() + inside;
        if connection.end.is_some() || connection.queue.len() + len > bound {
            stats.stream_dropped_frames += 1;
            if frame == Frame::Answer {
                self.end(index, StreamEnd::SlowReader);
            }
            return;
        }
        if !connection.queue.has_buffer()
            && let Some(buffer) = self.spare.pop()
        {
            connection.queue.give_buffer(buffer);
        }
        connection.queue.push(head, prefix, payload, padding);
        // While the kernel takes nothing, the poller says when it does.
        if !connection.is_dirty && !connection.wants_room {
            connection.is_dirty = true;
            self.dirty.push(index);
        }
    }

    /// Answers the last ping that came inside of a WebSocket. Who pings and does not read is closed.
    pub(in crate::transport) fn answer_ping(&mut self, index: u32) {
        if let Some(word) = self.get_mut(index).and_then(Connection::take_pong) {
            self.say(index, &word);
        }
    }

    /// Queues a control frame of a WebSocket.
    fn say(&mut self, index: u32, word: &Word) {
        let bound = self.bounds.queue_bytes.saturating_add(ANSWER_ROOM);
        let Some(connection) = self.get_mut(index) else { return };
        if connection.queue.len() + word.as_bytes().len() > bound {
            return self.end(index, StreamEnd::SlowReader);
        }
        connection.queue.push(&[], word.as_bytes(), &[], 0);
        if !connection.wants_room {
            self.write_later(index);
        }
    }

    /// Writes at the end of this turn what waits for this client, or what its TLS has to say.
    pub(in crate::transport) fn write_later(&mut self, index: u32) {
        if let Some(connection) = self.get_mut(index)
            && !connection.is_dirty
        {
            connection.is_dirty = true;
            self.dirty.push(index);
        }
    }

    /// Ends a stream at the end of this turn; the first reason counts.
    pub(in crate::transport) fn end(&mut self, index: u32, why: StreamEnd) {
        if let Some(connection) = self.get_mut(index) {
            connection.end = Some(why);
            self.ending.push(index);
        }
    }

    /// Whether there is something to write or to end.
    #[inline]
    pub(in crate::transport) fn has_work(&self) -> bool {
        !self.dirty.is_empty() || !self.ending.is_empty()
    }

    /// Writes what waits. `watch` tells the poller whose room to write is of interest now.
    pub(in crate::transport) fn write(&mut self, mut watch: impl FnMut(Interest<'_>) -> io::Result<()>) {
        let mut dirty = std::mem::take(&mut self.dirty);
        for index in dirty.drain(..) {
            let Some(connection) = self.get_mut(index) else {
                continue;
            };
            connection.is_dirty = false;
            let result = connection.write().and_then(|written| {
                let room = written == Written::Blocked;
                if room != connection.wants_room {
                    connection.wants_room = room;
                    let socket = &connection.socket;
                    watch(Interest { socket, index, room }).map_err(|_| StreamEnd::Failed)?;
                }
                Ok(())
            });
            let spare = connection.queue.take_buffer();
            match result {
                Ok(()) => {}
                Err(why) => self.end(index, why),
            }
            if let Some(buffer) = spare
                && self.spare.len() < SPARE_BUFFERS
                && buffer.capacity() <= SPARE_BUFFER
            {
                self.spare.push(buffer);
            }
        }
        // Nothing was added meanwhile; what was allocated serves the next turn.
        self.dirty = dirty;
    }

    /// Closes the next stream that is to end; whose it was.
    pub(in crate::transport) fn close_next(&mut self, stats: &mut DriverStats) -> Option<FiveTuple> {
        loop {
            let index = self.ending.pop()?;
            let Some(mut connection) = self.slots.get_mut(index as usize).and_then(Option::take) else {
                continue;
            };
            connection.farewell();
            self.free.push(index);
            if self.by_five_tuple.get(&connection.five_tuple) == Some(&index) {
                self.by_five_tuple.remove(&connection.five_tuple);
            }
            stats.streams[connection.kind().index()] -= 1;
            stats.streams_closed[connection.end.unwrap_or(StreamEnd::Failed).index()] += 1;
            return Some(connection.five_tuple);
        }
    }

    /// When [`StreamTable::expire`] wants to be called.
    pub(in crate::transport) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.peek().map(|Reverse((due, ..))| *due)
    }

    /// Ends streams whose time is up. `is_in_use` says whether a client has an allocation: then its stream stays.
    pub(in crate::transport) fn expire(&mut self, now: Instant, is_in_use: impl Fn(&FiveTuple) -> bool) {
        let (idle, first) = (self.bounds.idle_timeout, self.bounds.first_timeout);
        while let Some(&Reverse((due, serial, index))) = self.deadlines.peek() {
            if due > now {
                return;
            }
            self.deadlines.pop();
            let Some(connection) = self.get_mut(index).filter(|connection| connection.serial == serial) else {
                continue;
            };
            let is_in_use = is_in_use(&connection.five_tuple);
            // Pings find out who is gone, and keep proxies in between from taking quiet for an end.
            let is_tunnel = is_in_use && connection.tunnel.is_some();
            let is_alive = !is_tunnel || connection.tunnel.as_mut().is_none_or(|tunnel| tunnel.is_alive());
            let again = if is_in_use {
                // It starts anew when the allocation ends, within one patience.
                connection.last_frame = Some(now);
                now.checked_add(idle)
            } else {
                connection.patience_ends(idle, first)
            };
            let why = match connection.last_frame {
                _ if !is_alive => StreamEnd::Unresponsive,
                Some(_) => StreamEnd::Idle,
                None => StreamEnd::Silent,
            };
            match again {
                Some(again) if again <= now || !is_alive => self.end(index, why),
                Some(again) => self.deadlines.push(Reverse((again, serial, index))),
                None => {}
            }
            if is_tunnel {
                self.say(index, &Word::ping());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::transport::stream::census::Census;
    use crate::transport::stream::connection::SMALL_FRAME;
    use crate::transport::stream::intake::{Desk, Dispatch};
    use crate::transport::worker::Control;
    use crate::turn::{ClientAddr, ListenAddr, Transport};
    use std::sync::Arc;

    /// A table with one stream in it, which brought `early` with it.
    fn table_of(bounds: Streams, transport: Transport, early: Vec<u8>) -> (StreamTable, DriverStats, u32) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let client = socket.local_addr().unwrap();
        let (desk, intake) = Desk::open(Arc::new(Control::new().unwrap()));
        let new = NewStream {
            five_tuple: FiveTuple {
                transport,
                client: ClientAddr(client),
                server: ListenAddr(listener.local_addr().unwrap()),
            },
            ticket: Census::new(&bounds).admit(client.ip()).unwrap(),
            socket,
            tls: None,
            early,
            is_moved: false,
        };
        Dispatch::new(vec![desk]).hand_over(new).unwrap();
        let (new, load) = intake.recv().unwrap();
        let (mut table, mut stats) = (StreamTable::new(bounds), DriverStats::default());
        let index = table
            .insert(&mut stats, new, load, Instant::now(), |_, _| Ok(()))
            .unwrap();
        (table, stats, index)
    }

    #[test]
    fn pongs_that_nobody_reads_end_at_the_bound_of_the_queue() {
        let bounds = Streams {
            queue_bytes: 64 << 10,
            ..Streams::default()
        };
        let (mut table, mut stats, index) = table_of(bounds, Transport::WebSocket, Vec::new());
        // One at a time: of those that come together only the last one is answered.
        let ping = [&[0x89, 0x80 | 125, 0, 0, 0, 0][..], &[7; 125]].concat();
        let mut answered = 0;
        while let Some(connection) = table.get_mut(index) {
            let tunnel = connection.tunnel.as_mut().unwrap();
            assert_eq!(tunnel.decode(&mut ping.clone()), 0);
            table.answer_ping(index);
            answered += 1;
        }
        assert_eq!(answered, (80 << 10) / 127 + 1);
        assert!(table.close_next(&mut stats).is_some());
        assert_eq!(stats.streams_closed[StreamEnd::SlowReader.index()], 1);
    }

    #[test]
    fn room_that_a_stream_brought_with_it_is_not_its_to_keep() {
        // The most that is read at once, handed over with a stream that has not authenticated.
        let early = vec![0; 68 << 10];
        let (mut table, _, index) = table_of(Streams::default(), Transport::Tcp, early);
        let connection = table.get_mut(index).unwrap();
        let mut frames = vec![0; 128 << 10];
        assert_eq!(connection.resume(&mut frames), 68 << 10);
        connection.keep(&[0, 1, 0]);
        assert!(
            connection.partial.capacity() <= SMALL_FRAME,
            "{}",
            connection.partial.capacity()
        );
        assert_eq!(connection.resume(&mut frames), 3);
    }
}
