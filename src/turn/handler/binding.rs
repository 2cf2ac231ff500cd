//! Binding: where do my packets come from? (RFC 8489 §6.3.1, §12)

use crate::turn::input::Now;
use crate::turn::request::Request;
use crate::turn::server::Server;
use crate::turn::verdict::{DropReason, Verdict};
use crate::wire::Message;
use crate::wire::attribute::XorMappedAddress;

impl Server {
    /// Answered to anybody, with or without credentials (RFC 8656 §7.2 step 1 leaves it open), with XOR-MAPPED-ADDRESS and
    /// nothing more: 32 bytes for a request of 20 (44 over IPv6). The source may be forged, so it counts against what one is due.
    pub(in crate::turn) fn handle_binding(&mut self, now: Now, request: &Request, message: &Message<'_>) -> Verdict {
        if let Err(reject) = self.refuse_unknown(message) {
            return self.reject(now, request, reject, None);
        }
        if !self.admit_unauthenticated(now, &request.from) {
            return Verdict::Dropped(DropReason::RateLimited);
        }
        let mapped = XorMappedAddress(request.from.client.0);
        self.succeed(request, None, |builder| {
            builder.attribute(&mapped);
        })
    }
}
