//! Who talks to whom: addresses with their role in the type, so that a peer is never mistaken for a client.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// Source of a client's packets as the server sees it (behind a NAT: the mapped address).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ClientAddr(pub SocketAddr);

/// A host beyond the relay: the far end of a relayed packet.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct PeerAddr(pub SocketAddr);

/// The relayed transport address as clients and peers see it (advertised, not necessarily bound).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct RelayedAddr(pub SocketAddr);

/// The address of ours that a client's packets arrive at.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ListenAddr(pub SocketAddr);

/// Transport of the client leg. The peer leg is always UDP (RFC 8656 §3.1).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Transport {
    /// Datagrams.
    Udp,
    /// A stream, framed by RFC 8489 §6.2.2 and RFC 8656 §12.5.
    Tcp,
    /// TLS over TCP.
    Tls,
    /// DTLS over UDP.
    Dtls,
    /// Binary WebSocket messages, whose payloads are the byte stream that TCP would carry.
    WebSocket,
}

impl Transport {
    /// Every transport, in the order of [`Transport::index`].
    pub const ALL: [Self; 5] = [Self::Udp, Self::Tcp, Self::Tls, Self::Dtls, Self::WebSocket];

    /// Metric label.
    pub const fn as_label(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Dtls => "dtls",
            Self::WebSocket => "websocket",
        }
    }

    /// Whether ChannelData must be padded to four bytes (RFC 8656 §12.5).
    pub const fn is_stream(self) -> bool {
        matches!(self, Self::Tcp | Self::Tls | Self::WebSocket)
    }

    /// Whether it is TCP, with TLS or without: what relaying TCP asks for (RFC 6062 §5.1, §4.3). A WebSocket carries frames
    /// of TURN to its end and does not become a data connection.
    pub const fn is_tcp(self) -> bool {
        matches!(self, Self::Tcp | Self::Tls)
    }

    /// Position in [`Transport::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// What an allocation is known by (RFC 8656 §2.2): client address and port, server address and port, transport.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct FiveTuple {
    /// Transport of the client leg.
    pub transport: Transport,
    /// Where the client's packets come from.
    pub client: ClientAddr,
    /// Where they arrive.
    pub server: ListenAddr,
}

/// IP version of a relayed or peer address.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both, in the order of [`Family::index`].
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];

    /// The family of an address. A mapped address (`::ffff:a.b.c.d`) is IPv6 here, as it is on the wire.
    pub const fn of(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    /// Metric label.
    pub const fn as_label(self) -> &'static str {
        match self {
            Self::V4 => "ipv4",
            Self::V6 => "ipv6",
        }
    }

    /// Position in [`Family::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// Key of one relay socket of one shard. Small and dense: a driver indexes its sockets with it. Reused after
/// [`super::Output::CloseRelay`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct RelayId(pub u32);

impl RelayId {
    /// As an index into a driver's socket table.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for RelayId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
