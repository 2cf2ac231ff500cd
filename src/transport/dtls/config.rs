//! What an operator may choose about DTLS.

use std::time::Duration;

/// Bounds and patience for clients that come by DTLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dtls {
    /// Sessions at once, handshakes included. Default 5 000. Beyond it new clients are refused.
    ///
    /// Each costs about 12 KiB.
    pub sessions: usize,
    /// Sessions of one client address (IPv4 address, IPv6 /64). Default 500. Whole companies share an address.
    pub sessions_per_client: usize,
    /// Handshakes under way at once, of clients whose address is verified. Default 512. Each worker has its share of them;
    /// beyond it the oldest one of that worker ends.
    ///
    /// Each costs about 8 KiB, and at most 80 KiB if its client means ill.
    pub handshakes: usize,
    /// Handshakes of one client address (IPv4 address, IPv6 /64). Default 32. Beyond it new ones are refused.
    pub handshakes_per_client: usize,
    /// How long a handshake may take. Default 10 s.
    pub handshake_timeout: Duration,
    /// How long a session without an allocation may go without a message. Default 30 s.
    pub idle_timeout: Duration,
}

impl Default for Dtls {
    fn default() -> Self {
        Self {
            sessions: 5_000,
            sessions_per_client: 500,
            handshakes: 512,
            handshakes_per_client: 32,
            handshake_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(30),
        }
    }
}
