//! The attribute of TURN's TCP allocations (RFC 6062 §6.2).

use super::fixed_attribute;

/// CONNECTION-ID: names a peer's connection until the client binds it (RFC 6062 §6.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConnectionId(pub u32);

fixed_attribute!(
    ConnectionId,
    CONNECTION_ID,
    4,
    |bytes| Some(Self(u32::from_be_bytes(bytes))),
    |id| id.0.to_be_bytes()
);
