//! The DTLS sessions of one worker: found by 5-tuple, bounded in number, ended in time.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use hashbrown::HashMap;

use super::config::Dtls;
use super::gate::{Admission, Gate, Judged};
use super::hello::is_client_hello;
use super::identity::Crypto;
use super::session::{MAX_MESSAGE, Opening, Scratch, Session};
use crate::telemetry::{DriverStats, DtlsEnd, DtlsPhase, DtlsRefusal, StreamRefusal};
use crate::transport::front::tls::Certificates;
use crate::transport::stream::Streams;
use crate::transport::stream::census::Census;
use crate::turn::FiveTuple;

/// What the sessions of all workers share.
#[derive(Debug, Clone)]
pub(in crate::transport) struct Shared {
    bounds: Dtls,
    crypto: Arc<Crypto>,
    certificates: Arc<Certificates>,
    sessions: Census,
    /// Of each client; those of all are counted by each worker for itself.
    handshakes: Census,
    /// Handshakes that each worker may have: with one pool for all, a worker that has none could evict none.
    share: usize,
}

impl Shared {
    /// # Errors
    /// None with the provider that is built in.
    pub(in crate::transport) fn new(
        bounds: &Dtls,
        certificates: Arc<Certificates>,
        workers: usize,
    ) -> Result<Self, dimpl::Error> {
        let census = |connections, connections_per_client| {
            Census::new(&Streams {
                connections,
                connections_per_client,
                ..Streams::default()
            })
        };
        Ok(Self {
            crypto: Arc::new(Crypto::new(bounds)?),
            certificates,
            sessions: census(bounds.sessions, bounds.sessions_per_client),
            handshakes: census(usize::MAX, bounds.handshakes_per_client),
            share: bounds.handshakes.div_ceil(workers.max(1)).max(1),
            bounds: bounds.clone(),
        })
    }
}

/// What a datagram came to. What is to be sent, and what the client said, is in the [`Scratch`].
#[derive(Debug)]
pub(in crate::transport) enum Heard {
    /// Nothing, or something to send.
    Done,
    /// This client is to get a session, with [`Table::open`], once the one it had before is gone.
    Admitted(Box<Admission>),
}

/// The sessions of one worker.
pub(in crate::transport) struct Table {
    shared: Shared,
    gate: Gate,
    slots: Vec<Option<Box<Session>>>,
    free: Vec<u32>,
    by_five_tuple: HashMap<FiveTuple, u32, foldhash::quality::RandomState>,
    /// Handshakes that are under way.
    half_open: usize,
    /// The same, the oldest first; some are over.
    handshakes: VecDeque<(u64, u32)>,
    /// When to look at a session again. An entry that is not what its session has scheduled is void.
    deadlines: BinaryHeap<Reverse<(Instant, u64, u32)>>,
    /// Sessions that end with this turn.
    ending: Vec<u32>,
    serial: u64,
    /// Where messages are put together before they are sealed.
    plain: Vec<u8>,
    /// What sealing gave.
    pub(in crate::transport) sealed: Scratch,
}

impl Table {
    /// `seed` is secret randomness of this worker alone.
    pub(in crate::transport) fn new(shared: Shared, seed: [u8; 32], now: Instant) -> Self {
        Self {
            shared,
            gate: Gate::new(seed, now),
            slots: Vec::new(),
            free: Vec::new(),
            by_five_tuple: HashMap::default(),
            half_open: 0,
            handshakes: VecDeque::new(),
            deadlines: BinaryHeap::new(),
            ending: Vec::new(),
            serial: 0,
            plain: Vec::with_capacity(MAX_MESSAGE),
            sealed: Scratch::new(),
        }
    }

