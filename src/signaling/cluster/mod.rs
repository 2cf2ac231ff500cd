//! What replicas of the hub tell each other, as values and bytes.
//!
//! What it is: names of nodes and topics, the messages and their bytes, and the rules by which every node judges two claims to one
//! peer id alike. `hub::cluster` is what acts on them.
//!
//! What it is not: a message system. Bytes go out as [`Output::Publish`](super::Output::Publish) and come in by
//! [`Hub::handle_remote`](super::Hub::handle_remote); what carries them is the driver's.
//!
//! What the hub needs of the message system, and nothing more:
//! - Publish and subscribe, at most once, nothing stored.
//! - What one node publishes reaches another in the order it was published, over all topics together: the driver publishes over one
//!   connection and listens on one connection.
//! - All subscribers of a topic see its messages in one order, the publisher among them: its own messages come back to it. That
//!   order is what decides between two who join, or change a room's metadata, at the same time on two nodes.
//!
//! Where one of these fails for a while, messages get lost and lists differ for a while; they are repaired by sequence numbers.

pub(crate) mod bytes;
pub(crate) mod claim;
mod fields;
pub(crate) mod link;
pub(crate) mod message;

use std::{fmt, time::Duration};

use sha2::{Digest, Sha256};

use super::room::Realm;

/// One process among the replicas. Random for every start, so that a replica that was restarted is another node.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId([u8; 8]);

impl NodeId {
    /// From fresh randomness.
    pub const fn new(bytes: [u8; 8]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    pub const fn as_bytes(&self) -> &[u8; 8] {
        &self.0
    }
}

/// One room of one realm, without its name: the first 16 bytes of a SHA-256, so that names never show in a message system.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RoomTopic([u8; 16]);

impl RoomTopic {
    /// As it was written by [`Self::as_bytes`].
    pub const fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    pub(crate) fn of(realm: Realm, name: &str) -> Self {
        let digest = Sha256::new_with_prefix(b"meetpoint room")
            .chain_update(realm.0.to_be_bytes())
            .chain_update(name.as_bytes())
            .finalize();
        Self(std::array::from_fn(|at| digest[at]))
    }
}

/// Where a message for other replicas goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Topic {
    /// Every replica listens to this.
    Everybody,
    /// One replica listens to this.
    Node(NodeId),
    /// The replicas that host members of that room listen to this.
    Room(RoomTopic),
}

/// How the hub lives with other replicas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BusConfig {
    /// This process.
    pub node: NodeId,
    /// How often it says that it lives. Default 2 s.
    pub heartbeat: Duration,
    /// After how long without a word another node counts as dead, and its members leave. Default 7 s: three words may get lost.
    /// Raising it keeps the members of a killed replica in the lists for longer; too low, a pause of one replica looks like its
    /// death.
    pub node_timeout: Duration,
    /// How long a join or a change of a room's metadata waits for other nodes. Default 300 ms. A join that has waited this long
    /// goes on with what is known here; a change of metadata is refused.
    pub sync_timeout: Duration,
    /// Other nodes that are listened to. Default 64.
    pub nodes: usize,
    /// Members of rooms hosted here that live on other nodes. Default 100 000. Each costs about 300 bytes and its presence data.
    pub mirrored: usize,
    /// Connections whose frames wait for other nodes. Default 4 096; beyond it such a frame is refused with a retry.
    pub held: usize,
    /// Frames of one connection that may wait behind the one that waits for other nodes. Default 64.
    pub held_frames: usize,
    /// Bytes of those frames. Default 131 072.
    pub held_bytes: usize,
    /// Longest message taken from the bus, or more where clients may say more at once. Default 1 048 576.
    pub message_bytes: usize,
    /// Rooms whose lists are compared with those of other nodes in one [`Self::heartbeat`]. Default 256. Bounds the messages that
    /// an idle server sends, and with the number of rooms sets how long a lost message can go unnoticed in a quiet room.
    pub audited_rooms: usize,
}

impl BusConfig {
    /// The defaults for that node.
    pub const fn new(node: NodeId) -> Self {
        Self {
            node,
            heartbeat: Duration::from_secs(2),
            node_timeout: Duration::from_secs(7),
            sync_timeout: Duration::from_millis(300),
            nodes: 64,
            mirrored: 100_000,
            held: 4_096,
            held_frames: 64,
            held_bytes: 131_072,
            message_bytes: 1_048_576,
            audited_rooms: 256,
        }
    }
}

fn hex(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(&self.0, f)
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(&self.0, f)
    }
}

impl fmt::Display for RoomTopic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(&self.0, f)
    }
}

impl fmt::Debug for RoomTopic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(&self.0, f)
    }
}
