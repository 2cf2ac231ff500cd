//! A client's stream and a peer's connection, joined: bytes one way, bytes the other way, and both ends.

use std::io::{self, ErrorKind, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use super::super::poller::{Poller, Token};
use super::super::stream::connection::raw::RawRead;
use super::super::stream::connection::{Connection, Received, Scratch, read};
use super::super::stream::queue::WriteQueue;
use super::socket;
use crate::turn::{ConnectionEnd, ConnectionKey, Direction, Now, Server};

/// Bytes that wait for one side to read them: while there are so many the other side is not read.
pub(crate) const BUFFER: usize = 64 << 10;
/// How long a pair of which one side has ended may neither read nor write anything.
const HALF_CLOSED: Duration = Duration::from_secs(60);

/// Which of the two sockets an event is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Half {
    Client,
    Peer,
}

/// What the poller is told to report of a socket; nothing at all: not even that it broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Watch {
    bytes: bool,
    room: bool,
}

/// One of the two directions.
#[derive(Debug, Default)]
struct Way {
    /// Nothing more comes in.
    is_ended: bool,
    /// The other side was told so.
    is_told: bool,
    /// A limit was reached: not read until then.
    paused_until: Option<Instant>,
}

/// The two halves of a data connection.
#[derive(Debug)]
pub(crate) struct Pair {
    client: Box<Connection>,
    peer: TcpStream,
    to_peer: WriteQueue,
    from_client: Way,
    from_peer: Way,
    client_watch: Watch,
    peer_watch: Watch,
    /// A half that broke takes nothing more; why.
    broken: Option<(Half, ConnectionEnd)>,
    last_progress: Instant,
}

/// What a pair needs of its worker while it is served.
pub(crate) struct Service<'w> {
    pub(crate) server: &'w mut Server,
    pub(crate) scratch: &'w mut Scratch,
    pub(crate) at: Now,
    pub(crate) key: ConnectionKey,
    /// How long to wait when a limit is reached.
    pub(crate) pause: Duration,
}

impl Pair {
    /// Joins the two; the poller reports the client's socket under `client_token` until now, and not the peer's.
    ///
    /// # Errors
    /// The client's stream is broken, or the poller takes no more; both sockets are closed then.
    pub(crate) fn new(mut client: Box<Connection>, peer: TcpStream, poller: &Poller, now: Instant) -> io::Result<Self> {
        client
            .become_raw()
            .map_err(|_| io::Error::from(ErrorKind::BrokenPipe))?;
        socket::tune(client.socket());
        poller.remove(client.socket())?;
        Ok(Self {
            client,
            peer,
            to_peer: WriteQueue::default(),
            from_client: Way::default(),
            from_peer: Way::default(),
            client_watch: Watch::default(),
            peer_watch: Watch::default(),
            broken: None,
            last_progress: now,
        })
    }

    /// The client's half, to be told farewell.
    pub(crate) fn into_client(self) -> Box<Connection> {
        self.client
    }

    /// Takes the first bytes of the client, which came in behind its ConnectionBind: `held` bytes of the scratch.
    pub(crate) fn begin(&mut self, service: &mut Service<'_>, held: usize) {
        match self.client.receive_rest(service.scratch, held) {
            Ok(RawRead { count, is_last }) => {
                let Service { server, at, key, .. } = service;
                server.handle_passed(*at, *key, Direction::ClientToPeer, 0, count);
                self.send_to_peer(service.scratch.frames.get(..count).unwrap_or_default());
                self.from_client.is_ended |= is_last;
            }
            Err(_) => self.break_half(Half::Client, ConnectionEnd::ClientFailed),
        }
        if self.client.write_raw().is_err() {
            self.break_half(Half::Client, ConnectionEnd::ClientFailed);
        }
    }

    /// Serves an event: reads and writes what can be. `Some`: the pair is over.
    pub(crate) fn serve(&mut self, service: &mut Service<'_>, half: Half, readable: bool) -> Option<ConnectionEnd> {
        match half {
            Half::Client => {
                if readable && self.wants_client(service.at.instant) {
                    self.read_client(service);
                }
                self.write_client(service.at.instant);
            }
            Half::Peer => {
                if readable && self.wants_peer(service.at.instant) {
                    self.read_peer(service);
                }
                self.write_peer(service.at.instant);
            }
        }
        self.settle(service.at.instant)
    }

