//! Who else lives.

use std::time::Instant;

use super::message::Message;
use super::relay::{Announced, Load, MAX_HOSTS, MAX_LISTENERS, MAX_WEIGHT, Relay, Standing};
use super::{Choice, Fleet, FleetTopic};
use crate::credentials::Advertised;
use crate::signaling::NodeId;
use crate::turn::Now;

/// Another replica.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) heard: Instant,
    /// It is not asked before.
    pub(super) ask_again: Instant,
    /// Its relay, once it has said something of it.
    pub(super) announced: Option<Announced>,
    /// How often in a row it differed, was asked, and had no news.
    pub(super) in_vain: u32,
}

impl Node {
    /// Whatever came of earlier questions, and however long nothing could be heard of it.
    pub(super) fn forgive(&mut self, now: Now) {
        self.heard = now.instant;
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
            announced: None,
            in_vain: 0,
        };
        self.nodes.insert(node, new);
        true
    }

    /// Those who were silent for too long are dead. While nobody can be heard nobody is: what is known of relays stays, so that rooms keep
    /// theirs while Redis is away.
    pub(super) fn bury(&mut self, now: Now) {
        if !self.connected {
            return;
        }
        let timeout = self.config.node_timeout;
        let mut gone = false;
        self.nodes.retain(|_, node| {
            let lives = node.heard + timeout > now.instant;
            gone |= !lives && node.announced.is_some();
            lives
        });
        self.changed |= gone;
    }

    /// A replica has said what its relay is.
    pub(super) fn handle_announced(&mut self, node: NodeId, announced: Announced) {
        self.stats.announcements += 1;
        let Some(node) = self.nodes.get_mut(&node) else { return };
        let is_as_before = |known: &Announced| (&known.relay, known.standing) == (&announced.relay, announced.standing);
        // Its load alone moves no room.
        self.changed |= !node.announced.as_ref().is_some_and(is_as_before);
        node.announced = Some(announced);
    }

    /// This replica's relay listens, from now on.
    pub fn open(&mut self, listeners: &[Advertised], version: &str) {
        let config = &self.config;
        let relay = Relay {
            hosts: config.hosts.iter().take(MAX_HOSTS).cloned().collect(),
            listeners: listeners.iter().take(MAX_LISTENERS).copied().collect(),
            weight: config.weight.clamp(1, MAX_WEIGHT),
            region: config.region.clone(),
            version: version.into(),
        };
        let (standing, load) = (Standing::Open, Load::default());
        self.own = Some(Announced { relay, standing, load });
        self.changed = true;
        self.announce(FleetTopic::Everybody);
    }

    /// What it has to carry now. Others are told with the next sign of life, or at once when it became busy by that, or open.
    pub fn set_load(&mut self, load: Load) {
        let Some(own) = &mut self.own else { return };
        let standing = self.config.busy.judge(own.standing, &load);
        own.load = load;
        self.set_standing(standing);
    }

    /// It is about to end: no room is given it any more, here and elsewhere, at once.
    pub fn drain(&mut self) {
        self.set_standing(Standing::Draining);
    }

    fn set_standing(&mut self, standing: Standing) {
        let Some(own) = &mut self.own else { return };
        if own.standing != standing {
            own.standing = standing;
            self.changed = true;
            self.announce(FleetTopic::Everybody);
        }
    }

    pub(super) fn announce(&mut self, topic: FleetTopic) {
        if let Some(own) = &self.own {
            let message = Message::Relay(Box::new(own.clone()));
            self.publish(topic, &message);
        }
    }

    /// The relays that rooms can be given, this one among them.
    pub fn choice(&self) -> Choice {
        Choice::new(self.relays().map(|(_, announced)| announced)).with_own(self.own.as_ref())
    }

    /// All that is known of relays: this replica's first, then those of others, in the order of their names.
    pub fn relays(&self) -> impl Iterator<Item = (NodeId, &Announced)> {
        let mut others: Vec<_> = self
            .nodes
            .iter()
            .filter_map(|(id, node)| Some((*id, node.announced.as_ref()?)))
            .collect();
        others.sort_unstable_by_key(|(id, _)| *id);
        let own = self.own.as_ref().map(|own| (self.config.node, own));
        own.into_iter().chain(others)
    }
}
