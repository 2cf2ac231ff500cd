//! The memory packets rest in between receive and send: nothing in it moves until the send batch has gone out.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::os::fd::BorrowedFd;

use super::udp::RecvRing;

/// Receive buffers of one worker: with [`SLOT`] under 4 MiB. Pages that were never written cost nothing.
pub(crate) const SLOTS: usize = 56;
/// A train the kernel put together is at most 64 KiB; a hand-over carries its header on top.
const SLOT: usize = 65_536 + 64;
/// Answers of the protocol that may wait for one flush.
const ANSWERS: usize = 64 << 10;

/// The receive buffers, filled front to back between two flushes.
pub(crate) struct Arena {
    ring: RecvRing,
    used: usize,
}

/// One received message: a datagram, or a train of them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Received<'a> {
    /// Who sent it.
    pub(crate) from: SocketAddr,
    /// Which of our addresses it came to, where the socket listens on all of them.
    pub(crate) local: Option<IpAddr>,
    pub(crate) bytes: &'a [u8],
    /// Length of each datagram in it; the last may be shorter.
    pub(crate) segment: usize,
    /// Datagrams its socket had no room for since it was opened, where the kernel says so.
    pub(crate) overflows: Option<u32>,
}

/// Why a message in the arena is not to be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unusable {
    /// It was longer than its buffer.
    Truncated,
    /// It came from nowhere a reply could go: no IP address, or port 0.
    NoSender,
}

impl Arena {
    pub(crate) fn new() -> Self {
        Self {
            ring: RecvRing::new(SLOTS, SLOT),
            used: 0,
        }
    }

    /// Buffers left before the batch has to go out.
    pub(crate) fn free(&self) -> usize {
        SLOTS - self.used
    }

    /// Takes what `socket` has, at most `most` messages and what is free. `WouldBlock` is no error: 0 slots.
    pub(crate) fn receive(&mut self, socket: BorrowedFd<'_>, most: usize) -> io::Result<Range<usize>> {
        let first = self.used;
        match self.ring.receive(socket, first, most) {
            Ok(count) => self.used += count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        Ok(first..self.used)
    }

    /// The message in `slot`, as it came from a UDP socket.
    pub(crate) fn received(&self, slot: usize) -> Result<Received<'_>, Unusable> {
        if self.ring.is_truncated(slot) {
            return Err(Unusable::Truncated);
        }
        let from = self
            .ring
            .from(slot)
            .socket_addr()
            .filter(|from| from.port() != 0)
            .ok_or(Unusable::NoSender)?;
        let bytes = self.ring.bytes(slot);
        let beside = self.ring.control(slot);
        let segment = beside.segment.map_or(bytes.len(), usize::from);
        Ok(Received {
            from,
            local: beside.local,
            bytes,
            segment,
            overflows: beside.overflows,
        })
    }

    /// The bytes in `slot`, as they came from a sibling worker.
    pub(crate) fn handed_over(&self, slot: usize) -> Result<&[u8], Unusable> {
        if self.ring.is_truncated(slot) {
            Err(Unusable::Truncated)
        } else {
            Ok(self.ring.bytes(slot))
        }
    }

    /// The bytes in `slot`.
    pub(crate) fn bytes(&self, slot: usize) -> &[u8] {
        self.ring.bytes(slot)
    }

    /// Frees every buffer. Nothing may wait to be sent from them.
    pub(crate) fn reset(&mut self) {
        self.used = 0;
    }
}

impl Received<'_> {
    /// Where each datagram of the train lies in `bytes`. An empty datagram is one datagram.
    pub(crate) fn segments(&self) -> impl ExactSizeIterator<Item = Range<usize>> + use<> {
        let (len, step) = (self.bytes.len(), self.segment.max(1));
        let count = len.div_ceil(step).max(1);
        (0..count).map(move |index| index * step..len.min((index + 1) * step))
    }
}

/// Answers of the protocol, copied here because the protocol's own buffer is reused for the next.
pub(crate) struct Answers {
    bytes: Vec<u8>,
}

