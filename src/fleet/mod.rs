//! What the relays of several replicas tell each other: who is turned away, where they are, and how busy.
//!
//! What it is: a state machine beside the hub's. It says that this replica lives, hears who else does, publishes what an operator
//! of this replica changed about revocations, and does what operators of others changed. Replicas compare digests of what they
//! know with every sign of life; who lacks something asks for it, so that one that has started, or was cut off, catches up. Each
//! says where clients reach its relay and what that has to carry, so that all choose the same one for a room ([`Choice`]).
//!
//! What it is not: a message system (the driver's), nor the table of revocations ([`crate::turn::Revocations`]), which the relay
//! asks and which works without any of this.
//!
//! Invariants:
//! - No loops by construction: only [`Fleet::tell`], which an operator's order leads to, publishes a change. What comes from another
//!   replica changes the table, and is told to nobody but those who ask.
//! - What comes is judged strictly, since whoever writes to Redis is not quite trusted: signed by a secret of all replicas where
//!   there is one ([`Seals`]), said once and not long ago, bounded lists, bounded names, no time stamps of a distant future, in which
//!   nobody could be let in again. Whatever the bytes are, nothing worse happens than that they are counted, or that somebody is turned
//!   away.
//! - However often others say something else of their relays, the choice is made anew no more often than each [`CHOICE_PAUSE`].
//! - Every table is bounded: nodes by [`Config::nodes`], revocations by [`crate::turn::MAX_REVOCATIONS`], answers by
//!   [`ANSWERS`] in each heartbeat, one question under way at a time.

#![forbid(unsafe_code)]

mod choice;
mod message;
mod nodes;
mod pull;
mod relay;
mod seal;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hashbrown::HashMap;

use crate::credentials::Host;
use crate::signaling::NodeId;
use crate::turn::verdict::labels;
use crate::turn::{Change, Merged, Now, Revocations};
use message::Message;
use nodes::Node;
use pull::Pull;
use relay::Own;
use seal::Broken;

pub use choice::{Choice, Chosen, MAX_FURTHER, Pair, PairKey, RoomKey};
pub use message::{MAX_CHANGES, MAX_NAME_BYTES};
pub use relay::{Announced, Busy, Dead, Load, MAX_HOSTS, MAX_LABEL, MAX_LISTENERS, MAX_WEIGHT, Relay, Standing};
pub use seal::Seals;

/// Most questions of others that are answered in one heartbeat, each with at most [`MAX_CHANGES`] changes.
pub const ANSWERS: u32 = 256;

/// Shortest time between two choices that are made because others said something. What this replica itself changes counts at once.
pub const CHOICE_PAUSE: Duration = Duration::from_millis(250);

/// How far the clock of a replica may be from this one's, either way, and how long a message is good for, milliseconds.
const MAX_SKEW_MS: u64 = 300_000;

/// A change that was made later than this from now was not made by a replica with a clock, milliseconds.
const MAX_AHEAD_MS: u64 = 24 * 3_600 * 1_000;

/// Where a message for other replicas goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FleetTopic {
    /// Every replica listens to this.
    Everybody,
    /// One replica listens to this.
    Node(NodeId),
}

/// How a replica lives with others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// This process.
    pub node: NodeId,
    /// How often it says that it lives. Default 2 s.
    pub heartbeat: Duration,
    /// After how long without a word another one counts as dead. Default 7 s.
    pub node_timeout: Duration,
    /// Other replicas that are listened to. Default 64.
    pub nodes: usize,
    /// Names and addresses that lead to this replica's relay and to no other. Default none: it is given to no room.
    pub hosts: Vec<Host>,
    /// Where it is, for operators to see. Default empty.
    pub region: Box<str>,
    /// Its share of the rooms beside others. Default 100.
    pub weight: u16,
    /// When it is busy.
    pub busy: Busy,
    /// What all replicas sign with. Default nothing.
    pub seals: Seals,
}

impl Config {
    /// The defaults for that node.
    pub fn new(node: NodeId) -> Self {
        Self {
            node,
            heartbeat: Duration::from_secs(2),
            node_timeout: Duration::from_secs(7),
            nodes: 64,
            hosts: Vec::new(),
            region: Box::default(),
            weight: 100,
            busy: Busy::default(),
            seals: Seals::default(),
        }
    }
}

/// What the driver has to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Publish this.
    Publish {
        /// To whom.
        topic: FleetTopic,
        /// What.
        payload: Bytes,
    },
    /// Somebody is turned away who was not: end what they hold of the relay.
    Sweep,
    /// Rooms are given relays by [`Fleet::choice`] as it is now.
    Chosen,
}

