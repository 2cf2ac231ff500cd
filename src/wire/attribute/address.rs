//! Transport addresses, in the clear (RFC 8489 §14.1) and xored (§14.2).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |0 0 0 0 0 0 0 0|    family     |             port              |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                 address (32 or 128 bits)                      |
//! ```

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{AddressFamily, AttributeType};
use crate::wire::DecodeError;
use crate::wire::header::{MAGIC_COOKIE, TransactionId};

const COOKIE_HIGH: u16 = (MAGIC_COOKIE >> 16) as u16;

/// Bytes of the value: 8 for IPv4, 20 for IPv6.
#[inline]
pub(in crate::wire) const fn address_len(address: SocketAddr) -> usize {
    match address {
        SocketAddr::V4(_) => 8,
        SocketAddr::V6(_) => 20,
    }
}

/// Cookie and transaction id as one 128-bit mask, of which IPv4 uses the first 32 bits.
#[inline]
const fn mask(id: &TransactionId) -> u128 {
    let [a, b, c, d, e, f, g, h, i, j, k, l] = id.0;
    let [w, x, y, z] = MAGIC_COOKIE.to_be_bytes();
    u128::from_be_bytes([w, x, y, z, a, b, c, d, e, f, g, h, i, j, k, l])
}

#[inline]
pub(super) fn read_address(kind: AttributeType, value: &[u8], _: &TransactionId) -> Result<SocketAddr, DecodeError> {
    let (&[_, family, p0, p1], address) = value
        .split_first_chunk::<4>()
        .ok_or(DecodeError::AttributeLength(kind))?;
    let port = u16::from_be_bytes([p0, p1]);
    let ip = match AddressFamily::new(family) {
        Some(AddressFamily::Ipv4) => IpAddr::from(super::exact::<4>(kind, address)?),
        Some(AddressFamily::Ipv6) => IpAddr::from(super::exact::<16>(kind, address)?),
        None => return Err(DecodeError::AttributeValue(kind)),
    };
    Ok(SocketAddr::new(ip, port))
}

#[inline]
pub(super) fn read_xor_address(
    kind: AttributeType,
    value: &[u8],
    id: &TransactionId,
) -> Result<SocketAddr, DecodeError> {
    read_address(kind, value, id).map(|address| xor(address, id))
}

/// `out` is [`address_len`] bytes.
#[inline]
pub(super) fn write_address(address: SocketAddr, _: &TransactionId, out: &mut [u8]) {
    let [p0, p1] = address.port().to_be_bytes();
    out[..4].copy_from_slice(&[0, AddressFamily::of(address).value(), p0, p1]);
    match address {
        SocketAddr::V4(address) => out[4..].copy_from_slice(&address.ip().octets()),
        SocketAddr::V6(address) => out[4..].copy_from_slice(&address.ip().octets()),
    }
}

/// `out` is [`address_len`] bytes.
#[inline]
pub(in crate::wire) fn write_xor_address(address: SocketAddr, id: &TransactionId, out: &mut [u8]) {
    write_address(xor(address, id), id, out);
}

#[inline]
fn xor(address: SocketAddr, id: &TransactionId) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) => IpAddr::V4(Ipv4Addr::from(u32::from(ip) ^ MAGIC_COOKIE)),
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from(u128::from(ip) ^ mask(id))),
    };
    SocketAddr::new(ip, address.port() ^ COOKIE_HIGH)
}
