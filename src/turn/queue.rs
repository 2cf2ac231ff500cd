//! What waits for `poll_output`: small values and one buffer for all messages, reused once it is drained.

use std::collections::VecDeque;

use super::five_tuple::FiveTuple;
use super::output::Output;

#[derive(Debug, Default)]
pub(super) struct Outputs {
    queue: VecDeque<Queued>,
    bytes: Vec<u8>,
}

#[derive(Debug)]
enum Queued {
    /// A message, at that place of the buffer.
    Transmit { to: FiveTuple, start: usize, len: usize },
    /// Anything else.
    Ask(Output<'static>),
}

impl Outputs {
    /// Queues a message.
    pub(super) fn transmit(&mut self, to: FiveTuple, message: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(message);
        self.queue.push_back(Queued::Transmit {
            to,
            start,
            len: message.len(),
        });
    }

    /// Queues work that carries no bytes.
    pub(super) fn ask(&mut self, output: Output<'static>) {
        self.queue.push_back(Queued::Ask(output));
    }

    /// The message queued last, if it was the last thing queued.
    pub(super) fn last_message(&self) -> Option<&[u8]> {
        match self.queue.back()? {
            Queued::Transmit { start, len, .. } => self.bytes.get(*start..*start + *len),
            Queued::Ask(_) => None,
        }
    }

    pub(super) fn pop(&mut self) -> Option<Output<'_>> {
        let Some(queued) = self.queue.pop_front() else {
            self.bytes.clear();
            return None;
        };
        Some(match queued {
            Queued::Transmit { to, start, len } => Output::Transmit {
                to,
                bytes: self.bytes.get(start..start + len).unwrap_or_default(),
            },
            Queued::Ask(output) => output,
        })
    }
}