    /// Takes a datagram from `from`.
    pub(in crate::transport) fn receive(
        &mut self,
        stats: &mut DriverStats,
        now: Instant,
        from: &FiveTuple,
        datagram: &[u8],
        scratch: &mut Scratch,
    ) -> Heard {
        scratch.clear();
        let known = self.find(from);
        if !is_client_hello(datagram) {
            match known {
                Some(index) => self.feed(stats, now, index, scratch, |session, scratch| {
                    session.receive(now, datagram, scratch)
                }),
                None => stats.dtls_refused[DtlsRefusal::NoSession.index()] += 1,
            }
            return Heard::Done;
        }
        match self.gate.judge(&self.shared.crypto, now, from, datagram) {
            Judged::Cookie(answer) => {
                stats.dtls_cookies += 1;
                scratch.push_packet(&answer);
            }
            Judged::Admitted(admission) => {
                let same = known.filter(|&index| self.get(index).is_some_and(|one| one.cookie == admission.cookie));
                match same {
                    // Our flight was lost, or is still on its way.
                    Some(index) => self.feed(stats, now, index, scratch, |session, scratch| {
                        session.receive_again(now, &admission.second, scratch)
                    }),
                    None => {
                        if let Some(former) = known {
                            self.end(former, DtlsEnd::Replaced);
                        }
                        return Heard::Admitted(admission);
                    }
                }
            }
            Judged::Waiting => {}
            Judged::Refused(why, answer) => {
                stats.dtls_refused[why.index()] += 1;
                if let Some(answer) = answer {
                    scratch.push_packet(&answer);
                }
            }
        }
        Heard::Done
    }

    /// Opens a session for a client that has none (any more), within the bounds.
    pub(in crate::transport) fn open(
        &mut self,
        stats: &mut DriverStats,
        now: Instant,
        from: &FiveTuple,
        admission: &Admission,
        scratch: &mut Scratch,
    ) {
        scratch.clear();
        let opened = self.try_open(now, from, admission, scratch);
        let session = match opened {
            Ok(session) => session,
            Err(Unopened::Refused(why)) => {
                scratch.clear();
                stats.dtls_refused[why.index()] += 1;
                return;
            }
            Err(Unopened::Ended(why)) => {
                // What the library had to say goes out.
                stats.dtls_ended[why.index()] += 1;
                return;
            }
        };
        let serial = self.serial;
        self.serial += 1;
        stats.dtls_sessions[session.phase.index()] += 1;
        let index = match self.free.pop() {
            Some(index) => index,
            None => {
                self.slots.push(None);
                self.slots.len() as u32 - 1
            }
        };
        if let Some(slot) = self.slots.get_mut(index as usize) {
            *slot = Some(Box::new(session));
        }
        self.by_five_tuple.insert(*from, index);
        self.half_open += 1;
        self.handshakes.push_back((serial, index));
        self.forget_past_handshakes();
        self.schedule(index);
    }

    fn try_open(
        &mut self,
        now: Instant,
        from: &FiveTuple,
        admission: &Admission,
        scratch: &mut Scratch,
    ) -> Result<Session, Unopened> {
        let refused = |why| Err(Unopened::Refused(why));
        let Some(certificate) = self.shared.certificates.for_dtls() else {
            return refused(DtlsRefusal::NoCertificate);
        };
        let ip = from.client.0.ip();
        let place = match self.shared.sessions.admit(ip) {
            Ok(place) => place,
            Err(StreamRefusal::Client) => return refused(DtlsRefusal::Client),
            Err(_) => return refused(DtlsRefusal::Total),
        };
        let Ok(handshake) = self.shared.handshakes.admit(ip) else {
            return refused(DtlsRefusal::ClientHandshakes);
        };
        if self.half_open >= self.shared.share {
            // It has had the longest time; one that goes on answers within a round trip.
            self.evict_handshake();
        }
        let opening = Opening {
            five_tuple: *from,
            certificate,
            place,
            handshake,
            serial: self.serial,
        };
        Session::open(&self.shared.crypto, opening, admission, now, scratch).map_err(Unopened::Ended)
    }

