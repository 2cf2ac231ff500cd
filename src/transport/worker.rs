//! One shard: a thread that waits, receives, asks its `turn::Server`, and sends.

mod connections;
mod dtls;
mod streams;

use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::event::{EventfdFlags, eventfd};
use socket2::Socket;

use super::Config;
use super::buffer::{Arena, Received, SLOTS};
use super::data_connection::pair::Half;
use super::data_connection::table::{DataConnections, PAUSE};
use super::dtls::Scratch as DtlsScratch;
use super::dtls::table::{Shared as SharedDtls, Table as DtlsTable};
use super::handover::{self, HandedOver, PortOwners};
use super::listener::Listener;
use super::outbox::{Outbox, Sockets};
use super::poller::{Poller, Token};
use super::relay_table::{self, Parked, RelayTable};
use super::stream::connection::Scratch;
use super::stream::intake::{Dispatch, Intake};
use super::stream::table::StreamTable;
use super::udp::receive_error;
use super::udp::socket::{SendState, is_stale};
use crate::credentials::UnixTime;
use crate::events;
use crate::telemetry::ShardSlot;
use crate::turn::{
    self, ClientAddr, ConnectionKey, FiveTuple, Handled, ListenAddr, Now, Output, PeerAddr, RelayId, RelaySocket,
    Server, Transport,
};

/// Messages taken from a listener in one turn: all clients of the worker share it.
const LISTENER_BATCH: usize = 32;
/// Messages taken from the inbox in one turn.
const INBOX_BATCH: usize = 16;
/// Messages taken from a relay socket in one turn: there are many, and each belongs to one client.
const RELAY_BATCH: usize = 8;
/// Errors taken from a relay socket in one turn, a system call each. They share the socket's receive buffer, so a storm of
/// them must be cleared away faster than packets are.
const ERROR_BATCH: usize = 16;
/// A listener that was not emptied gets another turn after so many other sockets: one of it stands for all clients, and a
/// flood towards many relay sockets must not shut them out.
const LISTENER_EVERY: usize = 8;
const _: () = assert!(LISTENER_BATCH <= SLOTS && INBOX_BATCH <= SLOTS && RELAY_BATCH <= SLOTS);

/// How other threads reach a worker.
pub(crate) struct Control {
    wake: OwnedFd,
    stop: AtomicBool,
    config: Mutex<Option<Arc<turn::Config>>>,
    errands: Mutex<Vec<Errand>>,
}

/// Something to be done once between two packets, on the thread of the worker: bounded in what it looks at.
type Errand = Box<dyn FnOnce(&mut Server, Now) + Send>;

/// Errands that may wait for one worker. It takes them all in one turn, so more means that it does not get to its turn.
const MAX_ERRANDS: usize = 16;

impl std::fmt::Debug for Control {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Control").finish_non_exhaustive()
    }
}

impl Control {
    pub(crate) fn new() -> io::Result<Self> {
        let wake = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
        Ok(Self {
            wake,
            stop: AtomicBool::new(false),
            config: Mutex::new(None),
            errands: Mutex::default(),
        })
    }

