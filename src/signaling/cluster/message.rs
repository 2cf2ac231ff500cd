//! The messages of the bus and their bytes: version, kind, node, then the fields of the kind.
//!
//! Messages about a room's members carry a sequence number of (node, room): how many changes of its own members in that room the
//! node has published. Who has missed one asks for the list again.

use std::borrow::Cow;

use bytes::Bytes;

use super::{
    NodeId, RoomTopic,
    bytes::{Reader, Writer},
    claim::{Digest, Standing},
    fields::{
        read_claim, read_founding, read_place, read_said, write_claim, write_founding, write_maybe, write_place,
        write_said,
    },
};
use crate::signaling::{
    bans::{Ban, BanBy, BanRoom, Barred},
    event::Data,
};

/// Of what is written here. A message of another version is ignored.
const VERSION: u8 = 1;

/// What a node has to carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Load {
    pub(crate) connections: u64,
    pub(crate) peers: u64,
    /// Rooms that no node of a smaller id hosts too: summed over all nodes, each room is counted once.
    pub(crate) rooms: u64,
    pub(crate) memberships: u64,
}

/// A member as other nodes are told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Claim<'a> {
    pub(crate) peer: Cow<'a, str>,
    pub(crate) since_ms: u64,
    pub(crate) away: bool,
    pub(crate) standing: Standing,
    /// A JSON object.
    pub(crate) meta: Cow<'a, str>,
}

/// What was agreed when a room was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Founding {
    pub(crate) key_hash: Option<[u8; 32]>,
    pub(crate) max: u32,
}

/// A room's metadata.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct About<'a> {
    pub(crate) version: u64,
    /// A JSON object.
    pub(crate) meta: Cow<'a, str>,
}

/// What one member says to others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Said<'a> {
    Signal {
        kind: &'a str,
        data: Option<&'a str>,
        correlation: Option<&'a str>,
    },
    Message {
        data: Data<'a>,
        reliable: bool,
    },
    Verbatim {
        frame: &'a str,
    },
}