    /// Ends the oldest handshake of this worker.
    fn evict_handshake(&mut self) {
        while let Some((serial, index)) = self.handshakes.pop_front() {
            if self.get(index).is_some_and(|one| is_handshake(one, serial)) {
                self.end(index, DtlsEnd::Evicted);
                return;
            }
        }
    }

    /// Keeps the list of handshakes as short as there are handshakes, or twice that.
    fn forget_past_handshakes(&mut self) {
        if self.handshakes.len() > 2 * self.shared.share + 16 {
            let slots = &self.slots;
            self.handshakes.retain(|&(serial, index)| {
                let one = slots.get(index as usize).and_then(Option::as_deref);
                one.is_some_and(|one| is_handshake(one, serial))
            });
        }
    }

    fn feed(
        &mut self,
        stats: &mut DriverStats,
        now: Instant,
        index: u32,
        scratch: &mut Scratch,
        give: impl FnOnce(&mut Session, &mut Scratch) -> Result<(), DtlsEnd>,
    ) {
        let Some(session) = self.get_mut(index) else { return };
        let was = session.phase;
        let result = give(session, scratch);
        if scratch.messages().next().is_some() {
            session.last_message = now;
        }
        let is = session.phase;
        if was != is {
            stats.dtls_sessions[was.index()] -= 1;
            stats.dtls_sessions[is.index()] += 1;
            stats.dtls_established += 1;
            session.last_message = now;
            self.half_open -= 1;
        } else if is == DtlsPhase::Established && result.is_ok() {
            let is_silent = scratch.messages().next().is_none() && scratch.packets().next().is_none();
            stats.dtls_discarded += u64::from(is_silent);
        }
        match result {
            Ok(()) => self.schedule(index),
            Err(why) => self.end(index, why),
        }
    }

    /// Seals a message for a client into [`Table::sealed`]; whether that could be done.
    pub(in crate::transport) fn seal(
        &mut self,
        now: Instant,
        to: &FiveTuple,
        prefix: &[u8],
        payload: &[u8],
        padding: u8,
    ) -> Result<(), Unsealed> {
        self.sealed.clear();
        let length = prefix.len() + payload.len() + usize::from(padding);
        if length > MAX_MESSAGE {
            return Err(Unsealed::TooLong);
        }
        let index = self.find(to).ok_or(Unsealed::Gone)?;
        let session = self.slots.get_mut(index as usize).and_then(Option::as_deref_mut);
        let session = session.filter(|one| one.end.is_none() && one.phase == DtlsPhase::Established);
        let session = session.ok_or(Unsealed::Gone)?;
        self.plain.clear();
        self.plain.extend_from_slice(prefix);
        self.plain.extend_from_slice(payload);
        self.plain.resize(length, 0);
        match session.seal(now, &self.plain, &mut self.sealed) {
            Ok(()) => {
                self.schedule(index);
                Ok(())
            }
            Err(why) => {
                self.end(index, why);
                Err(Unsealed::Gone)
            }
        }
    }

    /// Whether there is a session to end.
    #[inline]
    pub(in crate::transport) fn has_work(&self) -> bool {
        !self.ending.is_empty()
    }

    /// Closes the next session that is to end: whose it was. Its last words are in [`Table::sealed`].
    pub(in crate::transport) fn close_next(&mut self, stats: &mut DriverStats, now: Instant) -> Option<FiveTuple> {
        loop {
            let index = self.ending.pop()?;
            let Some(mut session) = self.slots.get_mut(index as usize).and_then(Option::take) else {
                continue;
            };
            session.farewell(now, &mut self.sealed);
            self.free.push(index);
            if self.by_five_tuple.get(&session.five_tuple) == Some(&index) {
                self.by_five_tuple.remove(&session.five_tuple);
            }
            stats.dtls_sessions[session.phase.index()] -= 1;
            stats.dtls_ended[session.end.unwrap_or(DtlsEnd::Fault).index()] += 1;
            return Some(session.five_tuple);
        }
    }

