//! Who relays most, and who is refused most, lately: for an operator who looks for an abuser, within a fixed amount of memory.
//!
//! What it is: for each minute of the last hour sketches of who did how much ([`counts`]), fed by the events of the relay and by looks at
//! the living allocations; never by a packet.
//! What it is not: a bill (that is `usage`), nor a metric: a user or an address is no label.
//!
//! Invariants:
//! - What is said of somebody lies between two bounds that are told, and so is what anybody did at most who is not named.
//! - [`KEPT`] names for each of fifteen questions and each minute, however many users and addresses come.
//! - A byte counts once, in the minute in which a look or the end of its allocation shows it.

pub mod counts;
mod sketch;

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use counts::Counts;

use crate::turn::{AllocationView, Event};

pub use sketch::KEPT;

/// Whole minutes that can be asked for.
pub const MINUTES: u64 = 60;

/// What is counted.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum By {
    /// Payload bytes, both directions.
    Bytes,
    /// Payload packets, both directions.
    Packets,
    /// Allocations that began.
    Allocations,
    /// Peers that were refused.
    Denied,
    /// Credentials that were turned away.
    AuthFailures,
}

/// Who is told apart.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Per {
    /// Users of a realm, as quotas count.
    User,
    /// Client addresses.
    Client,
    /// Realms.
    Realm,
}

impl By {
    /// All there are.
    pub const ALL: [Self; 5] = [
        Self::Bytes,
        Self::Packets,
        Self::Allocations,
        Self::Denied,
        Self::AuthFailures,
    ];

    /// As it is asked for.
    pub const fn as_label(self) -> &'static str {
        match self {
            Self::Bytes => "bytes",
            Self::Packets => "packets",
            Self::Allocations => "allocations",
            Self::Denied => "denied",
            Self::AuthFailures => "auth_failures",
        }
    }

    /// Whether it takes a look at the living allocations to know it to the moment.
    pub const fn is_of_living(self) -> bool {
        matches!(self, Self::Bytes | Self::Packets)
    }
}

impl Per {
    /// All there are.
    pub const ALL: [Self; 3] = [Self::User, Self::Client, Self::Realm];

    /// As it is asked for.
    pub const fn as_label(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Client => "client",
            Self::Realm => "realm",
        }
    }
}

/// Somebody.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Who {
    /// A user and the realm it is of.
    User {
        /// The realm.
        realm: Box<str>,
        /// The user.
        user: Box<str>,
    },
    /// A client's address.
    Client(IpAddr),
    /// A realm.
    Realm(Box<str>),
}

/// How much somebody did: between two bounds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Talker {
    /// Who.
    pub who: Who,
    /// Not less than this.
    pub at_least: u64,
    /// Not more than this.
    pub at_most: u64,
}

/// What is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Question {
    /// What is counted.
    pub by: By,
    /// Who is told apart.
    pub per: Per,
    /// Whole minutes before the one that runs, which counts as well: at most [`MINUTES`].
    pub window: u64,
    /// How many are to be named: at most [`KEPT`].
    pub most: usize,
}

/// Who did most.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Top {
    /// Those who may have done most first.
    pub talkers: Vec<Talker>,
    /// What anybody did at most who was left out of the counts for want of room; zero where all are in them.
    pub others_at_most: u64,
    /// Over how long.
    pub over: Duration,
}

/// The counts and their clock. Clones share.
#[derive(Clone, Debug)]
pub struct Talkers(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    since: Instant,
    /// Held for as long as one event or one page of a look takes; no thread that serves packets asks for it.
    counts: Mutex<Counts>,
}

impl Talkers {
    pub(super) fn new() -> Self {
        Self(Arc::new(Shared {
            since: Instant::now(),
            counts: Mutex::default(),
        }))
    }

    pub(super) fn handle_event(&self, event: &Event) {
        // The minute is read under the lock: it never goes back there.
        let mut counts = self.counts();
        counts.handle_event(self.minute(), event);
    }

    /// A look at all living allocations begins; there is one at a time.
    pub fn begin_look(&self) {
        self.counts().begin_look();
    }

    /// Takes some of what the look has found.
    pub fn handle_living(&self, views: &[AllocationView]) {
        let mut counts = self.counts();
        let minute = self.minute();
        for view in views {
            counts.handle_living(minute, view);
        }
    }

    /// The look is over; `whole` if it has found all that live.
    pub fn end_look(&self, whole: bool) {
        self.counts().end_look(whole);
    }

    /// Who did most lately.
    pub fn top(&self, question: Question) -> Top {
        let counts = self.counts();
        let passed = self.0.since.elapsed();
        let (talkers, others_at_most) = counts.top(passed.as_secs() / 60, question);
        let window = Duration::from_secs(question.window * 60 + passed.as_secs() % 60);
        Top {
            talkers,
            others_at_most,
            over: window.min(passed),
        }
    }

    fn minute(&self) -> u64 {
        self.0.since.elapsed().as_secs() / 60
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
