//! A stream of which something was read already.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::Link;

/// Gives back what was read before the rest.
#[derive(Debug)]
pub struct Rewind<S> {
    early: Vec<u8>,
    given: usize,
    stream: S,
}

impl<S> Rewind<S> {
    pub(super) fn new(early: Vec<u8>, stream: S) -> Self {
        Self {
            early,
            given: 0,
            stream,
        }
    }

    /// What was read and not given back yet, and the stream.
    pub(super) fn into_parts(mut self) -> (Vec<u8>, S) {
        self.early.drain(..self.given);
        (self.early, self.stream)
    }
}

impl From<TcpStream> for Rewind<Link> {
    fn from(stream: TcpStream) -> Self {
        Self::new(Vec::new(), Link::Tcp(stream))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Rewind<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let left = self.early.get(self.given..).unwrap_or_default();
        if left.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buffer);
        }
        let count = left.len().min(buffer.remaining());
        buffer.put_slice(left.get(..count).unwrap_or_default());
        self.given += count;
        if self.given == self.early.len() {
            self.early = Vec::new();
            self.given = 0;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Rewind<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt as _;

    #[tokio::test]
    async fn what_was_read_comes_first_in_pieces_of_any_size() {
        for size in [1, 2, 3, 100] {
            let mut stream = Rewind::new(b"GET".to_vec(), &b" / HTTP/1.1"[..]);
            let mut all = Vec::new();
            loop {
                let mut buffer = vec![0; size];
                match stream.read(&mut buffer).await.unwrap() {
                    0 => break,
                    count => all.extend_from_slice(&buffer[..count]),
                }
            }
            assert_eq!(all, b"GET / HTTP/1.1");
        }
    }
}
