//! Data connections from their beginning to their end (RFC 6062 §5.5), and what may pass by them.
//!
//! Every way out goes through [`Server::forget_connection`], which is where the allocation's list, the counters and the place in
//! the ledger are given back.

use super::connection::{ConnectionKey, ConnectionState, PeerConnection};
use super::five_tuple::Family;
use super::input::Now;
use super::output::Output;
use super::server::Server;
use super::verdict::{Answer, CloseReason, ConnectionEnd, Direction, DropReason, Initiator, Verdict};

/// Less is not worth a system call: a connection waits until its limits let so much pass.
const LEAST: usize = 512;

impl Server {
    /// Enters a connection, to be bound within its time.
    pub(super) fn open_connection(&mut self, connection: PeerConnection, by: Initiator) -> ConnectionKey {
        let index = connection.allocation;
        let key = self.connections.insert(connection);
        if let Some(allocation) = self.allocations.get_mut(index) {
            allocation.connections.push(key);
        }
        self.stats.connections_opened[by.index()] += 1;
        self.stats.connections_pending += 1;
        key
    }

    /// Takes a connection out, counted. Whoever calls owes its Connect request an answer, if it waits for one.
    pub(super) fn forget_connection(&mut self, key: ConnectionKey, end: ConnectionEnd) -> Option<PeerConnection> {
        let connection = self.connections.remove(key)?;
        if let Some(allocation) = self.allocations.get_mut(connection.allocation) {
            allocation.connections.retain(|other| *other != key);
        }
        match connection.state {
            ConnectionState::Bound(_) => self.stats.connections_active -= 1,
            ConnectionState::Connecting { .. } | ConnectionState::Unbound { .. } => self.stats.connections_pending -= 1,
        }
        self.stats.connections_ended[end.index()] += 1;
        Some(connection)
    }

    /// The driver says that a connection is over: both its sockets are closed, or will be at once.
    pub fn handle_connection_ended(&mut self, now: Now, key: ConnectionKey, end: ConnectionEnd) {
        self.expire(now);
        let Some(connection) = self.forget_connection(key, end) else {
            return;
        };
        if matches!(connection.state, ConnectionState::Connecting { .. }) {
            // Only `handle_peer_connected` speaks of these; a request is owed an end all the same.
            self.settle(Verdict::Dropped(DropReason::ClientGone));
        }
    }

    /// Ends those connections of an allocation that `fits` names. A Connect request that waits gets `answer`, if any.
    pub(super) fn close_connections(
        &mut self,
        index: u32,
        fits: impl Fn(&PeerConnection) -> bool,
        end: ConnectionEnd,
        answer: Option<Answer>,
    ) {
        let Some(allocation) = self.allocations.get(index) else {
            return;
        };
        let is_meant = |key: &ConnectionKey| self.connections.get(*key).is_some_and(&fits);
        let keys: Vec<_> = allocation.connections.iter().copied().filter(is_meant).collect();
        for key in keys {
            self.outputs.ask(Output::CloseConnection { connection: key });
            let ended = self.forget_connection(key, end);
            if let Some(ConnectionState::Connecting { waiting, .. }) = ended.map(|connection| connection.state) {
                let (request, signer) = *waiting;
                let verdict = match answer {
                    None => Verdict::Dropped(DropReason::ClientGone),
                    Some(answer) => self.refuse(&request, answer.into(), &signer),
                };
                self.settle(verdict);
            }
        }
    }

    /// Ends the connections of an allocation that ends for this reason, with one of its families or whole.
    pub(super) fn close_connections_of(&mut self, index: u32, family: Option<Family>, reason: CloseReason) {
        let of_family = |connection: &PeerConnection| family.is_none_or(|family| connection.family() == family);
        let answer = (reason != CloseReason::ClientGone).then_some(Answer::ConnectionTimeoutOrFailure);
        self.close_connections(index, of_family, ConnectionEnd::AllocationEnded, answer);
    }

    /// Ends the connections of an allocation whose time is up: a peer that does not answer, a client that does not bind.
    pub(super) fn expire_connections(&mut self, now: Now, index: u32) {
        let Some(allocation) = self.allocations.get(index) else {
            return;
        };
        if allocation.connections.is_empty() {
            return;
        }
        let is_due = |key: &ConnectionKey| {
            let expires = self.connections.get(*key).and_then(PeerConnection::expires);
            expires.is_some_and(|expires| expires <= now.instant)
        };
        let keys: Vec<_> = allocation.connections.iter().copied().filter(is_due).collect();
        for key in keys {
            self.outputs.ask(Output::CloseConnection { connection: key });
            let state = self.connections.get(key).map(|connection| &connection.state);
            match state {
                Some(ConnectionState::Connecting { .. }) => self.fail_connect(now, key, ConnectionEnd::ConnectTimeout),
                _ => _ = self.forget_connection(key, ConnectionEnd::Unbound),
            }
        }
    }

    /// How many bytes, of at most `most`, may be read of a data connection now: 0 while a limit is reached, to be asked again a
    /// little later. What is granted is taken from the limits; [`Server::handle_passed`] says what came of it.
    pub fn grant(&mut self, now: Now, key: ConnectionKey, direction: Direction, most: usize) -> usize {
        if !self.meter.is_on() {
            return most;
        }
        let way = direction.index();
        while let Some(owed) = self.connections.get(key).map(|connection| connection.owed[way])
            && owed > 0
        {
            let paid = self.take(now, key, direction, owed.min(most));
            if paid == 0 {
                return 0;
            }
            if let Some(connection) = self.connections.get_mut(key) {
                connection.owed[way] -= paid;
            }
        }
        self.take(now, key, direction, most)
    }

    /// Takes as much as the limits let pass, at most `most`; 0, counted, if it is not worth it.
    fn take(&mut self, now: Now, key: ConnectionKey, direction: Direction, most: usize) -> usize {
        let Some(index) = self.connections.get(key).map(|connection| connection.allocation) else {
            return 0;
        };
        let mut amount = most;
        loop {
            let Err(kind) = self.try_charge(now, index, direction, amount) else {
                return amount;
            };
            if amount <= LEAST {
                self.stats.connection_pauses[direction.index()][kind.index()] += 1;
                return 0;
            }
            amount = (amount / 2).max(LEAST);
        }
    }

    /// `used` bytes were read of a data connection, of the `granted` that were allowed. Counts them. More can come than was
    /// granted, because a record of TLS comes whole or not at all: the rest is owed, and paid before more is granted.
    pub fn handle_passed(&mut self, now: Now, key: ConnectionKey, direction: Direction, granted: usize, used: usize) {
        let Some(connection) = self.connections.get(key) else {
            return;
        };
        let ConnectionState::Bound(transport) = connection.state else {
            return;
        };
        let index = connection.allocation;
        if used != granted && self.meter.is_on() {
            if granted > 0 {
                self.refund(index, direction, granted);
            }
            if used > 0
                && self.try_charge(now, index, direction, used).is_err()
                && let Some(connection) = self.connections.get_mut(key)
            {
                connection.owed[direction.index()] += used;
            }
        }
        if used > 0 {
            self.stats.add_traffic(direction, transport, used);
            self.add_own(index, direction, used);
        }
    }
}
