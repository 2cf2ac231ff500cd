//! ClientHello messages that come in pieces, before their address is verified: the one memory that strangers share.
//!
//! A ClientHello with post-quantum key shares does not fit one datagram. Who sends one in pieces gets a place in a pool of
//! fixed size; when it is full the oldest place is taken away. A flood of pieces therefore keeps out those who send pieces,
//! and nobody else. CVE-2026-73214 is what happens without bounds here: 35 bytes that reserve 650 kB.

use std::time::{Duration, Instant};

use super::hello::Part;
use crate::turn::FiveTuple;

/// The longest ClientHello: with the largest key shares in use it is below 2 KiB.
pub(super) const MAX_HELLO: usize = 4096;
/// Messages of a worker that wait for more pieces: 256 KiB.
const PLACES: usize = 64;
/// Pieces of one message.
const PIECES: usize = 32;
/// How long a message waits for the rest of its pieces, from the last one on.
const PATIENCE: Duration = Duration::from_secs(5);

/// One message, as far as it has come.
struct Partial {
    from: FiveTuple,
    message_sequence: u16,
    touched: Instant,
    bytes: Box<[u8]>,
    /// What has come, as start and end.
    pieces: Vec<(usize, usize)>,
}

impl Partial {
    fn is_whole(&mut self) -> bool {
        self.pieces.sort_unstable();
        let end = self.pieces.iter().try_fold(0, |reached, &(start, end)| {
            (start <= reached).then_some(reached.max(end))
        });
        end == Some(self.bytes.len())
    }
}

/// The messages of one worker that wait for more.
#[derive(Default)]
pub(super) struct Pool {
    places: Vec<Partial>,
}

/// What became of a piece.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Pieced {
    /// The message is whole.
    Whole(Box<[u8]>),
    /// More is to come. `evicted`: another message lost its place for it.
    Waiting { evicted: bool },
    /// Too long, too many pieces, or pieces that do not belong together.
    Refused,
}

impl Pool {
    /// Takes a piece of a message that did not come whole.
    pub(super) fn add(&mut self, now: Instant, from: &FiveTuple, part: &Part<'_>) -> Pieced {
        if part.length > MAX_HELLO || part.bytes.is_empty() || part.offset + part.bytes.len() > part.length {
            return Pieced::Refused;
        }
        self.places
            .retain(|one| now.saturating_duration_since(one.touched) < PATIENCE);
        let found = self
            .places
            .iter()
            .position(|one| one.from == *from && one.message_sequence == part.message_sequence);
        let (at, evicted) = match found {
            Some(at) => (at, false),
            None => self.place(now, from, part),
        };
        let Some(partial) = self.places.get_mut(at) else {
            return Pieced::Refused;
        };
        let piece = (part.offset, part.offset + part.bytes.len());
        let known = partial.pieces.contains(&piece);
        if partial.bytes.len() != part.length || (!known && partial.pieces.len() == PIECES) {
            // The client begins anew, or means ill: either way this one comes to nothing.
            self.places.swap_remove(at);
            return Pieced::Refused;
        }
        partial.touched = now;
        if !known {
            if let Some(space) = partial.bytes.get_mut(piece.0..piece.1) {
                space.copy_from_slice(part.bytes);
            }
            partial.pieces.push(piece);
        }
        if partial.is_whole() {
            return Pieced::Whole(self.places.swap_remove(at).bytes);
        }
        Pieced::Waiting { evicted }
    }