    /// Passes on the ends that are due. `Some`: the pair is over.
    pub(crate) fn settle(&mut self, now: Instant) -> Option<ConnectionEnd> {
        if self.from_client.is_ended && !self.from_client.is_told && self.to_peer.is_empty() {
            self.from_client.is_told = true;
            if !self.is_broken(Half::Peer) && self.peer.shutdown(Shutdown::Write).is_err() {
                self.break_half(Half::Peer, ConnectionEnd::PeerFailed);
            }
        }
        if self.from_peer.is_ended && !self.from_peer.is_told && !self.client.has_waiting() {
            self.from_peer.is_told = true;
            if !self.is_broken(Half::Client) && self.client.finish_raw().is_err() {
                self.break_half(Half::Client, ConnectionEnd::ClientFailed);
            }
        }
        // A half that broke is told nothing, and what waited for it is gone.
        let is_over = |way: &Way, to: Half| way.is_ended && (way.is_told || self.is_broken(to));
        if is_over(&self.from_client, Half::Peer) && is_over(&self.from_peer, Half::Client) {
            return Some(self.broken.map_or(ConnectionEnd::Finished, |(_, why)| why));
        }
        if self.patience_ends().is_some_and(|end| end <= now) {
            return Some(self.broken.map_or(ConnectionEnd::HalfClosed, |(_, why)| why));
        }
        None
    }

    /// When the next of its pauses is over.
    pub(crate) fn pause_ends(&self, now: Instant) -> Option<Instant> {
        let pauses = [&self.from_client, &self.from_peer].map(|way| way.paused_until.filter(|until| *until > now));
        pauses.into_iter().flatten().min()
    }

    /// When it ends if nothing moves: of a pair whose two sides both go on never.
    pub(crate) fn patience_ends(&self) -> Option<Instant> {
        let has_end = self.from_client.is_ended || self.from_peer.is_ended;
        has_end.then(|| self.last_progress + HALF_CLOSED)
    }

    /// Tells the poller what is wanted of the two sockets now.
    ///
    /// # Errors
    /// Those of the poller.
    pub(crate) fn watch(&mut self, poller: &Poller, key: ConnectionKey, now: Instant) -> io::Result<()> {
        let client = Watch {
            bytes: self.wants_client(now),
            room: !self.is_broken(Half::Client) && self.client.has_waiting(),
        };
        let peer = Watch {
            bytes: self.wants_peer(now),
            room: !self.is_broken(Half::Peer) && !self.to_peer.is_empty(),
        };
        let (token, socket) = (Token::ClientHalf(key.0), self.client.socket());
        change(poller, socket, token, &mut self.client_watch, client)?;
        change(poller, &self.peer, Token::PeerHalf(key.0), &mut self.peer_watch, peer)
    }

    fn wants_client(&self, now: Instant) -> bool {
        let way = &self.from_client;
        !way.is_ended && self.to_peer.len() < BUFFER && way.paused_until.is_none_or(|until| until <= now)
    }

    fn wants_peer(&self, now: Instant) -> bool {
        let way = &self.from_peer;
        !way.is_ended && self.client.waiting() < BUFFER && way.paused_until.is_none_or(|until| until <= now)
    }

    fn read_client(&mut self, service: &mut Service<'_>) {
        let Some(granted) = grant(&mut self.from_client, service, Direction::ClientToPeer) else {
            return;
        };
        let result = self.client.receive_raw(service.scratch, granted);
        let count = result.map_or(0, |read| read.count);
        let (server, at, key) = (&mut service.server, service.at, service.key);
        server.handle_passed(at, key, Direction::ClientToPeer, granted, count);
        match result {
            Ok(RawRead { count, is_last }) => {
                if count > 0 {
                    self.last_progress = at.instant;
                    self.send_to_peer(service.scratch.frames.get(..count).unwrap_or_default());
                }
                self.from_client.is_ended |= is_last;
            }
            Err(_) => self.break_half(Half::Client, ConnectionEnd::ClientFailed),
        }
    }

