//! Sessions that outlive their socket: a peer whose network blinked is `away` for a while, keeps its places, and finds what
//! it missed when it comes back.

use super::{Hub, admission::cost, presence::Presence};
use crate::signaling::{
    Now,
    connection::{Connection, ConnectionId, Due, Rated},
    dialect::native,
    event::Event,
    identity::Identity,
    labels::{CloseCode, MessageKind},
    payload::Payload,
    replay::{Away, Bound, Replay},
    room::{Member, Place},
    secrets::Sid,
};

/// The session that a `hello` comes back from, as it says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Older<'a> {
    pub(crate) sid: &'a str,
    pub(crate) key: &'a str,
    /// The newest event that the client has seen; `None` asks for a fresh start under the old name.
    pub(crate) seen: Option<u64>,
}

impl Hub {
    pub(super) fn replay_bound(&self) -> Bound {
        Bound {
            frames: self.config.resume_frames,
            bytes: self.config.resume_bytes,
        }
    }

    /// What a connection that can resume is given at its welcome.
    pub(super) fn new_replay(&self, can_resume: bool) -> Option<Box<Replay>> {
        (can_resume && self.config.offers_resume()).then(Box::default)
    }

    /// The client has seen everything up to that event.
    pub(crate) fn acknowledge(&mut self, connection: ConnectionId, seq: u64) {
        if let Some(entry) = self.connections.get_mut(connection)
            && let Some(replay) = &mut entry.replay
        {
            replay.acknowledge(seq);
        }
    }

    /// Keeps the session of a socket that has ended, if it may come back, and tells its rooms. False: there is nothing to keep.
    pub(super) fn try_keep(&mut self, now: Now, connection: ConnectionId, why: CloseCode) -> bool {
        if !matches!(why, CloseCode::Abnormal | CloseCode::Dead | CloseCode::Slow) {
            return false;
        }
        let (kept, limit) = (self.away, self.config.away_sessions);
        let unseen_after = self.seq;
        let Some(entry) = self.connections.get_mut(connection) else {
            return false;
        };
        if entry.is_away() {
            // The driver reports the end of a socket as often as it likes.
            return true;
        }
        if entry.rooms.is_empty() {
            return false;
        }
        let Some(replay) = &mut entry.replay else { return false };
        if kept >= limit {
            self.stats.away_refused += 1;
            return false;
        }
        replay.away = Some(Away { why, unseen_after });
        let identity_ends = entry.due[Due::End.index()];
        let grace_ends = now.instant.checked_add(self.config.resume_grace);
        let deadline = [identity_ends, grace_ends].into_iter().flatten().min();
        let identity = entry.peer.as_ref().map(|peer| peer.identity().clone());
        self.drop_held(connection);
        self.away += 1;
        self.stats.closes[why] += 1;
        // A session that waits does not keep its owner from coming back in another way; the driver bounds those that wait.
        if let Some(identity) = identity {
            self.discount_owner(&identity);
        }
        self.set_due(connection, Due::End, deadline);
        self.set_due(connection, Due::Ice, None);
        self.announce(connection, Presence::Away);
        true
    }

    /// Whether the socket of a connection has ended and its session waits for its owner.
    pub fn is_away(&self, connection: ConnectionId) -> bool {
        self.connections.get(connection).is_some_and(Connection::is_away)
    }

    /// The same of a member, wherever it is.
    pub(super) fn member_is_away(&self, member: &Member) -> bool {
        match &member.place {
            Place::Here(connection) => self.is_away(*connection),
            Place::There(remote) => remote.away,
        }
    }

    /// How many sessions wait.
    pub const fn away_sessions(&self) -> usize {
        self.away
    }

    /// Ends a session that waits: its owner has as many of them as the driver lets one have.
    pub fn refuse_waiting(&mut self, connection: ConnectionId) {
        let entry = self.connections.get(connection);
        if let Some(away) = entry.and_then(|entry| entry.replay.as_ref()?.away) {
            self.stats.away_refused += 1;
            self.end(connection, away.why);
        }
    }

    /// The session that `older` proves to own, whether it can go on or not.
    pub(super) fn proven(&self, connection: ConnectionId, older: Older<'_>) -> Option<ConnectionId> {
        let sid = Sid::parse(older.sid)?;
        let found = *self.by_sid.get(&sid)?;
        (found != connection && self.secrets.proves(sid, older.key)).then_some(found)
    }

    /// What the owner of `older` has missed, if the session can go on under this identity; as text alone, unless its client reads
    /// `binary` frames.
    pub(super) fn missed(
        &self,
        connection: ConnectionId,
        older: ConnectionId,
        identity: &Identity,
        seen: u64,
        binary: bool,
    ) -> Option<Vec<Payload>> {
        let (new, old) = (self.connections.get(connection)?, self.connections.get(older)?);
        let owner = old.peer.as_ref()?.identity();
        let same = (new.realm, new.dialect) == (old.realm, old.dialect)
            && owner.user == identity.user
            && owner.public_key == identity.public_key;
        if !same {
            return None;
        }
        let readable = |payload| match payload {
            // It was kept for a client that reads binary frames.
            Payload::Binary(frame) if !binary => native::binary::as_text(&frame).map(Payload::Text),
            other => Some(other),
        };
        old.replay.as_ref()?.after(seen)?.map(readable).collect()
    }

