//! What the channels of Redis are called.
//!
//! `<prefix>:1:all`, `<prefix>:1:node:<id>` and `<prefix>:1:room:<id>` of the hub, `<prefix>:1:fleet` and `<prefix>:1:fleet:<id>` of the
//! relays, and `<prefix>:1:echo:<id>`, which a replica publishes to itself. The number is the version of the names: replicas that would
//! not understand each other do not hear each other.

use std::fmt::Write as _;

use crate::fleet::FleetTopic;
use crate::signaling::{NodeId, RoomTopic, Topic};

/// Makes the names.
#[derive(Clone, Debug)]
pub(super) struct Channels {
    prefix: Box<str>,
}

impl Channels {
    pub(super) fn new(prefix: &str) -> Self {
        Self {
            prefix: format!("{prefix}:1:").into(),
        }
    }

    pub(super) fn of(&self, topic: &Topic) -> String {
        match topic {
            Topic::Everybody => format!("{}all", self.prefix),
            Topic::Node(node) => self.with_id("node:", node.as_bytes()),
            Topic::Room(room) => self.of_room(room),
        }
    }

    pub(super) fn of_room(&self, room: &RoomTopic) -> String {
        self.with_id("room:", room.as_bytes())
    }

    pub(super) fn of_fleet(&self, topic: &FleetTopic) -> String {
        match topic {
            FleetTopic::Everybody => format!("{}fleet", self.prefix),
            FleetTopic::Node(node) => self.with_id("fleet:", node.as_bytes()),
        }
    }

    /// A channel for one question whether all of this works.
    pub(super) fn check(&self, id: &[u8]) -> String {
        self.with_id("check:", id)
    }

    /// What is called `name`, at the replica `node`. `None` for names that it never asked for.
    pub(super) fn read(&self, name: &[u8], node: NodeId) -> Option<Named> {
        let (kind, id) = {
            let name = name.strip_prefix(self.prefix.as_bytes())?;
            let end = name
                .iter()
                .position(|byte| *byte == b':')
                .map_or(name.len(), |at| at + 1);
            name.split_at(end)
        };
        match kind {
            b"all" => Some(Named::Topic(Topic::Everybody)),
            b"room:" => Some(Named::Topic(Topic::Room(RoomTopic::new(bytes(id)?)))),
            b"node:" => (bytes(id)? == *node.as_bytes()).then_some(Named::Topic(Topic::Node(node))),
            b"fleet" => Some(Named::Fleet),
            b"fleet:" => (bytes(id)? == *node.as_bytes()).then_some(Named::Fleet),
            b"echo:" => (bytes(id)? == *node.as_bytes()).then_some(Named::Echo),
            _ => None,
        }
    }

    /// Where `node` hears itself.
    pub(super) fn echo(&self, node: NodeId) -> String {
        self.with_id("echo:", node.as_bytes())
    }

    fn with_id(&self, kind: &str, id: &[u8]) -> String {
        let mut name = String::with_capacity(self.prefix.len() + kind.len() + 2 * id.len());
        name.push_str(&self.prefix);
        name.push_str(kind);
        for byte in id {
            // Writing to a string does not fail.
            let _ = write!(name, "{byte:02x}");
        }
        name
    }
}

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Named {
    /// A topic of the hub.
    Topic(Topic),
    /// What relays tell this replica, or all.
    Fleet,
    /// This replica itself.
    Echo,
}

/// The bytes that so many hexadecimal digits stand for.
fn bytes<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let mut found = [0; N];
    if digits.len() != 2 * N {
        return None;
    }
    for (byte, pair) in found.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |digit: u8| match digit {
            b'0'..=b'9' => Some(digit - b'0'),
            b'a'..=b'f' => Some(digit - b'a' + 10),
            // One name for each topic, no other that would do.
            _ => None,
        };
        *byte = digit(*pair.first()?)? << 4 | digit(*pair.get(1)?)?;
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    const US: NodeId = NodeId::new([7; 8]);

    #[test]
    fn every_name_is_read_as_what_it_was_made_of() {
        let channels = Channels::new("a:b");
        for topic in [
            Topic::Everybody,
            Topic::Node(US),
            Topic::Room(RoomTopic::new([0xab; 16])),
            Topic::Room(RoomTopic::new([0; 16])),
        ] {
            let name = channels.of(&topic);
            assert_eq!(channels.read(name.as_bytes(), US), Some(Named::Topic(topic)), "{name}");
        }
        assert_eq!(channels.read(channels.echo(US).as_bytes(), US), Some(Named::Echo));
        for topic in [FleetTopic::Everybody, FleetTopic::Node(US)] {
            let name = channels.of_fleet(&topic);
            assert_eq!(channels.read(name.as_bytes(), US), Some(Named::Fleet), "{name}");
        }
    }

    #[test]
    fn names_of_others_are_not_read() {
        let channels = Channels::new("meetpoint");
        let other = NodeId::new([8; 8]);
        for name in [
            channels.of(&Topic::Node(other)),
            channels.echo(other),
            channels.of_fleet(&FleetTopic::Node(other)),
            "meetpoint:1:fleet:".to_owned(),
            channels.check(&[1; 16]),
            Channels::new("meet").of(&Topic::Everybody),
            Channels::new("meetpoint2").of(&Topic::Everybody),
            "meetpoint:1:room:abc".to_owned(),
            "meetpoint:1:room:+1".to_owned() + &"0".repeat(30),
            "meetpoint:1:room".to_owned(),
            "meetpoint:1:all:x".to_owned(),
            "meetpoint:2:all".to_owned(),
            String::new(),
        ] {
            assert_eq!(channels.read(name.as_bytes(), US), None, "{name}");
        }
    }
}
