//! Who else lives.

use std::time::Instant;

use super::Fleet;
use crate::signaling::NodeId;
use crate::turn::Now;

/// Another replica.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) heard: Instant,
    /// It is not asked before.
    pub(super) ask_again: Instant,
    /// How often in a row it differed, was asked, and had no news.
    pub(super) in_vain: u32,
}

impl Node {
    /// Whatever came of earlier questions.
    pub(super) fn forgive(&mut self, now: Now) {
        self.in_vain = 0;
        self.ask_again = now.instant;
    }
}

impl Fleet {
    /// A replica has said something. False: there are more than may be.
    pub(super) fn note(&mut self, now: Now, node: NodeId) -> bool {
        if let Some(known) = self.nodes.get_mut(&node) {
            known.heard = now.instant;
            return true;
        }
        if self.nodes.len() >= self.config.nodes {
            self.stats.turned_away += 1;
            return false;
        }
        let new = Node {
            heard: now.instant,
            ask_again: now.instant,
            in_vain: 0,
        };
        self.nodes.insert(node, new);
        true
    }

    /// Those who were silent for too long are dead.
    pub(super) fn bury(&mut self, now: Now) {
        let timeout = self.config.node_timeout;
        self.nodes.retain(|_, node| node.heard + timeout > now.instant);
    }
}
