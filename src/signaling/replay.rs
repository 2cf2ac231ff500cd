//! What a session has been told lately, so that its owner can be told again on the next socket.

use std::collections::VecDeque;

use super::{labels::CloseCode, payload::Payload};

/// How much of it is kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bound {
    pub(crate) frames: usize,
    pub(crate) bytes: usize,
}

/// The events of one session that its client has not acknowledged, oldest first, and whether a socket is there to hear them.
#[derive(Debug, Default)]
pub(crate) struct Replay {
    frames: VecDeque<(u64, Payload)>,
    bytes: usize,
    /// Number of the newest event that was dropped to make room. Whoever has not seen it cannot be brought up to date.
    dropped: u64,
    pub(crate) away: Option<Away>,
}

/// A session without a socket.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Away {
    /// How the socket ended.
    pub(crate) why: CloseCode,
    /// The newest event when it ended: later ones have been seen by nobody.
    pub(crate) unseen_after: u64,
}

impl Replay {
    /// Keeps an event; the oldest make room. False when one was dropped that nobody can have seen: the session cannot be
    /// resumed any more.
    pub(crate) fn push(&mut self, seq: u64, frame: Payload, bound: Bound) -> bool {
        self.bytes += frame.len();
        self.frames.push_back((seq, frame));
        while self.frames.len() > bound.frames || self.bytes > bound.bytes {
            let Some((oldest, frame)) = self.frames.pop_front() else {
                break;
            };
            self.bytes -= frame.len();
            self.dropped = oldest;
        }
        self.away.is_none_or(|away| self.dropped <= away.unseen_after)
    }

    /// Forgets what the client says it has seen.
    pub(crate) fn acknowledge(&mut self, seq: u64) {
        while let Some((oldest, frame)) = self.frames.front()
            && *oldest <= seq
        {
            self.bytes -= frame.len();
            self.frames.pop_front();
        }
        if self.frames.is_empty() && self.frames.capacity() > 4 {
            // An idle session must not keep the room of its busiest moment.
            self.frames = VecDeque::new();
        }
    }

    /// The events after `seq`, or `None` when some of them are gone.
    pub(crate) fn after(&self, seq: u64) -> Option<impl Iterator<Item = Payload>> {
        let missed = self.frames.iter().filter(move |(number, _)| *number > seq);
        (self.dropped <= seq).then(|| missed.map(|(_, frame)| frame.clone()))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    const BOUND: Bound = Bound { frames: 3, bytes: 10 };

    fn text(text: &'static str) -> Payload {
        Bytes::from_static(text.as_bytes()).into()
    }

    fn after(replay: &Replay, seq: u64) -> Option<Vec<Payload>> {
        replay.after(seq).map(Iterator::collect)
    }

    #[test]
    fn at_the_bound_everything_is_there_and_past_it_the_oldest_is_gone() {
        let mut replay = Replay::default();
        for seq in 1..=3 {
            assert!(replay.push(seq, text("abc"), BOUND));
        }
        assert_eq!(after(&replay, 0).unwrap().len(), 3);
        assert!(replay.push(4, text("d"), BOUND));
        assert_eq!(after(&replay, 0), None);
        assert_eq!(after(&replay, 1).unwrap().len(), 3);
        // In bytes: 3 + 3 + 1 are there, 4 more are one too many.
        assert!(replay.push(5, text("efgh"), BOUND));
        assert_eq!((after(&replay, 1), after(&replay, 2).unwrap().len()), (None, 3));
    }

    #[test]
    fn what_nobody_can_have_seen_must_not_be_dropped() {
        let mut replay = Replay::default();
        replay.push(7, text("seen, perhaps"), BOUND);
        replay.away = Some(Away {
            why: CloseCode::Abnormal,
            unseen_after: 7,
        });
        for seq in 8..=10 {
            assert!(replay.push(seq, text("abc"), BOUND));
        }
        assert!(!replay.push(11, text(""), BOUND));
    }

    #[test]
    fn an_acknowledged_event_is_not_repeated_and_makes_room() {
        let mut replay = Replay::default();
        for seq in 1..=3 {
            replay.push(seq, text("abc"), BOUND);
        }
        replay.acknowledge(2);
        assert_eq!(after(&replay, 0).unwrap().len(), 1);
        assert!(replay.push(4, text("defg"), BOUND));
        assert_eq!(after(&replay, 2).unwrap().len(), 2);
    }
}
