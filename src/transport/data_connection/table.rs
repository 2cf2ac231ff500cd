//! The data connections of one worker, by the core's key, and when to look at them.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::pair::Pair;
use crate::turn::{ConnectionKey, RelayId};

/// How long a connection waits when a limit is reached: what a slow line takes for one packet.
pub(crate) const PAUSE: Duration = Duration::from_millis(10);
/// So many waiting ones double the wait, and so on: what asking costs stays bounded.
const PAUSES_AT_ONCE: usize = 256;
/// How long a relay that could not accept a connection is left alone.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How far a data connection is.
#[derive(Debug)]
pub(crate) enum DataConnection {
    /// The peer has not answered.
    Connecting(TcpStream),
    /// The client has not bound it.
    Waiting(TcpStream),
    /// Both are there.
    Joined(Box<Pair>),
}

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Pause { key: ConnectionKey, serial: u64 },
    Patience { key: ConnectionKey, serial: u64 },
    Relay(RelayId),
}

#[derive(Debug)]
struct Slot {
    connection: DataConnection,
    /// Different for every connection the worker ever had.
    serial: u64,
    /// The entries in the deadlines that count.
    pause: Option<Instant>,
    patience: Option<Instant>,
}

/// The data connections of one worker.
#[derive(Debug, Default)]
pub(crate) struct DataConnections {
    slots: Vec<Option<Slot>>,
    serial: u64,
    deadlines: BinaryHeap<Reverse<(Instant, Due)>>,
}

/// Somebody whose time has come.
pub(crate) enum Awake {
    Connection(ConnectionKey),
    /// Accepts again.
    Relay(RelayId),
}

impl DataConnections {
    pub(crate) fn insert(&mut self, key: ConnectionKey, connection: DataConnection) {
        if key.index() >= self.slots.len() {
            self.slots.resize_with(key.index() + 1, || None);
        }
        self.serial += 1;
        if let Some(slot) = self.slots.get_mut(key.index()) {
            *slot = Some(Slot {
                connection,
                serial: self.serial,
                pause: None,
                patience: None,
            });
        }
    }

    pub(crate) fn remove(&mut self, key: ConnectionKey) -> Option<DataConnection> {
        Some(self.slots.get_mut(key.index())?.take()?.connection)
    }

    pub(crate) fn get_mut(&mut self, key: ConnectionKey) -> Option<&mut DataConnection> {
        Some(&mut self.slots.get_mut(key.index())?.as_mut()?.connection)
    }

    /// How long a connection that reached a limit is to wait.
    pub(crate) fn pause(&self) -> Duration {
        PAUSE * (1 + (self.deadlines.len() / PAUSES_AT_ONCE) as u32)
    }

    /// Looks at a connection when its pause is over, and when its patience is. An entry that is there already stands for a later
    /// wish: when it comes up the connection is asked anew.
    pub(crate) fn wake_at(&mut self, key: ConnectionKey, pause: Option<Instant>, patience: Option<Instant>) {
        let Some(slot) = self.slots.get_mut(key.index()).and_then(Option::as_mut) else {
            return;
        };
        let serial = slot.serial;
        let wishes = [
            (&mut slot.pause, pause, Due::Pause { key, serial }),
            (&mut slot.patience, patience, Due::Patience { key, serial }),
        ];
        for (held, wish, due) in wishes {
            if let Some(at) = wish
                && held.is_none_or(|held| at < held)
            {
                *held = Some(at);
                self.deadlines.push(Reverse((at, due)));
            }
        }
    }

    /// Lets a relay accept again after a while.
    pub(crate) fn accept_later(&mut self, relay: RelayId, now: Instant) {
        self.deadlines.push(Reverse((now + ACCEPT_PAUSE, Due::Relay(relay))));
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.peek().map(|Reverse((at, _))| *at)
    }

    /// The next one whose time has come.
    pub(crate) fn next_awake(&mut self, now: Instant) -> Option<Awake> {
        loop {
            self.next_deadline().filter(|at| *at <= now)?;
            let Reverse((at, due)) = self.deadlines.pop()?;
            let (key, serial, is_pause) = match due {
                Due::Relay(relay) => return Some(Awake::Relay(relay)),
                Due::Pause { key, serial } => (key, serial, true),
                Due::Patience { key, serial } => (key, serial, false),
            };
            let slot = self.slots.get_mut(key.index()).and_then(Option::as_mut);
            let Some(slot) = slot.filter(|slot| slot.serial == serial) else {
                continue;
            };
            let held = if is_pause { &mut slot.pause } else { &mut slot.patience };
            if *held == Some(at) {
                *held = None;
                return Some(Awake::Connection(key));
            }
        }
    }
}