    /// A place for a new message: its index, and whether it was somebody's.
    fn place(&mut self, now: Instant, from: &FiveTuple, part: &Part<'_>) -> (usize, bool) {
        let full = self.places.len() >= PLACES;
        if full
            && let Some(oldest) = (0..self.places.len()).min_by_key(|&at| self.places.get(at).map(|one| one.touched))
        {
            self.places.swap_remove(oldest);
        }
        self.places.push(Partial {
            from: *from,
            message_sequence: part.message_sequence,
            touched: now,
            bytes: vec![0; part.length].into(),
            pieces: Vec::new(),
        });
        (self.places.len() - 1, full)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::turn::{ClientAddr, ListenAddr, Transport};

    fn from(port: u16) -> FiveTuple {
        FiveTuple {
            transport: Transport::Dtls,
            client: ClientAddr(([192, 0, 2, 1], port).into()),
            server: ListenAddr(([192, 0, 2, 9], 5349).into()),
        }
    }

    fn part(message: &[u8], start: usize, end: usize) -> Part<'_> {
        Part {
            record_sequence: 0,
            message_sequence: 0,
            length: message.len(),
            offset: start,
            bytes: &message[start..end],
        }
    }

    const WAITING: Pieced = Pieced::Waiting { evicted: false };

    #[test]
    fn pieces_make_the_message_in_every_order_and_with_overlaps() {
        let message: Vec<u8> = (0..100).collect();
        let now = Instant::now();
        let cuts = [(0, 40), (30, 70), (70, 100)];
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            let mut pool = Pool::default();
            let mut last = WAITING;
            for (nth, at) in order.into_iter().enumerate() {
                let (start, end) = cuts[at];
                let piece = part(&message, start, end);
                assert_eq!(last, WAITING);
                last = pool.add(now, &from(1), &piece);
                if nth < 2 {
                    // Again, as a retransmission would be.
                    assert_eq!(pool.add(now, &from(1), &piece), WAITING);
                }
            }
            assert_eq!(last, Pieced::Whole(message.clone().into()), "{order:?}");
            assert!(pool.places.is_empty());
        }
    }

    #[test]
    fn the_pool_keeps_its_size_and_the_oldest_goes() {
        let message = [1; 100];
        let start = Instant::now();
        let mut pool = Pool::default();
        for port in 0..PLACES as u16 {
            let now = start + Duration::from_millis(u64::from(port));
            assert_eq!(pool.add(now, &from(port), &part(&message, 0, 10)), WAITING);
        }
        let now = start + Duration::from_secs(1);
        for port in 1000..1010 {
            let evicted = pool.add(now, &from(port), &part(&message, 0, 10));
            assert_eq!(evicted, Pieced::Waiting { evicted: true });
        }
        assert_eq!(pool.places.len(), PLACES);
        assert_eq!(
            pool.add(now, &from(63), &part(&message, 10, 100)),
            Pieced::Whole(message.into())
        );
        assert_eq!(
            pool.add(now, &from(9), &part(&message, 10, 100)),
            WAITING,
            "it was evicted"
        );
    }

    #[test]
    fn a_message_that_is_not_finished_in_time_is_forgotten() {
        let message = [1; 100];
        let now = Instant::now();
        let mut pool = Pool::default();
        assert_eq!(pool.add(now, &from(1), &part(&message, 0, 50)), WAITING);
        let late = now + PATIENCE;
        assert_eq!(pool.add(late, &from(1), &part(&message, 50, 100)), WAITING);
        assert_eq!(pool.places.len(), 1);
    }

    #[test]
    fn what_is_too_long_or_too_many_or_does_not_fit_together_is_refused() {
        let long = vec![1; MAX_HELLO + 1];
        let now = Instant::now();
        let mut pool = Pool::default();
        assert_eq!(pool.add(now, &from(1), &part(&long, 0, 1)), Pieced::Refused);
        assert_eq!(pool.add(now, &from(1), &part(&long[1..], 0, 1)), WAITING);
        let other = [1; 100];
        assert_eq!(pool.add(now, &from(1), &part(&other, 0, 1)), Pieced::Refused);
        assert!(pool.places.is_empty());
        for start in 0..PIECES {
            assert_eq!(
                pool.add(now, &from(1), &part(&other, start * 2, start * 2 + 1)),
                WAITING
            );
        }
        assert_eq!(pool.add(now, &from(1), &part(&other, 90, 91)), Pieced::Refused);
        assert_eq!(pool.add(now, &from(1), &part(&other, 50, 50)), Pieced::Refused);
    }
}
