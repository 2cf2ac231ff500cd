//! What becomes of packets on their way out, in the terms of the metrics.

use std::io;

use crate::telemetry::{DriverStats, SendFailure};

/// The reason behind an error of `sendmsg`.
pub(crate) fn reason(error: &io::Error) -> SendFailure {
    match error.raw_os_error() {
        Some(libc::EAGAIN | libc::ENOBUFS | libc::ENOMEM) => SendFailure::BufferFull,
        Some(libc::EMSGSIZE) => SendFailure::TooLong,
        Some(libc::EACCES | libc::EPERM) => SendFailure::Refused,
        Some(
            libc::ENETUNREACH
            | libc::EHOSTUNREACH
            | libc::ENETDOWN
            | libc::EHOSTDOWN
            | libc::ECONNREFUSED
            | libc::EADDRNOTAVAIL
            // A destination that is no unicast address, or no route from the address to send from.
            | libc::EINVAL,
        ) => SendFailure::Unreachable,
        _ => SendFailure::Other,
    }
}

/// Counts the sends of one socket: to a network, or to a sibling worker.
pub(crate) struct SendCount<'a> {
    pub(crate) stats: &'a mut DriverStats,
    pub(crate) to_sibling: bool,
}

impl SendCount<'_> {
    /// A system call was made.
    pub(crate) fn call(&mut self) {
        self.stats.send_calls += 1;
    }

    /// The kernel took a message of so many packets.
    pub(crate) fn sent(&mut self, packets: u64) {
        if self.to_sibling {
            self.stats.handovers += packets;
            return;
        }
        self.stats.send_datagrams += packets;
        if packets > 1 {
            self.stats.send_trains += 1;
        }
    }

    /// A train is to go packet by packet.
    pub(crate) fn fallback(&mut self) {
        self.stats.send_train_fallbacks += 1;
    }

    /// So many packets are lost. Between workers there is one reason: the other does not keep up.
    pub(crate) fn failed(&mut self, why: SendFailure, packets: u64) {
        if self.to_sibling {
            self.stats.handover_overflows += packets;
        } else {
            self.stats.send_failures[why.index()] += packets;
        }
    }
}
