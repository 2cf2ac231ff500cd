//! One stream: its socket, its TLS, what was read of a frame and what waits to be written.

pub(in crate::transport) mod raw;

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustls::ServerConnection;
use socket2::SockRef;

use super::census::Ticket;
use super::intake::{Load, NewStream};
use super::queue::WriteQueue;
use super::tunnel::{Tunnel, Word, code, own_frame_len};
use crate::telemetry::{StreamEnd, StreamKind};
use crate::turn::{FiveTuple, Transport};
use crate::wire::stream::{MAX_FRAME_LEN, frame_len};

/// The longest frame of a client without an allocation. Its longest message is an Allocate request whose USERNAME, REALM
/// and NONCE have 763 bytes each at most (RFC 8489 §14).
pub(in crate::transport) const SMALL_FRAME: usize = 4096;
/// Bytes read of one stream in one turn: as much as the kernel hands over at once, and others have their turn.
const READ: usize = 64 << 10;
/// Bytes the kernel may hold that are not sent yet: more only grow old there, out of reach of the queue's bound.
const UNSENT: u32 = 128 << 10;
/// How long sent bytes may stay unacknowledged until the client counts as gone (RFC 5482).
const UNACKNOWLEDGED: Duration = Duration::from_secs(60);
/// Bytes of TLS records that may wait inside the TLS library.
const TLS_BUFFER: usize = 64 << 10;

/// The memory a worker reads streams with, one after the other.
#[derive(Debug, Default)]
pub(in crate::transport) struct Scratch {
    /// Frames: the rest of the last read, and what was read now.
    pub(in crate::transport) frames: Box<[u8]>,
    /// TLS records.
    records: Box<[u8]>,
}

impl Scratch {
    pub(in crate::transport) fn new() -> Self {
        Self {
            frames: vec![0; MAX_FRAME_LEN + READ].into(),
            records: vec![0; READ].into(),
        }
    }
}

/// What one look at a socket gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::transport) enum Received {
    /// So many bytes of frames. There may be more: ask again.
    Bytes(usize),
    /// Nothing for now.
    Nothing,
    /// The client has closed its side.
    Closed,
}

/// Whether everything was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::transport) enum Written {
    All,
    /// The kernel takes no more for now.
    Blocked,
}

/// An established stream.
#[derive(Debug)]
pub(in crate::transport) struct Connection {
    pub(super) socket: TcpStream,
    tls: Option<Box<ServerConnection>>,
    /// The WebSocket around the frames.
    pub(super) tunnel: Option<Box<Tunnel>>,
    pub(in crate::transport) five_tuple: FiveTuple,
    /// The start of a frame, or what was read before this worker had the stream.
    pub(super) partial: Vec<u8>,
    pub(super) queue: WriteQueue,
    /// Bytes of the frame at the front of the queue that TLS has not taken yet; 0: it has taken none.
    unsealed: usize,
    /// Whether the poller is asked for room to write.
    pub(super) wants_room: bool,
    /// Whether it is in the table's list of streams to write.
    pub(super) is_dirty: bool,
    /// Why it ends with this turn.
    pub(super) end: Option<StreamEnd>,
    pub(super) opened: Instant,
    pub(super) last_frame: Option<Instant>,
    /// Different for every stream the worker ever had.
    pub(super) serial: u64,
    /// TLS records of the last read that were not looked at yet, as a range of the scratch.
    unread: std::ops::Range<usize>,
    ticket: Ticket,
    _load: Load,
    /// It carries bytes, no frames.
    is_raw: bool,
    /// Another worker gave it to this one, and nobody else gets it.
    pub(in crate::transport) is_moved: bool,
}

