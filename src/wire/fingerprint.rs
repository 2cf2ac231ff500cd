//! FINGERPRINT: CRC-32 of all that precedes it, xored with "STUN" (RFC 8489 §14.7).

/// Bytes of the whole attribute, header included.
pub(super) const FINGERPRINT_TLV_LEN: usize = 8;

const XOR: u32 = 0x5354_554E;

/// The value for a message whose bytes before the attribute are `covered` and whose length field already counts it.
#[inline]
pub(super) fn fingerprint(covered: &[u8]) -> u32 {
    crc32fast::hash(covered) ^ XOR
}
