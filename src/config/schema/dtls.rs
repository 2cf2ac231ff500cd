//! Clients that come by DTLS.

use super::seconds;
use crate::config::value::Between;
use std::time::Duration;

section! {
    /// Clients that come by DTLS at `relay.listen_dtls` (RFC 7350): how many, and how long they are waited for.
    ///
    /// Who has not shown, with a cookie, that it receives at its address counts for nothing here: nothing is remembered of it.
    Dtls as "dtls" {
        /// Sessions at once, handshakes included. Beyond it new clients get no answer. Each costs some 13 KiB.
        max_sessions: usize = 5_000, Between(1, 1_000_000);
        /// Sessions of one client address (IPv4 address, IPv6 /64). Whole companies share an address.
        max_sessions_per_client: usize = 500, Between(1, 1_000_000);
        /// Handshakes under way at once; each worker has its share of them. Beyond it the oldest one there ends. Each costs some 8 KiB, and at most 80 KiB if its
        /// client means ill.
        max_handshakes: usize = 512, Between(1, 100_000);
        /// Handshakes of one client address (IPv4 address, IPv6 /64). Beyond it new ones get no answer.
        max_handshakes_per_client: usize = 32, Between(1, 100_000);
        /// How long a handshake may take.
        handshake_timeout: Duration = seconds(10), Between(seconds(1), seconds(120));
        /// How long a session without an allocation may go without a message.
        idle_timeout: Duration = seconds(30), Between(seconds(1), seconds(3600));
    }
}
