//! What an operator may choose about streams.

use std::time::Duration;

use ipnet::IpNet;

/// Bounds and patience for clients that come by TCP or TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Streams {
    /// Connections open at once, handshakes included. Default 20 000. Beyond it new ones are closed at once.
    ///
    /// Each costs a file descriptor and about 1 KiB (TLS: 40 KiB), half of it in the kernel.
    pub connections: usize,
    /// Connections of one client address (IPv4 address, IPv6 /64). Default 500. Whole companies share an address.
    pub connections_per_client: usize,
    /// How long a stream without an allocation may go without a request. Default 30 s.
    ///
    /// A client needs a fraction of a second between connecting and its Allocate request.
    pub idle_timeout: Duration,
    /// How long a client may take to its first whole message; with TLS, also how long to the end of the handshake.
    /// Default 10 s.
    pub first_timeout: Duration,
    /// Bytes that may wait for one client to read them. Default 256 KiB. Beyond it relayed data is dropped, as a full
    /// link would.
    ///
    /// At 2 Mbit/s the default is one second of video: more only makes what arrives older.
    pub queue_bytes: usize,
    /// Proxies that begin each connection with a PROXY header, which says who the client is. Default: none.
    ///
    /// A source in here must send one, and can pass for any client, and so escapes every limit per client. From everybody
    /// else a header is no header, but bytes that are not understood.
    pub proxies: Vec<IpNet>,
}

impl Default for Streams {
    fn default() -> Self {
        Self {
            connections: 20_000,
            connections_per_client: 500,
            idle_timeout: Duration::from_secs(30),
            first_timeout: Duration::from_secs(10),
            queue_bytes: 256 << 10,
            proxies: Vec::new(),
        }
    }
}
