//! Which protocol a packet belongs to, by its first byte (RFC 7983 §7).

/// The protocols that may share our listening port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PacketKind {
    /// First byte 0–3.
    Stun,
    /// First byte 64–127: TURN channel numbers 0x4000–0x7FFF. RFC 7983 has 64–79, the rest is unassigned there and belongs
    /// to clients of RFC 5766 (see `ChannelNumber`).
    ChannelData,
    /// First byte 20–63. RFC 9443 reuses part of the range above it for QUIC; DTLS keeps this one.
    Dtls,
    /// Everything else (ZRTP 16–19, RTP/RTCP 128–191, unassigned) and the empty packet.
    Other,
}

/// Sorts a packet by its first byte (RFC 7983 §7). Reads nothing else: a `Stun` packet may still be noise.
#[inline]
#[must_use]
pub const fn demux(packet: &[u8]) -> PacketKind {
    match packet {
        [0..=3, ..] => PacketKind::Stun,
        [64..=127, ..] => PacketKind::ChannelData,
        [20..=63, ..] => PacketKind::Dtls,
        _ => PacketKind::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_first_byte_goes_where_rfc_7983_sends_it() {
        for byte in 0..=255u8 {
            let kind = match byte {
                0..=3 => PacketKind::Stun,
                4..=19 | 128..=255 => PacketKind::Other,
                20..=63 => PacketKind::Dtls,
                64..=127 => PacketKind::ChannelData,
            };
            assert_eq!(demux(&[byte]), kind, "{byte}");
        }
        assert_eq!(demux(&[]), PacketKind::Other);
    }
}
