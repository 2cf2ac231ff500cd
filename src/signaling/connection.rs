//! What the hub knows of one connection.

use std::{sync::Arc, time::Instant};

use super::{
    cluster::claim,
    config::Config,
    dialect::Dialect,
    identity::Identity,
    limits::{Bucket, Rate},
    meta::Meta,
    replay::Replay,
    room::Realm,
    secrets::Sid,
    slab::Key,
};

/// A connection of the hub, from `connect` until `disconnect` or `Output::Close`. Never valid again after that.
pub type ConnectionId = Key;

/// What a connection waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Due {
    /// The connection (or the session without one) ends: no hello came, the identity is over, the owner did not come back.
    End,
    /// It is given newer ICE credentials; it holds some.
    Ice,
    /// Its dialect has something to do.
    Dialect,
}

impl Due {
    /// All of them, in the order of [`Self::index`].
    pub(crate) const ALL: [Self; 3] = [Self::End, Self::Ice, Self::Dialect];

    /// Position in [`Self::ALL`].
    pub(crate) const fn index(self) -> usize {
        self as usize
    }
}

/// A connection's place in a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Membership {
    pub(crate) room: Key,
    pub(crate) ordinal: u64,
}

#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) realm: Realm,
    pub(crate) dialect: Dialect,
    pub(crate) sid: Sid,
    /// It was silent on a path of any dialect, and has been offered an id.
    pub(crate) has_offer: bool,
    pub(crate) budget: Budget,
    /// When what is [`Due`] happens to it, by [`Due::index`].
    pub(crate) due: [Option<Instant>; Due::ALL.len()],
    /// `None` until welcomed.
    pub(crate) peer: Option<Peer>,
    pub(crate) rooms: Vec<Membership>,
    /// The relay that comes first in its ICE servers ([`Ice::relay`](super::Ice::relay)).
    pub(crate) relay: Option<u64>,
    /// It reads binary frames, and may send them.
    pub(crate) binary: bool,
    /// Where it comes from, as far as the driver says.
    pub(crate) address: Option<std::net::IpAddr>,
    /// What it can be told again on another socket; `None` for clients that do not resume.
    pub(crate) replay: Option<Box<Replay>>,
}

impl Connection {
    /// Its socket has ended and its owner may come back.
    pub(crate) fn is_away(&self) -> bool {
        self.replay.as_ref().is_some_and(|replay| replay.away.is_some())
    }
}

/// A welcomed connection.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) id: Arc<str>,
    /// `None` is [`Identity::ANONYMOUS`], which most peers of an open server are.
    pub(crate) identity: Option<Box<Identity>>,
    /// SHA-256 of the secret by which the owner of the id takes it over, in dialects that have one.
    pub(crate) proof: Option<Box<[u8; 32]>>,
    /// Presence data for rooms joined without any of their own.
    pub(crate) meta: Option<Arc<Meta>>,
    /// Of a session on another node that it has shown to come back from: its places are this one's to take.
    pub(crate) ousts: Option<Box<claim::Digest>>,
}

impl Peer {
    pub(crate) fn identity(&self) -> &Identity {
        static ANONYMOUS: Identity = Identity::ANONYMOUS;
        self.identity.as_deref().unwrap_or(&ANONYMOUS)
    }
}

/// What one connection may still spend.
#[derive(Debug)]
pub(crate) struct Budget {
    messages: Bucket,
    bytes: Bucket,
    patience: Bucket,
    relay: Bucket,
}

const fn messages(config: &Config) -> Rate {
    Rate {
        per_second: config.messages_per_second,
        burst: config.message_burst,
    }
}

const fn bytes(config: &Config) -> Rate {
    Rate {
        per_second: config.bytes_per_second,
        burst: config.byte_burst,
    }
}

const fn patience(config: &Config) -> Rate {
    Rate {
        per_second: config.rate_patience / 10,
        burst: config.rate_patience,
    }
}

const fn relay(config: &Config) -> Rate {
    Rate {
        per_second: config.relay_bytes_per_second,
        burst: config.relay_byte_burst,
    }
}

/// What the rate limit says to a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rated {
    Passed,
    /// Refused; come back after this long.
    Refused(std::time::Duration),
    /// Refused once too often.
    Persistent,
}

impl Budget {
    pub(crate) fn full(config: &Config, now: Instant) -> Self {
        Self {
            messages: Bucket::full(messages(config), now),
            bytes: Bucket::full(bytes(config), now),
            patience: Bucket::full(patience(config), now),
            relay: Bucket::full(relay(config), now),
        }
    }

    /// Charges a message of that cost and length.
    pub(crate) fn charge(&mut self, config: &Config, now: Instant, cost: u64, length: usize) -> Rated {
        let taken = self
            .messages
            .try_take(messages(config), now, cost)
            .and_then(|()| self.bytes.try_take(bytes(config), now, length as u64));
        match taken {
            Ok(()) => Rated::Passed,
            Err(retry) if self.patience.try_take(patience(config), now, 1).is_ok() => Rated::Refused(retry),
            Err(_) => Rated::Persistent,
        }
    }

    /// Charges payload bytes of a `send`.
    pub(crate) fn charge_relay(
        &mut self,
        config: &Config,
        now: Instant,
        length: usize,
    ) -> Result<(), std::time::Duration> {
        self.relay.try_take(relay(config), now, length as u64)
    }

    /// Gives back what a `send` was charged that another budget refused.
    pub(crate) fn refund_relay(&mut self, config: &Config, length: usize) {
        self.relay.put_back(relay(config), length as u64);
    }
}