    /// Ends the worker after its current turn.
    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        self.wake();
    }

    /// Gives the worker's core a new configuration; the last one given before it looks wins.
    pub(crate) fn reconfigure(&self, config: Arc<turn::Config>) {
        *self.config.lock().unwrap_or_else(PoisonError::into_inner) = Some(config);
        self.wake();
    }

    /// Gives the worker something to do; `false` when it has too much of that already.
    pub(crate) fn send(&self, errand: Errand) -> bool {
        let mut errands = self.errands.lock().unwrap_or_else(PoisonError::into_inner);
        if errands.len() >= MAX_ERRANDS {
            return false;
        }
        errands.push(errand);
        drop(errands);
        self.wake();
        true
    }

    fn take_errands(&self) -> Vec<Errand> {
        std::mem::take(&mut *self.errands.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Makes the worker look at what waits for it.
    pub(crate) fn wake(&self) {
        // It can only fail when the counter is full, and then the worker is about to wake anyway.
        let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
    }

    fn acknowledge(&self) {
        let _ = rustix::io::read(&self.wake, &mut [0; 8]);
    }

    fn take_config(&self) -> Option<Arc<turn::Config>> {
        self.config.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// What a worker is made of; unlike the worker itself it may move between threads.
pub(crate) struct Parts {
    pub(crate) index: u16,
    pub(crate) config: Config,
    pub(crate) server: Server,
    pub(crate) listeners: Vec<Listener>,
    pub(crate) inbox: Socket,
    pub(crate) siblings: Vec<Arc<Socket>>,
    pub(crate) owners: Arc<PortOwners>,
    /// As `owners`, of relays of TCP.
    pub(crate) tcp_owners: Arc<PortOwners>,
    pub(crate) parked: Parked,
    pub(crate) control: Arc<Control>,
    pub(crate) metrics: ShardSlot,
    pub(crate) intake: Intake,
    pub(crate) dispatch: Dispatch,
    /// Where DTLS is listened for: what its sessions share, and secret randomness of this worker alone.
    pub(crate) dtls: Option<(SharedDtls, [u8; 32])>,
    pub(crate) events: Option<events::Intake>,
}

/// A shard on its own thread.
pub(crate) struct Worker {
    index: u16,
    config: Config,
    server: Server,
    poller: Poller,
    arena: Arena,
    outbox: Outbox,
    inbox: Socket,
    owners: Arc<PortOwners>,
    tcp_owners: Arc<PortOwners>,
    connections: DataConnections,
    /// The data connection that the frame just handled has made of its stream.
    joined: Option<ConnectionKey>,
    /// How long a data connection waits when a limit is reached.
    pause: Duration,
    dispatch: Dispatch,
    parked: Parked,
    control: Arc<Control>,
    metrics: ShardSlot,
    listeners: Vec<ListenerState>,
    intake: Intake,
    /// Who is told what the core notes.
    events: Option<events::Intake>,
    /// What streams are read with; empty until there is one.
    scratch: Scratch,
    /// What DTLS is read with.
    dtls_scratch: Option<Box<DtlsScratch>>,
}

/// What a worker remembers about a listener.
#[derive(Debug, Clone, Copy, Default)]
struct ListenerState {
    /// The kernel's count of datagrams it had no room for, as last seen.
    overflows: u32,
    /// The last batch was full: more is waiting.
    is_backed_up: bool,
}

/// Reads both clocks.
fn now() -> Now {
    let unix = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    Now {
        instant: Instant::now(),
        unix: UnixTime(unix),
    }
}

impl Worker {
    /// Puts the parts together, on the thread that will run it: it sets aside its buffers here.
    pub(crate) fn new(parts: Parts) -> io::Result<Self> {
        let poller = Poller::new()?;
        poller.add(&parts.control.wake, Token::Wake)?;
        poller.add(&parts.inbox, Token::Inbox)?;
        for (index, listener) in parts.listeners.iter().enumerate() {
            poller.add(&listener.socket, Token::Listener(index as u16))?;
        }
        let started = Instant::now();
        let offload = parts.config.offload;
        let listeners = vec![ListenerState::default(); parts.listeners.len()];
        let sockets = Sockets {
            listeners: parts
                .listeners
                .into_iter()
                .map(|listener| {
                    let state = SendState::new(listener.addr.is_ipv6(), offload, started);
                    (listener, state)
                })
                .collect(),
            relays: RelayTable::default(),
            siblings: parts
                .siblings
                .into_iter()
                .map(|inbox| (inbox, SendState::new(false, false, started)))
                .collect(),
        };
        let streams = StreamTable::new(parts.config.streams.clone());
        let dtls = parts
            .dtls
            .map(|(shared, seed)| Box::new(DtlsTable::new(shared, seed, started)));
        Ok(Self {
            index: parts.index,
            config: parts.config,
            server: parts.server,
            poller,
            arena: Arena::new(),
            dtls_scratch: dtls.is_some().then(|| Box::new(DtlsScratch::new())),
            outbox: Outbox::new(sockets, streams, dtls, Arc::clone(&parts.owners), parts.index),
            inbox: parts.inbox,
            owners: parts.owners,
            tcp_owners: parts.tcp_owners,
            connections: DataConnections::default(),
            joined: None,
            pause: PAUSE,
            dispatch: parts.dispatch,
            parked: parts.parked,
            control: parts.control,
            metrics: parts.metrics,
            listeners,
            intake: parts.intake,
            events: parts.events,
            scratch: Scratch::default(),
        })
    }

    /// Relays until told to stop.
    ///
    /// # Errors
    /// Those of waiting, which a sound process never meets.
    pub(crate) fn run(mut self) -> io::Result<()> {
        let mut at = now();
        let mut publish_at = at.instant;
        loop {
            if at.instant >= publish_at {
                self.publish(at);
                publish_at = at.instant + self.config.stats_interval;
            }
            let mut deadline = self.server.poll_timeout().map_or(publish_at, |due| due.min(publish_at));
            let stream_deadline = self.outbox.streams.next_deadline();
            deadline = stream_deadline.map_or(deadline, |due| due.min(deadline));
            let connection_deadline = self.connections.next_deadline();
            deadline = connection_deadline.map_or(deadline, |due| due.min(deadline));
            let dtls_deadline = self.outbox.dtls.as_ref().and_then(|dtls| dtls.next_deadline());
            deadline = dtls_deadline.map_or(deadline, |due| due.min(deadline));
            let ready = self.poller.wait(at.instant, deadline)?;
            at = now();
            if self.server.poll_timeout().is_some_and(|due| due <= at.instant) {
                self.server.handle_timeout(at);
                self.drain(at);
            }
            if stream_deadline.is_some_and(|due| due <= at.instant) {
                self.expire_streams(at);
            }
            if dtls_deadline.is_some_and(|due| due <= at.instant) {
                self.wake_dtls(at);
            }
            if connection_deadline.is_some_and(|due| due <= at.instant) {
                self.wake_connections(at);
            }
            for index in 0..ready {
                if index % LISTENER_EVERY == LISTENER_EVERY - 1 {
                    self.serve_backed_up(at);
                }
                match self.poller.token(index) {
                    Some(Token::Wake) => {
                        self.control.acknowledge();
                        if self.control.stop.load(Ordering::Acquire) {
                            self.server.end_all(at);
                            self.drain(at);
                            self.end_dtls();
                            self.flush(at);
                            self.publish(at);
                            return Ok(());
                        }
                        if let Some(config) = self.control.take_config() {
                            // What a realm did that loses its place to another is counted to the end.
                            self.publish(at);
                            self.server.reconfigure(config);
                            self.drain(at);
                        }
                        for errand in self.control.take_errands() {
                            errand(&mut self.server, at);
                            self.drain(at);
                        }
                        self.adopt_streams(at);
                    }
                    Some(Token::Inbox) => self.serve_inbox(at),
                    Some(Token::Listener(listener)) => self.serve_listener(at, listener),
                    Some(Token::Relay(relay)) => {
                        if self.poller.has_error(index) {
                            self.serve_errors(at, RelayId(relay));
                        }
                        self.serve_relay(at, RelayId(relay));
                    }
                    Some(Token::Stream(stream)) => {
                        if self.poller.has_room(index) {
                            self.outbox.streams.write_later(stream);
                        }
                        if self.poller.is_readable(index) {
                            self.serve_stream(at, stream, false);
                        }
                    }
                    Some(Token::TcpRelay(relay)) => self.serve_tcp_relay(at, RelayId(relay)),
                    Some(Token::ClientHalf(key)) => {
                        let readable = self.poller.is_readable(index);
                        self.serve_connection(at, ConnectionKey(key), Half::Client, readable);
                    }
                    Some(Token::PeerHalf(key)) => {
                        let readable = self.poller.is_readable(index);
                        self.serve_connection(at, ConnectionKey(key), Half::Peer, readable);
                    }
                    None => {}
                }
            }
            self.flush(at);
        }
    }

    /// Gives away a copy of what was counted.
    fn publish(&mut self, at: Now) {
        self.outbox.stats.relay_sockets = self.outbox.sockets.relays.open();
        let (core, realms, shares) = self.server.counted(at);
        self.metrics.publish(core, (realms, shares), &self.outbox.stats);
    }

    /// Sends what waits and frees the receive buffers.
    fn flush(&mut self, at: Now) {
        if self.outbox.streams.has_work() {
            self.finish_streams(at);
        }
        self.finish_dtls(at);
        self.outbox.flush(at.instant, &self.arena);
        self.arena.reset();
    }

    /// Makes room for a batch, at the price of sending what waits.
    fn make_room(&mut self, at: Now, slots: usize) {
        if self.arena.free() < slots {
            self.flush(at);
        }
    }

    /// Serves the listeners that had more than they were asked for.
    fn serve_backed_up(&mut self, at: Now) {
        for index in 0..self.listeners.len() {
            if self.listeners[index].is_backed_up {
                self.serve_listener(at, index as u16);
            }
        }
    }

    fn serve_listener(&mut self, at: Now, index: u16) {
        self.make_room(at, LISTENER_BATCH);
        let Some((listener, _)) = self.outbox.sockets.listeners.get(usize::from(index)) else {
            return;
        };
        let (addr, transport) = (listener.addr, listener.transport);
        let slots = self.arena.receive(listener.socket.as_fd(), LISTENER_BATCH);
        let slots = self.received(slots);
        self.listeners[usize::from(index)].is_backed_up = slots.len() == LISTENER_BATCH;
        for slot in slots {
            let Ok(message) = self.arena.received(slot) else {
                self.outbox.stats.recv_unusable += 1;
                continue;
            };
            if let Some(total) = message.overflows {
                let seen = &mut self.listeners[usize::from(index)].overflows;
                self.outbox.stats.recv_overflows += u64::from(total.wrapping_sub(*seen));
                *seen = total;
            }
            let from = FiveTuple {
                transport,
                client: ClientAddr(message.from),
                server: ListenAddr(match message.local {
                    Some(ip) => (ip, addr.port()).into(),
                    None => addr,
                }),
            };
            count_received(&mut self.outbox, &message);
            for segment in message.segments() {
                if transport == Transport::Dtls {
                    self.serve_dtls(at, &from, slot, segment);
                    continue;
                }
                let start = segment.start;
                // The borrow of the arena ends with each datagram: what follows may bind and close sockets.
                let datagram = &self.arena.bytes(slot)[segment];
                let handled = self.server.handle_client(at, &from, datagram);
                self.settle(at, slot, start, &handled);
            }
        }
    }

    fn serve_relay(&mut self, at: Now, relay: RelayId) {
        self.make_room(at, RELAY_BATCH);
        // The event may be of a socket that was closed earlier in this turn.
        let Some(socket) = self.outbox.sockets.relays.socket(relay) else {
            return;
        };
        let slots = match self.arena.receive(socket.as_fd(), RELAY_BATCH) {
            // It says nothing about what waits, and reading it took it away.
            Err(error) if is_stale(&error) => self.arena.receive(socket.as_fd(), RELAY_BATCH),
            other => other,
        };
        for slot in self.received(slots) {
            let Ok(message) = self.arena.received(slot) else {
                self.outbox.stats.recv_unusable += 1;
                continue;
            };
            let from = PeerAddr(message.from);
            count_received(&mut self.outbox, &message);
            for segment in message.segments() {
                let start = segment.start;
                let datagram = &self.arena.bytes(slot)[segment];
                let handled = self.server.handle_peer(at, relay, from, datagram);
                self.settle(at, slot, start, &handled);
            }
        }
    }

    /// Empties the error queue of a relay socket, or as much of it as one turn has time for: what is left is reported again.
    fn serve_errors(&mut self, at: Now, relay: RelayId) {
        for _ in 0..ERROR_BATCH {
            let Some(socket) = self.outbox.sockets.relays.socket(relay) else {
                return;
            };
            let Ok((to, control)) = receive_error(socket.as_fd()) else {
                return;
            };
            if let (Some(peer), Some(icmp)) = (to.socket_addr(), control.icmp_error()) {
                self.server.handle_peer_error(at, relay, PeerAddr(peer), icmp);
                self.drain(at);
            }
        }
    }

    fn serve_inbox(&mut self, at: Now) {
        self.make_room(at, INBOX_BATCH);
        let slots = self.arena.receive(self.inbox.as_fd(), INBOX_BATCH);
        for slot in self.received(slots) {
            let Some(handed_over) = self.arena.handed_over(slot).ok().and_then(HandedOver::decode) else {
                self.outbox.stats.recv_unusable += 1;
                continue;
            };
            let payload = self.arena.bytes(slot).get(handover::HEADER..).unwrap_or_default();
            let handled = match handed_over {
                HandedOver::Peer { from, to } => {
                    let Some(relay) = self.server.relay_at(to) else {
                        // It was closed while the packet was on its way.
                        self.outbox.stats.handover_unowned += 1;
                        continue;
                    };
                    self.server.handle_peer(at, relay, from, payload)
                }
                HandedOver::Client { via, from } => self.server.handle_handed_over(at, via, &from, payload),
            };
            self.settle(at, slot, handover::HEADER, &handled);
        }
    }

    /// Counts a receive call; an error of one socket is no more than that.
    fn received(&mut self, slots: io::Result<Range<usize>>) -> Range<usize> {
        match slots {
            Ok(slots) => {
                self.outbox.stats.recv_calls += u64::from(!slots.is_empty());
                slots
            }
            Err(_) => {
                self.outbox.stats.recv_failures += 1;
                0..0
            }
        }
    }

    /// Passes on what the core relays and does what else it asks for.
    fn settle(&mut self, at: Now, slot: usize, start: usize, handled: &Handled) {
        if let Handled::Forward(forward) = handled {
            self.outbox
                .forward(at.instant, &self.arena, slot as u16, start, forward);
        }
        self.drain(at);
    }

    /// Does what the core asks for.
    fn drain(&mut self, at: Now) {
        while let Some(output) = self.server.poll_output() {
            match output {
                Output::Transmit { to, bytes } => self.outbox.answer(at.instant, &self.arena, &to, bytes),
                Output::BindRelay {
                    relay,
                    at: addr,
                    socket,
                } => {
                    // Packets that wait may name a socket that had this id before.
                    self.outbox.flush(at.instant, &self.arena);
                    let (token, owners) = match socket {
                        RelaySocket::Listen => (Token::TcpRelay(relay.0), &self.tcp_owners),
                        _ => (Token::Relay(relay.0), &self.owners),
                    };
                    let result =
                        relay_table::open(&self.config, &self.parked, addr, socket).and_then(|(socket, bound)| {
                            self.poller.add(&socket, token).map_err(|_| turn::BindError::Failed)?;
                            self.outbox
                                .sockets
                                .relays
                                .insert(relay, socket, bound, self.config.offload, at.instant);
                            owners.set(bound, self.index);
                            Ok(bound)
                        });
                    self.outbox.stats.bind_failures += u64::from(result.is_err());
                    self.server.handle_relay_bound(at, relay, result);
                }
                Output::CloseRelay { relay } => {
                    self.outbox.flush(at.instant, &self.arena);
                    if let Some(bound) = self.outbox.sockets.relays.remove(relay) {
                        // A port has one relay of this worker, whichever it speaks.
                        self.owners.clear(bound, self.index);
                        self.tcp_owners.clear(bound, self.index);
                    }
                }
                Output::ConnectPeer {
                    connection,
                    relay,
                    peer,
                    route,
                } => self.connect_peer(at, connection, relay, peer, route),
                Output::JoinConnection { connection, client } => self.join_connection(at, connection, &client),
                Output::CloseConnection { connection } => self.close_connection(connection),
                Output::ReleaseReserved { token } => self.parked.release(token),
            }
        }
        while let Some(event) = self.server.poll_event() {
            if let Some(events) = &self.events {
                events.relay(event);
            }
        }
    }
}

fn count_received(outbox: &mut Outbox, message: &Received<'_>) {
    let datagrams = message.segments().len() as u64;
    outbox.stats.recv_datagrams += datagrams;
    outbox.stats.recv_trains += u64::from(datagrams > 1);
}
