//! The worker's turn with DTLS: open what came, handle what was in it, wake, end.

use std::ops::Range;

use super::{Now, Worker};
use crate::transport::dtls::Scratch;
use crate::transport::dtls::table::Heard;
use crate::turn::{FiveTuple, Handled};

/// Sessions woken in one turn.
const WAKES: usize = 64;

impl Worker {
    /// Takes a datagram that came to a listener of DTLS.
    pub(super) fn serve_dtls(&mut self, at: Now, from: &FiveTuple, slot: usize, segment: Range<usize>) {
        let Some(mut scratch) = self.dtls_scratch.take() else {
            return;
        };
        let datagram = self.arena.bytes(slot).get(segment).unwrap_or_default();
        let heard = match &mut self.outbox.dtls {
            Some(dtls) => dtls.receive(&mut self.outbox.stats, at.instant, from, datagram, &mut scratch),
            None => Heard::Done,
        };
        if let Heard::Admitted(admission) = heard {
            // The session that it replaces takes its allocation along.
            self.finish_dtls(at);
            if let Some(dtls) = &mut self.outbox.dtls {
                dtls.open(&mut self.outbox.stats, at.instant, from, &admission, &mut scratch);
            }
        }
        self.pass_on(at, from, &scratch);
        self.dtls_scratch = Some(scratch);
    }

    /// Sends what a session has to send, and handles what its client said.
    fn pass_on(&mut self, at: Now, from: &FiveTuple, scratch: &Scratch) {
        self.outbox.push_datagrams(at.instant, &self.arena, from, scratch);
        for message in scratch.messages() {
            let handled = self.server.handle_client(at, from, message);
            if let Handled::Forward(forward) = &handled {
                self.outbox.forward_frame(at.instant, &self.arena, message, forward);
            }
            self.drain(at);
        }
    }

    /// Wakes sessions whose time has come.
    pub(super) fn wake_dtls(&mut self, at: Now) {
        let Some(mut scratch) = self.dtls_scratch.take() else {
            return;
        };
        for _ in 0..WAKES {
            let server = &self.server;
            let Some(dtls) = &mut self.outbox.dtls else { break };
            let woken = dtls.wake_next(at.instant, |client| server.has_allocation(client), &mut scratch);
            let Some(five_tuple) = woken else { break };
            self.pass_on(at, &five_tuple, &scratch);
        }
        self.dtls_scratch = Some(scratch);
    }

    /// Ends the sessions that are to end, and the allocations of their clients.
    pub(super) fn finish_dtls(&mut self, at: Now) {
        while let Some(dtls) = self.outbox.dtls.as_mut().filter(|dtls| dtls.has_work()) {
            let Some(five_tuple) = dtls.close_next(&mut self.outbox.stats, at.instant) else {
                continue;
            };
            self.outbox.push_last_sealed(at.instant, &self.arena, &five_tuple);
            self.server.handle_client_gone(at, &five_tuple);
            self.drain(at);
        }
    }

    /// Says goodbye to every client, as the process ends.
    pub(super) fn end_dtls(&mut self) {
        if let Some(dtls) = &mut self.outbox.dtls {
            dtls.end_all();
        }
    }
}
