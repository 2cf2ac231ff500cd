//! Messages on a stream: STUN by its length field, ChannelData padded to four bytes (RFC 8656 §12.5, RFC 8489 §6.2.2).
//!
//! A stream that is neither has lost its framing for good: the owner closes it.

use super::{CHANNEL_DATA_HEADER_LEN, DecodeError, HEADER_LEN, Header, PacketKind, demux, padding};

/// The longest frame the two headers can describe, in bytes.
pub const MAX_FRAME_LEN: usize = 4 + 65536;

/// How many bytes the frame at the start of `bytes` has, header and padding included; `None` if too few bytes are there
/// to tell. May be more than `bytes` has.
///
/// # Errors
/// `LostFraming` if it starts neither, or the header is malformed as [`Header::parse`] says.
#[inline]
pub fn frame_len(bytes: &[u8]) -> Result<Option<usize>, DecodeError> {
    match demux(bytes) {
        PacketKind::Stun => match Header::parse(bytes) {
            Ok(header) => Ok(Some(HEADER_LEN + usize::from(header.length))),
            Err(DecodeError::Truncated) => Ok(None),
            Err(error) => Err(error),
        },
        PacketKind::ChannelData => Ok(bytes.first_chunk::<CHANNEL_DATA_HEADER_LEN>().map(|&[_, _, a, b]| {
            let len = usize::from(u16::from_be_bytes([a, b]));
            CHANNEL_DATA_HEADER_LEN + len + padding(len)
        })),
        _ if bytes.is_empty() => Ok(None),
        _ => Err(DecodeError::LostFraming),
    }
}

/// Cuts a byte stream into frames, in a buffer that never grows.
///
/// Use: read from the socket into [`space`](Self::space), tell [`filled`](Self::filled) how much, take frames until
/// there is none. A frame is the bytes [`Message::parse`](super::Message::parse) or
/// [`ChannelData::parse`](super::ChannelData::parse) take.
#[derive(Debug)]
pub struct FrameReader {
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    lost: Option<DecodeError>,
}

impl FrameReader {
    /// Reads with this buffer. Its length is the longest frame accepted, and all the memory an idle stream holds;
    /// [`MAX_FRAME_LEN`] accepts every frame there can be.
    #[must_use]
    pub const fn new(buffer: Box<[u8]>) -> Self {
        Self {
            buffer,
            start: 0,
            end: 0,
            lost: None,
        }
    }

    /// Where the next bytes of the stream go. Not empty as long as frames are taken until there is none and no error was
    /// returned (a buffer of no bytes aside).
    pub fn space(&mut self) -> &mut [u8] {
        // Moving the rest to the front costs at most one incomplete frame per read.
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        self.buffer.get_mut(self.end..).unwrap_or_default()
    }

    /// `len` bytes were written to the start of [`space`](Self::space). More than it has room for counts as all of it.
    pub fn filled(&mut self, len: usize) {
        self.end = self.end.saturating_add(len).min(self.buffer.len());
    }

    /// The next whole frame; `None` if more of the stream is needed.
    ///
    /// # Errors
    /// As [`frame_len`], and `FrameTooLong` for a frame longer than the buffer. Every later call returns the same: the
    /// stream cannot be found into again.
    pub fn next_frame(&mut self) -> Result<Option<&[u8]>, DecodeError> {
        match self.try_advance() {
            Ok(Some(frame)) => Ok(self.buffer.get(frame)),
            Ok(None) => Ok(None),
            Err(error) => {
                self.lost = Some(error);
                Err(error)
            }
        }
    }

    /// How many bytes are held that no frame has been made of.
    #[must_use]
    pub const fn pending(&self) -> usize {
        self.end - self.start
    }

    fn try_advance(&mut self) -> Result<Option<core::ops::Range<usize>>, DecodeError> {
        if let Some(error) = self.lost {
            return Err(error);
        }
        let held = self.buffer.get(self.start..self.end).unwrap_or_default();
        let Some(len) = frame_len(held)? else { return Ok(None) };
        if len > self.buffer.len() {
            return Err(DecodeError::FrameTooLong);
        }
        if len > held.len() {
            return Ok(None);
        }
        let frame = self.start..self.start + len;
        self.start += len;
        Ok(Some(frame))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ChannelData, Class, Message, MessageBuilder, Method, TransactionId};
    use super::*;

