//! The worker's turn with its streams: take in, read, cut, write, end.

use super::{Control, Now, Token, Worker};
use crate::telemetry::StreamEnd;
use crate::transport::stream::connection::{Received, SMALL_FRAME, Scratch, Written};
use crate::transport::stream::intake::{Load, NewStream};
use crate::turn::{ConnectionKey, FiveTuple, Handled};
use crate::wire::stream::frame_len;

/// Streams taken in in one turn.
const ADOPTIONS: usize = 64;

/// What is left of what was read once its frames are handled, at the start of the scratch.
enum Rest {
    /// So many bytes: the start of a frame.
    Partial(usize),
    /// So many bytes of data: the stream has become a half of this data connection.
    Joined(ConnectionKey, usize),
    /// So many bytes, a ConnectionBind first: the stream belongs to this worker.
    Elsewhere(u16, usize),
}

impl Worker {
    /// Takes in the streams that wait.
    pub(super) fn adopt_streams(&mut self, at: Now) {
        for _ in 0..ADOPTIONS {
            let Ok((new, load)) = self.intake.try_recv() else {
                return;
            };
            self.adopt_stream(at, new, load);
        }
        Control::wake(&self.control);
    }

    fn adopt_stream(&mut self, at: Now, new: NewStream, load: Load) {
        if let Some(former) = self.outbox.streams.find(&new.five_tuple) {
            if !self.outbox.streams.is_former(former, &new) {
                tracing::debug!("a stream claims the address of another that lives, and is closed");
                return;
            }
            // The kernel knows that the former connection is gone before we do.
            self.outbox.streams.end(former, StreamEnd::Replaced);
            self.finish_streams(at);
        }
        let poller = &self.poller;
        let (streams, stats) = (&mut self.outbox.streams, &mut self.outbox.stats);
        let result = streams.insert(stats, new, load, at.instant, |socket, index| {
            poller.add(socket, Token::Stream(index))
        });
        match result {
            Ok(index) => self.serve_stream(at, index, true),
            Err(error) => tracing::debug!(%error, "a stream ended before it began"),
        }
    }

    /// Reads a stream. `adopted`: what was read of it before is looked at first.
    pub(super) fn serve_stream(&mut self, at: Now, index: u32, adopted: bool) {
        if self.outbox.streams.get_mut(index).is_none() {
            return;
        }
        let mut scratch = std::mem::take(&mut self.scratch);
        if scratch.frames.is_empty() {
            // A worker that never sees a stream sets nothing aside.
            scratch = Scratch::new();
        }
        if let Err(why) = self.read_stream(at, index, &mut scratch, adopted) {
            self.outbox.streams.end(index, why);
        }
        self.scratch = scratch;
    }

    fn read_stream(&mut self, at: Now, index: u32, scratch: &mut Scratch, adopted: bool) -> Result<(), StreamEnd> {
        let Some(connection) = self.outbox.streams.get_mut(index) else {
            return Ok(());
        };
        let five_tuple = connection.five_tuple;
        let mut held = connection.resume(&mut scratch.frames);
        if adopted {
            match self.cut_frames(at, index, &five_tuple, &mut scratch.frames, held)? {
                Rest::Partial(rest) => held = rest,
                gone => return self.let_go(at, index, scratch, &gone),
            }
        }
        let mut fresh = true;
        let received = loop {
            let Some(connection) = self.outbox.streams.get_mut(index) else {
                return Ok(());
            };
            match connection.receive(scratch, held, fresh)? {
                Received::Bytes(count) => held += count,
                other => break other,
            }
            fresh = false;
            match self.cut_frames(at, index, &five_tuple, &mut scratch.frames, held)? {
                Rest::Partial(rest) => held = rest,
                gone => return self.let_go(at, index, scratch, &gone),
            }
        };
        let Some(connection) = self.outbox.streams.get_mut(index) else {
            return Ok(());
        };
        connection.keep(scratch.frames.get(..held).unwrap_or_default());
        if connection.tls_wants_write() {
            self.outbox.streams.write_later(index);
        }
        self.outbox.streams.answer_ping(index);
        match received {
            Received::Closed => Err(StreamEnd::Client),
            _ => Ok(()),
        }
    }

