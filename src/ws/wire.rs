//! The byte stream under the WebSocket: notes when bytes arrive, and writes our own messages straight from the bytes that
//! all receivers share.
//!
//! The WebSocket library copies each frame into a buffer of the connection, which then stays as large as its largest frame. A
//! server's frame is a few bytes of head and the payload as it is (RFC 6455 §5.2, servers do not mask), so it needs no copy.
//! Only control frames (ping, pong, close) go through the library. Both kinds keep to frame boundaries: the library's bytes wait
//! here until our frame is out, and [`Wire::start`] is only called after the library was flushed.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};

use crate::signaling::Payload;

/// A socket with the frame that is being written to it.
#[derive(Debug)]
pub(crate) struct Wire<S> {
    pub(crate) io: S,
    /// When bytes last arrived, whole messages or not.
    pub(crate) heard: Instant,
    outgoing: Option<Outgoing>,
}

#[derive(Debug)]
struct Outgoing {
    head: Head,
    payload: Bytes,
    /// Bytes of head and payload that are written.
    sent: usize,
}

/// Head of an unmasked, final frame.
#[derive(Debug, Clone, Copy)]
struct Head {
    bytes: [u8; 10],
    length: usize,
}

impl Head {
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
}

impl<S> Wire<S> {
    pub(crate) fn new(io: S) -> Self {
        Self {
            io,
            heard: Instant::now(),
            outgoing: None,
        }
    }

    /// Makes this the next frame. The one before must be out: flush first.
    pub(crate) fn start(&mut self, payload: Payload) {
        debug_assert!(self.outgoing.is_none(), "two frames at once");
        self.outgoing = Some(Outgoing {
            head: Head::of(&payload),
            payload: match payload {
                Payload::Text(bytes) | Payload::Binary(bytes) => bytes,
            },
            sent: 0,
        });
    }
}

impl<S: AsyncWrite + Unpin> Wire<S> {
    /// Writes what is left of our own frame.
    fn poll_outgoing(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(outgoing) = &mut self.outgoing {
            let head = outgoing
                .head
                .bytes
                .get(outgoing.sent..outgoing.head.length)
                .unwrap_or_default();
            let from = outgoing.sent.saturating_sub(outgoing.head.length);
            let payload = outgoing.payload.get(from..).unwrap_or_default();
            if head.is_empty() && payload.is_empty() {
                self.outgoing = None;
                break;
            }
            let slices = [IoSlice::new(head), IoSlice::new(payload)];
            let slices = if head.is_empty() { &slices[1..] } else { &slices[..] };
            match ready!(Pin::new(&mut self.io).poll_write_vectored(cx, slices))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => outgoing.sent += written,
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
            head.bytes[..head.length].to_vec()
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
        assert_eq!(head.bytes[..head.length], [0x82, 1]);
    }

    #[test]
    fn a_frame_written_byte_by_byte_is_whole_and_what_others_write_waits_for_its_end() {
        let mut cx = Context::from_waker(Waker::noop());
        let mut wire = Wire::new(Narrow::default());
        wire.start(Bytes::from_static(b"hello").into());
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

    #[test]
    fn an_empty_frame_is_its_head() {
        let mut cx = Context::from_waker(Waker::noop());
        let mut wire = Wire::new(Narrow {
            room: 10,
            ..Narrow::default()
        });
        wire.start(Bytes::new().into());
        assert!(Pin::new(&mut wire).poll_flush(&mut cx).is_ready());
        assert_eq!(wire.io.taken, b"\x81\x00");
    }
}