    fn binding() -> Vec<u8> {
        let mut buffer = [0; 64];
        let len = MessageBuilder::new(&mut buffer, Method::BINDING, Class::Request, TransactionId([1; 12]))
            .fingerprint()
            .finish()
            .unwrap();
        buffer[..len].to_vec()
    }

    fn feed(reader: &mut FrameReader, bytes: &[u8]) {
        reader.space()[..bytes.len()].copy_from_slice(bytes);
        reader.filled(bytes.len());
    }

    #[test]
    fn frames_come_out_whole_however_the_stream_is_cut() {
        let mut stream = binding();
        stream.extend_from_slice(&[0x40, 0, 0, 5, 1, 2, 3, 4, 5, 0, 0, 0]);
        stream.extend_from_slice(&[0x40, 1, 0, 0]);
        stream.extend(binding());
        for piece in 1..=stream.len() {
            let mut reader = FrameReader::new(vec![0; 128].into());
            let mut frames = Vec::new();
            for bytes in stream.chunks(piece) {
                feed(&mut reader, bytes);
                while let Some(frame) = reader.next_frame().unwrap() {
                    frames.push(frame.to_vec());
                }
            }
            assert_eq!(frames.len(), 4, "pieces of {piece}");
            assert!(Message::parse(&frames[0]).is_ok());
            assert_eq!(ChannelData::parse(&frames[1]).unwrap().data, [1, 2, 3, 4, 5]);
            assert!(ChannelData::parse(&frames[2]).unwrap().data.is_empty());
            assert_eq!(frames[3], binding());
            assert_eq!(reader.pending(), 0);
        }
    }

    #[test]
    fn a_frame_of_the_buffers_length_fits_and_a_longer_one_is_refused() {
        let mut reader = FrameReader::new(vec![0; 16].into());
        feed(&mut reader, &[0x40, 0, 0, 12]);
        assert_eq!(reader.next_frame(), Ok(None));
        feed(&mut reader, &[9; 12]);
        assert_eq!(reader.next_frame().unwrap().map(<[u8]>::len), Some(16));

        // 13 bytes and their padding are 20.
        feed(&mut reader, &[0x40, 0, 0, 13]);
        assert_eq!(reader.next_frame(), Err(DecodeError::FrameTooLong));
        feed(&mut reader, &[0x40, 0]);
        assert_eq!(reader.next_frame(), Err(DecodeError::FrameTooLong), "the error sticks");
    }

    #[test]
    fn the_longest_frames_there_can_be_are_within_the_named_maximum() {
        assert_eq!(frame_len(&[0x4F, 0xFF, 0xFF, 0xFF]), Ok(Some(MAX_FRAME_LEN)));
        let mut longest = binding();
        longest[2..4].copy_from_slice(&0xFFFC_u16.to_be_bytes());
        assert_eq!(frame_len(&longest), Ok(Some(20 + 65532)));
    }

    #[test]
    fn what_is_neither_stun_nor_channel_data_ends_the_stream_at_its_first_byte() {
        for first in [0x04, 0x16, 0x80, 0xFF] {
            assert_eq!(frame_len(&[first]), Err(DecodeError::LostFraming), "{first:#x}");
        }
        let mut unaligned = binding();
        unaligned[3] = 7;
        assert_eq!(frame_len(&unaligned), Err(DecodeError::UnalignedLength));
        let mut without_cookie = binding();
        without_cookie[4] = 0;
        assert_eq!(frame_len(&without_cookie), Err(DecodeError::MissingCookie));
    }

    #[test]
    fn more_bytes_than_there_is_space_for_are_not_believed() {
        let mut reader = FrameReader::new(vec![0; 8].into());
        reader.filled(usize::MAX);
        assert_eq!(reader.pending(), 8);
        assert_eq!(
            reader.next_frame(),
            Ok(None),
            "eight zero bytes are the start of a STUN header"
        );
        assert!(reader.space().is_empty());
    }
}
