//! What a room has to do with other nodes.

use super::{
    NodeId, RoomTopic,
    message::{About, Claim, Founding},
};
use crate::signaling::{connection::ConnectionId, error::Reject};

/// A room's ties to the bus.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) topic: RoomTopic,
    /// How many changes of the members of this process have been told. Starts where no earlier room of that name can have ended.
    pub(crate) seq: u64,
    /// The key and the ceiling are settled; before that the room is only listened to.
    pub(crate) founded: bool,
    /// What the first claim of this process would make it, while it is not.
    pub(crate) proposed: Option<Founding>,
    /// Others are being asked who is in it; nobody of this process is.
    pub(crate) opening: Option<Opening>,
    /// How much of the others' lists is known, a node at a time.
    pub(crate) views: Vec<View>,
    /// Those who wait to come in.
    pub(crate) pending: Vec<Pending>,
    /// Changes of the room's metadata that have not come back yet.
    pub(crate) changes: Vec<PendingChange>,
}

/// Who has not answered yet.
#[derive(Debug, Default)]
pub(crate) struct Opening {
    /// The question went out to these; `None` until the subscription is in force.
    pub(crate) missing: Option<Vec<NodeId>>,
}

/// What is known of one node's list.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) node: NodeId,
    /// The number of the list that is mirrored.
    pub(crate) seq: u64,
    /// The list was asked for; what happens to it meanwhile is in the answer.
    pub(crate) asked: bool,
    /// Somebody on it is not mirrored, because the id is another's or because there is no room. That may change without a word of
    /// this node's: an audit asks for the list again.
    pub(crate) partial: bool,
    /// How often this room was audited here since the node last said something of it.
    pub(crate) quiet: u8,
    /// The parts of the answer so far.
    pub(crate) parts: Option<Parts>,
}

/// A list that has not come in whole.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) next: u64,
    pub(crate) members: Vec<Claim<'static>>,
}

/// The list of a node, whole.
#[derive(Debug)]
pub(crate) struct List<'a> {
    pub(crate) founding: Option<Founding>,
    pub(crate) about: About<'a>,
    pub(crate) members: Vec<Claim<'a>>,
}

/// One who waits to come in.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) connection: ConnectionId,
    pub(crate) stage: Stage,
}

/// How far it is.
#[derive(Debug)]
pub(crate) enum Stage {
    /// It waits for the others' lists.
    Opening,
    /// They are here.
    Opened,
    /// They did not come: it goes in without.
    Late,
    /// Its claim went out under this number and has not come back.
    Claimed { seq: u64, claim: Box<Claim<'static>> },
    /// Its claim has come back, or has had its time to: whatever was published before it is known here.
    Placed { claim: Box<Claim<'static>> },
}

impl Stage {
    pub(crate) const fn waits(&self) -> bool {
        matches!(self, Self::Opening | Self::Claimed { .. })
    }

    /// What others have been told, if they have.
    pub(crate) const fn claim(&self) -> Option<&Claim<'static>> {
        match self {
            Self::Claimed { claim, .. } | Self::Placed { claim } => Some(claim),
            _ => None,
        }
    }
}

/// A change that waits for its turn in the order of the topic.
#[derive(Debug)]
pub(crate) struct PendingChange {
    pub(crate) connection: ConnectionId,
    pub(crate) seq: u64,
    /// The version that came of it, once it is made.
    pub(crate) done: Option<Result<u64, Reject>>,
}

impl Link {
    pub(crate) const fn new(topic: RoomTopic, seq: u64) -> Self {
        Self {
            topic,
            seq,
            founded: false,
            proposed: None,
            opening: None,
            views: Vec::new(),
            pending: Vec::new(),
            changes: Vec::new(),
        }
    }

    /// What is known of that node's list; nothing is number 0.
    pub(crate) fn view(&mut self, node: NodeId) -> &mut View {
        let at = self.views.iter().position(|view| view.node == node);
        let at = at.unwrap_or_else(|| {
            self.views.push(View {
                node,
                seq: 0,
                asked: false,
                partial: false,
                quiet: 0,
                parts: None,
            });
            self.views.len() - 1
        });
        &mut self.views[at]
    }

    pub(crate) fn pending(&self, connection: ConnectionId) -> Option<&Pending> {
        self.pending.iter().find(|pending| pending.connection == connection)
    }

    pub(crate) fn pending_mut(&mut self, connection: ConnectionId) -> Option<&mut Pending> {
        self.pending.iter_mut().find(|pending| pending.connection == connection)
    }
}
