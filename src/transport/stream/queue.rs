//! Bytes that wait for a client to read them.

/// A queue of bytes. It does not know its bound: the table asks [`len`](Self::len) before it pushes.
#[derive(Debug, Default)]
pub(in crate::transport) struct WriteQueue {
    bytes: Vec<u8>,
    start: usize,
}

impl WriteQueue {
    /// Bytes that wait.
    pub(in crate::transport) fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    pub(in crate::transport) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether it holds memory to push into.
    pub(in crate::transport) fn has_buffer(&self) -> bool {
        self.bytes.capacity() != 0
    }

    /// Gives it memory that another queue has used before.
    pub(in crate::transport) fn give_buffer(&mut self, buffer: Vec<u8>) {
        debug_assert!(self.is_empty(), "what waits would be lost");
        self.bytes = buffer;
        self.bytes.clear();
        self.start = 0;
    }

    /// Takes its memory away, once it is empty.
    pub(in crate::transport) fn take_buffer(&mut self) -> Option<Vec<u8>> {
        (self.is_empty() && self.has_buffer()).then(|| {
            self.start = 0;
            std::mem::take(&mut self.bytes)
        })
    }

    /// Adds one frame: what goes around it, header, payload, and `padding` zero bytes.
    pub(in crate::transport) fn push(&mut self, head: &[u8], prefix: &[u8], payload: &[u8], padding: u8) {
        let more = head.len() + prefix.len() + payload.len() + usize::from(padding);
        if self.bytes.capacity() - self.bytes.len() < more && self.start >= self.bytes.len() / 2 {
            // What was written makes room before the memory grows.
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        self.bytes.extend_from_slice(head);
        self.bytes.extend_from_slice(prefix);
        self.bytes.extend_from_slice(payload);
        self.bytes.resize(self.bytes.len() + usize::from(padding), 0);
    }

    /// What is next to be written.
    pub(in crate::transport) fn waiting(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }

    /// `count` bytes of it were written.
    pub(in crate::transport) fn written(&mut self, count: usize) {
        self.start = self.bytes.len().min(self.start + count);
        if self.is_empty() {
            self.bytes.clear();
            self.start = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_out_in_order_however_they_are_taken() {
        for step in [1, 3, 7, 100] {
            let mut queue = WriteQueue::default();
            let mut expected = Vec::new();
            let mut out = Vec::new();
            for n in 0..50_u8 {
                queue.push(&[], &[n], &[n; 5], n % 4);
                expected.extend([n; 6]);
                expected.extend(vec![0; usize::from(n % 4)]);
                let taken = step.min(queue.len());
                out.extend_from_slice(&queue.waiting()[..taken]);
                queue.written(taken);
            }
            out.extend_from_slice(queue.waiting());
            assert_eq!(out, expected, "steps of {step}");
        }
    }

    #[test]
    fn memory_is_given_back_only_when_nothing_waits() {
        let mut queue = WriteQueue::default();
        assert!(queue.take_buffer().is_none(), "it never had any");
        queue.push(b"", b"a", b"bc", 0);
        assert!(queue.take_buffer().is_none());
        queue.written(2);
        assert!(queue.take_buffer().is_none());
        queue.written(1);
        let buffer = queue.take_buffer().unwrap();
        assert!(buffer.capacity() >= 3 && !queue.has_buffer());
        queue.give_buffer(buffer);
        assert!(queue.is_empty() && queue.has_buffer());
    }

    #[test]
    fn a_queue_that_is_read_as_fast_as_it_is_filled_does_not_grow() {
        let mut queue = WriteQueue::default();
        queue.push(&[], &[], &[0; 1000], 0);
        for _ in 0..10_000 {
            queue.push(&[], &[], &[0; 1000], 0);
            queue.written(1000);
        }
        assert!(queue.bytes.capacity() <= 8000, "{}", queue.bytes.capacity());
    }
}
