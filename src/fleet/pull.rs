//! How a replica catches up: digests differ, so it asks for the parts that do, piece by piece.
//!
//! Both sides compare, so each asks for what it lacks and nobody sends what nobody asked for. Tables that cannot become alike, because
//! one of them is full, are not asked about more and more often in vain.

use std::time::{Duration, Instant};

use super::message::{MAX_CHANGES, Message};
use super::{ChangeOrigin, Fleet, FleetTopic};
use crate::signaling::NodeId;
use crate::turn::{Change, Digests, Now, PARTS, Revoked};

/// Most answers that one catching up takes: twice what a full table needs.
const MAX_PIECES: u32 = 2 * (crate::turn::MAX_REVOCATIONS / MAX_CHANGES) as u32 + PARTS as u32;

/// Longest pause before a replica is asked again in vain.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// A catching up that is under way.
#[derive(Debug)]
pub(super) struct Pull {
    node: NodeId,
    /// The part that was asked for, and those that differ as well.
    part: u8,
    left: Vec<u8>,
    after: Option<Revoked>,
    pieces: u32,
    news: u64,
    /// The answer has to be here.
    pub(super) deadline: Instant,
}

impl Fleet {
    /// Asks a replica that has said what it knows for what may be missing here, unless one is being asked.
    pub(super) fn compare(&mut self, now: Now, node: NodeId, digests: &Digests) {
        let may_ask = self.nodes.get(&node).is_some_and(|node| node.ask_again <= now.instant);
        if self.pull.is_some() || !may_ask {
            return;
        }
        let own = self.revocations.digests(now.unix);
        let differing = own
            .iter()
            .zip(digests)
            .enumerate()
            .filter(|(_, (own, other))| own != other);
        let mut left: Vec<u8> = differing.filter_map(|(part, _)| u8::try_from(part).ok()).collect();
        let Some(part) = left.pop() else {
            if let Some(node) = self.nodes.get_mut(&node) {
                node.in_vain = 0;
            }
            return;
        };
        self.pull = Some(Pull {
            node,
            part,
            left,
            after: None,
            pieces: 0,
            news: 0,
            deadline: now.instant,
        });
        self.ask(now);
    }

    fn ask(&mut self, now: Now) {
        let Some(pull) = &mut self.pull else { return };
        pull.deadline = now.instant + self.config.heartbeat;
        let message = Message::Ask {
            part: pull.part,
            after: pull.after.clone(),
        };
        let node = pull.node;
        self.stats.asked += 1;
        self.publish(FleetTopic::Node(node), &message);
    }

    /// Tells a replica what it asks for.
    pub(super) fn answer(&mut self, now: Now, node: NodeId, part: u8, after: Option<&Revoked>) {
        let Some(left) = self.answers.checked_sub(1) else {
            self.stats.unanswered += 1;
            return;
        };
        self.answers = left;
        let (changes, more) = self.revocations.changes(now.unix, part.into(), after, MAX_CHANGES);
        self.publish(FleetTopic::Node(node), &Message::Part { part, more, changes });
    }

    pub(super) fn handle_part(&mut self, now: Now, node: NodeId, part: u8, more: bool, changes: Vec<Change>) {
        let is_awaited = |pull: &Pull| {
            let first = changes.first().map(|change| &change.who);
            // Nobody who is asked again and again goes back: every piece is behind the last one.
            pull.node == node && pull.part == part && (first.is_none() || first > pull.after.as_ref())
        };
        if !self.pull.as_ref().is_some_and(is_awaited) {
            return;
        }
        let last = changes.last().map(|change| change.who.clone());
        let mut news = 0;
        for change in changes {
            news += u64::from(self.merge(now, change));
        }
        self.stats.changes[ChangeOrigin::Missed.index()] += news;
        let Some(pull) = &mut self.pull else { return };
        pull.news += news;
        pull.pieces += 1;
        let next = match last {
            Some(last) if more => Some((part, Some(last))),
            _ => pull.left.pop().map(|part| (part, None)),
        };
        match next {
            Some((part, after)) if pull.pieces < MAX_PIECES => {
                (pull.part, pull.after) = (part, after);
                self.ask(now);
            }
            _ => self.end_pull(now),
        }
    }

    /// An answer that has not come does not come.
    pub(super) fn give_up_pull(&mut self, now: Now) {
        if self.pull.as_ref().is_some_and(|pull| pull.deadline <= now.instant) {
            self.end_pull(now);
        }
    }

    fn end_pull(&mut self, now: Now) {
        let Some(pull) = self.pull.take() else { return };
        let heartbeat = self.config.heartbeat;
        if let Some(node) = self.nodes.get_mut(&pull.node) {
            node.in_vain = if pull.news > 0 {
                0
            } else {
                node.in_vain.saturating_add(1)
            };
            let pause = match node.in_vain {
                0 => Duration::ZERO,
                times => heartbeat
                    .saturating_mul(1_u32.checked_shl(times).unwrap_or(u32::MAX))
                    .min(LONGEST_PAUSE),
            };
            node.ask_again = now.instant + pause;
        }
    }
}
