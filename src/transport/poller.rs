//! What a worker waits on: level-triggered epoll, with a typed token for each kind of socket.
//!
//! Level-triggered, so that a socket that was not emptied in one turn comes back in the next, behind the others: the
//! kernel's ready list is what keeps the sockets of one worker fair to each other.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};

/// The most sockets one turn of the loop serves.
const EVENTS: usize = 128;

/// Which socket of the worker is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Token {
    /// Another thread wants this worker to look at its control state.
    Wake,
    /// Packets from sibling workers.
    Inbox,
    /// The listener of this index.
    Listener(u16),
    /// The relay socket of this index.
    Relay(u32),
    /// The stream of this index.
    Stream(u32),
    /// The relay socket of this index, which accepts connections.
    TcpRelay(u32),
    /// The client's half of the data connection of this key.
    ClientHalf(u32),
    /// The peer's half of it.
    PeerHalf(u32),
}

impl Token {
    fn encode(self) -> u64 {
        let (kind, index) = match self {
            Self::Wake => (0, 0),
            Self::Inbox => (1, 0),
            Self::Listener(index) => (2, u32::from(index)),
            Self::Relay(index) => (3, index),
            Self::Stream(index) => (4, index),
            Self::TcpRelay(index) => (5, index),
            Self::ClientHalf(index) => (6, index),
            Self::PeerHalf(index) => (7, index),
        };
        kind << 32 | u64::from(index)
    }

    fn decode(data: u64) -> Option<Self> {
        let index = data as u32;
        match data >> 32 {
            0 => Some(Self::Wake),
            1 => Some(Self::Inbox),
            2 => u16::try_from(index).ok().map(Self::Listener),
            3 => Some(Self::Relay(index)),
            4 => Some(Self::Stream(index)),
            5 => Some(Self::TcpRelay(index)),
            6 => Some(Self::ClientHalf(index)),
            7 => Some(Self::PeerHalf(index)),
            _ => None,
        }
    }
}

/// One epoll instance and the events of its last turn.
pub(crate) struct Poller {
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
}

impl Poller {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            events: Vec::with_capacity(EVENTS),
        })
    }

    /// Reports `source` as `token` whenever it can be read. Closing the source ends that.
    pub(crate) fn add(&self, source: impl AsFd, token: Token) -> io::Result<()> {
        self.add_interest(source, token, true, false)
    }

    /// Reports `source` as `token` when it can be read (`bytes`), when there is room to write to it (`room`), and when it is
    /// broken.
    pub(crate) fn add_interest(&self, source: impl AsFd, token: Token, bytes: bool, room: bool) -> io::Result<()> {
        let data = epoll::EventData::new_u64(token.encode());
        Ok(epoll::add(&self.epoll, source, data, flags(bytes, room))?)
    }

    /// Changes what `source` is reported for, and as what.
    pub(crate) fn watch(&self, source: impl AsFd, token: Token, bytes: bool, room: bool) -> io::Result<()> {
        let data = epoll::EventData::new_u64(token.encode());
        Ok(epoll::modify(&self.epoll, source, data, flags(bytes, room))?)
    }

    /// Reports `source` no more, even if it is broken.
    pub(crate) fn remove(&self, source: impl AsFd) -> io::Result<()> {
        Ok(epoll::delete(&self.epoll, source)?)
    }

    /// Whether to report `source` also when there is room to write to it.
    pub(crate) fn watch_room(&self, source: impl AsFd, token: Token, room: bool) -> io::Result<()> {
        self.watch(source, token, true, room)
    }

    /// Waits until something can be read or `deadline` has come. Returns how many events there are.
    pub(crate) fn wait(&mut self, now: Instant, deadline: Instant) -> io::Result<usize> {
        self.events.clear();
        let timeout = whole_milliseconds(deadline.saturating_duration_since(now));
        match epoll::wait(&self.epoll, spare_capacity(&mut self.events), Some(&timeout)) {
            Ok(_) => Ok(self.events.len()),
            Err(rustix::io::Errno::INTR) => Ok(0),
            Err(error) => Err(error.into()),
        }
    }

    /// The event of this index of the last [`Poller::wait`].
    pub(crate) fn token(&self, index: usize) -> Option<Token> {
        let event = self.events.get(index)?;
        let data = event.data;
        Token::decode(data.u64())
    }

    /// Whether the source of this event has room to write.
    pub(crate) fn has_room(&self, index: usize) -> bool {
        self.events.get(index).is_some_and(|event| {
            let flags = event.flags;
            flags.contains(epoll::EventFlags::OUT)
        })
    }

    /// Whether the source of this event has bytes, an end or an error to read.
    pub(crate) fn is_readable(&self, index: usize) -> bool {
        self.events.get(index).is_some_and(|event| {
            let flags = event.flags;
            flags.intersects(epoll::EventFlags::IN | epoll::EventFlags::HUP | epoll::EventFlags::ERR)
        })
    }

    /// Whether the event of this index says that the source has an error to tell of.
    pub(crate) fn has_error(&self, index: usize) -> bool {
        self.events.get(index).is_some_and(|event| {
            let flags = event.flags;
            flags.contains(epoll::EventFlags::ERR)
        })
    }
}

fn flags(bytes: bool, room: bool) -> epoll::EventFlags {
    let mut flags = epoll::EventFlags::empty();
    flags.set(epoll::EventFlags::IN, bytes);
    flags.set(epoll::EventFlags::OUT, room);
    flags
}

/// Rounded up, so that a worker does not spin through the last millisecond before a deadline.
fn whole_milliseconds(wait: Duration) -> Timespec {
    let milliseconds = wait.as_nanos().div_ceil(1_000_000).min(60_000) as i64;
    Timespec {
        tv_sec: milliseconds / 1000,
        tv_nsec: milliseconds % 1000 * 1_000_000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{EventfdFlags, eventfd};

    #[test]
    fn tokens_survive_the_kernel() {
        for token in [
            Token::Wake,
            Token::Inbox,
            Token::Listener(u16::MAX),
            Token::Relay(u32::MAX),
            Token::Stream(u32::MAX),
            Token::TcpRelay(u32::MAX),
            Token::ClientHalf(1),
            Token::PeerHalf(0),
        ] {
            assert_eq!(Token::decode(token.encode()), Some(token));
        }
        assert_eq!(Token::decode(u64::MAX), None);
    }

    #[test]
    fn a_ready_source_is_reported_again_until_it_is_read() {
        let mut poller = Poller::new().unwrap();
        let source = eventfd(0, EventfdFlags::NONBLOCK).unwrap();
        poller.add(&source, Token::Relay(7)).unwrap();
        let now = Instant::now();
        assert_eq!(poller.wait(now, now).unwrap(), 0);
        rustix::io::write(&source, &1_u64.to_ne_bytes()).unwrap();
        for _ in 0..2 {
            assert_eq!(poller.wait(now, now).unwrap(), 1);
            assert_eq!(poller.token(0), Some(Token::Relay(7)));
        }
        assert_eq!(poller.token(1), None);
        rustix::io::read(&source, &mut [0; 8]).unwrap();
        assert_eq!(poller.wait(now, now).unwrap(), 0);
    }

    #[test]
    fn a_fraction_of_a_millisecond_is_waited_for_whole() {
        let wait = whole_milliseconds(Duration::from_nanos(1));
        assert_eq!((wait.tv_sec, wait.tv_nsec), (0, 1_000_000));
        let wait = whole_milliseconds(Duration::MAX);
        assert_eq!((wait.tv_sec, wait.tv_nsec), (60, 0));
    }
}
