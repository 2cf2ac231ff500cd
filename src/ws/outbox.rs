//! The queue in front of one socket: bounded in frames and in bytes, filled by the hub, emptied by the session.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use super::wire::GATHERED;
use crate::signaling::{CloseCode, Payload};

/// Bytes of the frames that are taken at once, unless a single one is longer: what a socket's own buffer takes without waiting.
const TAKEN_BYTES: usize = 16_384;

/// What the session has to do next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Item {
    /// Write these messages, in this order.
    Frames(VecDeque<Payload>),
    /// Ask for newer ICE credentials.
    RenewIce,
    /// See whether the room that it came into has another relay, before anything else is written.
    RoomIce,
    /// Everything is written; close.
    Close(CloseCode),
}

/// The bound was met: the reader is too slow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Overflow;

/// What became of a frame that can wait.
#[derive(Debug)]
pub(crate) enum Waits {
    /// Enough waits by now: the waker, if there is one, is to be woken.
    Enough(Option<Waker>),
    /// It is the first: somebody has to remember this queue until [`Outbox::hurry`].
    First,
    /// Somebody remembers this queue already, or it takes nothing more.
    Remembered,
}

/// How much one reader may leave unread.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bound {
    pub(crate) frames: usize,
    pub(crate) bytes: usize,
}

/// A plain deque behind a mutex: an idle connection's queue is one empty deque, where a channel would hold blocks of slots.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    frames: VecDeque<Payload>,
    bytes: usize,
    renew_ice: bool,
    room_ice: bool,
    close: Option<CloseCode>,
    waker: Option<Waker>,
    /// [`Waits::First`] was said, and [`Outbox::hurry`] has not been called since.
    remembered: bool,
}

impl State {
    /// The next frames to write: as many as one system call is for. They do not count as waiting any more, so they are few.
    fn take(&mut self) -> Option<VecDeque<Payload>> {
        let (mut frames, mut bytes) = (0, 0);
        for frame in self.frames.iter().take(GATHERED) {
            bytes += frame.len();
            if frames > 0 && bytes > TAKEN_BYTES {
                bytes -= frame.len();
                break;
            }
            frames += 1;
        }
        if frames == 0 {
            return None;
        }
        self.bytes -= bytes;
        // All of them at once leave no memory behind: a burst must not stay in an idle connection.
        Some(if frames == self.frames.len() {
            std::mem::take(&mut self.frames)
        } else {
            self.frames.drain(..frames).collect()
        })
    }

    fn push(&mut self, frame: Payload, bound: Bound) -> Result<(), Overflow> {
        if self.close.is_some() {
            return Ok(());
        }
        if self.frames.len() >= bound.frames || self.bytes + frame.len() > bound.bytes {
            return Err(Overflow);
        }
        self.bytes += frame.len();
        self.frames.push_back(frame);
        Ok(())
    }

    fn remember(&mut self, cx: &Context<'_>) {
        match &mut self.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            waker => *waker = Some(cx.waker().clone()),
        }
    }
}

impl Outbox {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics between two changes that belong together.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a frame; the waker, if there is one, is to be woken outside the hub's lock. A closing queue takes nothing more.
    pub(crate) fn push(&self, frame: Payload, bound: Bound) -> Result<Option<Waker>, Overflow> {
        let mut state = self.lock();
        state.push(frame, bound)?;
        Ok(state.waker.take())
    }

    /// Queues a frame that can wait until there is more, or until [`Self::hurry`].
    pub(crate) fn push_soon(&self, frame: Payload, bound: Bound) -> Result<Waits, Overflow> {
        let mut state = self.lock();
        state.push(frame, bound)?;
        Ok(if state.frames.len() >= GATHERED || state.bytes >= TAKEN_BYTES {
            Waits::Enough(state.waker.take())
        } else if state.close.is_some() || std::mem::replace(&mut state.remembered, true) {
            Waits::Remembered
        } else {
            Waits::First
        })
    }