    /// Passes on a stream that is none of TURN messages any more, or not of this worker.
    fn let_go(&mut self, at: Now, index: u32, scratch: &mut Scratch, rest: &Rest) -> Result<(), StreamEnd> {
        match *rest {
            Rest::Partial(_) => Ok(()),
            Rest::Joined(key, held) => {
                self.begin_connection(at, key, scratch, held);
                Ok(())
            }
            Rest::Elsewhere(worker, held) => {
                let Some(connection) = self.outbox.streams.get_mut(index) else {
                    return Ok(());
                };
                // Answers do not travel: there are a few at most, which the kernel takes, unless nobody reads them.
                if connection.write()? != Written::All {
                    return Err(StreamEnd::SlowReader);
                }
                let all = connection.receive_rest(scratch, held)?;
                let early = scratch.frames.get(..all.count).unwrap_or_default().to_vec();
                self.poller.remove(connection.socket()).map_err(|_| StreamEnd::Failed)?;
                let Some(connection) = self.outbox.streams.take(index) else {
                    return Ok(());
                };
                self.outbox.stats.streams[connection.kind().index()] -= 1;
                let moved = self.dispatch.move_to(worker, connection.into_moved(early));
                let end = if moved.is_ok() {
                    StreamEnd::Moved
                } else {
                    StreamEnd::Busy
                };
                self.outbox.stats.streams_closed[end.index()] += 1;
                Ok(())
            }
        }
    }

    /// Handles every whole frame in the first `held` bytes and moves the rest to the front.
    fn cut_frames(
        &mut self,
        at: Now,
        index: u32,
        from: &FiveTuple,
        bytes: &mut [u8],
        held: usize,
    ) -> Result<Rest, StreamEnd> {
        let mut start = 0;
        while let Some(rest) = bytes.get(start..held) {
            let Some(len) = frame_len(rest).map_err(|_| StreamEnd::Framing)? else {
                break;
            };
            if len > SMALL_FRAME && !self.server.has_allocation(from) {
                return Err(StreamEnd::Framing);
            }
            let Some(frame) = rest.get(..len) else { break };
            if let Some(worker) = self.server.belongs_elsewhere(frame)
                && self.may_leave(index, from)
            {
                bytes.copy_within(start..held, 0);
                return Ok(Rest::Elsewhere(worker, held - start));
            }
            start += len;
            let handled = self.server.handle_client(at, from, frame);
            if let Handled::Forward(forward) = &handled {
                self.outbox.forward_frame(at.instant, &self.arena, frame, forward);
            }
            self.drain(at);
            if let Some(key) = self.joined.take() {
                bytes.copy_within(start..held, 0);
                return Ok(Rest::Joined(key, held - start));
            }
            self.outbox.streams.heard(index, at.instant);
        }
        bytes.copy_within(start..held, 0);
        Ok(Rest::Partial(held - start))
    }

    /// Whether a stream may go to another worker, to become a data connection or to take over an allocation: once, and not with
    /// an allocation of its own.
    fn may_leave(&mut self, index: u32, from: &FiveTuple) -> bool {
        if !from.transport.is_tcp() {
            return false;
        }
        let connection = self.outbox.streams.get_mut(index);
        connection.is_some_and(|connection| !connection.is_moved) && !self.server.has_allocation(from)
    }

    /// Ends streams whose time is up.
    pub(super) fn expire_streams(&mut self, at: Now) {
        let server = &self.server;
        self.outbox
            .streams
            .expire(at.instant, |five_tuple| server.has_allocation(five_tuple));
    }

    /// Writes what waits and closes what ends, until there is nothing of either: an end can make more of both.
    pub(super) fn finish_streams(&mut self, at: Now) {
        while self.outbox.streams.has_work() {
            let poller = &self.poller;
            self.outbox
                .streams
                .write(|interest| poller.watch_room(interest.socket, Token::Stream(interest.index), interest.room));
            while let Some(five_tuple) = self.outbox.streams.close_next(&mut self.outbox.stats) {
                self.server.handle_client_gone(at, &five_tuple);
                self.drain(at);
            }
        }
    }
}
