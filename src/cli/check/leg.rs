//! The client's leg of a relay under test: UDP, or a stream that is framed here, so that the `turn` crate sees datagrams.

use super::report::Failure;
use super::web::Trust;
use async_trait::async_trait;
use rustls::pki_types::ServerName;
use std::any::Any;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadHalf, WriteHalf, split};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::Mutex;
use webrtc_util::Conn;

/// How a client reaches the relay.
#[derive(Clone)]
pub(super) enum Leg<'a> {
    Udp,
    Tcp,
    Tls { host: String, trust: &'a Trust },
}

impl Leg<'_> {
    /// What to open where nothing answers.
    pub(super) fn way_out(&self) -> &'static str {
        match self {
            Self::Udp => "open the UDP port of relay.listen in every firewall up to the server",
            Self::Tcp => "open the TCP port of relay.listen_tcp in every firewall up to the server",
            Self::Tls { .. } => "open the TCP port of relay.listen_tls in every firewall up to the server",
        }
    }

    /// A connection to `server` on which each datagram is one message.
    pub(super) async fn connect(&self, server: SocketAddr) -> Result<Arc<dyn Conn + Send + Sync>, Failure> {
        if let Self::Udp = self {
            return Ok(Arc::new(socket_towards(server).await?));
        }
        let failed = |error: io::Error| Failure::new(format!("TCP: {error}"), self.way_out());
        let stream = TcpStream::connect(server).await.map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        let local = stream.local_addr().map_err(failed)?;
        let Self::Tls { host, trust } = self else {
            return Ok(Arc::new(Framed::new(stream, local, server)));
        };
        let name = ServerName::try_from(host.clone())
            .map_err(|_| Failure::new(format!("`{host}` is no name for TLS"), "check ice.host"))?;
        let stream = trust.for_turn().connect(name, stream).await.map_err(|error| {
            Failure::new(
                format!("TLS: {error}"),
                "the certificate must be whole, current, and for the advertised host (--ca FILE trusts a private one)",
            )
        })?;
        Ok(Arc::new(Framed::new(stream, local, server)))
    }
}

/// A UDP socket of the server's family.
pub(super) async fn socket_towards(server: SocketAddr) -> Result<UdpSocket, Failure> {
    let any = if server.is_ipv4() {
        SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))
    } else {
        SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0))
    };
    UdpSocket::bind(any).await.map_err(|error| {
        Failure::new(
            format!("UDP: {error}"),
            "this machine cannot open a UDP socket of that family",
        )
    })
}

/// Messages on a stream, by the length in their own headers (RFC 8489 §6.2.2, RFC 8656 §12.5).
struct Framed<S> {
    reader: Mutex<ReadHalf<S>>,
    writer: Mutex<WriteHalf<S>>,
    local: SocketAddr,
    server: SocketAddr,
}

impl<S: AsyncRead + AsyncWrite> Framed<S> {
    fn new(stream: S, local: SocketAddr, server: SocketAddr) -> Self {
        let (reader, writer) = split(stream);
        Self {
            reader: Mutex::new(reader),
            writer: Mutex::new(writer),
            local,
            server,
        }
    }
}

/// Bytes after the first four, from those four.
fn rest(head: [u8; 4]) -> usize {
    let len = usize::from(u16::from_be_bytes([head[2], head[3]]));
    if head[0] & 0xc0 == 0x40 {
        len.next_multiple_of(4)
    } else {
        16 + len
    }
}

#[async_trait]
impl<S: AsyncRead + AsyncWrite + Send + 'static> Conn for Framed<S> {
    async fn connect(&self, _: SocketAddr) -> webrtc_util::Result<()> {
        Ok(())
    }

    async fn recv(&self, buffer: &mut [u8]) -> webrtc_util::Result<usize> {
        let mut reader = self.reader.lock().await;
        let mut head = [0; 4];
        reader.read_exact(&mut head).await?;
        let len = 4 + rest(head);
        let Some(frame) = buffer.get_mut(..len) else {
            return Err(io::Error::from(io::ErrorKind::InvalidData).into());
        };
        let (first, others) = frame.split_at_mut(4);
        first.copy_from_slice(&head);
        reader.read_exact(others).await?;
        Ok(len)
    }

    async fn recv_from(&self, buffer: &mut [u8]) -> webrtc_util::Result<(usize, SocketAddr)> {
        Ok((self.recv(buffer).await?, self.server))
    }

    async fn send(&self, message: &[u8]) -> webrtc_util::Result<usize> {
        let mut frame = message.to_vec();
        frame.resize(message.len().next_multiple_of(4), 0);
        let mut writer = self.writer.lock().await;
        writer.write_all(&frame).await?;
        writer.flush().await?;
        Ok(message.len())
    }

    async fn send_to(&self, message: &[u8], _: SocketAddr) -> webrtc_util::Result<usize> {
        self.send(message).await
    }

    fn local_addr(&self) -> webrtc_util::Result<SocketAddr> {
        Ok(self.local)
    }

    fn remote_addr(&self) -> Option<SocketAddr> {
        Some(self.server)
    }

    async fn close(&self) -> webrtc_util::Result<()> {
        Ok(self.writer.lock().await.shutdown().await?)
    }

    fn as_any(&self) -> &(dyn Any + Send + Sync) {
        // Nobody asks what it is, and a type with a borrowed part could not say it.
        &()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_of_a_frame_is_in_its_first_four_bytes() {
        assert_eq!(rest([0x00, 0x01, 0x00, 0x08]), 24);
        assert_eq!(rest([0x40, 0x00, 0x00, 0x05]), 8);
        assert_eq!(rest([0x40, 0x00, 0x00, 0x00]), 0);
    }
}