/// What became of a member that stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn<'a> {
    Away,
    Back,
    /// A JSON object.
    Meta(&'a str),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Message<'a> {
    /// A sign of life. `hello` asks for those of all others at once.
    Alive { hello: bool, load: Load },
    /// Who has members in that room? The asker's own list has that number. To everybody, from a node that has just begun to listen
    /// to the room, all answer; to the room, those who host it.
    Ask { room: RoomTopic, seq: u64 },
    /// The answer of a node without members there.
    NotHere { room: RoomTopic },
    /// The members of the sender in a room, in parts.
    State {
        room: RoomTopic,
        seq: u64,
        part: u64,
        last: bool,
        founding: Option<Founding>,
        about: About<'a>,
        members: Vec<Claim<'a>>,
    },
    /// Asks for [`Message::State`] of each of these that the receiver hosts.
    Sync { rooms: Vec<RoomTopic> },
    /// To the node of a member that has lost its id to this one.
    Holds { room: RoomTopic, claim: Claim<'a> },
    /// The owner of a session has come to the sender: whoever keeps it may let it go.
    Returned { sid: [u8; 16], session: Digest },
    /// A member comes in.
    Joined {
        room: RoomTopic,
        seq: u64,
        founding: Founding,
        claim: Claim<'a>,
    },
    /// The member that came in at that time is gone.
    Left {
        room: RoomTopic,
        seq: u64,
        peer: &'a str,
        since_ms: u64,
        why: &'a str,
    },
    /// A member is away, back, or tells other things about itself.
    Turned {
        room: RoomTopic,
        seq: u64,
        peer: &'a str,
        turn: Turn<'a>,
    },
    /// A change of a room's metadata, to be made by all in the order of the topic.
    Change {
        room: RoomTopic,
        seq: u64,
        by: &'a str,
        if_version: Option<u64>,
        /// A JSON object.
        set: Cow<'a, str>,
        del: Vec<Cow<'a, str>>,
    },
    /// The number of the sender's list, for those who have missed the end of it.
    Audit { room: RoomTopic, seq: u64 },
    /// From one member to all that the receiver has, said when the sender's list had that number.
    Cast {
        room: RoomTopic,
        seq: u64,
        from: &'a str,
        said: Said<'a>,
    },
    /// From one member to some of the receiver's.
    Direct {
        room: RoomTopic,
        seq: u64,
        from: &'a str,
        to: Vec<&'a str>,
        said: Said<'a>,
    },
    /// An operator puts a member out, and keeps it out until then: done by the node of that member.
    Kick {
        room: RoomTopic,
        peer: &'a str,
        reason: Option<&'a str>,
        ban: Option<(BanBy, u64)>,
    },
    /// An operator ends a room: done by every node that hosts it.
    Close { room: RoomTopic, reason: Option<&'a str> },
    /// An operator keeps somebody out: done by every node. The one message with the name of a room in it.
    Ban { ban: Ban },
    /// And lets them in again.
    Lift { room: Option<BanRoom>, who: Barred },
    /// An operator ended that session: what it holds of any relay ends as well.
    CutOff { sid: [u8; 16] },
}

impl<'a> Message<'a> {
    pub(crate) fn encode(&self, node: NodeId) -> Bytes {
        let mut writer = Writer::new(self.capacity());
        let w = &mut writer;
        w.byte(VERSION).byte(self.kind()).array(node.as_bytes());
        match self {
            Self::Alive { hello, load } => {
                w.byte((*hello).into()).number(load.connections).number(load.peers);
                w.number(load.rooms).number(load.memberships);
            }
            Self::Ask { room, seq } | Self::Audit { room, seq } => {
                w.array(room.as_bytes()).number(*seq);
            }
            Self::NotHere { room } => {
                w.array(room.as_bytes());
            }
            Self::State {
                room,
                seq,
                part,
                last,
                founding,
                about,
                members,
            } => {
                w.array(room.as_bytes()).number(*seq).number(*part).byte((*last).into());
                w.maybe(*founding, |w, founding| write_founding(w, &founding));
                w.number(about.version).text(&about.meta).list(members, write_claim);
            }
            Self::Sync { rooms } => {
                w.list(rooms, |w, room| {
                    w.array(room.as_bytes());
                });
            }
            Self::Holds { room, claim } => {
                w.array(room.as_bytes());
                write_claim(w, claim);
            }
            Self::Returned { sid, session } => {
                w.array(sid).array(session);
            }
            Self::Joined {
                room,
                seq,
                founding,
                claim,
            } => {
                w.array(room.as_bytes()).number(*seq);
                write_founding(w, founding);
                write_claim(w, claim);
            }
            Self::Left {
                room,
                seq,
                peer,
                since_ms,
                why,
            } => {
                w.array(room.as_bytes())
                    .number(*seq)
                    .text(peer)
                    .number(*since_ms)
                    .text(why);
            }
            Self::Turned { room, seq, peer, turn } => {
                w.array(room.as_bytes()).number(*seq).text(peer);
                match turn {
                    Turn::Away => w.byte(0),
                    Turn::Back => w.byte(1),
                    Turn::Meta(meta) => w.byte(2).text(meta),
                };
            }
            Self::Change {
                room,
                seq,
                by,
                if_version,
                set,
                del,
            } => {
                w.array(room.as_bytes()).number(*seq).text(by);
                w.maybe(*if_version, |w, version| {
                    w.number(version);
                });
                w.text(set).list(del, |w, key| {
                    w.text(key);
                });
            }
            Self::Cast { room, seq, from, said } => {
                w.array(room.as_bytes()).number(*seq).text(from);
                write_said(w, said);
            }
            Self::Direct {
                room,
                seq,
                from,
                to,
                said,
            } => {
                w.array(room.as_bytes()).number(*seq).text(from).list(to, |w, peer| {
                    w.text(peer);
                });
                write_said(w, said);
            }
            Self::Kick {
                room,
                peer,
                reason,
                ban,
            } => {
                w.array(room.as_bytes()).text(peer);
                write_maybe(w, *reason);
                w.maybe(*ban, |w, (by, until_ms)| {
                    w.byte(by as u8).number(until_ms);
                });
            }
            Self::Close { room, reason } => {
                w.array(room.as_bytes());
                write_maybe(w, *reason);
            }
            Self::Ban { ban } => {
                w.number(ban.id).number(ban.until_ms);
                write_place(w, ban.room.as_ref(), &ban.who);
                write_maybe(w, ban.reason.as_deref());
            }
            Self::Lift { room, who } => write_place(w, room.as_ref(), who),
            Self::CutOff { sid } => {
                w.array(sid);
            }
        }
        writer.finish()
    }

    /// Reads a message and who sent it. `None` for what is broken, longer than its fields, or of another version.
    pub(crate) fn decode(bytes: &'a [u8]) -> Option<(NodeId, Self)> {
        let r = &mut Reader::new(bytes);
        if r.byte()? != VERSION {
            return None;
        }
        let kind = r.byte()?;
        let node = NodeId::new(r.array()?);
        let message = Self::read(kind, r)?;
        r.is_at_end().then_some((node, message))
    }

    fn read(kind: u8, r: &mut Reader<'a>) -> Option<Self> {
        let room = |r: &mut Reader<'a>| r.array().map(RoomTopic::new);
        Some(match kind {
            0 => Self::Alive {
                hello: r.flag()?,
                load: Load {
                    connections: r.number()?,
                    peers: r.number()?,
                    rooms: r.number()?,
                    memberships: r.number()?,
                },
            },
            1 => Self::Ask {
                room: room(r)?,
                seq: r.number()?,
            },
            2 => Self::NotHere { room: room(r)? },
            3 => Self::State {
                room: room(r)?,
                seq: r.number()?,
                part: r.number()?,
                last: r.flag()?,
                founding: r.maybe(read_founding)?,
                about: About {
                    version: r.number()?,
                    meta: Cow::Borrowed(r.text()?),
                },
                members: r.list(read_claim)?,
            },
            4 => Self::Sync { rooms: r.list(room)? },
            5 => Self::Holds {
                room: room(r)?,
                claim: read_claim(r)?,
            },
            6 => Self::Returned {
                sid: r.array()?,
                session: r.array()?,
            },
            7 => Self::Joined {
                room: room(r)?,
                seq: r.number()?,
                founding: read_founding(r)?,
                claim: read_claim(r)?,
            },
            8 => Self::Left {
                room: room(r)?,
                seq: r.number()?,
                peer: r.text()?,
                since_ms: r.number()?,
                why: r.text()?,
            },
            9 => Self::Turned {
                room: room(r)?,
                seq: r.number()?,
                peer: r.text()?,
                turn: match r.byte()? {
                    0 => Turn::Away,
                    1 => Turn::Back,
                    2 => Turn::Meta(r.text()?),
                    _ => return None,
                },
            },
            10 => Self::Change {
                room: room(r)?,
                seq: r.number()?,
                by: r.text()?,
                if_version: r.maybe(Reader::number)?,
                set: Cow::Borrowed(r.text()?),
                del: r.list(|r| r.text().map(Cow::Borrowed))?,
            },
            11 => Self::Audit {
                room: room(r)?,
                seq: r.number()?,
            },
            12 => Self::Cast {
                room: room(r)?,
                seq: r.number()?,
                from: r.text()?,
                said: read_said(r)?,
            },
            13 => Self::Direct {
                room: room(r)?,
                seq: r.number()?,
                from: r.text()?,
                to: r.list(Reader::text)?,
                said: read_said(r)?,
            },
            14 => Self::Kick {
                room: room(r)?,
                peer: r.text()?,
                reason: r.maybe(Reader::text)?,
                ban: r.maybe(|r| Some((*BanBy::ALL.get(usize::from(r.byte()?))?, r.number()?)))?,
            },
            15 => Self::Close {
                room: room(r)?,
                reason: r.maybe(Reader::text)?,
            },
            16 => {
                let (id, until_ms) = (r.number()?, r.number()?);
                let (room, who) = read_place(r)?;
                let reason = r.maybe(Reader::text)?.map(Box::from);
                let ban = Ban {
                    id,
                    room,
                    who,
                    until_ms,
                    reason,
                };
                Self::Ban { ban }
            }
            17 => {
                let (room, who) = read_place(r)?;
                Self::Lift { room, who }
            }
            18 => Self::CutOff { sid: r.array()? },
            _ => return None,
        })
    }

    const fn kind(&self) -> u8 {
        match self {
            Self::Alive { .. } => 0,
            Self::Ask { .. } => 1,
            Self::NotHere { .. } => 2,
            Self::State { .. } => 3,
            Self::Sync { .. } => 4,
            Self::Holds { .. } => 5,
            Self::Returned { .. } => 6,
            Self::Joined { .. } => 7,
            Self::Left { .. } => 8,
            Self::Turned { .. } => 9,
            Self::Change { .. } => 10,
            Self::Audit { .. } => 11,
            Self::Cast { .. } => 12,
            Self::Direct { .. } => 13,
            Self::Kick { .. } => 14,
            Self::Close { .. } => 15,
            Self::Ban { .. } => 16,
            Self::Lift { .. } => 17,
            Self::CutOff { .. } => 18,
        }
    }

    fn capacity(&self) -> usize {
        const FIELDS: usize = 160;
        FIELDS
            + match self {
                Self::Cast { said, .. } | Self::Direct { said, .. } => match said {
                    Said::Signal { data, .. } => data.map_or(0, str::len),
                    Said::Message { data, .. } => data.len(),
                    Said::Verbatim { frame } => frame.len(),
                },
                Self::Joined { claim, .. } => claim.meta.len(),
                Self::State { members, .. } => members.iter().map(|claim| FIELDS + claim.meta.len()).sum(),
                _ => 0,
            }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::claim::Rule, *};
    use crate::signaling::room::Realm;

    const NODE: NodeId = NodeId::new(*b"thisnode");
    const ROOM: RoomTopic = RoomTopic::new([7; 16]);

    fn claim(meta: &str) -> Claim<'_> {
        Claim {
            peer: "a".into(),
            since_ms: 5,
            away: true,
            standing: Standing {
                rule: Rule::Lenient,
                owner: Some([1; 16]),
                session: [2; 16],
                ousts: None,
                proof: Some([4; 16]),
            },
            meta: meta.into(),
        }
    }

    fn all() -> Vec<Message<'static>> {
        let (room, seq) = (ROOM, 9);
        let founding = Founding {
            key_hash: Some([3; 32]),
            max: 4,
        };
        let signal = Said::Signal {
            kind: "offer",
            data: Some("{ \"sdp\" : 1.0 }"),
            correlation: None,
        };
        let message = Said::Message {
            data: Data::Json("[1]"),
            reliable: true,
        };
        let load = Load {
            connections: 1,
            peers: 2,
            rooms: 3,
            memberships: 4,
        };
        let turned = |turn| Message::Turned {
            room,
            seq,
            peer: "a",
            turn,
        };
        vec![
            Message::Alive { hello: true, load },
            Message::Ask { room, seq },
            Message::NotHere { room },
            Message::State {
                room,
                seq,
                part: 1,
                last: true,
                founding: Some(founding),
                about: About {
                    version: 2,
                    meta: "{}".into(),
                },
                members: vec![claim("{}"), claim(r#"{"a":1}"#)],
            },
            Message::Sync {
                rooms: vec![ROOM, RoomTopic::new([8; 16])],
            },
            Message::Holds {
                room,
                claim: claim("{}"),
            },
            Message::Returned {
                sid: [1; 16],
                session: [2; 16],
            },
            Message::Joined {
                room,
                seq,
                founding,
                claim: claim("{}"),
            },
            Message::Left {
                room,
                seq,
                peer: "a",
                since_ms: 1,
                why: "bye",
            },
            turned(Turn::Away),
            turned(Turn::Back),
            turned(Turn::Meta("{}")),
            Message::Change {
                room,
                seq,
                by: "a",
                if_version: Some(3),
                set: r#"{"k":1.0}"#.into(),
                del: vec!["x".into()],
            },
            Message::Audit { room, seq },
            Message::Cast {
                room,
                seq,
                from: "a",
                said: message,
            },
            Message::Direct {
                room,
                seq,
                from: "a",
                to: vec!["b", "c"],
                said: signal,
            },
            Message::Direct {
                room,
                seq,
                from: "a",
                to: vec!["b"],
                said: Said::Verbatim { frame: "{}" },
            },
            Message::Cast {
                room,
                seq,
                from: "a",
                said: Said::Message {
                    data: Data::Bytes(&[0, 255]),
                    reliable: false,
                },
            },
            Message::Kick {
                room,
                peer: "a",
                reason: Some("be nice"),
                ban: Some((BanBy::Address, 9)),
            },
            Message::Close { room, reason: None },
            Message::CutOff { sid: [5; 16] },
            ban(None, Barred::Peer("a".into())),
            ban(None, Barred::User("u".into(), None)),
            ban(None, Barred::User("u".into(), Some("acme".into()))),
            ban(Some((Realm(3), "r".into())), Barred::Everybody),
            ban(None, Barred::Address([192, 0, 2, 1].into())),
            Message::Lift {
                room: Some((Realm(0), "r".into())),
                who: Barred::Address([7; 16].into()),
            },
        ]
    }

    fn ban(room: Option<BanRoom>, who: Barred) -> Message<'static> {
        let ban = Ban {
            id: 3,
            room,
            who,
            until_ms: 9,
            reason: Some("spam".into()),
        };
        Message::Ban { ban }
    }

    #[test]
    fn every_message_is_read_as_it_was_written() {
        for message in all() {
            let bytes = message.encode(NODE);
            assert_eq!(Message::decode(&bytes), Some((NODE, message)));
        }
    }

    #[test]
    fn no_message_is_read_that_is_cut_short_or_goes_on_or_is_of_another_version() {
        for message in all() {
            let bytes = message.encode(NODE);
            for cut in 0..bytes.len() {
                assert_eq!(Message::decode(&bytes[..cut]), None, "{message:?} {cut}");
            }
            let mut longer = bytes.to_vec();
            longer.push(0);
            assert_eq!(Message::decode(&longer), None);
            longer.pop();
            longer[0] = VERSION + 1;
            assert_eq!(Message::decode(&longer), None);
        }
    }

    #[test]
    fn a_list_that_claims_to_be_longer_than_the_message_costs_nothing() {
        let mut bytes = Message::Sync { rooms: vec![ROOM] }.encode(NODE).to_vec();
        bytes[10..14].copy_from_slice(&[255; 4]);
        assert_eq!(Message::decode(&bytes), None);
    }
}
