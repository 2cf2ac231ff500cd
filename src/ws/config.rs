//! What an operator may set about the sockets of the hub.

use std::time::Duration;

/// Limits of the WebSocket driver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Origins a browser may connect from, each as `scheme://host[:port]`; `None` allows every origin. Default `None`.
    /// A client that sends no `Origin` is not a browser and is not judged by this.
    pub origins: Option<Vec<String>>,
    /// Open connections of one IP address (one /64 of IPv6); 0 is no limit. Default 1 024: schools and carrier NAT put many
    /// people behind one address. Loopback is never limited.
    pub connections_per_ip: u32,
    /// Frames that may wait for one slow reader. Default 1 024. Past it the reader is closed with 4002.
    pub queue_messages: usize,
    /// Bytes that may wait for one slow reader. Default 524 288 (512 KiB). Past it the reader is closed with 4002; this times
    /// the number of connections is the worst case of memory.
    pub queue_bytes: usize,
    /// Read buffer of each connection, bytes, allocated at once. Default 512: most signals are larger and grow it for as long
    /// as they last. Raising it costs that much memory for every idle connection and saves reads on busy ones.
    pub read_buffer: usize,
    /// How long one frame may take to be written before the reader counts as slow (4002). Default 20 s.
    pub write_timeout: Duration,
    /// How long a closed connection may take to answer the close frame. Default 2 s.
    pub close_timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            origins: None,
            connections_per_ip: 1_024,
            queue_messages: 1_024,
            queue_bytes: 524_288,
            read_buffer: 512,
            write_timeout: Duration::from_secs(20),
            close_timeout: Duration::from_secs(2),
        }
    }
}