labels! {
    /// How a change of the revocations came to this replica.
    ChangeOrigin {
        /// Its own operator made it.
        Here = "here",
        /// Another replica told of it as it was made.
        Elsewhere = "elsewhere",
        /// This replica had missed it, and asked.
        Missed = "missed",
    }
}

/// What happened so far, and how many others there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Other replicas that live.
    pub nodes: u64,
    /// Messages that were broken, or said what no replica says.
    pub malformed: u64,
    /// Messages that nobody signed who shares a secret with this replica.
    pub forged: u64,
    /// Messages that were said before, or at another time than now.
    pub stale: u64,
    /// Messages of replicas that were one more than may be.
    pub turned_away: u64,
    /// Changes of revocations, by [`ChangeOrigin`].
    pub changes: [u64; ChangeOrigin::COUNT],
    /// Changes of other replicas for which there was no room.
    pub full: u64,
    /// Questions of other replicas that were not answered, because there were too many.
    pub unanswered: u64,
    /// Questions that were asked of other replicas.
    pub asked: u64,
    /// Announcements of relays of others.
    pub announcements: u64,
    /// How often the choice was made anew, and how many changes waited for the next time.
    pub choices: u64,
    /// See [`Self::choices`].
    pub postponed: u64,
    /// Clients of the hub that were given newer lists because their room has another relay.
    pub moved: u64,
    /// Relays by what they take, this one among them, as of the last choice.
    pub relays: [u64; Standing::COUNT],
    /// What this one has to carry.
    pub load: Load,
}

/// This replica among the others.
#[derive(Debug)]
pub struct Fleet {
    config: Config,
    revocations: Revocations,
    connected: bool,
    next_beat: Option<Instant>,
    nodes: HashMap<NodeId, Node, foldhash::fast::RandomState>,
    pull: Option<Pull>,
    answers: u32,
    own: Option<Own>,
    /// There is another choice, and the driver has not been told.
    chosen: bool,
    /// There would be, and others are waited for.
    changed: bool,
    /// When there may be one because of others.
    choose_again: Option<Instant>,
    /// The time of the last call, and of the last message: no two have the same.
    clock_ms: u64,
    stamp: u64,
    outputs: VecDeque<Output>,
    sweep: bool,
    stats: Stats,
}

impl Fleet {
    /// Alone, until [`Self::bus_connected`].
    pub fn new(config: Config, revocations: Revocations) -> Self {
        Self {
            config,
            revocations,
            connected: false,
            next_beat: None,
            nodes: HashMap::default(),
            pull: None,
            answers: ANSWERS,
            own: None,
            chosen: false,
            changed: false,
            choose_again: None,
            clock_ms: 0,
            stamp: 0,
            outputs: VecDeque::new(),
            sweep: false,
            stats: Stats::default(),
        }
    }

    /// What is published reaches the others from now on. All of them say at once what they know.
    pub fn bus_connected(&mut self, now: Now) {
        self.clock_ms = unix_ms(now);
        self.connected = true;
        self.pull = None;
        for node in self.nodes.values_mut() {
            node.forgive(now);
        }
        self.beat(now, true);
    }

    /// It does not any more. What operators change meanwhile others find out by comparison, later.
    pub fn bus_lost(&mut self) {
        self.connected = false;
        self.next_beat = None;
        self.pull = None;
    }

    /// An operator of this replica has changed something: all others shall do so, too. The one way to publish a change.
    pub fn tell(&mut self, change: &Change) {
        self.stats.changes[ChangeOrigin::Here.index()] += 1;
        let message = Message::Told {
            changes: vec![change.clone()],
        };
        self.publish(FleetTopic::Everybody, &message);
    }

    /// Something that was published to this replica or to all of them, its own messages too.
    pub fn handle_remote(&mut self, now: Now, payload: &[u8]) {
        if !self.connected {
            return;
        }
        self.clock_ms = unix_ms(now);
        let message = match self.config.seals.open(payload) {
            Ok(message) => Message::decode(message),
            Err(Broken::Malformed) => None,
            Err(Broken::Forged) => {
                self.stats.forged += 1;
                return;
            }
        };
        match message {
            Some(((node, _), _)) if node == self.config.node => {}
            Some(((_, stamp), _)) if stamp.abs_diff(self.clock_ms) > MAX_SKEW_MS => self.stats.stale += 1,
            Some(((node, stamp), message)) => {
                if self.note(now, node, stamp) {
                    self.handle_message(now, node, message);
                }
            }
            None => self.stats.malformed += 1,
        }
        self.choose(now);
    }