    /// Ends every session, as the process does.
    pub(in crate::transport) fn end_all(&mut self) {
        for index in 0..self.slots.len() as u32 {
            self.end(index, DtlsEnd::Shutdown);
        }
    }

    /// When [`Table::wake_next`] wants to be called.
    pub(in crate::transport) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.peek().map(|Reverse((due, ..))| *due)
    }

    /// Wakes the next session whose time has come: whose it is. `is_in_use` says whether a client has an allocation, and so
    /// keeps its session.
    pub(in crate::transport) fn wake_next(
        &mut self,
        now: Instant,
        is_in_use: impl Fn(&FiveTuple) -> bool,
        scratch: &mut Scratch,
    ) -> Option<FiveTuple> {
        let (handshake, idle) = (self.shared.bounds.handshake_timeout, self.shared.bounds.idle_timeout);
        loop {
            let &Reverse((due, serial, index)) = self.deadlines.peek()?;
            if due > now {
                return None;
            }
            self.deadlines.pop();
            let Some(session) = self.get_mut(index) else { continue };
            if session.serial != serial || session.scheduled != Some(due) {
                continue;
            }
            session.scheduled = None;
            let five_tuple = session.five_tuple;
            let mut result = session.wake(now, scratch);
            if let (Ok(()), Some(why)) = (&result, session.is_over(now, handshake, idle)) {
                if why == DtlsEnd::Idle && is_in_use(&five_tuple) {
                    // It starts anew when the allocation ends, within one patience.
                    session.last_message = now;
                } else {
                    result = Err(why);
                }
            }
            match result {
                Ok(()) => self.schedule(index),
                Err(why) => self.end(index, why),
            }
            return Some(five_tuple);
        }
    }

    /// Sees to it that a session is looked at when it is due.
    fn schedule(&mut self, index: u32) {
        let bounds = &self.shared.bounds;
        let Some(session) = self.slots.get_mut(index as usize).and_then(Option::as_deref_mut) else {
            return;
        };
        let due = session.due(bounds.handshake_timeout, bounds.idle_timeout);
        if session.end.is_some() || session.scheduled.is_some_and(|at| at <= due) {
            return;
        }
        session.scheduled = Some(due);
        self.deadlines.push(Reverse((due, session.serial, index)));
        if self.deadlines.len() > 4 * self.slots.len() + 64 {
            let slots = &self.slots;
            self.deadlines.retain(|Reverse((due, serial, index))| {
                let one = slots.get(*index as usize).and_then(Option::as_deref);
                one.is_some_and(|one| one.serial == *serial && one.scheduled == Some(*due))
            });
        }
    }

    fn end(&mut self, index: u32, why: DtlsEnd) {
        if let Some(session) = self.get_mut(index) {
            session.end = Some(why);
            let was_half_open = session.phase == DtlsPhase::Handshake;
            self.half_open -= usize::from(was_half_open);
            self.ending.push(index);
        }
    }

    fn find(&self, from: &FiveTuple) -> Option<u32> {
        self.by_five_tuple.get(from).copied()
    }

    fn get(&self, index: u32) -> Option<&Session> {
        let session = self.slots.get(index as usize)?.as_deref()?;
        session.end.is_none().then_some(session)
    }

    fn get_mut(&mut self, index: u32) -> Option<&mut Session> {
        let session = self.slots.get_mut(index as usize)?.as_deref_mut()?;
        session.end.is_none().then_some(session)
    }
}

/// Why a client got no session.
enum Unopened {
    Refused(DtlsRefusal),
    Ended(DtlsEnd),
}

/// Why a message was not sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::transport) enum Unsealed {
    /// Longer than a record.
    TooLong,
    /// There is no such session (any more).
    Gone,
}

fn is_handshake(session: &Session, serial: u64) -> bool {
    session.serial == serial && session.phase == DtlsPhase::Handshake && session.end.is_none()
}

impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Table")
            .field("sessions", &self.by_five_tuple.len())
            .finish_non_exhaustive()
    }
}
