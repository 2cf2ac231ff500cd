//! ChannelData: four bytes of header and the peer's payload (RFC 8656 §12.4).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |         channel number        |    length of application data |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```

use core::ops::Range;

use super::DecodeError;

/// Length of the ChannelData header in bytes.
pub const CHANNEL_DATA_HEADER_LEN: usize = 4;

/// A channel number a client may bind: 0x4000–0x7FFF, the range of RFC 5766 §11. As an attribute it is CHANNEL-NUMBER.
///
/// RFC 8656 §12 keeps 0x4000–0x4FFF of it, so that RFC 7983 can tell channels from QUIC on one port. Clients of the older
/// RFC, coturn's own among them, draw from the whole of it, and nothing else uses those first bytes on a TURN server's
/// port: they are served (see `docs/deviations.md`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChannelNumber(u16);

impl ChannelNumber {
    /// The smallest, 0x4000.
    pub const MIN: Self = Self(0x4000);
    /// The largest, 0x7FFF.
    pub const MAX: Self = Self(0x7FFF);

    /// `None` outside 0x4000–0x7FFF.
    #[inline]
    #[must_use]
    pub const fn new(value: u16) -> Option<Self> {
        if value >= Self::MIN.0 && value <= Self::MAX.0 {
            Some(Self(value))
        } else {
            None
        }
    }

    /// The 16-bit number.
    #[inline]
    #[must_use]
    pub const fn value(self) -> u16 {
        self.0
    }

    /// Position in a table of all 16,384 channels: 0–16,383.
    #[inline]
    #[must_use]
    pub const fn index(self) -> usize {
        (self.0 - Self::MIN.0) as usize
    }
}

/// A ChannelData message, borrowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChannelData<'a> {
    /// The channel it came on or goes to.
    pub number: ChannelNumber,
    /// The application data, without padding.
    pub data: &'a [u8],
}

impl<'a> ChannelData<'a> {
    /// Parses a whole datagram or one frame of a stream.
    ///
    /// Zero to three bytes may follow the data: on a stream that is the mandatory padding, on a datagram RFC 8656 §12.5
    /// permits it. Four or more is nothing the RFC lets a sender write and is refused, so that a length field that is
    /// too small is noticed rather than relayed cut off. A length field that is too large is refused as §12.6 demands.
    ///
    /// # Errors
    /// `Truncated`, `ChannelNumber` or `TrailingBytes`.
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let Some((&[n0, n1, l0, l1], rest)) = bytes.split_first_chunk::<CHANNEL_DATA_HEADER_LEN>() else {
            return Err(DecodeError::Truncated);
        };
        let Some(number) = ChannelNumber::new(u16::from_be_bytes([n0, n1])) else {
            return Err(DecodeError::ChannelNumber);
        };
        let Some((data, padding)) = rest.split_at_checked(usize::from(u16::from_be_bytes([l0, l1]))) else {
            return Err(DecodeError::Truncated);
        };
        if padding.len() > 3 {
            return Err(DecodeError::TrailingBytes);
        }
        Ok(Self { number, data })
    }

    /// Where the data is in the bytes this was parsed from.
    #[inline]
    #[must_use]
    pub const fn data_range(&self) -> Range<usize> {
        CHANNEL_DATA_HEADER_LEN..CHANNEL_DATA_HEADER_LEN + self.data.len()
    }

    /// The header of a ChannelData message with `len` bytes of data.
    #[inline]
    #[must_use]
    pub const fn header(number: ChannelNumber, len: u16) -> [u8; CHANNEL_DATA_HEADER_LEN] {
        let [n0, n1] = number.0.to_be_bytes();
        let [l0, l1] = len.to_be_bytes();
        [n0, n1, l0, l1]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_number_outside_0x4000_to_0x7fff_does_not_exist() {
        assert_eq!(ChannelNumber::new(0x3FFF), None);
        assert_eq!(ChannelNumber::new(0x4000), Some(ChannelNumber::MIN));
        assert_eq!(ChannelNumber::new(0x7FFF), Some(ChannelNumber::MAX));
        assert_eq!(ChannelNumber::new(0x8000), None);
        assert_eq!(ChannelNumber::MIN.index(), 0);
        assert_eq!(ChannelNumber::MAX.index(), 16_383);
        assert_eq!(ChannelData::parse(&[0x80, 0, 0, 0]), Err(DecodeError::ChannelNumber));
    }

    #[test]
    fn up_to_three_bytes_of_padding_are_accepted_and_a_fourth_is_not() {
        for padding in 0..=3 {
            let mut bytes = vec![0x40, 1, 0, 2, b'h', b'i'];
            bytes.resize(6 + padding, 0);
            let parsed = ChannelData::parse(&bytes).unwrap();
            assert_eq!(parsed.data, b"hi");
            assert_eq!(&bytes[parsed.data_range()], b"hi");
        }
        let bytes = [0x40, 1, 0, 2, b'h', b'i', 0, 0, 0, 0];
        assert_eq!(ChannelData::parse(&bytes), Err(DecodeError::TrailingBytes));
    }

    #[test]
    fn a_declared_length_above_what_is_held_is_refused() {
        assert_eq!(ChannelData::parse(&[0x40, 0, 0, 3, 1, 2]), Err(DecodeError::Truncated));
        assert_eq!(ChannelData::parse(&[0x40, 0, 0xFF, 0xFF]), Err(DecodeError::Truncated));
        assert_eq!(ChannelData::parse(&[0x40, 0, 0]), Err(DecodeError::Truncated));
    }

    #[test]
    fn an_empty_message_is_a_message() {
        let parsed = ChannelData::parse(&[0x7F, 0xFF, 0, 0]).unwrap();
        assert_eq!((parsed.number, parsed.data), (ChannelNumber::MAX, &[][..]));
        assert_eq!(ChannelData::header(ChannelNumber::MAX, 0), [0x7F, 0xFF, 0, 0]);
    }
}
