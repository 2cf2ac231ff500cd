//! Payloads from one member to others. Nothing in here looks into them.

use std::{borrow::Cow, sync::Arc, time::Duration};

use bytes::Bytes;

use super::Hub;
use crate::signaling::{
    Now,
    cluster::{NodeId, message::Said},
    connection::{ConnectionId, Membership},
    error::Reject,
    event::{Data, Event},
    labels::{ErrorCode, RelayBudget},
    limits::{Bucket, Rate},
    room::{Member, Place, Room, RoomRef},
    slab::Key,
};

/// Whom a forwarded frame is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach<'a> {
    /// The member of that name.
    Peer(&'a str),
    /// All but the sender.
    Others,
    /// The sender too.
    Everybody,
}

impl<'a> Reach<'a> {
    /// Whom a frame names, or else all others.
    pub(crate) fn named(to: Option<&'a str>) -> Self {
        to.map_or(Self::Others, Self::Peer)
    }
}

/// What became of a message to several peers.
#[derive(Debug)]
pub(crate) struct Sent<'a> {
    pub(crate) receivers: usize,
    /// Peers that were named and are not in the room.
    pub(crate) missing: Vec<&'a str>,
}

/// What a frame costs on the wire beside its payload; keeps tiny messages to large rooms from being free.
const FRAME_OVERHEAD: usize = 64;

/// What a name costs in a list beside itself: quotes and a comma.
const ENTRY_OVERHEAD: usize = 3;

const NO_PEER: Reject = Reject::new(ErrorCode::NoPeer, "nobody of that id is in the room");
const UNLINKED: Reject =
    Reject::new(ErrorCode::Unavailable, "the server of that peer cannot be reached").retry(Duration::from_secs(1));
const NOT_IN_ROOM: Reject = Reject::new(ErrorCode::NoRoom, "you are not in that room");

/// A budget that holds what a second gives it.
const fn per_second(bytes: u32) -> Rate {
    Rate {
        per_second: bytes,
        burst: bytes,
    }
}

/// Where one receiver is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Receiver {
    Here(ConnectionId),
    There(NodeId),
}

impl Receiver {
    fn of(member: &Member) -> Self {
        match &member.place {
            Place::Here(connection) => Self::Here(*connection),
            Place::There(remote) => Self::There(remote.node),
        }
    }
}

/// Receivers that were named, each once.
#[derive(Debug)]
pub(super) struct Named<'a> {
    pub(super) here: Vec<ConnectionId>,
    pub(super) there: Vec<(NodeId, Vec<&'a str>)>,
}

impl<'a> Named<'a> {
    pub(super) fn with_capacity(capacity: usize) -> Self {
        Self {
            here: Vec::with_capacity(capacity),
            there: Vec::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.here.len() + self.there.iter().map(|(_, peers)| peers.len()).sum::<usize>()
    }

    pub(super) fn add(&mut self, member: &Member, peer: &'a str) {
        match Receiver::of(member) {
            Receiver::Here(connection) if self.here.contains(&connection) => {}
            Receiver::Here(connection) => self.here.push(connection),
            Receiver::There(node) => match self.there.iter_mut().find(|(known, _)| *known == node) {
                Some((_, peers)) if peers.contains(&peer) => {}
                Some((_, peers)) => peers.push(peer),
                None => self.there.push((node, vec![peer])),
            },
        }
    }
}

impl Hub {
    /// Hands negotiation data to one member.
    pub(crate) fn signal(
        &mut self,
        connection: ConnectionId,
        membership: Membership,
        to: &str,
        kind: &str,
        data: Option<&str>,
        correlation: Option<&str>,
    ) -> Result<(), Reject> {
        let room = self.rooms.get(membership.room).ok_or(NOT_IN_ROOM)?;
        let receiver = Receiver::of(room.find(to).ok_or(NO_PEER)?);
        if receiver == Receiver::Here(connection) {
            return Err(Reject::bad_request("a peer does not signal itself"));
        }
        let from = room.member(membership.ordinal).ok_or(NOT_IN_ROOM)?;
        let (name, from) = (Arc::clone(&room.name.name), Arc::clone(&from.peer));
        let receiver = match receiver {
            Receiver::Here(receiver) => receiver,
            Receiver::There(node) => {
                let said = Said::Signal {
                    kind,
                    data,
                    correlation,
                };
                return self.try_direct(membership.room, node, &from, vec![to], said);
            }
        };
        let heard = self.unicast(
            receiver,
            &Event::Signal {
                room: &name,
                from: &from,
                kind,
                data,
                correlation,
            },
        );
        if heard { Ok(()) } else { Err(NO_PEER) }
    }

