//! The messages and their bytes: version, kind, node, stamp, then the fields of the kind. Around them are signatures ([`super::seal`]).

use bytes::Bytes;

use super::relay::{self, Announced};
use crate::credentials::UnixTime;
use crate::signaling::NodeId;
use crate::signaling::cluster::bytes::{Reader, Writer};
use crate::turn::{Change, Digests, PARTS, Revoked};

/// Of what is written here. A message of another version is not understood.
const VERSION: u8 = 2;

/// Most changes in one message.
pub const MAX_CHANGES: usize = 256;

/// Longest user or username, bytes (RFC 8489 §14.3 bounds USERNAME by 508).
pub const MAX_NAME_BYTES: usize = 508;

/// Longest message of a replica.
pub(super) const MAX_BYTES: usize = 1_024 + MAX_CHANGES * (MAX_NAME_BYTES + 32);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Message {
    /// A sign of life, with what the sender knows. `hello` asks for the same of the receiver.
    Alive { hello: bool, digests: Box<Digests> },
    /// An operator has just changed these.
    Told { changes: Vec<Change> },
    /// What do you know of that part, behind that name?
    Ask { part: u8, after: Option<Revoked> },
    /// What the sender's relay is, and has to carry.
    Relay(Box<Announced>),
    /// That, and whether there is more.
    Part { part: u8, more: bool, changes: Vec<Change> },
}

impl Message {
    /// `stamp` is greater than that of the message before.
    pub(super) fn encode(&self, node: NodeId, stamp: u64) -> Bytes {
        let mut writer = Writer::new(64);
        let w = &mut writer;
        w.byte(VERSION).byte(self.kind()).array(node.as_bytes()).number(stamp);
        match self {
            Self::Alive { hello, digests } => {
                w.byte((*hello).into());
                for digest in &**digests {
                    w.number(*digest);
                }
            }
            Self::Told { changes } => {
                w.list(changes, write_change);
            }
            Self::Ask { part, after } => {
                w.byte(*part).maybe(after.as_ref(), write_who);
            }
            Self::Relay(announced) => relay::write(w, announced),
            Self::Part { part, more, changes } => {
                w.byte(*part).byte((*more).into()).list(changes, write_change);
            }
        }
        writer.finish()
    }

    /// Reads a message, who sent it, and its stamp. `None` for what is broken, too long, of another version, or what no replica says.
    pub(super) fn decode(bytes: &[u8]) -> Option<((NodeId, u64), Self)> {
        if bytes.len() > MAX_BYTES {
            return None;
        }
        let r = &mut Reader::new(bytes);
        if r.byte()? != VERSION {
            return None;
        }
        let kind = r.byte()?;
        let (node, stamp) = (NodeId::new(r.array()?), r.number()?);
        let message = match kind {
            0 => {
                let hello = r.flag()?;
                let mut digests = Box::new([0; PARTS]);
                for digest in &mut *digests {
                    *digest = r.number()?;
                }
                Self::Alive { hello, digests }
            }
            1 => Self::Told {
                changes: read_changes(r)?,
            },
            2 => Self::Ask {
                part: read_part(r)?,
                after: r.maybe(read_who)?,
            },
            3 => {
                let message = Self::Part {
                    part: read_part(r)?,
                    more: r.flag()?,
                    changes: read_changes(r)?,
                };
                message.is_in_order().then_some(message)?
            }
            4 => Self::Relay(Box::new(relay::read(r)?)),
            _ => return None,
        };
        r.is_at_end().then_some(((node, stamp), message))
    }

    /// Whether the names of a part ascend, and there are some if more of them follow.
    fn is_in_order(&self) -> bool {
        let Self::Part { more, changes, .. } = self else {
            return true;
        };
        changes.is_sorted_by(|one, next| one.who < next.who) && !(*more && changes.is_empty())
    }

    const fn kind(&self) -> u8 {
        match self {
            Self::Alive { .. } => 0,
            Self::Told { .. } => 1,
            Self::Ask { .. } => 2,
            Self::Part { .. } => 3,
            Self::Relay(_) => 4,
        }
    }
}

fn read_part(r: &mut Reader<'_>) -> Option<u8> {
    r.byte().filter(|part| usize::from(*part) < PARTS)
}

fn write_who(w: &mut Writer, who: &Revoked) {
    let (kind, name) = match who {
        Revoked::User(name) => (0, name),
        Revoked::Username(name) => (1, name),
        Revoked::Session(name) => (2, name),
    };
    w.byte(kind).text(name);
}

fn read_who(r: &mut Reader<'_>) -> Option<Revoked> {
    let kind = r.byte()?;
    let name: Box<str> = r
        .text()
        .filter(|name| (1..=MAX_NAME_BYTES).contains(&name.len()))?
        .into();
    Some(match kind {
        0 => Revoked::User(name),
        1 => Revoked::Username(name),
        2 => Revoked::Session(name),
        _ => return None,
    })
}

