//! Frames for names that nobody has yet: they wait a moment for their owner to come, and their sender is told when nobody did.
//!
//! What it is not: storage. Everything in here is gone after [`WAIT`], and it holds no more than [`Bound`] says, of one sender and for
//! one name an eighth of that.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use bytes::Bytes;
use foldhash::fast::FixedState;
use hashbrown::{Equivalent, HashMap};

use super::{connection::ConnectionId, slab::Key};

/// How long a frame waits.
pub(crate) const WAIT: Duration = Duration::from_secs(5);
/// One sender, and one name, has one in so many of what may wait.
const SHARE: usize = 8;

/// What may wait in all, or does wait.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Bound {
    pub(crate) frames: usize,
    pub(crate) bytes: usize,
}

impl Bound {
    /// Whether one more frame of that length is more than the share of one sender, or of one name, beside what waits of it already.
    /// A first frame may be longer than that: else a small bound would let none wait.
    const fn exceeds_share(self, waiting: Self, length: usize) -> bool {
        waiting.frames >= self.frames / SHARE || (waiting.frames > 0 && waiting.bytes + length > self.bytes / SHARE)
    }
}

/// A name in a room.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Address {
    room: Key,
    name: Box<str>,
}

/// The same, borrowed for a look-up.
#[derive(Debug, Clone, Copy, Hash)]
struct AddressRef<'a> {
    room: Key,
    name: &'a str,
}

impl Equivalent<Address> for AddressRef<'_> {
    fn equivalent(&self, key: &Address) -> bool {
        self.room == key.room && *self.name == *key.name
    }
}

#[derive(Debug)]
struct Letter {
    from: ConnectionId,
    frame: Bytes,
}

/// What waits between one sender and one name is over at once.
#[derive(Debug)]
struct Pair {
    at: Instant,
    from: ConnectionId,
    address: Address,
}

/// There is no room for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Full;

#[derive(Debug)]
pub(crate) struct Postbox {
    /// In the order they came.
    waiting: HashMap<Address, Vec<Letter>, FixedState>,
    /// In the order of their time, since all wait equally long.
    pairs: VecDeque<Pair>,
    senders: HashMap<ConnectionId, Bound, FixedState>,
    frames: usize,
    bytes: usize,
}

impl Postbox {
    pub(crate) fn new(hasher: FixedState) -> Self {
        Self {
            waiting: HashMap::with_hasher(hasher.clone()),
            pairs: VecDeque::new(),
            senders: HashMap::with_hasher(hasher),
            frames: 0,
            bytes: 0,
        }
    }

    /// How many frames wait.
    pub(crate) const fn len(&self) -> usize {
        self.frames
    }

    /// Lets a frame wait for whoever will have that name in that room.
    pub(crate) fn put(
        &mut self,
        now: Instant,
        bound: Bound,
        (from, room, name): (ConnectionId, Key, &str),
        frame: Bytes,
    ) -> Result<(), Full> {
        let address = AddressRef { room, name };
        let there = self.waiting.get(&address);
        let sent = self.senders.get(&from).copied().unwrap_or_default();
        let addressed = there.map(|letters| Bound {
            frames: letters.len(),
            bytes: letters.iter().map(|letter| letter.frame.len()).sum(),
        });
        let is_full = self.frames >= bound.frames
            || self.bytes + frame.len() > bound.bytes
            || bound.exceeds_share(sent, frame.len())
            || bound.exceeds_share(addressed.unwrap_or_default(), frame.len());
        if is_full {
            return Err(Full);
        }
        let is_known = there.is_some_and(|letters| letters.iter().any(|letter| letter.from == from));
        let address = Address {
            room,
            name: name.into(),
        };
        if !is_known {
            self.pairs.push_back(Pair {
                at: now + WAIT,
                from,
                address: address.clone(),
            });
        }
        self.frames += 1;
        self.bytes += frame.len();
        let sent = self.senders.entry(from).or_default();
        sent.frames += 1;
        sent.bytes += frame.len();
        self.waiting.entry(address).or_default().push(Letter { from, frame });
        Ok(())
    }

    /// Everything for that name, in the order it came: somebody has it now.
    pub(crate) fn take(&mut self, room: Key, name: &str) -> Vec<(ConnectionId, Bytes)> {
        let Some(letters) = self.waiting.remove(&AddressRef { room, name }) else {
            return Vec::new();
        };
        self.pairs
            .retain(|pair| pair.address.room != room || *pair.address.name != *name);
        let letters = letters.into_iter();
        letters.map(|letter| (letter.from, self.drop_letter(letter))).collect()
    }

    /// When something is over next.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.pairs.front().map(|pair| pair.at)
    }

    /// A sender whose frames for that name are over, all of them at once.
    pub(crate) fn pop_expired(&mut self, now: Instant) -> Option<(ConnectionId, Box<str>)> {
        let pair = self.pairs.pop_front_if(|pair| pair.at <= now)?;
        let letters = self.waiting.remove(&pair.address).unwrap_or_default();
        let (over, rest): (Vec<_>, Vec<_>) = letters.into_iter().partition(|letter| letter.from == pair.from);
        for letter in over {
            self.drop_letter(letter);
        }
        let name = pair.address.name.clone();
        if !rest.is_empty() {
            self.waiting.insert(pair.address, rest);
        }
        Some((pair.from, name))
    }

    fn drop_letter(&mut self, letter: Letter) -> Bytes {
        self.frames -= 1;
        self.bytes -= letter.frame.len();
        if let Some(sent) = self.senders.get_mut(&letter.from) {
            sent.frames -= 1;
            sent.bytes -= letter.frame.len();
            if sent.frames == 0 {
                self.senders.remove(&letter.from);
            }
        }
        letter.frame
    }
}
