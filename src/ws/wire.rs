//! The byte stream under the WebSocket: notes when bytes arrive, and writes our own messages straight from the bytes that
//! all receivers share.
//!
//! The WebSocket library copies each frame into a buffer of the connection, which then stays as large as its largest frame. A
//! server's frame is a few bytes of head and the payload as it is (RFC 6455 §5.2, servers do not mask), so it needs no copy.
//! Only control frames (ping, pong, close) go through the library. Both kinds keep to frame boundaries: the library's bytes wait
//! here until our frames are out, and [`Wire::start`] is only called after the library was flushed.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};

use crate::signaling::Payload;

/// Frames that one system call writes. A queue that has grown is worth few calls, not one for each frame.
pub(crate) const GATHERED: usize = 32;

/// A socket with the frames that are being written to it.
#[derive(Debug)]
pub(crate) struct Wire<S> {
    pub(crate) io: S,
    /// When bytes last arrived, whole messages or not.
    pub(crate) heard: Instant,
    /// What is being written, the first of them perhaps written in part.
    outgoing: VecDeque<Payload>,
    /// Bytes of the first frame, head and payload, that are written.
    sent: usize,
}

/// Head of an unmasked, final frame.
#[derive(Debug, Clone, Copy)]
struct Head {
    bytes: [u8; 10],
    length: u8,
}

impl Head {
    const NONE: Self = Self {
        bytes: [0; 10],
        length: 0,
    };

    fn of(payload: &Payload) -> Self {
        const FINAL_TEXT: u8 = 0x81;
        const FINAL_BINARY: u8 = 0x82;
        let mut bytes = [0; 10];
        bytes[0] = match payload {
            Payload::Text(_) => FINAL_TEXT,
            Payload::Binary(_) => FINAL_BINARY,
        };
        let payload = payload.len();
        // The shortest of three forms (RFC 6455 §5.2).
        let length = if payload < 126 {
            bytes[1] = payload as u8;
            2
        } else if let Ok(payload) = u16::try_from(payload) {
            bytes[1] = 126;
            bytes[2..4].copy_from_slice(&payload.to_be_bytes());
            4
        } else {
            bytes[1] = 127;
            bytes[2..10].copy_from_slice(&(payload as u64).to_be_bytes());
            10
        };
        Self { bytes, length }
    }

    fn as_slice(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.length)).unwrap_or_default()
    }
}

impl<S> Wire<S> {
    pub(crate) fn new(io: S) -> Self {
        Self {
            io,
            heard: Instant::now(),
            outgoing: VecDeque::new(),
            sent: 0,
        }
    }

    /// Makes these the next frames. Those before must be out: flush first.
    pub(crate) fn start(&mut self, payloads: VecDeque<Payload>) {
        debug_assert!(self.outgoing.is_empty(), "frames among frames");
        self.outgoing = payloads;
    }

    /// So many bytes more are written.
    fn advance(&mut self, written: usize) {
        self.sent += written;
        while let Some(first) = self.outgoing.front() {
            let length = Head::of(first).as_slice().len() + first.len();
            if self.sent < length {
                return;
            }
            self.sent -= length;
            self.outgoing.pop_front();
        }
        // What is idle holds no memory for what it once wrote.
        self.outgoing = VecDeque::new();
    }
}

impl<S: AsyncWrite + Unpin> Wire<S> {
    /// Writes what is left of our own frames.
    fn poll_outgoing(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.outgoing.is_empty() {
            let mut heads = [Head::NONE; GATHERED];
            for (head, payload) in heads.iter_mut().zip(&self.outgoing) {
                *head = Head::of(payload);
            }
            let mut slices = [IoSlice::new(&[]); 2 * GATHERED];
            let mut used = 0;
            let mut written = self.sent;
            let parts = heads.iter().zip(&self.outgoing);
            for part in parts.flat_map(|(head, payload)| [head.as_slice(), payload.bytes()]) {
                let gone = written.min(part.len());
                written -= gone;
                if let (Some(rest), Some(slice)) = (part.get(gone..), slices.get_mut(used))
                    && !rest.is_empty()
                {
                    *slice = IoSlice::new(rest);
                    used += 1;
                }
            }
            let slices = slices.get(..used).unwrap_or_default();
            match ready!(Pin::new(&mut self.io).poll_write_vectored(cx, slices))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.advance(written),
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Wire<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let result = ready!(Pin::new(&mut self.io).poll_read(cx, buffer));
        if buffer.filled().len() > before {
            self.heard = Instant::now();
        }
        Poll::Ready(result)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_outgoing(cx))?;
        Pin::new(&mut self.io).poll_write(cx, buffer)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_outgoing(cx))?;
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use std::task::Waker;