    fn read_peer(&mut self, service: &mut Service<'_>) {
        let Some(granted) = grant(&mut self.from_peer, service, Direction::PeerToClient) else {
            return;
        };
        let space = service.scratch.frames.get_mut(..granted).unwrap_or_default();
        let result = read(&self.peer, space);
        let count = match result {
            Ok(Received::Bytes(count)) => count,
            _ => 0,
        };
        let (server, at, key) = (&mut service.server, service.at, service.key);
        server.handle_passed(at, key, Direction::PeerToClient, granted, count);
        match result {
            Ok(Received::Bytes(count)) => {
                self.last_progress = at.instant;
                let bytes = service.scratch.frames.get(..count).unwrap_or_default();
                if !self.is_broken(Half::Client) && self.client.send_raw(bytes).is_err() {
                    self.break_half(Half::Client, ConnectionEnd::ClientFailed);
                }
            }
            Ok(Received::Nothing) => {}
            Ok(Received::Closed) => self.from_peer.is_ended = true,
            Err(_) => self.break_half(Half::Peer, ConnectionEnd::PeerFailed),
        }
    }

    fn write_client(&mut self, now: Instant) {
        if self.is_broken(Half::Client) || !self.client.has_waiting() {
            return;
        }
        let before = self.client.waiting();
        if self.client.write_raw().is_err() {
            return self.break_half(Half::Client, ConnectionEnd::ClientFailed);
        }
        if self.client.waiting() < before {
            self.last_progress = now;
        }
    }

    fn write_peer(&mut self, now: Instant) {
        let before = self.to_peer.len();
        while !self.is_broken(Half::Peer) && !self.to_peer.is_empty() {
            match (&self.peer).write(self.to_peer.waiting()) {
                Ok(count @ 1..) => self.to_peer.written(count),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Ok(0) | Err(_) => self.break_half(Half::Peer, ConnectionEnd::PeerFailed),
            }
        }
        if self.to_peer.len() < before {
            self.last_progress = now;
        }
        drop(self.to_peer.take_buffer());
    }

    /// Writes bytes to the peer, behind what waits; what the kernel does not take waits as well.
    fn send_to_peer(&mut self, mut bytes: &[u8]) {
        if self.is_broken(Half::Peer) || bytes.is_empty() {
            return;
        }
        if self.to_peer.is_empty() {
            match (&self.peer).write(bytes) {
                Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
                Err(_) => return self.break_half(Half::Peer, ConnectionEnd::PeerFailed),
            }
        }
        if !bytes.is_empty() {
            self.to_peer.push(&[], &[], bytes, 0);
        }
    }

    /// One half is broken: nothing more comes of it, nothing goes to it, so nothing more is read for it. What it said before still
    /// reaches the other.
    fn break_half(&mut self, half: Half, why: ConnectionEnd) {
        if self.broken.is_some_and(|(broken, _)| broken != half) {
            // Then there is nobody left to write to.
            self.from_client.is_told = true;
            self.from_peer.is_told = true;
        } else {
            self.broken = Some((half, why));
        }
        self.from_client.is_ended = true;
        self.from_peer.is_ended = true;
        if half == Half::Peer {
            self.to_peer = WriteQueue::default();
        }
    }

    fn is_broken(&self, half: Half) -> bool {
        self.broken.is_some_and(|(broken, _)| broken == half)
    }
}

/// How much may be read now; `None`, with a pause, if a limit is reached.
fn grant(way: &mut Way, service: &mut Service<'_>, direction: Direction) -> Option<usize> {
    let granted = service.server.grant(service.at, service.key, direction, BUFFER);
    way.paused_until = (granted == 0).then(|| service.at.instant + service.pause);
    (granted > 0).then_some(granted)
}

/// Tells the poller what is new.
fn change(poller: &Poller, socket: &TcpStream, token: Token, held: &mut Watch, wanted: Watch) -> io::Result<()> {
    if *held == wanted {
        return Ok(());
    }
    let nothing = Watch::default();
    if wanted == nothing {
        poller.remove(socket)?;
    } else if *held == nothing {
        poller.add_interest(socket, token, wanted.bytes, wanted.room)?;
    } else {
        poller.watch(socket, token, wanted.bytes, wanted.room)?;
    }
    *held = wanted;
    Ok(())
}
