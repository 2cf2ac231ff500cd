//! The bytes a relay puts in front of a peer's payload, so that the payload itself never moves.

use core::net::SocketAddr;

use super::attribute::{self, AttributeType};
use super::header::{Class, HEADER_LEN, Header, Method, TransactionId};
use super::{ChannelData, ChannelNumber, EncodeError, padding};

/// Up to 48 bytes, inline: nothing, a ChannelData header (4), or a Data indication up to DATA's value (36 or 48).
///
/// What goes on the wire is `prefix ‖ payload ‖ zero padding`. For a Data indication the padding is
/// [`padding`]`(payload.len())`, always; for ChannelData it is that on a stream and none on a datagram (RFC 8656 §12.5).
#[derive(Clone, Copy)]
pub struct Prefix {
    bytes: [u8; Self::CAPACITY],
    len: u8,
}

impl Prefix {
    /// The longest prefix: a Data indication for an IPv6 peer.
    pub const CAPACITY: usize = HEADER_LEN + (4 + 20) + 4;

    /// No prefix: the payload goes out as it came in.
    pub const EMPTY: Self = Self {
        bytes: [0; Self::CAPACITY],
        len: 0,
    };

    /// The ChannelData header for a payload of `payload_len` bytes (RFC 8656 §12.4).
    ///
    /// # Errors
    /// `TooLong` above 65535 bytes.
    #[inline]
    pub fn channel_data(number: ChannelNumber, payload_len: usize) -> Result<Self, EncodeError> {
        let len = u16::try_from(payload_len).map_err(|_| EncodeError::TooLong)?;
        let mut bytes = [0; Self::CAPACITY];
        bytes[..4].copy_from_slice(&ChannelData::header(number, len));
        Ok(Self { bytes, len: 4 })
    }

    /// The Data indication for a payload of `payload_len` bytes from `peer`: header, XOR-PEER-ADDRESS and the header
    /// of DATA (RFC 8656 §11.3). Its length field counts the payload and its padding.
    ///
    /// # Errors
    /// `TooLong` if the message would not fit its length field (payload above 65504 bytes for IPv6 peers).
    #[inline]
    pub fn data_indication(
        transaction_id: TransactionId,
        peer: SocketAddr,
        payload_len: usize,
    ) -> Result<Self, EncodeError> {
        let value_len = u16::try_from(payload_len).map_err(|_| EncodeError::TooLong)?;
        let address_len = attribute::address_len(peer);
        let attributes = 4 + address_len + 4 + payload_len + padding(payload_len);
        let length = u16::try_from(attributes).map_err(|_| EncodeError::TooLong)?;
        let header = Header {
            method: Method::DATA,
            class: Class::Indication,
            length,
            transaction_id,
        };

        let mut bytes = [0; Self::CAPACITY];
        bytes[..HEADER_LEN].copy_from_slice(&header.to_bytes());
        let mut at = HEADER_LEN;
        bytes[at..at + 2].copy_from_slice(&AttributeType::XOR_PEER_ADDRESS.0.to_be_bytes());
        bytes[at + 3] = address_len as u8;
        at += 4;
        attribute::write_xor_address(peer, &transaction_id, &mut bytes[at..at + address_len]);
        at += address_len;
        bytes[at..at + 2].copy_from_slice(&AttributeType::DATA.0.to_be_bytes());
        bytes[at + 2..at + 4].copy_from_slice(&value_len.to_be_bytes());
        Ok(Self {
            bytes,
            len: (at + 4) as u8,
        })
    }

    /// The bytes to send before the payload.
    #[inline]
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }

    /// How many there are: 0, 4, 36 or 48.
    #[inline]
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len as usize
    }

    /// True for [`Prefix::EMPTY`].
    #[inline]
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl core::fmt::Debug for Prefix {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Prefix({:02x?})", self.as_slice())
    }
}

impl PartialEq for Prefix {
    fn eq(&self, other: &Self) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl Eq for Prefix {}

#[cfg(test)]
mod tests {
    use super::super::attribute::{Data, XorPeerAddress};
    use super::super::{Message, MessageBuilder};
    use super::*;

    const ID: TransactionId = TransactionId([7; 12]);

    #[test]
    fn a_data_indication_by_prefix_is_the_one_the_builder_writes() {
        for peer in ["192.0.2.1:3478", "[2001:db8::1]:65535"] {
            let peer: SocketAddr = peer.parse().unwrap();
            for len in [0, 1, 2, 3, 4, 5, 1200] {
                let payload = vec![0xAB; len];
                let mut sent = Prefix::data_indication(ID, peer, len).unwrap().as_slice().to_vec();
                sent.extend_from_slice(&payload);
                sent.resize(sent.len() + padding(len), 0);

                let mut buffer = [0xFF; 2048];
                let mut builder = MessageBuilder::new(&mut buffer, Method::DATA, Class::Indication, ID);
                builder.attribute(&XorPeerAddress(peer)).attribute(&Data(&payload));
                let built = builder.finish().unwrap();
                assert_eq!(sent, buffer[..built]);
                assert_eq!(
                    Message::parse(&sent).unwrap().find::<Data<'_>>(),
                    Ok(Some(Data(&payload)))
                );
            }
        }
    }

    #[test]
    fn the_longest_payload_of_each_prefix_fits_and_one_more_byte_does_not() {
        let v4: SocketAddr = "192.0.2.1:1".parse().unwrap();
        let v6: SocketAddr = "[2001:db8::1]:1".parse().unwrap();
        assert!(Prefix::data_indication(ID, v4, 65532 - 16).is_ok());
        assert_eq!(Prefix::data_indication(ID, v4, 65532 - 15), Err(EncodeError::TooLong));
        assert!(Prefix::data_indication(ID, v6, 65532 - 28).is_ok());
        assert_eq!(Prefix::data_indication(ID, v6, 65532 - 27), Err(EncodeError::TooLong));
        assert!(Prefix::channel_data(ChannelNumber::MIN, 65535).is_ok());
        assert_eq!(
            Prefix::channel_data(ChannelNumber::MIN, 65536),
            Err(EncodeError::TooLong)
        );
    }

    #[test]
    fn the_channel_data_prefix_is_four_bytes() {
        let prefix = Prefix::channel_data(ChannelNumber::MAX, 0x0102).unwrap();
        assert_eq!(prefix.as_slice(), [0x7F, 0xFF, 1, 2]);
        assert!(Prefix::EMPTY.is_empty());
    }
}