    /// Takes `room` bytes and then no more; one slice per call, as a stream without vectored writes does.
    #[derive(Debug, Default)]
    struct Narrow {
        taken: Vec<u8>,
        room: usize,
    }

    impl AsyncWrite for Narrow {
        fn poll_write(mut self: Pin<&mut Self>, _cx: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
            let length = buffer.len().min(self.room);
            if length == 0 {
                return Poll::Pending;
            }
            self.room -= length;
            self.taken.extend_from_slice(&buffer[..length]);
            Poll::Ready(Ok(length))
        }

        fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn the_head_has_the_shortest_length_of_three() {
        let head = |length| {
            let head = Head::of(&Payload::Text(vec![b' '; length].into()));
            head.as_slice().to_vec()
        };
        assert_eq!(head(0), [0x81, 0]);
        assert_eq!(head(125), [0x81, 125]);
        assert_eq!(head(126), [0x81, 126, 0, 126]);
        assert_eq!(head(65_535), [0x81, 126, 0xFF, 0xFF]);
        assert_eq!(head(65_536), [0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]);
    }

    #[test]
    fn a_binary_message_says_that_it_is_one() {
        let head = Head::of(&Payload::Binary(Bytes::from_static(&[0xFF])));
        assert_eq!(head.as_slice(), [0x82, 1]);
    }

    #[test]
    fn a_frame_written_byte_by_byte_is_whole_and_what_others_write_waits_for_its_end() {
        let mut cx = Context::from_waker(Waker::noop());
        let mut wire = Wire::new(Narrow::default());
        wire.start([Bytes::from_static(b"hello").into()].into());
        for _ in 0..6 {
            wire.io.room = 1;
            assert!(Pin::new(&mut wire).poll_write(&mut cx, b"PONG").is_pending());
        }
        wire.io.room = 2;
        assert!(matches!(
            Pin::new(&mut wire).poll_write(&mut cx, b"PONG"),
            Poll::Ready(Ok(1))
        ));
        assert_eq!(wire.io.taken, b"\x81\x05helloP");
    }

    /// Takes `room` bytes of all slices at once, as a socket does.
    #[derive(Debug, Default)]
    struct Gathering {
        taken: Vec<u8>,
        room: usize,
        calls: usize,
    }

    impl AsyncWrite for Gathering {
        fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
            self.poll_write_vectored(cx, &[IoSlice::new(buffer)])
        }

        fn poll_write_vectored(
            mut self: Pin<&mut Self>,
            _cx: &mut Context<'_>,
            slices: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            let all: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
            let length = all.len().min(self.room);
            if length == 0 {
                return Poll::Pending;
            }
            self.calls += 1;
            self.taken.extend_from_slice(&all[..length]);
            Poll::Ready(Ok(length))
        }

        fn is_write_vectored(&self) -> bool {
            true
        }

        fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn frames_that_wait_go_out_in_one_call_and_cut_anywhere_they_are_the_same_bytes() {
        let payloads: VecDeque<Payload> = [0, 1, 125, 126, 300, 0, 7]
            .map(|length| Payload::Text(vec![b'x'; length].into()))
            .into_iter()
            .chain((0..GATHERED).map(|at| Payload::Binary(vec![b'y'; at].into())))
            .chain([Payload::Text(vec![b'z'; 65_536].into())])
            .collect();
        let mut cx = Context::from_waker(Waker::noop());
        let mut wanted = Vec::new();
        for payload in &payloads {
            wanted.extend_from_slice(Head::of(payload).as_slice());
            wanted.extend_from_slice(payload.bytes());
        }
        for room in [97, 130, 1_000, usize::MAX] {
            let mut wire = Wire::new(Gathering {
                room,
                ..Gathering::default()
            });
            wire.start(payloads.clone());
            assert!(Pin::new(&mut wire).poll_flush(&mut cx).is_ready());
            assert!(wire.io.taken == wanted, "cut every {room} bytes");
            if room == usize::MAX {
                assert_eq!(wire.io.calls, payloads.len().div_ceil(GATHERED));
            }
        }
    }

    #[test]
    fn an_empty_frame_is_its_head() {
        let mut cx = Context::from_waker(Waker::noop());
        let mut wire = Wire::new(Narrow {
            room: 10,
            ..Narrow::default()
        });
        wire.start([Bytes::new().into()].into());
        assert!(Pin::new(&mut wire).poll_flush(&mut cx).is_ready());
        assert_eq!(wire.io.taken, b"\x81\x00");
    }
}
