//! A stream that ends when one message of it is too long.
//!
//! The reader of the `redis` crate keeps what it has of a message until all of it is there, and a message may claim half a
//! gigabyte. This counts what was read since the last message was whole.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Most bytes of one message: four times the longest that a client may be allowed to send.
pub const MAX_MESSAGE: usize = 16 << 20;

/// Most bytes of one read.
const PIECE: usize = 32 << 10;

/// What was read since the last whole message.
#[derive(Clone, Debug, Default)]
pub(super) struct Unparsed(Arc<AtomicUsize>);

impl Unparsed {
    /// A message was whole.
    pub(super) fn reset(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    /// Whether that is why the stream ended.
    pub(super) fn is_too_long(&self) -> bool {
        self.0.load(Ordering::Relaxed) > MAX_MESSAGE + PIECE
    }
}

/// The stream.
pub(super) struct Bounded<S> {
    stream: S,
    unparsed: Unparsed,
}

impl<S> Bounded<S> {
    pub(super) fn new(stream: S, unparsed: Unparsed) -> Self {
        Self { stream, unparsed }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Bounded<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.unparsed.is_too_long() {
            return Poll::Ready(Err(io::ErrorKind::FileTooLarge.into()));
        }
        // A piece at a time: what follows a whole message in it counts for the next one, and must not count for much.
        let size = buf.remaining().min(PIECE);
        let mut piece = ReadBuf::new(buf.initialize_unfilled_to(size));
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut piece))?;
        let read = piece.filled().len();
        buf.advance(read);
        self.unparsed.0.fetch_add(read, Ordering::Relaxed);
        if self.unparsed.is_too_long() {
            return Poll::Ready(Err(io::ErrorKind::FileTooLarge.into()));
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Bounded<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;

    #[tokio::test]
    async fn a_message_at_the_bound_passes_and_one_past_it_ends_the_stream() {
        let unparsed = Unparsed::default();
        let mut stream = Bounded::new(tokio::io::repeat(b'x'), unparsed.clone());
        let mut buffer = vec![0; MAX_MESSAGE + PIECE];
        for _ in 0..2 {
            stream.read_exact(&mut buffer).await.unwrap();
            assert!(!unparsed.is_too_long());
            unparsed.reset();
        }
        stream.read_exact(&mut buffer).await.unwrap();
        for _ in 0..2 {
            let error = stream.read_u8().await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
        }
        assert!(unparsed.is_too_long());
    }
}
