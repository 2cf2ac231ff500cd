//! The client's leg: a connected UDP socket, DTLS on one, or a stream whose messages are told apart by their own lengths.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::Instant;
use tokio_rustls::TlsConnector;

use super::fault::Fault;
use super::place::Way;
use super::secured::Secured;
use crate::telemetry::labels::ProbeFault;

/// Largest message that is read: no answer to what is asked here comes near it.
const MAX_MESSAGE: usize = 4096;

/// A way to a server on which messages go and come.
pub(super) enum Leg {
    Datagrams { socket: UdpSocket, buffer: Box<[u8]> },
    Secured(Box<Secured>),
    Stream(Framed),
}

/// A byte stream, whatever is below.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Messages on a stream (RFC 8489 §6.2.2, RFC 8656 §12.5).
pub(super) struct Framed {
    stream: Box<dyn Stream>,
    buffer: Vec<u8>,
    /// Length of the message at the front of the buffer, which was given out and makes room at the next call.
    given: usize,
}

impl Leg {
    /// Opens one. How long that may take is the caller's to bound, but for DTLS, which is given up `until` then.
    ///
    /// `host` is whom the certificate must be for.
    pub(super) async fn open(
        way: Way,
        server: SocketAddr,
        host: &str,
        tls: &TlsConnector,
        until: Instant,
    ) -> Result<Self, Fault> {
        if matches!(way, Way::Udp | Way::Dtls) {
            let failed = |error: io::Error| Fault::of_socket("UDP", &error);
            let any = match server {
                SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
                SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
            };
            let socket = UdpSocket::bind(any).await.map_err(failed)?;
            // Connected: the kernel drops what others send, and tells of ICMP errors.
            socket.connect(server).await.map_err(failed)?;
            if way == Way::Dtls {
                return Ok(Self::Secured(Box::new(Secured::open(socket, host, until).await?)));
            }
            let buffer = vec![0; MAX_MESSAGE].into();
            return Ok(Self::Datagrams { socket, buffer });
        }
        let failed = |error: io::Error| Fault::of_socket("TCP", &error);
        let stream = TcpStream::connect(server).await.map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        let stream: Box<dyn Stream> = match way {
            Way::Tls => {
                let failed = |text: String| Fault::new(ProbeFault::Tls, text);
                let name = ServerName::try_from(host.to_owned());
                let name = name.map_err(|_| failed(format!("`{host}` is no name for TLS")))?;
                let stream = tls.connect(name, stream).await;
                Box::new(stream.map_err(|error| failed(format!("TLS: {error}")))?)
            }
            _ => Box::new(stream),
        };
        Ok(Self::Stream(Framed {
            stream,
            buffer: Vec::new(),
            given: 0,
        }))
    }

    /// Whether messages arrive by themselves, or have to be sent again (RFC 8489 §6.2.1, §6.2.2).
    pub(super) const fn is_reliable(&self) -> bool {
        matches!(self, Self::Stream(_))
    }

    pub(super) async fn send(&mut self, message: &[u8]) -> Result<(), Fault> {
        match self {
            Self::Datagrams { socket, .. } => match socket.send(message).await {
                // What ICMP said of an earlier datagram comes at the next call; this one was not sent.
                Err(error) => Err(Fault::of_socket("UDP", &error)),
                Ok(_) => Ok(()),
            },
            Self::Secured(secured) => secured.send(message).await,
            Self::Stream(Framed { stream, .. }) => {
                let sent = async {
                    stream.write_all(message).await?;
                    stream.flush().await
                };
                sent.await.map_err(|error| Fault::of_socket("stream", &error))
            }
        }
    }

    /// The next message. May be dropped at any time: nothing that was read is lost.
    pub(super) async fn receive(&mut self) -> Result<&[u8], Fault> {
        match self {
            Self::Datagrams { socket, buffer } => match socket.recv(buffer).await {
                Ok(len) => Ok(buffer.get(..len).unwrap_or_default()),
                Err(error) => Err(Fault::of_socket("UDP", &error)),
            },
            Self::Secured(secured) => secured.receive().await,
            Self::Stream(framed) => framed.receive().await,
        }
    }
}