    /// Charges a session for coming back what it would cost to join its rooms anew: they hear of it as often, and a hello on a
    /// fresh connection would be charged to nobody who has a past. False: it has come back too often.
    pub(super) fn try_charge_return(&mut self, now: Now, older: ConnectionId) -> bool {
        let Some(old) = self.connections.get_mut(older) else {
            return false;
        };
        let rooms = cost(MessageKind::Join) * old.rooms.len() as u64;
        let all = cost(MessageKind::Hello) + rooms;
        old.budget.charge(&self.config, now.instant, all, 0) == Rated::Passed
    }

    /// Gives the name of an older session, which is about to end, to the one that takes its place: what was handed out to the
    /// one (credentials for the relay) was made out to that name before it was known that it would not go on.
    pub(super) fn inherit_sid(&mut self, older: ConnectionId, connection: ConnectionId) {
        let sid = |hub: &Self, of| hub.connections.get(of).map(|entry: &Connection| entry.sid);
        let (Some(old), Some(new)) = (sid(self, older), sid(self, connection)) else {
            return;
        };
        for (holder, sid) in [(older, new), (connection, old)] {
            if let Some(entry) = self.connections.get_mut(holder) {
                entry.sid = sid;
                self.by_sid.insert(sid, holder);
            }
        }
    }

    /// Moves the session of `older` to `connection`: its name, its rooms, its budget, what it has been told. The old socket, if
    /// there is one, is closed; the rooms see nobody leave.
    pub(super) fn move_session(&mut self, older: ConnectionId, connection: ConnectionId) {
        let Some(old) = self.connections.remove(older) else {
            return;
        };
        self.forget_deadlines(older, &old);
        self.drop_held(older);
        let was_away = old.is_away();
        if was_away {
            self.away -= 1;
        } else {
            if let Some(peer) = &old.peer {
                self.discount_owner(peer.identity());
            }
            self.stats.closes[CloseCode::Replaced] += 1;
            self.outputs.push_back(super::Output::Close {
                connection: older,
                code: CloseCode::Replaced,
            });
        }
        for membership in &old.rooms {
            let member = self.rooms.get_mut(membership.room);
            if let Some(member) = member.and_then(|room| room.member_mut(membership.ordinal)) {
                member.place = Place::Here(connection);
            }
        }
        if let Some(new) = self.connections.get_mut(connection) {
            self.by_sid.remove(&new.sid);
            self.by_sid.insert(old.sid, connection);
            new.sid = old.sid;
            new.budget = old.budget;
            new.rooms = old.rooms;
            new.replay = old.replay;
            if let Some(replay) = &mut new.replay {
                replay.away = None;
            }
        }
        // The peer is counted once, on whichever connection.
        self.stats.peers -= 1;
        self.stats.resumes += 1;
        if was_away {
            self.announce(connection, Presence::Back);
        }
    }

    /// Ends sessions that cannot be resumed any more, because what they missed was too much to keep. Says whether there was one.
    pub(super) fn end_overflowed(&mut self) -> bool {
        let Some(connection) = self.overflowed.pop() else {
            return false;
        };
        if self.connections.get(connection).is_some_and(|entry| entry.is_away()) {
            self.stats.away_overflows += 1;
            self.end(connection, CloseCode::Abnormal);
        }
        true
    }

    /// Tells every room of a connection that its peer is away, or back.
    fn announce(&mut self, connection: ConnectionId, presence: Presence) {
        let Some(entry) = self.connections.get(connection) else {
            return;
        };
        for membership in entry.rooms.clone() {
            let Some(room) = self.rooms.get(membership.room) else {
                continue;
            };
            let Some(member) = room.member(membership.ordinal) else {
                continue;
            };
            let (name, peer) = (room.name.name.clone(), member.peer.clone());
            let event = match presence {
                Presence::Away => Event::Away {
                    room: &name,
                    peer: &peer,
                },
                Presence::Back => Event::Back {
                    room: &name,
                    peer: &peer,
                },
            };
            self.broadcast(membership.room, Some(connection), &event);
            self.tell_away(membership.room, &peer, presence == Presence::Away);
        }
    }

    /// The session that a `hello` would go on with: whose name credentials for it should bear.
    pub fn session_of(&self, connection: ConnectionId, admitted: &super::Admitted<'_>) -> Option<Sid> {
        let proven = admitted.older().and_then(|older| self.proven(connection, older));
        let session = proven.unwrap_or(connection);
        self.connections.get(session).map(|entry| entry.sid)
    }
}