impl Connection {
    pub(super) fn new(new: NewStream, load: Load, now: Instant, serial: u64) -> io::Result<Self> {
        let NewStream {
            socket,
            mut tls,
            five_tuple,
            mut early,
            ticket,
            is_moved,
        } = new;
        socket.set_nonblocking(true)?;
        // A frame is a packet of somebody's call: it does not wait for the next one.
        socket.set_nodelay(true)?;
        let options = SockRef::from(&socket);
        // Refinements: a kernel that refuses them still carries the stream.
        let _ = options.set_tcp_notsent_lowat(UNSENT);
        let _ = options.set_tcp_user_timeout(Some(UNACKNOWLEDGED));
        if let Some(tls) = &mut tls {
            tls.set_buffer_limit(Some(TLS_BUFFER));
        }
        let mut tunnel = (five_tuple.transport == Transport::WebSocket).then(|| Box::new(Tunnel::new()));
        if let Some(tunnel) = &mut tunnel {
            let kept = tunnel.decode(&mut early);
            early.truncate(kept);
        }
        Ok(Self {
            socket,
            tls,
            tunnel,
            five_tuple,
            partial: early,
            queue: WriteQueue::default(),
            unsealed: 0,
            wants_room: false,
            is_dirty: false,
            end: None,
            opened: now,
            last_frame: None,
            serial,
            unread: 0..0,
            ticket,
            _load: load,
            is_raw: false,
            is_moved,
        })
    }

    pub(in crate::transport) fn kind(&self) -> StreamKind {
        match self.five_tuple.transport {
            Transport::Tls => StreamKind::Tls,
            Transport::WebSocket => StreamKind::WebSocket,
            _ => StreamKind::Tcp,
        }
    }

    /// Takes out what was kept of the last read: it becomes the start of `frames`. Returns how much it is.
    pub(in crate::transport) fn resume(&mut self, frames: &mut [u8]) -> usize {
        let held = self.partial.len().min(frames.len());
        if let (Some(to), Some(from)) = (frames.get_mut(..held), self.partial.get(..held)) {
            to.copy_from_slice(from);
        }
        if self.partial.capacity() > SMALL_FRAME {
            // What a stream brought with it, or the start of a long frame: the room is not its to keep.
            self.partial = Vec::new();
        } else {
            self.partial.clear();
        }
        held
    }

    /// Keeps the start of a frame until the next read.
    pub(in crate::transport) fn keep(&mut self, rest: &[u8]) {
        if rest.is_empty() {
            // An idle stream holds nothing.
            self.partial = Vec::new();
        } else {
            self.partial.extend_from_slice(rest);
        }
    }

    /// Reads once into `scratch.frames` from `held` on. `fresh`: this is the first call of this turn.
    ///
    /// # Errors
    /// Why the stream is to be closed.
    pub(in crate::transport) fn receive(
        &mut self,
        scratch: &mut Scratch,
        held: usize,
        fresh: bool,
    ) -> Result<Received, StreamEnd> {
        match &self.tunnel {
            Some(tunnel) if tunnel.is_broken() => return Err(StreamEnd::WebSocket),
            Some(tunnel) if tunnel.end().is_some() => return Ok(Received::Closed),
            _ => {}
        }
        let received = self.receive_bytes(scratch, held, fresh)?;
        let (Some(tunnel), Received::Bytes(count)) = (&mut self.tunnel, received) else {
            return Ok(received);
        };
        let bytes = scratch.frames.get_mut(held..held + count).unwrap_or_default();
        Ok(Received::Bytes(tunnel.decode(bytes)))
    }

    fn receive_bytes(&mut self, scratch: &mut Scratch, held: usize, fresh: bool) -> Result<Received, StreamEnd> {
        let space = scratch.frames.get_mut(held..).unwrap_or_default();
        let Some(tls) = &mut self.tls else {
            // One read a turn: what is left makes the poller report the stream again.
            return if fresh {
                read(&self.socket, space)
            } else {
                Ok(Received::Nothing)
            };
        };
        if fresh {
            // Plaintext may be left of the handshake.
            match plaintext(tls, space)? {
                Received::Nothing => {}
                received => return Ok(received),
            }
            match read(&self.socket, &mut scratch.records)? {
                Received::Bytes(count) => self.unread = 0..count,
                other => return Ok(other),
            }
        }
        loop {
            match plaintext(tls, space)? {
                Received::Nothing => {}
                received => return Ok(received),
            }
            let mut records = scratch.records.get(self.unread.clone()).unwrap_or_default();
            if records.is_empty() {
                return Ok(Received::Nothing);
            }
            let taken = tls.read_tls(&mut records).map_err(|_| StreamEnd::Failed)?;
            self.unread.start += taken;
            let state = tls.process_new_packets().map_err(|_| StreamEnd::Tls)?;
            if taken == 0 && state.plaintext_bytes_to_read() == 0 {
                return Err(StreamEnd::Tls);
            }
        }
    }