fn write_change(w: &mut Writer, change: &Change) {
    write_who(w, &change.who);
    w.number(change.until.0)
        .byte(change.in_force.into())
        .number(change.stamp);
}

fn read_changes(r: &mut Reader<'_>) -> Option<Vec<Change>> {
    let changes = r.list(|r| {
        Some(Change {
            who: read_who(r)?,
            until: UnixTime(r.number()?),
            in_force: r.flag()?,
            stamp: r.number()?,
        })
    })?;
    (changes.len() <= MAX_CHANGES).then_some(changes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credentials::{Advertised, Host, UriTransport};

    fn change(name: &str) -> Change {
        Change {
            who: Revoked::Username(name.into()),
            until: UnixTime(u64::MAX),
            in_force: false,
            stamp: 7,
        }
    }

    fn announced(host: &str, region: &str, weight: u16) -> Announced {
        Announced {
            relay: relay::Relay {
                hosts: vec![Host::Name(host.into()), "2001:db8::1".parse().unwrap()],
                listeners: vec![Advertised {
                    transport: UriTransport::Tcp,
                    secure: true,
                    port: 443,
                }],
                weight,
                region: region.into(),
                version: "0.1.0".into(),
            },
            standing: relay::Standing::Busy,
            load: relay::Load {
                allocations: 1,
                most_allocations: 2,
                bytes_per_second: 3,
                most_bytes_per_second: 4,
            },
            dead: relay::Dead::of(&["a".into(), "b".into()], |url| url == "b"),
        }
    }

    fn all() -> Vec<Message> {
        vec![
            Message::Alive {
                hello: true,
                digests: Box::new(std::array::from_fn(|at| at as u64)),
            },
            Message::Told {
                changes: vec![change("2000:bob")],
            },
            Message::Ask { part: 63, after: None },
            Message::Ask {
                part: 0,
                after: Some(Revoked::Session("s".into())),
            },
            Message::Part {
                part: 1,
                more: true,
                changes: vec![change("a"), change("b")],
            },
            Message::Relay(Box::new(announced("turn.example", "eu-1", 1))),
        ]
    }

    #[test]
    fn every_message_is_read_as_what_it_was_and_no_other_bytes_are_one() {
        let node = NodeId::new([3; 8]);
        for message in all() {
            let bytes = message.encode(node, 7);
            assert_eq!(Message::decode(&bytes), Some(((node, 7), message.clone())));
            for end in 0..bytes.len() {
                assert_eq!(Message::decode(&bytes[..end]), None, "{message:?}, cut at {end}");
            }
            let longer = [&bytes[..], b"x"].concat();
            assert_eq!(Message::decode(&longer), None);
            for at in [0, 1] {
                let mut other = bytes.to_vec();
                other[at] = 9;
                assert_eq!(Message::decode(&other), None, "version and kind");
            }
        }
    }

    #[test]
    fn what_no_replica_says_is_refused() {
        let node = NodeId::new([3; 8]);
        let part = |more, names: &[&str]| Message::Part {
            part: 0,
            more,
            changes: names.iter().map(|name| change(name)).collect(),
        };
        let longest = "x".repeat(MAX_NAME_BYTES);
        for (said, taken) in [
            (part(false, &[]), true),
            (part(true, &[]), false),
            (part(true, &["b", "a"]), false),
            (part(true, &["a", "a"]), false),
            (part(false, &[""]), false),
            (part(false, &[&longest]), true),
            (part(false, &[&(longest.clone() + "x")]), false),
            (Message::Ask { part: 64, after: None }, false),
            (Message::Relay(Box::new(announced("a b", "eu", 1))), false),
            (
                Message::Relay(Box::new(announced("a.example?transport=udp", "eu", 1))),
                false,
            ),
            (Message::Relay(Box::new(announced("a.example", "e\u{1b}", 1))), false),
            (
                Message::Relay(Box::new(announced("a.example", &"e".repeat(65), 1))),
                false,
            ),
            (Message::Relay(Box::new(announced("a.example", "eu", 0))), false),
            (Message::Relay(Box::new(announced("a.example", "eu", 1_001))), false),
            (Message::Relay(Box::new(announced("a.example", "", 1_000))), true),
            (
                Message::Told {
                    changes: vec![change("a"); MAX_CHANGES],
                },
                true,
            ),
            (
                Message::Told {
                    changes: vec![change("a"); MAX_CHANGES + 1],
                },
                false,
            ),
        ] {
            assert_eq!(Message::decode(&said.encode(node, 0)).is_some(), taken, "{said:?}");
        }
        let longest = Message::Told {
            changes: vec![change(&longest); MAX_CHANGES],
        };
        assert!(Message::decode(&longest.encode(node, 0)).is_some());
    }
}