    /// Hands a frame of the sender's own dialect to one member or to many. `relayed` data is charged, signals are not.
    pub(crate) fn forward(
        &mut self,
        now: Now,
        connection: ConnectionId,
        membership: Membership,
        reach: Reach<'_>,
        frame: &Bytes,
        relayed: bool,
    ) -> Result<(), Reject> {
        self.check_publish(connection)?;
        let room = self.rooms.get(membership.room).ok_or(NOT_IN_ROOM)?;
        let from = room.member(membership.ordinal).ok_or(NOT_IN_ROOM)?;
        let from = Arc::clone(&from.peer);
        let (receiver, receivers) = match reach {
            Reach::Peer(to) => {
                let nobody = Reject::new(ErrorCode::NoPeer, "Peer not found");
                let receiver = Receiver::of(room.find(to).ok_or(nobody)?);
                (Some((to, receiver)), 1)
            }
            Reach::Others => (None, room.len() - 1),
            Reach::Everybody => (None, room.len()),
        };
        // What names nobody is no negotiation, whatever it calls itself.
        if relayed || receiver.is_none() {
            self.check_relay(connection)?;
            self.charge_relay(now, connection, membership.room, frame.len(), receivers)?;
            self.stats.relayed_bytes += (frame.len() * receivers) as u64;
        }
        let event = Event::Verbatim { frame };
        // What came in as text; anything else is no frame of a dialect.
        let said = Said::Verbatim {
            frame: std::str::from_utf8(frame).unwrap_or_default(),
        };
        match receiver {
            Some((_, Receiver::Here(receiver))) => {
                self.unicast(receiver, &event);
            }
            Some((to, Receiver::There(node))) => {
                return self.try_direct(membership.room, node, &from, vec![to], said);
            }
            None => {
                let except = (reach == Reach::Others).then_some(connection);
                self.broadcast(membership.room, except, &event);
                self.cast(membership.room, &from, said);
            }
        }
        Ok(())
    }

