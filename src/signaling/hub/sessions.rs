//! Greeting a connection, and renewing who it speaks for.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    Hub, Older, SERVER,
    rooms::{WATCHES, servers_name},
};
use crate::signaling::{
    Now,
    cluster::claim,
    connection::{ConnectionId, Due, Membership, Peer},
    dialect::Dialect,
    error::Reject,
    identity::{AuthError, Identity},
    labels::{CloseCode, ErrorCode},
    meta::Meta,
    payload::Payload,
    secrets::Sid,
};

/// What a connection says about itself when it starts.
#[derive(Debug)]
pub(crate) struct Greeting<'a> {
    /// The peer id it wants; `None` leaves the choice to the hub.
    pub(crate) peer: Option<&'a str>,
    /// The session it comes back from.
    pub(crate) older: Option<Older<'a>>,
    /// It understands events that are told again, and says what it has seen.
    pub(crate) resumes: bool,
    /// It reads binary frames.
    pub(crate) binary: bool,
    /// Presence data for rooms joined without any of their own.
    pub(crate) meta: Option<Arc<Meta>>,
}

/// A connection that has just been welcomed.
#[derive(Debug)]
pub(crate) struct Greeted {
    pub(crate) sid: Sid,
    pub(crate) key: String,
    pub(crate) peer: Arc<str>,
    /// The older session goes on: what it missed, to be told after the welcome.
    pub(crate) missed: Option<Vec<Payload>>,
}

impl Hub {
    /// Whether the connection has been welcomed.
    pub(crate) fn is_welcomed(&self, connection: ConnectionId) -> bool {
        self.connections
            .get(connection)
            .is_some_and(|entry| entry.peer.is_some())
    }

    /// The peer id of a connection, once it has been welcomed.
    pub(crate) fn peer_id(&self, connection: ConnectionId) -> Option<&Arc<str>> {
        let peer = self.connections.get(connection)?.peer.as_ref()?;
        Some(&peer.id)
    }

    /// The same for those who are known to be welcomed; empty for the others.
    pub(crate) fn own_id(&self, connection: ConnectionId) -> &str {
        self.peer_id(connection).map_or("", |id| &**id)
    }

    /// The id that a silent connection was offered ([`Config::welcome_silent_after`](crate::signaling::Config)), for dialects
    /// whose clients take it as theirs.
    pub(crate) fn offered_id(&self, connection: ConnectionId) -> Option<String> {
        let entry = self.connections.get(connection).filter(|entry| entry.has_offer)?;
        Some(self.secrets.offer(entry.sid))
    }

    /// Offers an id to a connection that has said nothing.
    pub(crate) fn offer_id(&mut self, connection: ConnectionId) -> Option<String> {
        self.connections.get_mut(connection)?.has_offer = true;
        self.offered_id(connection)
    }

    /// An id for a connection that leaves the choice to the hub.
    fn fresh_id(&mut self, connection: ConnectionId) -> String {
        match self.connections.get(connection).map(|entry| entry.dialect) {
            Some(Dialect::Matchbox) => self.secrets.uuid(),
            _ => self.secrets.peer_id(),
        }
    }

    /// Makes a connection a peer.
    pub(crate) fn greet(
        &mut self,
        now: Now,
        connection: ConnectionId,
        greeting: Greeting<'_>,
        identity: Result<Identity, AuthError>,
    ) -> Result<Greeted, Reject> {
        if self.is_welcomed(connection) {
            return Err(Reject::bad_request("hello was said already"));
        }

        let identity = identity?;
        let deadline = deadline(now, &identity)?;
        if !identity.rights.publish && greeting.meta.is_some() {
            return Err(Reject::new(ErrorCode::Forbidden, WATCHES).fatal(CloseCode::Forbidden));
        }
        if let Some(peer) = greeting.peer {
            self.check_peer_id(connection, peer)?;
        }
        if identity.peer.as_deref() == Some(SERVER) {
            return Err(servers_name());
        }
        if let (Some(bound), Some(asked)) = (&identity.peer, greeting.peer)
            && **bound != *asked
        {
            return Err(
                Reject::new(ErrorCode::Forbidden, "your token names another peer id").fatal(CloseCode::Forbidden)
            );
        }

        // Whoever proves an older session goes on with it, or at least replaces it: a half-open socket never stands in the way of
        // its owner.
        let older = greeting
            .older
            .and_then(|older| Some((self.proven(connection, older)?, older.seen)));
        self.check_owner(&identity, older.map(|(older, _)| older))?;
        // A session that is none of this process may be another node's: it is let go there, and its places are this one's to take.
        let elsewhere = greeting.older.filter(|_| older.is_none() && self.is_linked());
        let elsewhere =
            elsewhere.and_then(|older| Sid::parse(older.sid).map(|sid| (sid, claim::session(&sid, older.key))));
        if let Some((sid, session)) = elsewhere {
            self.tell_returned(sid, session);
        }
        let inherited = older
            .and_then(|(older, _)| self.connections.get(older)?.peer.as_ref())
            .map(|peer| Arc::clone(&peer.id));
        let renamed = [identity.peer.as_deref(), greeting.peer]
            .into_iter()
            .flatten()
            .any(|asked| inherited.as_deref() != Some(asked));
        let wanted = identity.peer.as_deref().or(greeting.peer).or(inherited.as_deref());
        if let Some(barred) = self.barred(now, connection, None, wanted, &identity) {
            self.stats.banned += 1;
            return Err(barred);
        }
        let missed = older
            .filter(|_| greeting.resumes && !renamed)
            .and_then(|(older, seen)| self.missed(connection, older, &identity, seen?, greeting.binary));
        let missed = missed.filter(|_| older.is_some_and(|(older, _)| self.try_charge_return(now, older)));
        if let Some((older, _)) = older {
            if missed.is_some() {
                self.move_session(older, connection);
            } else {
                self.stats.takeovers += 1;
                self.stats.resumes_refused += u64::from(greeting.resumes);
                self.inherit_sid(older, connection);
                self.close(older, CloseCode::Replaced);
            }
        }
        let chosen = identity.peer.as_deref().or(greeting.peer).map(Arc::from).or(inherited);
        let id: Arc<str> = chosen.unwrap_or_else(|| Arc::from(self.fresh_id(connection)));
        let allowed = identity.clone();
        let identity = (identity != Identity::ANONYMOUS).then(|| Box::new(identity));
        self.set_due(connection, Due::End, deadline);
        let fresh = missed.is_none().then(|| self.new_replay(greeting.resumes));
        let Some(entry) = self.connections.get_mut(connection) else {
            return Err(Reject::new(ErrorCode::Unavailable, "the connection is gone"));
        };
        entry.peer = Some(Peer {
            id: Arc::clone(&id),
            identity,
            proof: None,
            meta: greeting.meta,
            ousts: elsewhere.map(|(_, session)| Box::new(session)),
        });
        if let Some(fresh) = fresh {
            entry.replay = fresh;
        }
        entry.binary = greeting.binary;
        let (sid, rooms) = (entry.sid, entry.rooms.clone());
        self.stats.peers += 1;
        self.count_owner(&allowed);
        self.leave_forbidden(connection, &rooms, &allowed);
        Ok(Greeted {
            sid,
            key: self.secrets.key(sid),
            peer: id,
            missed,
        })
    }