impl Answers {
    pub(crate) fn new() -> Self {
        Self {
            bytes: Vec::with_capacity(ANSWERS),
        }
    }

    /// Keeps `answer` until the next reset; `None` if it does not fit beside the others.
    pub(crate) fn push(&mut self, answer: &[u8]) -> Option<Range<usize>> {
        let start = self.bytes.len();
        if start + answer.len() > ANSWERS {
            return None;
        }
        self.bytes.extend_from_slice(answer);
        Some(start..self.bytes.len())
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Forgets every answer. None may wait to be sent.
    pub(crate) fn reset(&mut self) {
        self.bytes.clear();
    }
}

/// Where the bytes of a packet to be sent are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// In this buffer of the arena.
    Slot(u16),
    /// Among the answers.
    Answer,
}

/// Both kinds of memory, read by the send batch.
#[derive(Clone, Copy)]
pub(crate) struct Memory<'a> {
    pub(crate) arena: &'a Arena,
    pub(crate) answers: &'a Answers,
}

impl<'a> Memory<'a> {
    /// The bytes of `range` in `source`; empty if there are none, which no caller asks for.
    pub(crate) fn slice(self, source: Source, range: Range<usize>) -> &'a [u8] {
        let bytes = match source {
            Source::Slot(slot) => self.arena.bytes(usize::from(slot)),
            Source::Answer => self.answers.bytes(),
        };
        bytes.get(range).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;
    use std::os::fd::AsFd;

    fn train(bytes: &[u8], segment: usize) -> Vec<Range<usize>> {
        let from = "192.0.2.1:9".parse().unwrap();
        Received {
            from,
            local: None,
            bytes,
            segment,
            overflows: None,
        }
        .segments()
        .collect()
    }

    #[test]
    fn a_train_is_cut_into_its_datagrams() {
        assert_eq!(train(&[0; 10], 4), [0..4, 4..8, 8..10]);
        assert_eq!(train(&[0; 8], 4), [0..4, 4..8]);
        assert_eq!(train(&[0; 5], 3), [0..3, 3..5]);
    }

    #[test]
    fn an_empty_datagram_is_one_datagram() {
        let train = train(&[], 0);
        assert_eq!((train.len(), train.first()), (1, Some(&(0..0))));
    }

    #[test]
    fn the_arena_fills_front_to_back_and_stops_when_full() {
        let mut arena = Arena::new();
        let ours = UdpSocket::bind("127.0.0.1:0").unwrap();
        let theirs = UdpSocket::bind("127.0.0.1:0").unwrap();
        assert_eq!(arena.receive(ours.as_fd(), 8).unwrap(), 0..0);
        for index in 0..=SLOTS as u8 {
            theirs.send_to(&[index; 3], ours.local_addr().unwrap()).unwrap();
        }
        assert_eq!(arena.receive(ours.as_fd(), 8).unwrap(), 0..8);
        assert_eq!(arena.receive(ours.as_fd(), SLOTS).unwrap(), 8..SLOTS);
        assert_eq!(
            (arena.free(), arena.receive(ours.as_fd(), 8).unwrap()),
            (0, SLOTS..SLOTS)
        );
        for slot in 0..SLOTS {
            let received = arena.received(slot).unwrap();
            assert_eq!(
                (received.from, received.bytes),
                (theirs.local_addr().unwrap(), &[slot as u8; 3][..])
            );
        }
        arena.reset();
        assert_eq!(arena.receive(ours.as_fd(), 8).unwrap(), 0..1);
        assert_eq!(arena.received(0).unwrap().bytes, [SLOTS as u8; 3]);
    }

    #[test]
    fn answers_that_do_not_fit_are_refused() {
        let mut answers = Answers::new();
        assert_eq!(answers.push(&[1; ANSWERS - 1]), Some(0..ANSWERS - 1));
        assert_eq!(answers.push(&[2; 2]), None);
        assert_eq!(answers.push(&[3]), Some(ANSWERS - 1..ANSWERS));
        answers.reset();
        assert_eq!(answers.push(&[4]), Some(0..1));
    }
}