    /// The time of what waits is up.
    pub(crate) fn hurry(&self) -> Option<Waker> {
        let mut state = self.lock();
        state.remembered = false;
        // Empty, it has been in a hurry by itself.
        if state.frames.is_empty() {
            None
        } else {
            state.waker.take()
        }
    }

    /// The session is to fetch newer ICE credentials, which takes longer than the hub's lock may be held.
    pub(crate) fn renew_ice(&self) -> Option<Waker> {
        let mut state = self.lock();
        state.renew_ice = true;
        state.waker.take()
    }

    /// The session is to see, before it writes what is queued from now on, whether its room has another relay.
    pub(crate) fn room_ice(&self) -> Option<Waker> {
        let mut state = self.lock();
        state.room_ice = true;
        state.waker.take()
    }

    /// Queues a frame before all others, one for each [`Item::RoomIce`]: so one more than the bound, at most.
    pub(crate) fn push_front(&self, frame: Payload) {
        let mut state = self.lock();
        if state.close.is_none() {
            state.bytes += frame.len();
            state.frames.push_front(frame);
        }
    }

    /// Ends the queue. A slow reader does not get what waits for it: it would take the longest to write.
    pub(crate) fn close(&self, code: CloseCode) -> Option<Waker> {
        let mut state = self.lock();
        if code == CloseCode::Slow {
            state.frames = VecDeque::new();
            state.bytes = 0;
        }
        state.close.get_or_insert(code);
        state.waker.take()
    }

    /// The next thing to do; remembers whom to wake when there is none.
    pub(crate) fn poll_next(&self, cx: &Context<'_>) -> Poll<Item> {
        let mut state = self.lock();
        if std::mem::take(&mut state.room_ice) && state.close.is_none() {
            return Poll::Ready(Item::RoomIce);
        }
        if let Some(frames) = state.take() {
            return Poll::Ready(Item::Frames(frames));
        }
        if let Some(code) = state.close {
            return Poll::Ready(Item::Close(code));
        }
        if std::mem::take(&mut state.renew_ice) {
            return Poll::Ready(Item::RenewIce);
        }
        state.remember(cx);
        Poll::Pending
    }

    /// The next frames, for a session on its way out.
    pub(crate) fn take(&self) -> Option<VecDeque<Payload>> {
        self.lock().take()
    }

