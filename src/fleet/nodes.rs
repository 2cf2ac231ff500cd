//! Who else lives.

use std::time::Instant;

use super::message::Message;
use super::relay::{Announced, Dead, Load, MAX_HOSTS, MAX_LISTENERS, MAX_WEIGHT, Own, Relay, Standing};
use super::{Choice, Config, Fleet, FleetTopic};
use crate::credentials::Advertised;
use crate::signaling::NodeId;
use crate::turn::Now;

/// Another replica.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) heard: Instant,
    /// Of its last message.
    pub(super) stamp: u64,
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
    /// A replica has said something. False: there are more than may be, or it has said this or something later before.
    pub(super) fn note(&mut self, now: Now, node: NodeId, stamp: u64) -> bool {
        if let Some(known) = self.nodes.get_mut(&node) {
            if stamp <= known.stamp {
                self.stats.stale += 1;
                return false;
            }
            (known.heard, known.stamp) = (now.instant, stamp);
            return true;
        }
        if self.nodes.len() >= self.config.nodes {
            self.stats.turned_away += 1;
            return false;
        }
        let new = Node {
            heard: now.instant,
            stamp,
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
        if gone {
            self.note_change();
        }
    }

    /// A replica has said what its relay is.
    pub(super) fn handle_announced(&mut self, node: NodeId, announced: Announced) {
        self.stats.announcements += 1;
        let Some(node) = self.nodes.get_mut(&node) else { return };
        // Its load alone moves no room.
        let what_counts = |one: &Announced| (one.relay.clone(), one.standing, one.dead);
        let is_as_before = node.announced.as_ref().map(what_counts) == Some(what_counts(&announced));
        node.announced = Some(announced);
        if !is_as_before {
            self.note_change();
        }
    }

    /// This replica's relay listens, from now on.
    pub fn open(&mut self, listeners: &[Advertised], version: &str) {
        let announced = Announced {
            relay: relay(&self.config, listeners, version),
            standing: Standing::Open,
            load: Load::default(),
            dead: Dead::default(),
        };
        self.own = Some(Own {
            announced,
            is_busy: false,
            is_draining: false,
        });
        self.choose_now();
        self.announce(FleetTopic::Everybody);
    }

    /// It is reached elsewhere, has another share, or signs with other secrets from now on. The others hear of it at once. Its name
    /// and its times stay.
    pub fn reconfigure(&mut self, config: Config, listeners: &[Advertised]) {
        self.config = Config {
            node: self.config.node,
            heartbeat: self.config.heartbeat,
            node_timeout: self.config.node_timeout,
            nodes: self.config.nodes,
            ..config
        };
        let Some(own) = &mut self.own else { return };
        let relay = relay(&self.config, listeners, &own.announced.relay.version);
        if relay == own.announced.relay {
            return;
        }
        if relay.urls() != own.announced.relay.urls() {
            // Nothing is known of these.
            own.announced.dead = Dead::default();
        }
        own.announced.relay = relay;
        own.announced.standing = own.standing();
        self.choose_now();
        self.announce(FleetTopic::Everybody);
    }

    /// What its own probes found: which of its URLs are dead. The others hear of it at once.
    pub fn set_dead(&mut self, is_dead: impl Fn(&str) -> bool) {
        let Some(own) = &mut self.own else { return };
        let dead = Dead::of(&own.announced.relay.urls(), is_dead);
        if own.announced.dead != dead {
            own.announced.dead = dead;
            own.announced.standing = own.standing();
            self.choose_now();
            self.announce(FleetTopic::Everybody);
        }
    }

    /// The URLs by which this replica's relay is given to rooms everywhere. None where it has no host of its own.
    pub fn own_urls(&self) -> Vec<String> {
        let own = self.own.as_ref();
        own.map(|own| own.announced.relay.urls()).unwrap_or_default()
    }

    /// What it has to carry now. Others are told with the next sign of life, or at once when it became busy by that, or open.
    pub fn set_load(&mut self, load: Load) {
        let Some(own) = &mut self.own else { return };
        own.is_busy = self.config.busy.judge(own.is_busy, &load);
        own.announced.load = load;
        self.tell_standing();
    }

    /// It is about to end: no room is given it any more, here and elsewhere, at once.
    pub fn drain(&mut self) {
        let Some(own) = &mut self.own else { return };
        own.is_draining = true;
        self.tell_standing();
    }

    fn tell_standing(&mut self) {
        let Some(own) = &mut self.own else { return };
        let standing = own.standing();
        if own.announced.standing != standing {
            own.announced.standing = standing;
            self.choose_now();
            self.announce(FleetTopic::Everybody);
        }
    }

    pub(super) fn announce(&mut self, topic: FleetTopic) {
        if let Some(own) = &self.own {
            let message = Message::Relay(Box::new(own.announced.clone()));
            self.publish(topic, &message);
        }
    }

    /// The relays that rooms can be given, this one among them.
    pub fn choice(&self) -> Choice {
        Choice::new(self.relays().map(|(_, announced)| announced)).with_own(self.own.as_ref().map(|own| &own.announced))
    }

    /// All that is known of relays: this replica's first, then those of others, in the order of their names.
    pub fn relays(&self) -> impl Iterator<Item = (NodeId, &Announced)> {
        let mut others: Vec<_> = self
            .nodes
            .iter()
            .filter_map(|(id, node)| Some((*id, node.announced.as_ref()?)))
            .collect();
        others.sort_unstable_by_key(|(id, _)| *id);
        let own = self.own.as_ref().map(|own| (self.config.node, &own.announced));
        own.into_iter().chain(others)
    }
}

fn relay(config: &Config, listeners: &[Advertised], version: &str) -> Relay {
    Relay {
        hosts: config.hosts.iter().take(MAX_HOSTS).cloned().collect(),
        listeners: listeners.iter().take(MAX_LISTENERS).copied().collect(),
        weight: config.weight.clamp(1, MAX_WEIGHT),
        region: config.region.clone(),
        version: version.into(),
    }
}