    /// Puts a newer identity of the same user in the place of the present one. Rooms it does not allow any more are left.
    pub(crate) fn refresh(
        &mut self,
        now: Now,
        connection: ConnectionId,
        identity: Result<Identity, AuthError>,
    ) -> Result<(), Reject> {
        // A token that is turned away here leaves the present one in force until its own end.
        let identity = identity.map_err(|error| Reject {
            close: None,
            ..Reject::from(error)
        })?;
        let deadline = deadline(now, &identity).map_err(|reject| Reject { close: None, ..reject })?;
        let gone = Reject::new(ErrorCode::Unavailable, "the connection is gone");
        let entry = self.connections.get_mut(connection).ok_or(gone)?;
        let peer = entry.peer.as_mut().ok_or(gone)?;
        let present = peer.identity();
        if present.user != identity.user || present.public_key != identity.public_key {
            return Err(Reject::new(ErrorCode::Forbidden, "the token is for another user"));
        }
        if identity.peer.as_deref().is_some_and(|bound| *bound != *peer.id) {
            return Err(Reject::new(ErrorCode::Forbidden, "the token names another peer id"));
        }
        let (rooms, id, present) = (entry.rooms.clone(), Arc::clone(&peer.id), present.clone());
        // The tenant may be another one now: a user of that name may be kept out as that one's, or have all of its places.
        if present.realm != identity.realm {
            if let Some(barred) = self.barred(now, connection, None, Some(&id), &identity) {
                self.stats.banned += 1;
                return Err(barred);
            }
            let full = |reject| Reject { close: None, ..reject };
            self.check_owner(&identity, None).map_err(full)?;
        }
        let entry = self.connections.get_mut(connection).ok_or(gone)?;
        let peer = entry.peer.as_mut().ok_or(gone)?;
        peer.identity = (identity != Identity::ANONYMOUS).then(|| Box::new(identity.clone()));
        self.discount_owner(&present);
        self.count_owner(&identity);
        self.set_due(connection, Due::End, deadline);
        self.leave_forbidden(connection, &rooms, &identity);
        Ok(())
    }

    /// Takes a connection out of the rooms that its identity does not allow (any more).
    fn leave_forbidden(&mut self, connection: ConnectionId, rooms: &[Membership], identity: &Identity) {
        for &membership in rooms {
            if !self.room_allowed(membership, identity) {
                self.leave(connection, membership, "forbidden");
            }
        }
    }

    fn room_allowed(&self, membership: Membership, identity: &Identity) -> bool {
        self.rooms
            .get(membership.room)
            .is_some_and(|room| identity.allows_room(&room.name.name))
    }

    /// The identity's right to make itself heard.
    pub(crate) fn check_publish(&self, connection: ConnectionId) -> Result<(), Reject> {
        let peer = self.connections.get(connection).and_then(|entry| entry.peer.as_ref());
        match peer {
            Some(peer) if peer.identity().rights.publish => Ok(()),
            _ => Err(Reject::new(ErrorCode::Forbidden, WATCHES)),
        }
    }
}

/// When the identity ends, on the clock of deadlines.
fn deadline(now: Now, identity: &Identity) -> Result<Option<Instant>, Reject> {
    let Some(expires_at_ms) = identity.expires_at_ms else {
        return Ok(None);
    };
    match expires_at_ms.checked_sub(now.unix_ms) {
        None | Some(0) => Err(AuthError::Expired.into()),
        // Above what the clock can hold is never.
        Some(left) => Ok(now.instant.checked_add(Duration::from_millis(left))),
    }
}