    /// Has the driver make the choice anew if there is another one, but not too often.
    fn choose(&mut self, now: Now) {
        if self.changed && self.choose_again.is_none_or(|at| at <= now.instant) {
            self.choose_again = Some(now.instant + CHOICE_PAUSE);
            self.choose_now();
        }
    }

    fn choose_now(&mut self) {
        self.changed = false;
        self.chosen = true;
        self.stats.choices += 1;
        let mut relays = [0; Standing::COUNT];
        for (_, announced) in self.relays() {
            relays[announced.standing.index()] += 1;
        }
        self.stats.relays = relays;
    }

    /// Others have changed something.
    fn note_change(&mut self) {
        self.stats.postponed += u64::from(self.changed);
        self.changed = true;
    }

    /// Clients of the hub were given newer lists because their rooms have other relays.
    pub fn note_moved(&mut self, clients: u64) {
        self.stats.moved += clients;
    }

    fn handle_message(&mut self, now: Now, node: NodeId, message: Message) {
        match message {
            Message::Alive { hello, digests } => {
                if hello {
                    let own = self.revocations.digests(now.unix);
                    let message = Message::Alive {
                        hello: false,
                        digests: Box::new(own),
                    };
                    self.publish(FleetTopic::Node(node), &message);
                    self.announce(FleetTopic::Node(node));
                }
                self.compare(now, node, &digests);
            }
            Message::Told { changes } => {
                for change in changes {
                    let is_news = self.merge(now, change);
                    self.stats.changes[ChangeOrigin::Elsewhere.index()] += u64::from(is_news);
                }
            }
            Message::Ask { part, after } => self.answer(now, node, part, after.as_ref()),
            Message::Relay(announced) => self.handle_announced(node, *announced),
            Message::Part { part, more, changes } => self.handle_part(now, node, part, more, changes),
        }
    }

    /// Does what another replica did; whether that was news.
    fn merge(&mut self, now: Now, change: Change) -> bool {
        if change.stamp > now.unix.0.saturating_mul(1_000).saturating_add(MAX_AHEAD_MS) {
            self.stats.malformed += 1;
            return false;
        }
        match self.revocations.merge(now.unix, change) {
            Ok(Merged::Revoked) => {
                self.sweep = true;
                true
            }
            Ok(Merged::Lifted) => true,
            Ok(Merged::Known) => false,
            Err(_full) => {
                self.stats.full += 1;
                false
            }
        }
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Now) {
        self.clock_ms = unix_ms(now);
        self.bury(now);
        self.choose(now);
        self.give_up_pull(now);
        if self.next_beat.is_some_and(|at| at <= now.instant) {
            self.answers = ANSWERS;
            self.beat(now, false);
        }
    }

    /// When [`Self::handle_timeout`] has something to do next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let heard = self.nodes.values().filter(|_| self.connected).map(|node| node.heard);
        let expiry = heard.map(|heard| heard + self.config.node_timeout);
        let pull = self.pull.as_ref().map(|pull| pull.deadline);
        let choice = self.choose_again.filter(|_| self.changed);
        expiry.chain(pull).chain(choice).chain(self.next_beat).min()
    }

    /// What the driver has to do next.
    pub fn poll_output(&mut self) -> Option<Output> {
        if std::mem::take(&mut self.chosen) {
            return Some(Output::Chosen);
        }
        if std::mem::take(&mut self.sweep) {
            return Some(Output::Sweep);
        }
        self.outputs.pop_front()
    }

    /// What happened so far.
    pub fn stats(&self) -> Stats {
        Stats {
            nodes: self.nodes.len() as u64,
            load: self.own.as_ref().map(|own| own.announced.load).unwrap_or_default(),
            ..self.stats
        }
    }

    fn beat(&mut self, now: Now, hello: bool) {
        self.next_beat = Some(now.instant + self.config.heartbeat);
        let digests = Box::new(self.revocations.digests(now.unix));
        self.publish(FleetTopic::Everybody, &Message::Alive { hello, digests });
        self.announce(FleetTopic::Everybody);
    }

    /// The way out: there is none while the bus is lost.
    fn publish(&mut self, topic: FleetTopic, message: &Message) {
        if self.connected {
            self.stamp = self.clock_ms.max(self.stamp + 1);
            let payload = message.encode(self.config.node, self.stamp);
            let payload = self.config.seals.seal(&payload);
            self.outputs.push_back(Output::Publish { topic, payload });
        }
    }
}

fn unix_ms(now: Now) -> u64 {
    now.unix.0.saturating_mul(1_000)
}

#[cfg(test)]
mod tests;
