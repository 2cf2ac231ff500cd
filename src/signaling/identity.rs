//! Who a connection speaks for, as the authenticator found it.

use std::sync::Arc;
use std::time::Duration;

/// Names and values. A name with several values stands there several times.
pub type KeptClaims = Arc<[(Box<str>, Box<str>)]>;

/// What an identity may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rights {
    /// May send `sig`, `send`, `meta` and `room`; without it a peer only watches.
    pub publish: bool,
    /// May use `send`, the relay of data through the hub.
    pub relay: bool,
    /// Gets TURN servers in `welcome` and `ice`.
    pub turn: bool,
}

impl Rights {
    /// Everything: what a connection has when no token limits it.
    pub const ALL: Self = Self {
        publish: true,
        relay: true,
        turn: true,
    };

    /// What both allow.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self {
            publish: self.publish && other.publish,
            relay: self.relay && other.relay,
            turn: self.turn && other.turn,
        }
    }
}

impl Default for Rights {
    /// All: what is not named is not limited.
    fn default() -> Self {
        Self::ALL
    }
}

/// An authenticated (or deliberately anonymous) user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// User id (`sub` or `userId` of a token); `None` is anonymous.
    pub user: Option<Box<str>>,
    /// The user's public key as the token spells it, told to nobody by the hub; part of ownership in a takeover.
    pub public_key: Option<Box<str>>,
    /// The only peer id this identity may use; `None` leaves the choice to the client.
    pub peer: Option<Box<str>>,
    /// Rooms this identity may join, `*` at the end of an entry stands for any ending; `None` allows every room.
    pub rooms: Option<Box<[Box<str>]>>,
    /// The tenant whose TURN credentials it gets; `None` is the default one.
    pub realm: Option<Box<str>>,
    /// The API key by which it was let in; the hub lets nobody in by one.
    pub key: Option<Arc<str>>,
    /// What it may do there.
    pub rights: Rights,
    /// What else its token says, where somebody looks at that.
    pub claims: Option<KeptClaims>,
    /// When this ends, milliseconds since the Unix epoch; `None` never. At that time the connection is closed with 4102
    /// unless it was refreshed by `auth`.
    pub expires_at_ms: Option<u64>,
}

impl Identity {
    /// Nobody in particular, with all rights.
    pub const ANONYMOUS: Self = Self {
        user: None,
        public_key: None,
        peer: None,
        rooms: None,
        realm: None,
        key: None,
        rights: Rights::ALL,
        claims: None,
        expires_at_ms: None,
    };

    /// Whether this identity may join the room of that name.
    pub fn allows_room(&self, room: &str) -> bool {
        let Some(patterns) = &self.rooms else { return true };
        patterns.iter().any(|pattern| match pattern.strip_suffix('*') {
            Some(prefix) => room.starts_with(prefix),
            None => **pattern == *room,
        })
    }

    /// Whether both are the same known user. Anonymous identities are never the same owner.
    pub fn same_owner(&self, other: &Self) -> bool {
        self.user.is_some()
            && self.user == other.user
            && self.realm == other.realm
            && self.public_key == other.public_key
    }
}

/// Whom TURN credentials are made out to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IceUser {
    /// The identity's user, or the session id of an anonymous peer.
    pub user: Box<str>,
    /// The tenant; `None` is the default one.
    pub realm: Option<Box<str>>,
    /// The session that they are handed out to.
    pub session: Box<str>,
    /// What else its token says.
    pub claims: Option<KeptClaims>,
}

impl IceUser {
    /// Of an identity whose session has this id.
    pub fn new(identity: &Identity, sid: &str) -> Self {
        Self {
            user: identity.user.clone().unwrap_or_else(|| sid.into()),
            realm: identity.realm.clone(),
            session: sid.into(),
            claims: identity.claims.clone(),
        }
    }
}

/// Why the authenticator turned a token away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// No token was given and this server wants one.
    #[error("a token is required")]
    Missing,
    /// The token is not one of ours, or its signature, issuer or audience is wrong.
    #[error("the token is not valid")]
    Invalid,
    /// The token was good and is past its expiry.
    #[error("the token has expired")]
    Expired,
    /// The token is good and does not allow signaling.
    #[error("the token does not allow this")]
    Forbidden,
    /// Whoever has to be asked about it cannot be reached; the time after which to try again.
    #[error("tokens cannot be judged now")]
    Unavailable(Duration),
    /// Too many bad tokens came from there; the time after which to try again.
    #[error("too many bad tokens came from this address")]
    Throttled(Duration),
}

/// Who may take a peer id that another connection holds in the room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Takeover {
    /// Nobody, until the holder leaves or is found dead.
    Reject,
    /// The same authenticated user, or whoever proves the holder's session with its `sid` and `key`.
    #[default]
    SameOwner,
    /// Anybody: the newest connection wins.
    Replace,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limited(rooms: &[&str]) -> Identity {
        Identity {
            rooms: Some(rooms.iter().map(|room| Box::from(*room)).collect()),
            ..Identity::ANONYMOUS
        }
    }

    #[test]
    fn a_room_list_allows_exact_names_and_prefixes_and_nothing_else() {
        let identity = limited(&["lobby", "team-*"]);
        assert!(identity.allows_room("lobby"));
        assert!(identity.allows_room("team-a"));
        assert!(identity.allows_room("team-"));
        assert!(!identity.allows_room("lobby2"));
        assert!(!identity.allows_room("team"));
        assert!(Identity::ANONYMOUS.allows_room("anything"));
        assert!(!limited(&[]).allows_room("anything"));
    }

    #[test]
    fn two_anonymous_identities_are_never_the_same_owner() {
        assert!(!Identity::ANONYMOUS.same_owner(&Identity::ANONYMOUS));
        let alice = Identity {
            user: Some("alice".into()),
            ..Identity::ANONYMOUS
        };
        let keyed = Identity {
            public_key: Some("k".into()),
            ..alice.clone()
        };
        assert!(alice.same_owner(&alice));
        assert!(!alice.same_owner(&keyed));
        let elsewhere = Identity {
            realm: Some("acme".into()),
            ..alice.clone()
        };
        assert!(!alice.same_owner(&elsewhere) && elsewhere.same_owner(&elsewhere));
    }
}
