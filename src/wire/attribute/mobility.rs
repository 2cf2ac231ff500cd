//! The attribute of TURN mobility (RFC 8016 §3.3).

use super::opaque_attribute;

opaque_attribute!(
    /// MOBILITY-TICKET: empty when a client asks for one, otherwise bytes only the server understands (RFC 8016 §3.3).
    MobilityTicket, MOBILITY_TICKET
);