    /// Whether the hub has ended this connection as too slow; for a session that cannot write.
    pub(crate) fn poll_slow(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if state.close == Some(CloseCode::Slow) {
            return Poll::Ready(());
        }
        state.remember(cx);
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    const BOUND: Bound = Bound { frames: 3, bytes: 10 };

    fn poll(outbox: &Outbox) -> Poll<Item> {
        outbox.poll_next(&Context::from_waker(Waker::noop()))
    }

    fn frame(text: &'static str) -> Payload {
        Bytes::from_static(text.as_bytes()).into()
    }

    fn frames(texts: &[&'static str]) -> Item {
        Item::Frames(texts.iter().map(|text| frame(text)).collect())
    }

    #[test]
    fn so_many_frames_are_taken_as_one_call_writes_and_the_rest_keeps_its_order() {
        let bound = Bound {
            frames: 1_000,
            bytes: 1_000_000,
        };
        let outbox = Outbox::default();
        let all: Vec<Payload> = (0..100_usize)
            .map(|at| Bytes::from(vec![b'x'; at * 37]).into())
            .collect();
        for frame in &all {
            assert!(outbox.push(frame.clone(), bound).is_ok());
        }
        let (mut got, mut taken) = (Vec::new(), 0);
        while let Some(frames) = outbox.take() {
            let bytes: usize = frames.iter().map(Payload::len).sum();
            assert!(frames.len() <= GATHERED && bytes <= TAKEN_BYTES, "{bytes}");
            got.extend(frames);
            taken += 1;
        }
        assert_eq!(got, all);
        assert!(taken < 20, "{taken}");
        assert!(outbox.push(Bytes::from(vec![0; TAKEN_BYTES + 1]).into(), bound).is_ok());
        assert_eq!(outbox.take().map(|frames| frames.len()), Some(1));
        let state = outbox.lock();
        assert_eq!((state.bytes, state.frames.capacity()), (0, 0));
    }

    #[test]
    fn a_queue_at_its_bound_in_frames_is_full_and_what_is_taken_makes_room() {
        let outbox = Outbox::default();
        for _ in 0..3 {
            assert!(outbox.push(frame("a"), BOUND).is_ok());
        }
        assert!(outbox.push(frame("a"), BOUND).is_err());
        assert_eq!(poll(&outbox), Poll::Ready(frames(&["a"; 3])));
        assert!(outbox.push(frame("b"), BOUND).is_ok());
    }

    #[test]
    fn a_queue_at_its_bound_in_bytes_is_full() {
        let outbox = Outbox::default();
        assert!(outbox.push(frame("0123456789"), BOUND).is_ok());
        assert!(outbox.push(frame("a"), BOUND).is_err());
        assert!(outbox.push(frame(""), BOUND).is_ok());
        let outbox = Outbox::default();
        assert!(outbox.push(frame("0123456789a"), BOUND).is_err());
    }

    #[test]
    fn what_is_queued_goes_out_before_the_close_and_nothing_after_it() {
        let outbox = Outbox::default();
        assert!(outbox.push(frame("a"), BOUND).is_ok());
        outbox.close(CloseCode::Replaced);
        outbox.close(CloseCode::Dead);
        assert!(outbox.push(frame("late"), BOUND).is_ok());
        assert_eq!(poll(&outbox), Poll::Ready(frames(&["a"])));
        assert_eq!(poll(&outbox), Poll::Ready(Item::Close(CloseCode::Replaced)));
    }

    #[test]
    fn what_can_wait_wakes_nobody_until_its_time_is_up_or_there_is_enough_or_something_urgent() {
        let bound = Bound {
            frames: 1_000,
            bytes: 1_000_000,
        };
        let outbox = Outbox::default();
        let soon = |outbox: &Outbox| outbox.push_soon(frame("news"), bound).unwrap();
        assert_eq!(poll(&outbox), Poll::Pending);
        assert!(matches!(soon(&outbox), Waits::First));
        assert!(matches!(soon(&outbox), Waits::Remembered));
        assert!(outbox.hurry().is_some());
        assert_eq!(poll(&outbox), Poll::Ready(frames(&["news"; 2])));
        // Told in between by something urgent, in the order they came.
        assert_eq!(poll(&outbox), Poll::Pending);
        assert!(matches!(soon(&outbox), Waits::First));
        assert!(outbox.push(frame("urgent"), bound).unwrap().is_some());
        assert_eq!(poll(&outbox), Poll::Ready(frames(&["news", "urgent"])));
        assert_eq!(poll(&outbox), Poll::Pending);
        assert!(matches!(soon(&outbox), Waits::Remembered), "it still is, from before");
        assert_eq!(poll(&outbox), Poll::Ready(frames(&["news"])));
        assert_eq!(poll(&outbox), Poll::Pending);
        assert!(outbox.hurry().is_none(), "nothing waits");
        for _ in 1..GATHERED {
            assert!(!matches!(soon(&outbox), Waits::Enough(_)));
        }
        assert!(matches!(soon(&outbox), Waits::Enough(Some(_))));
        let full = Bound { frames: 1, bytes: 10 };
        assert!(outbox.push_soon(frame("news"), full).is_err());
    }

    #[test]
    fn a_slow_reader_gets_only_the_close() {
        let outbox = Outbox::default();
        assert!(outbox.push(frame("a"), BOUND).is_ok());
        outbox.close(CloseCode::Slow);
        assert_eq!(poll(&outbox), Poll::Ready(Item::Close(CloseCode::Slow)));
    }
}