    /// Hands application data to the named members, or to all others when none is named. Those who are away miss it, unless it
    /// is `reliable`.
    pub(crate) fn relay<'a>(
        &mut self,
        now: Now,
        connection: ConnectionId,
        membership: Membership,
        to: Option<&'a [Cow<'a, str>]>,
        data: Data<'_>,
        reliable: bool,
    ) -> Result<Sent<'a>, Reject> {
        self.check_publish(connection)?;
        self.check_relay(connection)?;
        let room = self.rooms.get(membership.room).ok_or(NOT_IN_ROOM)?;
        let from = room.member(membership.ordinal).ok_or(NOT_IN_ROOM)?;
        let (name, from) = (Arc::clone(&room.name.name), Arc::clone(&from.peer));
        let mut missing = Vec::new();
        let named = match to {
            None => None,
            Some(to) if to.len() > self.config.receivers_per_send => {
                return Err(Reject::bad_request("too many receivers in to"));
            }
            Some(to) => {
                let mut named = Named::with_capacity(to.len());
                for peer in to {
                    match room.find(peer) {
                        Some(member) if reliable || !self.member_is_away(member) => named.add(member, peer),
                        _ => missing.push(&**peer),
                    }
                }
                if named.len() == 0 {
                    return Err(NO_PEER);
                }
                Some(named)
            }
        };
        let receivers = named.as_ref().map_or(room.len() - 1, Named::len);
        let elsewhere = room.members().iter().filter(|member| member.remote().is_some());
        let elsewhere = elsewhere
            .filter(|member| reliable || !self.member_is_away(member))
            .count();
        self.charge_relay(now, connection, membership.room, data.len(), receivers)?;
        let event = Event::Message {
            room: &name,
            from: &from,
            data,
            reliable,
        };
        let said = Said::Message { data, reliable };
        let linked = self.is_linked();
        let receivers = match named {
            None => {
                self.cast(membership.room, &from, said);
                let here = self.broadcast(membership.room, Some(connection), &event);
                here + if linked { elsewhere } else { 0 }
            }
            Some(named) => {
                let mut reached = self.multicast(&named.here, &event);
                for (node, peers) in named.there {
                    if linked {
                        reached += peers.len();
                        self.direct(membership.room, node, &from, peers, said);
                    } else {
                        missing.extend(peers);
                    }
                }
                if reached == 0 && !linked {
                    return Err(UNLINKED);
                }
                reached
            }
        };
        self.stats.relayed_bytes += (data.len() * receivers) as u64;
        Ok(Sent { receivers, missing })
    }

    /// Hands something to members on another node, if there is a way to it.
    fn try_direct(&mut self, room: Key, node: NodeId, from: &str, to: Vec<&str>, said: Said<'_>) -> Result<(), Reject> {
        if !self.is_linked() {
            return Err(UNLINKED);
        }
        self.direct(room, node, from, to, said);
        Ok(())
    }

    /// Charges relayed data to its sender, its room and the process. What one of them refuses costs the others nothing. Nothing
    /// waits for its turn here: a queue would be memory for who sends too much, and late data for everybody.
    fn charge_relay(
        &mut self,
        now: Now,
        connection: ConnectionId,
        room: Key,
        length: usize,
        receivers: usize,
    ) -> Result<(), Reject> {
        let entry = self.connections.get_mut(connection).ok_or(NOT_IN_ROOM)?;
        let charged = entry.budget.charge_relay(&self.config, now.instant, length);
        charged.map_err(|retry| self.relay_busy(RelayBudget::Peer, retry))?;
        let wire = ((length + FRAME_OVERHEAD) * receivers) as u64;
        let rate = per_second(self.config.relay_room_bytes_per_second);
        let shared = self.rooms.get_mut(room).map_or(Ok(()), |room| {
            let budget = room.relay.get_or_insert_with(|| Bucket::full(rate, now.instant));
            budget.try_take(rate, now.instant, wire)
        });
        let shared = shared.map_err(|retry| (RelayBudget::Room, retry)).and_then(|()| {
            let charged = self.charge_relay_total(now, wire);
            charged.map_err(|retry| {
                if let Some(budget) = self.rooms.get_mut(room).and_then(|room| room.relay.as_mut()) {
                    budget.put_back(rate, wire);
                }
                (RelayBudget::Total, retry)
            })
        });
        shared.map_err(|(budget, retry)| {
            if let Some(entry) = self.connections.get_mut(connection) {
                entry.budget.refund_relay(&self.config, length);
            }
            self.relay_busy(budget, retry)
        })
    }

    fn relay_busy(&mut self, budget: RelayBudget, retry: Duration) -> Reject {
        self.stats.relay_refused[budget] += 1;
        let message = match budget {
            RelayBudget::Peer => "more than limits.relay_bps",
            RelayBudget::Room => "the room relays as much as it may",
            RelayBudget::Total => "the server relays as much as it may",
        };
        Reject::new(ErrorCode::RelayBusy, message).retry(retry)
    }

    /// Charges what it costs to tell all members of a room of all others, when somebody joins it and when it goes again: that
    /// grows with the square of the room. Who is in it already is charged nothing.
    pub(crate) fn charge_lists(&mut self, now: Now, connection: ConnectionId, room: &str) -> Result<(), Reject> {
        if self.is_held(connection) || self.membership(connection, room).is_ok() {
            return Ok(());
        }
        let realm = self.connections.get(connection).ok_or(NOT_IN_ROOM)?.realm;
        let found = self.by_name.get(&RoomRef { realm, name: room });
        let members = found.and_then(|room| self.rooms.get(*room)).map(Room::members);
        let members = members.unwrap_or_default();
        let list: usize = members.iter().map(|member| member.peer.len() + ENTRY_OVERHEAD).sum();
        let charged = self.charge_relay_total(now, 2 * (list * members.len()) as u64);
        charged.map_err(|retry| self.relay_busy(RelayBudget::Total, retry))
    }

    /// Charges bytes that a relay is about to put on the wire against the budget of the whole hub.
    fn charge_relay_total(&mut self, now: Now, bytes: u64) -> Result<(), Duration> {
        let rate = per_second(self.config.relay_total_bytes_per_second);
        self.relay_total
            .get_or_insert_with(|| Bucket::full(rate, now.instant))
            .try_take(rate, now.instant, bytes)
    }

    fn check_relay(&self, connection: ConnectionId) -> Result<(), Reject> {
        let peer = self.connections.get(connection).and_then(|entry| entry.peer.as_ref());
        match peer {
            Some(peer) if peer.identity().rights.relay => Ok(()),
            _ => Err(Reject::new(
                ErrorCode::Forbidden,
                "your token does not let you relay data",
            )),
        }
    }
}