impl Framed {
    async fn receive(&mut self) -> Result<&[u8], Fault> {
        let given = std::mem::take(&mut self.given);
        self.buffer.drain(..given);
        loop {
            if let Some(len) = frame(&self.buffer)? {
                self.given = len;
                return Ok(&self.buffer[..len]);
            }
            let mut piece = [0; 2048];
            match self.stream.read(&mut piece).await {
                Ok(0) => return Err(Fault::new(ProbeFault::Closed, "the server closed the connection")),
                Ok(read) => self.buffer.extend_from_slice(&piece[..read]),
                Err(error) => return Err(Fault::of_socket("stream", &error)),
            }
        }
    }
}

/// Length of the whole message at the front, if it is there, with its padding.
fn frame(bytes: &[u8]) -> Result<Option<usize>, Fault> {
    let strange = || Fault::bad_answer("what comes on the stream is not STUN");
    let len = match *bytes {
        // The first byte tells what speaks, before anything waits for a length that is none (RFC 7983).
        [first, ..] if first & 0x80 != 0 => return Err(strange()),
        [first, _, high, low, ..] => {
            let len = usize::from(u16::from_be_bytes([high, low]));
            if first & 0x40 != 0 {
                4 + len.next_multiple_of(4)
            } else if len.is_multiple_of(4) {
                20 + len
            } else {
                return Err(strange());
            }
        }
        _ => return Ok(None),
    };
    let is_stun = bytes[0] & 0x40 == 0;
    let cookie = bytes.get(4..8).is_none_or(|cookie| cookie == [0x21, 0x12, 0xa4, 0x42]);
    if (is_stun && !cookie) || len > MAX_MESSAGE {
        return Err(strange());
    }
    Ok((bytes.len() >= len).then_some(len))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_on_a_stream_is_as_long_as_its_header_says() {
        let stun = [0, 1, 0, 4, 0x21, 0x12, 0xa4, 0x42];
        let mut message = [stun.as_slice(), &[0; 16]].concat();
        assert_eq!(frame(&message), Ok(Some(24)));
        assert_eq!(frame(&message[..23]), Ok(None));
        assert_eq!(frame(&message[..3]), Ok(None));
        message.push(9);
        assert_eq!(frame(&message), Ok(Some(24)));
        let channel = [0x40, 0, 0, 5, 1, 2, 3, 4, 5, 0, 0, 0];
        assert_eq!(frame(&channel), Ok(Some(12)));
        assert_eq!(frame(&channel[..11]), Ok(None));
        assert_eq!(frame(&[]), Ok(None));
    }

    #[test]
    fn what_is_not_stun_is_noticed_before_a_length_of_it_is_waited_for() {
        for text in ["HTTP/1.1 400 Bad Request\r\n", "SSH-2.0-x\r\n", "220 mail ready\r\n"] {
            assert!(frame(text.as_bytes()).is_err(), "{text}");
        }
        // A length that is none, a cookie that is none, a first byte of DTLS or RTP.
        for bytes in [
            &[0, 1, 0, 3][..],
            &[0, 1, 0, 0, 1, 2, 3, 4],
            &[0x80],
            &[0, 1, 0xff, 0xfc, 0x21, 0x12, 0xa4, 0x42],
            &[0x40, 0, 0xff, 0xff],
        ] {
            assert_eq!(frame(bytes).unwrap_err().kind, ProbeFault::BadAnswer, "{bytes:?}");
        }
    }

    #[tokio::test]
    async fn messages_that_come_in_pieces_or_together_are_told_apart() {
        let (near, mut far) = tokio::io::duplex(1 << 16);
        let mut framed = Framed {
            stream: Box::new(near),
            buffer: Vec::new(),
            given: 0,
        };
        let one = [&[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42][..], &[7; 12]].concat();
        let other = [0x40, 0, 0, 1, 9, 0, 0, 0];
        let both = [&one[..], &other].concat();
        far.write_all(&both[..19]).await.unwrap();
        let early = tokio::time::timeout(std::time::Duration::from_millis(1), framed.receive()).await;
        assert!(early.is_err());
        far.write_all(&both[19..]).await.unwrap();
        assert_eq!(framed.receive().await.unwrap(), one);
        assert_eq!(framed.receive().await.unwrap(), other);
        drop(far);
        assert_eq!(framed.receive().await.unwrap_err().kind, ProbeFault::Closed);
    }
}