    /// Whether TLS itself has something to say: an alert, a key update, tickets.
    pub(in crate::transport) fn tls_wants_write(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.wants_write())
    }

    /// Writes what waits, as far as the kernel takes it.
    ///
    /// # Errors
    /// The stream is broken.
    pub(in crate::transport) fn write(&mut self) -> Result<Written, StreamEnd> {
        loop {
            self.seal()?;
            let sent = match &mut self.tls {
                Some(tls) if tls.wants_write() => tls.write_tls(&mut &self.socket),
                _ if self.queue.is_empty() => return Ok(Written::All),
                // With nothing to write it would have taken some of what waits.
                Some(_) => return Err(StreamEnd::Failed),
                None => {
                    let taken = (&self.socket).write(self.queue.waiting());
                    taken.inspect(|&count| self.queue.written(count))
                }
            };
            match sent {
                Ok(1..) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Written::Blocked),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Ok(0) | Err(_) => return Err(StreamEnd::Failed),
            }
        }
    }

    /// Gives TLS what waits, as far as its buffer takes it: a record for each frame, because some clients take what one
    /// read of their TLS library gives them for one message.
    fn seal(&mut self) -> Result<(), StreamEnd> {
        let Some(tls) = &mut self.tls else { return Ok(()) };
        while !self.queue.is_empty() {
            let waiting = self.queue.waiting();
            if self.is_raw {
                self.unsealed = waiting.len();
            } else if self.unsealed == 0 {
                // All that is queued is whole frames of ours.
                self.unsealed = if self.tunnel.is_some() {
                    own_frame_len(waiting)
                } else {
                    frame_len(waiting).ok().flatten().unwrap_or(waiting.len())
                };
            }
            let piece = waiting.get(..self.unsealed).unwrap_or(waiting);
            match tls.writer().write(piece).map_err(|_| StreamEnd::Failed)? {
                0 => return Ok(()),
                count => {
                    self.unsealed -= count;
                    self.queue.written(count);
                }
            }
        }
        Ok(())
    }

    /// The answer to a ping that came inside of the WebSocket.
    pub(super) fn take_pong(&mut self) -> Option<Word> {
        self.tunnel.as_mut().and_then(|tunnel| tunnel.take_pong())
    }

    /// The last words: what the kernel takes at once of what waits, the close frame of a WebSocket, and TLS's close_notify
    /// (RFC 8446 §6.1).
    pub(in crate::transport) fn farewell(&mut self) {
        if self.end == Some(StreamEnd::Failed) {
            return;
        }
        if let Some(tunnel) = &self.tunnel {
            let code = tunnel.end().unwrap_or(match self.end {
                Some(StreamEnd::Framing | StreamEnd::Tls) => code::INVALID,
                Some(StreamEnd::Silent | StreamEnd::SlowReader | StreamEnd::Unresponsive) => code::POLICY,
                _ => code::NORMAL,
            });
            self.queue.push(&[], Word::close(code).as_bytes(), &[], 0);
        }
        // What waits goes first: nothing counts after a close_notify.
        if self.write() == Ok(Written::All)
            && let Some(tls) = &mut self.tls
        {
            tls.send_close_notify();
            let _ = self.write();
        }
    }

    /// When it ends if nothing comes: `None` only if that is beyond the end of the clock.
    pub(super) fn patience_ends(&self, idle: Duration, first: Duration) -> Option<Instant> {
        match self.last_frame {
            Some(last) => last.checked_add(idle),
            None => self.opened.checked_add(first),
        }
    }
}

/// Reads a socket once.
pub(in crate::transport) fn read(mut socket: &TcpStream, space: &mut [u8]) -> Result<Received, StreamEnd> {
    loop {
        return match socket.read(space) {
            Ok(0) => Ok(Received::Closed),
            Ok(count) => Ok(Received::Bytes(count)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(Received::Nothing),
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            // A client that vanished or reset: there is nobody to tell.
            Err(_) => Err(StreamEnd::Failed),
        };
    }
}

/// What TLS has decrypted.
fn plaintext(tls: &mut ServerConnection, space: &mut [u8]) -> Result<Received, StreamEnd> {
    match tls.reader().read(space) {
        Ok(0) => Ok(Received::Closed),
        Ok(count) => Ok(Received::Bytes(count)),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(Received::Nothing),
        Err(_) => Err(StreamEnd::Failed),
    }
}
