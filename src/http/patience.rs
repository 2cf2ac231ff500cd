//! A stream whose writes may not wait for ever.
//!
//! hyper bounds how long a client may take to send, not how long it may take to read. Without this bound a client that asks
//! for a lot and reads nothing would hold its connection until the process ends.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// Passes everything through, and fails with [`io::ErrorKind::TimedOut`] when the other end took no byte for `write_timeout`
/// while there was something to write.
pub(super) struct Patience<S> {
    stream: S,
    write_timeout: Duration,
    /// Runs while a write waits; an idle connection has no timer.
    waiting: Option<Pin<Box<Sleep>>>,
}

impl<S> Patience<S> {
    pub(super) const fn new(stream: S, write_timeout: Duration) -> Self {
        Self {
            stream,
            write_timeout,
            waiting: None,
        }
    }

    /// The stream alone, whoever waits for it now.
    pub(super) fn into_inner(self) -> S {
        self.stream
    }

    /// Lets `result` pass if it is there, else waits for the rest of the time.
    fn bound<T>(&mut self, cx: &mut Context<'_>, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if result.is_ready() {
            self.waiting = None;
            return result;
        }
        let write_timeout = self.write_timeout;
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(sleep(write_timeout)));
        ready!(waiting.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patience<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patience<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.bound(cx, result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, pieces);
        self.bound(cx, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_flush(cx);
        self.bound(cx, result)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.bound(cx, result)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(20);

    #[tokio::test(start_paused = true)]
    async fn a_write_that_nobody_reads_fails_after_the_timeout_and_not_before() {
        let (near, _far) = duplex(4);
        let mut stream = Patience::new(near, TIMEOUT);
        stream.write_all(b"full").await.unwrap();
        let began = tokio::time::Instant::now();
        let error = stream.write_all(b"more").await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        let waited = began.elapsed();
        assert!(
            waited >= TIMEOUT && waited < TIMEOUT + Duration::from_secs(1),
            "{waited:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_is_slow_but_reads_gets_everything() {
        let (near, mut far) = duplex(4);
        let mut stream = Patience::new(near, TIMEOUT);
        let writer = tokio::spawn(async move { stream.write_all(&[7; 40]).await });
        let mut got = [0; 4];
        for _ in 0..10 {
            tokio::time::sleep(TIMEOUT - Duration::from_secs(1)).await;
            far.read_exact(&mut got).await.unwrap();
        }
        writer.await.unwrap().unwrap();
    }
}
