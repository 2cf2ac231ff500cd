//! The attributes of NAT behaviour discovery (RFC 5780 §7).

use super::{address_attribute, fixed_attribute, opaque_attribute};

/// CHANGE-REQUEST: from where the answer shall come (RFC 5780 §7.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ChangeRequest {
    /// Answer from the other address.
    pub change_ip: bool,
    /// Answer from the other port.
    pub change_port: bool,
}

fixed_attribute!(
    ChangeRequest,
    CHANGE_REQUEST,
    4,
    |[_, _, _, bits]| Some(Self {
        change_ip: bits & 4 != 0,
        change_port: bits & 2 != 0
    }),
    |change| [
        0,
        0,
        0,
        u8::from(change.change_ip) << 2 | u8::from(change.change_port) << 1
    ]
);

address_attribute!(
    /// RESPONSE-ORIGIN: the address the answer was sent from (RFC 5780 §7.3).
    ResponseOrigin, RESPONSE_ORIGIN, read_address, write_address
);

address_attribute!(
    /// OTHER-ADDRESS: the address CHANGE-REQUEST would be answered from (RFC 5780 §7.4).
    OtherAddress, OTHER_ADDRESS, read_address, write_address
);

/// RESPONSE-PORT: the port the answer shall go to (RFC 5780 §7.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResponsePort(pub u16);

fixed_attribute!(
    ResponsePort,
    RESPONSE_PORT,
    4,
    |[a, b, _, _]| Some(Self(u16::from_be_bytes([a, b]))),
    |port| {
        let [a, b] = port.0.to_be_bytes();
        [a, b, 0, 0]
    }
);

opaque_attribute!(
    /// PADDING: bytes that make the answer as long as the asker wants (RFC 5780 §7.6).
    Padding, PADDING
);
